//! The plan's faults, as they strike this world.

use super::{
    cluster::{Cluster, Event},
    storage::RESTART_NS,
    words,
    workload::Workload,
};
use crate::{
    disk::DiskFault,
    draw::{Domain, Draws},
    link::Disturbance,
    plan::{Affliction, Fault, Outcast, Phase, Step, Strike},
};
use holdfast_record::TimelineEvent;

/// How long a power cut waits for its machine to be in the middle of an operation, nanoseconds.
const WAIT_FOR_OPERATION_NS: u64 = 50_000_000;
/// How long it waits for a term or a vote to be written.
const WAIT_FOR_VOTE_NS: u64 = 2_000_000_000;
/// At which of the disk operations to come it strikes, at the latest; the first ones are the likeliest.
const WAIT_FOR_OPERATIONS: u64 = 20;
/// The same for a node that recovers, which does more at once.
const WAIT_FOR_RECOVERY: u64 = 100;
/// Above the numbers of all faults: what keeps each outcast apart.
const OUTCASTS: u32 = u32::MAX - crate::plan::MAX_NODES;

impl<W: Workload> Cluster<W> {
    pub(super) fn fault_step(&mut self, step: Step) {
        match step.phase {
            Phase::Begin => self.fault_begins(step.fault),
            Phase::End => self.fault_ends(step.fault),
        }
    }

    /// Who leads, if anybody does.
    pub(super) fn leader(&self) -> Option<u32> {
        // A deposed leader that does not know it yet leads an older term.
        let leaders = self.nodes.iter().enumerate().filter(|(_, n)| n.is_leader());
        leaders
            .max_by_key(|(_, n)| n.running.as_ref().map(|r| r.replica.raft().term()))
            .map(|(at, _)| at as u32)
    }

    fn fault_begins(&mut self, place: usize) {
        let fault = self.setup.plan.faults[place].clone();
        let strike = self.setup.plan.strike(&fault, self.leader());
        let now = self.now;
        self.trace
            .record(now, 0, 8, u64::from(fault.id), struck(&strike));
        let horizon = self.setup.plan.horizon_ns;
        let until = fault.until_ns.unwrap_or(horizon).min(horizon);
        let nodes = self.setup.plan.nodes;
        self.trace.timeline(|t| {
            t.push(TimelineEvent::Fault {
                at: now,
                until: fault.kind.lasts().then_some(until),
                lanes: lanes(&strike),
                fault: fault.kind.name().into(),
                detail: words::strike(&strike, nodes),
            });
        });
        self.strikes[place] = Some(Struck {
            strike: strike.clone(),
            stopped: self.stopped_packets(),
        });
        if !self.strike_falls(&fault, strike, until) {
            return;
        }
        self.count_fault(fault.kind.name());
    }

    /// Does it, and says whether that was something: whether there was a process to end, a clock to move. What a fault
    /// of the network, a failing sync or an ambush does is seen later.
    fn strike_falls(&mut self, fault: &Fault, strike: Strike, until: u64) -> bool {
        match strike {
            Strike::Network(disturbance) => {
                self.links.disturb(fault.id, disturbance);
                false
            }
            // Elections are seen as they happen.
            Strike::Ambush { .. } => false,
            Strike::Kill(nodes) => {
                let any = self.any_is_up(&nodes);
                for node in nodes {
                    self.crash(node, Crash::Kill);
                }
                any
            }
            Strike::PowerCut(nodes) => {
                let any = self.any_is_up(&nodes);
                self.cut_power(fault, &nodes, until);
                any
            }
            Strike::Pause(nodes) => {
                let any = self.any_is_up(&nodes);
                for node in nodes {
                    let node = &mut self.nodes[node as usize];
                    node.paused_until = node.paused_until.max(until);
                }
                any
            }
            Strike::SlowDisk { nodes, factor } => {
                let any = factor > 1 && self.any_is_up(&nodes);
                for node in nodes {
                    self.slow_down(node);
                }
                any
            }
            Strike::SyncError(nodes) => {
                for node in nodes {
                    self.nodes[node as usize].disk.inject(DiskFault::Sync);
                }
                false
            }
            Strike::ClockStep { nodes, delta_ns } => {
                if delta_ns < 0 {
                    self.mark("wall-clock-went-back");
                }
                for node in nodes {
                    self.nodes[node as usize].clock.step(delta_ns);
                }
                delta_ns != 0
            }
            Strike::ClockDrift { nodes, drift_ppm } => {
                let mut any = false;
                for node in nodes {
                    any |= self.setup.plan.clocks[node as usize].drift_ppm != drift_ppm;
                    self.adjust_clock(node);
                }
                any
            }
        }
    }

