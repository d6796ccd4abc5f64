//! What nodes keep for others, modelled: for each honest node and target what it must have stored, by the queries that
//! have reached it and by the rules of BEP 5 and BEP 44 alone; and every answer is held against that.
//!
//! - *token*: what was given to an address for a target is good for it, in its period of five minutes and the next, and
//!   nowhere else and no longer;
//! - *register*: an item is replaced by a signed one of a higher sequence number alone. With a `cas` that is not the
//!   number that is stored the answer is 301, below that number or at it with another value 302, with a wrong signature
//!   206; and the item stays what it was;
//! - *item-told*, *peers-told*, *samples*: what is told is what is stored, all of it where the datagram has room, and
//!   nothing that has expired, was announced at port 0 or never came;
//! - *store-state*: what the node has in memory is what the model has, after each put and again from time to time.

use holdfast_kademlia::{
    Id, Node, SWEEP_INTERVAL,
    bencode::{Decoder, Value},
    bloom::BloomFilter,
    item::{self, MutableItem},
    items::ItemLimits,
    krpc::{
        AnnouncedPort, Body, Call, ErrorCode, ITEM_REPLY_LIMIT_BYTES, Item, Message, Put, Query,
        REPLY_LIMIT_BYTES, Reply,
    },
    peers::{PeerLimits, SAMPLE_LIMIT},
    token::TOKEN_PERIOD,
};
use holdfast_sim::draw::bytes_hash;
use std::{collections::BTreeMap, net::SocketAddrV4, ops::RangeInclusive};

/// Tokens that are remembered, and signatures of which is known whether they are right, before old ones are forgotten.
const MOST: usize = 50_000;
/// A query for peers that is so long has an answer with room for so many beside everything else.
const ROOM_FOR_PEERS: (usize, usize) = (720, 30);

/// A property that broke, and what was seen.
pub type Broken = (&'static str, String);

fn broken<T>(property: &'static str, message: String) -> Result<T, Broken> {
    Err((property, message))
}

/// A word that stands for some bytes, one after another.
pub fn word(parts: &[&[u8]]) -> u64 {
    parts.iter().fold(parts.len() as u64, |word, part| {
        word.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ bytes_hash(part)
    })
}

/// One version of an item. Values are kept as words that stand for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of a mutable one.
    pub sequence: Option<i64>,
    value: u64,
    /// Key and signature; of an immutable one nothing.
    signed: u64,
}

impl Version {
    fn of_put(put: &Put<'_>) -> Version {
        let mutable = put.mutable;
        Version {
            sequence: mutable.map(|mutable| mutable.sequence),
            value: bytes_hash(put.value.bytes()),
            signed: mutable.map_or(0, |m| word(&[m.key, m.signature])),
        }
    }

    /// `None` for an item without a value.
    fn of_item(item: &Item<'_>) -> Option<Version> {
        Some(Version {
            sequence: item.sequence,
            value: bytes_hash(item.value?.bytes()),
            signed: match (item.key, item.signature) {
                (Some(key), Some(signature)) => word(&[key, signature]),
                _ => 0,
            },
        })
    }
}

/// What a node must have under a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    version: Version,
    expires: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    address: SocketAddrV4,
    is_seed: bool,
    expires: u64,
}

/// What an honest node was asked last, and has to answer next.
#[derive(Clone, Copy, Debug)]
struct Due {
    node: u32,
    from: u32,
    bytes: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Put {
        target: Id,
        version: Version,
        cas: Option<i64>,
        is_granted: bool,
        is_signed: bool,
    },
    Announce {
        info_hash: Id,
        peer: Peer,
        is_granted: bool,
    },
    Get {
        target: Id,
        known: Option<i64>,
    },
    GetPeers {
        info_hash: Id,
        no_seeds: bool,
        scrape: bool,
    },
    Sample,
}

