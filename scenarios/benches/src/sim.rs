//! The simulator's fast lane: whole seeds with their faults and all checks, beside the bare network of madsim, which
//! carries bytes and knows neither protocol nor disk nor property.

use crate::measure::{Result, alone, beside, median, on_cpu};
use holdfast_record::{Lane, SeedRecord, worker::BenchRow};
use holdfast_scenarios::{Run, Scenario, Source, find};
use madsim::{Config, net::Endpoint, runtime::Runtime};
use std::net::SocketAddr;

/// Of each lane in turn, so that what else the machine does falls on both.
const ROUNDS: u64 = 5;
const SEEDS_PER_ROUND: u64 = 40;

/// Nodes of madsim's group; each asks each other one.
const NODES: u16 = 5;
const ASKS_PER_PAIR: u64 = 2_000;
/// About as long as a short Raft message.
const PAYLOAD: [u8; 64] = [7; 64];
const REQUEST: u64 = 0;

/// Measures.
pub fn rows() -> Result<Vec<BenchRow>> {
    let scenario = find("raft-kv").ok_or("there is no scenario raft-kv")?;
    seeds(scenario, 0..5)?;
    ping_pong(0);
    let (mut records, mut rates, mut speeds, mut rival_rates) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let first = 1_000 + round * SEEDS_PER_ROUND;
        let run = seeds(scenario, first..first + SEEDS_PER_ROUND)?;
        let sum = |of: fn(&SeedRecord) -> u64| run.iter().map(of).sum::<u64>() as f64;
        let cpu = sum(|record| record.cpu_ns);
        rates.push(sum(|record| record.messages) / (cpu / 1e9));
        speeds.push(sum(|record| record.simulated_ns) / cpu);
        records.extend(run);
        let (messages, seconds) = on_cpu(|| ping_pong(round));
        rival_rates.push(messages as f64 / seconds);
    }
    let five = records.iter().filter(|record| record.nodes == 5);
    let costs: Vec<f64> = five.map(|record| record.cpu_ns as f64 / 1e6).collect();
    let failed = records.iter().filter(|record| record.failure.is_some());
    let failed = failed.count();
    let what = format!(
        "medians of {ROUNDS} rounds of {SEEDS_PER_ROUND} seeds of raft-kv, faults on, every property checked, one core"
    );
    let broken = match failed {
        0 => String::new(),
        count => format!(", {count} seeds broke a property and ended early"),
    };
    Ok(vec![
        beside(
            "fast lane, Raft messages",
            median(rates),
            "messages per CPU second",
            ("madsim's network alone", median(rival_rates)),
            &format!(
                "{what}, ours: cores, disks, clients and checkers included, \
                 the rival: {NODES} nodes ask each other with {} bytes through Endpoint, nothing else{broken}",
                PAYLOAD.len()
            ),
        ),
        alone(
            "fast lane, a seed of five nodes",
            median(costs.clone()),
            "ms of CPU",
            &format!("the median of {} such seeds{broken}", costs.len()),
        ),
        alone(
            "fast lane, simulated time",
            median(speeds),
            "simulated seconds per CPU second",
            &format!("{what}{broken}"),
        ),
    ])
}

fn seeds(scenario: &dyn Scenario, seeds: std::ops::Range<u64>) -> Result<Vec<SeedRecord>> {
    let records = seeds.map(|seed| {
        let run = Run {
            lane: Lane::Fast,
            source: Source::Seed(seed),
            mutant: None,
            timeline: false,
        };
        scenario.run(&run).record
    });
    let records: Vec<SeedRecord> = records.collect();
    if records.iter().all(|record| record.messages == 0) {
        return Err("no message was simulated".into());
    }
    Ok(records)
}

/// Every node of a group asks every other one, again and again; how many messages arrived.
fn ping_pong(seed: u64) -> u64 {
    let runtime = Runtime::with_seed_and_config(seed, Config::default());
    let address = |node: u16| SocketAddr::from(([10, 0, 0, node as u8 + 1], 1));
    let mut askers = Vec::new();
    for own in 0..NODES {
        let node = runtime.create_node().ip(address(own).ip()).build();
        askers.push(node.spawn(async move {
            let endpoint = Endpoint::bind(address(own))
                .await
                .expect("an address of its own");
            // Everybody must listen before anybody asks: madsim loses what comes to a closed port.
            madsim::time::sleep(std::time::Duration::from_secs(1)).await;
            let server = endpoint.clone();
            madsim::task::spawn(async move {
                let mut buffer = PAYLOAD;
                loop {
                    let received = server.recv_from(REQUEST, &mut buffer).await;
                    let (_, asker) = received.expect("the endpoint is open");
                    // Each asker waits for answers under its partner's own tag.
                    let answer = server.send_to(asker, 1 + u64::from(own), &buffer);
                    answer.await.expect("the endpoint is open");
                }
            });
            let others = (0..NODES).filter(|other| *other != own);
            let asking: Vec<_> = others
                .map(|other| {
                    let endpoint = endpoint.clone();
                    madsim::task::spawn(async move {
                        let mut buffer = PAYLOAD;
                        for _ in 0..ASKS_PER_PAIR {
                            let sent = endpoint.send_to(address(other), REQUEST, &buffer);
                            sent.await.expect("the endpoint is open");
                            let answer = endpoint.recv_from(1 + u64::from(other), &mut buffer);
                            answer.await.expect("the endpoint is open");
                        }
                        2 * ASKS_PER_PAIR
                    })
                })
                .collect();
            let mut messages = 0;
            for asked in asking {
                messages += asked.await.expect("it asks to the end");
            }
            messages
        }));
    }
    runtime.block_on(async {
        let mut messages = 0;
        for asker in askers {
            messages += asker.await.expect("it asks to the end");
        }
        messages
    })
}
