//! What changed between two runs over one site; [`query::comparison`](crate::query::comparison) finds it.
//!
//! A link that stands on a page several times, with one target and kind, is one link here, broken if one of its
//! places is.

use serde::{Deserialize, Serialize};

/// What changed for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It is broken, and was not: it worked, was not certain, or was not there.
    NewlyBroken,
    /// It was broken, and is.
    StillBroken,
    /// It was broken, and works or is gone.
    Fixed,
    /// It was broken, and nobody knows: its site blocks or throttles, tries disagree, it became uncheckable, has no
    /// verdict yet, or its page could not be read or was left out.
    Unclear,
}

impl Change {
    /// Its name before programs.
    pub fn name(self) -> &'static str {
        match self {
            Change::NewlyBroken => "newly_broken",
            Change::StillBroken => "still_broken",
            Change::Fixed => "fixed",
            Change::Unclear => "unclear",
        }
    }
}

/// How many links changed in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonCounts {
    /// See [`Change::NewlyBroken`].
    pub newly_broken: u64,
    /// See [`Change::StillBroken`].
    pub still_broken: u64,
    /// See [`Change::Fixed`].
    pub fixed: u64,
    /// See [`Change::Unclear`].
    pub unclear: u64,
}

/// A comparison with the run before. In JSON an object: the counts, or `{"not_compared": why}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Comparison {
    /// What changed.
    Counted(ComparisonCounts),
    /// There is a run before, but nobody compared.
    NotCompared {
        /// Why.
        not_compared: NotCompared,
    },
}

/// Why two runs were not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotCompared {
    /// More than [`MAX_COMPARED`](crate::query::MAX_COMPARED) links are broken in one of them.
    TooManyBroken,
}
