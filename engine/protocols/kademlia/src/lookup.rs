//! One iterative lookup (Maymounkov and Mazières 2002, section 2.3): asks the closest nodes that it knows of for closer
//! ones, until the closest have answered.
//!
//! A peer that has not answered within the time that it and its like took before loses its slot, not its say: somebody
//! else is asked beside it, and if it answers after all, the answer counts. An entry that was asked is never dropped
//! from the list. With several paths, each has a list of its own, and no node is asked on two of them.

use crate::{
    Distance, Id,
    bencode::Raw,
    config::{Config, Nanos, distance},
    item::{self, Found, ItemError, MutableItem},
    krpc::{AnnouncedPort, Call, Contact, Endpoint, MutablePut, Put, Reply},
    output::{Event, LookupId, Outbox, Step},
};

/// Most candidates that a path keeps which were not asked yet, in multiples of k: as many as liars may name closer ones
/// that are not there, before the honest ones are forgotten for them.
const KEPT: usize = 16;
/// How many of the own table's contacts a path begins with, in multiples of k.
pub(crate) const BEGUN_WITH: usize = 4;
/// Bytes of a token that are kept in place; longer ones are boxed.
const SHORT_TOKEN: usize = 22;

/// What is wanted of the nodes that are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Who is closest.
    FindNode {
        /// To what.
        target: Id,
    },
    /// Who has a torrent.
    GetPeers {
        /// Which.
        info_hash: Id,
        /// Only those that are still downloading (BEP 33).
        no_seeds: bool,
    },
    /// To be known as a peer of a torrent.
    Announce {
        /// Which.
        info_hash: Id,
        /// The port; `None`: the one that datagrams come from.
        port: Option<std::num::NonZeroU16>,
        /// It has all of it (BEP 33).
        is_seed: bool,
    },
    /// An item (BEP 44).
    Get {
        /// Which.
        target: Id,
        /// The salt of a mutable one.
        salt: Vec<u8>,
        /// Whether it is a mutable one, so that the newest is looked for.
        is_mutable: bool,
    },
    /// To store an item (BEP 44).
    Put(PutRequest),
    /// Ids of torrents that nodes there know of (BEP 51).
    Sample {
        /// Near what.
        target: Id,
    },
}

/// An item to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutRequest {
    /// The value, bencoded, 1,000 bytes at most.
    pub value: Vec<u8>,
    /// What makes it a mutable one.
    pub mutable: Option<SignedPut>,
}

/// What makes an item mutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPut {
    /// The public key.
    pub key: [u8; crate::krpc::KEY_LEN],
    /// The salt; empty: none.
    pub salt: Vec<u8>,
    /// The sequence number.
    pub sequence: i64,
    /// The signature over salt, sequence number and value.
    pub signature: [u8; crate::krpc::SIGNATURE_LEN],
    /// Store it only where the one that is there has this number.
    pub cas: Option<i64>,
}

/// What nodes gave out to be shown again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    None,
    Short(u8, [u8; SHORT_TOKEN]),
    Long(Box<[u8]>),
}

impl Token {
    pub fn of(bytes: Option<&[u8]>) -> Token {
        match bytes {
            None => Token::None,
            Some(bytes) if bytes.len() <= SHORT_TOKEN => {
                let mut short = [0; SHORT_TOKEN];
                short[..bytes.len()].copy_from_slice(bytes);
                Token::Short(bytes.len() as u8, short)
            }
            Some(bytes) => Token::Long(bytes.into()),
        }
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Token::None => None,
            Token::Short(length, bytes) => Some(&bytes[..usize::from(*length)]),
            Token::Long(bytes) => Some(bytes),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Was not asked yet.
    Fresh,
    /// Was asked.
    Asked,
    /// Was asked, and has taken longer than it should.
    Slow,
    /// Has answered.
    Answered,
    /// Will not answer.
    Failed,
}

#[derive(Clone, Debug)]
pub(crate) struct Candidate<A> {
    pub contact: Contact<A>,
    pub distance: Distance,
    pub state: State,
    /// The step in which it was asked.
    pub step: Option<u16>,
    /// The step whose answer named it.
    pub named_by: Option<u16>,
    /// It has said itself who it is, when somebody else was looked for at its address.
    pub has_shown: bool,
    pub token: Token,
}

/// How far a lookup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It looks for nodes.
    Finding,
    /// It has found them, and waits for so many to say that they have stored something.
    Storing,
}

