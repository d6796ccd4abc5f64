//! Bytes from elsewhere: refused, never a panic.

use crate::{apply, restored};
use bytes::Bytes;
use holdfast_kv::{KeyRange, Kv, KvCommand, KvError, KvOutcome, Put, RangeRead, Step, Txn};
use holdfast_replica::{Command, StateMachine};
use proptest::{collection::vec, prelude::*};

fn put(key: &str, value: &str) -> KvCommand {
    KvCommand::Put(Put {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        return_previous: true,
    })
}

fn filled() -> Kv {
    let mut kv = Kv::new();
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5")] {
        apply(&mut kv, &put(key, value));
    }
    apply(&mut kv, &KvCommand::Compact { revision: 4 });
    kv
}

fn snapshot(kv: &Kv) -> Vec<u8> {
    let mut bytes = Vec::new();
    kv.write_snapshot(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_no_command_changes_nothing_and_says_so() {
    let mut kv = filled();
    let before = kv.digest();
    let longer = [&put("a", "x").encode()[..], b"!"].concat();
    for payload in [&b""[..], b"\xff\xff", &longer] {
        let payload = Bytes::copy_from_slice(payload);
        let outcome = kv.apply(Command {
            index: 9,
            time: 9,
            payload: &payload,
        });
        let expected = KvOutcome::Refused {
            revision: kv.revision(),
            error: KvError::Malformed,
        };
        assert_eq!(KvOutcome::decode(&outcome), Some(expected));
        assert_eq!(kv.digest(), before);
    }
}

#[test]
fn an_outcome_with_something_behind_it_is_none() {
    let mut kv = filled();
    let outcome = apply(&mut kv, &put("a", "x"));
    let bytes = outcome.encode();
    assert_eq!(KvOutcome::decode(&bytes), Some(outcome));
    assert_eq!(KvOutcome::decode(&[&bytes[..], &[0]].concat()), None);
    assert_eq!(KvOutcome::decode(&bytes[..bytes.len() - 1]), None);
}

#[test]
fn a_snapshot_cut_anywhere_is_corrupt() {
    let kv = filled();
    let bytes = snapshot(&kv);
    for cut in 0..bytes.len() {
        let error = kv.read_snapshot(&mut &bytes[..cut]).err();
        assert!(error.is_some(), "cut at {cut} of {}", bytes.len());
    }
}

#[test]
fn a_snapshot_of_a_later_version_is_refused_by_name() {
    let kv = filled();
    let mut bytes = snapshot(&kv);
    bytes[0] = 2;
    let error = kv.read_snapshot(&mut &bytes[..]).unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
}

#[test]
fn equal_contents_have_equal_digests_and_others_do_not() {
    let mut kv = filled();
    let same = filled();
    assert_eq!(kv.digest(), same.digest());
    assert_eq!(snapshot(&kv), snapshot(&restored(&same)));
    apply(&mut kv, &put("z", ""));
    assert_ne!(kv.digest(), same.digest());
    // Also what no read of the newest revision shows.
    let mut compacted = filled();
    apply(&mut compacted, &KvCommand::Compact { revision: 5 });
    assert_ne!(compacted.digest(), same.digest());
}

fn sample_commands() -> Vec<Bytes> {
    let txn = Txn {
        compare: Vec::new(),
        success: vec![Step::Range(RangeRead {
            keys: KeyRange::prefix("a"),
            limit: 3,
        })],
        failure: Vec::new(),
    };
    vec![
        put("key", "value").encode(),
        KvCommand::Txn(txn).encode(),
        KvCommand::Compact { revision: 300 }.encode(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..80)) {
        if let Some(command) = KvCommand::decode(&bytes) {
            prop_assert_eq!(KvCommand::decode(&command.encode()), Some(command.clone()));
            let mut kv = filled();
            let _ = kv.execute(&command);
        }
        if let Some(outcome) = KvOutcome::decode(&bytes) {
            prop_assert_eq!(KvOutcome::decode(&outcome.encode()), Some(outcome));
        }
    }

    #[test]
    fn a_changed_command_is_decoded_or_refused(which in 0..3_usize, at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = sample_commands()[which].to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Some(command) = KvCommand::decode(&bytes) {
            let _ = filled().execute(&command);
        }
    }

    #[test]
    fn a_changed_snapshot_is_read_or_corrupt(edits in vec((any::<usize>(), any::<u8>()), 1..4)) {
        let kv = filled();
        let mut bytes = snapshot(&kv);
        for (at, byte) in edits {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        if let Ok(read) = kv.read_snapshot(&mut &bytes[..]) {
            let _ = (read.digest(), read.key_count());
        }
    }

    #[test]
    fn random_bytes_are_no_snapshot(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Kv::new().read_snapshot(&mut &bytes[..]);
    }
}
