//! The node: what makes a server of the services.
//!
//! [`Node`] puts a data folder, a replica of the key-value store and an HTTP interface together; the binary `engine`
//! runs one on an operating system, the simulator runs many on a simulated world. [`client`] is the other end of the
//! interface, [`api`] says what the interface takes, and [`wire`] is the JSON that both speak.
//!
//! # Running one
//! ```text
//! engine serve                                   a cluster of one: data in ./holdfast-data, clients on 127.0.0.1:7480
//! engine serve --config node.toml                see `config` for what a file may say
//! engine kv put greeting hello
//! curl http://127.0.0.1:7480/v1/kv/keys/greeting
//! engine status --endpoint 127.0.0.1:7480        role, term, commit and applied index; --digest compares replicas
//! ```
//! A cluster of three, each node with a file of this form (`id` and the addresses its own):
//! ```toml
//! [node]
//! id = 1
//! data = "/var/lib/holdfast"
//! listen = "10.0.0.1:7480"
//! peer_listen = "10.0.0.1:7481"
//! insecure_peers = true      # peers are not authenticated: the network must keep strangers out of that port
//!
//! [cluster]
//! name = "demo"
//!
//! [cluster.peers]
//! 1 = "10.0.0.1:7481"
//! 2 = "10.0.0.2:7481"
//! 3 = "10.0.0.3:7481"
//!
//! [auth]
//! mode = "keys"              # clients are: `engine keys new --scope ...` prints a key, and the lines that follow here
//!
//! [[auth.keys]]
//! id = "..."
//! hash = "sha256:..."
//! scopes = ["*"]
//! ```
//! With the key that the configuration lists all others are made, which the cluster keeps and every node takes:
//! ```text
//! engine keys create --scope kv:read --name ci   with the first key in HOLDFAST_API_KEY; prints a key, once
//! engine keys list                               and show, and revoke
//! ```
//! Listening beyond loopback without either is refused, unless `insecure = true` says that it is meant.
//!
//! # Starting and stopping
//! A start takes the data folder (one process, one folder; a folder of another cluster, of
//! other members or of another node is refused), takes the
//! clients' address, recovers log and snapshots (damage among synced records is an error that names them, and nothing
//! is deleted), and joins. `/healthz` says that the node's storage works, `/readyz` that a linearizable read is served.
//!
//! SIGTERM and SIGINT end it in order: `/readyz` turns 503 and watches end with a line that says so, after
//! `node.lame_duck` no new connection is taken, requests under way finish for up to `--drain`, a leader hands over and stays until another leads, the log is synced, and the exit code
//! is 0. A second signal ends it at once. A kill at any moment loses nothing that was acknowledged. When storage fails
//! for good the node stops with exit code 1: down is better than wrong.

pub mod api;
pub mod audit;
pub mod auth;
pub mod blobs;
pub mod client;
pub mod config;
pub mod discovery;
mod embedded;
pub mod folder;
pub mod http;
pub mod metrics;
mod mutant;
mod node;
pub mod race;
pub mod wire;

pub use embedded::Embedded;
pub use mutant::Mutant;
pub use node::{Node, NodeError, Rig};
