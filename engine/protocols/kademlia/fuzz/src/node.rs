//! Plays a history against a node in both address families, each the other's sibling, and looks at everything that they
//! say.
//!
//! Around them are a few dozen honest nodes, who answer when the history has them do so, and any number of enemies, who
//! say what it likes. At the end nobody answers any more: every lookup ends, and nothing is kept for ever.

mod side;

use crate::script::{self, Op};
use crate::world::{self, Family, INHABITANTS, ITEMS, OWN, SECOND};
use holdfast_kademlia::bencode::Raw;
use holdfast_kademlia::krpc::{
    AnnouncedPort, Body, Call, Contact, Contacts, ErrorCode, ErrorReply, FILTER_LEN, Ids, Item,
    Message, MutablePut, Put, Query, Reply, Samples, Scrape, Want,
};
use holdfast_kademlia::{Config, Id, Mutant, Nanos, Node, PutRequest, Request, Saved, Sibling};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use side::{Asked, Side};
use std::net::{SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU16;
use std::sync::Arc;

/// Most datagrams that a history hands in: it is to be over soon.
const MAX_DATAGRAMS: usize = 400;
/// Most times that a node is woken while time passes; the rest of the time passes at once.
const MAX_WAKES: usize = 200;
/// How long a lookup may take at most when nobody answers: its budget of queries, one after another.
const LONGEST_LOOKUP: Nanos = 3_600 * SECOND;
/// How often a node wants to be woken in that time, at most.
const MAX_LAST_WAKES: usize = 20_000;
/// How long an honest node takes to answer.
const ROUND_TRIP: Nanos = SECOND / 20;

/// What an answer has, by bits.
mod extras {
    pub const TOKEN: u8 = 1;
    pub const LONG_TOKEN: u8 = 2;
    pub const PEERS: u8 = 4;
    pub const ITEM: u8 = 8;
    pub const OTHER_ITEM: u8 = 16;
    pub const SAMPLES: u8 = 32;
    pub const SCRAPE: u8 = 64;
    pub const FAR_AWAY: u8 = 128;
}

struct History {
    now: Nanos,
    rng: ChaCha8Rng,
    is_secure: bool,
    v4: Side<SocketAddrV4>,
    v6: Side<SocketAddrV6>,
    /// Datagrams that may still come.
    budget: usize,
}

/// What came of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Of all that the nodes have sent.
    pub digest: u32,
    /// Queries that they have answered.
    pub answered: u32,
    /// What others have stored there.
    pub stored: u32,
    /// Lookups that have found somebody.
    pub found: u32,
    /// Peers, items and samples that lookups have told of.
    pub told: u32,
}

/// Plays one history.
///
/// # Panics
/// When something is not as it must be.
pub fn run(input: &[u8]) -> Played {
    run_planted(input, None)
}

/// The same with a bug of the zoo in the nodes, which has an effect only where debug assertions are on.
///
/// # Panics
/// When something is not as it must be.
pub fn run_planted(input: &[u8], mutant: Option<Mutant>) -> Played {
    let ([setup, beginning], steps) = script::read(input);
    let config = Arc::new(Config {
        mutant,
        ..world::config(setup)
    });
    let now = world::beginning(beginning);
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(beginning >> 2));
    let mut history = History {
        now,
        is_secure: config.secure_ids,
        v4: Side::new(Node::new(OWN, config.clone(), now, &mut rng)),
        v6: Side::new(Node::new(OWN, config, now, &mut rng)),
        rng,
        budget: MAX_DATAGRAMS,
    };
    for (is_v6, op) in steps {
        match is_v6 {
            false => history.apply::<SocketAddrV4>(op),
            true => history.apply::<SocketAddrV6>(op),
        }
        history.v4.check();
        history.v6.check();
    }
    history.end();
    let (v4, v6) = (history.v4.played, history.v6.played);
    Played {
        digest: v4.digest ^ v6.digest.rotate_left(16),
        answered: v4.answered + v6.answered,
        stored: v4.stored + v6.stored,
        found: v4.found + v6.found,
        told: v4.told + v6.told,
    }
}

