//! What happened, as one number and, when asked for, as a picture.
//!
//! The number is a 64-bit hash chained over every event. Two runs are the same exactly when it is: it is how the
//! project knows that a seed means one thing only.

use crate::draw::bytes_hash;
use holdfast_record::{Timeline, TimelineEvent};
use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
};

/// How many events a picture holds. A page with more cannot be looked at.
pub const TIMELINE_LIMIT: usize = 200_000;

const FIRST: u64 = 0x243f_6a88_85a3_08d3;
const SECOND: u64 = 0x1319_8a2e_0370_7344;

/// The chained hash of a run and, if enabled, its [`Timeline`].
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    records: u64,
    recording: Option<Box<Recording>>,
}

/// The picture of a run while it is drawn.
#[derive(Clone, Debug)]
pub struct Recording {
    lanes: Vec<String>,
    messages: VecDeque<TimelineEvent>,
    /// All others.
    events: Vec<TimelineEvent>,
    dropped: u64,
}

impl Recording {
    /// Adds an event; in any order, since [`Trace::finish`] sorts. When the picture is full, the oldest message makes
    /// room: what is asked about is how a run ended. Without a message to drop, it is the new event that is.
    pub fn push(&mut self, event: TimelineEvent) {
        if self.messages.len() + self.events.len() == TIMELINE_LIMIT {
            self.dropped += 1;
            if self.messages.pop_front().is_none() {
                return;
            }
        }
        match event {
            TimelineEvent::Message { .. } => self.messages.push_back(event),
            event => self.events.push(event),
        }
    }
}

impl Trace {
    /// The trace of one run of `seed`: a hash only.
    pub fn new(seed: u64) -> Self {
        Trace {
            hash: fold(seed ^ FIRST, SECOND),
            records: 0,
            recording: None,
        }
    }

    /// The same, and a timeline with these lanes.
    pub fn with_timeline(seed: u64, lanes: Vec<String>) -> Self {
        Trace {
            recording: Some(Box::new(Recording {
                lanes,
                messages: VecDeque::new(),
                events: Vec::new(),
                dropped: 0,
            })),
            ..Trace::new(seed)
        }
    }

    /// Chains one event: at true time `time`, on `node`, of a `kind` that the caller numbers, with two words that
    /// stand for its content. Order matters; so does every bit.
    #[inline]
    pub fn record(&mut self, time: u64, node: u32, kind: u16, a: u64, b: u64) {
        let place = (u64::from(kind) << 32) | u64::from(node);
        let hash = fold(time ^ FIRST, self.hash ^ place);
        self.hash = fold(a ^ SECOND, hash.wrapping_add(b));
        self.records += 1;
    }

    /// The hash of everything recorded so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events have been recorded.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Runs `draw` if there is a timeline: what it costs to describe an event is paid only by runs that are looked at.
    #[inline]
    pub fn timeline(&mut self, draw: impl FnOnce(&mut Recording)) {
        if let Some(recording) = &mut self.recording {
            draw(recording);
        }
    }

    /// Whether there is a timeline to describe things for.
    pub fn is_drawn(&self) -> bool {
        self.recording.is_some()
    }

    /// Takes the timeline, its events in order of time, with the plan's JSON attached; `None` if there was none.
    pub fn finish(&mut self, plan: String) -> Option<Timeline> {
        let Recording {
            lanes,
            messages,
            mut events,
            dropped,
        } = *self.recording.take()?;
        events.extend(messages);
        events.sort_by_key(TimelineEvent::at);
        Some(Timeline {
            lanes,
            events,
            dropped,
            plan,
            portrait: None,
        })
    }
}

/// A word that stands for all that `value` holds, the same on every platform.
pub fn content_hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = ContentHasher(FIRST);
    value.hash(&mut hasher);
    hasher.0
}

/// Folds what it is given word by word.
struct ContentHasher(u64);

