//! Whatever arrives at a node's ports, the node lives on.

use crate::node::{TestNode, raw};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

#[test]
fn malformed_http_is_turned_away() {
    let node = TestNode::start();
    for request in [
        "\r\n\r\n\r\nnonsense\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/3.7\r\n\r\n",
        "GET  /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "GET /\u{0} HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nX: \u{1}\u{0}\r\n\r\n",
        "PUT /v1/kv/keys/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "PUT /v1/kv/keys/a HTTP/1.1\r\nContent-Length: 10\r\n\r\nshort",
        "PUT /v1/kv/keys/a HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    ] {
        let answer = String::from_utf8_lossy(&node.raw(request.as_bytes())).into_owned();
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "{request:?}: {answer:?}"
        );
    }
    let tls = node.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    assert!(tls.starts_with(b"HTTP/1.1 400 "));
    // An HTTP/2 preface, and then no HTTP/2.
    node.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is not a frame at all, not even nearly");
    assert_eq!(
        node.get("/v1/kv/keys/a").status,
        404,
        "half a request changes nothing"
    );
    assert!(node.is_well());
}

#[test]
fn no_bytes_at_the_clients_port_kill_the_node() {
    let node = TestNode::start();
    let start = prop_oneof![
        Just(&b""[..]),
        Just(&b"GET "[..]),
        Just(&b"GET /v1/kv/range?"[..]),
        Just(&b"GET /v1/kv/watch?prefix=&from_revision="[..]),
        Just(&b"PUT /v1/kv/keys/a HTTP/1.1\r\n"[..]),
        Just(&b"POST /v1/kv/txn HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"[..]),
        Just(&b"POST /v1/kv/txn HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"[..]),
        Just(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]),
        Just(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..]),
    ];
    check(96, (start, vec(any::<u8>(), 0..300)), |(start, rest)| {
        node.raw(&[start, &rest].concat());
        prop_assert!(node.is_well());
        Ok(())
    });
}

#[test]
fn no_change_to_a_good_request_kills_the_node() {
    let node = TestNode::start();
    let body = r#"{"compare":[{"key":"a","op":"=","version":0}],"success":[{"put":{"key":"a","value":"MQ=="}}]}"#;
    let good = format!(
        "POST /v1/kv/txn HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let changes = vec((0..good.len(), any::<u8>()), 1..6);
    check(96, changes, |changes| {
        let mut request = good.clone().into_bytes();
        for (at, byte) in changes {
            request[at] = byte;
        }
        node.raw(&request);
        prop_assert!(node.is_well());
        Ok(())
    });
}

#[test]
fn no_bytes_at_the_peers_port_kill_the_node() {
    let node = TestNode::start();
    // A frame's header: version, length, checksum; then whatever.
    let start = prop_oneof![
        Just(vec![]),
        Just(vec![1, 4, 0, 0, 0]),
        Just(vec![1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
    ];
    check(96, (start, vec(any::<u8>(), 0..200)), |(start, rest)| {
        raw(node.peer_address, &[start, rest].concat());
        prop_assert!(node.is_well());
        Ok(())
    });
    assert_eq!(node.put("a", "1").status, 200);
}

fn check<S: Strategy>(cases: u32, inputs: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&inputs, test);
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