/// A family of the two that a history has.
trait Sided: Family {
    /// The node in this family, and the other one.
    fn split(history: &mut History) -> (&mut Side<Self>, Sibling<'_>, &mut ChaCha8Rng);
}

impl Sided for SocketAddrV4 {
    fn split(history: &mut History) -> (&mut Side<Self>, Sibling<'_>, &mut ChaCha8Rng) {
        let sibling = Sibling::V6(&history.v6.node);
        (&mut history.v4, sibling, &mut history.rng)
    }
}

impl Sided for SocketAddrV6 {
    fn split(history: &mut History) -> (&mut Side<Self>, Sibling<'_>, &mut ChaCha8Rng) {
        let sibling = Sibling::V4(&history.v4.node);
        (&mut history.v6, sibling, &mut history.rng)
    }
}

impl History {
    fn side<A: Sided>(&mut self) -> &mut Side<A> {
        A::split(self).0
    }

    fn apply<A: Sided>(&mut self, op: Op<'_>) {
        let now = self.now;
        match op {
            Op::Datagram { from, bytes } => self.deliver(A::address(from), bytes),
            Op::Reply {
                query,
                from,
                returns,
            } => {
                if let Some((to, transaction)) = self.pick::<A>(query) {
                    let from = if from < 128 { to } else { A::address(from) };
                    let mut datagram = b"d1:r".to_vec();
                    datagram.extend_from_slice(returns);
                    datagram.extend_from_slice(format!("1:t{}:", transaction.len()).as_bytes());
                    datagram.extend_from_slice(&transaction);
                    datagram.extend_from_slice(b"1:y1:re");
                    self.deliver(from, &datagram);
                }
            }
            Op::Error { query, code } => {
                if let Some((to, transaction)) = self.pick::<A>(query) {
                    let codes = [201, 202, 203, 204, 205, 206, 207, 301, 302, 0, -1, i64::MIN];
                    let code = ErrorCode::of(codes[usize::from(code) % codes.len()]);
                    let mut datagram = Vec::new();
                    Message::error(&transaction, ErrorReply::from(code)).encode(&mut datagram);
                    self.deliver(to, &datagram);
                }
            }
            Op::Answer {
                query,
                id,
                extras,
                named,
            } => self.answer::<A>(query, id, extras, named),
            Op::Answers { rounds, silent } => {
                for _ in 0..=rounds % 12 {
                    self.answer_all::<A>(silent);
                }
            }
            Op::Ask {
                from,
                id,
                what,
                target,
                flags,
            } => self.ask::<A>(
                A::address(from),
                A::id(id, self.is_secure),
                what,
                target,
                flags,
            ),
            Op::Pass(how) => self.pass(how),
            Op::Command {
                what,
                target,
                flags,
            } => {
                let request = request(what, target, flags);
                let (side, _, rng) = A::split(self);
                side.start(now, request, rng);
            }
            Op::Cancel(which) => self.side::<A>().cancel(which),
            Op::Join(seeds) => {
                let seeds = seeds.iter().map(|seed| A::address(*seed));
                let seeds: Vec<A> = seeds.filter(|seed| seed.is_contactable()).collect();
                let (side, _, rng) = A::split(self);
                side.join(now, &seeds, rng);
            }
            Op::Restart => self.restart(),
            Op::Adopt(pairs) => {
                for contact in contacts::<A>(pairs, self.is_secure) {
                    self.side().adopt(now, contact);
                }
            }
        }
    }

    fn deliver<A: Sided>(&mut self, from: A, datagram: &[u8]) {
        if self.budget == 0 {
            return;
        }
        self.budget -= 1;
        let now = self.now;
        let (side, sibling, rng) = A::split(self);
        side.receive(now, from, datagram, sibling, rng);
    }

    /// One of the queries under way, the last one first: to whom, and its transaction.
    fn pick<A: Sided>(&mut self, query: u8) -> Option<(A, Vec<u8>)> {
        let asked = &self.side::<A>().asked;
        let place = usize::from(query) % asked.len().max(1);
        let asked = asked.iter().rev().nth(place)?;
        Some((asked.to, asked.transaction.clone()))
    }

    /// Who is at an address, as far as is known.
    fn id_at<A: Sided>(&mut self, address: A) -> Id {
        let is_secure = self.is_secure;
        let inhabitant = address.inhabitant().map(|byte| A::id(byte, is_secure));
        let named = &self.side::<A>().named;
        let known = named.get(&address).copied().or(inhabitant);
        known.unwrap_or(Id::MAX)
    }

