//! Errors: those that nodes tell each other, and why a datagram is refused.

use super::{Envelope, Message, integer};
use crate::bencode::{self, List, Value};
use std::fmt;
use thiserror::Error;

/// The number of an error (BEP 5, "Errors"; BEP 44, "Errors").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// 201: anything that no other number is for.
    Generic,
    /// 202: the node cannot do it now.
    Server,
    /// 203: a malformed message, invalid arguments, or a bad token.
    Protocol,
    /// 204: no such query.
    MethodUnknown,
    /// 205: a value of BEP 44 is too long.
    ValueTooBig,
    /// 206: the signature of an item is wrong (BEP 44).
    InvalidSignature,
    /// 207: a salt is too long (BEP 44).
    SaltTooBig,
    /// 301: the sequence number stored is not the one expected: read again, then try again (BEP 44, "CAS").
    CasMismatch,
    /// 302: the sequence number is lower than the one stored (BEP 44).
    SequenceTooLow,
    /// A number that no BEP has.
    Other(i64),
}

impl ErrorCode {
    const NAMED: [(ErrorCode, i64, &'static str); 9] = [
        (ErrorCode::Generic, 201, "Generic Error"),
        (ErrorCode::Server, 202, "Server Error"),
        (ErrorCode::Protocol, 203, "Protocol Error"),
        (ErrorCode::MethodUnknown, 204, "Method Unknown"),
        (ErrorCode::ValueTooBig, 205, "Message (v field) too big"),
        (ErrorCode::InvalidSignature, 206, "Invalid signature"),
        (ErrorCode::SaltTooBig, 207, "Salt (salt field) too big"),
        (
            ErrorCode::CasMismatch,
            301,
            "CAS mismatch, re-read value and try again",
        ),
        (
            ErrorCode::SequenceTooLow,
            302,
            "Sequence number less than current",
        ),
    ];

    /// The error of that number.
    pub fn of(number: i64) -> ErrorCode {
        let mut named = Self::NAMED.iter();
        named
            .find(|(_, n, _)| *n == number)
            .map_or(ErrorCode::Other(number), |(code, ..)| *code)
    }

    /// Its number.
    pub fn number(self) -> i64 {
        match self {
            ErrorCode::Other(number) => number,
            named => Self::entry(named).map_or(0, |(_, number, _)| *number),
        }
    }

    /// What it means, in the words that are sent.
    pub fn message(self) -> &'static str {
        Self::entry(self).map_or("", |(.., message)| message)
    }

    fn entry(self) -> Option<&'static (ErrorCode, i64, &'static str)> {
        Self::NAMED.iter().find(|(code, ..)| *code == self)
    }
}

/// Why a query was not fulfilled, as it travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorReply<'a> {
    /// Which error.
    pub code: ErrorCode,
    /// What the other end says about it: text for people, in no encoding in particular. Empty if it says nothing.
    pub message: &'a [u8],
}

impl<'a> ErrorReply<'a> {
    pub(super) fn read(envelope: &Envelope<'a>) -> Result<ErrorReply<'a>, Problem> {
        let list = match envelope.error {
            Some(Value::List(list)) => list,
            Some(_) => return Err(Problem::WrongType("e")),
            None => return Err(Problem::Missing("e")),
        };
        let mut decoder = list.decoder();
        decoder.list()?;
        let code = integer(decoder.element()?, "e")?.ok_or(Problem::Missing("e"))?;
        let message = match decoder.element()? {
            Some(Value::Bytes(message)) => message,
            Some(_) => return Err(Problem::WrongType("e")),
            // Nodes that leave it out are understood all the same.
            None => b"",
        };
        let code = ErrorCode::of(code);
        Ok(ErrorReply { code, message })
    }

    pub(super) fn write(&self, list: &mut List<'_>) {
        list.integer(self.code.number());
        list.bytes(self.message);
    }
}

impl From<ErrorCode> for ErrorReply<'static> {
    fn from(code: ErrorCode) -> ErrorReply<'static> {
        let message = code.message().as_bytes();
        ErrorReply { code, message }
    }
}

impl fmt::Debug for ErrorReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message.escape_ascii();
        write!(f, "{} {message}", self.code.number())
    }
}

/// What is wrong with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// It is longer than [`super::DATAGRAM_LIMIT_BYTES`].
    #[error("longer than {} bytes", super::DATAGRAM_LIMIT_BYTES)]
    TooLarge,
    /// It is no bencode, or no dictionary.
    #[error("malformed bencode: {0}")]
    Bencode(#[from] bencode::Error),
    /// `y` is neither query, reply nor error.
    #[error("unknown kind of message")]
    UnknownKind,
    /// No such query, and it has no target for which nodes could be found.
    #[error("unknown query")]
    UnknownMethod,
    /// A key that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A key occurs twice.
    #[error("{0} occurs twice")]
    DuplicateKey(&'static str),
    /// A value is of another type than its key asks for.
    #[error("{0} has the wrong type")]
    WrongType(&'static str),
    /// A string that has a fixed length has another one.
    #[error("{0} has the wrong length")]
    WrongLength(&'static str),
    /// A string is longer than its limit.
    #[error("{0} is too long")]
    TooMuch(&'static str),
    /// A number that cannot be: a port 0, a sequence number below zero.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// A value to store is not canonical bencode (BEP 44, "Messages").
    #[error("{0} is not canonical bencode")]
    NotCanonical(&'static str),
    /// Some of what makes an item mutable is there, and some is not (BEP 44).
    #[error("a mutable item has k, seq and sig; {0} is missing")]
    HalfMutable(&'static str),
}

impl Problem {
    /// What a node is told whose query has it.
    pub fn code(self) -> ErrorCode {
        match self {
            Problem::UnknownMethod => ErrorCode::MethodUnknown,
            Problem::TooMuch("v") => ErrorCode::ValueTooBig,
            Problem::TooMuch("salt") => ErrorCode::SaltTooBig,
            _ => ErrorCode::Protocol,
        }
    }
}

/// Why a datagram was refused, and whether its sender is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct Malformed<'a> {
    /// What is wrong.
    pub problem: Problem,
    transaction: Option<&'a [u8]>,
}

impl<'a> Malformed<'a> {
    pub(super) fn silent(problem: Problem) -> Malformed<'a> {
        let transaction = None;
        Malformed {
            problem,
            transaction,
        }
    }

    pub(super) fn answerable(problem: Problem, transaction: &'a [u8]) -> Malformed<'a> {
        let transaction = Some(transaction);
        Malformed {
            problem,
            transaction,
        }
    }

    /// The error to send back, if it was a query: nothing else is ever answered.
    pub fn answer(&self) -> Option<Message<'a>> {
        let error = ErrorReply::from(self.problem.code());
        self.transaction.map(|t| Message::error(t, error))
    }
}

/// A message does not fit into its limit, even without peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a message of {length} bytes, of {limit} at most")]
pub struct TooLong {
    /// Its length, in bytes.
    pub length: usize,
    /// The limit, in bytes.
    pub limit: usize,
}
