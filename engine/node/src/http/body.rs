use super::{Problem, ProblemKind};
use bytes::{Bytes, BytesMut};
use holdfast_host::Host;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::mpsc;

/// Most bytes that are taken in of a body that nobody reads.
const DRAIN_BYTES: usize = 16 << 20;
/// How long they may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);
/// Most bytes of a response that are handed over at once: a client's pace is told by how it takes them.
const PIECE_BYTES: usize = 64 << 10;

/// What a response carries.
pub enum ReplyBody {
    /// What is left of it, known beforehand; `None` once sent.
    Full(Option<Bytes>),
    /// Pieces as they come, until the sender is dropped.
    Stream(mpsc::Receiver<Bytes>),
    /// The same, where the client is to see, by a connection that breaks off, that it has not got everything.
    Fallible(mpsc::Receiver<Result<Bytes, BrokenOff>>),
}

/// A response that cannot be sent to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response broke off")]
pub struct BrokenOff;

impl ReplyBody {
    /// A body that is known beforehand.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        ReplyBody::Full((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            ReplyBody::Full(left) => Poll::Ready(left.take().map(|mut bytes| {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                *left = (!bytes.is_empty()).then_some(bytes);
                Ok(Frame::data(piece))
            })),
            ReplyBody::Stream(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
            ReplyBody::Fallible(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, ReplyBody::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            ReplyBody::Stream(_) | ReplyBody::Fallible(_) => SizeHint::default(),
        }
    }
}

/// A request's body.
pub struct Upload {
    body: Incoming,
    /// The client waits to be asked for it (`Expect: 100-continue`), and has not been.
    is_held_back: bool,
    /// It did not come in time.
    is_late: bool,
}

impl Upload {
    /// The body that came with `headers`.
    pub fn new(headers: &HeaderMap, body: Incoming) -> Self {
        let expects = headers.get(header::EXPECT);
        Upload {
            body,
            is_held_back: expects
                .is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"100-continue")),
            is_late: false,
        }
    }

    /// Reads all of it: at most `limit` bytes, which must arrive within `patience`.
    pub async fn read(
        &mut self,
        host: &Host,
        limit: usize,
        patience: Duration,
    ) -> Result<Bytes, Problem> {
        // The announced length is refused before a byte of it is read.
        if self.body.size_hint().lower() > limit as u64 {
            return Err(too_large(limit));
        }
        self.is_held_back = false;
        match host
            .timeout(patience, read_frames(&mut self.body, limit))
            .await
        {
            Ok(read) => read,
            Err(_) => {
                self.is_late = true;
                let seconds = patience.as_secs_f64();
                let detail = format!("the body did not arrive within {seconds} s");
                Err(Problem::new(ProblemKind::RequestTimeout, detail))
            }
        }
    }

    /// The next piece of it, which must come within `patience`; `None` at the end. What all pieces together may be is
    /// for the caller to bound; `limit` is what an announced length is refused above.
    pub async fn piece(
        &mut self,
        host: &Host,
        limit: u64,
        patience: Duration,
    ) -> Result<Option<Bytes>, Problem> {
        if self.body.size_hint().lower() > limit {
            return Err(too_large(limit as usize));
        }
        self.is_held_back = false;
        loop {
            let Ok(frame) = host.timeout(patience, self.body.frame()).await else {
                self.is_late = true;
                let detail = "the body does not arrive as fast as it must";
                return Err(Problem::new(ProblemKind::RequestTimeout, detail));
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    let detail = format!("the body is malformed: {error}");
                    return Err(Problem::bad_request(detail));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Takes in what the client still sends, within bounds, before it is answered. To close a connection on which bytes
    /// arrive is to reset it, and a client that is still sending would never see why it was refused.
    pub async fn drain(mut self, host: &Host) {
        if self.is_held_back || self.is_late || self.body.is_end_stream() {
            return;
        }
        let drained = async {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(frame)) = self.body.frame().await {
                let len = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(len) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        // Whoever is slower than that is answered all the same.
        let _ = host.timeout(DRAIN_TIME, drained).await;
    }
}

async fn read_frames(body: &mut Incoming, limit: usize) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Problem::bad_request(format!("the body is malformed: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    Ok([first, rest.freeze()].concat().into())
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        ProblemKind::TooLarge,
        format!("the body is larger than {limit} bytes"),
    )
    .with("limit", limit)
}
