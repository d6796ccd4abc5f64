//! A node of the DHT in one address family: asks, answers, and keeps its table.

mod upkeep;

pub use upkeep::MAX_REFRESHES;

use crate::{
    Id,
    config::{Config, Mutant, Nanos},
    items::ItemStore,
    krpc::{
        Body, Call, Contact, Endpoint, ErrorReply, ITEM_REPLY_LIMIT_BYTES, Message, Query,
        REPLY_LIMIT_BYTES, Reply,
    },
    limiter::Limiter,
    lookup::{Lookup, Request, Stage, State, Token},
    output::{Event, LookupId, Outbox},
    peers::PeerStore,
    proven::Proven,
    rpc::{Overdue, Purpose, Rpc, Rpcs},
    server::{Asked, Sibling},
    table::{Health, Heard, Table},
    token::Tokens,
};
use rand::RngCore;
use std::sync::Arc;
use thiserror::Error;

/// Most addresses of nodes to begin with that are remembered.
pub const MAX_SEEDS: usize = 32;
/// Bytes that a query is made long, so that the answer need not be longer: 8 contacts of IPv4, a token, addresses.
pub(crate) const QUERY_BYTES: usize = 320;
/// The same where peers are hoped for: some fifty of IPv4.
pub(crate) const PEERS_QUERY_BYTES: usize = 720;
/// Most pings under way that ask whether somebody is where he says.
const MAX_PROBES: usize = 16;

/// Why a node does not begin a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// As many as it may have are under way.
    #[error("too many lookups are under way")]
    Busy,
    /// It would never be accepted anywhere.
    #[error("{0}")]
    Invalid(crate::item::ItemError),
}

/// Why a lookup was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody wants it.
    Asked,
    /// To become known to the closest nodes.
    Join,
    /// To keep a bucket fresh.
    Refresh,
}

/// A node of the DHT in one address family. `Clone` copies all of it.
///
/// It has no clock, no socket and no chance of its own. Whoever runs it hands in datagrams
/// ([`receive`](Node::receive)) and wakes it in time ([`wake`](Node::wake), [`wake_at`](Node::wake_at)), and sends what
/// the [`Outbox`] holds. A node in both families is two of these with one id (BEP 32).
#[derive(Clone, Debug)]
pub struct Node<A> {
    pub(crate) id: Id,
    pub(crate) config: Arc<Config>,
    pub(crate) table: Table<A>,
    pub(crate) proven: Proven<A>,
    pub(crate) tokens: Tokens,
    pub(crate) peers: PeerStore<A>,
    pub(crate) items: ItemStore,
    pub(crate) limiter: Limiter,
    pub(crate) rpcs: Rpcs<A>,
    lookups: Vec<(Why, Lookup<A>)>,
    next_lookup: u64,
    seeds: Vec<A>,
    /// Buckets that are still to be filled after a start, the next one first.
    joining: Option<u32>,
    rejoin_at: Nanos,
    rejoin_pause: Nanos,
    /// When it looks itself up.
    own_at: Nanos,
    /// It has joined once.
    is_new: bool,
}

impl<A: Endpoint> Node<A> {
    /// A node with an empty table.
    pub fn new(id: Id, config: Arc<Config>, now: Nanos, rng: &mut dyn RngCore) -> Self {
        let mut rng = rng;
        Node {
            id,
            tokens: Tokens::new(&mut rng),
            peers: PeerStore::default(),
            items: ItemStore::default(),
            limiter: Limiter::default(),
            table: Table::new(id, now),
            proven: Proven::default(),
            config,
            rpcs: Rpcs::new(),
            lookups: Vec::new(),
            next_lookup: 0,
            seeds: Vec::new(),
            joining: None,
            rejoin_at: Nanos::MAX,
            rejoin_pause: upkeep::REJOIN.0,
            own_at: now + upkeep::OWN_LOOKUP,
            is_new: false,
        }
    }

    /// Its id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Its table.
    pub fn table(&self) -> &Table<A> {
        &self.table
    }

