//! Items of the DHT (BEP 44): values that are stored under their own hash, and values that the holder of a key may
//! change.
//!
//! What is hashed, signed and stored are the very bytes of a value as they were received, never a value that was read
//! and written again.

use crate::Id;
use crate::bencode::{self, Raw};
use crate::hex::Hex;
use crate::krpc::{KEY_LEN, MutablePut, SIGNATURE_LEN};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use sha1::{Digest, Sha1};
use sha2::Sha512;
use std::fmt;
use thiserror::Error;

/// The longest value, in bytes of bencode.
pub const VALUE_LIMIT_BYTES: usize = 1_000;
/// The longest salt, in bytes.
pub const SALT_LIMIT_BYTES: usize = 64;

/// What is wrong with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ItemError {
    /// A value is longer than [`VALUE_LIMIT_BYTES`].
    #[error("a value of {0} bytes, of {VALUE_LIMIT_BYTES} at most")]
    ValueTooLong(usize),
    /// A salt is longer than [`SALT_LIMIT_BYTES`].
    #[error("a salt of {0} bytes, of {SALT_LIMIT_BYTES} at most")]
    SaltTooLong(usize),
    /// A value is no canonical bencode.
    #[error("the value is not canonical bencode")]
    NotCanonical,
    /// A sequence number is below zero.
    #[error("a sequence number below zero")]
    NegativeSequence,
    /// The value or the key does not belong to what was asked for.
    #[error("it is not the item of that target")]
    WrongTarget,
    /// A key is no point of the curve, or one that anybody could sign for.
    #[error("unusable public key")]
    UnusableKey,
    /// The signature is not that of the key over this salt, sequence number and value.
    #[error("the signature is wrong")]
    WrongSignature,
    /// The node has none, or what it has is incomplete.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// What an immutable item is stored under: the SHA-1 of its value.
pub fn immutable_target(value: Raw<'_>) -> Id {
    Id::new(Sha1::digest(value.bytes()).into())
}

/// What a mutable item is stored under: the SHA-1 of its key, followed by its salt.
pub fn mutable_target(key: &[u8; KEY_LEN], salt: &[u8]) -> Id {
    Id::new(
        Sha1::new()
            .chain_update(key)
            .chain_update(salt)
            .finalize()
            .into(),
    )
}

/// Appends what is signed of a mutable item: salt, if there is one, sequence number and value, as they stand in a
/// dictionary, but without one (BEP 44, "Signature Verification").
pub fn write_signed(out: &mut Vec<u8>, salt: &[u8], sequence: i64, value: Raw<'_>) {
    if !salt.is_empty() {
        bencode::write_bytes(out, b"salt");
        bencode::write_bytes(out, salt);
    }
    bencode::write_bytes(out, b"seq");
    bencode::write_integer(out, sequence);
    bencode::write_bytes(out, b"v");
    out.extend_from_slice(value.bytes());
}

/// A value that may be stored: canonical bencode of at most [`VALUE_LIMIT_BYTES`].
pub fn check_value(value: Raw<'_>) -> Result<(), ItemError> {
    match value.bytes().len() {
        length if length > VALUE_LIMIT_BYTES => Err(ItemError::ValueTooLong(length)),
        _ if !value.is_canonical() => Err(ItemError::NotCanonical),
        _ => Ok(()),
    }
}

/// A mutable item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MutableItem<'a> {
    /// The ed25519 key of whoever may change it.
    pub key: &'a [u8; KEY_LEN],
    /// Tells items of one key apart; empty is the same as none.
    pub salt: &'a [u8],
    /// It grows with every change.
    pub sequence: i64,
    /// The value.
    pub value: Raw<'a>,
    /// The signature over all of them.
    pub signature: &'a [u8; SIGNATURE_LEN],
}

impl<'a> MutableItem<'a> {
    /// The item that a `put` wants to store.
    pub fn of_put(put: MutablePut<'a>, value: Raw<'a>) -> MutableItem<'a> {
        MutableItem {
            key: put.key,
            salt: put.salt,
            sequence: put.sequence,
            value,
            signature: put.signature,
        }
    }

    /// What it is stored under.
    pub fn target(&self) -> Id {
        mutable_target(self.key, self.salt)
    }

    /// Checks everything that can be checked of an item alone: limits, form and signature.
    ///
    /// Verification is that of RFC 8032, section 5.1.7, without the cofactor, and refuses keys of small order: under
    /// such a key there are signatures that hold for any value.
    pub fn verify(&self) -> Result<(), ItemError> {
        check_value(self.value)?;
        check_salt(self.salt)?;
        if self.sequence < 0 {
            return Err(ItemError::NegativeSequence);
        }
        let key = VerifyingKey::from_bytes(self.key).map_err(|_| ItemError::UnusableKey)?;
        if key.is_weak() {
            return Err(ItemError::UnusableKey);
        }
        let mut signed = Vec::with_capacity(SIGNED_LIMIT_BYTES);
        write_signed(&mut signed, self.salt, self.sequence, self.value);
        let signature = Signature::from_bytes(self.signature);
        key.verify_strict(&signed, &signature)
            .map_err(|_| ItemError::WrongSignature)
    }
}

