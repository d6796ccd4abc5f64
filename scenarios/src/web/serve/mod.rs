//! A web on a [`Host`]'s listeners, with hyper: on loopback and, unchanged, in the simulator.
//!
//! A [`Server`] takes connections of one listener, for one origin or for all that are named in `Host` fields, and tells
//! [`Observed`] of every request. What is not HTTP (garbage, half a head, silence) is written on the same connection
//! after hyper has let go of it.

mod body;
mod loopback;
mod observed;
mod tls;

pub use loopback::{Loopback, LoopbackError};
pub use observed::{MAX_RECORDS, Observed, Record, Summary, Violation};
pub use tls::{Authorities, TlsError};

use super::{
    Web,
    answer::{Answer, Body, Fault, Reply, Request as Question},
};
use body::Sending;
use bytes::Bytes;
use holdfast_host::{BoxFuture, Host, Listener, Stream, TaskHandle};
use holdfast_http::rt::{HostExecutor, HostIo, HostTimer};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use observed::Asked;
use rustls::ServerConfig;
use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// Connections of one server at a time; further ones wait to be accepted.
pub const MAX_CONNECTIONS: usize = 4096;
/// Largest head of a request, bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// How long a connection may take to send a head, and stay idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer that is not HTTP may take to be written.
const RAW_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a hanging request holds its connection; longer than any client waits.
const HANG: Duration = Duration::from_secs(600);
/// How long to wait after a failed accept (the process may be out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a web on one listener. Dropping it refuses new connections; open ones live on.
pub struct Server {
    address: SocketAddr,
    acceptor: TaskHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// Whom a listener speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// For every origin of the web, by the name in the request; 421 for a name that it does not know.
    ForAll,
    /// For one origin, whatever name is asked for.
    For(usize),
}

