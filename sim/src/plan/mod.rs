//! The fault plan: everything that happens to one run from outside, as data.
//!
//! A plan is drawn from a seed ([`FaultPlan::draw`]), written to a file, edited, shrunk, replayed and kept as a
//! regression. It says how network, disks and clocks behave and lists every fault with its time. Together with the
//! binary it is the whole run: a world takes no other input.

mod check;
mod draw;
mod fault;
mod menu;
mod profile;
mod recipe;

pub use check::{MAX_FAULTS, MAX_NODES, MAX_RUN_NS, PlanError};
pub use fault::{Affliction, Fault, FaultKind, Outcast, Strike, Target};
pub use menu::{Menu, Recipe};
pub use profile::{DiskProfile, NetworkProfile, PacketOrder, PowerCutProfile};

use crate::clock::ClockProfile;
use holdfast_record::Lane;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The version of the format that this build reads and writes.
pub const PLAN_VERSION: u32 = 1;

/// Everything that happens to one run from outside. Times are simulated nanoseconds since the run began.
///
/// A run has two phases. Until [`horizon_ns`](FaultPlan::horizon_ns) faults fly and only safety is asked for. Then
/// every fault ends, what is down is started, nothing is lost or duplicated and no clock is touched any more: within
/// [`liveness_ns`](FaultPlan::liveness_ns) the system must be well again, the [`outcasts`](FaultPlan::outcasts)
/// excepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// The format's version: [`PLAN_VERSION`].
    pub version: u32,
    /// The scenario that the plan was drawn for.
    pub scenario: String,
    /// The lane that the plan was drawn for; the fast lane where a file does not say.
    #[serde(default = "fast", skip_serializing_if = "is_fast")]
    pub lane: Lane,
    /// The seed of all that the plan leaves to chance: which packets are lost, which sectors.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: u32,
    /// Where the safety phase ends.
    pub horizon_ns: u64,
    /// How long the liveness phase lasts.
    pub liveness_ns: u64,
    /// How packets travel.
    pub network: NetworkProfile,
    /// How disks behave.
    pub disk: DiskProfile,
    /// How each node's clocks start out.
    pub clocks: Vec<ClockProfile>,
    /// How far clocks may drift, parts per million: what the nodes are told to allow for.
    #[serde(default = "usual_drift_bound")]
    pub drift_bound_ppm: u32,
    /// The faults, in order of their beginning.
    pub faults: Vec<Fault>,
    /// Who stays unwell when they end: less than half of the nodes. The others must recover without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcasts: Vec<Outcast>,
}

fn usual_drift_bound() -> u32 {
    500
}

fn fast() -> Lane {
    Lane::Fast
}

fn is_fast(lane: &Lane) -> bool {
    *lane == Lane::Fast
}

/// Which end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It ends. Before the beginnings of the same instant.
    End,
    /// It begins.
    Begin,
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, simulated nanoseconds.
    pub at_ns: u64,
    /// Beginning or end.
    pub phase: Phase,
    /// Its place in [`FaultPlan::faults`].
    pub fault: usize,
}

impl FaultPlan {
    /// A plan in which nothing happens: good links, good disks, right clocks, no faults.
    pub fn quiet(scenario: &str, seed: u64, nodes: u32, horizon_ns: u64) -> Self {
        FaultPlan {
            version: PLAN_VERSION,
            scenario: scenario.to_owned(),
            lane: fast(),
            seed,
            nodes,
            horizon_ns,
            liveness_ns: horizon_ns,
            network: NetworkProfile::default(),
            disk: DiskProfile::default(),
            clocks: vec![ClockProfile::default(); nodes as usize],
            drift_bound_ppm: usual_drift_bound(),
            faults: Vec::new(),
            outcasts: Vec::new(),
        }
    }

    /// Every beginning and end in the order in which a world performs them. What lasts and says no end, or one after
    /// the horizon, ends at the horizon.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::with_capacity(self.faults.len() * 2);
        for (place, fault) in self.faults.iter().enumerate() {
            steps.push(Step {
                at_ns: fault.at_ns,
                phase: Phase::Begin,
                fault: place,
            });
            if fault.kind.lasts() {
                steps.push(Step {
                    at_ns: fault.ends(self.horizon_ns),
                    phase: Phase::End,
                    fault: place,
                });
            }
        }
        steps.sort_by_key(|step| (step.at_ns, step.phase, self.faults[step.fault].id));
        steps
    }

    /// What a fault means now: its targets as nodes. `leader` is who leads at this moment, if anybody does.
    pub fn strike(&self, fault: &Fault, leader: Option<u32>) -> Strike {
        fault.strike(self.seed, self.nodes, leader, self.horizon_ns)
    }

    /// The plan as indented JSON.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a plan is plain data");
        json.push('\n');
        json
    }

    /// Reads a plan from JSON and checks it. `file` is what errors call it.
    pub fn from_json(file: &str, json: &str) -> Result<Self, PlanError> {
        let plan: FaultPlan =
            serde_json::from_str(json).map_err(|error| PlanError::malformed(file, &error))?;
        match plan.check() {
            Ok(()) => Ok(plan),
            Err((field, problem)) => Err(PlanError::Invalid {
                file: file.to_owned(),
                field,
                problem,
            }),
        }
    }

    /// Reads a plan from a file and checks it.
    #[allow(
        clippy::disallowed_methods,
        reason = "plans are read before anything is simulated"
    )]
    pub fn load(path: &Path) -> Result<Self, PlanError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(json) => FaultPlan::from_json(&file, &json),
            Err(source) => Err(PlanError::Unreadable { file, source }),
        }
    }
}
