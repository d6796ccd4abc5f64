//! Small networks of nodes that join by the protocol, stepped by hand.

use holdfast_kademlia::{
    Config, Event, Finished, Id, MAX_REFRESHES, MAX_UNDER_WAY, Nanos, Node, Outbox, PutRequest,
    Request, Sibling, SignedPut,
    bencode::Raw,
    item::SecretKey,
    krpc::{Body, Call, Contact, Message},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    num::NonZeroU16,
    sync::Arc,
};

const MS: Nanos = 1_000_000;
const SECOND: Nanos = 1_000 * MS;

type Address = SocketAddrV4;

/// What is under way: when, which in order, to whom, from whom.
type Datagram = (Nanos, u64, Address, Address, Vec<u8>);

struct Network {
    now: Nanos,
    nodes: BTreeMap<Address, Node<Address>>,
    under_way: BTreeSet<Datagram>,
    sent: u64,
    /// Nobody is there, and nobody says so.
    dead: BTreeSet<Address>,
    /// Nothing gets from one half to the other.
    is_cut: bool,
    events: Vec<(Address, Event<Address>)>,
    rng: ChaCha8Rng,
    out: Outbox<Address>,
}

fn address(n: u32) -> Address {
    SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + n), 6881)
}

impl Network {
    fn new(seed: u64) -> Self {
        Network {
            now: 0,
            nodes: BTreeMap::new(),
            under_way: BTreeSet::new(),
            sent: 0,
            dead: BTreeSet::new(),
            is_cut: false,
            events: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            out: Outbox::new(),
        }
    }

    /// A network whose nodes have joined one after another through the first.
    fn joined(seed: u64, count: u32, config: &Config) -> Self {
        let mut network = Network::new(seed);
        let config = Arc::new(config.clone());
        for n in 0..count {
            let id = Id::random(&mut network.rng);
            let node = Node::new(id, config.clone(), network.now, &mut network.rng);
            network.nodes.insert(address(n), node);
            if n > 0 {
                network.with(address(n), |node, now, rng, out| {
                    node.join(now, &[address(0)], rng, out);
                });
            }
            network.run(network.now + SECOND);
        }
        network.run(network.now + 30 * SECOND);
        network
    }

    fn with<T>(
        &mut self,
        at: Address,
        act: impl FnOnce(&mut Node<Address>, Nanos, &mut ChaCha8Rng, &mut Outbox<Address>) -> T,
    ) -> T {
        let node = self.nodes.get_mut(&at).expect("it is there");
        self.out.clear();
        let value = act(node, self.now, &mut self.rng, &mut self.out);
        node.check();
        let datagrams: Vec<(Address, Vec<u8>)> = self
            .out
            .datagrams()
            .map(|(to, bytes)| (to, bytes.to_vec()))
            .collect();
        for (to, bytes) in datagrams {
            let takes = 20 * MS + self.rng.random_range(0..80 * MS);
            self.sent += 1;
            let datagram = (self.now + takes, self.sent, to, at, bytes);
            self.under_way.insert(datagram);
        }
        for event in std::mem::take(&mut self.out.events) {
            self.events.push((at, event));
        }
        value
    }

    fn run(&mut self, until: Nanos) {
        loop {
            let arrives = self.under_way.first().map_or(Nanos::MAX, |first| first.0);
            let living = self.nodes.iter().filter(|(at, _)| !self.dead.contains(at));
            let woken = living.map(|(at, node)| (node.wake_at(), *at)).min();
            let (wakes, who) = woken.expect("somebody lives");
            let next = arrives.min(wakes);
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            if arrives <= wakes {
                let (_, _, to, from, bytes) = self.under_way.pop_first().expect("seen above");
                let half = |at: Address| at.ip().octets()[3] % 2;
                let is_lost = self.is_cut && half(from) != half(to);
                if self.nodes.contains_key(&to) && !self.dead.contains(&to) && !is_lost {
                    self.with(to, |node, now, rng, out| {
                        node.receive(now, from, &bytes, Sibling::None, rng, out);
                    });
                }
            } else {
                self.with(who, |node, now, rng, out| node.wake(now, rng, out));
            }
        }
    }

