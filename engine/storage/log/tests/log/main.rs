//! The log and the register against a disk that loses power, lies and rots.

mod damage;
mod disk;
mod document;
mod fuzz;
mod life;
mod model;
mod register;
mod torn;

use disk::CrashDisk;
use holdfast_log::{Log, LogError, Mutant, Options, Recovery};
use std::path::Path;

const IDENTITY: u64 = 0x5eed_cafe;

/// A record as tests keep it.
type Kept = (u64, u8, Vec<u8>);

fn directory() -> &'static Path {
    Path::new("data/log")
}

fn options(segment_bytes: u64, mutant: Option<Mutant>) -> Options {
    Options {
        segment_bytes,
        max_record_bytes: 4096,
        identity: IDENTITY,
        mutant,
    }
}

/// Opens with first position 1 and no hint.
fn open(disk: &mut CrashDisk, options: Options) -> Result<(Log, Recovery, Vec<Kept>), LogError> {
    open_knowing(disk, options, 0)
}

fn open_knowing(
    disk: &mut CrashDisk,
    options: Options,
    known_durable: u64,
) -> Result<(Log, Recovery, Vec<Kept>), LogError> {
    let mut records = Vec::new();
    let (log, recovery) = Log::open(
        disk,
        directory(),
        options,
        1,
        known_durable,
        &mut |record| records.push((record.position, record.kind, record.payload.to_vec())),
    )?;
    let first = log.first();
    assert_eq!(log.next(), first + records.len() as u64);
    assert_eq!(log.durable(), log.next() - 1);
    for (record, position) in records.iter().zip(first..) {
        assert_eq!(record.0, position);
    }
    Ok((log, recovery, records))
}

/// A payload that no other record has.
fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = number.to_le_bytes().to_vec();
    bytes.resize(length.max(8), (number as u8) | 1);
    bytes
}

/// Appends a record and keeps it.
fn append(log: &mut Log, kept: &mut Vec<Kept>, length: usize) {
    let position = log.next();
    let bytes = payload(position, length);
    let (head, tail) = bytes.split_at(3);
    assert_eq!(log.append(9, &[head, tail]).unwrap(), position);
    kept.push((position, 9, bytes));
}
