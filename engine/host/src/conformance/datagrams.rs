//! Datagrams and names.

use super::{Site, on, once, pattern_from, table};
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    task::Poll,
    time::Duration,
};
use tokio::sync::oneshot;

table! { "datagrams":
    a_datagram_arrives_with_its_senders_address,
    a_datagram_is_cut_to_the_buffer,
    datagrams_arrive_one_by_one,
    the_largest_datagram_arrives_and_a_larger_one_is_refused,
    a_datagram_to_nobody_harms_nobody,
    a_bound_address_is_in_use_until_it_is_dropped,
    a_dropped_receive_leaves_the_socket_working,
    one_task_polls_many_sockets_and_is_woken_by_each,
    what_is_sent_at_once_arrives,
    an_address_resolves_to_itself,
    a_name_resolves_in_a_stable_order,
    no_such_name_is_not_found,
}

/// How long to wait before a datagram that may have been lost is sent again.
const RETRY: Duration = Duration::from_millis(20);

/// A socket of the far host that sends the same datagrams in turn until it is dropped.
struct Beacon {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Beacon {
    async fn start(site: &Site, to: SocketAddr, datagrams: Vec<Vec<u8>>) -> Beacon {
        let (host, ip) = site.far();
        let (address_to, address_of) = oneshot::channel();
        let (stop, mut stopped) = oneshot::channel::<()>();
        // Detached: it ends with the beacon.
        drop(on(&host.clone(), async move {
            let socket = host
                .network
                .bind(SocketAddr::new(ip, 0))
                .await
                .expect("bind: port 0 picks a free one");
            let _ = address_to.send(socket.local_addr());
            for bytes in datagrams.iter().cycle() {
                socket.send_to(bytes, to).await.expect("send_to");
                if host.timeout(RETRY, &mut stopped).await.is_ok() {
                    return;
                }
            }
        }));
        let address = site
            .within_patience(address_of)
            .await
            .expect("bind: a socket");
        Beacon {
            address,
            _stop: stop,
        }
    }
}

async fn a_datagram_arrives_with_its_senders_address(site: Site) {
    let socket = site.host.network.bind(site.any_port()).await.expect("bind");
    let address = socket.local_addr();
    assert_eq!(address.ip(), site.ip, "local_addr: what was bound");
    assert_ne!(address.port(), 0, "bind: port 0 picks a free one");
    let beacon = Beacon::start(&site, address, vec![b"hello".to_vec()]).await;
    let mut buffer = [9; 100];
    let (len, from) = site
        .within_patience(socket.receive(&mut buffer))
        .await
        .expect("receive");
    assert_eq!(&buffer[..len], b"hello", "send_to: it arrives whole");
    assert_eq!(from, beacon.address, "receive: and its sender");
    assert!(buffer[len..].iter().all(|&byte| byte == 9));
}

async fn a_datagram_is_cut_to_the_buffer(site: Site) {
    let socket = site.host.network.bind(site.any_port()).await.expect("bind");
    let datagrams = vec![b"abcdef".to_vec()];
    let _beacon = Beacon::start(&site, socket.local_addr(), datagrams).await;
    for _ in 0..2 {
        let mut buffer = [0; 4];
        let (len, _) = site
            .within_patience(socket.receive(&mut buffer))
            .await
            .expect("receive: a long datagram is not an error");
        assert_eq!(len, 4, "receive: cut to the buffer's length");
        assert_eq!(
            &buffer, b"abcd",
            "receive: the rest is not the next datagram"
        );
    }
}

async fn datagrams_arrive_one_by_one(site: Site) {
    let socket = site.host.network.bind(site.any_port()).await.expect("bind");
    let sent = [vec![], vec![1], vec![2; 100], pattern_from(0, 1400)];
    let _beacon = Beacon::start(&site, socket.local_addr(), sent.to_vec()).await;
    let mut missing = BTreeSet::from(sent.clone());
    let mut buffer = vec![0; 2000];
    while !missing.is_empty() {
        let (len, _) = site
            .within_patience(socket.receive(&mut buffer))
            .await
            .expect("receive");
        let datagram = &buffer[..len];
        assert!(
            sent.iter().any(|one| one == datagram),
            "send_to: it arrives whole, alone and unchanged: {datagram:?}"
        );
        missing.remove(datagram);
    }
}

async fn the_largest_datagram_arrives_and_a_larger_one_is_refused(site: Site) {
    const LARGEST: usize = 65_507;
    let socket = site.host.network.bind(site.any_port()).await.expect("bind");
    let largest = pattern_from(0, LARGEST);
    let _beacon = Beacon::start(&site, socket.local_addr(), vec![largest.clone()]).await;
    let mut buffer = vec![0; LARGEST + 1];
    let (len, _) = site
        .within_patience(socket.receive(&mut buffer))
        .await
        .expect("receive");
    assert!(buffer[..len] == largest, "send_to: it arrives whole: {len}");
    socket
        .send_to(&[0; LARGEST + 1], socket.local_addr())
        .await
        .expect_err("send_to: at most 65,507 bytes");
}

async fn a_datagram_to_nobody_harms_nobody(site: Site) {
    let network = &site.host.network;
    let socket = network.bind(site.any_port()).await.expect("bind");
    let gone = network.bind(site.any_port()).await.expect("bind");
    let nobody = gone.local_addr();
    drop(gone);
    for _ in 0..3 {
        socket
            .send_to(b"anybody?", nobody)
            .await
            .expect("send_to: it may never arrive, which is not an error");
    }
    let datagrams = vec![b"still here".to_vec()];
    let _beacon = Beacon::start(&site, socket.local_addr(), datagrams).await;
    let mut buffer = [0; 100];
    let (len, _) = site
        .within_patience(socket.receive(&mut buffer))
        .await
        .expect("receive: an earlier datagram's fate is not its error");
    assert_eq!(&buffer[..len], b"still here");
}

async fn a_bound_address_is_in_use_until_it_is_dropped(site: Site) {
    let network = &site.host.network;
    let first = network.bind(site.any_port()).await.expect("bind");
    let address = first.local_addr();
    let error = match network.bind(address).await {
        Ok(_) => panic!("bind: AddrInUse when it is taken"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    let second = network.bind(site.any_port()).await.expect("bind");
    assert_ne!(
        second.local_addr(),
        address,
        "bind: port 0 picks a free one"
    );
    let stream = network
        .listen(address)
        .await
        .expect("datagrams and streams have ports of their own");
    drop(stream);
    drop(first);
    let again = network
        .bind(address)
        .await
        .expect("bind: it is free again when the socket is dropped");
    assert_eq!(again.local_addr(), address);
}

async fn a_dropped_receive_leaves_the_socket_working(site: Site) {
    let socket = site.host.network.bind(site.any_port()).await.expect("bind");
    for _ in 0..3 {
        let mut buffer = [0; 100];
        let mut receive = socket.receive(&mut buffer);
        assert!(once(receive.as_mut()).await.is_pending(), "nobody sent yet");
    }
    let datagrams = vec![b"now".to_vec()];
    let _beacon = Beacon::start(&site, socket.local_addr(), datagrams).await;
    let mut buffer = [0; 100];
    let (len, _) = site
        .within_patience(socket.receive(&mut buffer))
        .await
        .expect("every future may be dropped at any await");
    assert_eq!(&buffer[..len], b"now");
}

async fn one_task_polls_many_sockets_and_is_woken_by_each(site: Site) {
    let network = &site.host.network;
    let first = network.bind(site.any_port()).await.expect("bind");
    let second = network.bind(site.any_port()).await.expect("bind");
    let mut buffer = [0; 4];
    for (socket, text) in [(&first, "first"), (&second, "second")] {
        let datagrams = vec![text.as_bytes().to_vec()];
        let beacon = Beacon::start(&site, socket.local_addr(), datagrams).await;
        // Both are waited for; whichever has something wakes the task.
        let received = site.within_patience(std::future::poll_fn(|cx| {
            for socket in [&first, &second] {
                while let Poll::Ready(received) = socket.poll_receive(cx, &mut buffer) {
                    let (len, from) = received.expect("poll_receive");
                    // What the beacon before has sent last may come late.
                    if from == beacon.address {
                        return Poll::Ready(len);
                    }
                }
            }
            Poll::Pending
        }));
        assert_eq!(
            received.await,
            4,
            "poll_receive: cut to the buffer's length"
        );
        assert_eq!(&buffer[..], &text.as_bytes()[..4]);
    }
}

async fn what_is_sent_at_once_arrives(site: Site) {
    let network = &site.host.network;
    let socket = network.bind(site.any_port()).await.expect("bind");
    let sender = network.bind(site.any_port()).await.expect("bind");
    let mut buffer = [0; 100];
    let mut received = None;
    while received.is_none() {
        sender
            .try_send_to(b"at once", socket.local_addr())
            .expect("try_send_to: a socket that has sent nothing has room");
        let receive = socket.receive(&mut buffer);
        received = site.host.timeout(RETRY, receive).await.ok();
    }
    let (len, from) = received.expect("seen above").expect("receive");
    assert_eq!(&buffer[..len], b"at once", "try_send_to: it arrives whole");
    assert_eq!(from, sender.local_addr());
    let error = sender
        .try_send_to(&[0; 65_508], socket.local_addr())
        .expect_err("try_send_to: at most 65,507 bytes");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
}

async fn an_address_resolves_to_itself(site: Site) {
    for literal in ["127.0.0.1", "192.0.2.7", "::1", "2001:db8::7"] {
        let ip: IpAddr = literal.parse().expect("a literal");
        let resolved = site.host.network.resolve(literal, 4242).await;
        assert_eq!(
            resolved.expect("resolve"),
            [SocketAddr::new(ip, 4242)],
            "resolve: a literal address is its own answer"
        );
    }
    let own = site.host.network.resolve(&site.ip.to_string(), 1).await;
    assert_eq!(own.expect("resolve"), [SocketAddr::new(site.ip, 1)]);
}

async fn a_name_resolves_in_a_stable_order(site: Site) {
    let Some((name, ip)) = &site.name else {
        return;
    };
    let network = &site.host.network;
    let first = network.resolve(name, 80).await.expect("resolve");
    assert!(
        first.contains(&SocketAddr::new(*ip, 80)),
        "resolve: the addresses of a name: {first:?}"
    );
    assert!(first.iter().all(|address| address.port() == 80));
    for _ in 0..5 {
        let again = network.resolve(name, 80).await.expect("resolve");
        assert_eq!(again, first, "resolve: in a stable order");
    }
}

async fn no_such_name_is_not_found(site: Site) {
    for name in ["no-such-host.invalid", "not a name", ""] {
        let error = site
            .within_patience(site.host.network.resolve(name, 80))
            .await
            .expect_err("resolve: NotFound for no such name");
        assert_eq!(
            error.kind(),
            io::ErrorKind::NotFound,
            "resolve: NotFound for no such name: {name:?}: {error}"
        );
    }
}
