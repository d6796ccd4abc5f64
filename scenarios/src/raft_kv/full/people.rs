//! Clients: those who ask, those who watch, and one who operates the cluster.

use super::{
    super::{
        http::{self, CompareBy, carry_out, key_range},
        workload::{Generator, is_command},
    },
    ATTEMPT, CLIENTS, Stage, Watched,
};
use holdfast_host::Host;
use holdfast_node::{
    client::{Client, ClientConfig, ClientError, Retry, Watch, WatchItem},
    http::ProblemKind,
};
use holdfast_record::TimelineEvent;
use holdfast_sim::{
    check::kv::{Answer, Call, Operation},
    draw::{Domain, Draws},
};
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// The mean pause of a client between calls: with what the calls take, about a hundred calls a second in all.
const PAUSE_NS: u64 = 45_000_000;
/// The mean pause of the operator.
const OPERATOR_PAUSE_NS: u64 = 3_000_000_000;
/// How long before the last fault ends the operator leaves the nodes alone.
const HANDS_OFF: Duration = Duration::from_secs(2);
/// How long a watch of some keys lasts, on average, before another takes its place.
const WATCH_NS: u64 = 8_000_000_000;
/// How long a client tries again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Entities of [`Domain::Workload`] beside the clients, which are numbered from zero.
const WATCHER: u64 = 1 << 33;
const OPERATOR: u64 = 1 << 34;

/// Makes one call and writes down what became of it; `None` when it certainly was not carried out.
pub(super) async fn call(
    stage: &Stage,
    client: &Client,
    by: CompareBy,
    (number, lane): (u32, u32),
    call: Call,
) -> Option<Operation> {
    let world = &stage.world;
    let called = world.now().as_nanos() as u64;
    let is_write = is_command(&call);
    if is_write {
        stage.write_begins();
    }
    let result = carry_out(client, by, &call).await;
    if is_write {
        stage.write_ends();
    }
    let now = world.now().as_nanos() as u64;
    let returned = match result {
        Ok(answer) => {
            stage.acknowledge(answer.revision);
            Some((now, answer))
        }
        Err(error) if error.is_definite() => {
            if !http::is_passing(&call, &error) {
                world.fail("refusal", format!("{call} was refused: {error}"), None);
            }
            return None;
        }
        Err(_) => None,
    };
    world.timeline(|_, recording| {
        recording.push(TimelineEvent::Operation {
            at: called,
            until: returned.as_ref().map(|(at, _)| *at),
            lane,
            label: label(&call, returned.as_ref().map(|(_, answer)| answer)),
        });
    });
    Some(Operation {
        client: number,
        called,
        call,
        returned,
    })
}

fn label(call: &Call, answer: Option<&Answer>) -> String {
    match answer {
        Some(answer) => format!("{call} -> {answer}"),
        None => format!("{call}, never answered"),
    }
}

/// A client: half of them have sessions and try again, the others make one attempt a call.
pub(super) async fn ask(
    stage: Stage,
    host: Host,
    number: u32,
    endpoints: Vec<String>,
    keys: u32,
) -> Vec<Operation> {
    let plan = stage.world.plan();
    let mut generator = Generator::new(plan.seed, number, keys);
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
    let who = (number, plan.nodes + number);
    let mut history = Vec::new();
    while !stage.world.is_quiescing() {
        let pause = generator.pause(PAUSE_NS);
        host.sleep(Duration::from_nanos(pause)).await;
        let asked = generator.call();
        let Some(operation) = call(&stage, &client, by, who, asked).await else {
            continue;
        };
        if let Some((_, answer)) = &operation.returned {
            generator.learn(&operation.call, answer);
        }
        history.push(operation);
    }
    history
}

/// Watches: every other watcher all keys from the beginning, the others some keys, from some revision on, and others
/// after a while. Each goes on until it has been told of everything that was acknowledged when the last fault ended.
pub(super) async fn watch(
    stage: Stage,
    host: Host,
    number: u32,
    endpoints: Vec<String>,
    keys: u32,
) -> Vec<Watched> {
    let config = ClientConfig {
        connect_timeout: ATTEMPT,
        ..ClientConfig::new(endpoints)
    };
    let client = Client::new(&host, config);
    let plan = stage.world.plan();
    let entity = WATCHER + u64::from(number);
    let mut draws = Draws::new(plan.seed, Domain::Workload, entity);
    let end = stage.world.horizon() + Duration::from_nanos(plan.liveness_ns);
    let watches_all = number.is_multiple_of(2);
    let mut watched = Vec::new();
    let mut from = 1;
    loop {
        let keys = (!watches_all).then(|| some_keys(&mut draws, keys));
        let until = match watches_all {
            true => end,
            false => {
                (stage.world.now() + Duration::from_nanos(draws.exponential(WATCH_NS))).min(end)
            }
        };
        let one = Watched::new(keys, from);
        let (one, next) = watch_once(&stage, &host, &client, one, until, end).await;
        watched.push(one);
        match next {
            Next::Over => return watched,
            Next::Elsewhere => {
                // What is told from here on is told by whoever is behind, too.
                let back = draws.range(0, 50);
                from = stage.acknowledged().saturating_sub(back).max(1);
                if from > 1 {
                    stage.world.mark("watch-began-later");
                }
            }
            Next::From(oldest) => from = oldest,
        }
    }
}

/// One key or several in a row.
fn some_keys(draws: &mut Draws, keys: u32) -> Range<u32> {
    let first = draws.range(0, u64::from(keys)) as u32;
    first..first + 1 + draws.range(0, u64::from(keys - first)) as u32
}

