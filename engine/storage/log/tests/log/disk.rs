//! A disk in memory that keeps page cache and platter apart and is as unkind as the contract of `Disk` allows.

use holdfast_host::{Disk, FileId, OpenMode};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

pub const SECTOR: usize = 512;

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a power cut does with what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    LoseAll,
    Random,
}

#[derive(Clone, Debug, Default)]
struct Node {
    cached: Vec<u8>,
    platter: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug, Default)]
pub struct CrashDisk {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    open: BTreeMap<u64, usize>,
    next_file: u64,
    /// Calls that change something, so far.
    pub changes: u64,
    /// From this change on nothing works any more. The first one that does not may have done part of its work.
    pub dies_at: Option<u64>,
    /// How many bytes of a write get through when the disk dies in it.
    pub tear: usize,
    /// This many syncs from now, one fails, and what it should have stored counts as stored from then on.
    pub failing_sync: Option<u64>,
    pub writes: u64,
    pub syncs: u64,
}

impl CrashDisk {
    /// The process is gone; the page cache is not.
    pub fn kill(&mut self) {
        self.open.clear();
        self.dies_at = None;
        self.failing_sync = None;
    }

    pub fn open_files(&self) -> usize {
        self.open.len()
    }

    pub fn power_cut(&mut self, cut: Cut, rng: &mut Rng) {
        self.kill();
        for node in &mut self.nodes {
            node.power_cut(cut, rng);
        }
        let all: BTreeSet<PathBuf> = self
            .names
            .keys()
            .chain(self.durable_names.keys())
            .cloned()
            .collect();
        for path in all {
            let keeps_new = cut == Cut::Random && rng.one_in(2);
            if keeps_new {
                set(
                    &mut self.durable_names,
                    &path,
                    self.names.get(&path).copied(),
                );
            }
        }
        self.names = self.durable_names.clone();
    }

    /// The files by name, without their directory, and their lengths.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        self.names
            .iter()
            .map(|(path, node)| (path.clone(), self.nodes[*node].cached.len()))
            .collect()
    }

    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        self.nodes[self.names[path]].cached.clone()
    }

    /// Changes what is on the platter behind everybody's back.
    pub fn edit(&mut self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let node = &mut self.nodes[self.names[path]];
        edit(&mut node.cached);
        node.platter = node.cached.clone();
        node.dirty.clear();
    }

    pub fn lose_file(&mut self, path: &Path) {
        self.names.remove(path);
        self.durable_names.remove(path);
    }

    pub fn put_file(&mut self, path: &Path, bytes: Vec<u8>) {
        self.nodes.push(Node {
            cached: bytes.clone(),
            platter: bytes,
            dirty: BTreeSet::new(),
        });
        self.names.insert(path.into(), self.nodes.len() - 1);
        self.durable_names.insert(path.into(), self.nodes.len() - 1);
    }

    fn node(&mut self, file: FileId) -> io::Result<&mut Node> {
        let node = self.open.get(&file.0).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(&mut self.nodes[*node])
    }

    /// Counts a change; an error when the disk is dead, with `true` when it dies in this very change.
    fn change(&mut self) -> Result<(), (io::Error, bool)> {
        self.changes += 1;
        match self.dies_at {
            Some(at) if self.changes >= at => {
                Err((io::Error::other("the disk is gone"), self.changes == at))
            }
            _ => Ok(()),
        }
    }

    fn plain_change(&mut self) -> io::Result<()> {
        self.change().map_err(|(error, _)| error)
    }
}

impl Node {
    fn power_cut(&mut self, cut: Cut, rng: &mut Rng) {
        if cut == Cut::Random {
            let (old, new) = (self.platter.len() as u64, self.cached.len() as u64);
            let len = match rng.below(3) {
                0 => old,
                1 => new,
                _ => old.min(new) + rng.below(old.abs_diff(new) + 1),
            };
            let mut bytes = self.platter.clone();
            bytes.resize(len as usize, 0);
            for sector in &self.dirty {
                let start = (sector * SECTOR).min(bytes.len());
                let end = (start + SECTOR).min(bytes.len());
                let new: Vec<u8> = (start..end)
                    .map(|at| self.cached.get(at).copied().unwrap_or(0))
                    .collect();
                match rng.below(6) {
                    0 | 1 => bytes[start..end].copy_from_slice(&new),
                    2 => {}
                    3 => bytes[start..end].fill(0),
                    4 => bytes[start..end].fill_with(|| rng.next() as u8),
                    _ => {
                        let torn = rng.below((end - start) as u64 + 1) as usize;
                        bytes[start..start + torn].copy_from_slice(&new[..torn]);
                    }
                }
            }
            self.platter = bytes;
        }
        self.cached = self.platter.clone();
        self.dirty.clear();
    }

