use crate::{
    CodecMutant, Id, StoreMutant, items::ItemLimits, limiter::RateLimits, peers::PeerLimits,
};
use std::net::SocketAddr;

/// Nanoseconds of a node's monotonic clock, from a moment of its own choice; not from 1970, since ages in the table are
/// counted up to 2^60 of them, 36 years.
pub type Nanos = u64;

pub(crate) const MILLISECOND: Nanos = 1_000_000;
pub(crate) const SECOND: Nanos = 1_000 * MILLISECOND;
pub(crate) const MINUTE: Nanos = 60 * SECOND;

/// How a node behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Contacts of a bucket, and how many nodes hold what is stored (BEP 5: 8).
    pub k: usize,
    /// Queries of one path of a lookup that are under way at a time, those that have waited too long not counted.
    pub alpha: usize,
    /// How many deviations beyond its mean a round trip may take before somebody else is asked beside. TCP, which sends
    /// the same again, waits four (RFC 6298); here nothing is lost by asking too early but a datagram.
    pub deviations: u32,
    /// Paths of a lookup that share no node, at most [`MAX_PATHS`]: a liar on one leads only that one astray
    /// (S/Kademlia, section 4.4).
    pub paths: usize,
    /// Queries of one lookup at most, all paths together.
    pub lookup_queries: usize,
    /// Lookups at a time; more are refused.
    pub lookups: usize,
    /// Whether the first buckets hold 16, 8, 4 and 2 times k contacts, not 2 and 2 times k: fewer hops, more memory.
    pub wide_buckets: bool,
    /// This node answers no queries and wants to be in no table (BEP 43).
    pub read_only: bool,
    /// Whether nodes whose id is not that of their address (BEP 42) are kept out of the table.
    pub secure_ids: bool,
    /// How many contacts of one network (IPv4: /24, IPv6: /64) a bucket holds. Loopback and private networks are
    /// exempt.
    pub per_network: usize,
    /// Addresses of which is remembered that they have answered: they are told more than they ask for.
    pub proven: usize,
    /// What is stored of torrents' peers.
    pub peers: PeerLimits,
    /// What is stored of items.
    pub items: ItemLimits,
    /// How much is answered.
    pub rates: RateLimits,
    /// Name of the client in every message: two letters, two characters of a version (BEP 20).
    pub version: Option<[u8; 4]>,
    /// A bug to plant; has an effect only where debug assertions are on.
    pub mutant: Option<Mutant>,
}

/// Most paths of one lookup.
pub const MAX_PATHS: usize = 8;

impl Default for Config {
    fn default() -> Self {
        Config {
            k: 8,
            alpha: 3,
            deviations: 2,
            paths: 1,
            lookup_queries: 128,
            lookups: 256,
            wide_buckets: false,
            read_only: false,
            secure_ids: false,
            per_network: 2,
            proven: 256,
            peers: PeerLimits::default(),
            items: ItemLimits::default(),
            rates: RateLimits::default(),
            version: None,
            mutant: None,
        }
    }
}

impl Config {
    /// How many contacts a bucket holds at most whose contacts share exactly so many bits with the own id. Half of all
    /// lookups begin in the first one, and a bit more that its contacts share with their target is a bit less to go.
    pub fn room(&self, depth: usize) -> usize {
        match (self.wide_buckets, depth) {
            (true, 0..4) => self.k << (4 - depth),
            (false, 0..2) => self.k * 2,
            _ => self.k,
        }
    }
}

/// A bug of the zoo, planted in a node. Has an effect only where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A lookup's list is cut to its closest entries, and those that were asked and have not answered go with the rest.
    ShortlistDropsAsked,
    /// Distances are compared from the last byte on.
    DistanceBackwards,
    /// Contacts of other nodes' replies are entered into the table as they are.
    UnverifiedContacts,
    /// A bucket that was split may hold more than k.
    BucketOverfull,
    /// A contact is taken for alive because it asks, not because it answers.
    AliveByAsking,
    /// A new contact takes the place of one that lives.
    LiveReplaced,
    /// A reply is taken in wherever it comes from.
    ReplyFromAnywhere,
    /// Only the bucket of the node's own id is refreshed.
    OwnBucketRefreshed,
    /// A table without live contacts asks nobody any more.
    NoSecondBootstrap,
    /// The id under which a contact was named is not held against the one that answers.
    IdNotCompared,
    /// A lookup waits for as long as a datagram may take, whatever its peers took before.
    FixedTimeout,
    /// What a node answers may be longer than what it was asked, whoever asks.
    Amplified,
    /// A reply is as long as it comes, whatever a datagram can carry.
    ReplyOverlong,
    /// Who has only asked counts when it is seen how many of a network there are.
    UnverifiedCounted,
    /// The checksum of BEP 42 is made over other bits of an address than those that count.
    SecureIdOfOtherBits,
    /// What a node says that it has of an item is taken for it, whatever it hashes to and whoever has signed it.
    ItemUnverified,
    /// Of the versions of an item that nodes have, the last one to come is taken.
    LastItemTold,
    /// What is to be stored is stored at the closest node alone.
    StoredAtOne,
    /// What is to be stored is stored at the first k nodes that have answered, however far they are.
    StoredAtFirst,
    /// A node that refuses to store something is counted among those that have stored it.
    RefusalCounted,
    /// A table that was saved is taken though its checksum does not match.
    TableUnchecked,
    /// One of what a node stores.
    Store(StoreMutant),
    /// One of how datagrams are read.
    Codec(CodecMutant),
}

impl Mutant {
    /// Whether this is the one that was planted.
    pub fn is_in(self, planted: Option<Mutant>) -> bool {
        cfg!(debug_assertions) && planted == Some(self)
    }

    pub(crate) fn store(planted: Option<Mutant>) -> Option<StoreMutant> {
        match planted {
            Some(Mutant::Store(mutant)) => Some(mutant),
            _ => None,
        }
    }

    pub(crate) fn codec(planted: Option<Mutant>) -> Option<CodecMutant> {
        match planted {
            Some(Mutant::Codec(mutant)) => Some(mutant),
            _ => None,
        }
    }
}

/// The network that an address is in, or `None` for one that is exempt: on this machine or in a private network.
pub(crate) fn network_of(address: SocketAddr) -> Option<u64> {
    if crate::secure_id::is_exempt(address.ip()) {
        return None;
    }
    Some(match address {
        SocketAddr::V4(v4) => u64::from(u32::from(*v4.ip()) >> 8),
        SocketAddr::V6(v6) => (u128::from(*v6.ip()) >> 64) as u64,
    })
}

/// How close `id` is to `target`, as the planted bug has it or as it is.
pub(crate) fn distance(target: Id, id: Id, mutant: Option<Mutant>) -> crate::Distance {
    if Mutant::DistanceBackwards.is_in(mutant) {
        let mut bytes = [0; Id::LEN];
        for (to, (a, b)) in bytes
            .iter_mut()
            .rev()
            .zip(target.as_bytes().iter().zip(id.as_bytes()))
        {
            *to = a ^ b;
        }
        return Id::new(bytes).distance(Id::ZERO);
    }
    target.distance(id)
}
