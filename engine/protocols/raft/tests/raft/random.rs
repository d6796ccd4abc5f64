//! Random lives of a group: messages are late, lost and repeated, disks slow, nodes restart. What Raft promises
//! (figure 3 of the paper) is checked after every step.

use crate::world::{Platter, TICK, World, config, voters};
use bytes::Bytes;
use holdfast_raft::{Config, Entry, Index, Mode, Mutant, NodeId, Role, SnapshotStatus, Term};
use rand::Rng;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

struct Life {
    rng: ChaCha8Rng,
    world: World,
    count: u64,
    is_async: bool,
    /// What is committed, by index, as soon as any node says so.
    committed: BTreeMap<Index, Entry>,
    /// Terms whose leader was looked at.
    checked: BTreeSet<Term>,
    /// Read by whom, under which name, and how much was committed before it began.
    reads: BTreeMap<(NodeId, u64), Index>,
    proposals: u64,
}

impl Life {
    fn new(seed: u64, change: impl Fn(&mut Config)) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = [1, 2, 3, 3, 5][rng.random_range(0..5)];
        let ids: Vec<NodeId> = (1..=count).collect();
        let (strict, is_async) = (rng.random_bool(0.5), rng.random_bool(0.7));
        let mut world = World {
            is_async,
            ..World::default()
        };
        for id in &ids {
            let mut config = config(*id, voters(&ids));
            config.pre_vote = strict;
            config.check_quorum = strict;
            config.lease_reads = strict;
            config.max_inflight_messages = 4;
            config.max_append_bytes = 10;
            change(&mut config);
            world.add(config, Platter::default());
        }
        Life {
            rng,
            world,
            count,
            is_async,
            committed: BTreeMap::new(),
            checked: BTreeSet::new(),
            reads: BTreeMap::new(),
            proposals: 0,
        }
    }

    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            let id = self.rng.random_range(1..=self.count);
            self.step(id);
            self.check(id);
        }
    }

    fn step(&mut self, id: NodeId) {
        match self.rng.random_range(0..100) {
            0..35 => self.deliver(),
            35..60 => {
                self.world.act(id);
            }
            60..72 if self.is_async && self.world.node(id).is_writing() => {
                self.world.write(id);
            }
            72..84 => self.world.acknowledge(id),
            84..92 => {
                // Time is the same everywhere, or leases could not be relied on.
                let time = self.rng.random_range(1..TICK);
                for id in 1..=self.count {
                    self.world.pass(id, time);
                }
            }
            92..96 => {
                self.proposals += 1;
                let payload = Bytes::from(format!("{}", self.proposals));
                let _ = self
                    .world
                    .call(id, |raft, now| raft.propose(now, vec![payload]));
            }
            96 => {
                let (name, known) = (self.reads.len() as u64, self.last_committed());
                if self
                    .world
                    .call(id, |raft, now| raft.read(now, name))
                    .is_ok()
                {
                    self.reads.insert((id, name), known);
                }
            }
            97 => {
                let applied = self.world.raft(id).applied();
                // What is being written must not be compacted by the test's short way.
                if applied > 0 && !self.world.node(id).is_writing() {
                    self.world.compact(id, applied.saturating_sub(2));
                }
            }
            98 if self.rng.random_bool(0.3) => self.world.restart(id),
            99 => {
                let to = self.rng.random_range(1..=self.count);
                self.world
                    .call(id, |raft, now| raft.transfer_leader(now, to));
            }
            _ => {}
        }
    }

    /// Any message on the way: delivered, lost, or delivered and kept for another time.
    fn deliver(&mut self) {
        if self.world.network.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.world.network.len());
        let message = self.world.network.swap_remove(at);
        match self.rng.random_range(0..20) {
            0..2 => {}
            2 => {
                self.world.network.push(message.clone());
                self.world.hand_over(message);
            }
            _ => self.world.hand_over(message),
        }
    }

    fn last_committed(&self) -> Index {
        self.committed.keys().next_back().copied().unwrap_or(0)
    }

    fn check(&mut self, id: NodeId) {
        // State machine safety and leader completeness, by what any node calls committed.
        for node in self.world.nodes.values() {
            let raft = &node.raft;
            for entry in raft.entries(raft.first_index(), raft.commit()) {
                let known = self
                    .committed
                    .entry(entry.index)
                    .or_insert_with(|| entry.clone());
                assert_eq!(known, entry, "{} commits something else", raft.id());
            }
        }
        let raft = self.world.raft(id);
        let payloads = self.committed.values().map(|entry| &entry.payload);
        let mut seen = BTreeSet::new();
        for payload in payloads.filter(|payload| !payload.is_empty()) {
            assert!(
                seen.insert(payload),
                "{payload:?} was proposed once and is there twice"
            );
        }
        if raft.role() == Role::Leader && self.checked.insert(raft.term()) {
            for entry in self.committed.values() {
                if entry.index >= raft.first_index() {
                    let own = raft.term_at(entry.index);
                    assert_eq!(own, Some(entry.term), "{id} leads and lacks {entry:?}");
                }
            }
        }
        for (context, index) in &self.world.node(id).reads {
            if let Some(known) = self.reads.get(&(id, *context)) {
                assert!(
                    index >= known,
                    "{id} reads at {index}, {known} was committed"
                );
            }
        }
        self.check_logs(id);
    }

    /// Log matching: where two logs have an entry of the same term, all before is the same.
    fn check_logs(&self, id: NodeId) {
        let own = self.world.raft(id);
        for other in self.world.nodes.values().map(|node| &node.raft) {
            let last = own.last_index().min(other.last_index());
            let first = own.first_index().max(other.first_index());
            let mut agree = false;
            for index in (first..=last).rev() {
                let same = own.term_at(index) == other.term_at(index);
                assert!(same || !agree, "{id} and {} differ at {index}", other.id());
                if same {
                    let (a, b) = (own.entries(index, index), other.entries(index, index));
                    assert!(a.eq(b), "{id} and {} differ at {index}", other.id());
                }
                agree |= same;
            }
        }
    }

    /// Snapshots that got lost, or whose receiver died over them: it is the host's to notice that they do not arrive.
    fn give_up_snapshots(&mut self) {
        for id in 1..=self.count {
            let progress = self.world.raft(id).progress().iter();
            let waiting = progress.filter(|p| matches!(p.mode(), Mode::Snapshot(_)));
            for to in waiting.map(|p| p.id()).collect::<Vec<_>>() {
                self.world.call(id, |raft, now| {
                    raft.report_snapshot(now, to, SnapshotStatus::Failed);
                });
            }
        }
    }

    /// With the network back and no more faults the group goes on.
    fn settle(&mut self) {
        for _ in 0..60 {
            self.world.stabilize();
            self.give_up_snapshots();
            for id in 1..=self.count {
                self.world.pass(id, TICK);
            }
        }
        self.world.stabilize();
        let leaders = self
            .world
            .nodes
            .values()
            .filter(|node| node.raft.role() == Role::Leader);
        let leaders: Vec<NodeId> = leaders.map(|node| node.raft.id()).collect();
        assert_eq!(leaders.len(), 1, "one leader: {leaders:?}");
        self.world.propose(leaders[0], "end");
        for _ in 0..3 {
            self.world.stabilize();
            for id in 1..=self.count {
                self.world.pass(id, TICK);
            }
        }
        self.world.stabilize();
        let last = self.world.raft(leaders[0]).last_index();
        for id in 1..=self.count {
            assert_eq!(
                self.world.raft(id).applied(),
                last,
                "node {id} has everything"
            );
            self.check(id);
        }
    }
}

