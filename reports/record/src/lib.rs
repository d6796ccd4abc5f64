//! What one simulated run leaves behind.
//!
//! Written by whatever executes seeds, read by `holdfast-reports`. A crate of its own so that the one does not link
//! the other's polars, and so that editing a protocol does not rebuild the reports. On the wire: one JSON object a line.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod portrait;
pub mod worker;

pub use portrait::{Moment, Portrait, PortraitNode, Walk, WalkStep};

/// Which simulator ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Pure cores on an event heap.
    Fast,
    /// The whole engine on madsim.
    Full,
}

impl std::str::FromStr for Lane {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "fast" => Ok(Lane::Fast),
            "full" => Ok(Lane::Full),
            other => Err(format!("no lane `{other}`: there are `fast` and `full`")),
        }
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Lane::Fast => "fast",
            Lane::Full => "full",
        })
    }
}

/// The outcome of one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedRecord {
    /// The scenario's name, as on the command line.
    pub scenario: String,
    /// Where it ran.
    pub lane: Lane,
    /// The seed.
    pub seed: u64,
    /// How many nodes the world had.
    pub nodes: u32,
    /// Simulated time, nanoseconds.
    pub simulated_ns: u64,
    /// CPU time (user and system) that the run took, nanoseconds.
    pub cpu_ns: u64,
    /// Messages handled by nodes (fast lane: protocol messages; full lane: segments and datagrams delivered).
    pub messages: u64,
    /// Client operations that were answered.
    pub operations: u64,
    /// Client operations whose outcome the client never learned.
    pub unknown: u64,
    /// Faults that took effect, by kind.
    pub faults: BTreeMap<String, u64>,
    /// How often each `sometimes!` mark was reached; a mark that was declared and not reached is there with 0.
    pub marks: BTreeMap<String, u64>,
    /// The chained 64-bit hash of everything that happened, in hexadecimal.
    pub trace_hash: String,
    /// The first property that broke.
    pub failure: Option<Failure>,
}

/// A property that broke.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The property's name, e.g. `linearizability`.
    pub property: String,
    /// What was seen, for a person.
    pub message: String,
    /// When, in simulated nanoseconds.
    pub at_ns: u64,
    /// On which node, when one can be named.
    pub node: Option<u32>,
}

/// Everything that one run's page shows, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Names of the lanes: nodes first, then clients.
    pub lanes: Vec<String>,
    /// What happened.
    pub events: Vec<TimelineEvent>,
    /// Events that were left out because the timeline was full.
    pub dropped: u64,
    /// The fault plan as JSON, for `--replay`; empty where a seed is all there is.
    pub plan: String,
    /// The overlay, where there are too many nodes for lanes.
    #[serde(default)]
    pub portrait: Option<Portrait>,
}

/// One event of a [`Timeline`]; times are simulated nanoseconds, lanes index [`Timeline::lanes`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TimelineEvent {
    /// A message that was sent at `at` and arrived at `arrives` (`None`: lost).
    Message {
        /// Sent at.
        at: u64,
        /// Sender's lane.
        from: u32,
        /// Receiver's lane.
        to: u32,
        /// Arrival.
        arrives: Option<u64>,
        /// What it was, in a few words, e.g. `append 3 @17`. Labels that begin with `heartbeat` can be hidden as such.
        label: String,
    },
    /// A node's role or term changed.
    State {
        /// When.
        at: u64,
        /// Where.
        lane: u32,
        /// `leader`, `follower`, `candidate`, `pre-candidate`, `down`, `paused`, `recovering`.
        state: String,
        /// Its term.
        term: u64,
    },
    /// A fault began (or was a moment's matter).
    Fault {
        /// When.
        at: u64,
        /// Until when, for those that last.
        until: Option<u64>,
        /// The lanes it touches; empty: all.
        lanes: Vec<u32>,
        /// `partition`, `kill`, `power_cut`, `pause`, `clock_step`, ...
        fault: String,
        /// For a person.
        detail: String,
    },
    /// A client's operation.
    Operation {
        /// Called at.
        at: u64,
        /// Answered at; `None`: never.
        until: Option<u64>,
        /// The client's lane.
        lane: u32,
        /// What and with which result, e.g. `put a=3 -> rev 17`.
        label: String,
    },
    /// Something worth a dot: a commit, a snapshot, a repair, a mark.
    Note {
        /// When.
        at: u64,
        /// Where.
        lane: u32,
        /// For a person.
        label: String,
    },
    /// Where a property broke.
    Violation {
        /// When.
        at: u64,
        /// Where, when one can be named.
        lane: Option<u32>,
        /// The property.
        property: String,
        /// What was seen.
        message: String,
    },
}

impl TimelineEvent {
    /// When it happened or began.
    pub fn at(&self) -> u64 {
        match self {
            TimelineEvent::Message { at, .. }
            | TimelineEvent::State { at, .. }
            | TimelineEvent::Fault { at, .. }
            | TimelineEvent::Operation { at, .. }
            | TimelineEvent::Note { at, .. }
            | TimelineEvent::Violation { at, .. } => *at,
        }
    }
}
