//! Strangers that write: a few addresses of one mind that ask honest nodes for tokens and try what can be tried with
//! them, in every run.
//!
//! They put items of their own, forwards, backwards and with every kind of `cas`; items of others with what is not
//! signed so; with tokens of this period, of the one before and of those long past, from the address that was given
//! them and from an accomplice's; they announce themselves at ports that there are and at port 0; and they send what is
//! no bencode. Nothing here says what must come of it: [`Registers`](super::register::Registers) does.
//!
//! They answer nothing, so they are in nobody's table, and look nothing up: they write where they like.

use holdfast_kademlia::{
    Id, Message,
    bencode::{Raw, write_bytes, write_dictionary, write_integer},
    item::{self, SecretKey},
    krpc::{
        AnnouncedPort, Body, Call, DATAGRAM_LIMIT_BYTES, ITEM_REPLY_LIMIT_BYTES, KEY_LEN,
        MutablePut, Put, Query, SIGNATURE_LEN,
    },
};
use holdfast_sim::{
    draw::{Domain, Draws},
    overlay::{Addresses, Chance, Post},
};
use std::{collections::BTreeMap, net::SocketAddrV4, num::NonZeroU16, sync::Arc};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// How many there are.
pub const PROBES: u32 = 3;
/// For so long they are busy; then they come back from time to time.
const BUSY: u64 = 240 * SECOND;
/// Between two steps of one that is busy, and of one that is not.
const PACES: [(u64, u64); 2] = [(400 * MS, 700 * MS), (4 * SECOND, 12 * SECOND)];
/// Tokens that each keeps, and questions that wait for an answer.
const MOST_GRANTS: usize = 48;
const MOST_ASKED: usize = 64;
/// Nodes that one of them bothers at a time, and for how long.
const VICTIMS: u64 = 3;
const BOTHERS_FOR: u64 = 100 * SECOND;
/// Torrents of which one of them makes a single node keep peers: more than fit into an answer beside contacts.
const HOARD: u32 = 48;
/// The salts of their own items.
const SALTS: [&[u8]; 3] = [b"", b"salt", b"another salt"];

/// An item that somebody else has signed.
#[derive(Clone, Debug)]
pub struct Foreign {
    pub key: [u8; KEY_LEN],
    pub salt: Vec<u8>,
    pub sequence: i64,
    pub value: Vec<u8>,
    pub signature: [u8; SIGNATURE_LEN],
}

/// What a token was asked for.
#[derive(Clone, Copy, Debug)]
enum What {
    /// An own item with this salt.
    Own(usize),
    /// A value.
    Value(u64),
    /// A torrent.
    Torrent(Id),
    /// Somebody else's item.
    Foreign(usize),
    /// Somebody else's key, and another salt.
    Mismatch(usize),
}

#[derive(Clone, Debug)]
struct Grant {
    victim: SocketAddrV4,
    what: What,
    token: Vec<u8>,
}

/// One of them.
#[derive(Clone, Debug)]
struct Probe {
    node: u32,
    id: Id,
    grants: Vec<Grant>,
    hoarded: u32,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Probes {
    addresses: Addresses,
    seed: u64,
    draws: Draws,
    key: Arc<SecretKey>,
    began: u64,
    /// Honest nodes are below.
    honest: u32,
    all: Vec<Probe>,
    asked: BTreeMap<u32, (u32, SocketAddrV4, What)>,
    transactions: u32,
    /// The highest sequence number of their own items.
    sequence: i64,
    foreign: Vec<Foreign>,
}

impl Probes {
    /// Nobody yet.
    pub fn new(seed: u64, addresses: Addresses) -> Self {
        let mut secret = [0x5a; 32];
        secret[..8].copy_from_slice(&seed.to_be_bytes());
        Probes {
            addresses,
            seed,
            draws: Draws::new(seed, Domain::Scenario, 1 << 41),
            key: Arc::new(SecretKey::from_seed(&secret)),
            began: 0,
            honest: 0,
            all: Vec::new(),
            asked: BTreeMap::new(),
            transactions: 0,
            sequence: 1,
            foreign: Vec::new(),
        }
    }

