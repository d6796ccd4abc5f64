//! What an overlay is made of.

use holdfast_kademlia::Config;
use std::sync::Arc;

/// How ids come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// By chance alone.
    Random,
    /// By chance, as the address allows (BEP 42).
    Secure,
}

/// How datagrams travel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Links {
    /// Least and largest one-way delay of a pair of nodes, nanoseconds: evenly distributed over the pairs, the same in
    /// both directions, always the same for one pair.
    pub delay_ns: (u64, u64),
    /// What is added to it, evenly distributed up to this, for each datagram by itself, nanoseconds.
    pub jitter_ns: u64,
    /// The probability that a datagram is lost.
    pub loss: f64,
}

impl Default for Links {
    /// Between 20 and 100 ms, nothing lost: the internet on a good day.
    fn default() -> Self {
        Links {
            delay_ns: (20_000_000, 100_000_000),
            jitter_ns: 0,
            loss: 0.0,
        }
    }
}

/// What an overlay is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The seed of all chance.
    pub seed: u64,
    /// How honest nodes behave; all alike.
    pub config: Arc<Config>,
    /// How datagrams travel.
    pub links: Links,
    /// How ids come about.
    pub ids: Ids,
    /// 2^this many nodes share a network (/24), at most [`MAX_NETWORK_BITS`](super::MAX_NETWORK_BITS).
    pub network_bits: u32,
}
