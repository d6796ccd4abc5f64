//! Connections between replicas: one from each replica to each other, messages in one direction, a byte of
//! acknowledgement for each batch in the other. A connection whose acknowledgements stay away is given up and made
//! anew: TCP alone would go on for minutes after a partition has healed.

use crate::{
    Message,
    hints::PeerHints,
    wire::{self, Hello},
};
use holdfast_host::{Host, Moment, Stream, TaskHandle};
use holdfast_raft::NodeId;
use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf},
    sync::{mpsc, oneshot},
};

#[cfg(test)]
mod tests;

/// Most messages that wait for one peer; when it is full new ones are dropped, which Raft treats as loss.
const OUTBOX_MESSAGES: usize = 4096;
/// Most bytes of messages that wait for one peer, about; a message is taken whatever its size when none waits.
const OUTBOX_BYTES: usize = 32 << 20;
/// Most bytes written to a peer at once.
const BATCH_BYTES: usize = 256 * 1024;
/// Most connections from peers at a time: one of each member, and those that have not said yet whose they are.
const MAX_INBOUND: usize = 256;

/// What the transport tells the replica.
pub(crate) enum Arrival {
    /// A message.
    Message(Message),
    /// A peer cannot be reached.
    Unreachable(NodeId),
}

/// What both directions need to know.
#[derive(Clone)]
pub(crate) struct Link {
    pub host: Host,
    pub cluster: u64,
    pub id: NodeId,
    /// After this long without an acknowledgement a connection is given up.
    pub patience: Duration,
    pub arrivals: mpsc::Sender<Arrival>,
}

/// The sending side: one bounded queue and one task a peer.
pub(crate) struct Outboxes {
    queues: BTreeMap<NodeId, Outbox>,
}

struct Outbox {
    queue: mpsc::Sender<Message>,
    /// What the messages in the queue take, about.
    bytes: Arc<AtomicUsize>,
}

impl Outbox {
    fn send(&self, message: Message) -> bool {
        let size = message.wire_bytes();
        let before = self.bytes.fetch_add(size, Ordering::Relaxed);
        let has_room = before == 0 || before + size <= OUTBOX_BYTES;
        let is_sent = has_room && self.queue.try_send(message).is_ok();
        if !is_sent {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        is_sent
    }
}

impl Outboxes {
    pub fn start(link: &Link, peers: &BTreeMap<NodeId, String>, hints: &PeerHints) -> Self {
        let mut queues = BTreeMap::new();
        for (&peer, address) in peers {
            if peer == link.id {
                continue;
            }
            let (send, receive) = mpsc::channel(OUTBOX_MESSAGES);
            let bytes = Arc::new(AtomicUsize::new(0));
            let sender = Sender {
                link: link.clone(),
                peer,
                address: address.clone(),
                hints: hints.clone(),
                is_at_hint: false,
                queue: receive,
                bytes: bytes.clone(),
            };
            link.host.spawn("replica-send", sender.run());
            queues.insert(peer, Outbox { queue: send, bytes });
        }
        Outboxes { queues }
    }

    /// Queues a message; `false` when it was dropped.
    pub fn send(&self, to: NodeId, message: Message) -> bool {
        self.queues
            .get(&to)
            .is_some_and(|outbox| outbox.send(message))
    }
}

struct Sender {
    link: Link,
    peer: NodeId,
    address: String,
    hints: PeerHints,
    /// Whether the address that is tried is the hint, not the one that was configured: the last one that led anywhere.
    is_at_hint: bool,
    queue: mpsc::Receiver<Message>,
    bytes: Arc<AtomicUsize>,
}

impl Sender {
    async fn run(mut self) {
        let mut backoff = Duration::from_millis(20);
        while let Some(first) = self.queue.recv().await {
            self.took(&first);
            match self
                .link
                .host
                .timeout(self.link.patience, self.connect())
                .await
            {
                Ok(Ok(stream)) => {
                    backoff = Duration::from_millis(20);
                    let heard = Arc::new(AtomicU64::new(0));
                    let result = self.serve(stream, first, heard.clone()).await;
                    // Somebody was there, but not the peer: who is not called by his name hangs up.
                    self.is_at_hint ^= heard.load(Ordering::Relaxed) == 0;
                    tracing::debug!(peer = self.peer, ?result, "connection to peer ended");
                }
                failed => {
                    tracing::trace!(peer = self.peer, ?failed, "cannot connect to peer");
                    self.is_at_hint = !self.is_at_hint;
                    self.report().await;
                    self.link.host.sleep(backoff).await;
                    backoff = (backoff * 2).min(self.link.patience);
                    // What waited meanwhile is stale: Raft sends anew what still matters.
                    while self.take_waiting().is_some() {}
                }
            }
        }
    }

