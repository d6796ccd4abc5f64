//! What follows from every step: events, promises and what they wait for, entries to apply.

use super::{PersistMark, Raft, Seen, election::campaign_role};
use crate::{Body, Entry, Event, HardState, Index, Message, Mutant, Output, Persist};

/// Most entries that are handed out to be applied before it is heard that they are.
const MAX_UNAPPLIED: u64 = 4096;

impl Raft {
    /// Turns what has changed into outputs.
    pub(super) fn finish(&mut self) {
        self.tell();
        self.persist();
        self.hand_out();
    }

    pub(super) fn tell(&mut self) {
        let now = Seen {
            role: self.role,
            term: self.term,
            leader: self.leader,
            commit: self.log.commit,
        };
        let before = std::mem::replace(&mut self.seen, now);
        assert!(now.commit >= before.commit && now.term >= before.term);
        if (before.role, before.term) != (now.role, now.term) {
            let (role, term) = (now.role, now.term);
            self.push(Output::Event(Event::Role { role, term }));
        }
        if before.leader != now.leader {
            let (leader, term) = (now.leader, now.term);
            self.push(Output::Event(Event::Leader { leader, term }));
        }
        if before.commit != now.commit {
            let index = now.commit;
            self.push(Output::Event(Event::Commit { index }));
        }
    }

    pub(super) fn persist(&mut self) {
        let state = (self.term, self.vote);
        // The commit index is a hint of what a start must find. It goes no further than what is durable now: these
        // bytes may reach the platter before the entries do that are written with them.
        let durable = match self.mutated(Mutant::CommitHintAheadOfDisk) {
            true => Index::MAX,
            false => self.log.stable,
        };
        let hard_state = (state != self.persisted_state).then(|| HardState {
            commit: self.log.commit.min(durable),
            ..self.hard_state()
        });
        let snapshot = self.install.take();
        let entries: Vec<Entry> = if self.log.handed < self.log.last_index() {
            let from = self.log.handed + 1;
            self.log
                .range(from, self.log.last_index())
                .cloned()
                .collect()
        } else {
            Vec::new()
        };
        let nothing = hard_state.is_none() && snapshot.is_none() && entries.is_empty();
        if nothing && (self.after.is_empty() || self.inflight_persists.is_empty()) {
            // Nothing that a promise could wait for: it is durable already.
            for message in std::mem::take(&mut self.after) {
                self.release(message);
            }
            return;
        }
        self.persisted_state = state;
        self.log.handed = self.log.last_index();
        let mut after = std::mem::take(&mut self.after);
        let mut votes_for_self = None;
        after.retain(|message| {
            if message.to != message.from {
                return true;
            }
            if let Body::VoteReply { pre, .. } = message.body {
                votes_for_self = Some((message.term, pre));
            }
            false
        });
        let id = self.next_persist;
        self.next_persist += 1;
        let last = entries
            .last()
            .map(|e| (e.index, e.term))
            .or(snapshot.as_ref().map(|s| (s.index, s.term)));
        self.inflight_persists.push_back(PersistMark {
            id,
            last,
            votes_for_self,
        });
        self.push(Output::Persist(Persist {
            id,
            hard_state,
            snapshot,
            entries,
            after,
        }));
    }

    /// Entries from `from` on are replaced: what storage says of those in flight, it no longer says of the log. The
    /// same entry may come back, behind others that have yet to be cut away (ABA).
    pub(super) fn forget_persists_from(&mut self, from: Index) {
        for mark in &mut self.inflight_persists {
            mark.last = mark.last.filter(|(index, _)| *index < from);
        }
    }

    /// A promise with nothing to wait for.
    pub(super) fn release(&mut self, message: Message) {
        if message.to != self.config.id {
            return self.push(Output::Send(message));
        }
        if let Body::VoteReply { pre, .. } = message.body
            && message.term == self.term
            && self.role == campaign_role(pre)
        {
            let now = self.contact;
            self.count_vote(now, self.config.id, true);
            self.finish();
        }
    }

    /// Hands out what is committed and durable here, up to [`MAX_UNAPPLIED`] entries ahead of what is applied.
    pub(super) fn hand_out(&mut self) {
        let to = self.log.commit.min(self.log.stable);
        let to = to.min(self.log.applied + MAX_UNAPPLIED);
        while self.log.applying < to {
            let from = self.log.applying + 1;
            let entries = self.log.slice(from, to, self.config.max_apply_bytes);
            let last = entries.last().expect("in memory until applied").index;
            self.release_uncommitted(from, last);
            self.log.applying = last;
            self.push(Output::Apply(entries));
        }
    }
}
