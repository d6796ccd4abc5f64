//! How a node answers.
//!
//! To whom has not shown that he is where he says ([`crate::proven`]), nothing longer is sent than what came from there:
//! a false sender's address gains nothing. Nodes of this crate make their queries as long as the answers that they hope
//! for; others are told the closest contacts that fit, and more when they have answered a ping.

use crate::{
    Id, Node,
    config::{Mutant, Nanos},
    item,
    krpc::{
        Call, Contact, ContactV4, ContactV6, Contacts, DATAGRAM_LIMIT_BYTES, Endpoint, ErrorCode,
        ErrorReply, ITEM_REPLY_LIMIT_BYTES, Message, MutablePut, Put, Query, REPLY_LIMIT_BYTES,
        Reply, Scrape, TooLong, Want,
    },
    output::Outbox,
    peers::{Announcement, SAMPLE_LIMIT},
};
use rand::RngCore;
use std::net::{SocketAddrV4, SocketAddrV6};

/// Most peers of one answer that are looked for; what does not fit into it is left out.
const MAX_PEERS_TOLD: usize = 128;

/// The same node in the other address family, if it is in both (BEP 32).
#[derive(Clone, Copy, Debug)]
pub enum Sibling<'a> {
    /// It is in one only.
    None,
    /// In IPv4.
    V4(&'a Node<SocketAddrV4>),
    /// In IPv6.
    V6(&'a Node<SocketAddrV6>),
}

/// Who has asked, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a, A> {
    pub now: Nanos,
    pub from: A,
    pub transaction: &'a [u8],
    /// How long the query was.
    pub bytes: usize,
}

impl<A: Endpoint> Node<A> {
    /// Whether somebody is answered at all: not by a node that only asks, and not when he asks too much.
    pub(crate) fn admits(&mut self, now: Nanos, from: A) -> bool {
        let config = self.config.clone();
        !self.config.read_only && self.limiter.admit(now, from.ip_address(), &config.rates)
    }

    /// Sends an answer.
    pub(crate) fn send(
        &mut self,
        now: Nanos,
        to: A,
        message: Message<'_>,
        asked_bytes: usize,
        out: &mut Outbox<A>,
    ) {
        let mut message = message.with_requester(to.into());
        message.version = self.config.version.as_ref().map(|v| &v[..]);
        let has_item = matches!(
            &message.body,
            crate::krpc::Body::Reply(reply) if reply.item.value.is_some()
        );
        let most = match has_item {
            true => ITEM_REPLY_LIMIT_BYTES,
            false => REPLY_LIMIT_BYTES,
        };
        let most = match Mutant::ReplyOverlong.is_in(self.config.mutant) {
            true => DATAGRAM_LIMIT_BYTES,
            false => most,
        };
        let is_proven = self.proven.has(now, to) || Mutant::Amplified.is_in(self.config.mutant);
        let limit = match is_proven {
            true => most,
            false => most.min(asked_bytes),
        };
        let start = out.bytes.len();
        out.send(to, |bytes| {
            // What does not fit is left unsaid; nobody is owed an answer.
            let _ = fit(message, limit, bytes);
        });
        let length = out.bytes.len() - start;
        if !self.limiter.admit_answer(now, length, &self.config.rates) {
            out.take_back(start);
        }
    }

    fn refuse(&mut self, asked: &Asked<'_, A>, code: ErrorCode, out: &mut Outbox<A>) {
        let answer = Message::error(asked.transaction, ErrorReply::from(code));
        self.send(asked.now, asked.from, answer, asked.bytes, out);
    }

