//! Bencode (BEP 3, "bencoding"): a reader that borrows from what it reads, and a writer that writes canonically.
//!
//! The reader is for bytes of strangers. It recurses nowhere, allocates nothing, and looks at no byte more than a fixed
//! number of times. What it accepts:
//!
//! - integers without leading zeros, without `-0`, of any size (BEP 3 sets none): [`Integer::to_i64`] says whether one
//!   fits;
//! - lengths of strings without leading zeros, within the input;
//! - at most [`DEPTH_LIMIT`] levels and [`ELEMENT_LIMIT`] elements;
//! - keys of dictionaries in any order, since there are nodes that do not sort them. [`Raw::is_canonical`] says
//!   whether those of a value are in strictly ascending order at every level, as BEP 3 has it.
//!
//! A key that occurs twice in a dictionary is not the reader's matter, who keeps no set of them: such a dictionary is
//! not canonical, and whoever looks for a key by name refuses the second one.

use crate::CodecMutant;
use std::fmt;
use thiserror::Error;

/// How many lists and dictionaries may be open at once.
pub const DEPTH_LIMIT: usize = 32;
/// How many integers, strings, lists and dictionaries there may be, keys included. A value of BEP 44's 1000 bytes has
/// half as many at most.
pub const ELEMENT_LIMIT: usize = 2_048;

/// Where and why bytes are no bencode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{kind} at byte {offset}")]
pub struct Error {
    /// The first byte of what is wrong.
    pub offset: usize,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// Why bytes are no bencode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ErrorKind {
    /// There should be more.
    #[error("the input ends too early")]
    UnexpectedEnd,
    /// No element begins so.
    #[error("unexpected byte 0x{0:02x}")]
    UnexpectedByte(u8),
    /// An integer that is empty, has a leading zero, is `-0`, or has something else than digits.
    #[error("malformed integer")]
    MalformedInteger,
    /// The length of a string has a leading zero or something else than digits.
    #[error("malformed length of a string")]
    MalformedLength,
    /// A string is longer than what is left.
    #[error("a string goes beyond the end of the input")]
    StringTooLong,
    /// A key that is no string.
    #[error("a key of a dictionary that is no string")]
    KeyNotString,
    /// A key has no value.
    #[error("a key of a dictionary without a value")]
    MissingValue,
    /// More than [`DEPTH_LIMIT`] levels.
    #[error("more than {DEPTH_LIMIT} levels")]
    TooDeep,
    /// More than [`ELEMENT_LIMIT`] elements.
    #[error("more than {ELEMENT_LIMIT} elements")]
    TooManyElements,
    /// A list or dictionary goes beyond the first four gibibytes.
    #[error("too long")]
    TooLong,
    /// Something follows the value.
    #[error("something follows the value")]
    TrailingBytes,
    /// It is well-formed, and something else than was asked for.
    #[error("it is no {0}")]
    WrongType(&'static str),
}

/// An integer as it was written: well-formed, and of any size.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Integer<'a>(&'a [u8]);

impl<'a> Integer<'a> {
    /// Its digits, perhaps after a minus sign.
    pub fn digits(self) -> &'a [u8] {
        self.0
    }

    /// It as an `i64`, if it fits.
    pub fn to_i64(self) -> Option<i64> {
        let (digits, sign) = match self.0 {
            [b'-', digits @ ..] => (digits, -1),
            digits => (digits, 1),
        };
        digits.iter().try_fold(0_i64, |number, digit| {
            // Counted with its sign, since the smallest number has no positive counterpart.
            number
                .checked_mul(10)?
                .checked_add(sign * i64::from(digit - b'0'))
        })
    }
}

impl fmt::Debug for Integer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}

/// One well-formed value with the very bytes that it was read from, which is what BEP 44 hashes and signs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Raw<'a> {
    bytes: &'a [u8],
    is_canonical: bool,
}

