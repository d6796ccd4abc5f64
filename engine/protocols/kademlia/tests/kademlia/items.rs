//! What is stored and counted: items, links to them, filters, and ids of addresses.

use crate::fixtures::{self, bytes, cases, hex, text};
use holdfast_kademlia::Id;
use holdfast_kademlia::bencode::Raw;
use holdfast_kademlia::bloom::BloomFilter;
use holdfast_kademlia::item::{
    Found, ItemError, MutableItem, SALT_LIMIT_BYTES, SecretKey, VALUE_LIMIT_BYTES,
    immutable_target, mutable_target, write_signed,
};
use holdfast_kademlia::krpc::Item;
use holdfast_kademlia::magnet::{Magnet, MagnetError, read_pointer, write_pointer};
use holdfast_kademlia::secure_id;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value as Json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn array<const N: usize>(digits: &str) -> [u8; N] {
    hex(digits)
        .try_into()
        .expect("the fixture has that many bytes")
}

fn value(text: &[u8]) -> Raw<'_> {
    Raw::parse(text).expect("it is a value")
}

#[test]
fn items_are_hashed_and_signed_as_in_bep_44() {
    let mut mutable = 0;
    for case in cases(fixtures::ITEMS) {
        let value = value(text(&case, "value").as_bytes());
        let target: Id = text(&case, "target").parse().expect("an id");
        if case.get("public_key").is_none() {
            assert_eq!(immutable_target(value), target);
            let item = Item {
                value: Some(value),
                ..Item::default()
            };
            assert_eq!(
                Found::verify(&item, target, b""),
                Ok(Found::Immutable(value))
            );
            assert_eq!(
                Found::verify(&item, Id::ZERO, b""),
                Err(ItemError::WrongTarget)
            );
            continue;
        }
        mutable += 1;
        let salt = text(&case, "salt").as_bytes();
        let sequence = case["sequence"].as_i64().expect("a number");
        let key = array(text(&case, "public_key"));
        let signature = array(text(&case, "signature"));
        let mut signed = Vec::new();
        write_signed(&mut signed, salt, sequence, value);
        assert_eq!(signed, bytes(&case["signed"]));
        assert_eq!(mutable_target(&key, salt), target);

        let secret = SecretKey::from_expanded(&array(text(&case, "secret_key")));
        assert_eq!(secret.public(), &key);
        assert_eq!(secret.sign(salt, sequence, value), Ok(signature));

        let item = Item {
            value: Some(value),
            key: Some(&key),
            sequence: Some(sequence),
            signature: Some(&signature),
        };
        let found = MutableItem {
            key: &key,
            salt,
            sequence,
            value,
            signature: &signature,
        };
        assert_eq!(
            Found::verify(&item, target, salt),
            Ok(Found::Mutable(found))
        );
        // Another salt is another item.
        assert_eq!(
            Found::verify(&item, target, b"other"),
            Err(ItemError::WrongTarget)
        );
        refuses_what_was_changed(found);
    }
    assert_eq!(mutable, 2);
}

fn refuses_what_was_changed(item: MutableItem<'_>) {
    assert_eq!(item.verify(), Ok(()));
    let wrong = Err(ItemError::WrongSignature);
    let sequence = item.sequence + 1;
    assert_eq!(MutableItem { sequence, ..item }.verify(), wrong);
    assert_eq!(
        MutableItem {
            salt: b"Foobar",
            ..item
        }
        .verify(),
        wrong
    );
    assert_eq!(
        MutableItem {
            value: value(b"12:Hello world!"),
            ..item
        }
        .verify(),
        wrong
    );
    for bit in 0..512 {
        let mut signature = *item.signature;
        signature[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            MutableItem {
                signature: &signature,
                ..item
            }
            .verify(),
            wrong,
            "bit {bit}"
        );
    }
}

