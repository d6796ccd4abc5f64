//! What hyper asks of a runtime, answered by a [`Host`]: byte streams, timers, tasks.
//!
//! A hyper connection without a [`HostTimer`] silently has no timeouts; give it one always.

use bytes::{Buf, Bytes};
use holdfast_host::{Clock, Host, Moment, Sleep, Stream};
use hyper::rt::{Executor, Read, ReadBufCursor, Timer, Write};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read from a stream at once; the most that waits outside hyper's own buffer.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// A host's stream, or TLS over one, as hyper wants it: with bytes that were read before hyper came, and with an end
/// to writes that make no progress (a far end that lost power says nothing, and a watch may be all that is written).
pub struct HostIo<S = Stream> {
    stream: S,
    before: Bytes,
    buffer: Box<[u8]>,
    clock: Arc<dyn Clock>,
    write_patience: Duration,
    stalled: Option<Sleep>,
}

impl<S> HostIo<S> {
    /// Wraps `stream`. `before` is read first; a write that makes no progress for `write_patience` fails with
    /// `TimedOut`.
    pub fn new(host: &Host, stream: S, before: Bytes, write_patience: Duration) -> Self {
        HostIo {
            stream,
            before,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            clock: host.clock.clone(),
            write_patience,
            stalled: None,
        }
    }

    /// Passes a write's progress on, and fails once there has been none for too long.
    fn watch_progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let (clock, patience) = (&self.clock, self.write_patience);
        let stalled = self
            .stalled
            .get_or_insert_with(|| clock.sleep_until(clock.now().saturating_add(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> Read for HostIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let len = self.before.len().min(cursor.remaining());
            cursor.put_slice(&self.before[..len]);
            self.before.advance(len);
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        let len = this.buffer.len().min(cursor.remaining());
        let mut filled = ReadBuf::new(&mut this.buffer[..len]);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut filled))?;
        cursor.put_slice(filled.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for HostIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_progress(cx, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_progress(cx, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch_progress(cx, progress)
    }
}

/// hyper's timer on the host's monotonic clock.
///
/// hyper speaks of time as `Instant`s, which only the operating system can make. One is taken as an anchor, and every
/// other is a distance from it by the host's clock: what the anchor reads never matters.
#[derive(Clone)]
pub struct HostTimer {
    clock: Arc<dyn Clock>,
    anchor: Instant,
    anchored_at: Moment,
}

impl HostTimer {
    /// A timer on `host`'s clock.
    #[allow(clippy::disallowed_methods)] // The anchor: see above.
    pub fn new(host: &Host) -> Self {
        HostTimer {
            clock: host.clock.clone(),
            anchor: Instant::now(),
            anchored_at: host.now(),
        }
    }

    fn wake_at(&self, moment: Moment) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(HostSleep(self.clock.sleep_until(moment)))
    }
}

impl Timer for HostTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.wake_at(self.clock.now().saturating_add(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        let distance = deadline.saturating_duration_since(self.anchor);
        self.wake_at(self.anchored_at.saturating_add(distance))
    }

    fn now(&self) -> Instant {
        self.anchor + self.clock.now().since(self.anchored_at)
    }
}

struct HostSleep(Sleep);

impl Future for HostSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl hyper::rt::Sleep for HostSleep {}

/// Runs hyper's HTTP/2 streams as tasks of the host.
#[derive(Clone)]
pub struct HostExecutor(pub Host);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for HostExecutor {
    fn execute(&self, future: F) {
        self.0.spawn("http2-stream", future);
    }
}
