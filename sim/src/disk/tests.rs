//! What the disk promises and what it takes: each kind of damage is seen, and none where a sync has been.

use super::*;
use crate::plan::PowerCutProfile;
use std::collections::BTreeSet;

/// Lengths, names and order kept; each sector for itself, by these weights.
fn profile(keep: f64, lose: f64, tear: f64, garbage: f64) -> DiskProfile {
    DiskProfile {
        power_cut: PowerCutProfile {
            lose_all: 0.0,
            keep_all: 0.0,
            keep,
            lose,
            tear,
            garbage,
            keep_length: 1.0,
            keep_name: 1.0,
            names_in_order: 0.0,
        },
        ..DiskProfile::default()
    }
}

fn path(name: &str) -> &Path {
    Path::new(name)
}

/// A file of `sectors` sectors of ones, synced, and then overwritten with twos.
fn overwritten(seed: u64, profile: &DiskProfile, sectors: usize) -> SimDisk {
    let mut disk = SimDisk::new(seed, 0, profile);
    let file = disk.open(path("f"), OpenMode::CreateNew).unwrap();
    disk.write_at(file, 0, &vec![1; sectors * SECTOR]).unwrap();
    disk.sync(file).unwrap();
    disk.sync_dir(path("")).unwrap();
    disk.write_at(file, 0, &vec![2; sectors * SECTOR]).unwrap();
    disk
}

fn read(disk: &mut SimDisk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(path(name), OpenMode::Read)?;
    let mut bytes = vec![0; disk.len(file)? as usize];
    let count = disk.read_at(file, 0, &mut bytes)?;
    assert_eq!(count, bytes.len());
    disk.close(file);
    Ok(bytes)
}

#[test]
fn sectors_are_lost_one_by_one() {
    let mut disk = overwritten(1, &profile(1.0, 1.0, 0.0, 0.0), 64);
    let counts = disk.power_cut();
    let bytes = read(&mut disk, "f").unwrap();
    let mut kept = 0;
    for sector in bytes.chunks(SECTOR) {
        assert!(sector.iter().all(|byte| *byte == sector[0]), "not torn");
        kept += u64::from(sector[0] == 2);
    }
    assert!((16..48).contains(&kept), "{kept}");
    assert_eq!((counts.kept, counts.lost), (kept, 64 - kept));
    assert_eq!(disk.cut_counts(), counts);
}

#[test]
fn a_torn_sector_has_new_bytes_on_one_side_and_old_ones_on_the_other() {
    let mut disk = overwritten(2, &profile(0.0, 0.0, 1.0, 0.0), 64);
    assert_eq!(disk.power_cut().torn, 64);
    let bytes = read(&mut disk, "f").unwrap();
    let mut from_the_front = 0;
    let mut places = BTreeSet::new();
    for sector in bytes.chunks(SECTOR) {
        let changes: Vec<usize> = (1..SECTOR)
            .filter(|i| sector[*i] != sector[i - 1])
            .collect();
        assert_eq!(changes.len(), 1, "torn once");
        places.insert(changes[0]);
        from_the_front += u32::from(sector[0] == 2);
    }
    assert!((32..60).contains(&from_the_front), "{from_the_front}");
    assert!(places.len() > 50, "at any byte");
}

#[test]
fn a_garbled_sector_keeps_the_bytes_that_did_not_change() {
    let mut disk = SimDisk::new(3, 0, &profile(0.0, 0.0, 0.0, 1.0));
    let file = disk.open(path("f"), OpenMode::CreateNew).unwrap();
    disk.write_at(file, 0, &[1; SECTOR]).unwrap();
    disk.sync(file).unwrap();
    disk.sync_dir(path("")).unwrap();
    disk.write_at(file, 100, &[2; 200]).unwrap();
    assert_eq!(disk.power_cut().garbled, 1);
    let bytes = read(&mut disk, "f").unwrap();
    assert!(bytes[..100].iter().all(|byte| *byte == 1));
    assert!(bytes[300..].iter().all(|byte| *byte == 1));
    let values: BTreeSet<u8> = bytes[100..300].iter().copied().collect();
    assert!(values.len() > 50, "{values:?}");
}