#[test]
fn limits_of_items_hold() {
    let secret = SecretKey::from_seed(&[7; 32]);
    let longest = format!(
        "{}:{}",
        VALUE_LIMIT_BYTES - 4,
        "x".repeat(VALUE_LIMIT_BYTES - 4)
    );
    let longest = value(longest.as_bytes());
    assert_eq!(longest.bytes().len(), VALUE_LIMIT_BYTES);
    let salt = [b's'; SALT_LIMIT_BYTES + 1];
    let signature = secret
        .sign(&salt[1..], i64::MAX, longest)
        .expect("it is within the limits");
    let item = MutableItem {
        key: secret.public(),
        salt: &salt[1..],
        sequence: i64::MAX,
        value: longest,
        signature: &signature,
    };
    assert_eq!(item.verify(), Ok(()));
    let long_salt = Err(ItemError::SaltTooLong(SALT_LIMIT_BYTES + 1));
    assert_eq!(
        MutableItem {
            salt: &salt,
            ..item
        }
        .verify(),
        long_salt
    );
    assert_eq!(
        MutableItem {
            sequence: -1,
            ..item
        }
        .verify(),
        Err(ItemError::NegativeSequence)
    );
    let too_long = format!(
        "{}:{}",
        VALUE_LIMIT_BYTES - 3,
        "x".repeat(VALUE_LIMIT_BYTES - 3)
    );
    let too_long = value(too_long.as_bytes());
    let error = ItemError::ValueTooLong(VALUE_LIMIT_BYTES + 1);
    assert_eq!(secret.sign(b"", 0, too_long), Err(error));
    assert_eq!(
        secret.sign(b"", 0, value(b"d1:b0:1:a0:e")),
        Err(ItemError::NotCanonical)
    );
    assert_eq!(secret.sign(&salt, 0, longest).err(), long_salt.err());
    assert_eq!(
        secret.sign(b"", -1, longest),
        Err(ItemError::NegativeSequence)
    );
}

#[test]
fn keys_under_which_anything_is_signed_are_refused() {
    // The neutral element, and the point of order two.
    let neutral: [u8; 32] = std::array::from_fn(|i| u8::from(i == 0));
    let mut order_two = [0xff; 32];
    (order_two[0], order_two[31]) = (0xec, 0x7f);
    // No point of the curve has this y.
    let mut none = [0; 32];
    none[0] = 2;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&neutral);
    for key in [neutral, order_two, none] {
        let value = value(b"0:");
        let item = MutableItem {
            key: &key,
            salt: b"",
            sequence: 1,
            value,
            signature: &signature,
        };
        assert_eq!(item.verify(), Err(ItemError::UnusableKey));
    }
}

#[test]
fn half_an_item_is_none() {
    let (key, signature) = ([1; 32], [2; 64]);
    let whole = Item {
        value: Some(value(b"i1e")),
        key: Some(&key),
        sequence: Some(1),
        signature: Some(&signature),
    };
    let missing = |item: Item<'_>| match Found::verify(&item, Id::ZERO, b"") {
        Err(ItemError::Missing(field)) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        missing(Item {
            value: None,
            ..whole
        }),
        "v"
    );
    assert_eq!(missing(Item { key: None, ..whole }), "k");
    assert_eq!(
        missing(Item {
            sequence: None,
            ..whole
        }),
        "seq"
    );
    assert_eq!(
        missing(Item {
            signature: None,
            ..whole
        }),
        "sig"
    );
}

