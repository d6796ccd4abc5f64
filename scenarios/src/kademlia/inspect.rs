//! What is seen on the wire, and what must hold of it: nothing is sent to strangers that is longer than what came from
//! them, nothing is answered but queries, and of each answer is remembered who gave it, so that it can be asked of
//! every table how it knows its contacts.

use super::register::{Broken, Registers};
use holdfast_kademlia::{
    Config, Id, Message, Node,
    krpc::{
        Body, DATAGRAM_LIMIT_BYTES, ITEM_REPLY_LIMIT_BYTES, REPLY_LIMIT_BYTES,
        TRANSACTION_LIMIT_BYTES,
    },
};
use holdfast_sim::{
    check::Violation,
    draw::bytes_hash,
    overlay::{Addresses, Watch},
};
use std::net::SocketAddrV4;

/// Queries of one node to another that may still be answered, at most: later ones push out the first.
const PENDING: usize = 32;
/// Ids that are remembered of one address, at most.
const IDS: usize = 256;
/// Longer than a node waits for an answer, nanoseconds.
const ANSWERED_WITHIN: u64 = 10_000_000_000;
/// A node that is woken so soon after it was woken has not waited for anything, nanoseconds.
const SOON: u64 = 1_000;
/// How often in a row it may be: once for each query under way, and more often than anybody has lookups.
const WAKES: u32 = 10_000;
/// An answer that comes so soon is waited for by every node, nanoseconds.
const PROMPT: u64 = 1_000_000_000;
/// Buckets that are looked at; none of a few thousand nodes' tables is deeper.
const DEPTHS: usize = 24;

/// What one node has had of one address.
#[derive(Clone, Debug, Default)]
struct Pair {
    /// It has answered a query.
    has_answered: bool,
    /// Words that stand for the ids under which it answered, the last one last.
    ids: Vec<u64>,
    /// Queries sent there: when, and a word for the transaction.
    pending: Vec<(u64, u64)>,
}

/// What one node has had of all others.
#[derive(Clone, Debug, Default)]
struct Seen {
    id: Id,
    began: u64,
    /// When it was woken last, and how often in a row soon after the time before.
    woken: u64,
    wakes: u32,
    /// Sorted by whose they are.
    pairs: Vec<(u32, Pair)>,
    /// When somebody last answered whose id shares so many bits with the node's own.
    heard: [u64; DEPTHS],
}

impl Seen {
    fn pair(&mut self, other: u32) -> &mut Pair {
        let place = self.pairs.partition_point(|(known, _)| *known < other);
        if self
            .pairs
            .get(place)
            .is_none_or(|(known, _)| *known != other)
        {
            self.pairs.insert(place, (other, Pair::default()));
        }
        &mut self.pairs[place].1
    }

    fn known(&self, other: u32) -> Option<&Pair> {
        let place = self.pairs.binary_search_by_key(&other, |(known, _)| *known);
        place.ok().map(|place| &self.pairs[place].1)
    }
}

/// What an honest node is acting on.
#[derive(Clone, Copy, Debug)]
struct Question {
    node: u32,
    from: u32,
    transaction: u64,
    bytes: usize,
    /// It cannot be understood: there is an error for it, and no reply.
    is_malformed: bool,
}

/// Looks at every datagram of an overlay.
#[derive(Clone, Debug)]
pub struct Inspector {
    addresses: Addresses,
    is_black_box: bool,
    seen: Vec<Seen>,
    question: Option<Question>,
    /// Who has answered whom just now, under which id, and must be in his table next.
    entering: Option<(u32, SocketAddrV4, Id)>,
    /// Whether that is asked for: where nobody lies, and nobody comes back as somebody else.
    pub checks_entry: bool,
    /// What nodes store.
    pub stores: Registers,
    violation: Option<(u64, Violation)>,
    /// Answers that were sent.
    pub answers: u64,
    /// Of these, to somebody who had not shown that he is where he says.
    pub answers_to_strangers: u64,
    /// Replies that nobody had asked for and that reached an honest node.
    pub unasked: u64,
    /// What reached honest nodes and is no message.
    pub garbage: u64,
}

impl Inspector {
    /// Has seen nothing. A black box's inspector minds only what is seen from outside.
    pub fn new(addresses: Addresses, is_black_box: bool, config: &Config) -> Self {
        Inspector {
            addresses,
            is_black_box,
            seen: Vec::new(),
            question: None,
            entering: None,
            checks_entry: false,
            stores: Registers::new(&config.items, &config.peers),
            violation: None,
            answers: 0,
            answers_to_strangers: 0,
            unasked: 0,
            garbage: 0,
        }
    }

