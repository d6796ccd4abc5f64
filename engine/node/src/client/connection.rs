use super::{Call, ClientConfig, Ticket, content::ContentBody};
use crate::http::{HostIo, TlsConnector};
use bytes::{Bytes, BytesMut};
use holdfast_host::{Host, Moment};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
};
use std::{collections::BTreeMap, sync::Mutex, time::Duration};

/// Most idle connections kept for one endpoint.
const KEPT: usize = 4;
/// How long an idle connection is kept: less than a server keeps it, so that requests seldom meet one just closed.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// How long a connection's task may take to see the end of an answer that has been read; it is given up otherwise.
const SETTLING: Duration = Duration::from_millis(5);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 512 << 20;
/// The port of an endpoint that names none.
const DEFAULT_PORT: u16 = 7480;

/// Why there is no answer.
pub(super) enum Failed {
    /// The request never left.
    BeforeSending(String),
    /// It may have arrived.
    AfterSending(String),
}

/// A whole answer.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

type Sender = SendRequest<ContentBody>;

/// Connections to the endpoints of one client, kept for further requests.
pub(super) struct Connections {
    host: Host,
    connect_timeout: Duration,
    attempt_timeout: Duration,
    /// What `Authorization` says.
    authorization: Option<HeaderValue>,
    tls: Option<TlsConnector>,
    idle: Mutex<BTreeMap<String, Vec<Idle>>>,
}

struct Idle {
    since: Moment,
    sender: Sender,
}

impl Connections {
    pub fn new(host: &Host, config: &ClientConfig) -> Self {
        Connections {
            host: host.clone(),
            connect_timeout: config.connect_timeout,
            attempt_timeout: config.attempt_timeout,
            authorization: config.api_key.as_ref().map(|key| {
                let bearer = format!("Bearer {}", key.reveal());
                let mut value = HeaderValue::from_str(&bearer).expect("keys are ASCII");
                value.set_sensitive(true);
                value
            }),
            tls: config.tls.clone(),
            idle: Mutex::default(),
        }
    }

    /// One request, one whole answer; the connection is kept when it can be used again.
    pub async fn exchange(
        &self,
        endpoint: &str,
        call: &Call,
        ticket: Option<Ticket>,
    ) -> Result<Answer, Failed> {
        let deadline = self.host.now().saturating_add(self.attempt_timeout);
        let (mut sender, status, body) = self.begin(endpoint, call, ticket, deadline).await?;
        let remaining = deadline.since(self.host.now());
        let body = self
            .host
            .timeout(remaining, read_answer(body))
            .await
            .unwrap_or_else(|_| Err("the answer broke off for too long".to_owned()))
            .map_err(Failed::AfterSending)?;
        // The connection becomes ready once hyper has seen the answer's end.
        let ready = self.host.timeout(SETTLING, sender.ready()).await;
        if matches!(ready, Ok(Ok(()))) {
            self.keep(endpoint, sender);
        }
        Ok(Answer { status, body })
    }

    /// One request, and the answer's body as it comes; the connection ends with the returned sender.
    pub async fn open(&self, endpoint: &str, call: &Call) -> Result<Opened, Failed> {
        let deadline = self.host.now().saturating_add(self.attempt_timeout);
        self.begin(endpoint, call, None, deadline).await
    }

    async fn begin(
        &self,
        endpoint: &str,
        call: &Call,
        ticket: Option<Ticket>,
        deadline: Moment,
    ) -> Result<Opened, Failed> {
        while let Some(sender) = self.take_idle(endpoint) {
            let request = self.request(endpoint, call, ticket);
            match self.send(sender, request, deadline).await {
                Ok(opened) => return Ok(opened),
                // It was closed while it lay idle, before a byte of this request was written.
                Err(Failed::BeforeSending(_)) => {}
                Err(failed) => return Err(failed),
            }
        }
        let sender = self
            .host
            .timeout(self.connect_timeout, self.connect(endpoint))
            .await
            .unwrap_or_else(|_| Err("no connection in time".to_owned()))
            .map_err(Failed::BeforeSending)?;
        self.send(sender, self.request(endpoint, call, ticket), deadline)
            .await
    }

    async fn send(
        &self,
        mut sender: Sender,
        request: Request<ContentBody>,
        deadline: Moment,
    ) -> Result<Opened, Failed> {
        let remaining = deadline.since(self.host.now());
        match self
            .host
            .timeout(remaining, sender.try_send_request(request))
            .await
        {
            Ok(Ok(response)) => {
                let (head, body) = response.into_parts();
                Ok((sender, head.status, body))
            }
            Ok(Err(mut error)) => Err(if error.take_message().is_some() {
                Failed::BeforeSending(error.into_error().to_string())
            } else {
                Failed::AfterSending(error.into_error().to_string())
            }),
            Err(_) => Err(Failed::AfterSending("no answer in time".to_owned())),
        }
    }

