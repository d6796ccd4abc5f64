use super::{Problem, ProblemKind};
use bytes::{Bytes, BytesMut};
use holdfast_host::Host;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::mpsc;

/// What a response carries.
pub enum ReplyBody {
    /// All of it, known beforehand; `None` once sent.
    Full(Option<Bytes>),
    /// Pieces as they come, until the sender is dropped.
    Stream(mpsc::Receiver<Bytes>),
}

impl ReplyBody {
    /// A body that is known beforehand.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        ReplyBody::Full((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            ReplyBody::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            ReplyBody::Stream(pieces) => pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
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
            ReplyBody::Stream(_) => SizeHint::default(),
        }
    }
}

/// Reads a request's body of at most `limit` bytes, which must arrive within `patience`.
pub async fn read_body(
    host: &Host,
    body: Incoming,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Problem> {
    // The announced length is refused before a byte of it is read.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    host.timeout(patience, read_frames(body, limit))
        .await
        .unwrap_or_else(|_| {
            Err(Problem::new(
                ProblemKind::RequestTimeout,
                format!(
                    "the body did not arrive within {} s",
                    patience.as_secs_f64()
                ),
            ))
        })
}

async fn read_frames(mut body: Incoming, limit: usize) -> Result<Bytes, Problem> {
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
