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

/// The longest wait that [`retry_after`] takes from a server.
pub const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long the server asks to wait before the next request (RFC 9110, section 10.2.3): seconds, or a date in one of
/// the three forms of section 5.6.7, from which the wall clock's reading is taken; at most [`RETRY_AFTER_LIMIT`]. A
/// date that has passed means no wait. `None` when there is no such header, or one that says neither; the wait is the
/// caller's choice then.
pub fn retry_after(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more than the limit.
        text.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        let date = date.duration_since(UNIX_EPOCH).unwrap_or_default();
        date.saturating_sub(Duration::from_nanos(now.as_nanos()))
    };
    Some(wait.min(RETRY_AFTER_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    /// RFC 9110's example date: Sun, 06 Nov 1994 08:49:37 GMT.
    const EXAMPLE: u64 = 784_111_777;

    fn parse(value: &[u8], now: UnixTime) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(value).expect("a header's value");
        headers.insert(header::RETRY_AFTER, value);
        retry_after(&headers, now)
    }

    #[track_caller]
    fn check(value: &str, now: u64, expected: Option<u64>) {
        let now = UnixTime::from_nanos(now * 1_000_000_000);
        let found = parse(value.as_bytes(), now);
        assert_eq!(found, expected.map(Duration::from_secs), "{value:?}");
    }

    #[test]
    fn retry_after_in_seconds() {
        check("120", 0, Some(120));
        check("0", EXAMPLE, Some(0));
        check(" 0 ", 0, Some(0));
        check("86401", 0, Some(86_400));
        check("99999999999999999999999", 0, Some(86_400));
        for wrong in ["", "-1", "+1", "1.5", "1s", "soon", "1, 2"] {
            check(wrong, 0, None);
        }
        assert_eq!(parse(b"12\xb3", UnixTime::from_nanos(0)), None);
        assert_eq!(
            retry_after(&HeaderMap::new(), UnixTime::from_nanos(0)),
            None
        );
    }

    #[test]
    fn retry_after_as_a_date_in_all_three_forms() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            check(date, EXAMPLE - 90, Some(90));
            check(date, EXAMPLE, Some(0));
            check(date, EXAMPLE + 90, Some(0));
            check(date, 0, Some(86_400));
        }
        check("Sun, 06 Nov 1994 08:49:37 CET", 0, None);
        check("Sun, 31 Feb 1994 08:49:37 GMT", 0, None);
        // The wait ends at the date, not at the second's begin after it was heard.
        let now = UnixTime::from_nanos(EXAMPLE * 1_000_000_000 - 1);
        let found = parse(b"Sun, 06 Nov 1994 08:49:37 GMT", now);
        assert_eq!(found, Some(Duration::from_nanos(1)));
    }

    proptest! {
        #[test]
        fn retry_after_is_bounded_whatever_comes(
            value in "[0-9]{0,30}|[ -~]{0,40}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT",
            now in any::<u64>(),
        ) {
            let found = parse(value.as_bytes(), UnixTime::from_nanos(now));
            prop_assert!(found.is_none_or(|wait| wait <= RETRY_AFTER_LIMIT));
        }
    }
}
