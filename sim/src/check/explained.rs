//! The log held against the history: nothing is in it that nobody asked for.

use super::{
    Violation,
    kv::{Body, Call, Change, Key, Operation, Revision, Value},
};
use std::collections::HashMap;

/// Explains the log by the history: every change must be what some operation asked for, and no operation makes two. One
/// that was refused made none. `history` must be whole: every operation that may have been carried out is in it.
pub fn explained(history: &[Operation], changes: &[Change]) -> Result<(), Violation> {
    let mut writes: HashMap<Value, &Operation> = HashMap::new();
    // Removals carry nothing that tells them apart: those whose answer came by their revision, the others counted.
    let mut removals: HashMap<Revision, Key> = HashMap::new();
    let mut unknown: HashMap<Key, u64> = HashMap::new();
    for operation in history {
        match &operation.call {
            Call::Put { value, .. } | Call::CompareAndSet { value, .. } => {
                writes.insert(*value, operation);
            }
            Call::Delete { key } => match &operation.returned {
                Some((_, answer)) if answer.body == Body::Deleted(true) => {
                    removals.insert(answer.revision, *key);
                }
                Some(_) => {}
                None => *unknown.entry(*key).or_default() += 1,
            },
            Call::Get { .. } | Call::Range { .. } => {}
        }
    }
    for change in changes {
        let is_explained = match change.value {
            Some(value) => writes
                .remove(&value)
                .is_some_and(|operation| may_have_written(operation, change)),
            None => {
                removals.remove(&change.revision) == Some(change.key)
                    || unknown
                        .get_mut(&change.key)
                        .is_some_and(|left| std::mem::replace(left, left.saturating_sub(1)) > 0)
            }
        };
        if !is_explained {
            let message = format!("no operation explains {change:?}");
            return Err(Violation::new("unexplained-change", message));
        }
    }
    Ok(())
}

fn may_have_written(operation: &Operation, change: &Change) -> bool {
    let (Call::Put { key, .. } | Call::CompareAndSet { key, .. }) = &operation.call else {
        return false;
    };
    let answer = operation.returned.as_ref().map(|(_, answer)| answer);
    let fits = answer.is_none_or(|answer| {
        answer.body != Body::CompareAndSet(false) && answer.revision == change.revision
    });
    *key == change.key && fits
}

#[cfg(test)]
mod tests {
    use super::{super::kv::Answer, *};

    fn operation(called: u64, call: Call, revision: u64, body: Body) -> Operation {
        Operation {
            client: 0,
            called,
            call,
            returned: Some((called + 1, Answer { revision, body })),
        }
    }

    fn put(called: u64, key: Key, value: Value, revision: u64) -> Operation {
        operation(called, Call::Put { key, value }, revision, Body::Put)
    }

    fn change(revision: u64, key: Key, value: Value) -> Change {
        Change {
            revision,
            key,
            value: Some(value),
        }
    }

    #[test]
    fn a_change_that_no_operation_explains_is_found() {
        let cas = |outcome| {
            let call = Call::CompareAndSet {
                key: 1,
                expected: 9,
                value: 30,
            };
            operation(2, call, 3, Body::CompareAndSet(outcome))
        };
        let lost = |key| Operation {
            client: 0,
            called: 5,
            call: Call::Delete { key },
            returned: None,
        };
        let removed = |revision, key| Change {
            revision,
            key,
            value: None,
        };
        let history = [put(0, 1, 10, 2), cas(true), lost(1)];
        let whole = [change(2, 1, 10), change(3, 1, 30), removed(4, 1)];
        assert_eq!(explained(&history, &whole), Ok(()));
        assert_eq!(explained(&history, &whole[..1]), Ok(()));
        let refused = [put(0, 1, 10, 2), cas(false), lost(1)];
        for (history, changes) in [
            (&refused[..], &whole[..]),
            (&history[1..], &whole[..]),
            (&history[..2], &whole[..]),
            (&history[..], &[change(2, 2, 10)][..]),
            (&history[..], &[change(9, 1, 10)][..]),
            (&history[..], &[removed(4, 1), removed(5, 1)][..]),
            (&history[..], &[removed(4, 2)][..]),
            (&history[..], &[change(2, 1, 10), change(3, 1, 10)][..]),
        ] {
            let seen = explained(history, changes).expect_err("unexplained");
            assert_eq!(seen.property, "unexplained-change");
        }
    }
}
