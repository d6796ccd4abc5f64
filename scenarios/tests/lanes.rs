//! The worker as `cargo xtask` starts it, in the full lane: a plan that a run leaves is replayed where it was drawn, and
//! the checks that stand in every node find what is planted.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a worker is a process, and what it leaves behind are files"
)]

use holdfast_record::{Lane, SeedRecord, Timeline};
use holdfast_sim::plan::FaultPlan;
use std::{path::Path, process::Command};

fn seeds(arguments: &[&str]) -> SeedRecord {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seeds"));
    let output = command.args(arguments).output().expect("the worker starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("one record")
}

fn timeline(path: &Path) -> Timeline {
    let bytes = std::fs::read(path).expect("a timeline was written");
    serde_json::from_slice(&bytes).expect("it is one")
}

#[test]
fn a_plan_of_the_full_lane_is_replayed_in_the_full_lane() {
    let folder = tempfile::tempdir().expect("a folder");
    let (story, plan) = (folder.path().join("t.json"), folder.path().join("p.json"));
    let (story_name, plan_name) = (story.display().to_string(), plan.display().to_string());
    let run = ["run", "raft-kv", "--timeline", &story_name];
    let first = seeds(&[&run[..], &["--lane", "full", "--seed", "5"]].concat());
    assert_eq!((first.lane, &first.failure), (Lane::Full, &None));
    std::fs::write(&plan, timeline(&story).plan).expect("a plan to keep");

    let mut again = seeds(&[&run[..], &["--replay", &plan_name]].concat());
    again.cpu_ns = first.cpu_ns;
    assert_eq!(again, first);

    let elsewhere = seeds(&[&run[..], &["--replay", &plan_name, "--lane", "fast"]].concat());
    assert_eq!(elsewhere.lane, Lane::Fast);
    let written = FaultPlan::from_json("p", &timeline(&story).plan).expect("a plan");
    assert_eq!(written.lane, Lane::Fast, "where it ran last");
}

#[test]
fn a_seed_of_the_link_checker_is_the_same_in_two_processes() {
    let run = ["run", "links", "--lane", "full", "--seed", "7"];
    let first = seeds(&run);
    let mut again = seeds(&run);
    again.cpu_ns = first.cpu_ns;
    assert_eq!(again, first);
    assert_eq!(first.failure, None);
    assert!(first.operations > 50, "links were judged: {first:?}");
}

#[test]
fn what_stands_in_every_node_of_the_full_lane_sees_a_commit_by_counting() {
    let found = (0..60).find_map(|seed: u64| {
        let seed = seed.to_string();
        let mutant = "commit-old-term-by-counting";
        let run = ["run", "raft-kv", "--lane", "full", "--seed", &seed];
        seeds(&[&run[..], &["--mutant", mutant]].concat()).failure
    });
    let failure = found.expect("one seed in a few shows it");
    assert_eq!(failure.property, "commit-in-own-term");
    assert!(failure.node.is_some() && failure.at_ns > 0, "{failure:?}");
}
