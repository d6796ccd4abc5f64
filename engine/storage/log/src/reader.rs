//! Reading one segment, front to back, in bounded memory.

use crate::{
    DamageReason,
    format::{
        BadSegmentHeader, RECORD_ALIGNMENT, RECORD_HEADER_BYTES, RecordHeader, SECTOR_BYTES,
        SEGMENT_HEADER_BYTES, SegmentHeader, record_bytes, round_up,
    },
};
use crc32c::crc32c;
use holdfast_host::{Disk, FileId, OpenMode, read_exact_at};
use std::{io, path::Path};

/// How much is read at once; a longer record is read in one piece.
const READ_AHEAD_BYTES: u64 = 256 * 1024;

/// Where the next record should be and what it must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub offset: u64,
    pub position: u64,
    /// Checksum of the record before.
    pub chain: u32,
}

/// What is found at a [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The record; its payload is at [`SegmentReader::payload`].
    Record { offset: u64, header: RecordHeader },
    /// Whole, and longer than the limit allows.
    TooLarge { length: u32 },
    /// Nothing more was written.
    End,
    /// Something that is not the next record.
    Hole { offset: u64, reason: DamageReason },
}

/// What stands behind a hole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// Positions below it were durable, as the readable records behind the hole testify.
    pub durable_next: u64,
    /// The lowest position among them.
    pub next_readable: Option<u64>,
}

impl Beyond {
    pub fn merge(&mut self, other: Beyond) {
        self.durable_next = self.durable_next.max(other.durable_next);
        self.next_readable = match (self.next_readable, other.next_readable) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

pub(crate) struct SegmentReader {
    file: FileId,
    len: u64,
    window: Vec<u8>,
    window_offset: u64,
    seed: u32,
    max_record_bytes: u32,
    zero_record_valid: bool,
}

/// What a reader must know about the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOptions {
    pub seed: u32,
    pub max_record_bytes: u32,
    pub zero_record_valid: bool,
}

impl SegmentReader {
    pub fn open(disk: &mut dyn Disk, path: &Path, options: ReadOptions) -> io::Result<Self> {
        let file = disk.open(path, OpenMode::Read)?;
        let len = disk.len(file).inspect_err(|_| disk.close(file))?;
        Ok(SegmentReader {
            file,
            len,
            window: Vec::new(),
            window_offset: 0,
            seed: options.seed,
            max_record_bytes: options.max_record_bytes,
            zero_record_valid: options.zero_record_valid,
        })
    }

    pub fn close(self, disk: &mut dyn Disk) {
        disk.close(self.file);
    }

    /// The file's length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn header(
        &mut self,
        disk: &mut dyn Disk,
    ) -> io::Result<Result<SegmentHeader, BadSegmentHeader>> {
        if !self.load(disk, 0, SEGMENT_HEADER_BYTES as u64)? {
            return Ok(Err(BadSegmentHeader::Unreadable));
        }
        Ok(SegmentHeader::decode(
            self.loaded(0, SEGMENT_HEADER_BYTES as u64),
        ))
    }

    /// The payload of the record that the last [`step`](SegmentReader::step) found.
    pub fn payload(&self, offset: u64, header: &RecordHeader) -> &[u8] {
        self.loaded(
            offset + RECORD_HEADER_BYTES as u64,
            u64::from(header.length),
        )
    }

    /// The record that the last [`step`](SegmentReader::step) found, as it stands in the file, padding included.
    pub fn raw(&self, offset: u64, header: &RecordHeader) -> &[u8] {
        self.loaded(offset, record_bytes(header.length))
    }

    /// Looks for the next record: it follows directly, or at the next sector when a write ended between.
    pub fn step(&mut self, disk: &mut dyn Disk, cursor: &Cursor) -> io::Result<Step> {
        let near = self.step_at(disk, cursor, cursor.offset)?;
        let sector = round_up(cursor.offset, SECTOR_BYTES);
        if sector == cursor.offset || !matches!(near, Step::Hole { .. }) {
            return self.or_zero_record(disk, cursor, near);
        }
        let far = self.step_at(disk, cursor, sector)?;
        let padded = self.all_zero(disk, cursor.offset, sector.min(self.len))?;
        match far {
            Step::Hole { .. } | Step::End if !padded => Ok(near),
            far => self.or_zero_record(disk, cursor, far),
        }
    }

