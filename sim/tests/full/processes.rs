//! Two processes that simulate the same seed: what differs between them, and no draw of the seed, shows.

use std::{collections::BTreeSet, process::Command};

/// Which seed a child simulates.
const SEED: &str = "HOLDFAST_FULL_LANE_SEED";
/// Says nothing: its length moves the stack, as a different shell would.
const PADDING: &str = "HOLDFAST_PADDING";
/// Stands before what a child says.
const OUTCOME: &str = "outcome ";

/// In a child: the seed that its parent wants simulated.
pub fn seed() -> u64 {
    let seed = std::env::var(SEED).expect("the parent sets it");
    seed.parse().expect("a number")
}

/// In a child: says what became of the seed, in one line.
pub fn tell(outcome: &str) {
    println!("{OUTCOME}{outcome}");
}

/// Simulates the seeds from 0 on in two processes each, which must tell the same; and no two seeds may tell the same.
/// `child` is the full name of an ignored test that asks for its [`seed`] and [`tell`]s.
#[track_caller]
pub fn check_equal(child: &str, seeds: u64) {
    let mut outcomes = BTreeSet::new();
    for seed in 0..seeds {
        let first = outcome(child, seed, 1);
        let second = outcome(child, seed, 5_000);
        assert_eq!(first, second, "seed {seed}");
        assert!(outcomes.insert(first), "different seeds differ: {seed}");
    }
}

#[track_caller]
fn outcome(child: &str, seed: u64, padding: usize) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([child, "--exact", "--ignored", "--nocapture"])
        .env(SEED, seed.to_string())
        .env(PADDING, "x".repeat(padding))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(OUTCOME));
    let outcomes: Vec<&str> = lines.map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes.len(), 1, "{text}");
    outcomes[0].to_owned()
}
