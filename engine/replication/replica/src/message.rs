use crate::snapshot::SnapshotFile;
use bytes::Bytes;
use holdfast_raft::{NodeId, SnapshotMeta};
use serde::{Deserialize, Serialize};

/// What replicas of one group say to each other: Raft, and the bytes of snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Between the Raft cores.
    Raft(holdfast_raft::Message),
    /// A piece of a snapshot, from the leader.
    SnapshotChunk {
        /// The leader.
        from: NodeId,
        /// The leader's term.
        term: u64,
        /// Which snapshot.
        meta: SnapshotMeta,
        /// Length of the whole.
        total: u64,
        /// Checksum of the whole.
        checksum: u32,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        bytes: Bytes,
    },
    /// How much of a snapshot is there; the leader goes on from `received`.
    SnapshotReceived {
        /// The receiver.
        from: NodeId,
        /// The snapshot's index.
        index: u64,
        /// The next byte wanted.
        received: u64,
        /// All of it is there and verified.
        complete: bool,
    },
}

impl Message {
    /// Who sent it.
    pub fn from(&self) -> NodeId {
        match self {
            Message::Raft(message) => message.from,
            Message::SnapshotChunk { from, .. } | Message::SnapshotReceived { from, .. } => *from,
        }
    }

    /// Roughly how many bytes it takes on the wire.
    pub fn wire_bytes(&self) -> usize {
        use holdfast_raft::Body;
        match self {
            Message::Raft(message) => match &message.body {
                Body::Append { entries, .. } => {
                    48 + entries.iter().map(|e| 16 + e.payload.len()).sum::<usize>()
                }
                Body::Propose { payloads, .. } => {
                    24 + payloads.iter().map(|p| 4 + p.len()).sum::<usize>()
                }
                _ => 32,
            },
            Message::SnapshotChunk { bytes, .. } => 64 + bytes.len(),
            Message::SnapshotReceived { .. } => 32,
        }
    }

    pub(crate) fn chunk(
        from: NodeId,
        term: u64,
        file: SnapshotFile,
        offset: u64,
        bytes: Bytes,
    ) -> Self {
        Message::SnapshotChunk {
            from,
            term,
            meta: file.meta,
            total: file.bytes,
            checksum: file.checksum,
            offset,
            bytes,
        }
    }
}
