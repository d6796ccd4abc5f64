//! Performs what the outbox asks for.

mod agenda;
mod lease;

use crate::{
    Effect, End, Mutant, Reader, TablesHandle,
    call::{Call, Reply, Settled},
    outbox,
};
use agenda::{Agenda, Due};
use holdfast_host::{BoxFuture, Host, Moment, TaskHandle};
use holdfast_replica::{Consistency, Standing};
use lease::{Contender, Held};
use rand_chacha::rand_core::RngCore;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Rows read from the outbox at once.
const ROWS_AT_ONCE: usize = 256;
/// Results proposed at once.
const RESULTS_AT_ONCE: usize = 128;
/// Payload bytes of results above which no further ones are proposed with them; one alone may have more.
const RESULT_BYTES_AT_ONCE: usize = 512 << 10;
/// Batches of results proposed before the outcome of the first is known.
const BATCHES_UNDER_WAY: usize = 4;
/// Pause after something failed that should not have.
const PAUSE: Duration = Duration::from_millis(50);

/// Performs outside effects of one service.
pub trait Performer: Send + Sync + 'static {
    /// The service's name.
    fn service(&self) -> &'static str;

    /// Performs one. At least once: an attempt may be cut short or repeated at any time, here or on another node, and
    /// only one result is taken in. The other side sees the row's id, which stays the same, where it can use one.
    fn perform(&self, effect: Effect) -> BoxFuture<'static, End>;

    /// This node is about to begin performing: others may have until now.
    fn takes_over(&self) {}
}

/// Bounds and times of a pool.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Most effects under way.
    pub in_flight: usize,
    /// Most effects of one lane under way.
    pub per_lane: usize,
    /// How long after a sign of life of the holder another node may take over. Also how long it takes after a crash.
    pub lease: Duration,
    /// How long results wait for others to be proposed with.
    pub linger: Duration,
    /// A bug to plant.
    pub mutant: Option<Mutant>,
}

impl Default for PoolSettings {
    fn default() -> Self {
        PoolSettings {
            in_flight: 256,
            per_lane: 8,
            lease: Duration::from_secs(3),
            linger: Duration::from_millis(2),
            mutant: None,
        }
    }
}

/// The worker of one service on one node. It acts while its node leads and holds the service's lease; dropping it stops
/// it, and what was under way is done again by the next holder.
pub struct Pool {
    task: TaskHandle,
}

