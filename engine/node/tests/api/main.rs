//! The REST interface of a node on this operating system, spoken to over raw sockets: what is refused, and how; that
//! watches keep what they promise; that no bytes kill the node.
// These tests are clients from outside: they use the operating system's sockets and threads.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod access;
mod auth;
mod blobs;
mod client;
mod commands;
mod conventions;
mod dht;
mod discovery;
mod hostile;
mod limits;
mod links;
mod node;
mod openapi;
#[path = "../process/ports.rs"]
mod ports;
mod proxy;
mod rate;
mod schema;
#[path = "../process/site.rs"]
mod site;
mod tls;
mod watches;
