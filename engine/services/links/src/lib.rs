//! The broken-link checker.

mod job;
pub mod report;
mod verdict;

pub use job::{CheckJob, InvalidJobId, JobId, JobOptions, LinkResult, Redirect, Status, Timings};
pub use verdict::Verdict;
