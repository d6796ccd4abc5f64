//! The plan's faults, as they strike this world.
//!
//! What is due lies in the agenda as an [`Order`]; when its time comes it is handed to one task, the marshal, since
//! ending and starting processes is done outside the world's lock. It runs on no machine, so nothing stops it.

use super::{
    core::{Core, Event, Machine, next_tick},
    gate::Gate,
    world::World,
};
use crate::{
    disk::DiskFault,
    draw::{Domain, Draws},
    fast::words,
    plan::{Fault, Phase, Step, Strike},
};
use holdfast_record::TimelineEvent;
use std::{
    future::poll_fn,
    task::{Context, Poll},
};

/// How long a power cut waits for its machine to be in the middle of a disk job, nanoseconds.
const WAIT_FOR_JOB_NS: u64 = 50_000_000;
/// At which of the disk operations to come it strikes, at the latest; the first ones are the likeliest.
const WAIT_FOR_OPERATIONS: u64 = 20;

/// Something that is done to machines from outside.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// A step of the plan.
    Step(Step),
    /// The safety phase is over.
    Heal,
    /// A process that ended by itself is started again, if nothing happened to its machine since.
    Start { node: u32, incarnation: u32 },
    /// Power goes, in a job or not, if the incarnation that was to lose it still waits for that.
    CutPower { node: u32, incarnation: u32 },
    /// A leader that was ambushed dies, if it still lives, and is started again after a while.
    Assassinate {
        node: u32,
        incarnation: u32,
        down_ns: u64,
    },
}

/// Carries out orders as they become due, for as long as the world stands.
pub(super) async fn marshal(world: World) {
    loop {
        match poll_fn(|cx| world.with(|core| core.poll_order(cx))).await {
            Order::Step(step) => match step.phase {
                Phase::Begin => world.fault_begins(step.fault),
                Phase::End => world.fault_ends(step.fault),
            },
            Order::Heal => world.heal(),
            Order::Start { node, incarnation } => {
                if world.with(|core| core.is_dead(node, incarnation)) {
                    world.start_again(node);
                }
            }
            Order::CutPower { node, incarnation } => {
                if world.with(|core| core.awaits_cut(node, incarnation)) {
                    world.end_process(node, Machine::Off);
                }
            }
            Order::Assassinate {
                node,
                incarnation,
                down_ns,
            } => {
                if world.with(|core| core.is_struck_down(node, incarnation, down_ns)) {
                    world.end_process(node, Machine::Dead);
                }
            }
        }
    }
}

/// What the agenda holds of the plan.
impl Core {
    pub(super) fn schedule_faults(&mut self) {
        for step in self.plan.clone().steps() {
            self.order_at(step.at_ns, Order::Step(step));
        }
        self.order_at(self.plan.horizon_ns, Order::Heal);
    }

    fn order_at(&mut self, at: u64, order: Order) {
        self.agenda.insert(next_tick(at), Event::Order(order));
    }

    /// An order is due: the marshal takes it next.
    pub(super) fn order_due(&mut self, order: Order) {
        self.orders.push_back(order);
        let marshal = self.marshal.take();
        self.effects.wake(marshal);
    }

    fn poll_order(&mut self, cx: &Context<'_>) -> Poll<Order> {
        match self.orders.pop_front() {
            Some(order) => Poll::Ready(order),
            None => {
                self.effects.park(&mut self.marshal, cx);
                Poll::Pending
            }
        }
    }

    /// The process behind `gate` ended by itself: whoever looks after its machine will start it again.
    pub(super) fn process_exited(&mut self, gate: &Gate) {
        if gate.node >= self.plan.nodes {
            return;
        }
        self.counts.exits += 1;
        if let Some(after) = self.restart_after {
            let (node, incarnation) = (gate.node, gate.incarnation);
            self.order_at(self.after(after), Order::Start { node, incarnation });
        }
    }

    /// Power fails in the middle of a disk job which has used `used_ns` of the device: when that time is over and,
    /// perhaps, most of what a sync takes. Until then the rest of the machine goes on, as it does while a disk works.
    pub(super) fn power_fails_in_job(&mut self, node: u32, used_ns: u64) {
        let began = self.occupy_device(node, used_ns);
        let disk = &self.plan.disk;
        let sync = disk.sync_min_ns + disk.sync_tail_ns;
        let state = &mut self.nodes[node as usize];
        state.power_failing = true;
        // Beside the faults, which are entities of this domain by their numbers.
        let entity = 1 << 63 | u64::from(node) << 32 | u64::from(state.incarnation);
        let part = Draws::new(self.seed, Domain::Instant, entity).range(0, sync.max(1));
        let incarnation = state.incarnation;
        self.order_at(began + part, Order::CutPower { node, incarnation });
    }

