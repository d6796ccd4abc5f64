//! The fast lane of overlays: thousands to a million nodes of the DHT as one value, stepped by an event heap.
//!
//! Nothing here runs by itself: no tasks, no futures, no threads. An [`Overlay`] holds every [`Node`], every datagram
//! under way and every timer, and `Clone` copies all of it. The nodes are those that production runs; what is modelled
//! is the network between them, who dies, who comes, and who lies.
//!
//! It is made to be small and fast: one [`Outbox`](holdfast_kademlia::Outbox) is shared by all nodes, an event takes
//! 16 bytes, a node has one timer, and a datagram's buffer is used again when it has arrived. Who a node is to others
//! follows from its index ([`Addresses`]), how long a datagram takes from the pair that exchanges it, so that neither
//! needs memory.
//!
//! [`Node`]: holdfast_kademlia::Node

mod address;
mod adversary;
mod census;
mod datagrams;
mod fill;
mod peer;
mod setup;
mod watch;
mod wires;
mod world;

#[cfg(test)]
mod tests;

pub use address::{Addresses, MAX_NETWORK_BITS, PORT};
pub use adversary::{Adversary, Honest, Post};
pub use census::Census;
pub use datagrams::Datagrams;
pub use peer::Chance;
pub use setup::{Ids, Links, Setup};
pub use watch::Watch;
pub use wires::Counts;
pub use world::{BEGIN, Ended, Overlay};
