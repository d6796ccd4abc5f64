//! The network between endpoints: when, how often and whether a packet arrives.
//!
//! [`Links`] keeps no packets. It is asked once for each and answers with arrival times; whoever asked schedules them.
//! Endpoints are numbered nodes first, then clients. Every directed link draws from its own counters, so what happens
//! on one link changes nothing on another, and faults are named by the caller: overlapping ones compose, and healing
//! one leaves the others in place.

use crate::{
    draw::{Domain, Draws, exponential, unit},
    plan::{NetworkProfile, PacketOrder},
};
use std::collections::BTreeMap;

/// What a packet takes from an endpoint to itself, nanoseconds.
pub const LOOPBACK_NS: u64 = 5_000;

/// How long a link's queue may get before it drops packets, nanoseconds of its bandwidth.
pub const QUEUE_NS: u64 = 500_000_000;

/// How long a stream waits before it sends lost bytes again, nanoseconds; doubled for each further loss.
pub const RETRANSMIT_NS: u64 = 200_000_000;

/// How often in a row a stream finds the same bytes lost at most.
const RETRANSMISSIONS: u32 = 6;

/// A fault of the network, its targets resolved to endpoints.
#[derive(Clone, Debug, PartialEq)]
pub enum Disturbance {
    /// Nodes inside and outside of `side` cannot talk. A client that is not named reaches both sides, as clients of
    /// a real cluster often do: that is how a deposed leader gets asked.
    Partition {
        /// One side.
        side: Vec<u32>,
    },
    /// The same, except that `bridge` reaches both sides.
    Bridge {
        /// One side.
        side: Vec<u32>,
        /// The node between the two.
        bridge: u32,
    },
    /// Nobody, clients included, can talk with these endpoints, nor they with each other.
    Isolate {
        /// The lonely.
        endpoints: Vec<u32>,
    },
    /// Nothing gets from `from` to `to`; the other direction works.
    OneWay {
        /// Senders.
        from: Vec<u32>,
        /// Receivers.
        to: Vec<u32>,
    },
    /// What `from` sends to `to` waits, then all of it arrives at once and in any order.
    Hold {
        /// Senders.
        from: Vec<u32>,
        /// Receivers.
        to: Vec<u32>,
        /// When it is let go.
        until: u64,
    },
    /// What `from` sends to `to` is lost with this probability, on top of the profile's.
    Loss {
        /// Senders.
        from: Vec<u32>,
        /// Receivers.
        to: Vec<u32>,
        /// In `0..=1`.
        probability: f64,
    },
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, perhaps twice.
    Arrives,
    /// It was lost by chance.
    Lost,
    /// A partition or its like stood in the way.
    Blocked,
    /// The link's queue was full.
    Overflowed,
}

/// The arrivals of one packet: none, one or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deliveries {
    /// Why there are none, if there are none.
    pub fate: Fate,
    count: u8,
    at: [u64; 2],
}

impl Deliveries {
    fn none(fate: Fate) -> Self {
        Deliveries {
            fate,
            count: 0,
            at: [0; 2],
        }
    }

    fn once(at: u64) -> Self {
        Deliveries {
            fate: Fate::Arrives,
            count: 1,
            at: [at, 0],
        }
    }

    /// The times of arrival; the packet itself first, then its duplicate.
    pub fn times(&self) -> &[u64] {
        &self.at[..usize::from(self.count)]
    }

    /// When the packet arrives first, if it does.
    pub fn first(&self) -> Option<u64> {
        self.times().first().copied()
    }
}

/// What became of bytes that were given to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamVerdict {
    /// They arrive then, after all that the link's streams carried before.
    Deliver(u64),
    /// The way is cut: nothing was sent. Try again later, or give the stream up.
    Blocked,
}

/// How many packets met which fate, over all links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Packets and pieces of streams that were sent.
    pub sent: u64,
    /// Lost by chance. For streams: sent again.
    pub lost: u64,
    /// Arrived twice.
    pub duplicated: u64,
    /// Stopped by a partition or its like.
    pub blocked: u64,
    /// Kept waiting by a hold.
    pub held: u64,
    /// Dropped by a full queue.
    pub overflowed: u64,
}

