//! What everybody in one run knows together: the way to each process, which addresses members ever had, what each was
//! seen to know, and what people were told of blobs.

use super::{
    choose::{Blob, Chosen, blobs_directory, item_name},
    ledger::Ledger,
};
use holdfast_blobs::BlobId;
use holdfast_kv::Kv;
use holdfast_node::{
    blobs::NodeBlobs,
    discovery::{DiscoveryHandle, DiscoveryState, ItemName, Roster, SignedRoster},
};
use holdfast_peers::{DhtHandle, FoundItem};
use holdfast_raft::{Event as RaftEvent, Role, Term};
use holdfast_replica::{Event, Observer, Output, Replica};
use holdfast_sim::{
    draw::{Domain, Draws},
    fast,
    full::{self, World},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Entities of [`Domain::Scenario`].
const DAMAGE: u64 = 1 << 33;

/// Shared by everybody in one run; clones are handles on the same.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) chosen: Arc<Chosen>,
    pub(super) blobs: Arc<Vec<Blob>>,
    pub(super) item: Arc<ItemName>,
    seen: Arc<Mutex<Seen>>,
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Default)]
struct Seen {
    doors: BTreeMap<u32, Door>,
    starts: BTreeMap<u32, u32>,
    /// Where members ever were, or were told to be, by their numbers in the cluster.
    addresses: BTreeMap<u64, BTreeSet<String>>,
    /// What members were last seen to know.
    known: BTreeMap<u32, Known>,
    leaders: BTreeSet<(u32, Term)>,
    /// Lists that were seen, by their numbers, for who stores old ones again.
    lists: BTreeMap<i64, FoundItem>,
}

/// What a member was last seen to know.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The number of its list.
    sequence: Option<i64>,
    /// Which of its processes was seen.
    start: u32,
    /// Errors that its disk had had when it was seen without this list.
    errors_before: u64,
    /// Errors that its disk had had when it was seen last.
    errors: u64,
}

/// The way to a process.
#[derive(Clone)]
pub(super) struct Door {
    pub node: u32,
    /// Which of the machine's processes.
    pub start: u32,
    pub dht: DhtHandle,
    /// What a member has besides.
    pub member: Option<MemberDoor>,
}

