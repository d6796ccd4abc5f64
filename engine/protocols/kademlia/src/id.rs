//! Identifiers of nodes and of what is stored, and the distance between them.

use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// An identifier of 160 bits: of a node, a torrent or an item (BEP 5, "Overview"). The first byte is the most
/// significant one, and ids are ordered as the numbers that they are.
///
/// It is shown, read and, in formats for people, serialized as 40 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Id([u8; Id::LEN]);

impl Id {
    /// Bytes in an id.
    pub const LEN: usize = 20;
    /// Bits in an id.
    pub const BITS: u32 = 160;
    /// The smallest id.
    pub const ZERO: Id = Id([0; Id::LEN]);
    /// The largest id.
    pub const MAX: Id = Id([0xff; Id::LEN]);

    /// The id of these bytes.
    pub const fn new(bytes: [u8; Id::LEN]) -> Id {
        Id(bytes)
    }

    /// The id that `bytes` are, if there are 20 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Id> {
        bytes.try_into().ok().map(Id)
    }

    /// Its bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; Id::LEN] {
        &self.0
    }

    /// An id of which every bit is drawn from `rng`.
    pub fn random(rng: &mut impl Rng) -> Id {
        let mut bytes = [0; Id::LEN];
        rng.fill_bytes(&mut bytes);
        Id(bytes)
    }

    /// An id whose first `bits` bits are those of `self`; the rest is drawn from `rng`. From 160 on it is `self`.
    ///
    /// All ids of a bucket share such a prefix: this is how a bucket's refresh chooses its target (BEP 5, "Routing
    /// Table").
    pub fn random_with_prefix(self, bits: u32, rng: &mut impl Rng) -> Id {
        let random = Id::random(rng);
        let mut bytes = self.0;
        for (i, byte) in bytes.iter_mut().enumerate() {
            let kept = bits.saturating_sub(i as u32 * 8).min(8);
            // Of a byte the first `kept` bits; the shift by eight is none of `u8`'s.
            let mask = (0xff00_u16 >> kept) as u8;
            *byte = (*byte & mask) | (random.0[i] & !mask);
        }
        Id(bytes)
    }

    /// An id that shares exactly the first `bits` bits with `self` and differs in the next one; the rest is drawn from
    /// `rng`. There is none from 160 bits on.
    pub fn random_at_depth(self, bits: u32, rng: &mut impl Rng) -> Option<Id> {
        (bits < Id::BITS).then(|| self.with_flipped(bits).random_with_prefix(bits + 1, rng))
    }

    /// Bit `index`, of which 0 is the most significant one.
    ///
    /// # Panics
    ///
    /// If `index` is 160 or more.
    pub fn bit(self, index: u32) -> bool {
        assert!(index < Id::BITS, "an id has 160 bits");
        self.0[index as usize / 8] & (0x80 >> (index % 8)) != 0
    }

    /// The id that differs from `self` in bit `index` alone.
    ///
    /// # Panics
    ///
    /// If `index` is 160 or more.
    pub fn with_flipped(mut self, index: u32) -> Id {
        assert!(index < Id::BITS, "an id has 160 bits");
        self.0[index as usize / 8] ^= 0x80 >> (index % 8);
        self
    }

    /// How far apart two ids are: their exclusive or, as a number (BEP 5, "Overview").
    pub fn distance(self, other: Id) -> Distance {
        let (a, b) = (self.words(), other.words());
        Distance(a.0 ^ b.0, a.1 ^ b.1, a.2 ^ b.2)
    }

    /// How many of the first bits two ids have in common, 160 if they are the same.
    pub fn shared_bits(self, other: Id) -> u32 {
        self.distance(other).leading_zeros()
    }

    /// As three big-endian numbers, which compare and combine in a few instructions.
    fn words(self) -> (u64, u64, u32) {
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.0;
        let high = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let [a, b, c, d, e, f, g, h, low @ ..] = rest;
        let middle = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        (high, middle, u32::from_be_bytes(low))
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Id) -> std::cmp::Ordering {
        self.words().cmp(&other.words())
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Id) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl From<[u8; Id::LEN]> for Id {
    fn from(bytes: [u8; Id::LEN]) -> Id {
        Id(bytes)
    }
}

impl AsRef<[u8]> for Id {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an id is 40 hexadecimal digits")]
pub struct IdError;

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Id, IdError> {
        crate::hex::decode(text.as_bytes()).map(Id).ok_or(IdError)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        match deserializer.is_human_readable() {
            true => String::deserialize(deserializer)?
                .parse()
                .map_err(de::Error::custom),
            false => <[u8; Id::LEN]>::deserialize(deserializer).map(Id),
        }
    }
}

/// How far apart two ids are. Distances are ordered as numbers; smaller is closer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance(u64, u64, u32);

impl Distance {
    /// That of an id to itself.
    pub const ZERO: Distance = Distance(0, 0, 0);
    /// The largest one.
    pub const MAX: Distance = Distance(u64::MAX, u64::MAX, u32::MAX);

    /// How many of its first bits are zero: what two ids have in common, from 0 to 160.
    pub fn leading_zeros(self) -> u32 {
        match self {
            Distance(0, 0, low) => 128 + low.leading_zeros(),
            Distance(0, middle, _) => 64 + middle.leading_zeros(),
            Distance(high, _, _) => high.leading_zeros(),
        }
    }

    /// The id that is this far from `id`.
    pub fn from(self, id: Id) -> Id {
        let (high, middle, low) = id.words();
        let mut bytes = [0; Id::LEN];
        bytes[..8].copy_from_slice(&(high ^ self.0).to_be_bytes());
        bytes[8..16].copy_from_slice(&(middle ^ self.1).to_be_bytes());
        bytes[16..].copy_from_slice(&(low ^ self.2).to_be_bytes());
        Id(bytes)
    }

    /// It as a fraction of the id space, from 0 to below 1, rounded to what an `f64` can hold. For estimates of how
    /// many nodes there are.
    pub fn fraction(self) -> f64 {
        // The first 53 bits are exact; what is below them cannot change the result.
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
