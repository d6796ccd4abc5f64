mod election;
mod follower;
mod getters;
mod outcome;

use crate::{
    Body, Config, ConfigError, Entry, Event, HardState, Index, Membership, Message, Mutant, Nanos,
    NodeId, Output, Progress, SnapshotMeta, Term,
    log::RaftLog,
    progress::Mode,
    reads::{Read, Reads},
    taken::Taken,
};
use bytes::Bytes;
use election::{Campaign, campaign_role};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::{collections::VecDeque, sync::Arc};

/// What a replica is in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it would be elected.
    PreCandidate,
    /// Asks to be elected.
    Candidate,
    /// Leads.
    Leader,
}

/// What a replica finds when it starts.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// Term and vote, and a lower bound of the commit index.
    pub hard_state: HardState,
    /// The newest snapshot; index 0: none.
    pub snapshot: SnapshotMeta,
    /// The log after the snapshot.
    pub entries: Vec<Entry>,
    /// How far the state machine is: at least the snapshot.
    pub applied: Index,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// In this leader's log.
    Appended {
        /// The term.
        term: Term,
        /// Index of the first entry.
        first_index: Index,
    },
    /// Passed on; it may get lost.
    Forwarded {
        /// To this leader.
        leader: NodeId,
        /// Under this number: [`Output::ProposalRefused`] may name it.
        number: u64,
    },
}

/// Why a proposal was refused. It is in no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nobody is known to lead.
    #[error("no leader is known")]
    NoLeader,
    /// Leadership is being handed over.
    #[error("leadership is being handed over")]
    Transferring,
    /// [`Config::max_uncommitted_bytes`] is reached.
    #[error("too much is waiting to be committed")]
    TooMuchUncommitted,
}

/// Why a read was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nobody is known to lead.
    #[error("no leader is known")]
    NoLeader,
    /// [`Config::max_pending_reads`] is reached.
    #[error("too many reads are waiting")]
    TooManyReads,
}

/// How sending a snapshot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStatus {
    /// The receiver has it.
    Finished,
    /// It could not be sent.
    Failed,
}

/// The protocol. Deterministic and `Clone`; see the crate's page for what it is not.
///
/// Methods come in four kinds. *Inputs* (`handle_*`, `report_*`) tell it what happened; *commands* (`propose`, `read`,
/// `campaign`, ...) ask something of it; both take the monotonic time, which never falls between calls. After each of
/// them drain [`poll_output`](Raft::poll_output), in order, and look at [`timeout`](Raft::timeout) for when to call
/// [`handle_timeout`](Raft::handle_timeout). *Getters* change nothing.
#[derive(Clone, Debug)]
pub struct Raft {
    pub(crate) config: Config,
    rng: ChaCha8Rng,
    /// Names this start of the replica among all others.
    incarnation: u64,
    /// How many proposals were passed on to leaders.
    forwarded: u64,
    /// Which proposals this leader was passed in its term.
    pub(crate) taken: Taken,
    pub(crate) membership: Arc<Membership>,
    pub(crate) term: Term,
    vote: Option<NodeId>,
    pub(crate) role: Role,
    pub(crate) leader: Option<NodeId>,
    pub(crate) log: RaftLog,
    pub(crate) progress: Vec<Progress>,
    votes: Vec<(NodeId, bool)>,
    /// When the election clock was last set back: a leader was heard, a vote given, a campaign begun.
    pub(crate) contact: Nanos,
    /// The election timeout drawn for this round.
    patience: Nanos,
    next_heartbeat: Nanos,
    /// Until then this node keeps from voting, because a leader may hold a lease that counts on it.
    promised_until: Nanos,
    /// To whom leadership is being handed over, and until when that may take.
    transfer: Option<(NodeId, Nanos)>,
    uncommitted_bytes: u64,
    pub(crate) reads: Reads,
    outputs: VecDeque<Output>,
    /// What the next persist will carry.
    persisted_state: (Term, Option<NodeId>),
    install: Option<SnapshotMeta>,
    after: Vec<Message>,
    next_persist: u64,
    inflight_persists: VecDeque<PersistMark>,
    seen: Seen,
}

