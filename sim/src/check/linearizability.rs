//! Is a history linearizable? Wing and Gong's search (1993) with Lowe's memory of configurations seen (2017).
//!
//! A history is linearizable when every operation can be given one instant between its call and its return such
//! that, taken in the order of these instants, each returned what a sequential object would have returned. The
//! property is local (Herlihy and Wing 1990, theorem 1): a history over many independent objects is linearizable
//! exactly when each object's part is, so callers split by key first, which makes the exponential search small.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// A sequential object.
pub trait Model {
    /// What an operation asks.
    type Call: Debug;
    /// What it returned.
    type Return: Debug;
    /// The object's state.
    type State: Clone + Eq + Hash + Debug;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `call`, or `None` when the object in `state` could not have returned `returned`. `None` for
    /// `returned` is an operation whose client never heard: every return is possible.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        returned: Option<&Self::Return>,
    ) -> Option<Self::State>;

    /// Where an answer says that its operation stands among all others: none comes after one of a higher rank. Where
    /// answers say no such thing all have the same rank.
    fn rank(&self, _returned: &Self::Return) -> u64 {
        0
    }

    /// Whether two calls whose clients never heard have the same effect in every state. The search then tries the
    /// earlier one only: it can go wherever the later one can.
    fn are_interchangeable(&self, _a: &Self::Call, _b: &Self::Call) -> bool {
        false
    }
}

/// One operation of a history. Times are in any unit that orders them.
#[derive(Clone, Debug)]
pub struct Operation<C, R> {
    /// When it was called.
    pub called: u64,
    /// When it returned and what; `None`: its client never heard, so it may take effect at any time after the call,
    /// or not at all.
    pub returned: Option<(u64, R)>,
    /// What it asked.
    pub call: C,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    Violation {
        /// The longest order that could be found, as positions in the history.
        longest: Vec<usize>,
        /// An operation that had to come next and could not: the search failed at its return.
        stuck: usize,
    },
    /// The search gave up after the steps that it was allowed.
    Undecided,
}

/// Searches for an order, trying at most `max_steps` steps of the model.
pub fn check<M: Model>(
    model: &M,
    history: &[Operation<M::Call, M::Return>],
    max_steps: u64,
) -> Verdict {
    Search::new(model, history).run(max_steps)
}

/// Calls and returns in order of time, as a list from which operations are lifted and put back.
struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Call, M::Return>],
    events: Vec<Event>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// By operation: the event of its call and of its return.
    places: Vec<(usize, usize)>,
    /// Ranks of the operations that were answered and not yet taken: how many there are of each.
    ranks: BTreeMap<u64, usize>,
}

#[derive(Clone, Copy)]
struct Event {
    operation: usize,
    is_call: bool,
}

