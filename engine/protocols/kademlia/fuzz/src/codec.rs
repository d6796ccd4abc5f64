//! Datagrams and bencode: what is read, and what comes of it.

use crate::tree::Tree;
use holdfast_kademlia::Message;
use holdfast_kademlia::bencode::{DEPTH_LIMIT, ELEMENT_LIMIT, Raw};
use holdfast_kademlia::krpc::{
    Body, Call, ContactV4, ContactV6, DATAGRAM_LIMIT_BYTES, Endpoint, INTERVAL_LIMIT_SECONDS,
    Reply, TOKEN_LIMIT_BYTES, TRANSACTION_LIMIT_BYTES, VERSION_LIMIT_BYTES,
};
use std::net::SocketAddr;

/// How much longer a message may be when it is written than when it was read: what a node may leave out and this crate
/// does not, such as the interval of a sample.
const GROWS_BY: usize = 64;

/// Checks all that can be said of one datagram, and tells whether it was read.
///
/// # Panics
/// When it is read as something else than it is, when what is written is not read as the same, or when somebody is
/// answered who must not be.
pub fn check(datagram: &[u8]) -> bool {
    check_bencode(datagram);
    let is_bencode = Raw::parse(datagram).is_ok();
    let message = match Message::decode(datagram) {
        Ok(message) => message,
        Err(refused) => {
            if let Some(answer) = refused.answer() {
                assert!(is_bencode, "only what is bencode is answered");
                let mut out = Vec::new();
                answer.encode(&mut out);
                let answer = Message::decode(&out).expect("an answer is well-formed");
                assert!(matches!(answer.body, Body::Error(_)));
                assert!(is_within(answer.transaction, &out));
            }
            return false;
        }
    };
    assert!(is_bencode && datagram.len() <= DATAGRAM_LIMIT_BYTES);
    check_parts(&message, datagram);
    let mut out = Vec::new();
    message.encode(&mut out);
    assert!(
        out.len() <= datagram.len() + GROWS_BY,
        "{} bytes became {}",
        datagram.len(),
        out.len()
    );
    let raw = Raw::parse(&out).expect("what is written is bencode");
    // A reply's value is passed on as it came, and so is a list of peers.
    let is_reply = matches!(message.body, Body::Reply(_));
    assert!(
        raw.is_canonical() || is_reply,
        "what is written is canonical"
    );
    if out.len() <= DATAGRAM_LIMIT_BYTES {
        let again = Message::decode(&out).expect("what is written is read");
        assert_eq!(again, message, "and says the same");
        let mut twice = Vec::new();
        again.encode(&mut twice);
        assert_eq!(twice, out, "and is written the same again");
    }
    check_shortened(&message, &out);
    true
}

/// Compares what the reader says of bytes with what a simple one says, and reads them into a tree and back.
fn check_bencode(bytes: &[u8]) {
    let mut plain = Plain {
        bytes,
        at: 0,
        elements: 0,
        is_canonical: true,
    };
    let is_one = plain.element(0).is_some() && plain.at == bytes.len();
    match Raw::parse(bytes) {
        Ok(raw) => {
            assert!(is_one, "it is no bencode");
            assert_eq!(raw.is_canonical(), plain.is_canonical, "is it canonical");
            assert_eq!(raw.bytes(), bytes);
            let tree = Tree::parse(bytes).expect("it is well-formed");
            let mut out = Vec::with_capacity(bytes.len());
            tree.write(&mut out);
            assert_eq!(out, bytes, "it was read as something else");
        }
        Err(error) => {
            assert!(!is_one, "it is bencode: {error}");
            assert!(error.offset <= bytes.len(), "an error is in the input");
        }
    }
}

/// Whether `part` is a piece of `whole`, not a copy.
fn is_within(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    // What is empty may be nowhere.
    part.is_empty() || (part.start >= whole.start && part.end <= whole.end)
}

/// The limits and the borrowing of what was read.
fn check_parts(message: &Message<'_>, datagram: &[u8]) {
    let borrowed = |part: &[u8]| assert!(is_within(part, datagram), "nothing is copied");
    borrowed(message.transaction);
    assert!(message.transaction.len() <= TRANSACTION_LIMIT_BYTES);
    if let Some(version) = message.version {
        borrowed(version);
        assert!(version.len() <= VERSION_LIMIT_BYTES);
    }
    let token = |token: &[u8]| {
        borrowed(token);
        assert!(token.len() <= TOKEN_LIMIT_BYTES);
    };
    match message.body {
        Body::Query(query) => {
            assert_eq!(message.requester, None);
            match query.call {
                Call::AnnouncePeer { token: given, .. } => token(given),
                Call::Put(put) => {
                    token(put.token);
                    borrowed(put.value.bytes());
                    assert!(put.value.is_canonical());
                    assert!(put.value.bytes().len() <= holdfast_kademlia::item::VALUE_LIMIT_BYTES);
                    if let Some(mutable) = put.mutable {
                        borrowed(mutable.salt);
                        assert!(mutable.sequence >= 0 && mutable.cas.is_none_or(|cas| cas >= 0));
                        assert!(mutable.salt.len() <= holdfast_kademlia::item::SALT_LIMIT_BYTES);
                    }
                }
                _ => {}
            }
        }
        Body::Reply(reply) => {
            if let Some(given) = reply.token {
                token(given);
            }
            check_reply(&reply, datagram);
        }
        Body::Error(error) => borrowed(error.message),
    }
}

