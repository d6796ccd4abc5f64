//! A mutating test: real datagrams, changed at random, again and again. Whatever comes, nothing panics; what is refused
//! is answered only if it is a query; what is read is written canonically and then read as the same.
//!
//! It runs a moment with the other tests. `HOLDFAST_MUTATIONS=100000000 cargo test -p holdfast-kademlia mutate` runs it
//! as long as one likes; `HOLDFAST_SEED` chooses another sequence. A datagram that breaks something is shown, and belongs
//! into `fixtures/kademlia/corpus`, from where all later runs begin too.

use crate::fixtures;
use crate::tree::Tree;
use holdfast_kademlia::Message;
use holdfast_kademlia::bencode::Raw;
use holdfast_kademlia::krpc::{Body, DATAGRAM_LIMIT_BYTES};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::panic::catch_unwind;

/// Enough to meet every kind of change of every datagram, and short.
const MUTATIONS: u64 = 100_000;

/// What bencode and KRPC are made of.
const WORDS: &[&[u8]] = &[
    b"e",
    b"d",
    b"l",
    b"i",
    b"0:",
    b"1:",
    b"i0e",
    b"i-1e",
    b"i-0e",
    b"de",
    b"le",
    b"i9223372036854775808e",
    b"18446744073709551616:",
    b"1:a",
    b"1:q",
    b"1:r",
    b"1:e",
    b"1:t",
    b"1:y",
    b"1:v",
    b"2:id",
    b"2:ip",
    b"2:ro",
    b"6:target",
    b"9:info_hash",
    b"5:nodes",
    b"6:nodes6",
    b"6:values",
    b"4:want",
    b"3:seq",
    b"3:cas",
    b"4:salt",
    b"1:k",
    b"3:sig",
    b"5:token",
    b"4:port",
    b"12:implied_port",
    b"7:samples",
    b"8:interval",
    b"3:num",
    b"4:BFsd",
    b"4:BFpe",
    b"6:scrape",
    b"6:noseed",
    b"4:seed",
];

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => otherwise,
    }
}

/// Changes what a datagram says, and leaves it bencode.
fn mutate_tree(tree: &mut Tree, other: &Tree, rng: &mut ChaCha8Rng) {
    let descend = rng.random_ratio(2, 3);
    match tree {
        Tree::Dictionary(entries) if !entries.is_empty() => {
            let i = rng.random_range(0..entries.len());
            if descend {
                return mutate_tree(&mut entries[i].1, other, rng);
            }
            match rng.random_range(0..5) {
                0 => drop(entries.remove(i)),
                1 => entries.push(entries[i].clone()),
                2 => entries.rotate_left(i),
                3 => entries[i].1 = part(other, rng),
                _ => entries[i].0 = key(other, rng),
            }
        }
        Tree::List(items) if !items.is_empty() => {
            let i = rng.random_range(0..items.len());
            match rng.random_range(0..3) {
                _ if descend => mutate_tree(&mut items[i], other, rng),
                0 => drop(items.remove(i)),
                1 => items.push(items[i].clone()),
                _ => items[i] = part(other, rng),
            }
        }
        Tree::Bytes(bytes) if !bytes.is_empty() => {
            let i = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[i] = rng.random(),
                1 => bytes.truncate(i),
                2 => bytes.extend_from_within(i..),
                _ => *tree = part(other, rng),
            }
        }
        Tree::Integer(digits) => {
            let numbers = ["0", "1", "-1", "65535", "65536", "9223372036854775807"];
            *digits = match rng.random_range(0..3) {
                0 => rng.random::<i64>().to_string(),
                1 => format!("{}{digits}", rng.random_range(1..10)).replace("-", ""),
                _ => numbers[rng.random_range(0..numbers.len())].to_string(),
            };
        }
        _ => *tree = part(other, rng),
    }
}

/// Something that is in a tree.
fn part(tree: &Tree, rng: &mut ChaCha8Rng) -> Tree {
    let inner = match tree {
        Tree::Dictionary(entries) if !entries.is_empty() => {
            &entries[rng.random_range(0..entries.len())].1
        }
        Tree::List(items) if !items.is_empty() => &items[rng.random_range(0..items.len())],
        _ => return tree.clone(),
    };
    match rng.random_ratio(4, 5) {
        true => part(inner, rng),
        false => inner.clone(),
    }
}

