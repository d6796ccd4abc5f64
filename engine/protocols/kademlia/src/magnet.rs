//! Torrents that are updated through mutable items (BEP 46): the magnet link that names such an item, and the value
//! that points to a torrent.

use crate::Id;
use crate::bencode::{self, Decoder, Raw, Value};
use crate::hex::{self, Hex};
use crate::item::{SALT_LIMIT_BYTES, mutable_target};
use crate::krpc::KEY_LEN;
use std::{fmt, str::FromStr};
use thiserror::Error;

/// The longest link that is read, in bytes.
pub const MAGNET_LIMIT_BYTES: usize = 8_192;

const SCHEME: &str = "magnet:?";
const URN: &str = "urn:btpk:";

/// Why a text is no magnet link of BEP 46.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MagnetError {
    /// It is longer than [`MAGNET_LIMIT_BYTES`].
    #[error("longer than {MAGNET_LIMIT_BYTES} bytes")]
    TooLong,
    /// It does not begin with `magnet:?`.
    #[error("no magnet link")]
    NotMagnet,
    /// It has no `xs=urn:btpk:`.
    #[error("no public key (xs=urn:btpk:)")]
    NoKey,
    /// More than one public key, or more than one salt.
    #[error("{0} occurs twice")]
    Duplicate(&'static str),
    /// The public key is not 64 hexadecimal digits.
    #[error("the public key is not 64 hexadecimal digits")]
    MalformedKey,
    /// The salt is not pairs of hexadecimal digits.
    #[error("the salt is not pairs of hexadecimal digits")]
    MalformedSalt,
    /// The salt is longer than [`SALT_LIMIT_BYTES`].
    #[error("the salt is longer than {SALT_LIMIT_BYTES} bytes")]
    SaltTooLong,
    /// A percent sign without two hexadecimal digits behind it.
    #[error("malformed percent-encoding")]
    MalformedEscape,
}

/// A link to a mutable item that points to a torrent: `magnet:?xs=urn:btpk:KEY&s=SALT`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Magnet {
    key: [u8; KEY_LEN],
    salt: Vec<u8>,
}

impl Magnet {
    /// The link to the item of this key and salt; empty is no salt.
    pub fn new(key: [u8; KEY_LEN], salt: &[u8]) -> Result<Magnet, MagnetError> {
        match salt.len() <= SALT_LIMIT_BYTES {
            true => Ok(Magnet {
                key,
                salt: salt.to_vec(),
            }),
            false => Err(MagnetError::SaltTooLong),
        }
    }

    /// The public key of the item.
    pub fn key(&self) -> &[u8; KEY_LEN] {
        &self.key
    }

    /// Its salt; empty if there is none.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// What the item is stored under.
    pub fn target(&self) -> Id {
        mutable_target(&self.key, &self.salt)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}xs={URN}{}", Hex(&self.key))?;
        match self.salt.is_empty() {
            true => Ok(()),
            false => write!(f, "&s={}", Hex(&self.salt)),
        }
    }
}

impl fmt::Debug for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Reads a link. Other parameters, such as `dn`, are passed over, and so are other sources (`xs`).
    fn from_str(text: &str) -> Result<Magnet, MagnetError> {
        if text.len() > MAGNET_LIMIT_BYTES {
            return Err(MagnetError::TooLong);
        }
        let query = strip_prefix(text.as_bytes(), SCHEME).ok_or(MagnetError::NotMagnet)?;
        let (mut key, mut salt) = (None, None);
        for parameter in query.split(|byte| *byte == b'&') {
            let mut halves = parameter.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default();
            let value = halves.next().unwrap_or_default();
            if name.eq_ignore_ascii_case(b"xs") {
                let value = unescape(value)?;
                let Some(digits) = strip_prefix(&value, URN) else {
                    continue;
                };
                let read = hex::decode(digits).ok_or(MagnetError::MalformedKey)?;
                if key.replace(read).is_some() {
                    return Err(MagnetError::Duplicate("xs"));
                }
            } else if name.eq_ignore_ascii_case(b"s") {
                let digits = unescape(value)?;
                if digits.len() > 2 * SALT_LIMIT_BYTES {
                    return Err(MagnetError::SaltTooLong);
                }
                let mut read = vec![0; digits.len() / 2];
                if !hex::decode_into(&digits, &mut read) {
                    return Err(MagnetError::MalformedSalt);
                }
                if salt.replace(read).is_some() {
                    return Err(MagnetError::Duplicate("s"));
                }
            }
        }
        let key = key.ok_or(MagnetError::NoKey)?;
        let salt = salt.unwrap_or_default();
        Ok(Magnet { key, salt })
    }
}

/// What follows `prefix`, which is in letters of either case.
fn strip_prefix<'a>(text: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start
        .eq_ignore_ascii_case(prefix.as_bytes())
        .then_some(rest)
}

/// Percent-decodes (RFC 3986, section 2.1).
fn unescape(text: &[u8]) -> Result<Vec<u8>, MagnetError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest
            .split_at_checked(2)
            .ok_or(MagnetError::MalformedEscape)?;
        let [byte] = hex::decode(digits).ok_or(MagnetError::MalformedEscape)?;
        bytes.push(byte);
        rest = after;
    }
    Ok(bytes)
}

/// Appends the value that points to a torrent: a dictionary with its info-hash under `ih`.
pub fn write_pointer(out: &mut Vec<u8>, info_hash: Id) {
    bencode::write_dictionary(out, |value| value.bytes(b"ih", info_hash.as_bytes()));
}

/// The torrent that a value points to: that of `ih`, if there is exactly one and it is an info-hash.
pub fn read_pointer(value: Raw<'_>) -> Option<Id> {
    let mut decoder: Decoder<'_> = value.decoder();
    decoder.dictionary().ok()?;
    let mut info_hash = None;
    while let Some(key) = decoder.key().ok()? {
        let value = decoder.value().ok()?;
        if key == b"ih" && info_hash.replace(value).is_some() {
            return None;
        }
    }
    match info_hash? {
        Value::Bytes(bytes) => Id::from_slice(bytes),
        _ => None,
    }
}
