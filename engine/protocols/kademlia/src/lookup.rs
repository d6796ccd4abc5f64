//! One iterative lookup (Maymounkov and Mazières 2002, section 2.3): asks the closest nodes that it knows of for closer
//! ones, until the closest have answered.
//!
//! A peer that has not answered within the time that it and its like took before loses its slot, not its say: somebody
//! else is asked beside it, and if it answers after all, the answer counts. A lookup does not end before those among the
//! closest had twice that time; who is closer than all that have answered is asked once more then, for a datagram may be
//! lost. An entry that was asked is never dropped from the list. With several paths, each has a list of its own, and no
//! node is asked on two of them.

use crate::{
    Distance, Id,
    bencode::Raw,
    config::{Config, Mutant, Nanos, distance},
    item::{self, Found, ItemError, MutableItem},
    krpc::{AnnouncedPort, Call, Contact, Endpoint, Item, MutablePut, Put, Reply},
    output::{Event, Finished, LookupId, Outbox, Step},
};

/// Most candidates that a path keeps which were not asked yet, in multiples of k: as many as liars may name closer ones
/// that are not there, before the honest ones are forgotten for them.
const KEPT: usize = 16;
/// How many of the own table's contacts a path begins with, in multiples of k.
pub(crate) const BEGUN_WITH: usize = 4;
/// Of so many that have answered one may be silent by bad luck; where more are, they are taken for dead.
const UNLUCKY: usize = 3;
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
    /// Was asked, and has taken so long that nothing waits for it.
    Late,
    /// Has answered.
    Answered,
    /// Will not answer.
    Failed,
}

