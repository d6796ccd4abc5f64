//! What was put and announced, by whom, and who said that he has stored it: what may be found, and what must.

use super::stage::{Door, Stage};
use holdfast_kademlia::{Id, bencode::Raw, item::MutableItem};
use holdfast_peers::{FoundItem, Outcome};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

/// How late a repetition of a datagram may come, and what clocks may be wrong by in two hours.
const LATE: Duration = Duration::from_secs(150);

/// A node's process.
pub(super) type Process = (u32, u32);

/// Everything that was put and announced.
#[derive(Default)]
pub(super) struct Ledger {
    pub items: BTreeMap<Id, Item>,
    announced: BTreeMap<(Id, SocketAddr), Span>,
    /// What processes were told to keep no longer.
    forgotten: BTreeSet<(Id, Process)>,
}

/// What is stored under one target.
#[derive(Clone, Default)]
pub(super) struct Item {
    /// Of a mutable one.
    pub owner: Option<Owner>,
    pub offers: Vec<Offer>,
    pub placed: Vec<Placed>,
}

/// Whose a mutable item is.
#[derive(Clone)]
pub(super) struct Owner {
    pub key: [u8; 32],
    pub salt: Vec<u8>,
}

/// One version of an item, which somebody tried to put.
#[derive(Clone)]
pub(super) struct Offer {
    pub value: Vec<u8>,
    pub sequence: Option<i64>,
    pub span: Span,
}

/// The time in which nodes may have been told of something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The end of the last attempt; `None`: it goes on.
    until: Option<Duration>,
    /// Who stores it again and again, for as long as he lives.
    keeper: Option<Process>,
    is_forgotten: bool,
}

impl Span {
    const OPEN: Span = Span {
        until: None,
        keeper: None,
        is_forgotten: false,
    };

    fn close(&mut self, now: Duration, keeper: Option<Process>) {
        self.until = self.until.max(Some(now));
        self.keeper = keeper.or(self.keeper);
    }

    /// It may be kept no longer: whether whoever asks for it at the same time is before or after nobody knows.
    fn forget(&mut self, keeper: Process) {
        if self.keeper == Some(keeper) {
            self.is_forgotten = true;
        }
    }

    /// Whoever keeps it for sure, if his process still runs.
    pub fn living_keeper(&self, stage: &Stage) -> Option<Process> {
        let keeper = self.keeper.filter(|_| !self.is_forgotten)?;
        (stage.start_of(keeper.0) == keeper.1).then_some(keeper)
    }

    /// Whether a node may still have it that keeps it for `lifetime`.
    fn may_live(&self, stage: &Stage, lifetime: Duration) -> bool {
        let (now, horizon) = (stage.world.now(), stage.world.horizon());
        let is_kept = self
            .keeper
            .is_some_and(|keeper| stage.start_of(keeper.0) == keeper.1);
        let Some(until) = self.until.filter(|_| !is_kept) else {
            return true;
        };
        // While faults last, datagrams may wait for their end; and who kept it may have died as late as that.
        let until = if until < horizon || self.keeper.is_some() {
            until.max(horizon)
        } else {
            until
        };
        now <= until + lifetime + LATE
    }
}

/// What the nodes said that were to store something.
#[derive(Clone)]
pub(super) struct Placed {
    pub sequence: Option<i64>,
    /// Those that were asked to, and which process each was; without those that were started anew meanwhile.
    pub asked: Vec<(SocketAddr, Process)>,
    /// How many of all that were asked are not in the list.
    pub uncertain: u32,
    /// How many said that they have.
    pub stored: u32,
    pub at: Duration,
}

impl Ledger {
    /// Somebody begins to put something.
    pub fn offer(&mut self, target: Id, owner: Option<Owner>, value: &[u8], sequence: Option<i64>) {
        let item = self.items.entry(target).or_default();
        item.owner = owner;
        let known = |offer: &&mut Offer| offer.sequence == sequence && offer.value == value;
        match item.offers.iter_mut().find(known) {
            Some(offer) => offer.span.until = None,
            None => item.offers.push(Offer {
                value: value.to_vec(),
                sequence,
                span: Span::OPEN,
            }),
        }
    }

    /// The attempt is over.
    pub fn offered(
        &mut self,
        target: Id,
        sequence: Option<i64>,
        now: Duration,
        keeper: Option<Process>,
    ) {
        // It may have been told so while it was put.
        let is_forgotten = keeper.is_some_and(|keeper| self.forgotten.contains(&(target, keeper)));
        if let Some(item) = self.items.get_mut(&target) {
            let offers = item.offers.iter_mut();
            for offer in offers.filter(|offer| offer.sequence == sequence) {
                offer.span.close(now, keeper);
                offer.span.is_forgotten |= is_forgotten;
            }
        }
    }