    /// Somebody answers as he likes.
    fn answer<A: Sided>(&mut self, query: u8, id: u8, extras: u8, named: &[u8]) {
        let Some((to, transaction)) = self.pick::<A>(query) else {
            return;
        };
        let is_secure = self.is_secure;
        let named = contacts::<A>(named, is_secure);
        for contact in &named {
            self.side().named.insert(contact.address, contact.id);
        }
        let id = match id {
            0 => self.id_at(to),
            id => A::id(id, is_secure),
        };
        let asked = self.side::<A>().asked.iter();
        let mut asked = asked.filter(|asked| asked.to == to && asked.transaction == transaction);
        let Some(datagram) = asked.next_back().map(|asked| asked.datagram.clone()) else {
            return;
        };
        let has = |bit: u8| extras & bit != 0;
        let mut reply = Reply::new(id);
        let peers: Vec<A> = (0..90).map(A::address).collect();
        let ids: Vec<Id> = (0..20).map(world::target).collect();
        let token = [extras; 64];
        if has(extras::TOKEN) {
            reply.token = Some(&token[..if has(extras::LONG_TOKEN) { 64 } else { 8 }]);
        }
        if has(extras::PEERS) {
            A::put_peers(
                &mut reply,
                &peers[..if has(extras::FAR_AWAY) { 90 } else { 3 }],
            );
        }
        if has(extras::SAMPLES) {
            reply.samples = Some(Samples {
                ids: Ids::from(&ids[..]),
                interval: u32::from(extras),
                total: u64::MAX >> 1,
            });
        }
        let filter = [extras; FILTER_LEN];
        if has(extras::SCRAPE) {
            reply.scrape = Some(Scrape {
                seeds: &filter,
                peers: &filter,
            });
        }
        A::put_contacts(&mut reply, Contacts::from(&named[..]));
        if has(extras::ITEM) || has(extras::OTHER_ITEM) {
            let item = match target_of(&datagram).and_then(world::item_of) {
                Some(item) if !has(extras::OTHER_ITEM) => item,
                _ => &ITEMS[usize::from(extras) % ITEMS.len()],
            };
            reply.item = told(item, query);
        }
        let mut datagram = Vec::new();
        Message::reply(&transaction, reply).encode(&mut datagram);
        let from = match query {
            0..128 => to,
            elsewhere => A::address(elsewhere),
        };
        self.deliver(from, &datagram);
    }

    /// All that were asked answer as honest nodes do, those left out whom `silent` means.
    fn answer_all<A: Sided>(&mut self, silent: u8) {
        let asked = std::mem::take(&mut self.side::<A>().asked);
        self.advance_to(self.now + ROUND_TRIP);
        let mut left = Vec::new();
        for asked in asked {
            let number = asked.to.inhabitant().unwrap_or_default();
            let is_silent = silent & 1 << (number % 8) != 0;
            let answer = match is_silent {
                true => None,
                false => self.honest_answer(&asked),
            };
            let to = asked.to;
            // It is one of those that are under way again, for whoever looks at what comes.
            left.push(asked);
            if let Some(answer) = answer {
                let place = left.len() - 1;
                let asked = left.remove(place);
                self.side::<A>().asked.push(asked);
                self.deliver(to, &answer);
            }
        }
        let side = self.side::<A>();
        left.append(&mut side.asked);
        side.asked = left;
    }

    /// What an honest node says; nobody is at an address that is no inhabitant's.
    fn honest_answer<A: Sided>(&mut self, asked: &Asked<A>) -> Option<Vec<u8>> {
        let number = asked.to.inhabitant()?;
        let Ok(Message {
            body: Body::Query(query),
            ..
        }) = Message::decode(&asked.datagram)
        else {
            panic!("it was a query");
        };
        let is_secure = self.is_secure;
        let mut closest: Vec<Contact<A>> = (0..INHABITANTS)
            .map(|byte| Contact {
                id: A::id(byte, is_secure),
                address: A::address(byte),
            })
            .collect();
        let mut name = |target: Id| closest.sort_by_key(|contact| target.distance(contact.id));
        let own = A::id(number, is_secure);
        let token = [number; 8];
        let mut reply = Reply::new(own);
        let peers = [A::address(number), A::address(number + INHABITANTS)];
        match query.call {
            Call::Ping => name(own),
            Call::FindNode { target, .. } => name(target),
            Call::GetPeers { info_hash, .. } => {
                name(info_hash);
                reply.token = Some(&token);
                A::put_peers(&mut reply, &peers[..usize::from(number % 3)]);
            }
            Call::Get { target, .. } => {
                name(target);
                reply.token = Some(&token);
                if let Some(item) = world::item_of(target)
                    && number % 2 == 0
                {
                    reply.item = told(item, number / 2);
                }
            }
            Call::SampleInfohashes { target, .. } => name(target),
            Call::AnnouncePeer { token: given, .. } | Call::Put(Put { token: given, .. })
                if given != token =>
            {
                let mut answer = Vec::new();
                let error = ErrorReply::from(ErrorCode::Protocol);
                Message::error(&asked.transaction, error).encode(&mut answer);
                return Some(answer);
            }
            _ => {}
        }
        if !matches!(
            query.call,
            Call::Ping | Call::AnnouncePeer { .. } | Call::Put(_)
        ) {
            A::put_contacts(&mut reply, Contacts::from(&closest[..8]));
        }
        let mut answer = Vec::new();
        Message::reply(&asked.transaction, reply).encode(&mut answer);
        Some(answer)
    }

