//! What hyper asks of a runtime, answered by a [`Host`]: byte streams, timers, tasks.

use holdfast_host::{Clock, Host, Moment, Sleep};
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

/// Bytes read from a stream at once.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// A byte stream as hyper wants it.
pub(super) struct HostIo<S> {
    stream: S,
    buffer: Box<[u8]>,
}

impl<S> HostIo<S> {
    pub(super) fn new(stream: S) -> Self {
        HostIo {
            stream,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
        }
    }

    /// The stream, when hyper is done with it.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> Read for HostIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// hyper's timer on the host's monotonic clock.
///
/// hyper speaks of time as `Instant`s, which only the operating system can make. One is taken as an anchor, and every
/// other is a distance from it by the host's clock: what the anchor reads never matters.
#[derive(Clone)]
pub(super) struct HostTimer {
    clock: Arc<dyn Clock>,
    anchor: Instant,
    anchored_at: Moment,
}

impl HostTimer {
    #[allow(clippy::disallowed_methods)] // The anchor: see above.
    pub(super) fn new(host: &Host) -> Self {
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
pub(super) struct HostExecutor(pub(super) Host);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for HostExecutor {
    fn execute(&self, future: F) {
        self.0.spawn("http2-stream", future);
    }
}