    /// The first property that broke, and when.
    pub fn violation(&self) -> Option<&(u64, Violation)> {
        self.violation.as_ref()
    }

    /// When a node began, or began anew.
    pub fn began_at(&self, node: u32) -> u64 {
        self.seen.get(node as usize).map_or(0, |seen| seen.began)
    }

    /// Whether `node` has had an answer from this address under this id.
    pub fn has_answered(&self, node: u32, address: SocketAddrV4, id: Id) -> bool {
        let known = self.addresses.index(address).and_then(|other| {
            let seen = self.seen.get(node as usize)?;
            seen.known(other)
        });
        known.is_some_and(|pair| pair.ids.contains(&id_word(id)))
    }

    /// When a node last had an answer from somebody whose id shares so many bits with its own.
    pub fn heard(&self, node: u32, depth: u32) -> u64 {
        let seen = &self.seen[node as usize];
        let heard = seen.heard.get(depth as usize).copied().unwrap_or(u64::MAX);
        heard.max(seen.began)
    }

    fn fail(&mut self, at: u64, node: u32, property: &'static str, message: String) {
        let is_heeded = !self.is_black_box || crate::BLACK_BOX.contains(&property);
        if is_heeded && self.violation.is_none() {
            self.violation = Some((at, Violation::new(property, message).at(node).when(at)));
        }
    }

    fn heed(&mut self, at: u64, node: u32, result: Result<(), Broken>) {
        if let Err((property, message)) = result {
            self.fail(at, node, property, message);
        }
    }

    fn seen(&mut self, node: u32) -> &mut Seen {
        let node = node as usize;
        if self.seen.len() <= node {
            self.seen.resize_with(node + 1, Seen::default);
        }
        &mut self.seen[node]
    }

    /// An answer that is sent, of so many bytes: to a query that came just now, and to none else.
    fn check_answer(
        &mut self,
        at: u64,
        from: u32,
        to: SocketAddrV4,
        transaction: u64,
        (bytes, is_reply): (usize, bool),
    ) {
        self.answers += 1;
        let to_node = self.addresses.index(to);
        // One answer a query.
        let question = self.question.take();
        let question = question.filter(|question| {
            question.node == from
                && Some(question.from) == to_node
                && question.transaction == transaction
        });
        let Some(question) = question else {
            let message =
                format!("an answer of {bytes} bytes goes to {to}, which has asked nothing");
            self.fail(at, from, "unasked-answer", message);
            return;
        };
        if question.is_malformed && is_reply {
            let message = format!("{to} has sent what is malformed, and gets a reply");
            self.fail(at, from, "refuses-malformed", message);
        }
        if self.seen(from).pair(question.from).has_answered {
            return;
        }
        self.answers_to_strangers += 1;
        if bytes > question.bytes {
            let message = format!(
                "{to} has never answered, and gets {bytes} bytes for {}",
                question.bytes
            );
            self.fail(at, from, "amplification", message);
        }
    }
}

impl Watch for Inspector {
    fn sent(&mut self, at: u64, from: u32, to: SocketAddrV4, datagram: &[u8]) {
        if datagram.len() > DATAGRAM_LIMIT_BYTES {
            let message = format!("a datagram of {} bytes", datagram.len());
            self.fail(at, from, "well-formed", message);
        }
        let message = match Message::decode(datagram) {
            Ok(message) => message,
            Err(malformed) => {
                let message = format!("what is sent to {to} is no message: {malformed:?}");
                self.fail(at, from, "well-formed", message);
                return;
            }
        };
        debug_assert!(message.transaction.len() <= TRANSACTION_LIMIT_BYTES);
        let transaction = bytes_hash(message.transaction);
        match &message.body {
            Body::Query(query) => {
                if query.id != self.seen(from).id {
                    let message = format!("it asks under the id {}", query.id);
                    self.fail(at, from, "own-id", message);
                }
                if let Some(to) = self.addresses.index(to) {
                    let pending = &mut self.seen(from).pair(to).pending;
                    pending.retain(|(sent, _)| at - sent <= ANSWERED_WITHIN);
                    if pending.len() == PENDING {
                        pending.remove(0);
                    }
                    pending.push((at, transaction));
                }
            }
            Body::Reply(reply) => {
                if reply.id != self.seen(from).id {
                    let message = format!("it answers under the id {}", reply.id);
                    self.fail(at, from, "own-id", message);
                }
                let limit = match reply.item.value {
                    Some(_) => ITEM_REPLY_LIMIT_BYTES,
                    None => REPLY_LIMIT_BYTES,
                };
                if datagram.len() > limit {
                    let message = format!("a reply of {} bytes, of {limit}", datagram.len());
                    self.fail(at, from, "reply-length", message);
                }
                self.check_answer(at, from, to, transaction, (datagram.len(), true));
                self.check_stored(at, from, to, datagram, &message);
            }
            Body::Error(_) => {
                self.check_answer(at, from, to, transaction, (datagram.len(), false));
                self.check_stored(at, from, to, datagram, &message);
            }
        }
    }

