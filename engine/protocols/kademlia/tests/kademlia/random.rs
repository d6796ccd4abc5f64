//! Messages of all kinds: what is written is read again, and is canonical.

use holdfast_kademlia::Id;
use holdfast_kademlia::bencode::Raw;
use holdfast_kademlia::krpc::{
    AnnouncedPort, Body, Call, Contact, Contacts, Endpoint, ErrorCode, ErrorReply, FILTER_LEN, Ids,
    Item, KEY_LEN, Message, MutablePut, Peers, Put, Query, Reply, SIGNATURE_LEN, Samples, Scrape,
    TOKEN_LIMIT_BYTES, TRANSACTION_LIMIT_BYTES, VERSION_LIMIT_BYTES, Want,
};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU16;

/// What messages borrow from.
#[derive(Clone, Debug)]
struct Material {
    transaction: Vec<u8>,
    version: Option<Vec<u8>>,
    token: Vec<u8>,
    salt: Vec<u8>,
    text: Vec<u8>,
    nodes: Vec<Contact<SocketAddrV4>>,
    nodes6: Vec<Contact<SocketAddrV6>>,
    ids: Vec<Id>,
    key: [u8; KEY_LEN],
    signature: Vec<u8>,
    filters: Vec<u8>,
    value: Vec<u8>,
    numbers: [u64; 4],
    choices: u32,
    which: u8,
}

