//! Single faults: what they are, whom they hit, and what that means once it is known who leads.

use crate::{
    draw::{Domain, Draws},
    link::Disturbance,
};
use serde::{Deserialize, Serialize};

/// Whom a fault hits. Who that is gets decided when the fault begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This node.
    Node(u32),
    /// Who leads; a random node when nobody does.
    Leader,
    /// A random node that does not lead and that the fault does not hit yet.
    Follower,
    /// Every node.
    All,
}

/// What happens. Those that last end at the fault's `until_ns`, or with the safety phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// The nodes of `side` and the others cannot talk; clients reach all. Lasts.
    Partition {
        /// One side.
        side: Vec<Target>,
    },
    /// The same, but one node talks with both sides. Lasts.
    Bridge {
        /// One side.
        side: Vec<Target>,
        /// The node between.
        bridge: Target,
    },
    /// Nobody, clients included, can talk with these. Lasts.
    Isolate {
        /// Whom.
        targets: Vec<Target>,
    },
    /// Packets from these to those are lost, the other direction works. Lasts.
    OneWay {
        /// Senders.
        from: Vec<Target>,
        /// Receivers.
        to: Vec<Target>,
    },
    /// Packets from these to those wait and are let go at the end. Lasts.
    Hold {
        /// Senders.
        from: Vec<Target>,
        /// Receivers.
        to: Vec<Target>,
    },
    /// More packets from these to those are lost. Lasts.
    Loss {
        /// Senders.
        from: Vec<Target>,
        /// Receivers.
        to: Vec<Target>,
        /// Of each packet, on top of the profile's.
        probability: f64,
    },
    /// The processes end; what they wrote stays in the page cache. They are started at the end.
    Kill {
        /// Whom.
        targets: Vec<Target>,
    },
    /// Whoever is elected while this lasts dies soon afterwards, before it has done much, and is started again.
    Ambush {
        /// How long a leader lives, nanoseconds.
        lives_ns: u64,
        /// How long it is down, nanoseconds.
        down_ns: u64,
    },
    /// The machines lose power, all at the same moment; what was not synced is at risk. They are started at the end.
    PowerCut {
        /// Whom.
        targets: Vec<Target>,
    },
    /// The processes stand still, then go on as if nothing had been. Lasts.
    Pause {
        /// Whom.
        targets: Vec<Target>,
    },
    /// The disks take so many times as long. Lasts.
    SlowDisk {
        /// Whom.
        targets: Vec<Target>,
        /// How many times.
        factor: u32,
    },
    /// The next sync of a file fails. A node that stops because of it is started at the end.
    SyncError {
        /// Whom.
        targets: Vec<Target>,
    },
    /// The wall clocks are moved, once.
    ClockStep {
        /// Whom.
        targets: Vec<Target>,
        /// By how much, nanoseconds; negative: backwards.
        delta_ns: i64,
    },
    /// Both clocks run at another rate, in place of the profile's. Lasts.
    ClockDrift {
        /// Whom.
        targets: Vec<Target>,
        /// Parts per million; negative: slow.
        drift_ppm: i32,
    },
}

/// One fault of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Its number, unique in the plan. What the fault draws depends on it and not on its place in the list, so that
    /// removing others changes nothing.
    pub id: u32,
    /// When it begins.
    pub at_ns: u64,
    /// When it ends; absent: with the safety phase. Never present for what does not last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<u64>,
    /// What happens.
    pub kind: FaultKind,
}

/// A node that stays unwell when the faults end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcast {
    /// Which.
    pub node: u32,
    /// What ails it.
    pub kind: Affliction,
}

/// What ails a node in the liveness phase. Clients reach it all the same, unless it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Affliction {
    /// Its process has ended.
    Down,
    /// No packet gets to another node, or from one.
    CutOff,
    /// It hears no other node, and is heard.
    Deaf,
    /// It hears the other nodes, and is not heard.
    Mute,
    /// It talks with one node only.
    Bridged {
        /// Which.
        to: u32,
    },
}

