use super::{
    client::{Client, ClientOptions, ClientState, Next, Pending, Reply},
    faults::Struck,
    node::{Node, Waiting},
    words,
    workload::{Operation, Workload},
};
use crate::{
    check::{Violation, raft::RaftChecker},
    draw::{Domain, Draws},
    heap::{EventHeap, Ties},
    link::Links,
    marks::Marks,
    plan::{FaultPlan, Step},
    trace::{Trace, content_hash},
};
use holdfast_record::TimelineEvent;
use holdfast_replica::{Consistency, Event as ReplicaEvent, Message, RequestId, Settings, State};
use std::collections::BTreeMap;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Setup<M> {
    /// What befalls it; its seed is the world's.
    pub plan: FaultPlan,
    /// How replicas behave; ids are filled in.
    pub settings: Settings,
    /// Bytes after which a log begins a new segment.
    pub segment_bytes: u64,
    /// Bytes in which snapshots are sent.
    pub snapshot_chunk_bytes: usize,
    /// The state machine before the first entry.
    pub machine: M,
    /// How clients behave.
    pub clients: ClientOptions,
    /// Mean nanoseconds between two orders to hand leadership over, while faults fly; `None`: nobody gives any.
    pub transfers_every: Option<u64>,
    /// The marks that the scenario declares; [`MARKS`] must be among them.
    pub marks: &'static [&'static str],
}

/// The marks that a world of replicas reports.
pub const MARKS: &[&str] = &[
    "append-conflict-repaired",
    "duplicate-suppressed",
    "leader-changed-during-write",
    "leader-lost-quorum",
    "leadership-transferred-during-write",
    "lease-read-served",
    "message-duplicated",
    "power-failed-in-a-storage-operation",
    "quorum-read-served",
    "read-forwarded",
    "snapshot-installed",
    "snapshot-resumed",
    "snapshot-taken",
    "stopped-by-a-failed-sync",
    "torn-tail-repaired",
    "wall-clock-went-back",
    "all-nodes-lost-power",
    "recovered-without-outcasts",
];

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub(super) enum Event<W: Workload> {
    /// A message reaches its receiver.
    Arrive(Parcel<W::Call, W::Answer>),
    /// A replica's timer.
    Timer { node: u32, generation: u32 },
    /// A process has read what its disk kept.
    Started {
        node: u32,
        incarnation: u32,
        generation: u32,
    },
    /// A node's device has synced a batch.
    Synced {
        node: u32,
        incarnation: u32,
        generation: u32,
    },
    /// A client begins a call or an attempt, or gives one up.
    Client { client: u32, attempt: u64 },
    /// A leader that was ambushed dies.
    Assassinate { node: u32, incarnation: u32 },
    /// A process that stopped by itself is started again.
    Restart { node: u32 },
    /// A power cut that waits for an operation of its machine's disk has waited long enough.
    CutPower { node: u32 },
    /// Somebody wants another node to lead, for the `n`-th time.
    Transfer { n: u64 },
    /// A step of the plan.
    Fault(Step),
    /// The safety phase is over.
    Heal,
    /// Clients make no new calls.
    Quiesce,
}

/// A message under way.
#[derive(Clone, Debug)]
pub(super) struct Parcel<C, A> {
    pub from: u32,
    pub to: u32,
    pub body: ParcelBody<C, A>,
}

#[derive(Clone, Debug)]
pub(super) enum ParcelBody<C, A> {
    Peer(Message),
    Request {
        attempt: u64,
        session: Option<holdfast_replica::Session>,
        call: C,
    },
    Reply {
        attempt: u64,
        reply: Reply<A>,
    },
}

/// What a run counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Messages between replicas that were handled.
    pub messages: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls whose outcome their client never learned.
    pub unknown: u64,
    /// Calls that certainly were not carried out.
    pub refused: u64,
    /// Faults that took effect, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

/// A world of replicas of one group and their clients, stepped by an event heap.
#[derive(Clone)]
pub struct Cluster<W: Workload> {
    pub(super) setup: Setup<W::Machine>,
    pub(super) now: u64,
    pub(super) heap: EventHeap<Event<W>>,
    pub(super) nodes: Vec<Node<W>>,
    pub(super) clients: Vec<Client<W>>,
    pub(super) workload: W,
    pub(super) links: Links,
    pub(super) trace: Trace,
    pub(super) checker: RaftChecker,
    /// What the committed log leads to, applied once more, outside all nodes.
    pub(super) reference: State<W::Machine>,
    history: Vec<Operation<W::Call, W::Answer>>,
    pub(super) counts: Counts,
    marks: Marks,
    pub(super) violation: Option<(u64, Violation)>,
    /// The properties that count; `None`: all.
    heeded: Option<&'static [&'static str]>,
    quiescing: bool,
    /// What each fault of the plan struck, while it lasts.
    pub(super) strikes: Vec<Option<Struck>>,
}

