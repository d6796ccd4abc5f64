use serde::{Deserialize, Serialize};

/// A bug of the zoo, planted in the replica or in one of the crates below it. Has an effect only where debug
/// assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mutant {
    /// In the Raft core.
    Raft(holdfast_raft::Mutant),
    /// In the log or the hard state's register.
    Log(holdfast_log::Mutant),
    /// R17: the applied index is saved apart from the data, so that an entry is applied again after a crash.
    AppliedIndexBehindState,
    /// R18: the session table is missing from snapshots, so that a retry is applied again.
    SessionsNotInSnapshot,
    /// A snapshot holds a copy of the tables that is taken before the last commands that it covers are in them.
    CopyBeforeCommands,
}

impl Mutant {
    /// The part that the Raft core plants.
    pub fn raft(self) -> Option<holdfast_raft::Mutant> {
        match self {
            Mutant::Raft(mutant) => Some(mutant),
            _ => None,
        }
    }

    /// The part that the log plants.
    pub fn log(self) -> Option<holdfast_log::Mutant> {
        match self {
            Mutant::Log(mutant) => Some(mutant),
            _ => None,
        }
    }
}
