//! The binary `engine` as an operator meets it: how it starts, what it refuses, how it stops, what survives.
// These tests start processes and look into their files.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod blobs;
mod cluster;
mod curl;
mod dht;
mod discovery;
mod engine;
mod folder;
mod keys;
mod life;
mod links;
mod ports;
mod readme;
mod site;
