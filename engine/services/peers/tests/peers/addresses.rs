//! A host with several addresses, section by section of BEP 45.

use crate::network::{World, settings};
use holdfast_kademlia::{
    Id, Request,
    krpc::{AnnouncedPort, Body, Call, Message, Query},
};
use holdfast_peers::{DhtHandle, KeptKind, LocalNode, NewItem, Outcome, Settings, Via};
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    num::NonZeroU16,
    time::Duration,
};

/// Addresses of the host.
const ADDRESSES: u8 = 3;
/// A network of strangers.
const STRANGERS: usize = 20;
/// How long after one address another asks for the same, at least, less what timers are early by.
const SPACING: Duration = Duration::from_millis(1_990);

/// A host with several addresses, which knows nobody.
fn home(world: &World) -> DhtHandle {
    let node = |n| LocalNode {
        v4: Some(SocketAddrV4::new(Ipv4Addr::new(127, 0, 6, n), 0)),
        ..LocalNode::default()
    };
    world.start(Settings {
        nodes: (1..=ADDRESSES).map(node).collect(),
        ..settings()
    })
}

fn addresses(home: &DhtHandle) -> Vec<SocketAddr> {
    let all = (0..home.nodes()).flat_map(|node| home.addresses(node));
    all.flatten().collect()
}

/// Strangers who have met the host at its first address, and know of no other.
fn strangers(world: &World, home: &DhtHandle) -> DhtHandle {
    let strangers = world.network(STRANGERS, false);
    strangers.join(vec![addresses(home)[0]]).expect("they run");
    world.wait_for("the host knows strangers", || async {
        let status = home.status().await.expect("it runs");
        status.nodes[0].families[0].table.good >= 8
    });
    strangers
}

/// Asks somebody, and hears who answers from where.
fn ask(socket: &UdpSocket, to: SocketAddr, call: Call<'_>) -> (SocketAddr, Vec<u8>) {
    let mut query = Query::new(Id::new([0x5a; 20]), call);
    query.is_read_only = true;
    let mut datagram = Vec::new();
    Message::query(b"tt", query).encode_padded(720, &mut datagram);
    socket.send_to(&datagram, to).expect("sent");
    let mut buffer = vec![0; 2_048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).expect("an answer");
        let message = Message::decode(&buffer[..length]).expect("it is understood");
        if !matches!(message.body, Body::Query(_)) {
            return (from, buffer[..length].to_vec());
        }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.6.100:0").expect("loopback has ports");
    let patience = Some(Duration::from_secs(20));
    socket.set_read_timeout(patience).expect("it can be set");
    socket
}

/// "Mandatory": an id for each address, and ids that differ in their first bits.
#[test]
fn each_address_has_an_id_of_its_own_far_from_the_others() {
    let world = World::new();
    let home = home(&world);
    let ids: Vec<Id> = (0..home.nodes()).map(|node| home.id(node)).collect();
    for (place, id) in ids.iter().enumerate() {
        let near = ids[..place].iter().map(|other| other.shared_bits(*id));
        assert!(near.max() < Some(5), "{ids:?}");
    }
}

/// "Mandatory": who asks at an address is answered from there, by whoever lives there; a token is good where it was
/// given, and nowhere else.
#[test]
fn answers_and_tokens_are_of_the_address_that_was_asked() {
    let world = World::new();
    let home = home(&world);
    let socket = socket();
    let info_hash = Id::new([4; 20]);
    let mut tokens = Vec::new();
    for (node, address) in addresses(&home).into_iter().enumerate() {
        let (from, answer) = ask(
            &socket,
            address,
            Call::GetPeers {
                info_hash,
                want: None,
                no_seeds: false,
                scrape: false,
            },
        );
        assert_eq!(from, address);
        let Body::Reply(reply) = Message::decode(&answer).expect("understood").body else {
            panic!("a reply");
        };
        assert_eq!(reply.id, home.id(node));
        tokens.push(reply.token.expect("a token").to_vec());
    }
    for (of, token) in tokens.iter().enumerate() {
        for (at, address) in addresses(&home).into_iter().enumerate() {
            let announce = Call::AnnouncePeer {
                info_hash,
                port: AnnouncedPort::Given(NonZeroU16::new(4_242).expect("a port")),
                token,
                is_seed: false,
            };
            let (_, answer) = ask(&socket, address, announce);
            let body = Message::decode(&answer).expect("understood").body;
            let is_taken = matches!(body, Body::Reply(_));
            assert_eq!(is_taken, of == at, "a token of {of} at {at}");
        }
    }
}

/// "Multi addresses announce_peer", and "Mandatory": each address asks with tokens of its own, some time after the one
/// before, and begins with whom that has found.
#[test]
fn a_peer_is_announced_from_each_address_one_after_another() {
    let world = World::new();
    let home = home(&world);
    let strangers = strangers(&world, &home);
    let info_hash = Id::new([7; 20]);
    let request = Request::Announce {
        info_hash,
        port: NonZeroU16::new(4_242),
        is_seed: false,
    };
    let began = world.host.now();
    let announced = world.within(home.run_via(Via::Each, request));
    let announced = announced.expect("it ends");
    let took = world.host.now().since(began);
    assert!(took >= SPACING * 2, "three turns took {took:?}");
    let Outcome { reports, .. } = &announced;
    assert_eq!(reports.len(), usize::from(ADDRESSES));
    for turns in reports.windows(2) {
        // Its own table was empty.
        let found: BTreeSet<_> = turns[0].closest.iter().collect();
        let mut begun = turns[1].hops.iter().filter(|hop| hop.named_by.is_none());
        assert!(begun.all(|hop| found.contains(&hop.node)), "{turns:?}");
    }
    assert!(
        reports.iter().all(|report| report.stored == 8),
        "{reports:?}"
    );
    let found = world.within(strangers.get_peers(11, info_hash));
    let expected: Vec<SocketAddr> = addresses(&home)
        .into_iter()
        .map(|address| SocketAddr::new(address.ip(), 4_242))
        .collect();
    assert_eq!(found.expect("it ends").peers, expected);
    // What all have found is one outcome.
    let request = Request::GetPeers {
        info_hash,
        no_seeds: false,
    };
    let found = world.within(home.run_via(Via::Each, request));
    let found = found.expect("it ends");
    assert_eq!((found.reports.len(), found.peers), (3, expected));
}

