//! A byte stream as hyper wants it, which is given back when hyper is done: what breaks a response off writes to it.

use hyper::rt::{Read, ReadBufCursor, Write};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
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
