//! HTTP over a [`Host`](holdfast_host::Host): hyper's protocol code on the host's streams, tasks and clock.

mod body;
mod date;
mod problem;
mod query;
mod server;
mod streams;

pub use body::{ReplyBody, Upload};
pub use date::http_date;
pub use holdfast_http::rt::{HostExecutor, HostIo, HostTimer};
pub use problem::{Document, Problem, ProblemKind};
pub use query::{Query, percent_decode, percent_encode};
pub use server::{Handler, HttpLimits, Server, ServerStats};