    /// How its table is.
    pub fn health(&self, now: Nanos) -> Health {
        self.table.health(now)
    }

    /// The items that it stores for others.
    pub fn items(&self) -> &ItemStore {
        &self.items
    }

    /// The peers that have announced themselves to it.
    pub fn peers(&self) -> &PeerStore<A> {
        &self.peers
    }

    /// How it behaves.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Lookups under way, those for its own table included.
    pub fn lookups(&self) -> usize {
        self.lookups.len()
    }

    /// Queries under way.
    pub fn queries(&self) -> usize {
        self.rpcs.len()
    }

    /// Enters a contact that answered at `answered`, as this node or one before it saw: from a table that was saved, or
    /// from somebody who knows all.
    pub fn adopt(&mut self, answered: Nanos, contact: Contact<A>) {
        let config = self.config.clone();
        self.table.heard(answered, contact, None, &config);
    }

    /// Tells it of nodes to begin with, and begins.
    pub fn join(&mut self, now: Nanos, seeds: &[A], rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        for seed in seeds.iter().take(MAX_SEEDS) {
            if !self.seeds.contains(seed) && self.seeds.len() < MAX_SEEDS {
                self.seeds.push(*seed);
            }
        }
        self.is_new = true;
        self.rejoin(now, rng, out);
    }

    /// Begins a lookup; how it goes is told by events that have its name.
    pub fn start(
        &mut self,
        now: Nanos,
        request: Request,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) -> Result<LookupId, Refused> {
        self.start_with(now, request, &[], rng, out)
    }

    /// The same, with contacts that somebody else knows, beside those of the own table: rumours like all that is named,
    /// until they answer. So a lookup of one address of a host is where that of another was (BEP 45, "Multi addresses
    /// announce_peer").
    pub fn start_with(
        &mut self,
        now: Nanos,
        request: Request,
        named: &[Contact<A>],
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) -> Result<LookupId, Refused> {
        let asked = self.lookups.iter().filter(|(why, _)| *why == Why::Asked);
        if asked.count() >= self.config.lookups {
            return Err(Refused::Busy);
        }
        let target = request.target().map_err(Refused::Invalid)?;
        Ok(self.begin(now, Why::Asked, (target, request), named, rng, out))
    }

    pub(crate) fn begin(
        &mut self,
        now: Nanos,
        why: Why,
        (target, request): (Id, Request),
        named: &[Contact<A>],
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) -> LookupId {
        let id = LookupId(self.next_lookup);
        self.next_lookup += 1;
        let config = self.config.clone();
        let paths = match why {
            Why::Asked => config.paths.clamp(1, crate::config::MAX_PATHS),
            Why::Join | Why::Refresh => 1,
        };
        let mut lookup = Lookup::new(id, target, request, now, paths);
        let mut contacts = std::mem::take(&mut out.contacts);
        contacts.clear();
        // More than are asked at once: where many are dead, those that are named later may be the same ones.
        let count = config.k * crate::lookup::BEGUN_WITH * paths;
        self.table
            .closest(target, count, false, &config, &mut contacts);
        if contacts.is_empty() {
            // Nobody is known to live: they may live again.
            self.table
                .closest(target, count, true, &config, &mut contacts);
        }
        lookup.begin_with(&contacts, &config);
        let named = named.iter().filter(|contact| contact.id != self.id);
        let named: Vec<_> = named.copied().take(count).collect();
        lookup.begin_with(&named, &config);
        out.contacts = contacts;
        if self.lookups.len() == self.lookups.capacity() {
            // Most nodes have one at a time, and a lookup is large.
            let more = (self.lookups.len() / 2).max(1);
            self.lookups.reserve_exact(more);
        }
        self.lookups.push((why, lookup));
        self.advance(now, id, rng, out);
        id
    }

    /// Gives up a lookup; whether it was under way.
    pub fn cancel(&mut self, id: LookupId) -> bool {
        let before = self.lookups.len();
        self.lookups.retain(|(_, lookup)| lookup.id != id);
        self.lookups.len() < before
    }

