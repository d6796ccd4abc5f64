use crate::{
    KeptKind, KeptStatus, MAX_KEPT, NodeContact, Status, Via,
    pending::{Found, Outcome},
};
use holdfast_kademlia::{
    Id, PutRequest, Refused, Request, SignedPut,
    bencode::{Raw, write_bytes},
    item::{self, ItemError, SecretKey},
};
use std::{net::SocketAddr, num::NonZeroU16, sync::Arc};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// Most commands that wait for the task.
pub(crate) const COMMANDS: usize = 1_024;
/// How much of what a lookup finds waits for its reader.
const FOUND: usize = 64;

/// Why something has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DhtError {
    /// The nodes are being stopped, or were.
    #[error("the DHT is stopped")]
    Stopped,
    /// Too much is under way.
    #[error("too much is under way")]
    Overloaded,
    /// There is no local node of this number.
    #[error("there is no local node {0}")]
    NoSuchNode(usize),
    /// More nodes than can do the same one after another.
    #[error("too many local nodes to do the same one after another")]
    TooManyNodes,
    /// It would never be accepted anywhere.
    #[error("{0}")]
    Invalid(ItemError),
    /// It took longer than it may.
    #[error("the lookup took too long and was given up")]
    TimedOut,
    /// It stores nothing that could be kept.
    #[error("only announcements and items can be kept")]
    NotKept,
    /// As much is kept as may be.
    #[error("{MAX_KEPT} announcements and items are kept; no more can be")]
    KeepsEnough,
}

impl From<Refused> for DhtError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Busy => DhtError::Overloaded,
            Refused::Invalid(error) => DhtError::Invalid(error),
        }
    }
}

/// What the task is told.
pub(crate) enum Command {
    Start(Start),
    Join(Vec<SocketAddr>),
    Status(oneshot::Sender<Status>),
    Contacts(usize, oneshot::Sender<Result<Vec<NodeContact>, DhtError>>),
    Kept(oneshot::Sender<Vec<KeptStatus>>),
    Forget(Via, KeptKind, Id, oneshot::Sender<bool>),
    Stop(oneshot::Sender<()>),
}

pub(crate) struct Start {
    pub via: Via,
    pub request: Request,
    pub keep: bool,
    pub reply: oneshot::Sender<Result<Outcome, DhtError>>,
    pub stream: Option<mpsc::Sender<Found>>,
}

/// A local node as callers know it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub id: Id,
    pub v4: Option<SocketAddr>,
    pub v6: Option<SocketAddr>,
}

/// Talks to the task that drives local nodes; they are named by their place in
/// [`Settings::nodes`](crate::Settings::nodes). When the last handle is dropped, the task saves the tables and ends.
#[derive(Clone)]
pub struct DhtHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) known: Arc<[Known]>,
}

impl DhtHandle {
    /// How many local nodes there are.
    pub fn nodes(&self) -> usize {
        self.known.len()
    }

    /// The id of a local node.
    ///
    /// # Panics
    /// When there is none of this number.
    pub fn id(&self, node: usize) -> Id {
        self.known[node].id
    }

    /// Where a local node listens, in IPv4 and in IPv6.
    ///
    /// # Panics
    /// When there is none of this number.
    pub fn addresses(&self, node: usize) -> [Option<SocketAddr>; 2] {
        [self.known[node].v4, self.known[node].v6]
    }

