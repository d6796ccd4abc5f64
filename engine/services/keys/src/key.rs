use rand_chacha::rand_core::RngCore;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What every key begins with: secret scanners find keys that were published by it.
const PREFIX: &str = "hf_";
/// Crockford's base 32, in lower case: no letter that is taken for a digit, and a double click marks all of a key.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of an id: 60 bits. That two of a million keys have the same has odds of one in two million; a configuration
/// that lists both is refused.
const ID_LETTERS: usize = 12;
/// Letters of a secret: 256 bits, and 4 that are zero.
const SECRET_LETTERS: usize = 52;
/// Letters of the checksum: CRC-32C, and 3 bits that are zero.
const SUM_LETTERS: usize = 7;
/// Letters of a key.
const KEY_LETTERS: usize = PREFIX.len() + ID_LETTERS + 1 + SECRET_LETTERS + SUM_LETTERS;

/// The part of an API key that is no secret, and names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; ID_LETTERS]);

impl KeyId {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("its letters are ASCII")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is not a key's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key's id has {ID_LETTERS} letters and digits, as `engine keys new` prints it")]
pub struct MalformedId;

impl FromStr for KeyId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<KeyId, MalformedId> {
        let letters = text.as_bytes().try_into().map_err(|_| MalformedId)?;
        match text.bytes().all(|letter| ALPHABET.contains(&letter)) {
            true => Ok(KeyId(letters)),
            false => Err(MalformedId),
        }
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for KeyId {
    type Error = MalformedId;

    fn try_from(text: String) -> Result<KeyId, MalformedId> {
        text.parse()
    }
}

/// An API key: `hf_<id>_<secret and checksum>`.
///
/// Who has it is whoever it was given to, so it is shown once, when it is made, and a node remembers only its
/// [`KeyHash`]. The checksum tells a misspelt key from an unknown one, and spares the stores a look-up for noise.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    id: KeyId,
    text: String,
}

impl ApiKey {
    /// A key that nobody has yet. `rng` must be a host's: in production that is a cipher's stream (ChaCha) whose
    /// 256-bit seed the operating system drew.
    pub fn generate(rng: &mut impl RngCore) -> ApiKey {
        let mut bytes = [0; 40];
        rng.fill_bytes(&mut bytes);
        let (id, secret) = bytes.split_at(8);
        let id = encode(id, ID_LETTERS);
        let secret = encode(secret, SECRET_LETTERS);
        let unsummed = format!("{PREFIX}{id}_{secret}");
        let text = format!("{unsummed}{}", checksum(&unsummed));
        ApiKey {
            id: id.parse().expect("it was just written"),
            text,
        }
    }

    /// The part that is no secret.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// All of it. Handle with care: whoever reads it can do what its owner can.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What a node keeps of it.
    pub fn hash(&self) -> KeyHash {
        let hash = digest(&SHA256, self.text.as_bytes());
        KeyHash(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// Without the secret: debug output ends in logs.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({PREFIX}{}_...)", self.id)
    }
}

/// What is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    /// It does not look like one.
    #[error("an API key has {KEY_LETTERS} characters and begins with {PREFIX}")]
    Form,
    /// Its checksum is not its own: a letter is missing or wrong.
    #[error("the API key was misspelt or cut: its checksum is not its own")]
    Checksum,
}

impl FromStr for ApiKey {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<ApiKey, MalformedKey> {
        let is_key = text.len() == KEY_LETTERS && text.is_ascii();
        let rest = text.strip_prefix(PREFIX).filter(|_| is_key);
        let (id, secret) = rest
            .and_then(|rest| rest.split_once('_'))
            .ok_or(MalformedKey::Form)?;
        let id = id.parse().map_err(|_| MalformedKey::Form)?;
        if !secret.bytes().all(|letter| ALPHABET.contains(&letter)) {
            return Err(MalformedKey::Form);
        }
        let (unsummed, sum) = text.split_at(KEY_LETTERS - SUM_LETTERS);
        if checksum(unsummed) != sum {
            return Err(MalformedKey::Checksum);
        }
        Ok(ApiKey {
            id,
            text: text.to_owned(),
        })
    }
}

/// What a node keeps of a key: SHA-256 over its text, written `sha256:` and 64 hexadecimal digits.
///
/// A fast hash is enough here, and a slow one (as for passwords) would be a way to keep a node busy: the secret is 256
/// bits drawn at random, which nobody guesses however fast they can try. For the same reason there is no salt.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Whether it is that of `key`. Takes the same time whatever it is compared with.
    pub fn is_of(&self, key: &ApiKey) -> bool {
        let other = key.hash();
        let pairs = self.0.iter().zip(&other.0);
        // The barrier keeps the compiler from leaving at the first byte that differs.
        let differing = pairs.fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
        differing == 0
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What is not the hash of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key's hash is `sha256:` and 64 hexadecimal digits in lower case, as `engine keys new` prints it"
)]
pub struct MalformedHash;

