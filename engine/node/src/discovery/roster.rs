//! What a cluster's item says: who its members are, and where each may be found.
//!
//! ```text
//! value  = d 1:m list-of-members 1:v i1e e        bencode, canonical, at most 1,000 bytes (BEP 44)
//! member = l number peer-address client-address e  addresses `host:port`; an empty one is not known
//! ```
//! All of it is in one item. A second page under another salt would change at another time than the first, and a reader
//! could not tell a list that is in pieces from one that is short; and a group that replicates a log has few members.

use super::key::{ClusterSecret, ItemName};
use holdfast_kademlia::{
    bencode::{Decoder, Raw, Value, write_dictionary},
    item::{ItemError, MutableItem, VALUE_LIMIT_BYTES},
};
use std::collections::{BTreeMap, BTreeSet};

/// The form of the value.
const VERSION: i64 = 1;
/// Most members of a list. What 1,000 bytes hold is 17 with addresses of IPv4 as long as can be.
pub const MAX_MEMBERS: usize = 32;
/// Longest address, `host:port`: that of the longest name (RFC 1035, section 2.3.4) and a port.
const MAX_ADDRESS_BYTES: usize = 259;

/// Where a member may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where it listens for its peers, `host:port`, when that is known.
    pub peer: Option<String>,
    /// Where it listens for clients, `host:port`, when that is known.
    pub client: Option<String>,
}

/// The members of a cluster, all of them, and where they may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    members: BTreeMap<u64, Addresses>,
}

/// Why a value is no list of members, or a list no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// It is not of the form above.
    #[error("the value is no list of members")]
    Malformed,
    /// It is of another version of this program.
    #[error("the list of members has version {0}; this program knows version {VERSION}")]
    OtherVersion(i64),
    /// There are none, or more than [`MAX_MEMBERS`].
    #[error("a list of {0} members; there must be from 1 to {MAX_MEMBERS}")]
    Count(usize),
    /// A number that names nobody, or names two.
    #[error(
        "the list of members has the number {0} where it cannot be: they start at 1 and ascend"
    )]
    Number(i64),
    /// An address that is none.
    #[error("member {member} has an address that is no `host:port`")]
    Address {
        /// Whose.
        member: u64,
    },
    /// Two members have the same address for their peers.
    #[error("two members have one address for their peers, that of member {member}")]
    SharedAddress {
        /// The second of them.
        member: u64,
    },
    /// It does not fit into an item.
    #[error(
        "the list of {members} members takes {bytes} bytes, of {VALUE_LIMIT_BYTES} at most: use shorter addresses"
    )]
    TooLong {
        /// How many there are.
        members: usize,
        /// What it takes.
        bytes: usize,
    },
}

impl Roster {
    /// Of these members.
    pub fn new(members: BTreeMap<u64, Addresses>) -> Result<Roster, RosterError> {
        if !(1..=MAX_MEMBERS).contains(&members.len()) {
            return Err(RosterError::Count(members.len()));
        }
        let mut taken = BTreeSet::new();
        for (&member, addresses) in &members {
            if i64::try_from(member).is_err() || member == 0 {
                return Err(RosterError::Number(member as i64));
            }
            let (peer, client) = (addresses.peer.as_deref(), addresses.client.as_deref());
            if !peer.is_none_or(is_address) || !client.is_none_or(is_address) {
                return Err(RosterError::Address { member });
            }
            if peer.is_some_and(|peer| !taken.insert(peer)) {
                return Err(RosterError::SharedAddress { member });
            }
        }
        Ok(Roster { members })
    }

    /// The members by their numbers.
    pub fn members(&self) -> &BTreeMap<u64, Addresses> {
        &self.members
    }

    /// Whether it lists exactly these.
    pub fn lists(&self, members: &BTreeSet<u64>) -> bool {
        self.members.keys().eq(members)
    }

