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

    /// The stream, when hyper is done with it. Of `before`, what hyper did not read is lost.
    pub fn into_inner(self) -> S {
        self.stream
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
        self.stalled = None;
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

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
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

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_host::tokio_host;
    use hyper::rt::ReadBuf as HyperBuf;
    use std::{future::poll_fn, io::IoSlice, mem::MaybeUninit};
    use tokio::io::{DuplexStream, duplex};

    const PATIENCE: Duration = Duration::from_millis(50);

    /// Runs `test` with a pipe that holds eight bytes: its near end as hyper has it, and its far end.
    fn run<F: Future<Output = ()>>(test: impl FnOnce(HostIo<DuplexStream>, DuplexStream) -> F) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let host = tokio_host::host("/nonexistent".into(), runtime.handle().clone());
        let (near, far) = duplex(8);
        let io = HostIo::new(&host, near, Bytes::from_static(b"before"), PATIENCE);
        runtime.block_on(test(io, far));
    }

    async fn read(io: &mut HostIo<DuplexStream>, most: usize) -> Vec<u8> {
        let mut memory = vec![MaybeUninit::uninit(); most];
        let mut buffer = HyperBuf::uninit(&mut memory);
        poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, buffer.unfilled()))
            .await
            .expect("it is open");
        buffer.filled().to_vec()
    }

    #[test]
    fn what_was_read_before_comes_first() {
        use tokio::io::AsyncWriteExt;
        run(|mut io, mut far| async move {
            far.write_all(b"behind").await.expect("it fits");
            assert_eq!(read(&mut io, 4).await, b"befo");
            assert_eq!(read(&mut io, 64).await, b"re");
            assert_eq!(read(&mut io, 64).await, b"behind");
            drop(io.into_inner());
            assert!(far.write_all(b"x").await.is_err(), "the near end is closed");
        });
    }

    #[test]
    fn writes_that_make_no_progress_end() {
        use tokio::io::AsyncReadExt;
        run(|mut io, mut far| async move {
            assert!(io.is_write_vectored(), "as the pipe is");
            let mut write = async |pieces: &[&[u8]]| {
                let slices: Vec<IoSlice<'_>> = pieces.iter().map(|p| IoSlice::new(p)).collect();
                poll_fn(|cx| Pin::new(&mut io).poll_write_vectored(cx, &slices)).await
            };
            // The pipe takes one slice or more at a time, as it likes.
            let mut sent = write(&[b"abcd", b"efghij"]).await.expect("there is room");
            assert!(sent >= 4, "{sent}");
            while sent < 8 {
                sent += write(&[&b"abcdefgh"[sent..]]).await.expect("there is room");
            }
            let stalled = write(&[b"no room"]).await.expect_err("nobody reads");
            assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
            let mut taken = [0; 8];
            far.read_exact(&mut taken).await.expect("it was written");
            assert_eq!(&taken, b"abcdefgh");
            assert_eq!(write(&[b"room"]).await.expect("there is room"), 4);
        });
    }
}
