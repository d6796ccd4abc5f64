//! A replicated state machine.
mod state_machine;
pub use state_machine::{Command, CorruptSnapshot, StateMachine};
