//! A mutating test: real datagrams, changed at random, again and again, as long as one likes and without libFuzzer.
//! Whatever comes, what [`codec::check`] says holds.
//!
//! It runs a moment with the other tests. `HOLDFAST_MUTATIONS=100000000 cargo test -p holdfast-kademlia-fuzz --test mutate`
//! runs it longer; `HOLDFAST_SEED` chooses another sequence. A datagram that breaks something is shown, and belongs
//! into `fixtures/fuzz/kademlia/codec`, where every run of the tests meets it again.
#![allow(clippy::disallowed_methods, reason = "a test reads its fixtures")]

#[path = "../../tests/kademlia/fixtures.rs"]
#[allow(dead_code, reason = "the other tests read the rest of it")]
mod fixtures;

use holdfast_kademlia_fuzz::{codec, mutation};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::panic::catch_unwind;
use std::path::Path;

/// Enough to meet every kind of change of every datagram, and short.
const MUTATIONS: u64 = 100_000;

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => otherwise,
    }
}

/// All datagrams that there are, right and wrong.
fn datagrams() -> Vec<Vec<u8>> {
    let files = [fixtures::MESSAGES, fixtures::REFUSED];
    let cases = files.iter().flat_map(|file| fixtures::cases(file));
    cases.map(|case| fixtures::datagram(&case)).collect()
}

/// The datagrams of other clients.
fn foreign() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../fixtures/kademlia/corpus");
    let files = std::fs::read_dir(folder).expect("the fixtures are there");
    let mut paths: Vec<_> = files
        .map(|file| file.expect("it is there").path())
        .collect();
    // In whatever order they are listed: the test is the same everywhere.
    paths.sort();
    let read = |path| std::fs::read(path).expect("it is there");
    paths.into_iter().map(read).collect()
}

#[test]
fn no_change_of_a_datagram_breaks_anything() {
    let corpus = [datagrams(), foreign()].concat();
    let mutations = setting("HOLDFAST_MUTATIONS", MUTATIONS);
    let mut rng = ChaCha8Rng::seed_from_u64(setting("HOLDFAST_SEED", 0));
    let mut read = 0_u64;
    for _ in 0..mutations {
        let pick = |rng: &mut ChaCha8Rng| rng.random_range(0..corpus.len());
        let mut datagram = corpus[pick(&mut rng)].clone();
        let other = &corpus[pick(&mut rng)];
        mutation::change(&mut datagram, other, &mut rng);
        match catch_unwind(|| codec::check(&datagram)) {
            Ok(was_read) => read += u64::from(was_read),
            Err(_) => panic!("it breaks by b\"{}\"", datagram.escape_ascii()),
        }
    }
    // Were nearly all refused at once, nothing behind the reader would be tested.
    assert!(read > mutations / 20, "{read} of {mutations} were read");
}
