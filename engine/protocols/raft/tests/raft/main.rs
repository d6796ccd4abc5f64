//! Raft against public test data, by hand, at random, and as bytes.
#![allow(clippy::disallowed_methods, reason = "a test reads its fixtures")]

mod cluster;
mod facts;
mod interaction;
mod quorum;
mod script;
mod world;
