//! Benchmarks, under the allocator of the binary `seeds`, whose speed is asked for.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    holdfast_benches::benches()
}
