use super::{
    Acceptor, HostExecutor, HostIo, HostTimer, Problem, ProblemKind, ReplyBody, http_date,
    streams::{Streams, Watched},
};
use crate::race::{First, first};
use bytes::{Bytes, BytesMut};
use holdfast_host::{BoxFuture, Host, Listener, Stream, TaskHandle};
use http::{HeaderValue, Request, Response, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

/// What an HTTP/2 client says first (RFC 9113, §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most streams of one HTTP/2 connection at a time.
const HTTP2_STREAMS: u32 = 128;
/// Most header fields of one request.
const MAX_HEADER_FIELDS: usize = 100;
/// Most handshakes that go on at a time; further connections wait for one to end. Each costs a signature.
const HANDSHAKES: usize = 64;
/// How long to wait after a failed accept (the process may be out of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a server allows its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Most connections at a time; further ones wait to be accepted.
    pub max_connections: usize,
    /// Largest request head (path, query and headers), bytes. Up to twice this is answered with a problem document,
    /// above that with a bare status.
    pub max_head_bytes: usize,
    /// How long a connection may take to send a head, and stay idle between requests; and for a handshake, if there is
    /// one, waiting for its turn included.
    pub head_timeout: Duration,
    /// How long a connection may accept none of the bytes that are written to it.
    pub write_timeout: Duration,
}

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request of the client at `remote`. The future is dropped when the client goes away.
    fn handle(
        &self,
        request: Request<Incoming>,
        remote: SocketAddr,
    ) -> BoxFuture<'_, Response<ReplyBody>>;
}

/// What a server has seen.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// Connections that are open.
    pub open: AtomicU64,
    /// Connections that ended with a protocol error.
    pub broken: AtomicU64,
    /// Connections that ended before their handshake was over.
    pub unshaken: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
    Stopped,
}

