//! Who may ask for what, and what is remembered of who asked.

use crate::node::{Answer, TestNode};
use holdfast_node::{
    Rig,
    audit::{Audit, Record},
    auth::ApiKey,
    client::{Client, ClientConfig, Condition},
    config::{AuthKey, AuthMode, NodeConfig},
    http::ProblemKind,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{
    io::Write,
    sync::{Arc, Mutex},
};

fn key(seed: u64) -> ApiKey {
    ApiKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
}

/// What a configuration says of a key.
fn entry(key: &ApiKey, scopes: &[&str]) -> AuthKey {
    let scopes = scopes.iter().map(|scope| scope.parse().expect("a scope"));
    AuthKey {
        id: key.id(),
        hash: key.hash(),
        scopes: scopes.collect(),
        expires: None,
        name: String::new(),
    }
}

fn guarded(config: &mut NodeConfig, keys: Vec<AuthKey>) {
    config.auth.mode = AuthMode::Keys;
    config.auth.keys = keys;
}

/// A node with one key that may do everything, number 0, and others from 1 on that may do this.
fn start(others: &[&[&str]]) -> TestNode {
    TestNode::start_with(|config| {
        let all = [&["*"][..]].into_iter().chain(others.iter().copied());
        let keys = all.zip(0..).map(|(scopes, seed)| entry(&key(seed), scopes));
        guarded(config, keys.collect());
    })
}

fn bearer(key: &ApiKey) -> String {
    format!("Authorization: Bearer {}", key.reveal())
}

#[track_caller]
fn expect_401(answer: &Answer, word: &str) {
    let problem = answer.expect_problem(401, "unauthenticated");
    let detail = problem["detail"].as_str().expect("text");
    assert!(detail.contains(word), "{detail}");
    assert!(answer.headers["www-authenticate"].starts_with("Bearer realm=\"holdfast\""));
}

#[test]
fn who_has_no_key_may_only_see_that_the_node_lives() {
    let node = start(&[]);
    for open in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(node.get(open).status, 200, "{open}");
    }
    for (method, target) in [
        ("GET", "/v1/kv/keys/a"),
        ("HEAD", "/v1/kv/range?prefix="),
        ("PUT", "/v1/kv/keys/a"),
        ("DELETE", "/v1/kv/keys/a"),
        ("DELETE", "/v1/kv/range?prefix="),
        ("POST", "/v1/kv/txn"),
        ("POST", "/v1/kv/compact"),
        ("GET", "/v1/kv/watch?prefix="),
        ("GET", "/v1/status"),
        ("POST", "/v1/cluster/transfer"),
        ("GET", "/metrics"),
    ] {
        let answer = node.request(method, target, &[], b"v");
        assert_eq!(answer.status, 401, "{method} {target}");
        assert_eq!(
            answer.headers["www-authenticate"],
            "Bearer realm=\"holdfast\""
        );
    }
    node.get("/v1/nothing").expect_problem(404, "unknown-route");
    node.request("BREW", "/v1/status", &[], b"")
        .expect_problem(405, "method-not-allowed");
    let header = bearer(&key(0));
    let got = node.request("GET", "/v1/kv/keys/a", &[&header], b"");
    got.expect_problem(404, "key-not-found");
}

#[test]
fn a_key_is_taken_from_either_header() {
    let node = start(&[]);
    let secret = key(0).reveal().to_owned();
    for header in [
        format!("Authorization: Bearer {secret}"),
        format!("authorization: bearer   {secret}"),
        format!("X-Api-Key: {secret}"),
    ] {
        node.request("PUT", "/v1/kv/keys/a", &[&header], b"v")
            .expect_json();
    }
    let two = [&format!("X-Api-Key: {secret}")[..], &bearer(&key(0))];
    node.request("GET", "/v1/status", &two, b"")
        .expect_problem(400, "bad-request");
    let twice = [&bearer(&key(0))[..], &bearer(&key(1))];
    node.request("GET", "/v1/status", &twice, b"")
        .expect_problem(400, "bad-request");
}

