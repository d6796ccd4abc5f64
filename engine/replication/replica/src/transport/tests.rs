use super::*;
use bytes::Bytes;
use holdfast_host::tokio_host;
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// Far longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

/// Replica 1 of three, on this operating system.
fn link(runtime: &Runtime, patience: Duration) -> (Link, mpsc::Receiver<Arrival>) {
    let (arrivals, arrived) = mpsc::channel(16);
    let link = Link {
        host: tokio_host::host(PathBuf::from("."), runtime.handle().clone()),
        cluster: 7,
        id: 1,
        patience,
        arrivals,
    };
    (link, arrived)
}

/// Its port for peers, open.
async fn open(link: &Link) -> SocketAddr {
    let anywhere = "127.0.0.1:0".parse().expect("an address");
    let listener = link.host.network.listen(anywhere).await.expect("listens");
    let address = listener.local_addr();
    let members = Arc::new(vec![1, 2, 3]);
    link.host
        .spawn("accept", accept(link.clone(), listener, members));
    address
}

async fn call(link: &Link, address: SocketAddr, from: NodeId) -> Stream {
    let mut stream = link.host.network.connect(address).await.expect("connects");
    let hello = Hello {
        cluster: 7,
        from,
        to: 1,
    };
    send(&mut stream, &hello).await;
    stream
}

async fn send(stream: &mut Stream, body: &impl serde::Serialize) {
    let mut frame = Vec::new();
    wire::encode(body, &mut frame);
    stream.write_all(&frame).await.expect("sent");
}

fn message(from: NodeId, bytes: usize) -> Message {
    Message::SnapshotChunk {
        from,
        term: 1,
        meta: holdfast_raft::SnapshotMeta::default(),
        total: 1,
        checksum: 0,
        offset: 0,
        bytes: Bytes::from(vec![0; bytes]),
    }
}

/// Whether the far end has ended a connection, within a time that is short beside the link's patience.
async fn has_ended(link: &Link, stream: &mut Stream) -> bool {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    // A reset is an end too.
    link.host.timeout(LONG / 4, read).await.is_ok()
}

#[test]
fn a_peer_that_calls_again_has_given_the_connection_before_up() {
    let runtime = Runtime::new().expect("a runtime");
    let (link, mut arrived) = link(&runtime, LONG);
    runtime.block_on(async {
        let address = open(&link).await;
        let mut other = call(&link, address, 3).await;
        send(&mut other, &message(3, 1)).await;
        assert!(arrived.recv().await.is_some());
        let mut before = call(&link, address, 2).await;
        send(&mut before, &message(2, 1)).await;
        assert!(arrived.recv().await.is_some());
        let mut now = call(&link, address, 2).await;
        assert!(has_ended(&link, &mut before).await);
        for (from, stream) in [(2, &mut now), (3, &mut other)] {
            send(stream, &message(from, 1)).await;
            assert!(arrived.recv().await.is_some(), "the others go on");
        }
    });
}

#[test]
fn no_room_is_made_for_what_a_stranger_announces() {
    let runtime = Runtime::new().expect("a runtime");
    let (link, _arrived) = link(&runtime, LONG);
    runtime.block_on(async {
        let address = open(&link).await;
        let mut stranger = link.host.network.connect(address).await.expect("connects");
        let mut header = [wire::VERSION; wire::HEADER_BYTES];
        header[1..5].copy_from_slice(&(wire::MAX_HELLO_BYTES as u32 + 1).to_le_bytes());
        stranger.write_all(&header).await.expect("sent");
        assert!(has_ended(&link, &mut stranger).await);
    });
}

#[test]
fn what_waits_for_a_peer_is_bounded_by_its_bytes() {
    let (queue, mut waiting) = mpsc::channel(OUTBOX_MESSAGES);
    let outbox = Outbox {
        queue,
        bytes: Arc::default(),
    };
    assert!(outbox.send(message(1, OUTBOX_BYTES)), "when nothing waits");
    assert!(!outbox.send(message(1, 1)));
    let taken = waiting.try_recv().expect("it waits").wire_bytes();
    outbox.bytes.fetch_sub(taken, Ordering::Relaxed);
    for _ in 0..7 {
        assert!(outbox.send(message(1, OUTBOX_BYTES / 8)));
    }
    assert!(!outbox.send(message(1, OUTBOX_BYTES / 8)));
    assert!(outbox.send(message(1, 1)), "there is room for that");
}

#[test]
fn a_write_is_given_up_when_nothing_is_taken_and_not_when_it_is_slow() {
    let patience = Duration::from_millis(400);
    let runtime = Runtime::new().expect("a runtime");
    let (link, _arrived) = link(&runtime, patience);
    runtime.block_on(async {
        let (mut near, mut far) = tokio::io::duplex(1);
        let host = link.host.clone();
        let reader = link.host.spawn("slow", async move {
            for _ in 0..20 {
                host.sleep(patience / 10).await;
                far.read_u8().await.expect("a byte");
            }
            // Deaf from here on, but not gone.
            host.sleep(LONG).await;
        });
        // Twice the patience in all.
        link.write(&mut near, &[0; 20]).await.expect("taken");
        let stuck = link.write(&mut near, &[0; 20]).await.expect_err("deaf");
        assert_eq!(stuck.kind(), io::ErrorKind::TimedOut);
        reader.abort();
    });
}
