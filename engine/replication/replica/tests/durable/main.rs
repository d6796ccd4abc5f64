//! What survives: storage behind crashes and damage, and the state behind snapshots.

#[allow(dead_code, reason = "the log's tests use all of it")]
#[path = "../../../../storage/log/tests/log/disk.rs"]
mod disk;
mod sessions;
mod snapshots;
mod store;

use bytes::Bytes;
use disk::CrashDisk;
use holdfast_raft::{Entry, Membership, SnapshotMeta};
use holdfast_replica::{
    Command, CorruptSnapshot, Envelope, RequestId, Session, State, StateMachine, Store,
    StoreCommand, StoreDone, StoreError, StoreOptions, Target,
};
use std::{
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

/// Remembers what was applied, in order, and answers how much that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Journal(Vec<Bytes>);

impl StateMachine for Journal {
    fn apply(&mut self, command: Command<'_>) -> Bytes {
        self.0.push(command.payload.clone());
        match &command.payload[..] {
            b"large" => vec![7; holdfast_replica::MAX_KEPT_OUTCOME + 1].into(),
            _ => format!("{}", self.0.len()).into(),
        }
    }

    fn digest(&self) -> u64 {
        let bytes = self.0.iter().flatten();
        bytes.fold(self.0.len() as u64, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(*byte))
        })
    }

    fn write_snapshot(&self, sink: &mut dyn Write) -> io::Result<()> {
        for payload in &self.0 {
            sink.write_all(&(payload.len() as u32).to_le_bytes())?;
            sink.write_all(payload)?;
        }
        Ok(())
    }

    fn read_snapshot(&self, source: &mut dyn Read) -> Result<Self, CorruptSnapshot> {
        let corrupt = |error: io::Error| CorruptSnapshot(error.to_string());
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(corrupt)?;
        let (mut rest, mut payloads) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let mut len = [0; 4];
            rest.read_exact(&mut len).map_err(corrupt)?;
            let mut payload = vec![0; u32::from_le_bytes(len) as usize];
            rest.read_exact(&mut payload).map_err(corrupt)?;
            payloads.push(payload.into());
        }
        Ok(Journal(payloads))
    }
}

type Opened = (Store<Journal>, holdfast_replica::Recovered<Journal>);

fn directory() -> &'static Path {
    Path::new("data")
}

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 1024,
        max_entry_bytes: 4096,
        group: 7,
        node: 1,
        snapshot_chunk_bytes: 64,
        mutant: None,
    }
}

fn open(disk: &mut CrashDisk) -> Result<Opened, StoreError> {
    Store::open(disk, directory(), options(), Journal::default())
}

/// An entry that says where it is.
fn entry(term: u64, index: u64) -> Entry {
    let envelope = Envelope {
        time: index,
        request: RequestId {
            origin: 1,
            number: index,
        },
        target: Target::Memory(Some(Session {
            client: 9,
            sequence: index,
        })),
        payload: format!("{term}/{index}{}", ".".repeat(index as usize * 13 % 90)).into(),
    };
    Entry {
        term,
        index,
        payload: envelope.encode(),
    }
}

fn entries(term: u64, indexes: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    indexes
        .into_iter()
        .map(|index| entry(term, index))
        .collect()
}

fn persist(entries: Vec<Entry>) -> StoreCommand<Journal> {
    StoreCommand::Persist {
        id: 1,
        hard_state: None,
        install: None,
        entries,
    }
}

fn compact(before: u64, snapshots_before: u64) -> StoreCommand<Journal> {
    StoreCommand::Compact {
        before,
        snapshots_before,
    }
}

/// Writes and syncs one command.
fn store(
    store: &mut Store<Journal>,
    disk: &mut CrashDisk,
    command: StoreCommand<Journal>,
) -> Result<Vec<StoreDone<Journal>>, StoreError> {
    store.write(disk, command)?;
    store.sync(disk)
}

/// The state after these entries.
fn state_after(entries: &[Entry]) -> State<Journal> {
    let mut state = State::new(Journal::default());
    for entry in entries {
        state.apply(entry);
    }
    state
}

fn meta(state: &State<Journal>) -> SnapshotMeta {
    SnapshotMeta {
        index: state.applied(),
        term: state.applied_term(),
        membership: Arc::new(Membership {
            voters: vec![1, 2, 3],
            learners: Vec::new(),
        }),
    }
}

fn take_snapshot(state: &State<Journal>) -> StoreCommand<Journal> {
    StoreCommand::TakeSnapshot {
        meta: meta(state),
        state: Box::new(state.clone()),
    }
}
