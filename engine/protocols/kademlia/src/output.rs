//! What a node wants of the world: datagrams to send, and what it has to say to whoever runs it.

use crate::{
    Id,
    config::Nanos,
    krpc::{Contact, Endpoint},
};
use std::ops::Range;

/// Names a lookup of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// What a node has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<A> {
    /// A lookup has found peers that it had not told before.
    Peers {
        /// Which lookup.
        lookup: LookupId,
        /// Where they are, in either family.
        peers: Vec<std::net::SocketAddr>,
    },
    /// A lookup has found an item that is new or newer than what it told before. It was checked.
    Item {
        /// Which lookup.
        lookup: LookupId,
        /// The value, bencoded.
        value: Vec<u8>,
        /// Of a mutable one: sequence number and signature.
        version: Option<(i64, [u8; crate::krpc::SIGNATURE_LEN])>,
    },
    /// A lookup has found ids of torrents (BEP 51).
    Samples {
        /// Which lookup.
        lookup: LookupId,
        /// Who has them.
        from: Contact<A>,
        /// The ids.
        ids: Vec<Id>,
        /// How many it has in all.
        total: u64,
        /// How long they stay the same, seconds.
        interval: u32,
    },
    /// A lookup has ended.
    Finished(Box<Finished<A>>),
    /// Other nodes see this one at this address (BEP 42).
    SeenAt(std::net::SocketAddr),
}

/// How a lookup ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished<A> {
    /// Which.
    pub lookup: LookupId,
    /// What was looked for.
    pub target: Id,
    /// The closest nodes that answered, closest first, at most k.
    pub closest: Vec<Contact<A>>,
    /// Who was asked, in the order in which they were.
    pub steps: Vec<Step<A>>,
    /// Answers that came.
    pub replies: u32,
    /// How long it took, what was stored included.
    pub took: Nanos,
    /// How long it took to find the closest nodes.
    pub found_after: Nanos,
    /// How long it took until the closest of them had answered.
    pub nearest_after: Nanos,
    /// The sum of the round trips on the way to the closest node: what a walk would have taken that asks only the right
    /// ones, one after another.
    pub path: Nanos,
    /// Nodes on that way.
    pub hops: u32,
    /// Nodes that say they have stored it; of those that were asked to.
    pub stored: u32,
    /// Nodes that said no, and how often they gave which number (BEP 5, BEP 44).
    pub refusals: Vec<(i64, u32)>,
    /// The budget was spent before the end.
    pub is_cut_short: bool,
}

/// One query of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<A> {
    /// Who was asked.
    pub contact: Contact<A>,
    /// Who named it: a step before this one; `None`: the own table.
    pub named_by: Option<u16>,
    /// On which path.
    pub path: u8,
    /// When, after the lookup's begin.
    pub asked_after: Nanos,
    /// When the answer came, after the lookup's begin; `None`: it has not.
    pub answered_after: Option<Nanos>,
}

/// Where a node leaves what it wants to be sent and said; its owner empties it and uses it again.
#[derive(Clone, Debug)]
pub struct Outbox<A> {
    pub(crate) bytes: Vec<u8>,
    datagrams: Vec<(A, Range<u32>)>,
    /// Room for whoever writes an answer.
    pub(crate) contacts: Vec<Contact<A>>,
    /// What the node said, in order.
    pub events: Vec<Event<A>>,
}

impl<A> Default for Outbox<A> {
    fn default() -> Self {
        Outbox {
            bytes: Vec::new(),
            datagrams: Vec::new(),
            contacts: Vec::new(),
            events: Vec::new(),
        }
    }
}

impl<A: Endpoint> Outbox<A> {
    /// An empty one.
    pub fn new() -> Self {
        Outbox::default()
    }

    /// The datagrams to send, in order, and where to.
    pub fn datagrams(&self) -> impl Iterator<Item = (A, &[u8])> {
        self.datagrams
            .iter()
            .map(|(to, range)| (*to, &self.bytes[range.start as usize..range.end as usize]))
    }

    /// How many datagrams there are to send.
    pub fn count(&self) -> usize {
        self.datagrams.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
        self.events.clear();
    }

    /// Takes back the last datagram, which begins at `start`, if there is one.
    pub(crate) fn take_back(&mut self, start: usize) {
        if self.bytes.len() > start {
            self.bytes.truncate(start);
            self.datagrams.pop();
        }
    }

    /// Sends what `write` appends.
    pub(crate) fn send(&mut self, to: A, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len() as u32;
        write(&mut self.bytes);
        let end = self.bytes.len() as u32;
        if end > start {
            self.datagrams.push((to, start..end));
        }
    }
}
