//! What is answered.

use bytes::Bytes;
use holdfast_host::UnixTime;
use http::{HeaderMap, StatusCode, Version, header};
use std::{
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};
use url::Url;

/// The first part of a response, by which the reading of its body is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What was asked for, its fragment included.
    pub url: Url,
    /// The status.
    pub status: StatusCode,
    /// The protocol's version.
    pub version: Version,
    /// The headers.
    pub headers: HeaderMap,
}

impl Head {
    /// The media type without its parameters, in lower case; empty when the server does not say.
    pub fn media_type(&self) -> String {
        let value = self.headers.get(header::CONTENT_TYPE);
        let text = value.and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = text.split(';').next().unwrap_or("");
        essence.trim().to_ascii_lowercase()
    }
}

/// A response, with as much of its body as was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status, version and headers.
    pub head: Head,
    /// The body with its codings undone, as far as it was read.
    pub body: Bytes,
    /// Whether there was, or may have been, more of the body.
    pub is_truncated: bool,
    /// How many bytes came.
    pub bytes: Transferred,
    /// How long things took.
    pub timings: Timings,
    /// The server's address.
    pub remote: SocketAddr,
    /// Whether the connection had served another request before.
    pub is_reused: bool,
}

/// Bytes of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// As sent, the framing of HTTP not counted.
    pub encoded: u64,
    /// Once the codings were undone.
    pub decoded: u64,
}

/// How long the parts of one exchange took, by the host's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Waiting for the origin's turn.
    pub queue: Duration,
    /// Name resolution and TCP; `None` on a connection that was there.
    pub connect: Option<Duration>,
    /// The TLS handshake; `None` without one.
    pub tls: Option<Duration>,
    /// From sending the request until the head was there.
    pub head: Duration,
    /// Reading the body.
    pub body: Duration,
}

/// How long the server asks to wait before the next request (RFC 9110, section 10.2.3): seconds, or a date from which
/// the wall clock's reading is taken. `None` when there is no such header, or one that says neither.
pub fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let date = date.duration_since(UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_nanos(now.as_nanos())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UnixTime::from_nanos(784_111_777_000_000_000);
        let check = |value: &'static str, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            let found = retry_after(&headers, now);
            assert_eq!(found, expected.map(Duration::from_secs), "{value}");
        };
        check("120", Some(120));
        check("0", Some(0));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some(60));
        check("Sunday, 06-Nov-94 08:50:37 GMT", Some(60));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        check("soon", None);
        check("-1", None);
        check("1.5", None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
