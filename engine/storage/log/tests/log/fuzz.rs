//! Arbitrary bytes never panic.

use crate::{append, directory, disk::CrashDisk, open, options};
use holdfast_log::{Register, RegisterOptions};
use proptest::{collection::vec, prelude::*};

/// A log of two segments with a clean end.
fn template() -> CrashDisk {
    let mut disk = CrashDisk::default();
    let (mut log, ..) = open(&mut disk, options(1200, None)).unwrap();
    for length in [10, 200, 300, 400, 50, 60] {
        append(&mut log, &mut Vec::new(), length);
        append(&mut log, &mut Vec::new(), length);
        log.sync(&mut disk).unwrap();
    }
    disk.kill();
    disk
}

#[derive(Clone, Debug)]
enum Edit {
    Overwrite(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    CopyWithin(usize, usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<(usize, Edit)>> {
    let at = 0..20_000_usize;
    let bytes = || vec(any::<u8>(), 1..40);
    let edit = prop_oneof![
        (at.clone(), bytes()).prop_map(|(at, bytes)| Edit::Overwrite(at, bytes)),
        (at.clone(), bytes()).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at.clone(), 1..600_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        (at.clone(), at, 1..600_usize).prop_map(|(a, b, count)| Edit::CopyWithin(a, b, count)),
    ];
    vec((0..10_usize, edit), 1..6)
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    let len = bytes.len().max(1);
    match edit {
        Edit::Overwrite(at, new) => {
            let at = (at % len).min(bytes.len());
            let end = (at + new.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
        Edit::Insert(at, new) => {
            let at = (at % len).min(bytes.len());
            bytes.splice(at..at, new.iter().copied());
        }
        Edit::Remove(at, count) => {
            let at = (at % len).min(bytes.len());
            let end = (at + count).min(bytes.len());
            bytes.drain(at..end);
        }
        Edit::CopyWithin(from, to, count) => {
            let (from, to) = ((from % len).min(bytes.len()), (to % len).min(bytes.len()));
            let count = (*count).min(bytes.len() - from).min(bytes.len() - to);
            bytes.copy_within(from..from + count, to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_segment_of_arbitrary_bytes(
        bytes in vec(any::<u8>(), 0..3000),
        keeps_header in any::<bool>(),
        name in 1..9_u64,
    ) {
        let mut disk = template();
        let path = directory().join(format!("{name:016x}.log"));
        let old = disk.files().iter().any(|(there, _)| *there == path).then(|| disk.bytes(&path));
        let mut new = bytes;
        if let (true, Some(old)) = (keeps_header, old) {
            new.splice(0..0, old[..64].iter().copied());
        }
        disk.put_file(&path, new);
        let _ = open(&mut disk, options(1200, None));
    }

    #[test]
    fn a_log_with_arbitrary_edits_returns_appended_records_or_an_error(edits in edits()) {
        let mut disk = template();
        let (_, _, original) = open(&mut disk.clone(), options(1200, None)).unwrap();
        let files = disk.files();
        for (file, edit) in &edits {
            let path = &files[file % files.len()].0;
            disk.edit(path, |bytes| apply(bytes, edit));
        }
        if let Ok((_, _, records)) = open(&mut disk, options(1200, None)) {
            prop_assert_eq!(&records[..], &original[..records.len()]);
        }
    }

    #[test]
    fn a_register_of_arbitrary_bytes(bytes in vec(any::<u8>(), 0..20_000), header in any::<bool>()) {
        let mut disk = CrashDisk::default();
        let path = directory().join("register");
        let mut bytes = bytes;
        if header && bytes.len() >= 8 {
            bytes[..8].copy_from_slice(b"HFREGSTR");
        }
        disk.put_file(&path, bytes);
        let options = RegisterOptions { identity: 1, mutant: None };
        prop_assert!(Register::open(&mut disk, &path, options).is_err());
        prop_assert_eq!(disk.open_files(), 0);
    }
}
