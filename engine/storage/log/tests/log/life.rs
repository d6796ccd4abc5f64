//! What the log does when nothing goes wrong, and what it refuses.

use crate::{append, directory, disk::CrashDisk, open, options};
use holdfast_host::Disk;
use holdfast_log::{Log, LogError, WRITE_BUFFER_BYTES};

#[test]
fn records_come_back_over_many_segments() {
    let mut disk = CrashDisk::default();
    let (mut log, recovery, records) = open(&mut disk, options(1500, None)).unwrap();
    assert_eq!((recovery.torn, records.len()), (None, 0));
    assert_eq!((log.first(), log.next(), log.durable()), (1, 1, 0));
    let mut kept = Vec::new();
    for batch in 0..12 {
        for record in 0..batch {
            append(&mut log, &mut kept, 20 + record * 37);
        }
        assert_eq!(log.sync(&mut disk).unwrap(), log.next() - 1);
    }
    assert!(disk.files().len() > 4, "several segments");
    disk.kill();
    let (mut log, recovery, records) = open(&mut disk, options(1500, None)).unwrap();
    assert_eq!((recovery.torn, &records), (None, &kept));
    // And again after records were added to what recovery wrote anew.
    append(&mut log, &mut kept, 4096);
    log.close(&mut disk).unwrap();
    assert_eq!(disk.open_files(), 0);
    let (log, _, records) = open(&mut disk, options(1500, None)).unwrap();
    assert_eq!(records, kept);
    assert_eq!(log.durable(), kept.len() as u64);
}

#[test]
fn a_batch_costs_one_write_and_one_sync() {
    let mut disk = CrashDisk::default();
    let (mut log, ..) = open(&mut disk, options(1 << 20, None)).unwrap();
    let mut kept = Vec::new();
    append(&mut log, &mut kept, 8);
    log.sync(&mut disk).unwrap();
    let (writes, syncs) = (disk.writes, disk.syncs);
    for _ in 0..1000 {
        append(&mut log, &mut kept, 100);
    }
    log.flush(&mut disk).unwrap();
    assert_eq!((disk.writes, disk.syncs), (writes + 1, syncs));
    assert_eq!(log.durable(), 1);
    log.sync(&mut disk).unwrap();
    assert_eq!((disk.writes, disk.syncs), (writes + 1, syncs + 1));
    log.sync(&mut disk).unwrap();
    assert_eq!(disk.syncs, syncs + 1, "nothing to sync");
}

#[test]
fn a_clean_close_leaves_nothing_to_write_at_the_next_open() {
    let mut disk = CrashDisk::default();
    let (mut log, ..) = open(&mut disk, options(1 << 20, None)).unwrap();
    append(&mut log, &mut Vec::new(), 100);
    log.close(&mut disk).unwrap();
    assert!(matches!(log.append(1, &[]), Err(LogError::Closed)));
    let files = disk.files();
    let (log, ..) = open(&mut disk, options(1 << 20, None)).unwrap();
    assert_eq!(disk.files(), files);
    assert_eq!(log.next(), 2);
}

#[test]
fn the_ends_can_be_cut() {
    let mut disk = CrashDisk::default();
    let (mut log, ..) = open(&mut disk, options(1024, None)).unwrap();
    let mut kept = Vec::new();
    for _ in 0..40 {
        append(&mut log, &mut kept, 100);
        log.sync(&mut disk).unwrap();
    }
    log.truncate_suffix(&mut disk, 41).unwrap();
    log.truncate_suffix(&mut disk, 26).unwrap();
    kept.truncate(25);
    assert_eq!((log.next(), log.durable()), (26, 25));
    append(&mut log, &mut kept, 7);
    log.truncate_prefix(&mut disk, 20).unwrap();
    let first = log.first();
    assert!((15..=20).contains(&first), "{first}");
    kept.retain(|record| record.0 >= first);
    let outside = log.truncate_suffix(&mut disk, first - 1);
    assert!(matches!(outside, Err(LogError::OutOfRange { .. })));
    log.sync(&mut disk).unwrap();
    disk.kill();
    let (mut log, _, records) = open(&mut disk, options(1024, None)).unwrap();
    assert_eq!(records, kept);
    assert_eq!(log.first(), first);
    // All of it, and not flushed either.
    append(&mut log, &mut kept, 50);
    log.truncate_suffix(&mut disk, first).unwrap();
    assert_eq!((log.first(), log.next()), (first, first));
    let mut kept = Vec::new();
    append(&mut log, &mut kept, 50);
    log.close(&mut disk).unwrap();
    let (mut log, _, records) = open(&mut disk, options(1024, None)).unwrap();
    assert_eq!(records, kept);
    log.reset(&mut disk, 1000).unwrap();
    assert_eq!((log.first(), log.next(), log.durable()), (1000, 1000, 999));
    // Backwards, and on top of a file of the same name.
    log.reset(&mut disk, first).unwrap();
    let mut kept = Vec::new();
    append(&mut log, &mut kept, 60);
    log.sync(&mut disk).unwrap();
    log.truncate_prefix(&mut disk, u64::MAX).unwrap();
    disk.kill();
    let (_, _, records) = open(&mut disk, options(1024, None)).unwrap();
    assert_eq!(records, kept);
}

