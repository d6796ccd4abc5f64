//! What the streams of an HTTP/2 connection do. hyper ends neither a connection on which nothing is asked nor one whose
//! client grants a stream no more window; TCP sees nothing wrong with either.

use super::{BrokenOff, ReplyBody};
use bytes::Bytes;
use holdfast_host::{Host, Moment};
use hyper::body::{Body, Frame, SizeHint};
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

/// The streams of one connection.
#[derive(Clone)]
pub struct Streams {
    host: Host,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    next: u64,
    /// The open streams; since when each has bytes that its client does not take, if it has.
    open: BTreeMap<u64, Option<Moment>>,
    /// Since when there is none.
    idle_since: Moment,
}

impl Streams {
    /// Those of a connection that has just begun.
    pub fn new(host: &Host) -> Self {
        Streams {
            host: host.clone(),
            shared: Arc::new(Mutex::new(Shared {
                next: 0,
                open: BTreeMap::new(),
                idle_since: host.now(),
            })),
        }
    }

    /// A request has come.
    pub fn begin(&self) -> Open {
        let mut shared = self.lock();
        let id = shared.next;
        shared.next += 1;
        shared.open.insert(id, None);
        Open {
            id,
            streams: self.clone(),
        }
    }

    /// Whether no stream has been open for this long.
    pub fn are_idle(&self, patience: Duration) -> bool {
        let shared = self.lock();
        shared.open.is_empty() && self.host.now().since(shared.idle_since) >= patience
    }

    /// Whether a client has taken nothing of a stream for this long although there was something to take.
    pub fn have_stalled(&self, patience: Duration) -> bool {
        let now = self.host.now();
        let is_stalled = |since: &Moment| now.since(*since) >= patience;
        self.lock().open.values().flatten().any(is_stalled)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic under this lock")
    }
}

/// A stream that is open for as long as this lives.
pub struct Open {
    id: u64,
    streams: Streams,
}

impl Open {
    fn note(&self, waits_since: Option<Moment>) {
        self.streams.lock().open.insert(self.id, waits_since);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = self.streams.host.now();
        let mut shared = self.streams.lock();
        shared.open.remove(&self.id);
        if shared.open.is_empty() {
            shared.idle_since = now;
        }
    }
}

/// A response's body that tells how its client takes it: hyper asks for the next piece once the one before is taken.
pub struct Watched {
    body: ReplyBody,
    open: Open,
}

impl Watched {
    /// The body of the answer to the request that `open` stands for.
    pub fn new(body: ReplyBody, open: Open) -> Self {
        Watched { body, open }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let has_piece = matches!(polled, Poll::Ready(Some(_)));
        let now = self.open.streams.host.now();
        self.open.note(has_piece.then_some(now));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
