//! The client of this crate: what it retries, and that its watches outlive a node's restart.

use crate::{node::TestNode, proxy::Proxy};
use holdfast_kv::KvCommand;
use holdfast_node::{
    client::{Client, ClientConfig, ClientError, Condition, RangeQuery, Retry, Watch, WatchItem},
    http::ProblemKind,
    race::{First, first},
    wire::{Consistency, Key, KeySet, TxnOp, TxnPut, TxnRequest, Value},
};
use holdfast_replica::{MAX_SESSIONS, Session};
use std::{net::TcpListener, time::Duration};

/// A client that goes on trying for a minute, at these addresses.
fn client(node: &TestNode, endpoints: Vec<String>) -> Client {
    let mut config = ClientConfig::new(endpoints);
    config.retry = Retry::For(Duration::from_secs(60));
    Client::new(node.host(), config)
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").to_string()
}

#[test]
fn every_call_has_its_answer() {
    let node = TestNode::start();
    let client = client(&node, vec![node.address.to_string()]);
    node.runtime.block_on(async {
        let stale = Consistency::Stale;
        let key = &b"a\0\xff/b"[..];
        assert_eq!(client.get(key, None, stale).await, Ok(None));
        let put = client.put(key, "1", Condition::Absent).await.expect("put");
        assert_eq!(put.revision, 2);
        let again = client
            .put(key, "2", Condition::Absent)
            .await
            .expect_err("it is there");
        assert_eq!(again.refusal(), Some(ProblemKind::PreconditionFailed));
        assert!(again.is_definite());
        client
            .put(key, "2", Condition::ModRevision(2))
            .await
            .expect("put");
        let got = client.get(key, None, Consistency::Linearizable).await;
        let got = got.expect("read").expect("there");
        assert_eq!(
            (got.pair.key, got.pair.value),
            (Key::from(key.to_vec()), Some(Value::from("2")))
        );
        let old = client.get(key, Some(2), Consistency::Linearizable).await;
        assert_eq!(old.expect("read").expect("there").pair.version, 1);
        let txn = TxnRequest {
            success: vec![TxnOp::Put(TxnPut {
                key: "b".into(),
                value: "3".into(),
                prev_kv: false,
            })],
            ..TxnRequest::default()
        };
        assert!(client.txn(&txn).await.expect("done").succeeded);
        let all = RangeQuery {
            keys: KeySet::prefix(""),
            ..RangeQuery::default()
        };
        assert_eq!(client.range(&all).await.expect("read").count, 2);
        let deleted = client.delete_range(&KeySet::one("b")).await.expect("done");
        assert_eq!((deleted.deleted, deleted.revision), (1, 5));
        assert_eq!(
            client
                .delete(b"b", Condition::None)
                .await
                .expect("done")
                .deleted,
            0
        );
        assert_eq!(client.compact(5).await.expect("done").compact_revision, 5);
        let status = client.status(&client.endpoints()[0]).await.expect("told");
        assert_eq!((status.role.as_str(), status.keys), ("leader", 1));
        client.transfer_leader(1).await.expect("asked");
    });
}

#[test]
fn a_client_goes_on_where_somebody_listens() {
    let node = TestNode::start();
    let endpoints = vec![nowhere(), nowhere(), node.address.to_string()];
    let client = client(&node, endpoints);
    node.runtime.block_on(async {
        for round in 1..6_u64 {
            let put = client.put(b"a", "v", Condition::None).await.expect("put");
            assert_eq!(put.revision, round + 1);
        }
    });
}

#[test]
fn a_client_that_reaches_nobody_knows_that_nothing_happened() {
    let node = TestNode::start();
    let nowhere = nowhere();
    let single = Client::new(
        node.host(),
        ClientConfig::single_attempt(vec![nowhere.clone()]),
    );
    let put = node
        .runtime
        .block_on(single.put(b"a", "v", Condition::None));
    let error = put.expect_err("nobody listens");
    assert!(
        matches!(&error, ClientError::Unreachable { endpoint, .. } if *endpoint == nowhere),
        "{error}"
    );
    assert!(error.is_definite());
}

#[test]
fn a_watch_outlives_its_node() {
    let mut node = TestNode::start();
    let client = client(&node, vec![node.address.to_string()]);
    let mut watch = client.watch(KeySet::prefix("k"), Some(1));
    let mut seen = Vec::new();
    for round in 0..4 {
        for _ in 0..5 {
            node.put("k", "v").expect_json();
        }
        let runtime = node.runtime.handle().clone();
        while seen.len() < (round + 1) * 5 {
            match runtime.block_on(watch.next()).expect("it goes on") {
                WatchItem::Events { revision, .. } => seen.push(revision),
                WatchItem::Progress { .. } => {}
            }
        }
        // The next changes happen while nobody watches.
        node.restart();
    }
    let expected: Vec<u64> = (2..22).collect();
    assert_eq!(seen, expected, "nothing missed, nothing twice");
}

/// The node stays away for longer than the client goes on trying, but the client has not tried yet.
#[test]
fn a_watch_outlives_a_node_that_falls_silent() {
    let node = TestNode::start();
    let proxy = Proxy::start(node.address, 1);
    let mut config = ClientConfig::new(vec![proxy.address.to_string()]);
    config.retry = Retry::For(Duration::from_secs(1));
    config.watch_silence = Duration::from_secs(2);
    let client = Client::new(node.host(), config);
    let mut watch = client.watch(KeySet::prefix("k"), Some(1));
    node.runtime.block_on(async {
        // The first connection is open and says nothing any more.
        let none = node
            .host()
            .timeout(Duration::from_millis(200), watch.next());
        none.await.expect_err("nothing has happened");
    });
    node.put("k", "v").expect_json();
    match node.runtime.block_on(watch.next()).expect("it goes on") {
        WatchItem::Events { revision, .. } => assert_eq!(revision, 2),
        item => panic!("{item:?}"),
    }
}

