//! The bytes that README.md shows are the bytes that are written.

use crate::{directory, disk::CrashDisk};
use holdfast_log::{Log, Options};

fn hex_dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        dump += &format!("{:04x}  {}\n", index * 16, hex.join(" "));
    }
    dump
}

#[test]
fn the_drawing_shows_real_bytes() {
    let mut disk = CrashDisk::default();
    let options = Options {
        segment_bytes: 4096,
        max_record_bytes: 100,
        identity: 0x1122_3344_5566_7788,
        mutant: None,
    };
    let (mut log, _) = Log::open(&mut disk, directory(), options, 42, 0, &mut |_| {}).unwrap();
    log.append(1, &[b"holdfast"]).unwrap();
    log.sync(&mut disk).unwrap();
    log.append(1, &[b"hold", b"on"]).unwrap();
    log.append(2, &[]).unwrap();
    log.sync(&mut disk).unwrap();
    let bytes = disk.bytes(&directory().join("000000000000002a.log"));
    assert_eq!(bytes.len(), 1536);
    let readme = include_str!("../../README.md");
    for (what, range) in [
        ("segment header", 0..64),
        ("first batch", 512..560),
        ("second batch", 1024..1104),
    ] {
        let dump = hex_dump(&bytes[range.clone()]);
        assert!(readme.contains(&dump), "{what}, {range:?}:\n{dump}");
    }
    assert!(bytes[64..512].iter().all(|byte| *byte == 0));
    assert!(bytes[560..1024].iter().all(|byte| *byte == 0));
}
