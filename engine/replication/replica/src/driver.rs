use crate::{
    Consistency, DiskHandle, Event, Extras, Message, Mutant, Observer, Outcome, Output, Rejection,
    Replica, ReplicaConfig, RequestError, RequestId, Session, Standing, StartError, StateMachine,
    Status, StorageStatus, Store, StoreCommand, StoreDone, StoreError, StoreOptions, Target,
    disk_task::{self, CallWork, DiskRequest, DiskTask, Work},
    hints::PeerHints,
    snapshot,
    storage::{Done, Storage, Stored},
    transport::{Arrival, Link, Outboxes, accept},
};
use bytes::Bytes;
use holdfast_host::{Host, Moment, Sleep, TaskHandle};
use holdfast_raft::{Index, NodeId, Role};
use rand_chacha::rand_core::RngCore;
use std::{
    collections::BTreeMap, future::poll_fn, net::SocketAddr, path::PathBuf, sync::Arc, task::Poll,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Most messages and connection reports that wait for the core; peers' connections are read no further above it.
const ARRIVALS: usize = 1024;
/// Most requests of local clients that wait for the core; above it they are refused.
const REQUESTS: usize = 4096;
/// Most inputs that are handled before their outputs are carried out: one log sync and one append serve them all.
const BATCH: usize = 512;
/// Payload bytes above which waiting proposals are replicated in a further batch: passed on to the leader, a batch is
/// one frame, and a frame is bounded ([`MAX_BODY_BYTES`](crate::wire::MAX_BODY_BYTES)).
const PROPOSAL_BYTES: usize = 4 << 20;

enum Request<S> {
    Propose {
        session: Option<Session>,
        payload: Bytes,
        reply: oneshot::Sender<Result<(Index, Outcome), RequestError>>,
    },
    Read {
        consistency: Consistency,
        reply: oneshot::Sender<Result<S, RequestError>>,
    },
    Status {
        with_state: bool,
        reply: oneshot::Sender<(Status, Option<crate::State<S>>)>,
    },
    Transfer {
        to: NodeId,
    },
    Shutdown {
        reply: oneshot::Sender<()>,
    },
}

enum Waiter<S> {
    Command(oneshot::Sender<Result<(Index, Outcome), RequestError>>),
    Read(oneshot::Sender<Result<S, RequestError>>),
    Call(CallWork),
}

/// A running replica; clones reach the same one. Dropping all of them does not stop it: [`shutdown`](Self::shutdown)
/// does.
pub struct ReplicaHandle<S> {
    host: Host,
    /// Held while a digest is made: one at a time, whatever is asked for.
    digesting: Arc<tokio::sync::Mutex<()>>,
    requests: mpsc::Sender<Request<S>>,
    disk: DiskHandle,
    applied: watch::Receiver<Index>,
    failed: watch::Receiver<Option<String>>,
    address: SocketAddr,
    pub(crate) hints: PeerHints,
}

impl<S> Clone for ReplicaHandle<S> {
    fn clone(&self) -> Self {
        ReplicaHandle {
            host: self.host.clone(),
            digesting: self.digesting.clone(),
            requests: self.requests.clone(),
            disk: self.disk.clone(),
            applied: self.applied.clone(),
            failed: self.failed.clone(),
            address: self.address,
            hints: self.hints.clone(),
        }
    }
}

impl<S: StateMachine> ReplicaHandle<S> {
    /// Recovers what is on the disk and joins the group.
    pub async fn start(host: Host, config: ReplicaConfig, machine: S) -> Result<Self, StartError> {
        Self::start_with(host, config, machine, Extras::default()).await
    }

    /// The same with what a replica may have beside.
    pub async fn start_with(
        host: Host,
        config: ReplicaConfig,
        machine: S,
        extras: Extras<S>,
    ) -> Result<Self, StartError> {
        let Extras {
            mut disk_machine,
            observer,
        } = extras;
        let mut rng = host.rng("replica");
        let origin = rng.next_u64();
        let options = StoreOptions {
            segment_bytes: config.segment_bytes,
            max_entry_bytes: Replica::<S>::max_entry_bytes(&config.settings) as u32,
            group: config.cluster,
            node: config.settings.raft.id,
            snapshot_chunk_bytes: config.snapshot_chunk_bytes,
            mutant: config.settings.mutant,
        };
        let directory = config.directory.clone();
        let wall = host.unix_time();
        let opened = host
            .blocking(move |disk| {
                let opened = (|| {
                    disk.create_dir(&directory)?;
                    let (store, recovered) = Store::open(disk, &directory, options, machine)?;
                    if let (Some(machine), Some(file)) = (&mut disk_machine, &recovered.snapshot) {
                        disk_task::install(&mut **machine, disk, wall, &directory, file)?;
                    }
                    Ok::<_, StoreError>((store, recovered))
                })();
                match (opened, disk_machine) {
                    (Ok((store, recovered)), machine) => Ok((store, recovered, machine)),
                    (Err(error), machine) => {
                        // What was opened is left as it was found; why it was, matters more than how it closes.
                        if let Some(machine) = machine {
                            let _ = machine.close(disk, wall);
                        }
                        Err(error)
                    }
                }
            })
            .await;
        let (store, recovered, disk_machine) = opened.map_err(|error| StartError::Store {
            directory: config.directory.display().to_string(),
            error,
        })?;
        let was_repaired = recovered.repaired.is_some();
        if let Some(repaired) = &recovered.repaired {
            tracing::info!(%repaired, "cut a torn tail off the log");
        }
        let listener = host.network.listen(config.listen).await;
        let listener = listener.map_err(|error| StartError::Listen {
            address: config.listen,
            error,
        })?;
        let address = listener.local_addr();
        let now = host.now();
        let settings = config.settings.clone();
        let replica = Replica::new(settings, recovered, origin, rng, now.as_nanos())?;
        if let Some(observer) = &observer {
            observer.started(&replica, was_repaired);
        }
        let (requests, request_queue) = mpsc::channel(REQUESTS);
        let (arrival_send, arrivals) = mpsc::channel(ARRIVALS);
        let link = Link {
            host: host.clone(),
            cluster: config.cluster,
            id: config.settings.raft.id,
            patience: Duration::from_nanos(config.settings.raft.election_timeout * 2),
            arrivals: arrival_send,
        };
        let hints = PeerHints::default();
        let members = Arc::new(config.peers.keys().copied().collect());
        let outboxes = Outboxes::start(&link, &config.peers, &hints);
        let acceptor = host.spawn("replica-accept", accept(link, listener, members));
        let (store_send, store_queue) = mpsc::unbounded_channel();
        let (done_send, done) = mpsc::unbounded_channel();
        let storage = Storage {
            host: host.clone(),
            store,
            queue: store_queue,
            done: done_send.clone(),
        };
        let storage = host.spawn("replica-storage", storage.run());
        let disk_task = disk_machine.map(|machine| {
            let (send, queue) = mpsc::unbounded_channel();
            let task = DiskTask {
                host: host.clone(),
                machine,
                directory: config.directory.clone(),
                group: config.cluster,
                mutant: config.settings.mutant,
                queue,
                done: done_send.clone(),
            };
            (send, host.spawn("replica-disk", task.run()))
        });
        let (disk_requests, disk_queue) = mpsc::channel(REQUESTS);
        let (standing_send, standing) = watch::channel(Standing::default());
        let (applied_send, applied) = watch::channel(replica.state().applied());
        let (failed_send, failed) = watch::channel(None);
        let driver = Driver {
            host: host.clone(),
            group: config.cluster,
            directory: config.directory,
            replica,
            waiters: BTreeMap::new(),
            requests: request_queue,
            disk_requests: disk_queue,
            disk_task,
            standing: standing_send,
            arrivals,
            done,
            done_sender: done_send,
            outboxes,
            store: store_send,
            storage: Some(storage),
            acceptor,
            applied: applied_send,
            failed: failed_send,
            timer: None,
            stats: StorageStatus::default(),
            counters: BTreeMap::new(),
            observer,
            stopping: None,
        };
        host.spawn("replica", driver.run());
        Ok(ReplicaHandle {
            host,
            digesting: Arc::default(),
            requests,
            disk: DiskHandle {
                requests: disk_requests,
                standing,
            },
            applied,
            failed,
            address,
            hints,
        })
    }

    /// Where this replica listens for its peers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replicates a command and waits for its outcome: its index in the log, and what became of it. With a session
    /// it may be retried safely, also through another replica.
    pub async fn propose(
        &self,
        session: Option<Session>,
        payload: Bytes,
    ) -> Result<(Index, Outcome), RequestError> {
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Propose {
            session,
            payload,
            reply,
        })?;
        outcome.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// The state machine as `consistency` promises it: a cheap clone, to be read at leisure.
    pub async fn read(&self, consistency: Consistency) -> Result<S, RequestError> {
        let (reply, state) = oneshot::channel();
        self.request(Request::Read { consistency, reply })?;
        state.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// A look at the replica.
    pub async fn status(&self) -> Result<Status, RequestError> {
        let (status, _) = self.ask_status(false).await?;
        Ok(status)
    }

    /// A look that includes the digest of the whole state; takes time in proportion to the state, during which the
    /// replica goes on.
    pub async fn status_with_digest(&self) -> Result<Status, RequestError> {
        let _one_at_a_time = self.digesting.lock().await;
        let (mut status, state) = self.ask_status(true).await?;
        if let Some(state) = state {
            status.digest = Some(self.host.blocking(move |_| state.digest()).await);
        }
        Ok(status)
    }

    /// A look at the replica, and the state as it was then, if that is wanted: not the driver digests it.
    async fn ask_status(
        &self,
        with_state: bool,
    ) -> Result<(Status, Option<crate::State<S>>), RequestError> {
        let (reply, status) = oneshot::channel();
        self.request(Request::Status { with_state, reply })?;
        status.await.map_err(|_| RequestError::Stopped)
    }

    /// Reaches the machine on the disk. Where there is none, what is asked of it ends with
    /// [`RequestError::Stopped`].
    pub fn disk(&self) -> DiskHandle {
        self.disk.clone()
    }

    /// Asks the leader to hand its office to `to`; whether that happens is seen in [`status`](Self::status).
    pub fn transfer_leader(&self, to: NodeId) -> Result<(), RequestError> {
        self.request(Request::Transfer { to })
    }

    /// The last applied index, as it rises.
    pub fn applied(&self) -> watch::Receiver<Index> {
        self.applied.clone()
    }

    /// Why the replica had to stop, once it had to: storage failed. Nothing acknowledged is lost by that.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }

    /// Hands leadership over if it leads, syncs, closes the log and stops.
    pub async fn shutdown(&self) {
        let (reply, stopped) = oneshot::channel();
        if self
            .requests
            .send(Request::Shutdown { reply })
            .await
            .is_ok()
        {
            let _ = stopped.await;
        }
    }

    fn request(&self, request: Request<S>) -> Result<(), RequestError> {
        try_send(&self.requests, request)
    }
}

/// Puts a request before the driver, if there is room.
pub(crate) fn try_send<T>(requests: &mpsc::Sender<T>, request: T) -> Result<(), RequestError> {
    requests.try_send(request).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => Rejection::Overloaded.into(),
        mpsc::error::TrySendError::Closed(_) => RequestError::Stopped,
    })
}

