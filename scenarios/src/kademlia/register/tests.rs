use super::*;
use holdfast_kademlia::bencode::Raw;

const NODE: u32 = 0;
const OTHER: u32 = 1;
const AT: u64 = 10 * TOKEN_PERIOD;

fn version(sequence: i64, value: u64) -> Version {
    Version {
        sequence: Some(sequence),
        value,
        signed: 1,
    }
}

#[test]
fn a_put_is_done_or_refused_as_the_bep_has_it() {
    let stored = Some(version(5, 1));
    let cas = Some(ErrorCode::CasMismatch);
    let low = Some(ErrorCode::SequenceTooLow);
    let sign = Some(ErrorCode::InvalidSignature);
    let cases = [
        (None, version(0, 1), None, true, vec![None]),
        (None, version(0, 1), Some(9), true, vec![None]),
        (None, version(0, 1), None, false, vec![sign]),
        (stored, version(6, 2), None, true, vec![None]),
        (stored, version(5, 1), None, true, vec![None]),
        (stored, version(5, 2), None, true, vec![low]),
        (stored, version(4, 2), None, true, vec![low]),
        (stored, version(6, 2), Some(5), true, vec![None]),
        (stored, version(6, 2), Some(4), true, vec![cas]),
        (stored, version(4, 2), Some(6), true, vec![cas]),
        (stored, version(4, 2), Some(5), false, vec![low, sign]),
        (stored, version(6, 2), None, false, vec![sign]),
    ];
    for (stored, put, expected, is_signed, allowed) in cases {
        assert_eq!(outcomes(stored, put, expected, is_signed), allowed);
    }
}

fn address(node: u32) -> SocketAddrV4 {
    SocketAddrV4::new([1, 2, 3, node as u8].into(), 6_881)
}

struct Case(Registers);

impl Case {
    fn new() -> Self {
        let (items, peers) = (ItemLimits::default(), PeerLimits::default());
        Case(Registers::new(&items, &peers))
    }

    fn ask(&mut self, at: u64, from: u32, call: Call<'_>, bytes: usize) {
        let query = Query::new(Id::MAX, call);
        self.0.asked(at, NODE, (from, address(from)), &query, bytes);
    }

    fn answer(&mut self, at: u64, message: Message<'_>) -> Result<(), &'static str> {
        let mut datagram = Vec::new();
        message.encode(&mut datagram);
        let message = Message::decode(&datagram).expect("it was written");
        let answered = self.0.answered(at, NODE, &datagram, &message);
        answered.map(drop).map_err(|(property, _)| property)
    }

    fn grant(&mut self, at: u64, from: u32, target: Id) {
        let get = Call::Get {
            target,
            sequence: None,
            want: None,
        };
        self.ask(at, from, get, 0);
        let mut reply = Reply::new(Id::ZERO);
        reply.token = Some(b"token");
        assert_eq!(self.answer(at, Message::reply(b"t", reply)), Ok(()));
    }

    fn put(&mut self, at: u64, from: u32, is_done: bool) -> Result<(), &'static str> {
        let value = Raw::parse(b"i7e").expect("a value");
        let put = Put {
            token: b"token",
            value,
            mutable: None,
        };
        self.ask(at, from, Call::Put(put), 0);
        let message = match is_done {
            true => Message::reply(b"t", Reply::new(Id::ZERO)),
            false => Message::error(b"t", ErrorCode::Protocol.into()),
        };
        self.answer(at, message)
    }
}

fn target() -> Id {
    item::immutable_target(Raw::parse(b"i7e").expect("a value"))
}

#[test]
fn a_token_is_one_addresss_and_good_for_two_periods() {
    let mut case = Case::new();
    assert_eq!(case.put(AT, OTHER, true), Err("token"), "given to nobody");
    case.grant(AT, OTHER, target());
    assert_eq!(case.put(AT, OTHER, false), Err("token"), "it is good");
    assert_eq!(case.put(AT, OTHER + 1, true), Err("token"), "not his");
    assert_eq!(case.put(AT, OTHER + 1, false), Ok(()));
    assert_eq!(case.put(AT + TOKEN_PERIOD, OTHER, true), Ok(()));
    assert_eq!(case.put(AT + 2 * TOKEN_PERIOD, OTHER, true), Err("token"));
    case.0.began(NODE);
    assert_eq!(case.put(AT, OTHER, true), Err("token"), "another node");
}

#[test]
fn what_is_told_is_what_was_put() {
    let mut case = Case::new();
    case.grant(AT, OTHER, target());
    assert_eq!(case.put(AT, OTHER, true), Ok(()));
    let get = Call::Get {
        target: target(),
        sequence: None,
        want: None,
    };
    let tell = |case: &mut Case, at: u64, value: Option<&[u8]>| {
        case.ask(at, OTHER, get, ITEM_REPLY_LIMIT_BYTES);
        let mut reply = Reply::new(Id::ZERO);
        reply.token = Some(b"token");
        reply.item.value = value.map(|value| Raw::parse(value).expect("a value"));
        case.answer(at, Message::reply(b"t", reply))
    };
    assert_eq!(tell(&mut case, AT, Some(b"i7e")), Ok(()));
    assert_eq!(tell(&mut case, AT, Some(b"i8e")), Err("item-told"));
    assert_eq!(tell(&mut case, AT, None), Err("item-told"));
    let late = AT + ItemLimits::default().lifetime;
    assert_eq!(tell(&mut case, late, Some(b"i7e")), Err("item-told"));
    assert_eq!(tell(&mut case, late, None), Ok(()));
}

#[test]
fn who_is_told_was_announced_and_is_at_a_port() {
    let mut case = Case::new();
    case.grant(AT, OTHER, Id::MAX);
    let announce = Call::AnnouncePeer {
        info_hash: Id::MAX,
        port: AnnouncedPort::Implied { fallback: None },
        token: b"token",
        is_seed: false,
    };
    case.ask(AT, OTHER, announce, 0);
    let done = Message::reply(b"t", Reply::new(Id::ZERO));
    assert_eq!(case.answer(AT, done), Ok(()));
    let mut tell = |peers: &[SocketAddrV4]| {
        let get = Call::GetPeers {
            info_hash: Id::MAX,
            want: None,
            no_seeds: false,
            scrape: false,
        };
        case.ask(AT, OTHER, get, ROOM_FOR_PEERS.0);
        let mut reply = Reply::new(Id::ZERO);
        reply.token = Some(b"token");
        reply.peers = peers.into();
        case.answer(AT, Message::reply(b"t", reply))
    };
    assert_eq!(tell(&[address(OTHER)]), Ok(()));
    assert_eq!(tell(&[]), Err("peers-told"));
    let nowhere = SocketAddrV4::new(*address(OTHER).ip(), 0);
    assert_eq!(tell(&[nowhere]), Err("peers-told"));
    assert_eq!(tell(&[address(OTHER), address(7)]), Err("peers-told"));
}

#[test]
fn a_write_that_is_not_answered_is_seen() {
    let mut case = Case::new();
    assert_eq!(case.0.turn(), Ok(()));
    let value = Raw::parse(b"i7e").expect("a value");
    let put = Put {
        token: b"token",
        value,
        mutable: None,
    };
    case.ask(AT, OTHER, Call::Put(put), 0);
    assert!(case.0.turn().is_err() && case.0.turn().is_ok());
}
