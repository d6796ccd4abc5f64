//! The key of a cluster, and the name that its item has in the DHT.

use holdfast_kademlia::{
    Id,
    item::{SecretKey, mutable_target},
};
use serde::{Deserialize, Deserializer, de};
use std::{
    fmt::{self, Write as _},
    str::FromStr,
};

/// Whom to believe about where a cluster's members are: an ed25519 public key (BEP 44). Written as 64 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClusterKey(pub [u8; 32]);

/// What is no key, or no seed of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster's key is 64 hexadecimal digits")]
pub struct MalformedClusterKey;

impl FromStr for ClusterKey {
    type Err = MalformedClusterKey;

    fn from_str(text: &str) -> Result<ClusterKey, MalformedClusterKey> {
        digits(text.as_bytes()).map(ClusterKey)
    }
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for ClusterKey {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<ClusterKey, D::Error> {
        String::deserialize(de)?.parse().map_err(de::Error::custom)
    }
}

/// The secret of a cluster's key, of which its file keeps the seed (RFC 8032, section 5.1.5). Never shown.
pub struct ClusterSecret {
    key: SecretKey,
}

impl ClusterSecret {
    /// The one of a file with 64 hexadecimal digits, white space around them aside.
    pub fn parse(text: &[u8]) -> Result<ClusterSecret, MalformedClusterKey> {
        let seed = digits(text.trim_ascii())?;
        Ok(ClusterSecret::from_seed(&seed))
    }

    /// The one of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> ClusterSecret {
        ClusterSecret {
            key: SecretKey::from_seed(seed),
        }
    }

    /// What others know it by.
    pub fn public(&self) -> ClusterKey {
        ClusterKey(*self.key.public())
    }

    pub(super) fn secret(&self) -> &SecretKey {
        &self.key
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterSecret({})", self.public())
    }
}

/// Digits of a seed, as its file has them.
pub fn seed_digits(seed: &[u8; 32]) -> String {
    seed.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}

fn digits(text: &[u8]) -> Result<[u8; 32], MalformedClusterKey> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return Err(MalformedClusterKey);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(MalformedClusterKey);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Ok(bytes)
}

/// The name of a cluster's item: its key, and a salt made of the cluster's identity. One key may serve many clusters,
/// and none takes the item of another for its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemName {
    /// Whose signature it has.
    pub key: ClusterKey,
    /// Its salt, which is text.
    pub salt: String,
}

impl ItemName {
    /// That of the cluster with this [identity](crate::config::ClusterSection::identity).
    pub fn new(key: ClusterKey, cluster: u64) -> ItemName {
        ItemName {
            key,
            salt: format!("holdfast.members.{cluster:016x}"),
        }
    }

    /// What it is stored under.
    pub fn target(&self) -> Id {
        mutable_target(&self.key.0, self.salt.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_seeds_are_64_digits() {
        let seed = [0xa5; 32];
        let text = format!("\n{}\n", seed_digits(&seed));
        let secret = ClusterSecret::parse(text.as_bytes()).expect("a seed");
        let public = secret.public();
        assert_eq!(public, ClusterSecret::from_seed(&seed).public());
        assert_eq!(public.to_string().parse(), Ok(public));
        assert!(!format!("{secret:?}").contains("a5a5"));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert_eq!(bad.parse::<ClusterKey>(), Err(MalformedClusterKey));
            assert!(ClusterSecret::parse(bad.as_bytes()).is_err());
        }
    }

    #[test]
    fn clusters_of_one_key_have_items_of_their_own() {
        let key = ClusterSecret::from_seed(&[1; 32]).public();
        let names = [1, 2].map(|cluster| ItemName::new(key, cluster));
        assert_ne!(names[0].target(), names[1].target());
        assert!(names[0].salt.len() <= holdfast_kademlia::item::SALT_LIMIT_BYTES);
    }
}
