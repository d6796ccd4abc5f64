//! The DHT through the interface: what a node finds and stores among others.

use crate::node::{TestNode, wait_for};
use holdfast_kademlia::{Id, item::SecretKey, limiter::RateLimits};
use holdfast_node::{
    client::{Client, ClientConfig},
    config::NodeConfig,
    wire::{
        Value,
        dht::{DhtPutRequest, DhtSigned},
    },
};
use holdfast_peers::{Dht, DhtHandle, LocalNode, NewItem, Settings};
use serde_json::json;
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

/// Makes a node one of the DHT, on loopback.
pub fn enable(config: &mut NodeConfig) {
    config.dht.enabled = true;
    config.dht.listen = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
}

/// Others, who join through the node.
pub fn network(node: &TestNode) -> DhtHandle {
    let address = |n| SocketAddrV4::new(Ipv4Addr::new(127, 0, 4, n), 0);
    let local = |n| LocalNode {
        v4: Some(address(n)),
        ..LocalNode::default()
    };
    let seed = node.get("/v1/dht").expect_json()["families"][0]["address"].clone();
    let mut settings = Settings {
        nodes: (1..=12).map(local).collect(),
        bootstrap: vec![seed.as_str().expect("an address").to_owned()],
        ..Settings::default()
    };
    settings.config.rates = RateLimits::NONE;
    let started = node.runtime.block_on(Dht::start(node.host(), settings));
    let handle = started.expect("loopback has ports");
    wait_for("the node knows the others", || {
        node.get("/v1/dht").json()["families"][0]["good"].as_u64() >= Some(8)
    });
    handle
}

#[test]
fn a_node_that_is_none_of_the_dht_says_so() {
    let node = TestNode::start();
    for path in ["/v1/dht", "/v1/dht/nodes", "/v1/dht/kept"] {
        let problem = node.get(path);
        problem.expect_problem(404, "not-found");
        assert!(
            String::from_utf8_lossy(&problem.body).contains("dht.enabled"),
            "{problem:?}"
        );
    }
}

#[test]
fn what_is_stored_through_a_node_is_found_by_others_and_the_other_way_round() {
    let node = TestNode::start_with(enable);
    let network = network(&node);
    let stored = node.post("/v1/dht/items", r#"{"text": "hello"}"#);
    let stored = stored.expect_json();
    assert!(stored["stored"].as_u64() >= Some(8), "{stored}");
    let target = stored["target"].as_str().expect("an id");
    let got = network.get(5, target.parse().expect("an id"), b"");
    let got = node.runtime.block_on(got).expect("it ends");
    assert_eq!(got.item.expect("found").value, b"5:hello");

    let seed = [5; 32];
    let item = NewItem::signed(&seed, b"a b", 7, b"i42e".to_vec(), None).expect("an item");
    let target = item.target();
    let put = node.runtime.block_on(network.put(3, item));
    assert!(put.expect("it ends").stored() >= 8);
    let found = node.get(&format!("/v1/dht/items/{target}?salt=a%20b"));
    let found = found.expect_json();
    assert_eq!(
        (&found["value"], &found["sequence"]),
        (&json!("aTQyZQ=="), &json!(7))
    );
    // Without its salt nobody can check it.
    node.get(&format!("/v1/dht/items/{target}"))
        .expect_problem(404, "not-found");
}

#[test]
fn a_host_with_several_addresses_is_a_peer_at_each() {
    let node = TestNode::start_with(|config| {
        enable(config);
        config.dht.listen.set_ip([127, 0, 14, 1].into());
        let also = [2, 3].map(|n| SocketAddr::from(([127, 0, 14, n], 0)));
        config.dht.also = also.to_vec();
    });
    let network = network(&node);
    let status = node.get("/v1/dht").expect_json();
    let families = status["families"].as_array().expect("a list");
    let ids: BTreeSet<&str> = families.iter().filter_map(|f| f["id"].as_str()).collect();
    assert_eq!((families.len(), ids.len()), (3, 3), "{status}");
    assert_eq!(families[0]["id"], status["id"]);
    let torrent = Id::new([7; 20]);
    let peers = format!("/v1/dht/peers/{torrent}");
    let stored = node.post(&peers, r#"{"port": 4242, "keep": true}"#);
    let stored = stored.expect_json();
    assert!(stored["stored"].as_u64() >= Some(24), "{stored}");
    let found = node.runtime.block_on(network.get_peers(5, torrent));
    let expected = [1, 2, 3].map(|n| SocketAddr::from(([127, 0, 14, n], 4242)));
    assert_eq!(found.expect("it ends").peers, expected);
    let kept = node.get("/v1/dht/kept").expect_json();
    assert_eq!(kept["kept"].as_array().map(Vec::len), Some(3), "{kept}");
    let known = node.get("/v1/dht/nodes").expect_json();
    let known = known["nodes"].as_array().expect("a list").iter();
    let known: Vec<_> = known.map(|node| node.to_string()).collect();
    let once: BTreeSet<_> = known.iter().collect();
    assert_eq!(known.len(), once.len(), "each is told once");
}

#[test]
fn a_mutable_item_is_signed_by_who_asks() {
    let node = TestNode::start_with(enable);
    let _network = network(&node);
    let client = Client::new(
        node.host(),
        ClientConfig::new(vec![node.address.to_string()]),
    );
    let key = SecretKey::from_seed(&[6; 32]);
    let request = |sequence: i64, cas| {
        let value = NewItem::text(format!("number {sequence}").as_bytes());
        let raw = holdfast_kademlia::bencode::Raw::parse(&value).expect("bencode");
        let signature = key.sign(b"", sequence, raw).expect("signed");
        DhtPutRequest {
            value: Some(Value::from(value.clone())),
            mutable: Some(DhtSigned {
                key: Value::from(key.public().to_vec()),
                salt: Value::default(),
                sequence,
                signature: Value::from(signature.to_vec()),
                cas,
            }),
            ..DhtPutRequest::default()
        }
    };
    let put = |request: &DhtPutRequest| {
        let put = node.runtime.block_on(client.dht_put(request));
        put.expect("it is carried out")
    };
    let first = put(&request(1, None));
    assert!(first.stored >= 8, "{first:?}");
    let found = node.runtime.block_on(client.dht_get(first.target, b""));
    assert_eq!(found.expect("found").text.as_deref(), Some("number 1"));
    let late = put(&request(2, Some(0)));
    assert_eq!(late.stored, 0);
    assert!(late.refusals.iter().any(|refusal| refusal.code == 301));
    // A forged one is refused by the node that is asked.
    let mut forged = request(3, None);
    forged.text = forged.value.take().map(|_| "another".to_owned());
    let refused = node.runtime.block_on(client.dht_put(&forged));
    let error = refused.expect_err("refused").to_string();
    assert!(error.contains("signature"), "{error}");
}