    /// Tells them of one of theirs, and how many honest nodes there are before it.
    pub fn enlist(&mut self, now: u64, node: u32, id: Id, honest: u32) {
        (self.began, self.honest) = (now, honest);
        self.all.push(Probe {
            node,
            id,
            grants: Vec::new(),
            hoarded: 0,
        });
    }

    /// Tells them of an item that somebody has put.
    pub fn learn(&mut self, item: Foreign) {
        if self.foreign.len() >= MOST_GRANTS {
            self.foreign.remove(0);
        }
        self.foreign.push(item);
    }

    /// An item that somebody has put: under `target`, or else any.
    pub fn foreign(&self, target: Id, chance: u64) -> Option<&Foreign> {
        let count = self.foreign.len() as u64;
        let any = (count > 0).then(|| chance % count)?;
        let mut all = self.foreign.iter();
        let here = all.find(|item| item::mutable_target(&item.key, &item.salt) == target);
        here.or(self.foreign.get(any as usize))
    }

    /// Whether a node is one of theirs.
    pub fn is_own(&self, node: u32) -> bool {
        self.all.iter().any(|probe| probe.node == node)
    }

    fn place(&self, node: u32) -> usize {
        let mut all = self.all.iter();
        all.position(|probe| probe.node == node).unwrap_or(0)
    }

    fn chance(&mut self) -> Chance {
        Chance::new(self.draws.bits(), 0, 0)
    }

    /// Takes an answer in.
    pub fn receive(&mut self, own: u32, from: SocketAddrV4, message: &Message<'_>) {
        let Body::Reply(reply) = &message.body else {
            return;
        };
        let Ok(transaction) = message.transaction.try_into().map(u32::from_be_bytes) else {
            return;
        };
        let asked = self.asked.remove(&transaction);
        let Some((asker, victim, what)) = asked else {
            return;
        };
        let Some(token) = reply
            .token
            .filter(|t| !t.is_empty() && asker == own && victim == from)
        else {
            return;
        };
        let place = self.place(own);
        let grants = &mut self.all[place].grants;
        if grants.len() >= MOST_GRANTS {
            // Neither always the oldest nor always the last: some must grow old.
            let goes = self.draws.range(0, MOST_GRANTS as u64) as usize;
            grants.swap_remove(goes);
        }
        let token = token.to_vec();
        self.all[place].grants.push(Grant {
            victim,
            what,
            token,
        });
    }

    /// The time has come for one of them.
    pub fn wake(&mut self, now: u64, own: u32, post: &mut Post) {
        let (least, most) = PACES[usize::from(now - self.began > BUSY)];
        post.wake(now + self.draws.range(least, most), own);
        let place = self.place(own);
        if place == 0 && self.all[0].hoarded <= 2 * HOARD {
            self.hoard(post);
            return;
        }
        let victim = self.victim(now, own);
        match self.draws.range(0, 100) {
            0..12 => self.garble(own, victim, post),
            12..16 => self.sample(own, victim, post),
            16..60 => {
                let what = self.any_what();
                self.ask(own, victim, what, post);
            }
            _ if self.all[place].grants.is_empty() => {
                let what = self.any_what();
                self.ask(own, victim, what, post);
            }
            _ => self.use_grant(place, post),
        }
    }

    /// Whom one of them bothers now.
    fn victim(&mut self, now: u64, own: u32) -> SocketAddrV4 {
        let which = self.draws.range(0, VICTIMS);
        let turn = now / BOTHERS_FOR * VICTIMS + which;
        let bits = Draws::new(self.seed, Domain::Target, u64::from(own)).nth(turn);
        let node = bits % u64::from(self.honest.max(1));
        self.addresses.address(node as u32)
    }

