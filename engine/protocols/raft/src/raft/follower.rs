//! What a follower does with its leader's messages (section 5.3).

use super::{Raft, Role, election::Campaign};
use crate::{
    Body, Entry, Event, Index, Message, Mutant, Nanos, NodeId, Output, SnapshotMeta, Term,
};

impl Raft {
    pub(super) fn step_follower(&mut self, now: Nanos, message: Message) {
        let from = message.from;
        match message.body {
            Body::Append {
                prev_index,
                prev_term,
                commit,
                entries,
            } => {
                self.heard_leader(now, from);
                self.handle_append(from, prev_index, prev_term, commit, entries);
            }
            Body::Heartbeat { commit, round } => {
                self.heard_leader(now, from);
                self.commit_to(commit.min(self.log.last_index()));
                self.send(from, Body::HeartbeatReply { round });
            }
            Body::Snapshot { meta } => {
                self.heard_leader(now, from);
                self.restore(meta);
            }
            Body::TimeoutNow if self.is_promotable() => {
                self.outputs
                    .push_back(Output::Event(Event::CampaignOrdered));
                self.start_campaign(now, Campaign::Transfer);
            }
            // An answer to an earlier incarnation may bear the name of a read of this one.
            Body::ReadIndexReply {
                incarnation,
                context,
                index,
            } if incarnation == self.incarnation || self.mutated(Mutant::ReadNamesReused) => {
                self.outputs.push_back(Output::ReadReady { context, index });
            }
            Body::ProposalRefused {
                incarnation,
                number,
            } if incarnation == self.incarnation => {
                self.outputs.push_back(Output::ProposalRefused { number });
            }
            Body::ReadRefused {
                incarnation,
                context,
            } if incarnation == self.incarnation => {
                self.outputs.push_back(Output::ReadRefused { context });
            }
            // Whoever led in this term does not any more: nobody can take it.
            Body::Propose { .. } => {}
            Body::TransferLeader { to } => {
                if let Some(leader) = self.leader.filter(|leader| *leader != from) {
                    self.send(leader, Body::TransferLeader { to });
                }
            }
            _ => {}
        }
    }

    pub(super) fn heard_leader(&mut self, now: Nanos, leader: NodeId) {
        assert!(
            self.leader.is_none_or(|known| known == leader),
            "one leader a term: {:?} and {leader} in {}",
            self.leader,
            self.term
        );
        if self.role != Role::Follower {
            self.become_follower(now, self.term, Some(leader));
        }
        self.leader = Some(leader);
        self.contact = now;
        if self.config.lease_reads {
            self.promised_until = now.saturating_add(self.config.election_timeout);
        }
    }

    pub(super) fn handle_append(
        &mut self,
        from: NodeId,
        prev_index: Index,
        prev_term: Term,
        commit: Index,
        mut entries: Vec<Entry>,
    ) {
        if prev_index < self.log.commit {
            let matched = self.log.commit;
            return self.promise(from, Body::Appended { matched });
        }
        if !self.log.matches(prev_index, prev_term) {
            let hint = prev_index.min(self.log.last_index());
            let (hint_index, hint_term) = self.log.find_conflict_by_term(hint, prev_term);
            return self.promise(
                from,
                Body::AppendRejected {
                    prev_index,
                    hint_index,
                    hint_term,
                },
            );
        }
        let last_new = prev_index + entries.len() as Index;
        let known = if self.mutated(Mutant::TruncateWithoutConflict) {
            0
        } else {
            entries
                .iter()
                .take_while(|e| self.log.matches(e.index, e.term))
                .count()
        };
        entries.drain(..known);
        if let Some(first) = entries.first() {
            if first.index <= self.log.last_index() {
                let index = first.index;
                self.outputs
                    .push_back(Output::Event(Event::Conflict { index }));
            }
            self.forget_persists_from(first.index);
            self.log.replace_from(entries);
        }
        self.commit_to(commit.min(last_new));
        let matched = if self.mutated(Mutant::AcknowledgeLastIndex) {
            self.log.last_index()
        } else {
            last_new
        };
        if self.mutated(Mutant::AcknowledgeBeforeSync) {
            self.send(from, Body::Appended { matched });
        } else {
            self.promise(from, Body::Appended { matched });
        }
    }

    /// Takes over a snapshot. What is in it is committed, whoever made it: the leader of this term has it too.
    pub(super) fn restore(&mut self, meta: SnapshotMeta) {
        if self.log.matches(meta.index, meta.term) {
            self.commit_to(meta.index);
        } else if meta.index > self.log.commit {
            self.membership = meta.membership.clone();
            self.install = Some(meta.clone());
            self.forget_persists_from(0);
            self.log.restore(meta);
        }
        let matched = self.log.commit;
        if let Some(leader) = self.leader.filter(|leader| *leader != self.config.id) {
            self.promise(leader, Body::Appended { matched });
        }
    }

    pub(super) fn commit_to(&mut self, index: Index) {
        if index > self.log.commit {
            assert!(index <= self.log.last_index(), "commits what it has");
            self.log.commit = index;
        }
    }
}
