mod snapshots;

use crate::{
    Applied, Consistency, DiskApplied, DiskCommand, Envelope, Message, Outcome, Recovered,
    Rejection, RequestId, Settings, SnapshotFile, State, StateMachine, StoreCommand, StoreDone,
    Target, envelope::ENVELOPE_BYTES, transfer::Transfers,
};
use bytes::Bytes;
use holdfast_raft::{
    Body, ConfigError, Entry, Index, Nanos, NodeId, Proposal, ProposeError, Raft, Role, Term,
};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
};

/// What a replica wants of its host, in this order. Drain with [`Replica::poll_output`] after every input.
#[derive(Clone, Debug)]
pub enum Output<S> {
    /// Send a message; it may be lost, repeated or late.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Do this to the [`Store`](crate::Store) after everything asked for before, and report with
    /// [`Replica::handle_stored`].
    Store(StoreCommand<S>),
    /// Apply this to the machine on the disk, after everything asked of it before, and report with
    /// [`Replica::handle_disk_applied`].
    ApplyOnDisk {
        /// What.
        command: DiskCommand,
        /// Who asked for it.
        request: RequestId,
    },
    /// What this snapshot holds for the machine on the disk takes the place of what that has, if it is newer.
    InstallOnDisk {
        /// Which; it is there and verified.
        file: SnapshotFile,
    },
    /// A command's end.
    Reply {
        /// Which.
        request: RequestId,
        /// With its place in the log.
        result: Result<(Index, Outcome), Rejection>,
    },
    /// A read may be served from [`Replica::state`] now, before the next input.
    ReadReady {
        /// Which.
        request: RequestId,
    },
    /// A read that cannot be served.
    ReadRejected {
        /// Which.
        request: RequestId,
        /// Why.
        rejection: Rejection,
    },
    /// Something worth counting, tracing or waking for.
    Event(Event),
}

/// What happened; changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// In the Raft core.
    Raft(holdfast_raft::Event),
    /// Entries up to `index` are applied.
    Applied {
        /// The last of them.
        index: Index,
    },
    /// A snapshot of this replica's state is durable.
    SnapshotTaken {
        /// Its index.
        index: Index,
    },
    /// A snapshot from the leader took the state's place.
    SnapshotInstalled {
        /// Its index.
        index: Index,
    },
    /// A transfer went on where it had stopped.
    SnapshotResumed {
        /// From this byte.
        offset: u64,
    },
    /// A retried command was recognised and not applied again.
    DuplicateSuppressed {
        /// The index of the suppressed entry.
        index: Index,
    },
}

/// Payload bytes handed to the machine on the disk and not applied there above which no more of the log is taken.
const MAX_DISK_BACKLOG: usize = 32 << 20;

/// A request without an outcome yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    kind: Kind,
    /// The term in which it was asked: only its leader can carry it out. `None` when a snapshot took the place of
    /// entries that may have.
    term: Option<Term>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Command,
    Read,
}

/// A replica without a world: Raft, the state that its log builds, client sessions, waiting requests, and the sending
/// and receiving of snapshots. Deterministic and `Clone`.
///
/// Methods come in four kinds. *Inputs* (`handle_*`) tell it what happened; *commands* (`propose`, `read`,
/// `transfer_leader`) ask something of it; both take the monotonic time, which never falls. After each of them, drain
/// `poll_output`, in order, and look at `timeout` for when to call `handle_timeout`. *Getters* change nothing.
#[derive(Clone, Debug)]
pub struct Replica<S> {
    settings: Settings,
    raft: Raft,
    state: State<S>,
    origin: u64,
    next_request: u64,
    pending: BTreeMap<u64, Waiting>,
    deadlines: VecDeque<(Nanos, u64)>,
    /// The requests behind each proposal that was passed on, as far as one of them may wait.
    forwarded: VecDeque<(u64, Range<u64>)>,
    /// Reads that may be served once this index is applied.
    ready_reads: BTreeSet<(Index, u64)>,
    /// Promises to keep back until the store has made good on them: by persist id, in order.
    withheld: VecDeque<(u64, Vec<holdfast_raft::Message>)>,
    snapshot: Option<SnapshotFile>,
    taking_snapshot: bool,
    bytes_since_snapshot: u64,
    applied_before: (Index, Term),
    /// Payload bytes that the machine on the disk has still to apply.
    disk_backlog: usize,
    /// Raft is not told yet that this is applied, so that it hands out no more.
    held: Option<Index>,
    transfers: Transfers,
    outputs: VecDeque<Output<S>>,
}

