//! A model's bodies as hyper sends them.

use super::observed::Asked;
use crate::web::answer::Body;
use bytes::Bytes;
use holdfast_host::{Host, Sleep};
use hyper::body::{Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

/// How long a connection lives on after the last byte of a body that breaks off: long enough for that to be written.
const UNTIL_CUT: Duration = Duration::from_millis(20);

/// A body on its way. The request counts as under way until this is dropped.
pub(super) struct Sending {
    kind: Kind,
    _asked: Asked,
}

enum Kind {
    Full(Option<Bytes>),
    Chunked(Option<Bytes>),
    Truncated {
        sent: Option<Bytes>,
        sleep: Sleep,
    },
    Endless(Bytes),
    Drip {
        left: Bytes,
        pause: Duration,
        sleep: Option<Sleep>,
        host: Host,
    },
}

impl Sending {
    pub(super) fn new(host: &Host, body: Body, asked: Asked) -> Self {
        let kind = match body {
            Body::Full(bytes) => Kind::Full((!bytes.is_empty()).then_some(bytes)),
            Body::Chunked(bytes) => Kind::Chunked(Some(bytes)),
            Body::Truncated { sent, .. } => Kind::Truncated {
                sent: Some(sent),
                sleep: host.sleep(UNTIL_CUT),
            },
            Body::Endless(bytes) => Kind::Endless(bytes),
            Body::Drip { bytes, pause } => Kind::Drip {
                left: bytes,
                pause,
                sleep: None,
                host: host.clone(),
            },
        };
        Sending {
            kind,
            _asked: asked,
        }
    }
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = match &mut self.kind {
            Kind::Full(bytes) | Kind::Chunked(bytes) => bytes.take(),
            Kind::Truncated { sent, sleep } => match sent.take() {
                Some(bytes) => Some(bytes),
                None => {
                    // hyper closes the connection, or resets the stream, at a body's error; at once, and with it goes
                    // what it has not written yet.
                    ready!(sleep.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
            },
            Kind::Endless(bytes) => Some(bytes.clone()),
            Kind::Drip {
                left,
                pause,
                sleep,
                host,
            } => match left.is_empty() {
                true => None,
                false => {
                    let pausing = sleep.get_or_insert_with(|| host.sleep(*pause));
                    ready!(pausing.as_mut().poll(cx));
                    *sleep = None;
                    Some(left.split_to(1))
                }
            },
        };
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.kind, Kind::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            _ => SizeHint::default(),
        }
    }
}
