//! The fast lane does to its world what a plan says, and a world is a value: a copy of it goes on as the original does.

use bytes::Bytes;
use holdfast_raft::{Config, Membership};
use holdfast_replica::{Command, Consistency, CorruptSnapshot, Outcome, Settings, StateMachine};
use holdfast_sim::{
    fast::{ClientOptions, Cluster, MARKS, Setup, Workload},
    plan::{Affliction, Fault, FaultKind, FaultPlan, Outcast, Target},
};
use std::io;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Adds up what it is told.
#[derive(Clone, Debug)]
struct Sum(u64);

impl StateMachine for Sum {
    fn apply(&mut self, command: Command<'_>) -> Bytes {
        self.0 += command.payload.len() as u64;
        Bytes::copy_from_slice(&self.0.to_le_bytes())
    }

    fn digest(&self) -> u64 {
        self.0
    }

    fn write_snapshot(&self, sink: &mut dyn io::Write) -> io::Result<()> {
        sink.write_all(&self.0.to_le_bytes())
    }

    fn read_snapshot(&self, source: &mut dyn io::Read) -> Result<Self, CorruptSnapshot> {
        let mut bytes = [0; 8];
        let read = source.read_exact(&mut bytes);
        read.map_err(|error| CorruptSnapshot(error.to_string()))?;
        Ok(Sum(u64::from_le_bytes(bytes)))
    }
}

/// Clients that add and read in turns.
#[derive(Clone)]
struct Adders {
    calls: u64,
}

impl Workload for Adders {
    type Machine = Sum;
    type Call = bool;
    type Answer = u64;

    fn call(&mut self, _client: u32) -> bool {
        self.calls += 1;
        self.calls.is_multiple_of(3)
    }

    fn healed(&mut self) {}

    fn closing(&mut self, _client: u32) -> Option<bool> {
        None
    }

    fn pause(&mut self, _client: u32) -> u64 {
        40 * MS
    }

    fn has_session(&self, _client: u32) -> bool {
        true
    }

    fn command(&self, adds: &bool) -> Option<Bytes> {
        adds.then(|| Bytes::from_static(b"one"))
    }

    fn is_command(&self, adds: &bool) -> bool {
        *adds
    }

    fn consistency(&self, _adds: &bool) -> Consistency {
        Consistency::Linearizable
    }

    fn committed(&mut self, _machine: &Sum) {}

    fn read(&self, machine: &Sum, _adds: &bool) -> u64 {
        machine.0
    }

    fn answer(&self, _adds: &bool, outcome: &Outcome) -> Option<u64> {
        match outcome {
            Outcome::Applied(bytes) | Outcome::Duplicate(bytes) => {
                Some(u64::from_le_bytes(bytes.as_ref().try_into().ok()?))
            }
            _ => None,
        }
    }

    fn learn(&mut self, _client: u32, _adds: &bool, _answer: &u64) {}
}

fn plan(faults: Vec<FaultKind>) -> FaultPlan {
    let mut plan = FaultPlan::quiet("test", 7, 3, 20 * SECOND);
    let fault = |(id, kind): (usize, FaultKind)| Fault {
        id: id as u32,
        at_ns: 5 * SECOND + id as u64,
        until_ns: kind.lasts().then_some(9 * SECOND),
        kind,
    };
    plan.faults = faults.into_iter().enumerate().map(fault).collect();
    plan
}

fn cluster(plan: FaultPlan) -> Cluster<Adders> {
    let raft = Config {
        id: 1,
        membership: Membership {
            voters: (1..=u64::from(plan.nodes)).collect(),
            learners: Vec::new(),
        },
        election_timeout: 300 * MS,
        heartbeat_interval: 50 * MS,
        max_inflight_messages: 64,
        max_inflight_bytes: 1 << 20,
        max_append_bytes: 1 << 16,
        max_uncommitted_bytes: 1 << 20,
        max_apply_bytes: 1 << 20,
        max_pending_reads: 1_000,
        pre_vote: true,
        check_quorum: true,
        lease_reads: false,
        max_clock_drift_ppm: 200_000,
        mutant: None,
    };
    let settings = Settings {
        raft,
        max_command_bytes: 1 << 10,
        max_pending: 1_000,
        request_timeout: 2 * SECOND,
        snapshot_entries: 100,
        snapshot_bytes: 1 << 20,
        keep_entries: 10,
        hold_bytes: 1 << 20,
        snapshot_retry: 500 * MS,
        snapshot_window: 1 << 16,
        mutant: None,
    };
    let setup = Setup {
        settings,
        segment_bytes: 1 << 14,
        snapshot_chunk_bytes: 1 << 12,
        machine: Sum(0),
        clients: ClientOptions {
            clients: 4,
            attempt_timeout: SECOND,
            attempts: 20,
            retry_pause: 50 * MS,
        },
        transfers_every: None,
        marks: MARKS,
        plan,
    };
    Cluster::new(setup, Adders { calls: 0 }, false)
}

/// Runs to the end; nothing may be broken.
fn run(plan: FaultPlan) -> Cluster<Adders> {
    let mut cluster = cluster(plan);
    cluster.run();
    assert_eq!(cluster.violation(), None);
    assert!(cluster.counts().answered > 500, "{:?}", cluster.counts());
    cluster
}

