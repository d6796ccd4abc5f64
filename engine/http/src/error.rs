//! Why there is no answer.

use crate::{Refusal, tls::TlsReason};
use std::{error::Error, fmt, io, net::SocketAddr, time::Duration};
use thiserror::Error;
use url::Url;

/// A part of a request's way, as a timeout names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Waiting for the origin's turn or for a free connection, at our end.
    Queue,
    /// Name resolution and TCP.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the request until the response's head.
    Head,
    /// Between two pieces of the body.
    Body,
    /// The whole chain of redirects, waiting in queues left out.
    Total,
}

impl Stage {
    /// A stable name for machines.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Connect => "connect",
            Stage::Tls => "tls",
            Stage::Head => "head",
            Stage::Body => "body",
            Stage::Total => "total",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a request has no answer, or a chain of redirects no end.
///
/// [`name`](FetchError::name) is stable and for machines; `Display` is for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL cannot be asked for.
    #[error("the URL cannot be requested: {detail}")]
    InvalidUrl {
        /// What is wrong with it.
        detail: String,
    },
    /// Neither http nor https.
    #[error("`{scheme}` is not a scheme that is fetched")]
    UnsupportedScheme {
        /// The scheme.
        scheme: String,
    },
    /// The name does not exist.
    #[error("there is no host named {host}")]
    NameNotFound {
        /// The name.
        host: String,
    },
    /// The name could not be looked up; it may exist.
    #[error("the name {host} could not be looked up: {detail}")]
    NameLookup {
        /// The name.
        host: String,
        /// What the resolver said.
        detail: String,
    },
    /// Nobody listens there.
    #[error("{address} refused the connection")]
    Refused {
        /// The last address that was tried.
        address: SocketAddr,
    },
    /// There is no way to that address.
    #[error("{address} cannot be reached: {detail}")]
    Unreachable {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the network said.
        detail: String,
    },
    /// The name leads to addresses that are not to be asked: see
    /// [`Addresses`](crate::Addresses).
    #[error("{host} is at {address}, which is not a public address")]
    AddressNotAllowed {
        /// The name.
        host: String,
        /// One of its addresses.
        address: SocketAddr,
    },
    /// The far end cut the connection, or the request in it (HTTP/2).
    #[error("the server reset the connection: {detail}")]
    Reset {
        /// What was seen.
        detail: String,
    },
    /// The far end closed the connection before the response was complete.
    #[error("the server closed the connection before the end of its response")]
    Closed,
    /// Another failure of the network.
    #[error("the network failed: {detail}")]
    Network {
        /// What was seen.
        detail: String,
    },
    /// It took too long.
    #[error("no {stage} within {} s", after.as_secs_f64())]
    Timeout {
        /// What took too long.
        stage: Stage,
        /// How long it was allowed to take.
        after: Duration,
    },
    /// TLS failed.
    #[error("TLS failed: {reason}")]
    Tls {
        /// Why.
        reason: TlsReason,
    },
    /// What came is not HTTP.
    #[error("the response is malformed: {detail}")]
    BadResponse {
        /// What is wrong with it.
        detail: String,
    },
    /// The response's head has too many bytes or too many fields.
    #[error("the response's head is larger than {max_bytes} bytes or {max_fields} fields")]
    HeadTooLarge {
        /// The bound on its size.
        max_bytes: usize,
        /// The bound on its fields.
        max_fields: usize,
    },
    /// The body has too many bytes as sent.
    #[error("the body is larger than {limit} bytes as sent")]
    BodyTooLarge {
        /// The bound.
        limit: u64,
    },
    /// The body has too many bytes once its codings are undone.
    #[error("the body is larger than {limit} bytes when decoded")]
    DecodedTooLarge {
        /// The bound.
        limit: u64,
    },
    /// The body is far larger than what was sent: a decompression bomb.
    #[error("{encoded} bytes of the body decode to more than {ratio} times as many")]
    Bomb {
        /// Bytes read until then.
        encoded: u64,
        /// The bound on the ratio.
        ratio: u64,
    },
    /// The body is not in the coding that `Content-Encoding` says.
    #[error("the body is not valid {coding}: {detail}")]
    BadCoding {
        /// The coding.
        coding: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// `Content-Encoding` names a coding that is not known, or too many of them.
    #[error("the content coding `{coding}` is not supported")]
    UnknownCoding {
        /// What the header says.
        coding: String,
    },
    /// The chain of redirects is too long.
    #[error("more than {limit} redirects")]
    TooManyRedirects {
        /// The bound.
        limit: usize,
    },
    /// The chain asked for the same URL with the same cookies before.
    #[error("the redirects lead back to {url}")]
    RedirectLoop {
        /// Where they lead back to.
        url: Box<Url>,
    },
    /// `Location` is no URL that can be fetched.
    #[error("the redirect to `{location}` cannot be followed: {detail}")]
    BadRedirect {
        /// The header, cut to a readable length.
        location: String,
        /// Why.
        detail: String,
    },
    /// `Location` leads out of the web, to `mailto:` or the like.
    #[error("the redirect leads to the scheme `{scheme}`")]
    RedirectScheme {
        /// The scheme.
        scheme: String,
    },
    /// The [`Gate`](crate::Gate) does not admit a hop.
    #[error("not fetched: {0}")]
    NotAdmitted(Refusal),
    /// More requests wait for this origin, or more origins are remembered, than is allowed.
    #[error("too much is waiting: {detail}")]
    Busy {
        /// What is full.
        detail: &'static str,
    },
}

impl FetchError {
    /// A stable name for machines, in kebab case. Timeouts and TLS failures tell more by their own fields.
    pub fn name(&self) -> &'static str {
        match self {
            FetchError::InvalidUrl { .. } => "invalid-url",
            FetchError::UnsupportedScheme { .. } => "unsupported-scheme",
            FetchError::NameNotFound { .. } => "name-not-found",
            FetchError::NameLookup { .. } => "name-lookup-failed",
            FetchError::Refused { .. } => "connection-refused",
            FetchError::Unreachable { .. } => "unreachable",
            FetchError::AddressNotAllowed { .. } => "address-not-allowed",
            FetchError::Reset { .. } => "connection-reset",
            FetchError::Closed => "connection-closed",
            FetchError::Network { .. } => "network-error",
            FetchError::Timeout { .. } => "timeout",
            FetchError::Tls { .. } => "tls",
            FetchError::BadResponse { .. } => "bad-response",
            FetchError::HeadTooLarge { .. } => "head-too-large",
            FetchError::BodyTooLarge { .. } => "body-too-large",
            FetchError::DecodedTooLarge { .. } => "decoded-too-large",
            FetchError::Bomb { .. } => "decompression-bomb",
            FetchError::BadCoding { .. } => "bad-content-coding",
            FetchError::UnknownCoding { .. } => "unknown-content-coding",
            FetchError::TooManyRedirects { .. } => "too-many-redirects",
            FetchError::RedirectLoop { .. } => "redirect-loop",
            FetchError::BadRedirect { .. } => "bad-redirect",
            FetchError::RedirectScheme { .. } => "redirect-scheme",
            FetchError::NotAdmitted(_) => "not-admitted",
            FetchError::Busy { .. } => "busy",
        }
    }

