//! Queries.

use super::{
    Envelope, KEY_LEN, Problem, SIGNATURE_LEN, array, bytes, flag, id, integer, raw, select, token,
};
use crate::bencode::{Dictionary, Raw, Value};
use crate::item::{SALT_LIMIT_BYTES, VALUE_LIMIT_BYTES};
use crate::{CodecMutant, Id};
use std::net::SocketAddr;
use std::num::NonZeroU16;

/// A query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// Who asks.
    pub id: Id,
    /// Who asks answers no queries, and belongs into no routing table (BEP 43).
    pub is_read_only: bool,
    /// What is asked for.
    pub call: Call<'a>,
}

/// What a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Whether the node is there (BEP 5).
    Ping,
    /// The nodes closest to an id (BEP 5).
    FindNode {
        /// The id.
        target: Id,
        /// Of which families (BEP 32).
        want: Option<Want>,
    },
    /// The peers of a torrent, or the nodes closest to it (BEP 5).
    GetPeers {
        /// The torrent.
        info_hash: Id,
        /// Nodes of which families (BEP 32).
        want: Option<Want>,
        /// Rather peers that are no seeds (BEP 33).
        no_seeds: bool,
        /// With Bloom filters of all seeds and peers (BEP 33).
        scrape: bool,
    },
    /// The sender is a peer of a torrent (BEP 5).
    AnnouncePeer {
        /// The torrent.
        info_hash: Id,
        /// Where it is a peer.
        port: AnnouncedPort,
        /// What the node gave it in reply to `get_peers`.
        token: &'a [u8],
        /// It has all of the torrent (BEP 33).
        is_seed: bool,
    },
    /// An item (BEP 44).
    Get {
        /// What it is stored under.
        target: Id,
        /// Only a value with a higher sequence number is of interest.
        sequence: Option<i64>,
        /// Nodes of which families; BEP 44 does not say, libtorrent does it.
        want: Option<Want>,
    },
    /// Store an item (BEP 44).
    Put(Put<'a>),
    /// A sample of the torrents that the node has peers of (BEP 51).
    SampleInfohashes {
        /// Nodes closest to this id are wanted too.
        target: Id,
        /// Nodes of which families.
        want: Option<Want>,
    },
    /// Another query, with a `target` or an `info_hash`. Answered like `find_node`, so that lookups of later extensions
    /// can pass through nodes that do not know them.
    Unknown {
        /// Its name.
        method: &'a [u8],
        /// What it is about.
        target: Id,
        /// Nodes of which families.
        want: Option<Want>,
    },
}

/// An item to store (BEP 44, "put message").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put<'a> {
    /// What the node gave in reply to `get`.
    pub token: &'a [u8],
    /// The value, in at most [`VALUE_LIMIT_BYTES`] of canonical bencode.
    pub value: Raw<'a>,
    /// What a mutable item has besides; an immutable one has nothing.
    pub mutable: Option<MutablePut<'a>>,
}

/// What makes an item mutable (BEP 44, "Mutable Items"). Nobody has looked yet whether the signature is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutablePut<'a> {
    /// The ed25519 key of whoever may change it.
    pub key: &'a [u8; KEY_LEN],
    /// Tells items of one key apart, in at most [`SALT_LIMIT_BYTES`]. Empty is the same as none.
    pub salt: &'a [u8],
    /// It grows with every change, and is never negative.
    pub sequence: i64,
    /// The ed25519 signature over salt, sequence number and value.
    pub signature: &'a [u8; SIGNATURE_LEN],
    /// Store it only over this sequence number.
    pub cas: Option<i64>,
}

/// The families whose nodes are wanted (BEP 32, "want").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Want {
    /// `n4`: nodes of the IPv4 DHT.
    pub ipv4: bool,
    /// `n6`: nodes of the IPv6 DHT.
    pub ipv6: bool,
}

impl Want {
    /// Nodes of the IPv4 DHT.
    pub const IPV4: Want = Want {
        ipv4: true,
        ipv6: false,
    };
    /// Nodes of the IPv6 DHT.
    pub const IPV6: Want = Want {
        ipv4: false,
        ipv6: true,
    };
    /// Nodes of both.
    pub const BOTH: Want = Want {
        ipv4: true,
        ipv6: true,
    };

    /// What a query is answered with that came from `source` and says nothing about it: nodes of its own family.
    pub fn of_source(source: SocketAddr) -> Want {
        match source {
            SocketAddr::V4(_) => Want::IPV4,
            SocketAddr::V6(_) => Want::IPV6,
        }
    }

    fn read(value: Option<Value<'_>>) -> Result<Option<Want>, Problem> {
        let list = match value {
            Some(Value::List(list)) => list,
            Some(_) => return Err(Problem::WrongType("want")),
            None => return Ok(None),
        };
        let mut want = Want::default();
        let mut decoder = list.decoder();
        decoder.list()?;
        while let Some(element) = decoder.element()? {
            match element {
                Value::Bytes(b"n4") => want.ipv4 = true,
                Value::Bytes(b"n6") => want.ipv6 = true,
                // "Other strings may be present in the list, and must be silently ignored."
                _ => {}
            }
        }
        Ok(Some(want))
    }