/// How often what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Puts that were done, and of these, that replaced something.
    pub put: u64,
    pub replaced: u64,
    /// Puts that were refused, by reason.
    pub cas_refused: u64,
    pub old_refused: u64,
    pub unsigned_refused: u64,
    /// Tokens of a period before that were taken, and tokens that were refused.
    pub old_tokens: u64,
    pub bad_tokens: u64,
    /// Peers that were announced; items, peers and samples that were told.
    pub announced: u64,
    pub items: u64,
    pub peers: u64,
    pub samples: u64,
    pub scrapes: u64,
}

/// All nodes' registers.
#[derive(Clone, Debug)]
pub struct Registers {
    item_lifetime: u64,
    peer_lifetime: u64,
    /// By node, who was given it, and a word for target and token: the last period in which it was.
    tokens: BTreeMap<(u32, u32, u64), u64>,
    /// Whether a signature is right, by a word for all that it is over and itself.
    signatures: BTreeMap<u64, bool>,
    items: BTreeMap<(u32, Id), Stored>,
    /// By node and torrent; of each peer's node.
    torrents: BTreeMap<(u32, Id), BTreeMap<u32, Peer>>,
    due: Option<Due>,
    /// What has just been put where.
    touched: Option<(u32, Id)>,
    pub seen: Seen,
}

impl Registers {
    /// Of nodes that have stored nothing and keep things for so long.
    pub fn new(items: &ItemLimits, peers: &PeerLimits) -> Self {
        Registers {
            item_lifetime: items.lifetime,
            peer_lifetime: peers.lifetime,
            tokens: BTreeMap::new(),
            signatures: BTreeMap::new(),
            items: BTreeMap::new(),
            torrents: BTreeMap::new(),
            due: None,
            touched: None,
            seen: Seen::default(),
        }
    }

    /// A node begins, or begins anew: it has nothing.
    pub fn began(&mut self, node: u32) {
        let here = (node, Id::ZERO)..=(node, Id::MAX);
        let given = (node, 0, 0)..=(node, u32::MAX, u64::MAX);
        clear(&mut self.items, here.clone());
        clear(&mut self.torrents, here);
        clear(&mut self.tokens, given);
    }

    /// What `node` has under `target`, if it has something.
    pub fn item(&self, at: u64, node: u32, target: Id) -> Option<Version> {
        let stored = self.items.get(&(node, target))?;
        (at < stored.expires).then_some(stored.version)
    }

    /// The peers of a torrent that `node` has.
    pub fn peers(&self, at: u64, node: u32, info_hash: Id) -> Vec<SocketAddrV4> {
        let live = self.live(at, node, info_hash);
        live.map(|peer| peer.address).collect()
    }

    fn live(&self, at: u64, node: u32, info_hash: Id) -> impl Iterator<Item = &Peer> {
        let peers = self.torrents.get(&(node, info_hash)).into_iter().flatten();
        let peers = peers.map(|(_, peer)| peer);
        peers.filter(move |peer| at < peer.expires)
    }

    /// Nothing is due any more: the node does something else. What it had to answer it has not.
    pub fn turn(&mut self) -> Result<(), Broken> {
        self.touched = None;
        match self.due.take() {
            None => Ok(()),
            Some(Due { from, what, .. }) => {
                let writes = matches!(what, What::Put { .. } | What::Announce { .. });
                match writes {
                    true => broken(
                        "unanswered",
                        format!("node {from} is told nothing: {what:?}"),
                    ),
                    false => Ok(()),
                }
            }
        }
    }

