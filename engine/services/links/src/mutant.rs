use serde::{Deserialize, Serialize};

/// A bug of the zoo, planted in the link checker or in its HTTP client. Has an effect only where debug assertions are
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mutant {
    /// A redirect back to a URL is a loop, whatever cookies were set on the way.
    LoopWithoutCookies,
    /// The gap between two requests to a host is measured by the wall clock.
    GapByWallClock,
    /// A checker that takes over from another does not read the crawl delays of hosts again.
    DelayForgotten,
    /// The robots.txt of one host is believed of all.
    RobotsShared,
    /// Fragments are compared as they are written, percent signs and all.
    FragmentsUndecoded,
    /// A job that is cancelled leaves its rows in the outbox, and a verdict is counted each time it comes in.
    CountedTwice,
    /// A server that says when to come again is asked again as soon as any other that failed.
    RetryAfterIgnored,
    /// An origin keeps the gap of the job that asked for its robots.txt, whatever later jobs ask for.
    GapOfTheFirst,
}

impl Mutant {
    /// Whether this is the one that was planted.
    pub fn is_in(self, planted: Option<Mutant>) -> bool {
        cfg!(debug_assertions) && planted == Some(self)
    }

    pub(crate) fn http(self) -> Option<holdfast_http::Mutant> {
        match self {
            Mutant::LoopWithoutCookies => Some(holdfast_http::Mutant::LoopWithoutCookies),
            Mutant::GapByWallClock => Some(holdfast_http::Mutant::GapByWallClock),
            _ => None,
        }
    }
}
