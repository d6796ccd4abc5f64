//! The task: one turn looks at whatever may have something, and no turn is longer than its bounds.

mod lookups;
mod turns;

use crate::{
    Mutant, NodeContact, Settings, Status, Traffic, Via,
    direct::{Direct, Parcel},
    handle::{Command, DhtError},
    kept::{ANY, Kept},
    local::{Half, Local, Outboxes, Side},
    pending::Pending,
    ready::Ready,
    saves,
    time::Time,
};
use holdfast_host::{BoxFuture, Host, Sleep, TaskHandle};
use holdfast_kademlia::{Nanos, Node, Outbox};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    io,
    net::{SocketAddr, SocketAddrV4, SocketAddrV6},
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Commands that are taken in one turn.
const COMMANDS_PER_TURN: usize = 64;
/// Datagrams that are taken of one socket in one turn.
const DATAGRAMS_PER_TURN: usize = 64;
/// Datagrams between local nodes that are delivered in one turn.
const DIRECT_PER_TURN: usize = 512;
/// Longest datagram that is understood; what is longer is cut, and malformed.
const DATAGRAM_BYTES: usize = 8 << 10;
/// How often it is looked for callers who wait no longer.
const SWEEP_INTERVAL: Nanos = 1_000_000_000;
/// When a socket is tried again that cannot be read.
const FAULT_PAUSE: Nanos = 1_000_000_000;
/// A node that wants to be woken at once is, but not twice without a pause.
const SHORTEST_SLEEP: Nanos = 1_000_000;

/// Everything that the task has.
pub(crate) struct Driver {
    host: Host,
    time: Time,
    mutant: Option<Mutant>,
    locals: Vec<Local>,
    ready: Arc<Ready>,
    commands: mpsc::Receiver<Command>,
    rng: ChaCha8Rng,
    outboxes: Outboxes,
    buffer: Box<[u8]>,
    turn: Vec<u32>,
    direct: Option<Direct>,
    /// Sockets that cannot be read, and when each is tried again.
    faulty: BTreeSet<(Nanos, u32)>,
    /// When which node is to be woken.
    wakes: BTreeSet<(Nanos, u32)>,
    touched: Vec<u32>,
    pending: BTreeMap<u64, Pending>,
    /// What the next of several nodes is to do, and when.
    spaced: BTreeMap<(Nanos, u64), Pending>,
    next_number: u64,
    patience: Nanos,
    sweep_at: Nanos,
    kept: Kept,
    traffic: Traffic,
    directory: Option<PathBuf>,
    save_interval: Nanos,
    save_at: Nanos,
    saving: Option<BoxFuture<'static, io::Result<()>>>,
    sleep: Option<(Nanos, Sleep)>,
    /// Another task, which is of no use after this one.
    helper: Option<TaskHandle>,
}

impl Driver {
    pub fn new(
        host: Host,
        settings: &Settings,
        locals: Vec<Local>,
        ready: Arc<Ready>,
        commands: mpsc::Receiver<Command>,
        rng: ChaCha8Rng,
    ) -> Driver {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let save_interval = nanos(settings.save_interval);
        let time = Time::new(&host, settings.mutant);
        Driver {
            direct: settings.is_direct.then(|| Direct::of(&locals)),
            locals,
            ready,
            commands,
            rng,
            outboxes: Outboxes::default(),
            buffer: vec![0; DATAGRAM_BYTES].into(),
            turn: Vec::new(),
            faulty: BTreeSet::new(),
            wakes: BTreeSet::new(),
            touched: Vec::new(),
            pending: BTreeMap::new(),
            spaced: BTreeMap::new(),
            next_number: 0,
            patience: nanos(settings.patience),
            sweep_at: Nanos::MAX,
            kept: Kept::default(),
            traffic: Traffic::default(),
            save_at: match settings.directory {
                Some(_) => time.now().saturating_add(save_interval),
                None => Nanos::MAX,
            },
            directory: settings.directory.clone(),
            save_interval,
            saving: None,
            sleep: None,
            helper: None,
            time,
            mutant: settings.mutant,
            host,
        }
    }

    /// A task that ends when this one does: it may be waiting for long.
    pub fn ends_with(&mut self, helper: TaskHandle) {
        self.helper = Some(helper);
    }

