//! The target `formats` in libFuzzer.
#![no_main]
#![allow(
    unsafe_code,
    reason = "libFuzzer calls functions without names of Rust's"
)]

use holdfast_kademlia_fuzz::{Target, mutation};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    Target::Formats.run(input);
});

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match mutation::mutate(Target::Formats, data, size, max_size, seed) {
        Some(size) => size,
        None => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
});
