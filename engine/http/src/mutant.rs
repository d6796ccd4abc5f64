/// A bug of the zoo, planted in the client. Has an effect only where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A redirect back to a URL is a loop, whatever cookies were set on the way.
    LoopWithoutCookies,
    /// The gap between two requests to an origin is measured by the wall clock.
    GapByWallClock,
}

impl Mutant {
    /// Whether this is the one that was planted.
    pub(crate) fn is_in(self, planted: Option<Mutant>) -> bool {
        cfg!(debug_assertions) && planted == Some(self)
    }
}
