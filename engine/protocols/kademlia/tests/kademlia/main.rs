//! Tests of the crate as its users see it.
#![allow(clippy::disallowed_methods, reason = "a test reads its fixtures")]

mod bencode;
mod fixtures;
mod id;
mod items;
mod krpc;
mod libtorrent;
mod limiter;
mod network;
mod peers;
mod random;
mod stored_items;
mod token;
#[path = "../../fuzz/src/tree.rs"]
#[allow(dead_code, reason = "whoever changes trees reads and writes them, too")]
mod tree;