impl Hasher for ContentHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(bytes_hash(bytes));
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, SECOND.wrapping_add(self.0.rotate_left(32)));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Both halves of a 128-bit product, folded into one word.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(events: &[(u64, u32, u16, u64, u64)]) -> u64 {
        let mut trace = Trace::new(1);
        for &(time, node, kind, a, b) in events {
            trace.record(time, node, kind, a, b);
        }
        trace.hash()
    }

    #[test]
    fn every_bit_and_the_order_count() {
        let base = (5, 1, 2, 3, 4);
        let mut seen = std::collections::BTreeSet::new();
        assert!(seen.insert(hash_of(&[base])));
        for bit in 0..64 {
            let flip = 1u64 << bit;
            assert!(seen.insert(hash_of(&[(5 ^ flip, 1, 2, 3, 4)])));
            assert!(seen.insert(hash_of(&[(5, 1, 2, 3 ^ flip, 4)])));
            assert!(seen.insert(hash_of(&[(5, 1, 2, 3, 4 ^ flip)])));
        }
        for bit in 0..32 {
            assert!(seen.insert(hash_of(&[(5, 1 ^ (1 << bit), 2, 3, 4)])));
        }
        for bit in 0..16 {
            assert!(seen.insert(hash_of(&[(5, 1, 2 ^ (1 << bit), 3, 4)])));
        }
        let other = (6, 1, 2, 3, 4);
        assert!(seen.insert(hash_of(&[base, other])));
        assert!(seen.insert(hash_of(&[other, base])));
        assert!(seen.insert(hash_of(&[base, base])));
        assert_ne!(Trace::new(1).hash(), Trace::new(2).hash());
    }

    #[test]
    fn contents_are_told_apart() {
        let mut seen = std::collections::BTreeSet::new();
        assert!(seen.insert(content_hash(&(1u32, 2u64))));
        assert!(seen.insert(content_hash(&(2u32, 1u64))));
        assert!(seen.insert(content_hash("a")));
        assert!(seen.insert(content_hash("b")));
        assert!(seen.insert(content_hash(&vec![0u64; 2])));
        assert!(seen.insert(content_hash(&vec![0u64; 3])));
        assert!(seen.insert(content_hash(&Some(0u64))));
        assert!(seen.insert(content_hash(&None::<u64>)));
        assert_eq!(content_hash(&7usize), content_hash(&7u64));
    }

    #[test]
    fn a_million_records_do_not_collapse() {
        let mut trace = Trace::new(0);
        let mut ones = 0u64;
        for n in 0..1_000_000 {
            trace.record(n, 0, 0, 0, 0);
            ones += u64::from(trace.hash().count_ones());
        }
        assert!((31_900_000..32_100_000).contains(&ones), "{ones}");
        assert_eq!(trace.records(), 1_000_000);
    }

    fn note(at: u64) -> TimelineEvent {
        TimelineEvent::Note {
            at,
            lane: 0,
            label: "n".into(),
        }
    }

    #[test]
    fn a_timeline_is_sorted_and_bounded() {
        let mut silent = Trace::new(1);
        silent.timeline(|_| panic!("nobody looks at this run"));
        assert_eq!(silent.finish(String::new()), None);

        let mut trace = Trace::with_timeline(1, vec!["node 0".into()]);
        for at in (0..TIMELINE_LIMIT as u64 + 7).rev() {
            trace.timeline(|t| t.push(note(at)));
        }
        let timeline = trace.finish("{}".into()).unwrap();
        assert_eq!(timeline.events.len(), TIMELINE_LIMIT);
        assert_eq!(timeline.dropped, 7);
        assert_eq!(timeline.events[0], note(7));
        assert!(timeline.events.is_sorted_by_key(TimelineEvent::at));
        assert_eq!(silent.hash(), trace.hash(), "looking changes nothing");
    }

    #[test]
    fn old_messages_make_room() {
        let message = |at| TimelineEvent::Message {
            at,
            from: 0,
            to: 1,
            arrives: None,
            label: String::new(),
        };
        let mut trace = Trace::with_timeline(1, Vec::new());
        for at in 0..TIMELINE_LIMIT as u64 {
            trace.timeline(|t| t.push(message(at)));
        }
        trace.timeline(|t| t.push(note(0)));
        trace.timeline(|t| t.push(message(u64::MAX)));
        let timeline = trace.finish(String::new()).unwrap();
        assert_eq!(timeline.dropped, 2);
        assert_eq!(timeline.events[..2], [note(0), message(2)]);
        assert_eq!(timeline.events.last(), Some(&message(u64::MAX)));
        assert_eq!(timeline.events.len(), TIMELINE_LIMIT);
    }
}
