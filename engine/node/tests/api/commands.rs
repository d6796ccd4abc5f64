//! What requests do, and how those that cannot be are refused.

use crate::node::TestNode;
use serde_json::json;

#[test]
fn a_key_is_put_read_and_deleted() {
    let node = TestNode::start();
    let put = node.put("a/b%00", "hello");
    assert_eq!(put.expect_json(), json!({"revision": 2}));
    assert_eq!(put.headers["etag"], "\"2\"");
    let get = node.get("/v1/kv/keys/a/b%00");
    assert_eq!(
        get.expect_json(),
        json!({
            "key": "a/b%00", "value": "aGVsbG8=", "create_revision": 2, "mod_revision": 2, "version": 1,
            "revision": 2
        })
    );
    assert_eq!(get.headers["etag"], "\"2\"");
    assert_eq!(get.headers["content-type"], "application/json");
    let head = node.request("HEAD", "/v1/kv/keys/a/b%00", &[], b"");
    assert_eq!(head.headers["content-length"], get.body.len().to_string());

    let gone = node
        .request("DELETE", "/v1/kv/keys/a/b%00?prev_kv", &[], b"")
        .expect_json();
    assert_eq!(gone["deleted"], 1);
    assert_eq!(gone["prev_kvs"][0]["value"], "aGVsbG8=");
    let problem = node
        .get("/v1/kv/keys/a/b%00")
        .expect_problem(404, "key-not-found");
    assert_eq!(problem["revision"], 3);
    let then = node.get("/v1/kv/keys/a/b%00?revision=2").expect_json();
    assert_eq!(then["value"], "aGVsbG8=");
    node.get("/v1/kv/keys/a?revision=4")
        .expect_problem(400, "future-revision");
}

#[test]
fn ranges_are_cut_where_the_limit_says() {
    let node = TestNode::start_with(|config| config.limits.range_keys = 3);
    for key in ["a", "k1", "k2", "k3", "k4", "z"] {
        node.put(key, "v").expect_json();
    }
    let keys = |target: &str| {
        let reply = node.get(target).expect_json();
        let kvs = reply["kvs"].as_array().expect("an array").clone();
        let keys: Vec<String> = kvs
            .iter()
            .map(|kv| kv["key"].as_str().expect("text").to_owned())
            .collect();
        (
            keys.join(" "),
            reply["count"].as_u64(),
            reply["more"].as_bool(),
        )
    };
    assert_eq!(
        keys("/v1/kv/range?prefix=k"),
        ("k1 k2 k3".into(), Some(4), Some(true))
    );
    assert_eq!(
        keys("/v1/kv/range?prefix=k&limit=2"),
        ("k1 k2".into(), Some(4), Some(true))
    );
    assert_eq!(
        keys("/v1/kv/range?prefix=k&limit=99"),
        ("k1 k2 k3".into(), Some(4), Some(true))
    );
    assert_eq!(
        keys("/v1/kv/range?start=k3&end=z"),
        ("k3 k4".into(), Some(2), Some(false))
    );
    assert_eq!(
        keys("/v1/kv/range?start=k4"),
        ("k4 z".into(), Some(2), Some(false))
    );
    assert_eq!(
        keys("/v1/kv/range?key=a&consistency=stale"),
        ("a".into(), Some(1), Some(false))
    );
    assert_eq!(
        keys("/v1/kv/range?prefix=&count_only"),
        (String::new(), Some(6), Some(false))
    );
    assert_eq!(
        keys("/v1/kv/range?prefix=&revision=2"),
        ("a".into(), Some(1), Some(false))
    );
    let bare = node.get("/v1/kv/range?key=a&keys_only").expect_json();
    assert_eq!(bare["kvs"][0].get("value"), None);
    let deleted = node
        .request("DELETE", "/v1/kv/range?prefix=k", &[], b"")
        .expect_json();
    assert_eq!(
        (&deleted["deleted"], &deleted["revision"]),
        (&json!(4), &json!(8))
    );
}

#[test]
fn conditions_are_kept() {
    let node = TestNode::start();
    let put = |condition: &str| node.request("PUT", "/v1/kv/keys/a", &[condition], b"v");
    put("If-Match: *").expect_problem(412, "precondition-failed");
    assert_eq!(put("If-None-Match: *").expect_json()["revision"], 2);
    put("If-None-Match: *").expect_problem(412, "precondition-failed");
    put("If-Match: \"1\"").expect_problem(412, "precondition-failed");
    let swapped = put("If-Match: \"2\"");
    assert_eq!(swapped.expect_json()["revision"], 3);
    assert_eq!(swapped.headers["etag"], "\"3\"");
    put("If-Match: 3").expect_problem(400, "bad-request");
    let delete = |condition: &str| node.request("DELETE", "/v1/kv/keys/a", &[condition], b"");
    delete("If-Match: \"2\"").expect_problem(412, "precondition-failed");
    assert_eq!(delete("If-Match: \"3\"").expect_json()["deleted"], 1);
}

