//! `cargo xtask bugs` with a worker that simulates nothing.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a worker is a process"
)]

use std::path::Path;
use xtask::XtaskError;
use xtask::bugs::{Arguments, Hunt, Report, run_with};
use xtask::worker::Worker;

fn hunt(mutant: Option<&str>) -> Result<Report, XtaskError> {
    let worker = Worker::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker.sh"));
    let arguments = Arguments {
        mutant: mutant.map(String::from),
        seeds: 30,
        jobs: Some(2),
        json: true,
    };
    run_with(&worker, &arguments)
}

#[test]
fn each_bug_is_hunted_until_its_first_seed() {
    let report = hunt(None).unwrap();
    let told = report.hunts.iter().map(|hunt| {
        let found = hunt.found.as_ref();
        let found = found.map_or("-".into(), |f| format!("{} by seed {}", f.property, f.seed));
        let outside = hunt.found_from_outside.as_ref();
        let outside = outside.map_or("-".into(), |f| format!("seed {}", f.seed));
        let Hunt {
            bug, seeds_tried, ..
        } = hunt;
        format!(
            "{} in {seeds_tried} seeds: {found}; from outside: {outside}",
            bug.id
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "R1 in 8 seeds: linearizability by seed 7; from outside: seed 27",
            "R2 in 6 seeds: no-panic by seed 5; from outside: seed 5",
            "R3 in 30 seeds: -; from outside: -",
        ]
    );
    assert_eq!((report.found, report.planted), (2, 3));
    let text = report.to_string();
    for needed in [
        "panic: an assertion of seed 5 ",
        "NOT FOUND: R3 hidden: x",
        "bugs: FAILED, 2 of 3 found",
        "see one: cargo xtask simulate breaks --lane fast --seed 7 --mutant easy",
    ] {
        assert!(text.contains(needed), "{needed:?} is not in\n{text}");
    }
}

#[test]
fn one_bug_can_be_named_by_name_or_number() {
    for name in ["deadly", "R2"] {
        let report = hunt(Some(name)).unwrap();
        assert_eq!((report.found, report.planted), (1, 1));
        assert!(report.to_string().contains("bugs: PASSED, 1 of 1 found"));
    }
    let error = hunt(Some("harmless")).unwrap_err().to_string();
    assert!(
        error.contains("there is no planted bug `harmless`; there are\n  R1   easy "),
        "{error}"
    );
}
