//! What streams carry.

use super::{Site, on, once, pattern, pattern_from, table};
use crate::Stream;
use std::{pin::pin, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

table! { "transfers":
    an_echo_comes_back,
    bytes_are_read_in_pieces,
    a_dropped_read_loses_no_byte,
    a_mebibyte_arrives_in_order,
    both_directions_flow_at_once,
    a_reader_that_stops_stops_the_writer,
    streams_do_not_mix,
}

const MEBIBYTE: usize = 1 << 20;

/// Reads to the end, checking every byte against the pattern; returns how many there were.
async fn read_pattern(stream: &mut (impl AsyncReadExt + Unpin)) -> u64 {
    let mut buffer = vec![0; 10_000];
    let mut offset = 0;
    loop {
        let read = stream.read(&mut buffer).await.expect("read");
        if read == 0 {
            return offset;
        }
        for &byte in &buffer[..read] {
            assert_eq!(byte, pattern(offset), "in order, at {offset}");
            offset += 1;
        }
    }
}

/// Sends back whatever comes until the end.
async fn echo(mut stream: Stream) {
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.expect("read");
        if read == 0 {
            return stream.shutdown().await.expect("shutdown");
        }
        stream.write_all(&buffer[..read]).await.expect("write");
    }
}

async fn an_echo_comes_back(site: Site) {
    let (mut stream, far) = site.stream(|_, stream| echo(stream)).await;
    for len in [1, 2, 100, 4096, 10_000] {
        let sent = pattern_from(len, len as usize);
        stream.write_all(&sent).await.expect("write");
        stream.flush().await.expect("flush");
        let mut received = vec![0; sent.len()];
        site.within_patience(stream.read_exact(&mut received))
            .await
            .expect("what was written arrives without waiting for more");
        assert!(received == sent, "reliable and ordered: {len} bytes");
    }
    stream.shutdown().await.expect("shutdown");
    let rest = site.within_patience(stream.read(&mut [0; 10])).await;
    assert_eq!(rest.expect("read"), 0, "nothing that was not written");
    site.within_patience(far).await;
}

async fn bytes_are_read_in_pieces(site: Site) {
    let (mut stream, far) = site
        .stream(|host, mut stream| async move {
            stream.write_all(b"abcde").await.expect("write");
            host.sleep(Duration::from_millis(5)).await;
            stream.write_all(b"fghij").await.expect("write");
            stream.shutdown().await.expect("shutdown");
        })
        .await;
    let mut received = Vec::new();
    loop {
        let mut piece = [0; 3];
        let read = site
            .within_patience(stream.read(&mut piece))
            .await
            .expect("read");
        received.extend_from_slice(&piece[..read]);
        if read == 0 {
            break;
        }
    }
    assert_eq!(
        received, b"abcdefghij",
        "a stream has no message boundaries"
    );
    site.within_patience(far).await;
}

async fn a_dropped_read_loses_no_byte(site: Site) {
    let (stopped, go) = oneshot::channel();
    let (mut stream, far) = site
        .stream(|host, mut stream| async move {
            go.await.expect("the reader is ready");
            for byte in pattern_from(0, 20) {
                stream.write_all(&[byte]).await.expect("write");
                host.sleep(Duration::from_micros(100)).await;
            }
            stream.shutdown().await.expect("shutdown");
        })
        .await;
    for _ in 0..3 {
        let mut byte = [0];
        let read = pin!(stream.read(&mut byte));
        assert!(once(read).await.is_pending(), "nothing was written yet");
    }
    let _ = stopped.send(());
    let mut received = Vec::new();
    let started = site.host.now();
    loop {
        assert!(
            site.host.now().since(started) < super::PATIENCE,
            "the end never came"
        );
        let mut piece = [0; 2];
        match site
            .host
            .timeout(Duration::ZERO, stream.read(&mut piece))
            .await
        {
            Err(_) => site.host.sleep(Duration::from_micros(30)).await,
            Ok(read) => match read.expect("read") {
                0 => break,
                read => received.extend_from_slice(&piece[..read]),
            },
        }
    }
    assert_eq!(
        received,
        pattern_from(0, 20),
        "a dropped read takes nothing"
    );
    site.within_patience(far).await;
}

async fn a_mebibyte_arrives_in_order(site: Site) {
    let (mut stream, far) = site
        .stream(|host, mut stream| async move {
            // Late, so that the writer runs into whatever buffers there are.
            host.sleep(Duration::from_millis(20)).await;
            read_pattern(&mut stream).await
        })
        .await;
    let bytes = pattern_from(0, MEBIBYTE);
    site.within_patience(stream.write_all(&bytes))
        .await
        .expect("write");
    stream.shutdown().await.expect("shutdown");
    let received = site.within_patience(far).await;
    assert_eq!(received, MEBIBYTE as u64, "reliable: all of it arrives");
}

async fn both_directions_flow_at_once(site: Site) {
    const LEN: usize = MEBIBYTE / 4;
    let (stream, far) = site.stream(|_, stream| echo(stream)).await;
    let (mut read, mut write) = tokio::io::split(stream);
    let writer = on(&site.host, async move {
        for chunk in pattern_from(0, LEN).chunks(1111) {
            write.write_all(chunk).await.expect("write");
        }
        write.shutdown().await.expect("shutdown");
    });
    let received = site.within_patience(read_pattern(&mut read)).await;
    assert_eq!(received, LEN as u64);
    site.within_patience(writer).await;
    site.within_patience(far).await;
}

async fn a_reader_that_stops_stops_the_writer(site: Site) {
    /// More than any host may buffer on the way.
    const BUFFERS_MAX: u64 = 64 << 20;
    /// A write that waits this long waits for the reader.
    const STALLED: Duration = Duration::from_millis(200);
    let (resume, go) = oneshot::channel();
    let (mut stream, far) = site
        .stream(|_, mut stream| async move {
            go.await.expect("the writer has stopped");
            read_pattern(&mut stream).await
        })
        .await;
    let mut written = 0;
    loop {
        let bytes = pattern_from(written, 64 << 10);
        match site.host.timeout(STALLED, stream.write(&bytes)).await {
            Ok(wrote) => written += wrote.expect("write") as u64,
            Err(_) => break,
        }
        assert!(
            written < BUFFERS_MAX,
            "buffers are bounded: a writer waits for its reader"
        );
    }
    let _ = resume.send(());
    let rest = pattern_from(written, 1000);
    site.within_patience(stream.write_all(&rest))
        .await
        .expect("the writer goes on when the reader does");
    stream.shutdown().await.expect("shutdown");
    assert_eq!(
        site.within_patience(far).await,
        written + 1000,
        "everything that a write reported as written arrives, and nothing of a dropped write"
    );
}

async fn streams_do_not_mix(site: Site) {
    const STREAMS: usize = 10;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(site.stream(|_, stream| echo(stream)).await);
    }
    for (n, (stream, _)) in streams.iter_mut().enumerate() {
        stream
            .write_all(&vec![n as u8; 1000 + n])
            .await
            .expect("write");
        stream.shutdown().await.expect("shutdown");
    }
    for (n, (mut stream, far)) in streams.into_iter().enumerate() {
        let mut received = Vec::new();
        site.within_patience(stream.read_to_end(&mut received))
            .await
            .expect("read");
        assert_eq!(received, vec![n as u8; 1000 + n], "stream {n}");
        site.within_patience(far).await;
    }
}
