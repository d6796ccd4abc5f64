//! How a node becomes known, and stays so: it joins, fills its buckets and keeps them fresh.

use super::{Node, Why};
use crate::{
    Id,
    config::{MINUTE, Mutant, Nanos, SECOND},
    krpc::{Call, Contact, Endpoint},
    lookup::Request,
    output::Outbox,
    rpc::Purpose,
};
use rand::RngCore;

/// How long a node that knows fewer than k who live waits before it tries to become known again, at first and at most.
/// Of nodes that join at the same time the first ones find few, and not all are heard by those that they join: so each
/// looks itself up a second time whatever it knows.
pub(super) const REJOIN: (Nanos, Nanos) = (5 * SECOND, 5 * MINUTE);
/// How often a node looks itself up, up to a tenth earlier. Whoever came while its neighbours could not hear it becomes
/// known to them (libtorrent: every ten minutes).
pub(super) const OWN_LOOKUP: Nanos = 15 * MINUTE;
/// How many of those that are taken for dead are asked then whether they live: after a partition of the network nobody
/// else would find its other side again.
const REVIVALS: usize = 4;
/// Most lookups at a time that a node begins to keep its table fresh. Tables of honest nodes have fewer buckets. Nine
/// addresses whose ids share nearly all bits with its own make one of 160, which would all be refreshed at once.
pub const MAX_REFRESHES: usize = 32;

impl<A: Endpoint> Node<A> {
    /// Asks those to begin with, and whoever it has known.
    pub(super) fn rejoin(&mut self, now: Nanos, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        self.rejoin_at = now + self.rejoin_pause;
        self.rejoin_pause = (self.rejoin_pause * 2).min(REJOIN.1);
        for seed in self.seeds.clone() {
            if !self.rpcs.asks(seed) {
                let call = Call::FindNode {
                    target: self.id,
                    want: None,
                };
                self.ask(now, (seed, None), Purpose::Seed, call, rng, out);
            }
        }
        if !self.table.is_empty() {
            self.look_up_own(now, rng, out);
        }
    }

    pub(super) fn look_up_own(&mut self, now: Nanos, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        if self.lookups.iter().any(|(why, _)| *why == Why::Join) {
            return;
        }
        self.look_for(now, self.id, Why::Join, rng, out);
    }

    /// Becomes known to its neighbours, and asks some of those that are taken for dead whether they are back.
    pub(super) fn look_around(&mut self, now: Nanos, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        // Those that were started together do not ask together for ever.
        let early = u64::from(rng.next_u32()) % (OWN_LOOKUP / 10);
        self.own_at = now + OWN_LOOKUP - early;
        if Mutant::NoSecondBootstrap.is_in(self.config.mutant) && self.table.is_deserted() {
            return;
        }
        let bad: Vec<Contact<A>> = self.table.bad().collect();
        let first = rng.next_u32() as usize;
        for place in 0..bad.len().min(REVIVALS) {
            let contact = bad[first.wrapping_add(place) % bad.len()];
            if !self.rpcs.asks(contact.address) {
                self.ping(now, contact, rng, out);
            }
        }
        if !self.table.is_empty() {
            self.look_for(now, self.id, Why::Refresh, rng, out);
        }
    }

    /// Whether as many lookups are under way for the table's sake as may be.
    pub(super) fn is_refreshing_enough(&self) -> bool {
        let refreshes = self.lookups.iter().filter(|(why, _)| *why == Why::Refresh);
        refreshes.count() >= MAX_REFRESHES
    }

    /// Looks for somebody new in buckets that have been silent; those that find no room wait until a lookup has ended.
    pub(super) fn refresh(&mut self, now: Nanos, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        let config = self.config.clone();
        while !self.is_refreshing_enough()
            && let Some(depth) = self.table.take_stale(now, &config)
        {
            let target = self.target_in(depth, rng);
            self.look_for(now, target, Why::Refresh, rng, out);
        }
        self.become_known(now);
    }

    pub(super) fn target_in(&self, depth: u32, rng: &mut dyn RngCore) -> Id {
        let mut rng = rng;
        match depth >= self.table.depth() {
            true => self.id.random_with_prefix(depth, &mut rng),
            false => self.id.random_at_depth(depth, &mut rng).unwrap_or(self.id),
        }
    }

    /// Sees to it that a node that knows few tries to know more.
    pub(super) fn become_known(&mut self, now: Nanos) {
        if self.rejoin_at == Nanos::MAX && self.table.is_sparse(self.config.k) {
            self.rejoin_at = now + self.rejoin_pause;
        }
    }

    /// After a start the buckets far away are filled, one after another (Maymounkov and Mazières 2002, section 2.3).
    pub(super) fn fill_next(&mut self, now: Nanos, rng: &mut dyn RngCore, out: &mut Outbox<A>) {
        let Some(depth) = self.joining else { return };
        if depth >= self.table.depth() {
            self.joining = None;
            return;
        }
        self.joining = Some(depth + 1);
        let target = self.target_in(depth, rng);
        self.look_for(now, target, Why::Refresh, rng, out);
    }

    /// Begins a lookup for the table's sake, unless there are enough of them: then one that ends sees to the next.
    pub(super) fn look_for(
        &mut self,
        now: Nanos,
        target: Id,
        why: Why,
        rng: &mut dyn RngCore,
        out: &mut Outbox<A>,
    ) {
        if why == Why::Refresh && self.is_refreshing_enough() {
            return;
        }
        let request = Request::FindNode { target };
        self.begin(now, why, (target, request), &[], rng, out);
    }
}
