//! Which segments there are, and reading them when they are known to be whole.

use crate::{
    DamageReason, LogError, Mutant, Options,
    error::io_error,
    format::{RecordHeader, SECTOR_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, seed, segment_name},
    reader::{Cursor, ReadOptions, SegmentReader, Step},
};
use holdfast_host::{Disk, FileId, OpenMode, write_all_at};
use std::{
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Distance in a segment after which a place to begin reading is remembered.
const MARK_BYTES: u64 = 64 * 1024;
/// A segment that is being written and has no name of its own yet.
pub(crate) const TEMPORARY: &str = "tail.tmp";

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub first: u64,
    /// Places to begin reading, the first record's first.
    pub marks: Vec<Cursor>,
}

impl Segment {
    pub fn new(first: u64, chain: u32) -> Self {
        let start = Cursor {
            offset: SEGMENT_HEADER_BYTES as u64,
            position: first,
            chain,
        };
        Segment {
            first,
            marks: vec![start],
        }
    }

    /// Remembers a record's place when the last remembered one is far.
    pub fn mark(&mut self, cursor: Cursor) {
        let last = self.marks.last().expect("a segment has a first mark");
        if cursor.offset - last.offset >= MARK_BYTES {
            self.marks.push(cursor);
        }
    }

    /// The last remembered place at or before `position`.
    fn start_for(&self, position: u64) -> Cursor {
        let after = self.marks.partition_point(|mark| mark.position <= position);
        self.marks[after - 1]
    }
}

/// The segments of a log. A segment ends where the next one begins, whatever else its file may hold: what stands there
/// was cut off, by a truncation or by a recovery that put its last records into a new segment.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub directory: Arc<Path>,
    pub options: Options,
    pub seed: u32,
    /// Oldest first.
    pub segments: Vec<Segment>,
}

/// What to do with a record: it gets the disk, the reader that holds the record, its offset and its header.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(
    &mut dyn Disk,
    &SegmentReader,
    u64,
    &RecordHeader,
) -> Result<ControlFlow<()>, LogError>;

impl Layout {
    pub fn new(directory: &Path, options: Options) -> Self {
        Layout {
            directory: directory.into(),
            options,
            seed: seed(options.identity),
            segments: Vec::new(),
        }
    }

    pub fn path(&self, first: u64) -> PathBuf {
        self.directory.join(segment_name(first))
    }

    pub fn mutated(&self, mutant: Mutant) -> bool {
        cfg!(debug_assertions) && self.options.mutant == Some(mutant)
    }

    pub fn reader(&self, disk: &mut dyn Disk, first: u64) -> Result<SegmentReader, LogError> {
        let options = ReadOptions {
            seed: self.seed,
            max_record_bytes: self.options.max_record_bytes,
            zero_record_valid: self.mutated(Mutant::ZeroRecordValid),
        };
        let path = self.path(first);
        SegmentReader::open(disk, &path, options).map_err(io_error("open", &path))
    }

    /// The index of the segment that has `position`, or would have it.
    pub fn segment_of(&self, position: u64) -> usize {
        let after = self
            .segments
            .partition_point(|segment| segment.first <= position);
        assert!(after > 0, "position {position} is before the log");
        after - 1
    }

    /// Reads the records in `range`, which are known to exist, and returns the place behind the last one read.
    pub fn walk(
        &self,
        disk: &mut dyn Disk,
        range: Range<u64>,
        visit: Visit<'_>,
    ) -> Result<Cursor, LogError> {
        let mut at = range.start;
        loop {
            let index = self.segment_of(at);
            let next_segment = self.segments.get(index + 1).map(|segment| segment.first);
            let end = next_segment.map_or(range.end, |first| first.min(range.end));
            let mut reader = self.reader(disk, self.segments[index].first)?;
            let walked = self.walk_segment(disk, &mut reader, index, at..end, visit);
            reader.close(disk);
            let (cursor, flow) = walked?;
            if flow.is_break() || end == range.end {
                return Ok(cursor);
            }
            at = end;
        }
    }

