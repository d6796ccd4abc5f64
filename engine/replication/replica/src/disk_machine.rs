use bytes::Bytes;
use holdfast_host::{Disk, UnixTime};
use holdfast_raft::Index;
use std::{any::Any, path::Path};

use crate::RequestId;

/// One committed command for the [`DiskMachine`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCommand {
    /// Its place in the log.
    pub index: Index,
    /// The leader's wall clock when it was proposed, nanoseconds since the epoch; never less than that of an earlier
    /// command.
    pub time: u64,
    /// What the service's client encoded.
    pub payload: Bytes,
}

/// What became of a [`DiskCommand`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskApplied {
    /// The command's place in the log.
    pub index: Index,
    /// Who asked for it.
    pub request: RequestId,
    /// Bytes of its payload.
    pub bytes: usize,
    /// What its proposer is told; `None` when it had been applied before a restart.
    pub outcome: Option<Bytes>,
}

/// The disk machine cannot go on: its storage failed, or what is there cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DiskMachineError(pub String);

/// A state machine whose state is on the disk, beside the one in memory and fed by the same log.
///
/// It applies behind the core, many commands at once, and is durable by itself: a start replays only what it lacks.
/// `apply` is a pure function of (state, command), as it is of a [`StateMachine`](crate::StateMachine). What a snapshot
/// holds of it is a copy of its files.
pub trait DiskMachine: Any + Send {
    /// The last index that it has applied, durably; 0 before the first.
    fn applied(&self) -> Index;

    /// Applies commands, all later than the last applied and in order, and returns what their proposers are told. On
    /// return they are durable, together with the index of the last of them.
    fn apply(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        commands: &[DiskCommand],
    ) -> Result<Vec<Bytes>, DiskMachineError>;

    /// Writes a consistent, durable copy of everything into a new file.
    fn copy_to(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        target: &Path,
    ) -> Result<(), DiskMachineError>;

    /// Gives up what it has for the copy in the file, which is durable and is gone afterwards. A crash in between
    /// leaves one or the other.
    fn replace(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        source: &Path,
    ) -> Result<(), DiskMachineError>;

    /// A hash over the whole content; replicas that applied the same commands have the same. O(content).
    fn content_hash(&mut self, disk: &mut dyn Disk, now: UnixTime)
    -> Result<u64, DiskMachineError>;

    /// Closes its files in order.
    fn close(self: Box<Self>, disk: &mut dyn Disk, now: UnixTime) -> Result<(), DiskMachineError>;
}
