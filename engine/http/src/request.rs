//! What is asked.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::str::FromStr;
use thiserror::Error;
use url::Url;

/// Headers that the client and the protocol write themselves: a caller's would contradict the connection, the framing
/// or the chain's cookies.
const RESERVED: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::COOKIE,
    header::PROXY_AUTHORIZATION,
];
/// The other names of that kind, which are not constants of the `http` crate.
const RESERVED_NAMES: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];
/// Most headers of one request.
const MAX_HEADERS: usize = 64;
/// Most bytes of their names and values.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// Why a request cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// Not a header's name.
    #[error("`{0}` is no header name")]
    BadName(String),
    /// Not a header's value.
    #[error("the value of `{0}` has characters that a header cannot have")]
    BadValue(String),
    /// The client writes this header itself.
    #[error("`{0}` is written by the client itself")]
    Reserved(String),
    /// More than 64 headers, or 32 KiB of them.
    #[error("there are too many headers")]
    TooMany,
}

/// One request, by one method, of one URL.
///
/// The URL's fragment is not sent; its user name and password are, as basic authentication, unless there is an
/// `Authorization` header. [`Client::fetch`](crate::Client::fetch) sends neither to another origin.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method. `CONNECT` is refused.
    pub method: Method,
    /// Where to.
    pub url: Url,
    pub(crate) headers: HeaderMap,
    header_bytes: usize,
    /// The body; empty: none.
    pub body: Bytes,
}

impl Request {
    /// A request without headers of its own and without a body.
    pub fn new(method: Method, url: Url) -> Self {
        Request {
            method,
            url,
            headers: HeaderMap::new(),
            header_bytes: 0,
            body: Bytes::new(),
        }
    }

    /// A GET.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// A HEAD.
    pub fn head(url: Url) -> Self {
        Self::new(Method::HEAD, url)
    }

    /// Adds a header: `Referer`, `If-None-Match`, `If-Modified-Since`, `Authorization`, `Accept-Language` and the
    /// like. `User-Agent`, `Accept` and `Accept-Encoding` take the place of the client's own.
    ///
    /// # Errors
    /// [`RequestError`] when it is no header, one that the client writes itself, or one too many.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, RequestError> {
        let parsed = HeaderName::from_str(name).map_err(|_| RequestError::BadName(name.into()))?;
        if RESERVED.contains(&parsed) || RESERVED_NAMES.contains(&parsed.as_str()) {
            return Err(RequestError::Reserved(name.into()));
        }
        let value =
            HeaderValue::from_str(value).map_err(|_| RequestError::BadValue(name.into()))?;
        self.header_bytes += parsed.as_str().len() + value.len();
        if self.headers.len() == MAX_HEADERS || self.header_bytes > MAX_HEADER_BYTES {
            return Err(RequestError::TooMany);
        }
        self.headers.append(parsed, value);
        Ok(self)
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The headers that were added.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::get(Url::parse("http://a.test/").expect("a URL"))
    }

    #[test]
    fn headers_are_checked() {
        let with = |name: &str, value: &str| request().header(name, value).map(drop);
        assert!(with("If-None-Match", "\"x\"").is_ok());
        assert!(matches!(
            with("two words", "x"),
            Err(RequestError::BadName(_))
        ));
        assert!(matches!(
            with("x", "a\r\nb: c"),
            Err(RequestError::BadValue(_))
        ));
        for name in ["Host", "content-length", "Cookie", "Keep-Alive", "TE"] {
            assert!(
                matches!(with(name, "x"), Err(RequestError::Reserved(_))),
                "{name}"
            );
        }
        assert!(matches!(
            with("x", &"y".repeat(40_000)),
            Err(RequestError::TooMany)
        ));
        let mut many = request();
        for n in 0..MAX_HEADERS {
            many = many.header("x", &n.to_string()).expect("room");
        }
        assert!(matches!(many.header("x", "y"), Err(RequestError::TooMany)));
    }
}
