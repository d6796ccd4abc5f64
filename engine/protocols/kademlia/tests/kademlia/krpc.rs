//! Datagrams: what they say, and which are refused.

use crate::fixtures::{self, cases, datagram, text};
use holdfast_kademlia::krpc::{
    AnnouncedPort, Body, Call, Contact, Contacts, DATAGRAM_LIMIT_BYTES, Endpoint, ErrorCode,
    ErrorReply, ITEM_REPLY_LIMIT_BYTES, Ids, Item, Message, Peers, Problem, Query,
    REPLY_LIMIT_BYTES, Reply, Samples, TRANSACTION_LIMIT_BYTES, TooLong, Want,
};
use holdfast_kademlia::{Config, Id, Node, Outbox, Request};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value as Json, json};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

/// What a message says, as the fixtures write it.
fn described(message: &Message<'_>) -> Json {
    let mut top = Map::new();
    let mut put = |key: &str, value: Json| top.insert(key.to_string(), value);
    put("t", string(message.transaction));
    if let Some(version) = message.version {
        put("v", string(version));
    }
    if let Some(requester) = message.requester {
        put("ip", json!(requester.to_string()));
    }
    match &message.body {
        Body::Query(query) => {
            put("y", json!("q"));
            put("q", string(query.call.method()));
            put("a", arguments(query));
            if query.is_read_only {
                put("ro", json!(1));
            }
        }
        Body::Reply(reply) => {
            put("y", json!("r"));
            put("r", returns(reply));
        }
        Body::Error(error) => {
            put("y", json!("e"));
            put("e", json!([error.code.number(), string(error.message)]));
        }
    }
    Json::Object(top)
}

/// A string as the fixtures write it.
fn string(bytes: &[u8]) -> Json {
    match bytes.is_ascii() && !bytes.contains(&0) {
        true => json!(String::from_utf8_lossy(bytes)),
        false => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": digits })
        }
    }
}

fn id(id: Id) -> Json {
    string(id.as_bytes())
}

/// An object without what is not there.
fn object<const N: usize>(entries: [(&str, Option<Json>); N]) -> Json {
    let there = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_string(), value?)));
    Json::Object(there.collect())
}

fn wanted(want: Option<Want>) -> Option<Json> {
    want.map(|want| {
        let families = [(want.ipv4, "n4"), (want.ipv6, "n6")];
        families
            .iter()
            .filter(|(there, _)| *there)
            .map(|(_, name)| *name)
            .collect()
    })
}

fn arguments(query: &Query<'_>) -> Json {
    let flag = |flag: bool| flag.then(|| json!(1));
    let own = ("id", Some(id(query.id)));
    match query.call {
        Call::Ping => object([own]),
        Call::FindNode { target, want }
        | Call::SampleInfohashes { target, want }
        | Call::Unknown { target, want, .. } => {
            object([own, ("target", Some(id(target))), ("want", wanted(want))])
        }
        Call::GetPeers {
            info_hash,
            want,
            no_seeds,
            scrape,
        } => object([
            own,
            ("info_hash", Some(id(info_hash))),
            ("want", wanted(want)),
            ("noseed", flag(no_seeds)),
            ("scrape", flag(scrape)),
        ]),
        Call::AnnouncePeer {
            info_hash,
            port,
            token,
            is_seed,
        } => {
            let (is_implied, port) = match port {
                AnnouncedPort::Given(port) => (false, Some(port)),
                AnnouncedPort::Implied { fallback } => (true, fallback),
            };
            object([
                own,
                ("info_hash", Some(id(info_hash))),
                ("implied_port", flag(is_implied)),
                ("port", port.map(|port| json!(port))),
                ("token", Some(string(token))),
                ("seed", flag(is_seed)),
            ])
        }
        Call::Get {
            target,
            sequence,
            want,
        } => object([
            own,
            ("target", Some(id(target))),
            ("seq", sequence.map(|sequence| json!(sequence))),
            ("want", wanted(want)),
        ]),
        Call::Put(put) => object([
            own,
            ("token", Some(string(put.token))),
            ("v", Some(string(put.value.bytes()))),
            ("k", put.mutable.map(|m| string(m.key))),
            ("sig", put.mutable.map(|m| string(m.signature))),
            ("seq", put.mutable.map(|m| json!(m.sequence))),
            ("cas", put.mutable.and_then(|m| m.cas).map(|cas| json!(cas))),
            (
                "salt",
                put.mutable
                    .map(|m| m.salt)
                    .filter(|s| !s.is_empty())
                    .map(string),
            ),
        ]),
    }
}