/// A lookup.
#[derive(Clone, Debug)]
pub(crate) struct Lookup<A> {
    pub id: LookupId,
    pub target: Id,
    pub request: Request,
    pub stage: Stage,
    pub began: Nanos,
    pub found_after: Nanos,
    pub replies: u32,
    pub stored: u32,
    pub awaited: u32,
    pub refusals: Vec<(i64, u32)>,
    pub steps: Vec<Step<A>>,
    pub is_cut_short: bool,
    /// The best version that was told, of a mutable item.
    pub version: Option<i64>,
    /// An item was told.
    pub is_told: bool,
    /// It has what it looked for.
    pub is_satisfied: bool,
    /// Peers that were told.
    pub told: Vec<std::net::SocketAddr>,
    /// One list a path, closest first.
    pub paths: Vec<Vec<Candidate<A>>>,
}

impl<A: Endpoint> Lookup<A> {
    pub fn new(id: LookupId, target: Id, request: Request, now: Nanos, paths: usize) -> Self {
        Lookup {
            id,
            target,
            request,
            stage: Stage::Finding,
            began: now,
            found_after: 0,
            replies: 0,
            stored: 0,
            awaited: 0,
            refusals: Vec::new(),
            steps: Vec::new(),
            is_cut_short: false,
            version: None,
            is_told: false,
            is_satisfied: false,
            told: Vec::new(),
            paths: vec![Vec::new(); paths.max(1)],
        }
    }

    /// Deals the nodes to begin with to the paths, closest first.
    pub fn begin_with(&mut self, contacts: &[Contact<A>], config: &Config) {
        let paths = self.paths.len();
        for (place, contact) in contacts.iter().enumerate() {
            self.offer(place % paths, *contact, None, config);
        }
    }

    /// Whether somebody has named it before, or another has answered at its address. One that was only named there may be
    /// gone, or never have been.
    pub fn is_known(&self, contact: &Contact<A>) -> bool {
        self.paths.iter().flatten().any(|known| {
            let is_there = known.contact.address == contact.address;
            known.contact.id == contact.id || (is_there && known.state == State::Answered)
        })
    }

    /// Whether somebody was asked at this address already.
    fn is_asked(&self, address: A) -> bool {
        let mut all = self.paths.iter().flatten();
        all.any(|known| known.contact.address == address && known.state != State::Fresh)
    }

    /// Where `meant` was asked there is another, who has said so. It is believed once an address: whoever says something else
    /// each time is not asked for ever.
    pub fn shown(&mut self, meant: &Contact<A>, contact: Contact<A>, config: &Config) {
        let Some((path, place)) = self.find(meant) else {
            return;
        };
        let mut all = self.paths.iter().flatten();
        if all.any(|known| known.has_shown && known.contact.address == contact.address) {
            return;
        }
        let named_by = self.paths[path][place].named_by;
        self.offer(path, contact, named_by, config);
        if let Some((path, place)) = self.find(&contact) {
            self.paths[path][place].has_shown = true;
        }
    }

    /// Somebody has named a node.
    pub fn offer(
        &mut self,
        path: usize,
        contact: Contact<A>,
        named_by: Option<u16>,
        config: &Config,
    ) {
        let distance = distance(self.target, contact.id, config.mutant);
        let list = &self.paths[path];
        // Most that is named is known, or farther than what is kept.
        let kept = config.k * KEPT;
        let fresh = list.iter().filter(|c| c.state == State::Fresh);
        if fresh.count() >= kept && list.last().is_some_and(|last| last.distance < distance) {
            return;
        }
        if self.is_known(&contact) {
            return;
        }
        let list = &mut self.paths[path];
        let place = list.partition_point(|known| known.distance < distance);
        list.insert(
            place,
            Candidate {
                contact,
                distance,
                state: State::Fresh,
                step: None,
                named_by,
                has_shown: false,
                token: Token::None,
            },
        );
        if crate::Mutant::ShortlistDropsAsked.is_in(config.mutant) {
            list.truncate(config.k * 2);
            return;
        }
        // The farthest that was not asked goes; what was asked stays, whatever comes.
        let fresh = list.iter().filter(|c| c.state == State::Fresh).count();
        if fresh > kept
            && let Some(last) = list.iter().rposition(|c| c.state == State::Fresh)
        {
            list.remove(last);
        }
    }

