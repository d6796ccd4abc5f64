//! Nodes that lie, and know of each other.

use super::probe::{Probes, value};
use holdfast_kademlia::{
    Id, Message,
    bencode::Raw,
    krpc::{
        Body, Call, Contact, Contacts, DATAGRAM_LIMIT_BYTES, ErrorCode, ErrorReply, Query, Reply,
    },
};
use holdfast_sim::{
    draw::{Domain, Draws},
    overlay::{Addresses, Adversary, Chance, Post},
};
use std::{collections::BTreeMap, net::SocketAddrV4};

const MS: u64 = 1_000_000;
/// Contacts in a false answer: as many as in a true one.
const NAMED: usize = 8;
/// Bits that a made-up id shares with what was asked for: closer than anybody honest.
const CLOSE_BITS: u32 = 40;
/// Expectations that are remembered, at most.
const MOST_NAMES: usize = 50_000;
/// Contacts in an answer that is far too long, and still read.
const MANY_NAMED: usize = 64;
/// Datagrams that a liar sends at one prompt.
const VOLLEY: usize = 8;

/// What a liar does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Names nodes that do not exist, close to what is asked for.
    Bogus,
    /// Names its accomplices, each time under ids close to what is asked for, and they answer under them.
    Sybil,
    /// Names honest nodes' addresses under ids that are not theirs.
    Misname,
    /// Has the answer come from another address than the one that was asked.
    Elsewhere,
    /// Sends answers and errors that nobody asked for, and bytes that mean nothing.
    Flood,
    /// Asks in the name of honest nodes, in as few bytes as it takes, so that long answers hit them.
    Reflect,
    /// Asks under made-up ids, from addresses that are not its own.
    Pose,
    /// Answers nothing.
    Silent,
    /// Gives what was never put: values of another hash, items that nobody has signed so, peers at port 0.
    Poison,
    /// Answers at a length that no answer may have, or that none needs.
    Overlong,
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 10] = [
        Lie::Bogus,
        Lie::Sybil,
        Lie::Misname,
        Lie::Elsewhere,
        Lie::Flood,
        Lie::Reflect,
        Lie::Pose,
        Lie::Silent,
        Lie::Poison,
        Lie::Overlong,
    ];

    /// Its name in records and marks.
    pub fn name(self) -> &'static str {
        match self {
            Lie::Bogus => "bogus-contacts",
            Lie::Sybil => "sybils-near-a-target",
            Lie::Misname => "honest-address-under-a-false-id",
            Lie::Elsewhere => "answer-from-elsewhere",
            Lie::Flood => "flood",
            Lie::Reflect => "forged-source",
            Lie::Pose => "query-under-a-false-id",
            Lie::Silent => "silent",
            Lie::Poison => "poisoned-store",
            Lie::Overlong => "overlong-answer",
        }
    }
}

/// All liars of one overlay.
#[derive(Clone, Debug)]
pub struct Liars {
    addresses: Addresses,
    draws: Draws,
    lies: Vec<Lie>,
    /// Their nodes.
    own: Vec<u32>,
    /// How many nodes there are in all; an address beyond them is nobody's.
    all: u32,
    /// Whom an asker expects at one of their addresses.
    names: BTreeMap<(SocketAddrV4, u32), Id>,
    /// Their ids where nobody expects another one.
    ids: BTreeMap<u32, Id>,
    /// Those who write.
    pub probes: Probes,
    /// How often each lie was told.
    pub told: BTreeMap<Lie, u64>,
}

impl Liars {
    /// Nobody yet.
    pub fn new(seed: u64, addresses: Addresses, lies: Vec<Lie>) -> Self {
        Liars {
            addresses,
            draws: Draws::new(seed, Domain::Scenario, 1 << 40),
            lies,
            own: Vec::new(),
            all: 0,
            names: BTreeMap::new(),
            ids: BTreeMap::new(),
            probes: Probes::new(seed, addresses),
            told: BTreeMap::new(),
        }
    }

    /// Tells them of one of theirs.
    pub fn enlist(&mut self, node: u32, id: Id) {
        self.own.push(node);
        self.ids.insert(node, id);
    }

    /// Tells them how many nodes there are.
    pub fn learn(&mut self, all: u32) {
        self.all = all;
    }

    fn lie(&mut self) -> Lie {
        *self.draws.pick(&self.lies)
    }

    fn tell(&mut self, lie: Lie) {
        *self.told.entry(lie).or_default() += 1;
    }

