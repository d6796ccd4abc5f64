//! Announced peers, rule by rule.

use holdfast_kademlia::krpc::{AnnouncedPort, Endpoint, ErrorCode};
use holdfast_kademlia::peers::{Announcement, PeerLimits, PeerStore, SAMPLE_LIMIT};
use holdfast_kademlia::{Id, Nanos, SWEEP_INTERVAL, StoreMutant};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU16;

const SECOND: Nanos = 1_000_000_000;
const OWN: Id = Id::ZERO;

fn id(first: u8, last: u8) -> Id {
    let mut bytes = [0; 20];
    (bytes[0], bytes[19]) = (first, last);
    Id::new(bytes)
}

fn v4(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(0x0a00_0000 + n), 6_881)
}

fn v6(network: u128, n: u128) -> SocketAddrV6 {
    let ip = Ipv6Addr::from(0x2001_0db8 << 96 | network << 64 | n);
    SocketAddrV6::new(ip, 6_881, 0, 0)
}

/// A store with what every call of it needs.
struct Node<A> {
    store: PeerStore<A>,
    rng: ChaCha8Rng,
    limits: PeerLimits,
    planted: Option<StoreMutant>,
}

impl<A: Endpoint> Node<A> {
    fn new() -> Node<A> {
        Node {
            store: PeerStore::default(),
            rng: ChaCha8Rng::seed_from_u64(5),
            limits: PeerLimits::default(),
            planted: None,
        }
    }

    fn announce_as(
        &mut self,
        now: Nanos,
        info_hash: Id,
        source: A,
        port: AnnouncedPort,
        is_seed: bool,
    ) -> Result<(), ErrorCode> {
        let announcement = Announcement {
            info_hash,
            source,
            port,
            is_seed,
        };
        let (rng, limits) = (&mut self.rng, &self.limits);
        self.store
            .announce(now, OWN, announcement, rng, limits, self.planted)
    }

    fn announce(&mut self, now: Nanos, info_hash: Id, source: A) -> Result<(), ErrorCode> {
        let port = AnnouncedPort::Implied { fallback: None };
        self.announce_as(now, info_hash, source, port, false)
    }

    fn peers(&mut self, now: Nanos, info_hash: Id) -> BTreeSet<A> {
        let mut out = Vec::new();
        let rng = &mut self.rng;
        self.store
            .peers(now, info_hash, false, usize::MAX, rng, &mut out);
        let set: BTreeSet<A> = out.iter().copied().collect();
        assert_eq!(set.len(), out.len(), "no peer is given twice");
        set
    }
}

fn given(port: u16) -> AnnouncedPort {
    AnnouncedPort::Given(NonZeroU16::new(port).expect("it is not 0"))
}

fn port_of(announced: AnnouncedPort, planted: Option<StoreMutant>) -> u16 {
    let mut node = Node::new();
    node.planted = planted;
    node.announce_as(0, OWN, v4(1), announced, false)
        .expect("it is stored");
    let peers = node.peers(0, OWN);
    assert_eq!(peers.len(), 1);
    peers.first().expect("there is one").port()
}

#[test]
fn a_peer_is_stored_with_the_port_that_it_says_or_implies() {
    assert_eq!(port_of(given(4_000), None), 4_000);
    let fallback = NonZeroU16::new(4_000);
    for fallback in [None, fallback] {
        assert_eq!(port_of(AnnouncedPort::Implied { fallback }, None), 6_881);
    }
    let mutant = Some(StoreMutant::ImpliedPortIgnored);
    if cfg!(debug_assertions) {
        assert_eq!(
            port_of(AnnouncedPort::Implied { fallback: None }, mutant),
            0
        );
        assert_eq!(port_of(AnnouncedPort::Implied { fallback }, mutant), 4_000);
    }
}

#[test]
fn a_peer_that_cannot_be_reached_is_refused() {
    let mut node = Node::new();
    let refused = Err(ErrorCode::Protocol);
    assert_eq!(node.announce(0, OWN, v4(1).with_port(0)), refused);
    let multicast = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), 1);
    assert_eq!(node.announce(0, OWN, multicast), refused);
    assert_eq!(node.store.torrent_count(), 0);
    assert_eq!(node.store.next_expiry(), None);
}