#[derive(Clone, Debug)]
struct Link {
    packets: Draws,
    streams: Draws,
    /// How many packets and pieces of streams were sent: the counters of the draws.
    packets_sent: u64,
    streams_sent: u64,
    delay_min: u64,
    delay_tail: u64,
    /// Probability times 2^32.
    loss: u64,
    duplication: u64,
    /// How many disturbances block the link.
    blocks: u32,
    held_until: u64,
    busy_until: u64,
    last_packet: u64,
    last_stream: u64,
    /// See [`Links::steady`].
    is_steady: bool,
}

/// Words that one packet may draw: its fate, its delay, its duplicate's two.
const DRAWS_PER_PACKET: u64 = 4;

/// All directed links between the endpoints of one world.
#[derive(Clone, Debug)]
pub struct Links {
    endpoints: u32,
    nodes: u32,
    links: Vec<Link>,
    faults: BTreeMap<u32, Disturbance>,
    base_loss: f64,
    duplicate_within: u64,
    order: PacketOrder,
    /// What one byte occupies a link for, picoseconds; 0: nothing.
    byte_ps: u64,
    counts: LinkCounts,
}

impl Links {
    /// The links between `nodes` nodes and `clients` clients, which are the endpoints after them.
    pub fn new(seed: u64, nodes: u32, clients: u32, profile: &NetworkProfile) -> Self {
        let endpoints = nodes + clients;
        let links = (0..endpoints * endpoints)
            .map(|place| Link::new(seed, u64::from(place), profile))
            .collect();
        let mut links = Links {
            endpoints,
            nodes,
            links,
            faults: BTreeMap::new(),
            base_loss: profile.loss,
            duplicate_within: profile.duplicate_within_ns.max(1),
            order: profile.order,
            byte_ps: profile
                .bytes_per_second
                .map_or(0, |rate| 1_000_000_000_000 / rate.max(1)),
            counts: LinkCounts::default(),
        };
        links.apply();
        links
    }

    /// Sends a packet of `bytes` bytes at time `now` and says when it arrives.
    ///
    /// # Panics
    /// When an endpoint does not exist.
    #[inline]
    pub fn transmit(&mut self, now: u64, from: u32, to: u32, bytes: u64) -> Deliveries {
        self.counts.sent += 1;
        if from == to {
            return Deliveries::once(now + LOOPBACK_NS);
        }
        let place = self.place(from, to);
        let link = &mut self.links[place];
        let n = link.packets_sent * DRAWS_PER_PACKET;
        link.packets_sent += 1;
        if link.blocks > 0 {
            self.counts.blocked += 1;
            return Deliveries::none(Fate::Blocked);
        }
        let chances = link.packets.nth(n);
        if (chances & 0xffff_ffff) < link.loss {
            self.counts.lost += 1;
            return Deliveries::none(Fate::Lost);
        }
        let duration = link.duration(bytes * self.byte_ps);
        let Some(left) = link.depart(now, duration, QUEUE_NS) else {
            self.counts.overflowed += 1;
            return Deliveries::none(Fate::Overflowed);
        };
        self.counts.held += u64::from(link.held_until > now);
        let mut at = left + link.delay(link.packets.nth(n + 1));
        if self.order == PacketOrder::Sent || link.is_steady {
            at = at.max(link.last_packet);
            link.last_packet = at;
        }
        let mut deliveries = Deliveries::once(at);
        if (chances >> 32) < link.duplication {
            self.counts.duplicated += 1;
            let late = left + link.delay(link.packets.nth(n + 2));
            let extra = late_by(link.packets.nth(n + 3), self.duplicate_within);
            deliveries.count = 2;
            deliveries.at[1] = late + extra;
        }
        deliveries
    }

    /// Gives `bytes` bytes at time `now` to the streams from `from` to `to`, and says when they arrive: in order, and
    /// after as many retransmissions as chance wants.
    ///
    /// # Panics
    /// When an endpoint does not exist.
    pub fn stream_transmit(&mut self, now: u64, from: u32, to: u32, bytes: u64) -> StreamVerdict {
        if from == to {
            self.counts.sent += 1;
            return StreamVerdict::Deliver(now + LOOPBACK_NS);
        }
        let place = self.place(from, to);
        let link = &mut self.links[place];
        if link.blocks > 0 {
            self.counts.blocked += 1;
            return StreamVerdict::Blocked;
        }
        self.counts.sent += 1;
        let n = link.streams_sent * u64::from(RETRANSMISSIONS + 1);
        link.streams_sent += 1;
        let duration = link.duration(bytes * self.byte_ps);
        let mut left = link
            .depart(now, duration, u64::MAX)
            .expect("an endless queue is never full");
        self.counts.held += u64::from(link.held_until > now);
        for attempt in 0..RETRANSMISSIONS {
            if (link.streams.nth(n + 1 + u64::from(attempt)) & 0xffff_ffff) >= link.loss {
                break;
            }
            self.counts.lost += 1;
            left += RETRANSMIT_NS << attempt;
        }
        let at = (left + link.delay(link.streams.nth(n))).max(link.last_stream);
        link.last_stream = at;
        StreamVerdict::Deliver(at)
    }

