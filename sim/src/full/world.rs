//! The world of one run: its nodes, what befalls them, and what became of it all.

use super::{
    core::{Core, Counts, Machine},
    gate::Gate,
    host,
    tasks::{self, OnPanic},
};
use crate::{clock::NodeClock, disk::SimDisk, link::Links, plan::FaultPlan, trace::Recording};
use holdfast_host::{BoxFuture, Host};
use holdfast_record::{Failure, Timeline, TimelineEvent};
use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;

/// The marks that the world itself reports; those of a scenario that has a plan must contain them.
pub const MARKS: &[&str] = &[
    "all-nodes-lost-power",
    "power-failed-in-a-disk-job",
    "wall-clock-went-back",
];

/// The state that makes a machine the target of faults that strike the leader; see [`World::note_state`].
pub const LEADER: &str = "leader";

/// What a node's process runs from its start; called once for each incarnation.
pub(super) type Init = Arc<dyn Fn(Host) -> BoxFuture<'static, ()> + Send + Sync>;

/// A handle on the world of one run; clones are handles on the same world.
///
/// Machines are numbered from 0 in the order of their creation: those that the plan's faults strike first, clients
/// after them. Whoever holds a `World` stands outside it: it may see simulated time, cut cables and pull plugs.
///
/// Closures that are passed to the methods here run under the world's lock and must not call any of them.
#[derive(Clone)]
pub struct World {
    core: Arc<Mutex<Core>>,
}

impl World {
    pub(super) fn new(core: Core) -> Self {
        World {
            core: Arc::new(Mutex::new(core)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world, then, with the lock released, wakes whom the change concerns.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        let result = change(&mut core);
        if !core.effects.is_empty() {
            let mut effects = std::mem::take(&mut core.effects);
            drop(core);
            effects.run();
        }
        result
    }

    /// Changes the world and leaves the effects to the caller.
    pub(super) fn quietly<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        change(&mut self.lock())
    }

    /// The address of machine `number`.
    pub fn ip(number: u32) -> IpAddr {
        let [_, high, middle, low] = (number + 1).to_be_bytes();
        Ipv4Addr::new(10, high, middle, low).into()
    }

    /// The IPv6 address of machine `number`: a unique local one (RFC 4193), in a network (64 bits) of its own. Names are
    /// not resolved to it, and a port is taken in both families at once.
    pub fn ip6(number: u32) -> IpAddr {
        let [high, low] = [(number + 1) >> 16, (number + 1) & 0xffff].map(|half| half as u16);
        Ipv6Addr::new(0xfd00, 0, high, low, 0, 0, 0, 1).into()
    }

    /// Creates the next of the machines that the plan's faults strike, and starts its process: `init` is handed the
    /// process's [`Host`], now and again after each restart. When its future returns, the process has ended by
    /// itself, with all its tasks, and is started again after [`Settings::restart_after`](super::Settings). Every
    /// machine resolves `name`.
    ///
    /// # Panics
    /// When there are as many machines as the plan has nodes, or another machine has the name.
    pub fn machine<F>(&self, name: &str, init: impl Fn(Host) -> F + Send + Sync + 'static) -> u32
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (number, planned) = self.with(|core| (core.nodes.len(), core.plan.nodes));
        assert!(
            number < planned as usize,
            "the plan is for {planned} machines: `{name}` is one more"
        );
        self.create(name, Arc::new(move |host| Box::pin(init(host))))
    }

    /// Creates a client: a machine that no fault of the plan strikes, except that the network between it and others
    /// may be as bad as the plan says. It runs `main` once and is gone when that returns. What it returned is what
    /// [`Returned`] resolves to.
    ///
    /// # Panics
    /// When not all machines of the plan exist, there are as many clients as the settings say, or another machine
    /// has the name.
    pub fn client<T, F>(
        &self,
        name: &str,
        main: impl FnOnce(Host) -> F + Send + 'static,
    ) -> Returned<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (number, first, clients) =
            self.with(|core| (core.nodes.len() as u32, core.plan.nodes, core.clients));
        assert!(number >= first, "machines are created before clients");
        assert!(
            number - first < clients,
            "the settings are for {clients} clients: `{name}` is one more"
        );
        let (send, receive) = oneshot::channel();
        let once = Mutex::new(Some((main, send)));
        let init: Init = Arc::new(move |host| {
            let mut once = once.lock().unwrap_or_else(PoisonError::into_inner);
            let (main, send) = once.take().expect("a client is started once");
            Box::pin(async move {
                // Nobody may be interested.
                let _ = send.send(main(host).await);
            })
        });
        self.create(name, init);
        Returned(receive)
    }