    fn chance(&mut self) -> Chance {
        Chance::new(self.draws.bits(), 0, 0)
    }

    fn any_honest(&mut self) -> u32 {
        for _ in 0..64 {
            let node = self.draws.range(0, u64::from(self.all.max(1))) as u32;
            if !self.ids.contains_key(&node) && !self.probes.is_own(node) {
                return node;
            }
        }
        0
    }

    fn close_to(&mut self, target: Id) -> Id {
        target.random_with_prefix(CLOSE_BITS, &mut self.chance())
    }

    /// Whom a lie names.
    fn named(&mut self, lie: Lie, asker: SocketAddrV4, target: Id) -> Vec<Contact<SocketAddrV4>> {
        let count = match lie {
            Lie::Overlong => MANY_NAMED,
            _ => NAMED,
        };
        let mut named = Vec::with_capacity(count);
        for _ in 0..count {
            let id = self.close_to(target);
            let node = match lie {
                Lie::Sybil => {
                    let place = self.draws.range(0, self.own.len() as u64);
                    let node = self.own[place as usize];
                    if self.names.len() >= MOST_NAMES {
                        self.names.clear();
                    }
                    self.names.insert((asker, node), id);
                    node
                }
                Lie::Misname => self.any_honest(),
                _ => {
                    let free = u64::from(self.addresses.count() - self.all);
                    self.all + self.draws.range(0, free) as u32
                }
            };
            let address = self.addresses.address(node);
            named.push(Contact { id, address });
        }
        named
    }

    /// Sends what nobody asked for.
    fn flood(&mut self, own: u32, post: &mut Post) {
        let to = self.any_honest();
        let to = self.addresses.address(to);
        let transaction = (self.draws.bits() as u32).to_be_bytes();
        let id = Id::random(&mut self.chance());
        match self.draws.range(0, 4) {
            0 => {
                let contacts = self.named(Lie::Bogus, to, id);
                let mut reply = Reply::new(id);
                reply.nodes = Some(Contacts::from(&contacts[..]));
                post.send(own, to, |bytes| {
                    Message::reply(&transaction, reply).encode(bytes)
                });
            }
            1 => post.send(own, to, |bytes| {
                let error = ErrorReply {
                    code: ErrorCode::Generic,
                    message: b"no",
                };
                Message::error(&transaction, error).encode(bytes);
            }),
            2 => post.send(own, to, |bytes| {
                // A query, cut off.
                let query = Query::new(
                    id,
                    Call::FindNode {
                        target: id,
                        want: None,
                    },
                );
                Message::query(&transaction, query).encode(bytes);
                bytes.truncate(bytes.len() - 7);
            }),
            _ => {
                let length = self.draws.range(0, 400) as usize;
                let byte = self.draws.bits() as u8;
                post.send(own, to, |bytes| bytes.resize(bytes.len() + length, byte));
            }
        }
    }

    /// Asks in somebody else's name.
    fn ask_as(&mut self, from: u32, id: Id, target: Id, post: &mut Post) {
        let to = self.any_honest();
        let to = self.addresses.address(to);
        let transaction = [self.draws.bits() as u8];
        let call = Call::FindNode { target, want: None };
        post.send(from, to, |bytes| {
            Message::query(&transaction, Query::new(id, call)).encode(bytes);
        });
    }
}

impl Liars {
    /// Gives an item or peers that there are not.
    fn poison(
        &mut self,
        own: u32,
        (from, transaction): (SocketAddrV4, &[u8]),
        target: Id,
        post: &mut Post,
    ) {
        let mut reply = Reply::new(self.ids[&own]);
        reply.token = Some(b"poison");
        let bytes = value(self.draws.range(0, 1_000));
        reply.item.value = Raw::parse(&bytes).ok();
        let nowhere = [SocketAddrV4::new(*from.ip(), 0), from];
        reply.peers = nowhere[..].into();
        let bits = self.draws.bits();
        let foreign = self.probes.foreign(target, bits).cloned();
        if let Some(foreign) = foreign.as_ref().filter(|_| bits & 3 != 0) {
            reply.item.key = Some(&foreign.key);
            reply.item.signature = Some(&foreign.signature);
            // A number that is higher than any, or a value that belongs to another one.
            let is_ahead = bits & 4 != 0;
            reply.item.sequence = Some(foreign.sequence + 1_000 * i64::from(is_ahead));
            if is_ahead {
                reply.item.value = Raw::parse(&foreign.value).ok();
            }
        }
        post.send(own, from, |bytes| {
            Message::reply(transaction, reply).encode(bytes);
        });
        self.tell(Lie::Poison);
    }
}

