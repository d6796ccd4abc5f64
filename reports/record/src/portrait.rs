//! An overlay as a whole: what is drawn of a run with more nodes than a diagram has room for.

use serde::{Deserialize, Serialize};

/// How an overlay was at the end of a run, and how it fared until then. Positions are the first 32 bits of ids: places on
/// a ring of 2^32.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Portrait {
    /// What befell it, in a few words.
    pub befell: String,
    /// Everybody who lives.
    pub nodes: Vec<PortraitNode>,
    /// Where the contacts of the node are that made the last lookup, each with the bits that it shares with the node's id.
    pub contacts: Vec<(u32, u32)>,
    /// The last lookup that ended.
    pub walk: Option<Walk>,
    /// How many lookups reached the closest node over so many others: the first entry is of those that took none.
    pub hops: Vec<u64>,
    /// How many that is in the mean where nothing is in the way.
    pub usual_hops: f64,
    /// How it was from time to time.
    pub moments: Vec<Moment>,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortraitNode {
    /// Where.
    pub position: u32,
    /// It lies, or tests what others take.
    pub lies: bool,
    /// Contacts that answered lately.
    pub good: u32,
    /// Contacts that were silent since.
    pub questionable: u32,
    /// Contacts that do not answer.
    pub bad: u32,
}

/// One lookup, question by question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Who looked.
    pub from: u32,
    /// For what.
    pub target: u32,
    /// Whom it asked, in order.
    pub steps: Vec<WalkStep>,
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WalkStep {
    /// Who was asked.
    pub position: u32,
    /// The step whose answer named it; `None`: it was known before.
    pub named_by: Option<u32>,
    /// When it was asked, milliseconds after the lookup began.
    pub asked_ms: f64,
    /// When it answered; `None`: it did not.
    pub answered_ms: Option<f64>,
    /// It is on the way to the closest node.
    pub is_on_the_way: bool,
}

/// What happened since the moment before, and how tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// When, simulated nanoseconds since the run began.
    pub at: u64,
    /// Nodes that live.
    pub live: u64,
    /// Lookups that ended.
    pub ended: u64,
    /// Of these, that reached the closest node.
    pub right: u64,
    /// Good contacts of a node in the mean.
    pub good: f64,
    /// Questionable ones.
    pub questionable: f64,
    /// Bad ones.
    pub bad: f64,
}
