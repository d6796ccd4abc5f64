//! Where a datagram comes from, for fairness between those who send: an address that somebody has, not a port of it.

use crate::{Distance, Id};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Who is to be treated as one: an IPv4 address, or the 64 bits of an IPv6 address that its network is known by. The
/// other 64 are whatever a host likes (RFC 4291, section 2.5.1), so that they tell nobody apart.
///
/// Sources are ordered as their addresses are, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source(u64);

impl Source {
    pub(crate) fn of(ip: IpAddr) -> Source {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Source(u64::from(u32::from(ip))),
            IpAddr::V6(ip) => Source((u128::from(ip) >> 64) as u64),
        }
    }
}

/// What each source has in a store that is full sooner or later, and who gives way then: the source that has most. Of
/// what it has, that goes which is farthest from the own id, since other nodes are closer to it and more likely to have
/// it too.
///
/// So a source may fill a store that nobody else wants, and loses it again, piece by piece, to whoever comes. To push
/// out what a source has a single one of, an attacker needs about as many sources as the store has places: ids close to
/// ours are cheap to find, addresses are not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares {
    held: BTreeSet<(Source, Id)>,
}

impl Shares {
    pub(crate) fn add(&mut self, source: Source, id: Id) {
        let is_new = self.held.insert((source, id));
        debug_assert!(is_new, "an id has one source");
    }

    pub(crate) fn remove(&mut self, source: Source, id: Id) {
        let was_there = self.held.remove(&(source, id));
        debug_assert!(was_there, "what is stored has a source");
    }

    /// What has to go for `newcomer` to come in from `source`; `None` if it is the newcomer itself.
    ///
    /// It looks at all that is held, once: some microseconds for a few thousand.
    pub(crate) fn victim(&self, own: Id, source: Source, newcomer: Id) -> Option<Id> {
        // Who has most, and the farthest of it. A run that is not yet counted to its end loses against itself.
        let mut worst = (1, own.distance(newcomer));
        for (_, id) in self.held.range((source, Id::ZERO)..=(source, Id::MAX)) {
            worst = (worst.0 + 1, worst.1.max(own.distance(*id)));
        }
        let (mut owner, mut run) = (source, (0, Distance::ZERO));
        for (next, id) in self.held.iter().filter(|(next, _)| *next != source) {
            if owner != *next {
                (owner, run) = (*next, (0, Distance::ZERO));
            }
            run = (run.0 + 1, run.1.max(own.distance(*id)));
            worst = worst.max(run);
        }
        let victim = worst.1.from(own);
        (victim != newcomer).then_some(victim)
    }
}
