//! What a file holds: reading, writing, lengths.

use super::{Site, pattern_from, table};
use crate::{Disk, FileId, OpenMode, read_exact_at, read_file, write_all_at};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::{io, path::Path};

table! { "files":
    reading_ends_at_the_end,
    writing_past_the_end_fills_the_gap_with_zeros,
    writing_nothing_does_nothing,
    overwriting_keeps_what_is_around,
    a_cut_file_grows_again_with_zeros,
    two_openings_see_the_same_bytes,
    synced_bytes_are_there,
    files_behave_like_byte_vectors,
    whole_files_are_read_up_to_a_limit,
}

/// Runs `job` with an empty file at a new path.
async fn with_file(
    site: Site,
    check: &'static str,
    job: impl FnOnce(&mut dyn Disk, FileId, &Path) + Send + 'static,
) {
    let path = site.directory(check).await.join("file");
    site.host
        .blocking(move |disk| {
            let file = disk
                .open(&path, OpenMode::CreateNew)
                .expect("open: makes an empty file");
            job(disk, file, &path);
            disk.close(file);
        })
        .await;
}

/// Everything in a file, read in pieces until a read gives nothing, which must be at its length.
fn contents(disk: &mut dyn Disk, file: FileId) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0xaa; 1000];
    loop {
        let read = disk
            .read_at(file, bytes.len() as u64, &mut buffer)
            .expect("read_at");
        bytes.extend_from_slice(&buffer[..read]);
        if read == 0 {
            break;
        }
    }
    assert_eq!(
        disk.len(file).expect("len"),
        bytes.len() as u64,
        "read_at: zero only at or past the end"
    );
    bytes
}

async fn reading_ends_at_the_end(site: Site) {
    with_file(site, "reading", |disk, file, _| {
        let mut buffer = [9; 16];
        assert_eq!(disk.read_at(file, 0, &mut buffer).expect("read_at"), 0);
        write_all_at(disk, file, 0, b"hello world").expect("write_at");
        assert_eq!(disk.len(file).expect("len"), 11);
        assert_eq!(contents(disk, file), b"hello world");

        let read = disk.read_at(file, 6, &mut buffer).expect("read_at");
        assert!(
            (1..=5).contains(&read),
            "read_at: zero only at or past the end, and no more than there is: {read}"
        );
        assert_eq!(&buffer[..read], &b"world"[..read]);
        assert_eq!(
            &buffer[read..],
            &[9; 16][read..],
            "read_at: writes no more of the buffer than it read"
        );
        for offset in [11, 12, 1 << 20, 1 << 40] {
            let read = disk.read_at(file, offset, &mut buffer).expect("read_at");
            assert_eq!(read, 0, "read_at: zero past the end, at {offset}");
        }
        let read = disk.read_at(file, 0, &mut []).expect("read_at");
        assert_eq!(read, 0, "read_at: zero for an empty buffer");

        let mut six = [0; 6];
        let short = read_exact_at(disk, file, 6, &mut six).expect_err("five bytes are left");
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    })
    .await;
}

async fn writing_past_the_end_fills_the_gap_with_zeros(site: Site) {
    with_file(site, "gap", |disk, file, _| {
        write_all_at(disk, file, 0, b"ab").expect("write_at");
        write_all_at(disk, file, 10_000, b"cd").expect("write_at");
        let mut expected = b"ab".to_vec();
        expected.resize(10_000, 0);
        expected.extend_from_slice(b"cd");
        assert!(
            contents(disk, file) == expected,
            "write_at: writing past the end fills the gap with zeros"
        );
    })
    .await;
}

async fn writing_nothing_does_nothing(site: Site) {
    with_file(site, "nothing", |disk, file, _| {
        write_all_at(disk, file, 0, b"ab").expect("write_at");
        for offset in [0, 2, 500] {
            let written = disk.write_at(file, offset, &[]).expect("write_at");
            assert_eq!(
                written, 0,
                "write_at: at least one byte unless there is none"
            );
        }
        assert_eq!(contents(disk, file), b"ab");
        let written = disk.write_at(file, 2, b"cdef").expect("write_at");
        assert!(
            (1..=4).contains(&written),
            "write_at: at least one byte, at most what there is: {written}"
        );
        assert_eq!(contents(disk, file), &b"abcdef"[..2 + written]);
    })
    .await;
}

async fn overwriting_keeps_what_is_around(site: Site) {
    with_file(site, "overwriting", |disk, file, _| {
        let mut expected = pattern_from(0, 5000);
        write_all_at(disk, file, 0, &expected).expect("write_at");
        for (offset, len) in [(0, 1), (511, 2), (4095, 2), (1000, 2000), (4990, 10)] {
            let new = vec![offset as u8 ^ 0x5a; len];
            write_all_at(disk, file, offset as u64, &new).expect("write_at");
            expected[offset..offset + len].copy_from_slice(&new);
            assert!(
                contents(disk, file) == expected,
                "write_at: writes the bytes from the offset and no others: {len} at {offset}"
            );
        }
    })
    .await;
}

