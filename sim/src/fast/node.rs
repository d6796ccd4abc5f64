use super::{
    cluster::{Cluster, Event},
    workload::Workload,
};
use crate::{
    check::{
        Violation,
        raft::{acknowledged_prefix, durable_promise},
    },
    clock::NodeClock,
    disk::SimDisk,
    draw::bytes_hash,
    plan::FaultPlan,
    trace::content_hash,
};
use holdfast_host::Moment;
use holdfast_raft::{Entry, HardState, Index, NodeId, Role, Term};
use holdfast_replica::{
    Event as ReplicaEvent, Message, Output, Recovered, Replica, Store, StoreCommand,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A machine: its disk and clock stay, processes come and go.
#[derive(Clone)]
pub(super) struct Node<W: Workload> {
    pub incarnation: u32,
    pub disk: SimDisk,
    pub clock: NodeClock,
    /// A process that reads what its disk has kept; it takes part when it is done with that.
    pub starting: Option<Box<Starting<W>>>,
    pub running: Option<Running<W>>,
    /// Until then the process is stopped: nothing reaches it.
    pub paused_until: u64,
    /// By how much its device is slower than usual.
    pub slowness: u64,
    /// After how many operations power fails in the next batch that has a term or a vote in it.
    pub cut_at_vote: Option<u64>,
    /// Failed disk operations that have stopped a process.
    pub errors_seen: u64,
    /// Every term and vote that its replica wanted to be durable, and what was at last.
    pub votes: BTreeSet<(Term, Option<NodeId>)>,
    pub durable: HardState,
    /// Up to here the log is on the platter, by what the store said, and nothing has replaced it since.
    pub promised: Index,
    /// The newest snapshot that its replica knew of.
    pub snapshot: Index,
}

/// A process that recovers: what it will begin with.
#[derive(Clone)]
pub(super) struct Starting<W: Workload> {
    pub store: Store<W::Machine>,
    pub recovered: Recovered<W::Machine>,
    /// The reading: the one batch of its device.
    pub device: Device,
}

/// A process on a machine.
#[derive(Clone)]
pub(super) struct Running<W: Workload> {
    pub replica: Replica<W::Machine>,
    pub store: Store<W::Machine>,
    pub queue: VecDeque<StoreCommand<W::Machine>>,
    /// What its device is doing.
    pub device: Device,
    /// The client, attempt and call behind each request that waits.
    pub waiting: BTreeMap<u64, Waiting<W::Call>>,
    /// The term in which it led when it was last looked at, and its commit index then.
    led: Option<(Term, Index)>,
    /// Entries up to here have been held against those of other nodes.
    checked: u64,
    /// The timer event that counts, and its time; others are stale.
    timer: (u32, u64),
    /// The replica's deadline for which that was set.
    deadline: u64,
    /// Whether it campaigns because a leader asked it to.
    is_ordered: bool,
}

/// The device of a process, one batch after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Device {
    /// Whether a batch is under way.
    pub is_busy: bool,
    /// How many there were.
    pub batches: u64,
    /// When this one will be done.
    pub due: u64,
    /// The event that says so; others are stale.
    pub generation: u32,
}

impl<W: Workload> Running<W> {
    pub fn new(replica: Replica<W::Machine>, store: Store<W::Machine>) -> Self {
        let checked = replica.state().applied();
        Running {
            replica,
            store,
            queue: VecDeque::new(),
            device: Device::default(),
            waiting: BTreeMap::new(),
            led: None,
            checked,
            timer: (0, u64::MAX),
            deadline: u64::MAX,
            is_ordered: false,
        }
    }
}

/// A request that a replica has accepted.
#[derive(Clone, Debug)]
pub(super) struct Waiting<C> {
    /// The client's endpoint.
    pub client: u32,
    pub attempt: u64,
    pub call: C,
    /// What a linearizable read has to see: everything that was committed when it was asked.
    pub floor: Index,
}

impl<W: Workload> Node<W> {
    pub fn new(id: u32, plan: &FaultPlan) -> Self {
        Node {
            incarnation: 0,
            disk: SimDisk::new(plan.seed, id, &plan.disk),
            clock: NodeClock::new(&plan.clocks[id as usize]),
            starting: None,
            running: None,
            paused_until: 0,
            slowness: 1,
            cut_at_vote: None,
            errors_seen: 0,
            votes: BTreeSet::new(),
            durable: HardState::default(),
            promised: 0,
            snapshot: 0,
        }
    }

    /// Whether there is a process, recovering or running.
    pub fn is_up(&self) -> bool {
        self.running.is_some() || self.starting.is_some()
    }

    /// Whether an operation has failed that no process has ended over.
    pub fn has_new_errors(&self) -> bool {
        self.disk.counts().errors > self.errors_seen
    }

