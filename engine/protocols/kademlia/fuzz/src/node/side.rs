//! A node in one address family, and what is known of it from outside: what it has asked, to whom it may say much, what
//! it was told to look for.

use super::Played;
use crate::world::{Family, OWN, SECOND, item_of};
use holdfast_kademlia::bencode::Raw;
use holdfast_kademlia::item::{Found, MutableItem, immutable_target};
use holdfast_kademlia::krpc::{
    Body, Call, Contact, ITEM_REPLY_LIMIT_BYTES, Message, Query, REPLY_LIMIT_BYTES, Reply,
};
use holdfast_kademlia::peers::SAMPLE_LIMIT;
use holdfast_kademlia::{
    Event, Finished, Id, LookupId, MAX_PATHS, MAX_PEERS, MAX_REFRESHES, MAX_SPARES, MAX_UNDER_WAY,
    Nanos, Node, Outbox, Refused, Request, Sibling,
};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// For how long an address counts at most that has shown that it is somebody's.
const PROVEN_FOR: Nanos = 20 * 60 * SECOND;
/// After so long no answer is waited for; twice what it is in the node.
const FORGOTTEN_AFTER: Nanos = 16 * SECOND;
/// Lookups of a node's own at a time: those that refresh, and one to become known.
const OWN_LOOKUPS: usize = MAX_REFRESHES + 1;
/// What a node takes at most beside what it stores, bytes.
const MAX_BYTES: usize = 1 << 20;
/// Tokens that the outside world remembers: more than a history has datagrams.
const MAX_TOKENS: usize = 1_000;

/// A query that the node has sent and nobody has answered.
pub struct Asked<A> {
    pub to: A,
    pub transaction: Vec<u8>,
    pub datagram: Vec<u8>,
    sent: Nanos,
}

/// A lookup that the node was told to begin.
struct Wanted {
    request: Request,
    peers: BTreeSet<SocketAddr>,
    /// The newest item that it told of.
    told: Option<Option<i64>>,
}

/// Why a node says something.
#[derive(Clone, Copy)]
pub enum Cause<'a, A> {
    /// It was asked, in good form.
    Query(A, &'a Message<'a>, &'a Query<'a>, usize),
    /// It was asked, in no good form.
    Malformed(A, &'a Message<'a>, usize),
    /// An answer came; whether to a question of its own.
    Answer(bool),
    /// Something came that says nothing.
    Noise,
    /// Time has passed, or it was told something.
    Own,
}

/// A node in one family.
pub struct Side<A> {
    pub node: Node<A>,
    out: Outbox<A>,
    /// Oldest first.
    pub asked: Vec<Asked<A>>,
    /// When an address has shown last that it is somebody's.
    proven: BTreeMap<A, Nanos>,
    /// What the node was told of as known.
    adopted: BTreeSet<A>,
    /// Tokens that it gave, to whom and for what, the newest last.
    pub tokens: Vec<(IpAddr, Id, Vec<u8>)>,
    /// Who may have been accepted as a peer, and where.
    announced: BTreeSet<SocketAddr>,
    wanted: BTreeMap<LookupId, Wanted>,
    /// Who is said to be at an address.
    pub named: BTreeMap<A, Id>,
    /// What it has done.
    pub played: Played,
}

impl<A: Family> Side<A> {
    pub fn new(node: Node<A>) -> Self {
        Side {
            node,
            out: Outbox::new(),
            asked: Vec::new(),
            proven: BTreeMap::new(),
            adopted: BTreeSet::new(),
            tokens: Vec::new(),
            announced: BTreeSet::new(),
            wanted: BTreeMap::new(),
            named: BTreeMap::new(),
            played: Played::default(),
        }
    }

    /// A node that knows what the last one has saved, and nothing else; the world goes on.
    pub fn restart(&mut self, now: Nanos, node: Node<A>, contacts: &[Contact<A>]) {
        self.node = node;
        self.asked.clear();
        self.wanted.clear();
        self.proven.clear();
        self.announced.clear();
        self.adopted.clear();
        contacts
            .iter()
            .for_each(|contact| self.adopt(now, *contact));
    }