/// What a persist in flight stands for. The term tells an acknowledgement of entries that were replaced since.
#[derive(Clone, Debug)]
struct PersistMark {
    id: u64,
    last: Option<(Index, Term)>,
    votes_for_self: Option<(Term, bool)>,
}

/// What was last told by events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    role: Role,
    term: Term,
    leader: Option<NodeId>,
    commit: Index,
}

impl Raft {
    /// A replica that continues from what was recovered; a follower without a leader.
    pub fn new(
        config: Config,
        recovered: Recovered,
        mut rng: ChaCha8Rng,
        now: Nanos,
    ) -> Result<Raft, ConfigError> {
        config.check()?;
        let membership = if recovered.snapshot.index > 0 {
            recovered.snapshot.membership.clone()
        } else {
            Arc::new(config.membership.clone())
        };
        let HardState { term, vote, commit } = recovered.hard_state;
        let log = RaftLog::new(
            recovered.snapshot,
            recovered.entries,
            commit,
            recovered.applied,
        );
        // A snapshot may have become durable before the term in which it came: in that term nobody was voted for.
        let raised = log.last_term() > term;
        let (term, vote) = match raised {
            true => (log.last_term(), None),
            false => (term, vote),
        };
        let persisted_state = (recovered.hard_state.term, recovered.hard_state.vote);
        let promised_until = if config.lease_reads {
            // It may have heard from a leader just before it died.
            now.saturating_add(config.election_timeout)
        } else {
            0
        };
        let seen = Seen {
            role: Role::Follower,
            term,
            leader: None,
            commit: log.commit,
        };
        let mut raft = Raft {
            reads: Reads::default(),
            config,
            incarnation: rng.random(),
            rng,
            forwarded: 0,
            taken: Taken::default(),
            membership,
            term,
            vote,
            role: Role::Follower,
            leader: None,
            log,
            progress: Vec::new(),
            votes: Vec::new(),
            contact: now,
            patience: 0,
            next_heartbeat: 0,
            promised_until,
            transfer: None,
            uncommitted_bytes: 0,
            outputs: VecDeque::new(),
            persisted_state,
            install: None,
            after: Vec::new(),
            next_persist: 1,
            inflight_persists: VecDeque::new(),
            seen,
        };
        raft.reset_election_clock(now);
        raft.finish();
        Ok(raft)
    }

    pub(crate) fn mutated(&self, mutant: Mutant) -> bool {
        cfg!(debug_assertions) && self.config.mutant == Some(mutant)
    }

    // ---- Inputs ----

    /// A message arrived. Stale, repeated and malformed ones change nothing.
    pub fn handle_message(&mut self, now: Nanos, message: Message) {
        if message.to == self.config.id && message.from != self.config.id && is_sound(&message) {
            self.step(now, message);
        }
        self.finish();
    }

    /// The time of [`timeout`](Raft::timeout) has come; calling early changes nothing.
    pub fn handle_timeout(&mut self, now: Nanos) {
        if self.role == Role::Leader {
            self.lead_on(now);
        } else if self.is_promotable() && now >= self.contact.saturating_add(self.patience) {
            self.start_campaign(now, Campaign::Timeout);
        }
        self.finish();
    }

    /// The persist of that number is durable, and so are all before it.
    pub fn handle_persisted(&mut self, now: Nanos, id: u64) {
        let mark = self.inflight_persists.pop_front().expect("was asked for");
        assert_eq!(
            mark.id, id,
            "persists end in the order in which they were asked for"
        );
        if let Some((index, term)) = mark.last {
            // The same index may have been given away to another term meanwhile (ABA): then this says nothing.
            if self.log.matches(index, term) && index > self.log.stable {
                self.log.stable = index;
                self.acknowledge_own(now, index);
            }
        }
        if let Some((term, pre)) = mark.votes_for_self
            && term == self.term
            && self.role == campaign_role(pre)
        {
            self.count_vote(now, self.config.id, true);
        }
        self.finish();
    }