/// "Other write operations", and "Determining Connectivity": an item is put through one address, of those that others
/// answer.
#[test]
fn an_item_is_put_through_an_address_that_others_answer() {
    let world = World::new();
    let home = home(&world);
    let strangers = strangers(&world, &home);
    for number in 0..12 {
        let text = format!("item {number}");
        let item = NewItem::immutable(NewItem::text(text.as_bytes())).expect("an item");
        let target = item.target();
        let put = world.within(home.run_via(Via::Any, item.into_request()));
        let put = put.expect("it ends");
        // Two of three know nobody.
        assert_eq!((put.reports.len(), put.stored()), (1, 8));
        assert_eq!(put.reports[0].node, 0);
        let got = world.within(strangers.get(3, target, b"")).expect("ends");
        assert!(got.item.is_some());
    }
    // When others answer them, it is their turn, too.
    let first = strangers.addresses(0)[0].expect("in IPv4");
    home.join(vec![first]).expect("it runs");
    world.wait_for("every address is answered", || async {
        let status = home.status().await.expect("it runs");
        let mut nodes = status.nodes.iter();
        nodes.all(|node| node.families[0].table.good >= 8)
    });
    let mut used = BTreeSet::new();
    world.wait_for("each is used", || {
        let find = home.run_via(Via::Any, Request::FindNode { target: Id::MAX });
        let outcome = world.within(find).expect("it ends");
        used.extend(outcome.reports.iter().map(|report| report.node));
        std::future::ready(used.len() == home.nodes())
    });
}

/// What goes through each address is kept by each; what goes through any is stored through another each time.
#[test]
fn what_is_kept_through_several_addresses_is_listed_and_forgotten() {
    let world = World::new();
    let home = home(&world);
    let _strangers = strangers(&world, &home);
    let info_hash = Id::new([9; 20]);
    let request = Request::Announce {
        info_hash,
        port: None,
        is_seed: true,
    };
    let announced = world.within(home.keep_via(Via::Each, request));
    assert_eq!(announced.expect("it ends").stored(), 24);
    let item = NewItem::immutable(NewItem::text(b"kept")).expect("an item");
    let target = item.target();
    let put = world.within(home.keep_via(Via::Any, item.into_request()));
    assert_eq!(put.expect("it ends").stored(), 8);
    let kept = world.within(home.kept()).expect("it runs");
    let kept: Vec<_> = kept
        .iter()
        .map(|kept| (kept.node, kept.kind, kept.stored))
        .collect();
    let peer = |node| (Some(node), KeptKind::Peer, Some(8));
    let item = (None, KeptKind::Item, Some(8));
    assert_eq!(kept, [peer(0), peer(1), peer(2), item]);
    for was_kept in [true, false] {
        let forget = |kind, target| home.forget_via(Via::Each, kind, target);
        let peers = world.within(forget(KeptKind::Peer, info_hash));
        let item = world.within(forget(KeptKind::Item, target));
        assert_eq!((peers, item), (Ok(was_kept), Ok(was_kept)));
    }
    assert_eq!(world.within(home.kept()), Ok(Vec::new()));
}

/// What is forgotten while addresses take turns is kept by none of them later; who does not wait for the turns has them
/// all the same.
#[test]
fn turns_end_when_it_is_forgotten_and_not_when_nobody_waits() {
    let world = World::new();
    let home = home(&world);
    let _strangers = strangers(&world, &home);
    let keep = |info_hash| {
        let home = home.clone();
        let request = Request::Announce {
            info_hash,
            port: None,
            is_seed: true,
        };
        world
            .runtime
            .spawn(async move { home.keep_via(Via::Each, request).await })
    };
    let forgotten = Id::new([1; 20]);
    let keeping = keep(forgotten);
    world.wait_for("the first has announced it", || async {
        let kept = home.kept().await.expect("it runs");
        kept.iter().any(|kept| kept.stored == Some(8))
    });
    let forget = home.forget_via(Via::Each, KeptKind::Peer, forgotten);
    assert_eq!(world.within(forget), Ok(true));
    let kept = world.within(keeping).expect("it runs").expect("it ends");
    assert!(!kept.reports.is_empty(), "{kept:?}");
    assert_eq!(world.within(home.kept()), Ok(Vec::new()));

    let left = keep(Id::new([2; 20]));
    world.wait_for("the first keeps it", || async {
        !home.kept().await.expect("it runs").is_empty()
    });
    left.abort();
    world.wait_for("all keep it", || async {
        let kept = home.kept().await.expect("it runs");
        let mut stored = kept.iter().map(|kept| kept.stored);
        kept.len() == usize::from(ADDRESSES) && stored.all(|stored| stored == Some(8))
    });
}
