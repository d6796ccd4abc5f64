//! Whoever looks on.

use holdfast_kademlia::{Id, Node};
use std::net::SocketAddrV4;

/// Sees each datagram of an overlay; what it must remember for that is its own.
pub trait Watch: Clone {
    /// An honest node sends a datagram, whatever becomes of it on its way.
    fn sent(&mut self, at: u64, from: u32, to: SocketAddrV4, datagram: &[u8]) {
        let _ = (at, from, to, datagram);
    }

    /// A datagram that says to be from `from` reaches an honest node, which acts on it next.
    fn delivered(&mut self, at: u64, from: u32, to: u32, datagram: &[u8]) {
        let _ = (at, from, to, datagram);
    }

    /// A node has done what there was to do about a datagram that reached it, and has sent what it had to.
    fn acted(&mut self, at: u64, node: u32, core: &Node<SocketAddrV4>) {
        let _ = (at, node, core);
    }

    /// The timer of an honest node has run out; it acts next.
    fn woken(&mut self, at: u64, node: u32) {
        let _ = (at, node);
    }

    /// A node takes over a contact from whoever knows all, as if `other` had answered it under `id`.
    fn adopted(&mut self, node: u32, other: u32, id: Id) {
        let _ = (node, other, id);
    }

    /// Whether there is no need to see more: [`run_until`](super::Overlay::run_until) stops where it is.
    fn has_seen_enough(&self) -> bool {
        false
    }

    /// A node begins under `id`, or begins anew: what it knew is forgotten.
    fn began(&mut self, at: u64, node: u32, id: Id) {
        let _ = (at, node, id);
    }
}

/// Nobody looks on.
impl Watch for () {}