    fn any_what(&mut self) -> What {
        let others = self.foreign.len() as u64;
        match self.draws.range(0, 10) {
            0..3 => What::Own(self.draws.range(0, SALTS.len() as u64) as usize),
            3..5 => What::Value(self.draws.range(0, 12)),
            5 | 6 => What::Torrent(self.torrent()),
            7 | 8 if others > 0 => What::Foreign(self.draws.range(0, others) as usize),
            9 if others > 0 => What::Mismatch(self.draws.range(0, others) as usize),
            _ => What::Own(0),
        }
    }

    fn torrent(&mut self) -> Id {
        let which = self.draws.range(0, 4);
        Id::random(&mut Chance::new(self.seed, u32::MAX, which as u32))
    }

    fn target(&self, what: What) -> Id {
        match what {
            What::Own(salt) => item::mutable_target(self.key.public(), SALTS[salt]),
            What::Value(n) => {
                let value = value(n);
                item::immutable_target(Raw::parse(&value).expect("it was written"))
            }
            What::Torrent(info_hash) => info_hash,
            What::Foreign(place) => {
                let item = &self.foreign[place];
                item::mutable_target(&item.key, &item.salt)
            }
            What::Mismatch(place) => {
                let item = &self.foreign[place];
                item::mutable_target(&item.key, &other_salt(&item.salt))
            }
        }
    }

    fn send(
        &mut self,
        from: u32,
        to: SocketAddrV4,
        call: Call<'_>,
        length: usize,
        post: &mut Post,
    ) -> u32 {
        self.transactions += 1;
        let mut query = Query::new(self.all[self.place(from)].id, call);
        query.is_read_only = true;
        let transaction = self.transactions.to_be_bytes();
        post.send(from, to, |bytes| {
            Message::query(&transaction, query).encode_padded(length, bytes);
        });
        self.transactions
    }

    fn ask(&mut self, own: u32, victim: SocketAddrV4, what: What, post: &mut Post) {
        let target = self.target(what);
        let call = match what {
            What::Torrent(info_hash) => Call::GetPeers {
                info_hash,
                want: None,
                no_seeds: self.draws.chance(0.2),
                scrape: self.draws.chance(0.25),
            },
            _ => Call::Get {
                target,
                sequence: self
                    .draws
                    .chance(0.2)
                    .then(|| self.draws.range(0, 4) as i64),
                want: None,
            },
        };
        let transaction = self.send(own, victim, call, ITEM_REPLY_LIMIT_BYTES, post);
        if self.asked.len() >= MOST_ASKED {
            self.asked.pop_first();
        }
        self.asked.insert(transaction, (own, victim, what));
    }

    fn sample(&mut self, own: u32, victim: SocketAddrV4, post: &mut Post) {
        let target = Id::random(&mut self.chance());
        let call = Call::SampleInfohashes { target, want: None };
        self.send(own, victim, call, DATAGRAM_LIMIT_BYTES - 100, post);
    }

    /// The first of them fills one node with torrents, and then asks it for a sample.
    fn hoard(&mut self, post: &mut Post) {
        let own = self.all[0].node;
        let victim = self.addresses.address(self.honest / 2);
        let step = self.all[0].hoarded;
        self.all[0].hoarded += 1;
        if step == 2 * HOARD {
            self.sample(own, victim, post);
            return;
        }
        let of = Id::random(&mut Chance::new(self.seed, u32::MAX - 1, step / 2));
        if step.is_multiple_of(2) {
            self.ask(own, victim, What::Torrent(of), post);
            return;
        }
        let grants = &self.all[0].grants;
        let is_it =
            |grant: &&Grant| matches!(grant.what, What::Torrent(info_hash) if info_hash == of);
        if let Some(grant) = grants.iter().find(is_it).cloned() {
            let port = AnnouncedPort::Implied { fallback: None };
            self.announce(own, &grant.token, of, port, victim, post);
        }
    }

