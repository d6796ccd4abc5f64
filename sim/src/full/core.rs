//! The state behind a world's lock: time, what will happen, nodes, and who must be woken once the lock is free.

use super::{
    agenda::{Agenda, Key},
    connection::{ConnectionKey, Connections, Control, End, Receipt},
    faults::Order,
    gate::Gate,
    net::{DatagramPort, ListenPort, NOWHERE, Parcel},
    run::Settings,
    tasks::OnPanic,
    world::{Init, LEADER, World},
};
use crate::{
    clock::NodeClock,
    disk::SimDisk,
    draw::node_rng,
    link::{LinkCounts, Links},
    marks::Marks,
    plan::{FaultPlan, Strike},
    trace::Trace,
};
use holdfast_host::{Moment, UnixTime};
use holdfast_record::Failure;
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

/// Simulated time advances in steps of a microsecond.
pub(super) const TICK: u64 = 1_000;

/// How many tasks may start before the executor is made to forget those that have ended.
const TASKS_BETWEEN_SWEEPS: u64 = 4096;

/// What travels between nodes as part of a stream.
#[derive(Clone, Copy)]
pub(super) enum Packet {
    Segment {
        key: ConnectionKey,
        from: End,
        number: u64,
    },
    Receipt {
        key: ConnectionKey,
        from: End,
        receipt: Receipt,
    },
    Control {
        key: ConnectionKey,
        from: End,
        control: Control,
    },
}

/// What can happen at an instant.
pub(super) enum Event {
    /// The time of a sleeper on `node` has come.
    Wake {
        node: u32,
        waker: Waker,
    },
    Packet(Packet),
    Datagram(Box<Parcel>),
    Retransmit {
        key: ConnectionKey,
        end: End,
    },
    DelayedReceipt {
        key: ConnectionKey,
        end: End,
    },
    Order(Order),
}

/// What must be done after the lock is released: waking can schedule, dropping a waker can drop anything.
#[derive(Default)]
pub(super) struct Effects {
    wake: Vec<Waker>,
    bury: Vec<Waker>,
}

impl Effects {
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        self.wake.extend(waker);
    }

    pub(super) fn bury(&mut self, waker: Option<Waker>) {
        self.bury.extend(waker);
    }

    /// Makes `place` wake the current task.
    pub(super) fn park(&mut self, place: &mut Option<Waker>, cx: &Context<'_>) {
        match place {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => {
                let old = place.replace(cx.waker().clone());
                self.bury.extend(old);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wake.is_empty() && self.bury.is_empty()
    }

    pub(super) fn run(&mut self) {
        for waker in self.wake.drain(..) {
            waker.wake();
        }
        self.bury.clear();
    }
}

/// What a node's machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// The process runs (or is stopped).
    Running,
    /// The process is gone; the kernel answers for it.
    Dead,
    /// No power: nothing answers.
    Off,
}

/// One machine and the process on it.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) ip: IpAddr,
    /// Its address in IPv6, in a network of its own.
    pub(super) ip6: IpAddr,
    pub(super) machine: Machine,
    pub(super) incarnation: u32,
    pub(super) gate: Arc<Gate>,
    pub(super) clock: NodeClock,
    pub(super) disk: Arc<Mutex<SimDisk>>,
    /// The device works for earlier jobs until this instant.
    pub(super) disk_busy_until: u64,
    /// Power fails after so many further disk operations.
    pub(super) crash_after: Option<u64>,
    /// Power has failed in the middle of a disk job: the device does no more, and the machine is off in an instant.
    pub(super) power_failing: bool,
    /// A fault keeps the process stopped until then.
    pub(super) paused_until: u64,
    /// What the scenario last said of the process, and its term.
    pub(super) role: (&'static str, u64),
    pub(super) listeners: BTreeMap<u16, ListenPort>,
    pub(super) datagrams: BTreeMap<u16, DatagramPort>,
    pub(super) next_port: u16,
    /// How many connections it has opened.
    pub(super) connections: u64,
    /// How many generators each purpose has asked for in this incarnation.
    pub(super) generators: BTreeMap<String, u64>,
    /// Tasks of its processes that have not ended.
    pub(super) tasks: u64,
    pub(super) on_panic: OnPanic,
    pub(super) process: madsim::runtime::NodeHandle,
    pub(super) init: Init,
}

/// What has happened so far, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stream segments that reached a kernel which knew their connection.
    pub segments: u64,
    /// Datagrams that reached a socket.
    pub datagrams: u64,
    /// Segments that were sent again.
    pub retransmissions: u64,
    /// Disk operations.
    pub disk_operations: u64,
    /// Datagrams that a socket had no room for.
    pub overflows: u64,
    /// Processes that ended by themselves.
    pub exits: u64,
    /// What became of packets on their way.
    pub links: LinkCounts,
    /// Faults that took effect, by kind: those of the plan, and those that the scenario caused itself.
    pub faults: BTreeMap<&'static str, u64>,
}