    /// The state machine has applied everything up to `index`. Late news, overtaken by a snapshot, changes nothing.
    pub fn handle_applied(&mut self, _now: Nanos, index: Index) {
        assert!(index <= self.log.applying);
        self.log.applied = self.log.applied.max(index);
        self.finish();
    }

    /// A snapshot of this replica's own state is durable.
    pub fn handle_snapshot_durable(&mut self, meta: SnapshotMeta) {
        assert!(meta.index <= self.log.applied);
        if meta.index > self.log.snapshot.index {
            self.log.snapshot = meta;
        }
    }

    /// The bytes of a snapshot that somebody sent are there and durable. The sender need not lead any more.
    pub fn handle_snapshot_received(&mut self, meta: SnapshotMeta) {
        if self.role != Role::Leader {
            self.restore(meta);
        }
        self.finish();
    }

    /// How sending a snapshot to `to` ended.
    pub fn report_snapshot(&mut self, now: Nanos, to: NodeId, status: SnapshotStatus) {
        if self.role == Role::Leader
            && let Some(progress) = self.progress.iter_mut().find(|p| p.id == to)
            && matches!(progress.mode, Mode::Snapshot(_))
        {
            if status == SnapshotStatus::Failed {
                progress.mode = Mode::Probe;
            }
            progress.become_probe();
            // An answer of the follower, or the next heartbeat's, lets the probe go out.
            progress.paused = true;
        }
        let _ = now;
        self.finish();
    }

    /// Messages to `to` are not getting through: the pipeline stops until a probe does.
    pub fn report_unreachable(&mut self, _now: Nanos, to: NodeId) {
        if self.role == Role::Leader
            && let Some(progress) = self.progress.iter_mut().find(|p| p.id == to)
            && progress.mode == Mode::Replicate
        {
            progress.become_probe();
        }
        self.finish();
    }

    // ---- Commands ----

    /// Appends payloads as consecutive entries, or passes them on to the leader.
    pub fn propose(&mut self, now: Nanos, payloads: Vec<Bytes>) -> Result<Proposal, ProposeError> {
        let result = self.take_proposal(now, payloads);
        self.finish();
        result
    }

    /// Asks for an index at which a read is linearizable; [`Output::ReadReady`] may follow.
    pub fn read(&mut self, now: Nanos, context: u64) -> Result<(), ReadError> {
        let result = match (self.role, self.leader) {
            (Role::Leader, _) => {
                let (from, incarnation) = (self.config.id, self.incarnation);
                self.take_read(
                    now,
                    Read {
                        from,
                        incarnation,
                        context,
                    },
                )
            }
            (_, Some(leader)) => {
                self.outputs.push_back(Output::Event(Event::ReadForwarded));
                let incarnation = self.incarnation;
                self.send(
                    leader,
                    Body::ReadIndex {
                        incarnation,
                        context,
                    },
                );
                Ok(())
            }
            _ => Err(ReadError::NoLeader),
        };
        self.finish();
        result
    }

    /// Hands leadership to `to`, or asks the leader to.
    pub fn transfer_leader(&mut self, now: Nanos, to: NodeId) {
        match (self.role, self.leader) {
            (Role::Leader, _) => self.begin_transfer(now, to),
            (_, Some(leader)) => self.send(leader, Body::TransferLeader { to }),
            _ => {}
        }
        self.finish();
    }

    /// Campaigns now, unless another node may hold a lease that counts on this one.
    pub fn campaign(&mut self, now: Nanos) {
        let is_alone = self.membership.voters == [self.config.id];
        let is_bound = self.config.lease_reads && now < self.promised_until && !is_alone;
        if self.role != Role::Leader && self.is_promotable() && !is_bound {
            self.start_campaign(now, Campaign::Timeout);
        }
        self.finish();
    }

    /// A follower stops to believe in its leader, so that it may vote for another.
    pub fn forget_leader(&mut self, _now: Nanos) {
        if self.role == Role::Follower && !self.config.lease_reads {
            self.leader = None;
        }
        self.finish();
    }

    /// Drops entries up to `index` from memory, as far as a durable snapshot covers them.
    pub fn compact(&mut self, index: Index) {
        self.log.compact(index);
    }

