use super::{
    cluster::{Cluster, Event},
    faults::Crash,
    workload::Workload,
};
use crate::{
    check::{
        Violation,
        raft::{acknowledged_prefix, durable_promise, recovered_vote},
    },
    clock::NodeClock,
    disk::SimDisk,
    draw,
    plan::FaultPlan,
};
use holdfast_host::{Disk, Moment};
use holdfast_raft::{HardState, Index, NodeId, Role, Term};
use holdfast_replica::{
    Event as ReplicaEvent, Message, Output, Replica, Store, StoreCommand, StoreError, StoreOptions,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
};

/// Where a replica keeps its files on its machine's disk.
const DIRECTORY: &str = "/data";

/// After how long a process that stopped by itself is started again, nanoseconds.
const RESTART_NS: u64 = 500_000_000;

/// A machine: its disk and clock stay, processes come and go.
#[derive(Clone)]
pub(super) struct Node<W: Workload> {
    pub incarnation: u32,
    pub disk: SimDisk,
    pub clock: NodeClock,
    pub running: Option<Running<W>>,
    /// Until then the process is stopped: nothing reaches it.
    pub paused_until: u64,
    /// By how much its device is slower than usual.
    pub slowness: u64,
    /// Failed disk operations that have stopped a process.
    errors_seen: u64,
    /// Every term and vote that its replica wanted to be durable, and what was at last.
    votes: BTreeSet<(Term, Option<NodeId>)>,
    durable: HardState,
}

/// A process on a machine.
#[derive(Clone)]
pub(super) struct Running<W: Workload> {
    pub replica: Replica<W::Machine>,
    pub store: Store<W::Machine>,
    queue: VecDeque<StoreCommand<W::Machine>>,
    syncing: bool,
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
            running: None,
            paused_until: 0,
            slowness: 1,
            errors_seen: 0,
            votes: BTreeSet::new(),
            durable: HardState::default(),
        }
    }

    pub fn is_leader(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|r| r.replica.raft().role() == Role::Leader)
    }
}

impl<W: Workload> Cluster<W> {
    /// Starts a process on a machine that has none.
    pub(super) fn start_node(&mut self, node: u32) {
        let now = self.now;
        let seed = self.setup.plan.seed;
        let mut settings = self.setup.settings.clone();
        settings.raft.id = u64::from(node) + 1;
        let options = StoreOptions {
            segment_bytes: self.setup.segment_bytes,
            max_entry_bytes: Replica::<W::Machine>::max_entry_bytes(&settings) as u32,
            group: 1,
            snapshot_chunk_bytes: self.setup.snapshot_chunk_bytes,
            node: settings.raft.id,
            mutant: settings.mutant,
        };
        let machine = &mut self.nodes[node as usize];
        assert!(machine.running.is_none());
        machine.incarnation += 1;
        machine.clock.restart(now);
        let incarnation = machine.incarnation;
        let directory = Path::new(DIRECTORY);
        let opened = machine
            .disk
            .create_dir(directory)
            .map_err(Into::into)
            .and_then(|()| {
                Store::open(
                    &mut machine.disk,
                    directory,
                    options,
                    self.setup.machine.clone(),
                )
            });
        machine.disk.take_elapsed();
        let (store, recovered) = match opened {
            Ok(opened) => opened,
            Err(error) if machine.disk.counts().errors > machine.errors_seen => {
                return self.storage_failed(node, &error);
            }
            Err(error) => {
                let message = format!("a replica cannot start after a crash: {error}");
                return self.violate(Violation::new("recovery", message).at(node));
            }
        };
        let vote = recovered_vote(
            u64::from(node) + 1,
            recovered.hard_state,
            machine.durable,
            &machine.votes,
        );
        let torn = recovered.repaired.is_some();
        let mono = machine.clock.monotonic(now).as_nanos();
        let origin = draw::draw(
            seed,
            draw::Domain::Scenario,
            u64::MAX - u64::from(node),
            u64::from(incarnation),
        );
        let rng = draw::node_rng(seed, node, incarnation, "replica", 0);
        let checked = recovered.state.applied();
        let replica = Replica::new(settings, recovered, origin, rng, mono)
            .expect("the scenario's settings are valid");
        let term = replica.raft().term();
        machine.running = Some(Running {
            replica,
            store,
            queue: VecDeque::new(),
            syncing: false,
            waiting: BTreeMap::new(),
            led: None,
            checked,
            timer: (0, u64::MAX),
            deadline: u64::MAX,
        });
        self.check(vote);
        self.checker.restarted(u64::from(node) + 1);
        self.trace
            .record(now, node, 3, u64::from(incarnation), u64::from(torn));
        if torn {
            self.mark("torn-tail-repaired");
        }
        self.note_state(node, "follower", term);
        self.drain(node);
    }

