//! `raft-kv`: three or five replicas of a key-value store, and clients that put, get, compare-and-set, delete, read
//! ranges, watch and compact, over few keys, while everything on the fault menu befalls the replicas.

mod fast;
mod full;
pub mod http;
pub(crate) mod panics;
pub(crate) mod settings;
pub mod workload;

use crate::{Outcome, Run, Scenario, Source, record::cpu_ns};
use holdfast_record::{
    Lane,
    worker::{LaneInfo, ScenarioInfo},
};
use holdfast_sim::{
    check::{
        Violation,
        kv::{self, Change, Operation, Watch},
    },
    plan::{FaultPlan, Menu, Recipe},
};

/// The scenario.
pub struct RaftKv;

const NAME: &str = "raft-kv";

impl RaftKv {
    /// What befalls the replicas in a seed.
    pub fn plan(lane: Lane, seed: u64) -> FaultPlan {
        FaultPlan::draw(seed, &menu(lane))
    }
}

impl Scenario for RaftKv {
    fn info(&self) -> ScenarioInfo {
        let lane = |lane, default_seeds, marks: &[&str]| LaneInfo {
            lane,
            default_seeds,
            marks: marks.iter().map(|mark| mark.to_string()).collect(),
        };
        ScenarioInfo {
            name: NAME.into(),
            description: "a replicated key-value store: linearizable, exactly once, whatever fails"
                .into(),
            lanes: vec![
                lane(Lane::Fast, 2_000, fast::MARKS),
                lane(Lane::Full, 50, full::MARKS),
            ],
        }
    }

    fn run(&self, run: &Run) -> Outcome {
        let began = cpu_ns();
        let mut plan = match &run.source {
            Source::Seed(seed) => RaftKv::plan(run.lane, *seed),
            Source::Plan(plan) => plan.clone(),
        };
        plan.lane = run.lane;
        let mut outcome = match run.lane {
            Lane::Fast => fast::run(plan, run),
            Lane::Full => full::run(plan, run),
        };
        outcome.record.cpu_ns = cpu_ns() - began;
        outcome
    }
}

/// What may befall the replicas.
fn menu(lane: Lane) -> Menu {
    let mut menu = Menu::new(NAME);
    menu.recipes.extend([Recipe::SyncError, Recipe::Ambush]);
    if lane == Lane::Fast {
        // A minute in all, most of it under faults.
        menu.horizon_ns = 42_000_000_000;
        menu.liveness_ns = 18_000_000_000;
        menu.outcasts = 0.3;
        menu.max_drift_ppm = 200_000;
    }
    menu
}

/// What clients and log say of a run, and what must hold of it.
struct Story {
    /// What clients asked and were told.
    history: Vec<Operation>,
    /// What watchers saw.
    watches: Vec<Watch>,
    /// What the committed log did.
    changes: Vec<Change>,
}

impl Story {
    fn check(&self) -> Result<(), Violation> {
        kv::witness(&self.history, &self.changes)?;
        kv::linearizable(&self.history)?;
        kv::watches(&self.watches, &self.changes)
    }
}
