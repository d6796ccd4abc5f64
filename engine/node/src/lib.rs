//! The node: what makes a server of the services.
//!
//! [`Node`] puts a data folder, a replica of the key-value store and an HTTP interface together; the binary `engine`
//! runs one on an operating system, the simulator runs many on a simulated world. [`client`] is the other end of the
//! interface, and [`wire`] the JSON that both speak.

pub mod api;
pub mod client;
pub mod config;
pub mod folder;
pub mod http;
pub mod metrics;
mod node;
pub mod race;
pub mod wire;

pub use node::{Node, NodeError};
