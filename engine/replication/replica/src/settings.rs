use crate::Mutant;
use holdfast_raft::{Config, Nanos};

/// How a replica behaves above Raft.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Raft core's part.
    pub raft: Config,
    /// Largest payload of one command, bytes.
    pub max_command_bytes: usize,
    /// Most requests that wait for their outcome; above it new ones are refused.
    pub max_pending: usize,
    /// How long a request may wait for its outcome before it is answered with [`Rejection::TimedOut`].
    pub request_timeout: Nanos,
    /// A snapshot is taken at every multiple of so many entries; above zero.
    pub snapshot_entries: u64,
    /// Payload bytes after which a snapshot is taken.
    pub snapshot_bytes: u64,
    /// Entries that stay in the log behind a snapshot, for followers that are a little late.
    pub keep_entries: u64,
    /// Payload bytes of log in memory up to which a leader keeps what a follower that it hears from still lacks, so that
    /// no follower needs one snapshot after another; above it the log ends where `keep_entries` says.
    pub hold_bytes: u64,
    /// Time after which an unanswered piece of a snapshot is sent again.
    pub snapshot_retry: Nanos,
    /// Most bytes of a snapshot under way to one follower, to within a piece; at least one piece always is.
    pub snapshot_window: u64,
    /// A bug to plant.
    pub mutant: Option<Mutant>,
}

/// How much a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Sees every write that was acknowledged, by any replica, before the read began.
    Linearizable,
    /// Sees some earlier state of this replica.
    Stale,
}

/// Why a request was not carried out, or may not have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// No leader is known; certainly not carried out.
    #[error("no leader is known at the moment")]
    NoLeader,
    /// Another leader came before the one that was asked had taken it; certainly not carried out.
    #[error("the leader changed before the request was taken")]
    LeaderChanged,
    /// A limit is reached; certainly not carried out.
    #[error("too many requests are waiting")]
    Overloaded,
    /// Larger than [`Settings::max_command_bytes`]; certainly not carried out.
    #[error("the command is too large")]
    TooLarge,
    /// The outcome did not arrive in time: carried out, or to be carried out, or not.
    #[error("no outcome arrived in time; the command may have been carried out")]
    TimedOut,
}

impl Rejection {
    /// Whether the request certainly was not, and will not be, carried out.
    pub fn is_definite(self) -> bool {
        self != Rejection::TimedOut
    }
}
