//! Raft consensus as a pure state machine.
//!
//! This crate is fully deterministic: it contains no networking code, no storage and no threads, it reads no clock
//! and draws random numbers only from the generator it is given. Use `holdfast-replica` for a replicated state
//! machine that runs; use this crate to drive the protocol yourself.
//!
//! The two types that matter are [`Raft`] and [`Output`].

mod message;
mod config;

pub use config::{Config, ConfigError, Mutant};
pub use message::{
    Body, Entry, HardState, Index, Membership, Message, Nanos, NodeId, SnapshotMeta, Term,
};
