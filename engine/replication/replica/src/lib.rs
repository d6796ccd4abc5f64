//! A replicated state machine: Raft, log, snapshots and client sessions around a pure core.
//!
//! [`Replica`] is that core: deterministic, `Clone`, without I/O; what it wants done comes out as [`Output`]s, and
//! [`Store`] carries out the part of them that concerns a disk. The simulator's fast lane drives both directly.
//! [`ReplicaHandle`] is the same for a [`Host`](holdfast_host::Host): tasks, connections to peers and group commit
//! around the core. Use the handle to build a service; use the core to simulate one.

mod core;
mod disk_machine;
mod disk_task;
mod driver;
mod envelope;
mod hints;
mod message;
mod mutant;
mod observer;
mod sessions;
mod settings;
mod snapshot;
mod start;
mod state;
mod state_machine;
mod status;
mod storage;
mod store;
mod transfer;
mod transport;
mod wire;

pub use crate::core::{Event, Output, Replica};
pub use disk_machine::{DiskApplied, DiskCommand, DiskMachine, DiskMachineError};
pub use disk_task::{DiskAccess, DiskHandle, Standing};
pub use driver::ReplicaHandle;
pub use envelope::{ENVELOPE_BYTES, Envelope, RequestId, Session, Target};
pub use message::Message;
pub use mutant::Mutant;
pub use observer::Observer;
pub use sessions::{MAX_KEPT_OUTCOME, MAX_SESSION_BYTES, MAX_SESSIONS, Sessions, Verdict};
pub use settings::{Consistency, Rejection, Settings};
pub use snapshot::{MAX_SNAPSHOT_BYTES, SnapshotFile};
pub use start::{Extras, ReplicaConfig, StartError};
pub use state::{Applied, Outcome, State};
pub use state_machine::{Command, CorruptSnapshot, StateMachine};
pub use status::{RequestError, Status, StorageStatus};
pub use store::{
    Recovered, SNAPSHOT_CHUNK_BYTES, Store, StoreCommand, StoreDone, StoreError, StoreOptions,
};
