//! How streams begin and end.

use super::{PATIENCE, Site, on, once, table};
use crate::{Host, Listener, Stream};
use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

table! { "streams":
    both_ends_know_their_addresses,
    a_listeners_address_is_in_use_until_it_is_dropped,
    a_dropped_listen_is_undone,
    nobody_listening_refuses,
    a_dropped_listener_refuses_but_its_streams_live_on,
    a_dropped_accept_loses_no_connection,
    a_dropped_connect_is_undone,
    shutdown_ends_one_direction_only,
    shutdown_sends_what_was_written,
    reading_from_a_dropped_peer_ends,
    writing_to_a_dropped_peer_fails_in_the_end,
}

async fn listen(site: &Site) -> (Listener, SocketAddr) {
    let listener = site
        .host
        .network
        .listen(site.any_port())
        .await
        .expect("listen: port 0 picks a free one");
    let address = listener.local_addr();
    (listener, address)
}

async fn connect(host: &Host, address: SocketAddr) -> Stream {
    host.network
        .connect(address)
        .await
        .expect("connect: opens a stream")
}

/// Why a read or write may fail when the far end is gone.
fn assert_gone(error: &io::Error) {
    assert!(
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        ),
        "the far end is gone, but the error is {error:?}"
    );
}

async fn both_ends_know_their_addresses(site: Site) {
    let (mut listener, address) = listen(&site).await;
    assert_eq!(address.ip(), site.ip, "local_addr: what was bound");
    assert_ne!(address.port(), 0, "listen: port 0 picks a free one");
    let (host, _) = site.far();
    let far = on(&host.clone(), async move {
        let mut stream = connect(&host, address).await;
        let addresses = (stream.local_addr(), stream.peer_addr());
        let _ = stream.read(&mut [0]).await;
        addresses
    });
    let (stream, from) = site
        .within_patience(listener.accept())
        .await
        .expect("accept");
    let (near_local, near_peer) = (stream.local_addr(), stream.peer_addr());
    drop(stream);
    let (far_local, far_peer) = site.within_patience(far).await;
    assert_eq!(far_peer, address, "peer_addr: what was connected to");
    assert_eq!(near_local, address, "local_addr: this end's address");
    assert_eq!(near_peer, far_local, "peer_addr: the far end's address");
    assert_eq!(from, far_local, "accept: the next stream and its far end");
}

