//! `cargo xtask simulate` with a worker that simulates nothing, and does everything else that a worker can do.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a worker is a process, and what a run leaves behind are files"
)]

use holdfast_record::{Lane, SeedRecord};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use xtask::XtaskError;
use xtask::simulate::{Arguments, Outcome, run_with, sample};
use xtask::worker::Worker;

fn worker() -> Worker {
    Worker::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker.sh"))
}

struct Run {
    dir: TempDir,
    outcome: Result<Outcome, XtaskError>,
}

impl Run {
    fn of(arguments: Arguments) -> Run {
        Run::with(|worker| worker, arguments)
    }

    fn with(change: impl FnOnce(Worker) -> Worker, arguments: Arguments) -> Run {
        let dir = tempfile::tempdir().unwrap();
        let worker = change(worker());
        let outcome = run_with(&worker, dir.path(), &arguments);
        Run { dir, outcome }
    }

    #[track_caller]
    fn outcome(&self) -> &Outcome {
        self.outcome.as_ref().unwrap()
    }

    #[track_caller]
    fn error(&self) -> String {
        self.outcome.as_ref().unwrap_err().to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        let folder = self.outcome().folder.relative();
        self.dir.path().join(folder).join(name)
    }

    fn records(&self) -> Vec<SeedRecord> {
        let text = std::fs::read_to_string(self.file("records.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// What a user types, without the defaults of clap.
fn arguments(scenario: &str, lane: Lane) -> Arguments {
    Arguments {
        scenario: Some(scenario.into()),
        lane: Some(lane),
        jobs: Some(2),
        json: true,
        ..Arguments::default()
    }
}

#[test]
fn a_good_scenario_passes_in_both_lanes() {
    let run = Run::of(Arguments {
        lane: None,
        ..arguments("good", Lane::Fast)
    });
    let outcome = run.outcome();
    assert!(outcome.passed, "{outcome}");
    assert_eq!(outcome.seeds, 44);
    let lanes: Vec<(Lane, u64)> = outcome
        .summary
        .lanes
        .iter()
        .map(|l| (l.lane, l.seeds))
        .collect();
    assert_eq!(lanes, [(Lane::Fast, 40), (Lane::Full, 4)]);
    let twice: Vec<u64> = outcome.determinism.iter().map(|d| d.seeds).collect();
    assert_eq!(twice, [40, 4]);
    let seeds: Vec<u64> = run.records().iter().map(|r| r.seed).collect();
    assert_eq!(seeds, (0..40).chain(0..4).collect::<Vec<_>>());
    assert!(outcome.to_string().ends_with(&format!(
        "simulate: PASSED, 44 seeds in {:.1} s\n",
        outcome.seconds
    )));
    let parquet = holdfast_reports::frame::read_parquet(&run.file("records.parquet")).unwrap();
    assert_eq!(parquet.height(), 44);
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(run.file("summary.json")).unwrap()).unwrap();
    assert_eq!(json["passed"], true);
    assert_eq!(json["folder"], "reports/runs/good");
}

#[test]
fn a_broken_property_fails_the_run_and_gets_a_page() {
    let run = Run::of(Arguments {
        seeds: Some(40),
        from: 100,
        ..arguments("breaks", Lane::Fast)
    });
    let outcome = run.outcome();
    assert!(!outcome.passed);
    let seeds: Vec<u64> = outcome.failures.iter().map(|f| f.seed).collect();
    assert_eq!(seeds, [107, 127]);
    let text = outcome.to_string();
    for needed in [
        "FAILED: breaks fast seed 107: linearizability",
        "  | get a returned 3",
        "  run it again: cargo xtask simulate breaks --lane fast --seed 107",
        "page of breaks fast seed 107: reports/runs/breaks-fast-40-seeds-from-100/breaks-fast-seed-107.html",
        "a property broke in 2 seeds",
    ] {
        assert!(text.contains(needed), "{needed:?} is not in\n{text}");
    }
    let page = std::fs::read_to_string(run.file("breaks-fast-seed-107.html")).unwrap();
    assert!(page.contains("linearizability broke"));
    assert!(run.file("breaks-fast-seed-107.plan.json").exists());
}

#[test]
fn a_seed_that_kills_its_worker_is_a_failure_and_the_others_run() {
    for lane in [Lane::Fast, Lane::Full] {
        let run = Run::of(Arguments {
            seeds: Some(12),
            ..arguments("dies", lane)
        });
        let outcome = run.outcome();
        assert_eq!(outcome.seeds, 12);
        let [failure] = &outcome.failures[..] else {
            panic!("{:#?}", outcome.failures);
        };
        assert_eq!((failure.seed, failure.property.as_str()), (5, "no-panic"));
        assert!(
            failure.message.contains("an assertion of seed 5"),
            "{}",
            failure.message
        );
        assert_eq!(outcome.pages, [], "there is no timeline to show");
        assert!(
            outcome.determinism.iter().all(|d| d.divergences.is_empty()),
            "it dies every time"
        );
    }
}

#[test]
fn a_worker_that_hangs_is_a_failure_of_its_seed() {
    let impatient = |worker: Worker| worker.with_patience(Duration::from_millis(500));
    let run = Run::with(impatient, arguments("hangs", Lane::Full));
    let failures = &run.outcome().failures;
    assert_eq!(failures.len(), 1, "{failures:#?}");
    assert_eq!(
        (failures[0].seed, failures[0].property.as_str()),
        (3, "terminates")
    );
}

#[test]
fn two_traces_of_one_seed_fail_the_run() {
    let run = Run::of(arguments("drifts", Lane::Fast));
    let outcome = run.outcome();
    assert!(!outcome.passed);
    assert_eq!(outcome.failures, []);
    assert_eq!(outcome.determinism[0].divergences.len(), 40);
    let text = outcome.to_string();
    assert!(
        text.contains("40 seeds were NOT THE SAME twice\n  seed 0: "),
        "{text}"
    );
}

#[test]
fn a_mark_that_is_never_reached_fails_a_run_that_is_long_enough() {
    let run = Run::of(arguments("unreached", Lane::Fast));
    assert!(!run.outcome().passed);
    let text = run.outcome().to_string();
    assert!(
        text.contains("UNREACHED: no seed of unreached fast reached the mark `leader changed`"),
        "{text}"
    );
    let run = Run::of(Arguments {
        seeds: Some(39),
        ..arguments("unreached", Lane::Fast)
    });
    assert!(
        run.outcome().passed,
        "too short to expect it: {}",
        run.outcome()
    );
    assert!(!run.outcome().unreached[0].required);
}

#[test]
fn one_seed_gets_its_page_in_each_lane() {
    let run = Run::of(Arguments {
        seed: Some(7),
        lane: None,
        mutant: Some("easy".into()),
        ..arguments("breaks", Lane::Fast)
    });
    let outcome = run.outcome();
    assert!(!outcome.passed);
    assert_eq!(outcome.pages.len(), 2);
    assert_eq!(
        outcome.failures[1].reproduce,
        "cargo xtask simulate breaks --lane full --seed 7 --mutant easy"
    );
    assert!(outcome.unreached.iter().all(|mark| !mark.required));
}

#[test]
fn a_plan_is_replayed_in_its_own_scenario() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("p.json");
    std::fs::write(&plan, r#"{"scenario": "breaks", "seed": 7}"#).unwrap();
    let run = Run::of(Arguments {
        replay: Some(plan.clone()),
        json: true,
        ..Arguments::default()
    });
    let again = format!("cargo xtask simulate breaks --replay {}", plan.display());
    assert_eq!(run.outcome().failures[0].reproduce, again);
    assert!(
        std::fs::read_to_string(run.file("breaks-replay.html"))
            .unwrap()
            .contains(&again)
    );

    std::fs::write(&plan, "{").unwrap();
    let run = Run::of(Arguments {
        replay: Some(plan),
        ..Arguments::default()
    });
    assert!(
        run.error().contains("p.json is not JSON"),
        "{}",
        run.error()
    );
}

#[test]
fn mistakes_are_explained() {
    let run = Run::of(arguments("godo", Lane::Fast));
    assert!(
        run.error()
            .contains("there is no scenario `godo`; there are\n  good "),
        "{}",
        run.error()
    );
    let run = Run::of(arguments("refuses", Lane::Fast));
    let error = run.error();
    assert!(
        error.contains("ended before seed ") && error.contains("there is no disk left"),
        "{error}"
    );
    let run = Run::of(arguments("wrong", Lane::Fast));
    assert!(
        run.error().contains("when it was fast seed"),
        "{}",
        run.error()
    );
    let run = Run::of(Arguments {
        from: u64::MAX,
        ..arguments("good", Lane::Fast)
    });
    assert!(
        run.error().contains("there are no 40 seeds from"),
        "{}",
        run.error()
    );
}

#[test]
fn samples_are_spread_and_bounded() {
    let size = |count: u64| {
        sample(5..5 + count)
            .iter()
            .map(|s| s.end - s.start)
            .sum::<u64>()
    };
    assert_eq!(
        [1, 3, 10, 40, 1_000, 5_000].map(size),
        [1, 3, 10, 40, 200, 200]
    );
    assert_eq!(sample(0..1_000), [200..250, 450..500, 700..750, 950..1_000]);
    assert_eq!(sample(7..9), [7..8, 8..9]);
}