    /// A query of `from` reaches `node`, in a datagram of so many bytes.
    pub fn asked(
        &mut self,
        at: u64,
        node: u32,
        (from, source): (u32, SocketAddrV4),
        query: &Query<'_>,
        bytes: usize,
    ) {
        let what = match query.call {
            Call::Put(put) => {
                let target = target_of(&put);
                What::Put {
                    target,
                    version: Version::of_put(&put),
                    cas: put.mutable.and_then(|mutable| mutable.cas),
                    is_granted: self.is_granted(at, node, from, target, put.token),
                    is_signed: self.is_signed(&put),
                }
            }
            Call::AnnouncePeer {
                info_hash,
                port,
                token,
                is_seed,
            } => {
                let port = match port {
                    AnnouncedPort::Given(port) => port.get(),
                    AnnouncedPort::Implied { .. } => source.port(),
                };
                let peer = Peer {
                    address: SocketAddrV4::new(*source.ip(), port),
                    is_seed,
                    expires: at + self.peer_lifetime,
                };
                What::Announce {
                    info_hash,
                    peer,
                    is_granted: self.is_granted(at, node, from, info_hash, token),
                }
            }
            Call::Get {
                target, sequence, ..
            } => What::Get {
                target,
                known: sequence,
            },
            Call::GetPeers {
                info_hash,
                no_seeds,
                scrape,
                ..
            } => What::GetPeers {
                info_hash,
                no_seeds,
                scrape,
            },
            Call::SampleInfohashes { .. } => What::Sample,
            Call::Ping | Call::FindNode { .. } | Call::Unknown { .. } => return,
        };
        self.due = Some(Due {
            node,
            from,
            bytes,
            what,
        });
    }

    fn is_granted(&mut self, at: u64, node: u32, from: u32, target: Id, token: &[u8]) -> bool {
        let name = (node, from, word(&[target.as_bytes(), token]));
        let period = at / TOKEN_PERIOD;
        match self.tokens.get(&name) {
            Some(given) if *given == period => true,
            Some(given) if given + 1 == period => {
                self.seen.old_tokens += 1;
                true
            }
            _ => false,
        }
    }

    fn is_signed(&mut self, put: &Put<'_>) -> bool {
        let Some(mutable) = put.mutable else {
            return true;
        };
        let (key, salt, sequence) = (mutable.key, mutable.salt, mutable.sequence);
        let number = sequence.to_be_bytes();
        let name = word(&[key, salt, &number, put.value.bytes(), mutable.signature]);
        if self.signatures.len() >= MOST {
            self.signatures.clear();
        }
        let verify = || MutableItem::of_put(mutable, put.value).verify().is_ok();
        *self.signatures.entry(name).or_insert_with(verify)
    }

    /// A node answers what it was asked just now. Whether it was shown one of its tokens, and has stored something: so
    /// somebody is where he says, since the token was sent there.
    pub fn answered(
        &mut self,
        at: u64,
        node: u32,
        datagram: &[u8],
        message: &Message<'_>,
    ) -> Result<bool, Broken> {
        let Some(due) = self.due.take().filter(|due| due.node == node) else {
            return Ok(false);
        };
        let refused = match &message.body {
            Body::Error(error) => Some(error.code),
            _ => None,
        };
        match (due.what, &message.body) {
            (What::Put { .. } | What::Announce { .. }, _) => {
                self.check_write(at, &due, refused)?;
                Ok(refused.is_none())
            }
            (_, Body::Reply(reply)) => {
                self.check_reply(at, &due, datagram, reply)?;
                Ok(false)
            }
            (what, _) => broken("answers", format!("{what:?} is refused: {refused:?}")),
        }
    }

