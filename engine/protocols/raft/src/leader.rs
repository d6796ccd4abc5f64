//! What a leader does: replication, heartbeats, reads, handing its office over.

use crate::{
    Body, Event, Index, Message, Mutant, Nanos, NodeId, Output, Raft, ReadError, Role,
    log::RaftLog, progress::Mode, quorum, reads::Read,
};

impl Raft {
    pub(crate) fn lead_on(&mut self, now: Nanos) {
        if now >= self.contact.saturating_add(self.config.election_timeout) {
            self.contact = now;
            if self.config.check_quorum && !self.hears_quorum() {
                self.push(Output::Event(Event::LostQuorum));
                self.become_follower(now, self.term, None);
                return;
            }
        }
        // A transfer that did not happen in an election timeout is off.
        if self.transfer_until().is_some_and(|until| now >= until) {
            self.set_transfer(None);
        }
        if now >= *self.next_heartbeat() {
            self.broadcast_heartbeat(now);
        }
    }

    /// Whether a quorum was heard from since the last time this was asked.
    fn hears_quorum(&mut self) -> bool {
        let own = self.config.id;
        let progress = &self.progress;
        let heard = quorum::vote_result(&self.membership.voters, |id| {
            Some(
                progress
                    .iter()
                    .any(|p| p.id == id && (p.active || id == own)),
            )
        });
        for progress in &mut self.progress {
            progress.active = progress.id == own;
        }
        heard == quorum::VoteResult::Won
    }

    pub(crate) fn step_leader(&mut self, now: Nanos, message: Message) {
        let from = message.from;
        match message.body {
            Body::Propose {
                incarnation,
                number,
                payloads,
            } => {
                let is_new = self.taken.take(from, incarnation, number)
                    || self.mutated(Mutant::ProposalTakenTwice);
                // It counts as taken also when it is refused: no repetition of it will be carried out.
                if is_new && !payloads.is_empty() && self.propose_here(now, payloads).is_err() {
                    let refusal = Body::ProposalRefused {
                        incarnation,
                        number,
                    };
                    self.send(from, refusal);
                }
            }
            Body::ReadIndex {
                incarnation,
                context,
            } => {
                let read = Read {
                    from,
                    incarnation,
                    context,
                };
                if self.take_read(now, read).is_err() {
                    let refusal = Body::ReadRefused {
                        incarnation,
                        context,
                    };
                    self.send(from, refusal);
                }
            }
            Body::TransferLeader { to } => self.begin_transfer(now, to),
            Body::Appended { matched } => self.handle_appended(now, from, matched),
            Body::AppendRejected {
                prev_index,
                hint_index,
                hint_term,
            } => self.handle_rejected(now, from, prev_index, hint_index, hint_term),
            Body::HeartbeatReply { round } => self.handle_heartbeat_reply(now, from, round),
            _ => {}
        }
    }

    fn at(&self, id: NodeId) -> Option<usize> {
        self.progress.iter().position(|p| p.id == id)
    }

    // ---- Replication ----

    pub(crate) fn broadcast_append(&mut self, _now: Nanos) {
        for at in 0..self.progress.len() {
            if self.progress[at].id != self.config.id {
                self.send_append(at, Empty::Send);
            }
        }
    }

    /// Sends what the follower lacks, as much as one message and its window hold; whether anything was sent.
    fn send_append(&mut self, at: usize, empty: Empty) -> bool {
        let progress = &mut self.progress[at];
        if progress.is_paused() {
            return false;
        }
        let prev_index = progress.next - 1;
        let Some(prev_term) = self.log.term_at(prev_index) else {
            return self.send_snapshot(at);
        };
        let full = progress.mode == Mode::Replicate && progress.is_window_full();
        let entries = if full {
            Vec::new()
        } else {
            let last = self.log.last_index();
            self.log
                .slice(prev_index + 1, last, self.config.max_append_bytes)
        };
        if entries.is_empty() && empty == Empty::Skip {
            return false;
        }
        let commit = self.log.commit;
        let bytes = entries.iter().map(|e| e.payload.len() as u64).sum();
        progress.sent(entries.len(), bytes);
        progress.sent_commit = commit;
        let to = progress.id;
        self.send(
            to,
            Body::Append {
                prev_index,
                prev_term,
                commit,
                entries,
            },
        );
        true
    }

