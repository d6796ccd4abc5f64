//! Connections, kept for further requests.
//!
//! An HTTP/1 connection is with its request, or idle here. An HTTP/2 connection stays here and is shared. Every
//! connection holds one of a bounded number of permits until its task has ended; when all are out, idle connections
//! make room.

use crate::{
    ClientConfig, FetchError, Origin, Plain, Scheme, Stage,
    error::{self, Context},
    origin::{OriginState, Sharing},
    rt::{HostExecutor, HostIo, HostTimer},
    tls::TlsReason,
};
use bytes::Bytes;
use holdfast_host::{Host, Moment, Stream, TaskHandle};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use rustls::pki_types::ServerName;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsConnector;

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// How long an HTTP/1 connection's task may take to see the end of a response that has been read.
const SETTLING: Duration = Duration::from_millis(5);
/// What a stream may receive before it is read: the most that is thrown away when a body is not wanted.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// What the streams of one connection may receive together.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Streams of one connection that were reset here and may still receive.
const MAX_RESET_STREAMS: usize = 128;
/// How long they are remembered. Long, since the time is the operating system's and not the host's.
const RESET_STREAM_TIME: Duration = Duration::from_secs(1000);
/// After such a silence an HTTP/2 connection in use is asked whether it is there, and given up after another.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Sender1 = http1::SendRequest<Full<Bytes>>;
pub(crate) type Sender2 = http2::SendRequest<Full<Bytes>>;

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub remote: SocketAddr,
    /// How long it took to make; `None` once it has served a request.
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
}

impl About {
    fn reused(self) -> About {
        About {
            connect: None,
            tls: None,
            ..self
        }
    }
}

pub(crate) struct Pool {
    host: Host,
    timer: HostTimer,
    config: Arc<ClientConfig>,
    tls: TlsConnector,
    state: Mutex<State>,
    permits: Arc<Semaphore>,
    /// Requests that wait for a permit.
    starved: AtomicUsize,
    /// For the reaper, which must not keep the pool alive.
    this: Weak<Pool>,
}

#[derive(Default)]
struct State {
    /// Idle HTTP/1 connections, the last used at the end.
    idle: BTreeMap<Origin, Vec<Idle>>,
    shared: BTreeMap<Origin, Shared>,
    next_id: u64,
    is_reaping: bool,
}

struct Idle {
    since: Moment,
    sender: Sender1,
    task: TaskHandle,
    about: About,
}

struct Shared {
    id: u64,
    sender: Sender2,
    users: usize,
    /// When the last user left.
    since: Moment,
    about: About,
}

/// What is dropped once the lock is released: senders wake their connections' tasks.
type Dropped = (Option<Idle>, Option<Shared>);

impl State {
    fn idle_count(&self) -> usize {
        let shared = self.shared.values().filter(|shared| shared.users == 0);
        self.idle.values().map(Vec::len).sum::<usize>() + shared.count()
    }

    /// The origin with the connection that is idle for the longest time, since when, and whether it is shared.
    fn oldest(&self) -> Option<(Moment, bool, Origin)> {
        let idle = self
            .idle
            .iter()
            .filter_map(|(origin, kept)| Some((kept.first()?.since, false, origin.clone())));
        let shared = self.shared.iter().filter(|(_, shared)| shared.users == 0);
        let shared = shared.map(|(origin, shared)| (shared.since, true, origin.clone()));
        idle.chain(shared).min()
    }

    fn take_oldest(&mut self) -> Option<Dropped> {
        let (_, is_shared, origin) = self.oldest()?;
        if is_shared {
            return Some((None, self.shared.remove(&origin)));
        }
        let kept = self.idle.get_mut(&origin)?;
        let taken = kept.remove(0);
        if kept.is_empty() {
            self.idle.remove(&origin);
        }
        Some((Some(taken), None))
    }
}

/// A connection, for one request.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    origin: Origin,
    pub about: About,
    pub is_reused: bool,
    kind: Option<Kind>,
}

