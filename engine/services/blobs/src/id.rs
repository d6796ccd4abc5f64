use holdfast_kademlia::Id;
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// What a blob is called: the SHA-256 of its bytes (FIPS 180-4). Written as 64 hexadecimal digits in lower case, as
/// `sha256sum` writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 32]);

/// What is no blob's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob's id is the SHA-256 of its bytes: 64 hexadecimal digits in lower case")]
pub struct MalformedBlobId;

impl BlobId {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> BlobId {
        BlobId(Sha256::digest(bytes).into())
    }

    /// Under which key of the DHT its providers are: its first 20 bytes, which is all that a key has room for. That two
    /// blobs share them takes 2^80 attempts, and does no harm: a provider of the other is one that has not got this
    /// one.
    pub fn key(self) -> Id {
        let (first, _) = self.0.split_first_chunk::<20>().expect("it has 32");
        Id::new(*first)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobId {
    type Err = MalformedBlobId;

    /// Lower case only: a blob has one name, and one file.
    fn from_str(text: &str) -> Result<BlobId, MalformedBlobId> {
        let mut id = [0; 32];
        if text.len() != 2 * id.len() {
            return Err(MalformedBlobId);
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(MalformedBlobId),
        };
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(BlobId(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_sha256sum_says() {
        let id = BlobId::of(b"abc");
        // FIPS 180-2, appendix B.1.
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(id.key().to_string(), text[..40]);
        for bad in [
            "",
            &text[1..],
            &text.to_uppercase(),
            &text.replace('b', "g"),
        ] {
            assert_eq!(bad.parse::<BlobId>(), Err(MalformedBlobId), "{bad}");
        }
    }
}
