//! Watches: a revision's changes as a line of JSON each, for as long as the client listens.
//!
//! A watcher keeps no queue of events: it remembers the revision to go on from, and reads what came after out of the
//! store, which keeps every change down to the last compaction. What waits for a slow client is a few encoded pieces.

use super::{Api, Call, Problem, ProblemKind, convert};
use crate::{
    config::LimitsSection,
    http::{
        Query, ReplyBody,
        events::{EVENT_STREAM, Event, last_event_id, wants_events},
    },
    race::{First, first},
    wire::{Consistency, WatchLine},
};
use bytes::Bytes;
use holdfast_host::{Host, Moment};
use holdfast_kv::{KeyRange, Kv, KvError};
use holdfast_replica::ReplicaHandle;
use http::{HeaderMap, HeaderValue, Response, header};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// Most encoded pieces that wait for a slow client; until there is room nothing more is read for it.
const PIECES: usize = 4;
/// Bytes above which lines are sent, and the most that are sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// About how many events are read out of the store at once.
const EVENTS: usize = 256;

/// The open watches of a node.
pub(super) struct Watches {
    open: Arc<AtomicUsize>,
    limit: usize,
    progress: Duration,
    /// The newest state that watchers know of; `None` until the first watch begins.
    state: watch::Receiver<Option<Kv>>,
    closing: watch::Sender<bool>,
}

