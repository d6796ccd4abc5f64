//! Rules that random commands meet too rarely: limits, and what a transaction may not do.

use crate::apply;
use bytes::Bytes;
use holdfast_kv::{
    Delete, KeyRange, Kv, KvCommand, KvError, KvOutcome, MAX_KEY_BYTES, MAX_TXN_ANSWER_BYTES,
    MAX_TXN_STEPS, MAX_VALUE_BYTES, Put, RangeLimits, RangeRead, Step, StepOutcome, Txn,
};

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Put {
    Put {
        key: key.into(),
        value: value.into(),
        return_previous: false,
    }
}

fn delete(keys: KeyRange) -> Step {
    Step::Delete(Delete {
        keys,
        return_previous: false,
    })
}

fn txn(success: Vec<Step>) -> KvCommand {
    KvCommand::Txn(Txn {
        success,
        ..Txn::default()
    })
}

fn refusal(command: KvCommand) -> KvError {
    let mut kv = Kv::new();
    match apply(&mut kv, &command) {
        KvOutcome::Refused { revision: 1, error } => {
            assert_eq!(command.check(), Err(error.clone()));
            error
        }
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn keys_and_values_have_a_size() {
    let longest = vec![b'k'; MAX_KEY_BYTES];
    let mut kv = Kv::new();
    let largest = put(longest.clone(), vec![0; MAX_VALUE_BYTES]);
    let outcome = apply(&mut kv, &KvCommand::Put(largest));
    assert!(matches!(outcome, KvOutcome::Put { revision: 2, .. }));
    // The range of the longest key ends one byte behind it.
    let outcome = apply(
        &mut kv,
        &KvCommand::Delete(Delete {
            keys: KeyRange::key(longest.clone()),
            return_previous: false,
        }),
    );
    assert!(matches!(outcome, KvOutcome::Delete { deleted: 1, .. }));
    let key = [&longest[..], b"k"].concat();
    let too_long = KvError::KeyTooLarge(MAX_KEY_BYTES as u64 + 1);
    assert_eq!(refusal(KvCommand::Put(put(key, ""))), too_long);
    let value = vec![0; MAX_VALUE_BYTES + 1];
    let too_large = KvError::ValueTooLarge(MAX_VALUE_BYTES as u64 + 1);
    assert_eq!(refusal(KvCommand::Put(put("a", value.clone()))), too_large);
    assert_eq!(refusal(txn(vec![Step::Put(put("a", value))])), too_large);
    assert_eq!(refusal(KvCommand::Put(put("", "x"))), KvError::EmptyKey);
    let keys = KeyRange::from(vec![b'k'; MAX_KEY_BYTES + 2]);
    let error = refusal(txn(vec![delete(keys)]));
    assert_eq!(error, KvError::KeyTooLarge(MAX_KEY_BYTES as u64 + 2));
}

#[test]
fn a_transaction_has_a_size() {
    let steps = |count: usize| -> Vec<Step> {
        (0..count)
            .map(|n| Step::Put(put(format!("{n}"), "")))
            .collect()
    };
    let mut kv = Kv::new();
    let outcome = apply(&mut kv, &txn(steps(MAX_TXN_STEPS)));
    assert!(matches!(outcome, KvOutcome::Txn { revision: 2, .. }));
    assert_eq!(kv.key_count(), MAX_TXN_STEPS as u64);
    let error = refusal(txn(steps(MAX_TXN_STEPS + 1)));
    assert_eq!(error, KvError::TooManySteps(MAX_TXN_STEPS as u64 + 1));
}

#[test]
fn a_revision_changes_a_key_once() {
    let twice = vec![Step::Put(put("b", "1")), Step::Put(put("b", "2"))];
    let duplicate = KvError::DuplicateKey(Bytes::from_static(b"b"));
    assert_eq!(refusal(txn(twice.clone())), duplicate);
    let before = vec![delete(KeyRange::all()), Step::Put(put("b", "1"))];
    assert_eq!(refusal(txn(before)), duplicate);
    let after = vec![Step::Put(put("b", "1")), delete(KeyRange::prefix("b"))];
    assert_eq!(refusal(txn(after)), duplicate);
    // Also in the branch that would not be taken.
    let other = KvCommand::Txn(Txn {
        failure: twice,
        ..Txn::default()
    });
    assert_eq!(refusal(other), duplicate);
    // An empty range holds nothing, and a key deleted twice is found once.
    let mut kv = Kv::new();
    apply(&mut kv, &KvCommand::Put(put("a", "1")));
    let fine = vec![
        delete(KeyRange::all()),
        delete(KeyRange::key("a")),
        delete(KeyRange::between("c", "b")),
    ];
    let KvOutcome::Txn { steps, .. } = apply(&mut kv, &txn(fine)) else {
        panic!("refused");
    };
    let deleted = steps.iter().map(|step| match step {
        StepOutcome::Delete { deleted, .. } => *deleted,
        _ => panic!("{step:?}"),
    });
    assert_eq!(deleted.collect::<Vec<_>>(), [1, 0, 0]);
}

#[test]
fn a_read_in_a_transaction_is_cut_where_its_answer_gets_too_long() {
    let mut kv = Kv::new();
    for key in ["a", "b", "c"] {
        let value = vec![7; MAX_TXN_ANSWER_BYTES / 2];
        apply(&mut kv, &KvCommand::Put(put(key, value)));
    }
    let read = Step::Range(RangeRead {
        keys: KeyRange::all(),
        limit: 100,
    });
    let KvOutcome::Txn { steps, .. } = apply(&mut kv, &txn(vec![read])) else {
        panic!("refused");
    };
    let [StepOutcome::Range(result)] = &steps[..] else {
        panic!("{steps:?}");
    };
    assert_eq!(
        (result.pairs.len(), result.count, result.more),
        (1, 3, true)
    );
}

#[test]
fn the_first_pair_comes_whatever_its_size() {
    let mut kv = Kv::new();
    apply(&mut kv, &KvCommand::Put(put("a", vec![1; 100])));
    apply(&mut kv, &KvCommand::Put(put("b", "")));
    let limits = RangeLimits { keys: 9, bytes: 10 };
    let found = kv.range(&KeyRange::all(), None, limits).unwrap();
    assert_eq!((found.pairs.len(), found.count, found.more), (1, 2, true));
}
