//! Cutting the log at either end. Both ends change through the manifest: what is to become of the log is durable there
//! before the first file is touched, and a crash in between is finished by the next open.

use crate::{
    Log, LogError,
    error::io_error,
    format::{SegmentHeader, parse_segment_name},
    layout::{Layout, Segment},
    log::Active,
    manifest::{Cut, Manifest, ManifestState},
    reader::Cursor,
};
use holdfast_host::{Disk, OpenMode};
use std::{io, ops::ControlFlow};

impl Log {
    /// Removes the records from position `from` on; the next record gets position `from`. Durable when it returns, and
    /// so is everything before `from`.
    ///
    /// Durable at once, and not with the next sync, because new records take the place of the old: were both on their
    /// way to the platter together, a power cut could keep an old record behind a new one. The old bytes are not even
    /// written over: the log goes on in a new segment, and a segment ends where the next one begins.
    ///
    /// After a crash in the middle of it the records are all there or all gone.
    pub fn truncate_suffix(&mut self, disk: &mut dyn Disk, from: u64) -> Result<(), LogError> {
        self.usable()?;
        if from < self.first() || from > self.next() {
            return Err(self.out_of_range(from, self.next()));
        }
        if from == self.next() {
            return Ok(());
        }
        self.sync(disk)?;
        self.guarded(|log| {
            let chain = log.chain_before(disk, from)?;
            log.restart(disk, log.first(), Cut { from, chain })
        })
    }

    /// Removes whole segments that have no record at or above `before`, so [`first`](Log::first) gets at most
    /// `before`. The segment that is written to always stays. Durable when it returns. Positions outside of the log
    /// are allowed and mean its end or beginning.
    pub fn truncate_prefix(&mut self, disk: &mut dyn Disk, before: u64) -> Result<(), LogError> {
        self.usable()?;
        if before <= self.first() {
            return Ok(());
        }
        let kept_from = self.layout.segment_of(before);
        if kept_from == 0 {
            return Ok(());
        }
        self.sync(disk)?;
        self.guarded(|log| {
            let state = ManifestState {
                floor: log.layout.segments[kept_from].first,
                ..log.manifest_state()
            };
            log.manifest.write(disk, &state)?;
            remove_segments(disk, &log.layout, |first| first < state.floor)?;
            log.layout.segments.drain(..kept_from);
            Ok(())
        })
    }

    /// Throws everything away, also what was appended and not flushed, and goes on as an empty log whose next position
    /// is `next`, which may lie anywhere. Durable when it returns; after a crash in the middle of it the log is as it was, or reset.
    ///
    /// # Panics
    /// When `next` is zero.
    pub fn reset(&mut self, disk: &mut dyn Disk, next: u64) -> Result<(), LogError> {
        assert!(next >= 1, "positions begin at one");
        self.guarded(|log| {
            log.buffer.clear();
            log.splits.clear();
            let cut = Cut {
                from: next,
                chain: 0,
            };
            log.restart(disk, next, cut)
        })
    }

    /// Checksum of the record before `position`.
    fn chain_before(&self, disk: &mut dyn Disk, position: u64) -> Result<u32, LogError> {
        if position == self.first() {
            return Ok(self.layout.segments[0].marks[0].chain);
        }
        let cursor = self
            .layout
            .walk(disk, position - 1..position, &mut |_, _, _, _| {
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(cursor.chain)
    }

    /// Begins a new last segment at `cut.from`; the segments at or behind it and those below `floor` go.
    fn restart(&mut self, disk: &mut dyn Disk, floor: u64, cut: Cut) -> Result<(), LogError> {
        for file in std::mem::take(&mut self.retired) {
            disk.close(file);
        }
        disk.close(self.active.file);
        let end = restart(disk, &self.layout, &mut self.manifest, floor, cut)?;
        self.layout
            .segments
            .retain(|segment| segment.first >= floor && segment.first < cut.from);
        self.layout.segments.push(Segment::new(cut.from, cut.chain));
        let path = self.layout.path(cut.from);
        self.active = Active {
            file: disk
                .open(&path, OpenMode::Write)
                .map_err(io_error("open", &path))?,
            first: cut.from,
            written: end,
        };
        self.names_dirty = false;
        self.tail = Cursor {
            offset: end,
            position: cut.from,
            chain: cut.chain,
        };
        self.flushed_next = cut.from;
        self.durable_next = cut.from;
        Ok(())
    }
}

/// Notes the cut, does it, and notes that it is done. Returns where the first record of the new segment goes.
pub(crate) fn restart(
    disk: &mut dyn Disk,
    layout: &Layout,
    manifest: &mut Manifest,
    floor: u64,
    cut: Cut,
) -> Result<u64, LogError> {
    let mut state = ManifestState {
        floor,
        required: floor,
        durable_next: cut.from,
        cut: Some(cut),
    };
    manifest.write(disk, &state)?;
    let end = finish_cut(disk, layout, floor, cut)?;
    state.required = cut.from;
    state.cut = None;
    manifest.write(disk, &state)?;
    Ok(end)
}

/// The cut that the manifest announces; may be done any number of times.
pub(crate) fn finish_cut(
    disk: &mut dyn Disk,
    layout: &Layout,
    floor: u64,
    cut: Cut,
) -> Result<u64, LogError> {
    let header = SegmentHeader {
        identity: layout.options.identity,
        first: cut.from,
        durable_next: cut.from,
        chain: cut.chain,
    };
    let end = layout.install_segment(disk, &header, &mut |_, _| Ok(()))?;
    remove_segments(disk, layout, |first| first > cut.from || first < floor)?;
    Ok(end)
}

/// Removes segments, by their first position, durably.
pub(crate) fn remove_segments(
    disk: &mut dyn Disk,
    layout: &Layout,
    unwanted: impl Fn(u64) -> bool,
) -> Result<(), LogError> {
    let mut removed = false;
    for first in list_segments(disk, layout)? {
        if unwanted(first) {
            let path = layout.path(first);
            disk.remove(&path).map_err(io_error("remove", &path))?;
            removed = true;
        }
    }
    if removed {
        layout.sync_names(disk)?;
    }
    Ok(())
}

/// First positions of the segments that the directory has, ascending.
pub(crate) fn list_segments(disk: &mut dyn Disk, layout: &Layout) -> Result<Vec<u64>, LogError> {
    let names = disk
        .list(&layout.directory)
        .map_err(io_error("list", &layout.directory))?;
    let mut firsts: Vec<u64> = names
        .iter()
        .filter_map(|name| parse_segment_name(name))
        .collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// Removes a file if it is there.
pub(crate) fn remove_left_over(
    disk: &mut dyn Disk,
    layout: &Layout,
    name: &str,
) -> Result<(), LogError> {
    let path = layout.directory.join(name);
    match disk.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", &path)(error))
        }
        _ => Ok(()),
    }
}