impl fmt::Debug for MutableItem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutableItem")
            .field("key", &Hex(self.key))
            .field("salt", &Hex(self.salt))
            .field("sequence", &self.sequence)
            .field("value", &self.value)
            .field("signature", &Hex(self.signature))
            .finish()
    }
}

/// What was found in reply to `get`, after it was checked against what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A value that hashes to the target.
    Immutable(Raw<'a>),
    /// A signed item whose key and salt hash to the target.
    Mutable(MutableItem<'a>),
}

impl<'a> Found<'a> {
    /// Checks what a reply has of an item (BEP 44: whoever asks must verify hash, key and signature). `salt` is what the
    /// asker knows, empty for none; no reply has it.
    pub fn verify(
        item: &crate::krpc::Item<'a>,
        target: Id,
        salt: &'a [u8],
    ) -> Result<Found<'a>, ItemError> {
        let value = item.value.ok_or(ItemError::Missing("v"))?;
        let (key, signature) = match (item.key, item.signature) {
            (None, None) => {
                check_value(value)?;
                return match immutable_target(value) == target {
                    true => Ok(Found::Immutable(value)),
                    false => Err(ItemError::WrongTarget),
                };
            }
            (Some(key), Some(signature)) => (key, signature),
            (None, Some(_)) => return Err(ItemError::Missing("k")),
            (Some(_), None) => return Err(ItemError::Missing("sig")),
        };
        let item = MutableItem {
            key,
            salt,
            sequence: item.sequence.ok_or(ItemError::Missing("seq"))?,
            value,
            signature,
        };
        // The target first: it costs a hundredth of a signature.
        if item.target() != target {
            return Err(ItemError::WrongTarget);
        }
        item.verify().map(|()| Found::Mutable(item))
    }
}

/// The key of whoever may change mutable items. Its secret is wiped from memory when it is dropped, and never shown.
pub struct SecretKey {
    secret: ExpandedSecretKey,
    public: VerifyingKey,
}

impl SecretKey {
    /// The key of a seed of 32 bytes (RFC 8032, section 5.1.5), which must be random and kept secret.
    pub fn from_seed(seed: &[u8; 32]) -> SecretKey {
        let key = SigningKey::from_bytes(seed);
        SecretKey {
            secret: ExpandedSecretKey::from(key.as_bytes()),
            public: key.verifying_key(),
        }
    }

    /// The key of the 64 bytes that a seed is hashed to, the form in which clients of the DHT keep secret keys and in
    /// which BEP 44 has its test vectors.
    ///
    /// The second half must be as secret and as random as the first one: it is what no other signature may be made with.
    pub fn from_expanded(bytes: &[u8; 64]) -> SecretKey {
        let secret = ExpandedSecretKey::from_bytes(bytes);
        let public = VerifyingKey::from(&secret);
        SecretKey { secret, public }
    }

    /// The public key, as it travels.
    pub fn public(&self) -> &[u8; KEY_LEN] {
        self.public.as_bytes()
    }

    /// Signs a mutable item. The same input gives the same signature.
    pub fn sign(
        &self,
        salt: &[u8],
        sequence: i64,
        value: Raw<'_>,
    ) -> Result<[u8; SIGNATURE_LEN], ItemError> {
        check_value(value)?;
        check_salt(salt)?;
        if sequence < 0 {
            return Err(ItemError::NegativeSequence);
        }
        let mut signed = Vec::with_capacity(SIGNED_LIMIT_BYTES);
        write_signed(&mut signed, salt, sequence, value);
        Ok(raw_sign::<Sha512>(&self.secret, &signed, &self.public).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", Hex(self.public()))
    }
}

/// What is signed at most: `4:salt64:` and the salt, `3:seqi`, 19 digits and `e`, `1:v` and the value.
const SIGNED_LIMIT_BYTES: usize = 9 + SALT_LIMIT_BYTES + 26 + 3 + VALUE_LIMIT_BYTES;

pub(crate) fn check_salt(salt: &[u8]) -> Result<(), ItemError> {
    match salt.len() {
        length if length > SALT_LIMIT_BYTES => Err(ItemError::SaltTooLong(length)),
        _ => Ok(()),
    }
}