#[test]
fn a_key_that_is_none_is_refused() {
    let node = TestNode::start_with(|config| {
        let mut late = entry(&key(1), &["*"]);
        late.expires = Some(holdfast_host::UnixTime::from_nanos(1));
        let mut others = entry(&key(2), &["*"]);
        others.hash = key(3).hash();
        guarded(config, vec![entry(&key(0), &["*"]), late, others]);
    });
    let good = key(0).reveal().to_owned();
    let mut misspelt = good.clone();
    let other = if &good[20..21] == "0" { "1" } else { "0" };
    misspelt.replace_range(20..21, other);
    let unknown = key(9).reveal().to_owned();
    let late = key(1).reveal().to_owned();
    let forged = key(2).reveal().to_owned();
    for (header, word) in [
        ("Authorization: Bearer".to_owned(), "begins with hf_"),
        ("Authorization: Bearer x".to_owned(), "begins with hf_"),
        ("Authorization: Basic aGY6aGY=".to_owned(), "Bearer"),
        (format!("Authorization: {good}"), "Bearer"),
        ("X-Api-Key: \u{e9}".to_owned(), "begins with hf_"),
        (format!("X-Api-Key: {good}{good}"), "begins with hf_"),
        (format!("X-Api-Key: {misspelt}"), "checksum"),
        (format!("X-Api-Key: {unknown}"), "no such"),
        (format!("X-Api-Key: {forged}"), "no such"),
        (format!("X-Api-Key: {late}"), "expired"),
    ] {
        let answer = node.request("PUT", "/v1/kv/keys/a", &[&header], b"v");
        expect_401(&answer, word);
        assert!(answer.headers["www-authenticate"].ends_with("error=\"invalid_token\""));
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!told.contains(&good[16..30]), "{told}");
    }
    let header = bearer(&key(0));
    let got = node.request("GET", "/v1/kv/keys/a", &[&header], b"");
    got.expect_problem(404, "key-not-found");
}

#[test]
fn a_key_opens_what_it_was_granted_and_nothing_else() {
    let node = start(&[
        &["kv:read"],
        &["kv:*"],
        &["*:read"],
        &["admin", "links:write"],
    ]);
    let ask = |seed: u64, method: &str, target: &str, body: &str| {
        let headers = [&bearer(&key(seed))[..], "Content-Type: application/json"];
        let answer = node.request(method, target, &headers, body.as_bytes());
        if answer.status != 403 {
            return None;
        }
        let problem = answer.expect_problem(403, "insufficient-scope");
        let scope = problem["scope"].as_str().expect("a scope").to_owned();
        let challenge = format!("error=\"insufficient_scope\", scope=\"{scope}\"");
        assert!(answer.headers["www-authenticate"].ends_with(&challenge));
        Some(scope)
    };
    let operations = [
        (
            "GET",
            "/v1/kv/keys/a",
            "",
            "kv:read",
            [true, true, true, false],
        ),
        (
            "GET",
            "/v1/kv/range?prefix=",
            "",
            "kv:read",
            [true, true, true, false],
        ),
        (
            "PUT",
            "/v1/kv/keys/a",
            "",
            "kv:write",
            [false, true, false, false],
        ),
        (
            "DELETE",
            "/v1/kv/keys/a",
            "",
            "kv:write",
            [false, true, false, false],
        ),
        (
            "POST",
            "/v1/kv/txn",
            "{}",
            "kv:write",
            [false, true, false, false],
        ),
        (
            "GET",
            "/v1/status",
            "",
            "status:read",
            [false, false, true, false],
        ),
        (
            "GET",
            "/metrics",
            "",
            "status:read",
            [false, false, true, false],
        ),
        (
            "POST",
            "/v1/cluster/transfer",
            "{\"to\": 1}",
            "admin",
            [false, false, false, true],
        ),
    ];
    for (method, target, body, scope, may) in operations {
        assert_eq!(ask(0, method, target, body), None, "{method} {target}");
        for (seed, may) in (1..).zip(may) {
            let refused = ask(seed, method, target, body);
            let expected = (!may).then(|| scope.to_owned());
            assert_eq!(refused, expected, "{seed} {method} {target}");
        }
    }
}

#[test]
fn the_client_shows_its_key() {
    let node = start(&[&["kv:read"]]);
    let client = |key: Option<ApiKey>| {
        let mut config = ClientConfig::new(vec![node.address.to_string()]);
        config.api_key = key;
        Client::new(node.host(), config)
    };
    node.runtime.block_on(async {
        let put = client(Some(key(0))).put(b"a", "v", Condition::None).await;
        assert_eq!(put.expect("put").revision, 2);
        let put = client(Some(key(1))).put(b"a", "v", Condition::None).await;
        assert_eq!(
            put.expect_err("refused").refusal(),
            Some(ProblemKind::InsufficientScope)
        );
        let put = client(None).put(b"a", "v", Condition::None).await;
        assert_eq!(
            put.expect_err("refused").refusal(),
            Some(ProblemKind::Unauthenticated)
        );
    });
}

