/// A bug of the zoo, planted in the store or in fetching. Has an effect only where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A blob is given its name before its bytes are synced.
    AcknowledgedUnsynced,
    /// What providers give is taken for the blob without a look at its hash.
    HashUnchecked,
    /// What was being written when the process ended stays on the disk for ever.
    DraftsLeft,
    /// Only what has its name counts when it is seen whether there is room.
    DraftsUncounted,
}

impl Mutant {
    /// Whether this is the one that was planted.
    pub fn is_in(self, planted: Option<Mutant>) -> bool {
        cfg!(debug_assertions) && planted == Some(self)
    }
}
