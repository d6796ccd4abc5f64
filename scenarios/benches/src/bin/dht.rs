//! Benchmarks of the DHT, under the system's allocator, as the engine runs. What nodes hold grows and shrinks in many
//! sizes while they come and go: mimalloc, which keeps pages for each size, takes a third more memory for it, and a tenth
//! less time.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_benches::dht()
}