/// What comes after a watch.
enum Next {
    /// Nothing.
    Over,
    /// Another one.
    Elsewhere,
    /// Another one from the oldest revision that is left.
    From(u64),
}

async fn watch_once(
    stage: &Stage,
    host: &Host,
    client: &Client,
    mut watched: Watched,
    until: Duration,
    end: Duration,
) -> (Watched, Next) {
    let world = &stage.world;
    let keys = match &watched.keys {
        Some(keys) => key_range(keys.clone()),
        None => http::everything(),
    };
    let told = &mut watched.watch;
    let mut watch = client.watch(keys, Some(told.from));
    let mut connections = 0;
    loop {
        if world.now() >= world.horizon() {
            let wanted = stage.acknowledged_at_horizon();
            if world.is_quiescing() && told.complete_before > wanted {
                return (watched, Next::Over);
            }
            if world.now() >= end {
                let message = format!(
                    "a watch has told what was before revision {} long after the last fault; {wanted} was \
                     acknowledged when it ended",
                    told.complete_before
                );
                world.fail("liveness", message, None);
                return (watched, Next::Over);
            }
        } else if world.now() >= until {
            return (watched, Next::Elsewhere);
        }
        // An item under way is not lost when the time is over: the watch keeps it.
        let Ok(item) = host.timeout(ATTEMPT, watch.next()).await else {
            continue;
        };
        match item {
            Ok(item) => {
                if watch.connections() > connections && connections > 0 {
                    world.mark("watch-resumed");
                }
                connections = watch.connections();
                let is_event = hear(told, item);
                if is_event && watched.keys.is_some() {
                    world.mark("watch-of-some-keys-told");
                }
            }
            Err(ClientError::Refused(problem)) if problem.kind == ProblemKind::Compacted => {
                world.mark("watch-lost-to-compaction");
                let oldest = problem.extra.get("compact_revision");
                let oldest = oldest.and_then(|revision| revision.as_u64());
                let oldest = oldest.expect("who refuses says what is left");
                return (watched, Next::From(oldest));
            }
            Err(error) if error.is_definite() && !http::is_passing_moment(&error) => {
                world.fail("watch", error.to_string(), None);
                return (watched, Next::Over);
            }
            // Nobody could be asked for a while.
            Err(_) => {}
        }
    }
}

/// Takes in what a watch tells; returns whether something happened.
pub(super) fn hear(told: &mut holdfast_sim::check::kv::Watch, item: WatchItem) -> bool {
    match item {
        WatchItem::Events { revision, events } => {
            let changes = events.iter().map(|event| http::change(revision, event));
            told.seen.extend(changes);
            told.complete_before = revision + 1;
            true
        }
        WatchItem::Progress { revision } => {
            told.complete_before = told.complete_before.max(revision + 1);
            false
        }
    }
}

/// Operates the cluster: hands leadership on, compacts, and shuts nodes down in order, which are started again as a
/// supervisor would.
pub(super) async fn operate(
    stage: Stage,
    host: Host,
    endpoints: Vec<String>,
    stops: Arc<Vec<Notify>>,
) {
    let world = &stage.world;
    let plan = world.plan();
    let lane = plan.nodes + CLIENTS + super::WATCHERS;
    let mut draws = Draws::new(plan.seed, Domain::Workload, OPERATOR);
    let mut config = ClientConfig::new(endpoints);
    config.retry = Retry::For(ATTEMPT * 2);
    config.connect_timeout = ATTEMPT;
    config.attempt_timeout = ATTEMPT;
    let client = Client::new(&host, config);
    while !world.is_quiescing() {
        let pause = draws.exponential(OPERATOR_PAUSE_NS);
        host.sleep(Duration::from_nanos(pause)).await;
        let node = draws.range(0, u64::from(plan.nodes));
        let action = draws.range(0, 10);
        // To stop a node is a fault, too: there are none after the horizon.
        let is_safe = world.now() + HANDS_OFF < world.horizon();
        let result = match action {
            0..3 if is_safe => {
                world.note(lane, || format!("hand leadership to node {}", node + 1));
                let asked = client.transfer_leader(node + 1).await;
                asked.map(|()| world.mark("transfer-accepted"))
            }
            3..5 if is_safe => {
                world.note(lane, || format!("shut node {} down", node + 1));
                stops[node as usize].notify_waiters();
                Ok(())
            }
            _ => compact(&stage, &client, lane, draws.magnitude(1, 4_000)).await,
        };
        if let Err(error) = result
            && error.is_definite()
            && !http::is_passing_moment(&error)
        {
            world.fail(
                "refusal",
                format!("the operator was refused: {error}"),
                None,
            );
        }
    }
}

/// Compacts what is older than `kept` revisions.
async fn compact(stage: &Stage, client: &Client, lane: u32, kept: u64) -> Result<(), ClientError> {
    let revision = stage.acknowledged().saturating_sub(kept).max(1);
    let world = &stage.world;
    world.note(lane, || format!("compact before rev {revision}"));
    match client.compact(revision).await {
        Ok(_) => {
            world.mark("compacted");
            Ok(())
        }
        // It was already, up to a later revision.
        Err(ClientError::Refused(problem)) if problem.kind == ProblemKind::Compacted => Ok(()),
        Err(error) => Err(error),
    }
}

/// A watch of everything since `from`, read up to and with `revision`.
pub(super) async fn read_up_to(
    client: &Client,
    from: u64,
    revision: u64,
) -> Result<Watched, ClientError> {
    let mut watched = Watched::new(None, from);
    let mut watch: Watch = client.watch(http::everything(), Some(from));
    while watched.watch.complete_before <= revision {
        hear(&mut watched.watch, watch.next().await?);
    }
    Ok(watched)
}