pub(super) struct Core {
    pub(super) seed: u64,
    /// Simulated nanoseconds since the world began; a multiple of [`TICK`].
    pub(super) now: u64,
    pub(super) limit: u64,
    pub(super) agenda: Agenda<Event>,
    pub(super) nodes: Vec<Node>,
    pub(super) addresses: BTreeMap<IpAddr, u32>,
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
    pub(super) connections: Connections,
    pub(super) links: Links,
    pub(super) plan: Arc<FaultPlan>,
    /// What each fault of the plan struck, while it lasts.
    pub(super) strikes: Vec<Option<Strike>>,
    /// Orders that are due and not yet carried out, and who does that.
    pub(super) orders: VecDeque<Order>,
    pub(super) marshal: Option<Waker>,
    pub(super) restart_after: Option<Duration>,
    pub(super) clients: u32,
    pub(super) marks: Marks,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    pub(super) failures: Vec<Failure>,
    pub(super) effects: Effects,
    spawned: u64,
    /// The run is over, whatever the scenario thinks.
    pub(super) stopped: bool,
    pub(super) scenario: Option<Waker>,
}

/// A sleeper's entry in the agenda.
pub(super) struct Timer {
    key: Key,
    at: u64,
}

/// Time.
impl Core {
    /// The instant `duration` from now, at least.
    pub(super) fn after(&self, duration: Duration) -> u64 {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2);
        next_tick(self.now.saturating_add(nanos))
    }

    /// True when `at` has come; else the task is woken then. The timer stays one entry however often it is polled.
    pub(super) fn poll_sleep(
        &mut self,
        node: u32,
        at: u64,
        timer: &mut Option<Timer>,
        cx: &Context<'_>,
    ) -> bool {
        let at = next_tick(at);
        if let Some(set) = timer.as_ref().filter(|set| at > self.now && set.at == at)
            && let Some(Event::Wake { waker, .. }) = self.agenda.get_mut(set.key)
        {
            if !waker.will_wake(cx.waker()) {
                let old = std::mem::replace(waker, cx.waker().clone());
                self.effects.bury(Some(old));
            }
            return false;
        }
        if let Some(set) = timer.take() {
            self.cancel_sleep(set);
        }
        if at <= self.now {
            return true;
        }
        let waker = cx.waker().clone();
        let key = self.agenda.insert(at, Event::Wake { node, waker });
        *timer = Some(Timer { key, at });
        false
    }

    pub(super) fn cancel_sleep(&mut self, timer: Timer) {
        if let Some(Event::Wake { waker, .. }) = self.agenda.cancel(timer.key) {
            self.effects.bury(Some(waker));
        }
    }

    /// Changes a clock, and has every sleeper of the node look at it again.
    pub(super) fn change_clock<T>(
        &mut self,
        node: u32,
        change: impl FnOnce(&mut NodeClock, u64) -> T,
    ) -> T {
        let result = change(&mut self.nodes[node as usize].clock, self.now);
        for event in self.agenda.entries() {
            if let Event::Wake { node: at, waker } = event
                && *at == node
            {
                self.effects.wake(Some(waker.clone()));
            }
        }
        result
    }

    /// The device of `node` works for `used_ns` more; returns when it is done with all it has been given.
    pub(super) fn occupy_device(&mut self, node: u32, used_ns: u64) -> u64 {
        let from = self.nodes[node as usize].disk_busy_until.max(self.now);
        let until = from.saturating_add(used_ns);
        self.nodes[node as usize].disk_busy_until = until;
        until
    }
}

/// `at`, or the next instant after it at which things can happen.
pub(super) fn next_tick(at: u64) -> u64 {
    at.div_ceil(TICK).saturating_mul(TICK)
}

/// Nodes.
impl Core {
    pub(super) fn process_runs(&self, node: u32) -> bool {
        node != NOWHERE && self.nodes[node as usize].machine == Machine::Running
    }

    pub(super) fn kernel_runs(&self, node: u32) -> bool {
        node != NOWHERE && self.nodes[node as usize].machine != Machine::Off
    }

    /// Ends the process on `node`; its gate is closed by the caller.
    pub(super) fn end_process(&mut self, node: u32, machine: Machine) {
        self.trace_machine(node, machine);
        match machine {
            Machine::Off => self.power_lost(node),
            Machine::Dead | Machine::Running => self.process_died(node),
        }
        self.close_ports(node);
        let node = &mut self.nodes[node as usize];
        node.machine = machine;
        node.crash_after = None;
        node.power_failing = false;
        node.paused_until = 0;
        node.role = ("", 0);
        node.generators.clear();
    }

