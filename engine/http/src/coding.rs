//! Content codings, undone piece by piece within bounds (RFC 9110, section 8.4).

mod deflate;
mod zstd;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use deflate::{Deflate, Gzip};
use http::{HeaderMap, header};
use std::ops::ControlFlow;
use thiserror::Error;
use zstd::Zstd;

/// Most codings on top of each other.
const MAX_CODINGS: usize = 4;
/// Bytes that a stage puts out at once: the most that lies between two stages.
const PIECE_BYTES: usize = 16 * 1024;

/// Why a body cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodingError {
    /// `Content-Encoding` names a coding that is not known, or more than four.
    #[error("the content coding `{0}` is not supported")]
    Unknown(String),
    /// The bytes are not in that coding, or end too early.
    #[error("the body is not valid {coding}: {detail}")]
    Invalid {
        /// The coding.
        coding: &'static str,
        /// What is wrong.
        detail: String,
    },
}

impl CodingError {
    fn invalid(coding: &'static str, detail: impl ToString) -> Self {
        CodingError::Invalid {
            coding,
            detail: detail.to_string(),
        }
    }

    fn cut(coding: &'static str) -> Self {
        Self::invalid(coding, "it ends too early")
    }
}

/// Where a stage's output goes; `Break` ends the decoding, which is no error.
type Sink<'a> = dyn FnMut(&[u8]) -> Result<ControlFlow<()>, CodingError> + 'a;
type Flow = Result<ControlFlow<()>, CodingError>;

/// Undoes the codings of one body, as it comes.
///
/// Memory is bounded whatever comes: a window for each coding (32 KiB for gzip and deflate, 16 MiB for br, 8 MiB for
/// zstd at most, as RFC 9659 wants it) and 16 KiB between two of them. How much may come out is the sink's business:
/// it sees every piece at once and may stop the decoding.
pub struct Decoder {
    /// In the order of decoding: the last coding that was applied comes first.
    stages: Vec<Stage>,
    is_empty: bool,
}

impl Decoder {
    /// A decoder for the codings that the headers name; one that passes everything on when they name none.
    ///
    /// # Errors
    /// [`CodingError::Unknown`].
    pub fn for_headers(headers: &HeaderMap) -> Result<Decoder, CodingError> {
        let mut stages = Vec::new();
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let text = value
                .to_str()
                .map_err(|_| CodingError::Unknown("?".into()))?;
            for name in text.split(',').map(str::trim) {
                if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                    continue;
                }
                if stages.len() == MAX_CODINGS {
                    return Err(CodingError::Unknown(short(text)));
                }
                stages.push(Stage::named(name)?);
            }
        }
        stages.reverse();
        Ok(Decoder {
            stages,
            is_empty: true,
        })
    }

    /// Decodes a piece of the body and hands what comes out to `sink`, which may stop it.
    ///
    /// # Errors
    /// [`CodingError::Invalid`]. The decoder is of no use after that.
    pub fn push(
        &mut self,
        input: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, CodingError> {
        self.is_empty &= input.is_empty();
        feed(&mut self.stages, input, &mut |piece| Ok(sink(piece)))
    }

    /// Says that the body has ended.
    ///
    /// # Errors
    /// [`CodingError::Invalid`] when it has not by what the codings say. A body without a byte is fine in any coding:
    /// servers send it.
    pub fn finish(self) -> Result<(), CodingError> {
        match self.is_empty {
            true => Ok(()),
            false => self.stages.iter().try_for_each(Stage::check_end),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

fn feed(stages: &mut [Stage], input: &[u8], sink: &mut Sink<'_>) -> Flow {
    match stages.split_first_mut() {
        None if input.is_empty() => Ok(ControlFlow::Continue(())),
        None => sink(input),
        Some((first, rest)) => first.push(input, &mut |piece| feed(rest, piece, sink)),
    }
}

enum Stage {
    Gzip(Gzip),
    Deflate(Deflate),
    Brotli(Brotli),
    Zstd(Zstd),
}

impl Stage {
    /// The names are registered by IANA; `x-gzip` is gzip (RFC 9110, section 8.4.1.3).
    fn named(name: &str) -> Result<Stage, CodingError> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("gzip") || is("x-gzip") {
            Ok(Stage::Gzip(Gzip::new()))
        } else if is("deflate") {
            Ok(Stage::Deflate(Deflate::new()))
        } else if is("br") {
            Ok(Stage::Brotli(Brotli::new()))
        } else if is("zstd") {
            Ok(Stage::Zstd(Zstd::new()))
        } else {
            Err(CodingError::Unknown(short(name)))
        }
    }

    fn push(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Flow {
        match self {
            Stage::Gzip(stage) => stage.push(input, sink),
            Stage::Deflate(stage) => stage.push(input, sink),
            Stage::Brotli(stage) => stage.push(input, sink),
            Stage::Zstd(stage) => stage.push(input, sink),
        }
    }

    fn check_end(&self) -> Result<(), CodingError> {
        let (is_complete, coding) = match self {
            Stage::Gzip(stage) => (stage.is_complete(), "gzip"),
            Stage::Deflate(stage) => (stage.is_complete(), "deflate"),
            Stage::Brotli(stage) => (stage.is_complete, "br"),
            Stage::Zstd(stage) => (stage.is_complete(), "zstd"),
        };
        match is_complete {
            true => Ok(()),
            false => Err(CodingError::cut(coding)),
        }
    }
}

/// Brotli (RFC 7932) without the large windows that are no part of it.
struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    is_complete: bool,
}

impl Brotli {
    fn new() -> Self {
        let alloc = StandardAlloc::default;
        Brotli {
            state: Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())),
            is_complete: false,
        }
    }

    fn push(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Flow {
        let mut output = [0; PIECE_BYTES];
        let (mut available_in, mut input_offset) = (input.len(), 0);
        // Bytes behind the end are nobody's, as with the other codings.
        while !self.is_complete {
            let (mut available_out, mut written, mut total) = (output.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut available_in,
                &mut input_offset,
                input,
                &mut available_out,
                &mut written,
                &mut output,
                &mut total,
                &mut self.state,
            );
            if written > 0 && sink(&output[..written])?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            match result {
                BrotliResult::ResultSuccess => self.is_complete = true,
                BrotliResult::NeedsMoreInput => break,
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultFailure => {
                    return Err(CodingError::invalid("br", "the stream is damaged"));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests;
