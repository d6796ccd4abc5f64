//! KRPC (BEP 5, "KRPC Protocol"): the datagrams that nodes of the DHT exchange, with the extensions of BEPs 32, 33, 42,
//! 43, 44 and 51.
//!
//! [`Message::decode`] borrows everything from the datagram, and allocates nothing. [`Message::encode`] appends to a
//! buffer that can be used again; what it writes is canonical bencode.
//!
//! What strangers send is read leniently where that is harmless, and refused with a [`Malformed`] where it is not:
//!
//! - unknown keys are ignored, and keys may come in any order; a known key that occurs twice, or has a value of the
//!   wrong type, is refused;
//! - an unknown query that has a target is [`Call::Unknown`], to be answered like `find_node`;
//! - addresses to which nothing can be sent, of port 0 for example, are passed over in lists of contacts and peers, and
//!   refused where a node announces one;
//! - [`Malformed::answer`] is the error to send back. There is one for queries alone, so that no answer is ever
//!   answered, and for those alone whose transaction could be read.

mod compact;
mod error;
mod query;
mod reply;

pub use compact::{Contact, ContactV4, ContactV6, Contacts, Endpoint, Ids, Peers, PeersIter};
pub use error::{ErrorCode, ErrorReply, Malformed, Problem, TooLong};
pub use query::{AnnouncedPort, Call, MutablePut, Put, Query, Want};
pub use reply::{
    FILTER_LEN, INTERVAL_LIMIT_SECONDS, Item, KEY_LEN, Reply, SIGNATURE_LEN, Samples, Scrape,
};

use crate::CodecMutant;
use crate::bencode::{self, Decoder, Dictionary, Raw, Value};
use std::net::SocketAddr;

/// The longest datagram that is read, in bytes. BEP 32 asks for 1024 at least and larger ones for robustness; a
/// `put` of BEP 44 needs about 1300, and an Ethernet frame carries 1472.
pub const DATAGRAM_LIMIT_BYTES: usize = 2_048;
/// The longest reply that is sent, in bytes (BEP 32, "Maximum packet size"). Only a value of BEP 44 may make it longer,
/// which has no other way to travel: see [`ITEM_REPLY_LIMIT_BYTES`].
pub const REPLY_LIMIT_BYTES: usize = 1_024;
/// The longest reply with a value of BEP 44, in bytes: what an Ethernet frame carries over IPv6.
pub const ITEM_REPLY_LIMIT_BYTES: usize = 1_452;
/// Bytes of a key that pads a message, `1:z`, and of the length of what it has, `0:`.
const PADDING_OVERHEAD: usize = 3 + 2;
/// The longest transaction id, in bytes. Nodes in use have two to twenty.
pub const TRANSACTION_LIMIT_BYTES: usize = 32;
/// The longest write token, in bytes. Nodes in use have four to twenty.
pub const TOKEN_LIMIT_BYTES: usize = 64;
/// The longest name of a client that is kept, in bytes; BEP 5 has four. A longer one is passed over.
pub const VERSION_LIMIT_BYTES: usize = 32;

/// One datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What ties a reply to its query: chosen by who asks, repeated exactly by who answers.
    pub transaction: &'a [u8],
    /// The sender's client and version (BEP 5: two characters each by BEP 20).
    pub version: Option<&'a [u8]>,
    /// Where the query came from, as its receiver saw it: in replies and errors, from nodes that support BEP 42.
    /// Anything else than an address and a port is passed over.
    pub requester: Option<SocketAddr>,
    /// What it says.
    pub body: Body<'a>,
}

