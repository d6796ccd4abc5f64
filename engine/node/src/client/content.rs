//! What a request carries: bytes, or a file that is read while it is sent.

use bytes::Bytes;
use holdfast_host::{BoxFuture, Host, OpenMode, read_exact_at};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    io,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// How much of a file is in memory.
const PIECE_BYTES: u64 = 256 << 10;

/// A file to be sent: its first `bytes` bytes. One that is shorter by then is not sent to its end, and the request
/// fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileContent {
    /// Where it is, in the host's disk.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
}

/// What a call carries; every attempt sends it from its beginning.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Bytes(Bytes),
    File(FileContent),
}

impl Content {
    /// As the body of one attempt.
    pub fn body(&self, host: &Host) -> ContentBody {
        match self {
            Content::Bytes(bytes) => ContentBody::Bytes(Full::new(bytes.clone())),
            Content::File(file) => ContentBody::File(FileBody {
                host: host.clone(),
                file: file.clone(),
                at: 0,
                reading: None,
            }),
        }
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Content::Bytes(bytes)
    }
}

/// The body of a request.
pub(super) enum ContentBody {
    Bytes(Full<Bytes>),
    File(FileBody),
}

/// A file on its way.
pub(super) struct FileBody {
    host: Host,
    file: FileContent,
    at: u64,
    reading: Option<BoxFuture<'static, io::Result<Bytes>>>,
}

impl FileBody {
    fn read(&self) -> BoxFuture<'static, io::Result<Bytes>> {
        let (host, path, at) = (self.host.clone(), self.file.path.clone(), self.at);
        let length = (self.file.bytes - at).min(PIECE_BYTES) as usize;
        Box::pin(async move {
            let read = host.blocking(move |disk| {
                let file = disk.open(&path, OpenMode::Read)?;
                let mut piece = vec![0; length];
                let read = read_exact_at(disk, file, at, &mut piece);
                disk.close(file);
                read.map(|()| piece.into())
            });
            read.await
        })
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.at >= self.file.bytes {
            return Poll::Ready(None);
        }
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.read(),
        };
        let Poll::Ready(piece) = reading.as_mut().poll(cx) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        match &piece {
            Ok(piece) => self.at += piece.len() as u64,
            // Nothing comes after an error.
            Err(_) => self.at = self.file.bytes,
        }
        Poll::Ready(Some(piece))
    }
}

impl Body for ContentBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            ContentBody::Bytes(full) => {
                let frame = ready!(Pin::new(full).poll_frame(cx));
                // It is in memory.
                Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
            }
            ContentBody::File(file) => {
                let piece = ready!(file.poll_piece(cx));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ContentBody::Bytes(full) => full.is_end_stream(),
            ContentBody::File(file) => file.at >= file.file.bytes,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ContentBody::Bytes(full) => full.size_hint(),
            ContentBody::File(file) => SizeHint::with_exact(file.file.bytes - file.at),
        }
    }
}
