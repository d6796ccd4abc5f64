//! Raft's safety properties (Ongaro and Ousterhout 2014, figure 3), checked as things happen.

use super::Violation;
use bytes::Bytes;
use holdfast_raft::{Entry, HardState, Index, NodeId, Term};
use std::collections::{BTreeMap, BTreeSet};

/// What a replica of the group is seen to do; the checker remembers the least that shows a contradiction.
#[derive(Clone, Debug, Default)]
pub struct RaftChecker {
    /// Election safety: who led each term.
    leaders: BTreeMap<Term, NodeId>,
    /// Log matching: by index (position 0 is index 1), every entry that was ever seen there; mostly one.
    entries: Vec<Vec<Seen>>,
    /// State-machine safety: what was applied at each index; position 0 is index 1.
    applied: Vec<Applied>,
    /// Monotonic commit: by node, the highest commit index and term since its last start.
    progress: Vec<Option<(Index, Term)>>,
}

/// An entry in somebody's log.
#[derive(Clone, Debug)]
struct Seen {
    term: Term,
    payload: Bytes,
    /// The term of the entry before, where that was known.
    before: Option<Term>,
}

#[derive(Clone, Debug)]
struct Applied {
    term: Term,
    payload: Bytes,
    /// The term that the first node to apply it was in: no earlier than the one in which it was committed.
    committed_in: Term,
}

impl RaftChecker {
    /// Forgets what is true of an incarnation only.
    pub fn restarted(&mut self, node: NodeId) {
        if let Some(progress) = self.progress.get_mut(node as usize) {
            *progress = None;
        }
    }

    /// The highest index that any replica has applied.
    pub fn applied(&self) -> Index {
        self.applied.len() as Index
    }

    /// How many terms had a leader.
    pub fn terms_led(&self) -> usize {
        self.leaders.len()
    }

    /// Election safety, and leader completeness: `term_at` is the new leader's log.
    pub fn leader(
        &mut self,
        node: NodeId,
        term: Term,
        mut term_at: impl FnMut(Index) -> Option<Term>,
    ) -> Result<(), Violation> {
        if let Some(other) = self.leaders.insert(term, node)
            && other != node
        {
            return Err(Violation::new(
                "election-safety",
                format!("nodes {other} and {node} both lead in term {term}"),
            )
            .at(node as u32 - 1));
        }
        // A candidate may learn late that it had won; what later terms committed meanwhile it need not have. Log
        // matching makes the last entry stand for all before it.
        let last = self.applied.iter().rposition(|a| a.committed_in < term);
        if let Some(at) = last {
            let (index, expected) = (at as Index + 1, self.applied[at].term);
            let found = term_at(index);
            if found != Some(expected) {
                return Err(Violation::new(
                    "leader-completeness",
                    format!(
                        "node {node} leads in term {term} without the committed entry {index} of term {expected}; \
                         it has {found:?} there"
                    ),
                )
                .at(node as u32 - 1));
            }
        }
        Ok(())
    }

    /// Log matching: `entries` are about to be in `node`'s log, after an entry of term `before` (`None` when that
    /// is not in the log any more).
    pub fn appended(
        &mut self,
        node: NodeId,
        before: Option<Term>,
        entries: &[Entry],
    ) -> Result<(), Violation> {
        let mut previous = before;
        for entry in entries {
            let at = entry.index as usize - 1;
            if at >= self.entries.len() {
                self.entries.resize_with(at + 1, Vec::new);
            }
            let here = &mut self.entries[at];
            let Some(seen) = here.iter_mut().find(|seen| seen.term == entry.term) else {
                here.push(Seen {
                    term: entry.term,
                    payload: entry.payload.clone(),
                    before: previous,
                });
                previous = Some(entry.term);
                continue;
            };
            if seen.before.is_none() {
                seen.before = previous;
            }
            let same_before = previous.is_none() || seen.before == previous;
            if !is_same(&seen.payload, &entry.payload) || !same_before {
                return Err(Violation::new(
                    "log-matching",
                    format!(
                        "entry {} of term {} at node {node} differs from the one seen elsewhere",
                        entry.index, entry.term
                    ),
                )
                .at(node as u32 - 1));
            }
            previous = Some(entry.term);
        }
        Ok(())
    }

    /// State-machine safety: `node`, in term `current`, applied `entries`.
    pub fn apply<'a>(
        &mut self,
        node: NodeId,
        current: Term,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Result<(), Violation> {
        for entry in entries {
            let at = entry.index as usize - 1;
            match self.applied.get(at) {
                None => {
                    if at != self.applied.len() {
                        return Err(Violation::new(
                            "state-machine-safety",
                            format!(
                                "node {node} applied {} before anybody had {at}",
                                entry.index
                            ),
                        )
                        .at(node as u32 - 1));
                    }
                    self.applied.push(Applied {
                        term: entry.term,
                        payload: entry.payload.clone(),
                        committed_in: current,
                    });
                }
                Some(expected)
                    if expected.term == entry.term
                        && is_same(&expected.payload, &entry.payload) => {}
                Some(expected) => {
                    return Err(Violation::new(
                        "state-machine-safety",
                        format!(
                            "at index {} node {node} applied an entry of term {}, another one of term {}",
                            entry.index, entry.term, expected.term
                        ),
                    )
                    .at(node as u32 - 1));
                }
            }
        }
        Ok(())
    }

