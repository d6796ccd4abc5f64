use crate::{
    LogError, Mutant,
    error::io_error,
    format::{RecordHeader, SECTOR_BYTES, SegmentHeader, record_bytes, round_up},
    layout::{Layout, Segment},
    manifest::{Manifest, ManifestState},
    reader::Cursor,
};
use crc32c::crc32c_append;
use holdfast_host::{Disk, FileId, OpenMode, write_all_at};
use std::{
    io,
    ops::{ControlFlow, Range},
};

/// How much may be appended between two flushes, in bytes, headers included. One record is always taken.
pub const WRITE_BUFFER_BYTES: usize = 64 * 1024 * 1024;
/// What the buffer keeps of its memory between two flushes.
const KEPT_BUFFER_BYTES: usize = 1024 * 1024;

/// How a [`Log`] is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A new segment is begun when a record would make the current one longer than this many bytes.
    pub segment_bytes: u64,
    /// The longest payload, in bytes. Also bounds the memory that reading takes.
    pub max_record_bytes: u32,
    /// Bound into every checksum: files of another cluster, node or log never validate.
    pub identity: u64,
    /// A bug to plant.
    pub mutant: Option<Mutant>,
}

/// A record as it is read. The payload is only lent: it lives in the reader's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub position: u64,
    /// What the caller gave when it was appended.
    pub kind: u8,
    /// What was appended, parts joined.
    pub payload: &'a [u8],
}

/// A segmented append-only log of records that are numbered without gaps; see the crate's documentation.
///
/// It owns no handle to the disk: the disk is passed to each call, so that a simulated world clones by value. A clone
/// shares the files of the original: only one of them may go on in one world.
///
/// Any failed write or sync poisons the log, [`LogError::Poisoned`] from then on: what is on the platter is then
/// unknown, whatever a later sync says, and only [`open`](Log::open) finds out.
#[derive(Clone, Debug)]
pub struct Log {
    /// The last segment is written to; there always is one.
    pub(crate) layout: Layout,
    pub(crate) manifest: Manifest,
    pub(crate) active: Active,
    /// Full segments that wait for their sync.
    pub(crate) retired: Vec<FileId>,
    /// Segments were created and their names are not durable.
    pub(crate) names_dirty: bool,
    pub(crate) buffer: Vec<u8>,
    /// Where in the buffer new segments begin.
    pub(crate) splits: Vec<Split>,
    /// Where the next record goes, in the segment that will then be the last, and the checksum of the one before.
    pub(crate) tail: Cursor,
    pub(crate) flushed_next: u64,
    pub(crate) durable_next: u64,
    pub(crate) health: Health,
}

/// The file that the buffer goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active {
    pub file: FileId,
    /// First position of the segment.
    pub first: u64,
    /// Where the buffer goes. A multiple of the sector size.
    pub written: u64,
}

/// From byte `at` on, the buffer goes into a new segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    at: usize,
    first: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    Poisoned,
    Closed,
}

impl Log {
    /// The lowest position there is; equal to [`next`](Log::next) when the log is empty.
    pub fn first(&self) -> u64 {
        self.layout.segments[0].first
    }

    /// The position that the next record gets.
    pub fn next(&self) -> u64 {
        self.tail.position
    }

    /// The highest position that is on the platter, with all below it; `first() - 1` when there is none.
    pub fn durable(&self) -> u64 {
        self.durable_next - 1
    }

