//! The disk of one machine: page cache and platter apart.
//!
//! What it does: a write goes to the page cache, at a sync it reaches the platter. A killed process loses nothing. A
//! power cut decides for every 512-byte sector that was not synced whether it was written, was not, was written in
//! part, or is garbage; for every length and every change of names not synced, whether it was written. Operations
//! may be short, fail, and take time. What it never does: touch a byte, length or name that a completed sync covers
//! (rot, by [`SimDisk::rot`], apart); make a lost write reappear; tear a rename within one directory.
//!
//! The whole disk is a plain value. Pages are shared between cache, platter and clones until written, so that a clone
//! costs a counter for each page and a sync copies only sectors that changed.

mod cut;
mod file;
mod names;
#[cfg(test)]
mod tests;

pub use cut::CutCounts;
pub use file::{MAX_FILE, SECTOR};

use crate::{
    draw::{Domain, Draws},
    plan::DiskProfile,
};
use cut::Cut;
use file::{File, WriteBack};
use holdfast_host::{Disk, FileId, OpenMode};
use names::{Entry, Location, Names};
use std::{
    io::{self, Error, ErrorKind},
    path::Path,
};

/// How many files may be open at once.
pub const MAX_OPEN_FILES: usize = 4_096;

/// How many slots a [`FileId`] can name: its low bits; the rest counts openings.
const HANDLE_BITS: u32 = MAX_OPEN_FILES.trailing_zeros();

/// An error that the next operation it applies to will meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// A read fails.
    Read,
    /// A write or a change of length fails and changes nothing.
    Write,
    /// A sync of a file or directory fails. What it should have covered may be on the platter or not, may be as
    /// written or as before when it is read, and no later sync will write it.
    Sync,
}

/// Whether there is room for more bytes and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// There is.
    Free,
    /// Writes past the end of a file and new files are refused as `StorageFull`.
    Full,
}

/// What a disk was asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes that writes brought.
    pub bytes_written: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
    /// Operations that an injected fault or a rate of the profile let fail.
    pub errors: u64,
    /// Reads and writes that were cut short.
    pub short: u64,
}

#[derive(Clone, Debug)]
struct Handle {
    id: FileId,
    inode: u32,
    mode: OpenMode,
    holds_lock: bool,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    file: File,
    locked: bool,
}

/// A simulated disk; see the [module](self).
#[derive(Clone, Debug)]
pub struct SimDisk {
    seed: u64,
    node: u32,
    profile: DiskProfile,
    names: Names,
    /// By number; a number is not used again.
    inodes: Vec<Option<Inode>>,
    handles: Vec<Option<Handle>>,
    opened: u64,
    /// Whether a file may have lost its last name since dead files were last looked for.
    has_litter: bool,
    /// Whether any rate of the profile is above zero: mostly not, and then nothing need be drawn.
    unreliable: bool,
    injected: Vec<DiskFault>,
    space: Space,
    slowness: u64,
    elapsed: u64,
    time: Draws,
    chances: Draws,
    cuts: u32,
    counts: DiskCounts,
    cut_counts: CutCounts,
    /// How many operations are left until power fails, when it is going to.
    power_left: Option<u64>,
    /// Whether an operation was asked for after that.
    power_failed: bool,
    /// Files that the present process has written to and no sync may have covered since.
    unsettled: Vec<u32>,
}

impl SimDisk {
    /// The empty disk of `node`.
    pub fn new(seed: u64, node: u32, profile: &DiskProfile) -> Self {
        let rates = [
            profile.short_io,
            profile.read_error,
            profile.write_error,
            profile.sync_error,
            profile.write_back,
        ];
        SimDisk {
            seed,
            node,
            profile: profile.clone(),
            names: Names::new(),
            inodes: Vec::new(),
            handles: Vec::new(),
            opened: 0,
            has_litter: false,
            unreliable: rates.iter().any(|rate| *rate > 0.0),
            injected: Vec::new(),
            space: Space::Free,
            slowness: 1,
            elapsed: 0,
            time: Draws::new(seed, Domain::DiskTime, u64::from(node)),
            chances: Draws::new(seed, Domain::DiskFault, u64::from(node)),
            cuts: 0,
            counts: DiskCounts::default(),
            cut_counts: CutCounts::default(),
            power_left: None,
            power_failed: false,
            unsettled: Vec::new(),
        }
    }

