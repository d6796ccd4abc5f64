use std::{io, path::Path};

/// An open file: a small number, so that structures which hold one stay plain data that can be cloned.
///
/// Valid from [`Disk::open`] to [`Disk::close`] for every [`Disk`] handle of the same host. A number is not used
/// again within one run of a host, so a stale one is an error and never somebody else's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// How to open a file. All modes but [`Read`](OpenMode::Read) allow reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; `NotFound` when it is not there.
    Read,
    /// For reading and writing; `NotFound` when it is not there.
    Write,
    /// For reading and writing; made empty when it is not there.
    Create,
    /// For reading and writing; `AlreadyExists` when it is there.
    CreateNew,
}

/// Bytes that can outlive the process: synchronous, positioned file I/O.
///
/// Synchronous on purpose: logs, SQLite's VFS and search indexes are written straight against it. Async code reaches
/// it only through [`Host::blocking`](crate::Host::blocking). Paths are relative to the host's root or absolute as the
/// host understands them; `/` separates components. A path with `..` is `InvalidInput`.
///
/// # What survives
/// After a process is killed, everything written survives. After a power cut, only this is promised:
/// - bytes that a completed [`sync`](Disk::sync) of their file covered, and the file's length at that sync;
/// - names (creations, renames, removals) that a completed [`sync_dir`](Disk::sync_dir) of their directory covered.
///
/// Everything else may be there, be missing, be an older version, or be garbage, sector by sector (512 bytes), in any
/// order. A `sync` that returned an error promises nothing about the bytes it should have covered, also when a later
/// `sync` succeeds: the file must be read again or given up.
pub trait Disk: Send {
    /// Opens a file. `NotFound`, `AlreadyExists` or another [`io::Error`] as the mode says; the parent must exist.
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId>;

    /// Closes a file and gives up a lock that was taken on it. Closing does not sync.
    fn close(&mut self, file: FileId);

    /// Reads into `buffer` from byte `offset`; returns how many bytes were read. Zero only at or past the end of
    /// the file or for an empty buffer; fewer than asked for is allowed anywhere.
    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes from `bytes` at byte `offset`; returns how many bytes were written, at least one unless `bytes` is
    /// empty. Writing past the end fills the gap with zeros.
    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// The file's length in bytes.
    fn len(&mut self, file: FileId) -> io::Result<u64>;

    /// Cuts the file or extends it with zeros. Durable at the next [`sync`](Disk::sync).
    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()>;

    /// Returns when the file's bytes and length are on the platter.
    fn sync(&mut self, file: FileId) -> io::Result<()>;

    /// Gives `from` the name `to`, replacing what had it, in one step as every other reader of the directory sees it.
    /// Durable after [`sync_dir`](Disk::sync_dir) of both parents.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Files that are open stay readable. `NotFound` when it is not there.
    fn remove(&mut self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted by bytes. `NotFound` when it is not there.
    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory and its parents; nothing happens when it is there. The new names are made durable.
    fn create_dir(&mut self, path: &Path) -> io::Result<()>;

    /// Returns when the directory's names are on the platter.
    fn sync_dir(&mut self, path: &Path) -> io::Result<()>;

    /// Creates `path` when needed and locks it against every other process until the file is closed or the process
    /// ends, however it ends. `WouldBlock` when somebody, also this process, has the lock.
    fn lock(&mut self, path: &Path) -> io::Result<FileId>;
}

/// Fills `buffer` from `offset`, over short reads. `UnexpectedEof` when the file ends first.
pub fn read_exact_at(
    disk: &mut dyn Disk,
    file: FileId,
    mut offset: u64,
    mut buffer: &mut [u8],
) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = disk.read_at(file, offset, buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += read as u64;
        buffer = &mut buffer[read..];
    }
    Ok(())
}

/// Writes all of `bytes` at `offset`, over short writes.
pub fn write_all_at(
    disk: &mut dyn Disk,
    file: FileId,
    mut offset: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = disk.write_at(file, offset, bytes)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        offset += written as u64;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Reads a whole file of at most `limit` bytes. `FileTooLarge` when it is longer.
pub fn read_file(disk: &mut dyn Disk, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let result = (|| {
        let len = disk.len(file)?;
        if len > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; len as usize];
        read_exact_at(disk, file, 0, &mut bytes)?;
        Ok(bytes)
    })();
    disk.close(file);
    result
}
