//! Services whose state is tables, fed by a replicated log.
//!
//! A [`Service`] is a schema, a typed command, and what a command does to the tables. [`Tables`] holds those of several
//! services in one SQLite database and is the [`DiskMachine`](holdfast_replica::DiskMachine) of a replica: one log,
//! one transaction a batch, the applied index in the same transaction. [`TablesHandle`] proposes commands and reads
//! tables. What a service wants done outside it writes into the *outbox*; a [`Pool`] on the leader performs it under a
//! lease and proposes the results: at least once outside, exactly once in effect.
//!
//! What this crate is not: an ORM. Services write SQL, in texts that stand in the program.

mod call;
mod change;
mod handle;
mod mutant;
mod outbox;
mod pool;
mod records;
mod service;
mod sql;
mod tables;
mod witness;

pub use call::{Caller, End, Idempotency};
pub use change::Change;
pub use handle::{CallError, Proposed, TablesHandle};
pub use holdfast_sqlite::{
    Error as DatabaseError, Migration, Schema,
    rusqlite::{Row, params},
};
pub use mutant::Mutant;
pub use outbox::{Effect, MAX_ATTEMPTS};
pub use pool::{Performer, Pool, PoolSettings};
pub use records::{AuditEntry, DeadLetter, MAX_RECORDS, audit_entries, dead_letters};
pub use service::{Fault, Service};
pub use sql::{Reader, SqlError};
pub use tables::{Services, Tables, TablesOptions};
pub use witness::{When, Witness};
