/// A bug of the zoo, planted in the driver. Has an effect only where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A table is written over the one before, and not beside it: what a power cut leaves is neither.
    TableInPlace,
    /// A node that starts again takes a new id, whatever was saved.
    IdForgotten,
    /// What is kept is stored once, and never again.
    NeverRenewed,
    /// Everything is timed by the wall clock: when it is set back, nothing is due until it is where it was.
    ClockOfTheWall,
}

impl Mutant {
    /// Whether this is the one that was planted.
    pub fn is_in(self, planted: Option<Mutant>) -> bool {
        cfg!(debug_assertions) && planted == Some(self)
    }
}
