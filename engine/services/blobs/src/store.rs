//! Blobs on a disk.
//!
//! ```text
//! <directory>/<id>        a blob: its bytes and nothing else
//! <directory>/draft-<n>   one that is being written; removed at the next start
//! ```
//! A draft is synced before it gets its name, and the directory after. So under a name there is a whole blob or none,
//! also after a power cut; and as disks have been known to lie, each is read and compared with its name once after a
//! start, before it is given to anybody.

use crate::{BlobId, Mutant};
use holdfast_host::{Disk, FileId, OpenMode, read_exact_at, write_all_at};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    io,
    ops::Bound,
    path::{Path, PathBuf},
};

/// Most blobs that are being written at a time.
pub const MAX_DRAFTS: usize = 16;
/// How much is read at once where a blob is compared with its name.
const PIECE_BYTES: usize = 256 << 10;
const DRAFT: &str = "draft-";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Largest blob, bytes.
    pub blob_bytes: u64,
    /// Most bytes in all, drafts included.
    pub store_bytes: u64,
    /// Most blobs.
    pub blobs: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits {
            blob_bytes: 64 << 20,
            store_bytes: 4 << 30,
            blobs: 1_000,
        }
    }
}

/// A blob that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub id: BlobId,
    /// How long it is, bytes.
    pub bytes: u64,
}

/// Why something is not stored, or not given.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The blob is larger than any may be.
    #[error("the blob has more than {0} bytes")]
    TooLarge(u64),
    /// All blobs together would take more than they may.
    #[error("the blobs take {0} bytes, and no more may be stored; delete some")]
    Full(u64),
    /// There are as many as may be.
    #[error("there are {0} blobs, and no more may be stored; delete some")]
    TooMany(usize),
    /// Too many are being written.
    #[error("{MAX_DRAFTS} blobs are being stored already")]
    Busy,
    /// It is not there.
    #[error("there is no blob {0}")]
    NotFound(BlobId),
    /// What is there is not what its name says; it was removed.
    #[error("the blob {0} was damaged on the disk, and is removed")]
    Damaged(BlobId),
    /// The disk refused.
    #[error("{}: {error}", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The blobs of a directory: a core that is handed the disk.
#[derive(Clone, Debug)]
pub struct BlobStore {
    directory: PathBuf,
    limits: StoreLimits,
    blobs: BTreeMap<BlobId, Entry>,
    /// What the blobs take.
    bytes: u64,
    /// What each draft may take.
    drafts: BTreeMap<u64, u64>,
    next_draft: u64,
    orphans: Vec<Orphan>,
    mutant: Option<Mutant>,
}

/// A draft that nobody writes any more, to be closed and removed. Until it is, it takes its room.
#[derive(Clone, Copy, Debug)]
struct Orphan {
    number: u64,
    file: Option<FileId>,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    bytes: u64,
    /// It was compared with its name since the start.
    is_checked: bool,
}

/// A blob that is being written.
#[derive(Clone, Debug)]
pub struct Draft {
    number: u64,
    path: PathBuf,
    file: FileId,
    bytes: u64,
    hasher: Sha256,
    mutant: Option<Mutant>,
}

/// A blob that is written and synced, and has no name yet.
#[derive(Clone, Debug)]
pub struct Sealed {
    number: u64,
    path: PathBuf,
    info: BlobInfo,
}

impl Sealed {
    /// What it is.
    pub fn info(&self) -> BlobInfo {
        self.info
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::Disk { path, error }
}

impl BlobStore {
    /// Makes the directory when it is missing, removes drafts, and sees what is there. More than the limits allow
    /// stays; it only gets no company.
    pub fn open(
        disk: &mut dyn Disk,
        directory: &Path,
        limits: StoreLimits,
        mutant: Option<Mutant>,
    ) -> Result<BlobStore, StoreError> {
        disk.create_dir(directory).map_err(failed(directory))?;
        let mut store = BlobStore {
            directory: directory.to_owned(),
            limits,
            blobs: BTreeMap::new(),
            bytes: 0,
            drafts: BTreeMap::new(),
            next_draft: 0,
            orphans: Vec::new(),
            mutant,
        };
        for name in disk.list(directory).map_err(failed(directory))? {
            let path = directory.join(&name);
            if name.starts_with(DRAFT) {
                if Mutant::DraftsLeft.is_in(mutant) {
                    continue;
                }
                disk.remove(&path).map_err(failed(&path))?;
            } else if let Ok(id) = name.parse() {
                let bytes = length(disk, &path).map_err(failed(&path))?;
                let is_checked = false;
                store.blobs.insert(id, Entry { bytes, is_checked });
                store.bytes += bytes;
            } else {
                tracing::warn!(file = %path.display(), "a file among the blobs is none");
            }
        }
        Ok(store)
    }