/// An HTTP/1.1 and HTTP/2 (prior knowledge) server. Dropping it cuts its connections;
/// [`shutdown`](Server::shutdown) lets them finish.
pub struct Server {
    host: Host,
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    slots: Arc<Semaphore>,
    max_connections: u32,
    acceptor: TaskHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Server {
    /// Serves connections of `listener` until it is shut down; each goes through `acceptor` first, when there is one.
    pub fn start(
        host: &Host,
        listener: Listener,
        acceptor: Option<Arc<dyn Acceptor>>,
        limits: HttpLimits,
        stats: Arc<ServerStats>,
        handler: Arc<dyn Handler>,
    ) -> Server {
        let (phase, phases) = watch::channel(Phase::Serving);
        let slots = Arc::new(Semaphore::new(limits.max_connections));
        let address = listener.local_addr();
        let shared = Connection {
            host: host.clone(),
            timer: HostTimer::new(host),
            limits,
            stats,
            handler,
            phases,
            handshakes: acceptor.map(|acceptor| (acceptor, Arc::new(Semaphore::new(HANDSHAKES)))),
        };
        let acceptor = host.spawn("http-accept", accept(listener, slots.clone(), shared));
        Server {
            host: host.clone(),
            address,
            phase,
            slots,
            max_connections: limits.max_connections as u32,
            acceptor,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts no more connections, lets requests under way finish for up to `patience`, then cuts what is left.
    pub async fn shutdown(&self, patience: Duration) {
        self.acceptor.abort();
        self.phase.send_replace(Phase::Draining);
        // Every connection holds a slot: all of them are free once all have ended.
        let all_ended = self.slots.acquire_many(self.max_connections);
        if self.host.timeout(patience, all_ended).await.is_err() {
            tracing::warn!("cutting the HTTP connections that did not finish in time");
        }
        self.phase.send_replace(Phase::Stopped);
    }
}

async fn accept(mut listener: Listener, slots: Arc<Semaphore>, shared: Connection) {
    loop {
        let slot = slots.clone().acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, peer)) => {
                let task = shared.clone().serve(stream, peer, slot);
                shared.host.spawn("http-connection", task);
            }
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                shared.host.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What the connections of a server share.
#[derive(Clone)]
struct Connection {
    host: Host,
    timer: HostTimer,
    limits: HttpLimits,
    stats: Arc<ServerStats>,
    handler: Arc<dyn Handler>,
    phases: watch::Receiver<Phase>,
    /// What connections go through first, and how many may at a time.
    handshakes: Option<(Arc<dyn Acceptor>, Arc<Semaphore>)>,
}

/// Counts a connection as open for as long as it lives, however its task ends.
struct Open {
    stats: Arc<ServerStats>,
    _slot: OwnedSemaphorePermit,
}

impl Open {
    fn new(stats: Arc<ServerStats>, slot: OwnedSemaphorePermit) -> Self {
        stats.accepted.fetch_add(1, Ordering::Relaxed);
        stats.open.fetch_add(1, Ordering::Relaxed);
        Open { stats, _slot: slot }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stats.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    async fn serve(mut self, stream: Stream, peer: SocketAddr, slot: OwnedSemaphorePermit) {
        let _open = Open::new(self.stats.clone(), slot);
        let mut phases = self.phases.clone();
        let Some(mut stream) = self.shake_hands(stream, peer).await else {
            return;
        };
        let begin = {
            let begin = self
                .host
                .timeout(self.limits.head_timeout, first_bytes(&mut stream));
            let stopping = phases.wait_for(|phase| *phase != Phase::Serving);
            match first(begin, stopping).await {
                First::One(begin) => begin,
                // Nothing has been asked yet, so nothing is cut short.
                First::Other(_) => return,
            }
        };
        let (is_http2, before) = match begin {
            Ok(Ok(begin)) => begin,
            // Closed, broken or silent before it said anything.
            Ok(Err(_)) | Err(_) => return,
        };
        let io = HostIo::new(&self.host, stream, before, self.limits.write_timeout);
        let ended = if is_http2 {
            self.serve_http2(io, peer).await
        } else {
            self.serve_http1(io, peer).await
        };
        if let Err(error) = ended {
            self.stats.broken.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, %error, "an HTTP connection broke");
        }
    }

    /// The stream that HTTP is spoken on; `None` when there is none in time, or the server stops.
    async fn shake_hands(&self, stream: Stream, peer: SocketAddr) -> Option<Stream> {
        let Some((acceptor, turns)) = &self.handshakes else {
            return Some(stream);
        };
        let handshake = self.host.timeout(self.limits.head_timeout, async {
            let _turn = turns
                .acquire()
                .await
                .expect("the semaphore is never closed");
            acceptor.accept(stream).await
        });
        let mut phases = self.phases.clone();
        let stopping = phases.wait_for(|phase| *phase != Phase::Serving);
        let failed = match first(handshake, stopping).await {
            First::One(Ok(Ok(stream))) => return Some(stream),
            First::Other(_) => return None,
            First::One(Ok(Err(error))) => error,
            First::One(Err(_)) => std::io::ErrorKind::TimedOut.into(),
        };
        self.stats.unshaken.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, error = %failed, "no handshake");
        None
    }

    async fn serve_http1(&mut self, io: HostIo, peer: SocketAddr) -> hyper::Result<()> {
        let (host, handler, limits) = (self.host.clone(), self.handler.clone(), self.limits);
        let service =
            service_fn(move |request| answer(host.clone(), handler.clone(), limits, peer, request));
        let connection = http1::Builder::new()
            .timer(self.timer.clone())
            .header_read_timeout(limits.head_timeout)
            .auto_date_header(false)
            .max_headers(MAX_HEADER_FIELDS)
            .max_buf_size(limits.max_head_bytes * 2)
            .serve_connection(io, service);
        run(&mut self.phases, pin!(connection), |connection| {
            connection.graceful_shutdown();
        })
        .await
    }

    async fn serve_http2(&mut self, io: HostIo, peer: SocketAddr) -> hyper::Result<()> {
        let (host, handler, limits) = (self.host.clone(), self.handler.clone(), self.limits);
        let streams = Streams::new(&host);
        let begun = streams.clone();
        let service = service_fn(move |request| {
            let open = begun.begin();
            let answer = answer(host.clone(), handler.clone(), limits, peer, request);
            async move {
                let response = answer.await?;
                Ok::<_, Infallible>(response.map(|body| Watched::new(body, open)))
            }
        });
        let connection = http2::Builder::new(HostExecutor(self.host.clone()))
            .timer(self.timer.clone())
            .auto_date_header(false)
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(limits.max_head_bytes as u32)
            .keep_alive_interval(limits.head_timeout)
            .keep_alive_timeout(limits.write_timeout)
            .serve_connection(io, service);
        let host = self.host.clone();
        let mut connection = pin!(connection);
        let served = run(&mut self.phases, connection.as_mut(), |connection| {
            connection.graceful_shutdown();
        });
        match first(served, given_up(&host, limits, &streams)).await {
            First::One(ended) => ended,
            // Cut: a client that has asked for nothing for so long loses nothing, one that takes nothing has gone.
            First::Other(()) => Ok(()),
        }
    }
}

/// Completes when an HTTP/2 connection is not worth keeping: nothing is asked on it, or an answer is not taken.
async fn given_up(host: &Host, limits: HttpLimits, streams: &Streams) {
    let look = limits.head_timeout.min(limits.write_timeout) / 4;
    while !streams.are_idle(limits.head_timeout) && !streams.have_stalled(limits.write_timeout) {
        host.sleep(look).await;
    }
}

/// Drives a connection to its end; asks it to finish when the server drains, leaves it when the server stops.
async fn run<C: Future<Output = hyper::Result<()>>>(
    phases: &mut watch::Receiver<Phase>,
    mut connection: Pin<&mut C>,
    finish: fn(Pin<&mut C>),
) -> hyper::Result<()> {
    let mut asked = Phase::Serving;
    loop {
        let changed = phases.wait_for(|phase| *phase != asked);
        let phase = match first(connection.as_mut(), changed).await {
            First::One(ended) => return ended,
            // The server is gone when its sender is.
            First::Other(phase) => phase.map_or(Phase::Stopped, |phase| *phase),
        };
        if phase == Phase::Stopped {
            return Ok(());
        }
        finish(connection.as_mut());
        asked = phase;
    }
}

/// Reads until it is clear whether HTTP/2's preface comes; what was read goes before the rest.
async fn first_bytes(stream: &mut Stream) -> std::io::Result<(bool, Bytes)> {
    let mut read = BytesMut::with_capacity(HTTP2_PREFACE.len());
    while HTTP2_PREFACE.starts_with(&read) && read.len() < HTTP2_PREFACE.len() {
        let mut next = [0; HTTP2_PREFACE.len()];
        let wanted = HTTP2_PREFACE.len() - read.len();
        let len = stream.read(&mut next[..wanted]).await?;
        if len == 0 && read.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if len == 0 {
            break;
        }
        read.extend_from_slice(&next[..len]);
    }
    Ok((read == HTTP2_PREFACE, read.freeze()))
}

async fn answer(
    host: Host,
    handler: Arc<dyn Handler>,
    limits: HttpLimits,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let head = head_bytes(&request);
    let mut response = if head > limits.max_head_bytes {
        Problem::new(
            ProblemKind::HeadersTooLarge,
            format!(
                "path, query and headers have {head} bytes; at most {} are accepted",
                limits.max_head_bytes
            ),
        )
        .into_response()
    } else {
        handler.handle(request, peer).await
    };
    let date = HeaderValue::from_str(&http_date(host.unix_time())).expect("a date is ASCII");
    response.headers_mut().insert(header::DATE, date);
    Ok(response)
}

fn head_bytes(request: &Request<Incoming>) -> usize {
    let target = request.uri().path_and_query();
    let headers = request.headers().iter();
    target.map_or(0, |target| target.as_str().len())
        + headers
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum::<usize>()
}
