//! Histories of the key-value store, as clients saw them, in both lanes and against real processes alike.
//!
//! Three questions are asked of a history. *Witness*: every answer carries a revision, and the committed log says what
//! was true at each revision, so the log's order is tried as the linearization, in O(n log n). *Linearizability*: the
//! general search, key by key, which knows nothing of the log. *Watches*: what watchers saw, held against the log.

use super::{
    Violation,
    linearizability::{self, Model, Verdict},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// A key of the workload, by number.
pub type Key = u32;
/// A value; every write of a history writes another one.
pub type Value = u64;
/// A revision of the store.
pub type Revision = u64;

/// Steps after which the general search gives up on a key; a correct history needs a few per operation.
const MAX_STEPS: u64 = 500_000;

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Call {
    /// Write a value.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Value,
    },
    /// Remove a key.
    Delete {
        /// Which.
        key: Key,
    },
    /// Write a value if the key was last changed at `expected` (0: if there is no such key).
    CompareAndSet {
        /// Where.
        key: Key,
        /// The modification revision that must be found.
        expected: Revision,
        /// What.
        value: Value,
    },
    /// Read one key.
    Get {
        /// Which.
        key: Key,
    },
    /// Read all keys in `from..to`.
    Range {
        /// The first.
        from: Key,
        /// After the last.
        to: Key,
    },
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// The store's revision at which it happened.
    pub revision: Revision,
    /// The rest.
    pub body: Body,
}

/// A key's value and the revision that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Found {
    /// Which key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    /// The revision that wrote it.
    pub modified: Revision,
}

/// The part of an answer that depends on the call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// Written.
    Put,
    /// Removed, or was not there.
    Deleted(bool),
    /// Whether the comparison held.
    CompareAndSet(bool),
    /// What was read, in order of keys.
    Read(Vec<Found>),
}

/// One operation of a history; times are in nanoseconds of one clock that all clients share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// When.
    pub called: u64,
    /// What.
    pub call: Call,
    /// When the answer came, and which. `None`: the client never learned the outcome. Operations that certainly were
    /// not carried out are not in a history.
    pub returned: Option<(u64, Answer)>,
}

/// A change that the committed log made: its revision, and the key's new value (`None`: removed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The revision.
    pub revision: Revision,
    /// Which key.
    pub key: Key,
    /// Its new value.
    pub value: Option<Value>,
}

/// Tries the log's order as the linearization of `history`. `changes` are all changes, in order of revision.
pub fn witness(history: &[Operation], changes: &[Change]) -> Result<(), Violation> {
    exactly_once(changes)?;
    let log = Log::new(changes);
    for operation in history {
        let Some((at, answer)) = &operation.returned else {
            continue;
        };
        if let Err(why) = log.explains(&operation.call, answer) {
            return Err(Violation::new("witness", format!("{operation}: {why}")).when(*at));
        }
    }
    real_time(history)
}

/// Every write of a history writes another value: one that is in the log twice was carried out twice.
fn exactly_once(changes: &[Change]) -> Result<(), Violation> {
    let mut written: Vec<(Value, Revision)> = changes
        .iter()
        .filter_map(|change| Some((change.value?, change.revision)))
        .collect();
    written.sort_unstable();
    match written.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(()),
        Some(pair) => Err(Violation::new(
            "exactly-once",
            format!(
                "the value {} was written at revision {} and again at revision {}",
                pair[0].0, pair[0].1, pair[1].1
            ),
        )),
    }
}

/// An operation that was called after another had returned may not come before it.
fn real_time(history: &[Operation]) -> Result<(), Violation> {
    let mut returns: Vec<(u64, usize)> = Vec::new();
    let mut calls: Vec<(u64, usize)> = Vec::new();
    for (i, operation) in history.iter().enumerate() {
        if let Some((at, _)) = &operation.returned {
            returns.push((*at, i));
            calls.push((operation.called, i));
        }
    }
    returns.sort_unstable();
    calls.sort_unstable();
    let revision = |i: usize| history[i].returned.as_ref().map_or(0, |(_, a)| a.revision);
    let mut latest: Option<usize> = None;
    let mut returned = returns.into_iter().peekable();
    for (called, i) in calls {
        while let Some((_, j)) = returned.next_if(|(at, _)| *at < called) {
            if latest.is_none_or(|l| revision(j) > revision(l)) {
                latest = Some(j);
            }
        }
        let Some(before) = latest else { continue };
        let writes = changed(&history[i]);
        if revision(i) < revision(before) || (writes && revision(i) == revision(before)) {
            let message = format!(
                "the later operation saw an earlier state:\n{}\n{}",
                history[before], history[i]
            );
            let at = history[i].returned.as_ref().map_or(called, |(at, _)| *at);
            return Err(Violation::new("real-time-order", message).when(at));
        }
    }
    Ok(())
}

