//! Zstandard (RFC 8878) with the window that HTTP allows (RFC 9659).

use super::{CodingError, Flow, PIECE_BYTES, Sink};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::{io::Read, ops::ControlFlow};

/// The largest window of the coding (RFC 9659, section 3).
const MAX_WINDOW_BYTES: u64 = 8 << 20;
/// The largest block on the wire.
const MAX_BLOCK_BYTES: usize = 128 * 1024;

const FRAME_MAGIC: u32 = 0xfd2f_b528;
/// Frames to skip have any of sixteen magic numbers.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a50;

/// One or more frames, one behind the other.
pub struct Zstd {
    /// What came and is not a whole header or block yet: at most a block.
    waiting: Vec<u8>,
    decoder: FrameDecoder,
    part: Part,
    frames: usize,
}

enum Part {
    Header,
    Blocks {
        has_checksum: bool,
    },
    /// Bytes of a skippable frame that are still to come.
    Skip(u64),
}

impl Zstd {
    pub fn new() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
        Zstd {
            waiting: Vec::new(),
            decoder,
            part: Part::Header,
            frames: 0,
        }
    }

    pub fn is_complete(&self) -> bool {
        let is_between = matches!(self.part, Part::Header | Part::Skip(0));
        self.frames > 0 && is_between && self.waiting.is_empty()
    }

    pub fn push(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Flow {
        // Taken in by pieces, so that what waits stays below a block and a piece.
        loop {
            let (piece, rest) = input.split_at(input.len().min(PIECE_BYTES));
            input = rest;
            self.waiting.extend_from_slice(piece);
            let mut waiting = std::mem::take(&mut self.waiting);
            let mut at = 0;
            while let Some(len) = self.next_len(&waiting[at..])? {
                let part = &waiting[at..at + len];
                at += len;
                if self.take(part, sink)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            waiting.drain(..at);
            self.waiting = waiting;
            if input.is_empty() {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// The length of the next part if `bytes` begin with all of it.
    fn next_len(&self, bytes: &[u8]) -> Result<Option<usize>, CodingError> {
        let len = match self.part {
            Part::Header => header_len(bytes)?,
            Part::Blocks { has_checksum } => block_len(bytes, has_checksum)?,
            Part::Skip(0) => Some(0),
            Part::Skip(left) => {
                let len = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                (len > 0).then_some(len)
            }
        };
        Ok(len.filter(|&len| len <= bytes.len()))
    }

    fn take(&mut self, part: &[u8], sink: &mut Sink<'_>) -> Flow {
        match &mut self.part {
            Part::Header if part.len() == 8 && is_skippable(part) => {
                let len: [u8; 4] = part[4..].try_into().expect("four bytes");
                self.part = Part::Skip(u64::from(u32::from_le_bytes(len)));
            }
            Part::Header => {
                self.decoder
                    .reset(part)
                    .map_err(|error| CodingError::invalid("zstd", error))?;
                let has_checksum = part[4] & 4 != 0;
                self.part = Part::Blocks { has_checksum };
            }
            Part::Blocks { .. } => return self.take_block(part, sink),
            Part::Skip(left) => {
                *left -= part.len() as u64;
                if *left == 0 {
                    self.frames += 1;
                    self.part = Part::Header;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn take_block(&mut self, block: &[u8], sink: &mut Sink<'_>) -> Flow {
        let is_last = self
            .decoder
            .decode_blocks(block, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|error| CodingError::invalid("zstd", error))?;
        let mut output = [0; PIECE_BYTES];
        loop {
            let len = self
                .decoder
                .read(&mut output)
                .map_err(|error| CodingError::invalid("zstd", error))?;
            if len == 0 {
                break;
            }
            if sink(&output[..len])?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if is_last {
            self.frames += 1;
            self.part = Part::Header;
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn is_skippable(bytes: &[u8]) -> bool {
    magic(bytes).is_some_and(|magic| magic & 0xffff_fff0 == SKIPPABLE_MAGIC)
}

fn magic(bytes: &[u8]) -> Option<u32> {
    let magic: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    Some(u32::from_le_bytes(magic))
}

/// The length of a frame's header (RFC 8878, section 3.1.1.1), once enough of it is there to know.
fn header_len(bytes: &[u8]) -> Result<Option<usize>, CodingError> {
    let Some(magic) = magic(bytes) else {
        return Ok(None);
    };
    if is_skippable(bytes) {
        return Ok(Some(8));
    }
    if magic != FRAME_MAGIC {
        return Err(CodingError::invalid("zstd", "it has no zstd header"));
    }
    let Some(&descriptor) = bytes.get(4) else {
        return Ok(None);
    };
    let is_single_segment = descriptor & 0x20 != 0;
    let window = usize::from(!is_single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        shift => 1 << shift,
    };
    Ok(Some(5 + window + dictionary + content_size))
}

/// The length of a block with its header, and with the frame's checksum behind the last one (RFC 8878, 3.1.1.2).
fn block_len(bytes: &[u8], has_checksum: bool) -> Result<Option<usize>, CodingError> {
    let Some(header) = bytes.get(..3) else {
        return Ok(None);
    };
    let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let size = (header >> 3) as usize;
    let content = match header >> 1 & 3 {
        // One byte, repeated.
        1 => 1,
        0 | 2 => size,
        _ => return Err(CodingError::invalid("zstd", "a block is of no known type")),
    };
    if size > MAX_BLOCK_BYTES {
        return Err(CodingError::invalid("zstd", "a block is too large"));
    }
    let checksum = if has_checksum && header & 1 == 1 {
        4
    } else {
        0
    };
    Ok(Some(3 + content + checksum))
}
