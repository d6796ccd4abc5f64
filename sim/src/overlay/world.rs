//! The world: nodes, what is between them, and time.

use super::{
    Addresses, Adversary, Census, Chance, Counts, Datagrams, Post, Watch,
    peer::{Peer, Timer, Who},
    setup::{Ids, Links, Setup},
    wires::{Event, Wires, below},
};
use crate::{
    draw::{Domain, Draws, bytes_hash},
    heap::{EventHeap, Ties},
    trace::Trace,
};
use holdfast_kademlia::{
    Config, Event as Said, Id, LookupId, Node, Outbox, Refused, Request, Sibling, secure_id,
};
use std::net::SocketAddrV4;

/// When a world begins, nanoseconds: an hour after its clocks do, so that things can have been before it.
pub const BEGIN: u64 = 3_600 * 1_000_000_000;

/// Whom a newcomer that replaces somebody asks first.
const SEEDS: usize = 3;

/// Something that a node said, but at which address it is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// When.
    pub at: u64,
    /// Which node.
    pub node: u32,
    /// What.
    pub event: Said<SocketAddrV4>,
}

/// Kinds of the trace.
mod kind {
    pub const ARRIVE: u16 = 1;
    pub const WAKE: u16 = 2;
    pub const END: u16 = 3;
    pub const COME: u16 = 4;
    pub const DIE: u16 = 5;
}

/// An overlay: its nodes and everything that is under way between them. `Clone` copies all of it.
#[derive(Clone, Debug)]
pub struct Overlay<A = super::Honest, W = ()> {
    pub(super) setup: Setup,
    pub(super) now: u64,
    pub(super) addresses: Addresses,
    pub(super) peers: Vec<Peer>,
    wires: Wires,
    /// Honest nodes that live and are heard.
    census: Census,
    /// The same, to choose from: in no particular order.
    alive: Vec<u32>,
    out: Outbox<SocketAddrV4>,
    post: Post,
    adversary: A,
    pub(super) watch: W,
    told: Vec<Ended>,
    /// The mean of a session, nanoseconds, while nodes come and go.
    session_ns: Option<u64>,
    choices: Draws,
}

impl<A: Adversary, W: Watch> Overlay<A, W> {
    /// A world without nodes at [`BEGIN`].
    pub fn new(setup: Setup, adversary: A, watch: W) -> Self {
        let seed = setup.seed;
        Overlay {
            now: BEGIN,
            addresses: Addresses::new(setup.network_bits),
            peers: Vec::new(),
            wires: Wires {
                seed,
                links: setup.links,
                heap: EventHeap::new(Ties::Inserted),
                datagrams: Datagrams::default(),
                counts: Counts::default(),
                trace: Trace::new(seed),
                parts: Vec::new(),
            },
            census: Census::default(),
            alive: Vec::new(),
            out: Outbox::new(),
            post: Post::default(),
            adversary,
            watch,
            told: Vec::new(),
            session_ns: None,
            choices: Draws::new(seed, Domain::Overlay, u64::MAX),
            setup,
        }
    }

    /// The time, nanoseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The chained hash of everything that has happened.
    pub fn hash(&self) -> u64 {
        self.wires.trace.hash()
    }

    /// What has happened, in numbers.
    pub fn counts(&self) -> Counts {
        self.wires.counts
    }

    /// The seed of all chance.
    pub fn seed(&self) -> u64 {
        self.setup.seed
    }

    /// How honest nodes behave.
    pub fn config(&self) -> &Config {
        &self.setup.config
    }

    /// Who is where.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Honest nodes that live and are heard.
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// The adversary.
    pub fn adversary(&self) -> &A {
        &self.adversary
    }

    /// The adversary, to be told something.
    pub fn adversary_mut(&mut self) -> &mut A {
        &mut self.adversary
    }

    /// Whoever looks on.
    pub fn watch(&self) -> &W {
        &self.watch
    }

    /// Whoever looks on, to be told something.
    pub fn watch_mut(&mut self) -> &mut W {
        &mut self.watch
    }

    /// Nodes that there are or were.
    pub fn len(&self) -> u32 {
        self.peers.len() as u32
    }

    /// Whether there never was a node.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Datagrams under way.
    pub fn under_way(&self) -> usize {
        self.wires.datagrams.len()
    }

