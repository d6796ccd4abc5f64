//! Snapshot files.
//!
//! ```text
//! byte  0..8      magic "HFSNAP\0\x02" (the last byte is the version)
//!       8..16     identity of the replica group, little endian like everything here
//!      16..20     length of the meta part, M
//!      20..20+M   meta: SnapshotMeta in postcard
//!      ...        body: sessions, applied index and state machine
//!      last 4     CRC-32C of everything before
//! ```
//!
//! A file is written under a name ending in `.tmp` (its own snapshot) or in its length, its checksum and `.part` (one
//! that the leader sends), synced, renamed to `snapshot-<index>-<term>` in 16 hexadecimal digits each, and the directory synced. A file with the final
//! name is therefore whole; one whose checksum fails was damaged afterwards.

use crate::{CorruptSnapshot, Mutant, StateMachine, StoreError, state::State};
use bytes::Bytes;
use holdfast_host::{Disk, FileId, OpenMode, read_exact_at, write_all_at};
use holdfast_raft::{Index, SnapshotMeta};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
};

const MAGIC: [u8; 8] = *b"HFSNAP\0\x02";
/// Largest meta part; a membership of 4,000 nodes.
const MAX_META_BYTES: usize = 64 * 1024;
/// Largest snapshot that is read back or received.
pub const MAX_SNAPSHOT_BYTES: u64 = 16 << 30;
const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes that say what a copy of the disk machine has applied and how long it is.
const COPY_HEAD_BYTES: u64 = 16;
/// Length of a snapshot's final name.
const NAME_BYTES: usize = "snapshot-".len() + 16 + "-".len() + 16;
/// Most pieces of an incoming snapshot that are kept before their turn.
const MAX_AHEAD: usize = 64;

/// The final name of a snapshot.
pub fn file_name(meta: &SnapshotMeta) -> String {
    format!("snapshot-{:016x}-{:016x}", meta.index, meta.term)
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (index, term) = name.strip_prefix("snapshot-")?.split_once('-')?;
    if index.len() != 16 || term.len() != 16 {
        return None;
    }
    Some((
        u64::from_str_radix(index, 16).ok()?,
        u64::from_str_radix(term, 16).ok()?,
    ))
}

/// A whole snapshot file on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// What it stands for.
    pub meta: SnapshotMeta,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its checksum.
    pub checksum: u32,
}

struct Sink<'a> {
    disk: &'a mut dyn Disk,
    file: FileId,
    offset: u64,
    checksum: u32,
    buffer: Vec<u8>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all_at(self.disk, self.file, self.offset, &self.buffer)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// A copy of the disk machine in a file of its own, to become part of a snapshot.
#[derive(Clone, Debug)]
pub struct DiskCopy {
    /// The last index that it has applied.
    pub applied: Index,
    /// Where it is.
    pub path: PathBuf,
}

/// Writes `state` as the snapshot `meta`; it is durable under its final name when this returns.
pub fn write<S: StateMachine>(
    disk: &mut dyn Disk,
    directory: &Path,
    identity: u64,
    meta: &SnapshotMeta,
    state: &State<S>,
    copy: Option<&DiskCopy>,
    mutant: Option<Mutant>,
) -> Result<SnapshotFile, StoreError> {
    let temporary = directory.join(format!("{}.tmp", file_name(meta)));
    let file = disk.open(&temporary, OpenMode::Create)?;
    let result = (|| {
        disk.set_len(file, 0)?;
        let encoded = postcard::to_stdvec(meta).map_err(io::Error::other)?;
        assert!(encoded.len() <= MAX_META_BYTES, "membership is bounded");
        let mut sink = Sink {
            disk,
            file,
            offset: 0,
            checksum: 0,
            buffer: Vec::new(),
        };
        sink.write_all(&MAGIC)?;
        sink.write_all(&identity.to_le_bytes())?;
        sink.write_all(&(encoded.len() as u32).to_le_bytes())?;
        sink.write_all(&encoded)?;
        write_copy(&mut sink, copy)?;
        state.write(&mut sink, mutant)?;
        let checksum = sink.checksum;
        sink.write_all(&checksum.to_le_bytes())?;
        sink.flush()?;
        let bytes = sink.offset;
        disk.sync(file)?;
        Ok::<_, io::Error>(SnapshotFile {
            meta: meta.clone(),
            bytes,
            checksum,
        })
    })();
    disk.close(file);
    let written = result?;
    publish(disk, directory, &temporary, meta)?;
    Ok(written)
}