    /// Ends the process; what becomes of unsynced bytes is the caller's matter.
    pub(super) fn stop_node(&mut self, node: u32) {
        let now = self.now;
        let machine = &mut self.nodes[node as usize];
        machine.running = None;
        machine.paused_until = 0;
        self.trace
            .record(now, node, 4, u64::from(machine.incarnation), 0);
        self.note_state(node, "down", 0);
    }

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

    /// The device has finished a batch: everything written before is on the platter.
    pub(super) fn synced(&mut self, node: u32, incarnation: u32) {
        let now = self.now;
        let machine = &mut self.nodes[node as usize];
        let Some(running) = &mut machine.running else {
            return;
        };
        if machine.incarnation != incarnation {
            return;
        }
        let mono = machine.clock.monotonic(now).as_nanos();
        running.syncing = false;
        match running.store.sync(&mut machine.disk) {
            Ok(done) => {
                machine.durable = running.store.durable_hard_state();
                self.trace.record(now, node, 6, done.len() as u64, 0);
                for done in done {
                    running.replica.handle_stored(mono, done);
                }
            }
            Err(error) => return self.storage_failed(node, &error),
        }
        self.drain(node);
    }

    /// A replica that cannot write stops: what a failed sync has left behind is anybody's guess. It is started again
    /// after a while, as a supervisor would.
    fn storage_failed(&mut self, node: u32, error: &StoreError) {
        let errors = self.nodes[node as usize].disk.counts().errors;
        if errors == self.nodes[node as usize].errors_seen {
            let message = format!("storage failed without a fault: {error}");
            return self.violate(Violation::new("storage", message).at(node));
        }
        self.nodes[node as usize].errors_seen = errors;
        self.mark("stopped-by-a-failed-sync");
        self.crash(node, Crash::Kill);
        let at = self.now + RESTART_NS;
        self.heap.push(at, Event::Restart { node });
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
                let running = self.nodes[node as usize].running.as_mut();
                running.expect("an event of a running node").checked = index;
            }
            ReplicaEvent::SnapshotTaken { .. } => self.mark("snapshot-taken"),
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
            Event::CampaignOrdered
            | Event::Transfer { .. }
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
        let Some(running) = &self.nodes[node as usize].running else {
            return;
        };
        if role == Role::Leader {
            let raft = running.replica.raft();
            let id = u64::from(node) + 1;
            let checked = self.checker.leader(id, term, |index| raft.term_at(index));
            self.check(checked);
            if self.writes_wait() {
                self.mark("leader-changed-during-write");
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

    /// Gives the device its next batch.
    fn pump(&mut self, node: u32) {
        let now = self.now;
        let machine = &mut self.nodes[node as usize];
        let Some(running) = &mut machine.running else {
            return;
        };
        if running.syncing || running.queue.is_empty() {
            return;
        }
        running.syncing = true;
        while let Some(command) = running.queue.pop_front() {
            if let Err(error) = running.store.write(&mut machine.disk, command) {
                return self.storage_failed(node, &error);
            }
        }
        let incarnation = machine.incarnation;
        let written = machine.disk.take_elapsed();
        let slowness = machine.slowness.max(1);
        let profile = &self.setup.plan.disk;
        let sync = profile.sync_min_ns + self.device.exponential(profile.sync_tail_ns);
        let at = now + (written + sync) * slowness;
        self.heap.push(at, Event::Synced { node, incarnation });
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
