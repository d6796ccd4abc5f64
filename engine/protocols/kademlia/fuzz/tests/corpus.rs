//! Runs every input that fuzzing has kept, and those that once broke something.
#![allow(clippy::disallowed_methods, reason = "a test reads its fixtures")]

use holdfast_kademlia::{Mutant, StoreMutant};
use holdfast_kademlia_fuzz::node::{self, Played};
use holdfast_kademlia_fuzz::{Target, mutation};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// What may be kept of all targets together, bytes: it is in the repository for ever.
const MOST_BYTES: usize = 2_000_000;

fn folder(target: Target) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../fixtures/fuzz/kademlia");
    fixtures.join(target.name())
}

/// Inputs by the names of their files.
fn kept(target: Target) -> BTreeMap<String, Vec<u8>> {
    let folder = folder(target);
    let files = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
    let inputs = files.map(|file| {
        let file = file.expect("it was listed");
        let input = std::fs::read(file.path()).expect("it was listed");
        (file.file_name().to_string_lossy().into_owned(), input)
    });
    inputs.collect()
}

/// Runs all that is kept of a target, twice: an input decides everything.
fn replay(target: Target) {
    let inputs = kept(target);
    // Fewer say that most of it was lost.
    assert!(inputs.len() > 50, "{} inputs are kept", inputs.len());
    for (name, input) in inputs {
        let Ok(digests) = catch_unwind(|| [target.run(&input), target.run(&input)]) else {
            panic!("{name} of {target:?} breaks something; see above");
        };
        assert_eq!(
            digests[0], digests[1],
            "{name} of {target:?} runs otherwise the second time"
        );
    }
}

#[test]
fn datagrams() {
    replay(Target::Codec);
}

#[test]
fn other_formats() {
    replay(Target::Formats);
}

#[test]
fn the_corpus_is_small() {
    let inputs = Target::ALL.into_iter().flat_map(kept);
    let bytes: usize = inputs.map(|(_, input)| input.len()).sum();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes are kept");
}

/// Kept histories are more than noise: were the steps read otherwise one day, they would say little, and pass.
#[test]
fn histories_of_a_node() {
    replay(Target::Node);
    let mut all = Played::default();
    for input in kept(Target::Node).values() {
        let played = node::run(input);
        all.answered += played.answered;
        all.stored += played.stored;
        all.found += played.found;
        all.told += played.told;
    }
    let enough = all.answered > 500 && all.stored > 50 && all.found > 200 && all.told > 100;
    assert!(enough, "{all:?}");
}

/// Histories are worth keeping if they find bugs: each of these breaks something in one of them, and nothing breaks
/// without.
#[test]
#[cfg(debug_assertions)]
fn kept_histories_find_planted_bugs() {
    let mut inputs = kept(Target::Node);
    // Somebody answers what he was not asked. To the nodes as they are that is nothing new, so that no such history has to
    // be among those that are kept.
    let known: Vec<u8> = (0..20).flat_map(|byte| [byte, byte]).collect();
    let lookup = [14, 0, 9, 0];
    let answer = [6, 200, 0, 1, 1, 3, 3];
    let from_elsewhere = [&[0x60, 1, 22, 20][..], &known, &lookup, &answer].concat();
    inputs.insert("from elsewhere".to_string(), from_elsewhere);
    let planted = [
        Mutant::UnverifiedContacts,
        Mutant::BucketOverfull,
        Mutant::AliveByAsking,
        Mutant::ReplyFromAnywhere,
        Mutant::Amplified,
        Mutant::ItemUnverified,
        Mutant::LastItemTold,
        Mutant::Store(StoreMutant::SignatureUnchecked),
        Mutant::Store(StoreMutant::TokenOfAnyAddress),
        Mutant::Store(StoreMutant::ImpliedPortIgnored),
    ];
    let is_found = |mutant: &Mutant| {
        let mut inputs = inputs.values();
        inputs.any(|input| catch_unwind(|| node::run_planted(input, Some(*mutant))).is_err())
    };
    let missed: Vec<Mutant> = planted
        .into_iter()
        .filter(|mutant| !is_found(mutant))
        .collect();
    assert_eq!(missed, [], "no history meets them");
}

/// What libFuzzer does without its coverage, for a moment.
#[test]
fn changed_inputs_break_nothing() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (target, changes) in [(Target::Codec, 20_000), (Target::Node, 200)] {
        let inputs: Vec<Vec<u8>> = kept(target).into_values().collect();
        for _ in 0..changes {
            let mut input = inputs[rng.random_range(0..inputs.len())].clone();
            let size = input.len();
            input.resize(size + 500, 0);
            let most = input.len();
            let changed = mutation::mutate(target, &mut input, size, most, rng.random());
            input.truncate(changed.unwrap_or(size));
            if catch_unwind(|| target.run(&input)).is_err() {
                panic!("{target:?} breaks by {}", input.escape_ascii());
            }
        }
    }
}
