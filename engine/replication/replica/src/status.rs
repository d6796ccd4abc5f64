//! What is told of a replica and of what was asked of it.

use crate::Rejection;
use holdfast_raft::{Index, NodeId, Role, Term};
use std::{collections::BTreeMap, time::Duration};

/// Why a request has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// See [`Rejection`].
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The replica has stopped; a command that it took may have been carried out.
    #[error("the replica has stopped")]
    Stopped,
}

/// A look at a replica.
#[derive(Clone, Debug)]
pub struct Status {
    /// This replica.
    pub id: NodeId,
    /// What it is in its term.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// Who leads, when that is known.
    pub leader: Option<NodeId>,
    /// The commit index it knows.
    pub commit: Index,
    /// How far its state is.
    pub applied: Index,
    /// The first index still in its log.
    pub first_index: Index,
    /// The last index in its log.
    pub last_index: Index,
    /// The index of its newest durable snapshot, 0 without one.
    pub snapshot_index: Index,
    /// Requests waiting for their outcome.
    pub pending: usize,
    /// Client sessions remembered.
    pub sessions: usize,
    /// A hash over the whole replicated state, when it was asked for.
    pub digest: Option<u64>,
    /// What its disk has done since the start.
    pub storage: StorageStatus,
    /// What happened since the start, by kind of event.
    pub counters: BTreeMap<&'static str, u64>,
}

/// What a replica's disk has done since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct StorageStatus {
    /// Group commits.
    pub syncs: u64,
    /// Commands that they carried.
    pub commands: u64,
    /// Time that they took in all.
    pub sync_time: Duration,
    /// Time that the slowest took.
    pub slowest_sync: Duration,
}