impl State {
    /// It was asked, and has not answered in time.
    fn is_overdue(self) -> bool {
        matches!(self, State::Slow | State::Late | State::Failed)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Candidate<A> {
    pub contact: Contact<A>,
    pub distance: Distance,
    pub state: State,
    /// The step in which it was asked last.
    pub step: Option<u16>,
    /// It was asked twice.
    pub is_asked_again: bool,
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

    /// Bytes on the heap; long tokens and what is to be stored left out.
    pub fn heap_bytes(&self) -> usize {
        let candidates: usize = self.paths.iter().map(Vec::capacity).sum();
        self.paths.capacity() * size_of::<Vec<Candidate<A>>>()
            + candidates * size_of::<Candidate<A>>()
            + self.steps.capacity() * size_of::<Step<A>>()
            + self.refusals.capacity() * size_of::<(i64, u32)>()
            + self.told.capacity() * size_of::<std::net::SocketAddr>()
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
                is_asked_again: false,
                named_by,
                has_shown: false,
                token: Token::None,
            },
        );
        if Mutant::ShortlistDropsAsked.is_in(config.mutant) {
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
            let holds_up = |c: &&Candidate<A>| !c.state.is_overdue();
            // Of those that were asked the closest count; who was asked before closer ones were named takes one slot more
            // at most.
            let is_asked = |c: &&Candidate<A>| c.state == State::Asked;
            let alive = list.iter().filter(holds_up).take(config.k);
            let closest = alive.filter(is_asked).count();
            if closest >= config.alpha || list.iter().filter(is_asked).count() > config.alpha {
                continue;
            }
            // Who is among the k closest that may still answer.
            let mut counted = 0;
            let next = list.iter().position(|candidate| {
                counted += usize::from(holds_up(&candidate));
                counted <= config.k && candidate.state == State::Fresh
            });
            let again = || {
                let mut closest = list[..Self::asked_twice(list, config)].iter();
                closest.position(|c| c.state == State::Late && !c.is_asked_again)
            };
            let Some(next) = next.or_else(again) else {
                continue;
            };
            let candidate = &self.paths[path][next];
            let is_named = candidate.state == State::Fresh && !candidate.has_shown;
            if is_named && self.is_asked(candidate.contact.address) {
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
            candidate.is_asked_again = candidate.state == State::Late;
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

    /// The k closest have answered, whoever is late or will not answer left out, or there is nobody left.
    fn is_path_done(&self, path: usize, config: &Config) -> bool {
        let list = &self.paths[path];
        let is_asked_twice = Self::asked_twice(list, config);
        let mut have_answered = 0;
        for (place, candidate) in list.iter().enumerate() {
            match candidate.state {
                State::Answered => have_answered += 1,
                State::Failed => {}
                State::Late if candidate.is_asked_again || place >= is_asked_twice => {}
                _ => return false,
            }
            if have_answered == config.k {
                break;
            }
        }
        true
    }

    /// How many of the closest are asked again when they are late: those closer than all that have answered, unless so
    /// many are silent that they are dead rather than unlucky.
    fn asked_twice(list: &[Candidate<A>], config: &Config) -> usize {
        let count = |is: fn(&State) -> bool| list.iter().filter(|c| is(&c.state)).count();
        let silent = count(|state| matches!(state, State::Late | State::Failed));
        let heard = count(|state| *state == State::Answered);
        if heard > 0 && silent * UNLUCKY > heard {
            return 0;
        }
        let nearest = list.iter().position(|c| c.state == State::Answered);
        nearest.unwrap_or(config.k.min(list.len()))
    }

    /// Somebody who was asked at `sent` has answered; the step in which he was.
    pub fn answered(&mut self, path: usize, place: usize, sent: Nanos, now: Nanos) -> Option<u16> {
        let candidate = &mut self.paths[path][place];
        candidate.state = State::Answered;
        self.replies += 1;
        let asked_after = sent - self.began;
        let is_of =
            |step: &Step<A>| step.contact == candidate.contact && step.asked_after == asked_after;
        let last = candidate.step?;
        let step = match is_of(&self.steps[usize::from(last)]) {
            true => last,
            // It is the first of two questions that was answered.
            false => self.steps.iter().position(is_of)? as u16,
        };
        candidate.step = Some(step);
        self.steps[usize::from(step)].answered_after = Some(now - self.began);
        Some(step)
    }

    /// Somebody who was asked at `sent` takes longer than he should, or will not answer. That he is slow counts only of
    /// the last question.
    pub fn worsen(&mut self, path: usize, place: usize, sent: Nanos, state: State) {
        let candidate = &mut self.paths[path][place];
        let Some(step) = candidate.step else { return };
        let is_last = self.steps[usize::from(step)].asked_after == sent - self.began;
        if candidate.state != State::Answered && (is_last || state == State::Failed) {
            candidate.state = state;
        }
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
            all.any(|c| matches!(c.state, State::Slow | State::Late))
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

    /// The nodes that have answered first.
    fn first(&self, config: &Config) -> Vec<&Candidate<A>> {
        let all = self.paths.iter().flatten();
        let mut answered: Vec<&Candidate<A>> = all.filter(|c| c.state == State::Answered).collect();
        let after = |step: u16| self.steps[usize::from(step)].answered_after;
        answered.sort_by_key(|candidate| candidate.step.and_then(after));
        answered.truncate(config.k);
        answered
    }

    /// Somebody has refused to store something, and gave this number.
    pub fn refused(&mut self, number: i64) {
        match self.refusals.iter_mut().find(|(known, _)| *known == number) {
            Some((_, count)) => *count += 1,
            None => self.refusals.push((number, 1)),
        }
    }

    /// How it ended.
    pub fn finished(&self, now: Nanos, config: &Config) -> Finished<A> {
        let closest = self.closest(config);
        let nearest = closest.first().and_then(|closest| closest.step);
        let (hops, path) = self.way_to(nearest);
        let nearest = nearest.and_then(|step| self.steps[usize::from(step)].answered_after);
        Finished {
            lookup: self.id,
            target: self.target,
            closest: closest.into_iter().map(|c| c.contact).collect(),
            steps: self.steps.clone(),
            replies: self.replies,
            took: now - self.began,
            found_after: self.found_after,
            nearest_after: nearest.unwrap_or(self.found_after),
            path,
            hops,
            stored: self.stored,
            refusals: self.refusals.clone(),
            is_cut_short: self.is_cut_short,
        }
    }

    /// Who is to store something, and the token that each has given out.
    pub fn holders(&self, config: &Config) -> Vec<(Contact<A>, Token)> {
        let most = match Mutant::StoredAtOne.is_in(config.mutant) {
            true => 1,
            false => config.k,
        };
        let closest = match Mutant::StoredAtFirst.is_in(config.mutant) {
            true => self.first(config),
            false => self.closest(config),
        };
        let closest = closest.into_iter().take(most);
        closest.map(|c| (c.contact, c.token.clone())).collect()
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

/// What a reply has of an item, if it is what was asked for.
fn found<'a>(
    item: &Item<'a>,
    target: Id,
    salt: &'a [u8],
    planted: Option<Mutant>,
) -> Option<Found<'a>> {
    let found = Found::verify(item, target, salt).ok();
    if found.is_some() || !Mutant::ItemUnverified.is_in(planted) {
        return found;
    }
    let value = item.value?;
    Some(match (item.key, item.sequence, item.signature) {
        (Some(key), Some(sequence), Some(signature)) => Found::Mutable(MutableItem {
            key,
            salt,
            sequence,
            value,
            signature,
        }),
        _ => Found::Immutable(value),
    })
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
    pub fn take_values(
        &mut self,
        from: Contact<A>,
        reply: &Reply<'_>,
        planted: Option<Mutant>,
        out: &mut Outbox<A>,
    ) {
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
                let Some(found) = found(&reply.item, *target, salt, planted) else {
                    return;
                };
                let (value, version) = match found {
                    Found::Immutable(value) => (value, None),
                    Found::Mutable(item) => (item.value, Some((item.sequence, *item.signature))),
                };
                let sequence = version.map(|(sequence, _)| sequence);
                let is_older = self.version > sequence && !Mutant::LastItemTold.is_in(planted);
                if self.is_told && (is_older || self.version == sequence) {
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