#[test]
fn reading_starts_anywhere_and_keeps_to_its_limit() {
    let mut disk = CrashDisk::default();
    let options = holdfast_log::Options {
        max_record_bytes: 1 << 20,
        ..options(400_000, None)
    };
    let (mut log, ..) = open(&mut disk, options).unwrap();
    let mut kept = Vec::new();
    for index in 0..900 {
        append(&mut log, &mut kept, 1000 + index % 7);
        if index == 700 {
            append(&mut log, &mut kept, 500_000);
        }
    }
    let read = |log: &Log, disk: &mut CrashDisk, from, limit| {
        let mut records = Vec::new();
        let next = log.read_from(disk, from, limit, &mut |record| {
            records.push((record.position, record.kind, record.payload.to_vec()));
        });
        next.map(|next| (next, records))
    };
    assert_eq!(
        read(&log, &mut disk, 1, 10).unwrap(),
        (1, Vec::new()),
        "not flushed"
    );
    log.flush(&mut disk).unwrap();
    for from in [1, 2, 65, 333, 701, 702, 703, 900, 901] {
        let at = from as usize - 1;
        assert_eq!(
            read(&log, &mut disk, from, 1).unwrap(),
            (from + 1, kept[at..at + 1].to_vec())
        );
        assert_eq!(
            read(&log, &mut disk, from, u64::MAX).unwrap(),
            (902, kept[at..].to_vec())
        );
    }
    assert_eq!(read(&log, &mut disk, 1, 1001).unwrap().0, 3);
    assert!(matches!(
        read(&log, &mut disk, 903, 1),
        Err(LogError::OutOfRange { .. })
    ));
    log.sync(&mut disk).unwrap();
    disk.kill();
    let (log, _, records) = open(&mut disk, options).unwrap();
    assert_eq!(records, kept);
    let (next, records) = read(&log, &mut disk, 777, u64::MAX).unwrap();
    assert_eq!((next, records), (902, kept[776..].to_vec()));
}

#[test]
fn limits_refuse_and_leave_the_log_as_it_was() {
    let mut disk = CrashDisk::default();
    let options = holdfast_log::Options {
        max_record_bytes: 1 << 24,
        ..options(1 << 30, None)
    };
    let (mut log, ..) = open(&mut disk, options).unwrap();
    let big = vec![7; 1 << 24];
    let too_big = log.append(1, &[&big, &[1]]);
    assert!(matches!(
        too_big,
        Err(LogError::RecordTooLarge { position: 1, .. })
    ));
    let mut appended = 0;
    let full = loop {
        match log.append(1, &[&big]) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, LogError::BufferFull { .. }));
    assert_eq!(appended, WRITE_BUFFER_BYTES / big.len() - 1);
    log.flush(&mut disk).unwrap();
    log.append(1, &[&big]).unwrap();
    log.close(&mut disk).unwrap();
    // A record that is longer than a new limit is no damage.
    let smaller = holdfast_log::Options {
        max_record_bytes: 100,
        ..options
    };
    assert!(matches!(
        open(&mut disk, smaller),
        Err(LogError::RecordTooLarge { position: 1, .. })
    ));
    assert_eq!(disk.open_files(), 0, "a failed open closes what it opened");
}

#[test]
fn a_failed_sync_poisons() {
    let mut disk = CrashDisk::default();
    let (mut log, ..) = open(&mut disk, options(1 << 20, None)).unwrap();
    append(&mut log, &mut Vec::new(), 100);
    disk.failing_sync = Some(0);
    assert!(matches!(log.sync(&mut disk), Err(LogError::Io { .. })));
    assert_eq!(log.durable(), 0);
    assert!(matches!(log.append(1, &[]), Err(LogError::Poisoned)));
    assert!(matches!(log.sync(&mut disk), Err(LogError::Poisoned)));
    assert!(matches!(log.flush(&mut disk), Err(LogError::Poisoned)));
    assert!(matches!(log.reset(&mut disk, 5), Err(LogError::Poisoned)));
    assert!(matches!(
        log.truncate_suffix(&mut disk, 1),
        Err(LogError::Poisoned)
    ));
    log.abandon(&mut disk);
    assert_eq!(disk.open_files(), 0);
    // Left-overs of other programs are not touched.
    let stranger = directory().join("README");
    disk.put_file(&stranger, vec![1]);
    let (_, _, records) = open(&mut disk, options(1 << 20, None)).unwrap();
    assert_eq!(records.len(), 1);
    assert!(
        disk.list(directory())
            .unwrap()
            .contains(&"README".to_owned())
    );
}