    pub fn is_leader(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|r| r.replica.raft().role() == Role::Leader)
    }
}

impl<W: Workload> Cluster<W> {
    pub(super) fn timer(&mut self, node: u32, generation: u32) {
        let now = self.now;
        let machine = &mut self.nodes[node as usize];
        let Some(running) = &mut machine.running else {
            return;
        };
        if running.timer.0 != generation {
            return;
        }
        running.timer.1 = u64::MAX;
        running.deadline = u64::MAX;
        let mono = machine.clock.monotonic(now).as_nanos();
        if running.replica.timeout().is_some_and(|at| at <= mono) {
            self.trace.record(now, node, 5, mono, 0);
            running.replica.handle_timeout(mono);
        }
        self.drain(node);
    }

    /// Carries out what the replica wants, then looks at what it has become.
    pub(super) fn drain(&mut self, node: u32) {
        while let Some(running) = &mut self.nodes[node as usize].running {
            let Some(output) = running.replica.poll_output() else {
                break;
            };
            match output {
                Output::Send { to, message } => {
                    if let Message::Raft(message) = &message {
                        let hard_state = running.store.durable_hard_state();
                        let index = running.store.durable_index();
                        let checked = durable_promise(message, hard_state, index)
                            .and_then(|()| self.check_acknowledgement(node, message));
                        self.check(checked);
                    }
                    self.send_peer(node, to, message);
                }
                Output::Store(command) => {
                    if let StoreCommand::Persist {
                        hard_state: Some(state),
                        ..
                    } = &command
                    {
                        let votes = &mut self.nodes[node as usize].votes;
                        votes.insert((state.term, state.vote));
                    }
                    let Some(running) = &mut self.nodes[node as usize].running else {
                        break;
                    };
                    if let StoreCommand::Persist { entries, .. } = &command
                        && let Some(first) = entries.first()
                    {
                        let before = running.replica.raft().term_at(first.index - 1);
                        let checked = self.checker.appended(u64::from(node) + 1, before, entries);
                        self.trace
                            .record(self.now, node, 10, first.index, contents(entries));
                        running.queue.push_back(command);
                        self.check(checked);
                    } else {
                        running.queue.push_back(command);
                    }
                }
                Output::Reply { request, result } => match &result {
                    Ok((_, outcome)) => self.answer(node, request, Ok(Some(outcome))),
                    Err(rejection) => self.answer(node, request, Err(*rejection)),
                },
                Output::ReadReady { request } => self.answer(node, request, Ok(None)),
                Output::ReadRejected { request, rejection } => {
                    self.answer(node, request, Err(rejection));
                }
                Output::ApplyOnDisk { .. } | Output::InstallOnDisk { .. } => {
                    // No node of this lane has a machine on the disk.
                }
                Output::Event(event) => self.event(node, event),
            }
        }
        self.observe(node);
        self.pump(node);
        self.arm(node);
    }

    /// Holds an acknowledgement that `node` sends against the log of the leader that it is for, while both are in its
    /// term.
    fn check_acknowledgement(
        &self,
        node: u32,
        message: &holdfast_raft::Message,
    ) -> Result<(), Violation> {
        let holdfast_raft::Body::Appended { matched } = message.body else {
            return Ok(());
        };
        let raft = |node: u32| Some(self.nodes[node as usize].running.as_ref()?.replica.raft());
        let (Some(own), Some(leader)) = (raft(node), raft(message.to as u32 - 1)) else {
            return Ok(());
        };
        let leads = leader.role() == Role::Leader && leader.term() == message.term;
        if !leads || own.term() != message.term {
            return Ok(());
        }
        acknowledged_prefix(
            message.from,
            matched,
            own.term_at(matched),
            leader.term_at(matched),
        )
    }

    fn event(&mut self, node: u32, event: ReplicaEvent) {
        match event {
            ReplicaEvent::Applied { index } => self.applied(node, index),
            ReplicaEvent::SnapshotInstalled { index } => {
                self.mark("snapshot-installed");
                self.nodes[node as usize].snapshot = index;
                let running = self.nodes[node as usize].running.as_mut();
                running.expect("an event of a running node").checked = index;
            }
            ReplicaEvent::SnapshotTaken { index } => {
                self.mark("snapshot-taken");
                self.nodes[node as usize].snapshot = index;
            }
            ReplicaEvent::SnapshotResumed { .. } => self.mark("snapshot-resumed"),
            ReplicaEvent::DuplicateSuppressed { .. } => self.mark("duplicate-suppressed"),
            ReplicaEvent::Raft(event) => self.raft_event(node, event),
        }
        self.note_event(node, event);
    }