#[test]
fn what_was_synced_is_never_touched() {
    let everything = DiskProfile {
        write_back: 0.5,
        ..DiskProfile::default()
    };
    for seed in 0..50 {
        let mut disk = SimDisk::new(seed, 0, &everything);
        let file = disk.open(path("f"), OpenMode::CreateNew).unwrap();
        disk.write_at(file, 0, &[7; 3_000]).unwrap();
        disk.sync(file).unwrap();
        disk.sync_dir(path("")).unwrap();
        disk.write_at(file, 3_072, &[8; 3_000]).unwrap();
        disk.power_cut();
        let bytes = read(&mut disk, "f").unwrap();
        assert!(bytes.len() >= 3_000);
        assert!(bytes[..3_000].iter().all(|byte| *byte == 7), "{seed}");
    }
}

#[test]
fn a_length_that_was_not_synced_may_be_lost() {
    let mut lengths = BTreeSet::new();
    for seed in 0..60 {
        let mut profile = profile(1.0, 0.0, 0.0, 0.0);
        profile.power_cut.keep_length = 0.3;
        let mut disk = SimDisk::new(seed, 0, &profile);
        let file = disk.open(path("f"), OpenMode::CreateNew).unwrap();
        disk.write_at(file, 0, &[7; 1_000]).unwrap();
        disk.sync(file).unwrap();
        disk.sync_dir(path("")).unwrap();
        disk.write_at(file, 1_000, &[8; 4_000]).unwrap();
        let counts = disk.power_cut();
        let length = read(&mut disk, "f").unwrap().len();
        assert!((1_000..=5_000).contains(&length));
        assert_eq!(counts.lengths_lost, u64::from(length != 5_000));
        lengths.insert(length);
    }
    assert!(lengths.contains(&1_000) && lengths.contains(&5_000));
    assert!(lengths.len() > 10, "{lengths:?}");
}

#[test]
fn names_are_lost_unless_their_directory_was_synced() {
    let mut lost = profile(1.0, 0.0, 0.0, 0.0);
    lost.power_cut.keep_name = 0.0;
    let mut disk = SimDisk::new(5, 0, &lost);
    let synced_file = |disk: &mut SimDisk, name: &str, byte: u8| {
        let file = disk.open(path(name), OpenMode::CreateNew).unwrap();
        disk.write_at(file, 0, &[byte]).unwrap();
        disk.sync(file).unwrap();
        disk.close(file);
    };
    synced_file(&mut disk, "old", 1);
    disk.sync_dir(path("")).unwrap();
    synced_file(&mut disk, "new", 2);
    disk.rename(path("new"), path("old")).unwrap();
    synced_file(&mut disk, "other", 3);
    assert_eq!(read(&mut disk, "old").unwrap(), [2]);
    let mut kept = disk.clone();
    kept.sync_dir(path("")).unwrap();
    kept.power_cut();
    assert_eq!(kept.list(path("")).unwrap(), ["old", "other"]);
    assert_eq!(read(&mut kept, "old").unwrap(), [2]);
    let counts = disk.power_cut();
    assert_eq!(disk.list(path("")).unwrap(), ["old"]);
    assert_eq!(read(&mut disk, "old").unwrap(), [1]);
    assert_eq!(counts.names_lost, 3);
}

#[test]
fn after_a_failed_sync_a_clean_one_promises_nothing() {
    let (mut lost, mut dropped) = (0, 0);
    for seed in 0..40 {
        let mut disk = overwritten(seed, &profile(1.0, 0.0, 0.0, 0.0), 1);
        let file = disk.open(path("f"), OpenMode::Write).unwrap();
        disk.inject(DiskFault::Sync);
        assert!(disk.sync(file).is_err());
        assert_eq!(disk.counts().errors, 1);
        disk.sync(file).expect("the error is told once");
        let seen = read(&mut disk, "f").unwrap()[0];
        disk.power_cut();
        let left = read(&mut disk, "f").unwrap()[0];
        dropped += u32::from(seen == 1);
        lost += u32::from(seen == 2 && left == 1);
    }
    assert!(lost > 3, "{lost}: it looked written");
    assert!(dropped > 3, "{dropped}: it was seen to be gone");
}

