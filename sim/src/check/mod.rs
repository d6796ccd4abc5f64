//! Checkers: plain structs named after what they watch, holding the least that they must remember.

pub mod explained;
pub mod kv;
pub mod linearizability;
pub mod raft;
mod words;

use std::fmt;

/// A property that does not hold, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property's name as it appears in reports, e.g. `election-safety`.
    pub property: &'static str,
    /// What was seen, for a person.
    pub message: String,
    /// The node at which it was seen, counted from 0, when one can be named.
    pub node: Option<u32>,
    /// When it happened, in simulated nanoseconds, if that is not when it was noticed: histories are checked at the end.
    pub at_ns: Option<u64>,
}

impl Violation {
    /// A violation that names no node.
    pub fn new(property: &'static str, message: impl Into<String>) -> Self {
        Violation {
            property,
            message: message.into(),
            node: None,
            at_ns: None,
        }
    }

    /// The same, of something that happened at `at_ns`.
    pub fn when(self, at_ns: u64) -> Self {
        Violation {
            at_ns: Some(at_ns),
            ..self
        }
    }

    /// The same, seen at `node`.
    pub fn at(self, node: u32) -> Self {
        Violation {
            node: Some(node),
            ..self
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.message)
    }
}
