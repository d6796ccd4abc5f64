//! How lookups of the DHT do in overlays of a thousand to a million nodes, with and without dead contacts, and what
//! such an overlay costs to simulate: the production core on the event heap of `holdfast_sim::overlay`.

use crate::measure::{Result, alone, on_cpu};
use clap::Args;
use holdfast_kademlia::{Config, Event, Finished, LookupId, Mutant, Request};
use holdfast_record::worker::BenchRow;
use holdfast_sim::{
    draw::{Domain, Draws},
    overlay::{BEGIN, Honest, Ids, Links, Overlay, Setup},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
    sync::Arc,
};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
/// Lookups that a node makes before the one that is measured, so that it knows some round trips, as any that is not
/// new does.
const WARM_UP: u64 = 2;
/// Between lookups of one node.
const PAUSE: u64 = 15 * SECOND;
/// Lookups in one world at most, as a part of its nodes: what they learn repairs tables.
const SHARE: u32 = 10;

/// What to measure: all that the reference has, or one case.
#[derive(Debug, Args)]
pub struct Arguments {
    /// One case: how many nodes
    #[arg(long)]
    nodes: Option<u32>,
    /// Percent of the nodes that are dead and in tables
    #[arg(long, default_value_t = 0, requires = "nodes", value_parser = clap::value_parser!(u32).range(0..100))]
    dead: u32,
    /// Queries of one path under way at a time
    #[arg(long, default_value_t = 3)]
    alpha: usize,
    /// Paths of a lookup
    #[arg(long, default_value_t = 1)]
    paths: usize,
    /// Deviations of a round trip beyond the mean before somebody else is asked
    #[arg(long, default_value_t = 2)]
    deviations: u32,
    /// First buckets hold more
    #[arg(long)]
    wide: bool,
    /// Wait two seconds for each answer, as without measured round trips
    #[arg(long)]
    fixed_timeout: bool,
    /// What delays vary by, milliseconds
    #[arg(long, default_value_t = 0)]
    jitter: u64,
    /// Percent of the datagrams that are lost
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// How many lookups
    #[arg(long, default_value_t = 500)]
    lookups: u32,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Let the nodes come and go for so many simulated minutes instead, median session one hour
    #[arg(long, requires = "nodes")]
    churn_minutes: Option<u64>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
struct Row {
    nodes: u32,
    dead_percent: u32,
    alpha: usize,
    paths: usize,
    lookups: usize,
    /// Shares of 1.
    found_closest: f64,
    recall: f64,
    hops: Spread,
    lookup_ms: Spread,
    path_ms: Spread,
    ratio: Spread,
    nearest_ms: Spread,
    messages: f64,
    messages_p99: f64,
    contacts: f64,
    bytes_per_node: f64,
    resident_per_node: f64,
    events: u64,
    events_per_cpu_second: f64,
    build_cpu_seconds: f64,
    /// Of everything that happened: equal for equal seeds.
    digest: String,
}

/// How values are spread.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Spread {
    mean: f64,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Spread {
        if values.is_empty() {
            return Spread::default();
        }
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values[rank.max(1) - 1]
        };
        Spread {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

/// One case.
#[derive(Clone, Debug)]
struct Case {
    nodes: u32,
    dead_percent: u32,
    lookups: u32,
    seed: u64,
    links: Links,
    config: Config,
}

impl Case {
    fn new(nodes: u32, dead_percent: u32, arguments: &Arguments) -> Case {
        Case {
            nodes,
            dead_percent,
            lookups: arguments.lookups,
            seed: arguments.seed,
            links: Links {
                jitter_ns: arguments.jitter * 1_000_000,
                loss: arguments.loss / 100.0,
                ..Links::default()
            },
            config: Config {
                alpha: arguments.alpha,
                paths: arguments.paths,
                deviations: arguments.deviations,
                wide_buckets: arguments.wide,
                mutant: arguments.fixed_timeout.then_some(Mutant::FixedTimeout),
                ..Config::default()
            },
        }
    }

    fn build(&self, round: u64) -> Overlay {
        let setup = Setup {
            seed: self.seed + round,
            config: Arc::new(self.config.clone()),
            links: self.links,
            ids: Ids::Random,
            network_bits: 0,
        };
        let mut overlay = Overlay::new(setup, Honest, ());
        overlay.add_many(self.nodes);
        overlay.fill_tables();
        let mut draws = Draws::new(self.seed + round, Domain::Scenario, 0);
        let mut all: Vec<u32> = (0..self.nodes).collect();
        draws.shuffle(&mut all);
        let dead = u64::from(self.nodes) * u64::from(self.dead_percent) / 100;
        overlay.kill_many(&all[..dead as usize]);
        overlay
    }

    fn measure(&self) -> Result<Row> {
        let (mut ends, mut events, mut cpu, mut build_cpu) = (Vec::new(), 0, 0.0, 0.0);
        let (mut bytes, mut resident, mut contacts) = (0.0, 0.0, 0.0);
        let (mut round, mut digest) = (0, 0u64);
        while (ends.len() as u32) < self.lookups {
            let before = resident_bytes()?;
            let (mut overlay, seconds) = on_cpu(|| self.build(round));
            build_cpu += seconds;
            let count = (self.lookups - ends.len() as u32).min((self.nodes / SHARE).max(1));
            let (done, seconds) = on_cpu(|| look_up(&mut overlay, count));
            cpu += seconds;
            events += overlay.counts().events;
            digest = digest.rotate_left(1) ^ overlay.hash();
            if round == 0 {
                resident = resident_bytes()?.saturating_sub(before) as f64 / f64::from(self.nodes);
                let alive = overlay.nodes().count() as f64;
                bytes = overlay.nodes().map(|(_, n)| n.bytes()).sum::<usize>() as f64 / alive;
                contacts = overlay.nodes().map(|(_, n)| n.table().len()).sum::<usize>() as f64;
                contacts /= alive;
            }
            if done.is_empty() {
                return Err("no lookup has ended".into());
            }
            ends.extend(done);
            round += 1;
        }
        let spread = |of: &dyn Fn(&Judged) -> f64| Spread::of(ends.iter().map(of).collect());
        let messages = spread(&|end| f64::from(end.messages));
        Ok(Row {
            nodes: self.nodes,
            dead_percent: self.dead_percent,
            alpha: self.config.alpha,
            paths: self.config.paths,
            lookups: ends.len(),
            found_closest: spread(&|end| f64::from(u8::from(end.has_closest))).mean,
            recall: spread(&|end| end.recall).mean,
            hops: spread(&|end| f64::from(end.hops)),
            lookup_ms: spread(&|end| end.took as f64 / 1e6),
            path_ms: spread(&|end| end.path as f64 / 1e6),
            ratio: spread(&|end| end.nearest as f64 / end.path.max(1) as f64),
            nearest_ms: spread(&|end| end.nearest as f64 / 1e6),
            messages: messages.mean,
            messages_p99: messages.p99,
            contacts,
            bytes_per_node: bytes,
            resident_per_node: resident,
            events,
            events_per_cpu_second: events as f64 / cpu,
            build_cpu_seconds: build_cpu,
            digest: format!("{digest:016x}"),
        })
    }
}

/// What came of one lookup.
struct Judged {
    has_closest: bool,
    recall: f64,
    hops: u32,
    took: u64,
    path: u64,
    nearest: u64,
    messages: u32,
}

/// Lets `count` nodes look up ids, after some to warm up; what came of the last lookup of each.
fn look_up(overlay: &mut Overlay, count: u32) -> Vec<Judged> {
    let mut askers = BTreeSet::new();
    while (askers.len() as u32) < count {
        askers.extend(overlay.any());
    }
    let mut measured: BTreeMap<(u32, LookupId), ()> = BTreeMap::new();
    for round in 0..=WARM_UP {
        for asker in &askers {
            let target = overlay.any_id();
            let begun = overlay.look_up(*asker, Request::FindNode { target });
            let Some(Ok(lookup)) = begun else { continue };
            if round == WARM_UP {
                measured.insert((*asker, lookup), ());
            }
        }
        overlay.run_until(BEGIN + (round + 1) * PAUSE);
    }
    overlay.run_until(overlay.now() + 2 * PAUSE);
    let told = overlay.take_told();
    let ends = told.into_iter().filter_map(|told| match told.event {
        Event::Finished(end) if measured.contains_key(&(told.node, end.lookup)) => {
            Some(judge(overlay, told.node, &end))
        }
        _ => None,
    });
    ends.collect()
}

fn judge(overlay: &Overlay, node: u32, end: &Finished<SocketAddrV4>) -> Judged {
    let k = end.closest.len().max(8);
    let truth = overlay.census().closest(end.target, k, Some(node));
    let found: BTreeSet<_> = end.closest.iter().map(|contact| contact.id).collect();
    let right = truth.iter().filter(|(id, _)| found.contains(id)).count();
    Judged {
        has_closest: end.closest.first().map(|contact| contact.id)
            == truth.first().map(|(id, _)| *id),
        recall: right as f64 / truth.len() as f64,
        hops: end.hops,
        took: end.found_after,
        path: end.path,
        nearest: end.nearest_after,
        messages: end.steps.len() as u32 + end.replies,
    }
}

fn resident_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|text| text.split_whitespace().next());
    Ok(kilobytes
        .ok_or("a status tells what is resident")?
        .parse::<u64>()?
        * 1_024)
}

