use crate::{Disk, FileId, OpenMode};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::FileExt,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

/// What a sync does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// It makes bytes and names outlive a crash of the machine.
    Synced,
    /// Nothing.
    None,
}

/// The files that one host has open, shared by all its disk handles.
pub(super) struct Files {
    root: PathBuf,
    durability: Durability,
    open: Mutex<OpenFiles>,
    /// Directories whose sync failed once. Linux reports a failed write-back once and then forgets it, so a second
    /// sync would call names durable that were lost.
    failed_directories: Mutex<BTreeSet<PathBuf>>,
}

#[derive(Default)]
struct OpenFiles {
    next: u64,
    by_id: BTreeMap<FileId, Arc<OpenFile>>,
}

struct OpenFile {
    file: File,
    /// Why an earlier sync of this file failed. Held while syncing, so that of two threads which sync at the same
    /// time neither can miss the one error that the kernel hands out.
    failed_sync: Mutex<Option<io::ErrorKind>>,
}

impl Files {
    /// No files, under `root`.
    pub(super) fn new(root: PathBuf, durability: Durability) -> Self {
        Files {
            root,
            durability,
            open: Mutex::default(),
            failed_directories: Mutex::default(),
        }
    }

    /// Where the operating system finds `path`. A `..` could leave the root, and is refused.
    fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the path {} contains `..`", path.display()),
            ));
        }
        Ok(self.root.join(path))
    }

    fn table(&self) -> MutexGuard<'_, OpenFiles> {
        self.open
            .lock()
            .expect("nothing panics while it holds the table of open files")
    }

    fn insert(&self, file: File) -> FileId {
        let mut table = self.table();
        let id = FileId(table.next);
        table.next += 1;
        let file = OpenFile {
            file,
            failed_sync: Mutex::default(),
        };
        let previous = table.by_id.insert(id, Arc::new(file));
        assert!(previous.is_none(), "file numbers are never used again");
        id
    }

    /// The file itself, so that the table is not locked during I/O.
    fn get(&self, id: FileId) -> io::Result<Arc<OpenFile>> {
        self.table().by_id.get(&id).cloned().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("file {} is not open", id.0),
            )
        })
    }

    /// Makes the names in `directory` durable; `directory` is as the operating system understands it.
    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut failed = self
            .failed_directories
            .lock()
            .expect("nothing panics while it syncs a directory");
        if failed.contains(directory) {
            return Err(io::Error::other(format!(
                "an earlier sync of {} failed, its names cannot be trusted",
                directory.display()
            )));
        }
        let opened = File::open(directory)?;
        if !opened.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if self.durability == Durability::None {
            return Ok(());
        }
        opened.sync_all().inspect_err(|_| {
            failed.insert(directory.to_owned());
        })
    }
}

/// A handle on the operating system's files.
pub(super) struct OsDisk {
    files: Arc<Files>,
}

impl OsDisk {
    /// One more handle on the same files.
    pub(super) fn new(files: Arc<Files>) -> Self {
        OsDisk { files }
    }
}

impl Disk for OsDisk {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::Create => options.write(true).create(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        let file = options.open(self.files.locate(path)?)?;
        // Linux opens a directory for reading without a word.
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(self.files.insert(file))
    }

    fn close(&mut self, file: FileId) {
        let closed = self.files.table().by_id.remove(&file);
        if let Some(closed) = closed {
            // The descriptor closes with its last user, which may be a read on another thread; the lock goes now.
            // Nothing can be done about a failure, and then closing still unlocks.
            let _ = closed.file.unlock();
        }
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let open = self.files.get(file)?;
        uninterrupted(|| open.file.read_at(buffer, offset))
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let open = self.files.get(file)?;
        let written = uninterrupted(|| open.file.write_at(bytes, offset))?;
        if written == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(written)
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        Ok(self.files.get(file)?.file.metadata()?.len())
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.files.get(file)?.file.set_len(len)
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        let open = self.files.get(file)?;
        let mut failed = open
            .failed_sync
            .lock()
            .expect("nothing panics while it syncs a file");
        if let Some(kind) = *failed {
            return Err(io::Error::new(
                kind,
                "an earlier sync of this file failed, its bytes cannot be trusted",
            ));
        }
        if self.files.durability == Durability::None {
            return Ok(());
        }
        // fdatasync: besides the bytes it covers the metadata without which they could not be read back, which
        // includes a changed length and newly allocated blocks, and spares the journal the time stamps.
        open.file
            .sync_data()
            .inspect_err(|error| *failed = Some(error.kind()))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.files.locate(from)?, self.files.locate(to)?)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.files.locate(path)?)
    }

    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(self.files.locate(directory)?)?
            .map(|entry| {
                entry?.file_name().into_string().map_err(|name| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("the name {} is not UTF-8", name.display()),
                    )
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let path = self.files.locate(path)?;
        let mut missing = Vec::new();
        let mut there = path.as_path();
        while !is_directory(there)? {
            missing.push(there);
            there = parent(there).ok_or(io::ErrorKind::NotFound)?;
        }
        // The name that is there may be one that a process made before it was killed short of syncing it. Those above
        // it are durable: each is synced before anything is made below it.
        if let Some(parent) = parent(there) {
            self.files
                .sync_directory(parent)
                .or_else(excuse_foreign_directory)?;
        }
        for directory in missing.into_iter().rev() {
            match fs::create_dir(directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !is_directory(directory)? {
                        return Err(error);
                    }
                }
                made => made?,
            }
            let parent = parent(directory).ok_or(io::ErrorKind::NotFound)?;
            self.files.sync_directory(parent)?;
        }
        Ok(())
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.files.sync_directory(&self.files.locate(path)?)
    }

    fn lock(&mut self, path: &Path) -> io::Result<FileId> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.files.locate(path)?)?;
        // flock: it belongs to the open file and not to the process, so that a second open in this process is kept out
        // too, and the kernel lets go of it when the process ends.
        match file.try_lock() {
            Ok(()) => Ok(self.files.insert(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Whether a directory is at `path`; false when nothing is, an error when something else is.
fn is_directory(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The directory that holds `path`'s name; none for `/`. A bare relative name lies in the working directory.
fn parent(path: &Path) -> Option<&Path> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    })
}

/// Lets pass that a directory above ours, which somebody else made and mounted, cannot be read or synced.
fn excuse_foreign_directory(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::InvalidInput => Ok(()),
        _ => Err(error),
    }
}

/// Repeats a call for as long as a signal interrupts it.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