    /// Whether nothing can get from `from` to `to` at present.
    ///
    /// # Panics
    /// When an endpoint does not exist.
    pub fn blocked(&self, from: u32, to: u32) -> bool {
        from != to && self.links[self.place(from, to)].blocks > 0
    }

    /// Begins a fault. A fault of the same number is replaced.
    ///
    /// # Panics
    /// When it names an endpoint that does not exist.
    pub fn disturb(&mut self, fault: u32, disturbance: Disturbance) {
        for endpoint in disturbance.endpoints() {
            assert!(endpoint < self.endpoints, "no endpoint {endpoint}");
        }
        self.faults.insert(fault, disturbance);
        self.apply();
    }

    /// Ends a fault; nothing happens when it is not on.
    pub fn heal(&mut self, fault: u32) {
        if self.faults.remove(&fault).is_some() {
            self.apply();
        }
    }

    /// Ends every fault, and from now on nothing is lost or duplicated: the network of the liveness phase. Delays
    /// stay as they are.
    pub fn calm(&mut self) {
        self.faults.clear();
        self.base_loss = 0.0;
        for link in &mut self.links {
            link.duplication = 0;
        }
        self.apply();
    }

    /// Makes the links between `endpoint` and all others as good as links can be: what is sent over them arrives in
    /// order `delay_ns` later, and nothing is lost, doubled or slowed by what else is sent. Faults that cut a link
    /// still do. For an endpoint that measures when others send.
    ///
    /// # Panics
    /// When the endpoint does not exist.
    pub fn steady(&mut self, endpoint: u32, delay_ns: u64) {
        for other in 0..self.endpoints {
            for place in [self.place(endpoint, other), self.place(other, endpoint)] {
                let link = &mut self.links[place];
                (link.delay_min, link.delay_tail) = (delay_ns, 0);
                link.duplication = 0;
                link.is_steady = true;
            }
        }
        self.apply();
    }

    /// What became of all packets so far.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// How many endpoints there are.
    pub fn endpoints(&self) -> u32 {
        self.endpoints
    }

    fn place(&self, from: u32, to: u32) -> usize {
        assert!(
            from < self.endpoints && to < self.endpoints,
            "no link from {from} to {to}"
        );
        (from * self.endpoints + to) as usize
    }

    /// Works out the state of every link from the faults that are on. Faults are rare, so nothing is kept in step.
    fn apply(&mut self) {
        for from in 0..self.endpoints {
            for to in 0..self.endpoints {
                let place = self.place(from, to);
                let base_loss = match self.links[place].is_steady {
                    true => 0.0,
                    false => self.base_loss,
                };
                let (mut blocks, mut held_until, mut passes) = (0, 0, 1.0 - base_loss);
                for fault in self.faults.values() {
                    match fault.effect(from, to, self.nodes) {
                        Effect::None => {}
                        Effect::Block => blocks += 1,
                        Effect::Hold(until) => held_until = until.max(held_until),
                        Effect::Loss(probability) => passes *= 1.0 - probability,
                    }
                }
                let link = &mut self.links[place];
                link.blocks = blocks;
                link.held_until = held_until;
                link.loss = probability(1.0 - passes);
            }
        }
    }
}

impl Link {
    fn new(seed: u64, place: u64, profile: &NetworkProfile) -> Self {
        let mut nature = Draws::new(seed, Domain::Link, place);
        // The factor's logarithm is evenly distributed over both sides of 1.
        let millionths = (profile.variation.max(1.0) * 1e6) as u64;
        let factor = nature.magnitude(1_000_000_000_000 / millionths, millionths) as f64 / 1e6;
        Link {
            packets: Draws::new(seed, Domain::Packet, place),
            streams: Draws::new(seed, Domain::Stream, place),
            packets_sent: 0,
            streams_sent: 0,
            delay_min: (profile.delay_min_ns as f64 * factor) as u64,
            delay_tail: (profile.delay_tail_ns as f64 * factor) as u64,
            loss: 0,
            duplication: probability(profile.duplication),
            blocks: 0,
            held_until: 0,
            busy_until: 0,
            last_packet: 0,
            last_stream: 0,
            is_steady: false,
        }
    }

