//! The JSON of the REST interface, as both its server and its client read and write it.
//!
//! Keys are any bytes and are written as they stand in a URL: percent-encoded, with unreserved characters and `/` as
//! they are. Values are any bytes, in base64 (RFC 4648, with padding).

pub mod blobs;
pub mod dht;
pub mod keys;
pub mod links;

use crate::http::{percent_decode, percent_encode};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// A key, in JSON percent-encoded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(pub Bytes);

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, ser: S) -> Result<S::Ok, S::Error> {
        ser.serialize_str(&percent_encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(de)?;
        percent_decode(&text)
            .map(Key)
            .map_err(|problem| de::Error::custom(problem.detail))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&percent_encode(&self.0))
    }
}

impl<B: Into<Bytes>> From<B> for Key {
    fn from(bytes: B) -> Self {
        Key(bytes.into())
    }
}

/// A value, in JSON base64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Value(pub Bytes);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, ser: S) -> Result<S::Ok, S::Error> {
        ser.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(de)?;
        BASE64
            .decode(text.as_bytes())
            .map(|bytes| Value(bytes.into()))
            .map_err(|error| de::Error::custom(format!("a value is not base64: {error}")))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<B: Into<Bytes>> From<B> for Value {
    fn from(bytes: B) -> Self {
        Value(bytes.into())
    }
}

/// How much a read asks for; in URLs `linearizable` or `stale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read began, through whichever node.
    #[default]
    Linearizable,
    /// Sees some earlier state: that of the node asked. Fast, and available without a leader.
    Stale,
}

impl Consistency {
    /// As it stands in URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Consistency::Linearizable => "linearizable",
            Consistency::Stale => "stale",
        }
    }
}

/// A key-value pair as of some revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Key,
    /// Its value; absent when only keys were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The revision at which the key came to be.
    pub create_revision: u64,
    /// The revision of its last change.
    pub mod_revision: u64,
    /// How often it was put since it came to be.
    pub version: u64,
}

/// Answers a read of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetReply {
    /// What is there.
    #[serde(flatten)]
    pub pair: KeyValue,
    /// The store's revision when it was read.
    pub revision: u64,
}

/// Answers a put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutReply {
    /// The revision that the put made.
    pub revision: u64,
    /// What was there before, when that was asked for and there was something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_kv: Option<KeyValue>,
}

/// Answers a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteReply {
    /// The store's revision after it.
    pub revision: u64,
    /// How many keys were deleted.
    pub deleted: u64,
    /// They and their values, when that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prev_kvs: Vec<KeyValue>,
}

/// Answers a range read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeReply {
    /// The store's revision when it was read.
    pub revision: u64,
    /// The pairs, in the order of their keys.
    pub kvs: Vec<KeyValue>,
    /// How many keys are in the range from this page on, whatever the limit; but counted no further than to 10,000, or
    /// to the last pair here.
    pub count: u64,
    /// Whether the limit cut the answer short: ask again from the key after the last. When only a count was asked for:
    /// whether there may be more keys than were counted.
    pub more: bool,
    /// The cursor of the next page, when there is one: the same query with this as its `cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A compaction order, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompactRequest {
    /// The oldest revision that stays readable.
    pub revision: u64,
}

/// Answers a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactReply {
    /// The store's revision.
    pub revision: u64,
    /// The oldest revision that is still readable.
    pub compact_revision: u64,
}

/// A transaction: when all of `compare` hold, do `success`, else `failure`; at one revision, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TxnRequest {
    /// What must hold.
    pub compare: Vec<Compare>,
    /// What to do when it does.
    pub success: Vec<TxnOp>,
    /// What to do when it does not.
    pub failure: Vec<TxnOp>,
}

/// How a [`Compare`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// Equal.
    #[serde(rename = "=")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Greater.
    #[serde(rename = ">")]
    Greater,
    /// Less.
    #[serde(rename = "<")]
    Less,
}

