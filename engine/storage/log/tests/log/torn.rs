//! Power cuts in an unsynced batch.

use crate::{
    Kept, append, directory,
    disk::{CrashDisk, Cut, Rng, SECTOR},
    open, options,
};
use holdfast_log::{LogError, Mutant};
use std::path::PathBuf;

/// How the bytes behind a tear look.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Missing,
    Zeros,
    Garbage,
    /// One sector is lost, all others are there.
    Whole,
}

/// Two synced batches and one that is written and not synced.
fn torn_log(segment_bytes: u64, mutant: Option<Mutant>) -> (CrashDisk, Vec<Kept>, usize) {
    let mut disk = CrashDisk::default();
    let (mut log, ..) = open(&mut disk, options(segment_bytes, mutant)).unwrap();
    let mut kept = Vec::new();
    for batch in [3, 2] {
        for record in 0..batch {
            append(&mut log, &mut kept, 40 + record * 60);
        }
        log.sync(&mut disk).unwrap();
    }
    let acknowledged = kept.len();
    for record in 0..6 {
        append(&mut log, &mut kept, 90 * record + 9);
    }
    log.flush(&mut disk).unwrap();
    disk.kill();
    (disk, kept, acknowledged)
}

fn newest_segment(disk: &CrashDisk) -> (PathBuf, usize) {
    let files = disk.files();
    let segment = files
        .into_iter()
        .rfind(|(path, _)| path.extension().is_some_and(|e| e == "log"));
    segment.unwrap()
}

/// The property: what comes back is a prefix of what was appended and has all that was acknowledged, and the log goes
/// on: what is appended then comes back too.
fn check_recovery(
    mut disk: CrashDisk,
    kept: &[Kept],
    acknowledged: usize,
    mutant: Option<Mutant>,
) -> Result<(), String> {
    let options = options(1 << 20, mutant);
    let (mut log, _, mut records) = open(&mut disk, options).map_err(|e| e.to_string())?;
    if records.len() < acknowledged {
        return Err(format!("{} of {acknowledged} records", records.len()));
    }
    if records != kept[..records.len()] {
        return Err("not a prefix".into());
    }
    append(&mut log, &mut records, 33);
    log.sync(&mut disk).map_err(|e| e.to_string())?;
    disk.power_cut(Cut::LoseAll, &mut Rng(0));
    let (_, recovery, again) = open(&mut disk, options).map_err(|e| e.to_string())?;
    if again != records {
        return Err(format!("lost after recovery: {:?}", recovery.torn));
    }
    Ok(())
}

fn check_every_tear(mutant: Option<Mutant>) -> Result<u32, String> {
    let (disk, kept, acknowledged) = torn_log(1 << 20, mutant);
    let (path, len) = newest_segment(&disk);
    let start = {
        let mut synced = disk.clone();
        synced.power_cut(Cut::LoseAll, &mut Rng(0));
        synced.bytes(&path).len()
    };
    assert!(start % SECTOR == 0 && len > start + 3 * SECTOR);
    let mut cases = 0;
    for tear in start..=len {
        for rest in [Rest::Missing, Rest::Zeros, Rest::Garbage, Rest::Whole] {
            let mut disk = disk.clone();
            disk.edit(&path, |bytes| match rest {
                Rest::Missing => bytes.truncate(tear),
                Rest::Zeros => bytes[tear..].fill(0),
                Rest::Garbage => {
                    let mut rng = Rng(tear as u64);
                    bytes[tear..].fill_with(|| rng.next() as u8);
                }
                Rest::Whole => {
                    let end = (tear / SECTOR + 1) * SECTOR;
                    bytes[tear..end.min(len)].fill(0);
                }
            });
            check_recovery(disk, &kept, acknowledged, mutant)
                .map_err(|what| format!("torn at {tear}, {rest:?}: {what}"))?;
            cases += 1;
        }
    }
    Ok(cases)
}

#[test]
fn whatever_byte_a_write_is_torn_at_a_prefix_with_all_acknowledged_comes_back() {
    let cases = check_every_tear(None).unwrap();
    assert!(cases > 8000, "{cases}");
}

#[test]
fn bug_d3_keeping_the_torn_tail_is_found() {
    let found = check_every_tear(Some(Mutant::KeepTornTail)).unwrap_err();
    assert!(found.contains("lost after recovery"), "{found}");
}

#[test]
fn bug_d1_refusing_a_torn_tail_is_found() {
    let found = check_every_tear(Some(Mutant::TornTailIsFatal)).unwrap_err();
    assert!(found.contains("torn tail"), "{found}");
}

#[test]
fn bug_d4_taking_zeros_for_a_record_is_found() {
    let found = check_every_tear(Some(Mutant::ZeroRecordValid)).unwrap_err();
    assert!(found.contains("not a prefix"), "{found}");
}

