//! A request that was passed on to a leader which is gone is answered as soon as another leads, and says truly
//! that it was not carried out.

use bytes::Bytes;
use holdfast_raft::{Config, HardState, Membership, NodeId, Role};
use holdfast_replica::{
    Command, Consistency, CorruptSnapshot, Message, Outcome, Output, Recovered, Rejection, Replica,
    RequestId, Settings, State, StateMachine, StoreCommand, StoreDone,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

const MS: u64 = 1_000_000;

/// Remembers what was applied, in order.
#[derive(Clone, Debug, Default)]
struct Journal(Vec<Bytes>);

impl StateMachine for Journal {
    fn apply(&mut self, command: Command<'_>) -> Bytes {
        self.0.push(command.payload.clone());
        command.payload.clone()
    }

    fn digest(&self) -> u64 {
        self.0.len() as u64
    }

    fn write_snapshot(&self, _sink: &mut dyn Write) -> std::io::Result<()> {
        unreachable!("these worlds are too short for snapshots")
    }

    fn read_snapshot(&self, _source: &mut dyn Read) -> Result<Self, CorruptSnapshot> {
        unreachable!("these worlds are too short for snapshots")
    }
}

type Replies = BTreeMap<RequestId, Result<Bytes, Rejection>>;

/// Three replicas with disks that are done at once, and a network from which some are cut off.
struct World {
    now: u64,
    replicas: BTreeMap<NodeId, Replica<Journal>>,
    cut_off: Vec<NodeId>,
    replies: Replies,
}

fn settings(id: NodeId) -> Settings {
    Settings {
        raft: Config {
            id,
            membership: Membership {
                voters: vec![1, 2, 3],
                learners: Vec::new(),
            },
            election_timeout: 100 * MS,
            heartbeat_interval: 20 * MS,
            max_inflight_messages: 16,
            max_inflight_bytes: 1 << 20,
            max_append_bytes: 1 << 20,
            max_uncommitted_bytes: 1 << 20,
            max_apply_bytes: 1 << 20,
            max_pending_reads: 16,
            pre_vote: true,
            check_quorum: true,
            lease_reads: false,
            max_clock_drift_ppm: 0,
            mutant: None,
        },
        max_command_bytes: 1 << 10,
        max_pending: 16,
        request_timeout: 3_600_000 * MS,
        snapshot_entries: u64::MAX,
        snapshot_bytes: u64::MAX,
        keep_entries: 1,
        snapshot_retry: 1_000 * MS,
        snapshot_window: 1 << 20,
        hold_bytes: 1 << 20,
        mutant: None,
    }
}

impl World {
    fn new() -> World {
        let replica = |id: NodeId| {
            let recovered = Recovered {
                hard_state: HardState::default(),
                snapshot: None,
                entries: Vec::new(),
                state: State::new(Journal::default()),
                repaired: None,
            };
            let rng = ChaCha8Rng::seed_from_u64(id);
            Replica::new(settings(id), recovered, id, rng, 0).expect("good settings")
        };
        World {
            now: 0,
            replicas: (1..=3).map(|id| (id, replica(id))).collect(),
            cut_off: Vec::new(),
            replies: BTreeMap::new(),
        }
    }

    fn replica(&mut self, id: NodeId) -> &mut Replica<Journal> {
        self.replicas.get_mut(&id).expect("one of three")
    }

    /// Does what the replicas want until they want nothing more.
    fn settle(&mut self) {
        loop {
            let mut messages = Vec::new();
            let now = self.now;
            for (&id, replica) in &mut self.replicas {
                while let Some(output) = replica.poll_output() {
                    match output {
                        Output::Send { to, message } => messages.push((id, to, message)),
                        Output::Store(StoreCommand::Persist { id, .. }) => {
                            replica.handle_stored(now, StoreDone::Persisted { id });
                        }
                        other @ (Output::Store(_)
                        | Output::ApplyOnDisk { .. }
                        | Output::InstallOnDisk { .. }) => panic!("{other:?}"),
                        Output::Reply { request, result } => {
                            let result = result.map(|(_, outcome)| match outcome {
                                Outcome::Applied(bytes) => bytes,
                                other => panic!("{other:?}"),
                            });
                            let before = self.replies.insert(request, result);
                            assert_eq!(before, None, "one answer a request");
                        }
                        Output::ReadReady { request } => {
                            let state = replica.state().machine().0.concat();
                            self.replies.insert(request, Ok(state.into()));
                        }
                        Output::ReadRejected { request, rejection } => {
                            self.replies.insert(request, Err(rejection));
                        }
                        Output::Event(_) => {}
                    }
                }
            }
            if messages.is_empty() {
                return;
            }
            for (from, to, message) in messages {
                self.deliver(from, to, message);
            }
        }
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, message: Message) {
        if !self.cut_off.contains(&from) && !self.cut_off.contains(&to) {
            let now = self.now;
            self.replica(to).handle_message(now, 0, message);
        }
    }

    /// Lets time pass until somebody leads whom the others can reach; who.
    fn elect(&mut self) -> NodeId {
        loop {
            self.now += MS;
            for replica in self.replicas.values_mut() {
                replica.handle_timeout(self.now);
            }
            self.settle();
            let leads = |(id, replica): &(&NodeId, &Replica<Journal>)| {
                replica.raft().role() == Role::Leader && !self.cut_off.contains(id)
            };
            if let Some((&id, _)) = self.replicas.iter().find(leads) {
                return id;
            }
        }
    }

    fn propose(&mut self, id: NodeId, payload: &'static str) -> RequestId {
        let now = self.now;
        let command = (None, Bytes::from_static(payload.as_bytes()));
        let results = self.replica(id).propose(now, 0, [command]);
        results[0].expect("taken")
    }
}

#[test]
fn what_was_passed_on_to_a_lost_leader_is_rejected_for_certain() {
    let mut world = World::new();
    let leader = world.elect();
    let follower = leader % 3 + 1;
    let early = world.propose(follower, "early ");
    world.settle();
    assert_eq!(
        world.replies.get(&early),
        Some(&Ok(Bytes::from_static(b"early ")))
    );

    // The leader is cut off; what is asked now gets lost on the way to it.
    world.cut_off = vec![leader];
    let lost = world.propose(follower, "lost ");
    let now = world.now;
    let read = world.replica(follower).read(now, Consistency::Linearizable);
    let read = read.expect("taken");
    // The lost leader takes something too, and nobody else will ever see it.
    let alone = world.propose(leader, "alone ");
    world.settle();
    assert!(
        [lost, read, alone]
            .iter()
            .all(|request| !world.replies.contains_key(request))
    );

    world.elect();
    assert_eq!(
        world.replies.get(&lost),
        Some(&Err(Rejection::LeaderChanged))
    );
    assert_eq!(
        world.replies.get(&read),
        Some(&Err(Rejection::LeaderChanged))
    );
    assert!(Rejection::LeaderChanged.is_definite());
    assert_eq!(world.replies.get(&alone), None, "it cannot know yet");

    world.cut_off.clear();
    let late = world.propose(follower, "late ");
    while !world.replies.contains_key(&late) || !world.replies.contains_key(&alone) {
        world.elect();
    }
    assert_eq!(world.replies[&alone], Err(Rejection::LeaderChanged));
    for (id, replica) in &world.replicas {
        let applied = replica.state().machine().0.concat();
        assert_eq!(applied, b"early late ", "replica {id}");
    }
}

#[test]
fn what_a_deposed_leader_had_replicated_is_answered_with_its_outcome() {
    let mut world = World::new();
    let leader = world.elect();
    let follower = leader % 3 + 1;
    let request = world.propose(follower, "kept");
    // The proposal reaches the leader, and its append the others; then the leader is cut off before it hears so.
    for _ in 0..2 {
        let now = world.now;
        let mut messages = Vec::new();
        for (&id, replica) in &mut world.replicas {
            while let Some(output) = replica.poll_output() {
                match output {
                    Output::Send { to, message } => messages.push((id, to, message)),
                    Output::Store(StoreCommand::Persist { id, .. }) => {
                        replica.handle_stored(now, StoreDone::Persisted { id });
                    }
                    _ => {}
                }
            }
        }
        for (from, to, message) in messages {
            world.deliver(from, to, message);
        }
    }
    world.cut_off = vec![leader];
    world.settle();
    assert!(!world.replies.contains_key(&request));
    world.elect();
    world.settle();
    assert_eq!(
        world.replies.get(&request),
        Some(&Ok(Bytes::from_static(b"kept")))
    );
}