    /// When it wants to be woken, at the latest.
    pub fn wake_at(&self) -> Nanos {
        let due = self.rpcs.due().unwrap_or(Nanos::MAX);
        let expiry = |at: Option<Nanos>| at.unwrap_or(Nanos::MAX);
        // Until one of many lookups has ended, which is when an answer has come or is overdue, no bucket is refreshed.
        let stale_at = match self.is_refreshing_enough() {
            true => Nanos::MAX,
            false => self.table.stale_at(),
        };
        due.min(stale_at)
            .min(self.rejoin_at)
            .min(self.own_at)
            .min(expiry(self.peers.next_expiry()))
            .min(expiry(self.items.next_expiry()))
    }

    /// The time has come, or any other.
    pub fn wake(&mut self, now: Nanos, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        while let Some((rpc, overdue)) = self.rpcs.overdue(now) {
            self.overdue(now, rpc, overdue, rng, out);
        }
        self.rpcs.shrink();
        if now >= self.rejoin_at {
            self.rejoin_at = Nanos::MAX;
            let gives_up = Mutant::NoSecondBootstrap.is_in(self.config.mutant);
            let was_new = std::mem::take(&mut self.is_new);
            if self.table.is_sparse(self.config.k) && !gives_up {
                self.rejoin(now, rng, out);
            } else if was_new {
                self.look_for(now, self.id, Why::Refresh, rng, out);
            }
        }
        if now >= self.own_at {
            self.look_around(now, rng, out);
        }
        if now >= self.table.stale_at() {
            self.refresh(now, rng, out);
        }
        self.peers.expire(now);
        self.items.expire(now);
    }

