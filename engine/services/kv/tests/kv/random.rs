//! Random commands, everything compared after each.

use crate::{
    apply,
    model::{Model, agree, in_range, limited},
    restored,
};
use bytes::Bytes;
use holdfast_kv::{
    Compare, CompareWith, Comparison, Delete, KeyRange, Kv, KvCommand, KvOutcome, Put, RangeLimits,
    RangeRead, Step, Txn,
};
use holdfast_replica::StateMachine;
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Action {
    Do(KvCommand),
    /// Compacts at so many revisions before the newest one.
    CompactBehind(u64),
    /// Goes on with what the snapshot makes.
    Restore,
    /// Keeps a clone, which later commands must not change.
    Keep,
}

/// Few letters, so that keys meet; and the ones at which byte order is easily got wrong.
fn key() -> impl Strategy<Value = Bytes> {
    let letter = prop_oneof![Just(b'a'), Just(b'b'), Just(0), Just(0xff)];
    vec(letter, 1..3).prop_map(Bytes::from)
}

fn any_key() -> impl Strategy<Value = Bytes> {
    prop_oneof![30 => key(), 1 => Just(Bytes::new())]
}

fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        any_key().prop_map(KeyRange::key),
        (any_key(), any_key()).prop_map(|(a, b)| KeyRange::between(a, b)),
        any_key().prop_map(KeyRange::from),
        any_key().prop_map(KeyRange::prefix),
        Just(KeyRange::all()),
    ]
}

fn put() -> impl Strategy<Value = Put> {
    let value = vec(0..4_u8, 0..3).prop_map(Bytes::from);
    (any_key(), value, any::<bool>()).prop_map(|(key, value, return_previous)| Put {
        key,
        value,
        return_previous,
    })
}

fn delete(keys: impl Strategy<Value = KeyRange>) -> impl Strategy<Value = Delete> {
    (keys, any::<bool>()).prop_map(|(keys, return_previous)| Delete {
        keys,
        return_previous,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let one = key().prop_map(KeyRange::key);
    let read = (range(), 0..6_u64).prop_map(|(keys, limit)| RangeRead { keys, limit });
    prop_oneof![
        4 => put().prop_map(Step::Put),
        2 => delete(one).prop_map(Step::Delete),
        1 => delete(range()).prop_map(Step::Delete),
        3 => read.prop_map(Step::Range),
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    let comparison = prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::NotEqual),
        Just(Comparison::Greater),
        Just(Comparison::Less),
    ];
    let with = prop_oneof![
        (0..20_u64).prop_map(CompareWith::CreateRevision),
        (0..20_u64).prop_map(CompareWith::ModRevision),
        (0..4_u64).prop_map(CompareWith::Version),
        vec(0..4_u8, 0..3).prop_map(|value| CompareWith::Value(value.into())),
    ];
    (any_key(), comparison, with).prop_map(|(key, comparison, with)| Compare {
        key,
        comparison,
        with,
    })
}

fn txn() -> impl Strategy<Value = Txn> {
    (vec(compare(), 0..3), vec(step(), 0..5), vec(step(), 0..5)).prop_map(
        |(compare, success, failure)| Txn {
            compare,
            success,
            failure,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let command = prop_oneof![
        8 => put().prop_map(KvCommand::Put),
        3 => delete(range()).prop_map(KvCommand::Delete),
        8 => txn().prop_map(KvCommand::Txn),
        1 => (0..40_u64).prop_map(|revision| KvCommand::Compact { revision }),
    ];
    prop_oneof![
        16 => command.prop_map(Action::Do),
        2 => (0..6_u64).prop_map(Action::CompactBehind),
        1 => Just(Action::Restore),
        1 => Just(Action::Keep),
    ]
}

/// Every key that can occur, and some that cannot.
fn keys() -> Vec<Bytes> {
    let letters = [0, b'a', b'b', b'c', 0xff];
    let mut keys = vec![Bytes::new()];
    for first in letters {
        keys.push(vec![first].into());
        keys.extend(letters.map(|second| Bytes::from(vec![first, second])));
    }
    keys
}

fn check(kv: &Kv, model: &Model, ranges: &[KeyRange]) {
    assert_eq!(kv.revision(), model.revision());
    assert_eq!(kv.compact_revision(), model.compacted());
    assert_eq!(kv.key_count(), model.now().len() as u64);
    let from = model.compacted().saturating_sub(2);
    for revision in from..=model.revision() + 1 {
        let expected = model.at(revision);
        for key in keys() {
            let expected = expected.clone().map(|map| map.get(&key).cloned());
            assert_eq!(kv.get_at(&key, revision), expected, "{key:?} at {revision}");
        }
        for range in ranges {
            for limit in [0, 1, 3, usize::MAX] {
                let limits = RangeLimits {
                    keys: limit,
                    ..RangeLimits::NONE
                };
                let expected = expected.clone();
                let expected = expected.map(|map| limited(in_range(map, range), limit));
                let found = kv.range(range, Some(revision), limits);
                assert_eq!(found, expected, "{range:?} at {revision}");
            }
            check_events(kv, model, range, revision);
        }
    }
    for key in keys() {
        assert_eq!(kv.get(&key).as_ref(), model.now().get(&key));
    }
    for range in ranges {
        let everything = limited(in_range(model.now(), range), usize::MAX);
        let found = kv.range(range, None, RangeLimits::NONE);
        assert_eq!(found, Ok(everything));
    }
}

/// All at once, and in small portions.
fn check_events(kv: &Kv, model: &Model, range: &KeyRange, from: u64) {
    let expected = match model.events(range, from) {
        Ok(expected) => expected,
        Err(error) => return assert_eq!(kv.events(range, from, 100), Err(error)),
    };
    let all = kv.events(range, from, usize::MAX).expect("is kept");
    assert_eq!(all.revisions, expected);
    assert_eq!(all.next, from.max(kv.revision() + 1));
    let mut told = Vec::new();
    let mut next = from;
    while next <= kv.revision() {
        let portion = kv.events(range, next, 2).expect("is kept");
        assert!(portion.next > next, "it goes on");
        told.extend(portion.revisions);
        next = portion.next;
    }
    assert_eq!(told, expected);
}

fn run(actions: &[Action], ranges: &[KeyRange]) {
    let (mut kv, mut model) = (Kv::new(), Model::new());
    let mut kept = Vec::new();
    for action in actions {
        let command = match action {
            Action::Do(command) => command.clone(),
            Action::CompactBehind(distance) => KvCommand::Compact {
                revision: model.revision().saturating_sub(*distance),
            },
            Action::Restore => {
                kv = restored(&kv);
                continue;
            }
            Action::Keep => {
                kept.push((kv.clone(), model.clone()));
                continue;
            }
        };
        let before = kv.digest();
        let outcome = apply(&mut kv, &command);
        let expected = model.execute(&command);
        assert!(
            agree(&outcome, &expected),
            "{outcome:?} is not {expected:?}"
        );
        assert_eq!(outcome.revision(), model.revision());
        if matches!(outcome, KvOutcome::Refused { .. }) {
            assert_eq!(kv.digest(), before, "refused, so nothing changed");
        }
        check(&kv, &model, ranges);
        let again = restored(&kv);
        assert_eq!(again.digest(), kv.digest());
        check(&again, &model, &ranges[..1]);
    }
    for (kv, model) in kept {
        check(&kv, &model, ranges);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(
        actions in vec(action(), 1..30),
        ranges in vec(range(), 1..4),
    ) {
        run(&actions, &ranges);
    }
}
