//! Log, hard state and snapshots after a crash.

use crate::{
    Journal, compact, directory,
    disk::{CrashDisk, Cut, Rng},
    entries, entry, open, options, persist, state_after, store, take_snapshot,
};
use holdfast_host::Disk;
use holdfast_raft::{Entry, HardState};
use holdfast_replica::{Recovered, Store, StoreCommand, StoreError, StoreOptions};

/// Everything that a start has to go on, as entries: those in the snapshot by the state that they make.
fn check(recovered: &Recovered<Journal>, all: &[Entry], acknowledged: usize) {
    let base = recovered
        .snapshot
        .as_ref()
        .map_or(0, |file| file.meta.index);
    assert_eq!(recovered.state.applied(), base);
    let expected = state_after(&all[..base as usize]);
    assert_eq!(recovered.state.digest(), expected.digest());
    let last = base as usize + recovered.entries.len();
    assert!(
        last >= acknowledged,
        "{last} of {acknowledged} acknowledged"
    );
    assert_eq!(recovered.entries, all[base as usize..last]);
}

#[test]
fn a_new_store_is_empty() {
    let mut disk = CrashDisk::default();
    for _ in 0..2 {
        let (_, recovered) = open(&mut disk).unwrap();
        assert_eq!(recovered.hard_state, HardState::default());
        assert!(recovered.snapshot.is_none() && recovered.entries.is_empty());
        disk.power_cut(Cut::LoseAll, &mut Rng(1));
    }
}

#[test]
fn what_is_synced_comes_back() {
    let mut disk = CrashDisk::default();
    let (mut a, _) = open(&mut disk).unwrap();
    let hard_state = HardState {
        term: 4,
        vote: Some(3),
        commit: 0,
    };
    let command = StoreCommand::Persist {
        id: 1,
        hard_state: Some(hard_state),
        install: None,
        entries: entries(4, 1..=30),
    };
    store(&mut a, &mut disk, command).unwrap();
    assert_eq!(a.durable_hard_state(), hard_state);
    assert_eq!(a.durable_index(), 30);
    disk.power_cut(Cut::LoseAll, &mut Rng(1));
    let (mut b, recovered) = open(&mut disk).unwrap();
    assert_eq!(recovered.hard_state, hard_state);
    assert_eq!(recovered.entries, entries(4, 1..=30));
    assert_eq!(recovered.repaired, None);
    b.close(&mut disk, 17).unwrap();
    let (_, recovered) = open(&mut disk).unwrap();
    assert_eq!(recovered.hard_state.commit, 17, "a hint kept at close");
}

#[test]
fn a_torn_tail_is_cut_and_told_and_the_log_goes_on() {
    let mut torn = 0;
    for seed in 0..200 {
        let mut disk = CrashDisk::default();
        let (mut a, _) = open(&mut disk).unwrap();
        let all = entries(1, 1..=12);
        store(&mut a, &mut disk, persist(all[..5].to_vec())).unwrap();
        a.write(&mut disk, persist(all[5..].to_vec())).unwrap();
        disk.power_cut(Cut::Random, &mut Rng(seed));
        let (mut b, recovered) = open(&mut disk).unwrap();
        check(&recovered, &all, 5);
        torn += u32::from(recovered.repaired.is_some());
        let next = recovered.entries.len() as u64 + 1;
        store(&mut b, &mut disk, persist(vec![entry(2, next)])).unwrap();
        disk.power_cut(Cut::LoseAll, &mut Rng(seed));
        let (_, again) = open(&mut disk).unwrap();
        assert_eq!(again.entries.last(), Some(&entry(2, next)), "seed {seed}");
    }
    assert!(torn > 20, "{torn}");
}

#[test]
fn replaced_entries_stay_replaced() {
    let mut disk = CrashDisk::default();
    let (mut a, _) = open(&mut disk).unwrap();
    store(&mut a, &mut disk, persist(entries(1, 1..=9))).unwrap();
    store(&mut a, &mut disk, persist(entries(2, 4..=5))).unwrap();
    disk.power_cut(Cut::LoseAll, &mut Rng(1));
    let (_, recovered) = open(&mut disk).unwrap();
    let expected = [entries(1, 1..=3), entries(2, 4..=5)].concat();
    assert_eq!(recovered.entries, expected);
}

#[test]
fn a_start_goes_on_from_the_snapshot() {
    let mut disk = CrashDisk::default();
    let (mut a, _) = open(&mut disk).unwrap();
    let all = entries(1, 1..=60);
    store(&mut a, &mut disk, persist(all.clone())).unwrap();
    let old = take_snapshot(&state_after(&all[..20]));
    store(&mut a, &mut disk, old).unwrap();
    let new = take_snapshot(&state_after(&all[..50]));
    store(&mut a, &mut disk, new).unwrap();
    let files = disk.files().len();
    store(&mut a, &mut disk, compact(51, 50)).unwrap();
    assert!(
        disk.files().len() < files,
        "segments and the old snapshot go"
    );
    disk.power_cut(Cut::LoseAll, &mut Rng(1));
    let (_, recovered) = open(&mut disk).unwrap();
    assert_eq!(
        recovered.snapshot.as_ref().map(|file| file.meta.index),
        Some(50)
    );
    check(&recovered, &all, 60);
}