/// Nodes that come and go.
#[derive(Clone, Debug, Serialize)]
struct Churned {
    nodes: u32,
    simulated_seconds: f64,
    cpu_seconds: f64,
    died: u64,
    events_per_cpu_second: f64,
    datagrams_per_node_second: f64,
    bytes_per_node: f64,
    most_bytes_of_a_node: usize,
    resident_per_node: f64,
    good: f64,
    questionable: f64,
    bad: f64,
    digest: String,
}

fn churn(case: &Case, minutes: u64) -> Result<Churned> {
    let before = resident_bytes()?;
    let mut overlay = case.build(0);
    let (_, seconds) = on_cpu(|| {
        overlay.begin_churn(60 * MINUTE);
        overlay.run_until(BEGIN + minutes * MINUTE);
    });
    let resident = resident_bytes()?.saturating_sub(before) as f64 / f64::from(case.nodes);
    let counts = overlay.counts();
    let alive = overlay.nodes().count() as f64;
    let now = overlay.now();
    let mean = |of: fn(holdfast_kademlia::Health) -> usize| {
        let all = overlay.nodes().map(|(_, node)| of(node.health(now)));
        all.sum::<usize>() as f64 / alive
    };
    let simulated = (minutes * MINUTE) as f64 / 1e9;
    Ok(Churned {
        nodes: case.nodes,
        simulated_seconds: simulated,
        cpu_seconds: seconds,
        died: counts.died,
        events_per_cpu_second: counts.events as f64 / seconds,
        datagrams_per_node_second: counts.sent as f64 / alive / simulated,
        bytes_per_node: overlay.bytes() as f64 / alive,
        most_bytes_of_a_node: overlay.nodes().map(|(_, n)| n.bytes()).max().unwrap_or(0),
        resident_per_node: resident,
        good: mean(|health| health.good),
        questionable: mean(|health| health.questionable),
        bad: mean(|health| health.bad),
        digest: format!("{:016x}", overlay.hash()),
    })
}

