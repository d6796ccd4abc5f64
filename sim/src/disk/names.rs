//! Directories, twice: the names that processes see and those on the platter.

use super::cut::{Cut, CutCounts};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::{Component, Path},
};

/// How many changes of one directory wait for a sync; the oldest is written back then.
const MAX_PENDING: usize = 4_096;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The file of this number.
    File(u32),
    /// The directory of this number.
    Directory(u32),
}

/// A change that is written whole or not at all: names and what they stand for then; `None`: nothing.
type Change = Vec<(String, Option<Entry>)>;

#[derive(Clone, Debug, Default)]
struct Directory {
    cache: BTreeMap<String, Entry>,
    platter: BTreeMap<String, Entry>,
    /// Changes of the cache that the platter lacks, in order.
    pending: Vec<Change>,
    /// Whether a sync has failed: the cache may then have names that no sync will write.
    deceived: bool,
}

fn apply(names: &mut BTreeMap<String, Entry>, change: &Change) {
    for (name, entry) in change {
        match entry {
            Some(entry) => names.insert(name.clone(), *entry),
            None => names.remove(name),
        };
    }
}

/// All directories of one disk; directories are never removed, and number 0 is the root.
#[derive(Clone, Debug)]
pub(super) struct Names {
    directories: Vec<Directory>,
}

/// A directory and a name in it.
pub(super) struct Location<'a> {
    pub(super) directory: u32,
    pub(super) name: &'a str,
}

/// The names on the way of a path. `InvalidInput` for `..` and for what is not UTF-8.
fn components(path: &Path) -> impl Iterator<Item = io::Result<&str>> {
    path.components().filter_map(|component| match component {
        Component::RootDir | Component::CurDir => None,
        Component::Normal(name) => Some(name.to_str().ok_or(ErrorKind::InvalidInput.into())),
        Component::ParentDir | Component::Prefix(_) => Some(Err(ErrorKind::InvalidInput.into())),
    })
}

impl Names {
    pub(super) fn new() -> Self {
        Names {
            directories: vec![Directory::default()],
        }
    }