#[test]
fn an_address_is_one_peer_whose_port_and_state_may_change() {
    let mut node = Node::new();
    let source = v4(1);
    for (port, is_seed) in [(1, false), (2, true), (3, false), (4, true)] {
        node.announce_as(0, OWN, source, given(port), is_seed)
            .expect("it is stored");
        assert_eq!(node.peers(0, OWN), BTreeSet::from([source.with_port(port)]));
        let [seeds, peers] = node.store.scrape(0, OWN).expect("there is a peer");
        let ip = IpAddr::V4(*source.ip());
        assert_eq!(seeds.may_contain(ip), is_seed);
        assert_eq!(peers.may_contain(ip), !is_seed);
    }
}

#[test]
fn a_peer_expires_unless_it_is_announced_again() {
    let mut node = Node::new();
    let lifetime = node.limits.lifetime;
    node.announce(5, OWN, v4(1)).expect("it is stored");
    node.announce(5, OWN, v4(2)).expect("it is stored");
    node.announce(lifetime, OWN, v4(1)).expect("it is stored");
    assert_eq!(node.peers(lifetime + 4, OWN).len(), 2);
    // Given out it is no more, from the nanosecond on; dropped it is a little later.
    assert_eq!(node.peers(lifetime + 5, OWN), BTreeSet::from([v4(1)]));
    assert_eq!(node.peers(2 * lifetime - 1, OWN).len(), 1);
    assert_eq!(node.peers(2 * lifetime, OWN).len(), 0);
    assert_eq!(node.store.scrape(2 * lifetime, OWN), None);

    let first = node.store.next_expiry().expect("there are peers");
    assert_eq!(first, lifetime + SWEEP_INTERVAL);
    node.store.expire(first - 1);
    assert_eq!(node.store.peer_count(OWN), 2);
    node.store.expire(first);
    assert_eq!(node.store.peer_count(OWN), 1);
    assert_eq!(node.store.next_expiry(), Some(2 * lifetime));
    node.store.expire(2 * lifetime);
    assert_eq!(node.store.torrent_count(), 0);
    assert_eq!(node.store.next_expiry(), None);
}

#[test]
fn a_choice_of_peers_is_bounded_random_and_of_the_seed() {
    let mut node = Node::new();
    for n in 0..100 {
        node.announce(0, OWN, v4(n)).expect("it is stored");
    }
    let choose = |seed: u64| {
        let mut out = vec![v4(9_999)];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        node.store.peers(0, OWN, false, 10, &mut rng, &mut out);
        assert_eq!(out.len(), 10);
        assert_eq!(out.iter().collect::<BTreeSet<_>>().len(), 10);
        out
    };
    assert_eq!(choose(1), choose(1));
    // Every peer is chosen about as often, at the first place too.
    let mut chosen = [0_u32; 100];
    let mut first = [0_u32; 100];
    for seed in 0..10_000 {
        let out = choose(seed);
        let index = |peer: SocketAddrV4| (u32::from(*peer.ip()) - 0x0a00_0000) as usize;
        first[index(out[0])] += 1;
        out.iter().for_each(|peer| chosen[index(*peer)] += 1);
    }
    assert!(
        chosen.iter().all(|n| (850..1_150).contains(n)),
        "{chosen:?}"
    );
    assert!(first.iter().all(|n| (60..140).contains(n)), "{first:?}");
    let mut out = vec![v4(1)];
    node.store.peers(0, OWN, false, 0, &mut node.rng, &mut out);
    assert!(out.is_empty());
    node.store
        .peers(0, id(1, 1), false, 9, &mut node.rng, &mut out);
    assert!(out.is_empty());
}

