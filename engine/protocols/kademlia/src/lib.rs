//! The BitTorrent DHT, a Kademlia: what travels between its nodes, and what is stored in it.
//!
//! Nothing here has a socket, a clock or chance of its own: bytes, times and generators of random numbers are handed
//! in. What comes from the network is never trusted: every answer is bounded, malformed input gives a typed problem,
//! and nothing panics.
//!
//! The two types that matter are [`Id`], and [`Message`] of [`krpc`], which is read from a datagram without allocating,
//! and written into a buffer that is used again. [`bencode`] is the form of both messages and stored values. What is
//! stored: peers, which [`bloom`] counts across nodes (BEP 33), and items ([`item`], BEP 44), some of which point to
//! torrents ([`magnet`], BEP 46). What a node keeps for others is in [`peers`] and [`items`], behind a [`limiter`] and
//! the [`token`]s that say who may write. [`secure_id`] ties ids to addresses (BEP 42).

pub mod bencode;
pub mod bloom;
mod expiry;
mod hex;
mod id;
pub mod item;
pub mod items;
pub mod krpc;
pub mod limiter;
pub mod magnet;
pub mod peers;
pub mod secure_id;
mod source;
mod store_mutant;
pub mod token;

pub use expiry::SWEEP_INTERVAL;
pub use id::{Distance, Id, IdError};
pub use krpc::Message;
pub use store_mutant::StoreMutant;

/// A time of a clock that only runs forward, or a length of time, in nanoseconds.
pub type Nanos = u64;
