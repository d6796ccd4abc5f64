//! Queries under way.

use crate::{
    Id,
    config::{Config, MILLISECOND, Mutant, Nanos, SECOND},
    krpc::Endpoint,
    output::LookupId,
    table::{PATIENCE, RoundTrips},
};

/// Most queries of a node under way at a time.
pub const MAX_UNDER_WAY: usize = 4_096;
/// How long to wait before somebody else is asked, as long as no answer was ever seen.
const FIRST_PATIENCE: Nanos = SECOND;
/// How much longer than a peer should take a lookup is held up by it at its end.
const GRACE: Nanos = 2;
/// How much longer than a peer should take an answer still counts, and the bounds of that.
const LATE: Nanos = 4;
const LATE_BOUNDS: (Nanos, Nanos) = (1_500 * MILLISECOND, 8 * SECOND);

/// What a query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To see whether somebody lives, or is where he says.
    Ping,
    /// To begin with somebody of whom only the address is known.
    Seed,
    /// A step of a lookup.
    Step(LookupId),
    /// To have something stored.
    Store(LookupId),
}

/// One query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rpc<A> {
    pub transaction: u32,
    pub to: A,
    /// Who is expected to answer, if that is known.
    pub id: Option<Id>,
    pub purpose: Purpose,
    pub sent: Nanos,
    /// What has come of waiting so far.
    overdue: Option<Overdue>,
    /// When something is to be done about it.
    due: Nanos,
    patience: Nanos,
}

/// What has come of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It takes longer than it should: somebody else is asked beside.
    Slow,
    /// It takes much longer than it should: nobody waits for it.
    Late,
    /// No answer is expected any more.
    Lost,
}

/// All queries under way.
#[derive(Clone, Debug)]
pub(crate) struct Rpcs<A> {
    rpcs: Vec<Rpc<A>>,
    /// Of all peers together.
    trips: RoundTrips,
}

impl<A: Endpoint> Rpcs<A> {
    pub fn new() -> Self {
        Rpcs {
            rpcs: Vec::new(),
            trips: RoundTrips::default(),
        }
    }

    pub fn is_full(&self) -> bool {
        self.rpcs.len() >= MAX_UNDER_WAY
    }

    pub fn len(&self) -> usize {
        self.rpcs.len()
    }

    /// Whether an address is being asked anything.
    pub fn asks(&self, address: A) -> bool {
        self.rpcs.iter().any(|rpc| rpc.to == address)
    }

    /// Whether the same is being asked for the same purpose.
    pub fn asks_again(&self, lost: &Rpc<A>) -> bool {
        let is_same =
            |rpc: &Rpc<A>| rpc.to == lost.to && rpc.id == lost.id && rpc.purpose == lost.purpose;
        self.rpcs.iter().any(is_same)
    }

    /// Remembers a query. `known`: how long this peer took before.
    pub fn begin(
        &mut self,
        now: Nanos,
        (transaction, to, id): (u32, A, Option<Id>),
        purpose: Purpose,
        known: RoundTrips,
        config: &Config,
    ) {
        let deviations = config.deviations;
        let patience = known
            .patience(deviations)
            .or(self.trips.patience(deviations));
        let patience = match Mutant::FixedTimeout.is_in(config.mutant) {
            true => PATIENCE.1,
            false => patience.unwrap_or(FIRST_PATIENCE),
        };
        self.rpcs.push(Rpc {
            transaction,
            to,
            id,
            purpose,
            sent: now,
            overdue: None,
            due: now + patience,
            patience,
        });
    }

    /// The query that a reply of `from` answers.
    pub fn answered(
        &mut self,
        from: A,
        transaction: &[u8],
        mutant: Option<Mutant>,
    ) -> Option<Rpc<A>> {
        let transaction = u32::from_be_bytes(transaction.try_into().ok()?);
        let is_from = |rpc: &Rpc<A>| rpc.to == from || Mutant::ReplyFromAnywhere.is_in(mutant);
        let place = self
            .rpcs
            .iter()
            .position(|rpc| rpc.transaction == transaction && is_from(rpc))?;
        Some(self.rpcs.swap_remove(place))
    }

    /// A round trip was measured.
    pub fn measured(&mut self, took: Nanos) {
        self.trips.measured(took);
    }

    /// The next one that is overdue.
    pub fn overdue(&mut self, now: Nanos) -> Option<(Rpc<A>, Overdue)> {
        // In the order in which they are due, whatever order they are kept in.
        let places = 0..self.rpcs.len();
        let place = places.min_by_key(|place| {
            let rpc = &self.rpcs[*place];
            (rpc.due, rpc.transaction)
        })?;
        let rpc = &mut self.rpcs[place];
        if rpc.due > now {
            return None;
        }
        let (overdue, after) = match rpc.overdue {
            None => (Overdue::Slow, rpc.patience * GRACE),
            Some(Overdue::Slow) => {
                let last = (rpc.patience * LATE).clamp(LATE_BOUNDS.0, LATE_BOUNDS.1);
                (Overdue::Late, last.max(rpc.patience * GRACE + 1))
            }
            Some(_) => return Some((self.rpcs.swap_remove(place), Overdue::Lost)),
        };
        rpc.overdue = Some(overdue);
        rpc.due = rpc.sent + after;
        Some((*rpc, overdue))
    }

    /// When the next one is due.
    pub fn due(&self) -> Option<Nanos> {
        self.rpcs.iter().map(|rpc| rpc.due).min()
    }

    /// Gives back what many queries at once have taken, when few are left.
    pub fn shrink(&mut self) {
        if self.rpcs.is_empty() && self.rpcs.capacity() > 0 {
            self.rpcs = Vec::new();
        }
    }

    pub fn heap_bytes(&self) -> usize {
        self.rpcs.capacity() * size_of::<Rpc<A>>()
    }
}