    /// The limits.
    pub fn limits(&self) -> StoreLimits {
        self.limits
    }

    /// What the blobs take, drafts aside.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Those after `after`, in the order of their names.
    pub fn list(&self, after: Option<BlobId>, limit: usize) -> Vec<BlobInfo> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.blobs.range((start, Bound::Unbounded)).take(limit);
        let info = |(id, entry): (&BlobId, &Entry)| BlobInfo {
            id: *id,
            bytes: entry.bytes,
        };
        range.map(info).collect()
    }

    /// The blob of this name, and whether it was compared with it since the start. Who is to be given one that was not
    /// must [`verify`] it first.
    pub fn find(&self, id: BlobId) -> Option<(BlobInfo, bool)> {
        let entry = self.blobs.get(&id)?;
        let bytes = entry.bytes;
        Some((BlobInfo { id, bytes }, entry.is_checked))
    }

    /// The file of a blob.
    pub fn path(&self, id: BlobId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// Notes that a blob was compared with its name, and that it is right.
    pub fn note_checked(&mut self, id: BlobId) {
        if let Some(entry) = self.blobs.get_mut(&id) {
            entry.is_checked = true;
        }
    }

    /// Closes and removes what was given up. What cannot be removed now is tried again with the next draft, and at the
    /// next start.
    fn sweep(&mut self, disk: &mut dyn Disk) {
        for mut orphan in std::mem::take(&mut self.orphans) {
            if let Some(file) = orphan.file.take() {
                disk.close(file);
            }
            match disk.remove(&self.draft_path(orphan.number)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => self.orphans.push(orphan),
            }
        }
    }

    /// Begins to write one.
    pub fn begin(&mut self, disk: &mut dyn Disk) -> Result<Draft, StoreError> {
        self.sweep(disk);
        if self.drafts.len() + self.orphans.len() >= MAX_DRAFTS {
            return Err(StoreError::Busy);
        }
        if self.blobs.len() + self.drafts.len() >= self.limits.blobs {
            return Err(StoreError::TooMany(self.blobs.len()));
        }
        let number = self.next_draft;
        self.next_draft += 1;
        let path = self.draft_path(number);
        let opened = disk.open(&path, OpenMode::Create).and_then(|file| {
            // A draft that could not be removed may have been there.
            match disk.set_len(file, 0) {
                Ok(()) => Ok(file),
                Err(error) => {
                    disk.close(file);
                    Err(error)
                }
            }
        });
        let file = opened.map_err(failed(&path))?;
        self.drafts.insert(number, 0);
        Ok(Draft {
            number,
            path,
            file,
            bytes: 0,
            hasher: Sha256::new(),
            mutant: self.mutant,
        })
    }

    /// Makes room for so many more bytes of a draft, before they are written; what was given up goes first.
    pub fn reserve(
        &mut self,
        disk: &mut dyn Disk,
        draft: &Draft,
        more: u64,
    ) -> Result<(), StoreError> {
        self.sweep(disk);
        let length = draft.bytes.saturating_add(more);
        if length > self.limits.blob_bytes {
            return Err(StoreError::TooLarge(self.limits.blob_bytes));
        }
        let taken = self.bytes + self.unfinished_beside(draft);
        if taken.saturating_add(length) > self.limits.store_bytes {
            return Err(StoreError::Full(taken));
        }
        self.drafts.insert(draft.number, length);
        Ok(())
    }

    /// What is on the disk and has no name yet, or will never have one, without this draft.
    fn unfinished_beside(&self, draft: &Draft) -> u64 {
        if Mutant::DraftsUncounted.is_in(self.mutant) {
            return 0;
        }
        let others = self.drafts.iter().filter(|(n, _)| **n != draft.number);
        let others: u64 = others.map(|(_, bytes)| bytes).sum();
        let orphans: u64 = self.orphans.iter().map(|orphan| orphan.bytes).sum();
        others + orphans
    }

    /// Gives a blob that is written and synced its name, durably. Whether it is new; one that was there is replaced by
    /// the same bytes.
    ///
    /// # Errors
    /// [`StoreError::Disk`]. Where the name could not be made durable the blob is there all the same, whole, and counts;
    /// after a power cut it may not be.
    pub fn commit(
        &mut self,
        disk: &mut dyn Disk,
        sealed: Sealed,
    ) -> Result<(BlobInfo, bool), StoreError> {
        let info = sealed.info;
        let target = self.path(info.id);
        let renamed = disk.rename(&sealed.path, &target);
        self.drafts.remove(&sealed.number);
        if let Err(error) = renamed {
            self.orphans.push(Orphan {
                number: sealed.number,
                file: None,
                bytes: info.bytes,
            });
            return Err(failed(&target)(error));
        }
        let entry = Entry {
            bytes: info.bytes,
            is_checked: true,
        };
        let before = self.blobs.insert(info.id, entry);
        self.bytes += info.bytes;
        self.bytes -= before.map_or(0, |before| before.bytes);
        disk.sync_dir(&self.directory)
            .map_err(failed(&self.directory))?;
        Ok((info, before.is_none()))
    }

    /// Gives up a draft; its file goes when the next one is begun, or written on.
    pub fn abandon(&mut self, draft: &Draft) {
        if let Some(bytes) = self.drafts.remove(&draft.number) {
            self.orphans.push(Orphan {
                number: draft.number,
                file: Some(draft.file),
                bytes,
            });
        }
    }

    /// Removes a blob, durably; whether it was there. Who is reading it finds its end early.
    ///
    /// # Errors
    /// [`StoreError::Disk`]. Where its removal could not be made durable it may be back after a power cut.
    pub fn remove(&mut self, disk: &mut dyn Disk, id: BlobId) -> Result<bool, StoreError> {
        if !self.blobs.contains_key(&id) {
            return Ok(false);
        }
        let path = self.path(id);
        match disk.remove(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path)(error)),
        }
        if let Some(entry) = self.blobs.remove(&id) {
            self.bytes -= entry.bytes;
        }
        disk.sync_dir(&self.directory)
            .map_err(failed(&self.directory))?;
        Ok(true)
    }

    fn draft_path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{DRAFT}{number}"))
    }
}

