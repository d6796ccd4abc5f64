use crate::{
    CorruptSnapshot, Mutant, StateMachine,
    snapshot::{self, Incoming, SnapshotFile},
    state::State,
};
use holdfast_host::Disk;
use holdfast_log::{Log, LogError, Register, RegisterError};
use holdfast_raft::{Entry, HardState, Index, NodeId, SnapshotMeta};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Kind byte of a log record that holds an ordinary entry. Membership changes will get their own.
const KIND_ENTRY: u8 = 1;
/// Largest piece in which a snapshot is sent.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// After so many pieces of an incoming snapshot they are synced: a process that is started again goes on from there.
const PIECES_PER_SYNC: u64 = 32;

/// How a replica's storage is laid out; see [`Store`].
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes after which the log begins a new segment.
    pub segment_bytes: u64,
    /// Largest payload of one entry, envelope included.
    pub max_entry_bytes: u32,
    /// The group's identity, bound into the checksums of snapshots: those of another group never validate.
    pub group: u64,
    /// The node, bound into those of log and hard state together with the group: another node's votes are not ours.
    pub node: NodeId,
    /// Bytes in which snapshots are sent; [`SNAPSHOT_CHUNK_BYTES`] where nothing else is wanted.
    pub snapshot_chunk_bytes: usize,
    /// A bug to plant.
    pub mutant: Option<Mutant>,
}