enum Kind {
    One(Sender1, TaskHandle),
    Shared(Sender2, u64),
}

/// A connection that is kept, or the right to make one.
pub(crate) enum Reservation<'a> {
    Kept(Lease),
    /// With the right to connect alone, where what comes of it may be shared.
    New(
        OwnedSemaphorePermit,
        Option<tokio::sync::MutexGuard<'a, ()>>,
    ),
}

/// The part of a lease that sends.
pub(crate) enum Sender<'a> {
    One(&'a mut Sender1),
    Shared(&'a mut Sender2),
}

impl Lease {
    pub fn sender(&mut self) -> Sender<'_> {
        match self.kind.as_mut().expect("present until the lease ends") {
            Kind::One(sender, _) => Sender::One(sender),
            Kind::Shared(sender, _) => Sender::Shared(sender),
        }
    }

    /// Gives the connection back after a response that was read to its end, for further requests.
    pub async fn keep(mut self) {
        if let Some(Kind::One(sender, _)) = &mut self.kind {
            // It becomes ready once its task has seen the response's end.
            let ready = self.pool.host.timeout(SETTLING, sender.ready()).await;
            if !matches!(ready, Ok(Ok(()))) {
                return;
            }
        }
        match self.kind.take() {
            Some(Kind::One(sender, task)) => {
                self.pool.keep(&self.origin, sender, task, self.about);
            }
            Some(Kind::Shared(_, id)) => self.pool.leave(&self.origin, id),
            None => {}
        }
    }

    /// Gives up a connection that may be broken: an HTTP/2 one serves nobody new.
    pub fn distrust(self) {
        if let Some(Kind::Shared(_, id)) = &self.kind {
            let dropped = {
                let mut state = self.pool.state();
                let is_it = state.shared.get(&self.origin).is_some_and(|s| s.id == *id);
                if is_it {
                    state.shared.remove(&self.origin)
                } else {
                    None
                }
            };
            drop(dropped);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.kind.take() {
            // There may be more of the response on its way, which nobody will read.
            Some(Kind::One(_, task)) => task.abort(),
            Some(Kind::Shared(_, id)) => self.pool.leave(&self.origin, id),
            None => {}
        }
    }
}

impl Pool {
    pub fn new(
        host: &Host,
        config: Arc<ClientConfig>,
        tls: Arc<rustls::ClientConfig>,
    ) -> Arc<Pool> {
        Arc::new_cyclic(|this| Pool {
            host: host.clone(),
            timer: HostTimer::new(host),
            permits: Arc::new(Semaphore::new(config.limits.max_connections)),
            config,
            tls: TlsConnector::from(tls),
            state: Mutex::default(),
            starved: AtomicUsize::new(0),
            this: this.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Idle connections, and connections in all.
    pub fn counts(&self) -> (usize, usize) {
        let open = self.config.limits.max_connections - self.permits.available_permits();
        (self.state().idle_count(), open)
    }

    /// A connection to `origin` that is kept, or the right to make one. Waiting for it is our own doing, and in no
    /// timeout but the queue's.
    pub async fn reserve<'a>(
        self: &Arc<Self>,
        origin: &Origin,
        politeness: &'a OriginState,
    ) -> Result<Reservation<'a>, FetchError> {
        let patience = self.config.timeouts.queue;
        let reserved = self.host.timeout(patience, async {
            if let Some(lease) = self.take_kept(origin) {
                return Reservation::Kept(lease);
            }
            let may_share = origin.scheme() == Scheme::Https || self.config.plain == Plain::Http2;
            let mut alone = None;
            if may_share && politeness.sharing() != Sharing::Single {
                // One connects while the others wait for what comes of it: HTTP/2 needs one connection for all.
                alone = Some(politeness.connecting.lock().await);
                if let Some(lease) = self.take_kept(origin) {
                    return Reservation::Kept(lease);
                }
                if politeness.sharing() == Sharing::Single {
                    alone = None;
                }
            }
            Reservation::New(self.permit().await, alone)
        });
        reserved.await.map_err(|_| FetchError::Timeout {
            stage: Stage::Queue,
            after: patience,
        })
    }

    /// Makes the connection that was reserved, unless it was there.
    pub async fn redeem(
        self: &Arc<Self>,
        reservation: Reservation<'_>,
        origin: &Origin,
        politeness: &OriginState,
    ) -> Result<Lease, FetchError> {
        let (permit, alone) = match reservation {
            Reservation::Kept(lease) => return Ok(lease),
            Reservation::New(permit, alone) => (permit, alone),
        };
        let made = self.connect(permit, origin, politeness).await;
        if made.is_err() {
            // The others need not fail one after the other.
            politeness.set_sharing(Sharing::Single);
        }
        drop(alone);
        made
    }

    /// The right to make a connection, whatever is kept.
    pub async fn reserve_new<'a>(self: &Arc<Self>) -> Result<Reservation<'a>, FetchError> {
        let patience = self.config.timeouts.queue;
        let reserved = self.host.timeout(patience, self.permit()).await;
        let permit = reserved.map_err(|_| FetchError::Timeout {
            stage: Stage::Queue,
            after: patience,
        })?;
        Ok(Reservation::New(permit, None))
    }

    async fn connect(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        origin: &Origin,
        politeness: &OriginState,
    ) -> Result<Lease, FetchError> {
        let (stream, connect) = self.open(origin).await?;
        let about = About {
            remote: stream.peer_addr(),
            connect: Some(connect),
            tls: None,
        };
        let (kind, about) = match origin.scheme() {
            Scheme::Http => {
                let is_http2 = self.config.plain == Plain::Http2;
                (self.shake(stream, is_http2, about, permit).await?, about)
            }
            Scheme::Https => {
                let began = self.host.now();
                let stream = self.encrypt(origin, stream).await?;
                let about = About {
                    tls: Some(self.host.now().since(began)),
                    ..about
                };
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                (self.shake(stream, is_http2, about, permit).await?, about)
            }
        };
        let kind = match kind {
            Kind::Shared(sender, _) => {
                politeness.set_sharing(Sharing::Shared);
                let id = self.share(origin, sender.clone(), about);
                Kind::Shared(sender, id)
            }
            one => {
                politeness.set_sharing(Sharing::Single);
                one
            }
        };
        Ok(Lease {
            pool: self.clone(),
            origin: origin.clone(),
            about,
            is_reused: false,
            kind: Some(kind),
        })
    }

    /// The right to one more connection; idle ones make room.
    async fn permit(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return permit;
        }
        struct Starved<'a>(&'a AtomicUsize);
        impl Drop for Starved<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.starved.fetch_add(1, Ordering::Relaxed);
        let _starved = Starved(&self.starved);
        let dropped = self.state().take_oldest();
        drop(dropped);
        let permit = self.permits.clone().acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Resolves the name and connects to the first of its addresses that answers. Each gets its share of what is left
    /// of the time.
    async fn open(&self, origin: &Origin) -> Result<(Stream, Duration), FetchError> {
        let patience = self.config.timeouts.connect;
        let began = self.host.now();
        let deadline = began.saturating_add(patience);
        let late = || FetchError::Timeout {
            stage: Stage::Connect,
            after: patience,
        };
        let resolved = self.host.network.resolve(origin.bare_host(), origin.port());
        let resolved = self.host.timeout(patience, resolved).await;
        let host = || origin.host().to_owned();
        let mut addresses = match resolved.map_err(|_| late())? {
            Ok(addresses) if addresses.is_empty() => {
                return Err(FetchError::NameNotFound { host: host() });
            }
            Ok(addresses) => addresses,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FetchError::NameNotFound { host: host() });
            }
            Err(error) => {
                let detail = error.to_string();
                return Err(FetchError::NameLookup {
                    host: host(),
                    detail,
                });
            }
        };
        let forbidden = addresses[0];
        addresses.retain(|address| self.config.addresses.allow(address.ip()));
        addresses.truncate(MAX_ADDRESSES);
        let mut failure = FetchError::AddressNotAllowed {
            host: host(),
            address: forbidden,
        };
        for (number, &address) in addresses.iter().enumerate() {
            let left = deadline.since(self.host.now());
            let share = left / (addresses.len() - number) as u32;
            let stream = self.host.network.connect(address);
            failure = match self.host.timeout(share, stream).await {
                Ok(Ok(stream)) => return Ok((stream, self.host.now().since(began))),
                Ok(Err(error)) => error::from_connect(&error, address, patience),
                Err(_) => late(),
            };
        }
        Err(failure)
    }

    async fn encrypt(
        &self,
        origin: &Origin,
        stream: Stream,
    ) -> Result<tokio_rustls::client::TlsStream<Stream>, FetchError> {
        let name = ServerName::try_from(origin.bare_host().to_owned());
        let name = name.map_err(|error| FetchError::InvalidUrl {
            detail: format!("its host cannot be asked for a certificate: {error}"),
        })?;
        let patience = self.config.timeouts.tls;
        let handshake = self.tls.connect(name, stream);
        match self.host.timeout(patience, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(match error::from_io(&error, self.context(Stage::Tls)) {
                FetchError::Closed => FetchError::Tls {
                    reason: TlsReason::Closed,
                },
                other => other,
            }),
            Err(_) => Err(FetchError::Timeout {
                stage: Stage::Tls,
                after: patience,
            }),
        }
    }

    /// What the reading of a failure needs to know.
    pub fn context(&self, stage: Stage) -> Context {
        let timeouts = &self.config.timeouts;
        Context {
            stage,
            patience: match stage {
                Stage::Queue => timeouts.queue,
                Stage::Connect => timeouts.connect,
                Stage::Tls => timeouts.tls,
                Stage::Head => timeouts.head,
                Stage::Body => timeouts.body,
                Stage::Total => timeouts.total,
            },
            max_head_bytes: self.config.limits.max_head_bytes,
            max_head_fields: self.config.limits.max_head_fields,
        }
    }

    /// Puts HTTP on a stream and lets its task hold the permit.
    async fn shake<S>(
        &self,
        stream: S,
        is_http2: bool,
        about: About,
        permit: OwnedSemaphorePermit,
    ) -> Result<Kind, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.config.limits;
        let io = HostIo::new(&self.host, stream, Bytes::new(), self.config.timeouts.body);
        let failed = |error: hyper::Error| error::from_hyper(&error, self.context(Stage::Head));
        if is_http2 {
            let max_list = u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX);
            let shaken = http2::Builder::new(HostExecutor(self.host.clone()))
                .timer(self.timer.clone())
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_header_list_size(max_list)
                .max_concurrent_reset_streams(MAX_RESET_STREAMS)
                .reset_stream_duration(RESET_STREAM_TIME)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .handshake(io);
            let patience = self.config.timeouts.head;
            let late = FetchError::Timeout {
                stage: Stage::Head,
                after: patience,
            };
            let shaken = self.host.timeout(patience, shaken).await;
            let (sender, connection) = shaken.map_err(|_| late)?.map_err(failed)?;
            self.host.spawn("http2-connection", async move {
                if let Err(error) = connection.await {
                    tracing::debug!(remote = %about.remote, %error, "an HTTP/2 connection broke");
                }
                drop(permit);
            });
            return Ok(Kind::Shared(sender, 0));
        }
        let shaken = http1::Builder::new()
            .max_headers(limits.max_head_fields)
            .max_buf_size(limits.max_head_bytes)
            .handshake(io);
        let (sender, connection) = shaken.await.map_err(failed)?;
        let task = self.host.spawn("http1-connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(remote = %about.remote, %error, "an HTTP/1 connection broke");
            }
            drop(permit);
        });
        Ok(Kind::One(sender, task))
    }

    fn take_kept(self: &Arc<Self>, origin: &Origin) -> Option<Lease> {
        let oldest = self.host.now();
        let is_fresh = |since: Moment| oldest.since(since) < self.config.timeouts.idle;
        let mut stale = Vec::new();
        let mut stale_shared = None;
        let kept = {
            let mut state = self.state();
            let mut found = None;
            if let Some(shared) = state.shared.get_mut(origin) {
                let is_usable = shared.users > 0 || is_fresh(shared.since);
                if shared.sender.is_closed() || !is_usable {
                    stale_shared = state.shared.remove(origin);
                } else {
                    shared.users += 1;
                    let about = shared.about.reused();
                    found = Some((Kind::Shared(shared.sender.clone(), shared.id), about));
                }
            }
            if found.is_none()
                && let Some(kept) = state.idle.get_mut(origin)
            {
                while let Some(idle) = kept.pop() {
                    if is_fresh(idle.since) && idle.sender.is_ready() {
                        found = Some((Kind::One(idle.sender, idle.task), idle.about.reused()));
                        break;
                    }
                    stale.push(idle);
                }
                if kept.is_empty() {
                    state.idle.remove(origin);
                }
            }
            found
        };
        drop((stale, stale_shared));
        kept.map(|(kind, about)| Lease {
            pool: self.clone(),
            origin: origin.clone(),
            about,
            is_reused: true,
            kind: Some(kind),
        })
    }

    fn share(&self, origin: &Origin, sender: Sender2, about: About) -> u64 {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        let shared = Shared {
            id,
            sender,
            users: 1,
            since: self.host.now(),
            about,
        };
        // One that was there serves its users and ends with them.
        let replaced = state.shared.insert(origin.clone(), shared);
        drop(state);
        drop(replaced);
        id
    }

    /// A user of a shared connection goes.
    fn leave(&self, origin: &Origin, id: u64) {
        let mut state = self.state();
        let mut dropped = None;
        if let Some(shared) = state.shared.get_mut(origin)
            && shared.id == id
        {
            shared.users -= 1;
            shared.since = self.host.now();
            let is_unused = shared.users == 0;
            let is_wanted = !shared.sender.is_closed() && !self.is_starved();
            if is_unused && !is_wanted {
                dropped = state.shared.remove(origin);
            }
        }
        let evicted = self.settle(&mut state);
        drop(state);
        drop((dropped, evicted));
    }

    fn keep(&self, origin: &Origin, sender: Sender1, task: TaskHandle, about: About) {
        if self.is_starved() {
            return;
        }
        let mut state = self.state();
        state.idle.entry(origin.clone()).or_default().push(Idle {
            since: self.host.now(),
            sender,
            task,
            about,
        });
        let evicted = self.settle(&mut state);
        drop(state);
        drop(evicted);
    }

    /// Somebody waits for a permit: nothing is kept idle meanwhile.
    fn is_starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed) > 0
    }

    /// Keeps to the bound on idle connections, and sees to it that they end in time. What is returned is to be dropped
    /// without the lock.
    fn settle(&self, state: &mut State) -> Option<Dropped> {
        let is_over = state.idle_count() > self.config.limits.max_idle;
        let evicted = if is_over { state.take_oldest() } else { None };
        if !state.is_reaping && state.idle_count() > 0 {
            state.is_reaping = true;
            let (host, pool) = (self.host.clone(), self.this.clone());
            let idle = self.config.timeouts.idle;
            self.host.spawn("http-reaper", reap(host, pool, idle));
        }
        evicted
    }
}

/// Ends connections that were idle for too long, until there is none. It ends early with the client.
async fn reap(host: Host, pool: Weak<Pool>, limit: Duration) {
    let mut next = host.now().saturating_add(limit);
    loop {
        host.clock.sleep_until(next).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = host.now();
        let mut dropped = Vec::new();
        {
            let mut state = pool.state();
            loop {
                let Some((since, ..)) = state.oldest() else {
                    state.is_reaping = false;
                    drop(state);
                    return;
                };
                next = since.saturating_add(limit);
                if next > now {
                    break;
                }
                dropped.push(state.take_oldest());
            }
        }
        drop(dropped);
    }
}