    /// Events that wait, stale wakes included.
    pub fn waiting(&self) -> usize {
        self.wires.heap.len()
    }

    /// An honest node that lives.
    pub fn node(&self, node: u32) -> Option<&Node<SocketAddrV4>> {
        match &self.peers.get(node as usize)?.who {
            Who::Honest(core) => Some(core),
            _ => None,
        }
    }

    /// All honest nodes that live, mute ones included.
    pub fn nodes(&self) -> impl Iterator<Item = (u32, &Node<SocketAddrV4>)> {
        let peers = self.peers.iter().enumerate();
        peers.filter_map(|(node, peer)| match &peer.who {
            Who::Honest(core) => Some((node as u32, &**core)),
            _ => None,
        })
    }

    /// The id of a node that is there or was.
    ///
    /// # Panics
    /// When there never was such a node.
    pub fn id(&self, node: u32) -> Id {
        self.peers[node as usize].id
    }

    /// Whether a node is the adversary's.
    pub fn is_adversary(&self, node: u32) -> bool {
        matches!(
            self.peers.get(node as usize).map(|peer| &peer.who),
            Some(Who::Adversary)
        )
    }

    /// Bytes that all of it takes, what the allocator adds not included.
    pub fn bytes(&self) -> usize {
        let nodes: usize = self.nodes().map(|(_, node)| node.bytes()).sum();
        nodes
            + self.peers.capacity() * size_of::<Peer>()
            + self.census.len() * size_of::<(Id, u32)>()
            + self.wires.datagrams.bytes()
            + self.wires.heap.len() * (size_of::<u128>() + size_of::<Event>())
    }