    /// The same with other addresses of one member, who is listed.
    pub(super) fn with(&self, member: u64, addresses: Addresses) -> Result<Roster, RosterError> {
        let mut members = self.members.clone();
        // Who was at that address before is not there any more; where he is now he says himself.
        for known in members.values_mut() {
            known
                .peer
                .take_if(|peer| addresses.peer.as_ref() == Some(peer));
        }
        members.insert(member, addresses);
        Roster::new(members)
    }

    /// As a value.
    pub fn encode(&self) -> Result<Vec<u8>, RosterError> {
        let mut value = Vec::new();
        write_dictionary(&mut value, |value| {
            value.list(b"m", |list| {
                for (&member, addresses) in &self.members {
                    list.list(|entry| {
                        entry.integer(member as i64);
                        for address in [&addresses.peer, &addresses.client] {
                            let text = address.as_deref().unwrap_or_default();
                            entry.bytes(text.as_bytes());
                        }
                    });
                }
            });
            value.integer(b"v", VERSION);
        });
        match value.len() {
            bytes if bytes > VALUE_LIMIT_BYTES => Err(RosterError::TooLong {
                members: self.members.len(),
                bytes,
            }),
            _ => Ok(value),
        }
    }

    /// Reads a value; keys that are not known are passed over, so that a later program may say more.
    pub fn decode(value: &[u8]) -> Result<Roster, RosterError> {
        let (mut members, mut version) = (None, None);
        read_dictionary(value, |key, found| {
            match (key, found) {
                (b"m", Value::List(list)) => members = Some(list),
                (b"v", Value::Integer(number)) => version = number.to_i64(),
                (b"m" | b"v", _) => return None,
                _ => {}
            }
            Some(())
        })
        .ok_or(RosterError::Malformed)?;
        match version.ok_or(RosterError::Malformed)? {
            VERSION => {}
            other => return Err(RosterError::OtherVersion(other)),
        }
        let list = members.ok_or(RosterError::Malformed)?;
        Roster::new(read_members(list)?)
    }
}

fn read_dictionary<'a>(
    value: &'a [u8],
    mut entry: impl FnMut(&'a [u8], Value<'a>) -> Option<()>,
) -> Option<()> {
    let mut decoder = Decoder::new(value);
    decoder.dictionary().ok()?;
    while let Some(key) = decoder.key().ok()? {
        entry(key, decoder.value().ok()?)?;
    }
    decoder.finish().ok()
}

fn read_members(list: Raw<'_>) -> Result<BTreeMap<u64, Addresses>, RosterError> {
    let malformed = |_| RosterError::Malformed;
    let mut decoder = list.decoder();
    decoder.list().map_err(malformed)?;
    let mut members: BTreeMap<u64, Addresses> = BTreeMap::new();
    while let Some(entry) = decoder.element().map_err(malformed)? {
        let (number, addresses) = read_member(entry).ok_or(RosterError::Malformed)?;
        let last = members.last_key_value().map_or(0, |(last, _)| *last);
        let number = match u64::try_from(number) {
            Ok(member) if member > last => member,
            _ => return Err(RosterError::Number(number)),
        };
        members.insert(number, addresses);
        if members.len() > MAX_MEMBERS {
            return Err(RosterError::Count(members.len()));
        }
    }
    Ok(members)
}

fn read_member(entry: Value<'_>) -> Option<(i64, Addresses)> {
    let Value::List(entry) = entry else {
        return None;
    };
    let mut decoder = entry.decoder();
    decoder.list().ok()?;
    let (Value::Integer(number), Value::Bytes(peer), Value::Bytes(client)) = (
        decoder.element().ok()??,
        decoder.element().ok()??,
        decoder.element().ok()??,
    ) else {
        return None;
    };
    let known = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        Some((!text.is_empty()).then(|| text.to_owned()))
    };
    let (peer, client) = (known(peer)?, known(client)?);
    Some((number.to_i64()?, Addresses { peer, client }))
}