    fn create(&self, name: &str, init: Init) -> u32 {
        let process = madsim::runtime::Handle::current().create_node().build();
        let node = self.with(|core| core.add_node(name, init, process));
        self.start(node);
        node
    }

    /// The host of the node's process as it is now. Of use to a scenario that plays the process itself; a handle of
    /// a process that dies later never completes anything again.
    pub fn host(&self, node: u32) -> Host {
        let (gate, process) = self.with(|core| {
            let node = &core.nodes[node as usize];
            (node.gate.clone(), node.process.clone())
        });
        host::host(self, &gate, &process)
    }

    fn start(&self, node: u32) {
        let (gate, process, init) = self.with(|core| {
            let node = &core.nodes[node as usize];
            (node.gate.clone(), node.process.clone(), node.init.clone())
        });
        let main = init(host::host(self, &gate, &process));
        let (world, exiting) = (self.clone(), gate.clone());
        let process_main = Box::pin(async move {
            main.await;
            world.exit(&exiting);
        });
        drop(tasks::spawn(self, &gate, &process, "main", process_main));
    }

    /// A process whose main future has returned is gone, with all its tasks.
    fn exit(&self, gate: &Gate) {
        if gate.is_alive() {
            self.end_process(gate.node, Machine::Dead);
            self.with(|core| core.process_exited(gate));
        }
    }

    /// Kills the node's process at once, as SIGKILL does: its kernel lives on, resets or ends the connections,
    /// refuses new ones, and keeps every byte that was written. Nothing happens when no process runs.
    pub fn kill(&self, node: u32) {
        if self.is_running(node) {
            self.with(|core| core.count_fault("kill"));
            self.end_process(node, Machine::Dead);
        }
    }

    /// Takes the node's power away: it falls silent, and what was not synced is at the disk model's mercy. Nothing
    /// happens when it is off already.
    pub fn power_cut(&self, node: u32) {
        if self.with(|core| core.nodes[node as usize].machine) != Machine::Off {
            self.with(|core| core.count_fault("power_cut"));
            self.end_process(node, Machine::Off);
        }
    }

    pub(super) fn end_process(&self, node: u32, machine: Machine) {
        let (id, disk, gate) = self.with(|core| {
            core.end_process(node, machine);
            let node = &core.nodes[node as usize];
            (node.process.id(), node.disk.clone(), node.gate.clone())
        });
        gate.die();
        {
            let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
            match machine {
                Machine::Off => {
                    disk.power_cut();
                }
                Machine::Dead | Machine::Running => disk.kill(),
            }
        }
        madsim::runtime::Handle::current().kill(id);
    }

    /// Starts a new incarnation of the node's process, on power that is back if it was off; kills a process that
    /// still runs.
    pub fn restart(&self, node: u32) {
        self.kill(node);
        self.start_again(node);
    }

    /// Starts a new incarnation of a process that has ended.
    pub(super) fn start_again(&self, node: u32) {
        let madsim = madsim::runtime::Handle::current();
        let id = self.with(|core| core.nodes[node as usize].process.id());
        madsim.restart(id);
        let process = madsim.get_node(id).expect("a node is never removed");
        self.with(|core| core.begin_incarnation(node, process));
        self.start(node);
    }

    /// Stops the node's process as SIGSTOP does: no task of it runs; its kernel goes on receiving into the windows
    /// and queues that it has, and timers that come due wait.
    pub fn pause(&self, node: u32) {
        if self.stop(node) {
            self.with(|core| core.count_fault("pause"));
        }
    }