impl<S: StateMachine> Replica<S> {
    /// A replica that continues from what the store recovered. `origin` is drawn at random at every start and names
    /// this incarnation's requests.
    pub fn new(
        settings: Settings,
        recovered: Recovered<S>,
        origin: u64,
        rng: ChaCha8Rng,
        now: Nanos,
    ) -> Result<Self, ConfigError> {
        let snapshot = recovered.snapshot;
        let state = recovered.state;
        let raft = Raft::new(
            settings.raft.clone(),
            holdfast_raft::Recovered {
                hard_state: recovered.hard_state,
                snapshot: snapshot
                    .as_ref()
                    .map(|s| s.meta.clone())
                    .unwrap_or_default(),
                entries: recovered.entries,
                applied: state.applied(),
            },
            rng,
            now,
        )?;
        let transfers = Transfers::new(settings.snapshot_retry, settings.snapshot_window);
        let mut replica = Replica {
            applied_before: (state.applied(), state.applied_term()),
            settings,
            raft,
            state,
            origin,
            next_request: 1,
            pending: BTreeMap::new(),
            deadlines: VecDeque::new(),
            forwarded: VecDeque::new(),
            ready_reads: BTreeSet::new(),
            withheld: VecDeque::new(),
            snapshot,
            taking_snapshot: false,
            bytes_since_snapshot: 0,
            disk_backlog: 0,
            held: None,
            transfers,
            outputs: VecDeque::new(),
        };
        if replica.raft.membership().voters == [replica.raft.id()] {
            // Nobody else could lead: there is nothing to wait for.
            replica.raft.campaign(now);
        }
        replica.drain_raft(now);
        Ok(replica)
    }

    // ---- Inputs ----

    /// A message arrived. `wall` is this host's wall clock, nanoseconds since the epoch: a leader stamps with it what
    /// followers pass on.
    pub fn handle_message(&mut self, now: Nanos, wall: u64, message: Message) {
        match message {
            Message::Raft(mut message) => {
                if let Body::Propose { payloads, .. } = &mut message.body
                    && self.raft.role() == Role::Leader
                {
                    payloads.retain_mut(|payload| match Envelope::stamp(payload, wall) {
                        Some(stamped) => {
                            *payload = stamped;
                            true
                        }
                        None => false,
                    });
                }
                // A bare snapshot message would promise bytes that have not come; they travel as chunks.
                if !matches!(message.body, Body::Snapshot { .. }) {
                    self.raft.handle_message(now, message);
                }
            }
            Message::SnapshotChunk {
                from,
                term,
                meta,
                total,
                checksum,
                offset,
                bytes,
            } => {
                let file = SnapshotFile {
                    meta,
                    bytes: total,
                    checksum,
                };
                self.receive_chunk(now, from, term, file, offset, bytes);
            }
            Message::SnapshotReceived {
                from,
                index,
                received,
                complete,
            } => self.continue_transfer(now, from, index, received, complete),
        }
        self.drain_raft(now);
    }

    /// The time of [`timeout`](Replica::timeout) has come (calling early does nothing).
    pub fn handle_timeout(&mut self, now: Nanos) {
        if self.raft.timeout().is_some_and(|at| at <= now) {
            self.raft.handle_timeout(now);
        }
        while let Some((_, number)) = self.deadlines.pop_front_if(|(at, _)| *at <= now) {
            self.reject(number, Rejection::TimedOut);
        }
        if self.raft.role() != Role::Leader {
            self.transfers.end_all();
        }
        while let Some(retry) = self.transfers.due(now) {
            self.request_chunk(retry);
        }
        self.drain_raft(now);
    }

