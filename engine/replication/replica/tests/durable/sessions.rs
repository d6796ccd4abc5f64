//! Retries: a command of a session is applied once, also when a snapshot came in between.

use crate::Journal;
use bytes::Bytes;
use holdfast_raft::Entry;
use holdfast_replica::{Applied, Envelope, Mutant, Outcome, RequestId, Session, State, Target};

/// Applies a command of client `client`; what its proposer is told.
fn apply(
    state: &mut State<Journal>,
    client: u128,
    sequence: u64,
    payload: &'static str,
) -> Outcome {
    let index = state.applied() + 1;
    let request = RequestId {
        origin: 5,
        number: index,
    };
    let envelope = Envelope {
        time: 1,
        request,
        target: Target::Memory(Some(Session { client, sequence })),
        payload: Bytes::from_static(payload.as_bytes()),
    };
    let entry = Entry {
        term: 1,
        index,
        payload: envelope.encode(),
    };
    let Applied::Here(told, outcome) = state.apply(&entry) else {
        panic!("a request");
    };
    assert_eq!(told, request);
    outcome
}

fn restored(state: &State<Journal>, mutant: Option<Mutant>) -> State<Journal> {
    let mut bytes = Vec::new();
    state
        .write(&mut bytes, mutant)
        .expect("memory takes everything");
    State::read(&Journal::default(), &mut &bytes[..]).expect("what was written can be read")
}

fn applied(text: &'static str) -> Outcome {
    Outcome::Applied(Bytes::from_static(text.as_bytes()))
}

fn duplicate(text: &'static str) -> Outcome {
    Outcome::Duplicate(Bytes::from_static(text.as_bytes()))
}

/// Everything that can become of a command, with a snapshot before each step or without.
#[test]
fn a_command_is_applied_once_and_its_retries_are_told() {
    for with_snapshots in [false, true] {
        let mut state = State::new(Journal::default());
        let steps = [
            (1, 1, "a", applied("1")),
            (1, 1, "a", duplicate("1")),
            (2, 1, "b", applied("2")),
            (1, 2, "c", applied("3")),
            (1, 1, "a", Outcome::StaleSequence),
            // A client may leave numbers out; it never goes back.
            (1, 9, "d", applied("4")),
            (1, 2, "c", Outcome::StaleSequence),
            (1, 9, "d", duplicate("4")),
            (1, 9, "e", Outcome::SequenceReused),
            (3, 2, "e", Outcome::UnknownSession),
            (2, 1, "b", duplicate("2")),
            (
                2,
                2,
                "large",
                Outcome::Applied(vec![7; 16 * 1024 + 1].into()),
            ),
            (2, 2, "large", Outcome::NotKept),
            (2, 3, "f", applied("6")),
        ];
        for (step, (client, sequence, payload, expected)) in steps.into_iter().enumerate() {
            if with_snapshots {
                let digest = state.digest();
                state = restored(&state, None);
                assert_eq!(state.digest(), digest);
            }
            let outcome = apply(&mut state, client, sequence, payload);
            assert_eq!(
                outcome, expected,
                "step {step}, snapshots: {with_snapshots}"
            );
        }
        let payloads: Vec<&[u8]> = state.machine().0.iter().map(|p| &p[..]).collect();
        let expected: [&[u8]; 6] = [b"a", b"b", b"c", b"d", b"large", b"f"];
        assert_eq!(payloads, expected);
        assert_eq!(state.sessions(), 2);
    }
}

#[test]
fn bug_r18_sessions_missing_from_snapshots_are_found() {
    for (mutant, expected) in [
        (None, duplicate("1")),
        (Some(Mutant::SessionsNotInSnapshot), applied("2")),
    ] {
        let mut state = State::new(Journal::default());
        apply(&mut state, 1, 1, "a");
        let mut state = restored(&state, mutant);
        assert_eq!(apply(&mut state, 1, 1, "a"), expected);
    }
}

#[test]
fn a_no_op_and_what_is_no_envelope_change_nothing_but_the_index() {
    let mut state = State::new(Journal::default());
    for (index, payload) in [(1, ""), (2, "no envelope")] {
        let entry = Entry {
            term: 1,
            index,
            payload: Bytes::from_static(payload.as_bytes()),
        };
        assert_eq!(state.apply(&entry), Applied::Nothing);
        assert_eq!(state.applied(), index);
    }
    assert_eq!(state.machine(), &Journal::default());
}

#[test]
fn a_state_cut_short_or_changed_is_corrupt_or_read_and_never_a_panic() {
    let mut state = State::new(Journal::default());
    for sequence in 1..5 {
        apply(&mut state, 1, sequence, "a");
    }
    let mut bytes = Vec::new();
    state.write(&mut bytes, None).unwrap();
    for at in 0..bytes.len() {
        let _ = State::read(&Journal::default(), &mut &bytes[..at]);
        for flip in [1, 0x10, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            // The journal's own lengths are its own affair, so only what stands before them is changed.
            if at < bytes.len() - 4 * 5 {
                let _ = State::read(&Journal::default(), &mut &bytes[..]);
            }
        }
    }
    let prelude = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    for at in 0..4 + prelude {
        let cut = State::read(&Journal::default(), &mut &bytes[..at]);
        assert!(cut.is_err(), "cut at {at}");
    }
}
