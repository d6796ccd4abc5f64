//! Who and what there is in a history: addresses, ids, targets, items, and how a node is set up. A byte names each.

use holdfast_kademlia::bencode::{Raw, write_bytes};
use holdfast_kademlia::item::{SecretKey, immutable_target, mutable_target};
use holdfast_kademlia::items::ItemLimits;
use holdfast_kademlia::krpc::{Endpoint, KEY_LEN, SIGNATURE_LEN};
use holdfast_kademlia::limiter::RateLimits;
use holdfast_kademlia::peers::PeerLimits;
use holdfast_kademlia::{Config, Id, Nanos, PutRequest, SignedPut, secure_id};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::sync::LazyLock;

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;
/// The node's own id.
pub const OWN: Id = Id::new([0x5a; Id::LEN]);
/// How many nodes there are that know each other: those of the first bytes.
pub const INHABITANTS: u8 = 48;

/// An address family, in which each byte is an address.
pub trait Family: Endpoint {
    /// The address of a byte. Of the first ones each is in a network of its own; then come those that share one, local
    /// ones, other ports of the first ones, and such that nobody can have.
    fn address(byte: u8) -> Self;

    /// The byte of an inhabitant's address.
    fn inhabitant(self) -> Option<u8>;

    /// The id that belongs to an address, tied to it or not (BEP 42).
    fn id(byte: u8, is_secure: bool) -> Id;
}

impl Family for SocketAddrV4 {
    fn address(byte: u8) -> Self {
        let (ip, port) = match byte {
            0..=159 => (Ipv4Addr::new(20, 0, byte, 1), 6_881),
            160..=191 => (Ipv4Addr::new(30, 0, 0, byte), 6_881),
            192..=223 => (Ipv4Addr::LOCALHOST, 7_000 + u16::from(byte)),
            224..=239 => (Ipv4Addr::new(192, 168, 0, byte), 6_881),
            240..=249 => (Ipv4Addr::new(20, 0, byte - 240, 1), 9_999),
            250 => (Ipv4Addr::new(20, 0, 0, 1), 0),
            251 => (Ipv4Addr::UNSPECIFIED, 6_881),
            252 => (Ipv4Addr::BROADCAST, 6_881),
            253 => (Ipv4Addr::new(224, 0, 0, 1), 6_881),
            254 => (Ipv4Addr::new(169, 254, 0, 1), 6_881),
            255 => (Ipv4Addr::new(255, 255, 255, 254), 65_535),
        };
        SocketAddrV4::new(ip, port)
    }

    fn inhabitant(self) -> Option<u8> {
        let byte = self.ip().octets()[2];
        (byte < INHABITANTS && self == Self::address(byte)).then_some(byte)
    }

    fn id(byte: u8, is_secure: bool) -> Id {
        static SECURE: LazyLock<Vec<Id>> = LazyLock::new(secure_ids::<SocketAddrV4>);
        match is_secure && byte < INHABITANTS {
            true => SECURE[usize::from(byte)],
            false => IDS[usize::from(byte)],
        }
    }
}

impl Family for SocketAddrV6 {
    fn address(byte: u8) -> Self {
        let network =
            |network: u16, host: u16| Ipv6Addr::new(0x2001, 0x470, network, 0, 0, 0, 0, host);
        let (ip, port) = match byte {
            0..=159 => (network(byte.into(), 1), 6_881),
            160..=191 => (network(0x1000, byte.into()), 6_881),
            192..=223 => (Ipv6Addr::LOCALHOST, 7_000 + u16::from(byte)),
            224..=239 => (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, byte.into()), 6_881),
            240..=249 => (network(u16::from(byte) - 240, 1), 9_999),
            250 => (network(0, 1), 0),
            251 => (Ipv6Addr::UNSPECIFIED, 6_881),
            252 => (Ipv4Addr::new(20, 0, 0, 1).to_ipv6_mapped(), 6_881),
            253 => (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 6_881),
            254 => (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 6_881),
            255 => (network(0xffff, 0xffff), 65_535),
        };
        SocketAddrV6::new(ip, port, 0, 0)
    }

    fn inhabitant(self) -> Option<u8> {
        let byte = u8::try_from(self.ip().segments()[2]).ok()?;
        (byte < INHABITANTS && self == Self::address(byte)).then_some(byte)
    }

    fn id(byte: u8, is_secure: bool) -> Id {
        static SECURE: LazyLock<Vec<Id>> = LazyLock::new(secure_ids::<SocketAddrV6>);
        match is_secure && byte < INHABITANTS {
            true => SECURE[usize::from(byte)],
            false => IDS[usize::from(byte)],
        }
    }
}

/// Of the first ids half share nothing with the own one, a quarter one bit, and so on; later ones share any number of
/// bits, and the last one is the own id.
static IDS: LazyLock<Vec<Id>> = LazyLock::new(|| {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let id = |byte: u8| match byte {
        0..64 => OWN.random_at_depth(byte.trailing_ones(), &mut rng),
        64..255 => OWN.random_at_depth(u32::from(byte - 64) % Id::BITS, &mut rng),
        255 => None,
    };
    let ids = (0..=u8::MAX).map(id);
    ids.map(|id| id.unwrap_or(OWN)).collect()
});

