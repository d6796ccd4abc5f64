//! Nodes on loopback, through the operating system's sockets.
// Tests have a runtime and files of their own.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod addresses;
mod network;
mod saved;
mod stores;
