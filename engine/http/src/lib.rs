//! HTTP and TLS over a [`Host`](holdfast_host::Host): what hyper and rustls ask of a runtime, and a client.
//!
//! The types that matter are [`Client`], which sends requests politely and reads answers within bounds, and
//! [`FetchError`], which says why there is no answer. [`rt`] puts hyper on a host, for servers too; [`tls`] makes
//! rustls configurations whose time is the host's.
//!
//! What this crate is not: a browser. It runs no script, keeps no cache, and its cookies live as long as one chain of
//! redirects. It obeys no robots.txt by itself: a [`Gate`] is asked before every hop.

mod body;
mod chain;
mod client;
mod coding;
mod config;
mod cookie;
mod error;
mod exchange;
mod mutant;
mod origin;
mod pool;
mod request;
mod response;
pub mod rt;
pub mod tls;

pub use body::BodyPolicy;
pub use chain::{Fetched, Gate, Hop, OpenGate, Refusal};
pub use client::{Client, Holdings};
pub use coding::{CodingError, Decoder};
pub use config::{Addresses, ClientConfig, ConfigError, Limits, Plain, Timeouts};
pub use cookie::{Cookie, CookieJar};
pub use error::{FetchError, Stage};
pub use mutant::Mutant;
pub use origin::{Origin, Scheme};
pub use request::{Request, RequestError};
pub use response::{Head, RETRY_AFTER_LIMIT, Response, Timings, Transferred, retry_after};