    fn delivered(&mut self, at: u64, from: u32, to: u32, datagram: &[u8]) {
        self.question = None;
        self.entering = None;
        let bytes = datagram.len();
        let (transaction, id) = match Message::decode(datagram) {
            Ok(message) => {
                let transaction = bytes_hash(message.transaction);
                match message.body {
                    Body::Query(query) => {
                        self.ask(to, from, transaction, bytes);
                        let source = self.addresses.address(from);
                        self.stores.asked(at, to, (from, source), &query, bytes);
                        return;
                    }
                    Body::Reply(reply) => (transaction, Some(reply.id)),
                    Body::Error(_) => (transaction, None),
                }
            }
            Err(malformed) => {
                self.garbage += 1;
                // A query that cannot be understood may be answered with an error.
                if let Some(answer) = malformed.answer() {
                    self.ask(to, from, bytes_hash(answer.transaction), bytes);
                    if let Some(question) = &mut self.question {
                        question.is_malformed = true;
                    }
                }
                return;
            }
        };
        let own = self.seen(to).id;
        let pair = self.seen(to).pair(from);
        let asked = pair
            .pending
            .iter()
            .position(|(_, sent)| *sent == transaction);
        let Some(place) = asked else {
            self.unasked += 1;
            return;
        };
        let (sent, _) = pair.pending.remove(place);
        pair.has_answered = true;
        let Some(id) = id else { return };
        let word = id_word(id);
        pair.ids.retain(|known| *known != word);
        if pair.ids.len() == IDS {
            pair.ids.remove(0);
        }
        pair.ids.push(word);
        if self.checks_entry && at - sent <= PROMPT && self.seen(from).id == id {
            self.entering = Some((to, self.addresses.address(from), id));
        }
        let depth = own.shared_bits(id) as usize;
        if let Some(heard) = self.seen(to).heard.get_mut(depth) {
            *heard = at;
        }
    }

    fn woken(&mut self, at: u64, node: u32) {
        self.question = None;
        let seen = self.seen(node);
        seen.wakes = match at - seen.woken < SOON {
            true => seen.wakes + 1,
            false => 0,
        };
        seen.woken = at;
        if seen.wakes > WAKES {
            let message = format!("it wants to be woken again at once, {WAKES} times in a row");
            self.fail(at, node, "busy-loop", message);
        }
    }

    fn acted(&mut self, at: u64, node: u32, core: &Node<SocketAddrV4>) {
        let stored = self.stores.acted(at, node, core);
        self.heed(at, node, stored);
        let turned = self.stores.turn();
        self.heed(at, node, turned);
        let entering = self
            .entering
            .take()
            .filter(|(entered, ..)| *entered == node);
        if let Some((_, address, id)) = entering
            && !self.is_black_box
            && let Some(room) = has_room_for(core, address, id)
        {
            let message = format!("{id} at {address} has answered, {room}, and is in no table");
            self.fail(at, node, "entry", message);
        }
    }

    fn has_seen_enough(&self) -> bool {
        self.violation.is_some()
    }

    fn adopted(&mut self, node: u32, other: u32, id: Id) {
        let pair = self.seen(node).pair(other);
        pair.has_answered = true;
        pair.ids.push(id_word(id));
    }

    fn began(&mut self, at: u64, node: u32, id: Id) {
        self.stores.began(node);
        *self.seen(node) = Seen {
            id,
            began: at,
            ..Seen::default()
        };
    }
}

impl Inspector {
    fn check_stored(
        &mut self,
        at: u64,
        from: u32,
        to: SocketAddrV4,
        datagram: &[u8],
        message: &Message<'_>,
    ) {
        match self.stores.answered(at, from, datagram, message) {
            // He has shown what was sent to where he says he is.
            Ok(true) => {
                if let Some(to) = self.addresses.index(to) {
                    self.seen(from).pair(to).has_answered = true;
                }
            }
            Ok(false) => {}
            Err(broken) => self.heed(at, from, Err(broken)),
        }
    }

