//! Tests of the crate as its users see it.

mod bencode;
mod fixtures;
mod id;
mod items;
mod krpc;
mod limiter;
mod mutate;
mod peers;
mod random;
mod stored_items;
mod token;
mod tree;
