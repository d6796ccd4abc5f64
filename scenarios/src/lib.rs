//! What is simulated: one module a scenario, each with its topology, its workload, what may befall it, and the
//! properties that must hold all the same; and the zoo of planted bugs by which the simulator is measured.
//!
//! The binary `seeds` runs scenarios seed by seed. It is not meant to be called by hand: `cargo xtask simulate` is.

pub mod discovery;
pub mod kademlia;
pub mod links;
pub mod raft_kv;
mod record;
pub mod web;
mod zoo;

use holdfast_record::{Lane, SeedRecord, Timeline, worker::ScenarioInfo};
use holdfast_sim::plan::FaultPlan;

pub use zoo::{MUTANTS, Planted, Switch, find as find_mutant};

/// Properties that are seen from outside: in what clients were told, in what replicas applied and became, and in
/// silence. The others look into the workings of Raft, and see a bug before it has done any harm.
pub const BLACK_BOX: &[&str] = &[
    "amplification",
    "announce",
    "announces-what-it-has",
    "answers",
    "blob-answer",
    "blob-bytes",
    "blob-found",
    "blob-list",
    "blob-lost",
    "blob-quota",
    "busy-loop",
    "cluster-serves",
    "convergence",
    "download",
    "drafts-left",
    "equal-state",
    "exactly-once",
    "fetched-bytes",
    "finds-closest",
    "finds-peers",
    "finds-stored",
    "hops",
    "idle-traffic",
    "item-found",
    "item-told",
    "linearizability",
    "list-found",
    "list-goes-back",
    "list-right",
    "list-signed",
    "liveness",
    "lookup-budget",
    "lookup-ends",
    "lookup-messages",
    "lookup-result",
    "lookup-time",
    "members-agree",
    "members-known",
    "never-put",
    "no-panic",
    "one-cas-wins",
    "own-id",
    "peers-told",
    "put-stores",
    "quota-honest",
    "read-after-put",
    "real-time-order",
    "recall",
    "recovery",
    "refusal",
    "refusals",
    "refuses-malformed",
    "register",
    "reply-length",
    "samples",
    "state-machine-safety",
    "storage",
    "token",
    "unanswered",
    "unasked-answer",
    "watch",
    "well-formed",
    "witness",
];

/// What to run.
#[derive(Clone, Debug)]
pub enum Source {
    /// Everything drawn from a seed.
    Seed(u64),
    /// A fault plan as it is written; its seed draws the rest.
    Plan(FaultPlan),
}

impl Source {
    /// The seed from which whatever is not in the plan is drawn.
    pub fn seed(&self) -> u64 {
        match self {
            Source::Seed(seed) => *seed,
            Source::Plan(plan) => plan.seed,
        }
    }
}

/// One run to make.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where.
    pub lane: Lane,
    /// What.
    pub source: Source,
    /// A bug to plant.
    pub mutant: Option<&'static Planted>,
    /// Whether only the properties of [`BLACK_BOX`] count.
    pub black_box: bool,
    /// Whether to record what the report's page shows.
    pub timeline: bool,
}

/// What a run led to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its record.
    pub record: SeedRecord,
    /// What the report's page shows, when that was asked for.
    pub timeline: Option<Timeline>,
}

/// A scenario: something to simulate in one lane or in both.
pub trait Scenario: Sync {
    /// Its name, its lanes, its marks.
    fn info(&self) -> ScenarioInfo;

    /// Makes a run. In the full lane a process makes one run only.
    fn run(&self, run: &Run) -> Outcome;
}

/// All scenarios.
pub static SCENARIOS: [&dyn Scenario; 4] = [
    &raft_kv::RaftKv,
    &links::BrokenLinks,
    &kademlia::Kademlia,
    &discovery::Discovery,
];

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static dyn Scenario> {
    SCENARIOS.into_iter().find(|s| s.info().name == name)
}