impl FromStr for KeyHash {
    type Err = MalformedHash;

    fn from_str(text: &str) -> Result<KeyHash, MalformedHash> {
        let digits = text.strip_prefix("sha256:").ok_or(MalformedHash)?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 64 || !digits.bytes().all(is_hex) {
            return Err(MalformedHash);
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| MalformedHash)?;
        }
        Ok(KeyHash(hash))
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for KeyHash {
    type Error = MalformedHash;

    fn try_from(text: String) -> Result<KeyHash, MalformedHash> {
        text.parse()
    }
}

fn checksum(text: &str) -> String {
    encode(&crc32c::crc32c(text.as_bytes()).to_be_bytes(), SUM_LETTERS)
}

/// The first `letters` of `bytes` in base 32, most significant bit first; bits that are missing are zero.
fn encode(bytes: &[u8], letters: usize) -> String {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let letter = |at: usize| {
        let value = (0..5).fold(0, |value, n| value << 1 | bit(at * 5 + n));
        char::from(ALPHABET[usize::from(value)])
    };
    (0..letters).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
    use std::collections::BTreeSet;

    fn key(seed: u64) -> ApiKey {
        ApiKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
    }

    /// RFC 4648, §10, with Crockford's letters in the place of its own.
    #[test]
    fn base_32_is_that_of_the_rfc() {
        for (bytes, rfc) in [("f", "MY"), ("fo", "MZXQ"), ("foobar", "MZXW6YTBOI")] {
            let place = |letter: &u8| {
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
                    .iter()
                    .position(|l| l == letter)
            };
            let expected = rfc.as_bytes().iter().map(place);
            let expected: String = expected
                .map(|at| char::from(ALPHABET[at.expect("a letter")]))
                .collect();
            assert_eq!(encode(bytes.as_bytes(), rfc.len()), expected);
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let made = key(seed);
            let text = made.reveal();
            assert_eq!(text.len(), KEY_LETTERS);
            assert_eq!(text.parse::<ApiKey>(), Ok(made.clone()));
            assert_eq!(&text[3..15], made.id().as_str());
            assert!(seen.insert(made.id()) && made.hash().is_of(&made));
            assert!(!made.hash().is_of(&key(seed + 1)));
            let hash = made.hash();
            assert_eq!(hash.to_string().parse(), Ok(hash));
            let shown = format!("{made:?}");
            assert!(!shown.contains(&text[20..]), "{shown}");
        }
    }

    /// `printf %s KEY | sha256sum` makes the line of the configuration.
    #[test]
    fn the_hash_is_sha_256_of_the_text() {
        let text = "hf_000000000000_0000000000000000000000000000000000000000000000000000";
        let key: ApiKey = format!("{text}{}", checksum(text)).parse().expect("a key");
        assert_eq!(key.reveal(), HASHED);
        assert_eq!(key.hash().to_string(), HASH);
    }

    const HASHED: &str =
        "hf_000000000000_0000000000000000000000000000000000000000000000000000ba7h8mr";
    const HASH: &str = "sha256:21b5cac4b8f0cc30e40312bcbec05cf5e9936299eb11aefcd4a32d1a77be9d12";

    #[test]
    fn no_misspelt_key_is_taken() {
        let good = key(1).reveal().to_owned();
        for at in 0..good.len() {
            for letter in [b'0', b'1', b'z', b'_', b'A', b' '] {
                let mut bad = good.clone().into_bytes();
                if bad[at] == letter {
                    continue;
                }
                bad[at] = letter;
                let bad = String::from_utf8(bad).expect("ASCII");
                assert!(bad.parse::<ApiKey>().is_err(), "{bad}");
            }
        }
        let (cut, longer) = (&good[..good.len() - 1], format!("{good}0"));
        for bad in ["", "hf_", cut, &longer, &good.to_uppercase()] {
            assert_eq!(bad.parse::<ApiKey>(), Err(MalformedKey::Form), "{bad}");
        }
    }

    #[test]
    fn ids_and_hashes_are_read_strictly() {
        for bad in [
            "",
            "00000000000",
            "0000000000000",
            "00000000000l",
            "00000000000A",
            "0000000000é",
        ] {
            assert_eq!(bad.parse::<KeyId>(), Err(MalformedId), "{bad}");
        }
        let digits = "0".repeat(64);
        let of = |text: String| text.parse::<KeyHash>();
        assert!(of(format!("sha256:{digits}")).is_ok());
        for bad in [
            digits.clone(),
            format!("sha1:{digits}"),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{}+", &digits[1..]),
            format!("sha256:{}A", &digits[1..]),
            format!("sha256:{}é", &digits[2..]),
        ] {
            assert_eq!(of(bad.clone()), Err(MalformedHash), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "(hf_)?(sha256:)?[0-9a-z_]{0,80}\\PC{0,4}") {
            let _ = (text.parse::<ApiKey>(), text.parse::<KeyId>(), text.parse::<KeyHash>());
        }
    }
}