const HEAD: usize = 0;

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Call, M::Return>]) -> Self {
        let mut order: Vec<(u64, bool, usize)> = Vec::with_capacity(history.len() * 2);
        for (i, operation) in history.iter().enumerate() {
            let end = operation.returned.as_ref().map_or(u64::MAX, |(at, _)| *at);
            assert!(
                end >= operation.called,
                "an operation returns after its call"
            );
            order.push((operation.called, false, i));
            order.push((end, true, i));
        }
        // At one instant calls come before returns: such operations overlap.
        order.sort_unstable();
        let count = order.len() + 1;
        let mut events = vec![Event {
            operation: usize::MAX,
            is_call: false,
        }];
        let mut places = vec![(0, 0); history.len()];
        for (at, (_, is_return, operation)) in order.into_iter().enumerate() {
            events.push(Event {
                operation,
                is_call: !is_return,
            });
            let place = &mut places[operation];
            if is_return {
                place.1 = at + 1;
            } else {
                place.0 = at + 1;
            }
        }
        let mut ranks = BTreeMap::new();
        for (_, returned) in history.iter().filter_map(|o| o.returned.as_ref()) {
            *ranks.entry(model.rank(returned)).or_default() += 1;
        }
        Search {
            ranks,
            model,
            history,
            events,
            next: (0..count).map(|i| (i + 1) % count).collect(),
            previous: (0..count).map(|i| (i + count - 1) % count).collect(),
            places,
        }
    }

    fn run(mut self, max_steps: u64) -> Verdict {
        let must_return = self.history.iter().filter(|o| o.returned.is_some()).count();
        let mut returned = 0;
        let mut steps = 0;
        let mut state = self.model.initial();
        let mut taken = Taken::new(self.history.len());
        let mut seen: HashSet<(Taken, M::State), BuildHasherDefault<WordHasher>> =
            HashSet::default();
        let mut stack: Vec<(usize, M::State)> = Vec::new();
        let (mut longest, mut stuck) = (Vec::new(), None);
        // Operations with an answer are tried before those without: the latter could go nearly anywhere, and mostly
        // are not needed, so they are taken only where nothing else can go on.
        let mut answered = true;
        let mut at = self.next[HEAD];
        while returned < must_return {
            let event = self.events[at];
            if at != HEAD && event.is_call {
                if !self.is_candidate(at, answered) {
                    at = self.next[at];
                    continue;
                }
                steps += 1;
                if steps > max_steps {
                    return Verdict::Undecided;
                }
                let operation = &self.history[event.operation];
                let result = operation.returned.as_ref().map(|(_, r)| r);
                let after = self.model.step(&state, &operation.call, result);
                let after =
                    after.filter(|after| answered || !self.is_detour(&stack, &state, after));
                if let Some(after) = after {
                    taken.insert(event.operation);
                    if seen.insert((taken.clone(), after.clone())) {
                        stack.push((event.operation, std::mem::replace(&mut state, after)));
                        self.lift(event.operation);
                        returned += usize::from(operation.returned.is_some());
                        at = self.next[HEAD];
                        answered = true;
                        continue;
                    }
                    taken.remove(event.operation);
                }
                at = self.next[at];
                continue;
            }
            if answered {
                answered = false;
                at = self.next[HEAD];
                continue;
            }
            // A return that is reached before its operation was taken, or the end: the last choice was wrong.
            if stuck.is_none() || stack.len() > longest.len() {
                longest = stack.iter().map(|(operation, _)| *operation).collect();
                stuck = Some(event.operation);
            }
            let Some((operation, before)) = stack.pop() else {
                let stuck = stuck.expect("set above");
                return Verdict::Violation { longest, stuck };
            };
            taken.remove(operation);
            state = before;
            returned -= usize::from(self.history[operation].returned.is_some());
            self.put_back(operation);
            at = self.next[self.places[operation].0];
            answered = self.history[operation].returned.is_some();
        }
        Verdict::Linearizable
    }

    /// Whether the operation called at `place` may be tried, in the pass over those with answers or without.
    fn is_candidate(&self, place: usize, answered: bool) -> bool {
        match &self.history[self.events[place].operation].returned {
            Some((_, returned)) => {
                let lowest = self.ranks.first_key_value().map(|(rank, _)| *rank);
                answered && lowest == Some(self.model.rank(returned))
            }
            None => !answered && !self.has_earlier_twin(place),
        }
    }

    /// Whether operations without answers, taken one after the other, lead back to a state that was there before the
    /// first of them or in between: those on the way might as well not have happened.
    fn is_detour(&self, stack: &[(usize, M::State)], state: &M::State, after: &M::State) -> bool {
        let unheard = stack
            .iter()
            .rev()
            .take_while(|(operation, _)| self.history[*operation].returned.is_none());
        after == state || unheard.into_iter().any(|(_, before)| before == after)
    }

    /// Whether an interchangeable operation without an answer comes before the one called at `place`.
    fn has_earlier_twin(&self, place: usize) -> bool {
        let call = &self.history[self.events[place].operation].call;
        let mut at = self.next[HEAD];
        while at != place {
            let event = self.events[at];
            let earlier = &self.history[event.operation];
            if event.is_call
                && earlier.returned.is_none()
                && self.model.are_interchangeable(&earlier.call, call)
            {
                return true;
            }
            at = self.next[at];
        }
        false
    }

    fn lift(&mut self, operation: usize) {
        if let Some((_, returned)) = &self.history[operation].returned {
            let rank = self.model.rank(returned);
            let left = self.ranks.get_mut(&rank).expect("was counted");
            *left -= 1;
            if *left == 0 {
                self.ranks.remove(&rank);
            }
        }
        for place in [self.places[operation].0, self.places[operation].1] {
            let (before, after) = (self.previous[place], self.next[place]);
            self.next[before] = after;
            self.previous[after] = before;
        }
    }

    fn put_back(&mut self, operation: usize) {
        if let Some((_, returned)) = &self.history[operation].returned {
            *self.ranks.entry(self.model.rank(returned)).or_default() += 1;
        }
        for place in [self.places[operation].1, self.places[operation].0] {
            let (before, after) = (self.previous[place], self.next[place]);
            self.next[before] = place;
            self.previous[after] = place;
        }
    }
}

