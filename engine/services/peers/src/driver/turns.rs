//! A host with several addresses (BEP 45): through which of its nodes something is done, and the turns that they take.

use super::Driver;
use crate::{
    handle::DhtError,
    kept::SPACING,
    pending::{Pending, Rounds},
};
use holdfast_kademlia::{Nanos, Request};
use rand::Rng;

/// Most nodes that do the same one after another: as many as the authors of BEP 45 have run.
pub(super) const MOST_TURNS: usize = 256;
/// How many nodes are looked at for one that others answer.
const LOOKED_AT: u32 = 256;

impl Driver {
    /// A node by lot, and if others have not answered it lately, the next one that they have (BEP 45, "Determining
    /// Connectivity").
    pub(super) fn any_node(&mut self, now: Nanos) -> u32 {
        let count = self.locals.len() as u32;
        if count == 1 {
            return 0;
        }
        let lot = self.rng.random_range(0..count);
        let mut nodes = (lot..count).chain(0..lot).take(LOOKED_AT as usize);
        let answered = nodes.find(|node| self.locals[*node as usize].is_answered(now));
        answered.unwrap_or(lot)
    }

    /// The turns of all nodes but the first, if there are others.
    pub(super) fn rounds(&self, request: &Request, is_kept: bool) -> Option<Box<Rounds>> {
        let left = 1..self.locals.len() as u32;
        (!left.is_empty()).then(|| {
            Box::new(Rounds {
                request: request.clone(),
                is_kept,
                left,
                begun: 0,
                named: Vec::new(),
            })
        })
    }

    /// A node has done what there was to do, or has failed to. It is the next one's turn, some time later; after the
    /// last one's the outcome is told, or the error where all have failed.
    pub(super) fn next_turn(&mut self, now: Nanos, mut pending: Pending, error: Option<DhtError>) {
        if !pending.has_more() {
            let outcome = match error {
                Some(error) if pending.outcome.reports.is_empty() => Err(error),
                _ => Ok(pending.outcome),
            };
            if let Some(reply) = pending.reply {
                let _ = reply.send(outcome);
            }
            return;
        }
        pending.end_turn();
        let number = self.next_number;
        self.next_number += 1;
        let at = now.saturating_add(SPACING);
        self.spaced.insert((at, number), pending);
    }

    /// Gives those their turn that have waited for it.
    pub(super) fn take_turns(&mut self, now: Nanos) {
        while let Some(entry) = self.spaced.first_entry()
            && entry.key().0 <= now
        {
            let pending = entry.remove();
            if !pending.is_given_up() {
                self.take_turn(now, pending);
            }
        }
    }

    fn take_turn(&mut self, now: Nanos, mut pending: Pending) {
        let Some((rounds, node)) = pending.rounds.as_mut().and_then(|rounds| {
            let node = rounds.left.next()?;
            Some((rounds, node))
        }) else {
            // It is to be kept no longer.
            return self.next_turn(now, pending, None);
        };
        let request = rounds.request.clone();
        pending.node = node;
        // Where there is no room to keep it, it is stored this once.
        pending.keep = match rounds.is_kept {
            true => self.keep_by(now, node, &request),
            false => None,
        };
        pending.deadline = now.saturating_add(self.patience);
        if let Err((pending, error)) = self.begin(now, pending, &request) {
            tracing::warn!(node, %error, "one of several nodes cannot do what the others do");
            if let Some(key) = pending.keep {
                self.kept.stored(now, key, 0);
            }
            self.next_turn(now, *pending, Some(error));
        }
    }
}
