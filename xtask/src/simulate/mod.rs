//! `cargo xtask simulate`: seeds by the thousand, or one with its page.
//!
//! [`hunt`] runs ranges of seeds on all processors and runs a sample of them again in other processes; [`one`] runs
//! one seed or one plan; [`outcome`] is what either came to: files, JSON, lines for a person. Everything about engines
//! and faults is behind the worker.

mod hunt;
mod one;
mod outcome;

pub use hunt::{Hunt, sample};
pub use outcome::{Broken, Determinism, Divergence, Folder, Outcome, Page, Unreached};

use crate::worker::Worker;
use crate::{Output, Verdict, XtaskError, cargo};
use holdfast_record::Lane;
use holdfast_record::worker::{LaneInfo, ScenarioInfo};
use std::path::{Path, PathBuf};

/// Run scenarios in the deterministic simulator, many seeds or one
///
/// Without arguments: every scenario, in both lanes, with as many seeds as each asks for. Records, a Parquet file and
/// pages go to reports/runs.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The scenario; all of them when left out
    pub scenario: Option<String>,
    /// Where to run: `fast` (the protocol on an event heap) or `full` (the whole engine); both when left out
    #[arg(long, value_name = "LANE")]
    pub lane: Option<Lane>,
    /// How many seeds to run in each lane [default: what the scenario asks for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub from: u64,
    /// Run this seed only, and write its page
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "from", "replay"])]
    pub seed: Option<u64>,
    /// Run a saved fault plan as it is written, and write its page
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "from"])]
    pub replay: Option<PathBuf>,
    /// Plant a bug of the zoo (see `cargo xtask bugs`)
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// How many workers to run at a time [default: one a processor]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Print one JSON document instead of tables
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask simulate                                      everything, as long as it should take
  cargo xtask simulate raft-kv --lane fast --seeds 10000    hunt longer
  cargo xtask simulate raft-kv --lane fast --seed 42        one seed, and its page
  cargo xtask simulate --replay scenarios/regressions/x.json

Fails (exit code 1) when a property breaks, when a seed that runs twice leaves two traces, or when a mark that the
scenario wants reached is not, although at least as many seeds ran as it asks for.";

/// A scenario in a lane.
#[derive(Clone, Debug)]
pub struct Place {
    /// The scenario's name.
    pub scenario: String,
    /// The lane and what it asks for.
    pub info: LaneInfo,
}

/// Builds the worker and runs the command.
pub fn run(root: &Path, arguments: &Arguments) -> Result<Verdict, XtaskError> {
    let output = Output::of(arguments.json);
    let worker = Worker::new(cargo::build_one(root, "seeds", output)?);
    let outcome = run_with(&worker, root, arguments)?;
    match output {
        Output::Json => println!("{}", crate::json(&outcome)),
        Output::Text => print!("{outcome}"),
    }
    Ok(Verdict::of(outcome.passed))
}

/// Runs the command with a worker that is there, and writes everything but what goes to standard output.
pub fn run_with(
    worker: &Worker,
    root: &Path,
    arguments: &Arguments,
) -> Result<Outcome, XtaskError> {
    let scenarios = worker.scenarios()?;
    let folder = outcome::Folder::create(root, &run_name(arguments))?;
    if let Some(plan) = &arguments.replay {
        return one::replay(worker, &scenarios, arguments, plan, folder);
    }
    let places = places(&scenarios, arguments.scenario.as_deref(), arguments.lane)?;
    match arguments.seed {
        Some(seed) => one::seed(worker, &places, arguments, seed, folder),
        None => Hunt::new(worker, arguments).run(&places, folder),
    }
}

/// Where to run, in the worker's order.
pub fn places(
    scenarios: &[ScenarioInfo],
    name: Option<&str>,
    lane: Option<Lane>,
) -> Result<Vec<Place>, XtaskError> {
    if let Some(name) = name {
        known(scenarios, name)?;
    }
    let mut places = Vec::new();
    for scenario in scenarios
        .iter()
        .filter(|s| name.is_none_or(|n| n == s.name))
    {
        for info in scenario
            .lanes
            .iter()
            .filter(|i| lane.is_none_or(|l| l == i.lane))
        {
            places.push(Place {
                scenario: scenario.name.clone(),
                info: info.clone(),
            });
        }
    }
    if places.is_empty() {
        let lane = lane
            .map(|l| format!(" in the {l} lane"))
            .unwrap_or_default();
        let what = name.unwrap_or("none of the scenarios");
        return Err(XtaskError::Usage(format!("{what} does not run{lane}")));
    }
    Ok(places)
}

fn known(scenarios: &[ScenarioInfo], name: &str) -> Result<(), XtaskError> {
    if scenarios.iter().any(|s| s.name == name) {
        return Ok(());
    }
    let lines: Vec<String> = scenarios
        .iter()
        .map(|s| format!("  {:<14} {}", s.name, s.description))
        .collect();
    let problem = format!(
        "there is no scenario `{name}`; there are\n{}",
        lines.join("\n")
    );
    Err(XtaskError::Usage(problem))
}

/// The name of a run's folder: the same for the same arguments, so that a run replaces what it left the last time.
fn run_name(arguments: &Arguments) -> String {
    let mut parts = vec![arguments.scenario.clone().unwrap_or_else(|| "all".into())];
    parts.extend(arguments.lane.map(|lane| lane.to_string()));
    match (&arguments.replay, arguments.seed, arguments.seeds) {
        (Some(plan), ..) => {
            let stem = plan.file_stem().unwrap_or_default().to_string_lossy();
            parts.push(format!("replay-{stem}"));
        }
        (None, Some(seed), _) => parts.push(format!("seed-{seed}")),
        (None, None, Some(seeds)) => parts.push(format!("{seeds}-seeds-from-{}", arguments.from)),
        (None, None, None) if arguments.from > 0 => parts.push(format!("from-{}", arguments.from)),
        (None, None, None) => {}
    }
    parts.extend(arguments.mutant.clone());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    parts.join("-").replace(|c| !plain(c), "-")
}

/// The command that runs one seed again.
fn reproduce(scenario: &str, lane: Lane, seed: u64, mutant: Option<&str>) -> String {
    let mutant = mutant.map(|m| format!(" --mutant {m}")).unwrap_or_default();
    format!("cargo xtask simulate {scenario} --lane {lane} --seed {seed}{mutant}")
}
