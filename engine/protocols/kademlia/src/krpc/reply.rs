//! Replies.

use super::{
    Contacts, Envelope, Ids, Peers, Problem, array, id, integer, optional_bytes, raw, select, token,
};
use crate::Id;
use crate::bencode::{Dictionary, Raw};
use std::net::{SocketAddrV4, SocketAddrV6};

/// Bytes in an ed25519 public key.
pub const KEY_LEN: usize = 32;
/// Bytes in an ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;
/// Bytes in a Bloom filter of BEP 33.
pub const FILTER_LEN: usize = 256;
/// The longest [`Reply::interval`], in seconds (BEP 51): six hours.
pub const INTERVAL_LIMIT_SECONDS: u32 = 21_600;

/// The answer to a query.
///
/// KRPC's replies do not say to what: that is in the transaction. So this is all that any reply can have; each field
/// names the queries that it answers. [`Reply::new`] has none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Who answers.
    pub id: Id,
    /// The IPv4 nodes closest to what was asked for: to all queries but `ping`, `announce_peer` and `put`. `None` if
    /// the reply has no such key.
    pub nodes: Option<Contacts<'a, SocketAddrV4>>,
    /// The same of IPv6 (BEP 32, `nodes6`).
    pub nodes6: Option<Contacts<'a, SocketAddrV6>>,
    /// What a later `announce_peer` or `put` must have with it: to `get_peers` and `get`. A node that gives none takes
    /// none.
    pub token: Option<&'a [u8]>,
    /// Peers of the torrent: to `get_peers` (`values`).
    pub peers: Peers<'a>,
    /// The Bloom filters of all seeds and of all other peers: to `get_peers` with `scrape` (BEP 33).
    pub scrape: Option<Scrape<'a>>,
    /// The item: to `get` (BEP 44). Nobody has looked yet whether it is what was asked for.
    pub item: Item<'a>,
    /// A sample of the torrents that the node knows: to `sample_infohashes` (BEP 51). A node that does not support it
    /// has none, not even an empty one.
    pub samples: Option<Samples<'a>>,
}

/// How many seeds and peers a torrent has, so that it can be estimated (BEP 33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrape<'a> {
    /// `BFsd`: who has all of it.
    pub seeds: &'a [u8; FILTER_LEN],
    /// `BFpe`: who has not.
    pub peers: &'a [u8; FILTER_LEN],
}

/// What a reply has of an item (BEP 44). One that is too old to be asked for has a sequence number alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Item<'a> {
    /// `v`: the value.
    pub value: Option<Raw<'a>>,
    /// `k`: the key of a mutable item.
    pub key: Option<&'a [u8; KEY_LEN]>,
    /// `seq`: the sequence number of a mutable item.
    pub sequence: Option<i64>,
    /// `sig`: the signature of a mutable item.
    pub signature: Option<&'a [u8; SIGNATURE_LEN]>,
}

/// A sample of the torrents that a node has peers of (BEP 51).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples<'a> {
    /// Some of them.
    pub ids: Ids<'a>,
    /// `interval`: after how many seconds another sample is taken; from 0 to [`INTERVAL_LIMIT_SECONDS`], cut to that when
    /// received.
    pub interval: u32,
    /// `num`: how many there are.
    pub total: u64,
}

impl<'a> Reply<'a> {
    /// The shortest reply, which is all that `ping`, `announce_peer` and `put` need.
    pub fn new(id: Id) -> Reply<'a> {
        Reply {
            id,
            nodes: None,
            nodes6: None,
            token: None,
            peers: Peers::NONE,
            scrape: None,
            item: Item::default(),
            samples: None,
        }
    }

    pub(super) fn read(envelope: &Envelope<'a>) -> Result<Reply<'a>, Problem> {
        let [
            filter_peers,
            filter_seeds,
            own,
            interval,
            key,
            nodes,
            nodes6,
            total,
            samples,
            sequence,
            signature,
            given,
            value,
            values,
        ] = select(
            envelope.returns,
            "r",
            [
                "BFpe", "BFsd", "id", "interval", "k", "nodes", "nodes6", "num", "samples", "seq",
                "sig", "token", "v", "values",
            ],
        )?;
        let scrape = (array(filter_seeds, "BFsd")?, array(filter_peers, "BFpe")?);
        let samples = match optional_bytes(samples, "samples")? {
            None => None,
            Some(ids) => {
                let interval = integer(interval, "interval")?.unwrap_or(0);
                let longest = i64::from(INTERVAL_LIMIT_SECONDS);
                Some(Samples {
                    ids: Ids::compact(ids),
                    interval: interval.clamp(0, longest) as u32,
                    total: integer(total, "num")?.unwrap_or(0).max(0) as u64,
                })
            }
        };
        Ok(Reply {
            id: id(own, "id")?,
            nodes: optional_bytes(nodes, "nodes")?.map(Contacts::compact),
            nodes6: optional_bytes(nodes6, "nodes6")?.map(Contacts::compact),
            token: token(given)?,
            peers: Peers::read(values)?,
            scrape: match scrape {
                (Some(seeds), Some(peers)) => Some(Scrape { seeds, peers }),
                _ => None,
            },
            item: Item {
                value: match value {
                    Some(_) => raw(envelope.returns, "v")?,
                    None => None,
                },
                key: array(key, "k")?,
                sequence: integer(sequence, "seq")?,
                signature: array(signature, "sig")?,
            },
            samples,
        })
    }

    pub(super) fn write_returns(&self, returns: &mut Dictionary<'_, '_>) {
        if let Some(scrape) = self.scrape {
            returns.bytes(b"BFpe", scrape.peers);
            returns.bytes(b"BFsd", scrape.seeds);
        }
        returns.bytes(b"id", self.id.as_bytes());
        if let Some(samples) = self.samples {
            returns.integer(b"interval", i64::from(samples.interval));
        }
        if let Some(key) = self.item.key {
            returns.bytes(b"k", key);
        }
        if let Some(nodes) = self.nodes {
            returns.bytes_with(b"nodes", nodes.byte_len(), |out| nodes.write(out));
        }
        if let Some(nodes) = self.nodes6 {
            returns.bytes_with(b"nodes6", nodes.byte_len(), |out| nodes.write(out));
        }
        if let Some(samples) = self.samples {
            let total = i64::try_from(samples.total).unwrap_or(i64::MAX);
            returns.integer(b"num", total);
            let ids = samples.ids;
            returns.bytes_with(b"samples", ids.byte_len(), |out| ids.write(out));
        }
        if let Some(sequence) = self.item.sequence {
            returns.integer(b"seq", sequence);
        }
        if let Some(signature) = self.item.signature {
            returns.bytes(b"sig", signature);
        }
        if let Some(token) = self.token {
            returns.bytes(b"token", token);
        }
        if let Some(value) = self.item.value {
            returns.raw(b"v", value);
        }
        if !self.peers.is_absent() {
            returns.with(b"values", |out| self.peers.write(out));
        }
    }
}