/// A fault whose targets are known: what a world has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Strike {
    /// Pass it to [`Links::disturb`](crate::link::Links::disturb) under the fault's id, and heal it at the end.
    Network(Disturbance),
    /// End these processes, start them at the end.
    Kill(Vec<u32>),
    /// Until the end kill each new leader after so many nanoseconds, and start it after so many more.
    Ambush {
        /// How long a leader lives.
        lives_ns: u64,
        /// How long it is down.
        down_ns: u64,
    },
    /// Cut these machines' power, start them at the end.
    PowerCut(Vec<u32>),
    /// Stop these processes, let them go on at the end.
    Pause(Vec<u32>),
    /// Slow these disks down until the end.
    SlowDisk {
        /// Whose.
        nodes: Vec<u32>,
        /// How many times as slow.
        factor: u32,
    },
    /// Let the next sync of these disks fail; start, at the end, who stopped because of it.
    SyncError(Vec<u32>),
    /// Step these wall clocks.
    ClockStep {
        /// Whose.
        nodes: Vec<u32>,
        /// By how much, nanoseconds.
        delta_ns: i64,
    },
    /// Let these clocks run at another rate until the end.
    ClockDrift {
        /// Whose.
        nodes: Vec<u32>,
        /// Parts per million.
        drift_ppm: i32,
    },
}

impl Strike {
    /// Whom it strikes, as endpoints; of a network fault those that it names, some twice.
    pub fn endpoints(&self) -> Vec<u32> {
        match self {
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
}

impl FaultKind {
    /// Its name, as in the plan's JSON and in reports.
    pub fn name(&self) -> &'static str {
        match self {
            FaultKind::Partition { .. } => "partition",
            FaultKind::Bridge { .. } => "bridge",
            FaultKind::Isolate { .. } => "isolate",
            FaultKind::OneWay { .. } => "one_way",
            FaultKind::Hold { .. } => "hold",
            FaultKind::Loss { .. } => "loss",
            FaultKind::Kill { .. } => "kill",
            FaultKind::Ambush { .. } => "ambush",
            FaultKind::PowerCut { .. } => "power_cut",
            FaultKind::Pause { .. } => "pause",
            FaultKind::SlowDisk { .. } => "slow_disk",
            FaultKind::SyncError { .. } => "sync_error",
            FaultKind::ClockStep { .. } => "clock_step",
            FaultKind::ClockDrift { .. } => "clock_drift",
        }
    }

    /// Whether it has an end at which a world must do something.
    pub fn lasts(&self) -> bool {
        !matches!(self, FaultKind::ClockStep { .. })
    }

    /// All targets, by the field that names them.
    pub(super) fn targets(&self) -> Vec<(&'static str, &[Target])> {
        match self {
            FaultKind::Partition { side } => vec![("side", side)],
            FaultKind::Bridge { side, bridge } => {
                vec![("side", side), ("bridge", std::slice::from_ref(bridge))]
            }
            FaultKind::OneWay { from, to }
            | FaultKind::Hold { from, to }
            | FaultKind::Loss { from, to, .. } => vec![("from", from), ("to", to)],
            FaultKind::Isolate { targets }
            | FaultKind::Kill { targets }
            | FaultKind::PowerCut { targets }
            | FaultKind::Pause { targets }
            | FaultKind::SlowDisk { targets, .. }
            | FaultKind::SyncError { targets }
            | FaultKind::ClockStep { targets, .. }
            | FaultKind::ClockDrift { targets, .. } => vec![("targets", targets)],
            FaultKind::Ambush { .. } => Vec::new(),
        }
    }
}

impl Fault {
    /// When the fault ends in a plan with this horizon.
    pub fn ends(&self, horizon_ns: u64) -> u64 {
        self.until_ns.unwrap_or(horizon_ns).min(horizon_ns)
    }

