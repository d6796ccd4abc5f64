//! The simulator's lanes: whole seeds with their faults and all checks; the fast lane beside the bare network of madsim,
//! which carries bytes and knows neither protocol nor disk nor property.

use crate::measure::{Result, alone, beside, mean, median, on_cpu, percentile};
use holdfast_record::{Lane, SeedRecord, worker::BenchRow};
use holdfast_scenarios::{Run, Scenario, Source, find, raft_kv::RaftKv};
use madsim::{Config, net::Endpoint, runtime::Runtime};
use std::{net::SocketAddr, process::Command};

/// Of each lane in turn, so that what else the machine does falls on both.
const ROUNDS: u64 = 5;
const SEEDS_PER_ROUND: u64 = 40;

/// Nodes of madsim's group; each asks each other one.
const NODES: u16 = 5;
const ASKS_PER_PAIR: u64 = 2_000;
/// About as long as a short Raft message.
const PAYLOAD: [u8; 64] = [7; 64];
const REQUEST: u64 = 0;

/// Seeds of five nodes that run in the full lane.
const FULL_SEEDS: usize = 20;
/// The most seeds that are tried for them: a seed draws how many nodes it has.
const MOST_FULL_SEEDS: u64 = 100;

/// Measures.
pub fn rows() -> Result<Vec<BenchRow>> {
    let scenario = find("raft-kv").ok_or("there is no scenario raft-kv")?;
    let mut rows = fast_lane(scenario)?;
    rows.extend(full_lane()?);
    Ok(rows)
}

fn fast_lane(scenario: &dyn Scenario) -> Result<Vec<BenchRow>> {
    seeds(scenario, 0..5)?;
    ping_pong(0);
    let (mut records, mut rates, mut speeds, mut rival_rates) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let first = 1_000 + round * SEEDS_PER_ROUND;
        let run = seeds(scenario, first..first + SEEDS_PER_ROUND)?;
        let cpu = sum(&run, |record| record.cpu_ns);
        rates.push(sum(&run, |record| record.messages) / (cpu / 1e9));
        speeds.push(sum(&run, |record| record.simulated_ns) / cpu);
        records.extend(run);
        let (messages, seconds) = on_cpu(|| ping_pong(round));
        rival_rates.push(messages as f64 / seconds);
    }
    let what = format!(
        "medians of {ROUNDS} rounds of {SEEDS_PER_ROUND} seeds of raft-kv, faults on, every property checked, one core"
    );
    let broken = broken(&records);
    records.retain(|record| record.nodes == 5);
    let costs = costs(&records);
    let seed = |name: &str, value: f64| {
        let note = format!(
            "{} seeds of raft-kv with five nodes, {:.0} simulated seconds each, history checked{broken}",
            costs.len(),
            simulated_seconds(&records) / costs.len() as f64,
        );
        alone(name, value, "ms of CPU", &note)
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
        seed("fast lane, a seed of five nodes, mean", mean(&costs)),
        seed(
            "fast lane, a seed of five nodes, median",
            median(costs.clone()),
        ),
        seed(
            "fast lane, a seed of five nodes, 90 % within",
            percentile(costs.clone(), 90),
        ),
        load("fast lane", &records),
        alone(
            "fast lane, simulated time",
            median(speeds),
            "simulated seconds per CPU second",
            &format!("{what}, seeds of three and of five nodes{broken}"),
        ),
    ])
}

/// Seeds of five nodes, each in a process of its own.
fn full_lane() -> Result<Vec<BenchRow>> {
    let program = std::env::current_exe()?;
    let mut records: Vec<SeedRecord> = Vec::new();
    for seed in 0..MOST_FULL_SEEDS {
        if records.len() == FULL_SEEDS {
            break;
        }
        if nodes_of(seed) != 5 {
            continue;
        }
        let mut command = Command::new(&program);
        let output = command
            .args(["sim", "--full-seed", &seed.to_string()])
            .output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(format!("seed {seed} of the full lane: {words}").into());
        }
        records.push(serde_json::from_slice(&output.stdout)?);
    }
    let cpu = sum(&records, |record| record.cpu_ns);
    let note = format!(
        "{} seeds of raft-kv with five nodes, faults on, every property checked, each in a process of its own{}",
        records.len(),
        broken(&records)
    );
    Ok(vec![
        alone(
            "full lane, simulated time",
            sum(&records, |record| record.simulated_ns) / cpu,
            "simulated seconds per CPU second",
            &note,
        ),
        alone(
            "full lane, a seed of five nodes, mean",
            mean(&costs(&records)),
            "ms of CPU",
            &note,
        ),
        load("full lane", &records),
    ])
}

/// How many nodes a seed of the full lane has: its plan says, which costs nothing to draw.
fn nodes_of(seed: u64) -> u32 {
    RaftKv::plan(Lane::Full, seed).nodes
}

/// Runs one seed of raft-kv in the full lane; its record as JSON.
pub fn full_seed(seed: u64) -> Result<String> {
    let scenario = find("raft-kv").ok_or("there is no scenario raft-kv")?;
    let record = scenario.run(&one(Lane::Full, seed)).record;
    Ok(serde_json::to_string(&record)?)
}

/// The load under which seeds ran.
fn load(lane: &str, records: &[SeedRecord]) -> BenchRow {
    alone(
        &format!("{lane}, load of a seed of five nodes"),
        sum(records, |record| record.operations) / simulated_seconds(records),
        "answered operations per simulated second",
        "puts, gets, compare-and-sets, deletes and range reads, time under faults and the quiet end included",
    )
}

fn sum(records: &[SeedRecord], of: fn(&SeedRecord) -> u64) -> f64 {
    records.iter().map(of).sum::<u64>() as f64
}

fn simulated_seconds(records: &[SeedRecord]) -> f64 {
    sum(records, |record| record.simulated_ns) / 1e9
}

/// Milliseconds of CPU that each took.
fn costs(records: &[SeedRecord]) -> Vec<f64> {
    let costs = records.iter().map(|record| record.cpu_ns as f64 / 1e6);
    costs.collect()
}

fn broken(records: &[SeedRecord]) -> String {
    match records.iter().filter(|r| r.failure.is_some()).count() {
        0 => String::new(),
        count => format!(", {count} seeds broke a property and ended early"),
    }
}

fn one(lane: Lane, seed: u64) -> Run {
    Run {
        lane,
        source: Source::Seed(seed),
        mutant: None,
        black_box: false,
        timeline: false,
    }
}

fn seeds(scenario: &dyn Scenario, seeds: std::ops::Range<u64>) -> Result<Vec<SeedRecord>> {
    let records = seeds.map(|seed| scenario.run(&one(Lane::Fast, seed)).record);
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
