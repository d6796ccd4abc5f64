//! Opening a log: reading all of it, and telling a torn tail from damage.

use crate::{
    DamageReason, Log, LogError, Mutant, Options, Record,
    ends::{finish_cut, list_segments, remove_left_over, remove_segments, restart},
    error::io_error,
    format::{BadSegmentHeader, SECTOR_BYTES, SegmentHeader, round_up, segment_name},
    layout::{Layout, Segment, TEMPORARY, after},
    log::{Active, Health},
    manifest::{Cut, Manifest, ManifestState},
    reader::{Beyond, Cursor, SegmentReader, Step},
};
use holdfast_host::{Disk, OpenMode};
use std::{fmt, ops::ControlFlow, path::Path};

/// What [`Log::open`] found out besides the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The rest of a write that a power cut interrupted. It has been cut off.
    pub torn: Option<TornTail>,
}

/// The rest of a write that was never synced: bytes that nobody had been promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The first position that could not be read, which is the log's next one now.
    pub position: u64,
    /// Name of the file.
    pub segment: String,
    /// Where in the file the rest began.
    pub offset: u64,
    /// How many bytes were cut off, in this and later segments.
    pub bytes_cut: u64,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TornTail {
            position,
            segment,
            offset,
            bytes_cut,
        } = self;
        write!(
            f,
            "torn tail before record {position}: cut {bytes_cut} bytes from byte {offset} of {segment} on"
        )
    }
}