async fn a_cut_file_grows_again_with_zeros(site: Site) {
    with_file(site, "cut", |disk, file, _| {
        let mut expected = pattern_from(0, 9000);
        write_all_at(disk, file, 0, &expected).expect("write_at");
        for (cut, grown) in [(8999, 9001), (4097, 8192), (513, 600), (0, 4096)] {
            disk.set_len(file, cut).expect("set_len: cuts the file");
            expected.truncate(cut as usize);
            assert!(contents(disk, file) == expected, "set_len: cuts at {cut}");
            disk.set_len(file, grown).expect("set_len: extends");
            expected.resize(grown as usize, 0);
            assert!(
                contents(disk, file) == expected,
                "set_len: extends with zeros, also where bytes were before: {cut} to {grown}"
            );
            disk.sync(file).expect("sync");
        }
    })
    .await;
}

async fn two_openings_see_the_same_bytes(site: Site) {
    with_file(site, "two", |disk, writer, path| {
        let reader = disk.open(path, OpenMode::Read).expect("open");
        assert_ne!(reader, writer, "open: a number of its own");
        write_all_at(disk, writer, 0, b"seen").expect("write_at");
        assert_eq!(contents(disk, reader), b"seen");
        disk.set_len(writer, 2).expect("set_len");
        assert_eq!(contents(disk, reader), b"se");
        disk.close(reader);
        write_all_at(disk, writer, 2, b"a").expect("closing one leaves the other open");
        assert_eq!(contents(disk, writer), b"sea");
    })
    .await;
}

async fn synced_bytes_are_there(site: Site) {
    with_file(site, "synced", |disk, file, path| {
        disk.sync(file).expect("sync: also of an empty file");
        write_all_at(disk, file, 0, &pattern_from(0, 70_000)).expect("write_at");
        disk.sync(file).expect("sync");
        disk.sync(file).expect("sync: also when nothing is new");
        disk.sync_dir(path.parent().expect("a directory"))
            .expect("sync_dir");
        assert!(contents(disk, file) == pattern_from(0, 70_000));
        let reader = disk.open(path, OpenMode::Read).expect("open");
        assert!(contents(disk, reader) == pattern_from(0, 70_000));
        disk.close(reader);
    })
    .await;
}

/// Random calls on a file and on a vector, around sector and page boundaries, must come to the same.
async fn files_behave_like_byte_vectors(site: Site) {
    const SEEDS: u64 = 8;
    const CALLS: u32 = 150;
    with_file(site, "vectors", |disk, file, _| {
        for seed in 0..SEEDS {
            disk.set_len(file, 0).expect("set_len");
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut model: Vec<u8> = Vec::new();
            for call in 0..CALLS {
                let offset = near_a_boundary(&mut rng);
                match rng.next_u32() % 10 {
                    0 => {
                        disk.set_len(file, offset as u64).expect("set_len");
                        model.resize(offset, 0);
                    }
                    1 => disk.sync(file).expect("sync"),
                    _ => {
                        let bytes = pattern_from(rng.next_u64() >> 1, near_a_boundary(&mut rng));
                        write_all_at(disk, file, offset as u64, &bytes).expect("write_at");
                        let end = offset + bytes.len();
                        if !bytes.is_empty() {
                            model.resize(model.len().max(end), 0);
                            model[offset..end].copy_from_slice(&bytes);
                        }
                    }
                }
                assert!(
                    contents(disk, file) == model,
                    "a file is its bytes: differs after call {call} of seed {seed}"
                );
            }
        }
    })
    .await;
}

/// A small number close to a multiple of the sector's or the page's size.
fn near_a_boundary(rng: &mut ChaCha8Rng) -> usize {
    let unit = [512, 4096][rng.next_u32() as usize % 2];
    let boundary = unit * (rng.next_u32() as usize % 4);
    (boundary + rng.next_u32() as usize % 5).saturating_sub(2)
}

async fn whole_files_are_read_up_to_a_limit(site: Site) {
    with_file(site, "whole", |disk, file, path| {
        assert_eq!(read_file(disk, path, 0).expect("read_file"), b"");
        write_all_at(disk, file, 0, &pattern_from(0, 5000)).expect("write_at");
        assert!(read_file(disk, path, 5000).expect("read_file") == pattern_from(0, 5000));
        let long = read_file(disk, path, 4999).expect_err("longer than the limit");
        assert_eq!(long.kind(), io::ErrorKind::FileTooLarge);
    })
    .await;
}