#[test]
fn transactions_do_one_branch() {
    let node = TestNode::start();
    node.put("a", "1").expect_json();
    let txn = r#"{
        "compare": [{"key": "a", "op": "=", "value": "MQ=="}, {"key": "b", "op": "=", "version": 0}],
        "success": [{"put": {"key": "b", "value": "Mg=="}}, {"delete": {"key": "a", "prev_kv": true}}],
        "failure": [{"range": {"prefix": ""}}]
    }"#;
    let done = node.post("/v1/kv/txn", txn).expect_json();
    assert_eq!(
        (&done["succeeded"], &done["revision"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(done["results"][1]["delete"]["prev_kvs"][0]["value"], "MQ==");
    let not = node.post("/v1/kv/txn", txn).expect_json();
    assert_eq!(
        (&not["succeeded"], &not["revision"]),
        (&json!(false), &json!(3))
    );
    assert_eq!(not["results"][0]["range"]["kvs"][0]["key"], "b");
    for (what, txn) in [
        (
            "put twice",
            r#"{"success": [{"put": {"key": "a", "value": ""}}, {"put": {"key": "a", "value": ""}}]}"#,
        ),
        (
            "no key",
            r#"{"success": [{"put": {"key": "", "value": ""}}]}"#,
        ),
        ("no range", r#"{"success": [{"range": {}}]}"#),
        (
            "two ranges",
            r#"{"success": [{"delete": {"key": "a", "prefix": "b"}}]}"#,
        ),
    ] {
        let problem = node
            .post("/v1/kv/txn", txn)
            .expect_problem(400, "bad-request");
        assert!(problem["detail"].is_string(), "{what}");
    }
}

#[test]
fn a_session_makes_a_retry_harmless() {
    let node = TestNode::start();
    let put = |ticket: &str, value: &[u8]| {
        let header = format!("Holdfast-Session: {ticket}");
        node.request("PUT", "/v1/kv/keys/a", &[&header], value)
    };
    let client = "00000000000000000000000000000abc";
    assert_eq!(
        put(&format!("{client}:1"), b"1").expect_json()["revision"],
        2
    );
    assert_eq!(
        put(&format!("{client}:1"), b"1").expect_json()["revision"],
        2
    );
    assert_eq!(
        put(&format!("{client}:2"), b"2").expect_json()["revision"],
        3
    );
    assert_eq!(node.get("/v1/kv/keys/a").expect_json()["version"], 2);
    put(&format!("{client}:1"), b"1").expect_problem(409, "stale-sequence");
    put("000000000000000000000000000000ff:7", b"1").expect_problem(409, "unknown-session");
    put("abc:1", b"1").expect_problem(400, "bad-request");
    // The ticket of a put, used again for something else: not the outcome of that.
    let header = format!("Holdfast-Session: {client}:2");
    let other = node.request("DELETE", "/v1/kv/keys/a", &[&header], b"");
    other.expect_problem(409, "sequence-reused");
    // Nor is another value a retry.
    put(&format!("{client}:2"), b"3").expect_problem(409, "sequence-reused");
    assert_eq!(node.get("/v1/kv/keys/a").expect_json()["version"], 2);
}

#[test]
fn what_is_over_a_limit_is_refused_and_changes_nothing() {
    let node = TestNode::start_with(|config| {
        config.limits.key_bytes = 10;
        config.limits.value_bytes = 100;
        config.limits.body_bytes = 1 << 10;
        config.limits.command_bytes = 2 << 10;
    });
    let long = "k".repeat(11);
    let problem = node.put(&long, "v").expect_problem(413, "too-large");
    assert_eq!(problem["limit"], 10);
    node.get(&format!("/v1/kv/range?prefix={long}x"))
        .expect_problem(413, "too-large");
    node.get(&format!("/v1/kv/watch?key={long}x"))
        .expect_problem(413, "too-large");
    let value = "v".repeat(101);
    let problem = node.put("a", &value).expect_problem(413, "too-large");
    assert_eq!(problem["limit"], 100);
    // Without an announced length, the limit is met while reading.
    let chunked = format!(
        "PUT /v1/kv/keys/a HTTP/1.1\r\nHost: n\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         32\r\n{0}\r\n32\r\n{0}\r\n1\r\nx\r\n0\r\n\r\n",
        "v".repeat(50)
    );
    let answer = String::from_utf8_lossy(&node.raw(chunked.as_bytes())).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("problem:too-large"),
        "{answer}"
    );
    // In a transaction: 101 bytes in base64.
    let txn = format!(
        r#"{{"success": [{{"put": {{"key": "a", "value": "{}"}}}}]}}"#,
        "AAAA".repeat(34)
    );
    node.post("/v1/kv/txn", &txn)
        .expect_problem(413, "too-large");
    node.post("/v1/kv/txn", &" ".repeat(1025))
        .expect_problem(413, "too-large");
    assert_eq!(
        node.get("/v1/kv/range?prefix=&count_only").expect_json()["count"],
        0
    );
    node.put(&"k".repeat(10), &"v".repeat(100)).expect_json();

    let head = node.request(
        "GET",
        "/healthz",
        &[&format!("X: {}", "x".repeat(17 << 10))],
        b"",
    );
    head.expect_problem(431, "headers-too-large");
    let huge = node.request(
        "GET",
        "/healthz",
        &[&format!("X: {}", "x".repeat(70 << 10))],
        b"",
    );
    assert_eq!(huge.status, 431);
}

#[test]
fn what_cannot_be_understood_is_refused() {
    let node = TestNode::start();
    for target in [
        "/",
        "/v1",
        "/v1/kv/range/",
        "/v1/kv/keys",
        "/V1/kv/range",
        "/metrics/x",
    ] {
        node.get(target).expect_problem(404, "unknown-route");
    }
    let post = node.post("/v1/kv/keys/a", "");
    post.expect_problem(405, "method-not-allowed");
    assert_eq!(post.headers["allow"], "GET, HEAD, PUT, DELETE");
    node.request("BREW", "/healthz", &[], b"")
        .expect_problem(405, "method-not-allowed");
    for (target, word) in [
        ("/v1/kv/keys/", "key"),
        ("/v1/kv/keys/%2", "percent"),
        ("/v1/kv/keys/a?revision=x", "revision"),
        ("/v1/kv/keys/a?revison=1", "revison"),
        ("/v1/kv/keys/a?consistency=eventual", "eventual"),
        ("/v1/kv/range", "prefix"),
        ("/v1/kv/range?prefix=a&key=b", "only one"),
        ("/v1/kv/range?prefix=a&limit=-1", "limit"),
        ("/v1/kv/range?prefix=a&keys_only=maybe", "keys_only"),
        ("/v1/kv/range?prefix=a&prefix=b", "twice"),
        ("/v1/kv/watch?prefix=a&from=1", "from"),
        ("/v1/status?verbose", "verbose"),
    ] {
        let problem = node.get(target).expect_problem(400, "bad-request");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains(word), "{target}: {detail}");
    }
    for body in [
        "",
        "{",
        "[]",
        "[[], [], []]",
        "{\"comapre\": []}",
        "\u{0}",
        "{\"success\": [{\"put\": {}}]}",
    ] {
        node.post("/v1/kv/txn", body)
            .expect_problem(400, "bad-request");
    }
    node.post("/v1/kv/compact", "{\"revision\": -1}")
        .expect_problem(400, "bad-request");
    node.post("/v1/kv/compact", "{\"revision\": 99}")
        .expect_problem(400, "future-revision");
    node.post("/v1/cluster/transfer", "{\"to\": 9}")
        .expect_problem(400, "bad-request");
}

#[test]
fn the_past_is_readable_down_to_the_compaction() {
    let node = TestNode::start();
    for value in ["1", "2", "3"] {
        node.put("a", value).expect_json();
    }
    let compacted = node
        .post("/v1/kv/compact", "{\"revision\": 3}")
        .expect_json();
    assert_eq!(compacted, json!({"revision": 4, "compact_revision": 3}));
    assert_eq!(
        node.get("/v1/kv/keys/a?revision=3").expect_json()["value"],
        "Mg=="
    );
    let problem = node
        .get("/v1/kv/keys/a?revision=2")
        .expect_problem(410, "compacted");
    assert_eq!(problem["compact_revision"], 3);
    node.get("/v1/kv/range?prefix=&revision=2")
        .expect_problem(410, "compacted");
    node.post("/v1/kv/compact", "{\"revision\": 3}")
        .expect_problem(410, "compacted");
}

#[test]
fn a_node_tells_of_itself() {
    let node = TestNode::start();
    node.put("a", "1").expect_json();
    let status = node.get("/v1/status?digest").expect_json();
    assert_eq!(
        (&status["role"], &status["keys"]),
        (&json!("leader"), &json!(1))
    );
    assert_eq!(status["digest"].as_str().map(str::len), Some(16));
    let metrics = node.get("/metrics");
    let text = String::from_utf8(metrics.body).expect("text");
    for line in [
        "holdfast_http_requests_total{route=\"keys\",status=\"200\"} 1",
        "holdfast_kv_keys 1",
        "holdfast_raft_role{role=\"leader\"} 1",
        "holdfast_failed 0",
    ] {
        assert!(
            text.lines().any(|l| l == line),
            "`{line}` is missing in\n{text}"
        );
    }
}
