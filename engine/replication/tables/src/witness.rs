use crate::Reader;
use holdfast_raft::Index;

/// Looks on at the tables of one node, for a simulator that holds them against what they have said before and against
/// those of other nodes.
pub trait Witness: Send + Sync {
    /// The tables are as of `applied`, durably, and nothing of a later command is in them.
    fn stand(&self, when: When, applied: Index, reader: Reader<'_>);
}

/// When a [`Witness`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// They have just been opened: at a start, or because a copy has taken their place.
    Opened,
    /// They have just taken in some commands.
    Applied,
}