    pub fn adopt(&mut self, now: Nanos, contact: Contact<A>) {
        if contact.address.is_contactable() {
            self.node.adopt(now, contact);
            self.adopted.insert(contact.address);
            self.named.insert(contact.address, contact.id);
        }
    }

    /// Lookups that it was told to begin, and that have not ended.
    pub fn wanted(&self) -> usize {
        self.wanted.len()
    }

    pub fn join(&mut self, now: Nanos, seeds: &[A], rng: &mut ChaCha8Rng) {
        self.node.join(now, seeds, rng, &mut self.out);
        self.settle(now, Cause::Own);
    }

    pub fn start(&mut self, now: Nanos, request: Request, rng: &mut ChaCha8Rng) {
        let started = self.node.start(now, request.clone(), rng, &mut self.out);
        match started {
            Ok(id) => {
                let wanted = Wanted {
                    request,
                    peers: BTreeSet::new(),
                    told: None,
                };
                assert!(self.wanted.insert(id, wanted).is_none(), "a new name");
            }
            Err(Refused::Busy) => assert!(self.wanted.len() >= self.node.config().lookups),
            Err(Refused::Invalid(_)) => assert!(request.target().is_err()),
        }
        self.settle(now, Cause::Own);
    }

    /// Gives up one of the lookups.
    pub fn cancel(&mut self, which: u8) {
        let ids = self.wanted.keys();
        let Some(id) = ids
            .copied()
            .nth(usize::from(which) % self.wanted.len().max(1))
        else {
            assert!(!self.node.cancel(LookupId(u64::MAX)));
            return;
        };
        assert!(self.node.cancel(id), "it is under way");
        self.wanted.remove(&id);
    }

    pub fn wake(&mut self, now: Nanos, rng: &mut ChaCha8Rng) {
        self.node.wake(now, rng, &mut self.out);
        assert!(
            self.node.wake_at() > now,
            "it wants to be woken at once, again"
        );
        self.settle(now, Cause::Own);
    }

    /// A datagram comes in.
    pub fn receive(
        &mut self,
        now: Nanos,
        from: A,
        datagram: &[u8],
        sibling: Sibling<'_>,
        rng: &mut ChaCha8Rng,
    ) {
        let decoded = Message::decode(datagram);
        let answer = decoded.as_ref().err().and_then(|refused| refused.answer());
        let cause = match &decoded {
            _ if !from.is_contactable() => Cause::Noise,
            Ok(message) => match &message.body {
                Body::Query(query) => Cause::Query(from, message, query, datagram.len()),
                Body::Reply(_) | Body::Error(_) => {
                    let is_it = |asked: &Asked<A>| {
                        asked.to == from && asked.transaction == message.transaction
                    };
                    let place = self.asked.iter().rposition(is_it);
                    if let Some(place) = place {
                        self.asked.remove(place);
                        self.proven.insert(from, now);
                    }
                    Cause::Answer(place.is_some())
                }
            },
            Err(_) => match &answer {
                Some(answer) => Cause::Malformed(from, answer, datagram.len()),
                None => Cause::Noise,
            },
        };
        self.node
            .receive(now, from, datagram, sibling, rng, &mut self.out);
        self.settle(now, cause);
    }

