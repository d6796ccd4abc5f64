//! The world by itself.

use super::*;
use holdfast_kademlia::{
    Config, Event, Finished, Id, Message, Request,
    krpc::{Call, Query},
};
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;

fn setup(seed: u64) -> Setup {
    Setup {
        seed,
        config: Arc::new(Config::default()),
        links: Links::default(),
        ids: Ids::Random,
        network_bits: 0,
    }
}

fn filled(seed: u64, nodes: u32) -> Overlay {
    let mut overlay = Overlay::new(setup(seed), Honest, ());
    for _ in 0..nodes {
        overlay.add();
    }
    overlay.fill_tables();
    overlay
}

/// Looks up `count` random ids at random nodes, one a second; what came of each, with the node that looked.
fn look_up(overlay: &mut Overlay, count: usize) -> Vec<(u32, Finished<std::net::SocketAddrV4>)> {
    for _ in 0..count {
        let node = overlay.any().expect("somebody lives");
        let target = overlay.any_id();
        let begun = overlay.look_up(node, Request::FindNode { target });
        begun.expect("it is honest").expect("it has time");
        overlay.run_until(overlay.now() + SECOND);
    }
    overlay.run_until(overlay.now() + 60 * SECOND);
    let told = overlay.take_told();
    let ends = told.into_iter().filter_map(|told| match told.event {
        Event::Finished(finished) => Some((told.node, *finished)),
        _ => None,
    });
    ends.collect()
}

#[test]
fn lookups_among_nodes_that_know_each_other_find_the_closest() {
    let mut overlay = filled(1, 500);
    let ends = look_up(&mut overlay, 50);
    assert_eq!(ends.len(), 50);
    for (node, end) in &ends {
        let truth = overlay.census().closest(end.target, 8, Some(*node));
        let found: Vec<_> = end.closest.iter().map(|contact| contact.id).collect();
        let truth: Vec<_> = truth.iter().map(|(id, _)| *id).collect();
        assert_eq!(found, truth);
        assert!(end.path <= end.found_after && end.hops >= 1);
        let least = 2 * 20_000_000 * u64::from(end.hops);
        let most = 2 * 100_000_000 * u64::from(end.hops);
        assert!((least..=most).contains(&end.path), "{end:?}");
    }
    for (_, node) in overlay.nodes() {
        node.check();
        assert_eq!(node.lookups(), 0);
    }
    let counts = overlay.counts();
    assert_eq!((counts.lost, counts.unheard, counts.blocked), (0, 0, 0));
}

#[test]
fn a_seed_means_one_run_and_a_copy_goes_on_as_the_original_does() {
    let run = |seed| {
        let mut overlay = filled(seed, 200);
        overlay.begin_churn(600 * SECOND);
        overlay.run_until(BEGIN + 300 * SECOND);
        overlay
    };
    let mut one = run(7);
    assert_eq!(one.hash(), run(7).hash());
    assert_ne!(one.hash(), run(8).hash());
    let mut copy = one.clone();
    for overlay in [&mut one, &mut copy] {
        overlay.run_until(BEGIN + 400 * SECOND);
    }
    assert_eq!(one.hash(), copy.hash());
    assert_eq!(one.counts(), copy.counts());
}

#[test]
fn an_overlay_grows_by_joining_alone() {
    let mut overlay = Overlay::new(setup(3), Honest, ());
    overlay.add();
    for _ in 1..200 {
        let node = overlay.add();
        overlay.join(node, 2);
        overlay.run_until(overlay.now() + SECOND / 2);
    }
    overlay.run_until(overlay.now() + 60 * SECOND);
    let ends = look_up(&mut overlay, 40);
    let right = ends.iter().filter(|(node, end)| {
        let truth = overlay.census().closest(end.target, 1, Some(*node));
        end.closest.first().map(|contact| contact.id) == truth.first().map(|(id, _)| *id)
    });
    assert_eq!(right.count(), 40);
}

#[test]
fn the_dead_and_the_mute_are_not_heard_and_halves_are_apart() {
    let mut overlay = filled(5, 100);
    overlay.kill(3);
    overlay.set_mute(4, true);
    assert_eq!(overlay.census().len(), 98);
    assert!(overlay.node(3).is_none() && overlay.node(4).is_some());
    let ends = look_up(&mut overlay, 30);
    let quiet = [overlay.id(3), overlay.id(4)];
    let is_quiet = |contact: &holdfast_kademlia::krpc::Contact<_>| quiet.contains(&contact.id);
    assert!(!ends.iter().any(|(_, end)| end.closest.iter().any(is_quiet)));
    let before = overlay.counts();
    assert!(before.unheard > 0, "the dead are asked");

    overlay.come_back(3);
    overlay.set_mute(4, false);
    assert_eq!(overlay.census().len(), 100);
    assert_ne!(overlay.id(3), quiet[0]);
    overlay.cut(|node| (node % 2) as u8);
    look_up(&mut overlay, 5);
    assert!(overlay.counts().blocked > before.blocked);
}

#[test]
fn churn_replaces_who_goes_and_timers_do_not_pile_up() {
    let mut overlay = filled(9, 300);
    overlay.begin_churn(600 * SECOND);
    overlay.run_until(BEGIN + 1_200 * SECOND);
    let counts = overlay.counts();
    // Two medians: each place was left about 1.4 times.
    assert!((300..600).contains(&counts.died), "{counts:?}");
    assert_eq!(counts.came, 300 + counts.died);
    assert_eq!(overlay.census().len(), 300);
    assert_eq!(overlay.nodes().count(), 300);
    // A session's end a node, and at most two wakes and what is stale besides.
    let waiting = overlay.waiting() - overlay.under_way();
    assert!(waiting < 300 * 8, "{waiting} events wait");
}

/// Says to whoever asks that there is nobody, and knocks at a door now and then.
#[derive(Clone, Default)]
struct Knocks(u32);

impl Adversary for Knocks {
    fn receive(&mut self, _: u64, _: u32, _: std::net::SocketAddrV4, _: &[u8], _: &mut Post) {
        self.0 += 1;
    }

    fn wake(&mut self, now: u64, own: u32, post: &mut Post) {
        let to = Addresses::new(0).address(0);
        post.send(own, to, |bytes| {
            Message::query(b"a", Query::new(Id::MAX, Call::Ping)).encode(bytes);
        });
        post.wake(now + SECOND, own);
    }
}

#[derive(Clone, Default)]
struct Sees(Vec<(u32, Vec<u8>)>);

impl Watch for Sees {
    fn delivered(&mut self, _: u64, from: u32, _: u32, datagram: &[u8]) {
        self.0.push((from, datagram.to_vec()));
    }
}

#[test]
fn an_adversary_hears_speaks_and_is_seen() {
    let mut overlay = Overlay::new(setup(2), Knocks::default(), Sees::default());
    overlay.add();
    let id = overlay.any_id();
    let bad = overlay.add_adversary(id);
    overlay.prompt(BEGIN + 1, bad);
    overlay.run_until(BEGIN + 10 * SECOND);
    assert!(overlay.is_adversary(bad) && !overlay.is_adversary(0));
    // A bare ping is answered, though whoever sends it has proved nothing: the answer is no longer.
    assert!(overlay.adversary().0 >= 8, "{}", overlay.adversary().0);
    assert!(overlay.watch().0.len() >= 9);
    assert!(overlay.watch().0.iter().all(|(from, _)| *from == bad));
    assert_eq!(overlay.census().len(), 1, "only the honest count");
}
