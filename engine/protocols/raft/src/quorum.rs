//! Majorities, and joint majorities (Raft §6): the arithmetic alone.

use crate::{Index, NodeId};

/// The result of counting votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteResult {
    /// Not decided yet.
    Pending,
    /// A quorum refused, or none can be had any more.
    Lost,
    /// A quorum agreed.
    Won,
}

/// The highest index that a majority of `voters` has; `Index::MAX` for no voters, which agree to everything.
pub fn committed(voters: &[NodeId], mut acked: impl FnMut(NodeId) -> Option<Index>) -> Index {
    let n = voters.len();
    if n == 0 {
        return Index::MAX;
    }
    let mut few = [0; 8];
    let mut many = Vec::new();
    let indexes: &mut [Index] = if n <= few.len() {
        &mut few[..n]
    } else {
        many.resize(n, 0);
        &mut many
    };
    for (slot, id) in indexes.iter_mut().zip(voters) {
        *slot = acked(*id).unwrap_or(0);
    }
    indexes.sort_unstable();
    indexes[n - (n / 2 + 1)]
}

/// What the votes of `voters` amount to; no voters have voted yes.
pub fn vote_result(voters: &[NodeId], mut vote: impl FnMut(NodeId) -> Option<bool>) -> VoteResult {
    let quorum = voters.len() / 2 + 1;
    let (mut yes, mut missing) = (0, 0);
    for id in voters {
        match vote(*id) {
            Some(true) => yes += 1,
            Some(false) => {}
            None => missing += 1,
        }
    }
    if voters.is_empty() || yes >= quorum {
        VoteResult::Won
    } else if yes + missing >= quorum {
        VoteResult::Pending
    } else {
        VoteResult::Lost
    }
}

/// The highest index that a majority of both halves has.
pub fn joint_committed(
    halves: [&[NodeId]; 2],
    mut acked: impl FnMut(NodeId) -> Option<Index>,
) -> Index {
    committed(halves[0], &mut acked).min(committed(halves[1], &mut acked))
}

/// Won when both halves say so, lost when either does.
pub fn joint_vote_result(
    halves: [&[NodeId]; 2],
    mut vote: impl FnMut(NodeId) -> Option<bool>,
) -> VoteResult {
    let results = [
        vote_result(halves[0], &mut vote),
        vote_result(halves[1], &mut vote),
    ];
    if results.contains(&VoteResult::Lost) {
        VoteResult::Lost
    } else if results.contains(&VoteResult::Pending) {
        VoteResult::Pending
    } else {
        VoteResult::Won
    }
}