#[test]
fn a_tail_torn_over_several_segments_is_cut() {
    let (disk, kept, acknowledged) = torn_log(700, None);
    assert!(disk.files().len() > 4);
    for seed in 0..3000 {
        let mut disk = disk.clone();
        disk.power_cut(Cut::Random, &mut Rng(seed));
        check_recovery(disk, &kept, acknowledged, None)
            .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn what_was_cut_is_reported() {
    let (mut disk, kept, _) = torn_log(1 << 20, None);
    let (path, len) = newest_segment(&disk);
    disk.edit(&path, |bytes| bytes.truncate(len - 600));
    let (_, recovery, records) = open(&mut disk, options(1 << 20, None)).unwrap();
    let torn = recovery.torn.unwrap();
    assert_eq!(torn.position, records.len() as u64 + 1);
    assert!(records.len() < kept.len());
    assert_eq!(torn.segment, "0000000000000001.log");
    assert_eq!(torn.offset + torn.bytes_cut, len as u64 - 600);
    // Once cut, it is gone.
    disk.kill();
    let (_, recovery, _) = open(&mut disk, options(1 << 20, None)).unwrap();
    assert_eq!(recovery.torn, None);
}

#[test]
fn a_hint_makes_a_torn_tail_damage() {
    let (mut disk, _, acknowledged) = torn_log(1 << 20, None);
    let (path, _) = newest_segment(&disk);
    disk.edit(&path, |bytes| {
        let len = bytes.len();
        bytes[len - 900..].fill(0);
    });
    let promised = acknowledged as u64 + 6;
    let error = crate::open_knowing(&mut disk, options(1 << 20, None), promised).unwrap_err();
    let LogError::Damaged { first, last, .. } = error else {
        panic!("{error}");
    };
    assert!(first > acknowledged as u64 && first <= promised);
    assert_eq!(last, promised);
    // Nothing was changed: without the hint it opens.
    let (_, recovery, _) = open(&mut disk, options(1 << 20, None)).unwrap();
    assert_eq!(recovery.torn.unwrap().position, first);
}

/// A crash at every single change that an open after a torn write makes, and another one in the open after that.
#[test]
fn recovery_may_itself_be_interrupted_anywhere() {
    let (disk, kept, acknowledged) = torn_log(900, None);
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut disk = disk.clone();
        disk.power_cut(Cut::Random, &mut rng);
        let mut step = 1;
        loop {
            let mut disk = disk.clone();
            disk.dies_at = Some(disk.changes + step);
            disk.tear = rng.below(2000) as usize;
            if open(&mut disk, options(900, None)).is_ok() {
                break;
            }
            disk.power_cut(Cut::Random, &mut rng);
            disk.dies_at = Some(disk.changes + 1 + rng.below(step));
            let second = open(&mut disk, options(900, None)).is_ok();
            if second && rng.one_in(2) {
                disk.kill();
            } else {
                disk.power_cut(Cut::Random, &mut rng);
            }
            check_recovery(disk, &kept, acknowledged, None)
                .unwrap_or_else(|what| panic!("seed {seed}, step {step}: {what}"));
            step += 1;
        }
        assert!(step > 5, "an open after a torn write changes the disk");
    }
}

/// fsyncgate: the sync fails, the process starts again, everything reads well from the page cache, syncs succeed, and
/// then the power goes.
#[test]
fn what_an_open_has_shown_survives_a_power_cut_even_behind_a_failed_sync() {
    for segment_bytes in [600, 1 << 20] {
        for failing in 0..3 {
            let mut disk = CrashDisk::default();
            let (mut log, ..) = open(&mut disk, options(segment_bytes, None)).unwrap();
            let mut kept = Vec::new();
            append(&mut log, &mut kept, 100);
            log.sync(&mut disk).unwrap();
            disk.failing_sync = Some(failing);
            let failed = loop {
                append(&mut log, &mut kept, 300);
                append(&mut log, &mut kept, 300);
                match log.sync(&mut disk) {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(matches!(failed, LogError::Io { .. }));
            disk.kill();
            let (_, _, shown) = open(&mut disk, options(segment_bytes, None)).unwrap();
            assert_eq!(shown, kept);
            disk.power_cut(Cut::LoseAll, &mut Rng(1));
            let (_, _, records) = open(&mut disk, options(segment_bytes, None)).unwrap();
            assert_eq!(records, shown);
        }
    }
}

#[test]
fn a_new_log_may_be_interrupted_anywhere() {
    for seed in 0..20 {
        let mut rng = Rng(seed);
        for step in 1.. {
            let mut disk = CrashDisk::default();
            disk.dies_at = Some(step);
            disk.tear = rng.below(20_000) as usize;
            let opened = open(&mut disk, options(900, None)).is_ok();
            disk.power_cut(Cut::Random, &mut rng);
            let (log, _, records) = open(&mut disk, options(900, None))
                .unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
            assert_eq!((log.first(), records.len()), (1, 0));
            let names = disk.files();
            assert!(names.iter().all(|(path, _)| path.starts_with(directory())));
            if opened {
                break;
            }
        }
    }
}