/// What a [`Message`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Somebody asks.
    Query(Query<'a>),
    /// The answer to a query.
    Reply(Reply<'a>),
    /// A query was not fulfilled.
    Error(ErrorReply<'a>),
}

impl<'a> Message<'a> {
    /// A query.
    pub fn query(transaction: &'a [u8], query: Query<'a>) -> Message<'a> {
        Message::new(transaction, Body::Query(query))
    }

    /// The reply to the query of that transaction.
    pub fn reply(transaction: &'a [u8], reply: Reply<'a>) -> Message<'a> {
        Message::new(transaction, Body::Reply(reply))
    }

    /// The error that answers the query of that transaction.
    pub fn error(transaction: &'a [u8], error: ErrorReply<'a>) -> Message<'a> {
        Message::new(transaction, Body::Error(error))
    }

    fn new(transaction: &'a [u8], body: Body<'a>) -> Message<'a> {
        Message {
            transaction,
            version: None,
            requester: None,
            body,
        }
    }

    /// The same with the name of the client that sends it.
    pub fn with_version(self, version: &'a [u8]) -> Message<'a> {
        let version = Some(version);
        Message { version, ..self }
    }

    /// The same with where the query came from (BEP 42).
    pub fn with_requester(self, requester: SocketAddr) -> Message<'a> {
        let requester = Some(requester);
        Message { requester, ..self }
    }

    /// Reads a datagram.
    pub fn decode(datagram: &'a [u8]) -> Result<Message<'a>, Malformed<'a>> {
        Message::decode_planted(datagram, None)
    }

    /// The same with a bug of the zoo in it.
    pub(crate) fn decode_planted(
        datagram: &'a [u8],
        planted: Option<CodecMutant>,
    ) -> Result<Message<'a>, Malformed<'a>> {
        if datagram.len() > DATAGRAM_LIMIT_BYTES {
            return Err(Malformed::silent(Problem::TooLarge));
        }
        let envelope = Envelope::read(datagram, planted).map_err(Malformed::silent)?;
        // From here on it is known what to call the query that is refused.
        let Envelope {
            transaction, kind, ..
        } = envelope;
        let refused = |problem| match kind {
            b"q" => Malformed::answerable(problem, transaction),
            _ => Malformed::silent(problem),
        };
        let body = match kind {
            b"q" => Query::read(&envelope, planted).map(Body::Query),
            b"r" => Reply::read(&envelope).map(Body::Reply),
            b"e" => ErrorReply::read(&envelope).map(Body::Error),
            _ => Err(Problem::UnknownKind),
        };
        let body = body.map_err(refused)?;
        Ok(Message {
            transaction,
            version: envelope.version,
            requester: match body {
                Body::Query(_) => None,
                Body::Reply(_) | Body::Error(_) => envelope.requester,
            },
            body,
        })
    }

    /// Appends the datagram to `out`.
    ///
    /// It writes what it is given: what is longer than the limits of this module is refused by who reads it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        bencode::write_dictionary(out, |top| {
            match &self.body {
                Body::Query(query) => {
                    top.dictionary(b"a", |arguments| query.write_arguments(arguments));
                }
                Body::Error(error) => {
                    top.list(b"e", |list| error.write(list));
                    self.write_requester(top);
                }
                Body::Reply(_) => self.write_requester(top),
            }
            let kind: &[u8] = match &self.body {
                Body::Query(query) => {
                    top.bytes(b"q", query.call.method());
                    if query.is_read_only {
                        top.integer(b"ro", 1);
                    }
                    b"q"
                }
                Body::Reply(reply) => {
                    top.dictionary(b"r", |returns| reply.write_returns(returns));
                    b"r"
                }
                Body::Error(_) => b"e",
            };
            top.bytes(b"t", self.transaction);
            if let Some(version) = self.version {
                top.bytes(b"v", version);
            }
            top.bytes(b"y", kind);
        });
    }

    /// Appends the datagram to `out`, in at most `limit` bytes: of a reply that would be longer, peers are left out
    /// from the end, as many as must be, and nothing else. If that does not do, `out` is left as it was.
    pub fn encode_within(&self, limit: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = out.len();
        self.encode(out);
        let length = out.len() - start;
        if length <= limit {
            return Ok(());
        }
        out.truncate(start);
        let too_long = TooLong { length, limit };
        let Body::Reply(reply) = self.body else {
            return Err(too_long);
        };
        let peers = reply.peers.without_last(length - limit).ok_or(too_long)?;
        let body = Body::Reply(Reply { peers, ..reply });
        Message { body, ..*self }.encode(out);
        assert!(out.len() - start <= limit, "peers were left out");
        Ok(())
    }

    /// Appends a query to `out` that is `length` bytes long, or longer if it is so anyway: made so with a key that
    /// means nothing, which is passed over by who reads it. An answer to somebody unknown is no longer than his question.
    ///
    /// Not every length can be made: the shortest padding takes five bytes, and where the padding's own length gets
    /// another digit, one length is left out. Then it is a little longer.
    pub fn encode_padded(&self, length: usize, out: &mut Vec<u8>) {
        let start = out.len();
        self.encode(out);
        let missing = length.saturating_sub(out.len() - start);
        if missing == 0 {
            return;
        }
        let end = out.pop();
        assert_eq!(end, Some(b'e'), "a message is a dictionary");
        bencode::write_bytes(out, b"z");
        // Of the padding itself and the digits of its length, which are four at most.
        let wanted = missing.saturating_sub(PADDING_OVERHEAD - 1);
        let digits = |padding: usize| padding.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut padding = wanted.saturating_sub(4);
        while padding + digits(padding) < wanted {
            padding += 1;
        }
        bencode::write_bytes(out, &[0; DATAGRAM_LIMIT_BYTES][..padding]);
        out.push(b'e');
        debug_assert!(out.len() - start >= length, "it is long enough");
    }

    /// The same reply with `excess` bytes of contacts less, or more, the last ones first; `None` when it has not so many.
    pub fn without_contacts(&self, excess: usize) -> Option<Message<'a>> {
        let Body::Reply(reply) = self.body else {
            return None;
        };
        let mut shorter = reply;
        // Of the shorter list of bytes the length that stands before it may become shorter, too: that is more, not less.
        if let Some(nodes) = reply.nodes.filter(|nodes| nodes.byte_len() >= excess) {
            shorter.nodes = Some(nodes.without_last(excess.div_ceil(ContactV4::LEN)));
        } else if let Some(nodes) = reply.nodes6.filter(|nodes| nodes.byte_len() >= excess) {
            shorter.nodes6 = Some(nodes.without_last(excess.div_ceil(ContactV6::LEN)));
        } else {
            return None;
        }
        Some(Message {
            body: Body::Reply(shorter),
            ..*self
        })
    }

    fn write_requester(&self, top: &mut Dictionary<'_, '_>) {
        match self.requester {
            Some(SocketAddr::V4(address)) => top.bytes_with(b"ip", 6, |out| address.write(out)),
            Some(SocketAddr::V6(address)) => top.bytes_with(b"ip", 18, |out| address.write(out)),
            None => {}
        }
    }
}

