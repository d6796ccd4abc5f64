//! A machine with servers on it.

use bytes::Bytes;
use holdfast_host::{Host, Stream, tokio_host};
use holdfast_http::{
    BodyPolicy, Client, ClientConfig, FetchError, Fetched, Head, OpenGate, Request, Response,
    rt::{HostExecutor, HostIo, HostTimer},
    tls::{self, Roots},
};
use http::{HeaderMap, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use std::{
    convert::Infallible,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use url::Url;

/// A whole test may take this long.
const LIMIT: Duration = Duration::from_secs(60);

pub const MS: Duration = Duration::from_millis(1);

/// Runs a test on a runtime of its own.
pub fn run<F: Future>(test: impl FnOnce(Lab) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let host = tokio_host::host(".".into(), runtime.handle().clone());
    let lab = Lab { host: host.clone() };
    runtime.block_on(async {
        host.timeout(LIMIT, test(lab))
            .await
            .expect("it ends in time")
    })
}

/// What a server was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    /// A header's value; empty when there is none.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name);
        value.map_or("", |v| v.to_str().expect("text")).to_owned()
    }
}

/// What a server answers.
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Answer {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub fn ok(body: impl Into<Bytes>) -> Self {
        Answer {
            body: body.into(),
            ..Self::new(200)
        }
    }

    pub fn to(status: u16, location: &str) -> Self {
        Self::new(status).header("location", location)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn into_response(self) -> http::Response<Full<Bytes>> {
        let mut response = http::Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(Full::new(self.body)).expect("a response")
    }
}

/// What is spoken on a server's connections.
#[derive(Clone)]
pub enum Spoken {
    Http1,
    Http2,
    Tls(Arc<rustls::ServerConfig>),
}

/// A server of hyper's.
#[derive(Clone)]
pub struct Site {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
}

impl Site {
    pub fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).expect("a URL")
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
pub struct Lab {
    pub host: Host,
}

impl Lab {
    /// Runs `script` on every connection; it is told how many came before.
    pub async fn script<F>(
        &self,
        script: impl Fn(Stream, usize) -> F + Send + Sync + 'static,
    ) -> Site
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listener = self.host.network.listen(any).await.expect("a port");
        let site = Site {
            address: listener.local_addr(),
            connections: Arc::default(),
        };
        let (host, connections) = (self.host.clone(), site.connections.clone());
        self.host.spawn("listener", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = connections.fetch_add(1, Ordering::SeqCst);
                host.spawn("connection", script(stream, number));
            }
        });
        site
    }

    /// Answers every request with these bytes, and closes.
    pub async fn bytes(&self, bytes: impl Into<Vec<u8>>) -> Site {
        let bytes = bytes.into();
        self.script(move |mut stream, _| {
            let bytes = bytes.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    /// A server whose handler is a function of the request.
    pub async fn serve(
        &self,
        spoken: Spoken,
        handler: impl Fn(Asked) -> Answer + Send + Sync + 'static,
    ) -> Site {
        let handler = Arc::new(handler);
        self.serve_slowly(spoken, move |asked| {
            let answer = handler(asked);
            async move { answer }
        })
        .await
    }

    /// A server whose handler may take its time.
    pub async fn serve_slowly<F>(
        &self,
        spoken: Spoken,
        handler: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Site
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (host, handler) = (self.host.clone(), Arc::new(handler));
        self.script(move |stream, _| {
            let (host, handler, spoken) = (host.clone(), handler.clone(), spoken.clone());
            async move {
                match spoken {
                    Spoken::Http1 => speak(host, stream, false, handler).await,
                    Spoken::Http2 => speak(host, stream, true, handler).await,
                    Spoken::Tls(config) => {
                        let accepted = TlsAcceptor::from(config).accept(stream).await;
                        if let Ok(stream) = accepted {
                            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            speak(host, stream, is_http2, handler).await;
                        }
                    }
                }
            }
        })
        .await
    }

    /// A client with these settings.
    pub fn client(&self, config: ClientConfig) -> Client {
        Client::new(&self.host, config, &Roots::Bundled).expect("good settings")
    }

    /// A client that trusts this root alone.
    pub fn trusting(&self, config: ClientConfig, root: &str) -> Client {
        Client::new(&self.host, config, &Roots::Pem(root.into())).expect("good settings")
    }

    /// TLS for a server.
    pub fn tls(&self, chain: &str, key: &str) -> Spoken {
        Spoken::Tls(tls::server(&self.host, chain, key).expect("good certificates"))
    }
}

/// Speaks HTTP on a connection to its end.
pub async fn speak<S, H, F>(host: Host, stream: S, is_http2: bool, handler: Arc<H>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Asked) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await;
            let asked = Asked {
                method: head.method.to_string(),
                path: head.uri.path_and_query().map_or("", |p| p.as_str()).into(),
                version: head.version,
                headers: head.headers,
                body: body.map(|b| b.to_bytes()).unwrap_or_default(),
            };
            Ok::<_, Infallible>(handler(asked).await.into_response())
        }
    });
    let io = HostIo::new(&host, stream, Bytes::new(), LIMIT);
    let timer = HostTimer::new(&host);
    let _ = match is_http2 {
        false => {
            http1::Builder::new()
                .timer(timer)
                .max_buf_size(1 << 20)
                .serve_connection(io, service)
                .await
        }
        true => {
            http2::Builder::new(HostExecutor(host))
                .timer(timer)
                .max_header_list_size(1 << 20)
                .serve_connection(io, service)
                .await
        }
    };
}

/// Reads a request's head, which has no body; false at the connection's end.
pub async fn read_head(stream: &mut Stream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// All of a body, up to a mebibyte.
pub fn all(_: &Head) -> BodyPolicy {
    BodyPolicy::Collect { max: 1 << 20 }
}

pub async fn get(client: &Client, url: Url) -> Result<Response, FetchError> {
    client.send(&Request::get(url), &all).await
}

pub async fn fetch(client: &Client, url: Url) -> Fetched {
    client.fetch(&Request::get(url), &OpenGate, &all).await
}

#[track_caller]
pub fn is_ok(response: &Result<Response, FetchError>, body: &[u8]) {
    let response = response.as_ref().expect("a response");
    assert_eq!(response.head.status, StatusCode::OK);
    assert_eq!(&response.body[..], body);
    assert!(!response.is_truncated);
}

#[track_caller]
pub fn failed<T>(outcome: Result<T, FetchError>, name: &str) -> FetchError {
    let error = outcome.map(drop).expect_err("a failure");
    assert_eq!(error.name(), name, "{error}");
    error
}
