//! Nodes that lie, and know of each other.

use holdfast_kademlia::{
    Id, Message,
    krpc::{Body, Call, Contact, Contacts, ErrorCode, ErrorReply, Query, Reply},
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
}

impl Lie {
    /// All of them.
    pub const ALL: [Lie; 8] = [
        Lie::Bogus,
        Lie::Sybil,
        Lie::Misname,
        Lie::Elsewhere,
        Lie::Flood,
        Lie::Reflect,
        Lie::Pose,
        Lie::Silent,
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
            if !self.ids.contains_key(&node) {
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
        let mut named = Vec::with_capacity(NAMED);
        for _ in 0..NAMED {
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

impl Adversary for Liars {
    fn receive(&mut self, _: u64, own: u32, from: SocketAddrV4, datagram: &[u8], post: &mut Post) {
        let Ok(message) = Message::decode(datagram) else {
            return;
        };
        let Body::Query(query) = message.body else {
            return;
        };
        let mut lie = self.lie();
        if lie == Lie::Silent {
            self.tell(lie);
            return;
        }
        let expected = self.names.get(&(from, own)).copied();
        let mut reply = Reply::new(expected.unwrap_or(self.ids[&own]));
        let mut sender = own;
        let contacts;
        if let Call::FindNode { target, .. } = query.call {
            if !matches!(lie, Lie::Sybil | Lie::Misname | Lie::Elsewhere) {
                lie = Lie::Bogus;
            }
            if lie == Lie::Elsewhere {
                sender = self.any_honest();
            }
            contacts = self.named(lie, from, target);
            reply.nodes = Some(Contacts::from(&contacts[..]));
            self.tell(lie);
        }
        post.send(sender, from, |bytes| {
            Message::reply(message.transaction, reply).encode(bytes);
        });
    }

    fn wake(&mut self, now: u64, own: u32, post: &mut Post) {
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