    /// The living that are closest to a target.
    fn closest(&self, target: Id, count: usize) -> Vec<Id> {
        let living = self.nodes.iter().filter(|(at, _)| !self.dead.contains(at));
        let mut ids: Vec<Id> = living.map(|(_, node)| node.id()).collect();
        ids.sort_by_key(|id| target.distance(*id));
        ids.truncate(count);
        ids
    }

    fn look_up(&mut self, from: Address, target: Id) -> Finished<Address> {
        let request = Request::FindNode { target };
        let lookup = self.with(from, |node, now, rng, out| {
            node.start(now, request, rng, out)
        });
        let lookup = lookup.expect("one more");
        self.run(self.now + 60 * SECOND);
        let events = std::mem::take(&mut self.events);
        let mut finished = events.into_iter().filter_map(|(_, event)| match event {
            Event::Finished(finished) if finished.lookup == lookup => Some(*finished),
            _ => None,
        });
        finished.next().expect("every lookup ends")
    }
}

#[test]
fn nodes_that_join_one_after_another_find_each_other() {
    let mut network = Network::joined(1, 150, &Config::default());
    let mut recalled = 0;
    for n in 0..40 {
        let target = Id::random(&mut network.rng);
        let from = address(n * 3);
        let finished = network.look_up(from, target);
        let own = network.nodes[&from].id();
        let found: Vec<Id> = finished.closest.iter().map(|contact| contact.id).collect();
        let mut expected = network.closest(target, 9);
        expected.retain(|id| *id != own);
        assert_eq!(found[0], expected[0], "the closest of all");
        recalled += expected[..8].iter().filter(|id| found.contains(id)).count();
        assert!((1..=4).contains(&finished.hops), "{} hops", finished.hops);
        assert!(finished.path > 0 && finished.path <= finished.found_after);
    }
    assert!(recalled >= 8 * 40 * 98 / 100, "{recalled} of {}", 8 * 40);
    for node in network.nodes.values() {
        assert_eq!(node.health(network.now).bad, 0);
    }
}

#[test]
fn the_dead_are_passed_over_and_forgotten() {
    let mut network = Network::joined(2, 120, &Config::default());
    let dead: Vec<Address> = (1..120).filter(|n| n % 2 == 0).map(address).collect();
    network.dead.extend(dead);
    for n in 0..30 {
        let target = Id::random(&mut network.rng);
        let finished = network.look_up(address(n * 4 + 1), target);
        let own = network.nodes[&address(n * 4 + 1)].id();
        let mut expected = network.closest(target, 2);
        expected.retain(|id| *id != own);
        assert_eq!(finished.closest[0].id, expected[0]);
        assert!(
            finished.found_after < 10 * SECOND,
            "{}",
            finished.found_after
        );
    }
    // Refreshes see to the rest.
    network.run(network.now + 3_600 * SECOND);
    let living: BTreeSet<Id> = network.closest(Id::ZERO, 120).into_iter().collect();
    for (at, node) in &network.nodes {
        if network.dead.contains(at) {
            continue;
        }
        let health = node.health(network.now);
        let known = node
            .table()
            .contacts()
            .filter(|contact| living.contains(&contact.id));
        assert!(known.count() >= 20, "{at}: {health:?}");
        assert!(health.bad <= health.good, "{at}: {health:?}");
    }
}

#[test]
fn who_was_cut_off_for_long_comes_back() {
    let mut network = Network::joined(3, 40, &Config::default());
    let all: Vec<Address> = network.nodes.keys().copied().collect();
    let lonely = address(7);
    // It hears nobody for two hours.
    network.dead.extend(all.iter().filter(|at| **at != lonely));
    network.run(network.now + 7_200 * SECOND);
    assert_eq!(network.nodes[&lonely].health(network.now).good, 0);
    network.dead.clear();
    network.run(network.now + 900 * SECOND);
    let health = network.nodes[&lonely].health(network.now);
    assert!(health.good >= 10, "{health:?}");
}

#[test]
fn halves_that_were_apart_for_long_grow_together() {
    let mut network = Network::joined(9, 60, &Config::default());
    network.is_cut = true;
    network.run(network.now + 3 * 3_600 * SECOND);
    network.is_cut = false;
    // Twice the time after which each looks itself up.
    network.run(network.now + 1_860 * SECOND);
    let all: Vec<Address> = network.nodes.keys().copied().collect();
    for at in all {
        let target = Id::random(&mut network.rng);
        let found = network.look_up(at, target);
        let expected = network.closest(target, 2);
        // Nobody finds himself.
        let expected = expected
            .into_iter()
            .find(|id| *id != network.nodes[&at].id());
        assert_eq!(found.closest.first().map(|c| c.id), expected, "{at}");
    }
}

