//! `raft-kv` in the full lane: whole nodes, and clients that talk HTTP with them.

use super::{
    Story, cpu_ns, failure,
    http::{self, CompareBy, carry_out},
    record,
    settings::{Chosen, choose},
    workload::Generator,
};
use crate::{Outcome, Run};
use holdfast_host::Host;
use holdfast_node::{
    Node,
    client::{Client, ClientConfig, ClientError, Retry, WatchItem},
    config::NodeConfig,
    wire::StatusReply,
};
use holdfast_raft::Role;
use holdfast_record::{Lane, TimelineEvent};
use holdfast_replica::Mutant;
use holdfast_sim::{
    check::kv::{Change, Operation, Watch},
    full::{self, Settings, World},
    plan::FaultPlan,
};
use std::{net::SocketAddr, time::Duration};

pub use holdfast_sim::full::MARKS;

const CLIENTS: u32 = 6;
const WATCHERS: u32 = 2;
/// The mean pause of a client between calls: with what the calls take, about a hundred calls a second in all.
const PAUSE_NS: u64 = 45_000_000;
const CLIENT_PORT: u16 = 7480;
const PEER_PORT: u16 = 7481;
/// How often a node's role is looked at, for the faults that strike the leader.
const LOOK: Duration = Duration::from_millis(10);
/// How long one attempt of a client may take.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long a client tries again.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the clients and the judge bring back.
struct Told {
    history: Vec<Operation>,
    watches: Vec<Watch>,
    /// What the log did; `None` when the judge could not read it.
    changes: Option<Vec<Change>>,
}

/// Runs a plan and judges the run.
pub fn run(plan: FaultPlan, run: &Run) -> Outcome {
    let mutant = run.mutant.map(|planted| planted.mutant);
    let chosen = choose(&plan, mutant);
    let mut record = record(Lane::Full, &plan);
    let mut settings = Settings::new(plan, CLIENTS + WATCHERS + 1);
    settings.timeline = run.timeline;
    let began = cpu_ns();
    let ended = full::run(settings, move |world| simulate(world, chosen, mutant));
    record.cpu_ns = cpu_ns() - began;
    record.simulated_ns = ended.simulated.as_nanos() as u64;
    record.messages = ended.counts.segments + ended.counts.datagrams;
    let faults = ended.counts.faults.iter();
    record.faults = faults
        .map(|(kind, count)| (kind.to_string(), *count))
        .collect();
    record.marks = ended.marks;
    record.trace_hash = format!("{:016x}", ended.trace_hash);
    record.failure = ended.failures.into_iter().next();
    if let Some(told) = ended.output {
        let answered = told.history.iter().filter(|o| o.returned.is_some()).count() as u64;
        record.operations = answered;
        record.unknown = told.history.len() as u64 - answered;
        if record.failure.is_none()
            && let Some(changes) = told.changes
        {
            let story = Story {
                history: told.history,
                watches: told.watches,
                changes,
            };
            if let Err(violation) = story.check() {
                record.failure = Some(failure(&(record.simulated_ns, violation)));
            }
        }
    }
    Outcome {
        record,
        timeline: ended.timeline,
    }
}

async fn simulate(world: World, chosen: Chosen, mutant: Option<Mutant>) -> Told {
    let nodes = world.plan().nodes;
    for node in 0..nodes {
        let (outside, config) = (world.clone(), config(node, nodes, &chosen));
        world.machine(&name(node), move |host| {
            live(outside.clone(), host, node, config.clone(), mutant)
        });
    }
    let endpoints: Vec<String> = (0..nodes)
        .map(|node| format!("{}:{CLIENT_PORT}", name(node)))
        .collect();
    let seed = world.plan().seed;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (outside, endpoints) = (world.clone(), endpoints.clone());
            let generator = Generator::new(seed, number, chosen.keys);
            world.client(&format!("client-{}", number + 1), move |host| {
                ask(outside, host, number, endpoints, generator)
            })
        })
        .collect();
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|number| {
            let (outside, endpoints) = (world.clone(), endpoints.clone());
            world.client(&format!("watcher-{}", number + 1), move |host| {
                watch(outside, host, endpoints)
            })
        })
        .collect();
    world.until_end().await;
    let outside = world.clone();
    let judge = world.client("judge", move |host| judge(outside, host, endpoints));
    let changes = judge.await.flatten();
    let mut history = Vec::new();
    for client in clients {
        history.extend(client.await.into_iter().flatten());
    }
    let mut watches = Vec::new();
    for watcher in watchers {
        watches.extend(watcher.await);
    }
    Told {
        history,
        watches,
        changes,
    }
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
    config
}

/// A node's process, from its start to its end.
async fn live(outside: World, host: Host, node: u32, config: NodeConfig, mutant: Option<Mutant>) {
    let before = outside.disk(node, |disk| disk.counts().errors);
    let is_faulty = |outside: &World| outside.disk(node, |disk| disk.counts().errors) > before;
    let started = match Node::start_with(host.clone(), config, mutant).await {
        Ok(started) => started,
        Err(error) => {
            if !is_faulty(&outside) {
                let message = format!("a node cannot start after a crash: {error}");
                outside.fail("recovery", message, Some(node));
            }
            return;
        }
    };
    let (replica, seen) = (started.replica().clone(), outside.clone());
    let looking = host.clone();
    host.spawn("role", async move {
        while let Ok(status) = replica.status().await {
            let role = match status.role {
                Role::Leader => full::LEADER,
                Role::Follower => "follower",
                Role::PreCandidate => "pre-candidate",
                Role::Candidate => "candidate",
            };
            seen.note_state(node, role, status.term);
            looking.sleep(LOOK).await;
        }
    });
    let why = started.failed().await;
    if !is_faulty(&outside) {
        outside.fail("storage", why, Some(node));
    }
}