/// Whether a text is `host:port`, an IPv6 address in brackets.
pub fn is_address(text: &str) -> bool {
    let Some((name, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_name = match name.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0);
    is_name && !name.is_empty() && is_port && text.len() <= MAX_ADDRESS_BYTES
}

/// A list of members with the signature that makes it a cluster's item; the signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRoster {
    roster: Roster,
    sequence: i64,
    value: Vec<u8>,
    signature: [u8; 64],
}

impl SignedRoster {
    /// Signs one.
    pub fn sign(
        secret: &ClusterSecret,
        name: &ItemName,
        sequence: i64,
        roster: Roster,
    ) -> Result<SignedRoster, SignError> {
        let value = roster.encode()?;
        let raw = Raw::parse(&value).expect("it was written just now");
        let signed = secret.secret().sign(name.salt.as_bytes(), sequence, raw);
        let signature = signed?;
        Ok(SignedRoster {
            roster,
            sequence,
            value,
            signature,
        })
    }

    /// Reads one whose signature was checked by whoever found it.
    pub fn of_checked(
        value: Vec<u8>,
        sequence: i64,
        signature: [u8; 64],
    ) -> Result<SignedRoster, RosterError> {
        let roster = Roster::decode(&value)?;
        Ok(SignedRoster {
            roster,
            sequence,
            value,
            signature,
        })
    }

    /// What it says.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Which one of the cluster's it is; the highest counts.
    pub fn sequence(&self) -> i64 {
        self.sequence
    }

    /// Whether this key's holder has signed it, as an item of this name.
    pub fn is_signed_for(&self, name: &ItemName) -> bool {
        let Ok(value) = Raw::parse(&self.value) else {
            return false;
        };
        let item = MutableItem {
            key: &name.key.0,
            salt: name.salt.as_bytes(),
            sequence: self.sequence,
            value,
            signature: &self.signature,
        };
        item.verify().is_ok()
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.value
    }

    pub(super) fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// As a file keeps it: what the DHT says of an item, in bencode.
    pub(super) fn to_file(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_dictionary(&mut bytes, |file| {
            file.integer(b"seq", self.sequence);
            file.bytes(b"sig", &self.signature);
            file.bytes(b"v", &self.value);
        });
        bytes
    }

    /// Reads such a file. The signature stands for a checksum, too.
    pub(super) fn from_file(bytes: &[u8], name: &ItemName) -> Option<SignedRoster> {
        let (mut sequence, mut signature, mut value) = (None, None, None);
        read_dictionary(bytes, |key, found| {
            match (key, found) {
                (b"seq", Value::Integer(number)) => sequence = number.to_i64(),
                (b"sig", Value::Bytes(bytes)) => signature = bytes.try_into().ok(),
                (b"v", Value::Bytes(bytes)) => value = Some(bytes),
                _ => return None,
            }
            Some(())
        })?;
        let signed = SignedRoster::of_checked(value?.to_vec(), sequence?, signature?).ok()?;
        signed.is_signed_for(name).then_some(signed)
    }
}