#[test]
fn a_watch_that_is_not_waited_for_keeps_its_connection() {
    let node = TestNode::start();
    let client = client(&node, vec![node.address.to_string()]);
    let mut watch = client.watch(KeySet::prefix("k"), Some(1));
    let accepted = || node.metric("holdfast_http_connections_total");
    let before = accepted();
    let wait = |watch: &mut Watch| {
        let host = node.host().clone();
        let waited = async { host.timeout(Duration::from_millis(300), watch.next()).await };
        node.runtime.block_on(waited)
    };
    for _ in 0..3 {
        wait(&mut watch).expect_err("nothing has happened");
    }
    node.put("k", "v").expect_json();
    let item = node.runtime.block_on(watch.next()).expect("it goes on");
    assert!(matches!(item, WatchItem::Events { revision: 2, .. }));
    // The watch's, the put's, and this look's.
    assert_eq!(accepted() - before, 3);
}

#[test]
fn a_session_outlives_its_node() {
    let mut node = TestNode::start();
    let client = client(&node, vec![node.address.to_string()]);
    for round in 0..3_u64 {
        let put = client.put(b"k", "v", Condition::None);
        assert_eq!(node.runtime.block_on(put).expect("put").revision, round + 2);
        node.restart();
    }
}

/// What a dropped call did is not known; the next one must not be taken for its retry.
#[test]
fn a_call_that_was_dropped_is_not_answered_for_the_next_one() {
    let node = TestNode::start();
    let proxy = Proxy::start(node.address, 0);
    let client = client(&node, vec![proxy.address.to_string()]);
    node.runtime.block_on(async {
        let arrived = node
            .host()
            .blocking(move |_| proxy.kept.recv().expect("the node answered"));
        let put = client.put(b"a", "first", Condition::None);
        match first(put, arrived).await {
            First::One(put) => panic!("no answer can come: {put:?}"),
            First::Other(()) => {}
        }
        let put = client.put(b"a", "second", Condition::None).await;
        assert_eq!(put.expect("put").revision, 3);
        let held = client.get(b"a", None, Consistency::Linearizable).await;
        let held = held.expect("read").expect("there").pair;
        assert_eq!(held.value, Some(Value::from("second")));
    });
}

/// A session that was forgotten is not begun anew by a retry, and a client that knows none that long finds its way.
#[test]
fn sessions_that_were_forgotten_are_refused_and_clients_open_others() {
    let node = TestNode::start();
    let old = "000000000000000000000000000000ff:1";
    let put = |ticket: &str| {
        let header = format!("Holdfast-Session: {ticket}");
        node.request("PUT", "/v1/kv/keys/old", &[&header], b"v")
    };
    put(old).expect_json();
    put(old).expect_json();
    let command = KvCommand::Compact { revision: 0 }.encode();
    node.runtime.block_on(async {
        for client in (0..=MAX_SESSIONS as u128).step_by(1000) {
            let propose = |client| {
                let session = Session {
                    client: client + 1000,
                    sequence: 1,
                };
                let (replica, command) = (node.replica().clone(), command.clone());
                tokio::spawn(async move { replica.propose(Some(session), command).await })
            };
            let proposed: Vec<_> = (client..client + 1000).map(propose).collect();
            for one in proposed {
                one.await.expect("it runs").expect("carried out");
            }
        }
    });
    let refused = put(old).expect_problem(409, "unknown-session");
    let index = refused["index"].as_u64().expect("an index");
    assert_eq!(node.get("/v1/kv/keys/old").expect_json()["version"], 1);
    put(&format!("{index:016x}00000000000000ff:1")).expect_json();
    let client = client(&node, vec![node.address.to_string()]);
    for revision in [4, 5] {
        let put = client.put(b"new", "v", Condition::None);
        let put = node.runtime.block_on(put).expect("put");
        assert_eq!(put.revision, revision);
    }
}

#[test]
fn a_watch_of_what_was_compacted_says_so() {
    let node = TestNode::start();
    let client = client(&node, vec![node.address.to_string()]);
    for _ in 0..3 {
        node.put("k", "v").expect_json();
    }
    node.post("/v1/kv/compact", "{\"revision\": 3}")
        .expect_json();
    let mut watch = client.watch(KeySet::prefix("k"), Some(2));
    let error = node.runtime.block_on(watch.next()).expect_err("compacted");
    assert_eq!(error.refusal(), Some(ProblemKind::Compacted));
}

#[test]
fn a_connection_serves_many_requests() {
    let node = TestNode::start();
    let client = client(&node, vec![node.address.to_string()]);
    let accepted = || node.metric("holdfast_http_connections_total");
    let before = accepted();
    node.runtime.block_on(async {
        for _ in 0..200 {
            client.put(b"a", "v", Condition::None).await.expect("put");
        }
    });
    // One for this look at the metrics. Under load some are given up, because the end of an answer is seen late.
    let made = accepted() - before - 1;
    assert!(
        (1..150).contains(&made),
        "{made} connections for 200 requests"
    );
}