/// Lives through `run` again and again, with a crash and a power cut at each change of the disk in turn until it takes
/// more than `least` of them to get to the end; what was acknowledged must be there each time.
fn crash_anywhere(
    all: &[Entry],
    least: u64,
    run: impl Fn(&mut CrashDisk, &mut usize) -> Result<(), StoreError>,
) {
    for step in 1.. {
        let mut rng = Rng(step);
        let mut disk = CrashDisk::default();
        disk.dies_at = Some(step);
        disk.tear = rng.below(600) as usize;
        let mut acknowledged = 0;
        let is_done = run(&mut disk, &mut acknowledged).is_ok();
        disk.power_cut(Cut::Random, &mut rng);
        let (_, recovered) = open(&mut disk).unwrap_or_else(|error| panic!("step {step}: {error}"));
        check(&recovered, all, acknowledged);
        if is_done {
            assert!(step > least, "{step}");
            return;
        }
    }
}

/// A crash at every change of the disk, in whatever the store is doing then, and a power cut.
#[test]
fn a_crash_anywhere_loses_nothing_that_was_acknowledged() {
    let all = entries(1, 1..=40);
    let run = |disk: &mut CrashDisk, acknowledged: &mut usize| -> Result<(), StoreError> {
        let (mut a, _) = open(disk)?;
        for part in [0..10, 10..11, 11..30, 30..40] {
            let last = part.end;
            store(&mut a, disk, persist(all[part].to_vec()))?;
            *acknowledged = last;
            let snapshot = take_snapshot(&state_after(&all[..last - 1]));
            store(&mut a, disk, snapshot)?;
            let before = last as u64;
            store(&mut a, disk, compact(before, before - 1))?;
        }
        a.close(disk, 39)
    };
    crash_anywhere(&all, 30, run);
}

/// Term, vote and commit index are synced before the entries that are written with them, and unsynced bytes may survive
/// in any order: whatever the crash leaves, a start must not take the missing rest of a write for damage.
#[test]
fn a_crash_between_term_and_entries_is_no_damage() {
    let all = entries(1, 1..=40);
    let run = |disk: &mut CrashDisk, acknowledged: &mut usize| -> Result<(), StoreError> {
        let (mut a, _) = open(disk)?;
        for (term, part) in [0..10, 10..11, 11..30, 30..40].into_iter().enumerate() {
            let last = part.end;
            let command = StoreCommand::Persist {
                id: 1,
                hard_state: Some(HardState {
                    term: term as u64 + 1,
                    vote: None,
                    commit: *acknowledged as u64,
                }),
                install: None,
                entries: all[part].to_vec(),
            };
            store(&mut a, disk, command)?;
            *acknowledged = last;
        }
        // A hint beyond what is durable is not kept.
        a.close(disk, 100)
    };
    crash_anywhere(&all, 15, run);
}

#[test]
fn a_log_whose_beginning_no_snapshot_covers_is_refused() {
    let mut disk = CrashDisk::default();
    let (mut a, _) = open(&mut disk).unwrap();
    let all = entries(1, 1..=60);
    store(&mut a, &mut disk, persist(all.clone())).unwrap();
    let snapshot = take_snapshot(&state_after(&all[..50]));
    store(&mut a, &mut disk, snapshot).unwrap();
    store(&mut a, &mut disk, compact(51, 50)).unwrap();
    a.close(&mut disk, 50).unwrap();
    let files = disk.files();
    let snapshot = files
        .iter()
        .find(|(path, _)| path.to_string_lossy().contains("snapshot-"));
    disk.lose_file(&snapshot.expect("there is one").0);
    let error = open(&mut disk).unwrap_err();
    assert!(matches!(error, StoreError::Inconsistent(_)), "{error}");
}

#[test]
fn files_of_other_nodes_and_groups_are_refused() {
    let mut disk = CrashDisk::default();
    let (mut a, _) = open(&mut disk).unwrap();
    let all = entries(1, 1..=3);
    store(&mut a, &mut disk, persist(all.clone())).unwrap();
    store(&mut a, &mut disk, take_snapshot(&state_after(&all))).unwrap();
    disk.kill();
    for other in [
        StoreOptions {
            node: 2,
            ..options()
        },
        StoreOptions {
            group: 8,
            ..options()
        },
    ] {
        let error = Store::open(&mut disk, directory(), other, Journal::default()).unwrap_err();
        assert!(matches!(error, StoreError::Register(_)), "{error}");
    }
}

#[test]
fn a_log_without_its_vote_is_refused() {
    let mut disk = CrashDisk::default();
    let (mut a, _) = open(&mut disk).unwrap();
    store(&mut a, &mut disk, persist(entries(1, 1..=3))).unwrap();
    drop(a);
    disk.remove(&directory().join("hard-state")).unwrap();
    let Err(error) = open(&mut disk) else {
        panic!("the vote is lost");
    };
    assert!(
        error.to_string().contains("hard-state is missing"),
        "{error}"
    );
}

#[test]
fn a_vote_without_its_log_is_refused() {
    let mut disk = CrashDisk::default();
    let (mut a, _) = open(&mut disk).unwrap();
    let command = StoreCommand::Persist {
        id: 1,
        hard_state: Some(HardState {
            term: 1,
            vote: Some(2),
            commit: 0,
        }),
        install: None,
        entries: entries(1, 1..=3),
    };
    store(&mut a, &mut disk, command).unwrap();
    drop(a);
    let log = directory().join("log");
    for name in disk.list(&log).unwrap() {
        disk.remove(&log.join(name)).unwrap();
    }
    let Err(error) = open(&mut disk) else {
        panic!("what was acknowledged is lost");
    };
    assert!(error.to_string().contains("log is missing"), "{error}");
}