    fn ask(&mut self, node: u32, from: u32, transaction: u64, bytes: usize) {
        self.question = Some(Question {
            node,
            from,
            transaction,
            bytes,
            is_malformed: false,
        });
    }
}

/// What room there is for somebody who has answered, if he is in no table all the same.
///
/// A place is whoever's comes first. It is nobody's else while somebody lives at it: an id, an address, a bucket that is
/// full, and one with as many of a network as it may have. Only contacts in the table count.
fn has_room_for(core: &Node<SocketAddrV4>, address: SocketAddrV4, id: Id) -> Option<String> {
    let (own, table, config) = (core.id(), core.table(), core.config());
    let depth = |id: Id| own.shared_bits(id).min(table.depth());
    let bucket = depth(id);
    let network = |address: SocketAddrV4| u32::from(*address.ip()) >> 8;
    let (mut there, mut of_network) = (0, 0);
    for contact in table.contacts() {
        if contact.id == id || contact.address.ip() == address.ip() {
            return None;
        }
        if depth(contact.id) == bucket {
            there += 1;
            of_network += usize::from(network(contact.address) == network(address));
        }
    }
    // The last bucket is split before it holds more than k.
    let room = match bucket == table.depth() {
        true => config.k,
        false => config.room(bucket as usize),
    };
    let has_room = there < room && of_network < config.per_network && id != own;
    has_room
        .then(|| format!("his bucket has {there} of {room} contacts, {of_network} of his network"))
}

