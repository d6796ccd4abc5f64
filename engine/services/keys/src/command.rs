//! What is asked of the service, and what is told of a key. Nothing here holds a secret.

use crate::{KeyHash, KeyId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Keys that are neither revoked nor expired.
pub const MAX_KEYS: u64 = 10_000;
/// Longest name, bytes.
pub const MAX_NAME_BYTES: usize = 200;
/// Most scopes of one key.
pub const MAX_SCOPES: usize = 32;
/// Longest scope, bytes.
pub const MAX_SCOPE_BYTES: usize = 64;

/// A change of keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// A new key.
    Create(NewKey),
    /// From now on the key opens nothing. It stays so: who wants it back makes another.
    Revoke {
        /// Which.
        id: KeyId,
    },
}

/// A key that was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// What remains of its secret.
    pub hash: KeyHash,
    /// Whose it is, for people; at most [`MAX_NAME_BYTES`], without control characters.
    pub name: String,
    /// What it may be used for: 1 to [`MAX_SCOPES`] texts of lower-case letters, digits, `:`, `*`, `_` and `-`.
    pub scopes: BTreeSet<String>,
    /// From when on it opens nothing, nanoseconds since the epoch.
    pub expires_at: Option<u64>,
    /// Who made it: the id of a key, or another name.
    pub created_by: String,
}

/// What is told of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its place among all keys that were ever made; later ones have greater ones.
    pub number: u64,
    /// Its id.
    pub id: KeyId,
    /// Whose it is, for people.
    pub name: String,
    /// What it may be used for, in the order of their text.
    pub scopes: Vec<String>,
    /// When it was made, nanoseconds since the epoch.
    pub created_at: u64,
    /// Who made it.
    pub created_by: String,
    /// From when on it opens nothing, nanoseconds since the epoch.
    pub expires_at: Option<u64>,
    /// When it was taken back, nanoseconds since the epoch.
    pub revoked_at: Option<u64>,
}

/// What became of a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The key as it is now.
    Key(Box<KeyRecord>),
}

/// Why a [`Command`] was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// There is no such key.
    #[error("there is no key {0}")]
    NotFound(KeyId),
    /// A key has this id already. Ids are drawn at random, so that this is next to never.
    #[error("there is a key {0} already")]
    Taken(KeyId),
    /// What was said of a new key cannot be.
    #[error("{field}: {reason}")]
    Invalid {
        /// Of what.
        field: String,
        /// Why.
        reason: String,
    },
    /// There are so many keys that can be used, and no more are kept; some must be revoked first.
    #[error("there are {0} keys in use, and no more are kept")]
    TooMany(u64),
}
