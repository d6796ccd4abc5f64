use super::*;
use std::{io::ErrorKind, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn bytes_arrive_in_order_over_bad_links() {
    for seed in 0..20 {
        let ended = simulate(rough(seed), move |world| async move {
            echo_server(&world, 0);
            idle(&world, 1);
            let host = world.host(1);
            let stream = connect(&host, 0).await;
            let (mut reader, mut writer) = tokio::io::split(stream);
            let sent: Vec<u8> = (0..300_000u32)
                .map(|n| (n.wrapping_mul(n) / 7) as u8)
                .collect();
            let expected = sent.clone();
            let writing = host.spawn("writer", async move {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.unwrap();
            writing.await;
            assert!(received == expected, "seed {seed}");
        });
        assert!(ended.counts.retransmissions > 0, "nothing was lost");
    }
}

#[test]
fn nobody_listens() {
    simulate(calm(1), |world| async move {
        idle(&world, 0);
        idle(&world, 1);
        let refused = world.host(1).network.connect(address(0)).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(world.now() < SECOND);
    });
}

#[test]
fn nobody_is_there() {
    simulate(calm(1), |world| async move {
        idle(&world, 0);
        let nowhere = SocketAddr::from(([10, 9, 9, 9], PORT));
        let lost = world.host(0).network.connect(nowhere).await;
        assert_eq!(lost.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(world.now() >= 60 * SECOND);
    });
}

#[test]
fn an_unread_stream_stops_its_writer_and_goes_on_when_read() {
    simulate(calm(1), |world| async move {
        idle(&world, 0);
        idle(&world, 1);
        let (client, server) = (world.host(0), world.host(1));
        let mut listener = server.network.listen(address(1)).await.unwrap();
        let mut sender = connect(&client, 1).await;
        let (mut receiver, _) = listener.accept().await.unwrap();
        let writing = client.spawn("writer", async move {
            sender.write_all(&vec![3; 1_000_000]).await.unwrap();
            sender.shutdown().await.unwrap();
        });
        // For longer than an unacknowledged stream lives: a full window is no silence.
        world.sleep(300 * SECOND).await;
        let segments = world.counts().segments;
        assert!(segments < 100, "64 KiB are 45 segments, not {segments}");
        let mut received = Vec::new();
        receiver.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, vec![3; 1_000_000]);
        writing.await;
    });
}

#[test]
fn a_blackout_is_survived_or_ends_in_a_timeout() {
    simulate(calm(1), |world| async move {
        echo_server(&world, 0);
        idle(&world, 1);
        let host = world.host(1);
        let mut stream = connect(&host, 0).await;
        for (outage, survives) in [(20, true), (200, false)] {
            isolate(&world, 0);
            stream.write_all(b"are you there").await.unwrap();
            let mut answer = [0; 13];
            let early = host
                .timeout(outage * SECOND, stream.read_exact(&mut answer))
                .await;
            heal(&world);
            match survives {
                true => {
                    assert!(early.is_err(), "nothing comes through a cut");
                    stream.read_exact(&mut answer).await.unwrap();
                }
                false => {
                    let error = early.expect("silence ends").unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                }
            }
        }
    });
}

#[test]
fn one_way_silence_also_ends_in_a_timeout() {
    simulate(calm(1), |world| async move {
        echo_server(&world, 0);
        idle(&world, 1);
        let host = world.host(1);
        let mut stream = connect(&host, 0).await;
        cut_one_way(&world, 0, 1);
        stream.write_all(b"heard, but no answer").await.unwrap();
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn dropping_unread_bytes_resets() {
    simulate(calm(1), |world| async move {
        idle(&world, 0);
        idle(&world, 1);
        let (client, server) = (world.host(0), world.host(1));
        let mut listener = server.network.listen(address(1)).await.unwrap();
        let mut sender = connect(&client, 1).await;
        let (receiver, _) = listener.accept().await.unwrap();
        sender.write_all(b"never read").await.unwrap();
        world.sleep(SECOND).await;
        drop(receiver);
        let error = sender.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn closing_delivers_everything_and_frees_the_connection() {
    let ended = simulate(calm(1), |world| async move {
        idle(&world, 0);
        idle(&world, 1);
        let (client, server) = (world.host(0), world.host(1));
        let mut listener = server.network.listen(address(1)).await.unwrap();
        for _ in 0..100 {
            let mut sender = connect(&client, 1).await;
            sender.write_all(&[7; 50_000]).await.unwrap();
            drop(sender);
            let (mut receiver, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            receiver.read_to_end(&mut received).await.unwrap();
            assert_eq!(received.len(), 50_000);
        }
        world.sleep(SECOND).await;
    });
    assert_eq!(ended.live_connections, 0);
}

#[test]
fn half_closed_for_ever_is_freed_in_the_end() {
    let ended = simulate(calm(1), |world| async move {
        idle(&world, 0);
        idle(&world, 1);
        let (client, server) = (world.host(0), world.host(1));
        let mut listener = server.network.listen(address(1)).await.unwrap();
        let sender = connect(&client, 1).await;
        let (mut receiver, _) = listener.accept().await.unwrap();
        drop(sender);
        assert_eq!(receiver.read(&mut [0; 8]).await.unwrap(), 0);
        // The client's kernel waits a minute for the server's end, then forgets.
        world.sleep(70 * SECOND).await;
        receiver.write_all(b"hello?").await.unwrap();
        let error = receiver.read(&mut [0; 8]).await;
        assert_eq!(error.unwrap(), 0, "what was read to its end stays so");
        world.sleep(SECOND).await;
        let error = receiver.write(b"hello?").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
    assert_eq!(ended.live_connections, 0);
}

#[test]
fn a_full_backlog_makes_clients_wait() {
    simulate(calm(1), |world| async move {
        idle(&world, 0);
        idle(&world, 1);
        let (client, server) = (world.host(0), world.host(1));
        let mut listener = server.network.listen(address(1)).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..128 {
            waiting.push(connect(&client, 1).await);
        }
        let request = client.network.connect(address(1));
        assert!(client.timeout(5 * SECOND, request).await.is_err());
        let request = client.network.connect(address(1));
        let host = server.clone();
        server.spawn("acceptor", async move {
            host.sleep(SECOND / 2).await;
            let _accepted = listener.accept().await;
            host.sleep(100 * SECOND).await;
        });
        assert!(client.timeout(5 * SECOND, request).await.unwrap().is_ok());
    });
}

#[test]
fn reads_and_writes_are_cut_short_now_and_then() {
    simulate(calm(1), |world| async move {
        idle(&world, 0);
        idle(&world, 1);
        let (client, server) = (world.host(0), world.host(1));
        let mut listener = server.network.listen(address(1)).await.unwrap();
        let mut sender = connect(&client, 1).await;
        let (mut receiver, _) = listener.accept().await.unwrap();
        let (mut short_writes, mut short_reads) = (0, 0);
        for _ in 0..1_000 {
            let written = sender.write(&[1; 1_000]).await.unwrap();
            short_writes += u32::from(written < 1_000);
            world.sleep(SECOND).await;
            let mut left = written;
            while left > 0 {
                let read = receiver.read(&mut [0; 1_000]).await.unwrap();
                short_reads += u32::from(read < left);
                left -= read;
            }
        }
        assert!((30..100).contains(&short_writes), "{short_writes}");
        assert!((60..250).contains(&short_reads), "{short_reads}");
    });
}