    #[inline]
    fn delay(&self, bits: u64) -> u64 {
        self.delay_min + exponential(bits, self.delay_tail)
    }

    /// How long something that takes so many picoseconds of bandwidth occupies the link, nanoseconds.
    #[inline]
    fn duration(&self, picoseconds: u64) -> u64 {
        match self.is_steady {
            true => 0,
            false => picoseconds / 1_000,
        }
    }

    /// When something handed over now, which occupies the link for `duration`, has left; `None` when the queue is
    /// longer than `limit`.
    #[inline]
    fn depart(&mut self, now: u64, duration: u64, limit: u64) -> Option<u64> {
        let mut left = now;
        if duration > 0 {
            let start = self.busy_until.max(now);
            if start - now > limit {
                return None;
            }
            left = start + duration;
            self.busy_until = left;
        }
        Some(left.max(self.held_until))
    }
}

enum Effect {
    None,
    Block,
    Hold(u64),
    Loss(f64),
}

impl Disturbance {
    /// The endpoints that it names, some twice.
    pub fn endpoints(&self) -> impl Iterator<Item = u32> {
        let (some, more): (&[u32], &[u32]) = match self {
            Disturbance::Partition { side } => (side, &[]),
            Disturbance::Bridge { side, bridge } => (side, std::slice::from_ref(bridge)),
            Disturbance::Isolate { endpoints } => (endpoints, &[]),
            Disturbance::OneWay { from, to }
            | Disturbance::Hold { from, to, .. }
            | Disturbance::Loss { from, to, .. } => (from, to),
        };
        some.iter().chain(more).copied()
    }

    fn effect(&self, a: u32, b: u32, nodes: u32) -> Effect {
        let parted = |side: &[u32]| match (side.contains(&a), side.contains(&b)) {
            (true, false) => b < nodes,
            (false, true) => a < nodes,
            _ => false,
        };
        let block = |on| if on { Effect::Block } else { Effect::None };
        match self {
            Disturbance::Partition { side } => block(parted(side)),
            Disturbance::Bridge { side, bridge } => {
                block(a != *bridge && b != *bridge && parted(side))
            }
            Disturbance::Isolate { endpoints } => {
                block(endpoints.contains(&a) || endpoints.contains(&b))
            }
            Disturbance::OneWay { from, to } => block(from.contains(&a) && to.contains(&b)),
            Disturbance::Hold { from, to, until } if from.contains(&a) && to.contains(&b) => {
                Effect::Hold(*until)
            }
            Disturbance::Loss {
                from,
                to,
                probability,
            } if from.contains(&a) && to.contains(&b) => Effect::Loss(*probability),
            Disturbance::Hold { .. } | Disturbance::Loss { .. } => Effect::None,
        }
    }
}

/// A probability as the number of 32-bit words for which it is met.
fn probability(p: f64) -> u64 {
    (p.clamp(0.0, 1.0) * (1u64 << 32) as f64) as u64
}