impl Adversary for Liars {
    fn receive(&mut self, _: u64, own: u32, from: SocketAddrV4, datagram: &[u8], post: &mut Post) {
        let Ok(message) = Message::decode(datagram) else {
            return;
        };
        if self.probes.is_own(own) {
            self.probes.receive(own, from, &message);
            return;
        }
        let Body::Query(query) = message.body else {
            return;
        };
        let mut lie = self.lie();
        if lie == Lie::Silent {
            self.tell(lie);
            return;
        }
        let target = match query.call {
            Call::FindNode { target, .. }
            | Call::Get { target, .. }
            | Call::SampleInfohashes { target, .. } => Some(target),
            Call::GetPeers { info_hash, .. } => Some(info_hash),
            _ => None,
        };
        let wants_stored = matches!(query.call, Call::Get { .. } | Call::GetPeers { .. });
        if let Some(target) = target.filter(|_| lie == Lie::Poison && wants_stored) {
            self.poison(own, (from, message.transaction), target, post);
            return;
        }
        let expected = self.names.get(&(from, own)).copied();
        let mut reply = Reply::new(expected.unwrap_or(self.ids[&own]));
        let mut sender = own;
        let contacts;
        let mut length = 0;
        if let Some(target) = target {
            if !matches!(
                lie,
                Lie::Sybil | Lie::Misname | Lie::Elsewhere | Lie::Overlong
            ) {
                lie = Lie::Bogus;
            }
            if lie == Lie::Overlong && self.draws.chance(0.5) {
                length = DATAGRAM_LIMIT_BYTES + self.draws.range(1, 2_000) as usize;
            }
            if wants_stored {
                reply.token = Some(b"a token of a liar");
            }
            if lie == Lie::Elsewhere {
                sender = self.any_honest();
            }
            contacts = self.named(lie, from, target);
            reply.nodes = Some(Contacts::from(&contacts[..]));
            self.tell(lie);
        }
        post.send(sender, from, |bytes| {
            let start = bytes.len();
            Message::reply(message.transaction, reply).encode(bytes);
            // Beyond what is read of a datagram it does not matter what it says.
            let missing = (start + length).saturating_sub(bytes.len());
            bytes.extend(std::iter::repeat_n(b'e', missing));
        });
    }

    fn wake(&mut self, now: u64, own: u32, post: &mut Post) {
        if self.probes.is_own(own) {
            self.probes.wake(now, own, post);
            return;
        }
        post.wake(now + self.draws.range(500 * MS, 3_000 * MS), own);
        match self.lie() {
            Lie::Flood => {
                (0..VOLLEY).for_each(|_| self.flood(own, post));
                self.tell(Lie::Flood);
            }
            Lie::Reflect => {
                let victim = self.any_honest();
                let target = Id::random(&mut self.chance());
                self.ask_as(victim, target, target, post);
                self.tell(Lie::Reflect);
            }
            Lie::Pose => {
                let from = self.any_honest();
                let id = Id::random(&mut self.chance());
                self.ask_as(from, id, id, post);
                self.tell(Lie::Pose);
            }
            // Everybody wants to be known.
            _ => {
                let id = self.ids[&own];
                self.ask_as(own, id, id, post);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn liars(lie: Lie) -> Liars {
        let mut liars = Liars::new(1, Addresses::new(0), vec![lie]);
        liars.learn(10);
        for node in 7..10 {
            liars.enlist(node, Id::MAX);
        }
        liars
    }

    #[test]
    fn each_lie_names_whom_it_is_to() {
        let addresses = Addresses::new(0);
        let asker = addresses.address(0);
        let target = Id::ZERO;
        for (lie, range) in [(Lie::Sybil, 7..10), (Lie::Misname, 0..7)] {
            for contact in liars(lie).named(lie, asker, target) {
                assert!(contact.id.shared_bits(target) >= CLOSE_BITS);
                let node = addresses.index(contact.address).expect("an address");
                assert!(range.contains(&node), "{lie:?} names {node}");
            }
        }
        for contact in liars(Lie::Bogus).named(Lie::Bogus, asker, target) {
            assert!(addresses.index(contact.address) >= Some(10));
        }
    }
}