fn contacts<A: Endpoint>(contacts: Option<Contacts<'_, A>>) -> Option<Json> {
    let one = |contact: Contact<A>| json!([id(contact.id), contact.address.to_string()]);
    contacts.map(|contacts| contacts.iter().map(one).collect())
}

fn returns(reply: &Reply<'_>) -> Json {
    let peers: Vec<Json> = reply
        .peers
        .iter()
        .map(|peer| json!(peer.to_string()))
        .collect();
    object([
        ("id", Some(id(reply.id))),
        ("nodes", contacts(reply.nodes)),
        ("nodes6", contacts(reply.nodes6)),
        ("token", reply.token.map(string)),
        ("values", (!peers.is_empty()).then(|| json!(peers))),
        (
            "BFsd",
            reply
                .scrape
                .map(|scrape| json!({ "hex": hexadecimal(scrape.seeds) })),
        ),
        (
            "BFpe",
            reply
                .scrape
                .map(|scrape| json!({ "hex": hexadecimal(scrape.peers) })),
        ),
        ("v", reply.item.value.map(|value| string(value.bytes()))),
        ("k", reply.item.key.map(|key| string(key))),
        (
            "sig",
            reply.item.signature.map(|signature| string(signature)),
        ),
        ("seq", reply.item.sequence.map(|sequence| json!(sequence))),
        (
            "samples",
            reply
                .samples
                .map(|samples| samples.ids.iter().map(id).collect()),
        ),
        (
            "interval",
            reply.samples.map(|samples| json!(samples.interval)),
        ),
        ("num", reply.samples.map(|samples| json!(samples.total))),
    ])
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

#[test]
fn datagrams_say_what_the_beps_say() {
    for case in cases(fixtures::MESSAGES) {
        let name = text(&case, "name");
        let datagram = datagram(&case);
        let message = Message::decode(&datagram).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(described(&message), case["message"], "{name}");
        let again = encoded(&message);
        // Our own examples of what is read leniently are not written so.
        if case["rewritten"] == json!(false) {
            let message = Message::decode(&again).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(described(&message), case["message"], "{name}");
        } else {
            assert_eq!(
                again.escape_ascii().to_string(),
                datagram.escape_ascii().to_string(),
                "{name}"
            );
        }
    }
}

#[test]
fn what_is_wrong_is_refused_and_only_queries_are_answered() {
    for case in cases(fixtures::REFUSED) {
        let name = text(&case, "name");
        let datagram = datagram(&case);
        let refused = Message::decode(&datagram).expect_err(name);
        assert_eq!(refused.to_string(), text(&case, "problem"), "{name}");
        let answer = refused.answer().map(|answer| encoded(&answer));
        let code = case["answer"].as_i64();
        assert_eq!(answer.is_some(), code.is_some(), "{name}");
        let Some(answer) = answer else { continue };
        match Message::decode(&answer) {
            Ok(Message {
                transaction: b"aa",
                body: Body::Error(error),
                ..
            }) => {
                assert_eq!(Some(error.code.number()), code, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn an_unknown_query_is_for_the_nodes_near_its_target() {
    let datagram =
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q4:vote1:t1:x1:y1:qe";
    let message = Message::decode(datagram).expect("it is answered");
    let Body::Query(Query {
        call: Call::Unknown {
            method,
            target,
            want,
        },
        ..
    }) = message.body
    else {
        panic!("{message:?}");
    };
    assert_eq!((method, want), (&b"vote"[..], None));
    assert_eq!(target, Id::new(*b"mnopqrstuvwxyz123456"));
}

#[test]
fn transactions_of_any_length_come_back_as_they_were() {
    for length in 0..=TRANSACTION_LIMIT_BYTES {
        let transaction: Vec<u8> = (0..length as u8).map(|i| 255 - i).collect();
        let query = Message::query(&transaction, Query::new(Id::ZERO, Call::Ping));
        let datagram = encoded(&query);
        let read = Message::decode(&datagram).expect("it is read");
        let reply = encoded(&Message::reply(read.transaction, Reply::new(Id::MAX)));
        let reply = Message::decode(&reply)
            .expect("it is read")
            .transaction
            .to_vec();
        assert_eq!(reply, transaction);
    }
}

#[test]
fn datagrams_beyond_the_limit_are_not_looked_at() {
    let mut datagram = b"d1:x".to_vec();
    let length = DATAGRAM_LIMIT_BYTES;
    datagram.extend_from_slice(format!("{length}:").as_bytes());
    datagram.resize(datagram.len() + length, b'x');
    datagram.push(b'e');
    let refused = Message::decode(&datagram).expect_err("it is too long");
    assert_eq!(refused.problem, Problem::TooLarge);
    assert_eq!(refused.answer(), None);
}

#[test]
fn errors_have_their_numbers_and_unknown_ones_keep_theirs() {
    for number in [201, 202, 203, 204, 205, 206, 207, 301, 302] {
        let code = ErrorCode::of(number);
        assert!(!matches!(code, ErrorCode::Other(_)));
        assert_eq!(code.number(), number);
        assert!(!code.message().is_empty());
    }
    assert_eq!(ErrorCode::of(-7), ErrorCode::Other(-7));
    let error = ErrorReply {
        code: ErrorCode::of(404),
        message: b"\xff",
    };
    let datagram = encoded(&Message::error(b"t", error));
    assert_eq!(
        Message::decode(&datagram).map(|m| m.body),
        Ok(Body::Error(error))
    );
}

#[test]
fn the_port_of_an_announcement_is_the_one_that_was_meant() {
    let source: SocketAddr = "192.0.2.1:4000".parse().expect("an address");
    let port = 6881.try_into().expect("it is not zero");
    let resolved = |port: AnnouncedPort| port.resolve(source).map(|port| port.get());
    assert_eq!(resolved(AnnouncedPort::Given(port)), Some(6881));
    let implied = AnnouncedPort::Implied {
        fallback: Some(port),
    };
    assert_eq!(resolved(implied), Some(4000));
    let nowhere = "192.0.2.1:0".parse().expect("an address");
    assert_eq!(implied.resolve(nowhere), None);
    assert_eq!(Want::of_source(source), Want::IPV4);
    assert_eq!(
        Want::of_source("[::1]:1".parse().expect("an address")),
        Want::IPV6
    );
}

fn peers(count: usize) -> Vec<SocketAddrV4> {
    let address = |i| SocketAddrV4::new(Ipv4Addr::from(0x0a00_0001 + i as u32), 6881);
    (0..count).map(address).collect()
}

#[test]
fn a_reply_that_is_too_long_loses_peers_and_no_nodes() {
    let nodes: Vec<Contact<SocketAddrV4>> = peers(8)
        .into_iter()
        .map(|address| Contact {
            id: Id::MAX,
            address,
        })
        .collect();
    let six = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 6881, 0, 0);
    let (v4, v6) = (peers(500), vec![six; 500]);
    for (peers, size) in [(Peers::from(&v4[..]), 8), (Peers::from(&v6[..]), 21)] {
        let reply = Reply {
            nodes: Some(Contacts::from(&nodes[..])),
            token: Some(b"12345678"),
            peers,
            ..Reply::new(Id::ZERO)
        };
        let message = Message::reply(b"aa", reply);
        let mut out = b"before".to_vec();
        message
            .encode_within(REPLY_LIMIT_BYTES, &mut out)
            .expect("it fits");
        let datagram = out.strip_prefix(b"before").expect("it is appended");
        assert!(datagram.len() <= REPLY_LIMIT_BYTES);
        assert!(
            datagram.len() + size > REPLY_LIMIT_BYTES,
            "not one too many is left out"
        );
        let Ok(Message {
            body: Body::Reply(read),
            ..
        }) = Message::decode(datagram)
        else {
            panic!("it is a reply");
        };
        assert_eq!(read.nodes, reply.nodes);
        assert_eq!(read.token, reply.token);
        let kept = read.peers.iter().count();
        assert!(kept > 10 && read.peers.iter().eq(reply.peers.iter().take(kept)));
    }
}

#[test]
fn what_does_not_fit_without_peers_is_not_written() {
    let nodes = vec![
        Contact {
            id: Id::MAX,
            address: peers(1)[0]
        };
        50
    ];
    let nodes = Some(Contacts::from(&nodes[..]));
    let message = Message::reply(
        b"aa",
        Reply {
            nodes,
            ..Reply::new(Id::ZERO)
        },
    );
    let (length, limit) = (encoded(&message).len(), REPLY_LIMIT_BYTES);
    assert!(length > limit);
    let mut out = b"before".to_vec();
    assert_eq!(
        message.encode_within(limit, &mut out),
        Err(TooLong { length, limit })
    );
    assert_eq!(out, b"before");
    // Queries are never changed.
    let query = Message::query(b"aa", Query::new(Id::ZERO, Call::Ping));
    assert!(query.encode_within(20, &mut out).is_err());
    assert!(query.encode_within(56, &mut out).is_ok());
}

#[test]
fn where_nothing_can_be_sent_is_no_contact() {
    let cannot = [
        "0.0.0.0:1",
        "255.255.255.255:1",
        "239.1.2.3:1",
        "10.0.0.1:0",
    ];
    assert!(
        cannot
            .iter()
            .all(|a| !a.parse::<SocketAddrV4>().expect("one").is_contactable())
    );
    let can = [
        "127.0.0.1:1",
        "10.0.0.1:65535",
        "8.8.8.8:6881",
        "240.0.0.1:1",
    ];
    assert!(
        can.iter()
            .all(|a| a.parse::<SocketAddrV4>().expect("one").is_contactable())
    );
    let cannot = [
        "[::]:1",
        "[ff02::1]:1",
        "[2001:db8::1]:0",
        "[::ffff:8.8.8.8]:1",
    ];
    assert!(
        cannot
            .iter()
            .all(|a| !a.parse::<SocketAddrV6>().expect("one").is_contactable())
    );
    let can = ["[::1]:1", "[fe80::1]:1", "[2001:db8::1]:1"];
    assert!(
        can.iter()
            .all(|a| a.parse::<SocketAddrV6>().expect("one").is_contactable())
    );
}

#[test]
fn samples_and_items_are_told_from_none() {
    let none = Reply::new(Id::ZERO);
    let empty = Samples {
        ids: Ids::compact(b""),
        interval: 0,
        total: 0,
    };
    let samples = Reply {
        samples: Some(empty),
        ..none
    };
    let item = Reply {
        item: Item {
            sequence: Some(0),
            ..Item::default()
        },
        ..none
    };
    for reply in [none, samples, item] {
        let datagram = encoded(&Message::reply(b"aa", reply));
        assert_eq!(
            Message::decode(&datagram).map(|m| m.body),
            Ok(Body::Reply(reply))
        );
    }
}

#[test]
fn a_query_is_padded_to_the_byte() {
    let call = Call::Get {
        target: Id::ZERO,
        sequence: None,
        want: None,
    };
    let query = Message::query(b"aaaa", Query::new(Id::MAX, call));
    let plain = encoded(&query).len();
    let mut others = 0;
    for length in 0..DATAGRAM_LIMIT_BYTES {
        let mut padded = Vec::new();
        query.encode_padded(length, &mut padded);
        // The shortest padding is five bytes; that of 9 bytes and that of 10 differ by two.
        let most = match length {
            _ if length <= plain => plain,
            _ if length < plain + 5 => plain + 5,
            _ => length + 1,
        };
        assert!((length..=most).contains(&padded.len()), "{length}");
        others += usize::from(length >= plain + 5 && padded.len() != length);
        assert_eq!(Message::decode(&padded), Ok(query));
    }
    assert_eq!(others, 3, "where the padding's length gets a digit");
}

/// What asks for an item goes through an Ethernet frame over IPv6, so that it need not come in pieces.
#[test]
fn what_asks_for_an_item_is_as_long_as_the_longest_answer() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut node = Node::new(Id::ZERO, Arc::new(Config::default()), 0, &mut rng);
    let address = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 6881, 0, 0);
    let id = Id::MAX;
    node.adopt(0, Contact { id, address });
    let request = Request::Get {
        target: Id::MAX,
        salt: Vec::new(),
        is_mutable: true,
    };
    let mut out = Outbox::new();
    node.start(0, request, &mut rng, &mut out)
        .expect("it is the first one");
    let lengths: Vec<usize> = out.datagrams().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(lengths, [ITEM_REPLY_LIMIT_BYTES]);
}