fn id_word(id: Id) -> u64 {
    bytes_hash(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_kademlia::krpc::{Call, Query, Reply};

    const OWN: Id = Id::ZERO;
    const OTHER: Id = Id::MAX;

    fn inspector() -> (Inspector, SocketAddrV4) {
        let addresses = Addresses::new(0);
        let mut inspector = Inspector::new(addresses, false, &Config::default());
        inspector.began(1, 0, OWN);
        inspector.began(1, 1, OTHER);
        (inspector, addresses.address(1))
    }

    fn ping(id: Id, transaction: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Message::query(transaction, Query::new(id, Call::Ping)).encode(&mut bytes);
        bytes
    }

    fn pong(id: Id, transaction: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Message::reply(transaction, Reply::new(id)).encode(&mut bytes);
        bytes
    }

    fn broken(inspector: &Inspector) -> Option<&'static str> {
        inspector
            .violation()
            .map(|(_, violation)| violation.property)
    }

    #[test]
    fn an_answer_to_a_query_is_in_order_and_a_second_one_is_not() {
        let (mut inspector, other) = inspector();
        inspector.delivered(5, 1, 0, &ping(OTHER, b"ab"));
        inspector.sent(5, 0, other, &pong(OWN, b"ab"));
        assert_eq!(
            (broken(&inspector), inspector.answers_to_strangers),
            (None, 1)
        );
        inspector.sent(5, 0, other, &pong(OWN, b"ab"));
        assert_eq!(broken(&inspector), Some("unasked-answer"));
    }

    #[test]
    fn an_answer_to_an_answer_is_not_in_order() {
        let (mut inspector, other) = inspector();
        inspector.delivered(5, 1, 0, &pong(OTHER, b"ab"));
        inspector.sent(5, 0, other, &pong(OWN, b"ab"));
        assert_eq!(
            (broken(&inspector), inspector.unasked),
            (Some("unasked-answer"), 1)
        );
    }

    #[test]
    fn an_answer_with_another_transaction_or_after_a_wake_is_not_in_order() {
        for woken in [false, true] {
            let (mut inspector, other) = inspector();
            inspector.delivered(5, 1, 0, &ping(OTHER, b"ab"));
            if woken {
                inspector.woken(6, 0);
            }
            let transaction: &[u8] = if woken { b"ab" } else { b"ac" };
            inspector.sent(6, 0, other, &pong(OWN, transaction));
            assert_eq!(broken(&inspector), Some("unasked-answer"));
        }
    }

    #[test]
    fn strangers_get_no_more_bytes_than_they_sent_until_they_have_answered() {
        let (mut inspector, other) = inspector();
        let mut long = Vec::new();
        let pong = Message::reply(b"ab", Reply::new(OWN)).with_version(&[b'x'; 30]);
        pong.encode(&mut long);
        let mut strict = inspector.clone();
        strict.delivered(5, 1, 0, &ping(OTHER, b"ab"));
        strict.sent(5, 0, other, &long);
        assert_eq!(broken(&strict), Some("amplification"));

        inspector.sent(5, 0, other, &ping(OWN, b"xy"));
        inspector.delivered(6, 1, 0, &super::tests::pong(OTHER, b"xy"));
        assert!(inspector.has_answered(0, other, OTHER) && !inspector.has_answered(0, other, OWN));
        assert_eq!(inspector.heard(0, 0), 6);
        inspector.delivered(7, 1, 0, &ping(OTHER, b"ab"));
        inspector.sent(7, 0, other, &long);
        assert_eq!(broken(&inspector), None);
    }

    #[test]
    fn an_answer_that_was_not_asked_for_proves_nothing() {
        let (mut inspector, other) = inspector();
        inspector.sent(5, 0, other, &ping(OWN, b"xy"));
        inspector.delivered(6, 1, 0, &pong(OTHER, b"xz"));
        assert!(!inspector.has_answered(0, other, OTHER));
        inspector.delivered(7, 1, 0, &pong(OTHER, b"xy"));
        inspector.began(8, 0, OWN);
        assert!(!inspector.has_answered(0, other, OTHER), "it begins anew");
        assert_eq!(inspector.began_at(0), 8);
    }

    #[test]
    fn who_has_answered_and_finds_room_must_be_in_the_table() {
        let config = std::sync::Arc::new(Config::default());
        let chance = &mut holdfast_sim::overlay::Chance::new(1, 0, 0);
        let mut core = Node::new(OWN, config, 1, chance);
        let addresses = Addresses::new(0);
        let far = |n: u8| Id::new([0x80 | n; Id::LEN]);
        let room = |core: &Node<SocketAddrV4>, n: u8| {
            has_room_for(core, addresses.address(n.into()), far(n)).is_some()
        };
        assert!(room(&core, 1) && has_room_for(&core, addresses.address(1), OWN).is_none());
        let near = Id::new([1; Id::LEN]);
        let mut adopt = |n: u8, id| {
            let address = addresses.address(n.into());
            core.adopt(1, holdfast_kademlia::krpc::Contact { id, address });
            room(&core, 99)
        };
        assert!(adopt(98, near));
        // The first bucket of a table that was split holds twice as many as others.
        let rooms: Vec<bool> = (1..=16).map(|n| adopt(n, far(n))).collect();
        assert_eq!(rooms.iter().rposition(|has_room| *has_room), Some(14));
        assert!(!room(&core, 1), "he is there");
        assert!(has_room_for(&core, addresses.address(1), near).is_none());
        let second = Id::new([2; Id::LEN]);
        assert!(has_room_for(&core, addresses.address(99), second).is_some());
    }

    #[test]
    fn what_is_malformed_gets_an_error_and_no_reply() {
        let (mut inspector, other) = inspector();
        let malformed = b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:pong1:t2:ab1:y1:qe";
        assert!(Message::decode(malformed).is_err_and(|m| m.answer().is_some()));
        let mut refusing = inspector.clone();
        inspector.delivered(5, 1, 0, malformed);
        inspector.sent(5, 0, other, &pong(OWN, b"ab"));
        assert_eq!(broken(&inspector), Some("refuses-malformed"));
        refusing.delivered(5, 1, 0, malformed);
        let mut error = Vec::new();
        let code = holdfast_kademlia::krpc::ErrorCode::MethodUnknown;
        Message::error(b"ab", code.into()).encode(&mut error);
        refusing.sent(5, 0, other, &error);
        assert_eq!(broken(&refusing), None);
    }

    #[test]
    fn a_node_that_is_woken_without_end_is_seen() {
        let (mut inspector, _) = inspector();
        for n in 0..2 * u64::from(WAKES) {
            inspector.woken(n * SOON, 0);
        }
        assert!(!inspector.has_seen_enough(), "it waits in between");
        for n in 0..=u64::from(WAKES) + 1 {
            inspector.woken(u64::from(WAKES) * 3 * SOON + n, 0);
        }
        assert!(inspector.has_seen_enough());
        assert_eq!(broken(&inspector), Some("busy-loop"));
    }

    #[test]
    fn who_speaks_under_another_id_or_says_nothing_is_seen() {
        let (mut inspector, other) = inspector();
        let mut garbled = inspector.clone();
        inspector.sent(5, 0, other, &ping(OTHER, b"xy"));
        assert_eq!(broken(&inspector), Some("own-id"));
        garbled.sent(5, 0, other, b"i1e");
        assert_eq!(broken(&garbled), Some("well-formed"));
    }
}
