//! The service's tables without a replica and without a network: commands are applied as the log would have them, and a
//! model of the web answers what the outbox asks.

mod comparison;
mod deletion;
mod redirects;
mod world;
