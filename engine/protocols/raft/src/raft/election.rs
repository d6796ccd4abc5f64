//! Elections: who campaigns, who votes for whom (section 5.2, and 9.6 of the dissertation).

use super::{Raft, Role};
use crate::{
    Body, Index, Message, Mutant, Nanos, NodeId, Output, Term,
    quorum::{self, VoteResult},
};

impl Raft {
    pub(super) fn start_campaign(&mut self, now: Nanos, kind: Campaign) {
        let pre = self.config.pre_vote && kind == Campaign::Timeout;
        let (term, role) = if pre {
            (self.term + 1, Role::PreCandidate)
        } else {
            self.reset(now, self.term + 1);
            (self.term, Role::Candidate)
        };
        if pre {
            self.votes.clear();
            self.leader = None;
            self.reset_election_clock(now);
        } else {
            assert!(self.vote.is_none(), "one vote a term");
            self.vote = Some(self.config.id);
        }
        self.role = role;
        let (last_index, last_term) = (self.log.last_index(), self.log.last_term());
        for to in self.membership.voters.clone() {
            if to != self.config.id {
                self.outputs.push_back(Output::Send(Message {
                    from: self.config.id,
                    to,
                    term,
                    body: Body::Vote {
                        last_index,
                        last_term,
                        pre,
                        transfer: kind == Campaign::Transfer,
                    },
                }));
            }
        }
        // Its own vote counts like any other: once it is durable.
        self.after.push(Message {
            from: self.config.id,
            to: self.config.id,
            term: self.term,
            body: Body::VoteReply { pre, granted: true },
        });
    }

    pub(super) fn count_vote(&mut self, now: Nanos, from: NodeId, granted: bool) {
        if !self.votes.iter().any(|(id, _)| *id == from) {
            self.votes.push((from, granted));
        }
        let votes = &self.votes;
        let result = quorum::vote_result(&self.membership.voters, |id| {
            votes.iter().find(|(v, _)| *v == id).map(|(_, yes)| *yes)
        });
        match result {
            VoteResult::Pending => {}
            VoteResult::Won if self.role == Role::PreCandidate => {
                self.start_campaign(now, Campaign::Election);
            }
            VoteResult::Won => self.become_leader(now),
            VoteResult::Lost => self.become_follower(now, self.term, None),
        }
    }

    pub(super) fn consider_vote(&mut self, now: Nanos, message: &Message) {
        let Body::Vote {
            last_index,
            last_term,
            pre,
            ..
        } = message.body
        else {
            unreachable!("a vote was asked for");
        };
        let can_vote = self.vote == Some(message.from)
            || (self.vote.is_none() && self.leader.is_none())
            || (pre && message.term > self.term);
        let can_vote =
            can_vote && !(pre && self.wins_tie(now, message.from, last_index, last_term));
        if can_vote && self.log.is_up_to_date(last_index, last_term) {
            if !pre {
                assert_eq!(message.term, self.term);
                self.contact = now;
                self.vote = Some(message.from);
            }
            let reply = Message {
                from: self.config.id,
                to: message.from,
                term: message.term,
                body: Body::VoteReply { pre, granted: true },
            };
            if !pre && self.mutated(Mutant::VoteBeforeSync) {
                self.outputs.push_back(Output::Send(reply));
            } else {
                self.after.push(reply);
            }
        } else {
            let body = Body::VoteReply {
                pre,
                granted: false,
            };
            let term = self.term;
            self.promise_at(message.from, term, body);
        }
    }

    /// Of two nodes that have just asked each other whether they would be elected, and that differ in nothing but their
    /// numbers, the higher one does not let the other go first: they would both campaign, and neither would win.
    pub(super) fn wins_tie(
        &self,
        now: Nanos,
        rival: NodeId,
        last_index: Index,
        last_term: Term,
    ) -> bool {
        self.role == Role::PreCandidate
            && now < self.contact.saturating_add(self.config.heartbeat_interval)
            && (last_index, last_term) == (self.log.last_index(), self.log.last_term())
            && self.config.id > rival
    }

    /// Whether a leader may count on this node not to vote.
    pub(super) fn is_bound_to_leader(&self, now: Nanos) -> bool {
        let hears = self.leader.is_some()
            && now < self.contact.saturating_add(self.config.election_timeout);
        (self.config.check_quorum && hears)
            || (self.config.lease_reads && now < self.promised_until)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Campaign {
    /// No leader was heard for too long.
    Timeout,
    /// A pre-vote was won.
    Election,
    /// The leader ordered it.
    Transfer,
}

pub(super) fn campaign_role(pre: bool) -> Role {
    if pre {
        Role::PreCandidate
    } else {
        Role::Candidate
    }
}
