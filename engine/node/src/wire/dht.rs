//! The JSON of the DHT's interface. Ids are 40 hexadecimal digits, times are numbers of microseconds or seconds, as their
//! names say.

use super::Value;
use crate::{
    discovery::{Addresses, DiscoveryState, Roster, SignedRoster},
    http::rfc3339,
};
use holdfast_kademlia::Id;
use holdfast_peers::{
    Family, FamilyStatus, Hop, KeptKind, KeptStatus, NodeContact, Report, Traffic,
};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, num::NonZeroU16, time::Duration};

/// How the node fares in the DHT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtStatusReply {
    /// Its id, at its first address.
    pub id: Id,
    /// In each address family that it is in, and at each of its addresses.
    pub families: Vec<DhtFamily>,
    /// What went in and out since the start.
    pub traffic: DhtTraffic,
    /// Lookups that clients wait for.
    pub lookups: u64,
    /// Announcements and items that it stores again and again.
    pub kept: u64,
}

/// How the node fares in one address family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtFamily {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Its id there: each further address has one of its own (BEP 45).
    pub id: Id,
    /// Where it listens.
    pub address: SocketAddr,
    /// Contacts that answered in the last quarter of an hour.
    pub good: u64,
    /// Contacts that have been silent since.
    pub questionable: u64,
    /// Contacts that do not answer.
    pub bad: u64,
    /// Contacts that wait for a place.
    pub spares: u64,
    /// Buckets of the table.
    pub buckets: u64,
    /// Lookups under way, those for its own table included.
    pub lookups: u64,
    /// Queries under way.
    pub queries: u64,
    /// Items that it stores for others.
    pub items: u64,
    /// Torrents of which it stores peers for others.
    pub torrents: u64,
}

/// What went in and out of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtTraffic {
    /// Datagrams that came.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Datagrams that were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams that the system did not take.
    pub unsent: u64,
    /// Lookups that were begun.
    pub lookups: u64,
    /// Of them, those that were given up when their time was over.
    pub timed_out: u64,
}

/// A node of the DHT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtNode {
    /// Its id.
    pub id: Id,
    /// Where it is.
    pub address: SocketAddr,
}

/// The contacts in the node's tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtNodesReply {
    /// The contacts.
    pub nodes: Vec<DhtNode>,
}

/// How a lookup went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtLookupReply {
    /// What was looked up.
    pub target: Id,
    /// In each address family.
    pub reports: Vec<DhtReport>,
}

/// How a lookup went in one address family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtReport {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// The closest nodes that answered, closest first.
    pub closest: Vec<DhtNode>,
    /// Who was asked, in this order.
    pub hops: Vec<DhtHop>,
    /// Answers that came.
    pub replies: u64,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// Nodes on the way to the closest one.
    pub depth: u64,
    /// The sum of the round trips on that way, microseconds.
    pub way_us: u64,
    /// The lookup's budget of queries was spent before its end.
    pub cut_short: bool,
}

/// One query of a lookup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtHop {
    /// Who was asked: its id.
    pub id: Id,
    /// Where it is.
    pub address: SocketAddr,
    /// Which of the hops before named it, from 0; without it, the node's own table did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_by: Option<u64>,
    /// On which of the lookup's paths, from 0.
    pub path: u64,
    /// When it was asked, microseconds after the lookup's begin.
    pub asked_us: u64,
    /// When it answered, microseconds after the lookup's begin; without it, it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_us: Option<u64>,
}

/// An item that was found; its hash or signature was checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtItemReply {
    /// What it is stored under.
    pub target: Id,
    /// The value: bencode, in base64.
    pub value: Value,
    /// The value as text, if it is a string of UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Of a mutable one, its sequence number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// Of a mutable one, its signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Value>,
}

/// An item to store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DhtPutRequest {
    /// The value: bencode, in base64; or `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The value: this text, as a string of bencode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What makes it a mutable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutable: Option<DhtSigned>,
    /// Store it again every hour, as long as the node runs.
    pub keep: bool,
}

/// What makes an item mutable. Whoever has the key signs; the key itself stays with him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhtSigned {
    /// The public key, 32 bytes in base64.
    pub key: Value,
    /// The salt, 64 bytes at most, in base64.
    #[serde(default)]
    pub salt: Value,
    /// The sequence number.
    pub sequence: i64,
    /// The signature over salt, sequence number and value (BEP 44), 64 bytes in base64.
    pub signature: Value,
    /// Store it only where the one that is there has this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cas: Option<i64>,
}

/// What came of storing something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtStoredReply {
    /// What it is stored under.
    pub target: Id,
    /// Nodes that say they have stored it.
    pub stored: u64,
    /// Nodes that say they have not.
    pub refusals: Vec<DhtRefusal>,
}

/// Nodes that did not store something, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtRefusal {
    /// Their error (BEP 5, BEP 44): 301 the number compared with is another, 302 there is a newer one; 0 no answer.
    pub code: i64,
    /// How many.
    pub nodes: u64,
}

/// The peers of a torrent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtPeersReply {
    /// The torrent.
    pub info_hash: Id,
    /// Where they are.
    pub peers: Vec<SocketAddr>,
}

