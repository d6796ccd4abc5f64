//! A node's table as it is kept on a disk: bencode behind a checksum. What was torn is refused as a whole; a node then
//! begins as one that is new, with an id and a table of its own making.

use crate::{
    Id, Mutant,
    bencode::{self, Decoder, Value},
    krpc::{Contact, ContactV4, ContactV6, Contacts, Endpoint},
};
use thiserror::Error;

/// What a file begins with: name, version of the form, end of line.
const MAGIC: &[u8; 8] = b"hfdht 1\n";
/// Bytes before the bencode: the magic, then a CRC-32C of what follows, big-endian.
const HEAD: usize = MAGIC.len() + 4;
/// Longest file that is read, bytes: some thousand contacts.
pub const SAVED_LIMIT_BYTES: usize = 256 << 10;

/// What a node knows of itself and others, to begin with the next time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Its id.
    pub id: Id,
    /// Nodes of the IPv4 DHT that answered.
    pub v4: Vec<ContactV4>,
    /// Nodes of the IPv6 DHT that answered.
    pub v6: Vec<ContactV6>,
}

/// A file is not what was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SavedError {
    /// It does not begin as one.
    #[error("not a saved DHT table")]
    NotOne,
    /// It is longer than any that is written.
    #[error("longer than {SAVED_LIMIT_BYTES} bytes")]
    TooLong,
    /// Its checksum is another: a write was torn, or a disk has lied.
    #[error("the checksum does not match")]
    Damaged,
    /// The checksum matches, and it says something else than a table.
    #[error("{0} is missing or malformed")]
    Malformed(&'static str),
}

impl Saved {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[0; 4]);
        bencode::write_dictionary(&mut out, |top| {
            top.bytes(b"id", self.id.as_bytes());
            top.bytes_with(b"nodes", self.v4.len() * ContactV4::LEN, |out| {
                self.v4.iter().for_each(|contact| contact.write(out));
            });
            top.bytes_with(b"nodes6", self.v6.len() * ContactV6::LEN, |out| {
                self.v6.iter().for_each(|contact| contact.write(out));
            });
        });
        let sum = crc32c::crc32c(&out[HEAD..]);
        out[MAGIC.len()..HEAD].copy_from_slice(&sum.to_be_bytes());
        out
    }

    /// Reads a file's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Saved, SavedError> {
        Saved::decode_planted(bytes, None)
    }

    /// The same, as a planted bug has it.
    pub fn decode_planted(bytes: &[u8], mutant: Option<Mutant>) -> Result<Saved, SavedError> {
        if bytes.len() > SAVED_LIMIT_BYTES {
            return Err(SavedError::TooLong);
        }
        let (head, body) = bytes.split_at_checked(HEAD).ok_or(SavedError::NotOne)?;
        let sum = head.strip_prefix(MAGIC).ok_or(SavedError::NotOne)?;
        let is_right = sum == crc32c::crc32c(body).to_be_bytes();
        if !is_right && !Mutant::TableUnchecked.is_in(mutant) {
            return Err(SavedError::Damaged);
        }
        let malformed = |_| SavedError::Malformed("the dictionary");
        let mut decoder = Decoder::new(body);
        decoder.dictionary().map_err(malformed)?;
        let (mut id, mut v4, mut v6) = (None, Vec::new(), Vec::new());
        while let Some(key) = decoder.key().map_err(malformed)? {
            match (key, decoder.value().map_err(malformed)?) {
                (b"id", Value::Bytes(bytes)) => id = Id::from_slice(bytes),
                (b"nodes", Value::Bytes(bytes)) => v4 = contacts(bytes),
                (b"nodes6", Value::Bytes(bytes)) => v6 = contacts(bytes),
                _ => {}
            }
        }
        decoder.finish().map_err(malformed)?;
        let id = id.ok_or(SavedError::Malformed("id"))?;
        Ok(Saved { id, v4, v6 })
    }
}

fn contacts<A: Endpoint>(bytes: &[u8]) -> Vec<Contact<A>> {
    Contacts::compact(bytes).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

    fn saved() -> Saved {
        let id = |byte| Id::new([byte; 20]);
        let v4 = (1..=9).map(|n| Contact {
            id: id(n),
            address: SocketAddrV4::new(Ipv4Addr::new(1, 2, 3, n), 6881),
        });
        let v6 = (1..=3).map(|n| Contact {
            id: id(n),
            address: SocketAddrV6::new(
                Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, n.into()),
                6881,
                0,
                0,
            ),
        });
        Saved {
            id: id(7),
            v4: v4.collect(),
            v6: v6.collect(),
        }
    }

    #[test]
    fn what_was_saved_is_read() {
        assert_eq!(Saved::decode(&saved().encode()), Ok(saved()));
    }

    #[test]
    fn whatever_was_torn_is_refused() {
        let whole = saved().encode();
        for length in 0..whole.len() {
            assert!(
                Saved::decode(&whole[..length]).is_err(),
                "{length} bytes of it"
            );
        }
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut other = whole.clone();
                other[place] ^= 1 << bit;
                assert!(Saved::decode(&other).is_err(), "byte {place}, bit {bit}");
            }
        }
        let long = vec![0; SAVED_LIMIT_BYTES + 1];
        assert_eq!(Saved::decode(&long), Err(SavedError::TooLong));
    }
}
