//! Tests of the crate as its users see it.

mod bencode;
mod fixtures;
mod id;
mod items;
mod krpc;
mod mutate;
mod network;
mod random;
mod tree;