/// One condition of a transaction: exactly one of the last four members says what is compared with. A key that is
/// not there has revisions and version 0 and no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// Of which key.
    pub key: Key,
    /// How.
    pub op: Operator,
    /// With what.
    #[serde(flatten)]
    pub target: CompareTarget,
}

/// What a [`Compare`] compares with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareTarget {
    /// The revision at which the key came to be.
    CreateRevision(u64),
    /// The revision of its last change.
    ModRevision(u64),
    /// How often it was put since it came to be.
    Version(u64),
    /// Its value.
    Value(Value),
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxnOp {
    /// Puts a key.
    Put(TxnPut),
    /// Deletes keys.
    Delete(TxnDelete),
    /// Reads keys.
    Range(TxnRange),
}

/// See [`TxnOp::Put`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TxnPut {
    /// Which key.
    pub key: Key,
    /// Its new value.
    pub value: Value,
    /// Whether to tell what was there before.
    #[serde(default)]
    pub prev_kv: bool,
}

/// See [`TxnOp::Delete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TxnDelete {
    /// Which keys.
    #[serde(flatten)]
    pub keys: KeySet,
    /// Whether to tell what was there.
    #[serde(default)]
    pub prev_kv: bool,
}

/// See [`TxnOp::Range`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TxnRange {
    /// Which keys.
    #[serde(flatten)]
    pub keys: KeySet,
    /// At most so many; 0 for as many as are allowed.
    #[serde(default)]
    pub limit: u64,
}

/// A set of keys: one `key`, all with a `prefix`, or all from `start` up to and without `end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct KeySet {
    /// This one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// All that begin with this; all there are when it is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Key>,
    /// From this one on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Key>,
    /// Up to and without this one; to the end of all when it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Key>,
}

impl KeySet {
    /// One key.
    pub fn one(key: impl Into<Key>) -> Self {
        KeySet {
            key: Some(key.into()),
            ..KeySet::default()
        }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Key>) -> Self {
        KeySet {
            prefix: Some(prefix.into()),
            ..KeySet::default()
        }
    }
}

/// Answers a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnReply {
    /// The store's revision after it.
    pub revision: u64,
    /// Whether the conditions held.
    pub succeeded: bool,
    /// One result a step, in order.
    pub results: Vec<TxnResult>,
}

/// What a step of a transaction led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TxnResult {
    /// Of [`TxnOp::Put`].
    Put(PutReply),
    /// Of [`TxnOp::Delete`].
    Delete(DeleteReply),
    /// Of [`TxnOp::Range`].
    Range(RangeReply),
}

/// One line of a watch (one event of a server-sent event stream).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WatchLine {
    /// First: every event from `from_revision` on will come.
    Created {
        /// The store's revision now.
        revision: u64,
        /// Where the watch begins.
        from_revision: u64,
    },
    /// Everything that one revision changed among the watched keys.
    Events {
        /// The revision.
        revision: u64,
        /// In the order in which they happened.
        events: Vec<WatchEvent>,
    },
    /// A sign of life: everything up to `revision` has been sent.
    Progress {
        /// The revision.
        revision: u64,
    },
    /// Last: what comes next has been compacted away. Read the keys again, then watch from the revision read at.
    Compacted {
        /// The oldest revision that can be watched from.
        compact_revision: u64,
    },
    /// Last: the node stops watching for this client, not for a reason of the keys. Watch again from the revision
    /// after the last one seen.
    Closing {
        /// Why.
        detail: String,
    },
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WatchEvent {
    /// It was put.
    Put {
        /// What is there since.
        kv: KeyValue,
    },
    /// It was deleted.
    Delete {
        /// Which.
        key: Key,
    },
}

