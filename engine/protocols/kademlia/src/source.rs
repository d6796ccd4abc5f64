//! Where a datagram comes from, for fairness between those who send: an address that somebody has, not a port of it.

use crate::{Distance, Id};
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
    /// In order. A few thousand at most, and gone through from end to end for each victim: so in one piece.
    held: Vec<(Source, Id)>,
}

impl Shares {
    pub(crate) fn add(&mut self, source: Source, id: Id) {
        let at = self.held.partition_point(|held| *held < (source, id));
        self.held.insert(at, (source, id));
    }

    pub(crate) fn remove(&mut self, source: Source, id: Id) {
        let at = self.held.binary_search(&(source, id));
        debug_assert!(at.is_ok(), "what is stored has a source");
        if let Ok(at) = at {
            self.held.remove(at);
        }
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.held.capacity() * size_of::<(Source, Id)>()
    }

    /// What has to go for `newcomer` to come in from `source`; `None` if it is the newcomer itself.
    ///
    /// It looks at all that is held, once: some microseconds for two thousand.
    pub(crate) fn victim(&self, own: Id, source: Source, newcomer: Id) -> Option<Id> {
        // Who has most, and the farthest of it.
        let newcomer_alone = (1, own.distance(newcomer));
        let mut worst = newcomer_alone;
        for run in self.held.chunk_by(|(a, _), (b, _)| a == b) {
            let distances = run.iter().map(|(_, id)| own.distance(*id));
            let (others, farthest) = match run[0].0 == source {
                true => newcomer_alone,
                false => (0, Distance::ZERO),
            };
            let farthest = distances.fold(farthest, Distance::max);
            worst = worst.max((run.len() + others, farthest));
        }
        let victim = worst.1.from(own);
        (victim != newcomer).then_some(victim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let v4 = |n: u32| Source::of(IpAddr::V4(Ipv4Addr::from(n)));
        let v6 = |n: u128| Source::of(IpAddr::V6(Ipv6Addr::from(n)));
        assert!(v4(1) < v4(2) && v4(2) < v4(1 << 31));
        assert_eq!(v6(5 << 64), v6(5 << 64 | u128::from(u64::MAX)));
        assert!(v6(5 << 64) < v6(6 << 64));
        let mapped = Ipv4Addr::new(203, 0, 113, 9).to_ipv6_mapped();
        assert_eq!(v6(mapped.into()), v4(0xcb00_7109));
    }

    proptest! {
        /// One of those goes that belong to who has most, the newcomer among them, and none of them is farther.
        #[test]
        fn the_farthest_of_who_has_most_gives_way(
            held in prop::collection::btree_map(any::<[u8; 20]>(), 0_u64..5, 0..30),
            newcomer in any::<[u8; 20]>(),
            source in 0_u64..6,
            own in any::<[u8; 20]>(),
        ) {
            let (own, newcomer, source) = (Id::new(own), Id::new(newcomer), Source(source));
            let mut all: Vec<(Source, Id)> = held
                .into_iter()
                .map(|(id, source)| (Source(source), Id::new(id)))
                .filter(|(_, id)| *id != newcomer)
                .collect();
            let mut shares = Shares::default();
            all.iter().for_each(|(source, id)| shares.add(*source, *id));
            let victim = shares.victim(own, source, newcomer);
            all.push((source, newcomer));
            let count = |of: Source| all.iter().filter(|(source, _)| *source == of).count();
            let most = all.iter().map(|(source, _)| count(*source)).max();
            let greedy = all.iter().filter(|(source, _)| Some(count(*source)) == most);
            let expected = greedy.map(|(_, id)| *id).max_by_key(|id| own.distance(*id));
            prop_assert_eq!(victim.or(Some(newcomer)), expected);
            all.pop();
            all.iter().for_each(|(source, id)| shares.remove(*source, *id));
            prop_assert_eq!(shares.victim(own, source, newcomer), None);
        }
    }
}
