//! What fuzzing the DHT is made of: functions that take any bytes and panic when something is not as it must be.
//!
//! Each [`Target`] is one of them. `cargo xtask fuzz` builds them into libFuzzer, which changes inputs and keeps those
//! that reach something new; what it has kept is in `fixtures/fuzz/kademlia`, and the tests run all of it. The checks
//! are here once: the mutating test and libFuzzer use the same.
//!
//! [`codec`] reads datagrams, [`formats`] whatever else comes from outside, and [`node`] plays a history against whole
//! nodes, which [`script`] reads from the input. [`mutation`] changes inputs by what they mean.

pub mod codec;
pub mod formats;
pub mod mutation;
pub mod node;
pub mod script;
pub mod tree;
mod world;

/// What is fuzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Datagrams and bencode.
    Codec,
    /// Saved tables, magnet links, compact forms.
    Formats,
    /// A node in both families, and everybody who talks to it.
    Node,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 3] = [Target::Codec, Target::Formats, Target::Node];

    /// Its name, which is that of its folder of kept inputs.
    pub fn name(self) -> &'static str {
        match self {
            Target::Codec => "codec",
            Target::Formats => "formats",
            Target::Node => "node",
        }
    }

    /// Runs one input. What it returns is the same whenever the input is.
    ///
    /// # Panics
    /// When something is not as it must be.
    pub fn run(self, input: &[u8]) -> u32 {
        match self {
            Target::Codec => u32::from(codec::check(input)),
            Target::Formats => u32::from(formats::check(input)),
            Target::Node => node::run(input).digest,
        }
    }
}