    fn start(
        &self,
        via: Via,
        request: Request,
        keep: bool,
        stream: Option<mpsc::Sender<Found>>,
    ) -> Result<oneshot::Receiver<Result<Outcome, DhtError>>, DhtError> {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Start(Start {
            via,
            request,
            keep,
            reply,
            stream,
        }))?;
        Ok(outcome)
    }

    fn send(&self, command: Command) -> Result<(), DhtError> {
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => DhtError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => DhtError::Stopped,
            })
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, DhtError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| DhtError::Stopped)
    }

    /// Begins something and tells what it finds on its way. A lookup whose handle was dropped is given up.
    pub fn begin(&self, node: usize, request: Request) -> Result<Lookup, DhtError> {
        let (stream, found) = mpsc::channel(FOUND);
        let outcome = self.start(Via::Node(node), request, false, Some(stream))?;
        Ok(Lookup { found, outcome })
    }

    /// Carries something out.
    pub async fn run(&self, node: usize, request: Request) -> Result<Outcome, DhtError> {
        self.run_via(Via::Node(node), request).await
    }

    /// Carries something out through one node or several.
    pub async fn run_via(&self, via: Via, request: Request) -> Result<Outcome, DhtError> {
        let outcome = self.start(via, request, false, None)?;
        outcome.await.map_err(|_| DhtError::Stopped)?
    }

    /// Stores something, and again before it would be forgotten, until [`forget`](DhtHandle::forget) or the end of the task,
    /// which nothing that is kept outlives. What was kept under the same target is no longer. Of a mutable item that
    /// somebody puts a newer one in place of nothing is stored any more.
    pub async fn keep(&self, node: usize, request: Request) -> Result<Outcome, DhtError> {
        self.keep_via(Via::Node(node), request).await
    }

    /// The same through one node or several. Of what goes through [`Via::Each`] every node keeps its own; what goes
    /// through [`Via::Any`] is stored through another each time.
    pub async fn keep_via(&self, via: Via, request: Request) -> Result<Outcome, DhtError> {
        let outcome = self.start(via, request, true, None)?;
        outcome.await.map_err(|_| DhtError::Stopped)?
    }

    /// Who is closest to `target`.
    pub async fn lookup(&self, node: usize, target: Id) -> Result<Outcome, DhtError> {
        self.run(node, Request::FindNode { target }).await
    }

    /// Who has a torrent.
    pub async fn get_peers(&self, node: usize, info_hash: Id) -> Result<Outcome, DhtError> {
        let no_seeds = false;
        let request = Request::GetPeers {
            info_hash,
            no_seeds,
        };
        self.run(node, request).await
    }

    /// Makes it known that a client here has a torrent: at `port`, or at the one of the node's own datagrams.
    pub async fn announce(
        &self,
        node: usize,
        info_hash: Id,
        port: Option<NonZeroU16>,
    ) -> Result<Outcome, DhtError> {
        let is_seed = false;
        let request = Request::Announce {
            info_hash,
            port,
            is_seed,
        };
        self.run(node, request).await
    }

    /// An item by its target. A mutable one is only found with the `salt` under which it was put.
    pub async fn get(&self, node: usize, target: Id, salt: &[u8]) -> Result<Outcome, DhtError> {
        let request = Request::Get {
            target,
            salt: salt.to_vec(),
            is_mutable: false,
        };
        self.run(node, request).await
    }

    /// Stores an item.
    pub async fn put(&self, node: usize, item: NewItem) -> Result<Outcome, DhtError> {
        self.run(node, Request::Put(item.0)).await
    }

    /// Ids of torrents that the nodes around `target` know of.
    pub async fn sample(&self, node: usize, target: Id) -> Result<Outcome, DhtError> {
        self.run(node, Request::Sample { target }).await
    }

    /// What is kept, by node, kind and target.
    pub async fn kept(&self) -> Result<Vec<KeptStatus>, DhtError> {
        self.ask(Command::Kept).await
    }

    /// No longer keeps something; whether it did. Those that have it keep it until it expires there.
    pub async fn forget(&self, node: usize, kind: KeptKind, target: Id) -> Result<bool, DhtError> {
        self.forget_via(Via::Node(node), kind, target).await
    }

    /// No longer keeps what was kept through `via`; [`Via::Each`] is whatever is kept of it, by any.
    pub async fn forget_via(&self, via: Via, kind: KeptKind, target: Id) -> Result<bool, DhtError> {
        self.ask(|reply| Command::Forget(via, kind, target, reply))
            .await
    }

    /// How everything is.
    pub async fn status(&self) -> Result<Status, DhtError> {
        self.ask(Command::Status).await
    }

    /// The contacts in a node's tables, those of IPv4 first, bad ones included.
    pub async fn contacts(&self, node: usize) -> Result<Vec<NodeContact>, DhtError> {
        self.ask(|reply| Command::Contacts(node, reply)).await?
    }

    /// Tells all nodes of others to begin with.
    pub fn join(&self, addresses: Vec<SocketAddr>) -> Result<(), DhtError> {
        self.send(Command::Join(addresses))
    }

    /// Saves the tables and ends the task. Lookups under way are given up.
    pub async fn shutdown(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(reply)).await.is_ok() {
            // It is dropped by a task that was aborted: that has ended, too.
            let _ = stopped.await;
        }
    }
}

/// A lookup under way.
pub struct Lookup {
    found: mpsc::Receiver<Found>,
    outcome: oneshot::Receiver<Result<Outcome, DhtError>>,
}

impl Lookup {
    /// What it finds next; `None` when it has ended.
    pub async fn next(&mut self) -> Option<Found> {
        self.found.recv().await
    }

    /// What it came to.
    pub async fn finish(self) -> Result<Outcome, DhtError> {
        self.outcome.await.map_err(|_| DhtError::Stopped)?
    }
}

/// An item to store, known to be one that nodes take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem(PutRequest);

impl NewItem {
    /// An immutable one: `value` is bencode.
    pub fn immutable(value: Vec<u8>) -> Result<NewItem, ItemError> {
        let raw = Raw::parse(&value).map_err(|_| ItemError::NotCanonical)?;
        item::check_value(raw)?;
        let mutable = None;
        Ok(NewItem(PutRequest { value, mutable }))
    }

    /// A mutable one, signed by the key of `seed`. `cas`: store it only where the one that is there has this number.
    pub fn signed(
        seed: &[u8; 32],
        salt: &[u8],
        sequence: i64,
        value: Vec<u8>,
        cas: Option<i64>,
    ) -> Result<NewItem, ItemError> {
        let key = SecretKey::from_seed(seed);
        let raw = Raw::parse(&value).map_err(|_| ItemError::NotCanonical)?;
        let signature = key.sign(salt, sequence, raw)?;
        let mutable = Some(SignedPut {
            key: *key.public(),
            salt: salt.to_vec(),
            sequence,
            signature,
            cas,
        });
        Ok(NewItem(PutRequest { value, mutable }))
    }

    /// Any one, as somebody signed it; its signature is checked when it is put.
    pub fn of(request: PutRequest) -> NewItem {
        NewItem(request)
    }

    /// Bytes as bencode, which is the form of all values.
    pub fn text(bytes: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(bytes.len() + 4);
        write_bytes(&mut value, bytes);
        value
    }

    /// What it is stored under.
    pub fn target(&self) -> Id {
        match (&self.0.mutable, Raw::parse(&self.0.value)) {
            (Some(signed), _) => item::mutable_target(&signed.key, &signed.salt),
            (None, Ok(value)) => item::immutable_target(value),
            // It is refused when it is put.
            (None, Err(_)) => Id::ZERO,
        }
    }

    /// As a request.
    pub fn into_request(self) -> Request {
        Request::Put(self.0)
    }
}
