//! What will happen, in order: an indexed 4-ary heap whose entries can be taken out again.
//!
//! Cancelling must be real. HTTP servers start a thirty-second timer for every request and drop it a millisecond
//! later; a heap that merely marks such entries carries half a minute of dead ones along.

/// Names one entry of an [`Agenda`]; stale after the entry has been popped or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    slot: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Place {
    at: u64,
    /// Breaks ties: entries of one instant come out as they went in.
    seq: u64,
    slot: u32,
}

impl Place {
    fn before(&self, other: &Place) -> bool {
        (self.at, self.seq) < (other.at, other.seq)
    }
}

struct Slot<E> {
    generation: u32,
    position: u32,
    entry: Option<E>,
}

/// Entries ordered by (instant, insertion).
pub(super) struct Agenda<E> {
    heap: Vec<Place>,
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    next_seq: u64,
}

impl<E> Agenda<E> {
    pub(super) fn new() -> Self {
        Agenda {
            heap: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            next_seq: 0,
        }
    }

    /// Adds an entry at instant `at`.
    pub(super) fn insert(&mut self, at: u64, entry: E) -> Key {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    position: 0,
                    entry: None,
                });
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 entries at once")
            }
        };
        self.slots[slot as usize].entry = Some(entry);
        let place = Place {
            at,
            seq: self.next_seq,
            slot,
        };
        self.next_seq += 1;
        self.heap.push(place);
        self.rise(self.heap.len() - 1, place);
        Key {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    /// Takes an entry out; `None` when it is not there any more.
    pub(super) fn cancel(&mut self, key: Key) -> Option<E> {
        let slot = self.slots.get(key.slot as usize)?;
        if slot.generation != key.generation || slot.entry.is_none() {
            return None;
        }
        let position = slot.position as usize;
        Some(self.take(position).1)
    }

    /// The entry, when it is still there.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut E> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.entry.as_mut()
    }

    /// The earliest instant.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.heap.first().map(|place| place.at)
    }

    /// Takes the earliest entry if it is due at `now` or before.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<E> {
        (self.next_at()? <= now).then(|| self.take(0).1)
    }

    /// Every entry, in no useful order but always the same one.
    pub(super) fn entries(&self) -> impl Iterator<Item = &E> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    fn take(&mut self, position: usize) -> (u64, E) {
        let gone = self.heap[position];
        let last = self.heap.pop().expect("the heap holds the place taken");
        if position < self.heap.len() {
            if last.before(&gone) {
                self.rise(position, last);
            } else {
                self.sink(position, last);
            }
        }
        let slot = &mut self.slots[gone.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(gone.slot);
        let entry = slot.entry.take().expect("a place in the heap has an entry");
        (gone.at, entry)
    }

    fn rise(&mut self, mut position: usize, place: Place) {
        while position > 0 {
            let parent = (position - 1) / 4;
            if !place.before(&self.heap[parent]) {
                break;
            }
            let above = self.heap[parent];
            self.put(position, above);
            position = parent;
        }
        self.put(position, place);
    }

    fn sink(&mut self, mut position: usize, place: Place) {
        loop {
            let first = position * 4 + 1;
            if first >= self.heap.len() {
                break;
            }
            let end = (first + 4).min(self.heap.len());
            let mut least = first;
            for child in first + 1..end {
                if self.heap[child].before(&self.heap[least]) {
                    least = child;
                }
            }
            if !self.heap[least].before(&place) {
                break;
            }
            let below = self.heap[least];
            self.put(position, below);
            position = least;
        }
        self.put(position, place);
    }

    fn put(&mut self, position: usize, place: Place) {
        self.heap[position] = place;
        self.slots[place.slot as usize].position = position as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Cancel(usize),
        Pop,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec(
            prop_oneof![
                3 => (0..50u64).prop_map(Step::Insert),
                2 => any::<usize>().prop_map(Step::Cancel),
                1 => Just(Step::Pop),
            ],
            0..400,
        )
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(steps in steps()) {
            let mut agenda = Agenda::new();
            let mut model: BTreeMap<(u64, usize), Key> = BTreeMap::new();
            let mut keys = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(at) => {
                        let key = agenda.insert(at, number);
                        model.insert((at, number), key);
                        keys.push((at, number, key));
                    }
                    Step::Cancel(which) if !keys.is_empty() => {
                        let (at, number, key) = keys[which % keys.len()];
                        let expected = model.remove(&(at, number)).map(|_| number);
                        prop_assert_eq!(agenda.get_mut(key).copied(), expected);
                        prop_assert_eq!(agenda.cancel(key), expected);
                    }
                    Step::Cancel(_) => {}
                    Step::Pop => {
                        let expected = model.pop_first().map(|((_, number), _)| number);
                        prop_assert_eq!(agenda.pop_due(u64::MAX), expected);
                    }
                }
                prop_assert_eq!(agenda.len(), model.len());
                prop_assert_eq!(agenda.next_at(), model.keys().next().map(|k| k.0));
            }
        }
    }
}