impl Draft {
    /// How much was written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes on. There must be [room](BlobStore::reserve). After an error the draft must be given up.
    pub fn write(&mut self, disk: &mut dyn Disk, bytes: &[u8]) -> Result<(), StoreError> {
        write_all_at(disk, self.file, self.bytes, bytes).map_err(failed(&self.path))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Syncs and closes it: there is nothing more to be done with the draft. After an error it must be given up: of
    /// what a sync that failed should have covered, nothing is known.
    pub fn seal(&self, disk: &mut dyn Disk) -> Result<Sealed, StoreError> {
        if !Mutant::AcknowledgedUnsynced.is_in(self.mutant) {
            disk.sync(self.file).map_err(failed(&self.path))?;
        }
        disk.close(self.file);
        Ok(Sealed {
            number: self.number,
            path: self.path.clone(),
            info: BlobInfo {
                id: BlobId(self.hasher.clone().finalize().into()),
                bytes: self.bytes,
            },
        })
    }
}

fn length(disk: &mut dyn Disk, path: &Path) -> io::Result<u64> {
    let file = disk.open(path, OpenMode::Read)?;
    let length = disk.len(file);
    disk.close(file);
    length
}

/// Reads a file and says what blob it is.
pub fn measure(disk: &mut dyn Disk, path: &Path) -> io::Result<BlobInfo> {
    let file = disk.open(path, OpenMode::Read)?;
    let measured = disk.len(file).and_then(|bytes| {
        let hasher = hash(disk, file, bytes)?;
        let id = BlobId(hasher.finalize().into());
        Ok(BlobInfo { id, bytes })
    });
    disk.close(file);
    measured
}

/// Reads a file and says whether it is the blob of this name.
pub fn verify(disk: &mut dyn Disk, path: &Path, info: BlobInfo) -> io::Result<bool> {
    let file = disk.open(path, OpenMode::Read)?;
    let hashed = hash(disk, file, info.bytes);
    disk.close(file);
    match hashed {
        Ok(hasher) => Ok(<[u8; 32]>::from(hasher.finalize()) == info.id.0),
        // It has become shorter.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The hash of a file's first bytes, so far.
pub(crate) fn hash(disk: &mut dyn Disk, file: FileId, bytes: u64) -> io::Result<Sha256> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let piece = (bytes - at).min(PIECE_BYTES as u64) as usize;
        read_exact_at(disk, file, at, &mut buffer[..piece])?;
        hasher.update(&buffer[..piece]);
        at += piece as u64;
    }
    Ok(hasher)
}
