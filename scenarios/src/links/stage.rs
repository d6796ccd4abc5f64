//! What everybody in one run knows together: the way into each node's tables, who leads, which jobs are active, and
//! what clients were told.

use super::witness::{self, History};
use holdfast_host::Host;
use holdfast_kv::Kv;
use holdfast_raft::{Event as RaftEvent, Index, Role, Term};
use holdfast_replica::{Consistency, Event, Observer, Output, Replica};
use holdfast_sim::{
    draw::Draws,
    fast,
    full::{self, World},
};
use holdfast_tables::{Reader, SqlError, TablesHandle, When, Witness};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long one read may take.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Shared by everybody in one run; clones are handles on the same.
#[derive(Clone)]
pub(super) struct Stage {
    /// The world.
    pub(super) world: World,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// The tables of the nodes whose process runs.
    doors: BTreeMap<u32, TablesHandle>,
    /// From when until when a job may ask the web, by job; simulated time.
    active: Vec<Active>,
    /// What changes people were told of: which, and of what.
    acknowledged: Vec<(String, String)>,
    /// Which nodes were told to campaign.
    nodes: BTreeMap<u32, bool>,
    /// When processes began, and where.
    began: Vec<(Duration, u32)>,
    /// What the tables of the nodes were.
    history: History,
}

/// A time in which a job may ask the web.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    /// Since when: when its beginning was asked for.
    pub from: Duration,
    /// Until when: when its end was known, or its stop was told. `None`: still.
    pub until: Option<Duration>,
    /// The gap that it keeps.
    pub gap: Duration,
    job: u32,
}

#[cfg(test)]
impl Active {
    pub(super) fn for_tests(from: Duration, until: Option<Duration>, gap: Duration) -> Self {
        Active {
            from,
            until,
            gap,
            job: 0,
        }
    }
}

impl Active {
    /// Whether it is a time of that job.
    pub(super) fn is_of(&self, job: u32) -> bool {
        self.job == job
    }
}

impl Stage {
    pub(super) fn new(world: World) -> Self {
        Stage {
            world,
            seen: Arc::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's process has started.
    pub(super) fn open_door(&self, node: u32, tables: TablesHandle) {
        self.seen().doors.insert(node, tables);
    }

    /// A node's process begins.
    pub(super) fn process_began(&self, node: u32) {
        let now = self.world.now();
        self.seen().began.push((now, node));
    }

    /// When processes began, and where.
    pub(super) fn began(&self) -> Vec<(Duration, u32)> {
        self.seen().began.clone()
    }

    /// A node's process ends.
    pub(super) fn close_door(&self, node: u32) {
        self.seen().doors.remove(&node);
    }

    /// The tables of a node, when its process runs.
    pub(super) fn door(&self, node: u32) -> Option<TablesHandle> {
        let is_running = self.world.is_running(node);
        self.seen().doors.get(&node).filter(|_| is_running).cloned()
    }

    /// A job may ask the web from now on.
    pub(super) fn job_begins(&self, job: u32, gap: Duration) {
        let from = self.world.now();
        self.seen().active.push(Active {
            from,
            until: None,
            gap,
            job,
        });
    }

    /// A job has ended, or was stopped.
    pub(super) fn job_ends(&self, job: u32) {
        let now = self.world.now();
        let mut seen = self.seen();
        let open = seen.active.iter_mut().filter(|active| active.job == job);
        for active in open {
            active.until.get_or_insert(now);
        }
    }

    /// When jobs were active.
    pub(super) fn active(&self) -> Vec<Active> {
        self.seen().active.clone()
    }

    /// What people were told was done.
    pub(super) fn acknowledged(&self) -> Vec<(String, String)> {
        self.seen().acknowledged.clone()
    }

    /// Somebody was told that a change was made: an operation of the interface, and of what.
    pub(super) fn acknowledged_change(&self, operation: &str, resource: &str) {
        let told = (operation.to_owned(), resource.to_owned());
        self.seen().acknowledged.push(told);
    }

    /// Reads everything that was acknowledged before, at a node by lot. `None` when that node does not answer.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        host: &Host,
        draws: &mut Draws,
        read: impl FnOnce(Reader<'_>) -> Result<T, SqlError> + Send + 'static,
    ) -> Option<T> {
        let node = draws.range(0, u64::from(self.world.plan().nodes)) as u32;
        let tables = self.door(node)?;
        let asked = tables.read(Consistency::Linearizable, read);
        host.timeout(ATTEMPT, asked).await.ok()?.ok()
    }

    /// Who looks on at the tables of node `node`.
    pub(super) fn witness(&self, node: u32) -> Arc<dyn Witness> {
        Arc::new(TablesWitness {
            stage: self.clone(),
            node,
        })
    }

    /// Who looks on at node `node`.
    pub(super) fn observer(&self, node: u32) -> Arc<dyn Observer<Kv>> {
        Arc::new(NodeObserver {
            stage: self.clone(),
            node,
        })
    }
}

struct TablesWitness {
    stage: Stage,
    node: u32,
}

impl Witness for TablesWitness {
    fn stand(&self, when: When, applied: Index, reader: Reader<'_>) {
        // What cannot be read is told by whoever needs it.
        let Ok(fingerprint) = witness::fingerprint(reader) else {
            return;
        };
        let told = self
            .stage
            .seen()
            .history
            .take(self.node, when, applied, fingerprint);
        if let Err((property, message)) = told {
            self.stage.world.fail(property, message, Some(self.node));
        }
    }
}

struct NodeObserver {
    stage: Stage,
    node: u32,
}

impl Observer<Kv> for NodeObserver {
    fn started(&self, replica: &Replica<Kv>, _repaired: bool) {
        self.stage.seen().nodes.insert(self.node, false);
        let term = replica.raft().term();
        self.stage.world.note_state(self.node, "follower", term);
    }

    fn output(&self, _replica: &Replica<Kv>, output: &Output<Kv>) {
        let Output::Event(event) = output else { return };
        let world = &self.stage.world;
        match event {
            Event::SnapshotInstalled { .. } => world.mark("snapshot-with-tables-installed"),
            Event::SnapshotTaken { .. } => world.mark("snapshot-with-tables-taken"),
            Event::Raft(RaftEvent::Role { role, term }) => self.role(*role, *term),
            Event::Raft(RaftEvent::CampaignOrdered) => {
                self.stage.seen().nodes.insert(self.node, true);
            }
            _ => {}
        }
        if world.is_drawn()
            && let Some(words) = fast::describe(event)
        {
            world.note(self.node, || words);
        }
    }

    fn settled(&self, _replica: &Replica<Kv>) {}
}

impl NodeObserver {
    fn role(&self, role: Role, term: Term) {
        let name = match role {
            Role::Leader => full::LEADER,
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
        };
        let world = &self.stage.world;
        world.note_state(self.node, name, term);
        let mut seen = self.stage.seen();
        let is_active = seen.active.iter().any(|active| active.until.is_none());
        let was_ordered = match role {
            Role::Leader => seen.nodes.insert(self.node, false) == Some(true),
            Role::Follower => {
                seen.nodes.insert(self.node, false);
                false
            }
            Role::PreCandidate | Role::Candidate => false,
        };
        drop(seen);
        if role == Role::Leader && is_active {
            world.mark("leader-changed-during-a-job");
            if was_ordered {
                world.mark("leadership-handed-over-during-a-job");
            }
        }
    }
}