    fn touch(&mut self, from: usize, to: usize) {
        if from < to {
            self.dirty.extend(from / SECTOR..=(to - 1) / SECTOR);
        }
    }

    fn set_len(&mut self, len: usize) {
        let old = self.cached.len();
        self.cached.resize(len, 0);
        self.touch(old.min(len), old.max(len));
    }
}

fn set(names: &mut BTreeMap<PathBuf, usize>, path: &Path, node: Option<usize>) {
    match node {
        Some(node) => names.insert(path.into(), node),
        None => names.remove(path),
    };
}

impl Disk for CrashDisk {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        let there = self.names.get(path).copied();
        let node = match (there, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(node), _) => node,
            (None, OpenMode::Read | OpenMode::Write) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                self.plain_change()?;
                self.nodes.push(Node::default());
                self.names.insert(path.into(), self.nodes.len() - 1);
                self.nodes.len() - 1
            }
        };
        self.next_file += 1;
        self.open.insert(self.next_file, node);
        Ok(FileId(self.next_file))
    }

    fn close(&mut self, file: FileId) {
        self.open.remove(&file.0);
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let node = self.node(file)?;
        let start = (offset as usize).min(node.cached.len());
        let available = &node.cached[start..];
        // Short reads are allowed anywhere.
        let count = buffer.len().min(available.len()).min(3000);
        buffer[..count].copy_from_slice(&available[..count]);
        Ok(count)
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let change = self.change();
        let tear = self.tear.min(bytes.len());
        let node = self.node(file)?;
        let (bytes, result) = match change {
            Ok(()) => (bytes, Ok(bytes.len())),
            Err((error, true)) => (&bytes[..tear], Err(error)),
            Err((error, false)) => (&bytes[..0], Err(error)),
        };
        let start = offset as usize;
        let end = start + bytes.len();
        if !bytes.is_empty() {
            if end > node.cached.len() {
                node.set_len(end);
            }
            node.cached[start..end].copy_from_slice(bytes);
            node.touch(start, end);
        }
        self.writes += 1;
        result
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        Ok(self.node(file)?.cached.len() as u64)
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.plain_change()?;
        self.node(file)?.set_len(len as usize);
        Ok(())
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        self.plain_change()?;
        self.syncs += 1;
        let fails = self.failing_sync == Some(0);
        self.failing_sync = self.failing_sync.and_then(|left| left.checked_sub(1));
        let node = self.node(file)?;
        if fails {
            // The kernel has marked the pages clean: nothing will write them again.
            node.dirty.clear();
            return Err(io::Error::other("sync failed"));
        }
        let len = node.cached.len();
        node.platter.resize(len, 0);
        for sector in std::mem::take(&mut node.dirty) {
            let start = (sector * SECTOR).min(len);
            let end = (start + SECTOR).min(len);
            node.platter[start..end].copy_from_slice(&node.cached[start..end]);
        }
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.plain_change()?;
        let node = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.names.insert(to.into(), node);
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        if !self.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.plain_change()?;
        self.names.remove(path);
        Ok(())
    }

    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        Ok(self
            .names
            .keys()
            .filter(|path| path.parent() == Some(directory))
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    }

    fn create_dir(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&mut self, directory: &Path) -> io::Result<()> {
        self.plain_change()?;
        self.syncs += 1;
        let all: BTreeSet<PathBuf> = self
            .names
            .keys()
            .chain(self.durable_names.keys())
            .filter(|path| path.parent() == Some(directory))
            .cloned()
            .collect();
        for path in all {
            set(
                &mut self.durable_names,
                &path,
                self.names.get(&path).copied(),
            );
        }
        Ok(())
    }

    fn lock(&mut self, path: &Path) -> io::Result<FileId> {
        self.open(path, OpenMode::Create)
    }
}