    /// Looks at all that the node has said.
    fn settle(&mut self, now: Nanos, cause: Cause<'_, A>) {
        let mut out = std::mem::take(&mut self.out);
        let (mut answers, mut queries) = (0, 0);
        for (to, bytes) in out.datagrams() {
            self.played.digest = crc32c::crc32c_append(self.played.digest, bytes);
            assert!(to.is_contactable(), "{to} cannot be sent anything");
            let message = Message::decode(bytes).expect("what is sent is well-formed");
            assert_eq!(
                message.version,
                self.node.config().version.as_ref().map(|v| &v[..])
            );
            match &message.body {
                Body::Query(query) => {
                    queries += 1;
                    self.check_query(to, query, bytes.len(), &cause);
                    self.asked.push(Asked {
                        to,
                        transaction: message.transaction.to_vec(),
                        datagram: bytes.to_vec(),
                        sent: now,
                    });
                }
                Body::Reply(_) | Body::Error(_) => {
                    answers += 1;
                    self.played.answered += 1;
                    self.check_answer(now, to, &message, bytes.len(), &cause);
                }
            }
        }
        assert!(answers <= 1, "one datagram is answered once");
        match cause {
            Cause::Query(from, _, query, _) => {
                assert!(queries <= 1, "a stranger makes it ask others");
                if answers == 0 {
                    self.may_have_stored(now, from, query);
                }
            }
            Cause::Malformed(..) | Cause::Noise | Cause::Answer(false) => {
                assert!(queries == 0, "nothing makes it ask others");
                assert!(out.events.is_empty(), "nothing has made something happen");
            }
            Cause::Answer(true) | Cause::Own => {}
        }
        for event in out.events.drain(..) {
            self.check_event(event);
        }
        out.clear();
        self.out = out;
        self.asked
            .retain(|asked| now - asked.sent < FORGOTTEN_AFTER);
    }

    fn check_query(&self, to: A, query: &Query<'_>, length: usize, cause: &Cause<'_, A>) {
        assert_eq!(query.id, OWN);
        assert_eq!(query.is_read_only, self.node.config().read_only);
        assert!(
            length <= ITEM_REPLY_LIMIT_BYTES,
            "a query of {length} bytes"
        );
        if let Cause::Query(from, ..) = cause {
            assert_eq!(to, *from, "who asks makes it send to somebody else");
            assert_eq!(query.call, Call::Ping);
        }
    }

    /// What is answered, to whom, and how much of it.
    fn check_answer(
        &mut self,
        now: Nanos,
        to: A,
        message: &Message<'_>,
        length: usize,
        cause: &Cause<'_, A>,
    ) {
        assert!(!self.node.config().read_only, "it only asks");
        assert!(message.requester.is_none_or(|seen| seen == to.into()));
        let (from, asked_bytes) = match cause {
            Cause::Query(from, asked, query, bytes) => {
                assert_eq!(message.transaction, asked.transaction);
                if let Body::Reply(reply) = &message.body {
                    self.check_reply(now, *from, query, reply);
                }
                (*from, *bytes)
            }
            Cause::Malformed(from, answer, bytes) => {
                assert_eq!(message.transaction, answer.transaction);
                assert_eq!(message.body, answer.body);
                (*from, *bytes)
            }
            Cause::Answer(_) | Cause::Noise | Cause::Own => panic!("it answers what is no query"),
        };
        assert_eq!(to, from, "it answers somebody else");
        let has_value = matches!(&message.body, Body::Reply(reply) if reply.item.value.is_some());
        assert!(
            length
                <= if has_value {
                    ITEM_REPLY_LIMIT_BYTES
                } else {
                    REPLY_LIMIT_BYTES
                }
        );
        let proven = self.proven.get(&from);
        let is_proven = proven.is_some_and(|proven| now - proven < PROVEN_FOR);
        assert!(
            is_proven || length <= asked_bytes,
            "{length} bytes answer {asked_bytes} of somebody who may be anybody"
        );
    }

