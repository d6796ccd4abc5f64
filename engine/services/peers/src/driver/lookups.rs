//! What callers ask of nodes, from its begin to its end.

use super::{Driver, SWEEP_INTERVAL, turns::MOST_TURNS};
use crate::{
    Family, FoundItem, Mutant, Outcome, Via,
    handle::{DhtError, Start},
    kept::{ANY, Keep, Kept},
    local::{Half, Local, Side},
    pending::{Pending, refused_with},
};
use holdfast_kademlia::{Event, LookupId, MAX_PEERS, Nanos, Request, item::Found, krpc::ErrorCode};
use rand_chacha::ChaCha8Rng;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// Most lookups that callers wait for.
const MAX_PENDING: usize = 65_536;

impl Driver {
    /// Begins what a caller asks for.
    pub(super) fn start(&mut self, now: Nanos, start: Start) {
        let Start {
            via,
            request,
            keep,
            reply,
            stream,
        } = start;
        if via == Via::Each && self.locals.len() > MOST_TURNS {
            let _ = reply.send(Err(DhtError::TooManyNodes));
            return;
        }
        let node = match via {
            Via::Node(node) => node,
            Via::Any => self.any_node(now) as usize,
            Via::Each => 0,
        };
        let keeper = match via {
            Via::Any => ANY,
            // What is no node's is refused.
            _ => node as u32,
        };
        let key = match self.admit(now, (node, keeper), &request, keep) {
            Ok(key) => key,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let pending = Pending {
            outcome: Outcome::default(),
            node: node as u32,
            under_way: Vec::new(),
            deadline: now.saturating_add(self.patience),
            reply: Some(reply),
            stream,
            keep: key,
            rounds: match via {
                Via::Each => self.rounds(&request, keep),
                Via::Node(_) | Via::Any => None,
            },
        };
        if let Err((pending, error)) = self.begin(now, pending, &request) {
            // What was refused is not kept.
            if let Some(key) = key {
                self.kept.drop_one(key);
            }
            pending.refuse(error);
        }
    }

    /// Refuses what cannot be begun, and keeps what is to be kept.
    fn admit(
        &mut self,
        now: Nanos,
        (node, keeper): (usize, u32),
        request: &Request,
        keep: bool,
    ) -> Result<Option<Keep>, DhtError> {
        if node >= self.locals.len() {
            return Err(DhtError::NoSuchNode(node));
        }
        if !keep {
            return Ok(None);
        }
        Kept::kind(request).ok_or(DhtError::NotKept)?;
        request.target().map_err(DhtError::Invalid)?;
        match self.keep_by(now, keeper, request) {
            Some(keep) => Ok(Some(keep)),
            None => Err(DhtError::KeepsEnough),
        }
    }

    /// From now on `keeper` keeps something, if there is room.
    pub(super) fn keep_by(&mut self, now: Nanos, keeper: u32, request: &Request) -> Option<Keep> {
        let key = (keeper, Kept::kind(request)?, request.target().ok()?);
        self.kept.insert(now, key, request, &mut self.rng)
    }

    /// Stores again what is kept.
    pub(super) fn renew(&mut self, now: Nanos, key: Keep, request: Request) {
        if Mutant::NeverRenewed.is_in(self.mutant) {
            return;
        }
        let pending = Pending {
            outcome: Outcome::default(),
            node: match key.0.0 {
                ANY => self.any_node(now),
                node => node,
            },
            under_way: Vec::new(),
            deadline: now.saturating_add(self.patience),
            reply: None,
            stream: None,
            keep: Some(key),
            rounds: None,
        };
        if self.begin(now, pending, &request).is_err() {
            self.kept.stored(now, key, 0);
        }
    }

    /// Begins a lookup in each family that the node is in. One that can be begun in neither is given back.
    pub(super) fn begin(
        &mut self,
        now: Nanos,
        mut pending: Pending,
        request: &Request,
    ) -> Result<(), (Box<Pending>, DhtError)> {
        if self.pending.len() + self.spaced.len() >= MAX_PENDING {
            return Err((Box::new(pending), DhtError::Overloaded));
        }
        match request.target() {
            Ok(target) => pending.outcome.target = target,
            Err(error) => return Err((Box::new(pending), DhtError::Invalid(error))),
        }
        let number = self.next_number;
        let v4 = self.begin_in::<SocketAddrV4>(now, number, &mut pending, request);
        let v6 = self.begin_in::<SocketAddrV6>(now, number, &mut pending, request);
        let node = pending.node;
        if let (Err(error), true) = (v4.and(v6), pending.under_way.is_empty()) {
            return Err((Box::new(pending), error));
        }
        self.next_number += 1;
        self.traffic.lookups += 1;
        self.pending.insert(number, pending);
        self.sweep_at = self.sweep_at.min(now + SWEEP_INTERVAL);
        // Only now: it may have ended already.
        self.flush::<SocketAddrV4>(now, node);
        self.flush::<SocketAddrV6>(now, node);
        Ok(())
    }

    fn begin_in<A: Side>(
        &mut self,
        now: Nanos,
        number: u64,
        pending: &mut Pending,
        request: &Request,
    ) -> Result<(), DhtError> {
        let (Some(half), _) = A::half(&mut self.locals[pending.node as usize]) else {
            return Ok(());
        };
        own(half, now, pending, request, &mut self.rng);
        let out = A::outbox(&mut self.outboxes);
        let named = pending.named::<A>();
        let request = request.clone();
        let rng = &mut self.rng;
        let lookup = half.node.start_with(now, request, &named, rng, out)?;
        half.lookups.insert(lookup, number);
        pending.under_way.push((A::FAMILY, lookup));
        Ok(())
    }

    /// Ends the lookups for which nobody waits any more.
    pub(super) fn sweep(&mut self, now: Nanos) {
        let all = self.pending.iter();
        let left: Vec<u64> = all
            .filter(|(_, pending)| pending.is_given_up())
            .map(|(number, _)| *number)
            .collect();
        for number in left {
            if let Some(pending) = self.pending.remove(&number) {
                self.give_up(now, pending, DhtError::Stopped);
            }
        }
        self.sweep_at = match self.pending.is_empty() {
            true => Nanos::MAX,
            false => now + SWEEP_INTERVAL,
        };
    }

    pub(super) fn give_up(&mut self, now: Nanos, mut pending: Pending, error: DhtError) {
        fn cancel<A: Side>(local: &mut Local, lookup: LookupId) {
            if let (Some(half), _) = A::half(local) {
                half.node.cancel(lookup);
                half.lookups.remove(&lookup);
            }
        }
        let local = &mut self.locals[pending.node as usize];
        for (family, lookup) in pending.under_way.drain(..) {
            match family {
                Family::V4 => cancel::<SocketAddrV4>(local, lookup),
                Family::V6 => cancel::<SocketAddrV6>(local, lookup),
            }
        }
        if let Some(key) = pending.keep {
            let stored = pending.reports().iter().map(|report| report.stored);
            self.kept.stored(now, key, stored.sum());
        }
        if error == DhtError::TimedOut && pending.rounds.is_some() {
            return self.next_turn(now, pending, Some(error));
        }
        if let Some(reply) = pending.reply {
            let _ = reply.send(Err(error));
        }
    }

    /// Tells who waits for it what a lookup says.
    pub(super) fn event<A: Side>(&mut self, now: Nanos, number: u32, event: Event<A>) {
        let lookup = match &event {
            Event::Peers { lookup, .. }
            | Event::Item { lookup, .. }
            | Event::Samples { lookup, .. } => *lookup,
            Event::Finished(finished) => finished.lookup,
            Event::SeenAt(_) => return,
        };
        let (Some(half), _) = A::half(&mut self.locals[number as usize]) else {
            return;
        };
        let Some(waiting) = half.lookups.get(&lookup).copied() else {
            return;
        };
        let Some(pending) = self.pending.get_mut(&waiting) else {
            return;
        };
        if !pending.take(A::FAMILY, event) {
            return;
        }
        half.lookups.remove(&lookup);
        if pending.under_way.is_empty()
            && let Some(pending) = self.pending.remove(&waiting)
        {
            self.finish(now, pending);
        }
    }

    fn finish(&mut self, now: Nanos, pending: Pending) {
        if let Some(key) = pending.keep {
            let reports = pending.reports();
            let stored = reports.iter().map(|report| report.stored).sum();
            let newer = ErrorCode::SequenceTooLow.number();
            if stored == 0 && refused_with(reports, newer) > 0 {
                tracing::info!(target = %key.0.2, "a newer item was put by somebody; this one is kept no longer");
                self.kept.drop_one(key);
            } else {
                self.kept.stored(now, key, stored);
            }
        }
        self.next_turn(now, pending, None);
    }
}

/// What the node itself stores of what is looked for: nobody else may be as close to it.
fn own<A: Side>(
    half: &Half<A>,
    now: Nanos,
    pending: &mut Pending,
    request: &Request,
    rng: &mut ChaCha8Rng,
) {
    match request {
        Request::GetPeers {
            info_hash,
            no_seeds,
        } => {
            let mut peers = Vec::new();
            let store = half.node.peers();
            store.peers(now, *info_hash, *no_seeds, MAX_PEERS, rng, &mut peers);
            pending.peers(peers.into_iter().map(Into::<SocketAddr>::into));
        }
        Request::Get { target, salt, .. } => {
            // Checked as if another had told it: whoever does not know the salt finds it nowhere.
            let item = half.node.items().get(now, *target, None);
            let found = item.map(|item| Found::verify(&item, *target, salt));
            if let Some(Ok(found)) = found {
                pending.item(match found {
                    Found::Immutable(value) => FoundItem {
                        value: value.bytes().to_vec(),
                        version: None,
                    },
                    Found::Mutable(item) => FoundItem {
                        value: item.value.bytes().to_vec(),
                        version: Some((item.sequence, *item.signature)),
                    },
                });
            }
        }
        _ => {}
    }
}
