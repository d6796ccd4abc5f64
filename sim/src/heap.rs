//! What will happen, in order of time.

use crate::draw::{Domain, draw};

/// In which order events of one instant come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// As they went in.
    Inserted,
    /// In an order drawn from this seed: code must not rely on one.
    Drawn {
        /// The run's seed.
        seed: u64,
    },
}

/// How many bits of a key name the slot, so that many events at most wait at once: 16 million.
const SLOT_BITS: u32 = 24;
/// Bits that order events of one instant: a run has at most 10^12 of them.
const ORDER_BITS: u32 = 64 - SLOT_BITS;

/// Events ordered by (time, tie-break): a heap of four children a node over keys of 16 bytes, so that the children
/// of one node share a cache line. Events wait in slots and move twice, in and out, however large they are.
#[derive(Clone, Debug)]
pub struct EventHeap<E> {
    /// Time, then tie-break, then slot, from the highest bit.
    keys: Vec<u128>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    pushed: u64,
    ties: Ties,
}

impl<E> EventHeap<E> {
    /// An empty heap.
    pub fn new(ties: Ties) -> Self {
        EventHeap {
            keys: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            pushed: 0,
            ties,
        }
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<u64> {
        self.keys.first().map(|key| (key >> 64) as u64)
    }

    /// Adds an event due at `at`.
    ///
    /// # Panics
    /// When 16 million events wait already: a world that floods itself is broken.
    #[inline]
    pub fn push(&mut self, at: u64, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(event);
                slot
            }
            None => {
                assert!(
                    self.slots.len() < 1 << SLOT_BITS,
                    "too many events wait at once"
                );
                self.slots.push(Some(event));
                self.slots.len() as u32 - 1
            }
        };
        let order = match self.ties {
            Ties::Inserted => self.pushed,
            Ties::Drawn { seed } => draw(seed, Domain::Order, 0, self.pushed) >> SLOT_BITS,
        };
        assert!(order < 1 << ORDER_BITS, "too many events in one run");
        self.pushed += 1;
        let key = (u128::from(at) << 64) | (u128::from(order) << SLOT_BITS) | u128::from(slot);
        self.keys.push(key);
        self.rise(self.keys.len() - 1, key);
    }

    /// Takes the next event and the time it is due.
    #[inline]
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let last = self.keys.pop()?;
        let first = match self.keys.first().copied() {
            Some(first) => {
                self.sink(last);
                first
            }
            None => last,
        };
        let slot = first as u32 & ((1 << SLOT_BITS) - 1);
        let event = self.slots[slot as usize]
            .take()
            .expect("a key names a full slot");
        self.free.push(slot);
        Some(((first >> 64) as u64, event))
    }

    /// Takes the next event if it is due at `now` or before.
    #[inline]
    pub fn pop_due(&mut self, now: u64) -> Option<(u64, E)> {
        match self.next_at()? <= now {
            true => self.pop(),
            false => None,
        }
    }

    /// All waiting events in no particular order, though always the same for the same history.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.slots.iter().flatten()
    }

    fn rise(&mut self, mut place: usize, key: u128) {
        while place > 0 {
            let parent = (place - 1) / 4;
            if self.keys[parent] <= key {
                break;
            }
            self.keys[place] = self.keys[parent];
            place = parent;
        }
        self.keys[place] = key;
    }

    /// Lets the hole at the top sink to a leaf and fills it with `key`, which mostly belongs near the leaves.
    fn sink(&mut self, key: u128) {
        let mut place = 0;
        loop {
            let child = place * 4 + 1;
            let Some(children) = self.keys.get(child..) else {
                break;
            };
            let (least, least_key) = match children {
                [a, b, c, d, ..] => {
                    let (left, left_key) = if b < a { (1, *b) } else { (0, *a) };
                    let (right, right_key) = if d < c { (3, *d) } else { (2, *c) };
                    match right_key < left_key {
                        true => (right, right_key),
                        false => (left, left_key),
                    }
                }
                [] => break,
                few => {
                    let mut least = 0;
                    for other in 1..few.len() {
                        if few[other] < few[least] {
                            least = other;
                        }
                    }
                    (least, few[least])
                }
            };
            self.keys[place] = least_key;
            place = child + least;
        }
        self.rise(place, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn events_of_one_instant_come_as_they_went_in() {
        let mut heap = EventHeap::new(Ties::Inserted);
        for n in 0..100 {
            heap.push(7, n);
        }
        let order: Vec<_> = std::iter::from_fn(|| heap.pop()).map(|(_, n)| n).collect();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn drawn_ties_depend_on_the_seed_only() {
        let order = |seed| {
            let mut heap = EventHeap::new(Ties::Drawn { seed });
            for n in 0..100 {
                heap.push(7, n);
            }
            std::iter::from_fn(|| heap.pop())
                .map(|(_, n)| n)
                .collect::<Vec<i32>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_ne!(order(1), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn pop_due_leaves_what_is_not_due() {
        let mut heap = EventHeap::new(Ties::Inserted);
        heap.push(5, "later");
        heap.push(3, "now");
        assert_eq!(heap.pop_due(4), Some((3, "now")));
        assert_eq!(heap.pop_due(4), None);
        assert_eq!(heap.next_at(), Some(5));
        assert_eq!(heap.iter().collect::<Vec<_>>(), [&"later"]);
        assert_eq!(heap.len(), 1);
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(
            steps in prop::collection::vec(prop::option::weighted(0.6, 0..50u64), 1..400),
        ) {
            let mut heap = EventHeap::new(Ties::Inserted);
            let mut list: Vec<(u64, usize)> = Vec::new();
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Some(at) => {
                        heap.push(at, n);
                        list.push((at, n));
                    }
                    None => {
                        list.sort_unstable();
                        let expected = (!list.is_empty()).then(|| list.remove(0));
                        prop_assert_eq!(heap.pop(), expected);
                    }
                }
                prop_assert_eq!(heap.len(), list.len());
            }
            let mut copy = heap.clone();
            list.sort_unstable();
            let rest: Vec<_> = std::iter::from_fn(|| heap.pop()).collect();
            prop_assert_eq!(&rest, &list);
            prop_assert_eq!(std::iter::from_fn(|| copy.pop()).collect::<Vec<_>>(), list);
            prop_assert!(heap.is_empty());
        }
    }
}