impl Log {
    /// Opens the log in `directory`, or creates it with `first_if_new` as its first position, and hands every record
    /// to `visitor`, in order. After an error, what was visited does not count.
    ///
    /// `known_durable` is the highest position that the caller knows to have been synced here, from another source
    /// (say, Raft's commit index, written after the log's sync), or zero. A torn tail at or below it is reported
    /// as damage.
    ///
    /// Everything that was visited is durable when this returns: what may have been in the page cache only, also
    /// behind a failed sync, is written again, into a new segment.
    ///
    /// # Panics
    /// When `first_if_new` is zero: position zero stands for "nothing".
    pub fn open(
        disk: &mut dyn Disk,
        directory: &Path,
        options: Options,
        first_if_new: u64,
        known_durable: u64,
        visitor: &mut dyn FnMut(Record<'_>),
    ) -> Result<(Log, Recovery), LogError> {
        assert!(first_if_new >= 1, "positions begin at one");
        disk.create_dir(directory)
            .map_err(io_error("create", directory))?;
        let layout = Layout::new(directory, options);
        let (mut manifest, state) = Manifest::open(disk, directory, options.identity)?;
        let recovered =
            begin(disk, &layout, &mut manifest, state, first_if_new).and_then(|state| {
                let scan = Scan::new(layout, state, known_durable);
                recover(disk, scan, &mut manifest, visitor)
            });
        match recovered {
            Ok(recovered) => Ok(recovered.into_log(manifest)),
            Err(error) => {
                manifest.close(disk);
                Err(error)
            }
        }
    }
}

/// Creates a new log, or finishes what was begun when the last run ended.
fn begin(
    disk: &mut dyn Disk,
    layout: &Layout,
    manifest: &mut Manifest,
    state: Option<ManifestState>,
    first_if_new: u64,
) -> Result<ManifestState, LogError> {
    remove_left_over(disk, layout, TEMPORARY)?;
    // Names that only the page cache knows would not survive what is built on them.
    layout.sync_names(disk)?;
    let Some(mut state) = state else {
        // The manifest is written before the first segment is.
        if !list_segments(disk, layout)?.is_empty() {
            return Err(LogError::Inconsistent("missing, but there are segments"));
        }
        let cut = Cut {
            from: first_if_new,
            chain: 0,
        };
        restart(disk, layout, manifest, first_if_new, cut)?;
        return Ok(ManifestState {
            floor: first_if_new,
            required: first_if_new,
            durable_next: first_if_new,
            cut: None,
        });
    };
    if let Some(cut) = state.cut.take() {
        finish_cut(disk, layout, state.floor, cut)?;
        state.required = cut.from;
        manifest.write(disk, &state)?;
    }
    remove_segments(disk, layout, |first| first < state.floor)?;
    Ok(state)
}

struct Recovered {
    layout: Layout,
    active: Active,
    tail: Cursor,
    torn: Option<TornTail>,
}

impl Recovered {
    fn into_log(self, manifest: Manifest) -> (Log, Recovery) {
        let log = Log {
            layout: self.layout,
            manifest,
            active: self.active,
            retired: Vec::new(),
            names_dirty: false,
            buffer: Vec::new(),
            splits: Vec::new(),
            tail: self.tail,
            flushed_next: self.tail.position,
            durable_next: self.tail.position,
            health: Health::Good,
        };
        (log, Recovery { torn: self.torn })
    }
}

fn recover(
    disk: &mut dyn Disk,
    mut scan: Scan,
    manifest: &mut Manifest,
    visitor: &mut dyn FnMut(Record<'_>),
) -> Result<Recovered, LogError> {
    let firsts = list_segments(disk, &scan.layout)?;
    scan.check_names(&firsts)?;
    let hole = scan.read_all(disk, &firsts, visitor)?;
    let torn = scan.judge(disk, &firsts, hole)?;
    let keep_torn = torn.is_some() && scan.layout.mutated(Mutant::KeepTornTail);
    let end = if keep_torn {
        scan.keep_torn_tail(disk)?
    } else {
        scan.rewrite_tail(disk, torn.is_some())?
    };
    let last = scan.layout.segments.last().expect("the floor has one");
    let state = ManifestState {
        floor: scan.state.floor,
        required: last.first,
        durable_next: scan.cursor.position,
        cut: None,
    };
    if state != scan.state {
        manifest.write(disk, &state)?;
    }
    let path = scan.layout.path(last.first);
    let file = disk
        .open(&path, OpenMode::Write)
        .map_err(io_error("open", &path))?;
    Ok(Recovered {
        active: Active {
            file,
            first: last.first,
            written: end,
        },
        tail: Cursor {
            offset: end,
            ..scan.cursor
        },
        layout: scan.layout,
        torn,
    })
}

/// A place where the next record should be and is not.
#[derive(Clone, Debug)]
struct Hole {
    /// Index among the files.
    file: usize,
    offset: u64,
    /// `None` when the file ends there as a file should.
    reason: Option<DamageReason>,
}

struct Scan {
    /// The segments read so far.
    layout: Layout,
    state: ManifestState,
    known_durable: u64,
    /// Behind the last record that was read.
    cursor: Cursor,
    /// Positions below it were durable, as the records that were read and the manifest say.
    durable_next: u64,
}

impl Scan {
    fn new(layout: Layout, state: ManifestState, known_durable: u64) -> Self {
        Scan {
            layout,
            state,
            known_durable,
            cursor: Cursor {
                offset: 0,
                position: state.floor,
                chain: 0,
            },
            durable_next: state.durable_next,
        }
    }

    /// The first segment and the newest one known to be durable must be there.
    fn check_names(&self, firsts: &[u64]) -> Result<(), LogError> {
        for required in [self.state.floor, self.state.required] {
            if firsts.binary_search(&required).is_err() {
                let next = firsts.iter().find(|first| **first > required);
                let last = next.map_or(self.state.durable_next, |next| *next) - 1;
                return Err(LogError::MissingSegment {
                    first: required,
                    last: last.max(required),
                });
            }
        }
        Ok(())
    }

    /// Reads until the end, or up to the first hole, which is returned.
    fn read_all(
        &mut self,
        disk: &mut dyn Disk,
        firsts: &[u64],
        visitor: &mut dyn FnMut(Record<'_>),
    ) -> Result<Hole, LogError> {
        for (file, first) in firsts.iter().enumerate() {
            // Each segment before it was read up to here, and the floor is where the first one begins.
            assert_eq!(*first, self.cursor.position);
            let limit = firsts.get(file + 1).copied().unwrap_or(u64::MAX);
            let mut reader = self.layout.reader(disk, *first)?;
            let read = self.read_segment(disk, &mut reader, *first, limit, visitor);
            reader.close(disk);
            if let Some((offset, reason)) = read? {
                return Ok(Hole {
                    file,
                    offset,
                    reason,
                });
            }
        }
        unreachable!("the last segment has no successor to be complete for")
    }

    /// Reads records up to `limit`; tells where and why it got no further, if so.
    fn read_segment(
        &mut self,
        disk: &mut dyn Disk,
        reader: &mut SegmentReader,
        first: u64,
        limit: u64,
        visitor: &mut dyn FnMut(Record<'_>),
    ) -> Result<Option<(u64, Option<DamageReason>)>, LogError> {
        let path = self.layout.path(first);
        let io = |error| io_error("read", &path)(error);
        let header = reader.header(disk).map_err(io)?;
        let header = match self.check_header(first, header)? {
            Ok(header) => header,
            Err(reason) => return Ok(Some((0, Some(reason)))),
        };
        self.durable_next = self.durable_next.max(header.durable_next);
        let mut segment = Segment::new(first, header.chain);
        self.cursor = segment.marks[0];
        self.layout.segments.push(segment.clone());
        let stop = loop {
            if self.cursor.position == limit {
                break None;
            }
            match reader.step(disk, &self.cursor).map_err(io)? {
                Step::Record { offset, header } => {
                    segment.mark(Cursor {
                        offset,
                        ..self.cursor
                    });
                    self.cursor = after(offset, &header);
                    self.durable_next = self.durable_next.max(header.durable_next);
                    visitor(Record {
                        position: header.position,
                        kind: header.kind,
                        payload: reader.payload(offset, &header),
                    });
                }
                Step::TooLarge { length } => {
                    return Err(self.layout.too_large(self.cursor.position, length));
                }
                Step::End => break Some((self.cursor.offset, None)),
                Step::Hole { offset, reason } => break Some((offset, Some(reason))),
            }
        };
        *self.layout.segments.last_mut().expect("pushed above") = segment;
        Ok(stop)
    }

    /// The outer error is final; the inner one may be a torn segment.
    fn check_header(
        &self,
        first: u64,
        header: Result<SegmentHeader, BadSegmentHeader>,
    ) -> Result<Result<SegmentHeader, DamageReason>, LogError> {
        let header = match header {
            Ok(header) => header,
            Err(BadSegmentHeader::Unreadable) => return Ok(Err(DamageReason::SegmentHeader)),
            Err(BadSegmentHeader::FutureVersion(version)) => {
                return Err(LogError::FutureVersion {
                    file: segment_name(first),
                    version,
                });
            }
        };
        let expected = self.layout.options.identity;
        if header.identity != expected {
            return Err(LogError::WrongIdentity {
                file: segment_name(first),
                found: header.identity,
                expected,
            });
        }
        if header.first != first {
            return Ok(Err(DamageReason::Misnamed));
        }
        // What came before the first segment is gone, so its predecessor cannot be checked.
        if first != self.state.floor && header.chain != self.cursor.chain {
            return Ok(Err(DamageReason::Chain));
        }
        Ok(Ok(header))
    }

    /// Whether what is missing at the hole had been durable: an error then. Otherwise what is to be cut off, if
    /// anything.
    fn judge(
        &self,
        disk: &mut dyn Disk,
        firsts: &[u64],
        hole: Hole,
    ) -> Result<Option<TornTail>, LogError> {
        let position = self.cursor.position;
        let mut beyond = Beyond {
            durable_next: self
                .state
                .durable_next
                .max(self.known_durable.saturating_add(1)),
            next_readable: None,
        };
        let mut bytes_cut = 0;
        for (index, first) in firsts.iter().enumerate().skip(hole.file) {
            let offset = if index == hole.file { hole.offset } else { 0 };
            let mut reader = self.layout.reader(disk, *first)?;
            bytes_cut += reader.len().saturating_sub(offset);
            let limit = firsts.get(index + 1).copied().unwrap_or(u64::MAX);
            let found = self.testimony(disk, &mut reader, offset, position..limit);
            reader.close(disk);
            beyond.merge(found.map_err(io_error("read", &self.layout.path(*first)))?);
        }
        let is_last = hole.file + 1 == firsts.len();
        let segment = segment_name(firsts[hole.file]);
        let last = |beyond: &Beyond| {
            let next = beyond.next_readable.unwrap_or(beyond.durable_next);
            next.min(beyond.durable_next)
                .saturating_sub(1)
                .max(position)
        };
        // These two were durable, header and all, even if they have no record.
        let durable_header = hole.offset == 0
            && [self.state.floor, self.state.required].contains(&firsts[hole.file]);
        let promised = beyond.durable_next > position || durable_header;
        if promised && !self.layout.mutated(Mutant::MiddleDamageIsTail) {
            return Err(match hole.reason {
                None => LogError::MissingSegment {
                    first: position,
                    last: last(&beyond),
                },
                Some(reason) => LogError::Damaged {
                    segment,
                    first: position,
                    last: last(&beyond),
                    offset: hole.offset,
                    reason,
                },
            });
        }
        if hole.reason.is_none() && is_last {
            return Ok(None);
        }
        if self.layout.mutated(Mutant::TornTailIsFatal) {
            return Err(LogError::Damaged {
                segment,
                first: position,
                last: position,
                offset: hole.offset,
                reason: DamageReason::TornTail,
            });
        }
        Ok(Some(TornTail {
            position,
            segment,
            offset: hole.offset,
            bytes_cut,
        }))
    }

    /// What a segment, from `offset` on, says about what had been durable.
    fn testimony(
        &self,
        disk: &mut dyn Disk,
        reader: &mut SegmentReader,
        offset: u64,
        positions: std::ops::Range<u64>,
    ) -> std::io::Result<Beyond> {
        let mut beyond = Beyond::default();
        if offset == 0
            && let Ok(header) = reader.header(disk)?
            && header.identity == self.layout.options.identity
            && positions.contains(&header.first)
        {
            beyond.durable_next = header.durable_next;
        }
        beyond.merge(reader.search(disk, offset, positions)?);
        Ok(beyond)
    }

    /// Puts the records that may not be durable into a new segment, without what is torn behind them, and returns
    /// where the next record goes. Nothing happens to a log that ends with a record known to be durable.
    fn rewrite_tail(&mut self, disk: &mut dyn Disk, torn: bool) -> Result<u64, LogError> {
        let next = self.cursor.position;
        let from = self.durable_next.clamp(self.state.floor, next);
        if from == next && !torn {
            return Ok(round_up(self.cursor.offset, SECTOR_BYTES));
        }
        let chain = self.chain_before(disk, from)?;
        let header = SegmentHeader {
            identity: self.layout.options.identity,
            first: from,
            durable_next: from,
            chain,
        };
        let mut segment = Segment::new(from, chain);
        let layout = &self.layout;
        let end = layout.install_segment(disk, &header, &mut |disk, writer| {
            if from == next {
                return Ok(());
            }
            let mut chain = chain;
            let copied = layout.walk(disk, from..next, &mut |disk, reader, offset, header| {
                segment.mark(Cursor {
                    offset: writer.offset(),
                    position: header.position,
                    chain,
                });
                chain = header.checksum;
                writer.push(disk, reader.raw(offset, header))?;
                Ok(ControlFlow::Continue(()))
            })?;
            assert_eq!(copied.chain, self.cursor.chain, "read twice, read the same");
            Ok(())
        })?;
        // Only now: until its name is durable, the old segments are all there is. And from the lowest up, one by one:
        // as long as an old segment is there, the new one ends where that begins, so all behind it must still be there.
        for old in list_segments(disk, &self.layout)? {
            if old > from {
                remove_segments(disk, &self.layout, |first| first == old)?;
            }
        }
        self.layout.segments.retain(|segment| segment.first < from);
        self.layout.segments.push(segment);
        Ok(end)
    }

    fn chain_before(&self, disk: &mut dyn Disk, position: u64) -> Result<u32, LogError> {
        if position == self.cursor.position {
            return Ok(self.cursor.chain);
        }
        let index = self.layout.segment_of(position);
        let segment = &self.layout.segments[index];
        if segment.first == position {
            return Ok(segment.marks[0].chain);
        }
        let cursor = self
            .layout
            .walk(disk, position - 1..position, &mut |_, _, _, _| {
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(cursor.chain)
    }

    /// [`Mutant::KeepTornTail`]: goes on behind the garbage.
    fn keep_torn_tail(&mut self, disk: &mut dyn Disk) -> Result<u64, LogError> {
        let last = self
            .layout
            .segments
            .last()
            .expect("the floor has one")
            .first;
        remove_segments(disk, &self.layout, |first| first > last)?;
        let reader = self.layout.reader(disk, last)?;
        let end = round_up(reader.len(), SECTOR_BYTES);
        reader.close(disk);
        Ok(end)
    }
}