fn check_reply(reply: &Reply<'_>, datagram: &[u8]) {
    let most = datagram.len();
    if let Some(nodes) = reply.nodes {
        assert!(nodes.count() * ContactV4::LEN <= most);
        assert!(nodes.iter().count() <= nodes.count());
        let mut addresses = nodes.iter().map(|contact| contact.address);
        assert!(addresses.all(Endpoint::is_contactable));
    }
    if let Some(nodes) = reply.nodes6 {
        assert!(nodes.count() * ContactV6::LEN <= most);
        assert!(nodes.iter().count() <= nodes.count());
        let mut addresses = nodes.iter().map(|contact| contact.address);
        assert!(addresses.all(Endpoint::is_contactable));
    }
    let mut peers = 0;
    for peer in reply.peers.iter() {
        peers += 1;
        assert!(match peer {
            SocketAddr::V4(peer) => peer.is_contactable(),
            SocketAddr::V6(peer) => peer.is_contactable(),
        });
    }
    // `6:` and an address.
    assert!(peers * 8 <= most);
    if let Some(value) = reply.item.value {
        assert!(is_within(value.bytes(), datagram));
        assert!(Raw::parse(value.bytes()).is_ok());
    }
    if let Some(samples) = reply.samples {
        assert!(samples.interval <= INTERVAL_LIMIT_SECONDS);
        assert_eq!(samples.ids.iter().count(), samples.ids.count());
    }
}

/// What is made shorter or longer to fit says the same otherwise. `whole` is what it is when nothing has to fit.
fn check_shortened(message: &Message<'_>, whole: &[u8]) {
    let mut out = b"before".to_vec();
    // Limits of all sizes, but always the same for one message.
    for limit in [whole.len(), whole.len() * 3 / 4, whole.len() / 3] {
        out.truncate(6);
        match message.encode_within(limit, &mut out) {
            Ok(()) => {
                assert!(out.len() - 6 <= limit);
                assert!(Raw::parse(&out[6..]).is_ok());
            }
            Err(too_long) => {
                assert_eq!(out, b"before", "it is left as it was");
                assert!(too_long.length > limit && too_long.length <= whole.len());
            }
        }
        let excess = whole.len() - limit;
        if let Some(shorter) = message.without_contacts(excess) {
            let mut out = Vec::new();
            shorter.encode(&mut out);
            assert!(out.len() + excess <= whole.len(), "too few were left out");
        }
    }
    if let Body::Query(_) = message.body {
        let mut out = Vec::new();
        message.encode_padded(whole.len() + 100, &mut out);
        assert!(out.len() >= whole.len() + 100);
        // As long as it is one that is read.
        if out.len() <= DATAGRAM_LIMIT_BYTES {
            let padded = Message::decode(&out).expect("padding is passed over");
            assert_eq!(padded, *message);
        }
    }
}

/// A reader of bencode that is as simple as can be, to compare with.
struct Plain<'a> {
    bytes: &'a [u8],
    at: usize,
    elements: usize,
    is_canonical: bool,
}

impl Plain<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Reads one element inside `depth` lists and dictionaries; `None`: there is none.
    fn element(&mut self, depth: usize) -> Option<()> {
        self.elements += 1;
        if self.elements > ELEMENT_LIMIT {
            return None;
        }
        match self.bytes.get(self.at)? {
            b'i' => {
                self.at += 1;
                let from = self.at;
                while self.next()? != b'e' {}
                let text = std::str::from_utf8(&self.bytes[from..self.at - 1]).ok()?;
                let digits = text.strip_prefix('-').unwrap_or(text);
                let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                let has_zero = digits.starts_with('0') && text != "0";
                (is_number && !has_zero).then_some(())
            }
            b'l' | b'd' if depth == DEPTH_LIMIT => None,
            b'l' => {
                self.at += 1;
                while *self.bytes.get(self.at)? != b'e' {
                    self.element(depth + 1)?;
                }
                self.at += 1;
                Some(())
            }
            b'd' => {
                self.at += 1;
                let mut last: Option<&[u8]> = None;
                while *self.bytes.get(self.at)? != b'e' {
                    self.elements += 1;
                    if self.elements > ELEMENT_LIMIT {
                        return None;
                    }
                    let (from, until) = self.string()?;
                    let key = &self.bytes[from..until];
                    self.is_canonical &= last.is_none_or(|last| last < key);
                    last = Some(key);
                    self.element(depth + 1)?;
                }
                self.at += 1;
                Some(())
            }
            _ => self.string().map(|_| ()),
        }
    }

    /// Where a string's bytes begin and end.
    fn string(&mut self) -> Option<(usize, usize)> {
        let from = self.at;
        while self.next()? != b':' {}
        let digits = std::str::from_utf8(&self.bytes[from..self.at - 1]).ok()?;
        let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
        if !is_plain || (digits.starts_with('0') && digits != "0") {
            return None;
        }
        let length: usize = digits.parse().ok()?;
        let from = self.at;
        self.at = from.checked_add(length)?;
        (self.at <= self.bytes.len()).then_some((from, self.at))
    }
}
