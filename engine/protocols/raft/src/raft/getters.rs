//! What can be asked of a replica without changing it.

use super::{Raft, Role};
use crate::{Entry, HardState, Index, Membership, NodeId, Progress, Term, progress::Mode};
use std::sync::Arc;

impl Raft {
    /// This replica.
    pub fn id(&self) -> NodeId {
        self.config.id
    }

    /// Its term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// For whom it voted in its term.
    pub fn vote(&self) -> Option<NodeId> {
        self.vote
    }

    /// What it is in its term.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who leads, as far as it knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// The highest index known to be committed.
    pub fn commit(&self) -> Index {
        self.log.commit
    }

    /// The highest index that was applied.
    pub fn applied(&self) -> Index {
        self.log.applied
    }

    /// The highest index that is durable here.
    pub fn stable(&self) -> Index {
        self.log.stable
    }

    /// The first index in memory.
    pub fn first_index(&self) -> Index {
        self.log.first_index()
    }

    /// The last index.
    pub fn last_index(&self) -> Index {
        self.log.last_index()
    }

    /// Index of the newest durable snapshot.
    pub fn snapshot_index(&self) -> Index {
        self.log.snapshot.index
    }

    /// The term of an entry in memory, or of the one before the first.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    /// The entries `from..=to`, as far as they are in memory.
    pub fn entries(&self, from: Index, to: Index) -> impl Iterator<Item = &Entry> {
        self.log.range(from, to)
    }

    /// The group.
    pub fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// What a leader knows of every replica, in order of their numbers; empty elsewhere.
    pub fn progress(&self) -> &[Progress] {
        if self.role == Role::Leader {
            &self.progress
        } else {
            &[]
        }
    }

    /// Payload bytes of the entries in memory.
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// How far a leader's log may be compacted without cutting off a replica that it hears from: the least that one of
    /// them has, or will have when the snapshot that it is being sent has arrived. `None` when there is no such
    /// replica.
    pub fn needed_from(&self) -> Option<Index> {
        let others = self.progress().iter();
        let others = others.filter(|p| p.id != self.config.id && p.active);
        let needs = others.map(|p| match p.mode {
            Mode::Snapshot(index) => index,
            Mode::Probe | Mode::Replicate => p.matched,
        });
        needs.min()
    }

    /// The oldest snapshot that a replica which the leader hears from is being sent.
    pub fn oldest_snapshot_sent(&self) -> Option<Index> {
        let others = self.progress().iter().filter(|p| p.active);
        let sent = others.filter_map(|p| match p.mode {
            Mode::Snapshot(index) => Some(index),
            Mode::Probe | Mode::Replicate => None,
        });
        sent.min()
    }

    /// The voter that has most of the log, apart from this node: the best one to hand leadership to.
    pub fn best_successor(&self) -> Option<NodeId> {
        let others = self.progress().iter();
        let others = others.filter(|p| p.id != self.config.id && !p.is_learner && p.active);
        others.max_by_key(|p| p.matched).map(|p| p.id)
    }

    /// Term, vote and commit index as they are now.
    pub fn hard_state(&self) -> HardState {
        HardState {
            term: self.term,
            vote: self.vote,
            commit: self.log.commit,
        }
    }
}