    /// Somebody asks.
    fn ask<A: Sided>(&mut self, from: A, id: Id, what: u8, target: u8, flags: u8) {
        let has = |bit: u8| flags & 1 << bit != 0;
        let item = world::item(target);
        let target = world::target(target);
        let want = (has(0) || has(1)).then_some(Want {
            ipv4: has(0),
            ipv6: has(1),
        });
        let tokens = &self.side::<A>().tokens;
        let ip = from.ip_address();
        let mut known = tokens.iter().rev();
        let token = match has(2) {
            true => known.find(|(to, of, _)| *to == ip && *of == target),
            // One of somebody else's, or for something else.
            false => known.next(),
        };
        let token = token.map_or(vec![flags; 8], |(.., token)| token.clone());
        let mut put = item.put(flags >> 5, has(3).then(|| i64::from(flags >> 4)));
        if let Some(signed) = &mut put.mutable
            && what & 0x80 != 0
        {
            // Of a version that nobody has signed.
            signed.sequence ^= 2;
        }
        let call = match what % 8 {
            0 => Call::Ping,
            1 => Call::FindNode { target, want },
            2 => Call::GetPeers {
                info_hash: target,
                want,
                no_seeds: has(5),
                scrape: has(6),
            },
            3 => Call::AnnouncePeer {
                info_hash: target,
                port: match NonZeroU16::new(u16::from(flags)) {
                    Some(port) if has(5) => AnnouncedPort::Given(port),
                    fallback => AnnouncedPort::Implied { fallback },
                },
                token: &token,
                is_seed: has(6),
            },
            4 => Call::Get {
                target,
                sequence: has(5).then(|| i64::from(flags >> 6)),
                want,
            },
            5 => Call::Put(Put {
                token: &token,
                value: Raw::parse(&put.value).expect("it is bencode"),
                mutable: put.mutable.as_ref().map(|signed| MutablePut {
                    key: &signed.key,
                    salt: &signed.salt,
                    sequence: signed.sequence,
                    signature: &signed.signature,
                    cas: signed.cas,
                }),
            }),
            6 => Call::SampleInfohashes { target, want },
            _ => Call::Unknown {
                method: b"vote",
                target,
                want,
            },
        };
        let query = Query {
            id,
            is_read_only: has(7) && has(3),
            call,
        };
        let transaction = [flags, what];
        let mut datagram = Vec::new();
        let length = if has(4) {
            320
        } else if has(7) {
            1_452
        } else {
            0
        };
        Message::query(&transaction, query).encode_padded(length, &mut datagram);
        self.deliver(from, &datagram);
    }

    /// Wakes both nodes when they want to be, until then.
    fn advance_to(&mut self, until: Nanos) {
        for _ in 0..MAX_WAKES {
            let next = self.v4.node.wake_at().min(self.v6.node.wake_at());
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            self.wake();
        }
        self.now = until;
        self.wake();
    }

    fn wake(&mut self) {
        self.v4.wake(self.now, &mut self.rng);
        self.v6.wake(self.now, &mut self.rng);
    }

    fn pass(&mut self, how: u8) {
        let span = match how % 64 {
            // From a millisecond on, doubled each time, to half a minute.
            short @ 0..16 => (SECOND / 1_000) << short,
            // Up to two hours.
            minutes => u64::from(minutes - 15) * 150 * SECOND,
        };
        let until = self.now + span;
        // In time, or late, as on a machine that slept.
        if how & 0x80 == 0 {
            self.advance_to(until);
        } else {
            self.now = until;
            self.wake();
        }
    }