/// Why a list is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// It is no value of an item.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// It would be refused everywhere.
    #[error(transparent)]
    Item(#[from] ItemError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(peer: &str, client: Option<&str>) -> Addresses {
        Addresses {
            peer: Some(peer.to_owned()),
            client: client.map(str::to_owned),
        }
    }

    fn three() -> Roster {
        let members = BTreeMap::from([
            (1, addresses("10.0.0.1:7481", Some("10.0.0.1:7480"))),
            (2, addresses("[fd00::2]:7481", None)),
            (
                7,
                addresses("seven.example:7481", Some("seven.example:443")),
            ),
        ]);
        Roster::new(members).expect("a list")
    }

    #[test]
    fn a_list_survives_its_value() {
        let value = three().encode().expect("it fits");
        assert_eq!(
            String::from_utf8_lossy(&value),
            "d1:mlli1e13:10.0.0.1:748113:10.0.0.1:7480eli2e14:[fd00::2]:74810:eli7e18:seven.example:7481\
             17:seven.example:443ee1:vi1ee"
        );
        assert!(Raw::parse(&value).expect("bencode").is_canonical());
        assert_eq!(Roster::decode(&value), Ok(three()));
    }

    #[test]
    fn garbage_has_a_name() {
        let check = |value: &str, error: RosterError| {
            assert_eq!(Roster::decode(value.as_bytes()), Err(error), "{value}");
        };
        for garbage in [
            "",
            "5:hello",
            "de",
            "d1:mle",
            "d1:v",
            "d1:mi1e1:vi1ee",
            "d1:mli1ee1:vi1ee",
            "d1:mlli1e3:a:1ee1:vi1ee",
            "d1:mlli1e3:a:10:ee1:v1:1e",
        ] {
            check(garbage, RosterError::Malformed);
        }
        check("d1:mlli1e3:a:10:ee1:vi2ee", RosterError::OtherVersion(2));
        check("d1:mle1:vi1ee", RosterError::Count(0));
        check("d1:mlli0e3:a:10:ee1:vi1ee", RosterError::Number(0));
        check("d1:mlli-1e3:a:10:ee1:vi1ee", RosterError::Number(-1));
        check(
            "d1:mlli2e3:a:10:eli1e3:b:10:ee1:vi1ee",
            RosterError::Number(1),
        );
        check(
            "d1:mlli1e3:a:10:eli1e3:b:10:ee1:vi1ee",
            RosterError::Number(1),
        );
        check(
            "d1:mlli1e3:a:10:eli2e3:a:10:ee1:vi1ee",
            RosterError::SharedAddress { member: 2 },
        );
        for address in ["a", "a:", ":1", "a:0", "a:65536", "a b:1", "[x]:1", "::1:1"] {
            let value = format!("d1:mlli3e{}:{address}0:ee1:vi1ee", address.len());
            check(&value, RosterError::Address { member: 3 });
        }
        let many: String = (1..=40).map(|n| format!("li{n}e4:a:{n:02}0:e")).collect();
        check(&format!("d1:ml{many}e1:vi1ee"), RosterError::Count(33));
        // What a later program adds is passed over.
        let more = "d1:a3:new1:mlli1e3:a:10:ee1:vi1ee";
        assert!(Roster::decode(more.as_bytes()).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_cut() {
        let of = |count: u64| {
            let member = |n| {
                let address = |port| format!("255.255.255.255:{}", port + n);
                (n, addresses(&address(60_000), Some(&address(50_000))))
            };
            Roster::new((101..101 + count).map(member).collect()).expect("few enough")
        };
        assert!(of(17).encode().expect("it fits").len() <= VALUE_LIMIT_BYTES);
        let refused = of(32).encode();
        assert!(
            matches!(refused, Err(RosterError::TooLong { members: 32, bytes }) if bytes > 1_000),
            "{refused:?}"
        );
    }

    #[test]
    fn an_address_has_one_owner() {
        let moved = three()
            .with(7, addresses("10.0.0.1:7481", None))
            .expect("a list");
        let peer = |member| moved.members()[&member].peer.as_deref();
        assert_eq!([peer(1), peer(7)], [None, Some("10.0.0.1:7481")]);
        let value = moved.encode().expect("it fits");
        assert_eq!(Roster::decode(&value), Ok(moved));
    }

    #[test]
    fn a_file_is_believed_by_its_signature() {
        let secret = ClusterSecret::from_seed(&[3; 32]);
        let name = ItemName::new(secret.public(), 9);
        let signed = SignedRoster::sign(&secret, &name, 5, three()).expect("signed");
        let file = signed.to_file();
        assert_eq!(SignedRoster::from_file(&file, &name), Some(signed));
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(SignedRoster::from_file(&damaged, &name), None, "byte {at}");
            assert_eq!(SignedRoster::from_file(&file[..at], &name), None);
        }
        let other = ItemName::new(secret.public(), 10);
        assert_eq!(SignedRoster::from_file(&file, &other), None);
    }
}