#[test]
fn who_is_back_under_another_id_is_found_by_those_who_knew_the_old_one() {
    let config = Config::default();
    let mut network = Network::joined(10, 60, &config);
    let back = address(7);
    let id = Id::random(&mut network.rng);
    let node = Node::new(id, Arc::new(config), network.now, &mut network.rng);
    network.nodes.insert(back, node);
    network.with(back, |node, now, rng, out| {
        node.join(now, &[address(0)], rng, out)
    });
    network.run(network.now + 10 * SECOND);
    let all: Vec<Address> = network
        .nodes
        .keys()
        .copied()
        .filter(|at| *at != back)
        .collect();
    for at in all {
        let found = network.look_up(at, id);
        assert_eq!(found.closest.first().map(|c| c.id), Some(id), "{at}");
        let mut asked: Vec<Id> = found.steps.iter().map(|step| step.contact.id).collect();
        asked.sort_unstable();
        assert!(asked.is_sorted_by(|a, b| a < b), "nobody is asked twice");
    }
}

#[test]
fn one_seed_makes_one_network() {
    let tables = |seed| -> Vec<Contact<Address>> {
        let network = Network::joined(seed, 30, &Config::default());
        let nodes = network.nodes.values();
        nodes.flat_map(|node| node.table().contacts()).collect()
    };
    assert_eq!(tables(5), tables(5));
    assert_ne!(tables(5), tables(6));
}

impl Network {
    /// What a lookup tells, and how it ends.
    fn ask(&mut self, from: Address, request: Request) -> (Vec<Event<Address>>, Finished<Address>) {
        let lookup = self.with(from, |node, now, rng, out| {
            node.start(now, request, rng, out)
        });
        let lookup = lookup.expect("one more");
        self.run(self.now + 60 * SECOND);
        let mut told = Vec::new();
        let mut finished = None;
        for (_, event) in std::mem::take(&mut self.events) {
            match event {
                Event::Finished(end) if end.lookup == lookup => finished = Some(*end),
                event => told.push(event),
            }
        }
        (told, finished.expect("every lookup ends"))
    }
}