    /// The store has done something that was asked of it.
    pub fn handle_stored(&mut self, now: Nanos, done: StoreDone<S>) {
        match done {
            StoreDone::Persisted { id } => {
                let (expected, promises) = self.withheld.pop_front().expect("one per persist");
                assert_eq!(expected, id, "persists are done in order");
                self.raft.handle_persisted(now, id);
                for message in promises {
                    self.send_raft(now, message);
                }
            }
            StoreDone::SnapshotTaken(file) => {
                self.taking_snapshot = false;
                // Also when Raft has not been told yet: see `held`.
                self.raft.handle_applied(now, file.meta.index);
                self.adopt_snapshot(file);
            }
            StoreDone::Chunk {
                to,
                file,
                offset,
                bytes,
            } => {
                let is_wanted = self
                    .transfers
                    .was_read(to, &file, offset, bytes.len() as u64);
                if is_wanted && self.raft.role() == Role::Leader {
                    let message =
                        Message::chunk(self.raft.id(), self.raft.term(), file, offset, bytes);
                    self.outputs.push_back(Output::Send { to, message });
                    if let Some(piece) = self.transfers.next_piece(to) {
                        self.request_chunk(piece);
                    }
                }
            }
            StoreDone::ChunkGone { to } => {
                self.transfers.end(to);
                self.raft
                    .report_snapshot(now, to, holdfast_raft::SnapshotStatus::Failed);
            }
            StoreDone::Received {
                from,
                file,
                received,
                resumed,
                complete,
            } => {
                let index = file.meta.index;
                let is_complete = complete.is_some();
                if self.transfers.note_source(from, &file) || resumed {
                    let event = Event::SnapshotResumed { offset: received };
                    self.outputs.push_back(Output::Event(event));
                }
                if let Some(state) = complete {
                    self.install(file, *state);
                }
                let message = Message::SnapshotReceived {
                    from: self.raft.id(),
                    index,
                    received,
                    complete: is_complete,
                };
                self.outputs.push_back(Output::Send { to: from, message });
            }
        }
        self.drain_raft(now);
    }

    /// The machine on the disk has applied commands, in the order in which it was given them; it skipped those that it
    /// had applied before a restart, which have no outcome.
    pub fn handle_disk_applied(&mut self, now: Nanos, done: Vec<DiskApplied>) {
        for done in done {
            self.disk_backlog -= done.bytes;
            let Some(outcome) = done.outcome else {
                continue;
            };
            if done.request.origin == self.origin
                && self.pending.remove(&done.request.number).is_some()
            {
                self.outputs.push_back(Output::Reply {
                    request: done.request,
                    result: Ok((done.index, Outcome::Applied(outcome))),
                });
            }
        }
        if self.disk_backlog <= MAX_DISK_BACKLOG
            && let Some(index) = self.held.take()
        {
            self.raft.handle_applied(now, index);
        }
        self.drain_raft(now);
    }

    /// Messages to `peer` are not getting through (its queue is full, its connection broke).
    pub fn handle_unreachable(&mut self, now: Nanos, peer: NodeId) {
        self.raft.report_unreachable(now, peer);
        self.drain_raft(now);
    }

    // ---- Commands ----

    /// Proposes commands, replicated together. One result each, in order: its name, under which [`Output::Reply`]
    /// will tell the outcome, or why it was refused at once.
    pub fn propose<T: Into<Target>>(
        &mut self,
        now: Nanos,
        wall: u64,
        commands: impl IntoIterator<Item = (T, Bytes)>,
    ) -> Vec<Result<RequestId, Rejection>> {
        let mut results = Vec::new();
        let mut payloads = Vec::new();
        for (target, payload) in commands {
            if payload.len() > self.settings.max_command_bytes {
                results.push(Err(Rejection::TooLarge));
            } else if self.pending.len() + payloads.len() >= self.settings.max_pending {
                results.push(Err(Rejection::Overloaded));
            } else {
                let request = self.name();
                results.push(Ok(request));
                payloads.push(
                    Envelope {
                        time: wall,
                        request,
                        target: target.into(),
                        payload,
                    }
                    .encode(),
                );
            }
        }
        if payloads.is_empty() {
            return results;
        }
        let count = payloads.len() as u64;
        let refused = match self.raft.propose(now, payloads) {
            Ok(Proposal::Appended { .. }) => None,
            Ok(Proposal::Forwarded { number, .. }) => {
                let requests = self.next_request - count..self.next_request;
                self.forwarded.push_back((number, requests));
                None
            }
            Err(ProposeError::NoLeader) => Some(Rejection::NoLeader),
            Err(_) => Some(Rejection::Overloaded),
        };
        for result in &mut results {
            match (*result, refused) {
                (Ok(_), Some(rejection)) => *result = Err(rejection),
                (Ok(request), None) => self.await_outcome(now, request.number, Kind::Command),
                (Err(_), _) => {}
            }
        }
        self.drain_raft(now);
        results
    }

