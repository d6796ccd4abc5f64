//! Blobs through the interface: what is stored is given, in whole or in part, and announced.

use crate::{
    dht::{enable, network},
    node::{TestNode, wait_for},
};
use holdfast_blobs::BlobId;
use holdfast_node::config::NodeConfig;
use serde_json::json;

fn with_blobs(config: &mut NodeConfig) {
    enable(config);
    config.blobs.enabled = true;
    config.blobs.blob_bytes = 1 << 20;
    config.blobs.store_bytes = 3 << 19;
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn put(node: &TestNode, bytes: &[u8]) -> String {
    let stored = node.request("PUT", "/v1/blobs", &[], bytes).expect_json();
    let id = BlobId::of(bytes).to_string();
    assert_eq!(stored, json!({"id": id, "bytes": bytes.len()}));
    id
}

#[test]
fn a_blob_is_given_in_whole_and_in_part() {
    let mut node = TestNode::start_with(with_blobs);
    // More than one piece, and no multiple of one.
    let blob = bytes(700_001);
    let id = put(&node, &blob);
    assert_eq!(put(&node, &blob), id, "stored twice it is there once");
    let path = format!("/v1/blobs/{id}");
    for _ in 0..2 {
        let all = node.get(&path);
        assert_eq!((all.status, &all.body), (200, &blob));
        assert_eq!(all.headers["content-length"], "700001");
        assert_eq!(all.headers["etag"], format!("\"{id}\""));
        // As a start finds it, also.
        node.restart();
    }
    let part = |range: &str| node.request("GET", &path, &[&format!("Range: bytes={range}")], b"");
    for (range, expected, told) in [
        ("0-0", &blob[..1], "bytes 0-0/700001"),
        (
            "262140-262150",
            &blob[262_140..262_151],
            "bytes 262140-262150/700001",
        ),
        ("-10", &blob[699_991..], "bytes 699991-700000/700001"),
        ("300000-", &blob[300_000..], "bytes 300000-700000/700001"),
    ] {
        let answer = part(range);
        assert_eq!(
            (answer.status, &answer.body[..]),
            (206, expected),
            "{range}"
        );
        assert_eq!(answer.headers["content-range"], told);
    }
    let beyond = part("700001-");
    beyond.expect_problem(416, "range-not-satisfiable");
    assert_eq!(beyond.headers["content-range"], "bytes */700001");
    let head = node.request("HEAD", &path, &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], "700001");
    let known = node.request("GET", &path, &[&format!("If-None-Match: \"{id}\"")], b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
    let other = node.request("GET", &path, &["If-Match: \"x\""], b"");
    other.expect_problem(412, "precondition-failed");

    assert_eq!(node.request("DELETE", &path, &[], b"").status, 204);
    node.get(&path).expect_problem(404, "not-found");
    node.request("DELETE", &path, &[], b"")
        .expect_problem(404, "not-found");
}

#[test]
fn limits_hold_and_lists_have_pages() {
    let node = TestNode::start_with(with_blobs);
    node.get("/v1/blobs/0").expect_problem(400, "bad-request");
    let upper = "A".repeat(64);
    node.get(&format!("/v1/blobs/{upper}"))
        .expect_problem(400, "bad-request");
    let large = node.request("PUT", "/v1/blobs", &[], &bytes((1 << 20) + 1));
    large.expect_problem(413, "too-large");
    put(&node, &bytes(1 << 20));
    let full = node.request("PUT", "/v1/blobs", &[], &bytes(600_000));
    full.expect_problem(409, "quota-reached");
    // What was refused takes no room.
    let mut ids = vec![BlobId::of(&bytes(1 << 20)).to_string()];
    ids.extend([500_000, 1, 0].map(|count| put(&node, &bytes(count))));
    ids.sort();
    let mut listed = Vec::new();
    let mut target = "/v1/blobs?limit=3".to_owned();
    loop {
        let page = node.get(&target).expect_json();
        let blobs = page["blobs"].as_array().expect("blobs").iter();
        listed.extend(blobs.map(|blob| blob["id"].as_str().expect("text").to_owned()));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        target = format!("/v1/blobs?limit=3&cursor={next}");
    }
    assert_eq!(listed, ids);
    let empty = node.get(&format!("/v1/blobs/{}", BlobId::of(b"")));
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    let none = TestNode::start();
    let problem = none.get("/v1/blobs");
    problem.expect_problem(404, "not-found");
    assert!(String::from_utf8_lossy(&problem.body).contains("blobs.enabled"));
}

/// Whether the node announces a blob again and again.
fn is_kept(node: &TestNode, id: BlobId) -> bool {
    let kept = node.get("/v1/dht/kept").expect_json();
    let kept = kept["kept"].as_array().expect("a list").clone();
    kept.iter()
        .any(|one| one["target"] == json!(id.key()) && one["kind"] == "peer")
}

#[test]
fn what_is_damaged_is_announced_no_more() {
    let mut node = TestNode::start_with(with_blobs);
    let _others = network(&node);
    let id: BlobId = put(&node, &bytes(100)).parse().expect("an id");
    node.restart();
    wait_for("it to be kept again", || is_kept(&node, id));
    let file = node.data().join("blobs").join(id.to_string());
    std::fs::write(file, [7; 100]).expect("written");
    node.get(&format!("/v1/blobs/{id}"))
        .expect_problem(404, "not-found");
    assert!(!is_kept(&node, id));
}

#[test]
fn what_is_stored_is_announced_and_after_a_start_again() {
    let mut node = TestNode::start_with(with_blobs);
    let others = network(&node);
    let blob = bytes(100);
    let id: BlobId = put(&node, &blob).parse().expect("an id");
    let kept = |node: &TestNode| is_kept(node, id);
    wait_for("an announcement", || {
        let found = node.runtime.block_on(others.get_peers(6, id.key()));
        found.expect("it ends").peers == [node.address]
    });
    assert!(kept(&node));
    drop(others);
    node.restart();
    wait_for("it to be kept again", || kept(&node));
    let path = format!("/v1/blobs/{id}");
    assert_eq!(node.request("DELETE", &path, &[], b"").status, 204);
    assert!(!kept(&node));
}
