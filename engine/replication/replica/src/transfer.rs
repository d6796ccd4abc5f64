use crate::SnapshotFile;
use holdfast_raft::{Index, Nanos, NodeId};
use std::collections::BTreeMap;

/// The next piece of a snapshot to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub to: NodeId,
    pub file: SnapshotFile,
    pub offset: u64,
    retry_at: Nanos,
}

/// Snapshots under way: at most one to each peer, one piece in flight, sent again when no answer comes; and where the
/// snapshot that is being received comes from.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    retry_after: Nanos,
    outgoing: BTreeMap<NodeId, Transfer>,
    source: Option<(NodeId, SnapshotFile)>,
}

impl Transfers {
    pub fn new(retry_after: Nanos) -> Self {
        Transfers {
            retry_after,
            outgoing: BTreeMap::new(),
            source: None,
        }
    }

    /// Starts sending `file`, or goes on if that is what is being sent.
    pub fn begin(&mut self, now: Nanos, to: NodeId, file: SnapshotFile) -> Transfer {
        let offset = match self.outgoing.get(&to) {
            Some(transfer) if transfer.file == file => transfer.offset,
            _ => 0,
        };
        self.put(now, to, file, offset)
    }

    fn put(&mut self, now: Nanos, to: NodeId, file: SnapshotFile, offset: u64) -> Transfer {
        let transfer = Transfer {
            to,
            file,
            offset,
            retry_at: now.saturating_add(self.retry_after),
        };
        self.outgoing.insert(to, transfer.clone());
        transfer
    }

    /// The peer has `received` bytes: the next piece, unless the answer is an old one.
    pub fn advance(
        &mut self,
        now: Nanos,
        to: NodeId,
        index: Index,
        received: u64,
    ) -> Option<Transfer> {
        let transfer = self.outgoing.get(&to)?;
        let old = transfer.offset == received && received > 0;
        if transfer.file.meta.index != index || received >= transfer.file.bytes || old {
            return None;
        }
        let file = transfer.file.clone();
        Some(self.put(now, to, file, received))
    }

    /// The peer has it all; whether that was news.
    pub fn complete(&mut self, to: NodeId, index: Index) -> bool {
        let current = self
            .outgoing
            .get(&to)
            .is_some_and(|transfer| transfer.file.meta.index == index);
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

    /// Whether this is the piece that is now to be sent.
    pub fn is_current(&self, to: NodeId, file: &SnapshotFile, offset: u64) -> bool {
        self.outgoing
            .get(&to)
            .is_some_and(|transfer| transfer.file == *file && transfer.offset == offset)
    }

    /// A piece whose answer is overdue.
    pub fn due(&mut self, now: Nanos) -> Option<Transfer> {
        let (to, transfer) = self.outgoing.iter().find(|(_, t)| t.retry_at <= now)?;
        let (to, file, offset) = (*to, transfer.file.clone(), transfer.offset);
        Some(self.put(now, to, file, offset))
    }

    /// When the next answer is overdue.
    pub fn timeout(&self) -> Option<Nanos> {
        self.outgoing.values().map(|t| t.retry_at).min()
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
