use crate::{Index, NodeId};
use std::collections::VecDeque;

/// How a leader sends to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One append at a time, until the place is found where the logs agree.
    Probe,
    /// A pipeline of appends.
    Replicate,
    /// It lacks entries that the leader has dropped: nothing is sent until it has this snapshot.
    Snapshot(Index),
}

/// Appends under way to one follower: the last index and the payload bytes of each.
#[derive(Clone, Debug)]
struct Inflights {
    sent: VecDeque<(Index, u64)>,
    bytes: u64,
    max_messages: usize,
    max_bytes: u64,
}

impl Inflights {
    fn is_full(&self) -> bool {
        self.sent.len() >= self.max_messages || (self.max_bytes > 0 && self.bytes >= self.max_bytes)
    }

    fn free_to(&mut self, index: Index) {
        while let Some((_, bytes)) = self.sent.pop_front_if(|(last, _)| *last <= index) {
            self.bytes -= bytes;
        }
    }

    fn clear(&mut self) {
        self.sent.clear();
        self.bytes = 0;
    }
}

/// What a leader knows of one replica.
#[derive(Clone, Debug)]
pub struct Progress {
    pub(crate) id: NodeId,
    pub(crate) is_learner: bool,
    pub(crate) matched: Index,
    pub(crate) next: Index,
    pub(crate) mode: Mode,
    /// In `Probe`: one append is out. In `Replicate`: a probe went out although the window is full.
    pub(crate) paused: bool,
    /// Heard from since the last quorum check.
    pub(crate) active: bool,
    /// The commit index last sent.
    pub(crate) sent_commit: Index,
    /// The highest heartbeat round acknowledged.
    pub(crate) round: u64,
    inflights: Inflights,
}

impl Progress {
    pub(crate) fn new(
        id: NodeId,
        is_learner: bool,
        next: Index,
        max_messages: usize,
        max_bytes: u64,
    ) -> Self {
        Progress {
            id,
            is_learner,
            matched: 0,
            next,
            mode: Mode::Probe,
            paused: false,
            active: false,
            sent_commit: 0,
            round: 0,
            inflights: Inflights {
                sent: VecDeque::new(),
                bytes: 0,
                max_messages,
                max_bytes,
            },
        }
    }

    /// Which replica.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The last entry that it is known to have, durably.
    pub fn matched(&self) -> Index {
        self.matched
    }

    /// The next entry to send.
    pub fn next(&self) -> Index {
        self.next
    }

    /// How it is sent to.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether it was heard from since the last quorum check.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Appends under way.
    pub fn inflight(&self) -> usize {
        self.inflights.sent.len()
    }

    /// Whether no more fit.
    pub fn is_window_full(&self) -> bool {
        self.inflights.is_full()
    }

    /// Whether nothing may be sent for now.
    pub fn is_paused(&self) -> bool {
        match self.mode {
            Mode::Probe | Mode::Replicate => self.paused,
            Mode::Snapshot(_) => true,
        }
    }

    pub(crate) fn become_probe(&mut self) {
        self.next = match self.mode {
            Mode::Snapshot(index) => (self.matched + 1).max(index + 1),
            _ => self.matched + 1,
        };
        self.mode = Mode::Probe;
        self.paused = false;
        self.inflights.clear();
        self.sent_commit = self.sent_commit.min(self.next - 1);
    }

    pub(crate) fn become_replicate(&mut self) {
        self.mode = Mode::Replicate;
        self.paused = false;
        self.inflights.clear();
        self.next = self.matched + 1;
    }

    pub(crate) fn become_snapshot(&mut self, index: Index) {
        self.mode = Mode::Snapshot(index);
        self.paused = false;
        self.inflights.clear();
        self.next = index + 1;
        self.sent_commit = index;
    }

    /// An append with these entries has gone out.
    pub(crate) fn sent(&mut self, entries: usize, bytes: u64) {
        match self.mode {
            Mode::Replicate => {
                if entries > 0 {
                    self.next += entries as Index;
                    self.inflights.sent.push_back((self.next - 1, bytes));
                    self.inflights.bytes += bytes;
                }
                self.paused = self.inflights.is_full();
            }
            Mode::Probe => self.paused = self.paused || entries > 0,
            Mode::Snapshot(_) => unreachable!("nothing is sent while a snapshot is under way"),
        }
    }

    /// It has everything up to `index`; whether that was news.
    pub(crate) fn acknowledge(&mut self, index: Index) -> bool {
        if index <= self.matched {
            return false;
        }
        self.matched = index;
        self.next = self.next.max(index + 1);
        self.paused = false;
        true
    }

    /// It refused an append after `rejected`; whether that was not a stale answer.
    pub(crate) fn refused(&mut self, rejected: Index, hint: Index) -> bool {
        if self.mode == Mode::Replicate {
            if rejected <= self.matched {
                return false;
            }
            self.next = self.matched + 1;
            self.sent_commit = self.sent_commit.min(self.next - 1);
            return true;
        }
        if self.next - 1 != rejected {
            return false;
        }
        self.next = rejected.min(hint + 1).max(self.matched + 1);
        self.sent_commit = self.sent_commit.min(self.next - 1);
        self.paused = false;
        true
    }

    pub(crate) fn free_to(&mut self, index: Index) {
        self.inflights.free_to(index);
    }
}