    /// Cuts power now or, as often, in the middle of what the machines do next with their disks.
    fn cut_power(&mut self, fault: &Fault, nodes: &[u32], until: u64) {
        if nodes.len() == self.nodes.len() {
            self.mark("all-nodes-lost-power");
        }
        let seed = self.setup.plan.seed;
        let mut draws = Draws::new(seed, Domain::Instant, u64::from(fault.id));
        let (in_an_operation, at_a_vote) = (draws.chance(0.5), draws.chance(0.5));
        let half = (until - self.now) / 2;
        for &node in nodes {
            let left = draws.magnitude(1, WAIT_FOR_OPERATIONS) - 1;
            let machine = &mut self.nodes[node as usize];
            if !in_an_operation || !machine.is_up() {
                self.crash(node, Crash::Power);
                continue;
            }
            // Term and vote are in one file and entries in another: what lies between is worth waiting for.
            let wait = match at_a_vote {
                true => WAIT_FOR_VOTE_NS,
                false => WAIT_FOR_OPERATION_NS,
            };
            match at_a_vote {
                true => machine.cut_at_vote = Some(left),
                false => machine.disk.cut_after(left),
            }
            let latest = self.now + wait.min(half);
            self.heap.push(latest, Event::CutPower { node });
        }
    }

    /// A power cut that waited for an operation waits no longer.
    pub(super) fn power_goes(&mut self, node: u32) {
        let machine = &self.nodes[node as usize];
        if machine.cut_at_vote.is_some() || machine.disk.awaits_cut() {
            self.crash(node, Crash::Power);
        }
    }

    /// Power comes back and, perhaps, fails once more while the node recovers.
    fn power_returns(&mut self, fault: u32, nodes: Vec<u32>) {
        let seed = self.setup.plan.seed;
        // Beside the cuts, which are entities of this domain by their numbers.
        let mut draws = Draws::new(seed, Domain::Instant, (1 << 32) | u64::from(fault));
        let again = draws.chance(0.3);
        for node in nodes {
            let left = draws.magnitude(1, WAIT_FOR_RECOVERY) - 1;
            let latest = self.now + WAIT_FOR_OPERATION_NS;
            let back = latest + RESTART_NS;
            if again && !self.nodes[node as usize].is_up() && back < self.setup.plan.horizon_ns {
                self.nodes[node as usize].disk.cut_after(left);
                self.heap.push(latest, Event::CutPower { node });
                self.heap.push(back, Event::Restart { node });
            }
            self.bring_up(node);
        }
    }

    fn any_is_up(&self, nodes: &[u32]) -> bool {
        nodes.iter().any(|node| self.nodes[*node as usize].is_up())
    }

    /// How many packets faults of the network have stopped so far.
    fn stopped_packets(&self) -> u64 {
        let counts = self.links.counts();
        counts.blocked + counts.held + counts.lost
    }