    fn step_at(&mut self, disk: &mut dyn Disk, cursor: &Cursor, offset: u64) -> io::Result<Step> {
        let hole = |reason| Ok(Step::Hole { offset, reason });
        if offset >= self.len {
            return Ok(Step::End);
        }
        if !self.load(disk, offset, RECORD_HEADER_BYTES as u64)? {
            return hole(DamageReason::Short);
        }
        let bytes = self.loaded(offset, RECORD_HEADER_BYTES as u64);
        let Some(header) = RecordHeader::decode(bytes, self.seed) else {
            let zeros = bytes.iter().all(|byte| *byte == 0);
            return hole(if zeros {
                DamageReason::Zeros
            } else {
                DamageReason::Header
            });
        };
        if header.position != cursor.position {
            return hole(DamageReason::Misplaced);
        }
        if header.chain != cursor.chain {
            return hole(DamageReason::Chain);
        }
        if header.length > self.max_record_bytes {
            return Ok(Step::TooLarge {
                length: header.length,
            });
        }
        if !self.load(disk, offset, record_bytes(header.length))? {
            return hole(DamageReason::Short);
        }
        if crc32c(self.payload(offset, &header)) != header.payload_checksum {
            return hole(DamageReason::Payload);
        }
        Ok(Step::Record { offset, header })
    }

    /// Where [`Mutant::ZeroRecordValid`](crate::Mutant::ZeroRecordValid) does its damage.
    fn or_zero_record(
        &mut self,
        disk: &mut dyn Disk,
        cursor: &Cursor,
        step: Step,
    ) -> io::Result<Step> {
        let Step::Hole {
            offset,
            reason: DamageReason::Zeros,
        } = step
        else {
            return Ok(step);
        };
        if !self.zero_record_valid || !self.load(disk, offset, record_bytes(0))? {
            return Ok(step);
        }
        Ok(Step::Record {
            offset,
            header: RecordHeader {
                checksum: 0,
                payload_checksum: 0,
                chain: 0,
                length: 0,
                position: cursor.position,
                kind: 0,
                durable_next: 0,
            },
        })
    }

    /// Searches from byte `offset` to the end for records of positions in `positions`: a hole is a torn tail only when none of
    /// them says that what is missing had been durable.
    pub fn search(
        &mut self,
        disk: &mut dyn Disk,
        offset: u64,
        positions: std::ops::Range<u64>,
    ) -> io::Result<Beyond> {
        let mut beyond = Beyond::default();
        let mut offset = round_up(offset, RECORD_ALIGNMENT);
        while self.load(disk, offset, RECORD_HEADER_BYTES as u64)? {
            let bytes = self.loaded(offset, RECORD_HEADER_BYTES as u64);
            let header = RecordHeader::decode(bytes, self.seed)
                .filter(|header| positions.contains(&header.position));
            let Some(header) = header else {
                offset += RECORD_ALIGNMENT;
                continue;
            };
            // A header is proof enough: its claim about others does not depend on its own payload. Its length is, too:
            // what a payload contains is not looked at.
            beyond.merge(Beyond {
                durable_next: header.durable_next,
                next_readable: (header.position > positions.start).then_some(header.position),
            });
            offset += record_bytes(header.length);
        }
        Ok(beyond)
    }

    fn all_zero(&mut self, disk: &mut dyn Disk, from: u64, to: u64) -> io::Result<bool> {
        Ok(self.load(disk, from, to - from)?
            && self.loaded(from, to - from).iter().all(|byte| *byte == 0))
    }

    /// Brings bytes into the window; `false` when the file does not have them all.
    fn load(&mut self, disk: &mut dyn Disk, offset: u64, bytes: u64) -> io::Result<bool> {
        let Some(end) = offset.checked_add(bytes).filter(|end| *end <= self.len) else {
            return Ok(false);
        };
        let window_end = self.window_offset + self.window.len() as u64;
        if offset < self.window_offset || end > window_end {
            let wanted = bytes.max(READ_AHEAD_BYTES).min(self.len - offset);
            self.window.resize(wanted as usize, 0);
            self.window_offset = offset;
            if let Err(error) = read_exact_at(disk, self.file, offset, &mut self.window) {
                self.window.clear();
                return Err(error);
            }
        }
        Ok(true)
    }

    fn loaded(&self, offset: u64, bytes: u64) -> &[u8] {
        let start = (offset - self.window_offset) as usize;
        &self.window[start..start + bytes as usize]
    }
}
