//! Changes inputs by what they mean: bencode as a tree, histories step by step. Changes of bytes alone seldom leave
//! bencode what it was.

use crate::Target;
use crate::script;
use crate::tree::Tree;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::LazyLock;

/// What bencode and KRPC are made of, in libFuzzer's form: a word a line, quoted.
const DICTIONARY: &str = include_str!("../../../../../fixtures/fuzz/kademlia/krpc.dict");

/// The words of [`DICTIONARY`].
static WORDS: LazyLock<Vec<&'static [u8]>> = LazyLock::new(|| {
    let lines = DICTIONARY.lines();
    let words = lines.filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    let words: Vec<&[u8]> = words.map(str::as_bytes).collect();
    assert!(words.len() > 30, "the dictionary has words");
    words
});

/// Changes the first `size` bytes of `data` into at most `max_size`, whose number it returns; `None`: it left them as
/// they were, and something else should change them.
pub fn mutate(
    target: Target,
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
) -> Option<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.into());
    if rng.random() {
        return None;
    }
    let mut input = data[..size].to_vec();
    match target {
        Target::Codec => {
            let other = input.clone();
            change(&mut input, &other, &mut rng);
        }
        Target::Formats => return None,
        Target::Node => script::change(&mut input, &mut rng),
    }
    if input.len() > max_size || input == data[..size] {
        return None;
    }
    data[..input.len()].copy_from_slice(&input);
    Some(input.len())
}

/// Changes a datagram, mostly so that it is bencode afterwards too; parts of `other` come into it.
pub fn change(datagram: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    let trees = (Tree::parse(datagram), Tree::parse(other));
    let changes = rng.random_range(1..4);
    if let (Some(mut tree), Some(other)) = trees
        && rng.random_ratio(3, 4)
    {
        for _ in 0..changes {
            mutate_tree(&mut tree, &other, rng);
        }
        datagram.clear();
        tree.write(datagram);
    } else {
        for _ in 0..changes {
            mutate_bytes(datagram, other, rng);
        }
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
