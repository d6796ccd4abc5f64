//! The broken-link checker.
//!
//! A [`CheckJob`] crawls a site within its scope, obeys robots.txt (RFC 9309), extracts every kind of link, and checks
//! each distinct target once; a [`LinkResult`] is one link of one page and what became of it, a [`Verdict`].
//!
//! [`Links`] is the service as its tables see it: commands, and results taken in, both applied from the replicated log.
//! [`LinksWorker`] is the part that acts: it fetches what the outbox asks for, on the node that leads, and proposes what
//! it found. [`query`] reads. To write another service of this kind, copy this shape: a schema, a command enum with
//! `apply`, tasks in the outbox with a `Performer`, and reads.

mod command;
mod identity;
mod intake;
mod job;
mod judge;
mod mutant;
mod perform;
mod probe;
pub mod query;
mod redirects;
pub mod report;
mod robots;
mod service;
mod stream;
mod sweep;
pub mod time;
mod verdict;
mod worker;

pub use command::{
    Checked, Command, Found, FoundTarget, MAX_REDIRECTS, MAX_STARTS, MAX_URL_BYTES, NewJob, Onward,
    Outcome, Refusal, Scope, Task,
};
pub use job::{CheckJob, InvalidJobId, JobId, JobOptions, LinkResult, Redirect, Status, Timings};
pub use mutant::Mutant;
pub use service::{Links, MAX_RUNNING};
pub use stream::{ReportError, ReportStream};
pub use verdict::Verdict;
pub use worker::{LinksSettings, LinksWorker};
