use super::{Site, table};
use rand_chacha::rand_core::RngCore;
use std::collections::BTreeSet;

table! { "entropy":
    every_generator_is_fresh,
    a_generator_is_usable_anywhere,
}

async fn every_generator_is_fresh(site: Site) {
    let clone = site.host.clone();
    let mut firsts = BTreeSet::new();
    for purpose in ["conformance", "conformance ", "elections", ""] {
        firsts.insert(site.host.rng(purpose).next_u64());
        firsts.insert(site.host.rng(purpose).next_u64());
        firsts.insert(clone.rng(purpose).next_u64());
    }
    assert_eq!(
        firsts.len(),
        12,
        "rng: a fresh generator for each call: other purposes and other calls give other numbers"
    );
}

async fn a_generator_is_usable_anywhere(site: Site) {
    let host = site.host.clone();
    let here = site.host.rng("conformance").next_u64();
    let there = super::on(
        &site.host,
        async move { host.rng("conformance").next_u64() },
    )
    .await;
    assert_ne!(here, there, "rng: a fresh generator for each call");
}
