//! Damage to what was synced: never silent, never wrong bytes.

use crate::{IDENTITY, Kept, append, directory, disk::CrashDisk, open, open_knowing, options};
use holdfast_log::{DamageReason, LogError, Mutant, Options};
use std::path::{Path, PathBuf};

/// A log of several batches and segments, everything synced; how many records are in the last batch, and whether it
/// was closed.
struct Built {
    disk: CrashDisk,
    kept: Vec<Kept>,
    last_batch: usize,
}

fn build(segment_bytes: u64, close: bool, mutant: Option<Mutant>) -> Built {
    let mut disk = CrashDisk::default();
    let (mut log, ..) = open(&mut disk, options(segment_bytes, mutant)).unwrap();
    let mut kept = Vec::new();
    for batch in [2, 4, 1, 3] {
        for record in 0..batch {
            append(&mut log, &mut kept, 30 + 41 * record);
        }
        log.sync(&mut disk).unwrap();
    }
    if close {
        log.close(&mut disk).unwrap();
    }
    disk.kill();
    Built {
        disk,
        kept,
        last_batch: 3,
    }
}

fn segments(disk: &CrashDisk) -> Vec<PathBuf> {
    let files = disk.files().into_iter().map(|(path, _)| path);
    files
        .filter(|path| path.extension().is_some_and(|e| e == "log"))
        .collect()
}

/// Where a record's header is.
fn find(disk: &CrashDisk, record: &Kept) -> (PathBuf, usize) {
    for path in segments(disk) {
        let bytes = disk.bytes(&path);
        let found = bytes
            .windows(record.2.len())
            .position(|window| window == record.2);
        if let Some(at) = found {
            return (path, at - 32);
        }
    }
    panic!("record {} is in no segment", record.0);
}

/// What one open after damage did.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    All,
    /// The last batch, or part of it, was taken for torn.
    LastBatchTorn,
    Refused,
}

/// The property: no wrong bytes, and nothing acknowledged is dropped in silence, but for the last batch.
fn check(
    disk: &mut CrashDisk,
    options: Options,
    known_durable: u64,
    kept: &[Kept],
    last_batch: usize,
) -> Result<Outcome, String> {
    match open_knowing(disk, options, known_durable) {
        Err(LogError::Io { source, .. }) => Err(format!("not the disk's fault: {source}")),
        Err(_) => Ok(Outcome::Refused),
        Ok((_, recovery, records)) => {
            if records.len() > kept.len() || records != kept[..records.len()] {
                return Err("wrong records".into());
            }
            if records.len() == kept.len() {
                return Ok(Outcome::All);
            }
            if records.len() < kept.len() - last_batch {
                return Err(format!("lost all after {} in silence", records.len()));
            }
            if recovery.torn.is_none() {
                return Err("dropped and not reported".into());
            }
            Ok(Outcome::LastBatchTorn)
        }
    }
}

fn flip_every_byte(
    segment_bytes: u64,
    close: bool,
    known_durable: u64,
    mutant: Option<Mutant>,
) -> Result<[usize; 3], String> {
    let built = build(segment_bytes, close, mutant);
    let mut counts = [0; 3];
    for (path, len) in built.disk.files() {
        for at in 0..len {
            let mut disk = built.disk.clone();
            disk.edit(&path, |bytes| bytes[at] ^= 1 << (at % 8));
            let options = options(segment_bytes, mutant);
            let outcome = check(
                &mut disk,
                options,
                known_durable,
                &built.kept,
                built.last_batch,
            )
            .map_err(|what| format!("byte {at} of {}: {what}", path.display()))?;
            counts[outcome as usize] += 1;
        }
    }
    Ok(counts)
}

#[test]
fn a_flipped_bit_is_never_silent() {
    for segment_bytes in [700, 1 << 20] {
        let [all, torn, refused] = flip_every_byte(segment_bytes, false, 0, None).unwrap();
        assert!(all > 0 && torn > 0 && refused > 0);
        // The ambiguous case is the last batch and no more: three records with 41 bytes more each.
        assert!(torn <= 3 * 32 + 32 + 72 + 112 + 64, "{torn}");
    }
}

