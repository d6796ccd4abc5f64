//! The recipes: how each episode is made of faults.

use super::{Fault, FaultKind, Menu, Recipe, Target};
use crate::draw::Draws;

const MS: u64 = 1_000_000;

/// The episodes of one plan while it is drawn.
pub(super) struct Episodes<'a> {
    menu: &'a Menu,
    /// The largest drift of a clock, parts per million.
    drift: u32,
    nodes: u32,
    faults: Vec<Fault>,
    /// Who may be down when: beginning, end, how many.
    down: Vec<(u64, u64, u32)>,
}

impl<'a> Episodes<'a> {
    pub(super) fn new(menu: &'a Menu, drift: u32, nodes: u32) -> Self {
        Episodes {
            menu,
            drift,
            nodes,
            faults: Vec::new(),
            down: Vec::new(),
        }
    }

    /// Adds one episode from `at` on and says when its last fault begins or ends.
    pub(super) fn cook(&mut self, recipe: Recipe, at: u64, draws: &mut Draws) -> u64 {
        match recipe {
            Recipe::Partition => self.partition(at, draws),
            Recipe::Flap => self.flap(at, draws),
            Recipe::Bridge => self.bridge(at, draws),
            Recipe::OneWay => self.one_way(at, draws),
            Recipe::Depose => self.depose(at, draws),
            Recipe::Ambush => self.ambush(at, draws),
            Recipe::Splinter => self.splinter(at, draws),
            Recipe::LeaderHunt => self.leader_hunt(at, draws),
            Recipe::Kill => {
                let targets = self.someone(draws);
                self.kill(at, draws, targets)
            }
            Recipe::RollingKills => self.rolling_kills(at, draws),
            Recipe::CrashLoop => self.crash_loop(at, draws),
            Recipe::PowerCut => {
                let targets = self.someone(draws);
                self.power_cut(at, draws, targets)
            }
            Recipe::Blackout => self.blackout(at, draws),
            Recipe::Pause => {
                let targets = self.someone(draws);
                let until = at + draws.magnitude(50 * MS, 8_000 * MS);
                self.add(at, until, FaultKind::Pause { targets })
            }
            Recipe::Swizzle => self.swizzle(at, draws),
            Recipe::LossBurst => self.loss_burst(at, draws),
            Recipe::SlowDisk => self.slow_disk(at, draws),
            Recipe::SyncError => {
                let targets = self.someone(draws);
                let until = at + down_time(draws);
                self.add(at, until, FaultKind::SyncError { targets })
            }
            Recipe::ClockStep => self.clock_step(at, draws),
            Recipe::ClockDrift => self.clock_drift(at, draws),
        }
    }