fn changed(operation: &Operation) -> bool {
    matches!(
        operation.returned.as_ref().map(|(_, answer)| &answer.body),
        Some(Body::Put | Body::Deleted(true) | Body::CompareAndSet(true))
    )
}

/// The committed changes, by key.
struct Log {
    by_key: BTreeMap<Key, Vec<Change>>,
    by_revision: BTreeMap<Revision, Change>,
    last: Revision,
}

impl Log {
    fn new(changes: &[Change]) -> Self {
        let mut by_key: BTreeMap<Key, Vec<Change>> = BTreeMap::new();
        for change in changes {
            by_key.entry(change.key).or_default().push(*change);
        }
        Log {
            by_key,
            by_revision: changes.iter().map(|c| (c.revision, *c)).collect(),
            last: changes.last().map_or(1, |c| c.revision),
        }
    }

    fn at(&self, key: Key, revision: Revision) -> Option<Found> {
        let changes = self.by_key.get(&key)?;
        let after = changes.partition_point(|c| c.revision <= revision);
        let change = changes[..after].last()?;
        change.value.map(|value| Found {
            key,
            value,
            modified: change.revision,
        })
    }

    fn expect_change(
        &self,
        revision: Revision,
        key: Key,
        value: Option<Value>,
    ) -> Result<(), String> {
        match self.by_revision.get(&revision) {
            Some(change) if change.key == key && change.value == value => Ok(()),
            other => Err(format!("the log has {other:?} at that revision")),
        }
    }

    fn explains(&self, call: &Call, answer: &Answer) -> Result<(), String> {
        if answer.revision > self.last {
            return Err(format!("the log ends at revision {}", self.last));
        }
        let before = answer.revision.saturating_sub(1);
        match (call, &answer.body) {
            (Call::Put { key, value }, Body::Put) => {
                self.expect_change(answer.revision, *key, Some(*value))
            }
            (Call::Delete { key }, Body::Deleted(true)) => {
                self.expect_change(answer.revision, *key, None)
            }
            (Call::Delete { key }, Body::Deleted(false)) => match self.at(*key, answer.revision) {
                None => Ok(()),
                Some(found) => Err(format!("the log has {found:?}")),
            },
            (
                Call::CompareAndSet {
                    key,
                    expected,
                    value,
                },
                Body::CompareAndSet(true),
            ) => {
                self.expect_change(answer.revision, *key, Some(*value))?;
                let found = self.at(*key, before).map_or(0, |f| f.modified);
                if found == *expected {
                    Ok(())
                } else {
                    Err(format!("the key had been modified at {found}"))
                }
            }
            (Call::CompareAndSet { key, expected, .. }, Body::CompareAndSet(false)) => {
                let found = self.at(*key, answer.revision).map_or(0, |f| f.modified);
                if found == *expected {
                    Err("the comparison held".into())
                } else {
                    Ok(())
                }
            }
            (Call::Get { key }, Body::Read(found)) => {
                self.expect_read(*key, *key + 1, answer.revision, found)
            }
            (Call::Range { from, to }, Body::Read(found)) => {
                self.expect_read(*from, *to, answer.revision, found)
            }
            _ => Err("that answers another question".into()),
        }
    }

    fn expect_read(
        &self,
        from: Key,
        to: Key,
        revision: Revision,
        found: &[Found],
    ) -> Result<(), String> {
        let expected: Vec<Found> = self
            .by_key
            .range(from..to)
            .filter_map(|(key, _)| self.at(*key, revision))
            .collect();
        if expected == found {
            Ok(())
        } else {
            Err(format!("the log has {expected:?}"))
        }
    }
}

