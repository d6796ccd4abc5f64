//! What everybody in one run knows together: the way to each node, who it is and was, what its disk holds, and how
//! long faults lasted.

use super::{choose::Chosen, ledger::Ledger, life::table_path};
use holdfast_host::{Host, read_file};
use holdfast_kademlia::{Distance, Id, SAVED_LIMIT_BYTES, Saved};
use holdfast_peers::{DhtError, DhtHandle, Family, Outcome};
use holdfast_sim::{
    draw::{Domain, Draws},
    full::World,
    plan::FaultKind,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    io::ErrorKind,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What a command may take beyond the patience that nodes are told to have, drift of clocks included.
const SLACK: Duration = Duration::from_secs(3);
/// How long an answer about the node itself may take.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Entities of [`Domain::Scenario`].
const DAMAGE: u64 = 1 << 33;

/// Shared by everybody in one run; clones are handles on the same.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) chosen: Arc<Chosen>,
    seen: Arc<Mutex<Seen>>,
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Default)]
struct Seen {
    doors: BTreeMap<u32, Door>,
    starts: BTreeMap<u32, u32>,
    /// Every id that a node ever had.
    ids: BTreeSet<(u32, Id)>,
    /// The nodes that have saved a table which was not damaged since, and the ids in them.
    saved: BTreeMap<u32, Id>,
}

/// The way to a node's process.
#[derive(Clone)]
pub(super) struct Door {
    pub handle: DhtHandle,
    pub node: u32,
    /// Which of the node's processes.
    pub start: u32,
    pub id: Id,
}

/// What a disk holds of a node's table.
#[derive(Clone, Debug)]
pub(super) enum TableFile {
    /// No file.
    None,
    /// One that is not as it was written.
    Damaged,
    /// A table.
    Whole(Saved),
}