    /// Asks to read. [`Output::ReadReady`] or [`Output::ReadRejected`] follows, perhaps at once.
    pub fn read(&mut self, now: Nanos, consistency: Consistency) -> Result<RequestId, Rejection> {
        if self.pending.len() >= self.settings.max_pending {
            return Err(Rejection::Overloaded);
        }
        let request = self.name();
        match consistency {
            Consistency::Stale => self.outputs.push_back(Output::ReadReady { request }),
            Consistency::Linearizable => {
                match self.raft.read(now, request.number) {
                    Ok(()) => self.await_outcome(now, request.number, Kind::Read),
                    Err(holdfast_raft::ReadError::NoLeader) => return Err(Rejection::NoLeader),
                    Err(_) => return Err(Rejection::Overloaded),
                }
                self.drain_raft(now);
            }
        }
        Ok(request)
    }

    /// Asks the leader to hand its office to `to`.
    pub fn transfer_leader(&mut self, now: Nanos, to: NodeId) {
        self.raft.transfer_leader(now, to);
        self.drain_raft(now);
    }

    // ---- Outputs ----

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output<S>> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Replica::handle_timeout), on the monotonic clock.
    pub fn timeout(&self) -> Option<Nanos> {
        let raft = self.raft.timeout();
        let deadline = self.deadlines.front().map(|(at, _)| *at);
        let transfer = self.transfers.timeout();
        [raft, deadline, transfer].into_iter().flatten().min()
    }

    // ---- Getters ----

    /// The replicated state as far as it is applied.
    pub fn state(&self) -> &State<S> {
        &self.state
    }

    /// The Raft core.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// How it was set up.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The newest durable snapshot.
    pub fn snapshot(&self) -> Option<&SnapshotFile> {
        self.snapshot.as_ref()
    }

    /// Whether the machine on the disk has more to apply than is good: it should be asked for no more.
    pub fn is_disk_behind(&self) -> bool {
        self.disk_backlog > MAX_DISK_BACKLOG
    }

    /// How many requests wait.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The incarnation's name in [`RequestId::origin`].
    pub fn origin(&self) -> u64 {
        self.origin
    }

    // ---- Requests ----

    fn name(&mut self) -> RequestId {
        let number = self.next_request;
        self.next_request += 1;
        self.request(number)
    }

    fn request(&self, number: u64) -> RequestId {
        RequestId {
            origin: self.origin,
            number,
        }
    }

    fn await_outcome(&mut self, now: Nanos, number: u64, kind: Kind) {
        let term = Some(self.raft.term());
        self.pending.insert(number, Waiting { kind, term });
        let deadline = now.saturating_add(self.settings.request_timeout);
        self.deadlines.push_back((deadline, number));
        assert!(self.pending.len() <= self.settings.max_pending);
    }

    /// Answers a request with a rejection, if it still waits.
    fn reject(&mut self, number: u64, rejection: Rejection) {
        let Some(waiting) = self.pending.remove(&number) else {
            return;
        };
        let request = self.request(number);
        self.outputs.push_back(match waiting.kind {
            Kind::Command => Output::Reply {
                request,
                result: Err(rejection),
            },
            Kind::Read => Output::ReadRejected { request, rejection },
        });
    }

    /// The leader has refused a proposal that was passed on to it: for certain it will not be carried out.
    fn refused(&mut self, number: u64) {
        let passed_on = self.forwarded.iter().find(|(n, _)| *n == number);
        let requests = passed_on.map_or(0..0, |(_, requests)| requests.clone());
        for request in requests {
            self.reject(request, Rejection::Overloaded);
        }
    }

    /// Rejects what was asked in terms before `term`, whose first entry is about to be applied. Of an older term no
    /// entry can follow it, and what is passed on is taken in its own term or never: what was not applied by now
    /// will never be.
    fn reject_older_than(&mut self, term: Term) {
        let ready: BTreeSet<u64> = self.ready_reads.iter().map(|(_, number)| *number).collect();
        let is_lost = |(number, waiting): &(&u64, &Waiting)| {
            waiting.term.is_some_and(|asked| asked < term) && !ready.contains(number)
        };
        let lost: Vec<u64> = self
            .pending
            .iter()
            .filter(is_lost)
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            self.reject(number, Rejection::LeaderChanged);
        }
    }

    /// Forgets deadlines of requests that were answered, so that the queue is as short as what waits.
    fn trim_deadlines(&mut self) {
        while self
            .deadlines
            .front()
            .is_some_and(|(_, number)| !self.pending.contains_key(number))
        {
            self.deadlines.pop_front();
        }
        let waiting = self.pending.keys().next().copied();
        while self
            .forwarded
            .front()
            .is_some_and(|(_, requests)| waiting.is_none_or(|first| requests.end <= first))
        {
            self.forwarded.pop_front();
        }
    }

    // ---- Raft's outputs ----

    fn drain_raft(&mut self, now: Nanos) {
        while let Some(output) = self.raft.poll_output() {
            match output {
                holdfast_raft::Output::Send(message) => self.send_raft(now, message),
                holdfast_raft::Output::Persist(persist) => {
                    self.withheld.push_back((persist.id, persist.after));
                    self.outputs.push_back(Output::Store(StoreCommand::Persist {
                        id: persist.id,
                        hard_state: persist.hard_state,
                        install: persist.snapshot,
                        entries: persist.entries,
                    }));
                }
                holdfast_raft::Output::Apply(entries) => self.apply(now, &entries),
                holdfast_raft::Output::ReadReady { context, index } => {
                    self.ready_reads.insert((index, context));
                }
                holdfast_raft::Output::ProposalRefused { number } => self.refused(number),
                holdfast_raft::Output::ReadRefused { context } => {
                    self.reject(context, Rejection::Overloaded);
                }
                holdfast_raft::Output::Event(event) => {
                    self.outputs.push_back(Output::Event(Event::Raft(event)));
                }
            }
        }
        self.serve_reads();
        self.trim_deadlines();
    }

    fn send_raft(&mut self, now: Nanos, message: holdfast_raft::Message) {
        let to = message.to;
        if matches!(message.body, Body::Snapshot { .. }) {
            match self.snapshot.clone() {
                Some(file) => {
                    let piece = self.transfers.begin(now, to, file);
                    self.request_chunk(piece);
                }
                None => self
                    .raft
                    .report_snapshot(now, to, holdfast_raft::SnapshotStatus::Failed),
            }
            return;
        }
        self.outputs.push_back(Output::Send {
            to,
            message: Message::Raft(message),
        });
    }

    fn apply(&mut self, now: Nanos, entries: &[Entry]) {
        for entry in entries {
            self.applied_before = (self.state.applied(), self.state.applied_term());
            self.bytes_since_snapshot += entry.payload.len() as u64;
            if entry.term > self.state.applied_term() {
                self.reject_older_than(entry.term);
            }
            match self.state.apply(entry) {
                Applied::Nothing => {}
                Applied::Here(request, outcome) => self.applied_here(entry.index, request, outcome),
                Applied::OnDisk(request, command) => self.apply_on_disk(request, command),
            }
            // Behind what the entry asks of the disk: a snapshot holds that too.
            self.take_snapshot_if_due();
        }
        if let Some(last) = entries.last() {
            let event = Event::Applied { index: last.index };
            self.outputs.push_back(Output::Event(event));
            if self.disk_backlog > MAX_DISK_BACKLOG {
                self.held = Some(last.index);
            } else {
                self.raft.handle_applied(now, last.index);
            }
        }
    }

    fn applied_here(&mut self, index: Index, request: RequestId, outcome: Outcome) {
        if matches!(outcome, Outcome::Duplicate(_) | Outcome::NotKept) {
            let event = Event::DuplicateSuppressed { index };
            self.outputs.push_back(Output::Event(event));
        }
        if request.origin == self.origin && self.pending.remove(&request.number).is_some() {
            let result = Ok((index, outcome));
            self.outputs.push_back(Output::Reply { request, result });
        }
    }

    fn apply_on_disk(&mut self, request: RequestId, command: DiskCommand) {
        self.disk_backlog += command.payload.len();
        if request.origin == self.origin
            && let Some(waiting) = self.pending.get_mut(&request.number)
        {
            // It is committed: whoever leads next, its outcome comes from the disk.
            waiting.term = None;
        }
        self.outputs
            .push_back(Output::ApplyOnDisk { command, request });
    }

    fn serve_reads(&mut self) {
        while let Some(&(index, number)) = self.ready_reads.first() {
            if index > self.state.applied() {
                break;
            }
            self.ready_reads.pop_first();
            // One that has timed out is nobody's any more.
            if self.pending.remove(&number).is_some() {
                let request = self.request(number);
                self.outputs.push_back(Output::ReadReady { request });
            }
        }
    }

    /// Most payload bytes of a log entry: a command and its envelope.
    pub fn max_entry_bytes(settings: &Settings) -> usize {
        settings.max_command_bytes + ENVELOPE_BYTES
    }
}
