//! `kademlia`: a few hundred to two thousand nodes of the DHT that look things up and store them, while nodes die, come
//! and go, cannot be reached, or lie.
//!
//! The fast lane of overlays (`holdfast_sim::overlay`) runs many cores; what befalls them is drawn from the seed alone: of
//! a fault plan only the seed is taken. The full lane ([`full`]) runs some dozens of nodes as they are in production.

mod choose;
mod full;
mod inspect;
mod judge;
mod liars;
mod probe;
mod register;
mod store;
mod trial;

use crate::{
    Outcome, Run, Scenario,
    raft_kv::{cpu_ns, failure, panics::without_panic},
};
use holdfast_record::{
    Lane, SeedRecord,
    worker::{LaneInfo, ScenarioInfo},
};
use holdfast_sim::overlay::{BEGIN, Overlay};

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

fn run_fast(run: &Run) -> Outcome {
    let began = cpu_ns();
    let seed = run.source.seed();
    let mutant = run.mutant.and_then(|planted| planted.kademlia());
    let chosen = choose::choose(seed, mutant);
    let (nodes, name) = (chosen.nodes, chosen.trial.name());
    let mut trial = trial::Run::new(seed, chosen, run.black_box);
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
    Outcome {
        record,
        timeline: None,
    }
}
