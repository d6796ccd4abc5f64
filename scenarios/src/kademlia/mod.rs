//! `kademlia`: a few hundred to two thousand nodes of the DHT that look things up and store them, while nodes die, come
//! and go, cannot be reached, or lie.
//!
//! The fast lane of overlays (`holdfast_sim::overlay`) runs many cores; what befalls them is drawn from the seed alone: of
//! a fault plan only the seed is taken. The full lane ([`full`]) runs some dozens of nodes as they are in production.

mod choose;
mod full;
mod history;
mod inspect;
mod judge;
mod liars;
mod portrait;
mod probe;
mod register;
mod store;
mod trial;

use crate::{
    Outcome, Run, Scenario,
    raft_kv::panics::without_panic,
    record::{cpu_ns, failure},
};
use holdfast_kademlia::Config;
use holdfast_record::{
    Lane, SeedRecord, Timeline,
    worker::{LaneInfo, ScenarioInfo},
};
use holdfast_sim::overlay::{BEGIN, Ids, Links, Overlay};

/// The scenario.
pub struct Kademlia;

const NAME: &str = "kademlia";
const DEFAULT_SEEDS: u64 = 300;

type World = Overlay<liars::Liars, inspect::Inspector>;

const MARKS: &[&str] = &[
    "answer-that-nobody-asked-for",
    "back-under-another-id",
    "cas-refused",
    "datagram-lost",
    "garbage-received",
    "grown-by-joining",
    "halves-healed",
    "item-found",
    "item-put",
    "item-replaced",
    "item-told",
    "lie-answer-from-elsewhere",
    "lie-bogus-contacts",
    "lie-flood",
    "lie-forged-source",
    "lie-honest-address-under-a-false-id",
    "lie-overlong-answer",
    "lie-poisoned-store",
    "lie-query-under-a-false-id",
    "lie-silent",
    "lie-sybils-near-a-target",
    "looked-up-among-half-dead",
    "mute-nodes-heard-again",
    "networks-shared",
    "node-replaced",
    "old-sequence-refused",
    "peer-announced",
    "peers-found",
    "peers-told",
    "read-after-put",
    "sample-told",
    "scrape-told",
    "secure-ids",
    "several-paths",
    "spare-kept",
    "stranger-answered",
    "table-deserted",
    "token-of-the-period-before",
    "token-refused",
    "wide-buckets",
    "wrong-signature-refused",
];

impl Scenario for Kademlia {
    fn info(&self) -> ScenarioInfo {
        ScenarioInfo {
            name: NAME.into(),
            description: "the DHT: lookups find the closest nodes and what they store, whoever dies, leaves or lies"
                .into(),
            lanes: vec![
                LaneInfo {
                    lane: Lane::Fast,
                    default_seeds: DEFAULT_SEEDS,
                    marks: MARKS.iter().map(|mark| mark.to_string()).collect(),
                },
                LaneInfo {
                    lane: Lane::Full,
                    default_seeds: full::DEFAULT_SEEDS,
                    marks: full::MARKS.iter().map(|mark| mark.to_string()).collect(),
                },
            ],
        }
    }

    fn run(&self, run: &Run) -> Outcome {
        match run.lane {
            Lane::Fast => run_fast(run),
            Lane::Full => full::run(run),
        }
    }
}

/// Lookups among liars, as the benchmark counts them.
#[derive(Clone, Copy, Debug)]
pub struct Misled {
    /// Lookups that ended.
    pub ended: u64,
    /// Of these, that did not reach the closest node that does not lie.
    pub missed: u64,
    /// Queries and answers of one, the mean.
    pub messages: f64,
}

/// Looks up random ids among `nodes`, of which so many percent are sybils: each names its accomplices under ids close
/// to whatever is asked for, and they answer under them.
pub fn among_sybils(nodes: u32, percent: u32, paths: usize, lookups: u32, seed: u64) -> Misled {
    let chosen = choose::Chosen {
        nodes,
        is_grown: false,
        config: Config {
            paths,
            ..Config::default()
        },
        links: Links::default(),
        ids: Ids::Random,
        network_bits: 0,
        trial: choose::Trial::Liars(percent, vec![liars::Lie::Sybil]),
        lookups,
    };
    let tally = trial::Run::new(seed, chosen, true).measure(lookups);
    Misled {
        ended: tally.ended,
        missed: tally.missed,
        messages: tally.messages as f64 / tally.ended.max(1) as f64,
    }
}

fn run_fast(run: &Run) -> Outcome {
    let began = cpu_ns();
    let seed = run.source.seed();
    let mutant = run.mutant.and_then(|planted| planted.kademlia());
    let chosen = choose::choose(seed, mutant);
    let (nodes, name) = (chosen.nodes, chosen.trial.name());
    let (usual_hops, _) = judge::usual_hops(chosen.nodes, 0, chosen.config.k);
    let mut trial = trial::Run::new(seed, chosen, run.black_box);
    trial.painter = run.timeline.then(portrait::Painter::default);
    let ended = without_panic(|| {
        trial.run();
        Ok(())
    });
    if let Err(violation) = ended {
        trial.fail(violation);
    }
    let counts = trial.world.counts();
    let mut record = SeedRecord {
        scenario: NAME.into(),
        lane: Lane::Fast,
        seed,
        nodes,
        simulated_ns: trial.world.now() - BEGIN,
        cpu_ns: 0,
        messages: counts.delivered,
        operations: trial.ended(),
        unknown: 0,
        faults: [(name.to_owned(), 1)].into(),
        marks: trial.marks.counts(),
        trace_hash: format!("{:016x}", trial.world.hash()),
        failure: trial.violation().map(failure),
    };
    for (lie, count) in &trial.world.adversary().told {
        record.faults.insert(lie.name().to_owned(), *count);
    }
    record.cpu_ns = cpu_ns() - began;
    let timeline = trial.painter.take().map(|painter| Timeline {
        portrait: Some(painter.finish(&trial.world, name, usual_hops)),
        ..Timeline::default()
    });
    Outcome { record, timeline }
}