    fn announce(
        &mut self,
        from: u32,
        token: &[u8],
        info_hash: Id,
        port: AnnouncedPort,
        to: SocketAddrV4,
        post: &mut Post,
    ) {
        let call = Call::AnnouncePeer {
            info_hash,
            port,
            token,
            is_seed: self.draws.chance(0.3),
        };
        self.send(from, to, call, 0, post);
    }

    /// Writes something with a token, right or wrong.
    fn use_grant(&mut self, place: usize, post: &mut Post) {
        let count = self.all[place].grants.len() as u64;
        let grant = self.all[place].grants[self.draws.range(0, count) as usize].clone();
        let mut token = grant.token.clone();
        let mut from = self.all[place].node;
        match self.draws.range(0, 20) {
            // An accomplice writes, with what was given to this one.
            0..4 => from = self.all[(place + 1) % self.all.len()].node,
            4 => token[0] ^= 1 << self.draws.range(0, 8),
            5 => token.clear(),
            6 => {
                // Of something else.
                let other = self.draws.range(0, count) as usize;
                token.clone_from(&self.all[place].grants[other].token);
            }
            _ => {}
        }
        match grant.what {
            What::Torrent(info_hash) => {
                let port = NonZeroU16::new(self.draws.range(1, 65_536) as u16);
                match (self.draws.range(0, 3), port) {
                    (0, _) => self.announce_nowhere(from, &token, info_hash, grant.victim, post),
                    (1, Some(port)) => {
                        let port = AnnouncedPort::Given(port);
                        self.announce(from, &token, info_hash, port, grant.victim, post);
                    }
                    _ => {
                        let port = AnnouncedPort::Implied { fallback: None };
                        self.announce(from, &token, info_hash, port, grant.victim, post);
                    }
                }
            }
            What::Value(n) => {
                let value = value(n);
                self.put(from, &token, &value, None, grant.victim, post);
            }
            What::Own(salt) => {
                let (salt, key) = (SALTS[salt], self.key.clone());
                let sequence = self.draws.range(0, self.sequence as u64 + 2) as i64;
                self.sequence = self.sequence.max(sequence);
                let value = value(self.draws.range(0, 3));
                let raw = Raw::parse(&value).expect("it was written");
                let mut signature = key.sign(salt, sequence, raw).expect("it can be signed");
                if self.draws.chance(0.1) {
                    signature[self.draws.range(0, 64) as usize] ^= 1;
                }
                let any = self.draws.range(0, self.sequence as u64 + 1) as i64;
                let mutable = MutablePut {
                    key: key.public(),
                    salt,
                    sequence,
                    signature: &signature,
                    cas: self.draws.chance(0.4).then_some(any),
                };
                self.put(from, &token, &value, Some(mutable), grant.victim, post);
            }
            What::Foreign(other) => {
                let mut item = self.foreign[other].clone();
                match self.draws.range(0, 4) {
                    // As it was: it is signed.
                    0 => {}
                    1 => item.value = value(100 + self.draws.range(0, 100)),
                    2 => item.sequence += 1,
                    _ => item.signature[self.draws.range(0, 64) as usize] ^= 1,
                }
                self.put_foreign(from, &token, &item, grant.victim, post);
            }
            What::Mismatch(other) => {
                let mut item = self.foreign[other].clone();
                item.salt = other_salt(&item.salt);
                self.put_foreign(from, &token, &item, grant.victim, post);
            }
        }
    }

    fn put_foreign(
        &mut self,
        from: u32,
        token: &[u8],
        item: &Foreign,
        to: SocketAddrV4,
        post: &mut Post,
    ) {
        let mutable = MutablePut {
            key: &item.key,
            salt: &item.salt,
            sequence: item.sequence,
            signature: &item.signature,
            cas: None,
        };
        self.put(from, token, &item.value, Some(mutable), to, post);
    }

    fn put(
        &mut self,
        from: u32,
        token: &[u8],
        value: &[u8],
        mutable: Option<MutablePut<'_>>,
        to: SocketAddrV4,
        post: &mut Post,
    ) {
        let value = Raw::parse(value).expect("values are well-formed");
        let put = Put {
            token,
            value,
            mutable,
        };
        self.send(from, to, Call::Put(put), 0, post);
    }