impl<W: Workload> Cluster<W> {
    /// A world before its first event.
    pub fn new(setup: Setup<W::Machine>, workload: W, timeline: bool) -> Self {
        let plan = &setup.plan;
        let seed = plan.seed;
        let (nodes, clients) = (plan.nodes, setup.clients.clients);
        let mut names: Vec<String> = (1..=nodes).map(|n| format!("node {n}")).collect();
        names.extend((1..=clients).map(|c| format!("client {c}")));
        let mut cluster = Cluster {
            now: 0,
            heap: EventHeap::new(Ties::Drawn { seed }),
            nodes: (0..nodes).map(|id| Node::new(id, plan)).collect(),
            clients: (0..clients)
                .map(|id| {
                    let mut draws = Draws::new(seed, Domain::Scenario, u64::from(id));
                    let name = u128::from(draws.bits()) << 64 | u128::from(draws.bits());
                    let session = workload.has_session(id).then_some(name);
                    Client::new(id, session, id % nodes)
                })
                .collect(),
            workload,
            links: Links::new(seed, nodes, clients, &plan.network),
            trace: if timeline {
                Trace::with_timeline(seed, names)
            } else {
                Trace::new(seed)
            },
            checker: RaftChecker::default(),
            reference: State::new(setup.machine.clone()),
            history: Vec::new(),
            counts: Counts::default(),
            marks: Marks::new(setup.marks),
            violation: None,
            heeded: None,
            quiescing: false,
            strikes: vec![None; plan.faults.len()],
            setup,
        };
        cluster.schedule_start();
        cluster
    }

    fn schedule_start(&mut self) {
        let plan = self.setup.plan.clone();
        for node in 0..plan.nodes {
            self.start_node(node);
        }
        for client in 0..self.setup.clients.clients {
            let at = self.workload.pause(client);
            self.heap.push(at, Event::Client { client, attempt: 0 });
        }
        self.schedule_faults();
        self.schedule_transfer(0);
        self.heap.push(plan.horizon_ns, Event::Heal);
        let rest = plan.liveness_ns / 2;
        self.heap.push(plan.horizon_ns + rest, Event::Quiesce);
    }

    // ---- What a run says of itself ----

    /// Simulated time, nanoseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What the clients have become.
    pub fn workload(&self) -> &W {
        &self.workload
    }

    /// What clients saw, in the order of their calls' ends.
    pub fn history(&self) -> &[Operation<W::Call, W::Answer>] {
        &self.history
    }

    /// The state that the committed log leads to.
    pub fn reference(&self) -> &State<W::Machine> {
        &self.reference
    }

    /// The first property that broke, and when.
    pub fn violation(&self) -> Option<&(u64, Violation)> {
        self.violation.as_ref()
    }

    /// The chained hash of everything that happened.
    pub fn hash(&self) -> u64 {
        self.trace.hash()
    }

    /// How many terms have had a leader so far.
    pub fn terms_led(&self) -> usize {
        self.checker.terms_led()
    }

    /// How often each declared mark was reached.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What the report's page shows, with the plan beside it.
    pub fn finish_timeline(&mut self, plan: String) -> Option<holdfast_record::Timeline> {
        self.trace.finish(plan)
    }

    /// A property broke that can be judged only afterwards.
    pub fn fail(&mut self, violation: Violation) {
        self.violate(violation);
    }

    pub(super) fn mark(&mut self, name: &'static str) {
        self.marks.hit(name);
    }

    pub(super) fn count_fault(&mut self, kind: &'static str) {
        *self.counts.faults.entry(kind).or_default() += 1;
    }

