//! Bytes of segment and record headers, as `README.md` draws them.

use crc32c::{crc32c, crc32c_append};

/// Unit in which a device writes, and in which it may lose what it was writing: every write of this crate begins and
/// ends on its boundary, so that no sector that a sync has covered is written again.
pub(crate) const SECTOR_BYTES: u64 = 512;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
pub(crate) const RECORD_HEADER_BYTES: usize = 32;
/// Records begin at multiples of this.
pub(crate) const RECORD_ALIGNMENT: u64 = 8;
pub(crate) const VERSION: u32 = 1;
const SEGMENT_MAGIC: [u8; 8] = *b"HFLOGSEG";
const SUFFIX: &str = ".log";
const NAME_DIGITS: usize = 16;

/// The next multiple of `unit`, which is a power of two.
pub(crate) fn round_up(value: u64, unit: u64) -> u64 {
    (value + (unit - 1)) & !(unit - 1)
}

/// Bytes that a record with a payload of `length` bytes takes.
pub(crate) fn record_bytes(length: u32) -> u64 {
    RECORD_HEADER_BYTES as u64 + round_up(u64::from(length), RECORD_ALIGNMENT)
}

pub(crate) fn segment_name(first: u64) -> String {
    format!("{first:0NAME_DIGITS$x}{SUFFIX}")
}

/// The first position that a segment's name tells; `None` for what is no segment's name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let first = u64::from_str_radix(digits, 16).ok()?;
    // Also refuses upper case, signs and missing zeros: one position has one name.
    (segment_name(first) == name).then_some(first)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub identity: u64,
    pub first: u64,
    /// Positions below it were durable when the segment was begun.
    pub durable_next: u64,
    /// Checksum of the record before the first one of this segment; zero when there was none.
    pub chain: u32,
}

/// Why bytes are not a segment header of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadSegmentHeader {
    /// Magic or checksum do not fit.
    Unreadable,
    /// Whole, and written by a later version.
    FutureVersion(u32),
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.identity.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable_next.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.chain.to_le_bytes());
        let checksum = crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, BadSegmentHeader> {
        assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
        // The checksum comes before the version: a flipped version must not pass for the future.
        if bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 8) != crc32c(&bytes[12..]) {
            return Err(BadSegmentHeader::Unreadable);
        }
        match u32_at(bytes, 12) {
            VERSION => Ok(SegmentHeader {
                identity: u64_at(bytes, 16),
                first: u64_at(bytes, 24),
                durable_next: u64_at(bytes, 32),
                chain: u32_at(bytes, 40),
            }),
            version => Err(BadSegmentHeader::FutureVersion(version)),
        }
    }
}

/// What stands before each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// The record's own checksum, which the next record names in its `chain`. Covers all of the below and, through
    /// `payload_checksum`, the payload.
    pub checksum: u32,
    pub payload_checksum: u32,
    pub chain: u32,
    pub length: u32,
    pub position: u64,
    pub kind: u8,
    /// Positions below it were durable when the record was written. At most `position`.
    pub durable_next: u64,
}

/// The start value of record checksums: what makes records of another log fail.
pub(crate) fn seed(identity: u64) -> u32 {
    crc32c(&identity.to_le_bytes())
}

impl RecordHeader {
    /// The bytes of a header and its checksum. `self.checksum` is ignored.
    pub fn encode(&self, seed: u32) -> ([u8; RECORD_HEADER_BYTES], u32) {
        // Saturating makes the claim weaker, never wrong.
        let unsynced = u32::try_from(self.position - self.durable_next).unwrap_or(u32::MAX);
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[4..8].copy_from_slice(&self.payload_checksum.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.chain.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.position.to_le_bytes());
        bytes[24..28].copy_from_slice(&unsynced.to_le_bytes());
        bytes[28] = self.kind;
        let checksum = crc32c_append(seed, &bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// `None` when these are not the bytes of a header of this log.
    pub fn decode(bytes: &[u8], seed: u32) -> Option<Self> {
        assert_eq!(bytes.len(), RECORD_HEADER_BYTES);
        // Cheap and first: the search behind a hole asks this at every eighth byte.
        if bytes[29..] != [0; 3] {
            return None;
        }
        let checksum = u32_at(bytes, 0);
        if checksum != crc32c_append(seed, &bytes[4..]) {
            return None;
        }
        let position = u64_at(bytes, 16);
        Some(RecordHeader {
            checksum,
            payload_checksum: u32_at(bytes, 4),
            chain: u32_at(bytes, 8),
            length: u32_at(bytes, 12),
            position,
            kind: bytes[28],
            durable_next: position.checked_sub(u64::from(u32_at(bytes, 24)))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        assert_eq!(segment_name(0x2a), "000000000000002a.log");
        assert_eq!(parse_segment_name("000000000000002a.log"), Some(0x2a));
        for wrong in [
            "2a.log",
            "000000000000002A.log",
            "+00000000000002a.log",
            "000000000000002a.tmp",
            "x",
        ] {
            assert_eq!(parse_segment_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn zeros_are_not_a_record_of_any_identity() {
        for identity in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            assert_eq!(
                RecordHeader::decode(&[0; RECORD_HEADER_BYTES], seed(identity)),
                None
            );
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let segment = SegmentHeader {
            identity: 7,
            first: 9,
            durable_next: 8,
            chain: 5,
        };
        let bytes = segment.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(segment));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                SegmentHeader::decode(&bytes),
                Err(BadSegmentHeader::Unreadable)
            );
        }
        let record = RecordHeader {
            checksum: 0,
            payload_checksum: 3,
            chain: 4,
            length: 5,
            position: 6,
            kind: 7,
            durable_next: 2,
        };
        let (bytes, checksum) = record.encode(seed(7));
        assert_eq!(
            RecordHeader::decode(&bytes, seed(7)),
            Some(RecordHeader { checksum, ..record })
        );
        assert_eq!(RecordHeader::decode(&bytes, seed(8)), None, "foreign");
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&bytes, seed(7)), None);
        }
    }
}
