//! The scenario's calls over HTTP, through the engine's own client: how the full lane asks, and how real processes are
//! asked.

use super::workload::{is_command, key_bytes, key_number, value_bytes, value_number};
use holdfast_node::{
    client::{Client, ClientError, Condition, RangeQuery},
    http::ProblemKind,
    wire::{
        Compare, CompareTarget, Key, KeySet, KeyValue, Operator, TxnOp, TxnPut, TxnRequest, Value,
        WatchEvent,
    },
};
use holdfast_sim::check::kv::{Answer, Body, Call, Change, Found};

/// How a client compares and sets; both must mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareBy {
    /// In a transaction.
    Txn,
    /// By the key's entity tag.
    Tag,
}

/// Makes a call.
///
/// # Errors
/// Whatever the client says; [`ClientError::is_definite`] tells whether the call may have been carried out.
pub async fn carry_out(client: &Client, by: CompareBy, call: &Call) -> Result<Answer, ClientError> {
    match *call {
        Call::Put { key, value } => {
            let key = key_bytes(key);
            let put = client.put(&key, value_bytes(value), Condition::None);
            Ok(answer(put.await?.revision, Body::Put))
        }
        Call::Delete { key } => {
            let reply = client.delete(&key_bytes(key), Condition::None).await?;
            Ok(answer(reply.revision, Body::Deleted(reply.deleted == 1)))
        }
        Call::CompareAndSet {
            key,
            expected,
            value,
        } if by == CompareBy::Txn => {
            let request = compare_and_set(key, expected, value);
            let reply = client.txn(&request).await?;
            Ok(answer(reply.revision, Body::CompareAndSet(reply.succeeded)))
        }
        Call::CompareAndSet {
            key,
            expected,
            value,
        } => {
            let condition = match expected {
                0 => Condition::Absent,
                revision => Condition::ModRevision(revision),
            };
            let key = key_bytes(key);
            let put = client.put(&key, value_bytes(value), condition);
            conditional(put.await.map(|reply| reply.revision))
        }
        // A get of one key by its path does not say at which revision it found nothing.
        Call::Get { key } => read(client, KeySet::one(key_bytes(key))).await,
        Call::Range { from, to } => read(client, key_range(from..to)).await,
    }
}

async fn read(client: &Client, keys: KeySet) -> Result<Answer, ClientError> {
    let query = RangeQuery {
        keys,
        ..RangeQuery::default()
    };
    let reply = client.range(&query).await?;
    assert!(!reply.more, "the keys fit into one answer");
    let found = reply.kvs.iter().map(found).collect();
    Ok(answer(reply.revision, Body::Read(found)))
}

fn answer(revision: u64, body: Body) -> Answer {
    Answer { revision, body }
}

/// The answer to a put whose condition held or did not.
fn conditional(result: Result<u64, ClientError>) -> Result<Answer, ClientError> {
    match result {
        Ok(revision) => Ok(answer(revision, Body::CompareAndSet(true))),
        Err(ClientError::Refused(problem)) if problem.kind == ProblemKind::PreconditionFailed => {
            let revision = problem.extra.get("revision").and_then(|r| r.as_u64());
            let revision = revision.expect("a failed precondition tells the revision");
            Ok(answer(revision, Body::CompareAndSet(false)))
        }
        Err(error) => Err(error),
    }
}

fn compare_and_set(key: u32, expected: u64, value: u64) -> TxnRequest {
    let put = TxnPut {
        key: Key(key_bytes(key)),
        value: Value(value_bytes(value)),
        prev_kv: false,
    };
    TxnRequest {
        compare: vec![Compare {
            key: Key(key_bytes(key)),
            op: Operator::Equal,
            target: CompareTarget::ModRevision(expected),
        }],
        success: vec![TxnOp::Put(put)],
        failure: Vec::new(),
    }
}

/// A pair as the checkers know it.
pub fn found(pair: &KeyValue) -> Found {
    let value = pair.value.as_ref().expect("values were asked for");
    Found {
        key: key_number(&pair.key.0).expect("a key of this load"),
        value: value_number(&value.0).expect("a value of this load"),
        modified: pair.mod_revision,
    }
}

/// What a watch tells, as the checkers know it.
pub fn change(revision: u64, event: &WatchEvent) -> Change {
    let (key, value) = match event {
        WatchEvent::Put { kv } => {
            let value = kv.value.as_ref().expect("a watch tells values");
            let value = value_number(&value.0).expect("a value of this load");
            (&kv.key, Some(value))
        }
        WatchEvent::Delete { key } => (key, None),
    };
    let key = key_number(&key.0).expect("a key of this load");
    Change {
        revision,
        key,
        value,
    }
}

/// Every key there is.
pub fn everything() -> KeySet {
    KeySet::prefix(bytes::Bytes::new())
}

/// The keys of a range.
pub fn key_range(keys: std::ops::Range<u32>) -> KeySet {
    KeySet {
        start: Some(key_bytes(keys.start).into()),
        end: Some(key_bytes(keys.end).into()),
        ..KeySet::default()
    }
}

/// Whether a call was turned away because of the moment, and not because of what it asks.
pub fn is_passing(call: &Call, error: &ClientError) -> bool {
    match error.refusal() {
        Some(ProblemKind::ReadTimeout) => !is_command(call),
        _ => is_passing_moment(error),
    }
}

/// Whether something was turned away because of the moment: a node that cannot serve now, or none that could be reached.
pub fn is_passing_moment(error: &ClientError) -> bool {
    error.refusal().is_none_or(|kind| {
        matches!(
            kind,
            ProblemKind::NoLeader
                | ProblemKind::Overloaded
                | ProblemKind::Unavailable
                | ProblemKind::ReadTimeout
                | ProblemKind::RequestTimeout
        )
    })
}
