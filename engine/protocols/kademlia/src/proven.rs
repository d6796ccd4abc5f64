//! Addresses whose nodes have shown that they are there: they have answered what was sent to them.

use crate::{
    config::{MINUTE, Nanos},
    krpc::Endpoint,
};

/// How long an answer counts: an address may be another's by then.
const LASTS: Nanos = 15 * MINUTE;
/// Addresses for which room is made at a time.
const GROWS_BY: usize = 16;

/// The last addresses that have answered, bounded.
#[derive(Clone, Debug)]
pub(crate) struct Proven<A> {
    /// Sorted by address. When each answered last: seconds.
    answered: Vec<(A, u32)>,
}

impl<A> Default for Proven<A> {
    fn default() -> Self {
        Proven {
            answered: Vec::new(),
        }
    }
}

impl<A: Endpoint> Proven<A> {
    pub fn has(&self, now: Nanos, address: A) -> bool {
        let found = self
            .answered
            .binary_search_by(|(known, _)| known.cmp(&address));
        found.is_ok_and(|place| seconds(now) <= self.answered[place].1 + seconds(LASTS))
    }

    pub fn add(&mut self, now: Nanos, address: A, most: usize) {
        let at = seconds(now);
        match self
            .answered
            .binary_search_by(|(known, _)| known.cmp(&address))
        {
            Ok(place) => self.answered[place].1 = at,
            Err(place) => {
                let place = self.make_room(at, place);
                self.answered.insert(place, (address, at));
                if self.answered.len() > most {
                    let places = 0..self.answered.len();
                    let oldest = places.min_by_key(|place| self.answered[*place].1);
                    self.answered.remove(oldest.expect("there are some"));
                }
            }
        }
    }

    /// Makes room for one more at `place`, if it can by forgetting those that count no more; where that place is then.
    fn make_room(&mut self, at: u32, place: usize) -> usize {
        if self.answered.len() < self.answered.capacity() {
            return place;
        }
        let counts = |(_, answered): &(A, u32)| at <= *answered + seconds(LASTS);
        let before = self.answered[..place].iter().filter(|known| counts(known));
        let place = before.count();
        self.answered.retain(counts);
        if self.answered.len() == self.answered.capacity() {
            self.answered.reserve_exact(GROWS_BY);
        }
        place
    }

    pub fn heap_bytes(&self) -> usize {
        self.answered.capacity() * size_of::<(A, u32)>()
    }
}

fn seconds(time: Nanos) -> u32 {
    u32::try_from(time / 1_000_000_000).unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SECOND;
    use std::net::{Ipv4Addr, SocketAddrV4};

    fn address(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    #[test]
    fn who_answered_is_believed_for_a_while_and_few_are_remembered() {
        let mut proven = Proven::default();
        for port in 1..=3 {
            proven.add(u64::from(port) * SECOND, address(port), 2);
        }
        let now = 4 * SECOND;
        let known = |port| proven.has(now, address(port));
        assert_eq!((known(1), known(2), known(3)), (false, true, true));
        assert!(!proven.has(now + LASTS, address(2)));
    }

    #[test]
    fn those_that_count_no_more_make_room() {
        let mut proven = Proven::default();
        for minute in 0..100 {
            for port in 0..4 {
                let port = 1 + (minute * 4 + port) % 997;
                proven.add(u64::from(minute) * MINUTE, address(port), 512);
            }
            assert!(proven.answered.is_sorted());
            assert!(proven.has(u64::from(minute) * MINUTE, address(1 + minute * 4 % 997)));
        }
        // Four a minute, each for a quarter of an hour.
        assert!(proven.answered.capacity() <= 60 + 2 * GROWS_BY);
    }
}
