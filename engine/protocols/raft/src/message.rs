use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A replica's number in its group; zero is nobody.
pub type NodeId = u64;
/// A Raft term; zero is before the first election.
pub type Term = u64;
/// A place in the log; the first entry has index 1.
pub type Index = u64;
/// A reading of the monotonic clock of the node that runs the core, in nanoseconds.
pub type Nanos = u64;

/// One entry of the log. An empty payload is the no-op with which a leader opens its term.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The term of the leader that appended it.
    pub term: Term,
    /// Its place in the log.
    pub index: Index,
    /// What the state machine is given.
    pub payload: Bytes,
}

/// What must be durable before a node acts on it (Raft §5.1, figure 2). `commit` is a hint that saves time at
/// restart; the rest is safety.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HardState {
    /// The highest term seen.
    pub term: Term,
    /// For whom this node voted in `term`.
    pub vote: Option<NodeId>,
    /// The highest index known to be committed.
    pub commit: Index,
}

/// Who belongs to the group. Changing it at run time comes later; the log entry and snapshot formats leave room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Membership {
    /// The replicas whose majority decides, in ascending order.
    pub voters: Vec<NodeId>,
    /// Replicas that receive the log and do not decide, in ascending order.
    pub learners: Vec<NodeId>,
}

/// What a snapshot stands for: the state after applying every entry up to `index`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry in it.
    pub index: Index,
    /// That entry's term.
    pub term: Term,
    /// The membership as of `index`.
    pub membership: Arc<Membership>,
}

/// A message between two replicas of one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The sender's term. A pre-vote request carries the term that the sender would campaign in; a granted pre-vote reply repeats it.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// What a [`Message`] says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// Asks for a vote (RequestVote), or whether one would be given (pre-vote, Ongaro's dissertation §9.6).
    Vote {
        /// Index of the candidate's last entry.
        last_index: Index,
        /// Term of the candidate's last entry.
        last_term: Term,
        /// A pre-vote: changes nothing at the receiver.
        pre: bool,
        /// Ordered by the old leader (§3.10): a receiver does not hold its leader's lease against it.
        transfer: bool,
    },
    /// Answers [`Body::Vote`].
    VoteReply {
        /// As in the request.
        pre: bool,
        /// Whether the vote is given.
        granted: bool,
    },
    /// Replicates entries, or probes for the place where logs agree when there are none (AppendEntries).
    Append {
        /// Index of the entry before the first of `entries`.
        prev_index: Index,
        /// Term of that entry.
        prev_term: Term,
        /// The leader's commit index.
        commit: Index,
        /// Consecutive entries from `prev_index + 1`.
        entries: Vec<Entry>,
    },
    /// The receiver has, durably, the leader's log up to `matched`.
    Appended {
        /// Highest index known to agree with the leader's log.
        matched: Index,
    },
    /// The receiver has no entry (`prev_index`, `prev_term`) of the append that it answers.
    AppendRejected {
        /// `prev_index` of the append.
        prev_index: Index,
        /// The highest index at which the logs may agree.
        hint_index: Index,
        /// The receiver's term at `hint_index`.
        hint_term: Term,
    },
    /// Keeps followers quiet, spreads the commit index and asks for the acknowledgements on which reads rest.
    Heartbeat {
        /// The leader's commit index, not beyond what the receiver is known to have.
        commit: Index,
        /// The heartbeat round, rising within a term; zero outside rounds that matter to reads.
        round: u64,
    },
    /// Answers [`Body::Heartbeat`].
    HeartbeatReply {
        /// As in the request.
        round: u64,
    },
    /// The receiver lacks entries that the leader has dropped: install this snapshot. The bytes travel outside the
    /// core; the host tells the receiving core when they are all there and durable
    /// ([`handle_snapshot_received`](crate::Raft::handle_snapshot_received)).
    Snapshot {
        /// Which snapshot.
        meta: SnapshotMeta,
    },
    /// A follower passes proposals on to the leader. A network may repeat the message; the leader takes it once.
    Propose {
        /// Names the start of the sender that sent it; drawn at random.
        incarnation: u64,
        /// Rises with every such message of the incarnation, from 1.
        number: u64,
        /// One payload an entry.
        payloads: Vec<Bytes>,
    },
    /// A follower asks the leader for an index at which a read is linearizable.
    ReadIndex {
        /// Names the start of the sender that sent it: names of reads begin anew with it.
        incarnation: u64,
        /// The asking node's name for the read.
        context: u64,
    },
    /// Answers [`Body::ReadIndex`].
    ReadIndexReply {
        /// As in the request.
        incarnation: u64,
        /// As in the request.
        context: u64,
        /// Once the receiver has applied this index, the read is linearizable.
        index: Index,
    },
    /// A follower asks the leader to hand its office to `to`.
    TransferLeader {
        /// The node that is to lead.
        to: NodeId,
    },
    /// The leader tells its successor to campaign at once (§3.10).
    TimeoutNow,
    /// Answers `Propose`: the leader has no room for it, or is handing over. It will not be carried out.
    ProposalRefused {
        /// As in `Propose`.
        incarnation: u64,
        /// As in `Propose`.
        number: u64,
    },
    /// Answers `ReadIndex`: too many reads wait already.
    ReadRefused {
        /// As in `ReadIndex`.
        incarnation: u64,
        /// As in `ReadIndex`.
        context: u64,
    },
}
