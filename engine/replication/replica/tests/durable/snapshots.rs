//! Snapshot files: damaged, interrupted, and on their way from another node.

use crate::{
    Journal, Opened, compact, directory,
    disk::{CrashDisk, Cut, Rng},
    entries, meta, open, persist, state_after, store, take_snapshot,
};
use bytes::Bytes;
use holdfast_host::Disk;
use holdfast_replica::{SnapshotFile, State, Store, StoreCommand, StoreDone, StoreError};
use std::path::PathBuf;

/// A store with a snapshot of 20 entries.
fn with_snapshot(disk: &mut CrashDisk) -> (Store<Journal>, SnapshotFile, State<Journal>) {
    let (mut a, _) = open(disk).unwrap();
    let all = entries(1, 1..=20);
    store(&mut a, disk, persist(all.clone())).unwrap();
    let state = state_after(&all);
    let done = store(&mut a, disk, take_snapshot(&state)).unwrap();
    let [StoreDone::SnapshotTaken(file)] = &done[..] else {
        panic!("{done:?}");
    };
    assert_eq!(file.meta, meta(&state));
    (a, file.clone(), state)
}

fn snapshot_path(disk: &CrashDisk) -> PathBuf {
    let mut files = disk.files().into_iter().map(|(path, _)| path);
    let found = files.find(|path| path.to_string_lossy().contains("snapshot-"));
    found.expect("there is a snapshot")
}

#[test]
fn a_damaged_snapshot_is_an_error_that_names_it() {
    let mut disk = CrashDisk::default();
    let (_, file, _) = with_snapshot(&mut disk);
    disk.kill();
    let path = snapshot_path(&disk);
    let name = path.file_name().unwrap().to_str().unwrap();
    let check = |mut disk: CrashDisk, what: String| match open(&mut disk).unwrap_err() {
        StoreError::Snapshot { file, .. } => assert_eq!(file, name, "{what}"),
        error => panic!("{what}: {error}"),
    };
    for at in (0..file.bytes as usize).step_by(3) {
        let mut disk = disk.clone();
        disk.edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
        check(disk, format!("byte {at}"));
    }
    for len in [0, 7, 23, 24, 100, file.bytes as usize - 1] {
        let mut disk = disk.clone();
        disk.edit(&path, |bytes| bytes.truncate(len));
        check(disk, format!("{len} bytes"));
    }
}

#[test]
fn a_snapshot_under_another_name_is_refused() {
    let mut disk = CrashDisk::default();
    with_snapshot(&mut disk);
    disk.kill();
    let bytes = disk.bytes(&snapshot_path(&disk));
    let other = directory().join(format!("snapshot-{:016x}-{:016x}", 99, 1));
    disk.put_file(&other, bytes);
    let error = open(&mut disk).unwrap_err();
    assert!(error.to_string().contains("name"), "{error}");
}