fn write_copy(sink: &mut Sink<'_>, copy: Option<&DiskCopy>) -> io::Result<()> {
    let Some(copy) = copy else {
        return sink.write_all(&[0; COPY_HEAD_BYTES as usize]);
    };
    let file = sink.disk.open(&copy.path, OpenMode::Read)?;
    let result = (|| {
        let len = sink.disk.len(file)?;
        sink.write_all(&copy.applied.to_le_bytes())?;
        sink.write_all(&len.to_le_bytes())?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut at = 0;
        while at < len {
            let piece = &mut buffer[..(len - at).min(BUFFER_BYTES as u64) as usize];
            read_exact_at(sink.disk, file, at, piece)?;
            sink.write_all(piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    })();
    sink.disk.close(file);
    result
}

/// Puts the copy of the disk machine that a verified snapshot holds into a file of its own, durably, if it has applied
/// more than `applied`; whether it has.
pub fn extract_copy(
    disk: &mut dyn Disk,
    directory: &Path,
    snapshot: &SnapshotFile,
    applied: Index,
    target: &Path,
) -> io::Result<bool> {
    let file = disk.open(&directory.join(file_name(&snapshot.meta)), OpenMode::Read)?;
    let result = (|| {
        let mut length = [0; 4];
        read_exact_at(disk, file, 16, &mut length)?;
        let head = 20 + u64::from(u32::from_le_bytes(length));
        let (copied, bytes) = read_copy_head(disk, file, head)?;
        if copied <= applied {
            return Ok(false);
        }
        let copy = disk.open(target, OpenMode::Create)?;
        let written = copy_range(disk, file, copy, head + COPY_HEAD_BYTES, bytes);
        disk.close(copy);
        written?;
        disk.sync_dir(target.parent().unwrap_or(Path::new("")))?;
        Ok(true)
    })();
    disk.close(file);
    result
}

fn copy_range(
    disk: &mut dyn Disk,
    from: FileId,
    to: FileId,
    begin: u64,
    bytes: u64,
) -> io::Result<()> {
    disk.set_len(to, 0)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    while at < bytes {
        let piece = &mut buffer[..(bytes - at).min(BUFFER_BYTES as u64) as usize];
        read_exact_at(disk, from, begin + at, piece)?;
        write_all_at(disk, to, at, piece)?;
        at += piece.len() as u64;
    }
    disk.sync(to)
}

/// The index that the copy in a snapshot has applied, and its length.
fn read_copy_head(disk: &mut dyn Disk, file: FileId, at: u64) -> io::Result<(Index, u64)> {
    let mut head = [0; COPY_HEAD_BYTES as usize];
    read_exact_at(disk, file, at, &mut head)?;
    let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    Ok((word(0), word(8)))
}

/// Gives a synced file its final name.
fn publish(
    disk: &mut dyn Disk,
    directory: &Path,
    from: &Path,
    meta: &SnapshotMeta,
) -> io::Result<()> {
    disk.rename(from, &directory.join(file_name(meta)))?;
    disk.sync_dir(directory)
}

/// Clears `directory` up and lists its snapshots, oldest first; leftovers of interrupted writes are removed. What has
/// come of a snapshot that was being received stays: [`Incoming`] goes on from there.
pub fn tidy(disk: &mut dyn Disk, directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    for name in disk.list(directory)? {
        if name.ends_with(".tmp") {
            disk.remove(&directory.join(&name))?;
        }
    }
    list_names(disk, directory)
}

/// The snapshots in `directory` by (index, term), oldest first.
pub fn list_names(disk: &mut dyn Disk, directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    let names = disk.list(directory)?;
    let mut found: Vec<_> = names.iter().filter_map(|name| parse_name(name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Removes every snapshot older than `index`, and what has come of one.
pub fn remove_before(disk: &mut dyn Disk, directory: &Path, index: u64) -> io::Result<()> {
    for name in disk.list(directory)? {
        let whole = name.strip_suffix(".part").and_then(|n| n.get(..NAME_BYTES));
        let is_old = |name: &str| parse_name(name).is_some_and(|(i, _)| i < index);
        if is_old(whole.unwrap_or(&name)) {
            disk.remove(&directory.join(&name))?;
        }
    }
    disk.sync_dir(directory)
}

/// Reads a snapshot under its final name.
pub fn load<S: StateMachine>(
    disk: &mut dyn Disk,
    directory: &Path,
    identity: u64,
    (index, term): (u64, u64),
    template: &S,
) -> Result<(SnapshotFile, State<S>), StoreError> {
    let name = format!("snapshot-{index:016x}-{term:016x}");
    let file = disk.open(&directory.join(&name), OpenMode::Read)?;
    let result = read(disk, file, identity, template, |found| {
        let meta = &found.meta;
        if (meta.index, meta.term) == (index, term) {
            return Ok(());
        }
        Err(CorruptSnapshot(format!(
            "its name does not fit its content, index {} of term {}",
            meta.index, meta.term
        )))
    });
    disk.close(file);
    result.map_err(|error| error.of(&name))
}

/// Why an open snapshot cannot be used.
enum ReadError {
    Disk(io::Error),
    Corrupt(CorruptSnapshot),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Disk(error)
    }
}

impl ReadError {
    fn corrupt(what: impl Into<String>) -> Self {
        ReadError::Corrupt(CorruptSnapshot(what.into()))
    }

    fn of(self, name: &str) -> StoreError {
        match self {
            ReadError::Disk(error) => error.into(),
            ReadError::Corrupt(error) => StoreError::Snapshot {
                file: name.to_owned(),
                error,
            },
        }
    }
}

/// Checks a snapshot, then reads its state: two passes over the file, neither of which holds it in memory.
fn read<S: StateMachine>(
    disk: &mut dyn Disk,
    file: FileId,
    identity: u64,
    template: &S,
    is_expected: impl FnOnce(&SnapshotFile) -> Result<(), CorruptSnapshot>,
) -> Result<(SnapshotFile, State<S>), ReadError> {
    let (found, body) = verify(disk, file, identity)?;
    is_expected(&found).map_err(ReadError::Corrupt)?;
    let mut source = Source::new(disk, file, body);
    let state = State::read(template, &mut source);
    match (source.failed, state) {
        (Some(error), _) => Err(error.into()),
        (None, Err(error)) => Err(ReadError::Corrupt(error)),
        (None, Ok(state)) => Ok((found, state)),
    }
}

/// Checks magic, identity and checksum; the file's facts and where its body is.
fn verify(
    disk: &mut dyn Disk,
    file: FileId,
    identity: u64,
) -> Result<(SnapshotFile, Range<u64>), ReadError> {
    let bytes = disk.len(file)?;
    if bytes < 24 {
        return Err(ReadError::corrupt("shorter than its header"));
    }
    if bytes > MAX_SNAPSHOT_BYTES {
        return Err(ReadError::corrupt("larger than any snapshot"));
    }
    let content = bytes - 4;
    let mut head = [0; 20];
    read_exact_at(disk, file, 0, &mut head)?;
    let (magic, version) = (&head[..7], head[7]);
    if magic != &MAGIC[..7] {
        return Err(ReadError::corrupt("not a snapshot"));
    }
    if version != MAGIC[7] {
        return Err(ReadError::corrupt(format!(
            "format version {version}, this program reads {}",
            MAGIC[7]
        )));
    }
    let mut checksum = [0; 4];
    read_exact_at(disk, file, content, &mut checksum)?;
    let checksum = u32::from_le_bytes(checksum);
    if checksum_of(disk, file, content)? != checksum {
        return Err(ReadError::corrupt("checksum does not match"));
    }
    if head[8..16] != identity.to_le_bytes() {
        return Err(ReadError::corrupt("belongs to another cluster"));
    }
    let meta_len = u32::from_le_bytes(head[16..20].try_into().expect("four bytes")) as usize;
    if meta_len > MAX_META_BYTES || 20 + meta_len as u64 > content {
        return Err(ReadError::corrupt("meta part is too long"));
    }
    let mut meta = vec![0; meta_len];
    read_exact_at(disk, file, 20, &mut meta)?;
    let meta =
        postcard::from_bytes(&meta).map_err(|error| ReadError::corrupt(error.to_string()))?;
    let found = SnapshotFile {
        meta,
        bytes,
        checksum,
    };
    let copy = 20 + meta_len as u64;
    if copy + COPY_HEAD_BYTES > content {
        return Err(ReadError::corrupt("shorter than its header"));
    }
    let (_, copied) = read_copy_head(disk, file, copy)?;
    let body = (copy + COPY_HEAD_BYTES).checked_add(copied);
    match body.filter(|body| *body <= content) {
        Some(body) => Ok((found, body..content)),
        None => Err(ReadError::corrupt("the disk machine's copy is too long")),
    }
}

fn checksum_of(disk: &mut dyn Disk, file: FileId, len: u64) -> io::Result<u32> {
    let mut source = Source::new(disk, file, 0..len);
    let mut checksum = 0;
    loop {
        let piece = source.fill_buf()?;
        if piece.is_empty() {
            return Ok(checksum);
        }
        checksum = crc32c::crc32c_append(checksum, piece);
        let len = piece.len();
        source.consume(len);
    }
}

/// A part of a file, read from its beginning to its end.
struct Source<'a> {
    disk: &'a mut dyn Disk,
    file: FileId,
    left: Range<u64>,
    buffer: Vec<u8>,
    used: usize,
    /// Whoever parses what is read takes an error of the disk for one of the content; here it is kept apart.
    failed: Option<io::Error>,
}

impl<'a> Source<'a> {
    fn new(disk: &'a mut dyn Disk, file: FileId, left: Range<u64>) -> Self {
        Source {
            disk,
            file,
            left,
            buffer: Vec::new(),
            used: 0,
            failed: None,
        }
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.buffer.len() {
            let len = (self.left.end - self.left.start).min(BUFFER_BYTES as u64);
            self.buffer.resize(len as usize, 0);
            self.used = 0;
            let read = read_exact_at(self.disk, self.file, self.left.start, &mut self.buffer);
            if let Err(error) = read {
                self.buffer.clear();
                let kind = error.kind();
                self.failed = Some(error);
                return Err(kind.into());
            }
            self.left.start += len;
        }
        Ok(&self.buffer[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = self.fill_buf()?;
        let read = piece.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// Reads at most `len` bytes of a snapshot from `offset`, for sending.
pub fn read_chunk(
    disk: &mut dyn Disk,
    directory: &Path,
    meta: &SnapshotMeta,
    offset: u64,
    len: usize,
) -> io::Result<Vec<u8>> {
    let file = disk.open(&directory.join(file_name(meta)), OpenMode::Read)?;
    let result = disk.len(file).and_then(|total| {
        let mut bytes = vec![0; (total.saturating_sub(offset) as usize).min(len)];
        read_exact_at(disk, file, offset, &mut bytes)?;
        Ok(bytes)
    });
    disk.close(file);
    result
}

/// A snapshot that arrives from the leader piece by piece.
///
/// Its bytes are in a file that ends with what has come so far, and that is synced at every multiple of the stride: a
/// process that is started again goes on from the last of those.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// What is being sent.
    pub file: SnapshotFile,
    /// How many bytes are there.
    pub received: u64,
    /// Pieces that came before their turn, by where they begin; at most [`MAX_AHEAD`].
    ahead: BTreeMap<u64, Bytes>,
    stride: u64,
    handle: FileId,
    directory: PathBuf,
    path: PathBuf,
}

impl Incoming {
    /// Begins to receive `file`, or goes on with it. What has come of any other is given up.
    pub fn begin(
        disk: &mut dyn Disk,
        directory: &Path,
        file: SnapshotFile,
        stride: u64,
    ) -> io::Result<Self> {
        let whole = file_name(&file.meta);
        let name = format!("{whole}-{:016x}-{:08x}.part", file.bytes, file.checksum);
        for other in disk.list(directory)? {
            if other.ends_with(".part") && other != name {
                disk.remove(&directory.join(&other))?;
            }
        }
        let path = directory.join(name);
        let handle = disk.open(&path, OpenMode::Create)?;
        let len = disk.len(handle)?.min(file.bytes);
        let received = len - len % stride;
        disk.set_len(handle, received)?;
        Ok(Incoming {
            file,
            received,
            ahead: BTreeMap::new(),
            stride,
            handle,
            directory: directory.to_path_buf(),
            path,
        })
    }

    /// Adds the piece at `offset`. One that is there already is ignored, as is one that would lie behind the end; one
    /// that comes before its turn is kept if not too many are.
    pub fn write(&mut self, disk: &mut dyn Disk, offset: u64, bytes: Bytes) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        let is_wanted = end.is_some_and(|end| end > self.received && end <= self.file.bytes);
        if !is_wanted || (offset > self.received && self.ahead.len() >= MAX_AHEAD) {
            return Ok(());
        }
        self.ahead.insert(offset, bytes);
        while let Some(first) = self.ahead.first_entry()
            && *first.key() <= self.received
        {
            let (offset, bytes) = first.remove_entry();
            let known = (self.received - offset) as usize;
            if let Some(news) = bytes.get(known..) {
                self.append(disk, news)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, disk: &mut dyn Disk, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.stride - self.received % self.stride;
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            write_all_at(disk, self.handle, self.received, now)?;
            self.received += now.len() as u64;
            bytes = later;
            // Before anything behind it is written: the file's length then tells what is synced.
            if self.received.is_multiple_of(self.stride) && !self.is_complete() {
                disk.sync(self.handle)?;
                disk.sync_dir(&self.directory)?;
            }
        }
        Ok(())
    }

    /// Whether all of it is there.
    pub fn is_complete(&self) -> bool {
        self.received == self.file.bytes
    }

    /// Makes the snapshot durable under its final name and reads it. When its checksum does not match it is removed
    /// and the error says so: it is then sent again from the start.
    pub fn finish<S: StateMachine>(
        self,
        disk: &mut dyn Disk,
        identity: u64,
        template: &S,
    ) -> Result<(SnapshotFile, State<S>), StoreError> {
        assert!(self.is_complete());
        disk.sync(self.handle)?;
        let result = read(disk, self.handle, identity, template, |found| {
            match *found == self.file {
                true => Ok(()),
                false => Err(CorruptSnapshot("not the snapshot announced".into())),
            }
        });
        disk.close(self.handle);
        match result {
            Ok(read) => {
                publish(disk, &self.directory, &self.path, &self.file.meta)?;
                Ok(read)
            }
            Err(error) => {
                disk.remove(&self.path)?;
                Err(error.of(&file_name(&self.file.meta)))
            }
        }
    }

    /// Gives up.
    pub fn abandon(self, disk: &mut dyn Disk) -> io::Result<()> {
        disk.close(self.handle);
        disk.remove(&self.path)
    }
}
