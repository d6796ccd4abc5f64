//! What [`Mutant::SplitRegisterWrite`](crate::Mutant::SplitRegisterWrite) makes of a register: two halves in place.

use crate::format::{seed, u32_at};
use crc32c::crc32c_append;
use holdfast_host::{Disk, FileId, read_exact_at, write_all_at};
use std::io;

/// Where a value is split: a hard state's term before, its vote behind.
const SPLIT: usize = 8;
const HALF_BYTES: u64 = 4096;
const HEADER_BYTES: usize = 12;
/// In place of a length: never written.
const ABSENT: u32 = u32::MAX;

pub(crate) fn empty(identity: u64) -> Vec<u8> {
    let mut bytes = half(identity, None, 0);
    bytes.resize(HALF_BYTES as usize, 0);
    bytes.extend(half(identity, None, 0));
    bytes.resize(2 * HALF_BYTES as usize, 0);
    bytes
}

pub(crate) fn stage(
    disk: &mut dyn Disk,
    file: FileId,
    identity: u64,
    value: &[u8],
) -> io::Result<()> {
    let (first, second) = value.split_at(SPLIT.min(value.len()));
    write_all_at(disk, file, 0, &half(identity, Some(first), value.len()))?;
    disk.sync(file)?;
    write_all_at(
        disk,
        file,
        HALF_BYTES,
        &half(identity, Some(second), value.len()),
    )
}

/// The inner `None` says that nothing was ever written, the outer one that a half is damaged.
pub(crate) fn read(
    disk: &mut dyn Disk,
    file: FileId,
    identity: u64,
) -> io::Result<Option<Option<Vec<u8>>>> {
    let mut value = Vec::new();
    let mut absent = 0;
    let mut total = 0;
    for offset in [0, HALF_BYTES] {
        let mut block = [0; HALF_BYTES as usize];
        read_exact_at(disk, file, offset, &mut block)?;
        let length = u32_at(&block, 4);
        let present = if length == ABSENT { 0 } else { length as usize };
        let end = HEADER_BYTES + present;
        if end > block.len() || u32_at(&block, 0) != crc32c_append(seed(identity), &block[4..end]) {
            return Ok(None);
        }
        absent += usize::from(length == ABSENT);
        total = total.max(u32_at(&block, 8) as usize);
        value.extend_from_slice(&block[HEADER_BYTES..end]);
    }
    // The half that was never written reads as zeros.
    value.resize(total, 0);
    Ok(Some((absent < 2).then_some(value)))
}

/// Checksum, length of this half, length of the whole value, the half.
fn half(identity: u64, value: Option<&[u8]>, total: usize) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    let length = value.map_or(ABSENT, |value| value.len() as u32);
    bytes.extend(length.to_le_bytes());
    bytes.extend((total as u32).to_le_bytes());
    bytes.extend_from_slice(value.unwrap_or_default());
    let checksum = crc32c_append(seed(identity), &bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}
