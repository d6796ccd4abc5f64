//! Snapshot files.
//!
//! ```text
//! byte  0..8      magic "HFSNAP\0\x01" (the last byte is the version)
//!       8..16     identity of the replica group, little endian like everything here
//!      16..20     length of the meta part, M
//!      20..20+M   meta: SnapshotMeta in postcard
//!      ...        body: sessions, applied index and state machine
//!      last 4     CRC-32C of everything before
//! ```
//!
//! A file is written under a name ending in `.tmp` (its own snapshot) or `.part` (one that the leader sends), synced,
//! renamed to `snapshot-<index>-<term>` in 16 hexadecimal digits each, and the directory synced. A file with the final
//! name is therefore whole; one whose checksum fails was damaged afterwards.

use crate::{CorruptSnapshot, Mutant, StateMachine, StoreError, state::State};
use holdfast_host::{Disk, FileId, OpenMode, read_exact_at, read_file, write_all_at};
use holdfast_raft::SnapshotMeta;
use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
};

const MAGIC: [u8; 8] = *b"HFSNAP\0\x01";
/// Largest meta part; a membership of 4,000 nodes.
const MAX_META_BYTES: usize = 64 * 1024;
/// Largest snapshot that is read back or received.
pub const MAX_SNAPSHOT_BYTES: u64 = 16 << 30;
const BUFFER_BYTES: usize = 256 * 1024;
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

/// Writes `state` as the snapshot `meta`; it is durable under its final name when this returns.
pub fn write<S: StateMachine>(
    disk: &mut dyn Disk,
    directory: &Path,
    identity: u64,
    meta: &SnapshotMeta,
    state: &State<S>,
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

/// Clears `directory` up and lists its snapshots, oldest first; leftovers of interrupted writes are removed.
pub fn tidy(disk: &mut dyn Disk, directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    for name in disk.list(directory)? {
        if name.ends_with(".tmp") || name.ends_with(".part") {
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

/// Removes every snapshot older than `index`.
pub fn remove_before(disk: &mut dyn Disk, directory: &Path, index: u64) -> io::Result<()> {
    for name in disk.list(directory)? {
        if parse_name(&name).is_some_and(|(i, _)| i < index) {
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
    let bytes = read_file(disk, &directory.join(&name), MAX_SNAPSHOT_BYTES)?;
    let (file, body) = verify(&bytes, identity).map_err(|error| StoreError::Snapshot {
        file: name.clone(),
        error,
    })?;
    let corrupt = |error| StoreError::Snapshot {
        file: name.clone(),
        error,
    };
    if (file.meta.index, file.meta.term) != (index, term) {
        return Err(corrupt(CorruptSnapshot(format!(
            "its name does not fit its content, index {} of term {}",
            file.meta.index, file.meta.term
        ))));
    }
    let mut body = body;
    let state = State::read(template, &mut body).map_err(corrupt)?;
    Ok((file, state))
}

/// Checks magic, identity and checksum; the file's facts and its body.
fn verify(bytes: &[u8], identity: u64) -> Result<(SnapshotFile, &[u8]), CorruptSnapshot> {
    let corrupt = |what: &str| CorruptSnapshot(what.to_string());
    if bytes.len() < 24 {
        return Err(corrupt("shorter than its header"));
    }
    if bytes[..7] != MAGIC[..7] {
        return Err(corrupt("not a snapshot"));
    }
    if bytes[7] != MAGIC[7] {
        return Err(CorruptSnapshot(format!(
            "format version {}, this program reads {}",
            bytes[7], MAGIC[7]
        )));
    }
    let (content, checksum) = bytes.split_at(bytes.len() - 4);
    let checksum = u32::from_le_bytes(checksum.try_into().expect("four bytes"));
    if crc32c::crc32c(content) != checksum {
        return Err(corrupt("checksum does not match"));
    }
    if content[8..16] != identity.to_le_bytes() {
        return Err(corrupt("belongs to another cluster"));
    }
    let meta_len = u32::from_le_bytes(content[16..20].try_into().expect("four bytes")) as usize;
    if meta_len > MAX_META_BYTES || 20 + meta_len > content.len() {
        return Err(corrupt("meta part is too long"));
    }
    let meta = postcard::from_bytes(&content[20..20 + meta_len])
        .map_err(|error| CorruptSnapshot(error.to_string()))?;
    let file = SnapshotFile {
        meta,
        bytes: bytes.len() as u64,
        checksum,
    };
    Ok((file, &content[20 + meta_len..]))
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
#[derive(Clone, Debug)]
pub struct Incoming {
    /// What is being sent.
    pub file: SnapshotFile,
    /// How many bytes are there.
    pub received: u64,
    /// Pieces that came before the one that is wanted: begin and end of each, at most [`MAX_AHEAD`].
    ahead: BTreeMap<u64, u64>,
    handle: FileId,
    path: PathBuf,
}

impl Incoming {
    /// Begins to receive `file`.
    pub fn begin(disk: &mut dyn Disk, directory: &Path, file: SnapshotFile) -> io::Result<Self> {
        let path = directory.join(format!("{}.part", file_name(&file.meta)));
        let handle = disk.open(&path, OpenMode::Create)?;
        disk.set_len(handle, 0)?;
        Ok(Incoming {
            file,
            received: 0,
            ahead: BTreeMap::new(),
            handle,
            path,
        })
    }

    /// Adds the piece at `offset`. One that is there already is ignored, as is one that would lie behind the end; one
    /// that comes before its turn is kept if not too many are.
    pub fn write(&mut self, disk: &mut dyn Disk, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fits = offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= self.file.bytes);
        let Some(end) = fits.filter(|end| *end > self.received) else {
            return Ok(());
        };
        if offset > self.received && self.ahead.len() >= MAX_AHEAD {
            return Ok(());
        }
        write_all_at(disk, self.handle, offset, bytes)?;
        let known = self.ahead.entry(offset).or_insert(end);
        *known = end.max(*known);
        while let Some(first) = self.ahead.first_entry()
            && *first.key() <= self.received
        {
            self.received = self.received.max(first.remove());
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
        directory: &Path,
        identity: u64,
        template: &S,
    ) -> Result<(SnapshotFile, State<S>), StoreError> {
        assert!(self.is_complete());
        disk.sync(self.handle)?;
        disk.close(self.handle);
        let bytes = read_file(disk, &self.path, MAX_SNAPSHOT_BYTES)?;
        let parsed = verify(&bytes, identity).and_then(|(file, mut body)| {
            if file != self.file {
                return Err(CorruptSnapshot("not the snapshot announced".into()));
            }
            Ok((file, State::read(template, &mut body)?))
        });
        match parsed {
            Ok(parsed) => {
                publish(disk, directory, &self.path, &self.file.meta)?;
                Ok(parsed)
            }
            Err(error) => {
                disk.remove(&self.path)?;
                Err(StoreError::Snapshot {
                    file: file_name(&self.file.meta),
                    error,
                })
            }
        }
    }

    /// Gives up.
    pub fn abandon(self, disk: &mut dyn Disk) -> io::Result<()> {
        disk.close(self.handle);
        disk.remove(&self.path)
    }
}