    fn fault_ends(&mut self, place: usize) {
        let Some(struck) = self.strikes[place].take() else {
            return;
        };
        let id = self.setup.plan.faults[place].id;
        self.count_stopped(place, &struck);
        match struck.strike {
            Strike::Network(_) => self.links.heal(id),
            Strike::PowerCut(nodes) => self.power_returns(id, nodes),
            Strike::Kill(nodes) | Strike::SyncError(nodes) => {
                for node in nodes {
                    self.bring_up(node);
                }
            }
            // A paused process goes on by itself: its events were put off until then.
            Strike::Pause(_) | Strike::ClockStep { .. } | Strike::Ambush { .. } => {}
            Strike::SlowDisk { nodes, .. } => {
                for node in nodes {
                    self.slow_down(node);
                }
            }
            Strike::ClockDrift { nodes, .. } => {
                for node in nodes {
                    self.adjust_clock(node);
                }
            }
        }
    }

    /// A fault of the network counts when something was sent into it.
    fn count_stopped(&mut self, place: usize, struck: &Struck) {
        let is_network = matches!(struck.strike, Strike::Network(_));
        if is_network && self.stopped_packets() > struck.stopped {
            self.count_fault(self.setup.plan.faults[place].kind.name());
        }
    }

    /// The run ends: what still lasts is counted, and what links and disks did.
    pub(super) fn count_damage(&mut self) {
        for place in 0..self.strikes.len() {
            if let Some(struck) = self.strikes[place].take() {
                self.count_stopped(place, &struck);
            }
        }
        let links = self.links.counts();
        let mut counts = vec![
            ("packets_lost", links.lost),
            ("packets_duplicated", links.duplicated),
            ("packets_held", links.held),
            ("packets_blocked", links.blocked),
        ];
        for node in &self.nodes {
            let cuts = node.disk.cut_counts();
            counts.extend([
                ("sectors_lost", cuts.lost),
                ("sectors_torn", cuts.torn),
                ("sectors_garbled", cuts.garbled),
                ("lengths_lost", cuts.lengths_lost),
                ("names_lost", cuts.names_lost),
            ]);
        }
        for (kind, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            *self.counts.faults.entry(kind).or_default() += count;
        }
    }

    /// A disk is as slow as the worst of the faults that are on it.
    fn slow_down(&mut self, node: u32) {
        let lasting = self.strikes.iter().flatten().map(|struck| &struck.strike);
        let factors = lasting.filter_map(|strike| match strike {
            Strike::SlowDisk { nodes, factor } if nodes.contains(&node) => Some(*factor),
            _ => None,
        });
        let factor = u64::from(factors.max().unwrap_or(1));
        self.set_slowness(node, factor);
    }

    /// A clock runs as the last fault that is on it has it, or as it usually does.
    fn adjust_clock(&mut self, node: u32) {
        let lasting = self.strikes.iter().flatten().map(|struck| &struck.strike);
        let mut drifts = lasting.filter_map(|strike| match strike {
            Strike::ClockDrift { nodes, drift_ppm } if nodes.contains(&node) => Some(*drift_ppm),
            _ => None,
        });
        let usual = self.setup.plan.clocks[node as usize].drift_ppm;
        let drift_ppm = drifts.next_back().unwrap_or(usual);
        self.set_drift(node, drift_ppm);
    }

    /// A node was elected: whoever lies in wait for that strikes soon.
    pub(super) fn elected(&mut self, node: u32) {
        let incarnation = self.nodes[node as usize].incarnation;
        for struck in self.strikes.iter().flatten() {
            if let Strike::Ambush { lives_ns, down_ns } = &struck.strike {
                let (at, back) = (self.now + lives_ns, self.now + lives_ns + down_ns);
                let death = Event::Assassinate { node, incarnation };
                self.heap.push(at, death);
                self.heap.push(back, Event::Restart { node });
            }
        }
    }

    pub(super) fn assassinate(&mut self, node: u32, incarnation: u32) {
        let is_alive = self.nodes[node as usize].running.is_some();
        if is_alive && self.nodes[node as usize].incarnation == incarnation && !self.is_healed() {
            self.count_fault("ambush");
            self.crash(node, Crash::Kill);
        }
    }