    /// Stops the process; false when there is none that runs.
    pub(super) fn stop(&self, node: u32) -> bool {
        let gate = self.gate(node);
        let runs = gate.is_alive() && !gate.is_stopped();
        if runs {
            gate.stop();
            self.with(|core| core.draw_state(node, "paused", 0));
        }
        runs
    }

    /// Lets a paused process go on.
    pub fn resume(&self, node: u32) {
        let gate = self.gate(node);
        if gate.is_alive() && gate.is_stopped() {
            gate.resume();
            self.with(|core| {
                let (role, term) = core.nodes[node as usize].role;
                core.draw_state(node, role, term);
            });
        }
    }

    pub(super) fn gate(&self, node: u32) -> Arc<Gate> {
        self.with(|core| core.nodes[node as usize].gate.clone())
    }

    /// Whether the node's process is alive (running or paused).
    pub fn is_running(&self, node: u32) -> bool {
        self.gate(node).is_alive()
    }

    /// How many tasks of the node's process have not ended, its main one included.
    pub fn tasks(&self, node: u32) -> u64 {
        self.with(|core| core.nodes[node as usize].tasks)
    }

    /// Says what the node's process is at present (`leader`, `follower`, ...) and its term: for the timeline, and for
    /// faults that strike the leader. Forgotten when the process ends; saying the same again does nothing.
    pub fn note_state(&self, node: u32, state: &'static str, term: u64) {
        self.with(|core| core.note_role(node, state, term));
    }

    /// The machine whose process said last that it leads; of several the one of the highest term.
    pub fn leader(&self) -> Option<u32> {
        self.with(|core| core.leader())
    }

    /// A mark was reached.
    ///
    /// # Panics
    /// When the settings do not declare it.
    pub fn mark(&self, name: &str) {
        self.with(|core| core.marks.hit(name));
    }

    /// Cuts the node's power after `operations` more disk operations, in the middle of whichever job does the last:
    /// that job's further operations fail, and nothing it reports is seen by anyone.
    pub fn crash_at_disk_op(&self, node: u32, operations: u64) {
        self.with(|core| core.nodes[node as usize].crash_after = Some(operations));
    }

    /// What a panic in the node's tasks does.
    pub fn on_panic(&self, node: u32, policy: OnPanic) {
        self.with(|core| core.nodes[node as usize].on_panic = policy);
    }

    pub(super) fn process_panicked(&self, gate: &Gate, task: &str, text: &str) {
        if !gate.is_alive() {
            return;
        }
        let policy = self.with(|core| core.nodes[gate.node as usize].on_panic);
        if policy == OnPanic::NodeDies {
            self.fail(
                "no-panic",
                format!("task `{task}` panicked: {text}"),
                Some(gate.node),
            );
            self.end_process(gate.node, Machine::Dead);
        }
    }

    /// Records that a property broke, now.
    pub fn fail(&self, property: &str, message: String, node: Option<u32>) {
        self.with(|core| core.fail(property, message, node));
    }

    /// What broke so far, in order.
    pub fn failures(&self) -> Vec<Failure> {
        self.with(|core| core.failures.clone())
    }

