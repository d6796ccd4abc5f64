//! What is between the nodes: delays, losses, and what waits to arrive.

use super::{Datagrams, Links};
use crate::{
    draw::{Domain, draw, unit},
    heap::EventHeap,
    trace::Trace,
};

/// What has happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that the heap gave out, stale wakes included.
    pub events: u64,
    /// Wakes that had been overtaken by another one.
    pub stale: u64,
    /// Wakes of honest nodes.
    pub wakes: u64,
    /// Datagrams that honest nodes sent.
    pub sent: u64,
    /// Bytes in them.
    pub sent_bytes: u64,
    /// Datagrams, whoever sent them, that reached a node that lives.
    pub delivered: u64,
    /// Lost on the way.
    pub lost: u64,
    /// Kept back: by a partition, or because the sender is mute.
    pub blocked: u64,
    /// To where nobody is any more, or ever was.
    pub unheard: u64,
    /// Nodes that have come, adversaries included.
    pub came: u64,
    /// Nodes that have died.
    pub died: u64,
}

/// What waits in the heap.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Arrive { from: u32, to: u32, datagram: u32 },
    Wake { node: u32 },
    Leave { node: u32, incarnation: u32 },
}

/// What carries datagrams, apart from the nodes so that both can be borrowed.
#[derive(Clone, Debug)]
pub(super) struct Wires {
    pub seed: u64,
    pub links: Links,
    pub heap: EventHeap<Event>,
    pub datagrams: Datagrams,
    pub counts: Counts,
    pub trace: Trace,
    /// Which part of a cut overlay each node is in; whoever has no place here is in part 0.
    pub parts: Vec<u8>,
}

impl Wires {
    pub fn part(&self, node: u32) -> u8 {
        self.parts.get(node as usize).copied().unwrap_or(0)
    }

    /// Sends a datagram on its way.
    #[inline]
    pub fn carry(&mut self, now: u64, from: u32, to: u32, datagram: &[u8]) {
        if !self.parts.is_empty() && self.part(from) != self.part(to) {
            self.counts.blocked += 1;
            return;
        }
        let pair = (u64::from(from.min(to)) << 32) | u64::from(from.max(to));
        let way = (u64::from(from) << 32) | u64::from(to);
        let Links {
            delay_ns: (low, high),
            jitter_ns,
            loss,
        } = self.links;
        // The moment is the counter: no state, and nothing that one pair does changes another one's luck.
        if loss > 0.0 && unit(draw(self.seed, Domain::Packet, way, now)) < loss {
            self.counts.lost += 1;
            return;
        }
        let mut delay = low + below(draw(self.seed, Domain::Link, pair, 0), high - low + 1);
        if jitter_ns > 0 {
            delay += below(draw(self.seed, Domain::Stream, way, now), jitter_ns + 1);
        }
        let datagram = self.datagrams.keep(datagram);
        let event = Event::Arrive { from, to, datagram };
        self.heap.push(now + delay, event);
    }
}

/// `bits` as a number below `bound`.
#[inline]
pub(super) fn below(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}
