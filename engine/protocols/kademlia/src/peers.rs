//! The peers that others have announced at a node (BEP 5, "announce_peer"; BEPs 33 and 51).

use crate::bloom::BloomFilter;
use crate::expiry::{SECOND, sweep_time};
use crate::krpc::{AnnouncedPort, Endpoint, ErrorCode, Samples};
use crate::source::{Shares, Source};
use crate::{Id, Nanos, StoreMutant};
use rand::Rng;
use rand::seq::{IteratorRandom, SliceRandom};
use std::collections::BTreeMap;

/// What a [`PeerStore`] has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Torrents of which peers are stored.
    pub torrents: usize,
    /// Peers of one torrent. BEP 33 wants less than [`crate::bloom::ADDRESS_LIMIT`].
    pub peers_per_torrent: usize,
    /// Peers of one torrent in one IPv6 network (64 bits). In IPv4 an address is one peer.
    pub peers_per_network: usize,
    /// How long a peer is stored after it was announced, in nanoseconds.
    pub lifetime: Nanos,
    /// How long the same sample of torrents is given, in nanoseconds; at most six hours (BEP 51).
    pub sample_interval: Nanos,
}

impl Default for PeerLimits {
    /// 2000 torrents and 500 peers of each, as libtorrent has it: 16 MB of memory at most in IPv4, 40 MB in IPv6. Half
    /// an hour for peers, who announce themselves every quarter of an hour or so, and for samples.
    fn default() -> PeerLimits {
        PeerLimits {
            torrents: 2_000,
            peers_per_torrent: 500,
            peers_per_network: 8,
            lifetime: 1_800 * SECOND,
            sample_interval: 1_800 * SECOND,
        }
    }
}

/// The most ids in a sample. No more fit into a reply.
pub const SAMPLE_LIMIT: usize = 50;
/// A peer that announces itself (BEP 5, "announce_peer"), once its token was found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement<A> {
    /// The torrent.
    pub info_hash: Id,
    /// Where the query came from.
    pub source: A,
    /// Where it is a peer.
    pub port: AnnouncedPort,
    /// It has all of the torrent (BEP 33).
    pub is_seed: bool,
}

/// The peers of torrents, of one family of addresses.
///
/// An address is one peer of a torrent (BEP 33, "Changed announce accounting"); announced again, it is stored for
/// longer, with its new port and state.
///
/// When there is no room,
///
/// - for a torrent: of whoever first announced most of the torrents, that one goes which is farthest from the node's
///   own id; the new one is refused if it is that one itself;
/// - for a peer of a torrent: another one of it goes, at random, so that who announces often has no more of it than who
///   announces rarely;
/// - for a peer of an IPv6 network: that of the same network which would expire first.
#[derive(Clone, Debug)]
pub struct PeerStore<A> {
    torrents: BTreeMap<Id, Torrent<A>>,
    /// Who announced a torrent first.
    shares: Shares,
    /// No peer has to be dropped before.
    sweep_at: Nanos,
    sample: Option<Box<Sample>>,
}

#[derive(Clone, Debug)]
struct Torrent<A> {
    source: Source,
    /// No peer expires before.
    earliest: Nanos,
    /// By address.
    peers: Vec<Peer<A>>,
}

#[derive(Clone, Copy, Debug)]
struct Peer<A> {
    address: A,
    is_seed: bool,
    expires: Nanos,
}

// A torrent has hundreds.
const _: () = assert!(size_of::<Peer<std::net::SocketAddrV4>>() == 16);

#[derive(Clone, Debug, Default)]
struct Sample {
    /// In random order, so that any first of them are a sample as well.
    ids: Vec<Id>,
    until: Nanos,
}

impl<A> Default for PeerStore<A> {
    fn default() -> PeerStore<A> {
        PeerStore {
            torrents: BTreeMap::new(),
            shares: Shares::default(),
            sweep_at: Nanos::MAX,
            sample: None,
        }
    }
}

