//! gzip (RFC 1952) and what HTTP calls deflate: zlib (RFC 1950), or bare deflate (RFC 1951), which servers send too.

use super::{CodingError, Flow, PIECE_BYTES, Sink};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::ops::ControlFlow;

/// How much was eaten, and whether the stream is at its end.
struct Inflated {
    consumed: usize,
    is_end: bool,
    is_stopped: bool,
}

fn inflate(
    inflater: &mut Decompress,
    coding: &'static str,
    input: &[u8],
    sink: &mut Sink<'_>,
) -> Result<Inflated, CodingError> {
    let mut output = [0; PIECE_BYTES];
    let mut consumed = 0;
    loop {
        let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress(&input[consumed..], &mut output, FlushDecompress::None)
            .map_err(|error| CodingError::invalid(coding, error))?;
        let eaten = (inflater.total_in() - before_in) as usize;
        let written = (inflater.total_out() - before_out) as usize;
        consumed += eaten;
        let is_stopped = written > 0 && sink(&output[..written])?.is_break();
        let is_end = status == Status::StreamEnd;
        // The inflater may hand over what it had before it eats more, and a full buffer may have more behind it.
        let is_starved = consumed == input.len() && written < output.len();
        if eaten == 0 && written == 0 && !is_end && !is_starved {
            return Err(CodingError::invalid(coding, "the stream is damaged"));
        }
        if is_stopped || is_end || is_starved {
            return Ok(Inflated {
                consumed,
                is_end,
                is_stopped,
            });
        }
    }
}

/// Most bytes of a gzip member's header; file names and comments are in it.
const MAX_HEADER_BYTES: usize = 64 * 1024;

const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;

/// One or more gzip members, one behind the other.
pub struct Gzip {
    part: Part,
    members: usize,
}

enum Part {
    /// What came of a header.
    Header(Vec<u8>),
    Data(Box<Decompress>, Crc),
    /// What came of the eight bytes behind the data.
    Trailer(Vec<u8>, Crc),
    /// Behind a member came something else: padding, which is ignored as browsers do.
    Padding,
}

impl Gzip {
    pub fn new() -> Self {
        Gzip {
            part: Part::Header(Vec::new()),
            members: 0,
        }
    }

    pub fn is_complete(&self) -> bool {
        match &self.part {
            // Less than another header's mark is padding, too.
            Part::Header(bytes) => self.members > 0 && bytes.len() < 2,
            Part::Data(..) | Part::Trailer(..) => false,
            Part::Padding => true,
        }
    }

    pub fn push(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Flow {
        while !input.is_empty() {
            match &mut self.part {
                Part::Header(bytes) => {
                    bytes.push(input[0]);
                    input = &input[1..];
                    match header_end(bytes) {
                        Header::Complete => {
                            let data = Box::new(Decompress::new(false));
                            self.part = Part::Data(data, Crc::new());
                        }
                        Header::Incomplete if bytes.len() < MAX_HEADER_BYTES => {}
                        Header::Incomplete | Header::Invalid if self.members > 0 => {
                            self.part = Part::Padding;
                        }
                        Header::Incomplete | Header::Invalid => {
                            return Err(CodingError::invalid("gzip", "it has no gzip header"));
                        }
                    }
                }
                Part::Data(inflater, crc) => {
                    let inflated = inflate(inflater, "gzip", input, &mut |piece| {
                        crc.update(piece);
                        sink(piece)
                    })?;
                    if inflated.is_stopped {
                        return Ok(ControlFlow::Break(()));
                    }
                    input = &input[inflated.consumed..];
                    if inflated.is_end {
                        let crc = std::mem::take(crc);
                        self.part = Part::Trailer(Vec::new(), crc);
                    }
                }
                Part::Trailer(bytes, crc) => {
                    let len = input.len().min(8 - bytes.len());
                    bytes.extend_from_slice(&input[..len]);
                    input = &input[len..];
                    if bytes.len() == 8 {
                        check_trailer(bytes, crc)?;
                        self.members += 1;
                        self.part = Part::Header(Vec::new());
                    }
                }
                Part::Padding => return Ok(ControlFlow::Continue(())),
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn check_trailer(bytes: &[u8], crc: &Crc) -> Result<(), CodingError> {
    let word = |at: usize| {
        let word: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(word)
    };
    if word(0) != crc.sum() || word(4) != crc.amount() {
        return Err(CodingError::invalid("gzip", "its checksum does not match"));
    }
    Ok(())
}

enum Header {
    Complete,
    Incomplete,
    Invalid,
}

/// Whether `bytes` are a whole header (RFC 1952, section 2.3). Called with each byte that comes.
fn header_end(bytes: &[u8]) -> Header {
    let mark = [0x1f, 0x8b, 8];
    let common = bytes.len().min(mark.len());
    if bytes[..common] != mark[..common] {
        return Header::Invalid;
    }
    if bytes.len() < 10 {
        return Header::Incomplete;
    }
    let flags = bytes[3];
    if flags & FLAGS_RESERVED != 0 {
        return Header::Invalid;
    }
    let mut at = 10;
    if flags & FLAG_EXTRA != 0 {
        let Some(len) = bytes.get(at..at + 2) else {
            return Header::Incomplete;
        };
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let rest = bytes.get(at..).unwrap_or_default();
            match rest.iter().position(|&byte| byte == 0) {
                Some(end) => at += end + 1,
                None => return Header::Incomplete,
            }
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        at += 2;
    }
    match bytes.len() >= at {
        true => Header::Complete,
        false => Header::Incomplete,
    }
}

/// zlib, or bare deflate where the first two bytes are no zlib header.
pub struct Deflate {
    first: Option<u8>,
    inflater: Option<Box<Decompress>>,
    is_complete: bool,
}

impl Deflate {
    pub fn new() -> Self {
        Deflate {
            first: None,
            inflater: None,
            is_complete: false,
        }
    }

    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub fn push(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Flow {
        if self.is_complete || input.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        if self.inflater.is_none() {
            let Some(first) = self.first else {
                self.first = Some(input[0]);
                return self.push(&input[1..], sink);
            };
            // Method 8 and a check of the two bytes: RFC 1950, section 2.2.
            let is_zlib =
                first & 0x0f == 8 && u16::from_be_bytes([first, input[0]]).is_multiple_of(31);
            self.inflater = Some(Box::new(Decompress::new(is_zlib)));
            if self.inflate(&[first], sink)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        while !input.is_empty() && !self.is_complete {
            let (piece, rest) = input.split_at(input.len().min(PIECE_BYTES));
            input = rest;
            if self.inflate(piece, sink)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn inflate(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Flow {
        let inflater = self.inflater.as_mut().expect("made before the first byte");
        let inflated = inflate(inflater, "deflate", input, sink)?;
        self.is_complete = inflated.is_end;
        Ok(match inflated.is_stopped {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    }
}
