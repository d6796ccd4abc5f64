//! Operations in words, as reports show them.

use super::kv::{Answer, Body, Call, Found, Operation};
use std::fmt;

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Put { key, value } => write!(f, "put {key} = {value}"),
            Call::Delete { key } => write!(f, "delete {key}"),
            Call::CompareAndSet {
                key,
                expected,
                value,
            } => write!(f, "put {key} = {value} if of rev {expected}"),
            Call::Get { key } => write!(f, "get {key}"),
            Call::Range { from, to } => write!(f, "range {from}..{to}"),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found {
            key,
            value,
            modified,
        } = self;
        write!(f, "{key} = {value} of rev {modified}")
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Put => write!(f, "done")?,
            Body::Deleted(true) => write!(f, "removed")?,
            Body::Deleted(false) => write!(f, "was not there")?,
            Body::CompareAndSet(true) => write!(f, "done, it was")?,
            Body::CompareAndSet(false) => write!(f, "not done, it was not")?,
            Body::Read(found) if found.is_empty() => write!(f, "nothing there")?,
            Body::Read(found) => {
                let found: Vec<String> = found.iter().map(Found::to_string).collect();
                write!(f, "{}", found.join(", "))?;
            }
        }
        write!(f, " (at rev {})", self.revision)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ns: u64| ns as f64 / 1e9;
        // Clients are counted from 0 and named from 1, as nodes are.
        let (client, called) = (self.client + 1, seconds(self.called));
        write!(f, "client {client} at {called:.6} s: {}", self.call)?;
        match &self.returned {
            Some((at, answer)) => write!(f, " -> {answer} at {:.6} s", seconds(*at)),
            None => write!(f, ", never answered"),
        }
    }
}