fn secure_ids<A: Family>() -> Vec<Id> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let id = |byte| secure_id::generate(A::address(byte).ip_address(), &mut rng);
    (0..INHABITANTS).map(id).collect()
}

/// An item that may be stored, in one version or more.
pub struct Item {
    /// What it is stored under.
    pub target: Id,
    /// Of a mutable one, the key and the salt.
    pub key: Option<([u8; KEY_LEN], Vec<u8>)>,
    /// Sequence number, value and signature; of one that cannot change the value alone matters.
    pub versions: Vec<(i64, Vec<u8>, [u8; SIGNATURE_LEN])>,
}

impl Item {
    /// The version of a byte, to be put.
    pub fn put(&self, version: u8, cas: Option<i64>) -> PutRequest {
        let (sequence, value, signature) = self.version(version);
        PutRequest {
            value: value.clone(),
            mutable: self.key.as_ref().map(|(key, salt)| SignedPut {
                key: *key,
                salt: salt.clone(),
                sequence: *sequence,
                signature: *signature,
                cas,
            }),
        }
    }

    /// The version of a byte.
    pub fn version(&self, version: u8) -> &(i64, Vec<u8>, [u8; SIGNATURE_LEN]) {
        &self.versions[usize::from(version) % self.versions.len()]
    }
}

/// Four items that cannot change, then four that can, in four versions each.
pub static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(|| {
    let long = |length: usize, byte: u8| {
        let mut value = Vec::new();
        write_bytes(&mut value, &vec![byte; length]);
        value
    };
    let fixed = [
        b"i7e".to_vec(),
        b"le".to_vec(),
        b"5:hello".to_vec(),
        long(990, b'x'),
    ];
    let fixed = fixed.map(|value| Item {
        target: immutable_target(Raw::parse(&value).expect("it is bencode")),
        key: None,
        versions: vec![(0, value, [0; SIGNATURE_LEN])],
    });
    let mutable = [(1, &b""[..]), (1, b"s"), (2, b""), (2, &[b'y'; 64])].map(|(seed, salt)| {
        let secret = SecretKey::from_seed(&[seed; 32]);
        let version = |(sequence, value): (i64, Vec<u8>)| {
            let raw = Raw::parse(&value).expect("it is bencode");
            let signature = secret.sign(salt, sequence, raw).expect("it can be signed");
            (sequence, value, signature)
        };
        let versions = [
            (0, b"1:a".to_vec()),
            (1, b"1:b".to_vec()),
            (5, long(996, b'z')),
            (i64::MAX, b"de".to_vec()),
        ];
        Item {
            target: mutable_target(secret.public(), salt),
            key: Some((*secret.public(), salt.to_vec())),
            versions: versions.map(version).to_vec(),
        }
    });
    fixed.into_iter().chain(mutable).collect()
});

/// The item of a byte.
pub fn item(byte: u8) -> &'static Item {
    &ITEMS[usize::from(byte) % ITEMS.len()]
}

/// The item that is stored under a target.
pub fn item_of(target: Id) -> Option<&'static Item> {
    ITEMS.iter().find(|item| item.target == target)
}

/// What a byte asks for: an item, a torrent, or a node.
pub fn target(byte: u8) -> Id {
    match byte {
        0..=7 => item(byte).target,
        8..=15 => Id::new([byte; Id::LEN]),
        16 => OWN,
        17 => Id::ZERO,
        18 => Id::MAX,
        _ => IDS[usize::from(byte)],
    }
}

/// How a node is set up, of the first byte of a history; small bounds are reached soon.
pub fn config(byte: u8) -> Config {
    let base = Config::default();
    let small = Config {
        k: 2,
        lookup_queries: 8,
        lookups: 2,
        per_network: 1,
        proven: 3,
        peers: PeerLimits {
            torrents: 2,
            peers_per_torrent: 2,
            peers_per_network: 1,
            ..PeerLimits::default()
        },
        items: ItemLimits {
            items: 2,
            ..ItemLimits::default()
        },
        ..Config::default()
    };
    let config = match byte % 4 {
        0 => base,
        1 => small,
        2 => Config {
            k: 4,
            paths: 4,
            wide_buckets: true,
            ..base
        },
        _ => Config {
            secure_ids: true,
            paths: 2,
            ..base
        },
    };
    let tiny = RateLimits {
        queries_per_second: 1,
        query_burst: 3,
        sources: 2,
        others_per_second: 1,
        bytes_per_second: 1_000,
        byte_burst: 3_000,
        ..RateLimits::default()
    };
    Config {
        read_only: byte & 0x1c == 0x1c,
        rates: match byte >> 5 & 3 {
            0 => tiny,
            1 => RateLimits::default(),
            _ => RateLimits::NONE,
        },
        version: (byte & 0x80 != 0).then_some(*b"HF01"),
        ..config
    }
}

/// When a history begins, of its second byte: at once, or long after the clock did.
pub fn beginning(byte: u8) -> Nanos {
    match byte % 4 {
        0 => 0,
        1 => SECOND,
        2 => 1_000_000 * SECOND,
        // Eighteen years.
        _ => 1 << 59,
    }
}