    /// Counts one disk operation; false when the power fails at it.
    pub(super) fn disk_operation(&mut self, node: u32) -> bool {
        self.counts.disk_operations += 1;
        match &mut self.nodes[node as usize].crash_after {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// Counts a task; true now and then, when the executor should forget those that have ended.
    pub(super) fn count_task(&mut self, node: u32) -> bool {
        self.nodes[node as usize].tasks += 1;
        self.spawned += 1;
        self.spawned.is_multiple_of(TASKS_BETWEEN_SWEEPS)
    }

    pub(super) fn task_ended(&mut self, node: u32) {
        self.nodes[node as usize].tasks -= 1;
    }

    pub(super) fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let literal = match name {
            "localhost" => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            _ => name.trim_matches(['[', ']']).parse().ok(),
        };
        let addresses = match literal {
            Some(ip) => vec![ip],
            None => self
                .names
                .get(name)
                .cloned()
                .ok_or(io::ErrorKind::NotFound)?,
        };
        Ok(addresses
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect())
    }
}

/// Nodes come and go.
impl Core {
    pub(super) fn new(settings: Settings) -> Self {
        let plan = Arc::new(settings.plan);
        let mut core = Core {
            seed: plan.seed,
            now: 0,
            limit: u64::try_from(settings.limit.as_nanos()).unwrap_or(u64::MAX),
            agenda: Agenda::new(),
            nodes: Vec::new(),
            addresses: BTreeMap::new(),
            names: BTreeMap::new(),
            connections: Connections::new(),
            links: Links::new(plan.seed, plan.nodes, settings.clients, &plan.network),
            strikes: vec![None; plan.faults.len()],
            orders: VecDeque::new(),
            marshal: None,
            restart_after: settings.restart_after,
            clients: settings.clients,
            marks: Marks::new(settings.marks),
            trace: match settings.timeline {
                true => Trace::with_timeline(plan.seed, Vec::new()),
                false => Trace::new(plan.seed),
            },
            plan,
            counts: Counts::default(),
            failures: Vec::new(),
            effects: Effects::default(),
            spawned: 0,
            stopped: false,
            scenario: None,
        };
        core.schedule_faults();
        core
    }

    pub(super) fn add_node(
        &mut self,
        name: &str,
        init: Init,
        process: madsim::runtime::NodeHandle,
    ) -> u32 {
        let number = self.nodes.len() as u32;
        let ip = World::ip(number);
        let ip6 = World::ip6(number);
        self.addresses.insert(ip, number);
        self.addresses.insert(ip6, number);
        let before = self.names.insert(name.to_owned(), vec![ip]);
        assert!(before.is_none(), "two machines are called `{name}`");
        let profile = self.plan.clocks.get(number as usize).copied();
        let mut clock = NodeClock::new(&profile.unwrap_or_default());
        clock.restart(self.now);
        let disk = SimDisk::new(self.seed, number, &self.plan.disk);
        self.nodes.push(Node {
            name: name.to_owned(),
            ip,
            ip6,
            machine: Machine::Running,
            incarnation: 1,
            gate: Arc::new(Gate::new(number, 1)),
            clock,
            disk: Arc::new(Mutex::new(disk)),
            disk_busy_until: 0,
            crash_after: None,
            power_failing: false,
            paused_until: 0,
            role: ("", 0),
            listeners: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            next_port: Core::FIRST_EPHEMERAL,
            connections: 0,
            generators: BTreeMap::new(),
            tasks: 0,
            on_panic: OnPanic::default(),
            process,
            init,
        });
        number
    }

    /// Who leads as far as the scenario has said: of several, the one of the highest term, since a deposed leader
    /// that does not know it yet leads an older one.
    pub(super) fn leader(&self) -> Option<u32> {
        let leaders = self
            .nodes
            .iter()
            .zip(0..)
            .filter(|(node, _)| node.machine == Machine::Running && node.role.0 == LEADER);
        leaders
            .max_by_key(|(node, _)| node.role.1)
            .map(|(_, number)| number)
    }

    pub(super) fn begin_incarnation(&mut self, node: u32, process: madsim::runtime::NodeHandle) {
        let now = self.now;
        let number = node;
        let node = &mut self.nodes[node as usize];
        node.incarnation += 1;
        node.machine = Machine::Running;
        node.gate = Arc::new(Gate::new(number, node.incarnation));
        node.clock.restart(now);
        node.process = process;
        node.disk_busy_until = now;
        self.trace_machine(number, Machine::Running);
    }

    pub(super) fn node_now(&self, node: u32) -> Moment {
        self.nodes[node as usize].clock.monotonic(self.now)
    }

    pub(super) fn node_unix_time(&self, node: u32) -> UnixTime {
        self.nodes[node as usize].clock.wall(self.now)
    }

    /// When the clock of `node` will read `deadline`, if nobody touches it.
    pub(super) fn instant_of(&self, node: u32, deadline: Moment) -> u64 {
        self.nodes[node as usize].clock.true_time_at(deadline)
    }

    /// The next generator that the process on `node` asks for under `purpose`.
    pub(super) fn generator(&mut self, node: u32, incarnation: u32, purpose: &str) -> ChaCha8Rng {
        let state = &mut self.nodes[node as usize];
        let n = match state.generators.get_mut(purpose) {
            Some(n) => {
                *n += 1;
                *n
            }
            None => {
                state.generators.insert(purpose.to_owned(), 0);
                0
            }
        };
        node_rng(self.seed, node, incarnation, purpose, n)
    }
}