    /// Where a candidate is.
    pub fn find(&self, contact: &Contact<A>) -> Option<(usize, usize)> {
        self.paths.iter().enumerate().find_map(|(path, list)| {
            let place = list.iter().position(|known| known.contact == *contact)?;
            Some((path, place))
        })
    }

    /// Whom to ask next, if a path has a slot for it.
    pub fn next(&mut self, now: Nanos, config: &Config) -> Option<Contact<A>> {
        if self.stage != Stage::Finding || self.is_satisfied {
            return None;
        }
        for path in 0..self.paths.len() {
            if self.is_path_done(path, config) {
                continue;
            }
            let list = &self.paths[path];
            // Of those that were asked only the closest count: who was asked before closer ones were named holds up nobody.
            let alive = list
                .iter()
                .filter(|c| !matches!(c.state, State::Failed | State::Slow));
            let busy = alive
                .take(config.k)
                .filter(|c| c.state == State::Asked)
                .count();
            if busy >= config.alpha {
                continue;
            }
            // Who is among the k closest that may still answer.
            let mut counted = 0;
            let next = list.iter().position(|candidate| {
                let counts = !matches!(candidate.state, State::Failed | State::Slow);
                counted += usize::from(counts);
                counted <= config.k && candidate.state == State::Fresh
            });
            let Some(next) = next else { continue };
            let candidate = &self.paths[path][next];
            if !candidate.has_shown && self.is_asked(candidate.contact.address) {
                // One address is asked once, however many are said to be there.
                self.paths[path][next].state = State::Failed;
                return self.next(now, config);
            }
            if self.steps.len() >= config.lookup_queries {
                self.is_cut_short = true;
                return None;
            }
            let step = self.steps.len() as u16;
            let candidate = &mut self.paths[path][next];
            candidate.state = State::Asked;
            candidate.step = Some(step);
            self.steps.push(Step {
                contact: candidate.contact,
                named_by: candidate.named_by,
                path: path as u8,
                asked_after: now - self.began,
                answered_after: None,
            });
            return Some(candidate.contact);
        }
        None
    }

    /// The k closest that may still answer have answered, or there is nobody left.
    fn is_path_done(&self, path: usize, config: &Config) -> bool {
        let alive = self.paths[path]
            .iter()
            .filter(|c| !matches!(c.state, State::Failed | State::Slow));
        alive
            .take(config.k)
            .all(|candidate| candidate.state == State::Answered)
    }

    /// Whether all nodes are found that will be.
    pub fn has_found(&self, config: &Config) -> bool {
        if self.is_satisfied {
            return true;
        }
        if self.is_cut_short {
            let asked = |c: &Candidate<A>| c.state == State::Asked;
            return !self.paths.iter().flatten().any(asked);
        }
        let mut paths = 0..self.paths.len();
        let is_done = paths.all(|path| self.is_path_done(path, config));
        // Nobody has answered: whoever is only slow is waited for.
        let has_slow = || {
            let mut all = self.paths.iter().flatten();
            all.any(|c| c.state == State::Slow)
        };
        is_done && !(self.replies == 0 && has_slow())
    }

    /// The closest nodes that have answered.
    pub fn closest(&self, config: &Config) -> Vec<&Candidate<A>> {
        let all = self.paths.iter().flatten();
        let mut answered: Vec<&Candidate<A>> = all.filter(|c| c.state == State::Answered).collect();
        answered.sort_unstable_by_key(|candidate| candidate.distance);
        answered.truncate(config.k);
        answered
    }

    /// The way to a step: how many nodes are on it, and how long they took to answer, one after another.
    pub fn way_to(&self, step: Option<u16>) -> (u32, Nanos) {
        let (mut hops, mut took) = (0, 0);
        let mut at = step;
        while let Some(step) = at {
            let step = &self.steps[usize::from(step)];
            hops += 1;
            took += step
                .answered_after
                .map_or(0, |answered| answered - step.asked_after);
            at = step.named_by;
        }
        (hops, took)
    }
}

impl Request {
    /// What is looked for, or what something is stored under; what no node would ever take is refused.
    pub fn target(&self) -> Result<Id, ItemError> {
        match self {
            Request::FindNode { target }
            | Request::Get { target, .. }
            | Request::Sample { target } => Ok(*target),
            Request::GetPeers { info_hash, .. } | Request::Announce { info_hash, .. } => {
                Ok(*info_hash)
            }
            Request::Put(put) => {
                let value = put.raw().ok_or(ItemError::NotCanonical)?;
                match &put.mutable {
                    None => {
                        item::check_value(value)?;
                        Ok(item::immutable_target(value))
                    }
                    Some(signed) => {
                        let signed = signed.item(value);
                        signed.verify()?;
                        Ok(signed.target())
                    }
                }
            }
        }
    }