impl StoreOptions {
    fn identity(&self) -> u64 {
        self.group ^ self.node.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Why storage cannot go on. All are final: the node stops, and nothing acknowledged is lost by that.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The log refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The file with term and vote refused.
    #[error("hard state: {0}")]
    Register(#[from] RegisterError),
    /// The disk refused.
    #[error("disk: {0}")]
    Disk(#[from] io::Error),
    /// A snapshot file is damaged.
    #[error("{file}: {error}")]
    Snapshot {
        /// Its name.
        file: String,
        /// What is wrong.
        error: CorruptSnapshot,
    },
    /// The machine on the disk refused.
    #[error("disk machine: {0}")]
    DiskMachine(#[from] crate::DiskMachineError),
    /// Files that are whole do not fit together.
    #[error("{0}")]
    Inconsistent(String),
}

/// What the core wants done, in this order, one after the other.
#[derive(Clone, Debug)]
pub enum StoreCommand<S> {
    /// Make term, vote and entries durable.
    Persist {
        /// Named in [`StoreDone::Persisted`].
        id: u64,
        /// Term and vote, when they changed.
        hard_state: Option<HardState>,
        /// A snapshot that is durable takes the log's place: drop the log and go on after it.
        install: Option<SnapshotMeta>,
        /// They replace everything from the first one's index on.
        entries: Vec<Entry>,
    },
    /// Write a snapshot of `state`.
    TakeSnapshot {
        /// What it stands for.
        meta: SnapshotMeta,
        /// The state after `meta.index`.
        state: Box<State<S>>,
    },
    /// Drop log segments that end before `before`, and snapshots before `snapshots_before`.
    Compact {
        /// The first log index that must stay.
        before: Index,
        /// The oldest snapshot that must stay: the newest, or one that is being sent.
        snapshots_before: Index,
    },
    /// Read a piece of a snapshot, to send it.
    ReadChunk {
        /// To whom it will be sent.
        to: NodeId,
        /// The snapshot.
        file: SnapshotFile,
        /// Where the piece begins.
        offset: u64,
    },
    /// Keep a piece of a snapshot that the leader sends.
    ReceiveChunk {
        /// Who sent it.
        from: NodeId,
        /// The snapshot.
        file: SnapshotFile,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        bytes: bytes::Bytes,
    },
}

/// What has been done.
#[derive(Clone, Debug)]
pub enum StoreDone<S> {
    /// A [`StoreCommand::Persist`] is durable, as are all before it.
    Persisted {
        /// As in the command.
        id: u64,
    },
    /// A snapshot is durable under its name.
    SnapshotTaken(SnapshotFile),
    /// A piece to send.
    Chunk {
        /// To whom.
        to: NodeId,
        /// Of which snapshot.
        file: SnapshotFile,
        /// Where it begins.
        offset: u64,
        /// The bytes.
        bytes: bytes::Bytes,
    },
    /// The snapshot is gone: a newer one has taken its place.
    ChunkGone {
        /// To whom it was to be sent.
        to: NodeId,
    },
    /// A piece was kept, or was not the next one; `received` bytes are there.
    Received {
        /// Who sent it.
        from: NodeId,
        /// The snapshot.
        file: SnapshotFile,
        /// How much of it is there. Zero again when the whole did not match its checksum.
        received: u64,
        /// An earlier process had received some of it, and this is where that was found.
        resumed: bool,
        /// The state it holds, once all of it is there, durable and verified.
        complete: Option<Box<State<S>>>,
    },
}

/// What a replica finds on its disk.
#[derive(Clone, Debug)]
pub struct Recovered<S> {
    /// Term, vote and a lower bound of the commit index.
    pub hard_state: HardState,
    /// The newest snapshot.
    pub snapshot: Option<SnapshotFile>,
    /// The log after the snapshot.
    pub entries: Vec<Entry>,
    /// The state as of the snapshot.
    pub state: State<S>,
    /// A torn tail was cut from the log: bytes that nobody had been promised.
    pub repaired: Option<String>,
}

/// A replica's durable half: log, term and vote, snapshots. It owns no handle to the world: the disk is passed to
/// each call, so that simulated worlds clone by value.
///
/// Writing has two steps so that one sync serves many commands (group commit): [`write`](Store::write) each command,
/// then [`sync`](Store::sync) once and hand on what it returns.
#[derive(Clone, Debug)]
pub struct Store<S> {
    directory: PathBuf,
    options: StoreOptions,
    template: S,
    log: Log,
    register: Register,
    durable: HardState,
    staged: Option<HardState>,
    log_dirty: bool,
    incoming: Option<Incoming>,
    done: Vec<StoreDone<S>>,
}

impl<S: StateMachine> Store<S> {
    /// Opens or creates the storage in `directory`, which must exist, and reads what is there.
    pub fn open(
        disk: &mut dyn Disk,
        directory: &Path,
        options: StoreOptions,
        template: S,
    ) -> Result<(Self, Recovered<S>), StoreError> {
        refuse_lost_vote(disk, directory)?;
        let (register, value) = Register::open(
            disk,
            &directory.join("hard-state"),
            register_options(&options),
        )?;
        if value.is_some() {
            refuse_lost_log(disk, directory)?;
        }
        let hard_state = value.map_or(Ok(HardState::default()), |bytes| decode(&bytes))?;
        let (snapshot, state) = newest_snapshot(disk, directory, &options, &template)?;
        let base = snapshot.as_ref().map_or(0, |s| s.meta.index);
        let log_directory = directory.join("log");
        disk.create_dir(&log_directory)?;
        let mut entries = Vec::new();
        let mut strange = None;
        let (mut log, recovery) = Log::open(
            disk,
            &log_directory,
            log_options(&options),
            base + 1,
            // What a snapshot covers need not be in the log.
            if hard_state.commit > base {
                hard_state.commit
            } else {
                0
            },
            &mut |record| match decode_entry(record.position, record.kind, record.payload) {
                Some(entry) => entries.push(entry),
                None => strange = strange.or(Some((record.position, record.kind))),
            },
        )?;
        if let Some((position, kind)) = strange {
            return Err(StoreError::Inconsistent(format!(
                "log record {position} is of kind {kind}, which this program does not know"
            )));
        }
        if let Some(file) = &snapshot {
            fit_log_to_snapshot(disk, &mut log, &mut entries, &file.meta)?;
        } else if log.first() != 1 {
            return Err(StoreError::Inconsistent(format!(
                "the log begins at {} and no snapshot covers what came before",
                log.first()
            )));
        }
        let recovered = Recovered {
            hard_state,
            snapshot,
            entries,
            state,
            repaired: recovery.torn.map(|torn| torn.to_string()),
        };
        let store = Store {
            directory: directory.to_path_buf(),
            options,
            template,
            log,
            register,
            durable: hard_state,
            staged: None,
            log_dirty: false,
            incoming: None,
            done: Vec::new(),
        };
        Ok((store, recovered))
    }

    /// Begins a command. What it does to log and hard state is durable after the next [`sync`](Store::sync).
    pub fn write(
        &mut self,
        disk: &mut dyn Disk,
        command: StoreCommand<S>,
    ) -> Result<(), StoreError> {
        match command {
            StoreCommand::Persist {
                id,
                hard_state,
                install,
                entries,
            } => {
                self.persist(disk, hard_state, install, entries)?;
                self.done.push(StoreDone::Persisted { id });
            }
            StoreCommand::TakeSnapshot { meta, state } => {
                let (group, mutant) = (self.options.group, self.options.mutant);
                let file =
                    snapshot::write(disk, &self.directory, group, &meta, &state, None, mutant)?;
                self.done.push(StoreDone::SnapshotTaken(file));
            }
            StoreCommand::Compact {
                before,
                snapshots_before,
            } => {
                self.log.truncate_prefix(disk, before)?;
                let is_old = |i: &mut Incoming| i.file.meta.index < snapshots_before;
                if let Some(old) = self.incoming.take_if(is_old) {
                    old.abandon(disk)?;
                }
                snapshot::remove_before(disk, &self.directory, snapshots_before)?;
            }
            StoreCommand::ReadChunk { to, file, offset } => {
                let done = match snapshot::read_chunk(
                    disk,
                    &self.directory,
                    &file.meta,
                    offset,
                    self.options.snapshot_chunk_bytes,
                ) {
                    // Shorter than its name says: it is not what is being sent.
                    Ok(bytes) if bytes.is_empty() => StoreDone::ChunkGone { to },
                    Ok(bytes) => StoreDone::Chunk {
                        to,
                        file,
                        offset,
                        bytes: bytes.into(),
                    },
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        StoreDone::ChunkGone { to }
                    }
                    Err(error) => return Err(error.into()),
                };
                self.done.push(done);
            }
            StoreCommand::ReceiveChunk {
                from,
                file,
                offset,
                bytes,
            } => {
                let done = self.receive(disk, from, file, offset, bytes)?;
                self.done.push(done);
            }
        }
        Ok(())
    }

    fn persist(
        &mut self,
        disk: &mut dyn Disk,
        hard_state: Option<HardState>,
        install: Option<SnapshotMeta>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        if let Some(new) = hard_state {
            let last = self.staged.unwrap_or(self.durable);
            assert!(new.term >= last.term, "terms never fall");
            assert!(
                new.term > last.term || last.vote.is_none() || new.vote == last.vote,
                "one vote a term"
            );
            // The commit index is a hint; it is written when term or vote are.
            if (new.term, new.vote) != (last.term, last.vote) {
                self.register.stage(disk, &encode(&new))?;
                self.staged = Some(new);
            }
        }
        if let Some(meta) = install {
            self.log.reset(disk, meta.index + 1)?;
        }
        if let Some(first) = entries.first() {
            if first.index < self.log.next() {
                self.log.truncate_suffix(disk, first.index)?;
            }
            assert_eq!(first.index, self.log.next(), "entries leave no hole");
            for entry in &entries {
                self.log
                    .append(KIND_ENTRY, &[&entry.term.to_le_bytes(), &entry.payload])?;
            }
            self.log.flush(disk)?;
            self.log_dirty = true;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        disk: &mut dyn Disk,
        from: NodeId,
        file: SnapshotFile,
        offset: u64,
        bytes: bytes::Bytes,
    ) -> Result<StoreDone<S>, StoreError> {
        let mut resumed = false;
        if self.incoming.as_ref().is_none_or(|i| i.file != file) {
            if let Some(old) = self.incoming.take() {
                old.abandon(disk)?;
            }
            let stride = self.options.snapshot_chunk_bytes as u64 * PIECES_PER_SYNC;
            let incoming = Incoming::begin(disk, &self.directory, file.clone(), stride)?;
            resumed = incoming.received > 0;
            self.incoming = Some(incoming);
        }
        let incoming = self.incoming.as_mut().expect("begun above");
        incoming.write(disk, offset, bytes)?;
        let mut received = incoming.received;
        let mut complete = None;
        if incoming.is_complete() {
            let incoming = self.incoming.take().expect("begun above");
            match incoming.finish(disk, self.options.group, &self.template) {
                Ok((_, state)) => complete = Some(Box::new(state)),
                // Damaged on the way or here: the leader sends it again.
                Err(StoreError::Snapshot { .. }) => received = 0,
                Err(error) => return Err(error),
            }
        }
        Ok(StoreDone::Received {
            from,
            file,
            received,
            resumed,
            complete,
        })
    }

    /// Makes everything written so far durable; what is done by that, in the order of the commands.
    pub fn sync(&mut self, disk: &mut dyn Disk) -> Result<Vec<StoreDone<S>>, StoreError> {
        // Term and vote first: entries of a term that this node has not durably entered would outrun it.
        if let Some(staged) = self.staged.take() {
            self.register.sync(disk)?;
            self.durable = staged;
        }
        if self.log_dirty {
            self.log.sync(disk)?;
            self.log_dirty = false;
        }
        Ok(std::mem::take(&mut self.done))
    }

    /// Syncs and marks the log as closed, so that the next start knows its last byte. `commit` is kept as a hint.
    pub fn close(&mut self, disk: &mut dyn Disk, commit: Index) -> Result<(), StoreError> {
        self.sync(disk)?;
        let commit = commit.min(self.log.durable());
        let last = HardState {
            commit: commit.max(self.durable.commit),
            ..self.durable
        };
        self.register.stage(disk, &encode(&last))?;
        self.register.sync(disk)?;
        self.log.close(disk)?;
        Ok(())
    }

    /// Term and vote as they are on the platter.
    pub fn durable_hard_state(&self) -> HardState {
        self.durable
    }

    /// The last index that is on the platter.
    pub fn durable_index(&self) -> Index {
        self.log.durable()
    }
}

/// Term and vote are made durable before anything else is: a log without them has lost them, and a node that forgot its
/// vote could vote twice.
fn refuse_lost_vote(disk: &mut dyn Disk, directory: &Path) -> Result<(), StoreError> {
    let has_vote = disk
        .list(directory)?
        .iter()
        .any(|name| name == "hard-state");
    let has_log = match disk.list(&directory.join("log")) {
        Ok(names) => !names.is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    let has_snapshot = !snapshot::list_names(disk, directory)?.is_empty();
    if !has_vote && (has_log || has_snapshot) {
        return Err(StoreError::Inconsistent(
            "the file hard-state is missing beside a log or a snapshot: the node's term and vote are lost".into(),
        ));
    }
    Ok(())
}

/// The log is made before the first vote is written: a vote without a log has lost it, and a node that forgot what it
/// acknowledged could help to elect a leader that lacks it.
fn refuse_lost_log(disk: &mut dyn Disk, directory: &Path) -> Result<(), StoreError> {
    match disk.list(&directory.join("log")) {
        Ok(names) if !names.is_empty() => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Err(StoreError::Inconsistent(
            "the folder log is missing or empty beside the file hard-state: the node's log is lost"
                .into(),
        )),
    }
}

fn newest_snapshot<S: StateMachine>(
    disk: &mut dyn Disk,
    directory: &Path,
    options: &StoreOptions,
    template: &S,
) -> Result<(Option<SnapshotFile>, State<S>), StoreError> {
    let names = snapshot::tidy(disk, directory)?;
    let Some(&newest) = names.last() else {
        return Ok((None, State::new(template.clone())));
    };
    // No falling back to an older one: the log may have been cut up to the newest.
    let (file, state) = snapshot::load(disk, directory, options.group, newest, template)?;
    Ok((Some(file), state))
}

/// A crash may fall between installing a snapshot and dropping the log that it replaces.
fn fit_log_to_snapshot(
    disk: &mut dyn Disk,
    log: &mut Log,
    entries: &mut Vec<Entry>,
    meta: &SnapshotMeta,
) -> Result<(), StoreError> {
    if log.first() > meta.index + 1 {
        return Err(StoreError::Inconsistent(format!(
            "the log begins at {}, but the newest snapshot ends at {}",
            log.first(),
            meta.index
        )));
    }
    let at_snapshot = entries
        .iter()
        .find(|entry| entry.index == meta.index)
        .map(|entry| entry.term);
    let continues = log.first() == meta.index + 1 || at_snapshot == Some(meta.term);
    if log.next() <= meta.index || !continues {
        log.reset(disk, meta.index + 1)?;
        entries.clear();
    }
    entries.retain(|entry| entry.index > meta.index);
    Ok(())
}

fn log_options(options: &StoreOptions) -> holdfast_log::Options {
    holdfast_log::Options {
        segment_bytes: options.segment_bytes,
        max_record_bytes: options.max_entry_bytes + 8,
        identity: options.identity(),
        mutant: options.mutant.and_then(Mutant::log),
    }
}

fn register_options(options: &StoreOptions) -> holdfast_log::RegisterOptions {
    holdfast_log::RegisterOptions {
        identity: options.identity(),
        mutant: options.mutant.and_then(Mutant::log),
    }
}

fn decode_entry(position: u64, kind: u8, payload: &[u8]) -> Option<Entry> {
    if kind != KIND_ENTRY {
        return None;
    }
    let (term, payload) = payload.split_first_chunk::<8>()?;
    Some(Entry {
        term: u64::from_le_bytes(*term),
        index: position,
        payload: bytes::Bytes::copy_from_slice(payload),
    })
}

/// Term, vote (0: none) and commit index, eight bytes each, little endian.
fn encode(state: &HardState) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&state.term.to_le_bytes());
    bytes[8..16].copy_from_slice(&state.vote.unwrap_or(0).to_le_bytes());
    bytes[16..].copy_from_slice(&state.commit.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Result<HardState, StoreError> {
    let bytes: &[u8; 24] = bytes.try_into().map_err(|_| {
        StoreError::Inconsistent(format!("hard state of {} bytes, not 24", bytes.len()))
    })?;
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Ok(HardState {
        term: word(0),
        vote: Some(word(8)).filter(|vote| *vote != 0),
        commit: word(16),
    })
}
