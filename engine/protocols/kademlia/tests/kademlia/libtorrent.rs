//! What libtorrent sends is understood. The datagrams are real: see `fixtures/kademlia/README.md`.

use crate::fixtures;
use holdfast_kademlia::Id;
use holdfast_kademlia::bloom::BloomFilter;
use holdfast_kademlia::item::{Found, MutableItem, immutable_target, mutable_target};
use holdfast_kademlia::krpc::{AnnouncedPort, Body, Call, Message, Query, Reply};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Where the queries came from that libtorrent answered.
const ASKER: &str = "127.0.200.1:30000";
/// The torrent that they were about.
const TORRENT: Id = Id::new(*b"mnopqrstuvwxyz123456");

struct Heard(BTreeMap<String, Vec<u8>>);

impl Heard {
    fn message(&self, name: &str) -> Message<'_> {
        let name = format!("libtorrent-{name}");
        let datagram = self
            .0
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is there"));
        Message::decode(datagram).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn query(&self, name: &str) -> Query<'_> {
        match self.message(name).body {
            Body::Query(query) => query,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn reply(&self, name: &str) -> Reply<'_> {
        match self.message(name).body {
            Body::Reply(reply) => reply,
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn heard() -> Heard {
    Heard(fixtures::corpus())
}

#[test]
fn every_datagram_is_read_and_names_the_client() {
    let heard = heard();
    let names = heard
        .0
        .keys()
        .filter_map(|name| name.strip_prefix("libtorrent-"));
    let names: Vec<&str> = names.collect();
    assert!(names.len() >= 30, "{}", names.len());
    for name in names {
        let message = heard.message(name);
        assert_eq!(message.version, Some(&b"LT\x02\x11"[..]), "{name}");
        match message.body {
            Body::Query(query) => {
                assert_eq!(query.is_read_only, name.ends_with("read-only"), "{name}");
                assert_ne!(query.id, Id::ZERO);
            }
            Body::Reply(_) | Body::Error(_) => {
                let from: SocketAddr = match name.ends_with("ipv6") {
                    true => "[::1]:30001".parse().expect("an address"),
                    false => ASKER.parse().expect("an address"),
                };
                assert_eq!(message.requester, Some(from), "{name}");
                assert_eq!(message.transaction, b"aa", "{name}");
            }
        }
    }
}

#[test]
fn errors_have_the_numbers_of_the_beps() {
    let heard = heard();
    for (name, number) in [
        ("announce_peer-error-token", 203),
        ("unknown-without-target-error", 203),
        ("put-error-value", 205),
        ("put-error-signature", 206),
        ("put-error-salt", 207),
        ("put-error-cas", 301),
    ] {
        match heard.message(name).body {
            Body::Error(error) => assert_eq!(error.code.number(), number, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn nodes_and_peers_are_where_they_listen() {
    let heard = heard();
    for name in [
        "find_node-reply",
        "unknown-with-target-reply",
        "get_peers-reply-nodes",
    ] {
        let nodes: Vec<_> = heard
            .reply(name)
            .nodes
            .expect("it has nodes")
            .iter()
            .collect();
        assert_eq!(nodes.len(), 8, "{name}");
        for node in nodes {
            // Node `n` of that network listens on 127.0.n.1:20000+n-1; the asker is a node too.
            let number = node.address.ip().octets()[2];
            let is_asker = node.address.to_string() == ASKER;
            assert!(is_asker || node.address.port() == 19_999 + u16::from(number));
        }
    }
    let both = heard.reply("find_node-reply-both-families");
    assert_eq!(both.nodes.map(|nodes| nodes.count()), Some(8));
    assert_eq!(both.nodes6.map(|nodes| nodes.iter().count()), Some(8));
    let six = heard.reply("find_node-reply-ipv6");
    assert!(six.nodes.is_none() && six.nodes6.is_some());

    let peer = |name| heard.reply(name).peers.iter().collect::<Vec<_>>();
    assert_eq!(
        peer("get_peers-reply-peers"),
        ["127.0.200.1:6881".parse().expect("one")]
    );
    assert_eq!(
        peer("get_peers-reply-peers-ipv6"),
        ["[::1]:6881".parse().expect("one")]
    );
    assert!(heard.reply("get_peers-reply-nodes").token.is_some());

    let scrape = heard
        .reply("get_peers-reply-scrape")
        .scrape
        .expect("it was asked for");
    let peers = BloomFilter::from(scrape.peers);
    assert!(peers.may_contain("127.0.200.1".parse().expect("an address")));
    assert!((peers.estimate() - 1.0).abs() < 0.01);
    assert_eq!(BloomFilter::from(scrape.seeds), BloomFilter::new());

    let samples = heard
        .reply("sample_infohashes-reply")
        .samples
        .expect("it was asked for");
    assert!(samples.ids.iter().eq([TORRENT]));
    assert_eq!((samples.interval, samples.total), (21_600, 1));
}

#[test]
fn items_come_back_as_they_were_stored() {
    let heard = heard();
    let value = holdfast_kademlia::bencode::Raw::parse(b"12:Hello World!").expect("a value");
    let item = heard.reply("get-reply-immutable").item;
    let found = Found::verify(&item, immutable_target(value), b"");
    assert_eq!(found, Ok(Found::Immutable(value)));

    let item = heard.reply("get-reply-mutable").item;
    let key = item.key.expect("it has a key");
    let found = Found::verify(&item, mutable_target(key, b"foobar"), b"foobar");
    let Ok(Found::Mutable(found)) = found else {
        panic!("{found:?}")
    };
    assert_eq!((found.value, found.sequence), (value, 1));

    // What is not newer than what was asked for has a sequence number alone.
    let old = heard.reply("get-reply-mutable-not-newer").item;
    assert_eq!(
        (old.value, old.key, old.signature, old.sequence),
        (None, None, None, Some(1))
    );
    assert_eq!(heard.reply("get-reply-nothing").item.sequence, None);
}

#[test]
fn what_it_signs_and_announces_is_right() {
    let heard = heard();
    let Call::Put(put) = heard.query("put-mutable").call else {
        panic!("it puts")
    };
    let mutable = put.mutable.expect("it is mutable");
    assert_eq!((mutable.salt, mutable.cas), (&b"salt"[..], None));
    assert_eq!(MutableItem::of_put(mutable, put.value).verify(), Ok(()));
    let Call::Put(put) = heard.query("put").call else {
        panic!("it puts")
    };
    assert_eq!(
        (put.value.bytes(), put.mutable),
        (&b"9:some text"[..], None)
    );

    match heard.query("announce_peer").call {
        Call::AnnouncePeer {
            info_hash,
            port: AnnouncedPort::Given(port),
            token,
            is_seed,
        } => {
            assert_eq!((info_hash, port.get(), is_seed), (TORRENT, 6881, true));
            assert_eq!(token, b"12345678");
        }
        other => panic!("{other:?}"),
    }
    match heard.query("sample_infohashes").call {
        Call::SampleInfohashes { target, want } => assert_eq!((target, want), (TORRENT, None)),
        other => panic!("{other:?}"),
    }
}