    /// Whether the failure may be gone at another try: the network's and the server's moods, not what was asked.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            FetchError::NameLookup { .. }
                | FetchError::Refused { .. }
                | FetchError::Unreachable { .. }
                | FetchError::Reset { .. }
                | FetchError::Closed
                | FetchError::Network { .. }
                | FetchError::Timeout { .. }
                | FetchError::Busy { .. }
        )
    }
}

/// What the reading of a failure needs to know about the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub stage: Stage,
    pub patience: Duration,
    pub max_head_bytes: usize,
    pub max_head_fields: usize,
}

/// Reads a failure of hyper's.
pub(crate) fn from_hyper(error: &hyper::Error, context: Context) -> FetchError {
    if error.is_parse_too_large() {
        return FetchError::HeadTooLarge {
            max_bytes: context.max_head_bytes,
            max_fields: context.max_head_fields,
        };
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return from_io(io, context);
        }
        if let Some(h2) = cause.downcast_ref::<h2::Error>() {
            return from_h2(h2, context);
        }
        source = cause.source();
    }
    if error.is_timeout() {
        return timeout(context);
    }
    if error.is_parse() {
        return FetchError::BadResponse {
            detail: error.to_string(),
        };
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return FetchError::Closed;
    }
    FetchError::BadResponse {
        detail: error.to_string(),
    }
}

fn from_h2(error: &h2::Error, context: Context) -> FetchError {
    if let Some(io) = error.get_io() {
        return from_io(io, context);
    }
    if error.is_remote() {
        let what = if error.is_go_away() {
            "the connection"
        } else {
            "the stream"
        };
        let reason = error.reason().unwrap_or(h2::Reason::INTERNAL_ERROR);
        return FetchError::Reset {
            detail: format!("HTTP/2 ended {what} with {reason:?}"),
        };
    }
    FetchError::BadResponse {
        detail: error.to_string(),
    }
}

/// Reads a failure of a stream that was open.
pub(crate) fn from_io(error: &io::Error, context: Context) -> FetchError {
    if let Some(inner) = error.get_ref() {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return FetchError::Tls { reason: tls.into() };
        }
        // What hyper's body decoder puts around the stream's own error.
        if let Some(inner) = inner.downcast_ref::<io::Error>() {
            return from_io(inner, context);
        }
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected => FetchError::Reset {
            detail: error.to_string(),
        },
        io::ErrorKind::UnexpectedEof => FetchError::Closed,
        io::ErrorKind::TimedOut => timeout(context),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => FetchError::BadResponse {
            detail: error.to_string(),
        },
        _ => FetchError::Network {
            detail: error.to_string(),
        },
    }
}

fn timeout(context: Context) -> FetchError {
    FetchError::Timeout {
        stage: context.stage,
        after: context.patience,
    }
}

/// Reads a failure to open a stream to `address`.
pub(crate) fn from_connect(
    error: &io::Error,
    address: SocketAddr,
    patience: Duration,
) -> FetchError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FetchError::Refused { address },
        io::ErrorKind::TimedOut => FetchError::Timeout {
            stage: Stage::Connect,
            after: patience,
        },
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => FetchError::Reset {
            detail: error.to_string(),
        },
        _ => FetchError::Unreachable {
            address,
            detail: error.to_string(),
        },
    }
}