    /// A leader of `term` has moved its commit index to an entry of term `committed`: by counting replicas it may do so
    /// for entries of its own term only (section 5.4.2). What goes wrong otherwise takes a coincidence of crashes to
    /// be seen (figure 8); that the rule is kept is seen at once.
    pub fn committed_by_leader(
        &self,
        node: NodeId,
        term: Term,
        committed: Option<Term>,
    ) -> Result<(), Violation> {
        if committed == Some(term) {
            return Ok(());
        }
        Err(Violation::new(
            "commit-in-own-term",
            format!(
                "node {node} leads in term {term} and commits up to an entry of term {committed:?}"
            ),
        )
        .at(node as u32 - 1))
    }

    /// Monotonic commit and term within one incarnation.
    pub fn progress(
        &mut self,
        node: NodeId,
        commit: Index,
        term: Term,
        last_index: Index,
    ) -> Result<(), Violation> {
        let at = node as usize;
        if at >= self.progress.len() {
            self.progress.resize(at + 1, None);
        }
        let seen = self.progress[at].get_or_insert((commit, term));
        if commit < seen.0 || term < seen.1 || commit > last_index {
            return Err(Violation::new(
                "monotonic-commit",
                format!(
                    "node {node} went from commit {} of term {} to commit {commit} of term {term} \
                     with last index {last_index}",
                    seen.0, seen.1
                ),
            )
            .at(node as u32 - 1));
        }
        *seen = (commit, term);
        Ok(())
    }
}

/// A promise that leaves a node must be on its platter: a vote, and an acknowledged entry. An acknowledgement of a term
/// that the node has left since is not judged: what it spoke of was durable in that term and may have been replaced.
pub fn durable_promise(
    message: &holdfast_raft::Message,
    durable: HardState,
    durable_index: Index,
) -> Result<(), Violation> {
    let broken = match message.body {
        holdfast_raft::Body::VoteReply {
            pre: false,
            granted: true,
        } => {
            durable.term < message.term
                || (durable.term == message.term && durable.vote != Some(message.to))
        }
        holdfast_raft::Body::Appended { matched } => {
            durable.term < message.term || (durable.term == message.term && matched > durable_index)
        }
        _ => false,
    };
    if !broken {
        return Ok(());
    }
    Err(Violation::new(
        "durable-promise",
        format!(
            "{:?} of term {} leaves node {} while its platter says {durable:?} and index {durable_index}",
            message.body, message.term, message.from
        ),
    )
    .at(message.from as u32 - 1))
}

/// Term and vote survive a crash whole: what a start finds was written, and nothing that was durable is missing.
/// `written` are the terms and votes that the node has ever wanted to be durable.
pub fn recovered_vote(
    node: NodeId,
    found: HardState,
    durable: HardState,
    written: &BTreeSet<(Term, Option<NodeId>)>,
) -> Result<(), Violation> {
    let was_written = found.term == 0 || written.contains(&(found.term, found.vote));
    let is_missing = found.term < durable.term
        || (found.term == durable.term && durable.vote.is_some() && found.vote != durable.vote);
    if was_written && !is_missing {
        return Ok(());
    }
    Err(Violation::new(
        "hard-state-atomicity",
        format!("node {node} starts with {found:?}; what was last durable is {durable:?}"),
    )
    .at(node as u32 - 1))
}

/// What was synced survives a crash: a start finds the log up to `found`; up to `promised` it was durable.
pub fn recovered_log(node: NodeId, found: Index, promised: Index) -> Result<(), Violation> {
    if found >= promised {
        return Ok(());
    }
    Err(Violation::new(
        "durable-log",
        format!("node {node} finds its log up to {found}; it was on the platter up to {promised}"),
    )
    .at(node as u32 - 1))
}

/// An acknowledged prefix is the leader's: `own` and `leader` are the terms of the entry at index `matched`, where they
/// are still in memory.
pub fn acknowledged_prefix(
    node: NodeId,
    matched: Index,
    own: Option<Term>,
    leader: Option<Term>,
) -> Result<(), Violation> {
    match (own, leader) {
        (Some(own), Some(leader)) if own != leader => Err(Violation::new(
            "acknowledged-prefix",
            format!(
                "node {node} acknowledges entry {matched}, which is of term {own} there and of term {leader} at the leader"
            ),
        )
        .at(node as u32 - 1)),
        _ => Ok(()),
    }
}

/// Replicas of one simulated world mostly share a payload's bytes: then there is nothing to compare.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    (one.as_ptr() == other.as_ptr() && one.len() == other.len()) || one == other
}