    /// Lets only these properties count: what the others see does not end the run.
    pub fn heed_only(&mut self, properties: &'static [&'static str]) {
        self.heeded = Some(properties);
    }

    pub(super) fn violate(&mut self, violation: Violation) {
        let is_heeded = |heeded: &[&str]| heeded.contains(&violation.property);
        if !self.heeded.is_none_or(is_heeded) {
            return;
        }
        if self.violation.is_none() {
            let now = violation.at_ns.unwrap_or(self.now);
            self.trace.timeline(|t| {
                t.push(TimelineEvent::Violation {
                    at: now,
                    lane: violation.node,
                    property: violation.property.into(),
                    message: violation.message.clone(),
                });
            });
            self.violation = Some((now, violation));
        }
    }

    // ---- Stepping ----

    /// Runs to the end of the liveness phase, or to the first violation, and judges how the run ended.
    pub fn run(&mut self) {
        let end = self.setup.plan.horizon_ns + self.setup.plan.liveness_ns;
        self.run_until(end);
        if self.violation.is_none() {
            self.now = end;
            self.check_liveness();
        }
        self.sum_up();
    }

    /// Does everything that is due up to then, or up to the first violation.
    pub fn run_until(&mut self, until: u64) {
        while self.violation.is_none() {
            let Some((at, event)) = self.heap.pop_due(until) else {
                break;
            };
            assert!(at >= self.now, "time does not go back");
            self.now = at;
            match self.held_until(&event) {
                Some(until) => self.heap.push(until, event),
                None => self.step(event),
            }
        }
    }

    /// What the run leaves behind goes into its hash and its counts.
    fn sum_up(&mut self) {
        for node in 0..self.nodes.len() as u32 {
            if let Some(running) = &self.nodes[node as usize].running {
                let state = running.replica.state();
                self.trace
                    .record(self.now, node, 13, state.applied(), state.digest());
            }
        }
        let (applied, digest) = (self.reference.applied(), self.reference.digest());
        self.trace.record(self.now, u32::MAX, 13, applied, digest);
        self.count_damage();
    }

    fn step(&mut self, event: Event<W>) {
        match event {
            Event::Arrive(parcel) => self.arrive(parcel),
            Event::Timer { node, generation } => self.timer(node, generation),
            Event::Started {
                node,
                incarnation,
                generation,
            } => self.started(node, incarnation, generation),
            Event::Synced {
                node,
                incarnation,
                generation,
            } => self.synced(node, incarnation, generation),
            Event::Client { client, attempt } => self.client(client, attempt),
            Event::Restart { node } => self.bring_up(node),
            Event::CutPower { node } => self.power_goes(node),
            Event::Transfer { n } => self.transfer(n),
            Event::Assassinate { node, incarnation } => self.assassinate(node, incarnation),
            Event::Fault(step) => self.fault_step(step),
            Event::Heal => self.heal(),
            Event::Quiesce => self.quiescing = true,
        }
    }

    /// Until when an event has to wait because the process that it is for is stopped.
    fn held_until(&self, event: &Event<W>) -> Option<u64> {
        let node = match event {
            Event::Arrive(parcel) => parcel.to,
            Event::Timer { node, .. }
            | Event::Started { node, .. }
            | Event::Synced { node, .. } => *node,
            _ => return None,
        };
        let until = self.nodes.get(node as usize)?.paused_until;
        (self.now < until).then_some(until)
    }

    // ---- Messages ----

    fn send(&mut self, from: u32, to: u32, bytes: usize, body: ParcelBody<W::Call, W::Answer>) {
        let deliveries = self.links.transmit(self.now, from, to, bytes as u64);
        let arrivals = deliveries.times();
        let now = self.now;
        self.trace.timeline(|t| {
            t.push(TimelineEvent::Message {
                at: now,
                from,
                to,
                arrives: arrivals.first().copied(),
                label: words::message(&body),
            });
        });
        // Clients talk over connections, which lose nothing but themselves and repeat nothing.
        let connected = !matches!(body, ParcelBody::Peer(_));
        if let [_, second] = arrivals
            && !connected
        {
            self.mark("message-duplicated");
            let body = body.clone();
            self.heap
                .push(*second, Event::Arrive(Parcel { from, to, body }));
        }
        if let Some(first) = arrivals.first() {
            self.heap
                .push(*first, Event::Arrive(Parcel { from, to, body }));
        }
    }

    fn arrive(&mut self, parcel: Parcel<W::Call, W::Answer>) {
        let (from, to) = (parcel.from, parcel.to);
        match parcel.body {
            ParcelBody::Peer(message) => {
                self.trace
                    .record(self.now, to, 1, u64::from(from), digest(&message));
                let now = self.now;
                let node = &mut self.nodes[to as usize];
                let mono = node.clock.monotonic(now).as_nanos();
                let wall = node.clock.wall(now).as_nanos();
                if let Some(running) = &mut node.running {
                    self.counts.messages += 1;
                    running.replica.handle_message(mono, wall, message);
                    self.drain(to);
                }
            }
            ParcelBody::Request {
                attempt,
                session,
                call,
            } => self.request(from, to, attempt, session, call),
            ParcelBody::Reply { attempt, reply } => self.reply(to, attempt, reply),
        }
    }

    fn request(
        &mut self,
        from: u32,
        to: u32,
        attempt: u64,
        session: Option<holdfast_replica::Session>,
        call: W::Call,
    ) {
        let client = from - self.setup.plan.nodes;
        self.trace
            .record(self.now, to, 2, u64::from(client), attempt);
        let now = self.now;
        let node = &mut self.nodes[to as usize];
        let mono = node.clock.monotonic(now).as_nanos();
        let wall = node.clock.wall(now).as_nanos();
        let Some(running) = &mut node.running else {
            return;
        };
        let mut floor = 0;
        let asked = match self.workload.command(&call) {
            Some(payload) => running
                .replica
                .propose(mono, wall, [(session, payload)])
                .remove(0),
            None => {
                let consistency = self.workload.consistency(&call);
                if consistency == Consistency::Linearizable {
                    floor = self.reference.applied();
                }
                running.replica.read(mono, consistency)
            }
        };
        match asked {
            Ok(request) => {
                let waiting = Waiting {
                    client: from,
                    attempt,
                    call,
                    floor,
                };
                running.waiting.insert(request.number, waiting);
            }
            Err(rejection) => {
                let reply = Reply::Rejected(rejection);
                self.send(to, from, 64, ParcelBody::Reply { attempt, reply });
            }
        }
        self.drain(to);
    }

    /// A node answers the client behind `request`.
    pub(super) fn answer(
        &mut self,
        node: u32,
        request: RequestId,
        outcome: Result<Option<&holdfast_replica::Outcome>, holdfast_replica::Rejection>,
    ) {
        let running = self.nodes[node as usize].running.as_mut();
        let running = running.expect("a running node answers");
        let Some(waiting) = running.waiting.remove(&request.number) else {
            return;
        };
        let Waiting {
            client,
            attempt,
            call,
            floor,
        } = waiting;
        let applied = running.replica.state().applied();
        if matches!(outcome, Ok(None)) && applied < floor {
            let message = format!(
                "{call:?} is answered from the state after entry {applied}; when it was asked, {floor} were committed"
            );
            return self.violate(Violation::new("read-recency", message).at(node));
        }
        let reply = match outcome {
            Err(rejection) => Reply::Rejected(rejection),
            Ok(None) => {
                let machine = running.replica.state().machine();
                Reply::Answer(self.workload.read(machine, &call))
            }
            Ok(Some(outcome)) => match self.workload.answer(&call, outcome) {
                Some(answer) => Reply::Answer(answer),
                None => Reply::Nonsense(format!("{outcome:?}")),
            },
        };
        self.send(node, client, 128, ParcelBody::Reply { attempt, reply });
    }

    // ---- Clients ----

    fn client(&mut self, client: u32, attempt: u64) {
        let state = &self.clients[client as usize];
        if state.attempt != attempt {
            return;
        }
        match &state.state {
            ClientState::Idle => {
                let call = match self.quiescing {
                    true => self.closing_call(client),
                    false => Some(self.workload.call(client)),
                };
                let Some(call) = call else {
                    self.clients[client as usize].state = ClientState::Finished;
                    return;
                };
                let is_command = self.workload.is_command(&call);
                let options = self.setup.clients;
                let now = self.now;
                self.clients[client as usize].begin(now, call, is_command, &options);
                self.ask(client);
            }
            ClientState::Waiting(_) => self.ask(client),
            ClientState::Asking(_) => self.attempt_ended(client, None),
            ClientState::Finished => {}
        }
    }

    fn ask(&mut self, client: u32) {
        let nodes = self.setup.plan.nodes;
        let state = &mut self.clients[client as usize];
        let call = state.ask(nodes);
        let (session, attempt, node) = (state.session(), state.attempt, state.node);
        let session = session.filter(|_| self.workload.is_command(&call));
        let give_up = self.now + self.setup.clients.attempt_timeout;
        self.heap.push(give_up, Event::Client { client, attempt });
        let body = ParcelBody::Request {
            attempt,
            session,
            call,
        };
        self.send(nodes + client, node, 128, body);
    }

    fn reply(&mut self, to: u32, attempt: u64, reply: Reply<W::Answer>) {
        let client = to - self.setup.plan.nodes;
        let state = &self.clients[client as usize];
        let ClientState::Asking(pending) = &state.state else {
            return;
        };
        if state.attempt != attempt {
            return;
        }
        // An attempt that its client has given up may be answered with anything; this one may not.
        if let Reply::Nonsense(outcome) = &reply {
            let message = format!("{:?} was answered with {outcome}", pending.call);
            return self.violate(Violation::new("session", message));
        }
        self.attempt_ended(client, Some(reply));
    }

    fn attempt_ended(&mut self, client: u32, reply: Option<Reply<W::Answer>>) {
        let state = &mut self.clients[client as usize];
        let ClientState::Asking(Pending { call, .. }) = &state.state else {
            return;
        };
        let is_command = self.workload.is_command(call);
        let next = state.attempt_ended(self.now, reply, is_command);
        // Names the wait, so that the timer of the attempt that ended is stale.
        state.attempt += 1;
        let attempt = state.attempt;
        let pause = match next {
            Next::Retry => self.setup.clients.retry_pause,
            Next::Refused(call) => {
                self.counts.refused += 1;
                let lane = self.setup.plan.nodes + client;
                self.trace
                    .record(self.now, lane, 12, content_hash(&call), 0);
                self.workload.pause(client)
            }
            Next::Over(operation) => {
                match &operation.returned {
                    Some((_, answer)) => {
                        self.counts.answered += 1;
                        self.workload.learn(client, &operation.call, answer);
                        self.note_served(client, &operation);
                    }
                    None => self.counts.unknown += 1,
                }
                let lane = self.setup.plan.nodes + client;
                let answer = operation.returned.as_ref().map(|(_, answer)| answer);
                self.trace.record(
                    self.now,
                    lane,
                    11,
                    content_hash(&operation.call),
                    content_hash(&answer),
                );
                self.trace.timeline(|t| {
                    let answer = operation.returned.as_ref().map(|(_, answer)| answer);
                    let answer = answer.map(|a| format!(" -> {a}")).unwrap_or_default();
                    t.push(TimelineEvent::Operation {
                        at: operation.called,
                        until: operation.returned.as_ref().map(|(at, _)| *at),
                        lane,
                        label: format!("{}{answer}", operation.call),
                    });
                });
                self.history.push(operation);
                self.workload.pause(client)
            }
        };
        let at = self.now + pause;
        self.heap.push(at, Event::Client { client, attempt });
    }

    /// Whether some client waits for the outcome of a command.
    pub(super) fn writes_wait(&self) -> bool {
        self.clients.iter().any(|client| match &client.state {
            ClientState::Asking(pending) => self.workload.is_command(&pending.call),
            _ => false,
        })
    }

    // ---- Checks ----

    pub(super) fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.violate(violation);
        }
    }

    pub(super) fn note_event(&mut self, node: u32, event: ReplicaEvent) {
        let at = self.now;
        self.trace.timeline(|t| {
            if let Some(label) = words::event(&event) {
                t.push(TimelineEvent::Note {
                    at,
                    lane: node,
                    label,
                });
            }
        });
    }

    pub(super) fn note_state(&mut self, node: u32, state: &str, term: u64) {
        let at = self.now;
        self.trace.timeline(|t| {
            t.push(TimelineEvent::State {
                at,
                lane: node,
                state: state.into(),
                term,
            });
        });
    }

    pub(super) fn send_peer(&mut self, from: u32, to: u64, message: Message) {
        let bytes = message.wire_bytes();
        self.send(from, to as u32 - 1, bytes, ParcelBody::Peer(message));
    }
}