/// Answers `/v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// The program's version.
    pub version: String,
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's identity, hexadecimal.
    pub cluster_id: String,
    /// The node that answers.
    pub node: u64,
    /// Every member and where it listens for peers.
    pub members: BTreeMap<u64, String>,
    /// What the node is in its term: `leader`, `follower`, `candidate`, ...
    pub role: String,
    /// The term.
    pub term: u64,
    /// Who leads, when that is known.
    pub leader: Option<u64>,
    /// The commit index that it knows.
    pub commit: u64,
    /// How far its state is.
    pub applied: u64,
    /// The first index in its log.
    pub first_index: u64,
    /// The last index in its log.
    pub last_index: u64,
    /// The index of its newest snapshot, 0 without one.
    pub snapshot_index: u64,
    /// The store's revision here.
    pub revision: u64,
    /// The oldest revision that is still readable here.
    pub compact_revision: u64,
    /// Keys in the store.
    pub keys: u64,
    /// A hash over the whole replicated state, hexadecimal, when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why the node has failed, when it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Orders the leader to hand its office over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRequest {
    /// To whom.
    pub to: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_transaction_reads_as_documented() {
        let text = r#"{
            "compare": [{"key": "a%20b", "op": "=", "mod_revision": 3}, {"key": "c", "op": "!=", "value": "eA=="}],
            "success": [{"put": {"key": "a%20b", "value": "eQ=="}}],
            "failure": [{"range": {"prefix": "a", "limit": 2}}, {"delete": {"start": "a", "end": "b", "prev_kv": true}}]
        }"#;
        let request: TxnRequest = serde_json::from_str(text).expect("decodes");
        assert_eq!(&request.compare[0].key.0[..], b"a b");
        assert_eq!(request.compare[0].target, CompareTarget::ModRevision(3));
        assert_eq!(request.compare[1].target, CompareTarget::Value("x".into()));
        assert_eq!(
            request.success,
            [TxnOp::Put(TxnPut {
                key: "a b".into(),
                value: "y".into(),
                prev_kv: false
            })]
        );
        let again = serde_json::to_string(&request).expect("encodes");
        assert_eq!(
            serde_json::from_str::<TxnRequest>(&again).expect("decodes"),
            request
        );
    }

    #[test]
    fn misspelt_transactions_are_refused() {
        for text in [
            r#"{"comapre": []}"#,
            r#"{"compare": [{"key": "a", "op": "==", "version": 1}]}"#,
            r#"{"compare": [{"key": "a", "op": "="}]}"#,
            r#"{"compare": [{"key": "a", "op": "=", "version": -1}]}"#,
            r#"{"success": [{"put": {"key": "a"}}]}"#,
            r#"{"success": [{"put": {"key": "a%2", "value": ""}}]}"#,
            r#"{"success": [{"put": {"key": "a", "value": "?"}}]}"#,
            r#"{"success": [{"range": {"prefix": "a", "limti": 1}}]}"#,
            r#"{"compare": [{"key": "a", "op": "=", "version": 1, "value": "eA=="}]}"#,
            r#"{"success": [{"steal": {"key": "a"}}]}"#,
        ] {
            assert!(serde_json::from_str::<TxnRequest>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_transaction_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = serde_json::from_slice::<TxnRequest>(&bytes);
        }

        #[test]
        fn no_json_like_text_makes_the_transaction_decoder_panic(
            text in r#"\{"(compare|success|failure)": ?\[\{"(put|delete|range|key)": ?[{}\[\]":,a-z0-9%=_-]{0,60}\}?\]?\}?"#
        ) {
            let _ = serde_json::from_str::<TxnRequest>(&text);
        }

        #[test]
        fn keys_and_values_survive_json(key in proptest::collection::vec(any::<u8>(), 0..40), value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let put = TxnOp::Put(TxnPut { key: key.into(), value: value.into(), prev_kv: true });
            let text = serde_json::to_string(&put).expect("encodes");
            prop_assert_eq!(serde_json::from_str::<TxnOp>(&text).expect("decodes"), put);
        }
    }
}