    /// Appends a record whose payload is `parts` joined, and returns its position. It is in memory only until
    /// [`flush`](Log::flush), and can be lost until [`sync`](Log::sync).
    ///
    /// Errors that leave the log as it was: [`LogError::RecordTooLarge`], [`LogError::BufferFull`].
    pub fn append(&mut self, kind: u8, parts: &[&[u8]]) -> Result<u64, LogError> {
        self.usable()?;
        let position = self.tail.position;
        assert!(position < u64::MAX, "positions are used up");
        let length = self.checked_length(parts)?;
        let size = record_bytes(length);
        if !self.buffer.is_empty() && self.buffer.len() + size as usize > WRITE_BUFFER_BYTES {
            return Err(LogError::BufferFull {
                limit: WRITE_BUFFER_BYTES,
            });
        }
        let full = self.tail.offset + size > self.layout.options.segment_bytes;
        if full && self.last_segment().first < position {
            self.begin_segment();
        }
        let header = RecordHeader {
            checksum: 0,
            payload_checksum: parts.iter().fold(0, |sum, part| crc32c_append(sum, part)),
            chain: self.tail.chain,
            length,
            position,
            kind,
            durable_next: self.durable_next,
        };
        let (bytes, checksum) = header.encode(self.layout.seed);
        let end = self.buffer.len() + size as usize;
        self.buffer.extend_from_slice(&bytes);
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        self.buffer.resize(end, 0);
        let place = self.tail;
        self.last_segment().mark(place);
        self.tail = Cursor {
            offset: place.offset + size,
            position: position + 1,
            chain: checksum,
        };
        Ok(position)
    }

