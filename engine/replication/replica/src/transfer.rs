use crate::SnapshotFile;
use holdfast_raft::{Index, Nanos, NodeId};
use std::collections::BTreeMap;

/// Answers in a row that bring nothing new after which the piece that the peer lacks is taken to be lost.
const REPEATED_ANSWERS: u32 = 3;

/// A piece of a snapshot to read and to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub to: NodeId,
    pub file: SnapshotFile,
    pub offset: u64,
}

/// A snapshot under way to one peer.
#[derive(Clone, Debug)]
struct Outgoing {
    file: SnapshotFile,
    /// So many bytes are there, as the peer last said.
    received: u64,
    /// Where the next piece begins; what lies between `received` and here is under way.
    next: u64,
    /// The piece at `next` is being read. One read at a time: only what was read tells where the one after begins.
    is_reading: bool,
    /// Answers since `received` last rose.
    repeated: u32,
    /// No answer came in time, so the peer may have begun anew: its next answer is believed, also when it has less
    /// than before. Any other that says so is a late one.
    is_probing: bool,
    retry_at: Nanos,
}

/// Snapshots under way: at most one to each peer, as many pieces in flight as a window of bytes holds, and where the
/// snapshot that is being received comes from.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    retry_after: Nanos,
    window: u64,
    outgoing: BTreeMap<NodeId, Outgoing>,
    source: Option<(NodeId, SnapshotFile)>,
}

impl Transfers {
    pub fn new(retry_after: Nanos, window: u64) -> Self {
        Transfers {
            retry_after,
            window,
            outgoing: BTreeMap::new(),
            source: None,
        }
    }

    /// Starts sending `file`, or goes on if that is what is being sent.
    pub fn begin(&mut self, now: Nanos, to: NodeId, file: SnapshotFile) -> Piece {
        let received = match self.outgoing.get(&to) {
            Some(outgoing) if outgoing.file == file => outgoing.received,
            _ => 0,
        };
        let outgoing = Outgoing {
            file: file.clone(),
            received,
            next: received,
            is_reading: true,
            repeated: 0,
            is_probing: true,
            retry_at: now.saturating_add(self.retry_after),
        };
        self.outgoing.insert(to, outgoing);
        Piece {
            to,
            file,
            offset: received,
        }
    }

    /// A piece of `len` bytes was read; whether it is still to be sent.
    pub fn was_read(&mut self, to: NodeId, file: &SnapshotFile, offset: u64, len: u64) -> bool {
        let Some(outgoing) = self.outgoing.get_mut(&to).filter(|o| o.file == *file) else {
            return false;
        };
        if outgoing.is_reading && offset == outgoing.next {
            outgoing.next += len;
            outgoing.is_reading = false;
        }
        true
    }

    /// The next piece to read for a peer whose window has room.
    pub fn next_piece(&mut self, to: NodeId) -> Option<Piece> {
        let window = self.window;
        let outgoing = self.outgoing.get_mut(&to)?;
        let has_room = outgoing.next - outgoing.received < window;
        if outgoing.is_reading || outgoing.next >= outgoing.file.bytes || !has_room {
            return None;
        }
        outgoing.is_reading = true;
        Some(outgoing.piece(to, outgoing.next))
    }

    /// The peer has `received` bytes: the next piece, if there is one to send now.
    pub fn advance(
        &mut self,
        now: Nanos,
        to: NodeId,
        index: Index,
        received: u64,
    ) -> Option<Piece> {
        let retry_at = now.saturating_add(self.retry_after);
        let outgoing = self.outgoing.get_mut(&to)?;
        if outgoing.file.meta.index != index || received >= outgoing.file.bytes {
            return None;
        }
        if received > outgoing.received || (outgoing.is_probing && received < outgoing.received) {
            let begins_anew = received < outgoing.received || received > outgoing.next;
            outgoing.received = received;
            outgoing.repeated = 0;
            outgoing.is_probing = false;
            outgoing.retry_at = retry_at;
            if begins_anew {
                outgoing.next = received;
                outgoing.is_reading = false;
            }
            return self.next_piece(to);
        }
        if received < outgoing.received {
            return None;
        }
        outgoing.repeated += 1;
        (outgoing.repeated == REPEATED_ANSWERS).then(|| outgoing.piece(to, received))
    }

    /// The peer has it all; whether that was news.
    pub fn complete(&mut self, to: NodeId, index: Index) -> bool {
        let current = self
            .outgoing
            .get(&to)
            .is_some_and(|outgoing| outgoing.file.meta.index == index);
        if current {
            self.outgoing.remove(&to);
        }
        current
    }

    /// Stops sending to a peer.
    pub fn end(&mut self, to: NodeId) {
        self.outgoing.remove(&to);
    }

    /// Stops sending: this node does not lead any more.
    pub fn end_all(&mut self) {
        self.outgoing.clear();
    }