    /// Runs until it is told to stop, or nobody is left who could tell it anything.
    pub async fn run(mut self) {
        self.join(&[]);
        let stopped = poll_fn(|cx| self.turn(cx)).await;
        if let Some(helper) = self.helper.take() {
            helper.abort();
        }
        if let Some(saving) = self.saving.take() {
            let saved = saving.await;
            self.saved(saved);
        }
        if let Some(saving) = self.save() {
            let saved = saving.await;
            self.saved(saved);
        }
        // Sockets first: who was told that it is over may bind their addresses.
        drop(self);
        if let Some(stopped) = stopped {
            let _ = stopped.send(());
        }
    }

    fn now(&self) -> Nanos {
        self.time.now()
    }

    /// Does what there is to do, and says when it is told to stop.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<oneshot::Sender<()>>> {
        self.ready.register(cx.waker());
        for _ in 0..COMMANDS_PER_TURN {
            match self.commands.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Command::Stop(reply))) => return Poll::Ready(Some(reply)),
                Poll::Ready(Some(command)) => self.command(command),
            }
        }
        let mut turn = std::mem::take(&mut self.turn);
        self.ready.take(&mut turn);
        for number in turn.drain(..) {
            self.receive(number);
        }
        self.turn = turn;
        self.deliver();
        let now = self.now();
        self.wake(now);
        if let Some(saving) = &mut self.saving
            && let Poll::Ready(saved) = saving.as_mut().poll(cx)
        {
            self.saving = None;
            self.saved(saved);
        }
        self.settle(now);
        self.arm(cx);
        Poll::Pending
    }

    /// Sees to it that there is another turn in time.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let is_behind = self
            .direct
            .as_ref()
            .is_some_and(|direct| !direct.is_empty());
        // A queue that was left in the middle wakes nobody.
        if is_behind || !self.commands.is_empty() {
            cx.waker().wake_by_ref();
            return;
        }
        let due = self.due();
        if due == Nanos::MAX {
            self.sleep = None;
            return;
        }
        // One that is over earlier than it must be does no harm, and most of them are never waited for to the end.
        if self.sleep.as_ref().is_none_or(|(at, _)| *at > due) {
            let sleep = self.time.sleep_until(due);
            self.sleep = Some((due, sleep));
        }
        if let Some((_, sleep)) = &mut self.sleep
            && sleep.as_mut().poll(cx).is_ready()
        {
            self.sleep = None;
            cx.waker().wake_by_ref();
        }
    }

    /// When something is due.
    fn due(&self) -> Nanos {
        let first = |set: &BTreeSet<(Nanos, u32)>| set.first().map_or(Nanos::MAX, |(at, _)| *at);
        let pending = self.pending.first_key_value();
        let deadline = pending.map_or(Nanos::MAX, |(_, pending)| pending.deadline);
        let saves = match self.saving {
            Some(_) => Nanos::MAX,
            None => self.save_at,
        };
        first(&self.wakes)
            .min(first(&self.faulty))
            .min(self.kept.due())
            .min(deadline)
            .min(self.spaced.keys().next().map_or(Nanos::MAX, |(at, _)| *at))
            .min(self.sweep_at)
            .min(saves)
    }

    /// Does what is due.
    fn wake(&mut self, now: Nanos) {
        while let Some((at, number)) = self.wakes.first().copied()
            && at <= now
        {
            self.wakes.remove(&(at, number));
            self.locals[number as usize].wakes_at = Nanos::MAX;
            self.with::<SocketAddrV4, _>(number, |node, now, rng, out| node.wake(now, rng, out));
            self.with::<SocketAddrV6, _>(number, |node, now, rng, out| node.wake(now, rng, out));
        }
        while let Some((at, number)) = self.faulty.first().copied()
            && at <= now
        {
            self.faulty.remove(&(at, number));
            self.receive(number);
        }
        while let Some((key, request)) = self.kept.take_due(now, &mut self.rng) {
            self.renew(now, key, request);
        }
        self.take_turns(now);
        // The oldest stand first, and all have the same patience.
        while let Some(entry) = self.pending.first_entry()
            && entry.get().deadline <= now
        {
            let pending = entry.remove();
            self.traffic.timed_out += 1;
            self.give_up(now, pending, DhtError::TimedOut);
        }
        if now >= self.sweep_at {
            self.sweep(now);
        }
        if now >= self.save_at && self.saving.is_none() {
            self.save_at = now.saturating_add(self.save_interval);
            self.saving = self.save();
        }
    }

    /// Looks again at when nodes want to be woken that something has happened to.
    fn settle(&mut self, now: Nanos) {
        let mut touched = std::mem::take(&mut self.touched);
        for number in touched.drain(..) {
            let local = &mut self.locals[number as usize];
            local.is_touched = false;
            let at = local.wake_at().max(now + SHORTEST_SLEEP);
            if at != local.wakes_at {
                self.wakes.remove(&(local.wakes_at, number));
                local.wakes_at = at;
                self.wakes.insert((at, number));
            }
        }
        self.touched = touched;
    }

    fn touch(&mut self, number: u32) {
        let local = &mut self.locals[number as usize];
        if !local.is_touched {
            local.is_touched = true;
            self.touched.push(number);
        }
    }

    /// Lets one half of a node do something, and carries out what it wants of the world.
    fn with<A: Side, T>(
        &mut self,
        number: u32,
        act: impl FnOnce(&mut Node<A>, Nanos, &mut ChaCha8Rng, &mut Outbox<A>) -> T,
    ) -> Option<T> {
        let now = self.now();
        let (half, _) = A::half(&mut self.locals[number as usize]);
        let out = A::outbox(&mut self.outboxes);
        let value = act(&mut half?.node, now, &mut self.rng, out);
        self.flush::<A>(now, number);
        Some(value)
    }

    /// Sends what a node has left, and tells what it has to say.
    fn flush<A: Side>(&mut self, now: Nanos, number: u32) {
        self.touch(number);
        let (Some(half), _) = A::half(&mut self.locals[number as usize]) else {
            return;
        };
        let out = A::outbox(&mut self.outboxes);
        for (to, bytes) in out.datagrams() {
            if let Some(direct) = &mut self.direct
                && direct.send(half.address.into(), to.into(), bytes)
            {
                self.traffic.direct += 1;
                continue;
            }
            match half.socket.try_send_to(bytes, to.into()) {
                Ok(()) => {
                    self.traffic.sent += 1;
                    self.traffic.sent_bytes += bytes.len() as u64;
                }
                Err(error) => {
                    self.traffic.unsent += 1;
                    tracing::trace!(%to, %error, "a datagram was not sent");
                }
            }
        }
        if out.events.is_empty() {
            out.clear();
            return;
        }
        let events = std::mem::take(&mut out.events);
        out.clear();
        for event in events {
            self.event::<A>(now, number, event);
        }
    }

    /// Takes what has come at a socket.
    fn receive(&mut self, socket: u32) {
        match socket % 2 {
            0 => self.receive_at::<SocketAddrV4>(socket),
            _ => self.receive_at::<SocketAddrV6>(socket),
        }
    }

    fn receive_at<A: Side>(&mut self, socket: u32) {
        let number = socket / 2;
        let now = self.now();
        let (Some(half), sibling) = A::half(&mut self.locals[number as usize]) else {
            return;
        };
        let Half {
            node,
            socket: datagrams,
            ticket,
            ..
        } = half;
        let out = A::outbox(&mut self.outboxes);
        let mut cx = ticket.begin();
        for taken in 0.. {
            if taken == DATAGRAMS_PER_TURN {
                ticket.again();
                break;
            }
            match datagrams.poll_receive(&mut cx, &mut self.buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok((length, from))) => {
                    self.traffic.received += 1;
                    self.traffic.received_bytes += length as u64;
                    if let Some(from) = A::of(from) {
                        let datagram = &self.buffer[..length];
                        node.receive(now, from, datagram, sibling, &mut self.rng, out);
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.traffic.receive_errors += 1;
                    tracing::warn!(%error, "a socket of the DHT cannot be read for now");
                    self.faulty.insert((now + FAULT_PAUSE, socket));
                    break;
                }
            }
        }
        self.flush::<A>(now, number);
    }

    /// Delivers datagrams between local nodes.
    fn deliver(&mut self) {
        for _ in 0..DIRECT_PER_TURN {
            let Some(direct) = &mut self.direct else {
                return;
            };
            let Some(parcel) = direct.next() else {
                return;
            };
            match parcel.from {
                SocketAddr::V4(from) => self.deliver_to(&parcel, from),
                SocketAddr::V6(from) => self.deliver_to(&parcel, from),
            }
        }
    }

    fn deliver_to<A: Side>(&mut self, parcel: &Parcel, from: A) {
        let number = parcel.socket / 2;
        let now = self.now();
        let (Some(half), sibling) = A::half(&mut self.locals[number as usize]) else {
            return;
        };
        let Some(direct) = &self.direct else { return };
        let datagram = direct.bytes(parcel);
        let out = A::outbox(&mut self.outboxes);
        half.node
            .receive(now, from, datagram, sibling, &mut self.rng, out);
        self.flush::<A>(now, number);
    }

    fn command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Start(start) => self.start(now, start),
            Command::Join(addresses) => self.join(&addresses),
            Command::Status(reply) => {
                let _ = reply.send(Status {
                    nodes: self.locals.iter().map(|local| local.status(now)).collect(),
                    traffic: self.traffic,
                    lookups: self.pending.len() + self.spaced.len(),
                    kept: self.kept.len(),
                });
            }
            Command::Contacts(node, reply) => {
                let local = self.locals.get(node).ok_or(DhtError::NoSuchNode(node));
                let _ = reply.send(local.map(contacts));
            }
            Command::Kept(reply) => {
                let _ = reply.send(self.kept.status(now));
            }
            Command::Forget(via, kind, target, reply) => {
                let keepers: Vec<u32> = match via {
                    Via::Node(node) => u32::try_from(node).into_iter().collect(),
                    Via::Any => vec![ANY],
                    Via::Each => (0..self.locals.len() as u32).chain([ANY]).collect(),
                };
                if via == Via::Each {
                    let all = self.pending.values_mut().chain(self.spaced.values_mut());
                    all.for_each(|pending| pending.forget(kind, target));
                }
                let mut was_kept = false;
                for keeper in keepers {
                    was_kept |= self.kept.remove((keeper, kind, target));
                }
                let _ = reply.send(was_kept);
            }
            // Taken by the turn.
            Command::Stop(_) => {}
        }
    }

    fn join(&mut self, addresses: &[SocketAddr]) {
        fn seeds<A: Side>(local: &mut Local, addresses: &[SocketAddr]) -> Vec<A> {
            let own = A::half(local).0.map(|half| half.address);
            let all = addresses.iter().filter_map(|address| A::of(*address));
            all.filter(|address| Some(*address) != own).collect()
        }
        for number in 0..self.locals.len() as u32 {
            let local = &mut self.locals[number as usize];
            let v4 = seeds::<SocketAddrV4>(local, addresses);
            let v6 = seeds::<SocketAddrV6>(local, addresses);
            self.with::<SocketAddrV4, _>(number, |node, now, rng, out| {
                node.join(now, &v4, rng, out);
            });
            self.with::<SocketAddrV6, _>(number, |node, now, rng, out| {
                node.join(now, &v6, rng, out);
            });
        }
    }

    /// Encodes the tables of all nodes that know somebody, for a job that writes them; `None` where nothing is saved.
    fn save(&self) -> Option<BoxFuture<'static, io::Result<()>>> {
        let directory = self.directory.clone()?;
        let locals = self.locals.iter().enumerate();
        let tables: Vec<(usize, Vec<u8>)> = locals
            .map(|(number, local)| (number, local.saved().encode()))
            .collect();
        let (host, mutant) = (self.host.clone(), self.mutant);
        Some(Box::pin(async move {
            host.blocking(move |disk| saves::save(disk, &directory, &tables, mutant))
                .await
        }))
    }

    fn saved(&mut self, saved: io::Result<()>) {
        match saved {
            Ok(()) => self.traffic.saves += 1,
            Err(error) => {
                self.traffic.failed_saves += 1;
                tracing::warn!(%error, "the DHT's tables were not saved");
            }
        }
    }
}

fn contacts(local: &Local) -> Vec<NodeContact> {
    let v4 = local
        .v4
        .iter()
        .flat_map(|half| half.node.table().contacts());
    let v6 = local
        .v6
        .iter()
        .flat_map(|half| half.node.table().contacts());
    v4.map(NodeContact::from)
        .chain(v6.map(NodeContact::from))
        .collect()
}