    // ---- Outputs ----

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Raft::handle_timeout); `None`: nothing is due.
    pub fn timeout(&self) -> Option<Nanos> {
        if self.role == Role::Leader {
            let check = self.contact.saturating_add(self.config.election_timeout);
            let transfer = self.transfer.map_or(Nanos::MAX, |(_, until)| until);
            return Some(self.next_heartbeat.min(check).min(transfer));
        }
        self.is_promotable()
            .then(|| self.contact.saturating_add(self.patience))
    }

    // ---- Roles ----

    pub(crate) fn is_promotable(&self) -> bool {
        self.membership.voters.contains(&self.config.id)
    }

    fn reset_election_clock(&mut self, now: Nanos) {
        self.contact = now;
        let timeout = self.config.election_timeout;
        self.patience = timeout + self.rng.random_range(0..timeout);
    }

    fn reset(&mut self, now: Nanos, term: Term) {
        assert!(term >= self.term, "terms never fall");
        if term != self.term {
            self.term = term;
            self.vote = None;
        }
        self.leader = None;
        self.votes.clear();
        self.progress.clear();
        self.transfer = None;
        self.uncommitted_bytes = 0;
        self.reads = Reads::default();
        self.reset_election_clock(now);
    }

    pub(crate) fn become_follower(&mut self, now: Nanos, term: Term, leader: Option<NodeId>) {
        self.reset(now, term);
        self.role = Role::Follower;
        self.leader = leader;
    }

    fn become_leader(&mut self, now: Nanos) {
        assert_eq!(self.role, Role::Candidate);
        self.reset(now, self.term);
        self.role = Role::Leader;
        self.leader = Some(self.config.id);
        self.taken = Taken::default();
        let (last, stable) = (self.log.last_index(), self.log.stable);
        let membership = self.membership.clone();
        let mut ids: Vec<(NodeId, bool)> =
            membership.voters.iter().map(|id| (*id, false)).collect();
        ids.extend(membership.learners.iter().map(|id| (*id, true)));
        ids.sort_unstable();
        for (id, is_learner) in ids {
            let mut progress = Progress::new(
                id,
                is_learner,
                last + 1,
                self.config.max_inflight_messages,
                self.config.max_inflight_bytes,
            );
            if id == self.config.id {
                progress.become_replicate();
                progress.matched = stable;
                progress.next = last + 1;
                progress.active = true;
            }
            self.progress.push(progress);
        }
        self.next_heartbeat = now.saturating_add(self.config.heartbeat_interval);
        self.append(vec![Bytes::new()]);
        self.broadcast_append(now);
    }

    // ---- Messages ----

    fn step(&mut self, now: Nanos, message: Message) {
        if message.term > self.term {
            if let Body::Vote { pre, transfer, .. } = message.body {
                if !transfer && self.is_bound_to_leader(now) {
                    return;
                }
                if !pre {
                    self.become_follower(now, message.term, None);
                }
            } else if !matches!(
                message.body,
                Body::VoteReply {
                    pre: true,
                    granted: true
                }
            ) {
                let leads = matches!(
                    message.body,
                    Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. }
                );
                self.become_follower(now, message.term, leads.then_some(message.from));
            }
        } else if message.term < self.term {
            self.answer_stale(&message);
            return;
        }
        match &message.body {
            Body::Vote { .. } => self.consider_vote(now, &message),
            Body::VoteReply { pre, granted } => {
                let current = *pre || message.term == self.term;
                if self.role == campaign_role(*pre) && current {
                    self.count_vote(now, message.from, *granted);
                }
            }
            _ if self.role == Role::Leader => self.step_leader(now, message),
            _ => self.step_follower(now, message),
        }
    }

    fn answer_stale(&mut self, message: &Message) {
        match message.body {
            // A leader of an old term that still sends is told the new one; else a node that campaigned without
            // success could never be heard.
            Body::Append { .. } | Body::Heartbeat { .. }
                if self.config.check_quorum || self.config.pre_vote =>
            {
                self.promise_at(message.from, self.term, Body::Appended { matched: 0 });
            }
            Body::Vote { pre: true, .. } => {
                let body = Body::VoteReply {
                    pre: true,
                    granted: false,
                };
                self.promise_at(message.from, self.term, body);
            }
            _ => {}
        }
    }

    // ---- Sending ----

    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        self.outputs.push_back(Output::Send(Message {
            from: self.config.id,
            to,
            term: self.term,
            body,
        }));
    }

    /// Sends once everything that the message says is durable.
    fn promise(&mut self, to: NodeId, body: Body) {
        self.promise_at(to, self.term, body);
    }

    fn promise_at(&mut self, to: NodeId, term: Term, body: Body) {
        self.after.push(Message {
            from: self.config.id,
            to,
            term,
            body,
        });
    }

    /// Appends payloads to a leader's log.
    pub(crate) fn append(&mut self, payloads: Vec<Bytes>) {
        assert_eq!(self.role, Role::Leader);
        for payload in payloads {
            self.uncommitted_bytes += payload.len() as u64;
            self.log.push(Entry {
                term: self.term,
                index: self.log.last_index() + 1,
                payload,
            });
        }
        let (id, last) = (self.config.id, self.log.last_index());
        if let Some(own) = self.progress.iter_mut().find(|p| p.id == id) {
            own.next = last + 1;
        }
    }

    fn take_proposal(
        &mut self,
        now: Nanos,
        payloads: Vec<Bytes>,
    ) -> Result<Proposal, ProposeError> {
        assert!(!payloads.is_empty(), "a proposal proposes something");
        if self.role != Role::Leader {
            let leader = self.leader.ok_or(ProposeError::NoLeader)?;
            self.forwarded += 1;
            let (incarnation, number) = (self.incarnation, self.forwarded);
            self.send(
                leader,
                Body::Propose {
                    incarnation,
                    number,
                    payloads,
                },
            );
            return Ok(Proposal::Forwarded { leader, number });
        }
        self.propose_here(now, payloads)
    }

    pub(crate) fn propose_here(
        &mut self,
        now: Nanos,
        payloads: Vec<Bytes>,
    ) -> Result<Proposal, ProposeError> {
        if self.transfer.is_some() {
            return Err(ProposeError::Transferring);
        }
        let bytes: u64 = payloads.iter().map(|p| p.len() as u64).sum();
        let full = self.uncommitted_bytes > 0
            && self.uncommitted_bytes + bytes > self.config.max_uncommitted_bytes;
        if full {
            return Err(ProposeError::TooMuchUncommitted);
        }
        let first_index = self.log.last_index() + 1;
        self.append(payloads);
        self.broadcast_append(now);
        Ok(Proposal::Appended {
            term: self.term,
            first_index,
        })
    }

    pub(crate) fn release_uncommitted(&mut self, from: Index, to: Index) {
        if self.role == Role::Leader {
            let bytes: u64 = self
                .log
                .range(from, to)
                .map(|e| e.payload.len() as u64)
                .sum();
            self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(bytes);
        }
    }

    pub(crate) fn transferee(&self) -> Option<NodeId> {
        self.transfer.map(|(to, _)| to)
    }

    pub(crate) fn transfer_until(&self) -> Option<Nanos> {
        self.transfer.map(|(_, until)| until)
    }

    pub(crate) fn set_transfer(&mut self, transfer: Option<(NodeId, Nanos)>) {
        self.transfer = transfer;
    }

    pub(crate) fn next_heartbeat(&mut self) -> &mut Nanos {
        &mut self.next_heartbeat
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

/// Whether a message can have come from a correct peer.
fn is_sound(message: &Message) -> bool {
    if message.from == 0 || message.term == 0 {
        return false;
    }
    match &message.body {
        Body::Append {
            prev_index,
            prev_term,
            entries,
            ..
        } => {
            let mut before = (*prev_index, *prev_term);
            entries.iter().all(|entry| {
                let follows = before.0.checked_add(1) == Some(entry.index)
                    && entry.term >= before.1
                    && entry.term <= message.term;
                before = (entry.index, entry.term);
                follows
            })
        }
        Body::Snapshot { meta } => meta.index > 0 && meta.term <= message.term,
        _ => true,
    }
}