#[test]
fn seeds_are_left_out_for_those_who_seed() {
    let mut node = Node::new();
    for n in 0..20 {
        node.announce_as(0, OWN, v4(n), given(1), n % 4 != 0)
            .expect("it is stored");
    }
    let mut out = Vec::new();
    node.store.peers(0, OWN, true, 50, &mut node.rng, &mut out);
    out.sort();
    let expected = [0, 4, 8, 12, 16].map(|n| v4(n).with_port(1));
    assert_eq!(out, expected);
}

#[test]
fn a_scrape_has_every_seed_and_every_peer_in_its_filter() {
    let mut node = Node::new();
    assert_eq!(node.store.scrape(0, OWN), None);
    for n in 0..200 {
        node.announce_as(0, OWN, v4(n), given(1), n < 150)
            .expect("it is stored");
    }
    let [seeds, peers] = node.store.scrape(0, OWN).expect("there are peers");
    for n in 0..200 {
        let filter = if n < 150 { &seeds } else { &peers };
        assert!(filter.may_contain(IpAddr::V4(*v4(n).ip())));
    }
    assert!(
        (seeds.estimate() - 150.0).abs() < 10.0,
        "{}",
        seeds.estimate()
    );
    assert!(
        (peers.estimate() - 50.0).abs() < 5.0,
        "{}",
        peers.estimate()
    );
}

#[test]
fn in_a_full_torrent_another_peer_makes_way_at_random() {
    let mut node = Node::new();
    node.limits.peers_per_torrent = 50;
    for n in 0..50 {
        node.announce(0, OWN, v4(n)).expect("it is stored");
    }
    // Half of them are announced again and again, which gives them no better chance to stay.
    let mut survivors = [0; 2];
    for round in 0..200 {
        let mut node = Node {
            store: node.store.clone(),
            rng: ChaCha8Rng::seed_from_u64(round),
            ..Node::new()
        };
        node.limits.peers_per_torrent = 50;
        for n in 0..50 {
            for eager in 0..25 {
                if node.peers(1, OWN).contains(&v4(eager)) {
                    node.announce(1, OWN, v4(eager)).expect("it is stored");
                }
            }
            node.announce(1, OWN, v4(1_000 + n)).expect("it is stored");
            assert_eq!(node.store.peer_count(OWN), 50);
        }
        let peers = node.peers(1, OWN);
        assert!(peers.contains(&v4(1_049)), "the newest is there");
        survivors[0] += (0..25).filter(|n| peers.contains(&v4(*n))).count();
        survivors[1] += (25..50).filter(|n| peers.contains(&v4(*n))).count();
    }
    // Of 25 stay 25 * (49/50)^50, that is 9.1.
    for of_half in survivors {
        assert!((1_640..2_000).contains(&of_half), "{survivors:?}");
    }
}

#[test]
fn a_network_of_ipv6_has_few_peers_of_a_torrent() {
    let mut node = Node::new();
    node.announce(0, OWN, v6(1, 0)).expect("it is stored");
    node.announce(0, OWN, v6(3, 0)).expect("it is stored");
    for n in 0..100 {
        let now = Nanos::from(n as u64);
        node.announce(now, OWN, v6(2, n)).expect("it is stored");
    }
    let peers = node.peers(0, OWN);
    let mut expected: BTreeSet<_> = (92..100).map(|n| v6(2, n)).collect();
    expected.extend([v6(1, 0), v6(3, 0)]);
    assert_eq!(peers, expected, "the oldest of the network have gone");
    // Of another torrent it has as many again.
    node.announce(0, id(1, 1), v6(2, 0)).expect("it is stored");
    assert_eq!(node.store.peer_count(OWN), 10);
}

