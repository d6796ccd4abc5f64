//! Reading bodies, within bounds.

use crate::{
    CodingError, Decoder, FetchError, Head, Limits, Stage, Transferred,
    error::{self, Context},
};
use bytes::Bytes;
use holdfast_host::Host;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use std::{ops::ControlFlow, time::Duration};

/// Most bytes of a body that nobody wants which are read all the same, so that the connection can be used again.
const DRAIN_BYTES: u64 = 64 * 1024;
/// How long they may take to come.
const DRAIN_TIME: Duration = Duration::from_millis(250);
/// What a body may decode to, however little of it was sent: small bodies of one repeated letter are no bombs.
const FREE_DECODED_BYTES: u64 = 1 << 20;

/// How much of a body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyPolicy {
    /// None of it: the head said enough. Its codings are not looked at.
    Discard,
    /// All of it, decoded; a body that is larger than `max` bytes is an error.
    Collect {
        /// Most bytes.
        max: u64,
    },
    /// Its first `max` bytes, decoded; reading stops there and the response says that it is truncated.
    Prefix {
        /// Most bytes.
        max: u64,
    },
}

/// What was read of a body.
pub(crate) struct ReadBody {
    pub bytes: Bytes,
    pub is_truncated: bool,
    pub transferred: Transferred,
    /// Whether it was read to its end: the connection can then be used again.
    pub is_at_end: bool,
}

/// Bounds and clocks of a client, for its bodies.
pub(crate) struct Reader<'a> {
    pub host: &'a Host,
    pub limits: &'a Limits,
    /// How long the next piece may take.
    pub patience: Duration,
}

impl Reader<'_> {
    /// Reads as much of `body` as the policy wants.
    pub async fn read(
        &self,
        head: &Head,
        mut body: Incoming,
        policy: BodyPolicy,
    ) -> Result<ReadBody, FetchError> {
        let (max, is_prefix) = match policy {
            BodyPolicy::Discard => return Ok(self.discard(body).await),
            BodyPolicy::Collect { max } => (max, false),
            BodyPolicy::Prefix { max } => (max, true),
        };
        let too_large = FetchError::BodyTooLarge {
            limit: self.limits.max_encoded,
        };
        // What was announced is refused before a byte of it is read.
        if !is_prefix && body.size_hint().lower() > self.limits.max_encoded {
            return Err(too_large);
        }
        let mut decoder = Decoder::for_headers(&head.headers)?;
        let mut output = Output {
            bytes: Vec::new(),
            max: max.min(self.limits.max_decoded),
            max_ratio: self.limits.max_ratio,
            transferred: Transferred::default(),
            stopped: None,
        };
        while let Some(piece) = self.next(&mut body).await? {
            output.transferred.encoded += piece.len() as u64;
            if output.transferred.encoded > self.limits.max_encoded {
                return match is_prefix {
                    true => Ok(output.finish(true, false)),
                    false => Err(too_large),
                };
            }
            let pushed = decoder.push(&piece, &mut |piece| output.take(piece));
            // What has been decoded is not wanted back when the rest of the piece is damaged: the body is.
            if pushed?.is_continue() {
                continue;
            }
            return match output.stopped {
                Some(Stopped::Bomb) => Err(FetchError::Bomb {
                    encoded: output.transferred.encoded,
                    ratio: self.limits.max_ratio,
                }),
                _ if is_prefix => {
                    let is_at_end = self.drain(&mut body).await;
                    Ok(output.finish(true, is_at_end))
                }
                _ => Err(FetchError::DecodedTooLarge { limit: output.max }),
            };
        }
        decoder.finish()?;
        Ok(output.finish(false, true))
    }

    async fn discard(&self, mut body: Incoming) -> ReadBody {
        let is_truncated = !body.is_end_stream();
        let is_at_end = self.drain(&mut body).await;
        ReadBody {
            bytes: Bytes::new(),
            is_truncated,
            transferred: Transferred::default(),
            is_at_end,
        }
    }

    /// Reads what is left if it is little and comes soon; whether the end was reached.
    async fn drain(&self, body: &mut Incoming) -> bool {
        if body.is_end_stream() {
            return true;
        }
        if body.size_hint().lower() > DRAIN_BYTES {
            return false;
        }
        let drained = async {
            let mut left = DRAIN_BYTES;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                let len = frame.data_ref().map_or(0, Bytes::len) as u64;
                match left.checked_sub(len) {
                    Some(rest) => left = rest,
                    None => return false,
                }
            }
            true
        };
        let patience = DRAIN_TIME.min(self.patience);
        self.host.timeout(patience, drained).await.unwrap_or(false)
    }

    /// The next piece of data; `None` at the end. Trailers are skipped.
    async fn next(&self, body: &mut Incoming) -> Result<Option<Bytes>, FetchError> {
        let context = Context {
            stage: Stage::Body,
            patience: self.patience,
            max_head_bytes: self.limits.max_head_bytes,
            max_head_fields: self.limits.max_head_fields,
        };
        let read = async {
            loop {
                match body.frame().await {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(error::from_hyper(&error, context)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if data.is_empty() => {}
                        Ok(data) => return Ok(Some(data)),
                        Err(_trailers) => {}
                    },
                }
            }
        };
        let late = FetchError::Timeout {
            stage: Stage::Body,
            after: self.patience,
        };
        self.host
            .timeout(self.patience, read)
            .await
            .unwrap_or(Err(late))
    }
}

/// Why the output takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Full,
    Bomb,
}

struct Output {
    bytes: Vec<u8>,
    max: u64,
    max_ratio: u64,
    transferred: Transferred,
    stopped: Option<Stopped>,
}

impl Output {
    fn take(&mut self, piece: &[u8]) -> ControlFlow<()> {
        let decoded = self.transferred.decoded + piece.len() as u64;
        self.transferred.decoded = decoded;
        let allowed = self.transferred.encoded.saturating_mul(self.max_ratio);
        if decoded > allowed.max(FREE_DECODED_BYTES) {
            self.stopped = Some(Stopped::Bomb);
            return ControlFlow::Break(());
        }
        let room = self.max - self.bytes.len() as u64;
        if piece.len() as u64 > room {
            self.bytes.extend_from_slice(&piece[..room as usize]);
            self.stopped = Some(Stopped::Full);
            return ControlFlow::Break(());
        }
        self.bytes.extend_from_slice(piece);
        ControlFlow::Continue(())
    }

    fn finish(self, is_truncated: bool, is_at_end: bool) -> ReadBody {
        ReadBody {
            bytes: self.bytes.into(),
            is_truncated,
            transferred: self.transferred,
            is_at_end,
        }
    }
}

impl From<CodingError> for FetchError {
    fn from(error: CodingError) -> Self {
        match error {
            CodingError::Unknown(coding) => FetchError::UnknownCoding { coding },
            CodingError::Invalid { coding, detail } => FetchError::BadCoding { coding, detail },
        }
    }
}
