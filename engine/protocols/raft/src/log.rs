use crate::{Entry, Index, SnapshotMeta, Term};
use std::collections::VecDeque;

/// The log in memory: every entry after the last compaction, and where durability and application stand.
///
/// ```text
///   snapshot.index .. base | entries: base+1 ............................ last
///                            applied <= applying <= committed,stable <= last
/// ```
#[derive(Clone, Debug)]
pub(crate) struct RaftLog {
    /// Index and term of the entry before the first one in memory.
    base: (Index, Term),
    entries: VecDeque<Entry>,
    /// Payload bytes of `entries`.
    bytes: u64,
    /// The newest durable snapshot.
    pub snapshot: SnapshotMeta,
    /// The last entry on the platter.
    pub stable: Index,
    /// The last entry handed to storage.
    pub handed: Index,
    pub commit: Index,
    /// The last entry handed out to be applied.
    pub applying: Index,
    pub applied: Index,
}

impl RaftLog {
    pub fn new(snapshot: SnapshotMeta, entries: Vec<Entry>, commit: Index, applied: Index) -> Self {
        let base = match entries.first() {
            Some(first) if first.index <= snapshot.index => (snapshot.index, snapshot.term),
            Some(first) => {
                assert_eq!(
                    first.index,
                    snapshot.index + 1,
                    "no hole after the snapshot"
                );
                (snapshot.index, snapshot.term)
            }
            None => (snapshot.index, snapshot.term),
        };
        let entries: VecDeque<Entry> = entries.into_iter().filter(|e| e.index > base.0).collect();
        let last = entries.back().map_or(base.0, |e| e.index);
        let commit = commit.clamp(base.0, last);
        assert!(applied >= base.0 && applied <= last);
        RaftLog {
            base,
            bytes: bytes_of(&entries),
            entries,
            snapshot,
            stable: last,
            handed: last,
            commit: commit.max(applied),
            applying: applied,
            applied,
        }
    }

    pub fn first_index(&self) -> Index {
        self.base.0 + 1
    }

    pub fn last_index(&self) -> Index {
        self.base.0 + self.entries.len() as Index
    }

    pub fn last_term(&self) -> Term {
        self.entries.back().map_or(self.base.1, |e| e.term)
    }

    /// Payload bytes of the entries in memory.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The term at `index`; `None` outside `base..=last`.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        let at = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(at as usize).map(|e| e.term)
    }

    pub fn matches(&self, index: Index, term: Term) -> bool {
        self.term_at(index) == Some(term)
    }

    pub fn is_up_to_date(&self, index: Index, term: Term) -> bool {
        (term, index) >= (self.last_term(), self.last_index())
    }

    /// Entries `from..=to` that are in memory.
    pub fn range(&self, from: Index, to: Index) -> impl Iterator<Item = &Entry> {
        let first = from.max(self.first_index());
        let start = (first - self.first_index()) as usize;
        let end = (to.min(self.last_index()) + 1).saturating_sub(self.first_index()) as usize;
        self.entries.range(start.min(end)..end)
    }

    /// Entries from `from` on, up to `max_bytes` of payload; one is always taken.
    pub fn slice(&self, from: Index, to: Index, max_bytes: u64) -> Vec<Entry> {
        let (mut bytes, mut count) = (0, 0);
        for entry in self.range(from, to) {
            bytes += entry.payload.len() as u64;
            if bytes > max_bytes && count > 0 {
                break;
            }
            count += 1;
        }
        let mut taken = Vec::with_capacity(count);
        taken.extend(self.range(from, to).take(count).cloned());
        taken
    }

    pub fn push(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last_index() + 1);
        self.bytes += entry.payload.len() as u64;
        self.entries.push_back(entry);
    }

    /// Replaces everything from the first of `entries` on.
    pub fn replace_from(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.commit, "committed entries stay");
        let keep = (first.index - self.first_index()) as usize;
        assert!(keep <= self.entries.len(), "no hole");
        self.bytes -= bytes_of(self.entries.range(keep..));
        self.bytes += bytes_of(&entries);
        self.entries.truncate(keep);
        self.stable = self.stable.min(first.index - 1);
        self.handed = self.handed.min(first.index - 1);
        self.entries.extend(entries);
    }

    /// The largest index at or below `index` whose term is at most `term` (etcd's findConflictByTerm).
    pub fn find_conflict_by_term(&self, index: Index, term: Term) -> (Index, Term) {
        let mut index = index;
        while index > self.base.0 {
            match self.term_at(index) {
                Some(ours) if ours <= term => return (index, ours),
                None => return (index, 0),
                Some(_) => index -= 1,
            }
        }
        (index, self.term_at(index).unwrap_or(0))
    }

    pub fn compact(&mut self, to: Index) {
        let to = to.min(self.snapshot.index).min(self.applied);
        if to <= self.base.0 {
            return;
        }
        let term = self.term_at(to).expect("in memory");
        let dropped = self.entries.drain(..(to - self.base.0) as usize);
        self.bytes -= dropped.map(|entry| entry.payload.len() as u64).sum::<u64>();
        self.base = (to, term);
    }

    pub fn restore(&mut self, meta: SnapshotMeta) {
        self.base = (meta.index, meta.term);
        self.entries.clear();
        self.bytes = 0;
        self.stable = meta.index;
        self.handed = meta.index;
        self.commit = meta.index;
        self.applying = meta.index;
        self.applied = meta.index;
        self.snapshot = meta;
    }
}

fn bytes_of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> u64 {
    let bytes = entries.into_iter().map(|entry| entry.payload.len() as u64);
    bytes.sum()
}