    fn check_reply(&mut self, now: Nanos, from: A, query: &Query<'_>, reply: &Reply<'_>) {
        let k = self.node.config().k;
        assert_eq!(reply.id, OWN);
        assert!(reply.nodes.is_none_or(|nodes| nodes.count() <= k));
        assert!(reply.nodes6.is_none_or(|nodes| nodes.count() <= k));
        for told in A::contacts(reply)
            .iter()
            .flat_map(|contacts| contacts.iter())
        {
            let mut known = self.node.table().contacts();
            assert!(known.any(|known| known == told), "it tells of {told:?}");
            assert_ne!(told.id, query.id, "who asks knows himself");
        }
        for peer in reply.peers.iter() {
            assert!(self.announced.contains(&peer), "{peer} is no peer");
        }
        if let Some(samples) = reply.samples {
            assert!(samples.ids.count() <= SAMPLE_LIMIT);
            assert_eq!(samples.total, self.node.peers().torrent_count() as u64);
        }
        let mut gives = |target| {
            if let Some(token) = reply.token {
                if self.tokens.len() == MAX_TOKENS {
                    self.tokens.remove(0);
                }
                let token = token.to_vec();
                self.tokens.push((from.ip_address(), target, token));
            }
        };
        match query.call {
            Call::GetPeers { info_hash, .. } => gives(info_hash),
            Call::Get { target, .. } => {
                gives(target);
                if reply.item.value.is_some() {
                    let item = item_of(target);
                    let salt = item
                        .and_then(|item| item.key.as_ref())
                        .map(|(_, salt)| &salt[..]);
                    let found = Found::verify(&reply.item, target, salt.unwrap_or_default());
                    assert!(found.is_ok(), "it has something else: {found:?}");
                }
            }
            Call::AnnouncePeer {
                info_hash, token, ..
            } => self.check_stored(now, from, query, info_hash, token),
            Call::Put(put) => {
                let target = match put.mutable {
                    Some(mutable) => {
                        let item = MutableItem::of_put(mutable, put.value);
                        assert_eq!(item.verify(), Ok(()), "it stores what nobody has signed");
                        item.target()
                    }
                    None => immutable_target(put.value),
                };
                self.check_stored(now, from, query, target, put.token);
            }
            _ => {
                assert_eq!(reply.token, None);
                assert!(reply.item.value.is_none());
            }
        }
    }

    /// It says that it has stored something: then it gave the token to who shows it, and for this.
    fn check_stored(&mut self, now: Nanos, from: A, query: &Query<'_>, target: Id, token: &[u8]) {
        let ip = from.ip_address();
        let mut tokens = self.tokens.iter();
        let is_given = tokens.any(|(to, of, given)| (*to, *of, &given[..]) == (ip, target, token));
        assert!(
            is_given,
            "it takes a token that it never gave to {ip} for {target}"
        );
        self.played.stored += 1;
        self.may_have_stored(now, from, query);
    }

    /// It has stored something, or may have and had no bytes left to say so.
    fn may_have_stored(&mut self, now: Nanos, from: A, query: &Query<'_>) {
        match query.call {
            Call::AnnouncePeer { port, .. } => {
                if let Some(port) = port.resolve(from.into()) {
                    self.announced.insert(from.with_port(port.get()).into());
                }
                self.proven.insert(from, now);
            }
            Call::Put(_) => {
                self.proven.insert(from, now);
            }
            _ => {}
        }
    }

    fn check_event(&mut self, event: Event<A>) {
        match &event {
            Event::Peers { .. } | Event::Item { .. } | Event::Samples { .. } => {
                self.played.told += 1
            }
            Event::Finished(finished) if !finished.closest.is_empty() => self.played.found += 1,
            Event::Finished(_) | Event::SeenAt(_) => {}
        }
        match event {
            Event::Peers { lookup, peers } => {
                let wanted = self.wanted.get_mut(&lookup).expect("it was asked for");
                assert!(matches!(
                    wanted.request,
                    Request::GetPeers { .. } | Request::Announce { .. }
                ));
                for peer in peers {
                    assert!(peer.port() != 0 && !peer.ip().is_unspecified());
                    assert!(wanted.peers.insert(peer), "{peer} is told twice");
                }
                assert!(wanted.peers.len() <= MAX_PEERS);
            }
            Event::Item {
                lookup,
                value,
                version,
            } => {
                let wanted = self.wanted.get_mut(&lookup).expect("it was asked for");
                let Request::Get { target, salt, .. } = &wanted.request else {
                    panic!("no item was asked for");
                };
                let raw = Raw::parse(&value).expect("a value is bencode");
                match &version {
                    None => assert_eq!(immutable_target(raw), *target),
                    Some((sequence, signature)) => {
                        // Nobody has the secrets of other keys.
                        let item = item_of(*target).expect("it is signed");
                        let (key, _) = item.key.as_ref().expect("it is signed");
                        let item = MutableItem {
                            key,
                            salt,
                            sequence: *sequence,
                            value: raw,
                            signature,
                        };
                        assert_eq!(item.verify(), Ok(()));
                    }
                }
                let sequence = version.map(|(sequence, _)| sequence);
                let is_new = wanted.told.is_none_or(|told| told < sequence);
                assert!(is_new, "an older version is told");
                wanted.told = Some(sequence);
            }
            Event::Samples { lookup, ids, .. } => {
                let wanted = self.wanted.get(&lookup).expect("it was asked for");
                assert!(matches!(wanted.request, Request::Sample { .. }));
                assert!(ids.len() <= MAX_PEERS);
            }
            Event::Finished(finished) => {
                let wanted = self.wanted.remove(&finished.lookup);
                let wanted = wanted.expect("it was begun and has not ended");
                assert_eq!(wanted.request.target(), Ok(finished.target));
                self.check_finished(&wanted.request, &finished);
            }
            Event::SeenAt(_) => {}
        }
    }