    fn checked_length(&self, parts: &[&[u8]]) -> Result<u32, LogError> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let limit = self.layout.options.max_record_bytes;
        match u32::try_from(length) {
            Ok(length) if length <= limit => Ok(length),
            _ => Err(LogError::RecordTooLarge {
                position: self.tail.position,
                length: length as u64,
                limit,
            }),
        }
    }

    /// Lets the next record be the first of a new segment. The file is created when the buffer is written.
    fn begin_segment(&mut self) {
        let first = self.tail.position;
        let unit = SECTOR_BYTES as usize;
        self.buffer
            .resize(self.buffer.len().next_multiple_of(unit), 0);
        self.splits.push(Split {
            at: self.buffer.len(),
            first,
        });
        let segment = Segment::new(first, self.tail.chain);
        let header = SegmentHeader {
            identity: self.layout.options.identity,
            first,
            durable_next: self.durable_next,
            chain: self.tail.chain,
        };
        self.buffer.extend_from_slice(&header.encode());
        self.tail = segment.marks[0];
        self.layout.segments.push(segment);
    }

    /// Gives everything appended to the file system, with one write a segment. It survives a killed process then, not
    /// yet a power cut.
    pub fn flush(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        self.usable()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.guarded(|log| log.write_buffer(disk))
    }

    fn write_buffer(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        assert_eq!(self.active.written % SECTOR_BYTES, 0);
        // Whole sectors, so that no later write touches a sector which a sync has covered: should the device lose that
        // sector in a power cut, only what nobody was promised is lost.
        let padded = self.buffer.len().next_multiple_of(SECTOR_BYTES as usize);
        self.buffer.resize(padded, 0);
        let splits = std::mem::take(&mut self.splits);
        let old_end = splits.first().map_or(padded, |split| split.at);
        self.write_portion(disk, 0..old_end)?;
        for (index, split) in splits.iter().enumerate() {
            let path = self.layout.path(split.first);
            let file = disk
                .open(&path, OpenMode::CreateNew)
                .map_err(io_error("create", &path))?;
            self.names_dirty = true;
            let active = Active {
                file,
                first: split.first,
                written: 0,
            };
            self.retired
                .push(std::mem::replace(&mut self.active, active).file);
            let end = splits.get(index + 1).map_or(padded, |next| next.at);
            self.write_portion(disk, split.at..end)?;
        }
        self.tail.offset = round_up(self.tail.offset, SECTOR_BYTES);
        assert_eq!(self.tail.offset, self.active.written);
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        self.flushed_next = self.tail.position;
        Ok(())
    }

    fn write_portion(
        &mut self,
        disk: &mut dyn Disk,
        portion: Range<usize>,
    ) -> Result<(), LogError> {
        let bytes = &self.buffer[portion];
        write_all_at(disk, self.active.file, self.active.written, bytes)
            .map_err(|error| self.active_error("write", error))?;
        self.active.written += bytes.len() as u64;
        Ok(())
    }

    /// The name of the file is put together only when there is something to tell.
    fn active_error(&self, operation: &'static str, error: io::Error) -> LogError {
        io_error(operation, &self.layout.path(self.active.first))(error)
    }

    /// Makes everything appended so far durable and returns the highest durable position. Costs nothing when nothing
    /// was appended since the last sync.
    pub fn sync(&mut self, disk: &mut dyn Disk) -> Result<u64, LogError> {
        self.flush(disk)?;
        if self.durable_next < self.next() {
            self.guarded(|log| log.sync_files(disk))?;
        }
        Ok(self.durable())
    }

    fn sync_files(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        for file in std::mem::take(&mut self.retired) {
            let synced = disk.sync(file);
            disk.close(file);
            synced.map_err(io_error("sync", &self.layout.directory))?;
        }
        disk.sync(self.active.file)
            .map_err(|error| self.active_error("sync", error))?;
        if self.names_dirty {
            self.layout.sync_names(disk)?;
            self.names_dirty = false;
        }
        self.durable_next = self.flushed_next;
        Ok(())
    }

    /// Syncs, notes that everything is durable, so that the next [`open`](Log::open) takes no damage for a torn tail,
    /// and closes the files. The log takes nothing more. After an error it is poisoned.
    pub fn close(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        self.sync(disk)?;
        self.guarded(|log| {
            let state = log.manifest_state();
            log.manifest.write(disk, &state)
        })?;
        self.abandon(disk);
        Ok(())
    }

    /// Closes the files as they are: what was not synced may be lost, as in a crash. For a log that is
    /// [poisoned](LogError::Poisoned) and is to be opened again in the same process.
    pub fn abandon(&mut self, disk: &mut dyn Disk) {
        if self.health == Health::Closed {
            return;
        }
        for file in std::mem::take(&mut self.retired) {
            disk.close(file);
        }
        disk.close(self.active.file);
        self.manifest.close(disk);
        self.health = Health::Closed;
    }

    /// Reads records from `position` on and hands them to `visitor`, until their payloads together reach `limit`
    /// bytes, or the flushed part of the log ends. At least one record is read when there is one. Returns the position
    /// after the last one read. Opens each segment that it reads, so this is for peers that lag, not for the hot path.
    ///
    /// [`LogError::Damaged`] when the bytes have rotted since they were written; records visited before are good.
    pub fn read_from(
        &self,
        disk: &mut dyn Disk,
        position: u64,
        limit: u64,
        visitor: &mut dyn FnMut(Record<'_>),
    ) -> Result<u64, LogError> {
        self.usable()?;
        if position < self.first() || position > self.flushed_next {
            return Err(self.out_of_range(position, self.flushed_next));
        }
        if position == self.flushed_next {
            return Ok(position);
        }
        let mut next = position;
        let mut read = 0;
        self.layout.walk(
            disk,
            position..self.flushed_next,
            &mut |_, reader, offset, header| {
                visitor(Record {
                    position: header.position,
                    kind: header.kind,
                    payload: reader.payload(offset, header),
                });
                next = header.position + 1;
                read += u64::from(header.length);
                Ok(if read >= limit {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            },
        )?;
        Ok(next)
    }

    pub(crate) fn out_of_range(&self, position: u64, next: u64) -> LogError {
        LogError::OutOfRange {
            position,
            first: self.first(),
            next,
        }
    }

    /// What the manifest should say when nothing is under way and everything is synced.
    pub(crate) fn manifest_state(&self) -> ManifestState {
        assert!(self.buffer.is_empty() && self.durable_next == self.flushed_next);
        ManifestState {
            floor: self.first(),
            required: self
                .layout
                .segments
                .last()
                .expect("there always is one")
                .first,
            durable_next: self.durable_next,
            cut: None,
        }
    }

    fn last_segment(&mut self) -> &mut Segment {
        let last = self.layout.segments.last_mut();
        last.expect("there always is one")
    }

    pub(crate) fn usable(&self) -> Result<(), LogError> {
        match self.health {
            Health::Good => Ok(()),
            Health::Poisoned => Err(LogError::Poisoned),
            Health::Closed => Err(LogError::Closed),
        }
    }

    /// Runs what writes: an error leaves files in a state that only [`open`](Log::open) can judge.
    pub(crate) fn guarded<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.usable()?;
        let result = change(self);
        if result.is_err() {
            self.health = Health::Poisoned;
        }
        result
    }
}
