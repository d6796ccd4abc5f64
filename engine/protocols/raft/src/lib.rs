//! Raft consensus as a pure state machine.
//!
//! This crate is fully deterministic: it contains no networking code, no storage and no threads, it reads no clock
//! and draws random numbers only from the generator it is given. Use `holdfast-replica` for a replicated state
//! machine that runs; use this crate to drive the protocol yourself.
//!
//! The two types that matter are [`Raft`] and [`Output`].

mod config;
mod leader;
mod log;
mod message;
mod output;
mod progress;
pub mod quorum;
mod raft;
mod reads;
mod taken;

pub use config::{Config, ConfigError, Mutant};
pub use message::{
    Body, Entry, HardState, Index, Membership, Message, Nanos, NodeId, SnapshotMeta, Term,
};
pub use output::{Event, Output, Persist};
pub use progress::{Mode, Progress};
pub use raft::{Proposal, ProposeError, Raft, ReadError, Recovered, Role, SnapshotStatus};
