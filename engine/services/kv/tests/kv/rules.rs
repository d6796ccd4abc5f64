//! Rules that random commands meet too rarely: limits, and what a transaction may not do.

use crate::apply;
use bytes::Bytes;
use holdfast_kv::{
    Delete, KeyRange, Kv, KvCommand, KvError, KvOutcome, MAX_COMMAND_KEYS, MAX_COUNTED,
    MAX_DELETED_BYTES, MAX_KEY_BYTES, MAX_OUTCOME_BYTES, MAX_TXN_ANSWER_BYTES, MAX_TXN_STEPS,
    MAX_VALUE_BYTES, Put, RangeLimits, RangeRead, Step, StepOutcome, Txn,
};
use holdfast_replica::StateMachine;

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

/// A command that costs too much changes nothing, whatever its earlier steps did.
#[track_caller]
fn check_too_much(kv: &mut Kv, command: &KvCommand, expected: &KvError) {
    assert_eq!(command.check(), Ok(()), "it depends on what is there");
    let (digest, revision, keys) = (kv.digest(), kv.revision(), kv.key_count());
    match apply(kv, command) {
        KvOutcome::Refused { error, .. } => assert_eq!(&error, expected),
        outcome => panic!("carried out: revision {}", outcome.revision()),
    }
    assert_eq!(
        (kv.digest(), kv.revision(), kv.key_count()),
        (digest, revision, keys)
    );
}

fn filled(keys: u64, value: &[u8]) -> Kv {
    let mut kv = Kv::new();
    for key in 0..keys {
        kv.execute(&KvCommand::Put(put(format!("{key:08}"), value.to_vec())));
    }
    kv
}

#[test]
fn a_command_looks_at_so_many_keys() {
    let mut kv = filled(MAX_COMMAND_KEYS + 1, b"");
    let all = |return_previous| Delete {
        keys: KeyRange::all(),
        return_previous,
    };
    let error = KvError::TooManyKeys;
    check_too_much(&mut kv, &KvCommand::Delete(all(false)), &error);
    // Steps share what there is, and what the first of them did is undone.
    let half = MAX_COMMAND_KEYS / 2 + 1;
    let (below, above) = (
        KeyRange::between("0", format!("{half:08}")),
        KeyRange::between(format!("{half:08}"), "1"),
    );
    let steps = vec![
        Step::Put(put("a", "1")),
        delete(below.clone()),
        delete(above),
    ];
    check_too_much(&mut kv, &txn(steps), &error);
    let read = Step::Range(RangeRead {
        keys: KeyRange::all(),
        limit: 1,
    });
    // A read with a limit counts on only so far, ...
    let KvOutcome::Txn { steps, .. } = apply(&mut kv, &txn(vec![read.clone()])) else {
        panic!("refused");
    };
    let [StepOutcome::Range(found)] = &steps[..] else {
        panic!("{steps:?}");
    };
    assert_eq!((found.count, found.more), (MAX_COUNTED, true));
    // ... and many of them are too much all the same.
    let reads = vec![read; MAX_COMMAND_KEYS as usize / MAX_COUNTED as usize + 1];
    check_too_much(&mut kv, &txn(reads), &error);
    // Half of them can be deleted; the deleted ones count until they are compacted.
    let half = KvCommand::Delete(Delete {
        keys: below,
        return_previous: false,
    });
    assert!(matches!(apply(&mut kv, &half), KvOutcome::Delete { .. }));
    check_too_much(&mut kv, &KvCommand::Delete(all(false)), &error);
    // They go once a later revision is the oldest that is kept.
    apply(&mut kv, &KvCommand::Put(put("a", "1")));
    let revision = kv.revision();
    apply(&mut kv, &KvCommand::Compact { revision });
    apply(&mut kv, &KvCommand::Delete(all(true)));
    assert_eq!(kv.key_count(), 0);
}

#[test]
fn an_outcome_has_a_size() {
    let value = vec![1; MAX_TXN_ANSWER_BYTES / 2];
    let mut kv = filled(MAX_OUTCOME_BYTES / value.len() as u64 + 1, &value);
    let everything = Delete {
        keys: KeyRange::prefix("0"),
        return_previous: true,
    };
    let error = KvError::OutcomeTooLarge;
    check_too_much(&mut kv, &KvCommand::Delete(everything.clone()), &error);
    let steps = vec![Step::Put(put("a", "1")), Step::Delete(everything)];
    check_too_much(&mut kv, &txn(steps), &error);
    let key = Step::Range(RangeRead {
        keys: KeyRange::key("00000000"),
        limit: 1,
    });
    let fit = MAX_OUTCOME_BYTES as usize / (value.len() + 8);
    assert!(matches!(
        apply(&mut kv, &txn(vec![key.clone(); fit])),
        KvOutcome::Txn { .. }
    ));
    check_too_much(&mut kv, &txn(vec![key; fit + 1]), &error);
    // The largest value of all can be told when it is replaced.
    apply(&mut kv, &KvCommand::Put(put("b", vec![1; MAX_VALUE_BYTES])));
    let replace = Put {
        return_previous: true,
        ..put("b", "")
    };
    let outcome = apply(&mut kv, &KvCommand::Put(replace));
    let KvOutcome::Put { previous, .. } = outcome else {
        panic!("refused");
    };
    assert_eq!(previous.map(|pair| pair.value.len()), Some(MAX_VALUE_BYTES));
}

/// What a watch is told of one revision has a bound too.
#[test]
fn a_command_deletes_so_many_bytes_of_keys() {
    let mut kv = Kv::new();
    let fit = MAX_DELETED_BYTES as usize / MAX_KEY_BYTES;
    for n in 0..=fit {
        let mut key = vec![b'k'; MAX_KEY_BYTES];
        key[..8].copy_from_slice(format!("{n:08}").as_bytes());
        kv.execute(&KvCommand::Put(put(key, "")));
    }
    let from = |n: usize| {
        KvCommand::Delete(Delete {
            keys: KeyRange::from(format!("{n:08}")),
            return_previous: false,
        })
    };
    check_too_much(&mut kv, &from(0), &KvError::DeletesTooMuch);
    assert!(matches!(
        apply(&mut kv, &from(1)),
        KvOutcome::Delete { deleted, .. } if deleted == fit as u64
    ));
}

#[test]
fn a_range_is_counted_so_far() {
    let kv = filled(MAX_COUNTED + 5, b"");
    let count = |keys| {
        let limits = RangeLimits {
            keys,
            bytes: 1 << 20,
        };
        let found = kv.range(&KeyRange::all(), None, limits).unwrap();
        (found.pairs.len() as u64, found.count, found.more)
    };
    assert_eq!(count(0), (0, MAX_COUNTED, true));
    assert_eq!(count(3), (3, MAX_COUNTED, true));
    let all = MAX_COUNTED + 5;
    assert_eq!(count(usize::MAX), (all, all, false));
    assert_eq!(count(all as usize - 1), (all - 1, all, true));
}
