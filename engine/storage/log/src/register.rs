use crate::{
    Mutant,
    format::{SECTOR_BYTES, round_up, u32_at, u64_at},
    split_register,
};
use crc32c::crc32c;
use holdfast_host::{Disk, FileId, OpenMode, read_exact_at, write_all_at};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The longest value that a [`Register`] takes, in bytes.
pub const REGISTER_MAX_BYTES: usize = 4000;

const BLOCK_BYTES: u64 = 4096;
/// A slot is two blocks with the same content.
const COPIES: u64 = 2;
const SLOTS: u64 = 2;
const SLOT_BYTES: u64 = BLOCK_BYTES * COPIES;
const HEADER_BYTES: usize = 40;
const MAGIC: [u8; 8] = *b"HFREGSTR";
const VERSION: u32 = 1;

/// How a [`Register`] is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterOptions {
    /// Stored in every copy: a file of another cluster or node is refused.
    pub identity: u64,
    /// A bug to plant.
    pub mutant: Option<Mutant>,
}

/// Why a register refuses.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The disk refused. While writing, this also poisons the register.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// An earlier write or sync failed; what is on the platter is not known. Open the register again.
    #[error("an earlier write or sync of this register failed; it must be opened again")]
    Poisoned,
    /// The value is longer than [`REGISTER_MAX_BYTES`].
    #[error("a value of {length} bytes; the limit is {REGISTER_MAX_BYTES}")]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// No copy of any value can be read. A power cut cannot do that, so the file has been damaged.
    #[error("{path} is damaged: none of its copies is whole")]
    Damaged {
        /// The file.
        path: String,
    },
    /// The file belongs to another cluster or node.
    #[error("{path} has another identity ({found:#018x}, expected {expected:#018x})")]
    WrongIdentity {
        /// The file.
        path: String,
        /// Whose it is.
        found: u64,
        /// Whose it should be.
        expected: u64,
    },
    /// The file was written by a later version of this program.
    #[error("{path} has format version {version}, which this program does not know")]
    FutureVersion {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
}

/// A small value in a file that is replaced as a whole or not at all, whatever happens: Raft's term and vote.
///
/// Two slots take turns, so a write never touches the value that is durable. A slot holds its value twice, in blocks
/// of their own, so that a sector that rots later does not make the value before it come back: a lost vote would be
/// given twice. What [`open`](Register::open) returns has been written to a new file, so it is durable even when it had
/// only been in the page cache, also behind a sync that failed.
#[derive(Clone, Debug)]
pub struct Register {
    path: Arc<Path>,
    options: RegisterOptions,
    file: FileId,
    generation: u64,
    /// The slot with the durable value.
    durable_slot: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Clean,
    /// The other slot has been written and not synced.
    Staged,
    Poisoned,
}

/// What a copy holds; `value` is `None` before the first write.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    generation: u64,
    value: Option<Vec<u8>>,
}

