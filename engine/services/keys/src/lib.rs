//! API keys, and the service that keeps them.
//!
//! An [`ApiKey`] is made by the node that is asked for one and shown once; what travels in the log, and what the tables
//! hold, is its [`KeyHash`]. [`Keys`] is the service: keys are created and revoked by commands of the replicated log, so
//! that every node comes to know them. [`query`] reads. What a scope opens is not known here: scopes are texts, and
//! whoever proposes a command has seen to it that they are ones, and that the creator may grant them.

mod command;
mod key;
pub mod query;
mod service;

pub use command::{
    Command, KeyRecord, MAX_KEYS, MAX_NAME_BYTES, MAX_SCOPE_BYTES, MAX_SCOPES, NewKey, Outcome,
    Refusal,
};
pub use key::{ApiKey, KeyHash, KeyId, MalformedHash, MalformedId, MalformedKey};
pub use service::{Keys, MAX_ENDED};
