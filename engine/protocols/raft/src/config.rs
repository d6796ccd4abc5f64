use crate::{Membership, Nanos, NodeId};
use serde::{Deserialize, Serialize};

/// How a replica behaves; equal on all replicas but for `id`.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica.
    pub id: NodeId,
    /// The group when log and snapshot say nothing of it.
    pub membership: Membership,
    /// Shortest time without a leader before a follower campaigns; the time is drawn from [this, twice this).
    pub election_timeout: Nanos,
    /// Time between a leader's heartbeats; well below `election_timeout`.
    pub heartbeat_interval: Nanos,
    /// Most unanswered appends to one follower.
    pub max_inflight_messages: usize,
    /// Most unanswered payload bytes to one follower.
    pub max_inflight_bytes: u64,
    /// Most payload bytes in one append (one entry always fits).
    pub max_append_bytes: u64,
    /// Most payload bytes appended by a leader and not yet committed; above it proposals are refused.
    pub max_uncommitted_bytes: u64,
    /// Most payload bytes handed out in one [`Output::Apply`](crate::Output::Apply).
    pub max_apply_bytes: u64,
    /// Most reads waiting for a quorum's acknowledgement; above it reads are refused.
    pub max_pending_reads: usize,
    /// Campaign only after a quorum said that it would vote (§9.6).
    pub pre_vote: bool,
    /// A leader that does not hear from a quorum for an election timeout steps down, and followers that hear from
    /// a leader ignore candidates (§6.2, §4.2.3).
    pub check_quorum: bool,
    /// Serve reads from the leader's lease where one is held instead of asking a quorum each time. Needs
    /// `check_quorum`.
    pub lease_reads: bool,
    /// By how much two nodes' monotonic clocks may differ in speed, in parts per million. Leases are shortened by it.
    pub max_clock_drift_ppm: u32,
    /// A bug to plant; has an effect only where debug assertions are on.
    pub mutant: Option<Mutant>,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let membership = &self.membership;
        let ids = || membership.voters.iter().chain(&membership.learners);
        if self.id == 0 || ids().any(|id| *id == 0) {
            return Err(ConfigError::ZeroId);
        }
        let ascending = |ids: &[NodeId]| ids.windows(2).all(|pair| pair[0] < pair[1]);
        let checks = [
            (
                ascending(&membership.voters) && ascending(&membership.learners),
                "voters and learners must be in ascending order, each once",
            ),
            (
                !membership
                    .voters
                    .iter()
                    .any(|id| membership.learners.contains(id)),
                "a node is a voter or a learner, not both",
            ),
            (
                self.heartbeat_interval > 0,
                "the heartbeat interval must not be zero",
            ),
            (
                self.election_timeout > self.heartbeat_interval,
                "the election timeout must be longer than the heartbeat interval",
            ),
            (
                self.max_inflight_messages > 0,
                "at least one append must be allowed in flight",
            ),
            (
                !self.lease_reads || self.check_quorum,
                "lease reads need check_quorum: only then do followers keep from voting",
            ),
            (
                self.max_clock_drift_ppm < 1_000_000,
                "clocks that may stand still allow no lease",
            ),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(ConfigError::Invalid(why)),
            None => Ok(()),
        }
    }
}

/// Historical bugs of consensus implementations that the simulator must find (the bug zoo).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mutant {
    /// R1: an entry of an older term is committed by counting replicas (Raft §5.4.2, figure 8).
    CommitOldTermByCounting,
    /// R3: a vote is answered before term and vote are durable.
    VoteBeforeSync,
    /// R7: a follower truncates at every append, also where nothing conflicts.
    TruncateWithoutConflict,
    /// R8: the follower acknowledges its own last index instead of the last entry that the append covered.
    AcknowledgeLastIndex,
    /// R9: appended entries are acknowledged before they are durable.
    AcknowledgeBeforeSync,
    /// R11: reads are answered before the leader has committed an entry of its own term.
    ReadBeforeCommitInTerm,
    /// H1: a leader takes a forwarded proposal again when the network repeats it.
    ProposalTakenTwice,
    /// Akin to R12: the answer to a read of an earlier incarnation passes for one to a read of the same name.
    ReadNamesReused,
    /// R13: a lease lasts a whole election timeout of the leader's clock, whatever clocks may drift.
    LeaseWithoutDriftMargin,
    /// The commit index that is persisted with term and vote goes beyond what is durable.
    CommitHintAheadOfDisk,
}

/// Why a [`Config`] is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Zero names nobody.
    #[error("node id 0 is reserved")]
    ZeroId,
    /// A limit or a time that cannot work.
    #[error("{0}")]
    Invalid(&'static str),
}