impl<'a> Raw<'a> {
    /// The one value that `bytes` are.
    pub fn parse(bytes: &'a [u8]) -> Result<Raw<'a>, Error> {
        let mut decoder = Decoder::new(bytes);
        let raw = decoder.raw()?;
        decoder.finish()?;
        Ok(raw)
    }

    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the keys of all its dictionaries are in strictly ascending order.
    pub fn is_canonical(self) -> bool {
        self.is_canonical
    }

    /// A reader of it.
    pub fn decoder(self) -> Decoder<'a> {
        Decoder::new(self.bytes)
    }
}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes.escape_ascii())
    }
}

/// One value: a scalar, or the bytes of a list or a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer.
    Integer(Integer<'a>),
    /// A string, which has bytes and not characters.
    Bytes(&'a [u8]),
    /// A list.
    List(Raw<'a>),
    /// A dictionary.
    Dictionary(Raw<'a>),
}

/// What an element begins with.
enum Token<'a> {
    Integer(Integer<'a>),
    Bytes(&'a [u8]),
    Open(Container),
    Close,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    List,
    Dictionary,
}

/// The lists and dictionaries that are open while a value is skipped. It is small, since it is set up for each of them.
struct Levels {
    /// How many there are.
    height: usize,
    /// A bit for each that is a dictionary, the outermost being the lowest.
    dictionaries: u32,
    /// Where the last key is, and how long, in each that is a dictionary. A key never stands at the start of the input,
    /// so zero is none.
    last: [(u32, u32); DEPTH_LIMIT],
}

const _: () = assert!(DEPTH_LIMIT <= u32::BITS as usize, "levels have a bit each");

impl Levels {
    fn open(&mut self, container: Container) {
        let bit = 1 << self.height;
        match container {
            Container::List => self.dictionaries &= !bit,
            Container::Dictionary => self.dictionaries |= bit,
        }
        self.last[self.height] = (0, 0);
        self.height += 1;
    }

    fn is_dictionary(&self) -> bool {
        self.dictionaries & 1 << (self.height - 1) != 0
    }
}

/// Reads elements one after another.
///
/// A dictionary is read by [`Decoder::dictionary`], then [`Decoder::key`] and a value for as long as there is a key; a
/// list by [`Decoder::list`], then [`Decoder::element`].
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
    depth: usize,
    elements: usize,
    planted: Option<CodecMutant>,
}

impl<'a> Decoder<'a> {
    /// A reader of `input`, at its start.
    pub fn new(input: &'a [u8]) -> Decoder<'a> {
        Decoder {
            input,
            at: 0,
            depth: 0,
            elements: 0,
            planted: None,
        }
    }

    /// The same with a bug of the zoo in it.
    pub(crate) fn with_planted(self, planted: Option<CodecMutant>) -> Decoder<'a> {
        Decoder { planted, ..self }
    }

    /// How many bytes have been read.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Enters a dictionary, which must be what comes next.
    pub fn dictionary(&mut self) -> Result<(), Error> {
        self.enter(Container::Dictionary, "dictionary")
    }

    /// Enters a list, which must be what comes next.
    pub fn list(&mut self) -> Result<(), Error> {
        self.enter(Container::List, "list")
    }

    /// The next key of the dictionary that was entered; `None` leaves it.
    #[inline]
    pub fn key(&mut self) -> Result<Option<&'a [u8]>, Error> {
        if let Some(key) = self.short_string() {
            return Ok(Some(key));
        }
        let start = self.at;
        match self.token()? {
            Token::Bytes(key) => Ok(Some(key)),
            Token::Close => Ok(None),
            Token::Integer(_) | Token::Open(_) => Err(error(start, ErrorKind::KeyNotString)),
        }
    }

    /// The value that comes next.
    #[inline]
    pub fn value(&mut self) -> Result<Value<'a>, Error> {
        if let Some(bytes) = self.short_string() {
            return Ok(Value::Bytes(bytes));
        }
        let start = self.at;
        let token = self.token()?;
        self.value_of(token, start)
    }

    /// The next element of the list that was entered; `None` leaves it.
    #[inline]
    pub fn element(&mut self) -> Result<Option<Value<'a>>, Error> {
        if let Some(bytes) = self.short_string() {
            return Ok(Some(Value::Bytes(bytes)));
        }
        let start = self.at;
        match self.token()? {
            Token::Close => Ok(None),
            token => self.value_of(token, start).map(Some),
        }
    }

    /// The bytes of the value that comes next.
    pub fn raw(&mut self) -> Result<Raw<'a>, Error> {
        let start = self.at;
        let is_canonical = match self.value()? {
            Value::List(raw) | Value::Dictionary(raw) => raw.is_canonical,
            Value::Integer(_) | Value::Bytes(_) => true,
        };
        Ok(Raw {
            bytes: &self.input[start..self.at],
            is_canonical,
        })
    }

    /// Checks that nothing is left.
    pub fn finish(&self) -> Result<(), Error> {
        match self.at == self.input.len() {
            true => Ok(()),
            false => Err(error(self.at, ErrorKind::TrailingBytes)),
        }
    }

    fn enter(&mut self, wanted: Container, name: &'static str) -> Result<(), Error> {
        let start = self.at;
        match self.token()? {
            Token::Open(container) if container == wanted => Ok(()),
            _ => Err(error(start, ErrorKind::WrongType(name))),
        }
    }

    fn value_of(&mut self, token: Token<'a>, start: usize) -> Result<Value<'a>, Error> {
        Ok(match token {
            Token::Integer(integer) => Value::Integer(integer),
            Token::Bytes(bytes) => Value::Bytes(bytes),
            // The only place where a value can be missing is after a key: a list ends where it may.
            Token::Close => return Err(error(start, ErrorKind::MissingValue)),
            Token::Open(container) => {
                let is_canonical = self.skip(container)?;
                let raw = Raw {
                    bytes: &self.input[start..self.at],
                    is_canonical,
                };
                match container {
                    Container::List => Value::List(raw),
                    Container::Dictionary => Value::Dictionary(raw),
                }
            }
        })
    }

    /// Reads to the end of a list or dictionary that was just entered, and says whether what is in it is canonical.
    fn skip(&mut self, container: Container) -> Result<bool, Error> {
        let mut levels = Levels {
            height: 0,
            dictionaries: 0,
            last: [(0, 0); DEPTH_LIMIT],
        };
        levels.open(container);
        let mut is_canonical = true;
        while levels.height > 0 {
            let is_dictionary = levels.is_dictionary();
            if is_dictionary {
                let Some(key) = self.key()? else {
                    levels.height -= 1;
                    continue;
                };
                let (start, length) = levels.last[levels.height - 1];
                let (start, length) = (start as usize, length as usize);
                let is_first = start == 0;
                is_canonical &= is_first || self.input[start..start + length] < *key;
                // The key ends where the reader is.
                let Ok(end) = u32::try_from(self.at) else {
                    return Err(error(self.at, ErrorKind::TooLong));
                };
                let length = key.len() as u32;
                levels.last[levels.height - 1] = (end - length, length);
            }
            if self.short_string().is_some() {
                continue;
            }
            let start = self.at;
            match self.token()? {
                Token::Integer(_) | Token::Bytes(_) => {}
                // `token` refuses what is deeper than the limit, and that counts these levels too.
                Token::Open(container) => levels.open(container),
                Token::Close if is_dictionary => {
                    return Err(error(start, ErrorKind::MissingValue));
                }
                Token::Close => levels.height -= 1,
            }
        }
        Ok(is_canonical)
    }

    /// The string that comes next, if it is what nearly all are: well-formed and of less than a hundred bytes. What it
    /// is otherwise, [`Decoder::token`] finds out.
    #[inline(always)]
    fn short_string(&mut self) -> Option<&'a [u8]> {
        let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
        let (length, rest) = match *self.input.get(self.at..)? {
            [a, b':', ref rest @ ..] if digit(a) < 10 => (digit(a), rest),
            [a, b, b':', ref rest @ ..] if (1..10).contains(&digit(a)) && digit(b) < 10 => {
                (10 * digit(a) + digit(b), rest)
            }
            _ => return None,
        };
        if self.elements == ELEMENT_LIMIT {
            return None;
        }
        let bytes = rest.get(..length)?;
        self.elements += 1;
        self.at = self.input.len() - rest.len() + length;
        Some(bytes)
    }

    fn token(&mut self) -> Result<Token<'a>, Error> {
        let start = self.at;
        let Some(&first) = self.input.get(start) else {
            return Err(error(start, ErrorKind::UnexpectedEnd));
        };
        if first == b'e' && self.depth > 0 {
            self.at += 1;
            self.depth -= 1;
            return Ok(Token::Close);
        }
        if self.elements == ELEMENT_LIMIT {
            return Err(error(start, ErrorKind::TooManyElements));
        }
        self.elements += 1;
        match first {
            b'0'..=b'9' => self.bytes().map(Token::Bytes),
            b'i' => self.integer().map(Token::Integer),
            b'l' => self.open(Container::List),
            b'd' => self.open(Container::Dictionary),
            other => Err(error(start, ErrorKind::UnexpectedByte(other))),
        }
    }

    fn open(&mut self, container: Container) -> Result<Token<'a>, Error> {
        if self.depth >= DEPTH_LIMIT && !CodecMutant::DepthUnchecked.is_in(self.planted) {
            return Err(error(self.at, ErrorKind::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        Ok(Token::Open(container))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let start = self.at;
        let rest = &self.input[start..];
        let mut length = 0_usize;
        for (i, &byte) in rest.iter().enumerate() {
            match byte {
                b'0'..=b'9' if i > 0 && length == 0 => {
                    return Err(error(start, ErrorKind::MalformedLength));
                }
                b'0'..=b'9' => {
                    let digit = usize::from(byte - b'0');
                    // No more than ten times the input's length: nothing is lost, but with a planted bug.
                    length = length.wrapping_mul(10).wrapping_add(digit);
                    // Here, and not only at the colon, so that no number of digits can overflow.
                    if length > rest.len() && !CodecMutant::LengthWraps.is_in(self.planted) {
                        return Err(error(start, ErrorKind::StringTooLong));
                    }
                }
                b':' => {
                    let from = i + 1;
                    let Some(bytes) = rest.get(from..from.wrapping_add(length)) else {
                        return Err(error(start, ErrorKind::StringTooLong));
                    };
                    self.at = start + from + length;
                    return Ok(bytes);
                }
                _ => return Err(error(start, ErrorKind::MalformedLength)),
            }
        }
        Err(error(self.input.len(), ErrorKind::UnexpectedEnd))
    }

    fn integer(&mut self) -> Result<Integer<'a>, Error> {
        let start = self.at;
        let text = &self.input[start + 1..];
        let Some(end) = text.iter().position(|byte| *byte == b'e') else {
            let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
            return Err(match text.iter().all(is_number) {
                true => error(self.input.len(), ErrorKind::UnexpectedEnd),
                false => error(start, ErrorKind::MalformedInteger),
            });
        };
        let text = &text[..end];
        let is_wellformed = match text {
            [b'0'] => true,
            [b'-', first @ b'1'..=b'9', rest @ ..] | [first @ b'1'..=b'9', rest @ ..] => {
                first.is_ascii_digit() && rest.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        };
        let is_let_pass = CodecMutant::LeadingZeros.is_in(self.planted)
            && text.last().is_some_and(u8::is_ascii_digit)
            && text
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b'-');
        if !is_wellformed && !is_let_pass {
            return Err(error(start, ErrorKind::MalformedInteger));
        }
        self.at = start + 1 + end + 1;
        Ok(Integer(text))
    }
}

fn error(offset: usize, kind: ErrorKind) -> Error {
    Error { offset, kind }
}

mod encode;
pub use encode::{Dictionary, List, write_bytes, write_dictionary, write_integer, write_list};