impl<A: Endpoint> PeerStore<A> {
    /// Stores a peer, at a node with the id `own`.
    ///
    /// It is refused with [`ErrorCode::Protocol`] if nothing can be sent to it, and with [`ErrorCode::Server`] if there
    /// is no room.
    pub fn announce(
        &mut self,
        now: Nanos,
        own: Id,
        announcement: Announcement<A>,
        rng: &mut impl Rng,
        limits: &PeerLimits,
        planted: Option<StoreMutant>,
    ) -> Result<(), ErrorCode> {
        let Announcement {
            info_hash,
            source: from,
            port,
            is_seed,
        } = announcement;
        let address = match port {
            AnnouncedPort::Implied { fallback }
                if StoreMutant::ImpliedPortIgnored.is_in(planted) =>
            {
                from.with_port(fallback.map_or(0, |port| port.get()))
            }
            port => {
                let port = port.resolve(from.into()).ok_or(ErrorCode::Protocol)?;
                let address = from.with_port(port.get());
                if !address.is_contactable() {
                    return Err(ErrorCode::Protocol);
                }
                address
            }
        };
        if limits.torrents == 0 || limits.peers_per_torrent == 0 {
            return Err(ErrorCode::Server);
        }
        let peer = Peer {
            address,
            is_seed,
            expires: now.saturating_add(limits.lifetime),
        };
        if let Some(torrent) = self.torrents.get_mut(&info_hash) {
            torrent.announce(peer, rng, limits);
        } else {
            let source = Source::of(from.ip_address());
            self.make_room(now, own, source, info_hash, limits)?;
            self.shares.add(source, info_hash);
            let torrent = Torrent {
                source,
                earliest: peer.expires,
                peers: vec![peer],
            };
            self.torrents.insert(info_hash, torrent);
        }
        self.sweep_at = self.sweep_at.min(sweep_time(peer.expires));
        Ok(())
    }

    /// Replaces `out` by at most `limit` peers of a torrent, a random choice in random order; with `no_seeds` of those
    /// alone that are no seeds (BEP 33).
    pub fn peers(
        &self,
        now: Nanos,
        info_hash: Id,
        no_seeds: bool,
        limit: usize,
        rng: &mut impl Rng,
        out: &mut Vec<A>,
    ) {
        out.clear();
        let live = self.live(now, info_hash);
        let wanted = live.filter(|peer| !(no_seeds && peer.is_seed));
        out.extend(wanted.map(|peer| peer.address));
        let (chosen, _) = out.partial_shuffle(rng, limit);
        let chosen = chosen.len();
        // They are at the end.
        out.drain(..out.len() - chosen);
    }

    /// The filters of the addresses of all seeds and of all other peers of a torrent, in this order; `None` if there is
    /// neither (BEP 33, "New GET_PEERS semantics").
    pub fn scrape(&self, now: Nanos, info_hash: Id) -> Option<[BloomFilter; 2]> {
        let mut live = self.live(now, info_hash).peekable();
        live.peek()?;
        let mut filters = [BloomFilter::new(), BloomFilter::new()];
        for peer in live {
            filters[usize::from(!peer.is_seed)].insert(peer.address.ip_address());
        }
        Some(filters)
    }