    /// Simulated time since the world began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.with(|core| core.now))
    }

    /// Waits in simulated time, by no node's clock.
    pub async fn sleep(&self, duration: Duration) {
        let at = self.with(|core| core.after(duration));
        super::host::world_sleep(self, at).await;
    }

    /// The plan that this world follows.
    pub fn plan(&self) -> Arc<FaultPlan> {
        self.with(|core| core.plan.clone())
    }

    /// Waits until simulated time is `at`.
    pub async fn sleep_until(&self, at: Duration) {
        let now = self.now();
        if let Some(rest) = at.checked_sub(now) {
            self.sleep(rest).await;
        }
    }

    /// When the plan's faults are over and every machine runs again.
    pub fn horizon(&self) -> Duration {
        Duration::from_nanos(self.with(|core| core.plan.horizon_ns))
    }

    /// Half of the time that the plan leaves for recovery is over: clients make no new calls, so that all that are
    /// still unanswered at the [end](World::until_end) should have been.
    pub fn is_quiescing(&self) -> bool {
        self.with(|core| core.now >= core.plan.horizon_ns + core.plan.liveness_ns / 2)
    }

    /// Waits for the end of the plan: all must be well now.
    pub async fn until_end(&self) {
        let end = self.with(|core| core.plan.horizon_ns + core.plan.liveness_ns);
        self.sleep_until(Duration::from_nanos(end)).await;
    }

    /// Gives a name that every node resolves.
    pub fn add_name(&self, name: &str, addresses: Vec<IpAddr>) {
        self.with(|core| core.names.insert(name.to_owned(), addresses));
    }

    /// Reads or changes the network's model: delays, losses, partitions.
    pub fn links<T>(&self, change: impl FnOnce(&mut Links) -> T) -> T {
        self.with(|core| change(&mut core.links))
    }

    /// Reads or changes a node's clock model, as of now; its sleepers look at their clock again.
    pub fn clock<T>(&self, node: u32, change: impl FnOnce(&mut NodeClock, u64) -> T) -> T {
        self.with(|core| core.change_clock(node, change))
    }

    /// Reads or changes a node's disk model.
    ///
    /// # Panics
    /// Deadlocks when called from a disk job of the same node.
    pub fn disk<T>(&self, node: u32, change: impl FnOnce(&mut SimDisk) -> T) -> T {
        let disk = self.with(|core| core.nodes[node as usize].disk.clone());
        let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut disk)
    }

    /// What happened so far, in numbers.
    pub fn counts(&self) -> Counts {
        self.with(|core| core.all_counts())
    }

    /// The chained hash of everything that happened so far.
    pub fn trace_hash(&self) -> u64 {
        self.with(|core| core.trace.hash())
    }

    /// Puts a dot with a few words on a machine's lane of the timeline, if one is drawn.
    pub fn note(&self, node: u32, label: impl FnOnce() -> String) {
        self.timeline(|at, timeline| {
            timeline.push(TimelineEvent::Note {
                at,
                lane: node,
                label: label(),
            });
        });
    }

    /// Whether a timeline is drawn.
    pub fn is_drawn(&self) -> bool {
        self.with(|core| core.trace.is_drawn())
    }

    /// Describes something for the timeline; nothing happens when none is drawn. Times are simulated nanoseconds.
    pub fn timeline(&self, draw: impl FnOnce(u64, &mut Recording)) {
        self.with(|core| {
            let now = core.now;
            core.trace.timeline(|timeline| draw(now, timeline));
        });
    }

    /// Chains something of the scenario's own into the trace. Kinds from 256 on are free for that.
    ///
    /// # Panics
    /// When the kind is below 256.
    pub fn record(&self, node: u32, kind: u16, a: u64, b: u64) {
        assert!(kind >= 256, "kind {kind} belongs to the simulator");
        self.with(|core| core.trace.record(core.now, node, kind, a, b));
    }

    /// Takes the timeline; `None` when none was asked for.
    pub(super) fn finish_timeline(&self) -> Option<Timeline> {
        self.with(|core| {
            let mut timeline = core.trace.finish(core.plan.to_json())?;
            timeline.lanes = core.nodes.iter().map(|node| node.name.clone()).collect();
            Some(timeline)
        })
    }

    /// Connections that some kernel or process still knows.
    pub fn live_connections(&self) -> usize {
        self.with(|core| core.connections.live())
    }

    /// Takes every process out of the world, so that all tasks are dropped while the world still stands.
    pub(super) fn shut_down(&self) {
        let nodes = self.with(|core| core.nodes.len() as u32);
        for node in 0..nodes {
            if self.is_running(node) {
                self.end_process(node, Machine::Off);
            }
        }
        // What a machine starts with mostly refers to the world that refers to the machine.
        let nothing: Init = Arc::new(|_| Box::pin(std::future::ready(())));
        let inits: Vec<Init> = self.with(|core| {
            let nodes = core.nodes.iter_mut();
            nodes
                .map(|node| std::mem::replace(&mut node.init, nothing.clone()))
                .collect()
        });
        drop(inits);
    }
}

/// What a client's `main` returns; `None` when the client did not get that far: it panicked, which is a failure.
pub struct Returned<T>(oneshot::Receiver<T>);

impl<T> Future for Returned<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}