    /// The faults in order of their beginning; numbered as they were drawn.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        self.faults.truncate(super::MAX_FAULTS);
        self.faults.sort_by_key(|fault| (fault.at_ns, fault.id));
        self.faults
    }

    /// Adds a fault, unless it would begin after the horizon, and returns its end.
    fn add(&mut self, at: u64, until: u64, kind: FaultKind) -> u64 {
        let horizon = self.menu.horizon_ns;
        if at < horizon {
            let lasts = kind.lasts() && until < horizon;
            self.faults.push(Fault {
                id: self.faults.len() as u32,
                at_ns: at,
                until_ns: lasts.then_some(until),
                kind,
            });
        }
        until
    }

    /// Adds a fault that takes `count` nodes down, if the menu lets so many be down at once.
    fn take_down(&mut self, at: u64, until: u64, count: u32, kind: FaultKind) -> u64 {
        let most = self.menu.max_down.unwrap_or(u32::MAX);
        let already: u32 = self
            .down
            .iter()
            .filter(|(from, to, _)| *from < until && at < *to)
            .map(|(_, _, count)| count)
            .sum();
        if already.saturating_add(count) > most {
            return at;
        }
        self.down.push((at, until, count));
        self.add(at, until, kind)
    }

    fn kill(&mut self, at: u64, draws: &mut Draws, targets: Vec<Target>) -> u64 {
        let until = at + down_time(draws);
        self.take_down(at, until, 1, FaultKind::Kill { targets })
    }

    fn power_cut(&mut self, at: u64, draws: &mut Draws, targets: Vec<Target>) -> u64 {
        let until = at + down_time(draws);
        self.take_down(at, until, 1, FaultKind::PowerCut { targets })
    }

    /// One node: often whoever leads.
    fn someone(&self, draws: &mut Draws) -> Vec<Target> {
        let node = draws.range(0, u64::from(self.nodes)) as u32;
        vec![match draws.range(0, 10) {
            0..5 => Target::Leader,
            5..8 => Target::Follower,
            _ => Target::Node(node),
        }]
    }

    /// One side of a partition, neither empty nor everybody while there are two nodes.
    fn side(&self, draws: &mut Draws) -> Vec<Target> {
        let most = u64::from(self.nodes.max(2));
        if draws.chance(0.5) {
            // The leader with less than half of the nodes: it goes on leading, in vain.
            let minority = draws.range(1, most / 2 + 1) as usize;
            let mut side = vec![Target::Leader];
            side.resize(minority, Target::Follower);
            return side;
        }
        let mut nodes: Vec<u32> = (0..self.nodes).collect();
        draws.shuffle(&mut nodes);
        let size = draws.range(1, most) as usize;
        nodes.truncate(size);
        nodes.sort_unstable();
        nodes.into_iter().map(Target::Node).collect()
    }

    fn partition(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let side = self.side(draws);
        let until = at + draws.magnitude(500 * MS, 8_000 * MS);
        self.add(at, until, FaultKind::Partition { side })
    }

    fn flap(&mut self, mut at: u64, draws: &mut Draws) -> u64 {
        let side = self.side(draws);
        for _ in 0..draws.range(2, 6) {
            let until = at + draws.magnitude(100 * MS, 1_500 * MS);
            let side = side.clone();
            self.add(at, until, FaultKind::Partition { side });
            at = until + draws.magnitude(50 * MS, 1_000 * MS);
        }
        at
    }

    fn bridge(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let mut side = self.side(draws);
        // Beside the bridge there is somebody to be separated from.
        side.truncate((self.nodes.max(3) - 2) as usize);
        let bridge = match draws.chance(0.3) {
            true => Target::Leader,
            false => Target::Follower,
        };
        let until = at + draws.magnitude(1_000 * MS, 8_000 * MS);
        self.add(at, until, FaultKind::Bridge { side, bridge })
    }

    fn one_way(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let some = self.someone(draws);
        let others = match draws.chance(0.6) {
            true => vec![Target::All],
            false => vec![Target::Follower],
        };
        let (from, to) = match draws.chance(0.5) {
            true => (some, others),
            false => (others, some),
        };
        let until = at + draws.magnitude(500 * MS, 6_000 * MS);
        self.add(at, until, FaultKind::OneWay { from, to })
    }

    fn depose(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let tempo = self.menu.tempo_ns;
        let targets = vec![Target::Leader];
        let cut = match draws.chance(0.3) {
            true => FaultKind::Isolate { targets },
            false => FaultKind::Partition { side: targets },
        };
        let healed = self.add(at, at + draws.magnitude(2 * tempo, 10 * tempo), cut);
        // Around the moment at which the old leader is back.
        let strike = healed - tempo / 2 + draws.range(0, 2 * tempo);
        let targets = vec![Target::Leader];
        match draws.chance(0.5) {
            true => self.kill(strike, draws, targets),
            false => self.power_cut(strike, draws, targets),
        };
        healed.max(strike)
    }

    fn splinter(&mut self, mut at: u64, draws: &mut Draws) -> u64 {
        let tempo = self.menu.tempo_ns;
        let majority = u64::from(self.nodes / 2 + 1);
        for _ in 0..draws.range(3, 9) {
            // The leader and some followers, up to a majority; what the others lack differs from round to round.
            let mut side = vec![Target::Leader];
            side.resize(draws.range(1, majority + 1) as usize, Target::Follower);
            let lonely = draws.magnitude(tempo / 8 + 1, 3 * tempo);
            self.add(at, at + lonely, FaultKind::Partition { side });
            let targets = vec![Target::Leader];
            let strike = at + lonely;
            let back = strike + draws.magnitude(tempo / 4 + 1, 6 * tempo);
            let kind = match draws.chance(0.5) {
                true => FaultKind::Kill { targets },
                false => FaultKind::PowerCut { targets },
            };
            self.take_down(strike, back, 1, kind);
            at = strike + draws.magnitude(tempo / 4 + 1, 4 * tempo);
        }
        at
    }

    fn ambush(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let tempo = self.menu.tempo_ns;
        let until = at + draws.magnitude(5 * tempo, 40 * tempo);
        let lives_ns = draws.magnitude(MS, tempo / 2 + 2 * MS);
        let down_ns = draws.magnitude(tempo / 4 + 1, 10 * tempo);
        self.add(at, until, FaultKind::Ambush { lives_ns, down_ns })
    }

    fn leader_hunt(&mut self, mut at: u64, draws: &mut Draws) -> u64 {
        let tempo = self.menu.tempo_ns;
        for _ in 0..draws.range(2, 6) {
            let targets = vec![Target::Leader];
            let until = at + draws.magnitude(tempo / 2 + 1, 8 * tempo);
            match draws.range(0, 6) {
                0 => self.add(at, until, FaultKind::Isolate { targets }),
                1 => self.add(at, until, FaultKind::Partition { side: targets }),
                2 => self.add(at, until, FaultKind::Pause { targets }),
                3 => {
                    let to = vec![Target::All];
                    self.add(at, until, FaultKind::OneWay { from: targets, to })
                }
                4 => self.kill(at, draws, targets),
                _ => self.power_cut(at, draws, targets),
            };
            at += draws.magnitude(tempo / 4 + 1, 5 * tempo);
        }
        at
    }

    fn rolling_kills(&mut self, mut at: u64, draws: &mut Draws) -> u64 {
        let mut nodes: Vec<u32> = (0..self.nodes).collect();
        draws.shuffle(&mut nodes);
        nodes.truncate(7);
        let overlap = draws.chance(0.5);
        for node in nodes {
            let back = self.kill(at, draws, vec![Target::Node(node)]);
            let pause = draws.magnitude(50 * MS, 1_500 * MS);
            at = if overlap { at } else { back } + pause;
        }
        at
    }

    fn crash_loop(&mut self, mut at: u64, draws: &mut Draws) -> u64 {
        let node = draws.range(0, u64::from(self.nodes)) as u32;
        for _ in 0..draws.range(2, 6) {
            let targets = vec![Target::Node(node)];
            let until = at + draws.magnitude(50 * MS, 1_000 * MS);
            let kind = match draws.chance(0.5) {
                true => FaultKind::Kill { targets },
                false => FaultKind::PowerCut { targets },
            };
            // Soon enough to hit a recovery that has just begun.
            at = self.take_down(at, until, 1, kind) + draws.magnitude(MS, 1_000 * MS);
        }
        at
    }

    fn blackout(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let mut nodes: Vec<u32> = (0..self.nodes).collect();
        draws.shuffle(&mut nodes);
        if draws.chance(0.25) && nodes.len() > 1 {
            nodes.pop();
        }
        let together = at + down_time(draws);
        if draws.chance(0.5) {
            let count = nodes.len() as u32;
            nodes.sort_unstable();
            let targets = match count == self.nodes {
                true => vec![Target::All],
                false => nodes.into_iter().map(Target::Node).collect(),
            };
            return self.take_down(at, together, count, FaultKind::PowerCut { targets });
        }
        // Power goes at once and comes back house by house.
        let mut last = at;
        for node in nodes {
            let targets = vec![Target::Node(node)];
            last = last.max(self.power_cut(at, draws, targets));
        }
        last
    }

    fn swizzle(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let mut nodes: Vec<u32> = (0..self.nodes).collect();
        draws.shuffle(&mut nodes);
        let size = draws.range(1, u64::from(self.nodes) + 1).min(7) as usize;
        nodes.truncate(size);
        let mut ends: Vec<u64> = Vec::new();
        let mut clogged = at + (nodes.len() as u64) * 300 * MS;
        for _ in &nodes {
            clogged += draws.magnitude(20 * MS, 1_500 * MS);
            ends.push(clogged);
        }
        draws.shuffle(&mut ends);
        let mut begin = at;
        for (node, end) in nodes.into_iter().zip(ends) {
            let (mut from, mut to) = (vec![Target::Node(node)], vec![Target::All]);
            if draws.chance(0.5) {
                std::mem::swap(&mut from, &mut to);
            }
            self.add(begin, end, FaultKind::Hold { from, to });
            begin += draws.range(MS, 300 * MS);
        }
        clogged
    }

    fn loss_burst(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let all = vec![Target::All];
        let (from, to) = match draws.range(0, 3) {
            0 => (all.clone(), all),
            1 => (self.someone(draws), all),
            _ => (all, self.someone(draws)),
        };
        let probability = draws.range(100, 900) as f64 / 1_000.0;
        let until = at + draws.magnitude(500 * MS, 8_000 * MS);
        self.add(
            at,
            until,
            FaultKind::Loss {
                from,
                to,
                probability,
            },
        )
    }

    fn slow_disk(&mut self, at: u64, draws: &mut Draws) -> u64 {
        if draws.chance(0.3) {
            return self.slow_voter(at, draws);
        }
        let targets = self.someone(draws);
        let factor = draws.magnitude(3, 100) as u32;
        let until = at + draws.magnitude(500 * MS, 8_000 * MS);
        let kind = FaultKind::SlowDisk { targets, factor };
        self.add(at, until, kind);
        if draws.chance(0.4) {
            let targets = self.someone(draws);
            let strike = draws.range(at, until);
            self.power_cut(strike, draws, targets);
        }
        until
    }

    /// A node whose disk takes longer for one batch than an election takes: entries, the next term and more entries come
    /// to wait for one and the same batch, and power fails there.
    fn slow_voter(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let tempo = self.menu.tempo_ns;
        let slow = Target::Node(draws.range(0, u64::from(self.nodes)) as u32);
        let factor = draws.magnitude(100, 2_000) as u32;
        let until = at + draws.magnitude(6 * tempo, 30 * tempo);
        let targets = vec![slow];
        self.add(at, until, FaultKind::SlowDisk { targets, factor });
        let election = at + draws.magnitude(tempo / 2 + 1, 3 * tempo);
        self.kill(election, draws, vec![Target::Leader]);
        let strike = election + draws.range(0, 2 * tempo);
        self.power_cut(strike, draws, vec![slow]);
        until
    }

    fn clock_step(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let targets = self.someone(draws);
        let most = self.menu.max_step_ns;
        if most > 0 {
            let size = draws.magnitude(most.min(MS), most) as i64;
            let delta_ns = if draws.chance(0.5) { size } else { -size };
            self.add(at, at, FaultKind::ClockStep { targets, delta_ns });
        }
        at
    }

    fn clock_drift(&mut self, at: u64, draws: &mut Draws) -> u64 {
        if draws.chance(0.5) {
            return self.slow_leader(at, draws);
        }
        let targets = self.someone(draws);
        let most = self.drift as i32;
        let drift_ppm = if draws.chance(0.5) { most } else { -most };
        let until = at + draws.magnitude(1_000 * MS, 20_000 * MS);
        self.add(at, until, FaultKind::ClockDrift { targets, drift_ppm })
    }

    /// The leader's clock is as slow and the others' are as fast as may be, and then it is cut off, again and again:
    /// while it thinks that its lease lasts, the others have waited long enough.
    fn slow_leader(&mut self, at: u64, draws: &mut Draws) -> u64 {
        let (tempo, most) = (self.menu.tempo_ns, self.drift as i32);
        let others = vec![Target::Follower; self.nodes.clamp(2, 10) as usize - 1];
        let mut strike = at;
        for _ in 0..draws.range(2, 5) {
            strike += draws.magnitude(tempo / 2 + 1, 8 * tempo);
            let healed = strike + draws.magnitude(2 * tempo, 10 * tempo);
            for (targets, drift_ppm) in [(vec![Target::Leader], -most), (others.clone(), most)] {
                self.add(strike, healed, FaultKind::ClockDrift { targets, drift_ppm });
            }
            let side = vec![Target::Leader];
            self.add(strike + 1, healed, FaultKind::Partition { side });
            strike = healed;
        }
        strike
    }
}

/// How long a node is down.
fn down_time(draws: &mut Draws) -> u64 {
    draws.magnitude(100 * MS, 5_000 * MS)
}