    /// What every node on the way is asked.
    pub(crate) fn step_call(&self, target: Id) -> Call<'static> {
        match self {
            Request::FindNode { .. } => Call::FindNode { target, want: None },
            Request::GetPeers { no_seeds, .. } => Call::GetPeers {
                info_hash: target,
                want: None,
                no_seeds: *no_seeds,
                scrape: false,
            },
            Request::Announce { .. } => Call::GetPeers {
                info_hash: target,
                want: None,
                no_seeds: false,
                scrape: false,
            },
            Request::Get { .. } | Request::Put(_) => Call::Get {
                target,
                sequence: None,
                want: None,
            },
            Request::Sample { .. } => Call::SampleInfohashes { target, want: None },
        }
    }

    /// What the closest nodes are asked to store, with the token that they have given out.
    pub(crate) fn store_call<'a>(&'a self, token: Option<&'a [u8]>) -> Option<Call<'a>> {
        let token = token?;
        match self {
            Request::Announce {
                info_hash,
                port,
                is_seed,
            } => Some(Call::AnnouncePeer {
                info_hash: *info_hash,
                port: match *port {
                    Some(port) => AnnouncedPort::Given(port),
                    None => AnnouncedPort::Implied { fallback: None },
                },
                token,
                is_seed: *is_seed,
            }),
            Request::Put(put) => Some(Call::Put(Put {
                token,
                value: put.raw()?,
                mutable: put.mutable.as_ref().map(SignedPut::call),
            })),
            _ => None,
        }
    }
}

impl PutRequest {
    fn raw(&self) -> Option<Raw<'_>> {
        Raw::parse(&self.value).ok()
    }
}

impl SignedPut {
    fn call(&self) -> MutablePut<'_> {
        MutablePut {
            key: &self.key,
            salt: &self.salt,
            sequence: self.sequence,
            signature: &self.signature,
            cas: self.cas,
        }
    }

    fn item<'a>(&'a self, value: Raw<'a>) -> MutableItem<'a> {
        MutableItem::of_put(self.call(), value)
    }
}

/// Most peers that one lookup tells.
pub const MAX_PEERS: usize = 2_000;

impl<A: Endpoint> Lookup<A> {
    /// Tells what a reply has of what is looked for.
    pub fn take_values(&mut self, from: Contact<A>, reply: &Reply<'_>, out: &mut Outbox<A>) {
        let lookup = self.id;
        match &self.request {
            Request::GetPeers { .. } | Request::Announce { .. } => {
                let mut peers = Vec::new();
                for peer in reply.peers.iter() {
                    if self.told.len() >= MAX_PEERS {
                        break;
                    }
                    if let Err(place) = self.told.binary_search(&peer) {
                        self.told.insert(place, peer);
                        peers.push(peer);
                    }
                }
                if !peers.is_empty() {
                    out.events.push(Event::Peers { lookup, peers });
                }
            }
            Request::Get {
                target,
                salt,
                is_mutable,
            } => {
                let Ok(found) = Found::verify(&reply.item, *target, salt) else {
                    return;
                };
                let (value, version) = match found {
                    Found::Immutable(value) => (value, None),
                    Found::Mutable(item) => (item.value, Some((item.sequence, *item.signature))),
                };
                let sequence = version.map(|(sequence, _)| sequence);
                if self.is_told && self.version >= sequence {
                    return;
                }
                self.is_told = true;
                self.version = sequence;
                // Of what cannot change the first one will do.
                self.is_satisfied = !is_mutable && version.is_none();
                out.events.push(Event::Item {
                    lookup,
                    value: value.bytes().to_vec(),
                    version,
                });
            }
            Request::Sample { .. } => {
                if let Some(samples) = reply.samples {
                    out.events.push(Event::Samples {
                        lookup,
                        from,
                        ids: samples.ids.iter().take(MAX_PEERS).collect(),
                        total: samples.total,
                        interval: samples.interval,
                    });
                }
            }
            Request::FindNode { .. } | Request::Put(_) => {}
        }
    }
}
