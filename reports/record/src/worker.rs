//! What `cargo xtask` and the worker binary say to each other.
//!
//! The worker is the binary `seeds` of `holdfast-scenarios`: it links the engine and the simulator, so it is rebuilt
//! with every edit; `xtask` links polars and is not. They share these types and this command line:
//!
//! - `seeds list` prints a JSON array of [`ScenarioInfo`];
//! - `seeds mutants` prints a JSON array of [`MutantInfo`];
//! - `seeds run SCENARIO --lane LANE --from A --to B [--order reverse] [--mutant NAME] [--stop-on-failure]
//!   [--black-box]` (only properties that are seen from outside count) runs the seeds of `[A, B)`, upwards or in reverse, and prints one [`SeedRecord`](crate::SeedRecord) a line, **in that
//!   order and flushed after each**: when a worker dies, the seed after the last line is the one that killed it;
//! - `seeds run SCENARIO --lane LANE --seed S [--mutant NAME] [--timeline FILE]` runs one seed;
//! - `seeds run SCENARIO --replay PLAN.json [--lane LANE] [--mutant NAME] [--timeline FILE]` runs a fault plan as it
//!   is written; without a lane, the plan's own.
//!
//! `--timeline FILE` writes a [`Timeline`](crate::Timeline) as JSON. The exit code is 0 even if a property broke, since
//! that is in the record; another code means that the worker itself failed, and its standard error says how.
//!
//! The benchmark binary `benches NAME --json`, of `holdfast-benches`, which alone links rivals, prints a JSON array of
//! [`BenchRow`]; `benches links --json` one of [`CheckerRow`].

use crate::Lane;
use serde::{Deserialize, Serialize};

/// One scenario, as `seeds list` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioInfo {
    /// Its name on the command line, e.g. `raft-kv`.
    pub name: String,
    /// One line for a person.
    pub description: String,
    /// Where it can run, fast lane first.
    pub lanes: Vec<LaneInfo>,
}

/// How a scenario runs in one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneInfo {
    /// The lane.
    pub lane: Lane,
    /// How many seeds a run has when nobody says; with as many or more, every one of `marks` must be reached.
    pub default_seeds: u64,
    /// The `sometimes!` marks that the scenario declares in this lane.
    pub marks: Vec<String>,
}

/// One planted bug, as `seeds mutants` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MutantInfo {
    /// Its name on the command line, e.g. `commit-by-counting`.
    pub name: String,
    /// Its number in the bug zoo, e.g. `R1`.
    pub id: String,
    /// Where the bug was first seen: a paper's section, an issue, a post-mortem.
    pub source: String,
    /// What is wrong, in one line.
    pub description: String,
    /// The package it lives in.
    #[serde(rename = "crate")]
    pub package: String,
    /// The scenario that hunts it.
    pub scenario: String,
    /// The lane in which it does.
    pub lane: Lane,
}

/// One measurement of a benchmark, beside a rival's where there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchRow {
    /// What was measured, e.g. `append and sync, 64 writers`.
    pub name: String,
    /// The measured value.
    pub value: f64,
    /// Its unit, e.g. `entries/s`.
    pub unit: String,
    /// Who else was measured in the same way, in the same process or on the same machine.
    #[serde(default)]
    pub rival: Option<String>,
    /// The rival's value, in the same unit.
    #[serde(default)]
    pub rival_value: Option<f64>,
    /// `value / rival_value`.
    #[serde(default)]
    pub ratio: Option<f64>,
    /// What a reader must know to judge the numbers.
    #[serde(default)]
    pub note: String,
}

/// How one link checker did on the site of known faults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckerRow {
    /// Its name, e.g. `lychee 0.24.2`.
    pub name: String,
    /// Why it did not run. Everything below is zero then.
    #[serde(default)]
    pub skipped: Option<String>,
    /// Real time, seconds; the median of the repetitions, as all measurements here.
    pub wall_seconds: f64,
    /// CPU time, user and system, seconds.
    pub cpu_seconds: f64,
    /// The most memory that it had resident, bytes.
    pub peak_bytes: f64,
    /// Requests that the site saw.
    pub requests: u64,
    /// URLs that were asked for.
    pub distinct: u64,
    /// Requests beyond the first for a URL whose answer does not change.
    pub duplicates: u64,
    /// Requests for what robots.txt disallows.
    pub forbidden: u64,
    /// Faults that there are.
    pub faults: u64,
    /// Faults that it did not report in every repetition, by kind.
    pub missed: Vec<String>,
    /// What it reported without need in any repetition, by kind.
    pub false_alarms: Vec<String>,
    /// What a reader must know to judge the numbers.
    #[serde(default)]
    pub note: String,
}