    fn send_snapshot(&mut self, at: usize) -> bool {
        let progress = &mut self.progress[at];
        if !progress.active {
            return false;
        }
        let meta = self.log.snapshot.clone();
        assert!(
            meta.index + 1 >= self.log.first_index(),
            "a snapshot covers what was dropped"
        );
        progress.become_snapshot(meta.index);
        let (to, index) = (progress.id, meta.index);
        self.push(Output::Event(Event::SnapshotNeeded { to, index }));
        self.send(to, Body::Snapshot { meta });
        true
    }

    fn handle_appended(&mut self, now: Nanos, from: NodeId, matched: Index) {
        let Some(at) = self.at(from) else { return };
        // A follower cannot have more of this leader's log than there is.
        if matched > self.log.last_index() {
            return;
        }
        let first = self.log.first_index();
        let progress = &mut self.progress[at];
        progress.active = true;
        let news = progress.acknowledge(matched);
        let ends_probe = progress.mode == Mode::Probe && progress.matched == matched;
        if !news && !ends_probe {
            return;
        }
        match progress.mode {
            Mode::Probe => progress.become_replicate(),
            Mode::Snapshot(_) if progress.matched + 1 >= first => progress.become_replicate(),
            // It has the snapshot, and what comes behind it was dropped meanwhile: the next probe finds that out.
            Mode::Snapshot(index) if progress.matched >= index => progress.become_probe(),
            Mode::Snapshot(_) => {}
            Mode::Replicate => progress.free_to(matched),
        }
        if self.advance_commit() {
            self.release_reads(now);
            self.broadcast_append(now);
        } else if self.can_tell_commit(at) {
            self.send_append(at, Empty::Send);
        }
        while self.send_append(at, Empty::Skip) {}
        if self.transferee() == Some(from) && self.progress[at].matched == self.log.last_index() {
            self.order_campaign(from);
        }
    }

    fn can_tell_commit(&self, at: usize) -> bool {
        let progress = &self.progress[at];
        self.log.commit > progress.sent_commit && progress.sent_commit < progress.next - 1
    }

    fn handle_rejected(
        &mut self,
        _now: Nanos,
        from: NodeId,
        prev_index: Index,
        hint_index: Index,
        hint_term: u64,
    ) {
        let Some(at) = self.at(from) else { return };
        let hint = if hint_term > 0 {
            find_hint(&self.log, hint_index, hint_term)
        } else {
            hint_index
        };
        let trusting = self.mutated(Mutant::AcknowledgeLastIndex);
        let progress = &mut self.progress[at];
        progress.active = true;
        if trusting && hint_index <= self.log.last_index() {
            progress.acknowledge(hint_index);
        }
        if progress.refused(prev_index, hint) {
            if progress.mode == Mode::Replicate {
                progress.become_probe();
            }
            self.send_append(at, Empty::Send);
        }
    }

    /// This leader's own entries up to `index` are durable.
    pub(crate) fn acknowledge_own(&mut self, now: Nanos, index: Index) {
        let own = self.config.id;
        if self.role != Role::Leader {
            return;
        }
        let Some(at) = self.at(own) else { return };
        if self.progress[at].acknowledge(index) && self.advance_commit() {
            self.release_reads(now);
            self.broadcast_append(now);
        }
    }

    /// Commits what a quorum has, if the last of it is of this term (§5.4.2); whether the index rose.
    fn advance_commit(&mut self) -> bool {
        let progress = &self.progress;
        let index = quorum::committed(&self.membership.voters, |id| {
            progress.iter().find(|p| p.id == id).map(|p| p.matched)
        });
        let index = index.min(self.log.last_index());
        if index <= self.log.commit {
            return false;
        }
        let by_counting = self.mutated(Mutant::CommitOldTermByCounting);
        if !by_counting && self.log.term_at(index) != Some(self.term) {
            return false;
        }
        self.log.commit = index;
        true
    }

    // ---- Heartbeats and reads ----

    pub(crate) fn broadcast_heartbeat(&mut self, now: Nanos) {
        *self.next_heartbeat() = now.saturating_add(self.config.heartbeat_interval);
        let round = self.reads.begin_round(now);
        for at in 0..self.progress.len() {
            let progress = &mut self.progress[at];
            if progress.id == self.config.id {
                progress.round = round;
                continue;
            }
            let commit = progress.matched.min(self.log.commit);
            progress.sent_commit = progress.sent_commit.max(commit);
            let to = progress.id;
            self.send(to, Body::Heartbeat { commit, round });
        }
        self.confirm_rounds(now);
    }