impl Pool {
    /// Starts it.
    pub fn start(
        host: &Host,
        tables: TablesHandle,
        performer: Arc<dyn Performer>,
        settings: PoolSettings,
    ) -> Pool {
        let mut rng = host.rng("outbox");
        let worker = Worker {
            host: host.clone(),
            // Not zero, which is nobody.
            holder: rng.next_u64() | 1,
            service: performer.service(),
            standing: tables.standing(),
            tables,
            performer,
            settings,
        };
        Pool {
            task: host.spawn("outbox", worker.run()),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    host: Host,
    holder: u64,
    service: &'static str,
    tables: TablesHandle,
    standing: watch::Receiver<Standing>,
    performer: Arc<dyn Performer>,
    settings: PoolSettings,
}

/// What happens to a worker that holds the lease.
enum Event {
    /// The tables have changed: there may be new rows.
    Changed,
    /// An attempt has ended.
    Ended { id: i64, end: End },
    /// A batch of results was proposed, and perhaps taken in.
    Proposed {
        settled: Vec<Settled>,
        reply: Option<Reply>,
    },
    /// The lease was to be renewed.
    Renewed { asked: Moment, reply: Option<Reply> },
}

impl Worker {
    async fn run(mut self) {
        let mut contender = Contender::default();
        let mut changed = self.tables.changed();
        loop {
            if self
                .standing
                .wait_for(|standing| standing.leads)
                .await
                .is_err()
            {
                return;
            }
            changed.mark_unchanged();
            match self.contend(&mut contender).await {
                Some(held) => {
                    tracing::debug!(service = self.service, epoch = held.epoch, "lease taken");
                    self.performer.takes_over();
                    let epoch = held.epoch;
                    self.hold(held).await;
                    // So that the next one need not wait; if this is lost, it waits.
                    let service = self.service.to_owned();
                    let release = Call::Release { service, epoch };
                    let released = self.tables.call(&release);
                    let _ = self.host.timeout(self.settings.lease, released).await;
                }
                None => {
                    let pause = contender.pause(self.host.now(), &self.settings);
                    let _ = self.host.timeout(pause, changed.changed()).await;
                }
            }
        }
    }

    /// Tries to get the lease, if there is anything to do and the holder has been silent for long enough.
    async fn contend(&self, contender: &mut Contender) -> Option<Held> {
        let service = self.service;
        let look = self.tables.read(Consistency::Stale, move |reader| {
            Ok((
                outbox::has_rows(reader, service)?,
                outbox::lease(reader, service)?,
            ))
        });
        let Ok((has_rows, lease)) = look.await else {
            self.host.sleep(PAUSE).await;
            return None;
        };
        contender.look(self.host.now(), self.host.unix_time(), lease);
        let now = (self.host.now(), self.host.unix_time());
        if !has_rows || !contender.may_take(now, &self.settings) {
            return None;
        }
        let asked = self.host.now();
        let acquire = Call::Acquire {
            service: service.to_owned(),
            holder: self.holder,
            seen: lease,
        };
        match self.tables.call(&acquire).await {
            Ok((_, Reply::Leased { epoch })) => Some(Held::new(epoch, asked, self.settings.lease)),
            _ => None,
        }
    }

    /// Performs while the lease holds and there is something to do.
    async fn hold(&mut self, held: Held) {
        let (events, mut queue) = mpsc::unbounded_channel();
        let watcher = self.host.spawn("outbox-watch", {
            let (events, mut changed) = (events.clone(), self.tables.changed());
            async move {
                // One event a change that was seen, so no more than there are commands.
                while changed.changed().await.is_ok() && events.send(Event::Changed).is_ok() {}
            }
        });
        let mut shift = Shift {
            worker: self,
            held,
            agenda: Agenda::default(),
            running: BTreeMap::new(),
            results: Vec::new(),
            oldest_result: None,
            batches: 0,
            renewing: false,
            idle_since: None,
            revocations: None,
            events,
        };
        shift.work(&mut queue).await;
        for task in shift.running.values() {
            task.abort();
        }
        watcher.abort();
    }
}

/// One tenure of the lease.
struct Shift<'a> {
    worker: &'a mut Worker,
    held: Held,
    agenda: Agenda,
    running: BTreeMap<i64, TaskHandle>,
    /// Ends of attempts that are not proposed yet. Their rows still count as under way.
    results: Vec<Settled>,
    oldest_result: Option<Moment>,
    batches: usize,
    renewing: bool,
    idle_since: Option<Moment>,
    /// How many rows had been taken back when rows were read last.
    revocations: Option<u64>,
    /// Not bounded by itself: one event for each attempt, batch and renewal under way, and those are bounded.
    events: mpsc::UnboundedSender<Event>,
}

impl Shift<'_> {
    async fn work(&mut self, queue: &mut mpsc::UnboundedReceiver<Event>) {
        if self.refill().await.is_err() {
            return;
        }
        loop {
            let now = self.worker.host.now();
            if !self.held.holds(now) || !self.worker.standing.borrow().leads {
                return;
            }
            self.start_due(now);
            self.propose_results(now);
            self.renew_if_due(now);
            if self.has_been_idle(now) {
                return;
            }
            let deadline = self.next_deadline(now);
            let patience = deadline.since(now);
            let mut event = self.worker.host.timeout(patience, queue.recv()).await.ok();
            let mut changed = false;
            while let Some(Some(next)) = event {
                match next {
                    Event::Changed => changed = true,
                    Event::Ended { id, end } => self.ended(id, end),
                    Event::Proposed { settled, reply } => {
                        if !self.proposed(settled, reply) {
                            return;
                        }
                    }
                    Event::Renewed { asked, reply } => {
                        if !self.renewed(asked, reply) {
                            return;
                        }
                    }
                }
                event = queue.try_recv().ok().map(Some);
            }
            if (changed || self.agenda.wants_more()) && self.refill().await.is_err() {
                return;
            }
        }
    }

