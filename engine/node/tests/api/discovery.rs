//! Members found through the DHT: what a node tells, and what it believes.

use crate::{
    dht::{enable, network},
    node::{TestNode, wait_for},
    ports::free_ports,
};
use holdfast_node::{
    config::{ClusterSection, NodeConfig},
    discovery::{ClusterSecret, ItemName},
};
use holdfast_peers::NewItem;
use serde_json::{Value, json};
use std::{collections::BTreeMap, thread, time::Duration};

const SEED: [u8; 32] = [0x5e; 32];

/// Makes a node one that tells where it is.
pub fn discover(config: &mut NodeConfig) {
    enable(config);
    let file = config.node.data.with_file_name("cluster-key");
    std::fs::write(&file, "5e".repeat(32)).expect("written");
    config.discovery.key_file = Some(file);
    let node = config.node.id;
    let peers = [(node, config.node.peer_listen.to_string())];
    if config.cluster.peers.is_empty() {
        config.cluster.peers = peers.into();
    }
}

fn name() -> ItemName {
    let key = ClusterSecret::from_seed(&SEED).public();
    ItemName::new(key, ClusterSection::default().identity())
}

fn alone() -> TestNode {
    TestNode::start_with(|config| {
        let port = free_ports(1)[0];
        config.node.peer_listen.set_port(port);
        discover(config);
        // Only when a test says so.
        config.discovery.interval = Duration::from_secs(7_200);
    })
}

#[test]
fn a_node_without_discovery_says_so() {
    let node = TestNode::start_with(enable);
    let problem = node.get("/v1/dht/cluster");
    problem.expect_problem(404, "not-found");
    assert!(String::from_utf8_lossy(&problem.body).contains("discovery.key"));
}

#[test]
fn what_is_no_list_of_the_members_is_not_taken_and_not_overwritten() {
    let node = alone();
    let network = network(&node);
    let published = node.post("/v1/dht/cluster", "{}").expect_json();
    assert_eq!(published["target"], json!(name().target()), "{published}");
    assert!(published["stored"].as_u64() >= Some(8), "{published}");
    let addresses = (node.peer_address.to_string(), node.address.to_string());
    let member = json!([{"node": 1, "peer": addresses.0, "client": addresses.1}]);
    assert_eq!(published["members"], member);
    let mut sequence = published["sequence"].as_i64().expect("a number");
    assert!(sequence > 1_700_000_000, "it is a time: {sequence}");

    let others = "d1:mlli1e13:10.0.0.1:74810:eli2e13:10.0.0.2:74810:ee1:vi1ee";
    for (value, reason) in [
        ("5:hello", "no list of members"),
        (others, "lists the members {1, 2}"),
    ] {
        let salt = name().salt;
        let item = NewItem::signed(&SEED, salt.as_bytes(), sequence + 1, value.into(), None);
        let put = network.put(3, item.expect("an item"));
        assert!(node.runtime.block_on(put).expect("it ends").stored() >= 8);
        let refused = node.post("/v1/dht/cluster", "{}");
        refused.expect_problem(409, "wrong-status");
        let detail = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(detail.contains(reason), "{detail}");
        // What was right before stays so.
        let state = node.get("/v1/dht/cluster").expect_json();
        assert_eq!(state["members"], member);
        assert_eq!(state["sequence"], json!(sequence));
        assert!(
            state["error"]
                .as_str()
                .is_some_and(|error| error.contains(reason))
        );
        let found = |_: &str| {
            let get = network.get(7, name().target(), salt.as_bytes());
            node.runtime
                .block_on(get)
                .expect("it ends")
                .item
                .expect("there")
        };
        assert_eq!(found("before").value, value.as_bytes());
        let replaced = node.post("/v1/dht/cluster?replace", "{}").expect_json();
        let next = replaced["sequence"].as_i64().expect("a number");
        assert!(next > sequence + 1, "{next} after {sequence}");
        assert_eq!(
            found("after").version.map(|(sequence, _)| sequence),
            Some(next)
        );
        assert_eq!(replaced.get("error"), None);
        sequence = next;
    }
}

/// What each of two members says of itself is there in the end, however they come between each other.
#[test]
fn two_writers_do_not_undo_each_other() {
    let ports = free_ports(2);
    let address = |port: u16| format!("127.0.0.1:{port}");
    let peers: BTreeMap<u64, String> = [(1, address(ports[0])), (2, address(ports[1]))].into();
    let start = |id: u64, bootstrap: Option<String>| {
        TestNode::start_unready(|config| {
            config.node.id = id;
            config.node.peer_listen.set_port(ports[id as usize - 1]);
            config.cluster.peers.clone_from(&peers);
            discover(config);
            config.dht.listen.set_ip([127, 0, 8, id as u8].into());
            config.dht.bootstrap = bootstrap.into_iter().collect();
            config.discovery.interval = Duration::from_secs(7_200);
        })
    };
    let one = start(1, None);
    let seed = one.get("/v1/dht").expect_json()["families"][0]["address"].clone();
    let two = start(2, seed.as_str().map(str::to_owned));
    let _network = network(&one);
    wait_for("the second knows others", || {
        two.get("/v1/dht").json()["families"][0]["good"].as_u64() >= Some(4)
    });
    let client = |answer: &Value, at: usize| answer["members"][at].get("client").cloned();
    for _ in 0..5 {
        thread::scope(|scope| {
            for node in [&one, &two] {
                scope.spawn(move || node.post("/v1/dht/cluster?replace", "{}").expect_json());
            }
        });
        // Where there is nothing yet there is nothing to compare with, and the one may have come in the place of the
        // other: who was written over sees it when he looks again, as he does by himself a minute later.
        for node in [&one, &two] {
            node.post("/v1/dht/cluster", "{}").expect_json();
        }
        for node in [&one, &two] {
            let seen = node.post("/v1/dht/cluster", "{}").expect_json();
            assert_eq!(
                client(&seen, 0),
                Some(json!(one.address.to_string())),
                "{seen}"
            );
            assert_eq!(
                client(&seen, 1),
                Some(json!(two.address.to_string())),
                "{seen}"
            );
        }
    }
}