    /// A datagram has come.
    pub fn receive(
        &mut self,
        now: Nanos,
        from: A,
        datagram: &[u8],
        sibling: Sibling<'_>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        if !from.is_contactable() {
            return;
        }
        let asked_bytes = datagram.len();
        let planted = Mutant::codec(self.config.mutant);
        match Message::decode_planted(datagram, planted) {
            Ok(message) => match &message.body {
                Body::Query(query) => {
                    if self.admits(now, from) {
                        let asked = Asked {
                            now,
                            from,
                            transaction: message.transaction,
                            bytes: asked_bytes,
                        };
                        self.answer(&asked, query, sibling, rng, out);
                        self.meet(now, from, query, rng, out);
                    }
                }
                Body::Reply(reply) => self.reply(now, from, &message, reply, rng, out),
                Body::Error(error) => self.error(now, from, &message, *error, rng, out),
            },
            Err(malformed) => {
                if let Some(answer) = malformed.answer()
                    && self.admits(now, from)
                {
                    self.send(now, from, answer, asked_bytes, out);
                }
            }
        }
    }

    /// Somebody has asked. He may be worth knowing: that he is where he says he has to show first.
    fn meet(
        &mut self,
        now: Nanos,
        from: A,
        query: &Query<'_>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        let contact = Contact {
            id: query.id,
            address: from,
        };
        if Mutant::AliveByAsking.is_in(self.config.mutant) {
            let config = self.config.clone();
            self.table.heard(now, contact, None, &config);
        }
        if Mutant::UnverifiedCounted.is_in(self.config.mutant) {
            let config = self.config.clone();
            self.table.keep_unverified(contact, &config);
        }
        let is_wanted = !query.is_read_only && self.table.has_room_for(query.id, &self.config);
        let is_new = !self.proven.has(now, from);
        if (is_wanted || is_new) && self.rpcs.len() < MAX_PROBES && !self.rpcs.asks(from) {
            self.ping(now, contact, rng, out);
        }
    }

    pub(crate) fn ping(
        &mut self,
        now: Nanos,
        contact: Contact<A>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        let to = (contact.address, Some(contact.id));
        self.ask(now, to, Purpose::Ping, Call::Ping, rng, out);
    }

    /// Sends a query; false: as many as may be are under way.
    fn ask(
        &mut self,
        now: Nanos,
        (to, id): (A, Option<Id>),
        purpose: Purpose,
        call: Call<'_>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) -> bool {
        let wants_item = match purpose {
            Purpose::Step(id) => self.wants_item(id),
            _ => false,
        };
        if self.rpcs.is_full() {
            return false;
        }
        let transaction = rng.next_u32();
        let known = id.map(|id| self.table.round_trips(&Contact { id, address: to }));
        self.rpcs.begin(
            now,
            (transaction, to, id),
            purpose,
            known.unwrap_or_default(),
            &self.config,
        );
        let transaction = transaction.to_be_bytes();
        let mut query = Query::new(self.id, call);
        query.is_read_only = self.config.read_only;
        let mut message = Message::query(&transaction, query);
        message.version = self.config.version.as_ref().map(|v| &v[..]);
        // Whoever does not know this node answers no more bytes than he gets.
        let length = match call {
            Call::Ping | Call::AnnouncePeer { .. } | Call::Put(_) => 0,
            Call::Get { .. } if wants_item => ITEM_REPLY_LIMIT_BYTES,
            Call::GetPeers { .. } => PEERS_QUERY_BYTES,
            Call::SampleInfohashes { .. } => REPLY_LIMIT_BYTES,
            _ => QUERY_BYTES,
        };
        out.send(to, |bytes| message.encode_padded(length, bytes));
        true
    }

    fn reply(
        &mut self,
        now: Nanos,
        from: A,
        message: &Message<'_>,
        reply: &Reply<'_>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        let mutant = self.config.mutant;
        let Some(rpc) = self.rpcs.answered(from, message.transaction, mutant) else {
            return;
        };
        let took = now - rpc.sent;
        self.rpcs.measured(took);
        self.proven.add(now, from, self.config.proven);
        let contact = Contact {
            id: reply.id,
            address: from,
        };
        let is_who = rpc.id.is_none_or(|id| id == reply.id);
        if !is_who && !Mutant::IdNotCompared.is_in(mutant) {
            // Somebody else lives there. Whoever was meant does not.
            if let (Purpose::Step(lookup), Some(id)) = (rpc.purpose, rpc.id)
                && reply.id != self.id
            {
                let meant = Contact { id, address: from };
                let config = self.config.clone();
                if let Some(lookup) = self.lookup(lookup) {
                    lookup.shown(&meant, contact, &config);
                }
            }
            self.heard(now, contact, Some(took), rng, out);
            self.lost(now, rpc, rng, out);
            return;
        }
        self.heard(now, contact, Some(took), rng, out);
        match rpc.purpose {
            Purpose::Ping => {}
            Purpose::Seed => self.look_up_own(now, rng, out),
            Purpose::Step(lookup) => self.step_answered(now, lookup, &rpc, reply, rng, out),
            Purpose::Store(lookup) => self.store_ended(now, lookup, None, rng, out),
        }
    }

    fn error(
        &mut self,
        now: Nanos,
        from: A,
        message: &Message<'_>,
        error: ErrorReply<'_>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        let mutant = self.config.mutant;
        let Some(rpc) = self.rpcs.answered(from, message.transaction, mutant) else {
            return;
        };
        self.proven.add(now, from, self.config.proven);
        match rpc.purpose {
            Purpose::Store(lookup) => {
                let is_counted = Mutant::RefusalCounted.is_in(mutant);
                let number = (!is_counted).then(|| error.code.number());
                self.store_ended(now, lookup, number, rng, out);
            }
            _ => self.lost(now, rpc, rng, out),
        }
    }

    /// A contact has answered.
    fn heard(
        &mut self,
        now: Nanos,
        contact: Contact<A>,
        took: Option<Nanos>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        let config = self.config.clone();
        let was_deserted = self.table.is_deserted();
        let heard = self.table.heard(now, contact, took, &config);
        if was_deserted || heard == Heard::Entered {
            self.rejoin_pause = upkeep::REJOIN.0;
            self.become_known(now);
        }
        if let Heard::Spare(Some(silent)) = heard {
            self.ping(now, silent, rng, out);
        }
    }

    fn overdue(
        &mut self,
        now: Nanos,
        rpc: Rpc<A>,
        overdue: Overdue,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        match (overdue, rpc.purpose) {
            (Overdue::Lost, _) => self.lost(now, rpc, rng, out),
            (Overdue::Slow, Purpose::Step(lookup)) => {
                self.mark(lookup, &rpc, State::Slow);
                self.advance(now, lookup, rng, out);
            }
            (Overdue::Late, Purpose::Step(lookup)) => {
                self.mark(lookup, &rpc, State::Late);
                self.advance(now, lookup, rng, out);
            }
            (Overdue::Slow | Overdue::Late, _) => {}
        }
    }

    /// No answer will come, or not from who was asked.
    fn lost(&mut self, now: Nanos, rpc: Rpc<A>, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        if let Some(id) = rpc.id {
            let contact = Contact {
                id,
                address: rpc.to,
            };
            if let Some(spare) = self.table.failed(&contact) {
                self.ping(now, spare, rng, out);
            }
        }
        match rpc.purpose {
            Purpose::Step(lookup) => {
                // Unless it is being asked once more.
                if !self.rpcs.asks_again(&rpc) {
                    self.mark(lookup, &rpc, State::Failed);
                }
                self.advance(now, lookup, rng, out);
            }
            Purpose::Store(lookup) => self.store_ended(now, lookup, Some(0), rng, out),
            Purpose::Ping | Purpose::Seed => {}
        }
        self.become_known(now);
    }

    /// Whether a lookup wants an item, not only who may store it.
    fn wants_item(&self, id: LookupId) -> bool {
        let mut lookups = self.lookups.iter();
        lookups.any(|(_, lookup)| lookup.id == id && matches!(lookup.request, Request::Get { .. }))
    }

    fn lookup(&mut self, id: LookupId) -> Option<&mut Lookup<A>> {
        let mut lookups = self.lookups.iter_mut();
        lookups
            .find(|(_, lookup)| lookup.id == id)
            .map(|(_, lookup)| lookup)
    }

    fn mark(&mut self, id: LookupId, rpc: &Rpc<A>, state: State) {
        let address = rpc.to;
        let Some(contact) = rpc.id.map(|id| Contact { id, address }) else {
            return;
        };
        let Some(lookup) = self.lookup(id) else {
            return;
        };
        if let Some((path, place)) = lookup.find(&contact) {
            lookup.worsen(path, place, rpc.sent, state);
        }
    }

    fn step_answered(
        &mut self,
        now: Nanos,
        id: LookupId,
        rpc: &Rpc<A>,
        reply: &Reply<'_>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        let config = self.config.clone();
        let own = self.id;
        let Some(lookup) = self.lookup(id) else {
            return;
        };
        let contact = Contact {
            id: rpc.id.unwrap_or(reply.id),
            address: rpc.to,
        };
        let Some((path, place)) = lookup.find(&contact) else {
            return;
        };
        if lookup.paths[path][place].state == State::Answered {
            // It was asked twice, and has answered twice.
            return;
        }
        let step = lookup.answered(path, place, rpc.sent, now);
        lookup.paths[path][place].token = Token::of(reply.token);
        let named = A::contacts(reply);
        let mut unverified = Vec::new();
        for contact in named
            .into_iter()
            .flat_map(|named| named.iter())
            .take(MAX_NAMED)
        {
            if contact.id != own {
                lookup.offer(path, contact, step, &config);
            }
            if Mutant::UnverifiedContacts.is_in(config.mutant) {
                unverified.push(contact);
            }
        }
        lookup.take_values(contact, reply, config.mutant, out);
        for contact in unverified {
            self.table.heard(now, contact, None, &config);
        }
        self.advance(now, id, rng, out);
    }

    /// Asks whom a lookup wants asked, stores what it has to, and ends it when it is over.
    fn advance(&mut self, now: Nanos, id: LookupId, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        let config = self.config.clone();
        loop {
            let Some(lookup) = self.lookup(id) else {
                return;
            };
            let Some(contact) = lookup.next(now, &config) else {
                break;
            };
            let request = lookup.request.clone();
            let target = lookup.target;
            let to = (contact.address, Some(contact.id));
            let call = request.step_call(target);
            if !self.ask(now, to, Purpose::Step(id), call, rng, out)
                && let Some(lookup) = self.lookup(id)
                && let Some((path, place)) = lookup.find(&contact)
            {
                lookup.worsen(path, place, now, State::Failed);
            }
        }
        let Some(lookup) = self.lookup(id) else {
            return;
        };
        if lookup.stage == Stage::Finding && lookup.has_found(&config) {
            lookup.found_after = now - lookup.began;
            lookup.stage = Stage::Storing;
            let request = lookup.request.clone();
            for (contact, token) in lookup.holders(&config) {
                let Some(call) = request.store_call(token.bytes()) else {
                    continue;
                };
                let to = (contact.address, Some(contact.id));
                if self.ask(now, to, Purpose::Store(id), call, rng, out)
                    && let Some(lookup) = self.lookup(id)
                {
                    lookup.awaited += 1;
                }
            }
        }
        let Some(lookup) = self.lookup(id) else {
            return;
        };
        if lookup.stage == Stage::Storing && lookup.awaited == 0 {
            self.end(now, id, rng, out);
        }
    }

    fn store_ended(
        &mut self,
        now: Nanos,
        id: LookupId,
        refusal: Option<i64>,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        let Some(lookup) = self.lookup(id) else {
            return;
        };
        lookup.awaited = lookup.awaited.saturating_sub(1);
        match refusal {
            None => lookup.stored += 1,
            Some(number) => lookup.refused(number),
        }
        self.advance(now, id, rng, out);
    }

    fn end(&mut self, now: Nanos, id: LookupId, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        let place = self.lookups.iter().position(|(_, lookup)| lookup.id == id);
        let Some(place) = place else { return };
        let (why, lookup) = self.lookups.swap_remove(place);
        if self.lookups.is_empty() {
            self.lookups = Vec::new();
        }
        match why {
            Why::Asked => {
                let finished = lookup.finished(now, &self.config);
                out.events.push(Event::Finished(Box::new(finished)));
            }
            Why::Join => {
                self.joining = Some(0);
                self.fill_next(now, rng, out);
            }
            Why::Refresh => self.fill_next(now, rng, out),
        }
    }

    /// What must hold whatever happens.
    ///
    /// # Panics
    /// When it does not.
    pub fn check(&self) {
        self.table.check(&self.config);
        assert!(
            self.rpcs.len() <= crate::rpc::MAX_UNDER_WAY,
            "queries are bounded"
        );
        let own = self.lookups.iter().filter(|(why, _)| *why != Why::Asked);
        // And one to become known.
        assert!(own.count() <= MAX_REFRESHES + 1, "refreshes are bounded");
        for (_, lookup) in &self.lookups {
            assert!(
                lookup.steps.len() <= self.config.lookup_queries,
                "a lookup has a budget"
            );
        }
    }

    /// Bytes that it takes, its own and on the heap. Not counted are the configuration, which many share, and what trees
    /// and the allocator add.
    pub fn bytes(&self) -> usize {
        let lookups: usize = self.lookups.iter().map(|(_, l)| l.heap_bytes()).sum();
        size_of::<Self>()
            + self.table.heap_bytes()
            + self.rpcs.heap_bytes()
            + self.proven.heap_bytes()
            + self.limiter.heap_bytes()
            + self.items.heap_bytes()
            + self.peers.heap_bytes()
            + self.lookups.capacity() * size_of::<(Why, Lookup<A>)>()
            + lookups
            + self.seeds.capacity() * size_of::<A>()
    }
}

/// Most contacts of one reply that are looked at.
const MAX_NAMED: usize = 32;