/// The way to what only a member has.
#[derive(Clone)]
pub(super) struct MemberDoor {
    pub discovery: DiscoveryHandle,
    pub blobs: NodeBlobs,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    pub(super) fn new(world: World, chosen: Chosen) -> Self {
        let stage = Stage {
            blobs: Arc::new(Blob::all(&world.plan(), &chosen)),
            world,
            item: Arc::new(item_name()),
            seen: Arc::default(),
            ledger: Arc::default(),
            chosen: Arc::new(chosen),
        };
        for member in 0..stage.chosen.count() {
            stage.is_at(member, Chosen::told_address(member));
        }
        stage
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// What people were told of blobs.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// The blob of that name.
    pub(super) fn blob_of(&self, id: BlobId) -> Option<usize> {
        self.blobs.iter().position(|blob| blob.id == id)
    }

    /// A process begins; which of its machine's.
    pub(super) fn process_began(&self, node: u32) -> u32 {
        let mut seen = self.seen();
        let start = seen.starts.entry(node).or_default();
        *start += 1;
        let start = *start;
        seen.doors.remove(&node);
        drop(seen);
        if start == 2 {
            self.world.mark("node-restarted");
        }
        start
    }

    /// Which of a machine's processes runs or ran last.
    pub(super) fn start_of(&self, node: u32) -> u32 {
        self.seen().starts.get(&node).copied().unwrap_or(0)
    }

    /// A member is, or was, where this says.
    pub(super) fn is_at(&self, member: u32, address: String) {
        let number = u64::from(member) + 1;
        let mut seen = self.seen();
        seen.addresses.entry(number).or_default().insert(address);
    }

    /// A process can be asked.
    pub(super) fn open_door(&self, door: Door) {
        self.seen().doors.insert(door.node, door);
    }

    /// A process ends in order.
    pub(super) fn close_door(&self, node: u32) {
        self.seen().doors.remove(&node);
    }

    /// The way to a machine's process, when it runs.
    pub(super) fn door(&self, node: u32) -> Option<Door> {
        let seen = self.seen();
        let door = seen.doors.get(&node).cloned()?;
        let is_last = seen.starts.get(&node) == Some(&door.start);
        drop(seen);
        (is_last && self.world.is_running(node)).then_some(door)
    }

    /// All neighbours that can be asked.
    pub(super) fn neighbours(&self) -> Vec<Door> {
        let nodes = self.chosen.count()..self.world.plan().nodes;
        nodes.filter_map(|node| self.door(node)).collect()
    }

    /// All members that can be asked.
    pub(super) fn members(&self) -> Vec<(Door, MemberDoor)> {
        let nodes = 0..self.chosen.count();
        let doors = nodes.filter_map(|node| self.door(node));
        doors
            .filter_map(|door| door.member.clone().map(|member| (door, member)))
            .collect()
    }

    /// In some seeds disks of members lose bits while their machines are down.
    pub(super) fn damage(&self, node: u32, start: u32) {
        let entity = DAMAGE + (u64::from(node) << 34) + u64::from(start);
        let mut draws = Draws::new(self.world.plan().seed, Domain::Scenario, entity);
        let is_over = self.world.now() >= self.world.horizon();
        if start == 1 || is_over || !draws.chance(self.chosen.damage) {
            return;
        }
        let blob = draws.range(0, self.blobs.len() as u64) as usize;
        let length = self.blobs[blob].content.len() as u64;
        if length == 0 {
            return;
        }
        let path = blobs_directory().join(self.blobs[blob].id.to_string());
        let (offset, mask) = (draws.range(0, length), draws.range(1, 256) as u8);
        let rotten = self
            .world
            .disk(node, |disk| disk.rot(&path, offset, mask).is_ok());
        if rotten {
            self.ledger().damaged(node, blob);
            self.world.mark("blob-rotten");
        }
    }

    /// Errors that a machine's disk has had.
    pub(super) fn disk_errors(&self, node: u32) -> u64 {
        self.world.disk(node, |disk| disk.counts().errors)
    }

    /// What must hold of what a member knows of the others, at any time.
    pub(super) fn check_known(&self, node: u32, state: &DiscoveryState) {
        let errors = self.disk_errors(node);
        let fail = |property: &str, message: String| {
            self.world.fail(property, message, Some(node));
        };
        let known = state.known.as_ref();
        if let Some(known) = known {
            if !known.is_signed_for(&self.item) {
                let sequence = known.sequence();
                fail(
                    "list-signed",
                    format!("list {sequence} is not signed by the cluster's key"),
                );
            }
            if let Some(wrong) = self.stranger(known.roster()) {
                let sequence = known.sequence();
                fail(
                    "list-right",
                    format!("it believes list {sequence}, {wrong}"),
                );
            }
        }
        let sequence = known.map(SignedRoster::sequence);
        let start = self.start_of(node);
        let mut seen = self.seen();
        let before = seen.known.get(&node).copied().unwrap_or_default();
        seen.known.insert(
            node,
            Known {
                sequence,
                start,
                errors_before: match sequence == before.sequence {
                    true => before.errors_before,
                    false => before.errors,
                },
                errors,
            },
        );
        drop(seen);
        // What it could not save it need not know after a start.
        let must_know = before.start == start || before.errors_before == errors;
        if must_know && sequence < before.sequence {
            let message = format!("it knew list {:?}, and now {sequence:?}", before.sequence);
            fail("list-goes-back", message);
        }
    }

    /// What is wrong with a list, if not all members are in it, or one is where it never was.
    pub(super) fn stranger(&self, roster: &Roster) -> Option<String> {
        let numbers = roster.members().keys().copied();
        if !numbers.eq(1..=u64::from(self.chosen.count())) {
            return Some(format!("which is of {:?}", roster.members().keys()));
        }
        let seen = self.seen();
        roster.members().iter().find_map(|(member, addresses)| {
            let peer = addresses.peer.as_ref()?;
            let is_his = seen.addresses[member].contains(peer);
            (!is_his).then(|| format!("in which member {member} is at {peer}, where it never was"))
        })
    }

    /// Checks an item that somebody found in the DHT, and remembers it.
    pub(super) fn check_found(&self, node: u32, found: &FoundItem) -> Option<SignedRoster> {
        let fail = |message: String| {
            self.world.fail("item-found", message, Some(node));
            None
        };
        let Some((sequence, signature)) = found.version else {
            return fail("the cluster's item has no number".into());
        };
        let signed = match SignedRoster::of_checked(found.value.clone(), sequence, signature) {
            Ok(signed) => signed,
            Err(error) => return fail(format!("item {sequence}: {error}")),
        };
        if !signed.is_signed_for(&self.item) {
            return fail(format!(
                "item {sequence} is not signed by the cluster's key"
            ));
        }
        if let Some(wrong) = self.stranger(signed.roster()) {
            return fail(format!("item {sequence}, {wrong}"));
        }
        self.seen().lists.insert(sequence, found.clone());
        Some(signed)
    }

    /// The oldest list that somebody found, when there is a newer one.
    pub(super) fn old_list(&self) -> Option<FoundItem> {
        let seen = self.seen();
        let is_superseded = seen.lists.len() > 1;
        let oldest = seen.lists.first_key_value().map(|(_, list)| list.clone());
        oldest.filter(|_| is_superseded)
    }

    /// Who looks on at a member.
    pub(super) fn observer(&self, node: u32) -> Arc<dyn Observer<Kv>> {
        Arc::new(NodeObserver {
            stage: self.clone(),
            node,
        })
    }
}

struct NodeObserver {
    stage: Stage,
    node: u32,
}

impl Observer<Kv> for NodeObserver {
    fn started(&self, replica: &Replica<Kv>, _repaired: bool) {
        let term = replica.raft().term();
        self.stage.world.note_state(self.node, "follower", term);
    }

    fn output(&self, _replica: &Replica<Kv>, output: &Output<Kv>) {
        let Output::Event(event) = output else { return };
        let world = &self.stage.world;
        if let Event::Raft(RaftEvent::Role { role, term }) = event {
            let name = match role {
                Role::Leader => full::LEADER,
                Role::Follower => "follower",
                Role::PreCandidate => "pre-candidate",
                Role::Candidate => "candidate",
            };
            world.note_state(self.node, name, *term);
            if *role == Role::Leader {
                let mut seen = self.stage.seen();
                seen.leaders.insert((self.node, *term));
                let are_many = seen.leaders.len() > 1;
                drop(seen);
                if are_many {
                    world.mark("leader-changed");
                }
            }
        }
        if world.is_drawn()
            && let Some(words) = fast::describe(event)
        {
            world.note(self.node, || words);
        }
    }

    fn settled(&self, _replica: &Replica<Kv>) {}
}