/// Runs the command.
pub fn print(arguments: &Arguments) -> Result<()> {
    if let (Some(nodes), Some(minutes)) = (arguments.nodes, arguments.churn_minutes) {
        let case = Case::new(nodes, arguments.dead, arguments);
        println!("{}", serde_json::to_string_pretty(&churn(&case, minutes)?)?);
        return Ok(());
    }
    let cases: Vec<Case> = match arguments.nodes {
        Some(nodes) => vec![Case::new(nodes, arguments.dead, arguments)],
        None => [1_000, 10_000, 100_000]
            .into_iter()
            .flat_map(|nodes| [0, 20, 50].map(|dead| Case::new(nodes, dead, arguments)))
            .collect(),
    };
    let mut rows = Vec::new();
    for case in cases {
        let row = case.measure()?;
        if !arguments.json {
            if rows.is_empty() {
                println!("{HEAD}");
            }
            println!("{}", line(&row));
        }
        rows.push(row);
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&rows)?);
    }
    Ok(())
}

const HEAD: &str = "   nodes dead  a p | closest recall | hops mean/p50/p99/max | lookup ms p50/p99 | path ms p50/p99 | nearest ms | \
    nearest:path p50/p99 | messages mean/p99 | contacts  bytes  resident | M events/cpu s, build s";