#[test]
fn after_a_clean_close_or_with_a_hint_there_is_no_ambiguity() {
    for segment_bytes in [700, 1 << 20] {
        let [_, torn, refused] = flip_every_byte(segment_bytes, true, 0, None).unwrap();
        assert!(torn == 0 && refused > 0, "{torn}");
        let [_, torn, refused] = flip_every_byte(segment_bytes, false, 10, None).unwrap();
        assert!(torn == 0 && refused > 0, "{torn}");
    }
}

#[test]
fn bug_d2_taking_damage_for_a_torn_tail_is_found() {
    let mutant = Some(Mutant::MiddleDamageIsTail);
    let found = flip_every_byte(1 << 20, false, 0, mutant).unwrap_err();
    assert!(found.contains("in silence"), "{found}");
}

#[test]
fn damage_names_the_record() {
    for segment_bytes in [700, 1 << 20] {
        let built = build(segment_bytes, false, None);
        for record in &built.kept[..built.kept.len() - built.last_batch] {
            let (path, offset) = find(&built.disk, record);
            for at in (0..32 + record.2.len()).filter(|at| !(29..32).contains(at)) {
                let mut disk = built.disk.clone();
                disk.edit(&path, |bytes| bytes[offset + at] ^= 0x10);
                let error = open(&mut disk, options(segment_bytes, None)).unwrap_err();
                let LogError::Damaged {
                    first,
                    last,
                    segment,
                    reason,
                    ..
                } = &error
                else {
                    panic!("{error}");
                };
                assert_eq!((*first, *last), (record.0, record.0), "{error}");
                assert_eq!(Path::new(segment), path.file_name().unwrap());
                let expected = if at < 32 {
                    DamageReason::Header
                } else {
                    DamageReason::Payload
                };
                assert_eq!(*reason, expected);
            }
        }
    }
}

#[test]
fn refusing_changes_nothing() {
    let built = build(700, false, None);
    let (path, offset) = find(&built.disk, &built.kept[2]);
    let mut disk = built.disk.clone();
    disk.edit(&path, |bytes| bytes[offset + 40] ^= 1);
    for _ in 0..3 {
        let error = open(&mut disk, options(700, None)).unwrap_err();
        assert!(matches!(error, LogError::Damaged { first: 3, .. }));
        assert_eq!(disk.open_files(), 0);
    }
    disk.edit(&path, |bytes| bytes[offset + 40] ^= 1);
    let (_, _, records) = open(&mut disk, options(700, None)).unwrap();
    assert_eq!(records, built.kept, "healed by hand, nothing is lost");
}

#[test]
fn lost_zeroed_and_swapped_sectors_are_noticed() {
    let built = build(1 << 20, true, None);
    let path = &segments(&built.disk)[0];
    let len = built.disk.bytes(path).len();
    let sectors = len / 512;
    for a in 0..sectors {
        let mut disk = built.disk.clone();
        disk.edit(path, |bytes| bytes[a * 512..(a + 1) * 512].fill(0));
        let outcome = check(&mut disk, options(1 << 20, None), 0, &built.kept, 0);
        assert_eq!(outcome, Ok(Outcome::Refused), "sector {a}");
        for b in 0..a {
            // A misdirected write: what belongs at a is at b, too.
            let mut disk = built.disk.clone();
            disk.edit(path, |bytes| {
                bytes.copy_within(a * 512..(a + 1) * 512, b * 512)
            });
            let outcome = check(&mut disk, options(1 << 20, None), 0, &built.kept, 0);
            assert_eq!(outcome, Ok(Outcome::Refused), "sector {a} over {b}");
        }
    }
    for cut in 0..len {
        let mut disk = built.disk.clone();
        disk.edit(path, |bytes| bytes.truncate(cut));
        let outcome = check(&mut disk, options(1 << 20, None), 0, &built.kept, 0).unwrap();
        // The very end is padding.
        assert!(outcome == Outcome::Refused || cut > len - 512, "{cut}");
    }
}