    fn check_finished(&self, request: &Request, finished: &Finished<A>) {
        let config = self.node.config();
        let steps = &finished.steps;
        assert!(steps.len() <= config.lookup_queries);
        for (place, step) in steps.iter().enumerate() {
            assert!(step.named_by.is_none_or(|by| usize::from(by) < place));
            assert!(
                step.answered_after
                    .is_none_or(|after| after >= step.asked_after)
            );
            assert!(usize::from(step.path) < MAX_PATHS.min(config.paths.max(1)));
            assert!(step.contact.id != OWN && step.contact.address.is_contactable());
        }
        let answered = steps.iter().filter(|step| step.answered_after.is_some());
        let answered: Vec<Contact<A>> = answered.map(|step| step.contact).collect();
        assert!(finished.closest.len() <= config.k);
        let target = finished.target;
        let is_closer =
            |a: &Contact<A>, b: &Contact<A>| target.distance(a.id) <= target.distance(b.id);
        assert!(finished.closest.is_sorted_by(is_closer));
        for (place, contact) in finished.closest.iter().enumerate() {
            assert!(answered.contains(contact), "{contact:?} has not answered");
            assert!(!finished.closest[..place].contains(contact), "named twice");
        }
        assert!(finished.replies as usize <= steps.len());
        assert!(finished.hops as usize <= steps.len());
        assert!(finished.path <= finished.took && finished.found_after <= finished.took);
        let refused = finished
            .refusals
            .iter()
            .map(|(_, count)| count)
            .sum::<u32>();
        let asked_to_store = finished.stored + refused;
        assert!(asked_to_store as usize <= config.k);
        let stores = matches!(request, Request::Announce { .. } | Request::Put(_));
        assert!(stores || asked_to_store == 0);
    }

    /// What holds between two steps: bounds, and that nobody is known who has not shown himself.
    pub fn check(&self) {
        let node = &self.node;
        node.check();
        assert!(node.queries() <= MAX_UNDER_WAY);
        assert!(self.wanted.len() <= node.config().lookups);
        assert!(node.lookups() <= self.wanted.len() + OWN_LOOKUPS);
        assert!(node.bytes() <= MAX_BYTES, "it takes {} bytes", node.bytes());
        assert!(node.items().len() <= node.config().items.items);
        assert!(node.peers().torrent_count() <= node.config().peers.torrents);
        for contact in node.table().contacts() {
            let address = contact.address;
            assert!(
                self.proven.contains_key(&address) || self.adopted.contains(&address),
                "{address} has never answered"
            );
        }
    }

    /// What is left long after everybody has gone.
    pub fn check_forgotten(&self, now: Nanos) {
        assert_eq!(self.node.items().len(), 0, "items are kept for ever");
        assert_eq!(
            self.node.peers().torrent_count(),
            0,
            "peers are kept for ever"
        );
        assert!(self.node.health(now).spares <= MAX_SPARES);
        assert_eq!(self.node.health(now).good, 0, "nobody answers");
    }
}
