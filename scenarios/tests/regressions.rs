//! Every plan in `regressions/` that is named after a planted bug finds it, and finds nothing where nothing is planted.
//! Plans are kept as they were drawn; each is also something to give to `cargo xtask simulate --replay`. What befalls an
//! overlay is in no plan: its bugs are kept by seeds, in `regressions/seeds.json`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a worker is a process, and a test reads the plans that are kept beside it"
)]

use holdfast_record::{Lane, SeedRecord};
use holdfast_scenarios::{MUTANTS, Planted, Run, Source, find};
use holdfast_sim::plan::FaultPlan;
use std::{collections::BTreeMap, path::PathBuf, process::Command};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("regressions")
        .join(format!("{name}.json"))
}

fn plan(name: &str) -> Option<FaultPlan> {
    let file = file(name);
    file.exists()
        .then(|| FaultPlan::load(&file).expect("a plan that can be read"))
}

/// The seeds of bugs that have no plan.
fn seeds() -> BTreeMap<String, u64> {
    let json = std::fs::read_to_string(file("seeds")).expect("a file of seeds");
    serde_json::from_str(&json).expect("a seed for each name")
}

/// What finds a bug.
fn source(name: &str) -> Source {
    match (plan(name), seeds().get(name)) {
        (Some(plan), None) => Source::Plan(plan),
        (None, Some(seed)) => Source::Seed(*seed),
        (plan, _) => panic!(
            "{name} has no plan and no seed, or both: {}",
            plan.is_some()
        ),
    }
}

/// Runs a bug's plan or seed: in the fast lane here, in the full lane, where a process makes one run, in a worker.
fn run(planted: &'static Planted, is_planted: bool) -> SeedRecord {
    let source = source(planted.name);
    if planted.lane == Lane::Full {
        return work(planted, is_planted);
    }
    let run = Run {
        lane: Lane::Fast,
        source,
        mutant: is_planted.then_some(planted),
        black_box: false,
        timeline: false,
    };
    let scenario = find(planted.scenario).expect("the scenario");
    scenario.run(&run).record
}

fn work(planted: &Planted, is_planted: bool) -> SeedRecord {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seeds"));
    command.args(["run", planted.scenario, "--lane", "full", "--replay"]);
    command.arg(file(planted.name));
    if is_planted {
        command.args(["--mutant", planted.name]);
    }
    let output = command.output().expect("the worker starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", planted.name);
    serde_json::from_slice(&output.stdout).expect("one record")
}

#[test]
fn each_plan_or_seed_finds_its_bug_and_nothing_else() {
    let mut wrong = Vec::new();
    for planted in MUTANTS {
        let clean = run(planted, false);
        if let Some(failure) = &clean.failure {
            wrong.push(format!("{}: nothing is planted: {failure:?}", planted.name));
        }
        if clean.trace_hash != run(planted, false).trace_hash {
            wrong.push(format!("{}: two runs differ", planted.name));
        }
        if run(planted, true).failure.is_none() {
            wrong.push(format!("{} is not found", planted.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