    /// The process ends, and another one begins with what it has saved.
    fn restart(&mut self) {
        let saved = Saved {
            id: OWN,
            v4: self.v4.node.table().contacts().collect(),
            v6: self.v6.node.table().contacts().collect(),
        };
        let saved = match Saved::decode(&saved.encode()) {
            Ok(read) if read == saved => read,
            other => panic!("{saved:?} was saved, and read as {other:?}"),
        };
        let now = self.now;
        let config = Arc::new(self.v4.node.config().clone());
        let node = Node::new(OWN, config.clone(), now, &mut self.rng);
        self.v4.restart(now, node, &saved.v4);
        let node = Node::new(OWN, config, now, &mut self.rng);
        self.v6.restart(now, node, &saved.v6);
    }

    /// Nobody answers any more.
    fn end(&mut self) {
        let began = self.now;
        let mut wakes = 0;
        while self.v4.wanted() + self.v6.wanted() > 0 {
            let next = self.v4.node.wake_at().min(self.v6.node.wake_at());
            self.now = self.now.max(next);
            self.wake();
            wakes += 1;
            assert!(self.now - began < LONGEST_LOOKUP, "a lookup does not end");
            assert!(wakes < MAX_LAST_WAKES, "it wants to be woken all the time");
        }
        // Longer than anything is stored.
        self.now += 3 * 3_600 * SECOND;
        self.wake();
        self.v4.check();
        self.v6.check();
        self.v4.check_forgotten(self.now);
        self.v6.check_forgotten(self.now);
    }
}

/// What a query is about.
fn target_of(datagram: &[u8]) -> Option<Id> {
    match Message::decode(datagram).ok()?.body {
        Body::Query(query) => match query.call {
            Call::FindNode { target, .. }
            | Call::Get { target, .. }
            | Call::SampleInfohashes { target, .. }
            | Call::Unknown { target, .. } => Some(target),
            Call::GetPeers { info_hash, .. } | Call::AnnouncePeer { info_hash, .. } => {
                Some(info_hash)
            }
            Call::Ping | Call::Put(_) => None,
        },
        _ => None,
    }
}

/// What a reply has of a version of an item.
fn told(item: &'static world::Item, version: u8) -> Item<'static> {
    let (sequence, value, signature) = item.version(version);
    let is_mutable = item.key.is_some();
    Item {
        value: Raw::parse(value).ok(),
        key: item.key.as_ref().map(|(key, _)| key),
        sequence: is_mutable.then_some(*sequence),
        signature: is_mutable.then_some(signature),
    }
}

/// Whom pairs of bytes name: an id and an address each.
fn contacts<A: Family>(pairs: &[u8], is_secure: bool) -> Vec<Contact<A>> {
    let (pairs, _) = pairs.as_chunks::<2>();
    let contact = |[id, address]: &[u8; 2]| Contact {
        id: A::id(*id, is_secure),
        address: A::address(*address),
    };
    pairs.iter().map(contact).collect()
}

/// What a node is told to do.
fn request(what: u8, target: u8, flags: u8) -> Request {
    let item = world::item(target);
    let info_hash = world::target(target);
    match what % 7 {
        0 => Request::FindNode { target: info_hash },
        1 => Request::GetPeers {
            info_hash,
            no_seeds: flags & 1 != 0,
        },
        2 => Request::Announce {
            info_hash,
            port: NonZeroU16::new(u16::from(flags >> 1)),
            is_seed: flags & 1 != 0,
        },
        3 => Request::Get {
            target: info_hash,
            salt: match &item.key {
                Some((_, salt)) => salt.clone(),
                None => Vec::new(),
            },
            is_mutable: item.key.is_some() ^ (flags & 1 != 0),
        },
        4 => Request::Put(item.put(
            flags >> 4,
            (flags & 1 != 0).then_some(i64::from(flags >> 5)),
        )),
        5 => Request::Sample { target: info_hash },
        // What nobody would take.
        _ => Request::Put(PutRequest {
            value: [&b"d1:bi1e1:ai1ee"[..], b"", b"i1", b"2000:"][usize::from(flags % 4)].to_vec(),
            ..item.put(flags >> 4, None)
        }),
    }
}
