//! Fault plans: bad ones are refused with what is wrong and where, and taking a fault out of one moves nothing else.

use holdfast_sim::{
    link::Disturbance,
    plan::{
        Affliction, Fault, FaultKind, FaultPlan, Menu, Outcast, PlanError, Recipe, Strike, Target,
    },
};
use std::path::Path;

const SECOND: u64 = 1_000_000_000;

fn fault(id: u32, at_ns: u64, kind: FaultKind) -> Fault {
    Fault {
        id,
        at_ns,
        until_ns: kind.lasts().then_some(at_ns + SECOND),
        kind,
    }
}

fn kill(node: u32) -> FaultKind {
    FaultKind::Kill {
        targets: vec![Target::Node(node)],
    }
}

fn quiet() -> FaultPlan {
    FaultPlan::quiet("test", 1, 3, 10 * SECOND)
}

fn complaint(change: impl FnOnce(&mut FaultPlan)) -> String {
    let mut plan = quiet();
    plan.faults = vec![fault(0, SECOND, kill(0)), fault(1, 2 * SECOND, kill(1))];
    change(&mut plan);
    match FaultPlan::from_json("p.json", &plan.to_json()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

/// How a plan is made bad.
type Change = Box<dyn Fn(&mut FaultPlan)>;

#[test]
fn a_bad_plan_is_refused_with_the_field_and_the_reason() {
    assert_eq!(complaint(|_| ()), "");
    let outcast = |node, kind| Outcast { node, kind };
    let cases: [(&str, Change); 14] = [
        (
            "version: 7, but this build reads version 1",
            Box::new(|p| p.version = 7),
        ),
        ("nodes: 0 is not in 1..=10000", Box::new(|p| p.nodes = 0)),
        (
            "clocks: 2 clocks, but the plan has 3 nodes",
            Box::new(|p| p.clocks.truncate(2)),
        ),
        (
            "network.loss: 1.5 is not in 0..=1",
            Box::new(|p| p.network.loss = 1.5),
        ),
        (
            "clocks[1].drift_ppm: 600000 is not in -500000..=500000",
            Box::new(|p| p.clocks[1].drift_ppm = 600_000),
        ),
        (
            "drift_bound_ppm: 600000 is not in 0..=500000",
            Box::new(|p| p.drift_bound_ppm = 600_000),
        ),
        (
            "faults[1].id: 0 is taken by an earlier fault",
            Box::new(|p| p.faults[1].id = 0),
        ),
        (
            "faults[1].at_ns: 5 is before the fault ahead of it",
            Box::new(|p| p.faults[1].at_ns = 5),
        ),
        (
            "faults[1].at_ns: 10000000000 is not in the safety phase",
            Box::new(|p| p.faults[1].at_ns = 10 * SECOND),
        ),
        (
            "faults[0].kind.kill.targets[0]: node 3, but the plan has 3 nodes",
            Box::new(|p| p.faults[0].kind = kill(3)),
        ),
        (
            "faults[0].kind.kill.targets: names nobody",
            Box::new(|p| p.faults[0].kind = FaultKind::Kill { targets: vec![] }),
        ),
        (
            "outcasts: 2 of 3 nodes leave no majority",
            Box::new(move |p| {
                p.outcasts = vec![outcast(0, Affliction::Down), outcast(1, Affliction::Deaf)];
            }),
        ),
        (
            "outcasts[0].node: node 3, but the plan has 3 nodes",
            Box::new(move |p| p.outcasts = vec![outcast(3, Affliction::Mute)]),
        ),
        (
            "outcasts[0].kind.bridged.to: node 1 is not one of the others",
            Box::new(move |p| p.outcasts = vec![outcast(1, Affliction::Bridged { to: 1 })]),
        ),
    ];
    for (expected, change) in cases {
        assert_eq!(complaint(change), format!("p.json: {expected}"));
    }
}

#[test]
fn what_is_not_a_plan_is_refused_with_its_place() {
    let json = quiet().to_json();
    let misspelt = json.replace("\"horizon_ns\"", "\"horizon\"");
    let error = FaultPlan::from_json("p.json", &misspelt).unwrap_err();
    assert!(
        matches!(error, PlanError::Malformed { line: 6, .. }),
        "{error:?}"
    );
    let said = error.to_string();
    assert!(said.starts_with("p.json:6:"), "{said}");
    assert!(said.contains("unknown field `horizon`"), "{said}");
    let error = FaultPlan::from_json("p.json", &json[..json.len() / 2]).unwrap_err();
    assert!(error.to_string().contains("EOF"), "{error}");
    let error = FaultPlan::from_json("p.json", "nonsense").unwrap_err();
    assert!(error.to_string().starts_with("p.json:1:"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = FaultPlan::load(Path::new("/no/such/plan.json")).unwrap_err();
    assert!(matches!(error, PlanError::Unreadable { .. }));
    let said = error.to_string();
    assert!(said.starts_with("/no/such/plan.json: "), "{said}");
    assert!(said.contains("No such file"), "{said}");
}

#[test]
fn drawn_plans_are_read_back_as_they_were_written() {
    let mut menu = Menu::new("test");
    menu.recipes.extend([Recipe::SyncError, Recipe::Ambush]);
    menu.outcasts = 0.5;
    menu.max_drift_ppm = 200_000;
    let (mut outcasts, mut drifting) = (0, 0);
    for seed in 0..300 {
        let plan = FaultPlan::draw(seed, &menu);
        let again = FaultPlan::from_json("p.json", &plan.to_json()).expect("a good plan");
        assert_eq!(plan, again);
        outcasts += u32::from(!plan.outcasts.is_empty());
        drifting += u32::from(plan.drift_bound_ppm > 10_000);
        let bound = plan.drift_bound_ppm;
        let most = plan
            .clocks
            .iter()
            .map(|clock| clock.drift_ppm.unsigned_abs());
        assert!(most.max() <= Some(bound), "{seed}");
        for fault in &plan.faults {
            if let FaultKind::ClockDrift { drift_ppm, .. } = fault.kind {
                assert!(drift_ppm.unsigned_abs() <= bound, "{seed}");
            }
        }
    }
    assert!((100..200).contains(&outcasts), "{outcasts}");
    assert!((50..250).contains(&drifting), "{drifting}");
}

#[test]
fn taking_a_fault_out_moves_no_other() {
    let menu = Menu::new("test");
    let mut symbolic = 0;
    for seed in 0..50 {
        let whole = FaultPlan::draw(seed, &menu);
        let strikes: Vec<Strike> = whole
            .faults
            .iter()
            .map(|fault| whole.strike(fault, Some(1)))
            .collect();
        for place in 0..whole.faults.len() {
            let mut rest = whole.clone();
            rest.faults.remove(place);
            let mut expected = strikes.clone();
            expected.remove(place);
            let found: Vec<Strike> = rest
                .faults
                .iter()
                .map(|fault| rest.strike(fault, Some(1)))
                .collect();
            assert_eq!(found, expected);
            symbolic += 1;
        }
    }
    assert!(symbolic > 300);
}

#[test]
fn a_bridge_stands_beside_its_side_and_separates_somebody() {
    let mut menu = Menu::new("test");
    menu.recipes = vec![Recipe::Bridge];
    let mut seen = 0;
    for seed in 0..100 {
        let plan = FaultPlan::draw(seed, &menu);
        for fault in &plan.faults {
            for leader in [None, Some(0), Some(2)] {
                let Strike::Network(Disturbance::Bridge { side, bridge }) =
                    plan.strike(fault, leader)
                else {
                    panic!("{fault:?}");
                };
                assert!(!side.contains(&bridge), "{seed}: {side:?} {bridge}");
                assert!(side.len() + 1 < plan.nodes as usize, "{seed}: {side:?}");
                seen += 1;
            }
        }
    }
    assert!(seen > 300, "{seen}");
}