    /// Answers a query.
    pub(crate) fn answer(
        &mut self,
        asked: &Asked<'_, A>,
        query: &Query<'_>,
        sibling: Sibling<'_>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        let (now, from, ip) = (asked.now, asked.from, asked.from.ip_address());
        let mut rng = rng;
        let config = self.config.clone();
        let planted = Mutant::store(config.mutant);
        let (target, want) = match query.call {
            Call::FindNode { target, want }
            | Call::Get { target, want, .. }
            | Call::SampleInfohashes { target, want }
            | Call::Unknown { target, want, .. } => (target, want),
            Call::GetPeers {
                info_hash, want, ..
            } => (info_hash, want),
            Call::Ping => {
                let answer = Message::reply(asked.transaction, Reply::new(self.id));
                return self.send(now, from, answer, asked.bytes, out);
            }
            Call::AnnouncePeer {
                info_hash,
                port,
                token,
                is_seed,
            } => {
                let announcement = Announcement {
                    info_hash,
                    source: from,
                    port,
                    is_seed,
                };
                let stored = match self.tokens.check(now, ip, info_hash, token, planted) {
                    false => Err(ErrorCode::Protocol),
                    true => self.peers.announce(
                        now,
                        self.id,
                        announcement,
                        &mut rng,
                        &config.peers,
                        planted,
                    ),
                };
                return self.stored(asked, stored, out);
            }
            Call::Put(put) => {
                let target = target_of(&put);
                let stored = match self.tokens.check(now, ip, target, put.token, planted) {
                    false => Err(ErrorCode::Protocol),
                    true => self
                        .items
                        .put(now, self.id, &put, ip, &config.items, planted)
                        .map(|_| ()),
                };
                return self.stored(asked, stored, out);
            }
        };
        let mut contacts = std::mem::take(&mut out.contacts);
        contacts.clear();
        let want = want.unwrap_or(Want::of_source(from.into()));
        let is_v4 = from.into().is_ipv4();
        if (is_v4 && want.ipv4) || (!is_v4 && want.ipv6) {
            self.table
                .closest(target, config.k, false, &config, &mut contacts);
            contacts.retain(|contact| contact.id != query.id);
        }
        let others = Others::of(sibling, want, target);
        let mut reply = Reply::new(self.id);
        if !contacts.is_empty() || want == Want::of_source(from.into()) {
            A::put_contacts(&mut reply, Contacts::from(&contacts[..]));
        }
        others.put(&mut reply);
        let token;
        let mut peers = Vec::new();
        let filters;
        match query.call {
            Call::GetPeers {
                no_seeds, scrape, ..
            } => {
                token = self.tokens.issue(now, ip, target);
                reply.token = Some(&token);
                if scrape {
                    filters = self.peers.scrape(now, target);
                    reply.scrape = filters.as_ref().map(|[seeds, peers]| Scrape {
                        seeds: seeds.as_bytes(),
                        peers: peers.as_bytes(),
                    });
                } else {
                    let most = MAX_PEERS_TOLD;
                    self.peers
                        .peers(now, target, no_seeds, most, &mut rng, &mut peers);
                    A::put_peers(&mut reply, &peers);
                }
                self.tell(asked, reply, out);
            }
            Call::Get { sequence, .. } => {
                token = self.tokens.issue(now, ip, target);
                reply.token = Some(&token);
                // Out of the node for as long as it is told of it.
                let items = std::mem::take(&mut self.items);
                reply.item = items.get(now, target, sequence).unwrap_or_default();
                self.tell(asked, reply, out);
                self.items = items;
            }
            Call::SampleInfohashes { .. } => {
                let mut store = std::mem::take(&mut self.peers);
                reply.samples = Some(store.sample(now, SAMPLE_LIMIT, &mut rng, &config.peers));
                self.tell(asked, reply, out);
                self.peers = store;
            }
            _ => self.tell(asked, reply, out),
        }
        out.contacts = contacts;
    }

    fn tell(&mut self, asked: &Asked<'_, A>, reply: Reply<'_>, out: &mut Outbox<A>) {
        let answer = Message::reply(asked.transaction, reply);
        self.send(asked.now, asked.from, answer, asked.bytes, out);
    }

    fn stored(&mut self, asked: &Asked<'_, A>, stored: Result<(), ErrorCode>, out: &mut Outbox<A>) {
        match stored {
            Ok(()) => {
                // The token shows that he is where he says.
                self.proven.add(asked.now, asked.from, self.config.proven);
                self.tell(asked, Reply::new(self.id), out);
            }
            Err(code) => self.refuse(asked, code, out),
        }
    }
}

/// What is put, by its name.
fn target_of(put: &Put<'_>) -> Id {
    let of_key = |mutable: MutablePut<'_>| item::mutable_target(mutable.key, mutable.salt);
    put.mutable
        .map_or_else(|| item::immutable_target(put.value), of_key)
}

/// Contacts of the other family.
enum Others {
    None,
    V4(Vec<ContactV4>),
    V6(Vec<ContactV6>),
}

impl Others {
    fn of(sibling: Sibling<'_>, want: Want, target: Id) -> Others {
        fn closest<B: Endpoint>(node: &Node<B>, target: Id) -> Vec<Contact<B>> {
            let mut found = Vec::new();
            let config = &node.config;
            node.table
                .closest(target, config.k, false, config, &mut found);
            found
        }
        match sibling {
            Sibling::V4(node) if want.ipv4 => Others::V4(closest(node, target)),
            Sibling::V6(node) if want.ipv6 => Others::V6(closest(node, target)),
            _ => Others::None,
        }
    }

    fn put<'a>(&'a self, reply: &mut Reply<'a>) {
        match self {
            Others::None => {}
            Others::V4(contacts) => reply.nodes = Some(Contacts::from(&contacts[..])),
            Others::V6(contacts) => reply.nodes6 = Some(Contacts::from(&contacts[..])),
        }
    }
}

/// Writes an answer in at most `limit` bytes: of what does not fit, first the asker's own address is left out, then
/// peers, then an item, then contacts, the farthest first.
fn fit(message: Message<'_>, limit: usize, bytes: &mut Vec<u8>) -> Result<(), TooLong> {
    if message.encode_within(limit, bytes).is_ok() {
        return Ok(());
    }
    let mut message = Message {
        requester: None,
        ..message
    };
    if message.encode_within(limit, bytes).is_ok() {
        return Ok(());
    }
    let is_over_anyway = limit < REPLY_LIMIT_BYTES;
    if let crate::krpc::Body::Reply(reply) = &mut message.body
        && is_over_anyway
    {
        reply.item = crate::krpc::Item::default();
        reply.peers = crate::krpc::Peers::NONE;
        reply.scrape = None;
        reply.samples = None;
    }
    let Err(too_long) = message.encode_within(limit, bytes) else {
        return Ok(());
    };
    match message.without_contacts(too_long.length - limit) {
        Some(shorter) => shorter.encode_within(limit, bytes),
        None => Err(too_long),
    }
}
