//! Nodes that do as they like.

use std::{net::SocketAddrV4, ops::Range};

/// All nodes of an overlay that are not honest: one mind with many addresses.
pub trait Adversary: Clone {
    /// A datagram has come to its node `own`.
    fn receive(&mut self, now: u64, own: u32, from: SocketAddrV4, datagram: &[u8], post: &mut Post);

    /// The time has come that it asked for ([`Post::wake`]).
    fn wake(&mut self, now: u64, own: u32, post: &mut Post) {
        let _ = (now, own, post);
    }
}

/// Nobody lies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Honest;

impl Adversary for Honest {
    fn receive(&mut self, _: u64, _: u32, _: SocketAddrV4, _: &[u8], _: &mut Post) {}
}

/// What an adversary wants done.
#[derive(Clone, Debug, Default)]
pub struct Post {
    pub(super) bytes: Vec<u8>,
    pub(super) datagrams: Vec<(u32, SocketAddrV4, Range<usize>)>,
    pub(super) wakes: Vec<(u64, u32)>,
}

impl Post {
    /// Sends what `write` appends to `to`, as if from node `from`: any node, since a source is only a claim.
    pub fn send(&mut self, from: u32, to: SocketAddrV4, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.datagrams.push((from, to, start..self.bytes.len()));
    }

    /// What is to be sent: as if from which node, where to, and what.
    pub fn sent(&self) -> impl Iterator<Item = (u32, SocketAddrV4, &[u8])> {
        let datagrams = self.datagrams.iter();
        datagrams.map(|(from, to, range)| (*from, *to, &self.bytes[range.clone()]))
    }

    /// Wants its node `own` to be woken at `at`.
    pub fn wake(&mut self, at: u64, own: u32) {
        self.wakes.push((at, own));
    }
}