    fn raft_event(&mut self, node: u32, event: holdfast_raft::Event) {
        use holdfast_raft::Event;
        match event {
            Event::Role { role, term } => self.role_changed(node, role, term),
            Event::Conflict { .. } => self.mark("append-conflict-repaired"),
            Event::LeaseRead => self.mark("lease-read-served"),
            Event::QuorumRead { .. } => self.mark("quorum-read-served"),
            Event::ReadForwarded => self.mark("read-forwarded"),
            Event::LostQuorum => self.mark("leader-lost-quorum"),
            Event::CampaignOrdered => {
                let running = self.nodes[node as usize].running.as_mut();
                running.expect("an event of a running node").is_ordered = true;
            }
            Event::Transfer { .. }
            | Event::SnapshotNeeded { .. }
            | Event::Leader { .. }
            | Event::Commit { .. } => {}
        }
    }

    fn role_changed(&mut self, node: u32, role: Role, term: u64) {
        let now = self.now;
        self.trace.record(now, node, 9, term, role as u64);
        let name = match role {
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        };
        self.note_state(node, name, term);
        let Some(running) = &mut self.nodes[node as usize].running else {
            return;
        };
        let was_ordered = running.is_ordered;
        running.is_ordered &= role == Role::Candidate || role == Role::PreCandidate;
        if role == Role::Leader {
            let raft = running.replica.raft();
            let id = u64::from(node) + 1;
            let checked = self.checker.leader(id, term, |index| raft.term_at(index));
            self.check(checked);
            if self.writes_wait() {
                self.mark("leader-changed-during-write");
                if was_ordered {
                    self.mark("leadership-transferred-during-write");
                }
            }
            self.elected(node);
        }
    }

    fn applied(&mut self, node: u32, index: u64) {
        let running = self.nodes[node as usize].running.as_mut();
        let running = running.expect("an event of a running node");
        let from = running.checked + 1;
        if index < from {
            return;
        }
        running.checked = index;
        let raft = running.replica.raft();
        let term = raft.term();
        let entries = || raft.entries(from, index);
        let checked = self.checker.apply(u64::from(node) + 1, term, entries());
        let mut has_grown = false;
        for entry in entries() {
            if entry.index == self.reference.applied() + 1 {
                self.reference.apply(entry);
                has_grown = true;
            }
        }
        if has_grown {
            self.workload.committed(self.reference.machine());
        }
        self.check(checked);
        let now = self.now;
        self.trace.record(now, node, 7, index, term);
    }

    /// What must hold after every step.
    fn observe(&mut self, node: u32) {
        let Some(running) = &self.nodes[node as usize].running else {
            return;
        };
        let raft = running.replica.raft();
        let (commit, term, last) = (raft.commit(), raft.term(), raft.last_index());
        let checked = self
            .checker
            .progress(u64::from(node) + 1, commit, term, last);
        let before = running.led;
        let leads = (raft.role() == Role::Leader).then_some((term, commit));
        let checked = checked.and_then(|()| match (before, leads) {
            (Some((old_term, old)), Some(_)) if old_term == term && commit > old => {
                let committed = raft.term_at(commit);
                self.checker
                    .committed_by_leader(u64::from(node) + 1, term, committed)
            }
            _ => Ok(()),
        });
        if let Some(running) = &mut self.nodes[node as usize].running {
            running.led = leads;
        }
        self.check(checked);
    }

    /// The clock's rate has changed: the timer is set anew.
    pub(super) fn rearm(&mut self, node: u32) {
        if let Some(running) = &mut self.nodes[node as usize].running {
            running.timer.1 = u64::MAX;
            running.deadline = u64::MAX;
        }
        self.arm(node);
    }

    /// Sets the timer. One that fires too early costs a look; a new event for every heartbeat would cost more.
    fn arm(&mut self, node: u32) {
        let now = self.now;
        let machine = &mut self.nodes[node as usize];
        let Some(running) = &mut machine.running else {
            return;
        };
        let Some(deadline) = running.replica.timeout() else {
            return;
        };
        // What is due no earlier than the timer that is set can wait for it.
        if deadline >= running.deadline {
            return;
        }
        running.deadline = deadline;
        let at = machine
            .clock
            .true_time_at(Moment::from_nanos(deadline))
            .max(now);
        if at < running.timer.1 {
            running.timer = (running.timer.0.wrapping_add(1), at);
            let generation = running.timer.0;
            self.heap.push(at, Event::Timer { node, generation });
        }
    }
}

/// A word that stands for all that these entries hold.
fn contents(entries: &[Entry]) -> u64 {
    entries.iter().fold(0, |sum, entry| {
        content_hash(&(sum, entry.term, bytes_hash(&entry.payload)))
    })
}