    fn check_write(
        &mut self,
        at: u64,
        due: &Due,
        refused: Option<ErrorCode>,
    ) -> Result<(), Broken> {
        let (is_granted, of) = match due.what {
            What::Put {
                is_granted, target, ..
            } => (is_granted, target),
            What::Announce {
                is_granted,
                info_hash,
                ..
            } => (is_granted, info_hash),
            _ => return Ok(()),
        };
        if is_granted != (refused != Some(ErrorCode::Protocol)) {
            let from = due.from;
            let message = match is_granted {
                true => format!("the token that node {from} was given for {of} is refused"),
                false => format!(
                    "node {from} was given no such token for {of} lately, and is told {refused:?}"
                ),
            };
            return broken("token", message);
        }
        if !is_granted {
            self.seen.bad_tokens += 1;
            return Ok(());
        }
        match due.what {
            What::Announce {
                info_hash, peer, ..
            } => {
                if refused.is_some() {
                    return broken("announce", format!("{peer:?} is refused: {refused:?}"));
                }
                self.seen.announced += 1;
                let torrent = self.torrents.entry((due.node, info_hash)).or_default();
                torrent.insert(due.from, peer);
                Ok(())
            }
            What::Put {
                target,
                version,
                cas,
                is_signed,
                ..
            } => {
                let stored = self.item(at, due.node, target);
                let allowed = outcomes(stored, version, cas, is_signed);
                if !allowed.contains(&refused) {
                    let message = format!(
                        "{target} is {stored:?}; {version:?} with cas {cas:?}, signed {is_signed}: \
                         {refused:?} is none of {allowed:?}"
                    );
                    return broken("register", message);
                }
                self.touched = Some((due.node, target));
                match refused {
                    Some(ErrorCode::CasMismatch) => self.seen.cas_refused += 1,
                    Some(ErrorCode::SequenceTooLow) => self.seen.old_refused += 1,
                    Some(_) => self.seen.unsigned_refused += 1,
                    None => {
                        self.seen.put += 1;
                        let is_other = stored.is_some_and(|stored| stored != version);
                        self.seen.replaced += u64::from(is_other);
                        let expires = at + self.item_lifetime;
                        let stored = Stored { version, expires };
                        self.items.insert((due.node, target), stored);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_reply(
        &mut self,
        at: u64,
        due: &Due,
        datagram: &[u8],
        reply: &Reply<'_>,
    ) -> Result<(), Broken> {
        let of = match due.what {
            What::Get { target, known } => {
                self.check_item(at, due, target, known, &reply.item)?;
                target
            }
            What::GetPeers {
                info_hash,
                scrape: true,
                ..
            } => {
                self.check_scrape(at, due, info_hash, reply)?;
                info_hash
            }
            What::GetPeers {
                info_hash,
                no_seeds,
                ..
            } => {
                self.check_peers(at, due, info_hash, no_seeds, datagram)?;
                info_hash
            }
            What::Sample => return self.check_sample(at, due, reply),
            _ => return Ok(()),
        };
        let Some(token) = reply.token else {
            return broken("token", format!("node {} is given none for {of}", due.from));
        };
        let period = at / TOKEN_PERIOD;
        if self.tokens.len() >= MOST {
            self.tokens.retain(|_, given| *given + 1 >= period);
        }
        let name = (due.node, due.from, word(&[of.as_bytes(), token]));
        self.tokens.insert(name, period);
        Ok(())
    }

    fn check_item(
        &mut self,
        at: u64,
        due: &Due,
        target: Id,
        known: Option<i64>,
        told: &Item<'_>,
    ) -> Result<(), Broken> {
        let stored = self.item(at, due.node, target);
        let is_right = match (stored, Version::of_item(told)) {
            (None, told_version) => told_version.is_none() && told.sequence.is_none(),
            (Some(stored), Some(told)) => stored == told,
            (Some(stored), None) => match told.sequence {
                // Its number alone, for who knows it already.
                Some(sequence) => stored.sequence == Some(sequence) && known >= stored.sequence,
                None => due.bytes < ITEM_REPLY_LIMIT_BYTES,
            },
        };
        if !is_right {
            let message = format!("of {target} is told {told:?}, and stored is {stored:?}");
            return broken("item-told", message);
        }
        self.seen.items += u64::from(told.value.is_some());
        Ok(())
    }

    fn check_peers(
        &mut self,
        at: u64,
        due: &Due,
        info_hash: Id,
        no_seeds: bool,
        datagram: &[u8],
    ) -> Result<(), Broken> {
        let live = self.live(at, due.node, info_hash);
        let mut live: Vec<SocketAddrV4> = live
            .filter(|peer| !(no_seeds && peer.is_seed))
            .map(|peer| peer.address)
            .collect();
        live.sort_unstable();
        let mut told = told_peers(datagram);
        told.sort_unstable();
        let is_told = |peer: &SocketAddrV4| live.binary_search(peer).is_ok();
        if let Some(peer) = told.iter().find(|peer| !is_told(peer)) {
            let message = format!("{peer} is told, and is no peer of {info_hash}: {live:?}");
            return broken("peers-told", message);
        }
        let (bytes, most) = ROOM_FOR_PEERS;
        if due.bytes >= bytes && live.len() <= most && told != live {
            let message = format!("of {info_hash} are told {told:?} of {live:?}");
            return broken("peers-told", message);
        }
        self.seen.peers += told.len() as u64;
        Ok(())
    }

    /// The filters are those of the seeds and of the others, bit by bit (BEP 33).
    fn check_scrape(
        &mut self,
        at: u64,
        due: &Due,
        info_hash: Id,
        reply: &Reply<'_>,
    ) -> Result<(), Broken> {
        let mut filters = [BloomFilter::new(), BloomFilter::new()];
        let mut count = 0;
        for peer in self.live(at, due.node, info_hash) {
            filters[usize::from(!peer.is_seed)].insert((*peer.address.ip()).into());
            count += 1;
        }
        let is_right = match &reply.scrape {
            None => count == 0 || due.bytes < REPLY_LIMIT_BYTES,
            Some(told) => {
                let [seeds, peers] = &filters;
                count > 0 && told.seeds == seeds.as_bytes() && told.peers == peers.as_bytes()
            }
        };
        if !is_right {
            let message = format!("filters of {info_hash} are not those of its {count} peers");
            return broken("peers-told", message);
        }
        self.seen.scrapes += u64::from(count > 0);
        Ok(())
    }

    fn check_sample(&mut self, at: u64, due: &Due, reply: &Reply<'_>) -> Result<(), Broken> {
        let Some(samples) = reply.samples else {
            return match due.bytes < REPLY_LIMIT_BYTES {
                true => Ok(()),
                false => broken("samples", format!("node {} is told none", due.from)),
            };
        };
        // What has expired is dropped once a minute.
        let lives = |since: u64| {
            let here = (due.node, Id::ZERO)..=(due.node, Id::MAX);
            let torrents = self.torrents.range(here);
            let live = torrents.filter(move |(_, peers)| peers.values().any(|p| since < p.expires));
            live.map(|((_, info_hash), _)| *info_hash)
        };
        let (least, most) = (
            lives(at).count() as u64,
            lives(at.saturating_sub(SWEEP_INTERVAL)).count() as u64,
        );
        let told = samples.ids.count();
        let is_right = (least..=most).contains(&samples.total)
            && told as u64 <= samples.total
            && told <= SAMPLE_LIMIT
            && (told > 0) == (samples.total > 0);
        if !is_right {
            let message = format!("{told} of {} torrents, of {least}", samples.total);
            return broken("samples", message);
        }
        let mut known: Vec<Id> = lives(at.saturating_sub(SWEEP_INTERVAL)).collect();
        known.sort_unstable();
        let mut ids = samples.ids.iter();
        if let Some(id) = ids.find(|id| known.binary_search(id).is_err()) {
            let message = format!("{id} is told, and has no peers here");
            return broken("samples", message);
        }
        self.seen.samples += u64::from(told > 0);
        Ok(())
    }

    /// The node has done what there was to do: of what was put just now it has what it must have.
    pub fn acted(&mut self, at: u64, node: u32, core: &Node<SocketAddrV4>) -> Result<(), Broken> {
        match self.touched.take() {
            Some((touched, target)) if touched == node => self.check_stored(at, target, node, core),
            _ => Ok(()),
        }
    }

    /// A node has all items that it must have, and in the version that it must have.
    pub fn check_all(&self, at: u64, node: u32, core: &Node<SocketAddrV4>) -> Result<(), Broken> {
        let here = (node, Id::ZERO)..=(node, Id::MAX);
        let mut items = self.items.range(here);
        items.try_for_each(|((_, target), _)| self.check_stored(at, *target, node, core))
    }

    fn check_stored(
        &self,
        at: u64,
        target: Id,
        node: u32,
        core: &Node<SocketAddrV4>,
    ) -> Result<(), Broken> {
        let expected = self.item(at, node, target);
        let item = core.items().get(at, target, None);
        let stored = item.as_ref().and_then(Version::of_item);
        match stored == expected {
            true => Ok(()),
            false => broken(
                "store-state",
                format!("{target} is {stored:?}, and should be {expected:?}"),
            ),
        }
    }
}

/// Forgets what is in a range.
fn clear<K: Ord + Copy, V>(map: &mut BTreeMap<K, V>, range: RangeInclusive<K>) {
    let gone: Vec<K> = map.range(range).map(|(key, _)| *key).collect();
    for key in gone {
        map.remove(&key);
    }
}

/// What a put is stored under.
fn target_of(put: &Put<'_>) -> Id {
    match put.mutable {
        None => item::immutable_target(put.value),
        Some(mutable) => item::mutable_target(mutable.key, mutable.salt),
    }
}

/// What a node may answer to a put with a good token, `None` being that it is done (BEP 44, "put message", "CAS",
/// "Errors"). More than one where more than one thing is wrong.
fn outcomes(
    stored: Option<Version>,
    put: Version,
    cas: Option<i64>,
    is_signed: bool,
) -> Vec<Option<ErrorCode>> {
    let mut wrong = Vec::new();
    if let Some(stored) = stored.filter(|stored| stored.sequence.is_some()) {
        let is_expected = cas.is_none_or(|cas| stored.sequence == Some(cas));
        if !is_expected {
            wrong.push(Some(ErrorCode::CasMismatch));
        }
        let is_same = stored.sequence == put.sequence && stored.value == put.value;
        // A put whose `cas` is off learns that first: it must read again.
        if is_expected && put.sequence <= stored.sequence && !is_same {
            wrong.push(Some(ErrorCode::SequenceTooLow));
        }
    }
    if !is_signed {
        wrong.push(Some(ErrorCode::InvalidSignature));
    }
    if wrong.is_empty() {
        wrong.push(None);
    }
    wrong
}

/// The peers of a reply as they are written, those included that cannot be.
fn told_peers(datagram: &[u8]) -> Vec<SocketAddrV4> {
    read_peers(datagram).unwrap_or_default()
}

fn read_peers(datagram: &[u8]) -> Option<Vec<SocketAddrV4>> {
    let mut decoder = Decoder::new(datagram);
    decoder.dictionary().ok()?;
    let returns = entry(&mut decoder, b"r")?;
    let Value::Dictionary(returns) = returns else {
        return None;
    };
    let mut decoder = returns.decoder();
    decoder.dictionary().ok()?;
    let Value::List(values) = entry(&mut decoder, b"values")? else {
        return None;
    };
    let mut decoder = values.decoder();
    decoder.list().ok()?;
    let mut peers = Vec::new();
    while let Ok(Some(Value::Bytes(bytes))) = decoder.element() {
        if let [a, b, c, d, high, low] = *bytes {
            let port = u16::from_be_bytes([high, low]);
            peers.push(SocketAddrV4::new([a, b, c, d].into(), port));
        }
    }
    Some(peers)
}

/// The value of a key of the dictionary that was entered.
fn entry<'a>(decoder: &mut Decoder<'a>, wanted: &[u8]) -> Option<Value<'a>> {
    while let Some(key) = decoder.key().ok()? {
        let value = decoder.value().ok()?;
        if key == wanted {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
