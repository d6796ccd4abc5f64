//! Between the JSON of the interface and the store's own types.

use super::{Problem, ProblemKind};
use crate::{
    http::Query,
    wire::{self, KeySet},
};
use bytes::Bytes;
use holdfast_kv::{KeyRange, KeyValue, KvError, RangeResult};

pub(super) fn consistency(asked: wire::Consistency) -> holdfast_replica::Consistency {
    match asked {
        wire::Consistency::Linearizable => holdfast_replica::Consistency::Linearizable,
        wire::Consistency::Stale => holdfast_replica::Consistency::Stale,
    }
}

pub(super) fn pair(pair: KeyValue) -> wire::KeyValue {
    wire::KeyValue {
        key: pair.key.into(),
        value: Some(pair.value.into()),
        create_revision: pair.create_revision,
        mod_revision: pair.mod_revision,
        version: pair.version,
    }
}

pub(super) fn pairs(pairs: Vec<KeyValue>) -> Vec<wire::KeyValue> {
    pairs.into_iter().map(pair).collect()
}

pub(super) fn range(found: RangeResult, revision: u64) -> wire::RangeReply {
    wire::RangeReply {
        revision,
        kvs: pairs(found.pairs),
        count: found.count,
        more: found.more,
        next: None,
    }
}

pub(super) fn event(event: holdfast_kv::Event) -> wire::WatchEvent {
    match event {
        holdfast_kv::Event::Put(kv) => wire::WatchEvent::Put { kv: pair(kv) },
        holdfast_kv::Event::Delete { key } => wire::WatchEvent::Delete { key: key.into() },
    }
}

/// The keys that a query's `key`, `prefix`, `start` and `end` name.
pub(super) fn key_set(query: &mut Query) -> KeySet {
    let mut key = |name| query.bytes(name).map(wire::Key);
    KeySet {
        key: key("key"),
        prefix: key("prefix"),
        start: key("start"),
        end: key("end"),
    }
}

/// The range that a key set names, when it names one.
pub(super) fn key_range(keys: KeySet) -> Result<KeyRange, Problem> {
    let bytes = |key: Option<wire::Key>| key.map(|key| key.0);
    let (key, prefix) = (bytes(keys.key), bytes(keys.prefix));
    match (key, prefix, bytes(keys.start), bytes(keys.end)) {
        (Some(key), None, None, None) if key.is_empty() => Err(empty_key()),
        (Some(key), None, None, None) => Ok(KeyRange::key(key)),
        (None, Some(prefix), None, None) => Ok(KeyRange::prefix(prefix)),
        (None, None, Some(start), None) => Ok(KeyRange::from(start)),
        (None, None, start, Some(end)) => {
            Ok(KeyRange::between(start.unwrap_or_else(Bytes::new), end))
        }
        (None, None, None, None) => Err(Problem::bad_request(
            "which keys? Give `key`, `prefix` (empty for all), or `start` and `end`",
        )),
        _ => Err(Problem::bad_request(
            "give only one of `key`, `prefix`, and `start` with `end`",
        )),
    }
}

pub(super) fn empty_key() -> Problem {
    Problem::bad_request(KvError::EmptyKey.to_string())
}

/// What a client is told when the store refuses.
pub(super) fn refusal(error: KvError) -> Problem {
    let detail = error.to_string();
    match error {
        KvError::Malformed | KvError::EmptyKey | KvError::DuplicateKey(_) => {
            Problem::bad_request(detail)
        }
        KvError::KeyTooLarge(_)
        | KvError::ValueTooLarge(_)
        | KvError::TooManySteps(_)
        | KvError::TooManyKeys
        | KvError::OutcomeTooLarge
        | KvError::DeletesTooMuch => Problem::new(ProblemKind::TooLarge, detail),
        KvError::Compacted {
            compact_revision, ..
        } => {
            Problem::new(ProblemKind::Compacted, detail).with("compact_revision", compact_revision)
        }
        KvError::Future { revision, .. } => {
            Problem::new(ProblemKind::FutureRevision, detail).with("revision", revision)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_of(query: &str) -> Result<KeyRange, Problem> {
        let mut query = Query::parse(Some(query)).expect("a query");
        key_range(key_set(&mut query))
    }

    #[test]
    fn a_query_names_one_set_of_keys() {
        for (query, expected) in [
            ("key=a%00", KeyRange::key(&b"a\0"[..])),
            ("prefix=a/", KeyRange::prefix("a/")),
            ("prefix=", KeyRange::all()),
            ("start=a", KeyRange::from("a")),
            ("start=a&end=b", KeyRange::between("a", "b")),
            ("end=b", KeyRange::between("", "b")),
        ] {
            assert_eq!(range_of(query), Ok(expected), "{query}");
        }
        for bad in [
            "",
            "key=",
            "key=a&prefix=b",
            "prefix=a&end=b",
            "key=a&start=b",
        ] {
            let problem = range_of(bad).expect_err(bad);
            assert_eq!(problem.kind, ProblemKind::BadRequest, "{bad}");
        }
    }
}
