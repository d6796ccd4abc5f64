//! Raft against public test data, by hand, at random, and as bytes.
#![allow(clippy::disallowed_methods, reason = "a test reads its fixtures")]

mod bytes;
mod cluster;
mod facts;
mod interaction;
mod limits;
mod quorum;
mod random;
mod reads;
mod script;
mod world;