/// Keeps records as text.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl Audit for Kept {
    fn record(&self, record: &Record<'_>) {
        assert!(record.time.as_nanos() > 1_600_000_000_000_000_000);
        assert!(record.remote.ip().is_loopback());
        let status = record
            .status
            .map_or("gone".to_owned(), |status| status.to_string());
        let (actor, operation) = (record.actor, record.operation);
        let line = format!(
            "{} {actor} {operation} {} {status}",
            record.request, record.resource
        );
        self.0.lock().expect("unpoisoned").push(line);
    }
}

#[test]
fn every_change_is_audited_whatever_comes_of_it() {
    let kept = Arc::new(Kept::default());
    let rig = Rig {
        audit: Some(kept.clone()),
        ..Rig::default()
    };
    let node = TestNode::start_rigged(rig, |config| {
        guarded(
            config,
            vec![entry(&key(0), &["*"]), entry(&key(1), &["kv:read"])],
        );
        config.limits.value_bytes = 10;
    });
    let ask = |name: &str, seed: Option<u64>, method: &str, target: &str, body: &[u8]| {
        let mut headers = vec![format!("X-Request-Id: {name}")];
        headers.extend(seed.map(|seed| bearer(&key(seed))));
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = node.request(method, target, &headers, body);
        assert_eq!(answer.headers["x-request-id"], name);
    };
    ask("1", Some(0), "PUT", "/v1/kv/keys/a%20b", b"v");
    ask("2", Some(1), "PUT", "/v1/kv/keys/a", b"v");
    ask("3", None, "DELETE", "/v1/kv/range?prefix=", b"");
    ask("4", Some(9), "POST", "/v1/kv/txn", b"{}");
    ask("5", Some(0), "PUT", "/v1/kv/keys/a", b"more than ten");
    ask("6", Some(0), "GET", "/v1/kv/keys/a", b"");
    ask("7", Some(0), "POST", "/v1/cluster/transfer", b"{}");
    // A client that goes away while its value is still expected.
    let mut stream = node.connect();
    let header = bearer(&key(0));
    let begun = format!(
        "PUT /v1/kv/keys/gone HTTP/1.1\r\nHost: n\r\nX-Request-Id: 8\r\n{header}\r\nContent-Length: 5\r\n\r\nab"
    );
    stream.write_all(begun.as_bytes()).expect("sent");
    std::thread::sleep(std::time::Duration::from_millis(50));
    drop(stream);
    let (all, reader) = (key(0).id(), key(1).id());
    let expected = [
        format!("1 {all} kvPut /v1/kv/keys/a%20b 200"),
        format!("2 {reader} kvPut /v1/kv/keys/a 403"),
        "3 anonymous kvDeleteRange /v1/kv/range 401".to_owned(),
        "4 anonymous kvTxn /v1/kv/txn 401".to_owned(),
        format!("5 {all} kvPut /v1/kv/keys/a 413"),
        format!("7 {all} transferLeadership /v1/cluster/transfer 415"),
    ];
    crate::node::wait_for("the last record", || {
        kept.0.lock().expect("unpoisoned").len() > 6
    });
    let records = kept.0.lock().expect("unpoisoned");
    assert_eq!(records[..6], expected);
    let last = &records[6];
    assert!(
        last.starts_with(&format!("8 {all} kvPut /v1/kv/keys/gone ")),
        "{last}"
    );
    assert!(last.ends_with(" gone") || last.ends_with(" 400"), "{last}");
    assert_eq!(records.len(), 7);
}

#[test]
fn requests_have_names() {
    let node = TestNode::start();
    let name = |headers: &[&str]| {
        let answer = node.request("GET", "/healthz", headers, b"");
        answer.headers["x-request-id"].clone()
    };
    assert_eq!(name(&["X-Request-Id: a.B_1-2"]), "a.B_1-2");
    let (one, two) = (name(&[]), name(&[]));
    assert_ne!(one, two);
    assert_eq!(one[..16], two[..16], "of one run");
    for bad in ["a b", "", "\"", "a/b", "\u{e9}", &"a".repeat(65)] {
        let given = format!("X-Request-Id: {bad}");
        assert_eq!(name(&[&given])[..16], one[..16], "{bad}");
    }
}
