//! Benchmarks of the DHT, under the system's allocator, as the engine runs. What nodes hold grows and shrinks in many
//! sizes while they come and go: after an hour of that mimalloc, which keeps pages for each size, had taken a third more
//! memory, in a seventh less time.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_benches::dht()
}