#[test]
fn random_lives_keep_what_raft_promises() {
    let (mut terms, mut committed, mut reads) = (0, 0, 0);
    for seed in 0..400 {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut life = Life::new(seed, |_| {});
            life.run(3000);
            life.settle();
            life
        }));
        let life = result.unwrap_or_else(|_| panic!("seed {seed}"));
        terms += life.world.leaders.len();
        committed += life.committed.len();
        let answers = life.world.nodes.values().map(|node| node.reads.len());
        reads += answers.sum::<usize>();
    }
    println!("{terms} terms with a leader, {committed} entries committed, {reads} reads");
    assert!(terms > 1000 && committed > 10_000 && reads > 1000);
}

/// Whether some life goes wrong when a bug is planted.
fn finds(mutant: Mutant) -> bool {
    (0..400).any(|seed| {
        let life = catch_unwind(|| {
            let mut life = Life::new(seed, |config| config.mutant = Some(mutant));
            life.run(3000);
        });
        life.is_err()
    })
}

/// Those whose moment comes often enough; the others have tests of their own.
#[test]
fn planted_bugs_are_found() {
    for mutant in [
        Mutant::TruncateWithoutConflict,
        Mutant::AcknowledgeBeforeSync,
        Mutant::ReadBeforeCommitInTerm,
        Mutant::ProposalTakenTwice,
    ] {
        assert!(finds(mutant), "{mutant:?}");
    }
}