/// A client: half of them have sessions and try again, the others make one attempt a call.
async fn ask(
    outside: World,
    host: Host,
    number: u32,
    endpoints: Vec<String>,
    mut generator: Generator,
) -> Vec<Operation> {
    let mut config = match number % 2 {
        0 => ClientConfig {
            retry: Retry::For(PATIENCE),
            ..ClientConfig::new(endpoints)
        },
        _ => ClientConfig::single_attempt(endpoints),
    };
    config.connect_timeout = ATTEMPT;
    config.attempt_timeout = ATTEMPT;
    let client = Client::new(&host, config);
    let by = match number < CLIENTS / 2 {
        true => CompareBy::Txn,
        false => CompareBy::Tag,
    };
    let lane = outside.plan().nodes + number;
    let mut history = Vec::new();
    while !outside.is_quiescing() {
        let pause = generator.pause(PAUSE_NS);
        host.sleep(Duration::from_nanos(pause)).await;
        let call = generator.call();
        let called = outside.now().as_nanos() as u64;
        let result = carry_out(&client, by, &call).await;
        let now = outside.now().as_nanos() as u64;
        let returned = match result {
            Ok(answer) => {
                generator.learn(&call, &answer);
                Some((now, answer))
            }
            Err(error) if error.is_definite() => {
                if !http::is_passing(&call, &error) {
                    let message = format!("{call:?} was refused: {error}");
                    outside.fail("refusal", message, None);
                }
                continue;
            }
            Err(_) => None,
        };
        outside.timeline(|_, recording| {
            let told = returned.as_ref().map(|(_, answer)| answer);
            recording.push(TimelineEvent::Operation {
                at: called,
                until: returned.as_ref().map(|(at, _)| *at),
                lane,
                label: format!("{call:?} -> {told:?}"),
            });
        });
        history.push(Operation {
            client: number,
            called,
            call,
            returned,
        });
    }
    history
}

/// Watches everything from the beginning until clients have gone quiet.
async fn watch(outside: World, host: Host, endpoints: Vec<String>) -> Watch {
    let config = ClientConfig {
        connect_timeout: ATTEMPT,
        ..ClientConfig::new(endpoints)
    };
    let client = Client::new(&host, config);
    let mut watch = client.watch(http::everything(), Some(1));
    let mut told = Watch {
        from: 1,
        seen: Vec::new(),
        complete_before: 1,
    };
    while !outside.is_quiescing() {
        // An item under way is not lost when the time is over: the watch keeps it.
        let Ok(item) = host.timeout(ATTEMPT, watch.next()).await else {
            continue;
        };
        match item {
            Ok(WatchItem::Events { revision, events }) => {
                told.seen
                    .extend(events.iter().map(|event| http::change(revision, event)));
                told.complete_before = revision + 1;
            }
            Ok(WatchItem::Progress { revision }) => {
                told.complete_before = told.complete_before.max(revision + 1);
            }
            // Nobody could be asked for a while.
            Err(error) if error.refusal().is_none_or(|kind| kind != compacted()) => {}
            Err(error) => {
                outside.fail("watch", error.to_string(), None);
                break;
            }
        }
    }
    told
}

fn compacted() -> holdfast_node::http::ProblemKind {
    holdfast_node::http::ProblemKind::Compacted
}

/// After the last fault: one leader, equal nodes, and the whole log as a watch tells it.
async fn judge(outside: World, host: Host, endpoints: Vec<String>) -> Option<Vec<Change>> {
    let client = Client::new(&host, ClientConfig::new(endpoints.clone()));
    let mut statuses: Vec<StatusReply> = Vec::new();
    for (node, endpoint) in endpoints.iter().enumerate() {
        match client.status_with_digest(endpoint).await {
            Ok(status) => statuses.push(status),
            Err(error) => {
                let message = format!("a node does not answer long after the last fault: {error}");
                outside.fail("liveness", message, Some(node as u32));
                return None;
            }
        }
    }
    let leaders = statuses.iter().filter(|s| s.role == "leader").count();
    if leaders != 1 {
        let message = format!("{leaders} leaders long after the last fault");
        outside.fail("liveness", message, None);
        return None;
    }
    for (node, status) in statuses.iter().enumerate() {
        let first = &statuses[0];
        if status.applied != first.applied {
            let message = format!("applied {}, node 1 has {}", status.applied, first.applied);
            outside.fail("convergence", message, Some(node as u32));
            return None;
        }
        if status.digest != first.digest {
            let message = format!(
                "after entry {} its state differs from node 1's",
                status.applied
            );
            outside.fail("equal-state", message, Some(node as u32));
            return None;
        }
    }
    match changes(&client, statuses[0].revision).await {
        Ok(changes) => Some(changes),
        Err(error) => {
            outside.fail("watch", error.to_string(), None);
            None
        }
    }
}

/// Everything that happened up to `revision`, as a watch tells it.
async fn changes(client: &Client, revision: u64) -> Result<Vec<Change>, ClientError> {
    let mut watch = client.watch(http::everything(), Some(1));
    let mut changes = Vec::new();
    while watch.next_revision().is_none_or(|next| next <= revision) {
        if let WatchItem::Events { revision, events } = watch.next().await? {
            changes.extend(events.iter().map(|event| http::change(revision, event)));
        }
    }
    Ok(changes)
}