/// What is at the top of a message. What `a`, `r` and `e` hold is not yet understood.
struct Envelope<'a> {
    transaction: &'a [u8],
    kind: &'a [u8],
    arguments: Option<Value<'a>>,
    method: Option<Value<'a>>,
    is_read_only: Option<Value<'a>>,
    returns: Option<Value<'a>>,
    error: Option<Value<'a>>,
    requester: Option<SocketAddr>,
    version: Option<&'a [u8]>,
}

impl<'a> Envelope<'a> {
    /// What fails here cannot be answered: it is not known for certain that it is a query, and which.
    fn read(datagram: &'a [u8], planted: Option<CodecMutant>) -> Result<Envelope<'a>, Problem> {
        let mut decoder = Decoder::new(datagram).with_planted(planted);
        decoder.dictionary()?;
        let [
            mut a,
            mut e,
            mut ip,
            mut q,
            mut r,
            mut ro,
            mut t,
            mut v,
            mut y,
        ] = [None; 9];
        while let Some(key) = decoder.key()? {
            let value = decoder.value()?;
            let (slot, name) = match key {
                b"a" => (&mut a, "a"),
                b"e" => (&mut e, "e"),
                b"ip" => (&mut ip, "ip"),
                b"q" => (&mut q, "q"),
                b"r" => (&mut r, "r"),
                b"ro" => (&mut ro, "ro"),
                b"t" => (&mut t, "t"),
                b"v" => (&mut v, "v"),
                b"y" => (&mut y, "y"),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(Problem::DuplicateKey(name));
            }
        }
        decoder.finish()?;
        let transaction = bytes(t, "t")?;
        if transaction.len() > TRANSACTION_LIMIT_BYTES {
            return Err(Problem::TooMuch("t"));
        }
        Ok(Envelope {
            transaction,
            kind: bytes(y, "y")?,
            arguments: a,
            method: q,
            is_read_only: ro,
            returns: r,
            error: e,
            requester: match ip {
                Some(Value::Bytes(bytes)) => compact::any_address(bytes),
                _ => None,
            },
            version: match v {
                Some(Value::Bytes(bytes)) if bytes.len() <= VERSION_LIMIT_BYTES => Some(bytes),
                _ => None,
            },
        })
    }
}

/// What a dictionary has under `keys`, in their order; any other key is passed over.
fn select<'a, const N: usize>(
    value: Option<Value<'a>>,
    name: &'static str,
    keys: [&'static str; N],
) -> Result<[Option<Value<'a>>; N], Problem> {
    let dictionary = match value {
        Some(Value::Dictionary(dictionary)) => dictionary,
        Some(_) => return Err(Problem::WrongType(name)),
        None => return Err(Problem::Missing(name)),
    };
    let mut values = [None; N];
    let mut decoder = dictionary.decoder();
    decoder.dictionary()?;
    // Most senders sort their keys, so the next key is most often found at once.
    let mut next = 0;
    while let Some(key) = decoder.key()? {
        let value = decoder.value()?;
        let mut order = (next..N).chain(0..next);
        let Some(i) = order.find(|i| keys[*i].as_bytes() == key) else {
            continue;
        };
        next = i + 1;
        if values[i].replace(value).is_some() {
            return Err(Problem::DuplicateKey(keys[i]));
        }
    }
    Ok(values)
}

/// The bytes of a value that [`select`] found in the same dictionary.
fn raw<'a>(dictionary: Option<Value<'a>>, key: &'static str) -> Result<Option<Raw<'a>>, Problem> {
    let Some(Value::Dictionary(dictionary)) = dictionary else {
        return Ok(None);
    };
    let mut decoder = dictionary.decoder();
    decoder.dictionary()?;
    while let Some(next) = decoder.key()? {
        let value = decoder.raw()?;
        if next == key.as_bytes() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn bytes<'a>(value: Option<Value<'a>>, name: &'static str) -> Result<&'a [u8], Problem> {
    optional_bytes(value, name)?.ok_or(Problem::Missing(name))
}

fn optional_bytes<'a>(
    value: Option<Value<'a>>,
    name: &'static str,
) -> Result<Option<&'a [u8]>, Problem> {
    match value {
        Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
        Some(_) => Err(Problem::WrongType(name)),
        None => Ok(None),
    }
}

/// A string of exactly `N` bytes.
fn array<'a, const N: usize>(
    value: Option<Value<'a>>,
    name: &'static str,
) -> Result<Option<&'a [u8; N]>, Problem> {
    let Some(bytes) = optional_bytes(value, name)? else {
        return Ok(None);
    };
    bytes
        .try_into()
        .map(Some)
        .map_err(|_| Problem::WrongLength(name))
}

