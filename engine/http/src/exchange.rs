//! One request on one connection, and its response.

use crate::{
    BodyPolicy, ClientConfig, FetchError, Head, Origin, Response, Scheme, Stage, Timings,
    body::Reader,
    config::OwnHeaders,
    error,
    origin::{OriginState, Turn},
    pool::{Lease, Pool, Reservation, Sender},
};
use bytes::Bytes;
use holdfast_host::Host;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use hyper::body::Incoming;
use std::{sync::Arc, time::Duration};
use url::Url;

/// Decides by the head how much of a body is wanted.
pub(crate) type Choose<'a> = dyn Fn(&Head) -> BodyPolicy + Sync + 'a;

/// What is sent, the client's own headers left out.
pub(crate) struct Call<'a> {
    pub method: &'a Method,
    pub url: &'a Url,
    pub headers: &'a HeaderMap,
    pub cookies: Option<String>,
    pub body: &'a Bytes,
    /// The least time after the request before, as far as its origin does not ask for more.
    pub gap: Duration,
}

/// Where a call goes, and its right to go there now.
pub(crate) struct Place<'a> {
    pub origin: &'a Origin,
    pub politeness: &'a OriginState,
    pub turn: Turn,
}

/// Why an exchange has no response.
pub(crate) enum Missed {
    /// The connection had been kept, and was closed before the request was answered: it may be made again on a new one
    /// (RFC 9110, section 9.2.2), in a turn of its own.
    Stale(FetchError),
    /// Anything else.
    Failed(FetchError),
}

impl From<FetchError> for Missed {
    fn from(error: FetchError) -> Self {
        Missed::Failed(error)
    }
}

/// Why there is no head.
enum Unanswered {
    /// Not a byte was written: anybody may send it again.
    Unsent(FetchError),
    /// It may have arrived.
    Sent(FetchError),
}

pub(crate) struct Exchanger {
    pub host: Host,
    pub config: Arc<ClientConfig>,
    pub headers: OwnHeaders,
    pub pool: Arc<Pool>,
}

impl Exchanger {
    /// Sends `call` and reads the answer.
    pub async fn exchange(
        &self,
        call: &Call<'_>,
        place: &mut Place<'_>,
        reservation: Reservation<'_>,
        choose: &Choose<'_>,
    ) -> Result<Response, Missed> {
        let path = path_and_query(call.url)?;
        let (origin, politeness) = (place.origin, place.politeness);
        let mut lease = self.pool.redeem(reservation, origin, politeness).await?;
        let began = self.host.now();
        place.turn.start(began);
        let answered = self.ask(&mut lease, call, origin, &path).await;
        let may_repeat = match &answered {
            Ok(_) => false,
            Err(Unanswered::Unsent(_)) => lease.is_reused,
            Err(Unanswered::Sent(error)) => {
                let was_stale = matches!(error, FetchError::Closed | FetchError::Reset { .. });
                lease.is_reused && was_stale && call.method.is_idempotent()
            }
        };
        let response = match answered {
            Ok(response) => response,
            Err(Unanswered::Unsent(error) | Unanswered::Sent(error)) => {
                lease.distrust();
                return Err(match may_repeat {
                    true => Missed::Stale(error),
                    false => Missed::Failed(error),
                });
            }
        };
        let headed = self.host.now();
        let (parts, body) = response.into_parts();
        let head = Head {
            url: call.url.clone(),
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
        };
        let reader = Reader {
            host: &self.host,
            limits: &self.config.limits,
            patience: self.config.timeouts.body,
        };
        let read = reader.read(&head, body, choose(&head)).await;
        let (about, is_reused) = (lease.about, lease.is_reused);
        let body = match read {
            Ok(body) => body,
            Err(error) => {
                if error.is_transient() || matches!(error, FetchError::BadResponse { .. }) {
                    lease.distrust();
                }
                return Err(error.into());
            }
        };
        let ended = self.host.now();
        if body.is_at_end {
            lease.keep().await;
        }
        Ok(Response {
            head,
            body: body.bytes,
            is_truncated: body.is_truncated,
            bytes: body.transferred,
            timings: Timings {
                queue: Default::default(),
                connect: about.connect,
                tls: about.tls,
                head: headed.since(began),
                body: ended.since(headed),
            },
            remote: about.remote,
            is_reused,
        })
    }

    /// Sends and waits for the head.
    async fn ask(
        &self,
        lease: &mut Lease,
        call: &Call<'_>,
        origin: &Origin,
        path: &PathAndQuery,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        let patience = self.config.timeouts.head;
        let context = self.pool.context(Stage::Head);
        let sender = lease.sender();
        let is_http2 = matches!(sender, Sender::Shared(_));
        let request = self
            .request(call, origin, path, is_http2)
            .map_err(Unanswered::Unsent)?;
        let answer = async {
            match sender {
                Sender::One(sender) => sender.try_send_request(request).await,
                Sender::Shared(sender) => sender.try_send_request(request).await,
            }
        };
        match self.host.timeout(patience, answer).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut failure)) => {
                let is_unsent = failure.take_message().is_some();
                let error = error::from_hyper(failure.error(), context);
                Err(match is_unsent {
                    true => Unanswered::Unsent(error),
                    false => Unanswered::Sent(error),
                })
            }
            Err(_) => Err(Unanswered::Sent(FetchError::Timeout {
                stage: Stage::Head,
                after: patience,
            })),
        }
    }

    /// The request as hyper wants it: for HTTP/1 the path and a `Host` header, for HTTP/2 the whole URL.
    fn request(
        &self,
        call: &Call<'_>,
        origin: &Origin,
        path: &PathAndQuery,
        is_http2: bool,
    ) -> Result<http::Request<Full<Bytes>>, FetchError> {
        let invalid = |error: http::Error| FetchError::InvalidUrl {
            detail: error.to_string(),
        };
        let authority = origin.authority();
        let host = HeaderValue::from_str(&authority).map_err(|error| invalid(error.into()))?;
        let uri = match is_http2 {
            false => Uri::from(path.clone()),
            true => Uri::builder()
                .scheme(match origin.scheme() {
                    Scheme::Http => "http",
                    Scheme::Https => "https",
                })
                .authority(authority)
                .path_and_query(path.clone())
                .build()
                .map_err(invalid)?,
        };
        let mut request = http::Request::new(Full::new(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        if !is_http2 {
            headers.insert(header::HOST, host);
        }
        headers.extend(call.headers.clone());
        let own = &self.headers;
        let mut default = |name: HeaderName, value: &HeaderValue| {
            headers.entry(name).or_insert_with(|| value.clone());
        };
        default(header::USER_AGENT, &own.user_agent);
        default(header::ACCEPT, &own.accept);
        if let Some(codings) = &own.accept_encoding {
            default(header::ACCEPT_ENCODING, codings);
        }
        if let Some(cookies) = &call.cookies {
            let value = HeaderValue::from_str(cookies);
            let value = value.map_err(|error| invalid(error.into()))?;
            headers.insert(header::COOKIE, value);
        }
        Ok(request)
    }
}

/// What of a URL is sent. Where the URL standard leaves characters that HTTP does not (RFC 3986), they are encoded.
fn path_and_query(url: &Url) -> Result<PathAndQuery, FetchError> {
    let text = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let text = if text.is_empty() { "/" } else { text };
    if let Ok(path) = PathAndQuery::try_from(text) {
        return Ok(path);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0..=b' ' | 0x7f.. => {
                encoded.push_str(&format!("%{byte:02X}"));
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    PathAndQuery::try_from(encoded).map_err(|error| FetchError::InvalidUrl {
        detail: error.to_string(),
    })
}