/// Searches for a linearization key by key, without the log. A range read counts as a read of each of its keys.
pub fn linearizable(history: &[Operation]) -> Result<(), Violation> {
    let mut by_key: BTreeMap<Key, Vec<linearizability::Operation<KeyCall, KeyReturn>>> =
        BTreeMap::new();
    let keys: Vec<Key> = keys_of(history);
    let seen = first_seen(history);
    for operation in history {
        match &operation.call {
            Call::Range { from, to } => {
                for key in keys.iter().filter(|key| (*from..*to).contains(*key)) {
                    push(&mut by_key, *key, KeyCall::Get, operation);
                }
            }
            Call::Get { key } => push(&mut by_key, *key, KeyCall::Get, operation),
            Call::Put { key, value } => {
                push_write(
                    &mut by_key,
                    *key,
                    KeyCall::Put(*value),
                    operation,
                    seen.get(value),
                );
            }
            Call::Delete { key } => push(&mut by_key, *key, KeyCall::Delete, operation),
            Call::CompareAndSet {
                key,
                expected,
                value,
            } => {
                let call = KeyCall::Cas(*expected, *value);
                push_write(&mut by_key, *key, call, operation, seen.get(value));
            }
        }
    }
    for (key, operations) in &by_key {
        match linearizability::check(&OneKey, operations, MAX_STEPS) {
            Verdict::Linearizable => {}
            Verdict::Violation { longest, stuck } => {
                let stuck = &operations[stuck];
                let at = stuck.returned.as_ref().map_or(stuck.called, |(at, _)| *at);
                let message = format!(
                    "key {key}: of {} operations no more than {} can be ordered; {stuck:?} cannot come next",
                    operations.len(),
                    longest.len(),
                );
                return Err(Violation::new("linearizability", message).when(at));
            }
            Verdict::Undecided => {
                return Err(Violation::new(
                    "linearizability",
                    format!(
                        "key {key}: no verdict on {} operations in {MAX_STEPS} steps",
                        operations.len()
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// By value: when a read that found it returned first, and the revision that it found.
fn first_seen(history: &[Operation]) -> HashMap<Value, (u64, Revision)> {
    let mut seen: HashMap<Value, (u64, Revision)> = HashMap::new();
    for operation in history {
        if let Some((at, answer)) = &operation.returned
            && let Body::Read(found) = &answer.body
        {
            for f in found {
                let first = seen.entry(f.value).or_insert((*at, f.modified));
                if *at < first.0 {
                    *first = (*at, f.modified);
                }
            }
        }
    }
    seen
}

/// A write whose answer never came, but whose value somebody found: it happened, before that read returned.
fn push_write(
    by_key: &mut BTreeMap<Key, Vec<linearizability::Operation<KeyCall, KeyReturn>>>,
    key: Key,
    call: KeyCall,
    operation: &Operation,
    seen: Option<&(u64, Revision)>,
) {
    match (&operation.returned, seen) {
        (None, Some((at, revision))) if *at >= operation.called => {
            let operations = by_key.entry(key).or_default();
            operations.push(linearizability::Operation {
                called: operation.called,
                returned: Some((
                    *at,
                    KeyReturn {
                        revision: *revision,
                        outcome: KeyOutcome::Written,
                    },
                )),
                call,
            });
        }
        _ => push(by_key, key, call, operation),
    }
}

fn keys_of(history: &[Operation]) -> Vec<Key> {
    let mut keys: Vec<Key> = history
        .iter()
        .filter_map(|operation| match &operation.call {
            Call::Put { key, .. }
            | Call::Delete { key }
            | Call::CompareAndSet { key, .. }
            | Call::Get { key } => Some(*key),
            Call::Range { .. } => None,
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn push(
    by_key: &mut BTreeMap<Key, Vec<linearizability::Operation<KeyCall, KeyReturn>>>,
    key: Key,
    call: KeyCall,
    operation: &Operation,
) {
    let returned = operation.returned.as_ref().map(|(at, answer)| {
        let outcome = match &answer.body {
            Body::Put => KeyOutcome::Written,
            Body::Deleted(found) => KeyOutcome::Deleted(*found),
            Body::CompareAndSet(true) => KeyOutcome::Written,
            Body::CompareAndSet(false) => KeyOutcome::Refused,
            Body::Read(found) => KeyOutcome::Read(
                found
                    .iter()
                    .find(|f| f.key == key)
                    .map(|f| (f.value, f.modified)),
            ),
        };
        let revision = answer.revision;
        (*at, KeyReturn { revision, outcome })
    });
    // A read whose answer never came says nothing.
    if returned.is_none() && matches!(call, KeyCall::Get) {
        return;
    }
    by_key
        .entry(key)
        .or_default()
        .push(linearizability::Operation {
            called: operation.called,
            returned,
            call,
        });
}

/// One key as a sequential object.
struct OneKey;

#[derive(Clone, Debug)]
enum KeyCall {
    Get,
    Put(Value),
    Delete,
    Cas(Revision, Value),
}

#[derive(Clone, Debug)]
struct KeyReturn {
    /// The store's revision. It belongs to what clients see: it never falls from one operation to the next.
    revision: Revision,
    outcome: KeyOutcome,
}

#[derive(Clone, Debug)]
enum KeyOutcome {
    Read(Option<(Value, Revision)>),
    Written,
    Refused,
    Deleted(bool),
}

/// The value of a write that nobody heard of and nobody read: which one it was makes no difference.
const NEVER_SEEN: Value = 0;

/// The value and the revision that wrote it; a write whose answer never came has a revision that nobody knows yet.
type Held = Option<(Value, Option<Revision>)>;

/// What a key holds, and the revision of the last operation that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeyState {
    held: Held,
    revision: Revision,
}

impl Model for OneKey {
    type Call = KeyCall;
    type Return = KeyReturn;
    type State = KeyState;

    fn initial(&self) -> KeyState {
        KeyState {
            held: None,
            revision: 0,
        }
    }

    fn step(
        &self,
        state: &KeyState,
        call: &KeyCall,
        returned: Option<&KeyReturn>,
    ) -> Option<KeyState> {
        let revision = returned.map_or(state.revision, |returned| returned.revision);
        if revision < state.revision {
            return None;
        }
        let outcome = returned.map(|returned| &returned.outcome);
        let is_newer = revision > state.revision;
        let held = step_held(&state.held, call, outcome, revision, is_newer)?;
        Some(KeyState { held, revision })
    }

    fn rank(&self, returned: &KeyReturn) -> u64 {
        returned.revision
    }

    fn are_interchangeable(&self, a: &KeyCall, b: &KeyCall) -> bool {
        match (a, b) {
            (KeyCall::Put(_), KeyCall::Put(_)) | (KeyCall::Delete, KeyCall::Delete) => true,
            (KeyCall::Cas(a, _), KeyCall::Cas(b, _)) => a == b,
            _ => false,
        }
    }
}

/// What the key holds after an operation at `revision`, which is newer than that of the last one or the same.
fn step_held(
    state: &Held,
    call: &KeyCall,
    returned: Option<&KeyOutcome>,
    revision: Revision,
    is_newer: bool,
) -> Option<Held> {
    // Unknown revisions may be what was expected, and may not.
    let may_match = |expected: Revision| match state {
        None => expected == 0,
        Some((_, None)) => expected != 0,
        Some((_, Some(revision))) => *revision == expected,
    };
    let may_differ = |expected: Revision| match state {
        Some((_, None)) => true,
        _ => !may_match(expected),
    };
    match (call, returned) {
        (KeyCall::Get, Some(KeyOutcome::Read(None))) => state.is_none().then_some(None),
        (KeyCall::Get, Some(KeyOutcome::Read(Some((value, modified))))) => {
            let (held, known) = (*state)?;
            let fits = held == *value
                && known.is_none_or(|known| known == *modified)
                && *modified <= revision;
            fits.then_some(Some((*value, Some(*modified))))
        }
        (KeyCall::Put(value), Some(KeyOutcome::Written)) => {
            is_newer.then_some(Some((*value, Some(revision))))
        }
        (KeyCall::Put(_), None) => Some(Some((NEVER_SEEN, None))),
        (KeyCall::Delete, Some(KeyOutcome::Deleted(found))) => {
            (state.is_some() == *found && (is_newer || !found)).then_some(None)
        }
        (KeyCall::Delete, None) => Some(None),
        (KeyCall::Cas(expected, value), Some(KeyOutcome::Written)) => {
            (may_match(*expected) && is_newer).then_some(Some((*value, Some(revision))))
        }
        (KeyCall::Cas(expected, _), Some(KeyOutcome::Refused)) => {
            may_differ(*expected).then_some(*state)
        }
        // Not carried out is covered by never being taken.
        (KeyCall::Cas(expected, _), None) => {
            may_match(*expected).then_some(Some((NEVER_SEEN, None)))
        }
        _ => None,
    }
}

/// What one watcher saw, from the revision that it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The first revision that it asked for.
    pub from: Revision,
    /// What it was told, in order.
    pub seen: Vec<Change>,
    /// It was told that everything before this revision has been delivered.
    pub complete_before: Revision,
}

/// Ordered, unique, reliable, resumable (the watch guarantees of the etcd v3 API): exactly the log's changes from the
/// revision asked for up to the one delivered, in order, each once.
pub fn watches(watches: &[Watch], changes: &[Change]) -> Result<(), Violation> {
    for (i, watch) in watches.iter().enumerate() {
        let expected: Vec<Change> = changes
            .iter()
            .filter(|c| c.revision >= watch.from && c.revision < watch.complete_before)
            .copied()
            .collect();
        if let Some(at) = (0..expected.len().max(watch.seen.len()))
            .find(|&at| expected.get(at) != watch.seen.get(at))
        {
            return Err(Violation::new(
                "watch",
                format!(
                    "watcher {i} from revision {}: event {at} is {:?}, the log has {:?}",
                    watch.from,
                    watch.seen.get(at),
                    expected.get(at)
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(called: u64, returned: u64, call: Call, revision: u64, body: Body) -> Operation {
        Operation {
            client: 0,
            called,
            call,
            returned: Some((returned, Answer { revision, body })),
        }
    }

    fn put(called: u64, key: Key, value: Value, revision: u64) -> Operation {
        operation(
            called,
            called + 1,
            Call::Put { key, value },
            revision,
            Body::Put,
        )
    }

    fn get(called: u64, key: Key, revision: u64, found: Option<(Value, Revision)>) -> Operation {
        let found = found.map(|(value, modified)| Found {
            key,
            value,
            modified,
        });
        let body = Body::Read(found.into_iter().collect());
        operation(called, called + 1, Call::Get { key }, revision, body)
    }

    fn change(revision: u64, key: Key, value: Value) -> Change {
        Change {
            revision,
            key,
            value: Some(value),
        }
    }

    #[test]
    fn a_right_history_passes_both() {
        let history = [
            put(0, 1, 10, 2),
            put(2, 2, 20, 3),
            get(4, 1, 3, Some((10, 2))),
            get(6, 9, 3, None),
        ];
        let changes = [change(2, 1, 10), change(3, 2, 20)];
        assert_eq!(witness(&history, &changes), Ok(()));
        assert_eq!(linearizable(&history), Ok(()));
    }

    #[test]
    fn a_stale_read_fails_both() {
        let history = [
            put(0, 1, 10, 2),
            put(2, 1, 11, 3),
            get(4, 1, 2, Some((10, 2))),
        ];
        let changes = [change(2, 1, 10), change(3, 1, 11)];
        let seen = witness(&history, &changes).expect_err("stale");
        assert_eq!(seen.property, "real-time-order");
        let seen = linearizable(&history).expect_err("stale");
        assert_eq!(seen.property, "linearizability");
    }

    #[test]
    fn an_acknowledged_write_that_is_not_in_the_log_is_found() {
        let history = [put(0, 1, 10, 2)];
        assert!(witness(&history, &[change(2, 1, 11)]).is_err());
        assert!(witness(&history, &[]).is_err());
    }

    #[test]
    fn a_write_that_was_carried_out_twice_is_found() {
        let history = [put(0, 1, 10, 2)];
        let changes = [change(2, 1, 10), change(3, 1, 10)];
        let seen = witness(&history, &changes).expect_err("twice");
        assert_eq!(seen.property, "exactly-once");
    }

    #[test]
    fn a_compare_and_set_that_ignores_the_comparison_is_found() {
        let cas = Call::CompareAndSet {
            key: 1,
            expected: 2,
            value: 30,
        };
        let history = [
            put(0, 1, 10, 2),
            put(2, 1, 11, 3),
            operation(4, 5, cas, 4, Body::CompareAndSet(true)),
        ];
        let changes = [change(2, 1, 10), change(3, 1, 11), change(4, 1, 30)];
        assert!(witness(&history, &changes).is_err());
        assert!(linearizable(&history).is_err());
    }

    #[test]
    fn a_watch_with_a_gap_a_repetition_or_a_swap_is_found() {
        let changes = [change(2, 1, 10), change(3, 1, 11), change(4, 2, 12)];
        let watch = |seen: &[usize]| Watch {
            from: 2,
            seen: seen.iter().map(|&i| changes[i]).collect(),
            complete_before: 5,
        };
        assert_eq!(watches(&[watch(&[0, 1, 2])], &changes), Ok(()));
        for wrong in [&[0, 2][..], &[0, 1, 1, 2], &[1, 0, 2], &[0, 1]] {
            assert!(watches(&[watch(wrong)], &changes).is_err(), "{wrong:?}");
        }
    }
}
