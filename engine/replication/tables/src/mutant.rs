use serde::{Deserialize, Serialize};

/// A bug of the zoo, planted in the tables or in SQLite's file system. Has an effect only where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mutant {
    /// The applied index is written in a transaction of its own, after that of the commands.
    AppliedIndexApart,
    /// A row of the outbox is deleted when its attempt begins, not when its result is there.
    RowForgottenAtStart,
    /// A contender for a lease trusts the wall clock to say that the holder has stopped.
    LeaseByWallClock,
    /// Results are taken in whoever holds the lease, and whatever attempt they are of.
    Unfenced,
    /// Rows that were taken back and are in a worker's mind are performed all the same.
    RevokedPerformed,
    /// SQLite's syncs do nothing.
    NoSync,
    /// Files that SQLite removes may come back.
    LaxNames,
}

impl Mutant {
    /// Whether this is the one that was planted.
    pub fn is_in(self, planted: Option<Mutant>) -> bool {
        cfg!(debug_assertions) && planted == Some(self)
    }

    pub(crate) fn sqlite(self) -> Option<holdfast_sqlite::Mutant> {
        match self {
            Mutant::NoSync => Some(holdfast_sqlite::Mutant::NoSync),
            Mutant::LaxNames => Some(holdfast_sqlite::Mutant::LaxNames),
            _ => None,
        }
    }
}