fn count(cluster: &Cluster<Adders>, kind: &str) -> u64 {
    cluster.counts().faults.get(kind).copied().unwrap_or(0)
}

fn leader() -> Vec<Target> {
    vec![Target::Leader]
}

#[test]
fn nothing_happens_in_a_quiet_world() {
    let quiet = run(plan(vec![]));
    assert_eq!(quiet.terms_led(), 1);
    assert!(quiet.counts().faults.is_empty(), "{:?}", quiet.counts());
    assert_eq!(quiet.counts().unknown, 0);
}

#[test]
fn a_leader_that_stands_still_is_replaced() {
    let paused = run(plan(vec![FaultKind::Pause { targets: leader() }]));
    assert_eq!(count(&paused, "pause"), 1);
    assert!(paused.terms_led() >= 2);
}

#[test]
fn a_leader_that_nobody_hears_is_replaced() {
    let mute = run(plan(vec![FaultKind::OneWay {
        from: leader(),
        to: vec![Target::All],
    }]));
    assert_eq!(count(&mute, "one_way"), 1);
    assert!(count(&mute, "packets_blocked") > 10);
    assert!(mute.terms_led() >= 2);
}

#[test]
fn what_is_held_arrives_late() {
    let held = run(plan(vec![FaultKind::Hold {
        from: leader(),
        to: vec![Target::All],
    }]));
    assert_eq!(count(&held, "hold"), 1);
    assert!(count(&held, "packets_held") > 10);
    assert_eq!(count(&held, "packets_blocked"), 0);
    assert!(held.terms_led() >= 2);
}

#[test]
fn clocks_drift() {
    let drift = |drift_ppm| FaultKind::ClockDrift {
        targets: leader(),
        drift_ppm,
    };
    let slow = run(plan(vec![drift(-200_000)]));
    let fast = run(plan(vec![drift(200_000)]));
    assert_eq!(count(&slow, "clock_drift"), 1);
    assert_ne!(slow.hash(), fast.hash());
    let both = run(plan(vec![drift(-200_000), drift(200_000)]));
    assert_eq!(count(&both, "clock_drift"), 2);
    assert_ne!(both.hash(), slow.hash());
    let none = run(plan(vec![drift(0)]));
    assert_eq!(count(&none, "clock_drift"), 0, "it changed nothing");
}

#[test]
fn an_ambush_kills_one_leader_after_the_other() {
    let mut plan = plan(vec![
        FaultKind::Ambush {
            lives_ns: 20 * MS,
            down_ns: 200 * MS,
        },
        FaultKind::Kill { targets: leader() },
    ]);
    plan.faults[1].until_ns = Some(6 * SECOND);
    let ambushed = run(plan);
    assert!(count(&ambushed, "ambush") >= 2, "{:?}", ambushed.counts());
    assert!(ambushed.terms_led() >= 4);
}

#[test]
fn a_disk_is_slow_until_the_last_of_its_faults_ends() {
    let slow = |factor| FaultKind::SlowDisk {
        targets: vec![Target::All],
        factor,
    };
    let answered = |faults: Vec<FaultKind>, ends: &[u64]| {
        let mut plan = plan(faults);
        for (fault, end) in plan.faults.iter_mut().zip(ends) {
            fault.until_ns = Some(end * SECOND);
        }
        run(plan).counts().answered
    };
    let short = answered(vec![slow(500)], &[7]);
    let long = answered(vec![slow(500)], &[15]);
    let both = answered(vec![slow(500), slow(2)], &[15, 7]);
    assert!(long + 50 < short, "{long} {short}");
    assert!(both + 50 < short, "{both} {short}");
}

#[test]
fn power_fails_in_the_middle_of_operations() {
    let mut inside = 0;
    for seed in 0..20 {
        let mut plan = plan(vec![FaultKind::PowerCut { targets: leader() }]);
        plan.seed = seed;
        let cut = run(plan);
        assert_eq!(count(&cut, "power_cut"), 1);
        let mark = cut.marks().count("power-failed-in-a-storage-operation");
        inside += mark.expect("a declared mark");
    }
    assert!(inside > 2, "{inside}");
}

#[test]
fn the_core_recovers_without_outcasts() {
    for kind in [
        Affliction::Down,
        Affliction::CutOff,
        Affliction::Deaf,
        Affliction::Mute,
    ] {
        for node in 0..3 {
            let mut plan = plan(vec![FaultKind::Kill { targets: leader() }]);
            plan.outcasts = vec![Outcast { node, kind }];
            let mark = run(plan).marks().count("recovered-without-outcasts");
            assert_eq!(mark, Some(1), "{kind:?} {node}");
        }
    }
}

#[test]
fn a_copy_goes_on_as_the_original_does() {
    let mut original = cluster(plan(vec![FaultKind::PowerCut { targets: leader() }]));
    original.run_until(5 * SECOND + 10 * MS);
    let mut copy = original.clone();
    assert_eq!(original.hash(), copy.hash());
    original.run();
    assert_ne!(original.hash(), copy.hash());
    copy.run();
    assert_eq!(original.hash(), copy.hash());
    assert_eq!(original.counts().messages, copy.counts().messages);
    let other = run(plan(vec![]));
    assert_ne!(other.hash(), copy.hash());
}