#[test]
fn in_a_full_store_the_farthest_torrent_of_who_has_most_makes_way() {
    let mut node = Node::new();
    node.limits.torrents = 10;
    // One source has eight, of which some are closer than the single ones of two others.
    for n in 1..=8 {
        node.announce(0, id(n, 0), v4(1)).expect("it is stored");
    }
    node.announce(0, id(0xf0, 0), v4(2)).expect("it is stored");
    node.announce(0, id(0xf1, 0), v4(3)).expect("it is stored");
    let has = |node: &Node<_>, first| node.store.peer_count(id(first, 0)) > 0;
    node.announce(1, id(0xf2, 0), v4(4)).expect("it is stored");
    assert!(!has(&node, 8) && has(&node, 7) && has(&node, 0xf0));
    // He who has most gains nothing by more of it, unless it is closer.
    let full = Err(ErrorCode::Server);
    assert_eq!(node.announce(1, id(9, 0), v4(1)), full);
    assert!(has(&node, 7) && !has(&node, 9));
    node.announce(1, id(0, 1), v4(1)).expect("it is closer");
    assert!(!has(&node, 7) && node.store.peer_count(id(0, 1)) == 1);
    // Once all have the same, distance decides.
    for n in 0..6 {
        node.announce(1, id(0xe0 + n, 0), v4(10 + u32::from(n)))
            .expect("it is stored");
    }
    assert_eq!(node.announce(1, id(0xff, 0), v4(20)), full);
    node.announce(1, id(0xd0, 0), v4(21)).expect("it is closer");
    assert!(!has(&node, 0xf2) && has(&node, 0xf1));
    assert_eq!(node.store.torrent_count(), 10);
    // A torrent that is there has room for peers.
    node.announce(1, id(0xf1, 0), v4(22)).expect("it is stored");
    assert_eq!(node.store.peer_count(id(0xf1, 0)), 2);
}

#[test]
fn what_has_expired_makes_way_first() {
    let mut node = Node::new();
    node.limits.torrents = 2;
    node.announce(0, id(1, 0), v4(1)).expect("it is stored");
    node.announce(SECOND, id(2, 0), v4(1))
        .expect("it is stored");
    let now = node.limits.lifetime;
    node.announce(now, id(0xff, 0), v4(1))
        .expect("it is stored");
    assert_eq!(node.store.peer_count(id(1, 0)), 0);
    assert_eq!(node.store.peer_count(id(2, 0)), 1);
}

#[test]
fn a_store_without_room_refuses() {
    for (torrents, peers_per_torrent) in [(0, 5), (5, 0), (0, 0)] {
        let mut node = Node::new();
        node.limits.torrents = torrents;
        node.limits.peers_per_torrent = peers_per_torrent;
        assert_eq!(node.announce(0, OWN, v4(1)), Err(ErrorCode::Server));
        assert_eq!(node.store.torrent_count(), 0);
    }
}

#[test]
fn a_sample_of_few_torrents_is_all_of_them() {
    let mut node = Node::new();
    let (rng, limits) = (&mut node.rng, &node.limits);
    let none = node.store.sample(0, 20, rng, limits);
    assert_eq!((none.ids.count(), none.interval, none.total), (0, 0, 0));
    for n in 1..=20 {
        node.announce(0, id(n, 0), v4(1)).expect("it is stored");
        let sample = node.store.sample(0, 20, &mut node.rng, &node.limits);
        let ids: BTreeSet<Id> = sample.ids.iter().collect();
        assert_eq!(ids, (1..=n).map(|n| id(n, 0)).collect());
        assert_eq!((sample.interval, sample.total), (0, n.into()));
    }
}

#[test]
fn a_sample_of_many_torrents_stays_the_same_for_its_interval() {
    let mut node = Node::new();
    for n in 0..200 {
        node.announce(0, id(n, 0), v4(1)).expect("it is stored");
    }
    let mut sample = |now, limit| {
        let sample = node.store.sample(now, limit, &mut node.rng, &node.limits);
        let ids: Vec<Id> = sample.ids.iter().collect();
        (ids, sample.interval, sample.total)
    };
    let (first, interval, total) = sample(0, 20);
    assert_eq!((interval, total), (1_800, 200));
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 20);
    let (again, interval, _) = sample(SECOND / 2, 20);
    assert_eq!((&again, interval), (&first, 1_800));
    // Of another length it is a part of the same, and never longer than can be sent.
    assert_eq!(sample(5 * SECOND, 7), (first[..7].to_vec(), 1_795, 200));
    assert_eq!(sample(5 * SECOND, 100).0.len(), SAMPLE_LIMIT);
    assert_eq!(sample(1_800 * SECOND - 1, 20), (first, 1, 200));
}

