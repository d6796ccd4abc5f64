//! A multi-version key-value store with the semantics of etcd: one revision number for the whole store, which every
//! change raises; reads of the past down to the last compaction; compare-and-set transactions; watches that begin at
//! any revision still kept.
//!
//! It is a state machine and nothing else: no network, no clock, no disk; a replica (`holdfast-replica`) feeds it
//! committed commands and keeps it. [`Kv`] is the store, a persistent value whose clones are snapshots;
//! [`KvCommand`] is what changes it.

mod budget;
mod command;
mod range;
mod snapshot;
mod store;

pub use command::{
    Compare, CompareWith, Comparison, Delete, KvCommand, KvError, KvOutcome, MAX_COMMAND_KEYS,
    MAX_DELETED_BYTES, MAX_KEY_BYTES, MAX_OUTCOME_BYTES, MAX_TXN_STEPS, MAX_VALUE_BYTES, Put,
    RangeRead, Step, StepOutcome, Txn,
};
pub use range::KeyRange;
pub use store::{
    Event, Events, KeyValue, Kv, MAX_COUNTED, MAX_TXN_ANSWER_BYTES, RangeLimits, RangeResult,
};