fn line(row: &Row) -> String {
    format!(
        "{:>8} {:>3}% {:>2} {} | {:>6.2}% {:>6.3} | {:>9.2}/{:.0}/{:.0}/{:.0} | {:>9.0}/{:<7.0} | {:>7.0}/{:<6.0} | {:>5.0}/{:<5.0} | \
         {:>9.2}/{:<8.2} | {:>9.1}/{:<6.0} | {:>8.0} {:>6.0} {:>9.0} | {:.2}, {:.1}",
        row.nodes,
        row.dead_percent,
        row.alpha,
        row.paths,
        row.found_closest * 100.0,
        row.recall,
        row.hops.mean,
        row.hops.p50,
        row.hops.p99,
        row.hops.max,
        row.lookup_ms.p50,
        row.lookup_ms.p99,
        row.path_ms.p50,
        row.path_ms.p99,
        row.nearest_ms.p50,
        row.nearest_ms.p99,
        row.ratio.p50,
        row.ratio.p99,
        row.messages,
        row.messages_p99,
        row.contacts,
        row.bytes_per_node,
        row.resident_per_node,
        row.events_per_cpu_second / 1e6,
        row.build_cpu_seconds,
    )
}

/// For `cargo xtask bench kademlia`.
pub fn rows() -> Result<Vec<BenchRow>> {
    let arguments = Arguments {
        nodes: None,
        dead: 0,
        alpha: 3,
        paths: 1,
        deviations: 2,
        wide: false,
        fixed_timeout: false,
        jitter: 0,
        loss: 0.0,
        lookups: 500,
        seed: 1,
        churn_minutes: None,
        json: false,
    };
    let mut rows = Vec::new();
    for nodes in [1_000, 10_000, 100_000] {
        for dead in [0, 20, 50] {
            let row = Case::new(nodes, dead, &arguments).measure()?;
            let name = format!("{nodes} nodes, {dead} % of all contacts dead");
            let note = format!(
                "{} lookups of random ids in tables filled by who knows all, one-way delays of 20 to 100 ms, \
                 closest found {:.2} %, recall of the closest eight {:.3}, hops {:.2} and {} at most, \
                 {:.0} queries and replies, nearest over path {:.2} median and {:.2} p99",
                row.lookups,
                row.found_closest * 100.0,
                row.recall,
                row.hops.mean,
                row.hops.max,
                row.messages,
                row.ratio.p50,
                row.ratio.p99
            );
            rows.push(alone(
                &format!("{name}, median"),
                row.lookup_ms.p50,
                "ms",
                &note,
            ));
            rows.push(alone(
                &format!("{name}, 99 % within"),
                row.lookup_ms.p99,
                "ms",
                "",
            ));
        }
    }
    for (percent, paths) in [(10, 1), (10, 4), (25, 1), (25, 4)] {
        let misled = holdfast_scenarios::kademlia::among_sybils(2_000, percent, paths, 2_000, 1);
        rows.push(alone(
            &format!("2,000 nodes, {percent} % of them sybils, {paths} paths, right"),
            100.0 - misled.missed as f64 * 100.0 / misled.ended as f64,
            "%",
            &format!(
                "{} lookups, {:.0} queries and replies, each sybil names its accomplices under ids close to whatever is asked for",
                misled.ended, misled.messages
            ),
        ));
    }
    let churned = churn(&Case::new(10_000, 0, &arguments), 60)?;
    let note = format!(
        "the same core in a world of one thread, sessions of a median of 60 minutes, {} nodes were replaced, \
         {:.2} datagrams sent a node and second",
        churned.died, churned.datagrams_per_node_second
    );
    rows.push(alone(
        "10,000 nodes that come and go, one simulated hour",
        churned.cpu_seconds,
        "CPU seconds",
        &note,
    ));
    rows.push(alone(
        "the same, speed",
        churned.events_per_cpu_second,
        "events per CPU second",
        "",
    ));
    rows.push(alone(
        "the same, memory",
        churned.bytes_per_node,
        "bytes a node",
        "cores, and what is under way between them",
    ));
    rows.push(alone(
        "the same, resident",
        churned.resident_per_node,
        "bytes a node",
        "with everything around them, and what the allocator adds",
    ));
    Ok(rows)
}
