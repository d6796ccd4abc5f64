//! The plan's faults, as they strike this world.

use super::{
    cluster::{Cluster, Event},
    words,
    workload::Workload,
};
use crate::{
    disk::DiskFault,
    plan::{Phase, Step, Strike},
};
use holdfast_record::TimelineEvent;

impl<W: Workload> Cluster<W> {
    pub(super) fn fault_step(&mut self, step: Step) {
        match step.phase {
            Phase::Begin => self.fault_begins(step.fault),
            Phase::End => self.fault_ends(step.fault),
        }
    }

    fn leader(&self) -> Option<u32> {
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
        self.count_fault(fault.kind.name());
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
        match &strike {
            Strike::Network(disturbance) => {
                self.links.disturb(fault.id, disturbance.clone());
            }
            Strike::Kill(nodes) => {
                for &node in nodes {
                    self.crash(node, Crash::Kill);
                }
            }
            // Elections are seen as they happen.
            Strike::Ambush { .. } => {}
            Strike::PowerCut(nodes) => {
                if nodes.len() == self.nodes.len() {
                    self.mark("all-nodes-lost-power");
                }
                for &node in nodes {
                    self.crash(node, Crash::Power);
                }
            }
            Strike::Pause(nodes) => {
                for &node in nodes {
                    let node = &mut self.nodes[node as usize];
                    node.paused_until = node.paused_until.max(until);
                }
            }
            Strike::SlowDisk { nodes, factor } => {
                for &node in nodes {
                    self.nodes[node as usize].slowness = u64::from(*factor);
                }
            }
            Strike::SyncError(nodes) => {
                for &node in nodes {
                    self.nodes[node as usize].disk.inject(DiskFault::Sync);
                }
            }
            Strike::ClockStep { nodes, delta_ns } => {
                if *delta_ns < 0 {
                    self.mark("wall-clock-went-back");
                }
                for &node in nodes {
                    self.nodes[node as usize].clock.step(*delta_ns);
                }
            }
            Strike::ClockDrift { nodes, drift_ppm } => {
                for &node in nodes {
                    self.set_drift(node, *drift_ppm);
                }
            }
        }
        self.strikes[place] = Some(strike);
    }

    fn fault_ends(&mut self, place: usize) {
        let Some(strike) = self.strikes[place].take() else {
            return;
        };
        let id = self.setup.plan.faults[place].id;
        match strike {
            Strike::Network(_) => self.links.heal(id),
            Strike::Kill(nodes) | Strike::PowerCut(nodes) | Strike::SyncError(nodes) => {
                for node in nodes {
                    if self.nodes[node as usize].running.is_none() {
                        self.start_node(node);
                    }
                }
            }
            // A paused process goes on by itself: its events were put off until then.
            Strike::Pause(_) | Strike::ClockStep { .. } | Strike::Ambush { .. } => {}
            Strike::SlowDisk { nodes, .. } => {
                for node in nodes {
                    self.nodes[node as usize].slowness = 1;
                }
            }
            Strike::ClockDrift { nodes, .. } => {
                for node in nodes {
                    let usual = self.setup.plan.clocks[node as usize].drift_ppm;
                    self.set_drift(node, usual);
                }
            }
        }
    }

    /// A node was elected: whoever lies in wait for that strikes soon.
    pub(super) fn elected(&mut self, node: u32) {
        let incarnation = self.nodes[node as usize].incarnation;
        for strike in self.strikes.iter().flatten() {
            if let Strike::Ambush { lives_ns, down_ns } = strike {
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
            self.count_fault("kill");
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
        if self.nodes[node as usize].running.is_some() {
            self.stop_node(node);
        }
        let disk = &mut self.nodes[node as usize].disk;
        match crash {
            Crash::Kill => disk.kill(),
            Crash::Power => {
                disk.power_cut();
            }
        }
    }

    /// The safety phase is over: every fault has ended, and what is down comes back.
    pub(super) fn heal(&mut self) {
        self.links.calm();
        let now = self.now;
        for node in 0..self.nodes.len() as u32 {
            self.nodes[node as usize].paused_until = now;
            self.nodes[node as usize].disk.repair();
            if self.nodes[node as usize].running.is_none() {
                self.start_node(node);
            }
        }
    }

    pub(super) fn schedule_faults(&mut self) {
        for step in self.setup.plan.steps() {
            self.heap.push(step.at_ns, Event::Fault(step));
        }
    }
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
