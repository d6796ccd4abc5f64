//! The fast lane: replicas and their clients as one value, stepped by an event heap.
//!
//! Nothing here runs by itself: no tasks, no futures, no threads. A [`Cluster`] holds every node's disk, clock and
//! process and every message under way, and `Clone` copies all of it, so that a run can be kept, branched and rewound.

mod client;
mod cluster;
mod faults;
mod node;
mod storage;
mod verdict;
pub(crate) mod words;
mod workload;

pub use client::ClientOptions;
pub use cluster::{Cluster, Counts, MARKS, Setup};
pub use holdfast_replica::Outcome;
pub use words::event as describe;
pub use workload::{Operation, Workload};