    fn is_healed(&self) -> bool {
        self.now >= self.setup.plan.horizon_ns
    }

    fn set_drift(&mut self, node: u32, drift_ppm: i32) {
        let now = self.now;
        self.nodes[node as usize].clock.set_drift(now, drift_ppm);
        self.rearm(node);
    }

    pub(super) fn crash(&mut self, node: u32, crash: Crash) {
        if self.nodes[node as usize].is_up() {
            self.stop_node(node);
        }
        let machine = &mut self.nodes[node as usize];
        match crash {
            Crash::Kill => machine.disk.kill(),
            Crash::Power => {
                machine.cut_at_vote = None;
                machine.disk.power_cut();
            }
        }
    }

    /// The safety phase is over: every fault has ended, and what is down comes back, the plan's outcasts excepted.
    pub(super) fn heal(&mut self) {
        self.links.calm();
        let now = self.now;
        for outcast in self.setup.plan.outcasts.clone() {
            self.cast_out(&outcast);
        }
        for node in 0..self.nodes.len() as u32 {
            let machine = &mut self.nodes[node as usize];
            machine.paused_until = now;
            machine.disk.repair();
            machine.cut_at_vote = None;
            machine.disk.keep_power();
            self.bring_up(node);
        }
        self.healed();
    }

    /// One of the outcasts stays unwell. Where nothing keeps a node that is half connected from disturbing the others,
    /// it is cut off instead: such a cluster need not settle.
    fn cast_out(&mut self, outcast: &Outcast) {
        let node = outcast.node;
        let raft = &self.setup.settings.raft;
        let is_guarded = raft.pre_vote && raft.check_quorum;
        let others: Vec<u32> = (0..self.setup.plan.nodes).filter(|n| *n != node).collect();
        let side = vec![node];
        let disturbance = match outcast.kind {
            Affliction::Down => {
                self.crash(node, Crash::Kill);
                return;
            }
            Affliction::Deaf if is_guarded => Disturbance::OneWay {
                from: others,
                to: side,
            },
            Affliction::Mute if is_guarded => Disturbance::OneWay {
                from: side,
                to: others,
            },
            Affliction::Bridged { to } if is_guarded => Disturbance::Bridge { side, bridge: to },
            _ => Disturbance::Partition { side },
        };
        self.links.disturb(OUTCASTS + node, disturbance);
    }

    /// Whether the plan has this node down for good.
    pub(super) fn is_given_up(&self, node: u32) -> bool {
        let mut outcasts = self.setup.plan.outcasts.iter();
        let is_down = outcasts.any(|o| o.node == node && o.kind == Affliction::Down);
        is_down && self.is_healed()
    }

    pub(super) fn schedule_faults(&mut self) {
        for step in self.setup.plan.steps() {
            self.heap.push(step.at_ns, Event::Fault(step));
        }
    }
}

/// What a fault of the plan does while it lasts.
#[derive(Clone, Debug)]
pub(super) struct Struck {
    pub strike: Strike,
    /// How many packets had been stopped when it began.
    stopped: u64,
}

/// How a process ends.
#[derive(Clone, Copy)]
pub(super) enum Crash {
    Kill,
    Power,
}

fn lanes(strike: &Strike) -> Vec<u32> {
    match strike {
        Strike::Network(disturbance) => disturbance.endpoints().collect(),
        Strike::Kill(nodes)
        | Strike::PowerCut(nodes)
        | Strike::Pause(nodes)
        | Strike::SyncError(nodes)
        | Strike::SlowDisk { nodes, .. }
        | Strike::ClockStep { nodes, .. }
        | Strike::ClockDrift { nodes, .. } => nodes.clone(),
        Strike::Ambush { .. } => Vec::new(),
    }
}

fn struck(strike: &Strike) -> u64 {
    lanes(strike)
        .into_iter()
        .fold(0, |mask, node| mask | 1 << (node % 64))
}