struct Driver<S> {
    host: Host,
    group: u64,
    directory: PathBuf,
    replica: Replica<S>,
    waiters: BTreeMap<u64, Waiter<S>>,
    requests: mpsc::Receiver<Request<S>>,
    disk_requests: mpsc::Receiver<DiskRequest>,
    /// The machine on the disk: what it is to do, and its task.
    disk_task: Option<(mpsc::UnboundedSender<Work<S>>, TaskHandle)>,
    standing: watch::Sender<Standing>,
    arrivals: mpsc::Receiver<Arrival>,
    /// Not bounded by itself: one message for each batch of commands, and those are bounded by what Raft lets be in
    /// flight.
    done: mpsc::UnboundedReceiver<Done<S>>,
    done_sender: mpsc::UnboundedSender<Done<S>>,
    outboxes: Outboxes,
    store: mpsc::UnboundedSender<Stored<S>>,
    storage: Option<TaskHandle>,
    acceptor: TaskHandle,
    applied: watch::Sender<Index>,
    failed: watch::Sender<Option<String>>,
    timer: Option<(Moment, Sleep)>,
    stats: StorageStatus,
    counters: BTreeMap<&'static str, u64>,
    observer: Option<Arc<dyn Observer<S>>>,
    stopping: Option<Stopping>,
}