    fn write(want: Option<Want>, arguments: &mut Dictionary<'_, '_>) {
        let Some(want) = want else { return };
        arguments.list(b"want", |list| {
            if want.ipv4 {
                list.bytes(b"n4");
            }
            if want.ipv6 {
                list.bytes(b"n6");
            }
        });
    }
}

/// The port at which a peer is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnnouncedPort {
    /// This one.
    Given(NonZeroU16),
    /// The one that the datagram came from (`implied_port`).
    Implied {
        /// What nodes take that do not know `implied_port`; it is ignored by all others.
        fallback: Option<NonZeroU16>,
    },
}

impl AnnouncedPort {
    /// The peer's port, in an announcement from `source`. There is none if the datagram came from port 0.
    pub fn resolve(self, source: SocketAddr) -> Option<NonZeroU16> {
        match self {
            AnnouncedPort::Given(port) => Some(port),
            AnnouncedPort::Implied { .. } => NonZeroU16::new(source.port()),
        }
    }

    fn read(
        port: Option<Value<'_>>,
        implied: Option<Value<'_>>,
        planted: Option<CodecMutant>,
    ) -> Result<AnnouncedPort, Problem> {
        if CodecMutant::PortZero.is_in(planted) && integer(port, "port")? == Some(0) {
            return Ok(AnnouncedPort::Implied { fallback: None });
        }
        let port = integer(port, "port").and_then(|port| {
            let port = port.ok_or(Problem::Missing("port"))?;
            let port = u16::try_from(port).ok().and_then(NonZeroU16::new);
            port.ok_or(Problem::OutOfRange("port"))
        });
        match flag(implied, "implied_port")? {
            // "The port argument should be ignored": whatever it is.
            true => Ok(AnnouncedPort::Implied {
                fallback: port.ok(),
            }),
            false => port.map(AnnouncedPort::Given),
        }
    }
}

impl<'a> Query<'a> {
    /// A query of a node that answers queries too.
    pub fn new(id: Id, call: Call<'a>) -> Query<'a> {
        let is_read_only = false;
        Query {
            id,
            is_read_only,
            call,
        }
    }

    pub(super) fn read(
        envelope: &Envelope<'a>,
        planted: Option<CodecMutant>,
    ) -> Result<Query<'a>, Problem> {
        let method = bytes(envelope.method, "q")?;
        let [
            cas,
            own,
            implied_port,
            info_hash,
            key,
            no_seeds,
            port,
            salt,
            scrape,
            seed,
            sequence,
            signature,
            target,
            given,
            value,
            want,
        ] = select(
            envelope.arguments,
            "a",
            [
                "cas",
                "id",
                "implied_port",
                "info_hash",
                "k",
                "noseed",
                "port",
                "salt",
                "scrape",
                "seed",
                "seq",
                "sig",
                "target",
                "token",
                "v",
                "want",
            ],
        )?;
        let own = id(own, "id")?;
        let call = match method {
            b"ping" => Call::Ping,
            b"find_node" => Call::FindNode {
                target: id(target, "target")?,
                want: Want::read(want)?,
            },
            b"get_peers" => Call::GetPeers {
                info_hash: id(info_hash, "info_hash")?,
                want: Want::read(want)?,
                no_seeds: flag(no_seeds, "noseed")?,
                scrape: flag(scrape, "scrape")?,
            },
            b"announce_peer" => Call::AnnouncePeer {
                info_hash: id(info_hash, "info_hash")?,
                port: AnnouncedPort::read(port, implied_port, planted)?,
                token: token(given)?.ok_or(Problem::Missing("token"))?,
                is_seed: flag(seed, "seed")?,
            },
            b"get" => Call::Get {
                target: id(target, "target")?,
                sequence: integer(sequence, "seq")?,
                want: Want::read(want)?,
            },
            b"put" => Call::Put(Put {
                token: token(given)?.ok_or(Problem::Missing("token"))?,
                value: match value {
                    Some(_) => storable(raw(envelope.arguments, "v")?)?,
                    None => return Err(Problem::Missing("v")),
                },
                mutable: MutablePut::read([key, salt, sequence, signature, cas])?,
            }),
            b"sample_infohashes" => Call::SampleInfohashes {
                target: id(target, "target")?,
                want: Want::read(want)?,
            },
            _ => Call::Unknown {
                method,
                target: id(target, "target")
                    .or_else(|_| id(info_hash, "info_hash"))
                    .map_err(|_| Problem::UnknownMethod)?,
                want: Want::read(want)?,
            },
        };
        Ok(Query {
            id: own,
            is_read_only: flag(envelope.is_read_only, "ro")?,
            call,
        })
    }