#[test]
fn a_seed_is_the_key_of_rfc_8032() {
    // RFC 8032, section 7.1, test 1.
    let seed = array("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let secret = SecretKey::from_seed(&seed);
    assert_eq!(secret.public(), &array::<32>(public));
    let signature = secret.sign(b"", 1, value(b"0:")).expect("it can be signed");
    let key = secret.public();
    let item = MutableItem {
        key,
        salt: b"",
        sequence: 1,
        value: value(b"0:"),
        signature: &signature,
    };
    assert_eq!(item.verify(), Ok(()));
    assert_eq!(format!("{secret:?}"), format!("SecretKey({public})"));
}

#[test]
fn links_are_those_of_bep_46() {
    for case in cases(fixtures::MAGNETS) {
        let link: Magnet = text(&case, "link").parse().expect("it is a link");
        assert_eq!(link.to_string(), text(&case, "link"));
        assert_eq!(link.key(), &array::<32>(text(&case, "key")));
        assert_eq!(link.salt(), hex(text(&case, "salt")));
        assert_eq!(link.target().to_string(), text(&case, "target"));
        assert_eq!(Magnet::new(*link.key(), link.salt()), Ok(link));
    }
}

#[test]
fn links_are_read_in_any_spelling_and_nothing_else_is() {
    let key = "8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e";
    let read = |text: &str| text.parse::<Magnet>().map(|link| link.to_string());
    let plain = format!("magnet:?xs=urn:btpk:{key}");
    for same in [
        format!("MAGNET:?XS=URN:BTPK:{}", key.to_uppercase()),
        format!("magnet:?dn=a%20b&xs=urn%3Abtpk%3a{key}&s=&tr=x=y&&"),
        format!("magnet:?xs=http://example.com/&xs=urn:btpk:{key}"),
    ] {
        assert_eq!(read(&same), Ok(plain.clone()), "{same}");
    }
    let salt = "00".repeat(SALT_LIMIT_BYTES);
    assert!(read(&format!("{plain}&s={salt}")).is_ok());
    for (wrong, error) in [
        ("".to_string(), MagnetError::NotMagnet),
        (plain.replace("magnet:?", "magnet:"), MagnetError::NotMagnet),
        ("magnet:?".to_string(), MagnetError::NoKey),
        ("magnet:?xt=urn:btih:0123".to_string(), MagnetError::NoKey),
        (format!("{plain}0"), MagnetError::MalformedKey),
        (plain.replace("85", "8g"), MagnetError::MalformedKey),
        (
            format!("{plain}&xs=urn:btpk:{key}"),
            MagnetError::Duplicate("xs"),
        ),
        (format!("{plain}&s=00&s=01"), MagnetError::Duplicate("s")),
        (format!("{plain}&s=0"), MagnetError::MalformedSalt),
        (format!("{plain}&s=zz"), MagnetError::MalformedSalt),
        (format!("{plain}&s={salt}00"), MagnetError::SaltTooLong),
        (format!("{plain}&s=%3"), MagnetError::MalformedEscape),
        (format!("{plain}&s=%é0"), MagnetError::MalformedEscape),
        (
            format!("{plain}&dn={}", "x".repeat(10_000)),
            MagnetError::TooLong,
        ),
    ] {
        assert_eq!(read(&wrong), Err(error), "{wrong}");
    }
}

#[test]
fn a_pointer_is_a_dictionary_with_one_info_hash() {
    let id: Id = "0123456789abcdef0123456789abcdef01234567"
        .parse()
        .expect("an id");
    let mut pointer = Vec::new();
    write_pointer(&mut pointer, id);
    assert_eq!(pointer.len(), 2 + 4 + 23);
    assert_eq!(read_pointer(value(&pointer)), Some(id));
    let more = b"d1:a0:2:ih20:aaaaaaaaaaaaaaaaaaaa1:zlee";
    assert_eq!(read_pointer(value(more)), Some(Id::new([b'a'; 20])));
    for wrong in [
        &b"de"[..],
        b"le",
        b"i1e",
        b"d2:ih19:aaaaaaaaaaaaaaaaaaae",
        b"d2:ihi1ee",
        b"d2:ih20:aaaaaaaaaaaaaaaaaaaa2:ih20:bbbbbbbbbbbbbbbbbbbbe",
    ] {
        assert_eq!(read_pointer(value(wrong)), None);
    }
}

#[test]
fn filters_are_those_of_bep_33() {
    let case: Json = serde_json::from_str(fixtures::BLOOM).expect("the fixture is JSON");
    let mut ips: Vec<IpAddr> = Vec::new();
    for range in case["ranges"].as_array().expect("a list") {
        let ip = |field| text(range, field).parse::<IpAddr>().expect("an address");
        match (ip("first"), ip("last")) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                ips.extend((u32::from(first)..=u32::from(last)).map(|ip| IpAddr::V4(ip.into())));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                ips.extend((u128::from(first)..=u128::from(last)).map(|ip| IpAddr::V6(ip.into())));
            }
            _ => panic!("a range has one family"),
        }
    }
    assert_eq!(Some(ips.len() as u64), case["count"].as_u64());
    let filter: BloomFilter = ips.iter().copied().collect();
    assert_eq!(&filter.as_bytes()[..], hex(text(&case, "filter")));
    let estimate = case["estimate"].as_f64().expect("a number");
    assert!(
        (filter.estimate() - estimate).abs() < 0.000_1,
        "{}",
        filter.estimate()
    );

    assert!(ips.iter().all(|ip| filter.may_contain(*ip)));
    let others = (0..1_000).map(|i| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + i)));
    let false_positives = others.filter(|ip| filter.may_contain(*ip)).count();
    // About (1 - e^(-2 * 1256 / 2048))^2, that is 0.5.
    assert!((400..600).contains(&false_positives), "{false_positives}");

    // The union of parts that overlap is the filter of all.
    let mut union: BloomFilter = ips[..800].iter().copied().collect();
    union.merge(&ips[400..].iter().copied().collect());
    assert_eq!(union, filter);
    assert_eq!(BloomFilter::from(filter.as_bytes()), filter);
}

