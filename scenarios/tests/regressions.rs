//! Every plan in `regressions/` that is named after a planted bug finds it, and finds nothing where nothing is planted.
//! Plans are kept as they were drawn; each is also something to give to `cargo xtask simulate --replay`.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads the plans that are kept beside it"
)]

use holdfast_record::Lane;
use holdfast_scenarios::{MUTANTS, Run, Source, find};
use holdfast_sim::plan::FaultPlan;
use std::path::PathBuf;

fn plan(name: &str) -> Option<FaultPlan> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("regressions")
        .join(format!("{name}.json"));
    file.exists()
        .then(|| FaultPlan::load(&file).expect("a plan that can be read"))
}

#[test]
fn each_plan_finds_its_bug_and_nothing_else() {
    let scenario = find("raft-kv").expect("the scenario");
    for planted in MUTANTS {
        let plan = plan(planted.name).unwrap_or_else(|| panic!("no plan for {}", planted.name));
        let mut run = Run {
            lane: Lane::Fast,
            source: Source::Plan(plan),
            mutant: None,
            black_box: false,
            timeline: false,
        };
        let clean = scenario.run(&run).record;
        assert_eq!(clean.failure, None, "{}: nothing is planted", planted.name);
        let again = scenario.run(&run).record;
        assert_eq!(clean.trace_hash, again.trace_hash, "{}", planted.name);
        run.mutant = Some(planted);
        let found = scenario.run(&run).record;
        assert!(found.failure.is_some(), "{} is not found", planted.name);
    }
}
