//! `raft-kv` in the full lane: whole nodes, and clients that talk HTTP with them.
//!
//! [`stage`] stands in every node and looks on, [`people`] ask, watch and operate, [`judge`] has the last word.

mod judge;
mod people;
mod stage;

use super::{
    NAME,
    settings::{Chosen, choose},
    workload::is_command,
};
use crate::{
    Outcome, Run,
    record::{cpu_ns, failure, record, take_in},
};
use holdfast_host::Host;
use holdfast_node::{
    Node, Rig,
    config::NodeConfig,
    race::{First, first},
};
use holdfast_record::{Failure, Lane, TimelineEvent};
use holdfast_replica::Mutant;
use holdfast_sim::{
    check::{
        Violation,
        kv::{self, Change, Operation},
    },
    draw::{Domain, Draws},
    full::{self, Settings, World},
    plan::FaultPlan,
};
use people::{ask, operate, watch};
use stage::{Stage, Watched};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// What must have happened in some seed. The last three are the world's own.
pub const MARKS: &[&str] = &[
    "append-conflict-repaired",
    "compacted",
    "duplicate-suppressed",
    "leader-changed-during-write",
    "leader-lost-quorum",
    "leadership-handed-over",
    "lease-read-served",
    "quorum-read-served",
    "read-forwarded",
    "session-retry-answered",
    "shut-down-in-order",
    "snapshot-installed",
    "snapshot-taken",
    "stopped-by-a-failed-sync",
    "torn-tail-repaired",
    "transfer-accepted",
    "watch-began-later",
    "watch-lost-to-compaction",
    "watch-of-some-keys-told",
    "watch-resumed",
    "all-nodes-lost-power",
    "power-failed-in-a-disk-job",
    "wall-clock-went-back",
];

const CLIENTS: u32 = 6;
const WATCHERS: u32 = 4;
const CLIENT_PORT: u16 = 7480;
const PEER_PORT: u16 = 7481;
/// How long one attempt of a client may take.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How many election timeouts after the last fault every client must be served again.
const SETTLING: u32 = 5;
/// How long a node that is shut down lets requests under way finish.
const DRAIN: Duration = Duration::from_millis(500);
/// Time between a quiet watch's signs of life: well below what is left after the last fault.
const WATCH_PROGRESS: Duration = Duration::from_millis(500);

/// The entity of [`Domain::Workload`] that draws how nodes are rigged.
const RIG: u64 = 1 << 35;

/// What the clients and the judge bring back.
struct Told {
    history: Vec<Operation>,
    watches: Vec<Watched>,
    /// What the log did.
    changes: Vec<Change>,
}

impl Told {
    fn check(&self) -> Result<(), Violation> {
        kv::witness(&self.history, &self.changes)?;
        kv::linearizable(&self.history)?;
        let mut watches = self.watches.iter();
        watches.try_for_each(|watched| watched.check(&self.changes))
    }
}

/// Runs a plan and judges the run.
pub fn run(plan: FaultPlan, run: &Run) -> Outcome {
    let mutant = run.mutant.and_then(|planted| planted.replica());
    let chosen = choose(&plan, mutant);
    let mut record = record(NAME, Lane::Full, &plan);
    // Beside clients and watchers: who operates, and the judge.
    let mut settings = Settings::new(plan, CLIENTS + WATCHERS + 2);
    settings.timeline = run.timeline;
    settings.marks = MARKS;
    let began = cpu_ns();
    let black_box = run.black_box;
    let mut ended = full::run(settings, move |world| {
        simulate(Stage::new(world, black_box), chosen, mutant)
    });
    record.cpu_ns = cpu_ns() - began;
    take_in(&mut record, &mut ended);
    if let Some(told) = ended.output {
        let answered = told.history.iter().filter(|o| o.returned.is_some()).count() as u64;
        record.operations = answered;
        record.unknown = told.history.len() as u64 - answered;
        if record.failure.is_none()
            && let Err(violation) = told.check()
        {
            let failure = failure(&(record.simulated_ns, violation));
            if let Some(timeline) = &mut ended.timeline {
                timeline.events.push(broke(&failure));
                timeline.events.sort_by_key(TimelineEvent::at);
            }
            record.failure = Some(failure);
        }
    }
    Outcome {
        record,
        timeline: ended.timeline,
    }
}

