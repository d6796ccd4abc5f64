//! Clients that are slow, idle, deaf or not to be trusted, and a node that cannot serve.

use crate::{
    node::{TestNode, wait_for},
    ports::free_ports,
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Short for a limit.
const SHORT: Duration = Duration::from_millis(300);
/// Far longer than a short limit, far shorter than those that nobody has set.
const LONG: Duration = Duration::from_secs(15);

/// Reads until the node ends the connection, which it must do before long.
#[track_caller]
fn read_to_the_end(stream: &mut TcpStream) -> String {
    let began = Instant::now();
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut bytes);
    let took = began.elapsed();
    assert!(took < LONG, "the connection stayed for {took:?}");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let node = TestNode::start_with(|config| config.limits.head_timeout = SHORT);
    for begun in [
        "",
        "GET /hea",
        "GET /healthz HTTP/1.1\r\nHost: n\r\nX-Slow: 1",
        // Nothing follows the first request.
        "GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n",
    ] {
        let mut stream = node.connect();
        stream.write_all(begun.as_bytes()).expect("sent");
        read_to_the_end(&mut stream);
    }
    assert!(node.is_well());
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let node = TestNode::start_with(|config| config.limits.body_timeout = SHORT);
    let mut stream = node.connect();
    let begun = b"PUT /v1/kv/keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nab";
    stream.write_all(begun).expect("sent");
    let answer = read_to_the_end(&mut stream);
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("request-timeout"),
        "{answer}"
    );
    assert_eq!(node.get("/v1/kv/keys/a").status, 404);
}

#[test]
fn further_connections_wait_for_one_to_end() {
    let node = TestNode::start_with(|config| config.limits.connections = 2);
    let mut two = [node.connect(), node.connect()];
    for stream in &mut two {
        stream.write_all(b"GET ").expect("sent");
    }
    let mut third = node.connect();
    let request = b"GET /healthz HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n";
    third.write_all(request).expect("sent");
    third.set_read_timeout(Some(SHORT)).expect("set");
    let error = third.read(&mut [0]).expect_err("no answer");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    third.set_read_timeout(Some(LONG)).expect("set");
    let [one, _other] = two;
    drop(one);
    assert!(read_to_the_end(&mut third).starts_with("HTTP/1.1 200 "));
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An HTTP/2 frame (RFC 9113, §4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    let head = [len[1], len[2], len[3], kind, flags, 0, 0, 0, stream];
    [&head[..], payload].concat()
}

/// A GET on stream 1, that ends with its head (RFC 7541: fields of the static table, literals without Huffman).
fn get(path: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x86, 0x04, path.len() as u8];
    head.extend_from_slice(path.as_bytes());
    head.extend_from_slice(b"\x01\x01n");
    frame(1, 0x5, 1, &head)
}

#[test]
fn an_http2_connection_on_which_nothing_is_asked_ends() {
    let node = TestNode::start_with(|config| config.limits.head_timeout = SHORT);
    for asked in [Vec::new(), get("/healthz")] {
        let mut stream = node.connect();
        let begun = [PREFACE, &frame(4, 0, 0, &[]), &asked].concat();
        stream.write_all(&begun).expect("sent");
        read_to_the_end(&mut stream);
    }
    // One on which something is waited for does not.
    let mut stream = node.connect();
    let begun = [PREFACE, &frame(4, 0, 0, &[]), &get("/v1/kv/watch?key=a")].concat();
    stream.write_all(&begun).expect("sent");
    std::thread::sleep(SHORT * 4);
    assert_eq!(node.metric("holdfast_watches"), 1);
}

#[test]
fn an_http2_client_that_takes_nothing_is_given_up() {
    let node = TestNode::start_with(|config| config.limits.write_timeout = SHORT);
    node.put("a", &"v".repeat(100_000)).expect_json();
    for path in ["/v1/kv/watch?key=a&from_revision=1", "/v1/kv/keys/a"] {
        let mut stream = node.connect();
        // SETTINGS_INITIAL_WINDOW_SIZE (4) of zero: no stream may send anything.
        let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
        let begun = [PREFACE, &settings, &get(path)].concat();
        stream.write_all(&begun).expect("sent");
        read_to_the_end(&mut stream);
    }
    wait_for("the watch to end", || node.metric("holdfast_watches") == 0);
}