    /// The process using the disk ends: its files are closed and its locks given up; what it wrote stays.
    pub fn kill(&mut self) {
        self.handles.iter_mut().for_each(|handle| *handle = None);
        for inode in self.inodes.iter_mut().flatten() {
            inode.locked = false;
        }
        self.elapsed = 0;
        // Whatever it left unsynced is not for the syncs of the next process to cover, unless that writes it again.
        self.unsettled.clear();
        self.has_litter = true;
        self.bury();
    }

    /// The machine loses power: the process ends, and of what was not synced there is left what chance leaves. Says
    /// what this cut did.
    pub fn power_cut(&mut self) -> CutCounts {
        self.kill();
        self.power_left = None;
        self.power_failed = false;
        let cut = Cut::new(self.seed, self.node, self.cuts, &self.profile.power_cut);
        self.cuts += 1;
        let mut counts = CutCounts::default();
        self.names.cut(&cut, &mut counts);
        self.has_litter = true;
        self.bury();
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            if let Some(inode) = inode
                && !inode.file.is_settled()
            {
                inode.file.cut(&cut, number as u32, &mut counts);
            }
        }
        for (sum, count) in [
            (&mut self.cut_counts.kept, counts.kept),
            (&mut self.cut_counts.lost, counts.lost),
            (&mut self.cut_counts.torn, counts.torn),
            (&mut self.cut_counts.garbled, counts.garbled),
            (&mut self.cut_counts.lengths_lost, counts.lengths_lost),
            (&mut self.cut_counts.names_lost, counts.names_lost),
        ] {
            *sum += count;
        }
        counts
    }

    /// Power fails in the middle of what the process does next: after `operations` more operations every one fails and
    /// does nothing, until [`power_cut`](SimDisk::power_cut) decides what is left. A sync that fails in this way leaves
    /// to the cut which of its sectors were written.
    pub fn cut_after(&mut self, operations: u64) {
        self.power_left = Some(operations);
    }

    /// Takes [`cut_after`](SimDisk::cut_after) back: the power stays.
    pub fn keep_power(&mut self) {
        self.power_left = None;
        self.power_failed = false;
    }

    /// Whether power is about to fail or has failed.
    pub fn awaits_cut(&self) -> bool {
        self.power_left.is_some()
    }

    /// Whether an operation has met a machine without power.
    pub fn power_failed(&self) -> bool {
        self.power_failed
    }

    /// What a power cut could take of the file `path` or of the directory `path` and the files in it: a new name, or a
    /// file with bytes or a length, from the present process, that is not on the platter. Removals do not count. Costs
    /// next to nothing while everything is synced.
    pub fn unsynced(&self, path: &Path) -> Option<String> {
        if self.unsettled.is_empty() && self.names.are_synced() {
            return None;
        }
        let is_loose = |inode: u32| {
            let file = self.inodes[inode as usize].as_ref().map(|i| &i.file);
            self.unsettled.contains(&inode) && file.is_some_and(|file| !file.is_durable())
        };
        if let Ok(directory) = self.names.directory(path) {
            return self.names.unsynced(directory, is_loose);
        }
        let Location { directory, name } = self.names.locate(path).ok()?;
        match self.names.lookup(directory, name) {
            Some(Entry::File(inode)) if is_loose(inode) => Some(name.to_owned()),
            _ => self.names.unsynced_name(directory, name),
        }
    }

    fn unsettle(&mut self, inode: u32) {
        if !self.unsettled.contains(&inode) {
            self.unsettled.push(inode);
        }
    }

    /// Every operation begins here: without power none does.
    #[inline]
    fn powered(&mut self) -> io::Result<()> {
        match &mut self.power_left {
            None => Ok(()),
            Some(0) => {
                self.power_failed = true;
                Err(Error::other("the machine has lost its power"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// The simulated device time, in nanoseconds, that operations took since this was last asked or the process
    /// ended.
    pub fn take_elapsed(&mut self) -> u64 {
        std::mem::take(&mut self.elapsed)
    }

    /// From now on everything takes `factor` times as long; 1 is normal.
    ///
    /// # Panics
    /// For 0.
    pub fn set_slowness(&mut self, factor: u32) {
        assert!(factor > 0, "a disk that takes no time is not slow");
        self.slowness = u64::from(factor);
    }

    /// Whether there is room from now on.
    pub fn set_space(&mut self, space: Space) {
        self.space = space;
    }

    /// Takes back injected faults that have not struck yet.
    pub fn repair(&mut self) {
        self.injected.clear();
    }

    /// The next operation that `fault` applies to meets it; several wait for one operation each.
    pub fn inject(&mut self, fault: DiskFault) {
        self.injected.push(fault);
    }

    /// Flips the bits of `mask` in one byte of a file, in the cache and on the platter. `InvalidInput` when the file
    /// ends before `offset`.
    pub fn rot(&mut self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let Location { directory, name } = self.names.locate(path)?;
        match self.names.lookup(directory, name) {
            Some(Entry::File(inode)) => match self.inode(inode).file.rot(offset, mask) {
                true => Ok(()),
                false => Err(ErrorKind::InvalidInput.into()),
            },
            Some(Entry::Directory(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Every file's path and length, for whoever looks for a victim.
    pub fn files(&self) -> Vec<(String, u64)> {
        let len = |inode: u32| {
            let inode = self.inodes[inode as usize].as_ref();
            inode.expect("a name keeps its file").file.len()
        };
        let files = self.names.files().into_iter();
        files.map(|(path, inode)| (path, len(inode))).collect()
    }

    /// What the disk was asked for so far.
    pub fn counts(&self) -> DiskCounts {
        self.counts
    }

    /// What all power cuts so far did.
    pub fn cut_counts(&self) -> CutCounts {
        self.cut_counts
    }

    fn inode(&mut self, inode: u32) -> &mut Inode {
        self.inodes[inode as usize]
            .as_mut()
            .expect("a name or a handle keeps its file")
    }

    fn handle(&self, file: FileId) -> io::Result<&Handle> {
        let slot = file.0 as usize & (MAX_OPEN_FILES - 1);
        match self.handles.get(slot) {
            Some(Some(handle)) if handle.id == file => Ok(handle),
            _ => Err(stale()),
        }
    }

    /// The inode behind a file that was opened for writing.
    fn writable(&self, file: FileId) -> io::Result<u32> {
        let handle = self.handle(file)?;
        match handle.mode {
            OpenMode::Read => Err(ErrorKind::PermissionDenied.into()),
            OpenMode::Write | OpenMode::Create | OpenMode::CreateNew => Ok(handle.inode),
        }
    }

    fn spend(&mut self, nanos: u64) {
        self.elapsed += nanos * self.slowness;
    }

    /// Whether this operation fails: because somebody wants it to, or by chance.
    fn fails(&mut self, fault: DiskFault) -> bool {
        if let Some(place) = self.injected.iter().position(|waiting| *waiting == fault) {
            self.injected.remove(place);
            self.counts.errors += 1;
            return true;
        }
        if !self.unreliable {
            return false;
        }
        let rate = match fault {
            DiskFault::Read => self.profile.read_error,
            DiskFault::Write => self.profile.write_error,
            DiskFault::Sync => self.profile.sync_error,
        };
        let failed = self.chances.chance(rate);
        self.counts.errors += u64::from(failed);
        failed
    }

    /// How many of `wanted` bytes are moved.
    fn moved(&mut self, wanted: usize) -> usize {
        if !self.unreliable || wanted < 2 || !self.chances.chance(self.profile.short_io) {
            return wanted;
        }
        self.counts.short += 1;
        self.chances.range(1, wanted as u64) as usize
    }

    fn insert(&mut self, inode: u32, mode: OpenMode) -> io::Result<FileId> {
        let slot = match self.handles.iter().position(Option::is_none) {
            Some(slot) => slot,
            None if self.handles.len() < MAX_OPEN_FILES => {
                self.handles.push(None);
                self.handles.len() - 1
            }
            None => return Err(Error::other("too many open files")),
        };
        self.opened += 1;
        let id = FileId((self.opened << HANDLE_BITS) | slot as u64);
        self.handles[slot] = Some(Handle {
            id,
            inode,
            mode,
            holds_lock: false,
        });
        Ok(id)
    }

    /// Lets files go that have no name and that nobody has open.
    fn bury(&mut self) {
        if !std::mem::take(&mut self.has_litter) {
            return;
        }
        let mut alive = self.names.reachable();
        alive.extend(self.handles.iter().flatten().map(|handle| handle.inode));
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            if !alive.contains(&(number as u32)) {
                *inode = None;
            }
        }
        let inodes = &self.inodes;
        self.unsettled
            .retain(|inode| inodes[*inode as usize].is_some());
    }

    fn sync_time(&mut self, sectors: u32) -> u64 {
        self.profile.sync_min_ns
            + self.time.exponential(self.profile.sync_tail_ns)
            + u64::from(sectors) * self.profile.sector_ns
    }
}

fn stale() -> Error {
    Error::new(ErrorKind::InvalidInput, "this file is not open")
}

fn device_error() -> Error {
    Error::other("the device reported an error")
}

impl Disk for SimDisk {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        self.powered()?;
        self.spend(self.profile.read_ns);
        let Location { directory, name } = self.names.locate(path)?;
        let inode = match (self.names.lookup(directory, name), mode) {
            (Some(Entry::Directory(_)), _) => return Err(ErrorKind::IsADirectory.into()),
            (Some(Entry::File(_)), OpenMode::CreateNew) => {
                return Err(ErrorKind::AlreadyExists.into());
            }
            (Some(Entry::File(inode)), _) => inode,
            (None, OpenMode::Read | OpenMode::Write) => return Err(ErrorKind::NotFound.into()),
            (None, _) if self.space == Space::Full => return Err(ErrorKind::StorageFull.into()),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                let inode = self.inodes.len() as u32;
                self.inodes.push(Some(Inode::default()));
                let entry = Some(Entry::File(inode));
                self.names.change(directory, vec![(name.to_owned(), entry)]);
                inode
            }
        };
        self.insert(inode, mode)
    }

    fn close(&mut self, file: FileId) {
        if let Ok(handle) = self.handle(file) {
            let (inode, holds_lock) = (handle.inode, handle.holds_lock);
            self.handles[file.0 as usize & (MAX_OPEN_FILES - 1)] = None;
            if holds_lock {
                self.inode(inode).locked = false;
            }
        }
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.powered()?;
        let inode = self.handle(file)?.inode;
        self.counts.reads += 1;
        self.spend(self.profile.read_ns);
        if self.fails(DiskFault::Read) {
            return Err(device_error());
        }
        let wanted = self.moved(buffer.len());
        Ok(self.inode(inode).file.read(offset, &mut buffer[..wanted]))
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.powered()?;
        let inode = self.writable(file)?;
        self.counts.writes += 1;
        self.spend(self.profile.write_ns);
        if self.fails(DiskFault::Write) {
            return Err(device_error());
        }
        let wanted = self.moved(bytes.len());
        if wanted == 0 {
            return Ok(0);
        }
        let grows = offset.saturating_add(wanted as u64) > self.inode(inode).file.len();
        if grows && self.space == Space::Full {
            return Err(ErrorKind::StorageFull.into());
        }
        let write_back = match self.unreliable && self.chances.chance(self.profile.write_back) {
            true => WriteBack::Happened,
            false => WriteBack::Not,
        };
        self.unsettle(inode);
        let inode = self.inode(inode);
        inode.file.write(offset, &bytes[..wanted], write_back)?;
        self.counts.bytes_written += wanted as u64;
        Ok(wanted)
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        let inode = self.handle(file)?.inode;
        Ok(self.inode(inode).file.len())
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.powered()?;
        let inode = self.writable(file)?;
        self.spend(self.profile.write_ns);
        if self.fails(DiskFault::Write) {
            return Err(device_error());
        }
        self.unsettle(inode);
        self.inode(inode).file.set_len(len)
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        self.powered()?;
        let inode = self.handle(file)?.inode;
        self.counts.syncs += 1;
        let sectors = self.inode(inode).file.dirty_sectors();
        let time = self.sync_time(sectors);
        self.spend(time);
        if !self.fails(DiskFault::Sync) {
            let file = &mut self.inode(inode).file;
            file.sync();
            if file.is_settled() {
                self.unsettled.retain(|other| *other != inode);
            }
            return Ok(());
        }
        let mut chances = self.chances.clone();
        self.inode(inode).file.fail_sync(|| chances.bits());
        self.chances = chances;
        Err(device_error())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.powered()?;
        self.spend(self.profile.write_ns);
        let (from, to) = (self.names.locate(from)?, self.names.locate(to)?);
        let Some(moved) = self.names.lookup(from.directory, from.name) else {
            return Err(ErrorKind::NotFound.into());
        };
        match (moved, self.names.lookup(to.directory, to.name)) {
            (Entry::File(_), None | Some(Entry::File(_))) => {}
            (Entry::File(_), Some(Entry::Directory(_))) => {
                return Err(ErrorKind::IsADirectory.into());
            }
            // Directories are made once and stay: nothing in the house moves one.
            (Entry::Directory(_), _) => return Err(ErrorKind::Unsupported.into()),
        }
        if (from.directory, from.name) == (to.directory, to.name) {
            return Ok(());
        }
        let appears = (to.name.to_owned(), Some(moved));
        let vanishes = (from.name.to_owned(), None);
        match from.directory == to.directory {
            true => self.names.change(to.directory, vec![appears, vanishes]),
            false => {
                self.names.change(to.directory, vec![appears]);
                self.names.change(from.directory, vec![vanishes]);
            }
        }
        self.has_litter = true;
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.powered()?;
        self.spend(self.profile.write_ns);
        let Location { directory, name } = self.names.locate(path)?;
        match self.names.lookup(directory, name) {
            Some(Entry::File(_)) => {}
            Some(Entry::Directory(_)) => return Err(ErrorKind::IsADirectory.into()),
            None => return Err(ErrorKind::NotFound.into()),
        }
        self.names.change(directory, vec![(name.to_owned(), None)]);
        self.has_litter = true;
        Ok(())
    }

    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        self.powered()?;
        self.spend(self.profile.read_ns);
        let directory = self.names.directory(directory)?;
        Ok(self.names.list(directory))
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.powered()?;
        let time = self.sync_time(0);
        self.spend(time);
        self.names.create(path)
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.powered()?;
        let directory = self.names.directory(path)?;
        self.counts.syncs += 1;
        let time = self.sync_time(1);
        self.spend(time);
        if self.fails(DiskFault::Sync) {
            self.names.fail_sync(directory);
            return Err(device_error());
        }
        self.names.sync(directory);
        self.bury();
        Ok(())
    }

    fn lock(&mut self, path: &Path) -> io::Result<FileId> {
        let file = self.open(path, OpenMode::Create)?;
        let slot = file.0 as usize & (MAX_OPEN_FILES - 1);
        let inode = self.handle(file)?.inode;
        if std::mem::replace(&mut self.inode(inode).locked, true) {
            self.handles[slot] = None;
            return Err(ErrorKind::WouldBlock.into());
        }
        let handle = self.handles[slot].as_mut().expect("just opened");
        handle.holds_lock = true;
        Ok(file)
    }
}
