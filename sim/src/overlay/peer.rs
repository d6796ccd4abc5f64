//! One node and what the world keeps for it.

use crate::draw::{Domain, Draws};
use holdfast_kademlia::{Id, Node};
use rand::RngCore;
use std::net::SocketAddrV4;

/// A node's randomness: 16 bytes, each word a function of seed, node, incarnation and count.
#[derive(Clone, Debug)]
pub struct Chance(Draws);

impl Chance {
    /// That of an incarnation of a node.
    pub fn new(seed: u64, node: u32, incarnation: u32) -> Self {
        let process = (u64::from(node) << 32) | u64::from(incarnation);
        Chance(Draws::new(seed, Domain::Entropy, process))
    }
}

impl RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        (self.0.bits() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.bits()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.0.bits().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// Who somebody is.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// Nobody any more.
    Dead,
    /// An honest node.
    Honest(Box<Node<SocketAddrV4>>),
    /// One of the adversary's.
    Adversary,
}

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub id: Id,
    pub who: Who,
    pub chance: Chance,
    pub incarnation: u32,
    /// Nothing that it sends arrives anywhere.
    pub is_mute: bool,
    pub timer: Timer,
    /// Where it stands among those that live.
    pub place: u32,
}

/// A wake so long after another one is a late one, nanoseconds: longer than a node waits for an answer.
const LATE_NS: u64 = 10_000_000_000;

/// The wakes of one node that wait in the heap and count. All others there are stale.
///
/// Two of them, since a node that does something for a short while wants to be woken soon, again and again, and then
/// late, when it wanted to be before: that one still waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timer {
    near: u64,
    far: u64,
}

impl Timer {
    pub const UNSET: Timer = Timer {
        near: u64::MAX,
        far: u64::MAX,
    };

    /// The node wants to be woken at `at`, at the latest; whether a wake is to be put into the heap for that.
    #[inline]
    pub fn set(&mut self, at: u64) -> bool {
        if at >= self.near {
            return false;
        }
        // Of the two that wait already the later one is forgotten, when both are late: it is asked for again when the
        // earlier one has rung. If that one is soon, it is forgotten itself, and not for long in the heap.
        if self.far == u64::MAX || self.near - at > LATE_NS {
            self.far = self.near;
        }
        self.near = at;
        true
    }

    /// A wake comes out of the heap; whether it counts.
    #[inline]
    pub fn ring(&mut self, at: u64) -> bool {
        if at != self.near {
            return false;
        }
        self.near = self.far;
        self.far = u64::MAX;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_counts_once_and_a_far_one_is_not_put_in_twice() {
        let mut timer = Timer::UNSET;
        assert!(timer.set(900), "the far one");
        assert!(timer.set(5) && !timer.set(6), "woken too early is no harm");
        assert!(timer.ring(5) && !timer.ring(5));
        assert!(!timer.set(900), "it waits already");
        assert!(timer.set(7) && timer.set(6));
        assert!(timer.ring(6) && !timer.ring(7), "the one between is stale");
        assert!(timer.ring(900));
        let late = |n| n * LATE_NS;
        assert!(timer.set(late(9)) && timer.set(late(5)) && timer.set(1));
        assert!(
            timer.ring(1) && !timer.set(late(5)),
            "the earlier of two late ones waits"
        );
        assert!(timer.ring(late(5)) && timer.set(late(9)));
        assert!(timer.ring(late(9)));
        assert!(!timer.ring(u64::MAX - 1) && timer == Timer::UNSET);
    }
}