impl fmt::Display for TableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableFile::None => write!(f, "no file"),
            TableFile::Damaged => write!(f, "a damaged file"),
            TableFile::Whole(saved) => write!(f, "a table of {}", saved.id),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    pub(super) fn new(world: World, chosen: Chosen) -> Self {
        Stage {
            world,
            chosen: Arc::new(chosen),
            seen: Arc::default(),
            ledger: Arc::default(),
        }
    }

    /// What was put and announced.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// A process begins; which of its node's.
    pub(super) fn process_began(&self, node: u32) -> u32 {
        let mut seen = lock(&self.seen);
        let start = seen.starts.entry(node).or_default();
        *start += 1;
        if *start == 2 {
            self.world.mark("node-restarted");
        }
        *start
    }

    /// Which of a node's processes runs or ran last.
    pub(super) fn start_of(&self, node: u32) -> u32 {
        lock(&self.seen).starts.get(&node).copied().unwrap_or(0)
    }

    /// A process can be asked.
    pub(super) fn open_door(&self, door: Door) {
        let mut seen = lock(&self.seen);
        seen.ids.insert((door.node, door.id));
        seen.doors.insert(door.node, door);
    }

    /// A process ends in order.
    pub(super) fn close_door(&self, node: u32) {
        lock(&self.seen).doors.remove(&node);
    }

    /// The way to a node, when its process runs.
    pub(super) fn door(&self, node: u32) -> Option<Door> {
        let seen = lock(&self.seen);
        let door = seen.doors.get(&node).cloned()?;
        let start = seen.starts.get(&node).copied();
        drop(seen);
        (self.world.is_running(node) && start == Some(door.start)).then_some(door)
    }

    /// Whether the process behind a door still runs, and nobody has told it to stop.
    pub(super) fn is_open(&self, door: &Door) -> bool {
        self.door(door.node)
            .is_some_and(|now| now.start == door.start)
    }

    /// A node by lot that can be asked.
    pub(super) fn any_door(&self, draws: &mut Draws) -> Option<Door> {
        let nodes = u64::from(self.world.plan().nodes);
        self.door(draws.range(0, nodes) as u32)
    }

    /// All that can be asked.
    pub(super) fn doors(&self) -> Vec<Door> {
        let nodes = 0..self.world.plan().nodes;
        nodes.filter_map(|node| self.door(node)).collect()
    }

    /// Whether a node ever had this id.
    pub(super) fn had_id(&self, node: u32, id: Id) -> bool {
        lock(&self.seen).ids.contains(&(node, id))
    }

    /// A node says that it has saved a table.
    pub(super) fn has_saved(&self, node: u32, id: Id) {
        lock(&self.seen).saved.insert(node, id);
    }

    /// The id that a node has saved, if its file must be there.
    pub(super) fn saved(&self, node: u32) -> Option<Id> {
        lock(&self.seen).saved.get(&node).copied()
    }

    /// What a node's disk holds, looked at without touching it.
    pub(super) fn table_file(&self, node: u32) -> TableFile {
        let mut disk = self.world.disk(node, |disk| disk.clone());
        match read_file(&mut disk, &table_path(), SAVED_LIMIT_BYTES as u64) {
            Ok(bytes) => Saved::decode(&bytes).map_or(TableFile::Damaged, TableFile::Whole),
            Err(error) if error.kind() == ErrorKind::NotFound => TableFile::None,
            Err(_) => TableFile::Damaged,
        }
    }

    /// In some seeds a disk loses bits while its machine is down.
    pub(super) fn damage(&self, node: u32, start: u32) {
        let entity = DAMAGE + (u64::from(node) << 34) + u64::from(start);
        let mut draws = Draws::new(self.world.plan().seed, Domain::Scenario, entity);
        let is_over = self.world.now() >= self.world.horizon();
        if start == 1 || is_over || !draws.chance(self.chosen.damage) {
            return;
        }
        let path = table_path();
        let is_rotten = self.world.disk(node, |disk| {
            let files = disk.files();
            let name = path.display().to_string();
            let name = name.trim_start_matches('/');
            let file = files
                .iter()
                .find(|(path, _)| path.trim_start_matches('/') == name);
            let length = file.map_or(0, |(_, length)| *length);
            let mask = draws.range(1, 256) as u8;
            length > 0 && disk.rot(&path, draws.range(0, length), mask).is_ok()
        });
        if is_rotten {
            lock(&self.seen).saved.remove(&node);
        }
    }

    /// Whether a partition was on at some time between these two.
    pub(super) fn was_partitioned(&self, from: Duration, to: Duration) -> bool {
        let is_cut = |kind: &FaultKind| {
            matches!(kind, FaultKind::Partition { .. } | FaultKind::Bridge { .. })
        };
        self.overlap(from, to, is_cut) > Duration::ZERO
    }

    /// Whether processes may stand still now, or have until just now.
    pub(super) fn was_paused_now(&self) -> bool {
        let now = self.world.now();
        let is_pause = |kind: &FaultKind| matches!(kind, FaultKind::Pause { .. });
        let from = now.saturating_sub(AT_ONCE);
        self.overlap(from, now + AT_ONCE, is_pause) > Duration::ZERO
    }

    /// How long faults of a kind were on between two instants, each for itself.
    fn overlap(&self, from: Duration, to: Duration, of: impl Fn(&FaultKind) -> bool) -> Duration {
        let plan = self.world.plan();
        let faults = plan.faults.iter().filter(|fault| of(&fault.kind));
        faults
            .map(|fault| {
                let begin = Duration::from_nanos(fault.at_ns).max(from);
                let end = Duration::from_nanos(fault.ends(plan.horizon_ns)).min(to);
                end.saturating_sub(begin)
            })
            .sum()
    }

    /// Waits for the outcome of a command. None may take longer than its node was told to be patient, while its process
    /// does not stand still.
    pub(super) async fn bounded<T>(
        &self,
        host: &Host,
        door: &Door,
        command: impl Future<Output = Result<T, DhtError>>,
    ) -> Option<Result<T, DhtError>> {
        let began = self.world.now();
        let mut command = pin!(command);
        let patience = self.chosen.patience + self.chosen.patience / 100 + SLACK;
        loop {
            if let Ok(ended) = host.timeout(patience, &mut command).await {
                if let Err(error) = &ended {
                    self.check_error(door, *error);
                }
                return Some(ended);
            }
            let now = self.world.now();
            let is_pause = |kind: &FaultKind| matches!(kind, FaultKind::Pause { .. });
            if now - began > patience + self.overlap(began, now, is_pause) {
                let took = (now - began).as_secs_f64();
                let message = format!("a command has not ended after {took:.1} s");
                self.world.fail("command-ends", message, Some(door.node));
                return None;
            }
        }
    }

    /// Whether a command may be refused in this way.
    fn check_error(&self, door: &Door, error: DhtError) {
        let is_right = match error {
            DhtError::Stopped => !self.is_open(door),
            DhtError::TimedOut => true,
            _ => false,
        };
        if !is_right {
            let message = format!("a command was refused: {error}");
            self.world.fail("refusal", message, Some(door.node));
        }
    }

    /// Waits for what a node says of itself, which it does at once.
    pub(super) async fn at_once<T>(
        &self,
        host: &Host,
        door: &Door,
        question: impl Future<Output = Result<T, DhtError>>,
    ) -> Option<T> {
        match host.timeout(AT_ONCE, question).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                self.check_error(door, error);
                None
            }
            Err(_) => {
                let message = "a node does not say how it is".to_owned();
                self.world.fail("command-ends", message, Some(door.node));
                None
            }
        }
    }

    /// What must hold of every outcome.
    pub(super) fn check_outcome(&self, door: &Door, outcome: &Outcome) {
        let fail = |message: String| {
            self.world.fail("lookup-result", message, Some(door.node));
        };
        let target = outcome.target;
        let families = self.chosen.kinds[door.node as usize].families;
        if outcome.reports.len() != families.iter().filter(|is_in| **is_in).count() {
            let reports = outcome.reports.len();
            fail(format!("{reports} reports of a node in {families:?}"));
        }
        for report in &outcome.reports {
            let distances: Vec<Distance> = report
                .closest
                .iter()
                .map(|node| target.distance(node.id))
                .collect();
            if !distances.is_sorted_by(|a, b| a < b) || distances.len() > 8 {
                fail(format!(
                    "the closest nodes are out of order: {:?}",
                    report.closest
                ));
            }
            if report.stored as usize > report.closest.len() {
                let closest = report.closest.len();
                fail(format!(
                    "{} of {closest} nodes have stored it",
                    report.stored
                ));
            }
            let seen = lock(&self.seen);
            let stranger = report.closest.iter().find(|node| {
                let number = super::census::node_at(node.address);
                number.is_none_or(|number| !seen.ids.contains(&(number, node.id)))
            });
            if let Some(stranger) = stranger {
                fail(format!("{stranger:?} has answered, which never was"));
            }
        }
    }

    /// The nodes of a family that answer, closest to a target first, without one.
    pub(super) fn truth(&self, family: Family, target: Id, without: u32) -> Vec<Door> {
        let mut doors = self.doors();
        doors.retain(|door| {
            let kind = self.chosen.kinds[door.node as usize];
            let is_in = match family {
                Family::V4 => kind.families[0],
                Family::V6 => kind.families[1],
            };
            is_in && !kind.is_read_only && door.node != without
        });
        doors.sort_by_key(|door| target.distance(door.id));
        doors
    }
}
