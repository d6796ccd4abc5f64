//! The broken-link checker.

mod job;
mod verdict;

pub use job::{CheckJob, InvalidJobId, JobId, JobOptions, LinkResult, Redirect, Status, Timings};
pub use verdict::Verdict;