    pub(super) fn write_arguments(&self, arguments: &mut Dictionary<'_, '_>) {
        let own = self.id.as_bytes();
        match self.call {
            Call::Ping => arguments.bytes(b"id", own),
            Call::FindNode { target, want }
            | Call::SampleInfohashes { target, want }
            | Call::Unknown { target, want, .. } => {
                arguments.bytes(b"id", own);
                arguments.bytes(b"target", target.as_bytes());
                Want::write(want, arguments);
            }
            Call::GetPeers {
                info_hash,
                want,
                no_seeds,
                scrape,
            } => {
                arguments.bytes(b"id", own);
                arguments.bytes(b"info_hash", info_hash.as_bytes());
                if no_seeds {
                    arguments.integer(b"noseed", 1);
                }
                if scrape {
                    arguments.integer(b"scrape", 1);
                }
                Want::write(want, arguments);
            }
            Call::AnnouncePeer {
                info_hash,
                port,
                token,
                is_seed,
            } => {
                arguments.bytes(b"id", own);
                let given = match port {
                    AnnouncedPort::Given(port) => Some(port),
                    AnnouncedPort::Implied { fallback } => {
                        arguments.integer(b"implied_port", 1);
                        fallback
                    }
                };
                arguments.bytes(b"info_hash", info_hash.as_bytes());
                if let Some(port) = given {
                    arguments.integer(b"port", i64::from(port.get()));
                }
                if is_seed {
                    arguments.integer(b"seed", 1);
                }
                arguments.bytes(b"token", token);
            }
            Call::Get {
                target,
                sequence,
                want,
            } => {
                arguments.bytes(b"id", own);
                if let Some(sequence) = sequence {
                    arguments.integer(b"seq", sequence);
                }
                arguments.bytes(b"target", target.as_bytes());
                Want::write(want, arguments);
            }
            Call::Put(put) => put.write(own, arguments),
        }
    }
}

impl Call<'_> {
    /// The name of the query.
    pub fn method(&self) -> &[u8] {
        match self {
            Call::Ping => b"ping",
            Call::FindNode { .. } => b"find_node",
            Call::GetPeers { .. } => b"get_peers",
            Call::AnnouncePeer { .. } => b"announce_peer",
            Call::Get { .. } => b"get",
            Call::Put(_) => b"put",
            Call::SampleInfohashes { .. } => b"sample_infohashes",
            Call::Unknown { method, .. } => method,
        }
    }
}

impl Put<'_> {
    fn write(&self, own: &[u8], arguments: &mut Dictionary<'_, '_>) {
        if let Some(cas) = self.mutable.and_then(|mutable| mutable.cas) {
            arguments.integer(b"cas", cas);
        }
        arguments.bytes(b"id", own);
        if let Some(mutable) = self.mutable {
            arguments.bytes(b"k", mutable.key);
            if !mutable.salt.is_empty() {
                arguments.bytes(b"salt", mutable.salt);
            }
            arguments.integer(b"seq", mutable.sequence);
            arguments.bytes(b"sig", mutable.signature);
        }
        arguments.bytes(b"token", self.token);
        arguments.raw(b"v", self.value);
    }
}

impl<'a> MutablePut<'a> {
    /// From `k`, `salt`, `seq`, `sig` and `cas`. With none of them the item is immutable; a `salt` or `cas` alone would
    /// be lost on an immutable item, so it is refused.
    fn read(
        [key, salt, sequence, signature, cas]: [Option<Value<'a>>; 5],
    ) -> Result<Option<MutablePut<'a>>, Problem> {
        let all = [key, salt, sequence, signature, cas];
        if all.iter().all(Option::is_none) {
            return Ok(None);
        }
        let number = |value, name| match integer(value, name)? {
            Some(number) if number < 0 => Err(Problem::OutOfRange(name)),
            number => Ok(number),
        };
        let salt = super::optional_bytes(salt, "salt")?.unwrap_or_default();
        if salt.len() > SALT_LIMIT_BYTES {
            return Err(Problem::TooMuch("salt"));
        }
        Ok(Some(MutablePut {
            key: array(key, "k")?.ok_or(Problem::HalfMutable("k"))?,
            salt,
            sequence: number(sequence, "seq")?.ok_or(Problem::HalfMutable("seq"))?,
            signature: array(signature, "sig")?.ok_or(Problem::HalfMutable("sig"))?,
            cas: number(cas, "cas")?,
        }))
    }
}

/// A value that may be stored.
fn storable(value: Option<Raw<'_>>) -> Result<Raw<'_>, Problem> {
    let value = value.ok_or(Problem::Missing("v"))?;
    if value.bytes().len() > VALUE_LIMIT_BYTES {
        return Err(Problem::TooMuch("v"));
    }
    if !value.is_canonical() {
        return Err(Problem::NotCanonical("v"));
    }
    Ok(value)
}