#[test]
fn a_missing_segment_is_noticed() {
    let built = build(700, false, None);
    let all = segments(&built.disk);
    assert!(all.len() >= 3);
    for (index, path) in all.iter().enumerate() {
        let mut disk = built.disk.clone();
        disk.lose_file(path);
        let result = open(&mut disk, options(700, None));
        if index + 1 == all.len() {
            // The last one: nothing says that it ever was there, as nothing was written after it.
            let hinted = open_knowing(&mut disk, options(700, None), 10);
            assert!(hinted.is_err() && result.is_ok());
            continue;
        }
        let Err(LogError::MissingSegment { first, .. }) = result else {
            panic!("{}: {:?}", path.display(), result.err());
        };
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(first, u64::from_str_radix(name, 16).unwrap());
    }
    // After a close the last one is missed, too, and so is everything together.
    let built = build(700, true, None);
    let mut disk = built.disk.clone();
    disk.lose_file(segments(&disk).last().unwrap());
    assert!(matches!(
        open(&mut disk, options(700, None)),
        Err(LogError::MissingSegment { .. })
    ));
    for path in segments(&disk) {
        disk.lose_file(&path);
    }
    assert!(matches!(
        open(&mut disk, options(700, None)),
        Err(LogError::MissingSegment { first: 1, .. })
    ));
    let mut disk = built.disk.clone();
    disk.lose_file(&directory().join("manifest"));
    assert!(matches!(
        open(&mut disk, options(700, None)),
        Err(LogError::Inconsistent(_))
    ));
}

#[test]
fn files_of_others_and_of_the_future_are_refused() {
    let built = build(700, true, None);
    let other = Options {
        identity: IDENTITY + 1,
        ..options(700, None)
    };
    let mut disk = built.disk.clone();
    assert!(matches!(
        open(&mut disk, other),
        Err(LogError::Manifest(
            holdfast_log::RegisterError::WrongIdentity { .. }
        ))
    ));
    // A segment of the other log among ours.
    let mut foreign = CrashDisk::default();
    let (mut log, ..) = open(&mut foreign, other).unwrap();
    append(&mut log, &mut Vec::new(), 9);
    log.close(&mut foreign).unwrap();
    let theirs = foreign.bytes(&segments(&foreign)[0]);
    for path in segments(&disk) {
        let mut disk = built.disk.clone();
        disk.edit(&path, |bytes| *bytes = theirs.clone());
        let error = open(&mut disk, options(700, None)).unwrap_err();
        assert!(
            matches!(error, LogError::WrongIdentity { found, .. } if found == IDENTITY + 1),
            "{error}"
        );
    }
    let path = &segments(&disk)[1];
    disk.edit(path, |bytes| {
        bytes[12..16].copy_from_slice(&7u32.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[12..64]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    });
    let error = open(&mut disk, options(700, None)).unwrap_err();
    assert!(
        matches!(error, LogError::FutureVersion { version: 7, .. }),
        "{error}"
    );
}

#[test]
fn an_older_copy_of_a_segment_does_not_fit() {
    // The last segment as it was before records were replaced in it.
    let mut disk = CrashDisk::default();
    let (mut log, ..) = open(&mut disk, options(1 << 20, None)).unwrap();
    let mut kept = Vec::new();
    for _ in 0..4 {
        append(&mut log, &mut kept, 50);
        log.sync(&mut disk).unwrap();
    }
    log.truncate_suffix(&mut disk, 3).unwrap();
    let old = disk.bytes(segments(&disk).last().unwrap());
    log.append(1, &[b"other"]).unwrap();
    log.truncate_suffix(&mut disk, 3).unwrap();
    log.append(1, &[b"another"]).unwrap();
    log.close(&mut disk).unwrap();
    disk.edit(segments(&disk).last().unwrap().clone().as_path(), |bytes| {
        *bytes = old;
    });
    assert!(matches!(
        open(&mut disk, options(1 << 20, None)),
        Err(LogError::MissingSegment { first: 3, last: 3 })
    ));
}
