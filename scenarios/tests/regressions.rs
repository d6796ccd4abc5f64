//! Every plan in `regressions/` that is named after a planted bug finds it, and finds nothing where nothing is planted.
//! Plans are kept as they were drawn; each is also something to give to `cargo xtask simulate --replay`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a worker is a process, and a test reads the plans that are kept beside it"
)]

use holdfast_record::{Lane, SeedRecord};
use holdfast_scenarios::{MUTANTS, Planted, Run, Source, find};
use holdfast_sim::plan::FaultPlan;
use std::{path::PathBuf, process::Command};

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

/// Runs a bug's plan: in the fast lane here, in the full lane, where a process makes one run, in a worker.
fn run(planted: &'static Planted, is_planted: bool) -> SeedRecord {
    let plan = plan(planted.name).unwrap_or_else(|| panic!("no plan for {}", planted.name));
    if planted.lane == Lane::Full {
        return work(planted, is_planted);
    }
    let run = Run {
        lane: Lane::Fast,
        source: Source::Plan(plan),
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
fn each_plan_finds_its_bug_and_nothing_else() {
    for planted in MUTANTS {
        let clean = run(planted, false);
        assert_eq!(clean.failure, None, "{}: nothing is planted", planted.name);
        let again = run(planted, false);
        assert_eq!(clean.trace_hash, again.trace_hash, "{}", planted.name);
        let found = run(planted, true);
        assert!(found.failure.is_some(), "{} is not found", planted.name);
    }
}
