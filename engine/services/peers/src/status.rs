use crate::Family;
use holdfast_kademlia::{Health, Id};
use std::net::SocketAddr;

/// What went in and out since the start, all local nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams that came.
    pub received: u64,
    /// Their bytes, headers aside.
    pub received_bytes: u64,
    /// Datagrams that were sent.
    pub sent: u64,
    /// Their bytes, headers aside.
    pub sent_bytes: u64,
    /// Datagrams that the host did not take, for want of room or of a way.
    pub unsent: u64,
    /// Receives that failed.
    pub receive_errors: u64,
    /// Datagrams between local nodes that did not go through the network; they are in no other number.
    pub direct: u64,
    /// Lookups that were begun for callers, and to store again what is kept.
    pub lookups: u64,
    /// Of them, those that were given up when their time was over.
    pub timed_out: u64,
    /// Tables that were saved.
    pub saves: u64,
    /// Attempts to save them that failed.
    pub failed_saves: u64,
}

/// How everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The local nodes.
    pub nodes: Vec<NodeStatus>,
    /// What went in and out.
    pub traffic: Traffic,
    /// Lookups that callers wait for.
    pub lookups: usize,
    /// How much is kept.
    pub kept: usize,
}

/// How a local node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its id.
    pub id: Id,
    /// In each family that it is in.
    pub families: Vec<FamilyStatus>,
}

/// How a local node is in one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyStatus {
    /// Which.
    pub family: Family,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its table.
    pub table: Health,
    /// Lookups under way, those for its own table included.
    pub lookups: usize,
    /// Queries under way.
    pub queries: usize,
    /// Items that it stores for others.
    pub items: usize,
    /// Torrents of which it stores peers.
    pub torrents: usize,
    /// Bytes that its core takes, what it stores for others included.
    pub bytes: usize,
}