async fn a_listeners_address_is_in_use_until_it_is_dropped(site: Site) {
    let (first, address) = listen(&site).await;
    let error = match site.host.network.listen(address).await {
        Ok(_) => panic!("listen: AddrInUse when it is taken"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    let (_second, other) = listen(&site).await;
    assert_ne!(other, address, "listen: port 0 picks a free one");
    drop(first);
    let again = site
        .host
        .network
        .listen(address)
        .await
        .expect("listen: it is free again when the listener is dropped");
    assert_eq!(again.local_addr(), address);
}

async fn a_dropped_listen_is_undone(site: Site) {
    let (listener, address) = listen(&site).await;
    drop(listener);
    for _ in 0..3 {
        let mut listen = site.host.network.listen(address);
        let _ = once(listen.as_mut()).await;
        drop(listen);
    }
    site.host
        .network
        .listen(address)
        .await
        .expect("every future may be dropped at any await; what was begun is then undone");
}

/// A port of the far host on which nobody listens any more.
async fn nobody(site: &Site) -> SocketAddr {
    let (host, ip) = site.far();
    let address = on(&host.clone(), async move {
        let listener = host.network.listen(SocketAddr::new(ip, 0)).await;
        listener.expect("listen").local_addr()
    });
    site.within_patience(address).await
}

async fn nobody_listening_refuses(site: Site) {
    // On a real machine somebody else may take the port just now; not three times.
    for _ in 0..3 {
        let address = nobody(&site).await;
        match site
            .within_patience(site.host.network.connect(address))
            .await
        {
            Ok(_) => {}
            Err(error) => {
                let promise = "connect: ConnectionRefused when nobody listens there";
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{promise}");
                return;
            }
        }
    }
    panic!("connect: ConnectionRefused when nobody listens there");
}

async fn a_dropped_listener_refuses_but_its_streams_live_on(site: Site) {
    let (mut listener, address) = listen(&site).await;
    let (host, _) = site.far();
    let (dropped, go) = oneshot::channel();
    let far = on(&host.clone(), async move {
        let mut stream = connect(&host, address).await;
        go.await.expect("the listener is dropped");
        host.network
            .connect(address)
            .await
            .expect_err("dropping a listener refuses new streams");
        stream.write_all(b"alive").await.expect("write");
        stream.shutdown().await.expect("shutdown");
    });
    let (mut stream, _) = site
        .within_patience(listener.accept())
        .await
        .expect("accept");
    drop(listener);
    let _ = dropped.send(());
    let mut received = Vec::new();
    site.within_patience(stream.read_to_end(&mut received))
        .await
        .expect("read");
    assert_eq!(received, b"alive", "those accepted live on");
    site.within_patience(far).await;
}

async fn a_dropped_accept_loses_no_connection(site: Site) {
    const CLIENTS: u8 = 12;
    let (mut listener, address) = listen(&site).await;
    let mut accept = listener.accept();
    assert!(once(accept.as_mut()).await.is_pending(), "nobody came yet");
    drop(accept);
    let (host, _) = site.far();
    let far = on(&host.clone(), async move {
        for client in 0..CLIENTS {
            let mut stream = connect(&host, address).await;
            stream.write_all(&[client]).await.expect("write");
            stream.shutdown().await.expect("shutdown");
            let ended = stream.read(&mut [0]).await.expect("read");
            assert_eq!(ended, 0);
        }
    });
    let mut seen = BTreeSet::new();
    let started = site.host.now();
    while seen.len() < usize::from(CLIENTS) {
        assert!(
            site.host.now().since(started) < PATIENCE,
            "a dropped accept loses no connection, but of {CLIENTS} only {seen:?} came"
        );
        // Most of these accepts are polled once and dropped, at any stage of a connection's coming.
        match site.host.timeout(Duration::ZERO, listener.accept()).await {
            Err(_) => site.host.sleep(Duration::from_micros(50)).await,
            Ok(accepted) => {
                let (mut stream, _) = accepted.expect("accept");
                let mut client = [0];
                stream.read_exact(&mut client).await.expect("read");
                assert!(seen.insert(client[0]), "a connection is accepted once");
            }
        }
    }
    site.within_patience(far).await;
}

async fn a_dropped_connect_is_undone(site: Site) {
    let (mut listener, address) = listen(&site).await;
    let (host, _) = site.far();
    let far = on(&host.clone(), async move {
        for pause in 0..8 {
            let mut connecting = host.network.connect(address);
            if once(connecting.as_mut()).await.is_pending() {
                host.sleep(Duration::from_micros(pause * 50)).await;
            }
            drop(connecting);
        }
        let mut stream = connect(&host, address).await;
        stream.write_all(b"real").await.expect("write");
        stream.shutdown().await.expect("shutdown");
        let _ = stream.read(&mut [0]).await;
    });
    loop {
        let (mut stream, _) = site
            .within_patience(listener.accept())
            .await
            .expect("accept: what others dropped is not its error");
        let mut received = Vec::new();
        match site
            .within_patience(stream.read_to_end(&mut received))
            .await
        {
            Ok(_) if received == b"real" => break,
            Ok(read) => assert_eq!(read, 0, "a dropped connect sends nothing"),
            Err(error) => assert_gone(&error),
        }
    }
    site.within_patience(far).await;
}

async fn shutdown_ends_one_direction_only(site: Site) {
    let (mut stream, far) = site
        .stream(|_, mut stream| async move {
            let mut received = Vec::new();
            stream
                .read_to_end(&mut received)
                .await
                .expect("a read of zero bytes: the far end shut down its writing");
            assert_eq!(received, b"question");
            stream
                .write_all(b"answer after the end of the question")
                .await
                .expect("the other direction still works");
            stream.shutdown().await.expect("shutdown");
        })
        .await;
    stream.write_all(b"question").await.expect("write");
    stream.shutdown().await.expect("shutdown");
    let mut answer = Vec::new();
    site.within_patience(stream.read_to_end(&mut answer))
        .await
        .expect("the other direction still works");
    assert_eq!(answer, b"answer after the end of the question");
    for _ in 0..2 {
        let read = stream.read(&mut [0; 10]).await.expect("read");
        assert_eq!(read, 0, "the end stays the end");
    }
    site.within_patience(far).await;
}

async fn shutdown_sends_what_was_written(site: Site) {
    const LEN: usize = 100_000;
    let (mut stream, far) = site
        .stream(|_, mut stream| async move {
            let bytes = super::pattern_from(0, LEN);
            stream.write_all(&bytes).await.expect("write");
            stream.shutdown().await.expect("shutdown");
        })
        .await;
    // The far end is dropped by now, or soon: also then everything arrives.
    site.host.sleep(Duration::from_millis(5)).await;
    let mut received = Vec::new();
    site.within_patience(stream.read_to_end(&mut received))
        .await
        .expect("shutdown: sends what was written and then the end");
    assert!(
        received == super::pattern_from(0, LEN),
        "shutdown: sends what was written: {} of {LEN} bytes came",
        received.len()
    );
    site.within_patience(far).await;
}

async fn reading_from_a_dropped_peer_ends(site: Site) {
    let (mut stream, far) = site
        .stream(|_, mut stream| async move {
            stream.write_all(b"last words").await.expect("write");
        })
        .await;
    let mut received = Vec::new();
    let read = site
        .within_patience(stream.read_to_end(&mut received))
        .await;
    if let Err(error) = read {
        assert_eq!(
            error.kind(),
            io::ErrorKind::ConnectionReset,
            "dropping a stream sends a reset or an end"
        );
    }
    assert!(
        b"last words".starts_with(&received),
        "what arrives is a beginning of what was written"
    );
    site.within_patience(far).await;
}

async fn writing_to_a_dropped_peer_fails_in_the_end(site: Site) {
    let (mut stream, far) = site.stream(|_, stream| async move { drop(stream) }).await;
    site.within_patience(far).await;
    for _ in 0..10_000 {
        match site.within_patience(stream.write(&[0; 1024])).await {
            Err(error) => return assert_gone(&error),
            Ok(written) => assert!(written > 0, "write: at least one byte"),
        }
        site.host.sleep(Duration::from_millis(1)).await;
    }
    panic!("ten seconds of writing to a far end that is gone, and no error");
}