impl Register {
    /// Opens the register at `path`, or creates it; also tells its value, `None` when none was ever written.
    ///
    /// The file is created whole under another name and then given its own, and a write spares one slot, so a power
    /// cut always leaves a readable slot: a file without one is [`Damaged`](RegisterError::Damaged), never empty.
    /// What cannot be told apart is a write that was torn in both its copies and a synced one whose both copies rotted
    /// afterwards, with nothing written since; the value before it is returned then.
    pub fn open(
        disk: &mut dyn Disk,
        path: &Path,
        options: RegisterOptions,
    ) -> Result<(Self, Option<Vec<u8>>), RegisterError> {
        let mut register = Register {
            path: path.into(),
            options,
            file: FileId(0),
            generation: 0,
            durable_slot: 0,
            state: State::Clean,
        };
        // A name that only the page cache knows would not survive.
        disk.sync_dir(parent(path))
            .map_err(register.io("sync the directory of"))?;
        let found = match disk.open(path, OpenMode::Read) {
            Ok(file) => {
                let found = register.read(disk, file);
                disk.close(file);
                Some(found?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(register.io("open")(error)),
        };
        let value = match found {
            None => {
                register.create(disk, None)?;
                None
            }
            Some(value) => {
                if value.is_some() && !register.mutated(Mutant::SplitRegisterWrite) {
                    register.create(disk, value.as_deref())?;
                }
                value
            }
        };
        register.file = disk
            .open(path, OpenMode::Write)
            .map_err(register.io("open"))?;
        Ok((register, value))
    }

    /// Makes `value` the register's value. Durable when it returns; after an error the old or the new value will be
    /// found at the next [`open`](Register::open).
    pub fn write(&mut self, disk: &mut dyn Disk, value: &[u8]) -> Result<(), RegisterError> {
        self.stage(disk, value)?;
        self.sync(disk)
    }

    /// The first half of [`write`](Register::write): gives `value` to the file system. Staging again before a
    /// [`sync`](Register::sync) replaces the staged value.
    pub fn stage(&mut self, disk: &mut dyn Disk, value: &[u8]) -> Result<(), RegisterError> {
        if self.state == State::Poisoned {
            return Err(RegisterError::Poisoned);
        }
        if value.len() > REGISTER_MAX_BYTES {
            return Err(RegisterError::TooLarge {
                length: value.len(),
            });
        }
        self.state = State::Poisoned;
        if self.mutated(Mutant::SplitRegisterWrite) {
            split_register::stage(disk, self.file, self.options.identity, value)
                .map_err(self.io("write"))?;
        } else {
            self.generation += 1;
            let bytes = encode_slot(self.options.identity, self.generation, Some(value));
            let offset = (1 - self.durable_slot) * SLOT_BYTES;
            write_all_at(disk, self.file, offset, &bytes).map_err(self.io("write"))?;
        }
        self.state = State::Staged;
        Ok(())
    }

    /// The second half of [`write`](Register::write): the staged value is durable when it returns. A failed sync
    /// poisons the register. Does nothing when nothing is staged.
    pub fn sync(&mut self, disk: &mut dyn Disk) -> Result<(), RegisterError> {
        match self.state {
            State::Clean => return Ok(()),
            State::Poisoned => return Err(RegisterError::Poisoned),
            State::Staged => {}
        }
        self.state = State::Poisoned;
        disk.sync(self.file).map_err(self.io("sync"))?;
        self.state = State::Clean;
        self.durable_slot = 1 - self.durable_slot;
        Ok(())
    }

    /// Closes the file. What was staged and not synced stays that way; the register takes no more values.
    pub fn close(&mut self, disk: &mut dyn Disk) {
        self.state = State::Poisoned;
        disk.close(self.file);
    }

    /// Puts a file with `value` in both slots in the place of what is there. A new file, and not another generation in
    /// the old one: after a failed sync neither slot is known to be what the platter has, so none can be spared.
    fn create(&mut self, disk: &mut dyn Disk, value: Option<&[u8]>) -> Result<(), RegisterError> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        self.generation += 1;
        self.durable_slot = 0;
        let bytes = if self.mutated(Mutant::SplitRegisterWrite) {
            split_register::empty(self.options.identity)
        } else {
            let mut bytes = encode_slot(self.options.identity, self.generation, value);
            bytes.resize(SLOT_BYTES as usize, 0);
            bytes.extend(encode_slot(
                self.options.identity,
                self.generation - 1,
                value,
            ));
            bytes.resize((SLOTS * SLOT_BYTES) as usize, 0);
            bytes
        };
        let file = disk
            .open(&temporary, OpenMode::Create)
            .map_err(self.io("create"))?;
        let written = disk
            .set_len(file, 0)
            .and_then(|()| write_all_at(disk, file, 0, &bytes))
            .and_then(|()| disk.sync(file));
        disk.close(file);
        written.map_err(self.io("create"))?;
        disk.rename(&temporary, &self.path)
            .map_err(self.io("create"))?;
        disk.sync_dir(parent(&self.path))
            .map_err(self.io("sync the directory of"))
    }

    /// The value of a file that is there.
    fn read(
        &mut self,
        disk: &mut dyn Disk,
        file: FileId,
    ) -> Result<Option<Vec<u8>>, RegisterError> {
        if self.mutated(Mutant::SplitRegisterWrite) {
            return split_register::read(disk, file, self.options.identity)
                .map_err(self.io("read"))?
                .ok_or_else(|| self.damaged());
        }
        let mut newest: Option<Stored> = None;
        for slot in 0..SLOTS {
            let found = self.read_slot(disk, file, slot)?;
            newest = newer(newest, found);
        }
        let newest = newest.ok_or_else(|| self.damaged())?;
        self.generation = newest.generation;
        Ok(newest.value)
    }

    /// The newer one of a slot's copies. They differ when a power cut came between them.
    fn read_slot(
        &self,
        disk: &mut dyn Disk,
        file: FileId,
        slot: u64,
    ) -> Result<Option<Stored>, RegisterError> {
        let mut newest: Option<Stored> = None;
        let mut unreadable = None;
        for copy in 0..COPIES {
            let mut block = [0; BLOCK_BYTES as usize];
            let offset = slot * SLOT_BYTES + copy * BLOCK_BYTES;
            match read_exact_at(disk, file, offset, &mut block) {
                Ok(()) => newest = newer(newest, self.decode(&block)?),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => unreadable = Some(error),
            }
        }
        match (newest, unreadable) {
            // A sector that cannot be read was not torn: it may have held the newest value.
            (None, Some(error)) => Err(self.io("read")(error)),
            (newest, _) => Ok(newest),
        }
    }

    fn decode(&self, block: &[u8]) -> Result<Option<Stored>, RegisterError> {
        let length = u32_at(block, 32) as usize;
        if block[..8] != MAGIC
            || length > REGISTER_MAX_BYTES
            || u32_at(block, 8) != crc32c(&block[12..HEADER_BYTES + length])
        {
            return Ok(None);
        }
        let path = || self.path.display().to_string();
        let version = u32_at(block, 12);
        if version != VERSION {
            return Err(RegisterError::FutureVersion {
                path: path(),
                version,
            });
        }
        let found = u64_at(block, 16);
        if found != self.options.identity {
            return Err(RegisterError::WrongIdentity {
                path: path(),
                found,
                expected: self.options.identity,
            });
        }
        let value = &block[HEADER_BYTES..HEADER_BYTES + length];
        Ok(Some(Stored {
            generation: u64_at(block, 24),
            value: (block[36] == 1).then(|| value.to_vec()),
        }))
    }

    fn damaged(&self) -> RegisterError {
        RegisterError::Damaged {
            path: self.path.display().to_string(),
        }
    }

    fn io(&self, operation: &'static str) -> impl FnOnce(io::Error) -> RegisterError + use<> {
        let path = self.path.clone();
        move |source| RegisterError::Io {
            operation,
            path: path.display().to_string(),
            source,
        }
    }

    fn mutated(&self, mutant: Mutant) -> bool {
        cfg!(debug_assertions) && self.options.mutant == Some(mutant)
    }
}

fn newer(a: Option<Stored>, b: Option<Stored>) -> Option<Stored> {
    match (a, b) {
        (Some(a), Some(b)) if b.generation > a.generation => Some(b),
        (None, b) => b,
        (a, _) => a,
    }
}

/// The directory of a file; `.` for one in the host's root.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Both copies, up to the last sector that is needed.
fn encode_slot(identity: u64, generation: u64, value: Option<&[u8]>) -> Vec<u8> {
    let payload = value.unwrap_or_default();
    let mut copy = vec![0; HEADER_BYTES];
    copy[..8].copy_from_slice(&MAGIC);
    copy[12..16].copy_from_slice(&VERSION.to_le_bytes());
    copy[16..24].copy_from_slice(&identity.to_le_bytes());
    copy[24..32].copy_from_slice(&generation.to_le_bytes());
    copy[32..36].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    copy[36] = u8::from(value.is_some());
    copy.extend_from_slice(payload);
    let checksum = crc32c(&copy[12..]);
    copy[8..12].copy_from_slice(&checksum.to_le_bytes());
    let sectors = round_up(copy.len() as u64, SECTOR_BYTES) as usize;
    let mut slot = vec![0; BLOCK_BYTES as usize + sectors];
    slot[..copy.len()].copy_from_slice(&copy);
    slot[BLOCK_BYTES as usize..][..copy.len()].copy_from_slice(&copy);
    slot
}