    /// A peer whose answer is overdue: what it lacks is sent again, from the first byte of it.
    pub fn due(&mut self, now: Nanos) -> Option<Piece> {
        let retry_at = now.saturating_add(self.retry_after);
        let (&to, outgoing) = self.outgoing.iter_mut().find(|(_, o)| o.retry_at <= now)?;
        outgoing.next = outgoing.received;
        outgoing.is_reading = true;
        outgoing.repeated = 0;
        outgoing.is_probing = true;
        outgoing.retry_at = retry_at;
        Some(outgoing.piece(to, outgoing.received))
    }

    /// When the next answer is overdue.
    pub fn timeout(&self) -> Option<Nanos> {
        self.outgoing.values().map(|o| o.retry_at).min()
    }

    /// Remembers who sends pieces of `file`; whether another node had begun to.
    pub fn note_source(&mut self, from: NodeId, file: &SnapshotFile) -> bool {
        let resumed = self
            .source
            .as_ref()
            .is_some_and(|(old, known)| known == file && *old != from);
        self.source = Some((from, file.clone()));
        resumed
    }
}

impl Outgoing {
    fn piece(&self, to: NodeId, offset: u64) -> Piece {
        Piece {
            to,
            file: self.file.clone(),
            offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_raft::{Membership, SnapshotMeta};
    use std::sync::Arc;

    const PEER: NodeId = 2;
    const INDEX: Index = 7;

    fn file() -> SnapshotFile {
        SnapshotFile {
            meta: SnapshotMeta {
                index: INDEX,
                term: 1,
                membership: Arc::new(Membership {
                    voters: vec![1, PEER],
                    learners: Vec::new(),
                }),
            },
            bytes: 1_000,
            checksum: 0,
        }
    }

    /// Reads in pieces of 100 bytes until the window is full; where the pieces begin that were sent.
    fn pump(transfers: &mut Transfers, first: Option<Piece>) -> Vec<u64> {
        let mut sent = Vec::new();
        let mut piece = first;
        while let Some(Piece { to, file, offset }) = piece {
            assert!(transfers.was_read(to, &file, offset, 100));
            sent.push(offset);
            piece = transfers.next_piece(to);
        }
        sent
    }

    #[test]
    fn a_window_of_pieces_is_under_way_and_each_answer_lets_more_go() {
        let mut transfers = Transfers::new(50, 300);
        let first = transfers.begin(0, PEER, file());
        assert_eq!(pump(&mut transfers, Some(first)), [0, 100, 200]);
        let more = transfers.advance(10, PEER, INDEX, 100);
        assert_eq!(pump(&mut transfers, more), [300]);
        let more = transfers.advance(20, PEER, INDEX, 400);
        assert_eq!(pump(&mut transfers, more), [400, 500, 600]);
        let more = transfers.advance(30, PEER, INDEX, 200);
        assert_eq!(more, None, "a late answer changes nothing");
        let more = transfers.advance(40, PEER, INDEX, 700);
        assert_eq!(
            pump(&mut transfers, more),
            [700, 800, 900],
            "and no further"
        );
        assert!(transfers.complete(PEER, INDEX));
        assert_eq!(transfers.timeout(), None);
    }

    #[test]
    fn a_lost_piece_is_sent_again_when_answers_repeat_themselves() {
        let mut transfers = Transfers::new(50, 400);
        let first = transfers.begin(0, PEER, file());
        pump(&mut transfers, Some(first));
        // The piece at 100 is lost; those at 200 and 300 arrive, and one of them twice.
        assert!(transfers.advance(1, PEER, INDEX, 100).is_some());
        assert_eq!(transfers.advance(2, PEER, INDEX, 100), None);
        assert_eq!(transfers.advance(3, PEER, INDEX, 100), None);
        let again = transfers.advance(4, PEER, INDEX, 100).expect("it is lost");
        assert_eq!(again.offset, 100);
        assert_eq!(transfers.advance(5, PEER, INDEX, 100), None, "once");
    }

    #[test]
    fn after_silence_the_peer_is_believed_to_have_less_than_it_had() {
        let mut transfers = Transfers::new(50, 200);
        let first = transfers.begin(0, PEER, file());
        pump(&mut transfers, Some(first));
        let more = transfers.advance(10, PEER, INDEX, 200);
        assert_eq!(pump(&mut transfers, more), [200, 300]);
        assert_eq!(transfers.due(59), None);
        let probe = transfers.due(60);
        assert_eq!(
            pump(&mut transfers, probe),
            [200, 300],
            "all of it may be lost"
        );
        // It was started again and has lost what it had.
        let more = transfers.advance(70, PEER, INDEX, 0);
        assert_eq!(pump(&mut transfers, more), [0, 100]);
        assert_eq!(transfers.timeout(), Some(120));
    }

    #[test]
    fn what_was_read_of_another_snapshot_is_not_sent() {
        let mut transfers = Transfers::new(50, 200);
        let old = transfers.begin(0, PEER, file());
        let newer = SnapshotFile {
            checksum: 1,
            ..file()
        };
        transfers.begin(1, PEER, newer);
        assert!(!transfers.was_read(PEER, &old.file, 0, 100));
    }
}