    fn handle_heartbeat_reply(&mut self, now: Nanos, from: NodeId, round: u64) {
        let Some(at) = self.at(from) else { return };
        let last = self.log.last_index();
        let progress = &mut self.progress[at];
        progress.active = true;
        progress.paused = false;
        progress.round = progress.round.max(round.min(self.reads.round()));
        if progress.matched < last || progress.mode == Mode::Probe {
            self.send_append(at, Empty::Send);
        }
        self.confirm_rounds(now);
    }

    /// The highest round that a quorum has acknowledged.
    fn confirm_rounds(&mut self, now: Nanos) {
        let progress = &self.progress;
        let round = quorum::committed(&self.membership.voters, |id| {
            progress.iter().find(|p| p.id == id).map(|p| p.round)
        });
        self.reads.confirm(round);
        self.release_reads(now);
    }

    pub(crate) fn take_read(&mut self, now: Nanos, read: Read) -> Result<(), ReadError> {
        if self.reads.len() >= self.config.max_pending_reads {
            return Err(ReadError::TooManyReads);
        }
        if self.may_read() && self.holds_lease(now) {
            self.push(Output::Event(Event::LeaseRead));
            let index = self.log.commit;
            self.answer_read(read, index);
            return Ok(());
        }
        // One round of heartbeats at a time asks for all reads that came before it.
        let idle = self.reads.add(read);
        if idle {
            self.broadcast_heartbeat(now);
        }
        Ok(())
    }

    /// A leader knows what is committed only once an entry of its own term is (§6.4).
    fn may_read(&self) -> bool {
        self.mutated(Mutant::ReadBeforeCommitInTerm)
            || self.log.term_at(self.log.commit) == Some(self.term)
    }

    /// Whether no other node can have been elected yet.
    ///
    /// Every voter that acknowledged a round keeps from voting for an election timeout E of its own clock from then
    /// on. Clocks that run at most d fast or slow of true time make that at least E / (1 + d) of true time after the
    /// round was *sent*; this node's clock, at most d fast, must not read more than E * (1 - d) / (1 + d) by then.
    /// After an order to campaign in this term the lease is void: the order may arrive at any time.
    fn holds_lease(&self, now: Nanos) -> bool {
        if !(self.config.lease_reads && self.config.check_quorum) || self.transferee().is_some() {
            return false;
        }
        let drift = match self.mutated(Mutant::LeaseWithoutDriftMargin) {
            true => 0,
            false => u128::from(self.config.max_clock_drift_ppm),
        };
        let million = 1_000_000_u128;
        let lease =
            u128::from(self.config.election_timeout) * (million - drift) / (million + drift);
        self.reads
            .lease_start()
            .is_some_and(|start| u128::from(now.saturating_sub(start)) < lease)
    }

    fn release_reads(&mut self, now: Nanos) {
        if !self.may_read() {
            return;
        }
        let index = self.log.commit;
        let ready = self.reads.take_confirmed();
        if !ready.is_empty() {
            let reads = ready.len();
            self.push(Output::Event(Event::QuorumRead { reads }));
        }
        for read in ready {
            self.answer_read(read, index);
        }
        if self.reads.wants_round() {
            self.broadcast_heartbeat(now);
        }
    }

    fn answer_read(&mut self, read: Read, index: Index) {
        let Read {
            from,
            incarnation,
            context,
        } = read;
        if from == self.config.id {
            self.push(Output::ReadReady { context, index });
        } else {
            self.send(
                from,
                Body::ReadIndexReply {
                    incarnation,
                    context,
                    index,
                },
            );
        }
    }

    // ---- Handing over ----

    pub(crate) fn begin_transfer(&mut self, now: Nanos, to: NodeId) {
        let Some(at) = self.at(to) else { return };
        if to == self.config.id || self.progress[at].is_learner || self.transferee() == Some(to) {
            return;
        }
        let until = now.saturating_add(self.config.election_timeout);
        self.set_transfer(Some((to, until)));
        self.push(Output::Event(Event::Transfer { to }));
        if self.progress[at].matched == self.log.last_index() {
            self.order_campaign(to);
        } else {
            self.send_append(at, Empty::Send);
        }
    }

    fn order_campaign(&mut self, to: NodeId) {
        self.reads.void_lease();
        self.send(to, Body::TimeoutNow);
    }
}

fn find_hint(log: &RaftLog, index: Index, term: u64) -> Index {
    log.find_conflict_by_term(index, term).0
}

/// Whether an append without entries is worth sending.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Send,
    Skip,
}