/// What the page shows of a property that the history breaks: it is found when the run is over.
fn broke(failure: &Failure) -> TimelineEvent {
    TimelineEvent::Violation {
        at: failure.at_ns,
        lane: failure.node,
        property: failure.property.clone(),
        message: failure.message.clone(),
    }
}

async fn simulate(stage: Stage, chosen: Chosen, mutant: Option<Mutant>) -> Told {
    let world = stage.world.clone();
    let nodes = world.plan().nodes;
    let stops: Arc<Vec<Notify>> = Arc::new((0..nodes).map(|_| Notify::new()).collect());
    // Small pieces, few at a time: a transfer lasts long enough for faults to meet it.
    let mut draws = Draws::new(world.plan().seed, Domain::Workload, RIG);
    let snapshot_chunk_bytes = draws.magnitude(64, 4_096);
    let snapshot_window = snapshot_chunk_bytes * draws.range(1, 5);
    for node in 0..nodes {
        let rig = Rig {
            mutant,
            observer: Some(stage.observer(node)),
            snapshot_chunk_bytes: snapshot_chunk_bytes as usize,
            snapshot_window,
            ..Rig::default()
        };
        let (outside, config, stops) = (world.clone(), config(node, nodes, &chosen), stops.clone());
        world.machine(&name(node), move |host| {
            let (config, rig) = (config.clone(), rig.clone());
            live(outside.clone(), host, node, config, rig, stops.clone())
        });
    }
    let endpoints: Vec<String> = (0..nodes)
        .map(|node| format!("{}:{CLIENT_PORT}", name(node)))
        .collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (stage, endpoints) = (stage.clone(), endpoints.clone());
            world.client(&format!("client-{}", number + 1), move |host| {
                ask(stage, host, number, endpoints, chosen.keys)
            })
        })
        .collect();
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|number| {
            let (stage, endpoints) = (stage.clone(), endpoints.clone());
            world.client(&format!("watcher-{}", number + 1), move |host| {
                watch(stage, host, number, endpoints, chosen.keys)
            })
        })
        .collect();
    let operator = {
        let (stage, endpoints) = (stage.clone(), endpoints.clone());
        world.client("operator", move |host| {
            operate(stage, host, endpoints, stops)
        })
    };
    world.until_end().await;
    let mut history = Vec::new();
    for client in clients {
        history.extend(client.await.into_iter().flatten());
    }
    operator.await;
    let timeout = Duration::from_nanos(chosen.settings.raft.election_timeout);
    let settled = (world.horizon() + timeout * SETTLING).as_nanos() as u64;
    if let Some(message) = unserved(&history, settled) {
        world.fail("liveness", message, None);
    }
    let mut watches = Vec::new();
    for watcher in watchers {
        watches.extend(watcher.await.into_iter().flatten());
    }
    let judge = {
        let stage = stage.clone();
        world.client("judge", move |host| {
            judge::judge(stage, host, endpoints, timeout, chosen.keys)
        })
    };
    if let Some((asked, watched)) = judge.await {
        history.extend(asked);
        watches.extend(watched);
    }
    Told {
        history,
        watches,
        changes: stage.changes(),
    }
}

/// Which client had no write or no read that was called after `settled` answered, if one had not.
fn unserved(history: &[Operation], settled: u64) -> Option<String> {
    let is_served = |client: u32, is_write: bool| {
        history.iter().any(|operation| {
            operation.client == client
                && operation.called >= settled
                && operation.returned.is_some()
                && is_command(&operation.call) == is_write
        })
    };
    (0..CLIENTS).find_map(|client| {
        let missing = [(true, "write"), (false, "read")];
        let missing = missing.iter().find(|(kind, _)| !is_served(client, *kind));
        missing.map(|(_, what)| {
            format!(
                "no {what} that client {} called later than {:.3} s, long after the last fault, was answered",
                client + 1,
                settled as f64 / 1e9
            )
        })
    })
}

fn name(node: u32) -> String {
    format!("node-{}", node + 1)
}

