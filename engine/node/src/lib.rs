//! The node: what makes a server of the services.
pub mod config;
pub mod folder;
pub mod http;
pub mod metrics;
pub mod wire;
