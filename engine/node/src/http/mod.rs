//! HTTP over a [`Host`](holdfast_host::Host): hyper's protocol code on the host's streams, tasks and clock.

mod body;
pub mod conditional;
mod date;
pub mod events;
pub mod idempotency;
pub mod page;
mod problem;
mod query;
mod request_id;
mod server;
mod streams;
mod tls;

pub use body::{BrokenOff, ReplyBody, Upload};
pub use date::{http_date, parse_rfc3339, rfc3339};
pub use holdfast_http::rt::{HostExecutor, HostIo, HostTimer};
pub use problem::{Document, Problem, ProblemKind};
pub use query::{Query, percent_decode, percent_encode};
pub use request_id::{REQUEST_ID_HEADER, RequestIds};
pub use server::{Handler, HttpLimits, Server, ServerStats};
pub use tls::{Acceptor, TlsAcceptor, TlsConnector, TlsError};