fn materials() -> impl Strategy<Value = Material> {
    let bytes = |range| prop::collection::vec(any::<u8>(), range);
    let id = || any::<[u8; Id::LEN]>().prop_map(Id::new);
    let v4 = (any::<u32>(), 1..=u16::MAX)
        .prop_map(|(ip, port)| SocketAddrV4::new(Ipv4Addr::from(ip), port))
        .prop_filter("it can be contacted", |address| address.is_contactable());
    let v6 = (any::<u128>(), 1..=u16::MAX)
        .prop_map(|(ip, port)| SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, 0))
        .prop_filter("it can be contacted", |address| address.is_contactable());
    let contact = |(id, address)| Contact { id, address };
    let contact6 = |(id, address)| Contact { id, address };
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..900).prop_map(|bytes| {
            let mut value = Vec::new();
            holdfast_kademlia::bencode::write_bytes(&mut value, &bytes);
            value
        }),
        prop::sample::select(vec![
            &b"i7e"[..],
            b"le",
            b"d1:ai1e1:bl0:ee",
            b"i99999999999999999999e"
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    let strings = (
        bytes(0..TRANSACTION_LIMIT_BYTES + 1),
        prop::option::of(bytes(0..VERSION_LIMIT_BYTES + 1)),
        bytes(0..TOKEN_LIMIT_BYTES + 1),
        bytes(0..65),
        bytes(0..40),
    );
    let lists = (
        prop::collection::vec((id(), v4).prop_map(contact), 0..9),
        prop::collection::vec((id(), v6).prop_map(contact6), 0..9),
        prop::collection::vec(id(), 3..12),
    );
    let fixed = (
        any::<[u8; KEY_LEN]>(),
        bytes(SIGNATURE_LEN..SIGNATURE_LEN + 1),
        bytes(512..513),
        value,
    );
    (
        strings,
        lists,
        fixed,
        any::<[u64; 4]>(),
        any::<u32>(),
        any::<u8>(),
    )
        .prop_map(
            |(strings, lists, fixed, numbers, choices, which)| Material {
                transaction: strings.0,
                version: strings.1,
                token: strings.2,
                salt: strings.3,
                text: strings.4,
                nodes: lists.0,
                nodes6: lists.1,
                ids: lists.2,
                key: fixed.0,
                signature: fixed.1,
                filters: fixed.2,
                value: fixed.3,
                numbers,
                choices,
                which,
            },
        )
}

impl Material {
    fn has(&self, bit: u32) -> bool {
        self.choices & 1 << bit != 0
    }

    fn want(&self) -> Option<Want> {
        let want = Want {
            ipv4: self.has(1),
            ipv6: self.has(2),
        };
        self.has(0).then_some(want)
    }

    fn number(&self, i: usize) -> i64 {
        (self.numbers[i] >> 1) as i64
    }

    fn call(&self) -> Call<'_> {
        let (target, want) = (self.ids[1], self.want());
        let port = NonZeroU16::new(self.numbers[0] as u16);
        match self.which % 8 {
            0 => Call::Ping,
            1 => Call::FindNode { target, want },
            2 => Call::GetPeers {
                info_hash: target,
                want,
                no_seeds: self.has(3),
                scrape: self.has(4),
            },
            3 => Call::AnnouncePeer {
                info_hash: target,
                port: match port {
                    Some(port) if self.has(5) => AnnouncedPort::Given(port),
                    fallback => AnnouncedPort::Implied { fallback },
                },
                token: &self.token,
                is_seed: self.has(6),
            },
            4 => Call::Get {
                target,
                sequence: self.has(7).then(|| self.number(1)),
                want,
            },
            5 => Call::Put(Put {
                token: &self.token,
                value: self.value(),
                mutable: self.has(8).then(|| MutablePut {
                    key: &self.key,
                    salt: &self.salt,
                    sequence: self.number(2),
                    signature: self.signature(),
                    cas: self.has(9).then(|| self.number(3)),
                }),
            }),
            6 => Call::SampleInfohashes { target, want },
            _ => Call::Unknown {
                method: b"vote",
                target,
                want,
            },
        }
    }

    fn value(&self) -> Raw<'_> {
        Raw::parse(&self.value).expect("it was made well-formed")
    }

    fn signature(&self) -> &[u8; SIGNATURE_LEN] {
        self.signature[..].try_into().expect("it has that length")
    }

    fn reply<'a>(&'a self, v4: &'a [SocketAddrV4], v6: &'a [SocketAddrV6]) -> Reply<'a> {
        let (seeds, peers) = self
            .filters
            .split_first_chunk::<FILTER_LEN>()
            .expect("it has two");
        let peers: &[u8; FILTER_LEN] = peers.try_into().expect("it has two");
        Reply {
            id: self.ids[0],
            nodes: self.has(10).then(|| Contacts::from(&self.nodes[..])),
            nodes6: self.has(11).then(|| Contacts::from(&self.nodes6[..])),
            token: self.has(12).then_some(&self.token),
            peers: match self.has(13) {
                true => Peers::from(v4),
                false => Peers::from(v6),
            },
            scrape: self.has(14).then_some(Scrape { seeds, peers }),
            item: Item {
                value: self.has(15).then(|| self.value()),
                key: self.has(16).then_some(&self.key),
                sequence: self.has(17).then_some(self.numbers[1] as i64),
                signature: self.has(18).then(|| self.signature()),
            },
            samples: self.has(19).then(|| Samples {
                ids: Ids::from(&self.ids[2..]),
                interval: (self.numbers[2] % 21_601) as u32,
                total: self.numbers[3] >> 1,
            }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_written_is_read_again(material in materials()) {
        let v4: Vec<SocketAddrV4> = material.nodes.iter().map(|contact| contact.address).collect();
        let v6: Vec<SocketAddrV6> = material.nodes6.iter().map(|contact| contact.address).collect();
        let body = match material.which >> 6 {
            0 | 1 => Body::Query(Query {
                id: material.ids[0],
                is_read_only: material.has(20),
                call: material.call(),
            }),
            2 => Body::Reply(material.reply(&v4, &v6)),
            _ => {
                let code = ErrorCode::of(material.number(0) % 400);
                Body::Error(ErrorReply { code, message: &material.text })
            }
        };
        let requester = v4.first().map(|a| SocketAddr::V4(*a)).or(v6.first().map(|a| SocketAddr::V6(*a)));
        let message = Message {
            transaction: &material.transaction,
            version: material.version.as_deref(),
            requester: requester.filter(|_| !matches!(body, Body::Query(_))),
            body,
        };
        let mut datagram = Vec::new();
        message.encode(&mut datagram);
        let raw = Raw::parse(&datagram).expect("it is bencode");
        prop_assert!(raw.is_canonical());
        // Only a reply with everything at once is longer than what is read.
        if datagram.len() <= holdfast_kademlia::krpc::DATAGRAM_LIMIT_BYTES {
            let read = Message::decode(&datagram).expect("what was written is read");
            prop_assert_eq!(read, message);
            let mut again = Vec::new();
            read.encode(&mut again);
            prop_assert_eq!(again, datagram);
        }
    }
}