impl Server {
    /// Serves connections of `listener`. A listener that speaks for one origin with a certificate wants `authorities`
    /// to have it signed, and speaks TLS then.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn start(
        host: &Host,
        listener: Listener,
        observed: &Observed,
        speaks: Speaks,
        web: &Web,
        authorities: Option<&Authorities>,
    ) -> Result<Server, TlsError> {
        let certificate = match speaks {
            Speaks::For(origin) => web.origins()[origin].certificate().map(|c| (origin, c)),
            Speaks::ForAll => None,
        };
        let tls = match (certificate, authorities) {
            (Some((origin, certificate)), Some(authorities)) => {
                let authority = web.origins()[origin].authority();
                let name = authority
                    .rsplit_once(':')
                    .map_or(authority, |(name, _)| name);
                Some(authorities.config(host, certificate, name)?)
            }
            _ => None,
        };
        let address = listener.local_addr();
        let site = Site {
            host: host.clone(),
            timer: HostTimer::new(host),
            web: web.clone(),
            observed: observed.clone(),
            speaks,
            tls,
            slots: Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS)),
        };
        Ok(Server {
            address,
            acceptor: host.spawn("web-accept", accept(listener, site)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What the connections of a server share.
#[derive(Clone)]
struct Site {
    host: Host,
    timer: HostTimer,
    web: Web,
    observed: Observed,
    speaks: Speaks,
    tls: Option<Arc<ServerConfig>>,
    slots: Arc<tokio::sync::Semaphore>,
}

async fn accept(mut listener: Listener, site: Site) {
    loop {
        let slot = site.slots.clone().acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = site.clone();
                site.host.spawn("web-connection", async move {
                    // A client that goes away is nobody's trouble.
                    let _ended = connection.connection(stream, peer.ip()).await;
                    drop(slot);
                });
            }
            Err(_) => site.host.sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// An end that a request has brought on its connection.
type End = Arc<Mutex<Option<(Fault, Asked)>>>;

fn lock(end: &End) -> MutexGuard<'_, Option<(Fault, Asked)>> {
    end.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Site {
    async fn connection(self, stream: Stream, client: IpAddr) -> io::Result<()> {
        let Some(config) = self.tls.clone() else {
            return self.http1(stream, client).await;
        };
        let handshake = TlsAcceptor::from(config).accept(stream);
        let stream = self.host.timeout(HANDSHAKE_TIMEOUT, handshake).await;
        let stream = stream.map_err(|_| io::ErrorKind::TimedOut)??;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.http2(stream, client).await,
            _ => self.http1(stream, client).await,
        }
    }

    async fn http1<S>(self, stream: S, client: IpAddr) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let end = End::default();
        let (site, ending) = (self.clone(), end.clone());
        let service = service_fn(move |request| {
            let (site, ending) = (site.clone(), ending.clone());
            // Boxed, so that the connection can be moved out of hyper in the end.
            let answering: BoxFuture<'static, io::Result<Response<Sending>>> =
                Box::pin(async move {
                    match site.answer(client, &request) {
                        (Answer::Reply(reply), asked) => Ok(site.response(reply, asked).await),
                        (Answer::Fault(fault), asked) => {
                            *lock(&ending) = Some((fault, asked));
                            std::future::pending().await
                        }
                    }
                });
            answering
        });
        let mut connection = http1::Builder::new()
            .timer(self.timer.clone())
            .header_read_timeout(HEAD_TIMEOUT)
            .auto_date_header(false)
            .max_headers(200)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(self.io(stream), service);
        // hyper polls the service inside its own poll, so that an end is there to be seen when that returns.
        let fault = poll_fn(|cx| {
            let polled = connection.poll_without_shutdown(cx);
            let fault = lock(&end).take();
            match (fault, polled) {
                (Some(fault), _) => Poll::Ready(Ok(Some(fault))),
                (None, polled) => polled.map_ok(|()| None),
            }
        })
        .await
        .map_err(io::Error::other)?;
        let mut stream = connection.into_parts().io.into_inner();
        let Some((fault, _asked)) = fault else {
            return stream.shutdown().await;
        };
        match fault {
            Fault::Hang => {
                // Until the client has had enough.
                let mut ignored = [0; 64];
                let gone = async {
                    while stream.read(&mut ignored).await? > 0 {}
                    Ok(())
                };
                let gone: Result<io::Result<()>, _> = self.host.timeout(HANG, gone).await;
                gone.unwrap_or(Ok(()))?;
            }
            Fault::Drop => {}
            Fault::Raw(bytes) => {
                let write = async {
                    stream.write_all(&bytes).await?;
                    stream.shutdown().await
                };
                let written = self.host.timeout(RAW_TIMEOUT, write).await;
                written.map_err(|_| io::ErrorKind::TimedOut)??;
            }
        }
        Ok(())
    }

    async fn http2<S>(self, stream: S, client: IpAddr) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let site = self.clone();
        let service = service_fn(move |request| {
            let site = site.clone();
            async move {
                match site.answer(client, &request) {
                    (Answer::Reply(reply), asked) => Ok(site.response(reply, asked).await),
                    (Answer::Fault(fault), _asked) => {
                        if fault == Fault::Hang {
                            site.host.sleep(HANG).await;
                        }
                        // hyper resets the stream.
                        Err(io::Error::from(io::ErrorKind::ConnectionReset))
                    }
                }
            }
        });
        let connection = http2::Builder::new(HostExecutor(self.host.clone()))
            .timer(self.timer.clone())
            .auto_date_header(false)
            .keep_alive_interval(HEAD_TIMEOUT)
            .keep_alive_timeout(HEAD_TIMEOUT)
            .serve_connection(self.io(stream), service);
        pin!(connection).await.map_err(io::Error::other)
    }

    /// A client may be slow as long as it likes, but for one that is gone for good.
    fn io<S>(&self, stream: S) -> HostIo<S> {
        HostIo::new(&self.host, stream, Bytes::new(), HANG)
    }

    /// What the web answers, and the mark of the request's being under way.
    fn answer(&self, client: IpAddr, request: &Request<Incoming>) -> (Answer, Asked) {
        let named = match request.version() {
            Version::HTTP_2 => request.uri().authority().map(|a| a.as_str()),
            _ => None,
        };
        let field = request.headers().get(header::HOST);
        let named = named.or_else(|| field.and_then(|field| field.to_str().ok()));
        let by_name = named.and_then(|name| self.web.origin_of(name));
        let origin = match self.speaks {
            Speaks::For(origin) => Some(origin),
            Speaks::ForAll => by_name,
        };
        let target = request.uri().path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        let (attempt, asked) = self.observed.ask(Record {
            at: self.host.now(),
            client,
            origin: origin.unwrap_or(0),
            method: request.method().as_str().to_string(),
            target: target.to_string(),
        });
        let Some(origin) = origin else {
            return (Reply::empty(421).into(), asked);
        };
        let question = Question {
            method: request.method(),
            target,
            headers: request.headers(),
            attempt,
        };
        (self.web.answer(origin, &question), asked)
    }

    async fn response(&self, reply: Reply, asked: Asked) -> Response<Sending> {
        if !reply.delay.is_zero() {
            self.host.sleep(reply.delay).await;
        }
        let length = match &reply.body {
            Body::Full(_) | Body::Chunked(_) | Body::Endless(_) => None,
            Body::Truncated { announced, .. } => Some(*announced),
            Body::Drip { bytes, .. } => Some(bytes.len() as u64),
        };
        let has_none = matches!(
            reply.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        let mut response = Response::new(Sending::new(&self.host, reply.body, asked));
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers;
        // linkchecker asks no faster than ten times a second where it is not told that it may.
        response
            .headers_mut()
            .insert("linkchecker", HeaderValue::from_static("1"));
        if let Some(length) = length.filter(|_| !has_none) {
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length.into());
        }
        response
    }
}
