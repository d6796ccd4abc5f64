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
mod codec_mutant;
mod config;
mod expiry;
mod hex;
mod id;
pub mod item;
pub mod items;
pub mod krpc;
pub mod limiter;
mod lookup;
pub mod magnet;
mod node;
mod output;
pub mod peers;
mod proven;
mod rpc;
mod saved;
pub mod secure_id;
mod server;
mod source;
mod store_mutant;
mod table;
pub mod token;

pub use codec_mutant::CodecMutant;
pub use config::{Config, MAX_PATHS, Mutant, Nanos};
pub use expiry::SWEEP_INTERVAL;
pub use id::{Distance, Id, IdError};
pub use krpc::Message;
pub use lookup::{MAX_PEERS, PutRequest, Request, SignedPut};
pub use node::{MAX_REFRESHES, MAX_SEEDS, Node, Refused};
pub use output::{Event, Finished, LookupId, Outbox, Step};
pub use rpc::MAX_UNDER_WAY;
pub use saved::{SAVED_LIMIT_BYTES, Saved, SavedError};
pub use server::Sibling;
pub use store_mutant::StoreMutant;
pub use table::{
    BAD_AFTER, Health, Heard, MAX_SPARES, QUESTIONABLE_AFTER, REFRESH_AFTER, RoundTrips, Table,
};