    /// Announces itself at port 0, which nothing that is typed can say.
    fn announce_nowhere(
        &mut self,
        from: u32,
        token: &[u8],
        info_hash: Id,
        to: SocketAddrV4,
        post: &mut Post,
    ) {
        self.transactions += 1;
        let transaction = self.transactions.to_be_bytes();
        let id = self.all[self.place(from)].id;
        post.send(from, to, |bytes| {
            write_dictionary(bytes, |top| {
                top.dictionary(b"a", |arguments| {
                    arguments.bytes(b"id", id.as_bytes());
                    arguments.bytes(b"info_hash", info_hash.as_bytes());
                    arguments.integer(b"port", 0);
                    arguments.bytes(b"token", token);
                });
                top.bytes(b"q", b"announce_peer");
                top.integer(b"ro", 1);
                top.bytes(b"t", &transaction);
                top.bytes(b"y", b"q");
            });
        });
    }

    /// Asks whether somebody is there, and adds what is no bencode under a key that means nothing.
    fn garble(&mut self, from: u32, to: SocketAddrV4, post: &mut Post) {
        let depth = self.draws.range(33, 500) as usize;
        let what: Vec<u8> = match self.draws.range(0, 6) {
            0 => b"i-0e".to_vec(),
            1 => b"i007e".to_vec(),
            // Two to the power of 64, and three.
            2 => b"18446744073709551619:abc".to_vec(),
            3 => [&b"l".repeat(depth)[..], &b"e".repeat(depth)].concat(),
            4 => b"99999:abc".to_vec(),
            _ => b"03:abc".to_vec(),
        };
        self.transactions += 1;
        let transaction = self.transactions.to_be_bytes();
        let id = self.all[self.place(from)].id;
        post.send(from, to, |bytes| {
            let mut query = Query::new(id, Call::Ping);
            query.is_read_only = true;
            Message::query(&transaction, query).encode(bytes);
            assert_eq!(bytes.pop(), Some(b'e'), "a message is a dictionary");
            write_bytes(bytes, b"z");
            bytes.extend_from_slice(&what);
            bytes.push(b'e');
        });
    }
}

/// Values of all kinds. Every fourth is an integer of more bits than a machine word has.
pub fn value(n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    match n % 4 {
        0 => bytes.extend_from_slice(format!("i3402823669209384634633746{n}e").as_bytes()),
        1 => write_integer(&mut bytes, -(n as i64) - 1),
        2 => write_dictionary(&mut bytes, |entries| {
            entries.bytes(b"name", format!("value {n}").as_bytes());
            entries.integer(b"number", n as i64);
        }),
        _ => write_bytes(&mut bytes, &vec![b'v'; 1 + (n * 37 % 900) as usize]),
    }
    bytes
}

fn other_salt(salt: &[u8]) -> Vec<u8> {
    match salt {
        [] => b"other".to_vec(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_canonical_and_short_enough() {
        for n in 0..400 {
            let value = value(n);
            let raw = Raw::parse(&value).expect("bencode");
            assert_eq!(item::check_value(raw), Ok(()), "{n}");
        }
    }

    #[test]
    fn what_it_garbles_is_refused_by_every_reader() {
        let mut probes = Probes::new(1, Addresses::new(0));
        probes.enlist(0, 7, Id::MAX, 7);
        let to = Addresses::new(0).address(0);
        let mut post = Post::default();
        for _ in 0..60 {
            probes.garble(7, to, &mut post);
            probes.announce_nowhere(7, b"token", Id::ZERO, to, &mut post);
        }
        let sent: Vec<Vec<u8>> = post.sent().map(|(_, _, bytes)| bytes.to_vec()).collect();
        assert_eq!(sent.len(), 120);
        for datagram in sent {
            let text = datagram.escape_ascii();
            assert!(Message::decode(&datagram).is_err(), "{text}");
        }
    }
}
