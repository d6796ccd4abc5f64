//! What is stored is found.

use crate::network::{World, settings, v4};
use holdfast_kademlia::{Id, Request, item::ItemError};
use holdfast_peers::{DhtError, Found, KeptKind, NewItem, Settings};
use std::num::NonZeroU16;

const SEED: [u8; 32] = [9; 32];

#[test]
fn what_one_node_stores_every_other_finds() {
    let world = World::new();
    let handle = world.network(30, false);
    let item = NewItem::immutable(NewItem::text(b"hello")).expect("an item");
    let target = item.target();
    let put = world.within(handle.put(0, item)).expect("it ends");
    assert_eq!((put.target, put.stored()), (target, 8));
    let info_hash = Id::new([3; 20]);
    let port = NonZeroU16::new(4_242);
    let announced = world.within(handle.announce(5, info_hash, port));
    assert_eq!(announced.expect("it ends").stored(), 8);
    for node in 0..handle.nodes() {
        let got = world.within(handle.get(node, target, b"")).expect("ends");
        assert_eq!(got.item.expect("found").value, b"5:hello");
        let peers = world.within(handle.get_peers(node, info_hash));
        assert_eq!(
            peers.expect("ends").peers,
            ["127.0.0.1:4242".parse().expect("an address")]
        );
    }
    // Those around it tell of the torrent.
    let samples = world.within(handle.sample(0, info_hash)).expect("ends");
    assert!(samples.samples.iter().any(|s| s.ids == [info_hash]));
    let none = world.within(handle.get(1, Id::MAX, b"")).expect("ends");
    assert_eq!(none.item, None);
}

#[test]
fn mutable_items_change_by_their_owner_and_by_comparison() {
    let world = World::new();
    let handle = world.network(30, false);
    let signed = |sequence, text: &str, cas| {
        let value = NewItem::text(text.as_bytes());
        NewItem::signed(&SEED, b"salt", sequence, value, cas).expect("an item")
    };
    let target = signed(1, "", None).target();
    let value_at = |node| {
        let got = world.within(handle.get(node, target, b"salt"));
        let item = got.expect("it ends").item.expect("found");
        (item.value, item.version.map(|(sequence, _)| sequence))
    };
    // By one node, which is never among those that it asks: by several, they would be others each time.
    let put = |item| world.within(handle.put(0, item)).expect("it ends");
    assert_eq!(put(signed(1, "one", None)).stored(), 8);
    assert_eq!(value_at(7), (b"3:one".to_vec(), Some(1)));
    assert_eq!(put(signed(2, "two", Some(1))).stored(), 8);
    assert_eq!(value_at(8), (b"3:two".to_vec(), Some(2)));
    // The one that was compared with is no longer there.
    let late = put(signed(3, "three", Some(1)));
    assert_eq!((late.stored(), late.refused_with(301)), (0, 8));
    // It does not go back.
    let old = put(signed(1, "one", None));
    assert_eq!((old.stored(), old.refused_with(302)), (0, 8));
    assert_eq!(value_at(20), (b"3:two".to_vec(), Some(2)));
    // Who does not know the salt finds nothing, those that store it included.
    for node in 0..handle.nodes() {
        let got = world.within(handle.get(node, target, b"")).expect("ends");
        assert_eq!(got.item, None);
    }
}

#[test]
fn a_lookup_tells_what_it_finds_on_its_way() {
    let world = World::new();
    let handle = world.network(20, false);
    let info_hash = Id::new([4; 20]);
    let announced = world.within(handle.announce(1, info_hash, None));
    announced.expect("it ends");
    let request = Request::GetPeers {
        info_hash,
        no_seeds: false,
    };
    let mut lookup = handle.begin(2, request).expect("it runs");
    let mut told = Vec::new();
    while let Some(found) = world.within(lookup.next()) {
        let Found::Peers(peers) = found else {
            panic!("peers: {found:?}");
        };
        told.extend(peers);
    }
    let outcome = world.within(lookup.finish()).expect("it ends");
    told.sort();
    assert_eq!(told, outcome.peers);
    assert_eq!(told, [handle.addresses(1)[0].expect("in IPv4")]);
}

#[test]
fn what_is_kept_is_listed_until_it_is_forgotten() {
    let world = World::new();
    let handle = world.network(20, false);
    let item = NewItem::signed(&SEED, b"", 1, NewItem::text(b"kept"), Some(0));
    let item = item.expect("an item");
    let target = item.target();
    let put = world.within(handle.keep(2, item.into_request()));
    assert_eq!(put.expect("it ends").stored(), 8);
    let kept = world.within(handle.kept()).expect("it runs");
    let [kept] = &kept[..] else {
        panic!("one: {kept:?}");
    };
    assert_eq!(
        (kept.node, kept.kind, kept.target, kept.stored),
        (Some(2), KeptKind::Item, target, Some(8))
    );
    assert!(kept.next > holdfast_peers::ITEM_INTERVAL * 8 / 10);
    for was_kept in [true, false] {
        let forgotten = world.within(handle.forget(2, KeptKind::Item, target));
        assert_eq!(forgotten, Ok(was_kept));
    }
}

#[test]
fn what_no_node_would_take_is_refused_at_once() {
    let world = World::new();
    let handle = world.start(Settings {
        nodes: vec![v4()],
        ..settings()
    });
    assert_eq!(NewItem::immutable(vec![b'x']), Err(ItemError::NotCanonical));
    let long = NewItem::immutable(NewItem::text(&[0; 1_000]));
    assert_eq!(long, Err(ItemError::ValueTooLong(1_005)));
    let forged = holdfast_kademlia::PutRequest {
        value: b"i1e".to_vec(),
        mutable: Some(holdfast_kademlia::SignedPut {
            key: *holdfast_kademlia::item::SecretKey::from_seed(&SEED).public(),
            salt: Vec::new(),
            sequence: 1,
            signature: [0; 64],
            cas: None,
        }),
    };
    let put = world.within(handle.put(0, NewItem::of(forged.clone())));
    assert_eq!(put, Err(DhtError::Invalid(ItemError::WrongSignature)));
    let kept = world.within(handle.keep(0, Request::Put(forged)));
    assert_eq!(kept, Err(DhtError::Invalid(ItemError::WrongSignature)));
    assert_eq!(world.within(handle.kept()), Ok(Vec::new()));
}