fn config(node: u32, nodes: u32, chosen: &Chosen) -> NodeConfig {
    let mut config = NodeConfig::default();
    config.node.id = u64::from(node) + 1;
    config.node.data = "/data".into();
    config.node.listen = SocketAddr::new(World::ip(node), CLIENT_PORT);
    config.node.peer_listen = SocketAddr::new(World::ip(node), PEER_PORT);
    config.node.insecure = true;
    config.cluster.peers = (0..nodes)
        .map(|peer| (u64::from(peer) + 1, format!("{}:{PEER_PORT}", name(peer))))
        .collect();
    let (raft, settings) = (&chosen.settings.raft, &chosen.settings);
    config.raft.election_timeout = Duration::from_nanos(raft.election_timeout);
    config.raft.heartbeat_interval = Duration::from_nanos(raft.heartbeat_interval);
    config.raft.pre_vote = raft.pre_vote;
    config.raft.check_quorum = raft.check_quorum;
    config.raft.lease_reads = raft.lease_reads;
    config.raft.max_clock_drift_ppm = raft.max_clock_drift_ppm;
    config.raft.snapshot_entries = settings.snapshot_entries;
    config.raft.keep_entries = settings.keep_entries;
    config.raft.segment_bytes = chosen.segment_bytes.max(1 << 16);
    config.limits.watch_progress = WATCH_PROGRESS;
    config
}

/// A node's process, from its start to its end.
async fn live(
    outside: World,
    host: Host,
    node: u32,
    config: NodeConfig,
    rig: Rig,
    stops: Arc<Vec<Notify>>,
) {
    let before = outside.disk(node, |disk| disk.counts().errors);
    let is_faulty = |outside: &World| outside.disk(node, |disk| disk.counts().errors) > before;
    let started = match Node::start_with(host.clone(), config, rig).await {
        Ok(started) => started,
        Err(error) => {
            if is_faulty(&outside) {
                outside.mark("stopped-by-a-failed-sync");
            } else {
                let message = format!("a node cannot start after a crash: {error}");
                outside.fail("recovery", message, Some(node));
            }
            return;
        }
    };
    let told = first(started.failed(), stops[node as usize].notified()).await;
    match told {
        First::One(why) if !is_faulty(&outside) => outside.fail("storage", why, Some(node)),
        First::One(_) => outside.mark("stopped-by-a-failed-sync"),
        First::Other(()) => {
            started.shutdown(DRAIN).await;
            outside.mark("shut-down-in-order");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_sim::check::kv::{Answer, Body, Call};

    fn served(from: u64) -> Vec<Operation> {
        let calls = [
            (Call::Put { key: 1, value: 1 }, Body::Put),
            (Call::Get { key: 1 }, Body::Read(Vec::new())),
        ];
        let all = (0..CLIENTS).flat_map(|client| calls.clone().map(|call| (client, call)));
        all.map(|(client, (call, body))| Operation {
            client,
            called: from,
            call,
            returned: Some((from + 5, Answer { revision: 2, body })),
        })
        .collect()
    }

    #[test]
    fn every_client_must_write_and_read_after_the_last_fault() {
        assert_eq!(unserved(&served(100), 100), None);
        let too_early = unserved(&served(99), 100).expect("nobody was served");
        assert!(too_early.contains("no write that client 1"), "{too_early}");
        let mut history = served(100);
        let last = history.last_mut().expect("there are clients");
        last.returned = None;
        let unanswered = unserved(&history, 100).expect("one read has no answer");
        assert!(unanswered.contains("no read that client 6"), "{unanswered}");
    }

    #[test]
    fn a_watch_of_some_keys_is_held_against_those_keys() {
        let change = |revision, key| Change {
            revision,
            key,
            value: Some(revision),
        };
        let log = [change(2, 1), change(3, 7), change(4, 2)];
        let mut watched = Watched::new(Some(1..3), 2);
        watched.watch.complete_before = 5;
        watched.watch.seen = vec![log[0], log[2]];
        assert_eq!(watched.check(&log), Ok(()));
        watched.watch.seen.insert(1, log[1]);
        assert!(
            watched.check(&log).is_err(),
            "it told of a key it is not for"
        );
        watched.keys = None;
        assert_eq!(watched.check(&log), Ok(()));
    }
}