/// A key that is in a tree.
fn key(tree: &Tree, rng: &mut ChaCha8Rng) -> Vec<u8> {
    match tree {
        Tree::Dictionary(entries) if !entries.is_empty() => {
            let (key_here, value) = &entries[rng.random_range(0..entries.len())];
            match matches!(value, Tree::Dictionary(_)) && rng.random() {
                true => key(value, rng),
                false => key_here.clone(),
            }
        }
        _ => b"x".to_vec(),
    }
}

/// Changes bytes, whatever they mean.
fn mutate_bytes(datagram: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    let at = rng.random_range(0..=datagram.len());
    let to = (at + rng.random_range(0..24_usize)).min(datagram.len());
    match rng.random_range(0..7) {
        0 if at < datagram.len() => datagram[at] ^= 1 << rng.random_range(0..8),
        1 if at < datagram.len() => datagram[at] = rng.random(),
        2 => drop(datagram.drain(at..to)),
        3 => {
            let word = WORDS[rng.random_range(0..WORDS.len())];
            datagram.splice(at..at, word.iter().copied());
        }
        4 => {
            let part = datagram[at..to].to_vec();
            datagram.splice(to..to, part);
        }
        5 if !other.is_empty() => {
            let from = rng.random_range(0..other.len());
            let until = (from + rng.random_range(1..48_usize)).min(other.len());
            datagram.splice(at..to, other[from..until].iter().copied());
        }
        // Nested, as deep as it gets.
        6 => {
            let levels = rng.random_range(1..80);
            let word: &[u8] = [&b"l"[..], b"d1:a"][rng.random_range(0..2)];
            datagram.splice(at..at, word.repeat(levels));
        }
        _ => {}
    }
}

/// `true` if it was read.
fn holds(datagram: &[u8]) -> bool {
    let raw = Raw::parse(datagram);
    let message = match Message::decode(datagram) {
        Ok(message) => message,
        Err(refused) => {
            if let Some(answer) = refused.answer() {
                assert!(raw.is_ok(), "only what is bencode is answered");
                let mut out = Vec::new();
                answer.encode(&mut out);
                let answer = Message::decode(&out).expect("an answer is well-formed");
                assert!(matches!(answer.body, Body::Error(_)));
            }
            return false;
        }
    };
    assert!(raw.is_ok() && datagram.len() <= DATAGRAM_LIMIT_BYTES);
    let mut out = Vec::new();
    message.encode(&mut out);
    let raw = Raw::parse(&out).expect("what is written is bencode");
    // A reply's value is passed on as it came, and so is a list of peers.
    let is_reply = matches!(message.body, Body::Reply(_));
    assert!(
        raw.is_canonical() || is_reply,
        "what is written is canonical"
    );
    let again = Message::decode(&out).expect("what is written is read");
    assert_eq!(again, message, "and says the same");
    true
}

#[test]
fn no_change_of_a_datagram_breaks_anything() {
    let corpus: Vec<Vec<u8>> = fixtures::datagrams()
        .into_iter()
        .chain(fixtures::corpus().into_values())
        .collect();
    let mutations = setting("HOLDFAST_MUTATIONS", MUTATIONS);
    let mut rng = ChaCha8Rng::seed_from_u64(setting("HOLDFAST_SEED", 0));
    let mut read = 0_u64;
    for _ in 0..mutations {
        let pick = |rng: &mut ChaCha8Rng| rng.random_range(0..corpus.len());
        let mut datagram = corpus[pick(&mut rng)].clone();
        let other = &corpus[pick(&mut rng)];
        let trees = (Tree::parse(&datagram), Tree::parse(other));
        if let (Some(mut tree), Some(other)) = trees
            && rng.random_ratio(3, 4)
        {
            for _ in 0..rng.random_range(1..4) {
                mutate_tree(&mut tree, &other, &mut rng);
            }
            datagram.clear();
            tree.write(&mut datagram);
        } else {
            for _ in 0..rng.random_range(1..4) {
                mutate_bytes(&mut datagram, other, &mut rng);
            }
        }
        match catch_unwind(|| holds(&datagram)) {
            Ok(was_read) => read += u64::from(was_read),
            Err(_) => panic!("it breaks by b\"{}\"", datagram.escape_ascii()),
        }
    }
    // Were nearly all refused at once, nothing behind the reader would be tested.
    assert!(read > mutations / 20, "{read} of {mutations} were read");
}