    fn walk_segment(
        &self,
        disk: &mut dyn Disk,
        reader: &mut SegmentReader,
        index: usize,
        range: Range<u64>,
        visit: Visit<'_>,
    ) -> Result<(Cursor, ControlFlow<()>), LogError> {
        let segment = &self.segments[index];
        let mut cursor = segment.start_for(range.start);
        while cursor.position < range.end {
            let step = reader
                .step(disk, &cursor)
                .map_err(io_error("read", &self.path(segment.first)))?;
            let Step::Record { offset, header } = step else {
                return Err(self.unexpected(segment.first, &cursor, step));
            };
            if header.position >= range.start && visit(disk, reader, offset, &header)?.is_break() {
                return Ok((cursor, ControlFlow::Break(())));
            }
            cursor = after(offset, &header);
        }
        Ok((cursor, ControlFlow::Continue(())))
    }

    /// Why a record that must be there is not.
    fn unexpected(&self, segment: u64, cursor: &Cursor, step: Step) -> LogError {
        let (offset, reason) = match step {
            Step::Hole { offset, reason } => (offset, reason),
            Step::TooLarge { length } => return self.too_large(cursor.position, length),
            Step::End | Step::Record { .. } => (cursor.offset, DamageReason::Short),
        };
        LogError::Damaged {
            segment: segment_name(segment),
            first: cursor.position,
            last: cursor.position,
            offset,
            reason,
        }
    }

    pub fn too_large(&self, position: u64, length: u32) -> LogError {
        LogError::RecordTooLarge {
            position,
            length: length.into(),
            limit: self.options.max_record_bytes,
        }
    }

    /// Writes a segment that begins with `header`, has `body`'s records and takes the place of a segment of the same
    /// name, in one step and durably. Returns where its next record goes.
    pub fn install_segment(
        &self,
        disk: &mut dyn Disk,
        header: &SegmentHeader,
        body: &mut dyn FnMut(&mut dyn Disk, &mut SegmentWriter) -> Result<(), LogError>,
    ) -> Result<u64, LogError> {
        let temporary = self.directory.join(TEMPORARY);
        let file = disk
            .open(&temporary, OpenMode::Create)
            .and_then(|file| disk.set_len(file, 0).map(|()| file))
            .map_err(io_error("create", &temporary))?;
        let mut writer = SegmentWriter {
            path: temporary.clone(),
            file,
            written: 0,
            buffer: header.encode().to_vec(),
        };
        let result = body(disk, &mut writer).and_then(|()| writer.finish(disk));
        disk.close(file);
        let end = result?;
        disk.rename(&temporary, &self.path(header.first))
            .map_err(io_error("rename", &temporary))?;
        self.sync_names(disk)?;
        Ok(end)
    }

    pub fn sync_names(&self, disk: &mut dyn Disk) -> Result<(), LogError> {
        disk.sync_dir(&self.directory)
            .map_err(io_error("sync", &self.directory))
    }
}

/// The place after a record.
pub(crate) fn after(offset: u64, header: &RecordHeader) -> Cursor {
    Cursor {
        offset: offset + crate::format::record_bytes(header.length),
        position: header.position + 1,
        chain: header.checksum,
    }
}

/// Writes a segment front to back, in bounded memory.
pub(crate) struct SegmentWriter {
    path: PathBuf,
    file: FileId,
    written: u64,
    buffer: Vec<u8>,
}

impl SegmentWriter {
    const BUFFER_BYTES: usize = 256 * 1024;

    /// Where the next bytes go.
    pub fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub fn push(&mut self, disk: &mut dyn Disk, bytes: &[u8]) -> Result<(), LogError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= Self::BUFFER_BYTES {
            self.flush(disk)?;
        }
        Ok(())
    }

    fn flush(&mut self, disk: &mut dyn Disk) -> Result<(), LogError> {
        write_all_at(disk, self.file, self.written, &self.buffer)
            .map_err(io_error("write", &self.path))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self, disk: &mut dyn Disk) -> Result<u64, LogError> {
        pad_to_sector(&mut self.buffer, self.written);
        self.flush(disk)?;
        disk.sync(self.file).map_err(io_error("sync", &self.path))?;
        Ok(self.written)
    }
}

/// Fills a buffer that goes to byte `offset` of a file up to the end of its last sector.
pub(crate) fn pad_to_sector(buffer: &mut Vec<u8>, offset: u64) {
    let end = crate::format::round_up(offset + buffer.len() as u64, SECTOR_BYTES);
    buffer.resize((end - offset) as usize, 0);
}