    /// Somebody begins to announce himself at these addresses.
    pub fn announce(&mut self, info_hash: Id, addresses: &[SocketAddr]) {
        for address in addresses {
            let span = self
                .announced
                .entry((info_hash, *address))
                .or_insert(Span::OPEN);
            span.until = None;
        }
    }

    /// The attempt is over.
    pub fn announced(
        &mut self,
        info_hash: Id,
        addresses: &[SocketAddr],
        now: Duration,
        keeper: Option<Process>,
    ) {
        let is_forgotten =
            keeper.is_some_and(|keeper| self.forgotten.contains(&(info_hash, keeper)));
        for address in addresses {
            if let Some(span) = self.announced.get_mut(&(info_hash, *address)) {
                span.close(now, keeper);
                span.is_forgotten |= is_forgotten;
            }
        }
    }

    /// It is kept no longer.
    pub fn forgotten(&mut self, target: Id, keeper: Process) {
        self.forgotten.insert((target, keeper));
        let offers = self
            .items
            .get_mut(&target)
            .into_iter()
            .flat_map(|item| &mut item.offers);
        offers.for_each(|offer| offer.span.forget(keeper));
    }

    /// The same of whoever announced himself.
    pub fn forgotten_peer(&mut self, info_hash: Id, keeper: Process) {
        self.forgotten.insert((info_hash, keeper));
        let spans = self
            .announced
            .iter_mut()
            .filter(|((known, _), _)| *known == info_hash);
        spans.for_each(|(_, span)| span.forget(keeper));
    }

    /// What was announced and is kept: torrent, address, keeper.
    pub fn kept_peers(&self, stage: &Stage) -> Vec<(Id, SocketAddr, Process)> {
        let all = self.announced.iter();
        let kept = |((info_hash, address), span): (&(Id, SocketAddr), &Span)| {
            Some((*info_hash, *address, span.living_keeper(stage)?))
        };
        all.filter_map(kept).collect()
    }

    /// Torrents of which something was announced, and whether none of it can be stored any more.
    pub fn torrents(&self, stage: &Stage, lifetime: Duration) -> BTreeMap<Id, bool> {
        let mut torrents = BTreeMap::new();
        for ((info_hash, _), span) in &self.announced {
            let is_over = !span.may_live(stage, lifetime);
            *torrents.entry(*info_hash).or_insert(true) &= is_over;
        }
        torrents
    }

    /// Whether peers that were found may be found.
    pub fn check_peers(&self, stage: &Stage, door: &Door, outcome: &Outcome, lifetime: Duration) {
        for peer in &outcome.peers {
            let fail = |property, what: &str| {
                let message = format!("{peer} is a peer of {}, {what}", outcome.target);
                stage.world.fail(property, message, Some(door.node));
            };
            match self.announced.get(&(outcome.target, *peer)) {
                None => fail("peer-announced", "which nobody said"),
                Some(span) if !span.may_live(stage, lifetime) => {
                    fail("peer-expired", "though it did not say so for long");
                }
                Some(_) => {}
            }
        }
    }

    /// Whether an item that was found may be found: somebody put this very one, not too long ago.
    pub fn check_item(
        &self,
        stage: &Stage,
        door: &Door,
        target: Id,
        found: &FoundItem,
        lifetime: Duration,
    ) {
        let fail = |property, what: &str| {
            let message = format!("under {target} {found:?} was found, {what}");
            stage.world.fail(property, message, Some(door.node));
        };
        let sequence = found.version.map(|(sequence, _)| sequence);
        let Some(item) = self.items.get(&target) else {
            return fail("item-put", "where nobody put anything");
        };
        let mut offers = item.offers.iter();
        let Some(offer) = offers.find(|o| o.sequence == sequence && o.value == found.value) else {
            return fail("item-put", "which nobody put");
        };
        if !offer.span.may_live(stage, lifetime) {
            fail("item-expired", "though it was put long ago");
        }
        let (Some(owner), Some((sequence, signature)), Ok(value)) =
            (&item.owner, &found.version, Raw::parse(&found.value))
        else {
            return;
        };
        let item = MutableItem {
            key: &owner.key,
            salt: &owner.salt,
            sequence: *sequence,
            value,
            signature,
        };
        if let Err(error) = item.verify() {
            fail("signature", &format!("but {error}"));
        }
    }
}

impl Item {
    /// Whether no version of it can be stored any more.
    pub fn is_over(&self, stage: &Stage, lifetime: Duration) -> bool {
        self.offers
            .iter()
            .all(|offer| !offer.span.may_live(stage, lifetime))
    }

    /// The last version that somebody keeps who still lives, and who that is.
    pub fn kept(&self, stage: &Stage) -> Option<(&Offer, Process)> {
        let mut last = self.offers.iter().rev();
        last.find_map(|offer| Some((offer, offer.span.living_keeper(stage)?)))
    }
}