impl Watches {
    /// Begins to follow the replica.
    pub fn start(host: &Host, limits: &LimitsSection, replica: ReplicaHandle<Kv>) -> Self {
        let (states, state) = watch::channel(None);
        let open = Arc::new(AtomicUsize::new(0));
        host.spawn("watch-follow", follow(replica, states, open.clone()));
        Watches {
            open,
            limit: limits.watches,
            progress: limits.watch_progress,
            state,
            closing: watch::Sender::new(false),
        }
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Ends them all with a line that says so; no more are begun.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Tells when they all are to end.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Takes a place among the streams that may be open.
    pub fn admit(&self) -> Result<Slot, Problem> {
        if *self.closing.borrow() {
            let detail = "the node is stopping";
            return Err(Problem::new(ProblemKind::Unavailable, detail));
        }
        // Counted before it is looked at: two at once must not both take the last place.
        let slot = Slot(self.open.clone());
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit {
            let detail = format!("{} watches are open, the most allowed", self.limit);
            return Err(Problem::new(ProblemKind::Overloaded, detail).with("limit", self.limit));
        }
        Ok(slot)
    }
}

/// A watch's place among those allowed; given back when it is dropped.
pub(super) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hands each applied state to the watchers, while there are any: one read for all of them. Ends with the replica.
async fn follow(
    replica: ReplicaHandle<Kv>,
    states: watch::Sender<Option<Kv>>,
    open: Arc<AtomicUsize>,
) {
    let mut applied = replica.applied();
    while applied.changed().await.is_ok() {
        // The API has gone.
        if states.is_closed() {
            return;
        }
        if open.load(Ordering::Relaxed) == 0 {
            // An old state that is held makes every change copy what it shares.
            states.send_if_modified(|state| state.take().is_some());
            continue;
        }
        match replica.read(holdfast_replica::Consistency::Stale).await {
            Ok(state) => {
                states.send_replace(Some(state));
            }
            Err(holdfast_replica::RequestError::Stopped) => return,
            // Too many requests wait; what is applied next, or a watch's sign of life, makes up for it.
            Err(error) => tracing::debug!(%error, "watches were not told of an applied state"),
        }
    }
}

impl Api {
    /// Begins a watch.
    pub(super) async fn watch(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let head = call.head;
        let mut query = Query::parse(head.uri.query())?;
        let keys = convert::key_range(convert::key_set(&mut query))?;
        self.check_range(&keys)?;
        let from = query.number("from_revision")?;
        query.finish()?;
        let format = Format::asked_for(&head.headers);
        // Who reconnects says both: where it once began, and how far it has come.
        let seen = last_event_id::<u64>(&head.headers)?;
        let from = from.max(seen.map(|seen| seen.saturating_add(1)));
        let slot = self.watches.admit()?;
        // Without a beginning, "now" must come after everything that was acknowledged. With one, any state will do:
        // this node will come to it.
        let consistency = match from {
            None => Consistency::Linearizable,
            Some(_) => Consistency::Stale,
        };
        let mut state = self.watches.state.clone();
        state.mark_unchanged();
        let store = self.read(consistency).await?;
        let next = from.unwrap_or(store.revision() + 1);
        // Zero, like one, is before everything.
        let next = next.max(1);
        if next < store.compact_revision() {
            return Err(convert::refusal(KvError::Compacted {
                asked: next,
                compact_revision: store.compact_revision(),
            }));
        }
        let (pieces, body) = mpsc::channel(PIECES);
        let watcher = Watcher {
            sent_at: self.host.now(),
            host: self.host.clone(),
            replica: self.replica.clone(),
            metrics: self.metrics.clone(),
            keys,
            next,
            told: 0,
            format,
            pieces,
            state,
            closing: self.watches.closing.subscribe(),
            progress: self.watches.progress,
            patience: self.limits.write_timeout,
            _slot: slot,
        };
        self.host.spawn("watch", watcher.run(store));
        let mut response = Response::new(ReplyBody::Stream(body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, format.media_type());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// A JSON document and a newline.
    Lines,
    /// Server-sent events (WHATWG HTML, §9.2), with the revision as the id.
    Events,
}

impl Format {
    fn asked_for(headers: &HeaderMap) -> Format {
        match wants_events(headers) {
            true => Format::Events,
            false => Format::Lines,
        }
    }

    fn media_type(self) -> HeaderValue {
        match self {
            Format::Lines => HeaderValue::from_static("application/x-ndjson"),
            Format::Events => EVENT_STREAM,
        }
    }

    fn write(self, line: &WatchLine, out: &mut Vec<u8>) {
        if self == Format::Lines {
            serde_json::to_writer(&mut *out, line).expect("lines encode");
            out.push(b'\n');
            return;
        }
        // Where the client would go on: only what has been told counts.
        let id = match line {
            WatchLine::Events { revision, .. } | WatchLine::Progress { revision } => {
                Some(revision.to_string())
            }
            _ => None,
        };
        let data = serde_json::to_string(line).expect("lines encode");
        let event = Event {
            id: id.as_deref(),
            data: &data,
            ..Event::default()
        };
        event.write(out);
    }
}

/// One watch: reads on from `next` whenever the state moves, and writes what it finds.
struct Watcher {
    host: Host,
    replica: ReplicaHandle<Kv>,
    metrics: Arc<crate::metrics::Metrics>,
    keys: KeyRange,
    /// The revision to go on from.
    next: u64,
    /// Everything up to this revision was told, as far as it is watched.
    told: u64,
    format: Format,
    pieces: mpsc::Sender<Bytes>,
    /// When something was sent last.
    sent_at: Moment,
    state: watch::Receiver<Option<Kv>>,
    closing: watch::Receiver<bool>,
    progress: Duration,
    /// How long the client may take nothing.
    patience: Duration,
    _slot: Slot,
}

/// Why a watch ends.
enum End {
    /// The client has gone: nobody is told.
    Gone,
    /// The client is told with a last line.
    Told(WatchLine),
}

impl From<mpsc::error::SendError<Bytes>> for End {
    fn from(_: mpsc::error::SendError<Bytes>) -> Self {
        End::Gone
    }
}

impl End {
    fn closing(detail: &str) -> End {
        End::Told(WatchLine::Closing {
            detail: detail.to_owned(),
        })
    }
}

/// What a watcher waits for.
enum Moved {
    /// There is a newer state.
    To(Kv),
    /// The client has been told nothing for long.
    Quiet,
    /// The node is to stop.
    Stopping,
}

impl Watcher {
    async fn run(mut self, store: Kv) {
        if let Err(End::Told(line)) = self.tell(store).await {
            // It may have gone meanwhile.
            let _ = self.send(&line).await;
        }
    }

    async fn tell(&mut self, store: Kv) -> Result<(), End> {
        let created = WatchLine::Created {
            revision: store.revision(),
            from_revision: self.next,
        };
        self.send(&created).await?;
        self.catch_up(store).await?;
        loop {
            match self.moved().await? {
                Moved::To(store) => self.catch_up(store).await?,
                Moved::Quiet => {
                    self.look().await?;
                    let revision = self.told;
                    self.send(&WatchLine::Progress { revision }).await?;
                }
                Moved::Stopping => {
                    // What was acknowledged before the node was told to stop is still told.
                    self.look().await?;
                    return Err(End::closing("the node is stopping"));
                }
            }
        }
    }

    async fn moved(&mut self) -> Result<Moved, End> {
        let over = first(
            self.pieces.closed(),
            self.closing.wait_for(|closing| *closing),
        );
        // A store that is busy with other keys moves all the time, and its client hears nothing of that.
        let quiet = self.host.now().since(self.sent_at);
        let Some(left) = self.progress.checked_sub(quiet) else {
            return Ok(Moved::Quiet);
        };
        let moved = self.host.timeout(left, self.state.changed());
        match first(over, moved).await {
            First::One(First::One(())) => return Err(End::Gone),
            First::One(First::Other(_)) => return Ok(Moved::Stopping),
            First::Other(Err(_)) => return Ok(Moved::Quiet),
            First::Other(Ok(Err(_))) => return Err(End::closing("the replica has stopped")),
            First::Other(Ok(Ok(()))) => {}
        }
        // Dropped between two watches: there is a newer one.
        let state = self.state.borrow_and_update().clone();
        Ok(state.map_or(Moved::Quiet, Moved::To))
    }

    /// Tells what this node's state has beyond what was told.
    async fn look(&mut self) -> Result<(), End> {
        let read = self.replica.read(holdfast_replica::Consistency::Stale);
        match read.await {
            Ok(store) => self.catch_up(store).await,
            Err(holdfast_replica::RequestError::Stopped) => {
                Err(End::closing("the replica has stopped"))
            }
            // Too many requests wait: then a later look does it.
            Err(_) => Ok(()),
        }
    }

    /// Tells everything that `store` knows and the client does not.
    async fn catch_up(&mut self, store: Kv) -> Result<(), End> {
        let mut piece = Vec::new();
        while self.next <= store.revision() {
            let found = store.events(&self.keys, self.next, EVENTS).map_err(|_| {
                End::Told(WatchLine::Compacted {
                    compact_revision: store.compact_revision(),
                })
            })?;
            for (revision, events) in found.revisions {
                self.metrics
                    .watch_events
                    .fetch_add(events.len() as u64, Ordering::Relaxed);
                let events = events.into_iter().map(convert::event).collect();
                let line = WatchLine::Events { revision, events };
                self.format.write(&line, &mut piece);
                if piece.len() >= PIECE_BYTES {
                    self.send_piece(std::mem::take(&mut piece)).await?;
                }
            }
            self.next = found.next;
        }
        if !piece.is_empty() {
            self.send_piece(piece).await?;
        }
        self.told = self.told.max(store.revision());
        Ok(())
    }

    async fn send(&mut self, line: &WatchLine) -> Result<(), End> {
        let mut piece = Vec::new();
        self.format.write(line, &mut piece);
        self.send_piece(piece).await
    }

    /// Sends bytes on, as fast as the client takes them. One that takes nothing for long has gone, whatever its
    /// connection says: what waits here holds a whole state of the store.
    async fn send_piece(&mut self, piece: Vec<u8>) -> Result<(), End> {
        let mut piece = Bytes::from(piece);
        while !piece.is_empty() {
            let next = piece.split_to(piece.len().min(PIECE_BYTES));
            let sent = self.host.timeout(self.patience, self.pieces.send(next));
            sent.await.map_err(|_| End::Gone)??;
        }
        self.sent_at = self.host.now();
        Ok(())
    }
}