    /// The next message, if one waits.
    fn take_waiting(&mut self) -> Option<Message> {
        let message = self.queue.try_recv().ok()?;
        self.took(&message);
        Some(message)
    }

    fn took(&self, message: &Message) {
        self.bytes
            .fetch_sub(message.wire_bytes(), Ordering::Relaxed);
    }

    async fn report(&self) {
        let _ = self
            .link
            .arrivals
            .send(Arrival::Unreachable(self.peer))
            .await;
    }

    async fn connect(&self) -> io::Result<Stream> {
        let hint = self.hints.get(self.peer).filter(|_| self.is_at_hint);
        let (name, port) = hint
            .as_deref()
            .unwrap_or(&self.address)
            .rsplit_once(':')
            .and_then(|(name, port)| Some((name, port.parse().ok()?)))
            .ok_or(io::ErrorKind::InvalidInput)?;
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let network = &self.link.host.network;
        let mut last = io::ErrorKind::NotFound.into();
        for address in network.resolve(name, port).await? {
            match network.connect(address).await {
                Ok(mut stream) => {
                    let mut hello = Vec::new();
                    let body = Hello {
                        cluster: self.link.cluster,
                        from: self.link.id,
                        to: self.peer,
                    };
                    wire::encode(&body, &mut hello);
                    stream.write_all(&hello).await?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends until the connection fails or the replica ends.
    async fn serve(
        &mut self,
        stream: Stream,
        first: Message,
        acknowledged: Arc<AtomicU64>,
    ) -> io::Result<()> {
        let (read, mut write) = tokio::io::split(stream);
        let mut reader = self
            .link
            .host
            .spawn("replica-acks", count(read, acknowledged.clone()));
        let mut next = Some(first);
        let mut buffer = Vec::new();
        let mut seen = 0;
        let mut waiting: Option<Moment> = None;
        let result = loop {
            let message = match next.take() {
                Some(message) => message,
                None => match self.next_message(&mut reader).await {
                    Ok(Some(message)) => message,
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                },
            };
            // Looked at before the write: an acknowledgement of this batch is news at the next look.
            let known = acknowledged.load(Ordering::Relaxed);
            let now = self.link.host.now();
            if known != seen {
                (seen, waiting) = (known, None);
            }
            if now.since(*waiting.get_or_insert(now)) > self.link.patience {
                break Err(io::ErrorKind::TimedOut.into());
            }
            buffer.clear();
            wire::encode(&message, &mut buffer);
            while buffer.len() < BATCH_BYTES {
                let Some(message) = self.take_waiting() else {
                    break;
                };
                wire::encode(&message, &mut buffer);
            }
            if let Err(error) = self.link.write(&mut write, &buffer).await {
                break Err(error);
            }
        };
        reader.abort();
        self.report().await;
        result
    }

    /// The next message to send, `None` at the replica's end. Fails when the connection has ended, before it takes a
    /// message: followers are silent among themselves, and what one of them says to another that was restarted
    /// meanwhile, perhaps the one vote that decides, must not be written to a connection that is dead.
    async fn next_message(&mut self, reader: &mut TaskHandle) -> io::Result<Option<Message>> {
        poll_fn(|cx| {
            if Pin::new(&mut *reader).poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            self.queue.poll_recv(cx).map(Ok)
        })
        .await
        .inspect(|message| {
            if let Some(message) = message {
                self.took(message);
            }
        })
    }
}

impl Link {
    /// Writes all of it. Given up when the far end takes nothing for too long: on a slow link a batch may take longer.
    async fn write(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        mut bytes: &[u8],
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.host.timeout(self.patience, stream.write(bytes)).await;
            match taken.map_err(|_| io::ErrorKind::TimedOut)?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                taken => bytes = &bytes[taken..],
            }
        }
        Ok(())
    }
}

/// Counts acknowledgements until the connection ends.
async fn count(mut read: ReadHalf<Stream>, acknowledged: Arc<AtomicU64>) {
    let mut buffer = [0; 256];
    loop {
        match read.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(n) => acknowledged.fetch_add(n as u64, Ordering::Relaxed),
        };
    }
}

/// Accepts peers' connections until aborted. `members` may call; everybody else is turned away.
pub(crate) async fn accept(
    link: Link,
    mut listener: holdfast_host::Listener,
    members: Arc<Vec<NodeId>>,
) {
    let open = Arc::new(AtomicUsize::new(0));
    let callers = Callers::default();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a peer's connection");
                link.host.sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if open.load(Ordering::Relaxed) >= MAX_INBOUND {
            tracing::warn!(%from, "too many connections from peers");
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let (link, members, open) = (link.clone(), members.clone(), open.clone());
        let callers = callers.clone();
        link.host.clone().spawn("replica-receive", async move {
            if let Err(error) = receive(&link, stream, from, &members, &callers).await {
                tracing::debug!(%from, %error, "connection from peer ended");
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// The newest connection of each peer: who calls again has given the one before up, and its end may never be told here
/// (a peer that lost power says nothing, and a peer with nothing to say is silent too).
#[derive(Clone, Default)]
struct Callers(Arc<Mutex<BTreeMap<NodeId, oneshot::Sender<()>>>>);

impl Callers {
    /// Notes a peer's connection; completes when the peer has made a newer one.
    fn note(&self, peer: NodeId) -> oneshot::Receiver<()> {
        let (replace, replaced) = oneshot::channel();
        let mut callers = self.0.lock().expect("no panic under this lock");
        // Dropping the sender ends the connection before.
        callers.insert(peer, replace);
        replaced
    }
}

async fn receive(
    link: &Link,
    mut stream: Stream,
    from: SocketAddr,
    members: &[NodeId],
    callers: &Callers,
) -> io::Result<()> {
    let mut body = Vec::new();
    let hello = link
        .host
        .timeout(link.patience, read_hello(&mut stream, &mut body));
    let hello = hello
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if hello.cluster != link.cluster || hello.to != link.id || !members.contains(&hello.from) {
        tracing::warn!(
            %from,
            cluster = format_args!("{:016x}", hello.cluster),
            own_cluster = format_args!("{:016x}", link.cluster),
            caller = hello.from,
            called = hello.to,
            "a node of another cluster or of other members, or one that is not a member, was turned away"
        );
        return Ok(());
    }
    let mut replaced = callers.note(hello.from);
    let mut messages = pin!(take_messages(link, stream, hello, body));
    poll_fn(|cx| {
        if Pin::new(&mut replaced).poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::other("the peer has called again")));
        }
        messages.as_mut().poll(cx)
    })
    .await
}

/// Hands a peer's messages on until its connection, or the replica, ends.
async fn take_messages(
    link: &Link,
    stream: Stream,
    hello: Hello,
    mut body: Vec<u8>,
) -> io::Result<()> {
    let mut stream = tokio::io::BufReader::with_capacity(64 * 1024, stream);
    loop {
        let message: Message = read_frame(&mut stream, &mut body, wire::MAX_BODY_BYTES).await?;
        if message.from() != hello.from {
            return Err(io::Error::other("a message in another node's name"));
        }
        if link.arrivals.send(Arrival::Message(message)).await.is_err() {
            return Ok(());
        }
        // The batch has been read: one byte says so.
        if stream.buffer().is_empty() {
            link.write(stream.get_mut(), &[1]).await?;
        }
    }
}

/// The first frame: from whom nobody knows yet, and so no longer than it ever is.
async fn read_hello(
    stream: &mut (impl AsyncReadExt + Unpin),
    body: &mut Vec<u8>,
) -> io::Result<Hello> {
    read_frame(stream, body, wire::MAX_HELLO_BYTES).await
}

/// A frame with a body of at most `limit` bytes; a longer one is refused before there is room made for it.
async fn read_frame<T: serde::de::DeserializeOwned>(
    stream: &mut (impl AsyncReadExt + Unpin),
    body: &mut Vec<u8>,
    limit: usize,
) -> io::Result<T> {
    let mut header = [0; wire::HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let len = wire::body_len(&header, limit).map_err(io::Error::other)?;
    body.resize(len, 0);
    stream.read_exact(body).await?;
    wire::decode(&header, body).map_err(io::Error::other)
}
