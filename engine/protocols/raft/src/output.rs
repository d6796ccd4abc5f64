use crate::{Entry, HardState, Index, Message, NodeId, Role, SnapshotMeta, Term};

/// What the core wants of its host, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// May leave at once; may be lost.
    Send(Message),
    /// Make this durable, after everything asked for before, and say so with
    /// [`Raft::handle_persisted`](crate::Raft::handle_persisted).
    Persist(Persist),
    /// Apply these, in order, and say so with [`Raft::handle_applied`](crate::Raft::handle_applied). They are
    /// committed, and durable here.
    Apply(Vec<Entry>),
    /// Once `index` is applied, the read named `context` is linearizable.
    ReadReady {
        /// As in [`Raft::read`](crate::Raft::read).
        context: u64,
        /// The index.
        index: Index,
    },
    /// The leader refused what was passed on to it under this number: it is in no log and will be in none.
    ProposalRefused {
        /// As in [`Proposal::Forwarded`](crate::Proposal::Forwarded).
        number: u64,
    },
    /// The leader refused the read named `context`.
    ReadRefused {
        /// As in [`Raft::read`](crate::Raft::read).
        context: u64,
    },
    /// Something worth tracing or counting.
    Event(Event),
}

/// One write for the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Its number: one more than that of the one before.
    pub id: u64,
    /// Term, vote and commit index, when term or vote changed.
    pub hard_state: Option<HardState>,
    /// The snapshot that takes the log's place; its bytes are durable already.
    pub snapshot: Option<SnapshotMeta>,
    /// They replace everything from the first one's index on.
    pub entries: Vec<Entry>,
    /// Promises: they may leave when this and every earlier persist is durable, not before.
    pub after: Vec<Message>,
}

/// What happened; changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The role or the term is another one.
    Role {
        /// The role now.
        role: Role,
        /// The term now.
        term: Term,
    },
    /// Somebody leads, or nobody is known to.
    Leader {
        /// Who.
        leader: Option<NodeId>,
        /// In which term.
        term: Term,
    },
    /// The commit index rose.
    Commit {
        /// To this.
        index: Index,
    },
    /// Entries that conflict with the leader's are replaced.
    Conflict {
        /// From this index on.
        index: Index,
    },
    /// A follower needs a snapshot.
    SnapshotNeeded {
        /// Which follower.
        to: NodeId,
        /// The snapshot's index.
        index: Index,
    },
    /// A read was served by the leader's lease.
    LeaseRead,
    /// A round of heartbeats confirmed this many reads.
    QuorumRead {
        /// How many.
        reads: usize,
    },
    /// A read was passed on to the leader.
    ReadForwarded,
    /// Leadership is being handed over.
    Transfer {
        /// To this node.
        to: NodeId,
    },
    /// The leader asked this node to campaign at once.
    CampaignOrdered,
    /// A leader that heard from no quorum stepped down.
    LostQuorum,
}

impl Event {
    /// A name for counters.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Role { .. } => "role_changes",
            Event::Leader { .. } => "leader_changes",
            Event::Commit { .. } => "commits",
            Event::Conflict { .. } => "conflicts",
            Event::SnapshotNeeded { .. } => "snapshots_needed",
            Event::LeaseRead => "lease_reads",
            Event::QuorumRead { .. } => "quorum_reads",
            Event::ReadForwarded => "forwarded_reads",
            Event::Transfer { .. } => "transfers",
            Event::CampaignOrdered => "ordered_campaigns",
            Event::LostQuorum => "lost_quorums",
        }
    }
}