/// A few words of a message that identify it, for the trace.
fn digest(message: &Message) -> u64 {
    use holdfast_raft::Body;
    let mix = |a: u64, b: u64| a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b;
    match message {
        Message::Raft(message) => {
            let body = match &message.body {
                Body::Vote {
                    last_index, pre, ..
                } => mix(1 + u64::from(*pre), *last_index),
                Body::VoteReply { granted, .. } => mix(3, u64::from(*granted)),
                Body::Append {
                    prev_index,
                    commit,
                    entries,
                    ..
                } => mix(mix(4, *prev_index), *commit) ^ entries.len() as u64,
                Body::Appended { matched } => mix(5, *matched),
                Body::AppendRejected { hint_index, .. } => mix(6, *hint_index),
                Body::Heartbeat { commit, round } => mix(mix(7, *commit), *round),
                Body::HeartbeatReply { round } => mix(8, *round),
                Body::Snapshot { meta } => mix(9, meta.index),
                Body::Propose { payloads, .. } => mix(10, payloads.len() as u64),
                Body::ReadIndex { context, .. } => mix(11, *context),
                Body::ReadIndexReply { context, index, .. } => mix(mix(12, *context), *index),
                Body::TransferLeader { to } => mix(13, *to),
                Body::TimeoutNow => 14,
                Body::ProposalRefused { number, .. } => mix(17, *number),
                Body::ReadRefused { context, .. } => mix(18, *context),
            };
            mix(message.term, body)
        }
        Message::SnapshotChunk { offset, term, .. } => mix(mix(15, *offset), *term),
        Message::SnapshotReceived { received, .. } => mix(16, *received),
    }
}
