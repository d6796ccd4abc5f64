//! Beginning and end of a run, and the pump between them.

use super::{
    core::{Core, Counts, Event},
    entropy, faults,
    tasks::remember_panics,
    world::{MARKS, World},
};
use crate::plan::FaultPlan;
use holdfast_record::{Failure, Timeline};
use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

/// Stack of a run's thread.
const STACK: usize = 16 << 20;

/// How long after a process has ended by itself it is started again, unless the settings say otherwise.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// Simulated time that a scenario has after the end of its plan, to look at what has become of it all.
const LAST_LOOK: Duration = Duration::from_secs(60);

/// What a run starts from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What befalls the world; its seed decides everything that chance decides.
    pub plan: FaultPlan,
    /// How many clients may be created beside the plan's nodes.
    pub clients: u32,
    /// How long after a process has ended by itself it is started again; `None`: never.
    pub restart_after: Option<Duration>,
    /// Simulated time after which the run is stopped.
    pub limit: Duration,
    /// The marks that the scenario declares; [`MARKS`] must be among them.
    pub marks: &'static [&'static str],
    /// Whether to draw a timeline.
    pub timeline: bool,
}

impl Settings {
    /// A world for this plan and so many clients. Processes that end are back after half a second, and a scenario
    /// that goes on for a minute longer than its plan is stopped.
    pub fn new(plan: FaultPlan, clients: u32) -> Self {
        let end = plan.horizon_ns.saturating_add(plan.liveness_ns);
        Settings {
            plan,
            clients,
            restart_after: Some(RESTART_AFTER),
            limit: Duration::from_nanos(end) + LAST_LOOK,
            marks: MARKS,
            timeline: false,
        }
    }
}

/// What a run left behind.
#[derive(Clone, Debug)]
pub struct Ended<T> {
    /// What the scenario returned; `None` when the run was stopped, and `failures` says why.
    pub output: Option<T>,
    /// What broke, in order.
    pub failures: Vec<Failure>,
    /// Simulated time that passed.
    pub simulated: Duration,
    /// What happened, in numbers.
    pub counts: Counts,
    /// The chained hash of everything that happened.
    pub trace_hash: u64,
    /// Connections that were not freed when the scenario ended.
    pub live_connections: usize,
    /// How often each declared mark was reached.
    pub marks: BTreeMap<String, u64>,
    /// What the report's page shows, if the settings asked for it.
    pub timeline: Option<Timeline>,
}

/// Makes a world and runs `scenario` in it, on a thread of its own.
///
/// # Panics
/// When the scenario itself (not a task of a node) panics, with its panic.
#[allow(
    clippy::disallowed_methods,
    reason = "a run needs a thread whose hash maps madsim can seed; nothing simulated runs beside it"
)]
pub fn run<T, F>(settings: Settings, scenario: impl FnOnce(World) -> F + Send + 'static) -> Ended<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    remember_panics();
    entropy::tame();
    let thread = std::thread::Builder::new()
        .name(format!("seed {}", settings.plan.seed))
        .stack_size(STACK)
        .spawn(move || run_here(settings, scenario))
        .expect("the operating system gives one thread");
    match thread.join() {
        Ok(ended) => ended,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

fn run_here<T, F>(settings: Settings, scenario: impl FnOnce(World) -> F) -> Ended<T>
where
    F: Future<Output = T>,
{
    let seed = settings.plan.seed;
    // There is one such generator a process; runs beside each other in one share it, to the byte of a file's salt.
    holdfast_sqlite::forget_randomness();
    let runtime = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
    runtime.block_on(async move {
        let world = World::new(Core::new(settings));
        let pump = madsim::task::spawn(pump(world.clone()));
        let marshal = madsim::task::spawn(faults::marshal(world.clone()));
        let output = until_stopped(&world, scenario(world.clone())).await;
        let ended = Ended {
            output,
            failures: world.failures(),
            simulated: world.now(),
            counts: world.counts(),
            trace_hash: world.trace_hash(),
            live_connections: world.live_connections(),
            marks: world.with(|core| core.marks.counts()),
            timeline: world.finish_timeline(),
        };
        pump.abort();
        marshal.abort();
        world.shut_down();
        // Dead tasks are dropped when the executor next comes by them: before its clock moves.
        madsim::time::sleep(Duration::from_millis(1)).await;
        ended
    })
}

/// Runs the scenario's own future; `None` when the pump stops the run first.
async fn until_stopped<T>(world: &World, scenario: impl Future<Output = T>) -> Option<T> {
    let mut scenario = pin!(scenario);
    poll_fn(|cx| {
        if world.with(|core| core.poll_stopped(cx)) {
            return Poll::Ready(None);
        }
        scenario.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Lets everything happen, in order.
///
/// madsim moves its clock only when no task can run, so a sleep of its shortest length is a barrier: behind it every
/// consequence of the last instant has been drawn. The barrier is the one timer that madsim ever knows; its queue
/// could not cancel others.
async fn pump(world: World) {
    let madsim = madsim::time::TimeHandle::current();
    let mut effects = super::core::Effects::default();
    loop {
        madsim.sleep(Duration::ZERO).await;
        let Some(now) = world.advance(&mut effects) else {
            effects.run();
            return;
        };
        // Libraries that read the clock behind our back see time run a thousand times too fast (each barrier costs
        // madsim a millisecond, each instant is a microsecond), but steadily.
        let shown = Duration::from_micros(now);
        if let Some(lag) = shown.checked_sub(madsim.elapsed()) {
            madsim.advance(lag);
        }
        effects.run();
    }
}

impl World {
    /// Moves time to the next instant at which something happens and lets it happen; `None` when the run is over.
    fn advance(&self, effects: &mut super::core::Effects) -> Option<u64> {
        self.quietly(|core| {
            std::mem::swap(&mut core.effects, effects);
            let next = core.step();
            std::mem::swap(&mut core.effects, effects);
            next
        })
    }
}

impl Core {
    fn step(&mut self) -> Option<u64> {
        let Some(next) = self.agenda.next_at() else {
            self.stop(
                "deadlock",
                "every task waits and nothing will happen any more",
            );
            return None;
        };
        if next > self.limit {
            self.stop("time-limit", "the scenario did not end in the time allowed");
            return None;
        }
        self.now = self.now.max(next);
        while let Some(event) = self.agenda.pop_due(self.now) {
            self.happen(event);
        }
        Some(self.now)
    }

    fn happen(&mut self, event: Event) {
        use super::core::Packet;
        match event {
            Event::Wake { waker, .. } => self.effects.wake(Some(waker)),
            Event::Packet(Packet::Segment { key, from, number }) => {
                self.segment_arrived(key, from, number);
            }
            Event::Packet(Packet::Receipt { key, from, receipt }) => {
                self.receipt_arrived(key, from, receipt);
            }
            Event::Packet(Packet::Control { key, from, control }) => {
                self.control_arrived(key, from, control);
            }
            Event::Datagram(parcel) => self.datagram_arrived(*parcel),
            Event::Retransmit { key, end } => self.retransmit(key, end),
            Event::DelayedReceipt { key, end } => self.delayed_receipt(key, end),
            Event::Order(order) => self.order_due(order),
        }
    }
}
