//! A group of cores with disks and a network in memory. Nothing happens by itself: a test says what runs, when.

use bytes::Bytes;
use holdfast_raft::{
    Body, Config, Entry, Event, HardState, Index, Membership, Message, Nanos, NodeId, Output,
    Persist, Raft, Recovered, SnapshotMeta, Term,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A node's clock goes on by this at a tick; the election timeout is three of them at least.
pub const TICK: Nanos = 1_000_000;
pub const ELECTION_TICKS: u64 = 3;

pub fn config(id: NodeId, membership: Membership) -> Config {
    Config {
        id,
        membership,
        election_timeout: ELECTION_TICKS * TICK,
        heartbeat_interval: TICK,
        max_inflight_messages: 1 << 20,
        max_inflight_bytes: u64::MAX,
        max_append_bytes: u64::MAX,
        max_uncommitted_bytes: u64::MAX,
        max_apply_bytes: u64::MAX,
        max_pending_reads: 100,
        pre_vote: false,
        check_quorum: false,
        lease_reads: false,
        max_clock_drift_ppm: 0,
        mutant: None,
    }
}

pub fn voters(ids: &[NodeId]) -> Membership {
    Membership {
        voters: ids.to_vec(),
        learners: Vec::new(),
    }
}

/// What is on a node's platter.
#[derive(Clone, Debug, Default)]
pub struct Platter {
    pub hard_state: HardState,
    pub snapshot: SnapshotMeta,
    pub entries: Vec<Entry>,
}

impl Platter {
    fn write(&mut self, persist: &Persist) {
        if let Some(hard_state) = persist.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = &persist.snapshot {
            self.snapshot = snapshot.clone();
            self.entries.clear();
        }
        if let Some(first) = persist.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend(persist.entries.iter().cloned());
        }
    }
}

/// What the leader refused of what a node had passed on to it.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub proposals: Vec<u64>,
    pub reads: Vec<u64>,
}

/// What happened at a node when it was told to act on its core's outputs.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub sent: Vec<Message>,
    pub written: Vec<Entry>,
    pub applied: Vec<Entry>,
}

#[derive(Clone)]
pub struct Node {
    pub raft: Raft,
    pub now: Nanos,
    /// How long a tick of this node is.
    pub tick: Nanos,
    pub platter: Platter,
    pub applied: Vec<Entry>,
    pub reads: Vec<(u64, Index)>,
    pub refused: Refused,
    pub events: Vec<Event>,
    config: Config,
    starts: u64,
    outputs: VecDeque<Output>,
    /// Batches on the way to the platter.
    writing: VecDeque<Vec<Persist>>,
    /// Numbers of persists that are durable, which the core was not told yet.
    written: VecDeque<Vec<u64>>,
}

impl Node {
    fn new(config: Config, platter: Platter, starts: u64, now: Nanos) -> Self {
        let recovered = Recovered {
            hard_state: platter.hard_state,
            snapshot: platter.snapshot.clone(),
            entries: platter.entries.clone(),
            applied: platter.snapshot.index,
        };
        let rng = ChaCha8Rng::seed_from_u64(config.id << 32 | starts);
        let raft =
            Raft::new(config.clone(), recovered, rng, now).expect("the configuration is sound");
        Node {
            raft,
            now,
            tick: TICK,
            platter,
            applied: Vec::new(),
            reads: Vec::new(),
            refused: Refused::default(),
            events: Vec::new(),
            config,
            starts,
            outputs: VecDeque::new(),
            writing: VecDeque::new(),
            written: VecDeque::new(),
        }
    }

    pub fn log(&self) -> Vec<Entry> {
        self.raft.entries(1, Index::MAX - 1).cloned().collect()
    }

    pub fn payloads(&self) -> Vec<&str> {
        let payloads = self.applied.iter().map(|entry| text(&entry.payload));
        payloads.filter(|payload| !payload.is_empty()).collect()
    }

    pub fn has(&self, event: &Event) -> bool {
        self.events.contains(event)
    }

    pub fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    fn drain(&mut self) {
        while let Some(output) = self.raft.poll_output() {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::ReadReady { context, index } => self.reads.push((context, index)),
                Output::ProposalRefused { number } => self.refused.proposals.push(number),
                Output::ReadRefused { context } => self.refused.reads.push(context),
                output => self.outputs.push_back(output),
            }
        }
    }
}

pub fn text(payload: &Bytes) -> &str {
    std::str::from_utf8(payload).expect("tests propose text")
}

/// Whether a message promises something, so that it leaves after a write.
fn is_promise(message: &Message) -> bool {
    matches!(
        message.body,
        Body::VoteReply { .. } | Body::Appended { .. } | Body::AppendRejected { .. }
    )
}