    fn is_dead(&self, node: u32, incarnation: u32) -> bool {
        let node = &self.nodes[node as usize];
        node.machine == Machine::Dead && node.incarnation == incarnation
    }

    /// Somebody was elected: an ambush that is on lets it lead only for so long.
    pub(super) fn elected(&mut self, node: u32) {
        let incarnation = self.nodes[node as usize].incarnation;
        let strikes = self.strikes.iter().flatten();
        let ambushes: Vec<(u64, u64)> = strikes
            .filter_map(|strike| match strike {
                Strike::Ambush { lives_ns, down_ns } => Some((*lives_ns, *down_ns)),
                _ => None,
            })
            .collect();
        for (lives_ns, down_ns) in ambushes {
            let order = Order::Assassinate {
                node,
                incarnation,
                down_ns,
            };
            self.order_at(self.now + lives_ns, order);
        }
    }

    /// Whether an ambushed leader is there to be killed; it is counted then, and its return arranged for.
    fn is_struck_down(&mut self, node: u32, incarnation: u32, down_ns: u64) -> bool {
        let state = &self.nodes[node as usize];
        let is_there = state.machine == Machine::Running && state.incarnation == incarnation;
        if !is_there || self.now >= self.plan.horizon_ns {
            return false;
        }
        self.count_fault("ambush");
        self.order_at(self.now + down_ns, Order::Start { node, incarnation });
        true
    }

    fn awaits_cut(&self, node: u32, incarnation: u32) -> bool {
        let node = &self.nodes[node as usize];
        node.incarnation == incarnation && (node.crash_after.is_some() || node.power_failing)
    }

    /// Has the power of these machines go in the middle of the next disk jobs they do, soon in any case.
    fn arm_power_cut(&mut self, fault: &Fault, nodes: &[u32], draws: &mut Draws) {
        let lasts = fault.ends(self.plan.horizon_ns) - fault.at_ns;
        let latest = self.now + WAIT_FOR_JOB_NS.min(lasts / 2);
        for &node in nodes {
            let state = &mut self.nodes[node as usize];
            state.crash_after = Some(draws.magnitude(1, WAIT_FOR_OPERATIONS) - 1);
            let incarnation = state.incarnation;
            self.order_at(latest, Order::CutPower { node, incarnation });
        }
    }

    /// Whether a fault that strikes now changes anything: who is down already cannot be killed or paused.
    fn has_effect(&self, strike: &Strike) -> bool {
        let any = |nodes: &[u32], machines: &[Machine]| {
            let mut struck = nodes.iter().map(|node| self.nodes[*node as usize].machine);
            struck.any(|machine| machines.contains(&machine))
        };
        match strike {
            Strike::Kill(nodes) | Strike::Pause(nodes) => any(nodes, &[Machine::Running]),
            Strike::PowerCut(nodes) => any(nodes, &[Machine::Running, Machine::Dead]),
            // Its deaths are counted as they happen.
            Strike::Ambush { .. } => false,
            _ => true,
        }
    }

    /// A fault is about to strike: it is counted if it has an effect, traced and drawn.
    fn note_strike(&mut self, fault: &Fault, strike: &Strike) {
        let kind = fault.kind.name();
        if self.has_effect(strike) {
            self.count_fault(kind);
        }
        let nodes = self.plan.nodes;
        self.trace_strike(fault.id, strike);
        let lasts = fault.kind.lasts();
        let until = lasts.then(|| fault.ends(self.plan.horizon_ns));
        let at = self.now;
        self.trace.timeline(|timeline| {
            timeline.push(TimelineEvent::Fault {
                at,
                until,
                lanes: strike.endpoints(),
                fault: kind.to_owned(),
                detail: words::strike(strike, nodes),
            });
        });
    }
}