#[test]
fn what_is_stored_is_found_by_whoever_looks_for_it() {
    let mut network = Network::joined(7, 100, &Config::default());
    let value = b"12:Hello World!".to_vec();
    let put = Request::Put(PutRequest {
        value: value.clone(),
        mutable: None,
    });
    let (_, put) = network.ask(address(5), put);
    assert_eq!(put.stored, 8, "{:?}", put.refusals);
    let get = |target, salt: &[u8], is_mutable| Request::Get {
        target,
        salt: salt.to_vec(),
        is_mutable,
    };
    for n in [0, 31, 77] {
        let (told, _) = network.ask(address(n), get(put.target, b"", false));
        let [
            Event::Item {
                value: found,
                version: None,
                ..
            },
        ] = &told[..]
        else {
            panic!("{told:?}");
        };
        assert_eq!(*found, value);
    }
    // A mutable one: the highest sequence number counts.
    let key = SecretKey::from_seed(&[7; 32]);
    let signed = |text: &str, sequence, cas| {
        let value = format!("{}:{text}", text.len()).into_bytes();
        let raw = Raw::parse(&value).expect("a string");
        let signature = key.sign(b"salt", sequence, raw).expect("it is small");
        Request::Put(PutRequest {
            mutable: Some(SignedPut {
                key: *key.public(),
                salt: b"salt".to_vec(),
                sequence,
                signature,
                cas,
            }),
            value,
        })
    };
    // By one node, which is never among those that it asks: by several, they would be others each time.
    let (_, first) = network.ask(address(9), signed("one", 1, None));
    let (_, second) = network.ask(address(9), signed("two", 2, Some(1)));
    assert_eq!(
        (first.stored, second.stored),
        (8, 8),
        "{:?}",
        second.refusals
    );
    let (_, late) = network.ask(address(9), signed("three", 3, Some(1)));
    assert_eq!((late.stored, late.refusals), (0, vec![(301, 8)]));
    let (_, low) = network.ask(address(9), signed("zero", 0, None));
    assert_eq!((low.stored, low.refusals), (0, vec![(302, 8)]));
    let (told, _) = network.ask(address(50), get(first.target, b"salt", true));
    let Some(Event::Item {
        value,
        version: Some((2, _)),
        ..
    }) = told.last()
    else {
        panic!("{told:?}");
    };
    assert_eq!(value, b"3:two");
    // Peers.
    let info_hash = Id::random(&mut network.rng);
    for n in [20, 21, 22] {
        let announce = Request::Announce {
            info_hash,
            port: NonZeroU16::new(1_000 + n),
            is_seed: n == 20,
        };
        let (_, announced) = network.ask(address(n.into()), announce);
        assert_eq!(announced.stored, 8, "{:?}", announced.refusals);
    }
    for (no_seeds, expected) in [(false, 3), (true, 2)] {
        let request = Request::GetPeers {
            info_hash,
            no_seeds,
        };
        let (told, _) = network.ask(address(60), request);
        let peers = told.iter().map(|event| match event {
            Event::Peers { peers, .. } => peers.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(peers.sum::<usize>(), expected);
    }
    let (told, _) = network.ask(address(61), Request::Sample { target: info_hash });
    let is_it = |event: &Event<Address>| matches!(event, Event::Samples { ids, total: 1, .. } if ids[..] == [info_hash]);
    assert!(told.iter().any(is_it), "{told:?}");
}

#[test]
fn lookups_end_when_more_is_asked_than_may_be_under_way() {
    let config = Arc::new(Config {
        lookups: 10_000,
        ..Config::default()
    });
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut node = Node::new(Id::random(&mut rng), config, 0, &mut rng);
    for n in 0..40 {
        let contact = Contact {
            id: Id::random(&mut rng),
            address: address(n),
        };
        node.adopt(0, contact);
    }
    let mut out = Outbox::new();
    let begun = MAX_UNDER_WAY / 2;
    for _ in 0..begun {
        let target = Id::random(&mut rng);
        let request = Request::FindNode { target };
        node.start(SECOND, request, &mut rng, &mut out)
            .expect("there may be so many");
    }
    assert!(node.queries() == MAX_UNDER_WAY, "three are asked for each");
    let mut ended = out.events.len();
    // Nobody answers.
    while node.wake_at() < 300 * SECOND {
        out.clear();
        let now = node.wake_at();
        node.wake(now, &mut rng, &mut out);
        ended += out.events.len();
        node.check();
    }
    assert_eq!(ended, begun);
}

/// Nine addresses are enough: the bucket in which they are is split until they are apart, and all buckets before it are
/// empty, so that each wants to be refreshed.
#[test]
fn whoever_makes_a_table_deep_does_not_make_it_ask_for_all_of_it_at_once() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let own = Id::random(&mut rng);
    let mut node = Node::new(own, Arc::new(Config::default()), 0, &mut rng);
    for n in 0..9 {
        let id = own.random_at_depth(150 + n, &mut rng);
        let contact = Contact {
            id: id.expect("there are 160 bits"),
            address: address(n),
        };
        node.adopt(0, contact);
    }
    let buckets = node.health(0).buckets;
    assert!(buckets > 150, "{buckets} buckets");
    let mut out = Outbox::new();
    let (mut most, mut refreshed) = (0, BTreeSet::new());
    while node.wake_at() < 40 * 60 * SECOND {
        out.clear();
        let now = node.wake_at();
        node.wake(now, &mut rng, &mut out);
        node.check();
        assert!(node.wake_at() > now);
        most = most.max(node.lookups());
        for (_, bytes) in out.datagrams() {
            let Ok(Message {
                body: Body::Query(query),
                ..
            }) = Message::decode(bytes)
            else {
                panic!("it asks");
            };
            if let Call::FindNode { target, .. } = query.call {
                // The last bucket is for whatever shares more.
                let depth = own.shared_bits(target) as usize;
                refreshed.insert(depth.min(buckets - 1));
            }
        }
    }
    assert!(most <= MAX_REFRESHES + 1, "{most} lookups at a time");
    assert_eq!(refreshed.len(), buckets, "each has its turn");
}