/// A peer to make known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DhtAnnounceRequest {
    /// Its port; without it, the one of the node's own datagrams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// It has all of the torrent (BEP 33).
    pub seed: bool,
    /// Announce it again every quarter of an hour, as long as the node runs.
    pub keep: bool,
}

/// Ids of torrents that nodes know of (BEP 51).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtSamplesReply {
    /// Node by node.
    pub samples: Vec<DhtSample>,
}

/// What one node knows of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtSample {
    /// Who.
    pub from: DhtNode,
    /// Some of them.
    pub info_hashes: Vec<Id>,
    /// How many it has in all, as it says.
    pub total: u64,
    /// How long it gives the same ones, seconds.
    pub interval_s: u64,
}

/// Where the members of the node's cluster are, as the DHT has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtClusterReply {
    /// The public key that signs it, 64 hexadecimal digits.
    pub key: String,
    /// The item's salt.
    pub salt: String,
    /// What the item is stored under.
    pub target: Id,
    /// Whether this node writes it.
    pub writes: bool,
    /// The sequence number of the newest one that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// The members that it lists, by number.
    pub members: Vec<DhtMember>,
    /// When it was last looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<String>,
    /// Nodes that took it when this node stored it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// Why nothing came of it the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtMember {
    /// Its number.
    pub node: u64,
    /// Where it listens for its peers, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Where it listens for clients, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// What the node stores again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtKeptReply {
    /// Each of it.
    pub kept: Vec<DhtKept>,
}

/// Something that the node stores again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtKept {
    /// `peer` or `item`.
    pub kind: String,
    /// The torrent, or what the item is stored under.
    pub target: Id,
    /// Nodes that took it the last time; without it, it was not stored yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// How long until it is stored again, seconds.
    pub next_s: u64,
}

impl From<&Roster> for Vec<DhtMember> {
    fn from(roster: &Roster) -> Self {
        let member = |(node, addresses): (&u64, &Addresses)| DhtMember {
            node: *node,
            peer: addresses.peer.clone(),
            client: addresses.client.clone(),
        };
        roster.members().iter().map(member).collect()
    }
}

impl From<&DiscoveryState> for DhtClusterReply {
    fn from(state: &DiscoveryState) -> Self {
        let roster = state.known.as_ref().map(SignedRoster::roster);
        DhtClusterReply {
            key: state.name.key.to_string(),
            salt: state.name.salt.clone(),
            target: state.name.target(),
            writes: state.is_writer,
            sequence: state.known.as_ref().map(SignedRoster::sequence),
            members: roster.map(Into::into).unwrap_or_default(),
            looked_at: state.looked.map(rfc3339),
            stored: state.stored.map(u64::from),
            error: state.error.as_ref().map(ToString::to_string),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn family(family: Family) -> String {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
    .to_owned()
}

impl From<NodeContact> for DhtNode {
    fn from(node: NodeContact) -> Self {
        DhtNode {
            id: node.id,
            address: node.address,
        }
    }
}

impl From<DhtNode> for NodeContact {
    fn from(node: DhtNode) -> Self {
        NodeContact {
            id: node.id,
            address: node.address,
        }
    }
}

impl From<&Hop> for DhtHop {
    fn from(hop: &Hop) -> Self {
        DhtHop {
            id: hop.node.id,
            address: hop.node.address,
            named_by: hop.named_by.map(|by| by as u64),
            path: hop.path.into(),
            asked_us: micros(hop.asked_after),
            answered_us: hop.answered_after.map(micros),
        }
    }
}

impl From<&Report> for DhtReport {
    fn from(report: &Report) -> Self {
        DhtReport {
            family: family(report.family),
            closest: report.closest.iter().map(|node| (*node).into()).collect(),
            hops: report.hops.iter().map(Into::into).collect(),
            replies: report.replies.into(),
            took_us: micros(report.took),
            depth: report.depth.into(),
            way_us: micros(report.way),
            cut_short: report.is_cut_short,
        }
    }
}

impl DhtFamily {
    /// Of a node with this id.
    pub fn new(id: Id, status: &FamilyStatus) -> Self {
        let table = &status.table;
        DhtFamily {
            family: family(status.family),
            id,
            address: status.address,
            good: table.good as u64,
            questionable: table.questionable as u64,
            bad: table.bad as u64,
            spares: table.spares as u64,
            buckets: table.buckets as u64,
            lookups: status.lookups as u64,
            queries: status.queries as u64,
            items: status.items as u64,
            torrents: status.torrents as u64,
        }
    }
}

impl From<&Traffic> for DhtTraffic {
    fn from(traffic: &Traffic) -> Self {
        DhtTraffic {
            received: traffic.received,
            received_bytes: traffic.received_bytes,
            sent: traffic.sent,
            sent_bytes: traffic.sent_bytes,
            unsent: traffic.unsent,
            lookups: traffic.lookups,
            timed_out: traffic.timed_out,
        }
    }
}

impl From<&KeptStatus> for DhtKept {
    fn from(kept: &KeptStatus) -> Self {
        DhtKept {
            kind: kind(kept.kind).to_owned(),
            target: kept.target,
            stored: kept.stored.map(u64::from),
            next_s: kept.next.as_secs(),
        }
    }
}

/// As it stands in paths and JSON.
pub fn kind(kind: KeptKind) -> &'static str {
    match kind {
        KeptKind::Peer => "peer",
        KeptKind::Item => "item",
    }
}