    fn step(&self, directory: u32, name: &str) -> io::Result<u32> {
        match self.lookup(directory, name) {
            Some(Entry::Directory(next)) => Ok(next),
            Some(Entry::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// The directory at `path`.
    pub(super) fn directory(&self, path: &Path) -> io::Result<u32> {
        // Refused as a whole before anything is looked up.
        let names = components(path).collect::<io::Result<Vec<_>>>()?;
        names.iter().try_fold(0, |at, name| self.step(at, name))
    }

    /// The directory that `path` lies in, which must be there, and its last name, which need not.
    pub(super) fn locate<'a>(&self, path: &'a Path) -> io::Result<Location<'a>> {
        let mut names = components(path).collect::<io::Result<Vec<_>>>()?;
        let Some(name) = names.pop() else {
            // The root is no file.
            return Err(ErrorKind::IsADirectory.into());
        };
        let directory = names.iter().try_fold(0, |at, name| self.step(at, name))?;
        Ok(Location { directory, name })
    }

    pub(super) fn lookup(&self, directory: u32, name: &str) -> Option<Entry> {
        self.directories[directory as usize]
            .cache
            .get(name)
            .copied()
    }

    /// Changes a directory at once in the cache, and on the platter when it is synced.
    pub(super) fn change(&mut self, directory: u32, change: Change) {
        let directory = &mut self.directories[directory as usize];
        apply(&mut directory.cache, &change);
        directory.pending.push(change);
        if directory.pending.len() > MAX_PENDING {
            apply(&mut directory.platter, &directory.pending.remove(0));
        }
    }

    /// Makes a directory and its parents, at once on the platter too.
    pub(super) fn create(&mut self, path: &Path) -> io::Result<()> {
        let names = components(path).collect::<io::Result<Vec<_>>>()?;
        let mut at = 0;
        for name in names {
            at = match self.step(at, name) {
                Ok(next) => next,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let new = self.directories.len() as u32;
                    self.directories.push(Directory::default());
                    let parent = &mut self.directories[at as usize];
                    let entry = Entry::Directory(new);
                    parent.cache.insert(name.to_owned(), entry);
                    parent.platter.insert(name.to_owned(), entry);
                    new
                }
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// The names in a directory, sorted by bytes.
    pub(super) fn list(&self, directory: u32) -> Vec<String> {
        let directory = &self.directories[directory as usize];
        directory.cache.keys().cloned().collect()
    }

    /// Whether every name is on the platter.
    pub(super) fn are_synced(&self) -> bool {
        self.directories
            .iter()
            .all(|d| d.pending.is_empty() && !d.deceived)
    }

    /// Whether what `name` stands for now would be lost with the directory's changes: the name, then.
    pub(super) fn unsynced_name(&self, directory: u32, name: &str) -> Option<String> {
        let directory = &self.directories[directory as usize];
        let entry = directory.cache.get(name);
        let is_new = entry.is_some() && entry != directory.platter.get(name);
        is_new.then(|| name.to_owned())
    }

    /// A name in a directory that is not on the platter, or that of a file which is `loose`.
    pub(super) fn unsynced(
        &self,
        directory: u32,
        is_loose: impl Fn(u32) -> bool,
    ) -> Option<String> {
        let Directory {
            cache,
            pending,
            deceived,
            ..
        } = &self.directories[directory as usize];
        if !pending.is_empty() || *deceived {
            let mut names = cache.keys();
            if let Some(name) = names.find_map(|name| self.unsynced_name(directory, name)) {
                return Some(name);
            }
        }
        let mut entries = cache.iter();
        let found =
            entries.find(|(_, entry)| matches!(entry, Entry::File(inode) if is_loose(*inode)));
        found.map(|(name, _)| name.clone())
    }

    /// The names of a directory reach the platter.
    pub(super) fn sync(&mut self, directory: u32) {
        let directory = &mut self.directories[directory as usize];
        for change in std::mem::take(&mut directory.pending) {
            apply(&mut directory.platter, &change);
        }
        if directory.deceived {
            directory.deceived = directory.cache != directory.platter;
        }
    }

    /// A sync of a directory that fails: its changes stay visible and are on no platter, nor will be.
    pub(super) fn fail_sync(&mut self, directory: u32) {
        let directory = &mut self.directories[directory as usize];
        directory.pending.clear();
        directory.deceived = true;
    }

    /// Power is cut: the names are those on the platter.
    pub(super) fn cut(&mut self, cut: &Cut, counts: &mut CutCounts) {
        for (number, directory) in self.directories.iter_mut().enumerate() {
            let pending = std::mem::take(&mut directory.pending);
            let kept = cut.names(number as u32, pending.len());
            for (change, kept) in pending.iter().zip(kept) {
                match kept {
                    true => apply(&mut directory.platter, change),
                    false => counts.names_lost += 1,
                }
            }
            directory.cache = directory.platter.clone();
            directory.deceived = false;
        }
    }

    /// Files that have a name, or may have one after a power cut.
    pub(super) fn reachable(&self) -> BTreeSet<u32> {
        let mut files = BTreeSet::new();
        let mut add = |entry: &Entry| {
            if let Entry::File(inode) = entry {
                files.insert(*inode);
            }
        };
        for directory in &self.directories {
            directory.cache.values().for_each(&mut add);
            directory.platter.values().for_each(&mut add);
            let pending = directory.pending.iter().flatten();
            pending
                .filter_map(|(_, entry)| entry.as_ref())
                .for_each(&mut add);
        }
        files
    }

    /// Every file's path and number, directory by directory, sorted by name within each.
    pub(super) fn files(&self) -> Vec<(String, u32)> {
        let mut files = Vec::new();
        let mut waiting = vec![(String::new(), 0)];
        while let Some((prefix, directory)) = waiting.pop() {
            for (name, entry) in &self.directories[directory as usize].cache {
                let path = format!("{prefix}{name}");
                match entry {
                    Entry::File(inode) => files.push((path, *inode)),
                    Entry::Directory(next) => waiting.push((format!("{path}/"), *next)),
                }
            }
        }
        files
    }
}
