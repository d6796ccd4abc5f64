//! What else comes from outside and is no datagram: tables on a disk, links that people paste, compact forms.

use holdfast_kademlia::bencode::Raw;
use holdfast_kademlia::bloom::BloomFilter;
use holdfast_kademlia::krpc::{Contact, ContactV4, ContactV6, Contacts, Endpoint, Ids};
use holdfast_kademlia::magnet::{self, Magnet};
use holdfast_kademlia::{Id, SAVED_LIMIT_BYTES, Saved, SavedError, secure_id};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a saved table begins with; then come a checksum and bencode.
const SAVED_MAGIC: &[u8] = b"hfdht 1\n";

/// Checks one input, whose first byte says what the rest is, and tells whether it was read.
///
/// # Panics
/// When what was read is written and read as something else, or is what it must not be.
pub fn check(input: &[u8]) -> bool {
    let Some((which, rest)) = input.split_first() else {
        return false;
    };
    match which % 8 {
        0 => check_saved(rest),
        1 => {
            // With a checksum that is right: behind it nobody expects an enemy, and a disk may still have one.
            let sum = crc32c::crc32c(rest).to_be_bytes();
            check_saved(&[SAVED_MAGIC, &sum, rest].concat())
        }
        2 => check_magnet(rest),
        3 => check_pointer(rest),
        4 => check_contacts::<std::net::SocketAddrV4>(rest),
        5 => check_contacts::<std::net::SocketAddrV6>(rest),
        6 => check_id(rest),
        _ => check_addresses(rest),
    }
}

fn check_saved(file: &[u8]) -> bool {
    let saved = match Saved::decode(file) {
        Ok(saved) => saved,
        Err(error) => {
            assert_eq!(error == SavedError::TooLong, file.len() > SAVED_LIMIT_BYTES);
            return false;
        }
    };
    assert!(saved.v4.len() * ContactV4::LEN + saved.v6.len() * ContactV6::LEN < file.len());
    let mut v4 = saved.v4.iter().map(|contact| contact.address);
    assert!(v4.all(Endpoint::is_contactable));
    let mut v6 = saved.v6.iter().map(|contact| contact.address);
    assert!(v6.all(Endpoint::is_contactable));
    let written = saved.encode();
    assert_eq!(Saved::decode(&written), Ok(saved));
    // Any bit that a disk turns is noticed.
    let mut torn = written;
    let place = file.len() % torn.len();
    torn[place] ^= 1 << (file.len() % 8);
    assert!(Saved::decode(&torn).is_err());
    true
}

fn check_magnet(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Ok(link) = text.parse::<Magnet>() else {
        return false;
    };
    let written = link.to_string();
    let again: Magnet = written.parse().expect("what is written is read");
    assert_eq!(again, link);
    assert_eq!(again.to_string(), written);
    assert_eq!(again.target(), link.target());
    let made = Magnet::new(*link.key(), link.salt()).expect("its salt is short enough");
    assert_eq!(made, link);
    true
}

fn check_pointer(value: &[u8]) -> bool {
    let Ok(raw) = Raw::parse(value) else {
        return false;
    };
    let Some(info_hash) = magnet::read_pointer(raw) else {
        return false;
    };
    let mut out = Vec::new();
    magnet::write_pointer(&mut out, info_hash);
    let again = Raw::parse(&out).expect("what is written is bencode");
    assert!(again.is_canonical());
    assert_eq!(magnet::read_pointer(again), Some(info_hash));
    true
}

fn check_contacts<A: Endpoint>(bytes: &[u8]) -> bool {
    let contacts = Contacts::<A>::compact(bytes);
    let all: Vec<Contact<A>> = contacts.iter().collect();
    assert!(all.len() <= contacts.count());
    assert_eq!(contacts.count(), bytes.len() / Contact::<A>::LEN);
    let mut out = Vec::new();
    for contact in &all {
        assert!(contact.address.is_contactable());
        out.clear();
        contact.write(&mut out);
        assert_eq!(Contact::read(&out), Some(*contact));
    }
    let fewer = contacts.without_last(bytes.len() % 7);
    assert!(fewer.iter().eq(contacts.iter().take(fewer.iter().count())));
    let ids = Ids::compact(bytes);
    assert_eq!(ids.iter().count(), bytes.len() / Id::LEN);
    !all.is_empty()
}

fn check_id(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Ok(id) = text.parse::<Id>() else {
        return false;
    };
    assert_eq!(id.to_string(), text.to_lowercase());
    assert_eq!(Id::from_slice(id.as_bytes()), Some(id));
    let other = id.with_flipped(u32::from(id.as_bytes()[0]) % Id::BITS);
    assert_eq!(id.distance(other).from(id), other);
    assert!(id.distance(id) < id.distance(other));
    true
}

/// Whatever an address is, it is either exempt or has ids of its own, and filters count it.
fn check_addresses(bytes: &[u8]) -> bool {
    let mut filter = BloomFilter::new();
    let mut all = Vec::new();
    let (sixteens, rest) = bytes.as_chunks::<16>();
    all.extend(sixteens.iter().map(|ip| IpAddr::V6(Ipv6Addr::from(*ip))));
    let (fours, _) = rest.as_chunks::<4>();
    all.extend(fours.iter().map(|ip| IpAddr::V4(Ipv4Addr::from(*ip))));
    for ip in &all {
        let mut id = [0; Id::LEN];
        let length = bytes.len().min(Id::LEN);
        id[..length].copy_from_slice(&bytes[..length]);
        let id = Id::new(id);
        let is_valid = secure_id::is_valid(id, *ip);
        assert_eq!(
            is_valid,
            secure_id::is_exempt(*ip) || secure_id::matches(id, *ip)
        );
        filter.insert(*ip);
        assert!(filter.may_contain(*ip));
    }
    assert!(filter.estimate() >= 0.0);
    let mut both = BloomFilter::new();
    both.merge(&filter);
    assert_eq!(both.as_bytes(), filter.as_bytes());
    !all.is_empty()
}