#[test]
fn estimates_are_finite_at_both_ends() {
    assert_eq!(BloomFilter::new().estimate(), 0.0);
    let mut one = BloomFilter::new();
    one.insert(IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1)));
    assert!((one.estimate() - 1.0).abs() < 0.01, "{}", one.estimate());
    let full = BloomFilter::from(&[0xff; 256]).estimate();
    assert!((7_700.0..7_900.0).contains(&full), "{full}");
}

#[test]
fn ids_of_addresses_are_those_of_bep_42() {
    let mut families = [0, 0];
    for case in cases(fixtures::SECURE_IDS) {
        let ip: IpAddr = text(&case, "ip").parse().expect("an address");
        families[usize::from(ip.is_ipv6())] += 1;
        let id: Id = text(&case, "id").parse().expect("an id");
        let chance = case["chance"].as_u64().expect("a number");
        assert_eq!(u64::from(id.as_bytes()[19]), chance);
        assert!(secure_id::is_valid(id, ip), "{ip}");
        // The first 21 bits and the last three count, and no other.
        for bit in 0..160 {
            let counts = !(21..157).contains(&bit);
            let is_valid = secure_id::is_valid(id.with_flipped(bit), ip);
            assert_eq!(is_valid, !counts, "bit {bit} of {ip}");
        }
    }
    assert!(families.iter().all(|rows| *rows >= 3), "{families:?}");
}

#[test]
fn what_is_generated_is_valid_there_and_nowhere_else() {
    let mut rng = ChaCha8Rng::seed_from_u64(42);
    let ips = [
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        IpAddr::V6("2001:db8:1:2:3:4:5:6".parse().expect("an address")),
    ];
    let other = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
    for ip in ips {
        let ids: Vec<Id> = (0..200)
            .map(|_| secure_id::generate(ip, &mut rng))
            .collect();
        assert!(ids.iter().all(|id| secure_id::is_valid(*id, ip)));
        assert!(ids.iter().all(|id| !secure_id::is_valid(*id, other)));
        let prefixes: std::collections::BTreeSet<&[u8]> =
            ids.iter().map(|id| &id.as_bytes()[..2]).collect();
        assert_eq!(prefixes.len(), 8, "an address has eight prefixes");
    }
    // The same address as a socket of both families shows it.
    let mapped = IpAddr::V6(Ipv4Addr::new(203, 0, 113, 9).to_ipv6_mapped());
    assert!(secure_id::is_valid(
        secure_id::generate(ips[0], &mut rng),
        mapped
    ));
    // Only the upper half of an IPv6 address counts.
    let neighbour = IpAddr::V6("2001:db8:1:2:ffff::1".parse().expect("an address"));
    assert!(secure_id::matches(
        secure_id::generate(ips[1], &mut rng),
        neighbour
    ));
}

#[test]
fn local_addresses_are_exempt() {
    let v4 = [
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.1.1",
        "127.0.0.1",
    ];
    let v6 = ["::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1"];
    for ip in v4.iter().chain(&v6) {
        assert!(
            secure_id::is_exempt(ip.parse().expect("an address")),
            "{ip}"
        );
    }
    let public = [
        "11.0.0.1",
        "172.32.0.1",
        "172.15.0.1",
        "192.169.0.1",
        "8.8.8.8",
        "2001:db8::1",
        "::ffff:8.8.8.8",
        "::",
    ];
    for ip in public {
        let ip: IpAddr = ip.parse().expect("an address");
        assert!(!secure_id::is_exempt(ip), "{ip}");
        // Whatever its bits are.
        assert!(!secure_id::is_valid(Id::ZERO, ip) || secure_id::matches(Id::ZERO, ip));
    }
    assert!(secure_id::is_valid(
        Id::MAX,
        IpAddr::V6(Ipv6Addr::LOCALHOST)
    ));
}
