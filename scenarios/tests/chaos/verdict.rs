//! What is held against the history: the log as a watch tells it, the search for an order, and the nodes' contents.

use crate::{
    cluster::{Cluster, wait_for},
    load,
};
use holdfast_host::Host;
use holdfast_node::{
    client::{Client, ClientConfig, RangeQuery, WatchItem},
    wire::{Consistency, RangeReply},
};
use holdfast_scenarios::raft_kv::http::{self, change, everything};
use holdfast_sim::check::{
    Violation,
    kv::{self, Change, Found, Operation},
};
use std::collections::BTreeMap;

/// Judges the history of clients that have stopped, and the nodes that they left.
///
/// # Panics
/// When anything is not as it must be.
pub async fn check(cluster: &Cluster, history: &[Operation]) {
    let contents = contents(cluster).await;
    let changes = changes(cluster, contents.revision).await;
    judge(history, &changes).unwrap_or_else(|violation| panic!("{violation}"));
    let found: Vec<Found> = contents.kvs.iter().map(http::found).collect();
    assert_eq!(found, outcome(&changes), "the nodes hold what the log says");
    check_that_a_loss_shows(history, changes);
}

/// The same verdict on the same history, had the log lost a write that was acknowledged.
fn check_that_a_loss_shows(history: &[Operation], mut changes: Vec<Change>) {
    let revision = history.iter().rev().find_map(|operation| {
        let (_, answer) = operation.returned.as_ref()?;
        load::is_write(answer).then_some(answer.revision)
    });
    let revision = revision.expect("writes were acknowledged");
    changes.retain(|change| change.revision != revision);
    let violation = judge(history, &changes).expect_err("a write was lost");
    assert_eq!(violation.property, "witness");
}

/// Whether clients were told the truth: every answer against the log, and against the other answers.
pub fn judge(history: &[Operation], changes: &[Change]) -> Result<(), Violation> {
    kv::witness(history, changes)?;
    kv::linearizable(history)
}

/// What every node holds by itself, which must be the same once all are equally far.
async fn contents(cluster: &Cluster) -> RangeReply {
    let statuses = wait_for(cluster.host(), "all nodes to be equally far", async || {
        let all = cluster.digests().await?;
        let is_level = |s: &&holdfast_node::wire::StatusReply| {
            s.applied == all[0].applied && s.applied == s.last_index
        };
        (all.iter().filter(is_level).count() == all.len()).then_some(all)
    });
    for status in statuses.await.windows(2) {
        assert!(status[0].digest.is_some());
        assert_eq!(status[0].digest, status[1].digest, "{status:?}");
    }
    let mut contents: Option<RangeReply> = None;
    for endpoint in cluster.endpoints() {
        let client = client(cluster.host(), std::slice::from_ref(endpoint));
        let query = RangeQuery {
            keys: everything(),
            consistency: Consistency::Stale,
            ..RangeQuery::default()
        };
        let held = client.range(&query).await.expect("it runs");
        let others = contents.get_or_insert_with(|| held.clone());
        assert_eq!(&held, others, "{endpoint} holds the same as the others");
    }
    contents.expect("there are nodes")
}

/// Everything that happened up to `revision`, as a watch tells it.
async fn changes(cluster: &Cluster, revision: u64) -> Vec<Change> {
    let client = client(cluster.host(), cluster.endpoints());
    let mut watch = client.watch(everything(), Some(1));
    let mut changes = Vec::new();
    while watch.next_revision().is_none_or(|next| next <= revision) {
        match watch.next().await.expect("nothing was compacted") {
            WatchItem::Events { revision, events } => {
                changes.extend(events.iter().map(|event| change(revision, event)));
            }
            WatchItem::Progress { .. } => {}
        }
    }
    changes
}

/// What changes lead to, in order of keys.
fn outcome(changes: &[Change]) -> Vec<Found> {
    let mut held = BTreeMap::new();
    for change in changes {
        match change.value {
            None => held.remove(&change.key),
            Some(value) => held.insert(
                change.key,
                Found {
                    key: change.key,
                    value,
                    modified: change.revision,
                },
            ),
        };
    }
    held.into_values().collect()
}

fn client(host: &Host, endpoints: &[String]) -> Client {
    Client::new(host, ClientConfig::new(endpoints.to_vec()))
}
