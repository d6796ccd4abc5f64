//! Messages as bytes.

use bytes::Bytes;
use holdfast_raft::{Body, Entry, Membership, Message, SnapshotMeta};
use proptest::{collection::vec, prelude::*};
use std::sync::Arc;

fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn entry() -> impl Strategy<Value = Entry> {
    (any::<u64>(), any::<u64>(), payload()).prop_map(|(term, index, payload)| Entry {
        term,
        index,
        payload,
    })
}

fn meta() -> impl Strategy<Value = SnapshotMeta> {
    let ids = || vec(any::<u64>(), 0..4);
    (any::<u64>(), any::<u64>(), ids(), ids()).prop_map(|(index, term, voters, learners)| {
        SnapshotMeta {
            index,
            term,
            membership: Arc::new(Membership { voters, learners }),
        }
    })
}

fn numbers() -> impl Strategy<Value = (u64, u64, u64, bool, bool)> {
    // Numbers of one byte on the wire, and of ten.
    let number = || prop_oneof![4 => 0..6_u64, 1 => Just(u64::MAX), 1 => any::<u64>()];
    (number(), number(), number(), any::<bool>(), any::<bool>())
}

fn body() -> impl Strategy<Value = Body> {
    let contents = (vec(entry(), 0..3), vec(payload(), 0..3), meta());
    (0..15_u8, numbers(), contents).prop_map(|(kind, (a, b, c, x, y), contents)| {
        let (entries, payloads, meta) = contents;
        match kind {
            0 => Body::Vote {
                last_index: a,
                last_term: b,
                pre: x,
                transfer: y,
            },
            1 => Body::VoteReply { pre: x, granted: y },
            2 => Body::Append {
                prev_index: a,
                prev_term: b,
                commit: c,
                entries,
            },
            3 => Body::Appended { matched: a },
            4 => Body::AppendRejected {
                prev_index: a,
                hint_index: b,
                hint_term: c,
            },
            5 => Body::Heartbeat {
                commit: a,
                round: b,
            },
            6 => Body::HeartbeatReply { round: a },
            7 => Body::Snapshot { meta },
            8 => Body::Propose {
                incarnation: a,
                number: b,
                payloads,
            },
            9 => Body::ReadIndex {
                incarnation: a,
                context: b,
            },
            10 => Body::ReadIndexReply {
                incarnation: a,
                context: b,
                index: c,
            },
            11 => Body::TransferLeader { to: a },
            12 => Body::ProposalRefused {
                incarnation: a,
                number: b,
            },
            13 => Body::ReadRefused {
                incarnation: a,
                context: b,
            },
            _ => Body::TimeoutNow,
        }
    })
}

fn message() -> impl Strategy<Value = Message> {
    (any::<u64>(), any::<u64>(), any::<u64>(), body()).prop_map(|(from, to, term, body)| Message {
        from,
        to,
        term,
        body,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_survives_being_bytes(message in message()) {
        let bytes = postcard::to_stdvec(&message).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Message>(&bytes).unwrap(), message);
        for cut in 0..bytes.len() {
            prop_assert!(postcard::from_bytes::<Message>(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn random_bytes_are_a_message_or_none(bytes in vec(any::<u8>(), 0..100)) {
        let _ = postcard::from_bytes::<Message>(&bytes);
    }

    #[test]
    fn a_changed_message_is_a_message_or_none(message in message(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = postcard::to_stdvec(&message).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = postcard::from_bytes::<Message>(&bytes);
    }
}