/// A client that sends all of it before it reads sees why it was refused.
#[test]
fn a_refusal_is_seen_by_who_is_still_sending() {
    let node = TestNode::start();
    let body = vec![b'v'; 3 << 20];
    for (request, status) in [
        ("PUT /v1/kv/keys/a", "413"),
        ("POST /v1/kv/txn", "415"),
        ("POST /nowhere", "404"),
        ("POST /v1/kv/keys/a", "405"),
    ] {
        let mut stream = node.connect();
        let len = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        for piece in body.chunks(64 << 10) {
            stream.write_all(piece).expect("it is taken");
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
}

#[test]
fn web_pages_are_no_clients() {
    let node = TestNode::start();
    let txn = br#"{"success": [{"put": {"key": "a", "value": ""}}]}"#;
    let post = |headers: &[&str]| node.request("POST", "/v1/kv/txn", headers, txn);
    // What a page may send without being allowed to.
    for simple in [
        &[][..],
        &["Content-Type: text/plain"],
        &["Content-Type: application/x-www-form-urlencoded"],
        &["Content-Type: text/plain; x=application/json"],
    ] {
        post(simple).expect_problem(415, "unsupported-media-type");
    }
    let json = "Content-Type: application/json; charset=utf-8";
    let foreign = "Origin: http://evil.example";
    post(&[json, foreign]).expect_problem(403, "foreign-origin");
    for method in ["PUT", "DELETE", "GET"] {
        let asked = node.request(method, "/v1/kv/keys/a", &[foreign], b"");
        asked.expect_problem(403, "foreign-origin");
    }
    assert_eq!(node.get("/v1/kv/keys/a").status, 404, "nothing was changed");
    post(&[json]).expect_json();
}

#[test]
fn a_node_without_a_leader_says_so() {
    let peer = free_ports(1)[0];
    let node = TestNode::start_unready(|config| {
        let own = config.node.peer_listen.to_string();
        let other = format!("127.0.0.1:{peer}");
        config.cluster.peers = [(1, own), (2, other)].into();
    });
    let unready = node.get("/readyz");
    unready.expect_problem(503, "no-leader");
    assert!(unready.headers.contains_key("retry-after"));
    node.put("a", "1").expect_problem(503, "no-leader");
    node.get("/v1/kv/keys/a").expect_problem(503, "no-leader");
    node.get("/v1/kv/keys/a?consistency=stale")
        .expect_problem(404, "key-not-found");
    assert!(node.is_well(), "it lives, and waits for the others");
}

#[test]
fn a_node_that_leaves_says_so_before_it_turns_clients_away() {
    let mut node = TestNode::start_with(|config| config.node.lame_duck = LONG * 4);
    node.put("a", "1").expect_json();
    node.begin_shutdown(LONG * 4);
    wait_for("a node that says that it leaves", || {
        node.get("/readyz").status == 503
    });
    node.get("/readyz").expect_problem(503, "unavailable");
    node.put("a", "2").expect_json();
    node.get("/v1/kv/watch?key=a")
        .expect_problem(503, "unavailable");
    assert!(node.is_well());
}

/// Its log cannot go on where there is no folder for it.
#[test]
fn a_node_whose_storage_has_failed_says_so() {
    let node = TestNode::start_with(|config| config.raft.segment_bytes = 64 << 10);
    std::fs::remove_dir_all(node.data().join("replica/log")).expect("it is there");
    let value = "v".repeat(40_000);
    let refused = (0..10).find_map(|_| {
        let put = node.put("a", &value);
        (put.status != 200).then_some(put)
    });
    refused.expect("the log is full");
    let unwell = node.get("/healthz").expect_problem(503, "unavailable");
    let detail = unwell["detail"].as_str().expect("text");
    assert!(detail.contains("log"), "{detail}");
    node.get("/readyz").expect_problem(503, "unavailable");
    node.put("a", "1").expect_problem(503, "unavailable");
    assert_eq!(node.metric("holdfast_failed"), 1);
}