#[test]
fn a_new_sample_is_taken_after_the_interval_and_none_has_what_is_gone() {
    let mut node = Node::new();
    node.limits.lifetime = 7_200 * SECOND;
    for n in 0..100 {
        node.announce(0, id(n, 0), v4(1)).expect("it is stored");
    }
    for n in 100..200 {
        node.announce(3_600 * SECOND, id(n, 0), v4(1))
            .expect("it is stored");
    }
    node.limits.sample_interval = 100 * 3_600 * SECOND;
    let mut sample = |now| {
        let sample = node.store.sample(now, 20, &mut node.rng, &node.limits);
        let ids: BTreeSet<Id> = sample.ids.iter().collect();
        (ids, sample.interval, sample.total)
    };
    let (first, interval, _) = sample(3_600 * SECOND);
    assert_eq!(interval, 21_600, "BEP 51 has six hours");
    let (later, _, total) = sample(7_200 * SECOND);
    assert_eq!(total, 100);
    assert!(later.iter().all(|peer| *peer >= id(100, 0)));
    assert!(later.intersection(&first).count() > 0);

    let mut node = Node::new();
    let mut seen = BTreeSet::new();
    for hour in 0..30 {
        for n in 0..100 {
            node.announce(hour * 3_600 * SECOND, id(n, 0), v4(1))
                .expect("it is stored");
        }
        let now = hour * 3_600 * SECOND + 1;
        let sample = node.store.sample(now, 20, &mut node.rng, &node.limits);
        seen.extend(sample.ids.iter());
    }
    assert!(
        seen.len() > 95,
        "every torrent is in a sample: {}",
        seen.len()
    );
}

#[test]
fn a_store_with_nothing_in_it_is_small() {
    let size = size_of::<PeerStore<SocketAddrV4>>();
    assert!(size <= 64, "{size}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is announced when, no limit is passed, nothing that has expired is given out, and in the end nothing is
    /// left.
    #[test]
    fn bounds_hold_for_any_history(
        seed in any::<u64>(),
        steps in prop::collection::vec((0..200 * SECOND, 0_u8..12, 0_u128..4, 0_u128..6), 1..300),
    ) {
        let mut node = Node::new();
        node.limits = PeerLimits {
            torrents: 5,
            peers_per_torrent: 7,
            peers_per_network: 3,
            lifetime: 1_000 * SECOND,
            sample_interval: 500 * SECOND,
        };
        node.rng = ChaCha8Rng::seed_from_u64(seed);
        let mut now = 0;
        let mut announced = std::collections::BTreeMap::new();
        for (gap, torrent, network, host) in steps {
            now += gap;
            let (info_hash, source) = (id(torrent, 1), v6(network, host));
            match node.announce(now, info_hash, source) {
                Ok(()) => {
                    announced.insert((info_hash, source), now);
                    prop_assert!(node.peers(now, info_hash).contains(&source));
                }
                Err(error) => prop_assert_eq!(error, ErrorCode::Server),
            }
            if node.rng.random_bool(0.3) {
                node.store.expire(now);
            }
            prop_assert!(node.store.torrent_count() <= 5);
            for torrent in 0..12 {
                let info_hash = id(torrent, 1);
                prop_assert!(node.store.peer_count(info_hash) <= 7);
                for peer in node.peers(now, info_hash) {
                    let last = announced.get(&(info_hash, peer)).copied();
                    prop_assert!(last.is_some_and(|last| now < last + 1_000 * SECOND));
                }
            }
            let sample = node.store.sample(now, 3, &mut node.rng, &node.limits);
            prop_assert!(sample.ids.count() <= 3);
            prop_assert!(sample.total <= 5);
        }
        while let Some(next) = node.store.next_expiry() {
            prop_assert!(next > now || node.store.torrent_count() > 0);
            now = now.max(next);
            node.store.expire(now);
        }
        prop_assert_eq!(node.store.torrent_count(), 0);
    }
}