#[test]
fn what_is_unsynced_is_named() {
    let mut disk = SimDisk::new(6, 0, &DiskProfile::default());
    disk.create_dir(path("log")).unwrap();
    assert_eq!(disk.unsynced(path("log")), None);
    let file = disk.open(path("log/a"), OpenMode::CreateNew).unwrap();
    assert_eq!(disk.unsynced(path("log")).as_deref(), Some("a"), "a name");
    assert_eq!(disk.unsynced(path("log/a")).as_deref(), Some("a"));
    disk.sync_dir(path("log")).unwrap();
    assert_eq!(disk.unsynced(path("log")), None);
    disk.write_at(file, 0, b"x").unwrap();
    assert_eq!(disk.unsynced(path("log")).as_deref(), Some("a"), "bytes");
    assert_eq!(disk.unsynced(path("log/a")).as_deref(), Some("a"));
    assert_eq!(disk.unsynced(path("elsewhere")), None);
    disk.sync(file).unwrap();
    assert_eq!(disk.unsynced(path("log")), None);
    disk.set_len(file, 0).unwrap();
    assert_eq!(disk.unsynced(path("log")).as_deref(), Some("a"), "a length");
    disk.sync(file).unwrap();
    disk.remove(path("log/a")).unwrap();
    assert_eq!(disk.unsynced(path("log")), None, "removals do not count");
}

#[test]
fn power_fails_after_so_many_operations() {
    let mut disk = SimDisk::new(7, 0, &profile(0.0, 1.0, 0.0, 0.0));
    let file = disk.open(path("f"), OpenMode::CreateNew).unwrap();
    disk.sync_dir(path("")).unwrap();
    disk.cut_after(2);
    assert!(disk.awaits_cut());
    disk.write_at(file, 0, b"a").unwrap();
    disk.sync(file).unwrap();
    assert!(!disk.power_failed());
    assert!(disk.write_at(file, 0, b"b").is_err());
    assert!(disk.power_failed());
    assert!(disk.sync(file).is_err());
    assert!(disk.open(path("f"), OpenMode::Read).is_err());
    assert_eq!(disk.counts().errors, 0, "that is no fault of the device");
    disk.power_cut();
    assert!(!disk.awaits_cut() && !disk.power_failed());
    assert_eq!(read(&mut disk, "f").unwrap(), b"a");
}

#[test]
fn power_can_fail_in_the_middle_of_a_sync() {
    let mut disk = overwritten(8, &profile(1.0, 1.0, 0.0, 0.0), 64);
    let file = disk.open(path("f"), OpenMode::Write).unwrap();
    disk.cut_after(0);
    assert!(disk.sync(file).is_err());
    let counts = disk.power_cut();
    assert!(counts.kept > 0 && counts.lost > 0, "{counts:?}");
}

#[test]
fn the_seed_decides_and_a_clone_goes_on_alike() {
    let ends = |seed| {
        let mut disk = overwritten(seed, &DiskProfile::default(), 64);
        let mut copy = disk.clone();
        assert_eq!(disk.power_cut(), copy.power_cut());
        let bytes = read(&mut disk, "f").unwrap();
        assert_eq!(bytes, read(&mut copy, "f").unwrap());
        assert_eq!(disk.take_elapsed(), copy.take_elapsed());
        bytes
    };
    let all: BTreeSet<Vec<u8>> = (0..20).map(ends).collect();
    assert!(all.len() > 10);
    for seed in 0..20 {
        assert_eq!(ends(seed), ends(seed));
    }
}