#[test]
fn what_interrupted_writes_left_is_removed() {
    let mut disk = CrashDisk::default();
    let (_, file, _) = with_snapshot(&mut disk);
    disk.kill();
    let received = format!("snapshot-{:016x}-{:016x}-10-ab.part", 19, 1);
    for name in ["snapshot-00-00.tmp", &received] {
        disk.put_file(&directory().join(name), b"half".to_vec());
    }
    let (mut a, _) = open(&mut disk).unwrap();
    let left = disk.list(directory()).unwrap();
    assert!(!left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");
    assert!(left.contains(&received), "it may go on");
    store(&mut a, &mut disk, compact(20, file.meta.index)).unwrap();
    let left = disk.list(directory()).unwrap();
    assert!(!left.contains(&received), "what is there is newer");
}

/// A snapshot of more than two strides of pieces.
fn large() -> (CrashDisk, SnapshotFile, State<Journal>) {
    let mut disk = CrashDisk::default();
    let (mut a, _) = open(&mut disk).unwrap();
    let all = entries(1, 1..=120);
    store(&mut a, &mut disk, persist(all.clone())).unwrap();
    let state = state_after(&all);
    let done = store(&mut a, &mut disk, take_snapshot(&state)).unwrap();
    let [StoreDone::SnapshotTaken(file)] = &done[..] else {
        panic!("{done:?}");
    };
    (disk, file.clone(), state)
}

/// Reads a snapshot in pieces, as a leader does.
fn pieces(a: &mut Store<Journal>, disk: &mut CrashDisk, file: &SnapshotFile) -> Vec<(u64, Bytes)> {
    let mut pieces = Vec::new();
    let mut next = 0;
    while next < file.bytes {
        let command = StoreCommand::ReadChunk {
            to: 2,
            file: file.clone(),
            offset: next,
        };
        let done = store(a, disk, command).unwrap();
        let [StoreDone::Chunk { offset, bytes, .. }] = &done[..] else {
            panic!("{done:?}");
        };
        assert!(!bytes.is_empty() && bytes.len() <= 64);
        next = offset + bytes.len() as u64;
        pieces.push((*offset, bytes.clone()));
    }
    pieces
}

/// Hands over a piece; how much is there then, and the state when it is complete.
fn receive(
    b: &mut Store<Journal>,
    disk: &mut CrashDisk,
    file: &SnapshotFile,
    (offset, bytes): (u64, Bytes),
) -> (u64, Option<State<Journal>>) {
    let command = StoreCommand::ReceiveChunk {
        from: 1,
        file: file.clone(),
        offset,
        bytes,
    };
    let mut done = store(b, disk, command).unwrap();
    match done.pop() {
        Some(StoreDone::Received {
            received, complete, ..
        }) => (received, complete.map(|state| *state)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_snapshot_travels_in_pieces() {
    let (mut disk_a, mut disk_b) = (CrashDisk::default(), CrashDisk::default());
    let (mut a, file, state) = with_snapshot(&mut disk_a);
    let pieces = pieces(&mut a, &mut disk_a, &file);
    assert!(pieces.len() > 5);
    let (mut b, _): Opened = open(&mut disk_b).unwrap();
    // What comes early is kept, what comes twice is not taken twice, and the answer says what is wanted.
    let end = |piece: &(u64, Bytes)| piece.0 + piece.1.len() as u64;
    for _ in 0..2 {
        assert_eq!(receive(&mut b, &mut disk_b, &file, pieces[2].clone()).0, 0);
    }
    let first = receive(&mut b, &mut disk_b, &file, pieces[0].clone()).0;
    assert_eq!(first, end(&pieces[0]));
    let second = receive(&mut b, &mut disk_b, &file, pieces[1].clone()).0;
    assert_eq!(second, end(&pieces[2]), "the third is there already");
    let mut complete = None;
    for piece in &pieces[3..] {
        let end = end(piece);
        let (received, state) = receive(&mut b, &mut disk_b, &file, piece.clone());
        assert_eq!(received, end);
        complete = state;
        if complete.is_none() {
            let again = receive(&mut b, &mut disk_b, &file, piece.clone());
            assert_eq!(again.0, end);
        }
    }
    assert_eq!(complete.map(|state| state.digest()), Some(state.digest()));
    // It is durable before anybody acts on it; the log does not know of it yet.
    disk_b.power_cut(Cut::LoseAll, &mut Rng(1));
    let (_, recovered) = open(&mut disk_b).unwrap();
    assert_eq!(recovered.state.digest(), state.digest());
    assert_eq!(recovered.snapshot, Some(file));
}

#[test]
fn a_snapshot_damaged_on_its_way_is_received_again() {
    let (mut disk_a, mut disk_b) = (CrashDisk::default(), CrashDisk::default());
    let (mut a, file, state) = with_snapshot(&mut disk_a);
    let pieces = pieces(&mut a, &mut disk_a, &file);
    let (mut b, _) = open(&mut disk_b).unwrap();
    for (number, (offset, bytes)) in pieces.iter().enumerate() {
        let mut bytes = bytes.to_vec();
        if number == 3 {
            bytes[5] ^= 1;
        }
        let (received, complete) = receive(&mut b, &mut disk_b, &file, (*offset, bytes.into()));
        assert!(complete.is_none());
        assert_eq!(received == 0, number + 1 == pieces.len());
    }
    let states = pieces
        .into_iter()
        .map(|piece| receive(&mut b, &mut disk_b, &file, piece).1);
    let last = states.last().flatten().expect("whole this time");
    assert_eq!(last.digest(), state.digest());
}

/// The receiver dies after every piece in turn; what it then has is synced, or is not taken for more than it is.
#[test]
fn a_snapshot_goes_on_where_a_dead_receiver_left_off() {
    let (mut disk_a, file, state) = large();
    let mut a = open(&mut disk_a).unwrap().0;
    let pieces = pieces(&mut a, &mut disk_a, &file);
    assert!(pieces.len() > 70, "{}", pieces.len());
    let mut resumed = 0;
    for died_after in 0..pieces.len() - 1 {
        let mut disk = CrashDisk::default();
        let (mut b, _) = open(&mut disk).unwrap();
        for piece in &pieces[..=died_after] {
            receive(&mut b, &mut disk, &file, piece.clone());
        }
        disk.power_cut(Cut::Random, &mut Rng(died_after as u64));
        let (mut b, _) = open(&mut disk).unwrap();
        let (received, _) = receive(&mut b, &mut disk, &file, pieces[0].clone());
        resumed += u32::from(received > 64);
        let left = pieces.iter().filter(|piece| piece.0 >= received);
        let last = left.map(|piece| receive(&mut b, &mut disk, &file, piece.clone()).1);
        let complete = last.last().flatten().expect("all of it is there");
        assert_eq!(complete.digest(), state.digest(), "died after {died_after}");
        let parts = disk.list(directory()).unwrap();
        assert!(
            !parts.iter().any(|name| name.ends_with(".part")),
            "{parts:?}"
        );
    }
    assert!(resumed > 20, "{resumed}");
}

#[test]
fn a_snapshot_that_is_being_sent_outlives_the_next_one() {
    let mut disk = CrashDisk::default();
    let (mut a, old, _) = with_snapshot(&mut disk);
    let newer = state_after(&entries(1, 1..=30));
    let file = match &store(&mut a, &mut disk, take_snapshot(&newer)).unwrap()[..] {
        [StoreDone::SnapshotTaken(file)] => file.clone(),
        other => panic!("{other:?}"),
    };
    store(&mut a, &mut disk, compact(21, old.meta.index)).unwrap();
    assert!(!pieces(&mut a, &mut disk, &old).is_empty());
    store(&mut a, &mut disk, compact(21, file.meta.index)).unwrap();
    let gone = StoreCommand::ReadChunk {
        to: 2,
        file: old,
        offset: 0,
    };
    let done = store(&mut a, &mut disk, gone).unwrap();
    assert!(
        matches!(done[..], [StoreDone::ChunkGone { .. }]),
        "{done:?}"
    );
}

#[test]
fn a_snapshot_that_is_gone_is_told() {
    let mut disk = CrashDisk::default();
    let (mut a, mut file, _) = with_snapshot(&mut disk);
    file.meta.index += 1;
    let command = StoreCommand::ReadChunk {
        to: 3,
        file,
        offset: 0,
    };
    let done = store(&mut a, &mut disk, command).unwrap();
    assert!(
        matches!(done[..], [StoreDone::ChunkGone { to: 3 }]),
        "{done:?}"
    );
}

/// The snapshot is there, and the power goes before the log that it replaces is dropped, or while it is.
#[test]
fn an_installed_snapshot_replaces_the_log_at_the_next_start_at_last() {
    for (has_old, step) in [(false, 1), (false, 2), (true, 1), (true, 3), (true, 100)] {
        let mut disk = CrashDisk::default();
        let (_, file, state) = with_snapshot(&mut disk);
        let bytes = disk.bytes(&snapshot_path(&disk));
        let mut disk = CrashDisk::default();
        let (mut b, _) = open(&mut disk).unwrap();
        if has_old {
            // Entries of another term, which lost.
            store(&mut b, &mut disk, persist(entries(0, 1..=30))).unwrap();
        }
        let whole = (0, Bytes::from(bytes));
        assert!(receive(&mut b, &mut disk, &file, whole).1.is_some());
        disk.dies_at = Some(disk.changes + step);
        let install = StoreCommand::Persist {
            id: 2,
            hard_state: None,
            install: Some(file.meta.clone()),
            entries: entries(1, 21..=22),
        };
        let is_done = store(&mut b, &mut disk, install).is_ok();
        disk.power_cut(Cut::Random, &mut Rng(step));
        let (_, recovered) = open(&mut disk).unwrap();
        assert_eq!(recovered.state.digest(), state.digest());
        let all = entries(1, 21..=22);
        let kept = recovered.entries.len();
        assert_eq!(recovered.entries, all[..kept], "none of the old ones");
        assert!(kept == 2 || !is_done);
    }
}