/// An extra delay of at most `within`, each of its last 20 binary orders of magnitude as likely as the next.
fn late_by(bits: u64, within: u64) -> u64 {
    let order = ((bits & 0xffff) * 20) >> 16;
    (unit(bits) * (within >> order) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn links(change: impl FnOnce(&mut NetworkProfile)) -> Links {
        let mut profile = NetworkProfile::default();
        change(&mut profile);
        Links::new(1, 3, 2, &profile)
    }

    #[test]
    fn delays_have_their_least_and_their_mean() {
        let mut links = links(|_| {});
        let (mut sum, count) = (0, 20_000);
        for n in 0..count {
            let at = links.transmit(n * 100 * MS, 0, 1, 100).first().unwrap();
            let delay = at - n * 100 * MS;
            assert!(delay >= 300_000);
            sum += delay;
        }
        assert!((490_000..510_000).contains(&(sum / count)));
        assert_eq!(links.transmit(7, 2, 2, 9).times(), [7 + LOOPBACK_NS]);
    }

    #[test]
    fn loss_and_duplication_have_their_rates() {
        let mut links = links(|profile| {
            profile.loss = 0.1;
            profile.duplication = 0.05;
            profile.duplicate_within_ns = 60_000 * MS;
        });
        let mut latest = 0;
        for n in 0..100_000 {
            let sent = n * MS;
            let deliveries = links.transmit(sent, 0, 1, 100);
            assert_eq!(deliveries.times().is_empty(), deliveries.fate == Fate::Lost);
            if let [_, second] = deliveries.times() {
                latest = latest.max(second - sent);
            }
        }
        let counts = links.counts();
        assert!((9_500..10_500).contains(&counts.lost), "{counts:?}");
        assert!((4_200..4_800).contains(&counts.duplicated), "{counts:?}");
        assert!(
            (20_000 * MS..61_000 * MS).contains(&latest),
            "some duplicates come nearly a minute late: {latest}"
        );
    }

    #[test]
    fn packets_overtake_each_other_only_when_they_may() {
        let inversions = |order| {
            let mut links = links(|profile| profile.order = order);
            let arrivals: Vec<_> = (0..1_000)
                .map(|n| links.transmit(n * 100_000, 0, 1, 100).first().unwrap())
                .collect();
            arrivals.windows(2).filter(|pair| pair[1] < pair[0]).count()
        };
        assert_eq!(inversions(PacketOrder::Sent), 0);
        assert!(inversions(PacketOrder::Independent) > 100);
    }

    #[test]
    fn links_differ_and_do_not_disturb_each_other() {
        let busy = |others: u64| {
            let mut links = links(|profile| {
                profile.variation = 3.0;
                profile.loss = 0.2;
            });
            for _ in 0..others {
                links.transmit(0, 2, 1, 1);
                links.stream_transmit(0, 0, 1, 1);
            }
            (0..50)
                .map(|n| links.transmit(n * MS, 0, 1, 1).first())
                .collect::<Vec<_>>()
        };
        assert_eq!(busy(0), busy(17));
        let links = links(|profile| profile.variation = 3.0);
        let least: std::collections::BTreeSet<_> = (0..3)
            .flat_map(|from| (0..3).map(move |to| (from, to)))
            .map(|(from, to)| links.links[links.place(from, to)].delay_min)
            .collect();
        assert_eq!(least.len(), 9, "each direction has its own delay");
        assert!(least.iter().all(|delay| (99_000..=900_000).contains(delay)));
    }

    #[test]
    fn an_endpoint_with_steady_links_is_reached_in_one_time_and_always() {
        let mut links = links(|profile| {
            profile.variation = 3.0;
            profile.loss = 0.5;
            profile.duplication = 0.5;
            profile.order = PacketOrder::Independent;
            profile.bytes_per_second = Some(1_000);
        });
        links.steady(4, 7 * MS);
        for n in 0..100 {
            assert_eq!(links.transmit(n, 0, 4, 900).times(), [n + 7 * MS]);
            let delivered = StreamVerdict::Deliver(n + 7 * MS);
            assert_eq!(links.stream_transmit(n, 4, 2, 900), delivered);
        }
        let lost = (0..100).filter(|n| links.transmit(*n, 0, 1, 1).first().is_none());
        assert!(lost.count() > 20, "other links are as they were");
        let endpoints = vec![0];
        links.disturb(1, Disturbance::Isolate { endpoints });
        assert_eq!(links.transmit(0, 0, 4, 1).fate, Fate::Blocked);
        links.calm();
        assert_eq!(links.transmit(200, 0, 4, 1).times(), [200 + 7 * MS]);
    }

    fn open(links: &Links) -> Vec<(u32, u32)> {
        let all = (0..5).flat_map(|from| (0..5).map(move |to| (from, to)));
        all.filter(|&(from, to)| from < to && !links.blocked(from, to))
            .collect()
    }

    #[test]
    fn partitions_leave_unnamed_clients_alone() {
        let mut links = links(|_| {});
        let side = vec![0, 3];
        links.disturb(1, Disturbance::Partition { side });
        assert_eq!(
            open(&links),
            [(0, 3), (0, 4), (1, 2), (1, 4), (2, 4), (3, 4)],
            "client 4 reaches everybody, client 3 is with node 0"
        );
        assert_eq!(links.transmit(0, 0, 1, 1).fate, Fate::Blocked);
        assert_eq!(links.stream_transmit(0, 1, 0, 1), StreamVerdict::Blocked);
        assert_eq!(links.counts().blocked, 2);
    }

    #[test]
    fn a_bridge_reaches_both_sides() {
        let mut links = links(|_| {});
        let (side, bridge) = (vec![0], 1);
        links.disturb(1, Disturbance::Bridge { side, bridge });
        assert!(links.blocked(0, 2) && links.blocked(2, 0));
        assert!(!links.blocked(0, 1) && !links.blocked(1, 2));
    }

    #[test]
    fn overlapping_faults_compose_and_heal_one_by_one() {
        let mut links = links(|_| {});
        let side = vec![0];
        links.disturb(1, Disturbance::Partition { side });
        let (from, to) = (vec![0], vec![1]);
        links.disturb(2, Disturbance::OneWay { from, to });
        links.disturb(3, Disturbance::Isolate { endpoints: vec![2] });
        links.heal(1);
        assert!(links.blocked(0, 1), "still one-way");
        assert!(!links.blocked(1, 0));
        assert!(links.blocked(0, 2) && links.blocked(2, 4));
        links.heal(1);
        links.heal(3);
        links.heal(2);
        assert_eq!(open(&links).len(), 10);
    }

    #[test]
    fn what_is_held_arrives_after_its_release() {
        let mut links = links(|profile| profile.order = PacketOrder::Independent);
        let (from, to) = (vec![0], vec![1, 2]);
        let until = 1_000 * MS;
        links.disturb(1, Disturbance::Hold { from, to, until });
        let first = links.transmit(5, 0, 1, 1).first().unwrap();
        assert!((until..until + 10 * MS).contains(&first));
        assert!(links.transmit(5, 1, 0, 1).first().unwrap() < 10 * MS);
        let StreamVerdict::Deliver(at) = links.stream_transmit(5, 0, 2, 1) else {
            panic!("a hold does not block");
        };
        assert!((until..until + 10 * MS).contains(&at));
        assert_eq!(links.counts().held, 2);
        links.heal(1);
        assert!(links.transmit(6, 0, 1, 1).first().unwrap() < 10 * MS);
    }

    #[test]
    fn loss_adds_up_and_ends_with_calm() {
        let mut links = links(|profile| {
            profile.loss = 0.5;
            profile.duplication = 1.0;
        });
        let probability = 0.5;
        let (from, to) = (vec![0], vec![1]);
        links.disturb(
            9,
            Disturbance::Loss {
                from,
                to,
                probability,
            },
        );
        for _ in 0..10_000 {
            links.transmit(0, 0, 1, 1);
        }
        assert!((7_300..7_700).contains(&links.counts().lost));
        links.calm();
        for _ in 0..1_000 {
            assert_eq!(links.transmit(0, 0, 1, 1).times().len(), 1);
        }
    }

    #[test]
    fn streams_keep_their_order_over_losses() {
        let mut links = links(|profile| {
            profile.loss = 0.3;
            profile.order = PacketOrder::Independent;
        });
        let mut last = 0;
        for n in 0..1_000 {
            match links.stream_transmit(n * MS, 0, 1, 100) {
                StreamVerdict::Deliver(at) => {
                    assert!(at >= last && at > n * MS);
                    last = at;
                }
                StreamVerdict::Blocked => panic!("nothing blocks"),
            }
        }
        assert!((300..600).contains(&links.counts().lost));
    }

    #[test]
    fn a_narrow_link_queues_and_then_drops() {
        let mut links = links(|profile| {
            profile.bytes_per_second = Some(1_000_000);
            profile.delay_tail_ns = 0;
        });
        assert_eq!(links.transmit(0, 0, 1, 1_000).times(), [MS + 300_000]);
        assert_eq!(links.transmit(0, 0, 1, 1_000).times(), [2 * MS + 300_000]);
        for _ in 0..1_000 {
            links.transmit(0, 0, 1, 1_000);
        }
        let counts = links.counts();
        assert_eq!(counts.overflowed, 1_002 - 501, "half a second is queued");
        assert_eq!(links.transmit(10_000 * MS, 0, 1, 1_000).fate, Fate::Arrives);
    }

    #[test]
    #[should_panic(expected = "no endpoint 5")]
    fn a_fault_names_endpoints_that_exist() {
        links(|_| {}).disturb(1, Disturbance::Isolate { endpoints: vec![5] });
    }
}
