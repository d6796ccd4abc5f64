//! SQLite on a [`Disk`](holdfast_host::Disk).
//!
//! A [`Database`] is SQLite itself, unchanged, with our file system underneath: files, time and randomness are the
//! Host's, so that the same bytes are written in production and in simulation. It is opened in one way only: one
//! connection a database, which has it to itself; write-ahead log; every commit synced. Like every core, it owns no
//! handle to the world: disk and time are passed to each call.
//!
//! The two types that matter are [`Database`] and [`Migration`]. What this crate is not: a pool, an ORM, or a place for
//! SQL; the services that own tables own their statements.

mod database;
mod hash;
mod migrate;
mod vfs;

pub use database::{Database, Error, Options};
pub use migrate::{Migration, Schema};
/// The library underneath.
pub use rusqlite;
pub use vfs::{Mutant, forget_randomness};
