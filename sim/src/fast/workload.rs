use bytes::Bytes;
use holdfast_replica::{Consistency, Outcome, StateMachine};
use std::{
    fmt::{Debug, Display},
    hash::Hash,
};

/// What a scenario's clients do, and what their answers mean. Part of the world: `Clone`, and random only by draws of
/// its own.
pub trait Workload: Clone {
    /// The state machine under test.
    type Machine: StateMachine;
    /// What a client asks.
    type Call: Clone + Debug + Display + Hash;
    /// What it is told.
    type Answer: Clone + Debug + Display + Hash;

    /// The next call of `client`.
    fn call(&mut self, client: u32) -> Self::Call;

    /// The faults have ended; what was acknowledged until now must be found by whoever looks from now on.
    fn healed(&mut self);

    /// The run ends: what `client` still has to ask before it may stop, `None` when there is nothing.
    fn closing(&mut self, client: u32) -> Option<Self::Call>;

    /// Nanoseconds that `client` waits between an answer and its next call.
    fn pause(&mut self, client: u32) -> u64;

    /// How `client` proposes: with a session its commands may be retried, without one they are tried once.
    fn has_session(&self, client: u32) -> bool;

    /// The command that carries `call` out; `None` when it is a read.
    fn command(&self, call: &Self::Call) -> Option<Bytes>;

    /// Whether `call` is a command: whether [`command`](Workload::command) has one for it.
    fn is_command(&self, call: &Self::Call) -> bool;

    /// How much a read asks for.
    fn consistency(&self, call: &Self::Call) -> Consistency;

    /// The committed log has got longer: this is the state that it leads to.
    fn committed(&mut self, machine: &Self::Machine);

    /// Serves a read from a replica's state.
    fn read(&self, machine: &Self::Machine, call: &Self::Call) -> Self::Answer;

    /// What the outcome of a command tells its client; `None` when it cannot be the outcome of `call`.
    fn answer(&self, call: &Self::Call, outcome: &Outcome) -> Option<Self::Answer>;

    /// `client` got an answer.
    fn learn(&mut self, client: u32, call: &Self::Call, answer: &Self::Answer);
}

/// One operation as its client saw it; times in simulated nanoseconds.
#[derive(Clone, Debug)]
pub struct Operation<C, A> {
    /// Who asked.
    pub client: u32,
    /// When.
    pub called: u64,
    /// What.
    pub call: C,
    /// When the answer came, and which; `None` when the outcome is unknown.
    pub returned: Option<(u64, A)>,
}