struct Stopping {
    replies: Vec<oneshot::Sender<()>>,
    deadline: Moment,
}

enum Input<S> {
    Stored(Done<S>),
    Arrival(Arrival),
    Request(Request<S>),
    DiskRequest(DiskRequest),
    Timer,
}

impl<S: StateMachine> Driver<S> {
    async fn run(mut self) {
        let fatal = loop {
            self.carry_out();
            if self.is_done_stopping() {
                break None;
            }
            let input = self.next_input().await;
            if let Err(error) = self.handle_batch(input) {
                break Some(error);
            }
        };
        self.acceptor.abort();
        match fatal {
            Some(error) => {
                tracing::error!(%error, "storage failed; the replica stops");
                self.failed.send_replace(Some(error.to_string()));
            }
            None => {
                let commit = self.replica.raft().commit();
                let _ = self.store.send(Stored::Close { commit });
                if let Some((work, _)) = &self.disk_task {
                    let _ = work.send(Work::Close);
                }
                if let Some(storage) = self.storage.take() {
                    storage.await;
                }
                if let Some((_, task)) = self.disk_task.take() {
                    task.await;
                }
            }
        }
        for reply in self.stopping.into_iter().flat_map(|s| s.replies) {
            let _ = reply.send(());
        }
    }

    /// Waits for something to happen. What is done comes before what is new, and the clock comes last, so that a late
    /// timer does not see silence where messages are waiting.
    async fn next_input(&mut self) -> Input<S> {
        let mut deadline = self.replica.timeout().map(Moment::from_nanos);
        if let Some(stopping) = &self.stopping {
            deadline = deadline
                .min(Some(stopping.deadline))
                .or(Some(stopping.deadline));
        }
        // A timer that fires too early costs one look; making a new one for every heartbeat costs more.
        if let Some(deadline) = deadline
            && self.timer.as_ref().is_none_or(|(at, _)| *at > deadline)
        {
            self.timer = Some((deadline, self.host.clock.sleep_until(deadline)));
        }
        poll_fn(|cx| {
            if let Poll::Ready(Some(done)) = self.done.poll_recv(cx) {
                return Poll::Ready(Input::Stored(done));
            }
            if let Poll::Ready(Some(arrival)) = self.arrivals.poll_recv(cx) {
                return Poll::Ready(Input::Arrival(arrival));
            }
            if let Poll::Ready(Some(request)) = self.requests.poll_recv(cx) {
                return Poll::Ready(Input::Request(request));
            }
            if let Poll::Ready(Some(request)) = self.disk_requests.poll_recv(cx) {
                return Poll::Ready(Input::DiskRequest(request));
            }
            if let Some((_, sleep)) = &mut self.timer
                && sleep.as_mut().poll(cx).is_ready()
            {
                self.timer = None;
                return Poll::Ready(Input::Timer);
            }
            Poll::Pending
        })
        .await
    }

