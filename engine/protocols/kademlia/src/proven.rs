//! Addresses whose nodes have shown that they are there: they have answered what was sent to them.

use crate::{
    config::{MINUTE, Nanos},
    krpc::Endpoint,
};

/// How long an answer counts at least, and half of how long it does at most: an address may be another's by then.
const PERIOD: Nanos = 10 * MINUTE;
/// Addresses for which room is made at a time.
const GROWS_BY: usize = 16;

/// The last addresses that have answered, bounded. Nothing is kept of them but in which of two periods they did.
#[derive(Clone, Debug)]
pub(crate) struct Proven<A> {
    /// Sorted: those of this period, and those of the one before that have not answered in this one.
    current: Vec<A>,
    before: Vec<A>,
    /// Which period this is.
    period: u32,
}

impl<A> Default for Proven<A> {
    fn default() -> Self {
        Proven {
            current: Vec::new(),
            before: Vec::new(),
            period: 0,
        }
    }
}

impl<A: Endpoint> Proven<A> {
    pub fn has(&self, now: Nanos, address: A) -> bool {
        let is_in = |list: &[A]| list.binary_search(&address).is_ok();
        match period(now) - self.period {
            0 => is_in(&self.current) || is_in(&self.before),
            1 => is_in(&self.current),
            _ => false,
        }
    }

    pub fn add(&mut self, now: Nanos, address: A, most: usize) {
        self.turn(now);
        let Err(place) = self.current.binary_search(&address) else {
            return;
        };
        if let Ok(place) = self.before.binary_search(&address) {
            self.before.remove(place);
        }
        if self.current.len() == self.current.capacity() {
            self.current.reserve_exact(GROWS_BY);
        }
        self.current.insert(place, address);
        if self.current.len() + self.before.len() > most {
            // Of those of one period none is older than another: chance decides, in the shape of the newcomer's address.
            match self.before.is_empty() {
                false => drop(self.before.remove(place % self.before.len())),
                true => drop(self.current.remove(match place {
                    0 => self.current.len() - 1,
                    _ => place - 1,
                })),
            }
        }
    }

    /// Forgets what is too old.
    fn turn(&mut self, now: Nanos) {
        let period = period(now);
        match period - self.period {
            0 => return,
            1 => self.before = std::mem::take(&mut self.current),
            _ => {
                self.before = Vec::new();
                self.current = Vec::new();
            }
        }
        self.before.shrink_to_fit();
        self.period = period;
    }

    pub fn heap_bytes(&self) -> usize {
        (self.current.capacity() + self.before.capacity()) * size_of::<A>()
    }
}

fn period(time: Nanos) -> u32 {
    u32::try_from(time / PERIOD).unwrap_or(u32::MAX)
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
        let known = (1..=3).filter(|port| proven.has(now, address(*port)));
        assert_eq!(known.count(), 2);
        assert!(proven.has(now, address(3)), "the last one is among them");
        assert!(proven.has(now + PERIOD, address(3)));
        assert!(!proven.has(now + 2 * PERIOD, address(3)));
    }

    #[test]
    fn who_answers_again_is_believed_for_longer_and_kept_once() {
        let mut proven = Proven::default();
        for half in 0..10 {
            let now = half * PERIOD / 2;
            proven.add(now, address(1), 8);
            assert!(proven.has(now + PERIOD, address(1)));
            assert_eq!(proven.current.len() + proven.before.len(), 1);
        }
        proven.add(100 * PERIOD, address(2), 8);
        assert!(!proven.has(100 * PERIOD, address(1)));
        assert_eq!((proven.current.len(), proven.before.len()), (1, 0));
    }

    #[test]
    fn those_of_this_period_outlast_those_of_the_one_before() {
        let mut proven = Proven::default();
        for port in 0..100 {
            proven.add(0, address(1 + port), 100);
        }
        for port in 0..60 {
            proven.add(PERIOD, address(1_000 + port), 100);
            assert!(proven.current.is_sorted() && proven.before.is_sorted());
            assert!(proven.current.len() + proven.before.len() <= 100);
        }
        assert!((0..60).all(|port| proven.has(PERIOD, address(1_000 + port))));
        assert_eq!(proven.before.len(), 40);
    }
}
