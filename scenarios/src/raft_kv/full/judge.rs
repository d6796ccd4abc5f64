//! After the last fault: every node serves, one leads, all are equal, and the log is what a watch tells.

use super::{
    super::{http::CompareBy, workload::Generator},
    ATTEMPT, CLIENTS, SETTLING, Stage, WATCHERS, Watched,
    people::{call, read_up_to},
};
use holdfast_host::Host;
use holdfast_node::{
    client::{Client, ClientConfig, Retry},
    wire::StatusReply,
};
use holdfast_sim::check::kv::{Call, Operation};
use std::time::Duration;

/// How long the nodes may take to become equal when nobody asks for anything any more.
const CONVERGENCE: Duration = Duration::from_secs(5);
/// How often they are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// Looks at everything, and tells what it asked and what it was told.
pub(super) async fn judge(
    stage: Stage,
    host: Host,
    endpoints: Vec<String>,
    election_timeout: Duration,
    keys: u32,
) -> (Vec<Operation>, Vec<Watched>) {
    let mut asked = Vec::new();
    for (node, endpoint) in endpoints.iter().enumerate() {
        let bound = election_timeout * SETTLING;
        asked.extend(ask_at(&stage, &host, node as u32, endpoint, bound, keys).await);
    }
    let client = Client::new(&host, ClientConfig::new(endpoints.clone()));
    let Some(statuses) = convergence(&stage, &host, &client, &endpoints).await else {
        return (asked, Vec::new());
    };
    let leaders = statuses.iter().filter(|s| s.role == "leader").count();
    if leaders != 1 {
        let message = format!("{leaders} leaders long after the last fault");
        stage.world.fail("liveness", message, None);
    }
    for (node, status) in statuses.iter().enumerate() {
        if status.digest != statuses[0].digest {
            let message = format!(
                "after entry {} its state differs from node 1's",
                status.applied
            );
            stage.world.fail("equal-state", message, Some(node as u32));
        }
    }
    let oldest = statuses.iter().map(|status| status.compact_revision).max();
    let from = oldest.unwrap_or(1).max(1);
    match read_up_to(&client, from, statuses[0].revision).await {
        Ok(watched) => (asked, vec![watched]),
        Err(error) => {
            stage.world.fail("watch", error.to_string(), None);
            (asked, Vec::new())
        }
    }
}

/// A put and a read through one node, both answered within `bound`.
async fn ask_at(
    stage: &Stage,
    host: &Host,
    node: u32,
    endpoint: &str,
    bound: Duration,
    keys: u32,
) -> Vec<Operation> {
    let plan = stage.world.plan();
    let number = CLIENTS + node;
    let mut config = ClientConfig::new(vec![endpoint.to_owned()]);
    config.retry = Retry::For(bound);
    config.connect_timeout = ATTEMPT;
    config.attempt_timeout = ATTEMPT;
    let client = Client::new(host, config);
    // Its writes are numbered apart from those of all clients.
    let mut generator = Generator::new(plan.seed, number, keys);
    let put = loop {
        let next = generator.call();
        if matches!(next, Call::Put { .. }) {
            break next;
        }
    };
    let Call::Put { key, .. } = put else {
        unreachable!("it was waited for");
    };
    let who = (number, plan.nodes + CLIENTS + WATCHERS + 1);
    let mut asked = Vec::new();
    for one in [put, Call::Get { key }] {
        let began = stage.world.now();
        let words = one.to_string();
        let operation = call(stage, &client, CompareBy::Txn, who, one).await;
        let is_answered = operation.as_ref().is_some_and(|o| o.returned.is_some());
        asked.extend(operation);
        let took = stage.world.now() - began;
        if !is_answered || took > bound {
            let message = format!(
                "`{words}` long after the last fault: {} after {:.3} s",
                if is_answered { "answered" } else { "no answer" },
                took.as_secs_f64()
            );
            stage.world.fail("liveness", message, Some(node));
        }
    }
    asked
}

/// Waits until all nodes have applied the same entries.
async fn convergence(
    stage: &Stage,
    host: &Host,
    client: &Client,
    endpoints: &[String],
) -> Option<Vec<StatusReply>> {
    let deadline = stage.world.now() + CONVERGENCE;
    loop {
        let mut statuses: Vec<StatusReply> = Vec::new();
        for (node, endpoint) in endpoints.iter().enumerate() {
            match client.status_with_digest(endpoint).await {
                Ok(status) => statuses.push(status),
                Err(error) => {
                    let message =
                        format!("a node does not answer long after the last fault: {error}");
                    stage.world.fail("liveness", message, Some(node as u32));
                    return None;
                }
            }
        }
        let first = statuses[0].applied;
        let Some(node) = statuses.iter().position(|status| status.applied != first) else {
            return Some(statuses);
        };
        if stage.world.now() >= deadline {
            let message = format!("applied {}, node 1 has {first}", statuses[node].applied);
            stage.world.fail("convergence", message, Some(node as u32));
            return None;
        }
        host.sleep(LOOK).await;
    }
}