    /// Handles one input and whatever else waits, up to [`BATCH`]; proposals among them are replicated together.
    fn handle_batch(&mut self, first: Input<S>) -> Result<(), StoreError> {
        let mut proposals = Vec::new();
        self.handle(first, &mut proposals)?;
        for _ in 1..BATCH {
            let input = if let Ok(done) = self.done.try_recv() {
                Input::Stored(done)
            } else if let Ok(arrival) = self.arrivals.try_recv() {
                Input::Arrival(arrival)
            } else if let Ok(request) = self.requests.try_recv() {
                Input::Request(request)
            } else if let Ok(request) = self.disk_requests.try_recv() {
                Input::DiskRequest(request)
            } else {
                break;
            };
            self.handle(input, &mut proposals)?;
        }
        self.propose(proposals);
        let now = self.now();
        if self.replica.timeout().is_some_and(|at| at <= now) {
            self.replica.handle_timeout(now);
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        self.host.now().as_nanos()
    }

    fn handle(&mut self, input: Input<S>, proposals: &mut Vec<Proposed>) -> Result<(), StoreError> {
        let now = self.now();
        match input {
            Input::Timer => self.replica.handle_timeout(now),
            Input::Arrival(Arrival::Message(message)) => {
                let wall = self.host.unix_time().as_nanos();
                self.replica.handle_message(now, wall, message);
            }
            Input::Arrival(Arrival::Unreachable(peer)) => {
                self.replica.handle_unreachable(now, peer);
            }
            Input::Stored(Done::Failed(error)) => return Err(error),
            Input::Stored(Done::Batch {
                done,
                commands,
                took,
            }) => {
                self.stats.syncs += 1;
                self.stats.commands += commands;
                self.stats.sync_time += took;
                self.stats.slowest_sync = self.stats.slowest_sync.max(took);
                for done in done {
                    self.replica.handle_stored(now, done);
                }
            }
            Input::Stored(Done::OnDisk(done)) => self.replica.handle_disk_applied(now, done),
            Input::Request(request) => self.handle_request(now, request, proposals),
            Input::DiskRequest(request) => self.handle_disk_request(now, request, proposals),
        }
        Ok(())
    }

    fn handle_request(&mut self, now: u64, request: Request<S>, proposals: &mut Vec<Proposed>) {
        match request {
            Request::Propose {
                session,
                payload,
                reply,
            } => {
                // Its client has gone: nothing was promised.
                if !reply.is_closed() {
                    proposals.push((session.into(), payload, reply));
                }
            }
            Request::Read { consistency, reply } => match self.replica.read(now, consistency) {
                Ok(request) => {
                    self.waiters.insert(request.number, Waiter::Read(reply));
                }
                Err(rejection) => {
                    let _ = reply.send(Err(rejection.into()));
                }
            },
            Request::Status { with_state, reply } => {
                let state = with_state.then(|| self.replica.state().clone());
                let _ = reply.send((self.status(), state));
            }
            Request::Transfer { to } => self.replica.transfer_leader(now, to),
            Request::Shutdown { reply } => self.begin_shutdown(now, reply),
        }
        self.carry_out();
    }

    fn handle_disk_request(
        &mut self,
        now: u64,
        request: DiskRequest,
        proposals: &mut Vec<Proposed>,
    ) {
        match request {
            // Without a machine nothing is promised: whoever asks learns that nobody answers.
            _ if self.disk_task.is_none() => {}
            DiskRequest::Propose { payload, reply } => {
                if self.replica.is_disk_behind() {
                    let _ = reply.send(Err(Rejection::Overloaded.into()));
                } else if !reply.is_closed() {
                    proposals.push((Target::Disk, payload, reply));
                }
            }
            DiskRequest::Call { consistency, work } => match self.replica.read(now, consistency) {
                Ok(request) => {
                    self.waiters.insert(request.number, Waiter::Call(work));
                }
                Err(rejection) => work(Err(rejection.into())),
            },
        }
        self.carry_out();
    }

    /// Asks the machine on the disk for something, if there is one.
    fn on_disk(&self, work: Work<S>) {
        if let Some((queue, _)) = &self.disk_task {
            // A closed queue means that it has failed; the reason is on its way.
            let _ = queue.send(work);
        }
    }

    fn propose(&mut self, proposals: Vec<Proposed>) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for proposal in proposals {
            bytes += proposal.1.len();
            batch.push(proposal);
            if bytes >= PROPOSAL_BYTES {
                self.propose_batch(std::mem::take(&mut batch));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.propose_batch(batch);
        }
    }

    fn propose_batch(&mut self, proposals: Vec<Proposed>) {
        let wall = self.host.unix_time().as_nanos();
        let now = self.now();
        let (commands, replies): (Vec<_>, Vec<_>) = proposals
            .into_iter()
            .map(|(target, payload, reply)| ((target, payload), reply))
            .unzip();
        let results = self.replica.propose(now, wall, commands);
        for (result, reply) in results.into_iter().zip(replies) {
            match result {
                Ok(request) => {
                    self.waiters.insert(request.number, Waiter::Command(reply));
                }
                Err(rejection) => {
                    let _ = reply.send(Err(rejection.into()));
                }
            }
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.replica.poll_output() {
            if let Some(observer) = &self.observer {
                observer.output(&self.replica, &output);
            }
            match output {
                Output::Send { to, message } => self.send(to, message),
                Output::Store(StoreCommand::TakeSnapshot { meta, state }) => match self.disk_task {
                    Some(_) => self.on_disk(Work::Snapshot { meta, state }),
                    None => self.take_snapshot(meta, state),
                },
                Output::ApplyOnDisk { command, request } => {
                    self.on_disk(Work::Apply { command, request });
                }
                Output::InstallOnDisk { file } => self.on_disk(Work::Install(file)),
                Output::Store(command) => {
                    // A closed queue means that storage has failed; the reason is on its way.
                    let _ = self.store.send(Stored::Command(command));
                }
                Output::Reply { request, result } => {
                    if let Some(Waiter::Command(reply)) = self.waiter(request) {
                        let _ = reply.send(result.map_err(RequestError::from));
                    }
                }
                Output::ReadReady { request } => match self.waiter(request) {
                    Some(Waiter::Read(reply)) => {
                        let _ = reply.send(Ok(self.replica.state().machine().clone()));
                    }
                    // Behind everything that it is to see.
                    Some(Waiter::Call(call)) => self.on_disk(Work::Call(call)),
                    Some(Waiter::Command(_)) | None => {}
                },
                Output::ReadRejected { request, rejection } => match self.waiter(request) {
                    Some(Waiter::Read(reply)) => {
                        let _ = reply.send(Err(rejection.into()));
                    }
                    Some(Waiter::Call(call)) => call(Err(rejection.into())),
                    Some(Waiter::Command(_)) | None => {}
                },
                Output::Event(event) => self.note(event),
            }
        }
        if let Some(observer) = &self.observer {
            observer.settled(&self.replica);
        }
        let standing = self.standing();
        self.standing.send_if_modified(|known| {
            let is_news = *known != standing;
            *known = standing;
            is_news
        });
    }

    fn standing(&self) -> Standing {
        let raft = self.replica.raft();
        Standing {
            id: raft.id(),
            term: raft.term(),
            // The first entry of its own term is behind all that others had committed.
            leads: raft.role() == Role::Leader
                && self.replica.state().applied_term() == raft.term(),
            leader: raft.leader(),
        }
    }

    fn waiter(&mut self, request: RequestId) -> Option<Waiter<S>> {
        self.waiters.remove(&request.number)
    }

    fn send(&mut self, to: NodeId, message: Message) {
        if !self.outboxes.send(to, message) {
            *self.counters.entry("messages_dropped").or_default() += 1;
        }
    }

    /// Beside the log's queue: a large snapshot must not hold up commits.
    fn take_snapshot(&self, meta: holdfast_raft::SnapshotMeta, state: Box<crate::State<S>>) {
        let (host, done) = (self.host.clone(), self.done_sender.clone());
        let (directory, group) = (self.directory.clone(), self.group);
        let mutant: Option<Mutant> = self.replica.settings().mutant;
        self.host.spawn("replica-snapshot", async move {
            let started = host.now();
            let written = host
                .blocking(move |disk| {
                    snapshot::write(disk, &directory, group, &meta, &state, None, mutant)
                })
                .await;
            let _ = done.send(match written {
                Ok(file) => Done::Batch {
                    done: vec![StoreDone::SnapshotTaken(file)],
                    commands: 1,
                    took: host.now().since(started),
                },
                Err(error) => Done::Failed(error),
            });
        });
    }

    fn note(&mut self, event: Event) {
        let name = match event {
            Event::Raft(event) => {
                tracing::debug!(?event, "raft");
                event.name()
            }
            Event::Applied { index } => {
                self.applied.send_replace(index);
                return;
            }
            Event::SnapshotTaken { index } => {
                tracing::info!(index, "snapshot taken");
                "snapshots_taken"
            }
            Event::SnapshotInstalled { index } => {
                tracing::info!(index, "snapshot installed");
                "snapshots_installed"
            }
            Event::SnapshotResumed { .. } => "snapshots_resumed",
            Event::DuplicateSuppressed { .. } => "duplicates_suppressed",
        };
        *self.counters.entry(name).or_default() += 1;
    }

    fn status(&self) -> Status {
        let raft = self.replica.raft();
        Status {
            id: raft.id(),
            role: raft.role(),
            term: raft.term(),
            leader: raft.leader(),
            commit: raft.commit(),
            applied: self.replica.state().applied(),
            first_index: raft.first_index(),
            last_index: raft.last_index(),
            snapshot_index: self.replica.snapshot().map_or(0, |s| s.meta.index),
            pending: self.replica.pending(),
            sessions: self.replica.state().sessions(),
            digest: None,
            storage: self.stats,
            counters: self.counters.clone(),
        }
    }

    fn begin_shutdown(&mut self, now: u64, reply: oneshot::Sender<()>) {
        if let Some(stopping) = &mut self.stopping {
            stopping.replies.push(reply);
            return;
        }
        let raft = self.replica.raft();
        let mut deadline = Moment::from_nanos(now);
        if raft.role() == Role::Leader
            && let Some(successor) = raft.best_successor()
        {
            let patience = Duration::from_nanos(self.replica.settings().raft.election_timeout);
            deadline = deadline.saturating_add(patience);
            self.replica.transfer_leader(now, successor);
        }
        self.stopping = Some(Stopping {
            replies: vec![reply],
            deadline,
        });
    }

    /// Once another leads, or waiting for that has been long enough. To have stepped down is not enough: this
    /// replica's vote may be the one that its successor needs.
    fn is_done_stopping(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| {
            let raft = self.replica.raft();
            let is_handed_over = raft.leader().is_some_and(|leader| leader != raft.id());
            is_handed_over || self.host.now() >= stopping.deadline
        })
    }
}

type Proposed = (
    Target,
    Bytes,
    oneshot::Sender<Result<(Index, Outcome), RequestError>>,
);