    /// What nodes have said since this was asked last, in order.
    pub fn take_told(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.told)
    }

    fn id_at(&self, node: u32, chance: &mut Chance) -> Id {
        match self.setup.ids {
            Ids::Random => Id::random(chance),
            Ids::Secure => {
                let ip = (*self.addresses.address(node).ip()).into();
                secure_id::generate(ip, chance)
            }
        }
    }

    /// Adds an honest node with an empty table, which does nothing yet; which one it is.
    pub fn add(&mut self) -> u32 {
        let node = self.add_uncounted();
        self.count_in(node);
        node
    }

    /// Adds so many honest nodes: as [`add`](Overlay::add) does, in less time.
    pub fn add_many(&mut self, count: u32) {
        self.peers.reserve_exact(count as usize);
        for _ in 0..count {
            let node = self.add_uncounted();
            self.list(node);
        }
        self.count_anew();
    }

    fn add_uncounted(&mut self) -> u32 {
        let node = self.len();
        self.peers.push(Peer {
            id: Id::ZERO,
            who: Who::Dead,
            chance: Chance::new(self.setup.seed, node, 0),
            incarnation: 0,
            is_mute: false,
            timer: Timer::UNSET,
            place: 0,
        });
        self.live(node);
        node
    }

    /// Makes an honest node of somebody who is dead.
    fn live(&mut self, node: u32) {
        let incarnation = self.peers[node as usize].incarnation;
        let mut chance = Chance::new(self.setup.seed, node, incarnation);
        let id = self.id_at(node, &mut chance);
        // As if it had begun some time in the last quarter of an hour: nodes that begin together are not alike.
        let ago = match self.now == BEGIN {
            true => below(rand::RngCore::next_u64(&mut chance), super::fill::SPREAD_NS),
            false => 0,
        };
        let core = Node::new(id, self.setup.config.clone(), self.now - ago, &mut chance);
        let peer = &mut self.peers[node as usize];
        peer.id = id;
        peer.chance = chance;
        peer.who = Who::Honest(Box::new(core));
        peer.timer = Timer::UNSET;
        self.wires.counts.came += 1;
        let words = id_word(id);
        let trace = &mut self.wires.trace;
        trace.record(self.now, node, kind::COME, words, u64::from(incarnation));
        self.watch.began(self.now, node, id);
        self.arm(node);
        if let Some(mean) = self.session_ns {
            self.plan_leave(node, mean);
        }
    }

    /// Counts a node among those that live and are heard.
    fn count_in(&mut self, node: u32) {
        self.list(node);
        self.census.add(self.peers[node as usize].id, node);
    }

    fn list(&mut self, node: u32) {
        self.peers[node as usize].place = self.alive.len() as u32;
        self.alive.push(node);
    }

    fn count_out(&mut self, node: u32) {
        if self.unlist(node) {
            self.census.remove(self.peers[node as usize].id, node);
        }
    }

    /// Whether it was listed.
    fn unlist(&mut self, node: u32) -> bool {
        let place = self.peers[node as usize].place as usize;
        if self.alive.get(place) != Some(&node) {
            return false;
        }
        self.alive.swap_remove(place);
        if let Some(moved) = self.alive.get(place) {
            self.peers[*moved as usize].place = place as u32;
        }
        true
    }

    fn count_anew(&mut self) {
        let alive = self.alive.iter();
        self.census = Census::of(alive.map(|node| (self.peers[*node as usize].id, *node)));
    }

    /// Adds a node of the adversary's under an id of its choice; which one it is.
    pub fn add_adversary(&mut self, id: Id) -> u32 {
        let node = self.len();
        self.peers.push(Peer {
            id,
            who: Who::Adversary,
            chance: Chance::new(self.setup.seed, node, 0),
            incarnation: 0,
            is_mute: false,
            timer: Timer::UNSET,
            place: 0,
        });
        self.wires.counts.came += 1;
        node
    }

    /// Lets the adversary's node `own` act at `at`.
    pub fn prompt(&mut self, at: u64, own: u32) {
        self.wires.heap.push(at, Event::Wake { node: own });
    }

    /// A node dies, without a word.
    pub fn kill(&mut self, node: u32) {
        self.count_out(node);
        self.die(node);
    }

    /// These die: as with [`kill`](Overlay::kill), in less time.
    pub fn kill_many(&mut self, nodes: &[u32]) {
        for node in nodes {
            self.unlist(*node);
            self.die(*node);
        }
        self.count_anew();
    }

    fn die(&mut self, node: u32) {
        let peer = &mut self.peers[node as usize];
        if matches!(peer.who, Who::Dead) {
            return;
        }
        peer.who = Who::Dead;
        peer.timer = Timer::UNSET;
        self.wires.counts.died += 1;
        self.wires.trace.record(self.now, node, kind::DIE, 0, 0);
    }

    /// A dead node comes back where it was, with another id and an empty table.
    ///
    /// # Panics
    /// When it is not dead.
    pub fn come_back(&mut self, node: u32) {
        let peer = &mut self.peers[node as usize];
        assert!(matches!(peer.who, Who::Dead), "who lives cannot come back");
        peer.incarnation += 1;
        peer.is_mute = false;
        self.live(node);
        self.count_in(node);
    }

    /// From now on nothing that an honest node sends arrives, or it does again. It is not told.
    pub fn set_mute(&mut self, node: u32, is_mute: bool) {
        let peer = &mut self.peers[node as usize];
        if peer.is_mute == is_mute || !matches!(peer.who, Who::Honest(_)) {
            return;
        }
        peer.is_mute = is_mute;
        match is_mute {
            true => self.count_out(node),
            false => self.count_in(node),
        }
    }

    /// Cuts the overlay into parts that cannot reach each other: `part` tells in which one each node is. Newcomers are
    /// in part 0.
    pub fn cut(&mut self, part: impl Fn(u32) -> u8) {
        self.wires.parts = (0..self.len()).map(part).collect();
    }

    /// Makes the overlay whole again.
    pub fn heal(&mut self) {
        self.wires.parts = Vec::new();
    }

    /// Changes how datagrams travel from now on.
    pub fn set_links(&mut self, links: Links) {
        self.wires.links = links;
    }

    /// Some node that lives, chosen by chance.
    pub fn any(&mut self) -> Option<u32> {
        if self.alive.is_empty() {
            return None;
        }
        let place = self.choices.range(0, self.alive.len() as u64);
        Some(self.alive[place as usize])
    }

    /// An id, drawn by chance.
    pub fn any_id(&mut self) -> Id {
        let n = self.choices.bits();
        Id::random(&mut Chance::new(self.setup.seed ^ n, u32::MAX, 0))
    }

    /// Lets an honest node join by the protocol, with some that live to begin with.
    pub fn join(&mut self, node: u32, count: usize) {
        let mut seeds = Vec::with_capacity(count);
        for _ in 0..count * 4 {
            if let Some(other) = self.any()
                && other != node
                && seeds.len() < count
            {
                let address = self.addresses.address(other);
                if !seeds.contains(&address) {
                    seeds.push(address);
                }
            }
        }
        self.act(node, |core, now, chance, out| {
            core.join(now, &seeds, chance, out)
        });
    }

    /// Lets an honest node begin a lookup; `None` when it is none.
    pub fn look_up(&mut self, node: u32, request: Request) -> Option<Result<LookupId, Refused>> {
        self.act(node, |core, now, chance, out| {
            core.start(now, request, chance, out)
        })
    }

    /// From now on each honest node lives for an exponentially distributed time, and somebody new takes its place in
    /// number: at an address of its own, under an id of its own, and knowing three nodes that live.
    pub fn begin_churn(&mut self, median_ns: u64) {
        // The median of an exponential distribution is its mean times ln 2.
        let mean = (median_ns as f64 / std::f64::consts::LN_2) as u64;
        self.session_ns = Some(mean);
        for place in 0..self.alive.len() {
            self.plan_leave(self.alive[place], mean);
        }
    }

    /// Nobody goes any more.
    pub fn end_churn(&mut self) {
        self.session_ns = None;
    }

    fn plan_leave(&mut self, node: u32, mean: u64) {
        let incarnation = self.peers[node as usize].incarnation;
        let entity = (u64::from(incarnation) << 32) | u64::from(node);
        let mut draws = Draws::new(self.setup.seed ^ 1, Domain::Overlay, entity);
        let at = self.now + draws.exponential(mean);
        let event = Event::Leave { node, incarnation };
        self.wires.heap.push(at, event);
    }

    /// Runs to `until`, what is due then included; that is the time afterwards, unless whoever looks on
    /// [has seen enough](Watch::has_seen_enough).
    pub fn run_until(&mut self, until: u64) {
        while let Some((at, event)) = self.wires.heap.pop_due(until) {
            self.now = at;
            self.happen(event);
            if self.watch.has_seen_enough() {
                return;
            }
        }
        self.now = self.now.max(until);
    }

    /// The next event, if there is one.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.wires.heap.pop() else {
            return false;
        };
        self.now = at;
        self.happen(event);
        true
    }

    #[inline]
    fn happen(&mut self, event: Event) {
        self.wires.counts.events += 1;
        match event {
            Event::Arrive { from, to, datagram } => {
                let bytes = self.wires.datagrams.take(datagram);
                self.arrive(from, to, &bytes);
                self.wires.datagrams.give_back(datagram, bytes);
            }
            Event::Wake { node } => self.wake(node),
            Event::Leave { node, incarnation } => {
                let is_it = self.peers[node as usize].incarnation == incarnation;
                let lives = matches!(self.peers[node as usize].who, Who::Honest(_));
                if self.session_ns.is_some() && is_it && lives {
                    self.kill(node);
                    let new = self.add();
                    self.join(new, SEEDS);
                }
            }
        }
    }

    #[inline]
    fn arrive(&mut self, from: u32, to: u32, bytes: &[u8]) {
        let now = self.now;
        let address = self.addresses.address(from);
        let peer = &mut self.peers[to as usize];
        match &mut peer.who {
            Who::Dead => self.wires.counts.unheard += 1,
            Who::Honest(core) => {
                self.wires.counts.delivered += 1;
                let (hash, from_word) = (bytes_hash(bytes), u64::from(from));
                let trace = &mut self.wires.trace;
                trace.record(now, to, kind::ARRIVE, hash, from_word);
                self.watch.delivered(now, from, to, bytes);
                core.receive(
                    now,
                    address,
                    bytes,
                    Sibling::None,
                    &mut peer.chance,
                    &mut self.out,
                );
                self.flush(to);
                if let Who::Honest(core) = &self.peers[to as usize].who {
                    self.watch.acted(now, to, core);
                }
                self.arm(to);
            }
            Who::Adversary => {
                self.wires.counts.delivered += 1;
                let (hash, from_word) = (bytes_hash(bytes), u64::from(from));
                let trace = &mut self.wires.trace;
                trace.record(now, to, kind::ARRIVE, hash, from_word);
                self.adversary
                    .receive(now, to, address, bytes, &mut self.post);
                self.deliver_post();
            }
        }
    }

    fn wake(&mut self, node: u32) {
        let now = self.now;
        let peer = &mut self.peers[node as usize];
        match &mut peer.who {
            Who::Dead => self.wires.counts.stale += 1,
            Who::Honest(core) => {
                if !peer.timer.ring(now) {
                    self.wires.counts.stale += 1;
                    return;
                }
                // It may have found out since that it has time.
                if core.wake_at() <= now {
                    self.wires.counts.wakes += 1;
                    self.wires.trace.record(now, node, kind::WAKE, 0, 0);
                    self.watch.woken(now, node);
                    core.wake(now, &mut peer.chance, &mut self.out);
                    self.flush(node);
                }
                self.arm(node);
            }
            Who::Adversary => {
                self.wires.trace.record(now, node, kind::WAKE, 0, 0);
                self.adversary.wake(now, node, &mut self.post);
                self.deliver_post();
            }
        }
    }

    /// Lets an honest node do something of somebody's choice; `None` when it is none.
    pub fn act<T>(
        &mut self,
        node: u32,
        act: impl FnOnce(&mut Node<SocketAddrV4>, u64, &mut Chance, &mut Outbox<SocketAddrV4>) -> T,
    ) -> Option<T> {
        let now = self.now;
        let peer = self.peers.get_mut(node as usize)?;
        let Who::Honest(core) = &mut peer.who else {
            return None;
        };
        self.watch.woken(now, node);
        let result = act(core, now, &mut peer.chance, &mut self.out);
        self.flush(node);
        self.arm(node);
        Some(result)
    }

    /// Sees to it that a node is woken in time.
    #[inline]
    pub(super) fn arm(&mut self, node: u32) {
        let peer = &mut self.peers[node as usize];
        let Who::Honest(core) = &peer.who else {
            return;
        };
        // Never again at this moment: a node that wants that would stop time.
        let at = core.wake_at().max(self.now + 1);
        if at != u64::MAX && peer.timer.set(at) {
            self.wires.heap.push(at, Event::Wake { node });
        }
    }

    /// Sends what a node wants sent, and hears what it says.
    #[inline]
    fn flush(&mut self, node: u32) {
        let now = self.now;
        let known = self.peers.len() as u32;
        let is_mute = self.peers[node as usize].is_mute;
        let wires = &mut self.wires;
        for (to, datagram) in self.out.datagrams() {
            wires.counts.sent += 1;
            wires.counts.sent_bytes += datagram.len() as u64;
            self.watch.sent(now, node, to, datagram);
            match self.addresses.index(to) {
                _ if is_mute => wires.counts.blocked += 1,
                Some(to) if to < known => wires.carry(now, node, to, datagram),
                _ => wires.counts.unheard += 1,
            }
        }
        for event in self.out.events.drain(..) {
            let said = match &event {
                Said::SeenAt(_) => continue,
                Said::Finished(finished) => {
                    let closest = finished.closest.first();
                    closest.map_or(0, |closest| id_word(closest.id)) ^ finished.took
                }
                Said::Peers { peers, .. } => peers.len() as u64,
                Said::Item { value, .. } => bytes_hash(value),
                Said::Samples { ids, .. } => ids.len() as u64,
            };
            wires.trace.record(now, node, kind::END, said, 0);
            self.told.push(Ended {
                at: now,
                node,
                event,
            });
        }
        self.out.clear();
    }

    fn deliver_post(&mut self) {
        let mut post = std::mem::take(&mut self.post);
        let known = self.peers.len() as u32;
        for (from, to, range) in post.datagrams.drain(..) {
            match self.addresses.index(to) {
                Some(to) if to < known => {
                    self.wires.carry(self.now, from, to, &post.bytes[range]);
                }
                _ => self.wires.counts.unheard += 1,
            }
        }
        for (at, own) in post.wakes.drain(..) {
            self.prompt(at.max(self.now + 1), own);
        }
        post.bytes.clear();
        self.post = post;
    }
}

/// A word that stands for an id.
fn id_word(id: Id) -> u64 {
    bytes_hash(id.as_bytes())
}