/// A set of operations, with a hash that is kept up to date.
#[derive(Clone, PartialEq, Eq)]
struct Taken {
    words: Box<[u64]>,
    hash: u64,
}

impl Taken {
    fn new(len: usize) -> Self {
        Taken {
            words: vec![0; len.div_ceil(64)].into(),
            hash: 0,
        }
    }

    fn insert(&mut self, i: usize) {
        self.words[i / 64] |= 1 << (i % 64);
        self.hash ^= scatter(i as u64);
    }

    fn remove(&mut self, i: usize) {
        self.words[i / 64] &= !(1 << (i % 64));
        self.hash ^= scatter(i as u64);
    }
}

impl Hash for Taken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

fn scatter(i: u64) -> u64 {
    let x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 27)
}

/// A fast hasher without a random key: the set is only ever asked for membership.
#[derive(Default)]
struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        scatter(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Register;

    #[derive(Debug)]
    enum Call {
        Read,
        Write(u64),
    }

    impl Model for Register {
        type Call = Call;
        type Return = u64;
        type State = u64;

        fn initial(&self) -> u64 {
            0
        }

        fn step(&self, state: &u64, call: &Call, returned: Option<&u64>) -> Option<u64> {
            match call {
                Call::Read => returned.is_none_or(|r| r == state).then_some(*state),
                Call::Write(value) => Some(*value),
            }
        }
    }

    fn operation(called: u64, returned: Option<(u64, u64)>, call: Call) -> Operation<Call, u64> {
        Operation {
            called,
            returned,
            call,
        }
    }

    fn is_linearizable(history: &[Operation<Call, u64>]) -> bool {
        check(&Register, history, u64::MAX) == Verdict::Linearizable
    }

    #[test]
    fn empty_and_sequential_histories() {
        assert!(is_linearizable(&[]));
        assert!(is_linearizable(&[
            operation(0, Some((1, 0)), Call::Write(5)),
            operation(2, Some((3, 5)), Call::Read),
        ]));
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [
            operation(0, Some((1, 0)), Call::Write(5)),
            operation(2, Some((3, 0)), Call::Read),
        ];
        let verdict = check(&Register, &history, u64::MAX);
        assert_eq!(
            verdict,
            Verdict::Violation {
                longest: vec![0],
                stuck: 1
            }
        );
    }

    #[test]
    fn an_unanswered_write_may_take_effect_late_or_never() {
        let late = [
            operation(0, None, Call::Write(5)),
            operation(1, Some((2, 0)), Call::Read),
            operation(3, Some((4, 5)), Call::Read),
        ];
        assert!(is_linearizable(&late));
        let back_and_forth = [
            operation(0, None, Call::Write(5)),
            operation(1, Some((2, 5)), Call::Read),
            operation(3, Some((4, 0)), Call::Read),
        ];
        assert!(!is_linearizable(&back_and_forth));
    }

    #[test]
    fn the_search_can_be_bounded() {
        let history: Vec<_> = (0..20)
            .map(|i| operation(0, Some((100, 0)), Call::Write(i)))
            .collect();
        assert_eq!(check(&Register, &history, 3), Verdict::Undecided);
    }
}