impl World {
    fn fault_begins(&self, place: usize) {
        let (fault, strike) = self.with(|core| {
            let fault = core.plan.faults[place].clone();
            let strike = core.plan.strike(&fault, core.leader());
            core.note_strike(&fault, &strike);
            (fault, strike)
        });
        match &strike {
            Strike::Network(disturbance) => {
                self.links(|links| links.disturb(fault.id, disturbance.clone()));
            }
            Strike::Kill(nodes) => {
                for &node in nodes {
                    if self.is_running(node) {
                        self.end_process(node, Machine::Dead);
                    }
                }
            }
            // Who leads is told as it happens.
            Strike::Ambush { .. } => {}
            Strike::PowerCut(nodes) => self.cut_power(&fault, nodes),
            Strike::Pause(nodes) => self.pause_until(nodes, &fault),
            Strike::SlowDisk { nodes, factor } => {
                for &node in nodes {
                    self.disk(node, |disk| disk.set_slowness(*factor));
                }
            }
            Strike::SyncError(nodes) => {
                for &node in nodes {
                    self.disk(node, |disk| disk.inject(DiskFault::Sync));
                }
            }
            Strike::ClockStep { nodes, delta_ns } => {
                if *delta_ns < 0 {
                    self.mark("wall-clock-went-back");
                }
                for &node in nodes {
                    self.clock(node, |clock, _| clock.step(*delta_ns));
                }
            }
            Strike::ClockDrift { nodes, drift_ppm } => {
                for &node in nodes {
                    self.clock(node, |clock, now| clock.set_drift(now, *drift_ppm));
                }
            }
        }
        self.with(|core| core.strikes[place] = Some(strike));
    }

    /// Cuts power now or, as often, in the middle of what the machines' disks do next.
    fn cut_power(&self, fault: &Fault, nodes: &[u32]) {
        if self.with(|core| nodes.len() == core.plan.nodes as usize) {
            self.mark("all-nodes-lost-power");
        }
        let seed = self.with(|core| core.seed);
        let mut draws = Draws::new(seed, Domain::Instant, u64::from(fault.id));
        let in_a_job = draws.chance(0.5);
        let (armed, at_once) = nodes
            .iter()
            .partition::<Vec<u32>, _>(|node| in_a_job && self.is_running(**node));
        self.with(|core| core.arm_power_cut(fault, &armed, &mut draws));
        for node in at_once {
            if self.with(|core| core.nodes[node as usize].machine) != Machine::Off {
                self.end_process(node, Machine::Off);
            }
        }
    }

    fn pause_until(&self, nodes: &[u32], fault: &Fault) {
        for &node in nodes {
            self.with(|core| {
                let until = fault.ends(core.plan.horizon_ns);
                let node = &mut core.nodes[node as usize];
                node.paused_until = node.paused_until.max(until);
            });
            self.stop(node);
        }
    }

    fn fault_ends(&self, place: usize) {
        let Some(strike) = self.with(|core| core.strikes[place].take()) else {
            return;
        };
        match strike {
            Strike::Network(_) => {
                let fault = self.with(|core| core.plan.faults[place].id);
                self.links(|links| links.heal(fault));
            }
            Strike::Kill(nodes) | Strike::PowerCut(nodes) | Strike::SyncError(nodes) => {
                for node in nodes {
                    self.start_if_down(node);
                }
            }
            Strike::Pause(nodes) => {
                for node in nodes {
                    if self.with(|core| core.nodes[node as usize].paused_until <= core.now) {
                        self.resume(node);
                    }
                }
            }
            Strike::ClockStep { .. } | Strike::Ambush { .. } => {}
            Strike::SlowDisk { nodes, .. } => {
                for node in nodes {
                    self.disk(node, |disk| disk.set_slowness(1));
                }
            }
            Strike::ClockDrift { nodes, .. } => {
                for node in nodes {
                    let usual = self.with(|core| core.plan.clocks[node as usize].drift_ppm);
                    self.clock(node, |clock, now| clock.set_drift(now, usual));
                }
            }
        }
    }

    fn start_if_down(&self, node: u32) {
        if !self.is_running(node) {
            self.start_again(node);
        }
    }

    /// The safety phase is over: every fault has ended, and what is down comes back.
    fn heal(&self) {
        self.links(|links| links.calm());
        let nodes = self.with(|core| core.plan.nodes.min(core.nodes.len() as u32));
        for node in 0..nodes {
            self.disk(node, |disk| disk.repair());
            self.resume(node);
            self.start_if_down(node);
        }
    }
}