#[derive(Clone, Default)]
pub struct World {
    pub nodes: BTreeMap<NodeId, Node>,
    pub network: Vec<Message>,
    /// Messages between these are lost.
    pub cut: BTreeSet<(NodeId, NodeId)>,
    /// Writes end when [`write`](World::write) says so, instead of at once.
    pub is_async: bool,
    /// Who led in which term.
    pub leaders: BTreeMap<Term, NodeId>,
}

impl World {
    /// Nodes 1 to `count` that vote, with fresh disks.
    pub fn new(count: u64, change: impl Fn(&mut Config)) -> Self {
        let ids: Vec<NodeId> = (1..=count).collect();
        let mut world = World::default();
        for id in &ids {
            let mut config = config(*id, voters(&ids));
            change(&mut config);
            world.add(config, Platter::default());
        }
        world
    }

    pub fn add(&mut self, config: Config, platter: Platter) {
        let id = config.id;
        self.nodes.insert(id, Node::new(config, platter, 0, 0));
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    pub fn raft(&self, id: NodeId) -> &Raft {
        &self.nodes[&id].raft
    }

    /// Calls a core and takes note of what it puts out.
    pub fn call<T>(&mut self, id: NodeId, call: impl FnOnce(&mut Raft, Nanos) -> T) -> T {
        let node = self.nodes.get_mut(&id).expect("there is such a node");
        let result = call(&mut node.raft, node.now);
        node.drain();
        let raft = &node.raft;
        if raft.leader() == Some(id) {
            let first = *self.leaders.entry(raft.term()).or_insert(id);
            assert_eq!(first, id, "two leaders in term {}", raft.term());
        }
        result
    }

    pub fn campaign(&mut self, id: NodeId) {
        self.call(id, |raft, now| raft.campaign(now));
    }

    pub fn propose(&mut self, id: NodeId, payload: &str) {
        let payloads = vec![Bytes::copy_from_slice(payload.as_bytes())];
        self.call(id, |raft, now| raft.propose(now, payloads))
            .expect("the proposal is accepted");
    }

    /// Lets a node's clock go on, and everybody else's stand still.
    pub fn tick(&mut self, id: NodeId) {
        self.pass(id, self.node(id).tick);
    }

    pub fn pass(&mut self, id: NodeId, time: Nanos) {
        let node = self.nodes.get_mut(&id).expect("there is such a node");
        node.now += time;
        if node.raft.timeout().is_some_and(|due| due <= node.now) {
            self.call(id, |raft, now| raft.handle_timeout(now));
        }
    }

    /// All clocks go on, and nobody looks at them.
    pub fn wait(&mut self, time: Nanos) {
        for node in self.nodes.values_mut() {
            node.now += time;
        }
    }

    /// The node is gone and comes back with what its platter has.
    pub fn restart(&mut self, id: NodeId) {
        let old = self.nodes.remove(&id).expect("there is such a node");
        let new = Node::new(old.config, old.platter, old.starts + 1, old.now);
        self.nodes.insert(id, new);
    }

    /// Nothing gets from or to these nodes any more.
    pub fn isolate(&mut self, ids: &[NodeId]) {
        for id in ids {
            for other in self.nodes.keys() {
                if !ids.contains(other) {
                    self.cut.extend([(*id, *other), (*other, *id)]);
                }
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    // ---- What a node's host does ----

    pub fn has_work(&self, id: NodeId) -> bool {
        !self.nodes[&id].outputs.is_empty()
    }

    /// Acts on the outputs that there are: sends, writes (or begins to), applies.
    pub fn act(&mut self, id: NodeId) -> Done {
        let node = self.nodes.get_mut(&id).expect("there is such a node");
        let (mut done, mut persists, mut promises) = (Done::default(), Vec::new(), Vec::new());
        for output in std::mem::take(&mut node.outputs) {
            match output {
                Output::Send(message) if is_promise(&message) => promises.push(message),
                Output::Send(message) => done.sent.push(message),
                Output::Persist(persist) => {
                    done.written.extend(persist.entries.iter().cloned());
                    if !self.is_async {
                        promises.extend(persist.after.iter().cloned());
                    }
                    persists.push(persist);
                }
                Output::Apply(entries) => done.applied.extend(entries),
                Output::Event(_)
                | Output::ReadReady { .. }
                | Output::ProposalRefused { .. }
                | Output::ReadRefused { .. } => unreachable!("taken before"),
            }
        }
        done.sent.extend(promises);
        node.applied.extend(done.applied.iter().cloned());
        if !persists.is_empty() {
            node.writing.push_back(persists);
        }
        if let Some(last) = done.applied.last() {
            let index = last.index;
            self.call(id, |raft, now| raft.handle_applied(now, index));
        }
        self.network.extend(done.sent.iter().cloned());
        if !self.is_async && self.node(id).is_writing() {
            // What was promised has been sent above.
            self.put_on_platter(id);
            self.acknowledge(id);
        }
        done
    }

    /// The oldest batch gets onto the platter; what it promises is sent. The core hears of it later.
    pub fn write(&mut self, id: NodeId) -> Vec<Message> {
        let sent = self.put_on_platter(id);
        self.network.extend(sent.iter().cloned());
        sent
    }

    fn put_on_platter(&mut self, id: NodeId) -> Vec<Message> {
        let node = self.nodes.get_mut(&id).expect("there is such a node");
        let batch = node.writing.pop_front().expect("something is written");
        for persist in &batch {
            node.platter.write(persist);
        }
        let numbers = batch.iter().map(|persist| persist.id).collect();
        node.written.push_back(numbers);
        batch
            .into_iter()
            .flat_map(|persist| persist.after)
            .collect()
    }

    /// Tells the core of every batch that is on the platter.
    pub fn acknowledge(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("there is such a node");
        for number in std::mem::take(&mut node.written).into_iter().flatten() {
            self.call(id, |raft, now| raft.handle_persisted(now, number));
        }
    }

    /// A snapshot of all that a node has applied takes the place of its log up to `index`.
    pub fn compact(&mut self, id: NodeId, index: Index) {
        let raft = &self.nodes[&id].raft;
        let applied = raft.applied();
        let meta = SnapshotMeta {
            index: applied,
            term: raft.term_at(applied).expect("in memory"),
            membership: raft.membership().clone(),
        };
        self.call(id, |raft, _| {
            raft.handle_snapshot_durable(meta.clone());
            raft.compact(index);
        });
        let node = self.nodes.get_mut(&id).expect("there is such a node");
        node.platter.entries.retain(|entry| entry.index > index);
        node.platter.snapshot = meta;
    }

    // ---- The network ----

    /// Hands a node all that is on the way to it, and what its disk has to say.
    pub fn deliver(&mut self, id: NodeId) -> Vec<Message> {
        let messages = self.take(id);
        self.acknowledge(id);
        for message in &messages {
            if !self.cut.contains(&(message.from, message.to)) {
                self.hand_over(message.clone());
            }
        }
        messages
    }

    pub fn hand_over(&mut self, message: Message) {
        self.call(message.to, |raft, now| raft.handle_message(now, message));
    }

    /// Takes what is on the way to a node off the network.
    pub fn take(&mut self, id: NodeId) -> Vec<Message> {
        self.network
            .extract_if(.., |message| message.to == id)
            .collect()
    }

    fn has_mail(&self, id: NodeId) -> bool {
        self.network.iter().any(|message| message.to == id)
    }

    /// Lets these nodes work until none has anything to do; `seen` is told what each did, with messages received.
    pub fn stabilize_with(
        &mut self,
        ids: &[NodeId],
        mut seen: impl FnMut(NodeId, Done, Vec<Message>),
    ) {
        loop {
            let mut is_idle = true;
            for id in ids {
                if self.has_work(*id) {
                    let done = self.act(*id);
                    seen(*id, done, Vec::new());
                    is_idle = false;
                }
            }
            for id in ids {
                if self.has_mail(*id) {
                    let received = self.deliver(*id);
                    seen(*id, Done::default(), received);
                    is_idle = false;
                }
            }
            for id in ids {
                while self.node(*id).is_writing() {
                    let done = Done {
                        sent: self.write(*id),
                        ..Done::default()
                    };
                    self.acknowledge(*id);
                    seen(*id, done, Vec::new());
                    is_idle = false;
                }
            }
            if is_idle {
                return;
            }
        }
    }

    /// Lets these nodes act and receive in turns until something is so.
    pub fn run_until(&mut self, ids: &[NodeId], is_so: impl Fn(&World) -> bool) {
        for _ in 0..50 {
            for id in ids {
                if is_so(self) {
                    return;
                }
                self.act(*id);
                self.deliver(*id);
            }
        }
        panic!("it never is so");
    }

    pub fn stabilize(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        self.stabilize_with(&ids, |_, _, _| {});
    }

    /// Elects a node that can win.
    pub fn elect(&mut self, id: NodeId) {
        self.campaign(id);
        self.stabilize();
        assert_eq!(self.raft(id).leader(), Some(id), "node {id} is elected");
    }
}