    async fn connect(&self, endpoint: &str) -> Result<Sender, String> {
        let Endpoint {
            name,
            port,
            is_secure,
        } = parse_endpoint(endpoint)?;
        let tls = match (is_secure, &self.tls) {
            (false, _) => None,
            (true, Some(tls)) => Some(tls),
            (true, None) => return Err("by whose certificates is it known? (--ca-file)".to_owned()),
        };
        let addresses = self.host.network.resolve(&name, port).await;
        let addresses = addresses.map_err(|error| error.to_string())?;
        let mut last_error = "the name has no address".to_owned();
        for address in addresses {
            match self.host.network.connect(address).await {
                Ok(stream) => {
                    let stream = match tls {
                        None => stream,
                        Some(tls) => tls
                            .connect(&name, stream)
                            .await
                            .map_err(|error| format!("no TLS: {error}"))?,
                    };
                    let io = HostIo::new(&self.host, stream, Bytes::new(), self.attempt_timeout);
                    let (sender, connection) = http1::handshake(io)
                        .await
                        .map_err(|error| error.to_string())?;
                    self.host.spawn("http-client", async move {
                        // Requests under way are told of a broken connection; idle ones need not be.
                        let _ = connection.await;
                    });
                    return Ok(sender);
                }
                Err(error) => last_error = error.to_string(),
            }
        }
        Err(last_error)
    }

    fn request(&self, endpoint: &str, call: &Call, ticket: Option<Ticket>) -> Request<ContentBody> {
        let mut builder = Request::builder()
            .method(call.method.clone())
            .uri(&call.target)
            .header(header::HOST, authority(endpoint));
        for (name, value) in &call.headers {
            builder = builder.header(name, value);
        }
        if let Some(value) = &self.authorization {
            builder = builder.header(header::AUTHORIZATION, value);
        }
        if let Some(Ticket { client, sequence }) = ticket {
            builder = builder.header(
                crate::api::SESSION_HEADER,
                format!("{client:032x}:{sequence}"),
            );
        }
        builder
            .body(call.body.body(&self.host))
            .expect("targets and header values are ASCII by construction")
    }

    fn take_idle(&self, endpoint: &str) -> Option<Sender> {
        let now = self.host.now();
        let mut idle = self.idle.lock().expect("no panic under this lock");
        let kept = idle.get_mut(endpoint)?;
        kept.retain(|one| !one.sender.is_closed() && now.since(one.since) < KEPT_FOR);
        kept.pop().map(|one| one.sender)
    }

    fn keep(&self, endpoint: &str, sender: Sender) {
        let since = self.host.now();
        let mut idle = self.idle.lock().expect("no panic under this lock");
        let kept = idle.entry(endpoint.to_owned()).or_default();
        if kept.len() < KEPT {
            kept.push(Idle { since, sender });
        }
    }
}

/// A connection's sender (the connection ends when it is dropped), the answer's status, and its body to come.
pub(super) type Opened = (Sender, StatusCode, Incoming);

/// Reads a whole body.
pub(super) async fn read_answer(mut body: Incoming) -> Result<Bytes, String> {
    let mut bytes = BytesMut::with_capacity(body.size_hint().lower().min(1 << 20) as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > MAX_ANSWER_BYTES {
                return Err(format!(
                    "the answer is larger than {MAX_ANSWER_BYTES} bytes"
                ));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes.freeze())
}

fn authority(endpoint: &str) -> &str {
    let plain = endpoint.strip_prefix("http://");
    plain
        .or_else(|| endpoint.strip_prefix(SECURE))
        .unwrap_or(endpoint)
        .trim_end_matches('/')
}

/// What endpoints begin with that are spoken to by TLS.
const SECURE: &str = "https://";

/// Where a node is.
#[derive(Debug, PartialEq, Eq)]
struct Endpoint {
    name: String,
    port: u16,
    is_secure: bool,
}

/// Reads an endpoint; says what one looks like when it is none.
fn parse_endpoint(endpoint: &str) -> Result<Endpoint, String> {
    let malformed = || {
        format!(
            "`{endpoint}` is no endpoint: write `host:port`, `http://host:port` or `https://host:port`"
        )
    };
    let authority: http::uri::Authority = authority(endpoint).parse().map_err(|_| malformed())?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(malformed());
    }
    let name = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    Ok(Endpoint {
        name: name.to_owned(),
        port: authority.port_u16().unwrap_or(DEFAULT_PORT),
        is_secure: endpoint.starts_with(SECURE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        for (text, name, port, is_secure) in [
            ("localhost:1", "localhost", 1, false),
            ("http://10.0.0.1:7480/", "10.0.0.1", 7480, false),
            ("[::1]:9", "::1", 9, false),
            ("node-1", "node-1", 7480, false),
            ("https://a:1", "a", 1, true),
        ] {
            let name = name.to_owned();
            let expected = Endpoint {
                name,
                port,
                is_secure,
            };
            assert_eq!(parse_endpoint(text), Ok(expected));
        }
        for bad in ["", "https://", "ftp://a:1", "a b", "user@host:1", "http://"] {
            assert!(parse_endpoint(bad).is_err(), "{bad}");
        }
    }
}