    pub(super) fn strike(
        &self,
        seed: u64,
        nodes: u32,
        leader: Option<u32>,
        horizon_ns: u64,
    ) -> Strike {
        let mut cast = Cast {
            nodes,
            leader,
            draws: Draws::new(seed, Domain::Target, u64::from(self.id)),
        };
        match &self.kind {
            FaultKind::Partition { side } => Strike::Network(Disturbance::Partition {
                side: cast.nodes(side),
            }),
            FaultKind::Bridge { side, bridge } => {
                let side = cast.nodes(side);
                let bridge = cast.bridge(*bridge, &side);
                Strike::Network(Disturbance::Bridge { side, bridge })
            }
            FaultKind::Isolate { targets } => Strike::Network(Disturbance::Isolate {
                endpoints: cast.nodes(targets),
            }),
            FaultKind::OneWay { from, to } => {
                let (from, to) = cast.both(from, to);
                Strike::Network(Disturbance::OneWay { from, to })
            }
            FaultKind::Hold { from, to } => {
                let (from, to) = cast.both(from, to);
                let until = self.ends(horizon_ns);
                Strike::Network(Disturbance::Hold { from, to, until })
            }
            FaultKind::Loss {
                from,
                to,
                probability,
            } => {
                let (from, to) = cast.both(from, to);
                Strike::Network(Disturbance::Loss {
                    from,
                    to,
                    probability: *probability,
                })
            }
            FaultKind::Kill { targets } => Strike::Kill(cast.nodes(targets)),
            FaultKind::Ambush { lives_ns, down_ns } => Strike::Ambush {
                lives_ns: *lives_ns,
                down_ns: *down_ns,
            },
            FaultKind::PowerCut { targets } => Strike::PowerCut(cast.nodes(targets)),
            FaultKind::Pause { targets } => Strike::Pause(cast.nodes(targets)),
            FaultKind::SlowDisk { targets, factor } => Strike::SlowDisk {
                nodes: cast.nodes(targets),
                factor: *factor,
            },
            FaultKind::SyncError { targets } => Strike::SyncError(cast.nodes(targets)),
            FaultKind::ClockStep { targets, delta_ns } => Strike::ClockStep {
                nodes: cast.nodes(targets),
                delta_ns: *delta_ns,
            },
            FaultKind::ClockDrift { targets, drift_ppm } => Strike::ClockDrift {
                nodes: cast.nodes(targets),
                drift_ppm: *drift_ppm,
            },
        }
    }
}

/// Who plays which part at the moment a fault begins.
struct Cast {
    nodes: u32,
    leader: Option<u32>,
    draws: Draws,
}

impl Cast {
    /// The nodes that these targets mean, each once, in increasing order.
    fn nodes(&mut self, targets: &[Target]) -> Vec<u32> {
        self.nodes_beside(targets, &[])
    }

    /// Senders and receivers; a random receiver is not a sender.
    fn both(&mut self, from: &[Target], to: &[Target]) -> (Vec<u32>, Vec<u32>) {
        let from = self.nodes(from);
        let to = self.nodes_beside(to, &from);
        (from, to)
    }

    /// The node between `side` and the others: one of the others, since one of the side would block nothing.
    fn bridge(&mut self, target: Target, side: &[u32]) -> u32 {
        let bridge = self.one(target, side);
        if matches!(target, Target::Node(_)) || !side.contains(&bridge) {
            return bridge;
        }
        self.one(Target::Follower, side)
    }

    fn nodes_beside(&mut self, targets: &[Target], others: &[u32]) -> Vec<u32> {
        let mut nodes: Vec<u32> = Vec::new();
        for target in targets {
            let mut hit = others.to_vec();
            hit.extend(&nodes);
            match target {
                Target::All => nodes.extend(0..self.nodes),
                target => nodes.push(self.one(*target, &hit)),
            }
        }
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// One node for one target; `hit` are those that a random choice avoids while it can. Always draws once for each
    /// symbolic target, so that the choice for the next one does not depend on who leads.
    fn one(&mut self, target: Target, hit: &[u32]) -> u32 {
        let leader = match target {
            Target::Node(node) => return node,
            Target::Leader => None,
            Target::Follower | Target::All => self.leader,
        };
        let bits = self.draws.bits();
        if let (Target::Leader, Some(leader)) = (target, self.leader) {
            return leader;
        }
        let free: Vec<u32> = (0..self.nodes)
            .filter(|node| Some(*node) != leader && !hit.contains(node))
            .collect();
        match free.is_empty() {
            true => (bits % u64::from(self.nodes)) as u32,
            false => free[(bits % free.len() as u64) as usize],
        }
    }
}
