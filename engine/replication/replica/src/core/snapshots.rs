//! Taking, sending, receiving and installing snapshots.

use super::{Event, Output, Replica};
use crate::{Message, Mutant, SnapshotFile, State, StateMachine, StoreCommand, transfer::Piece};
use bytes::Bytes;
use holdfast_raft::{Body, Index, Nanos, NodeId, Role, SnapshotMeta, Term};

impl<S: StateMachine> Replica<S> {
    /// Where a snapshot is due depends on the log alone, not on how it was cut into batches: replicas take the same
    /// snapshots, so that one can go on sending what another began to send.
    pub(super) fn take_snapshot_if_due(&mut self) {
        let last = self.snapshot.as_ref().map_or(0, |s| s.meta.index);
        let due = self
            .state
            .applied()
            .is_multiple_of(self.settings.snapshot_entries)
            || self.bytes_since_snapshot >= self.settings.snapshot_bytes;
        if !due || self.taking_snapshot || self.state.applied() <= last {
            return;
        }
        self.taking_snapshot = true;
        self.bytes_since_snapshot = 0;
        let mut state = Box::new(self.state.clone());
        let planted = cfg!(debug_assertions)
            && self.settings.mutant == Some(Mutant::AppliedIndexBehindState)
            && self.applied_before.0 > last;
        if planted {
            let (applied, term) = self.applied_before;
            *state = state.with_applied_index_behind(applied, term);
        }
        let meta = SnapshotMeta {
            index: state.applied(),
            term: state.applied_term(),
            membership: self.raft.membership().clone(),
        };
        self.outputs
            .push_back(Output::Store(StoreCommand::TakeSnapshot { meta, state }));
    }

    /// A snapshot is durable: the log may end later.
    pub(super) fn adopt_snapshot(&mut self, file: SnapshotFile) {
        let index = file.meta.index;
        if self
            .snapshot
            .as_ref()
            .is_some_and(|s| s.meta.index >= index)
        {
            return;
        }
        self.raft.handle_snapshot_durable(file.meta.clone());
        let mut keep_from = index.saturating_sub(self.settings.keep_entries);
        // A replica that is behind, or that is being sent a snapshot, would only need the next one.
        if self.raft.log_bytes() <= self.settings.hold_bytes
            && let Some(needed) = self.raft.needed_from()
        {
            keep_from = keep_from.min(needed);
        }
        if keep_from > 0 {
            self.raft.compact(keep_from);
        }
        self.snapshot = Some(file);
        let sent = self.raft.oldest_snapshot_sent();
        self.outputs.push_back(Output::Store(StoreCommand::Compact {
            before: keep_from + 1,
            snapshots_before: sent.map_or(index, |sent| sent.min(index)),
        }));
        self.outputs
            .push_back(Output::Event(Event::SnapshotTaken { index }));
    }

    pub(super) fn request_chunk(&mut self, piece: Piece) {
        let Piece { to, file, offset } = piece;
        self.outputs
            .push_back(Output::Store(StoreCommand::ReadChunk { to, file, offset }));
    }

    pub(super) fn continue_transfer(
        &mut self,
        now: Nanos,
        from: NodeId,
        index: Index,
        received: u64,
        complete: bool,
    ) {
        if complete {
            // Its acknowledgement of the installed snapshot comes as a Raft message.
            if self.transfers.complete(from, index) {
                self.raft
                    .report_snapshot(now, from, holdfast_raft::SnapshotStatus::Finished);
            }
        } else if let Some(piece) = self.transfers.advance(now, from, index, received) {
            self.request_chunk(piece);
        }
    }

    pub(super) fn receive_chunk(
        &mut self,
        now: Nanos,
        from: NodeId,
        term: Term,
        file: SnapshotFile,
        offset: u64,
        bytes: Bytes,
    ) {
        // To Raft a chunk is a sign of life of the leader, like a heartbeat: no election during a long transfer.
        let heartbeat = holdfast_raft::Message {
            from,
            to: self.raft.id(),
            term,
            body: Body::Heartbeat {
                commit: 0,
                round: 0,
            },
        };
        self.raft.handle_message(now, heartbeat);
        // A new term is on its way to the disk before the snapshot that came in it is.
        self.drain_raft(now);
        let wanted = term == self.raft.term()
            && self.raft.role() != Role::Leader
            && file.meta.index > self.raft.commit()
            && file.bytes <= crate::snapshot::MAX_SNAPSHOT_BYTES;
        if !wanted {
            if term == self.raft.term() && file.meta.index <= self.raft.commit() {
                let message = Message::SnapshotReceived {
                    from: self.raft.id(),
                    index: file.meta.index,
                    received: file.bytes,
                    complete: true,
                };
                self.outputs.push_back(Output::Send { to: from, message });
            }
            return;
        }
        self.outputs
            .push_back(Output::Store(StoreCommand::ReceiveChunk {
                from,
                file,
                offset,
                bytes,
            }));
    }

    /// Hands a verified snapshot to the Raft core, and takes its state over if the core does.
    pub(super) fn install(&mut self, file: SnapshotFile, state: State<S>) {
        if file.meta.index <= self.raft.commit() {
            return;
        }
        let index = file.meta.index;
        assert_eq!(
            state.applied(),
            index,
            "a snapshot holds what its name says"
        );
        self.raft.handle_snapshot_received(file.meta.clone());
        if self.raft.snapshot_index() != index {
            return;
        }
        self.state = state;
        // Commands that wait may have been applied on the way to it: whether they were is not known any more.
        for waiting in self.pending.values_mut() {
            waiting.term = None;
        }
        self.applied_before = (self.state.applied(), self.state.applied_term());
        self.bytes_since_snapshot = 0;
        // Raft has gone on from the snapshot: what it waited for is behind that.
        self.held = None;
        self.outputs
            .push_back(Output::InstallOnDisk { file: file.clone() });
        self.snapshot = Some(file);
        let event = Event::SnapshotInstalled { index };
        self.outputs.push_back(Output::Event(event));
        self.outputs
            .push_back(Output::Event(Event::Applied { index }));
    }
}