    /// At most `limit` and at most [`SAMPLE_LIMIT`] torrents of which there are peers (BEP 51). If there are more, it
    /// is a random choice, and the same for a while, since who asks again and again is not to learn more; the interval
    /// says how much of that while is left.
    pub fn sample(
        &mut self,
        now: Nanos,
        limit: usize,
        rng: &mut impl Rng,
        limits: &PeerLimits,
    ) -> Samples<'_> {
        self.expire(now);
        let total = self.torrents.len();
        let limit = limit.min(SAMPLE_LIMIT);
        if total == 0 {
            self.sample = None;
            return Samples {
                ids: (&[][..]).into(),
                interval: 0,
                total: 0,
            };
        }
        let fits = total <= limit;
        let sample = self.sample.get_or_insert_default();
        if fits || now >= sample.until {
            let ids = self.torrents.keys().copied();
            sample.ids = ids.choose_multiple(rng, SAMPLE_LIMIT);
            sample.ids.shuffle(rng);
            let is_kept = !fits;
            let longest = u64::from(crate::krpc::INTERVAL_LIMIT_SECONDS) * SECOND;
            let interval = limits.sample_interval.min(longest);
            sample.until = if is_kept {
                now.saturating_add(interval)
            } else {
                now
            };
        } else {
            sample.ids.retain(|id| self.torrents.contains_key(id));
        }
        Samples {
            ids: sample.ids[..limit.min(sample.ids.len())].into(),
            interval: (sample.until - now).div_ceil(SECOND) as u32,
            total: total as u64,
        }
    }

    /// Drops the peers that have expired, if it is time for it. Cheap if it is not.
    pub fn expire(&mut self, now: Nanos) {
        if now < self.sweep_at {
            return;
        }
        let mut earliest = Nanos::MAX;
        self.torrents.retain(|id, torrent| {
            if torrent.earliest <= now {
                torrent.sweep(now);
            }
            earliest = earliest.min(torrent.earliest);
            if torrent.peers.is_empty() {
                self.shares.remove(torrent.source, *id);
            }
            !torrent.peers.is_empty()
        });
        self.sweep_at = sweep_time(earliest);
    }

    /// When [`PeerStore::expire`] has something to do next; `None` if there are no peers.
    pub fn next_expiry(&self) -> Option<Nanos> {
        (self.sweep_at != Nanos::MAX).then_some(self.sweep_at)
    }

    /// How many torrents are stored. Some may have expired.
    pub fn torrent_count(&self) -> usize {
        self.torrents.len()
    }

    /// Bytes on the heap, what the tree adds left out. It looks at every torrent.
    pub fn heap_bytes(&self) -> usize {
        let peers = self.torrents.values().map(|torrent| {
            size_of::<(Id, Torrent<A>)>() + torrent.peers.capacity() * size_of::<Peer<A>>()
        });
        let sample = self.sample.as_ref().map_or(0, |sample| {
            size_of::<Sample>() + sample.ids.capacity() * Id::LEN
        });
        peers.sum::<usize>() + sample + self.shares.heap_bytes()
    }

    /// How many peers of a torrent are stored. Some may have expired.
    pub fn peer_count(&self, info_hash: Id) -> usize {
        let torrent = self.torrents.get(&info_hash);
        torrent.map_or(0, |torrent| torrent.peers.len())
    }

    fn live(&self, now: Nanos, info_hash: Id) -> impl Iterator<Item = &Peer<A>> {
        let torrent = self.torrents.get(&info_hash);
        let peers = torrent.into_iter().flat_map(|torrent| &torrent.peers);
        peers.filter(move |peer| now < peer.expires)
    }

    /// Drops a torrent if there is no room for the new one that `source` announces.
    fn make_room(
        &mut self,
        now: Nanos,
        own: Id,
        source: Source,
        info_hash: Id,
        limits: &PeerLimits,
    ) -> Result<(), ErrorCode> {
        if self.torrents.len() < limits.torrents {
            return Ok(());
        }
        self.expire(now);
        if self.torrents.len() < limits.torrents {
            return Ok(());
        }
        let victim = self.shares.victim(own, source, info_hash);
        let victim = victim.ok_or(ErrorCode::Server)?;
        if let Some(torrent) = self.torrents.remove(&victim) {
            self.shares.remove(torrent.source, victim);
        }
        Ok(())
    }
}

impl<A: Endpoint> Torrent<A> {
    fn announce(&mut self, peer: Peer<A>, rng: &mut impl Rng, limits: &PeerLimits) {
        self.earliest = self.earliest.min(peer.expires);
        let ip = peer.address.ip_address();
        let search =
            |peers: &[Peer<A>]| peers.binary_search_by_key(&ip, |p| p.address.ip_address());
        if let Ok(at) = search(&self.peers) {
            self.peers[at] = peer;
            return;
        }
        if let Some(victim) = self.victim(Source::of(ip), rng, limits) {
            self.peers.remove(victim);
        }
        let at = search(&self.peers).unwrap_or_else(|at| at);
        self.peers.insert(at, peer);
    }

    /// Which peer makes way for a new one from `source`, if one has to.
    fn victim(&self, source: Source, rng: &mut impl Rng, limits: &PeerLimits) -> Option<usize> {
        // Peers of a source stand together.
        let source_of = |peer: &Peer<A>| Source::of(peer.address.ip_address());
        let first = self.peers.partition_point(|p| source_of(p) < source);
        let same = self.peers[first..]
            .iter()
            .take_while(|p| source_of(p) == source);
        let (count, oldest) = same
            .enumerate()
            .map(|(i, peer)| (peer.expires, first + i))
            .fold((0, None), |(count, oldest), next| {
                (
                    count + 1,
                    Some(oldest.map_or(next, |oldest| next.min(oldest))),
                )
            });
        if let Some((_, oldest)) = oldest.filter(|_| count >= limits.peers_per_network) {
            return Some(oldest);
        }
        let count = self.peers.len();
        (count >= limits.peers_per_torrent).then(|| rng.random_range(0..count))
    }

    fn sweep(&mut self, now: Nanos) {
        self.peers.retain(|peer| now < peer.expires);
        if self.peers.len() < self.peers.capacity() / 2 {
            self.peers.shrink_to_fit();
        }
        let expiries = self.peers.iter().map(|peer| peer.expires);
        self.earliest = expiries.min().unwrap_or(Nanos::MAX);
    }
}
