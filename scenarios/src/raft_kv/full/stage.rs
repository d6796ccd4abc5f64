//! What the observers of all nodes, the clients and the judge know together.
//!
//! An observer stands in each node's replica and sees what its core does as it does it. From that come the checks of
//! Raft's safety, the marks, who leads (for the faults that strike leaders), and what the committed log did.

use super::super::fast::{changes_since, watch_from};
use crate::BLACK_BOX;
use holdfast_kv::Kv;
use holdfast_raft::{Event as RaftEvent, Role, Term};
use holdfast_replica::{Event, Observer, Outcome, Output, Replica, StoreCommand};
use holdfast_sim::{
    check::{
        Violation,
        kv::{Change, Watch},
        raft::RaftChecker,
    },
    fast,
    full::{self, World},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by everybody in one run; clones are handles on the same.
#[derive(Clone)]
pub(super) struct Stage {
    /// The world.
    pub(super) world: World,
    /// Only the properties of [`BLACK_BOX`] count.
    black_box: bool,
    seen: Arc<Mutex<Seen>>,
}

/// What was seen.
struct Seen {
    checker: RaftChecker,
    nodes: Vec<SeenOfNode>,
    /// A contradiction was found: what follows from it is not told as well.
    is_broken: bool,
    /// Every change of the committed log, up to revision `collected`.
    changes: Vec<Change>,
    collected: u64,
    /// Writes of clients that are under way.
    writes: u64,
    /// The highest revision that a client was told.
    acknowledged: u64,
    /// The same when the last fault ended.
    acknowledged_at_horizon: u64,
}

#[derive(Clone, Default)]
struct SeenOfNode {
    /// The last index that was held against what others applied.
    checked: u64,
    /// Its term and commit index when it was last seen to lead.
    led: Option<(Term, u64)>,
    /// The leader told it to campaign.
    was_ordered: bool,
}

impl Stage {
    /// A stage on which nothing has happened.
    pub(super) fn new(world: World, black_box: bool) -> Self {
        let nodes = vec![SeenOfNode::default(); world.plan().nodes as usize];
        Stage {
            world,
            black_box,
            seen: Arc::new(Mutex::new(Seen {
                checker: RaftChecker::default(),
                nodes,
                is_broken: false,
                changes: Vec::new(),
                collected: 1,
                writes: 0,
                acknowledged: 1,
                acknowledged_at_horizon: 1,
            })),
        }
    }

    /// Who looks on at node `node`.
    pub(super) fn observer(&self, node: u32) -> Arc<dyn Observer<Kv>> {
        Arc::new(NodeObserver {
            stage: self.clone(),
            node,
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client begins a write.
    pub(super) fn write_begins(&self) {
        self.seen().writes += 1;
    }

    /// A client's write is over, whatever became of it.
    pub(super) fn write_ends(&self) {
        self.seen().writes -= 1;
    }

    /// A client was told of a revision.
    pub(super) fn acknowledge(&self, revision: u64) {
        let by_horizon = self.world.now() <= self.world.horizon();
        let mut seen = self.seen();
        seen.acknowledged = seen.acknowledged.max(revision);
        if by_horizon {
            seen.acknowledged_at_horizon = seen.acknowledged;
        }
    }

    /// The highest revision that a client was told.
    pub(super) fn acknowledged(&self) -> u64 {
        self.seen().acknowledged
    }

    /// The same when the last fault ended.
    pub(super) fn acknowledged_at_horizon(&self) -> u64 {
        self.seen().acknowledged_at_horizon
    }

    /// Everything that the committed log did.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.seen().changes.clone()
    }

    fn check(&self, checked: Result<(), Violation>) {
        let Err(violation) = checked else { return };
        if self.black_box && !BLACK_BOX.contains(&violation.property) {
            return;
        }
        let is_first = !std::mem::replace(&mut self.seen().is_broken, true);
        if is_first {
            let property = violation.property;
            self.world.fail(property, violation.message, violation.node);
        }
    }
}

/// A watch, and which keys it is for: `None` for all.
pub(super) struct Watched {
    /// The keys.
    pub(super) keys: Option<std::ops::Range<u32>>,
    /// What it told.
    pub(super) watch: Watch,
}

impl Watched {
    /// One that begins at a revision.
    pub(super) fn new(keys: Option<std::ops::Range<u32>>, from: u64) -> Self {
        let watch = watch_from(from);
        Watched { keys, watch }
    }

    /// Holds it against what the log did to its keys.
    pub(super) fn check(&self, changes: &[Change]) -> Result<(), Violation> {
        let watch = std::slice::from_ref(&self.watch);
        let Some(keys) = &self.keys else {
            return holdfast_sim::check::kv::watches(watch, changes);
        };
        let among = changes.iter().filter(|change| keys.contains(&change.key));
        let changes: Vec<Change> = among.copied().collect();
        holdfast_sim::check::kv::watches(watch, &changes)
    }
}

struct NodeObserver {
    stage: Stage,
    node: u32,
}

impl Observer<Kv> for NodeObserver {
    fn started(&self, replica: &Replica<Kv>, repaired: bool) {
        let id = self.id();
        let mut seen = self.stage.seen();
        seen.checker.restarted(id);
        seen.nodes[self.node as usize] = SeenOfNode {
            checked: replica.state().applied(),
            ..SeenOfNode::default()
        };
        drop(seen);
        if repaired {
            self.stage.world.mark("torn-tail-repaired");
        }
        let term = replica.raft().term();
        self.stage.world.note_state(self.node, "follower", term);
    }

    fn output(&self, replica: &Replica<Kv>, output: &Output<Kv>) {
        match output {
            Output::Store(StoreCommand::Persist { entries, .. }) => {
                let Some(first) = entries.first() else { return };
                let before = replica.raft().term_at(first.index - 1);
                let checked = self
                    .stage
                    .seen()
                    .checker
                    .appended(self.id(), before, entries);
                self.stage.check(checked);
            }
            Output::Reply {
                result: Ok((_, Outcome::Duplicate(_))),
                ..
            } => self.stage.world.mark("session-retry-answered"),
            Output::Event(event) => self.event(replica, event),
            _ => {}
        }
    }

    /// What must hold after every step.
    fn settled(&self, replica: &Replica<Kv>) {
        let raft = replica.raft();
        let (commit, term, last) = (raft.commit(), raft.term(), raft.last_index());
        let leads = (raft.role() == Role::Leader).then_some((term, commit));
        let mut seen = self.stage.seen();
        let before = std::mem::replace(&mut seen.nodes[self.node as usize].led, leads);
        let checked = seen.checker.progress(self.id(), commit, term, last);
        let checked = checked.and_then(|()| match (before, leads) {
            (Some((old_term, old)), Some(_)) if old_term == term && commit > old => {
                let committed = raft.term_at(commit);
                seen.checker.committed_by_leader(self.id(), term, committed)
            }
            _ => Ok(()),
        });
        drop(seen);
        self.stage.check(checked);
    }
}

impl NodeObserver {
    fn id(&self) -> u64 {
        u64::from(self.node) + 1
    }

    fn event(&self, replica: &Replica<Kv>, event: &Event) {
        let world = &self.stage.world;
        match event {
            Event::Applied { index } => self.applied(replica, *index),
            Event::SnapshotInstalled { index } => {
                world.mark("snapshot-installed");
                self.stage.seen().nodes[self.node as usize].checked = *index;
                self.collect(replica);
            }
            Event::SnapshotTaken { .. } => world.mark("snapshot-taken"),
            // That the leader changes within a transfer is rare at this pace; the fast lane asks for it.
            Event::SnapshotResumed { .. } => {}
            Event::DuplicateSuppressed { .. } => world.mark("duplicate-suppressed"),
            Event::Raft(event) => self.raft_event(replica, *event),
        }
        let is_drawn = world.is_drawn();
        if is_drawn && let Some(words) = fast::describe(event) {
            world.note(self.node, || words);
        }
    }

    fn raft_event(&self, replica: &Replica<Kv>, event: RaftEvent) {
        let world = &self.stage.world;
        match event {
            RaftEvent::Role { role, term } => self.role(replica, role, term),
            RaftEvent::Conflict { .. } => world.mark("append-conflict-repaired"),
            RaftEvent::LeaseRead => world.mark("lease-read-served"),
            RaftEvent::QuorumRead { .. } => world.mark("quorum-read-served"),
            RaftEvent::ReadForwarded => world.mark("read-forwarded"),
            RaftEvent::LostQuorum => world.mark("leader-lost-quorum"),
            RaftEvent::CampaignOrdered => {
                self.stage.seen().nodes[self.node as usize].was_ordered = true;
            }
            RaftEvent::Transfer { .. }
            | RaftEvent::SnapshotNeeded { .. }
            | RaftEvent::Leader { .. }
            | RaftEvent::Commit { .. } => {}
        }
    }

    fn role(&self, replica: &Replica<Kv>, role: Role, term: Term) {
        let name = match role {
            Role::Leader => full::LEADER,
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
        };
        let world = &self.stage.world;
        world.note_state(self.node, name, term);
        let mut seen = self.stage.seen();
        match role {
            Role::Leader => {}
            Role::Follower => {
                seen.nodes[self.node as usize].was_ordered = false;
                return;
            }
            Role::PreCandidate | Role::Candidate => return,
        }
        let raft = replica.raft();
        // What it had in its log when it was elected is seen only while it leads.
        let is_still = raft.role() == Role::Leader && raft.term() == term;
        let checked = match is_still {
            true => seen
                .checker
                .leader(self.id(), term, |index| raft.term_at(index)),
            false => Ok(()),
        };
        let was_ordered = std::mem::take(&mut seen.nodes[self.node as usize].was_ordered);
        let writes = seen.writes;
        drop(seen);
        self.stage.check(checked);
        if writes > 0 {
            world.mark("leader-changed-during-write");
        }
        if was_ordered {
            world.mark("leadership-handed-over");
        }
    }

    fn applied(&self, replica: &Replica<Kv>, index: u64) {
        let raft = replica.raft();
        let mut seen = self.stage.seen();
        // A snapshot that was installed meanwhile has taken the place of entries.
        let from = (seen.nodes[self.node as usize].checked + 1).max(raft.first_index());
        if index < from {
            return;
        }
        seen.nodes[self.node as usize].checked = index;
        let entries = raft.entries(from, index);
        let checked = seen.checker.apply(self.id(), raft.term(), entries);
        drop(seen);
        self.stage.check(checked);
        self.collect(replica);
    }

    /// Takes in what the log did since the last time, if this node is the first to have applied it.
    fn collect(&self, replica: &Replica<Kv>) {
        let machine = replica.state().machine();
        let mut seen = self.stage.seen();
        if machine.revision() < seen.collected {
            return;
        }
        match changes_since(machine, seen.collected, usize::MAX) {
            Ok((changes, next)) => {
                seen.changes.extend(changes);
                seen.collected = next;
            }
            // Clients compact what they were told of, so it was collected when it was applied.
            Err(error) => {
                drop(seen);
                let message = format!("history that nobody was told of is gone: {error}");
                self.stage
                    .check(Err(Violation::new("compaction", message).at(self.node)));
            }
        }
    }
}