fn id(value: Option<Value<'_>>, name: &'static str) -> Result<crate::Id, Problem> {
    let bytes = array::<{ crate::Id::LEN }>(value, name)?;
    bytes
        .copied()
        .map(crate::Id::new)
        .ok_or(Problem::Missing(name))
}

fn integer(value: Option<Value<'_>>, name: &'static str) -> Result<Option<i64>, Problem> {
    match value {
        Some(Value::Integer(integer)) => {
            integer.to_i64().map(Some).ok_or(Problem::OutOfRange(name))
        }
        Some(_) => Err(Problem::WrongType(name)),
        None => Ok(None),
    }
}

/// A flag: an integer that is not zero, of whatever size.
fn flag(value: Option<Value<'_>>, name: &'static str) -> Result<bool, Problem> {
    match value {
        Some(Value::Integer(integer)) => Ok(integer.digits() != b"0"),
        Some(_) => Err(Problem::WrongType(name)),
        None => Ok(false),
    }
}

fn token<'a>(value: Option<Value<'a>>) -> Result<Option<&'a [u8]>, Problem> {
    let token = optional_bytes(value, "token")?;
    match token.is_some_and(|token| token.len() > TOKEN_LIMIT_BYTES) {
        true => Err(Problem::TooMuch("token")),
        false => Ok(token),
    }
}