    /// Reads rows that are new, as far as there is room for them; and all that have not begun again, if some of them
    /// may have been taken back.
    async fn refill(&mut self) -> Result<(), ()> {
        let service = self.worker.service;
        loop {
            let wishes = self.agenda.wishes();
            let read = move |reader: Reader<'_>| {
                let read = |wish: agenda::Wish| {
                    let rows = match &wish.lane {
                        None => outbox::rows(reader, service, wish.after, ROWS_AT_ONCE)?,
                        Some(lane) => {
                            let after = wish.after;
                            outbox::rows_of_lane(reader, service, lane, after, ROWS_AT_ONCE)?
                        }
                    };
                    Ok((wish, rows))
                };
                wishes.into_iter().map(read).collect::<Result<Vec<_>, _>>()
            };
            let asked =
                self.worker
                    .tables
                    .with_tables(Consistency::Stale, move |tables, disk, now| {
                        let answers = tables.read(disk, now, read);
                        answers.map(|answers| (tables.revocations(), answers))
                    });
            let (revocations, answers) = asked.await.map_err(|_| ())?.map_err(|_| ())?;
            let before = self.revocations.replace(revocations);
            if before.is_some_and(|before| before != revocations)
                && !Mutant::RevokedPerformed.is_in(self.worker.settings.mutant)
            {
                self.agenda.forget_waiting();
                continue;
            }
            let now = self.worker.host.now();
            let mut is_all = true;
            for (wish, rows) in answers {
                is_all &= rows.len() < ROWS_AT_ONCE;
                self.agenda.add(now, wish, rows, ROWS_AT_ONCE);
            }
            if is_all {
                return Ok(());
            }
        }
    }

    fn start_due(&mut self, now: Moment) {
        let settings = &self.worker.settings;
        while self.agenda.under_way() < settings.in_flight {
            let Some(Due { effect }) = self.agenda.next(now, settings.per_lane) else {
                return;
            };
            let id = effect.id;
            if Mutant::RowForgottenAtStart.is_in(settings.mutant) {
                let (tables, ids) = (self.worker.tables.clone(), vec![id]);
                self.worker.host.spawn("outbox-forget", async move {
                    let _ = tables.call(&Call::Forget { ids }).await;
                });
            }
            let attempt = self.worker.performer.perform(effect);
            let report = Report {
                id,
                events: self.events.clone(),
                end: None,
            };
            let task = self.worker.host.spawn("outbox-attempt", async move {
                let end = attempt.await;
                report.tell(end);
            });
            self.running.insert(id, task);
        }
    }

    fn ended(&mut self, id: i64, end: End) {
        self.running.remove(&id);
        if let Some(attempt) = self.agenda.attempt_of(id) {
            self.results.push(Settled { id, attempt, end });
            let now = self.worker.host.now();
            self.oldest_result.get_or_insert(now);
        }
    }

    fn propose_results(&mut self, now: Moment) {
        let linger = self.worker.settings.linger;
        while self.batches < BATCHES_UNDER_WAY
            && let Some(oldest) = self.oldest_result
            && (self.results.len() >= RESULTS_AT_ONCE
                || now >= oldest.saturating_add(linger)
                || self.running.is_empty())
        {
            let rest = self.results.split_off(batch_len(&self.results));
            let settled = std::mem::replace(&mut self.results, rest);
            self.oldest_result = (!self.results.is_empty()).then_some(now);
            self.batches += 1;
            let (tables, events) = (self.worker.tables.clone(), self.events.clone());
            let call = Call::Settle {
                service: self.worker.service.to_owned(),
                epoch: self.held.epoch,
                settled: settled.clone(),
            };
            let host = self.worker.host.clone();
            self.worker.host.spawn("outbox-settle", async move {
                let reply = tables.call(&call).await.ok().map(|(_, reply)| reply);
                if reply.is_none() {
                    host.sleep(PAUSE).await;
                }
                let _ = events.send(Event::Proposed { settled, reply });
            });
        }
    }

    /// Whether the shift goes on.
    fn proposed(&mut self, settled: Vec<Settled>, reply: Option<Reply>) -> bool {
        self.batches -= 1;
        let now = self.worker.host.now();
        match reply {
            Some(Reply::Settled) => {
                for settled in &settled {
                    self.agenda.settled(now, settled);
                }
                true
            }
            // Whether it was taken in is not known. Proposed again it does no harm: the rows are gone then.
            None => {
                self.results.extend(settled);
                self.oldest_result.get_or_insert(now);
                true
            }
            Some(reply) => {
                if reply != Reply::Fenced {
                    tracing::error!(service = self.worker.service, ?reply, "results refused");
                }
                false
            }
        }
    }

    fn renew_if_due(&mut self, now: Moment) {
        if self.renewing || now < self.held.renew_at() {
            return;
        }
        self.renewing = true;
        let (tables, events) = (self.worker.tables.clone(), self.events.clone());
        let call = Call::Renew {
            service: self.worker.service.to_owned(),
            epoch: self.held.epoch,
        };
        let host = self.worker.host.clone();
        self.worker.host.spawn("outbox-renew", async move {
            let asked = host.now();
            let reply = tables.call(&call).await.ok().map(|(_, reply)| reply);
            if reply.is_none() {
                host.sleep(PAUSE).await;
            }
            let _ = events.send(Event::Renewed { asked, reply });
        });
    }

    /// Whether the shift goes on.
    fn renewed(&mut self, asked: Moment, reply: Option<Reply>) -> bool {
        self.renewing = false;
        match reply {
            Some(Reply::Leased { .. }) => {
                self.held.renewed(asked);
                true
            }
            None => true,
            Some(_) => false,
        }
    }

    /// Nothing to do for as long as the lease: another node may have it, and there are no renewals of nothing.
    fn has_been_idle(&mut self, now: Moment) -> bool {
        if !self.agenda.is_empty() {
            self.idle_since = None;
            return false;
        }
        let since = *self.idle_since.get_or_insert(now);
        now >= since.saturating_add(self.worker.settings.lease)
    }

    fn next_deadline(&self, now: Moment) -> Moment {
        let mut deadline = self.held.until();
        if !self.renewing {
            deadline = deadline.min(self.held.renew_at());
        }
        if self.batches < BATCHES_UNDER_WAY
            && let Some(oldest) = self.oldest_result
        {
            deadline = deadline.min(oldest.saturating_add(self.worker.settings.linger));
        }
        if self.agenda.under_way() < self.worker.settings.in_flight
            && let Some(at) = self.agenda.next_at(self.worker.settings.per_lane)
        {
            deadline = deadline.min(at);
        }
        if let Some(since) = self.idle_since {
            deadline = deadline.min(since.saturating_add(self.worker.settings.lease));
        }
        deadline.max(now)
    }
}

/// How many results go into the next batch.
fn batch_len(results: &[Settled]) -> usize {
    let mut bytes = 0;
    let fits = |settled: &&Settled| {
        let size = match &settled.end {
            End::Done(result) => result.len(),
            End::Retry { reason, .. } | End::Dead { reason } => reason.len(),
        };
        let is_first = bytes == 0;
        bytes += size + 16;
        is_first || bytes <= RESULT_BYTES_AT_ONCE
    };
    results
        .iter()
        .take(RESULTS_AT_ONCE)
        .take_while(fits)
        .count()
}

/// Tells how an attempt ended, also when it panicked.
struct Report {
    id: i64,
    events: mpsc::UnboundedSender<Event>,
    end: Option<End>,
}

impl Report {
    fn tell(mut self, end: End) {
        self.end = Some(end);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let end = self.end.take().unwrap_or(End::Retry {
            after: Duration::from_secs(1),
            reason: "the attempt was cut short".into(),
        });
        let _ = self.events.send(Event::Ended { id: self.id, end });
    }
}
