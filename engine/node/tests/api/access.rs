//! API keys that the cluster keeps: made, used, listed and revoked through the interface.

use crate::node::{Answer, TestNode};
use holdfast_node::{
    auth::ApiKey,
    client::{Client, ClientConfig},
    config::{AuthKey, AuthMode},
    http::ProblemKind,
    wire::keys::NewKeyRequest,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde_json::{Value, json};
use std::time::Duration;

fn key(seed: u64) -> ApiKey {
    ApiKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
}

/// A node whose configuration lists keys from 0 on, each with these scopes.
fn start(scopes: &[&[&str]], cache_ttl: Duration) -> TestNode {
    TestNode::start_with(|config| {
        config.auth.mode = AuthMode::Keys;
        config.auth.cache_ttl = cache_ttl;
        let entry = |(seed, scopes): (u64, &&[&str])| AuthKey {
            id: key(seed).id(),
            hash: key(seed).hash(),
            scopes: scopes.iter().map(|one| one.parse().expect("ok")).collect(),
            expires: None,
            name: String::new(),
        };
        config.auth.keys = (0..).zip(scopes).map(entry).collect();
    })
}

const LONG: Duration = Duration::from_secs(600);

fn ask(node: &TestNode, secret: &str, method: &str, target: &str, body: &str) -> Answer {
    let bearer = format!("Authorization: Bearer {secret}");
    let headers = [&bearer[..], "Content-Type: application/json"];
    node.request(method, target, &headers, body.as_bytes())
}

#[track_caller]
fn create(node: &TestNode, secret: &str, request: Value) -> Value {
    let answer = ask(node, secret, "POST", "/v1/keys", &request.to_string());
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let made = answer.json();
    let location = format!("/v1/keys/{}", made["id"].as_str().expect("an id"));
    assert_eq!(answer.headers["location"], location);
    made
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[test]
fn a_key_is_made_used_and_revoked() {
    // A time that no test waits for: this node forgets what it has remembered of a key that it revokes.
    let mut node = start(&[&["*"]], LONG);
    let root = key(0).reveal().to_owned();
    let made = create(
        &node,
        &root,
        json!({"scopes": ["kv:*"], "name": "ci", "expires_at": "2250-01-01T00:00:00Z"}),
    );
    let (secret, id) = (text(&made["key"]).to_owned(), text(&made["id"]).to_owned());
    assert_eq!(secret[3..15], id);
    assert_eq!(made["created_by"], key(0).id().to_string());
    let may = |node: &TestNode| {
        ask(node, &secret, "GET", "/v1/kv/range?prefix=", "").expect_json();
        ask(node, &secret, "GET", "/v1/status", "").expect_problem(403, "insufficient-scope");
    };
    may(&node);
    node.restart();
    may(&node);

    let told = ask(&node, &root, "GET", &format!("/v1/keys/{id}"), "").expect_json();
    let mut expected = made.clone();
    expected.as_object_mut().expect("an object").remove("key");
    assert_eq!(told, expected);
    let revoked = ask(&node, &root, "DELETE", &format!("/v1/keys/{id}"), "");
    assert_eq!((revoked.status, revoked.body.len()), (204, 0));
    let refused = ask(&node, &secret, "GET", "/v1/kv/range?prefix=", "");
    let problem = refused.expect_problem(401, "unauthenticated");
    assert!(text(&problem["detail"]).contains("revoked"), "{problem}");
    // Once more is no mistake, and does not change when it was.
    let told = ask(&node, &root, "GET", &format!("/v1/keys/{id}"), "").expect_json();
    assert!(told["revoked_at"].is_string());
    let again = ask(&node, &root, "DELETE", &format!("/v1/keys/{id}"), "");
    assert_eq!(again.status, 204);
    let same = ask(&node, &root, "GET", &format!("/v1/keys/{id}"), "").expect_json();
    assert_eq!(told, same);

    let audit = ask(&node, &root, "GET", "/v1/audit", "").expect_json();
    let changes = audit["entries"].as_array().expect("entries").iter();
    let changes: Vec<&str> = changes.map(|entry| text(&entry["operation"])).collect();
    assert_eq!(changes, ["keysRevoke", "keysRevoke", "keysCreate"]);
    let whole = audit.to_string();
    assert!(whole.contains(&id) && !whole.contains(&secret[16..]));
}

#[test]
fn a_key_grants_no_more_than_its_creator_may() {
    let node = start(&[&["keys:write", "kv:read"], &["keys:*", "*:read"]], LONG);
    let of = |seed: u64, scopes: &[&str]| {
        let body = json!({"scopes": scopes}).to_string();
        ask(&node, key(seed).reveal(), "POST", "/v1/keys", &body)
    };
    for (seed, scopes, refused) in [
        (0, &["kv:read"][..], None),
        (0, &["kv:read", "keys:write"], None),
        (0, &["kv:read", "kv:write"], Some("kv:write")),
        (0, &["kv:*"], Some("kv:*")),
        (0, &["*:read"], Some("*:read")),
        (0, &["*"], Some("*")),
        (0, &["admin"], Some("admin")),
        (1, &["*:read", "keys:*", "status:read"], None),
        (1, &["kv:*"], Some("kv:*")),
    ] {
        let answer = of(seed, scopes);
        match refused {
            None => assert_eq!(answer.status, 201, "{scopes:?}"),
            Some(scope) => {
                let problem = answer.expect_problem(403, "insufficient-scope");
                assert_eq!(problem["scope"], scope);
                let challenge = &answer.headers["www-authenticate"];
                assert!(challenge.contains(&format!("scope=\"{scope}\"")));
            }
        }
    }
    // What was made so passes on no more, either.
    let made = of(0, &["keys:write", "kv:read"]).json();
    let body = json!({"scopes": ["links:read"]}).to_string();
    ask(&node, text(&made["key"]), "POST", "/v1/keys", &body)
        .expect_problem(403, "insufficient-scope");
    let reads = ask(&node, key(0).reveal(), "GET", "/v1/keys", "");
    assert_eq!(
        reads.expect_problem(403, "insufficient-scope")["scope"],
        "keys:read"
    );
}

#[test]
fn a_repeated_request_makes_one_key_and_tells_it_once() {
    let node = start(&[&["*"], &["*"]], LONG);
    let post = |seed: u64, body: Value| {
        let bearer = format!("Authorization: Bearer {}", key(seed).reveal());
        let headers = [
            &bearer[..],
            "Content-Type: application/json",
            "Idempotency-Key: \"one\"",
        ];
        let body = body.to_string();
        node.request("POST", "/v1/keys", &headers, body.as_bytes())
    };
    let body = json!({"scopes": ["kv:read"]});
    let first = post(0, body.clone());
    let made = first.json();
    assert!(made["key"].is_string() && made["note"].is_null());
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let second = post(0, body.clone());
    assert_eq!(
        (second.status, &second.headers["idempotent-replayed"][..]),
        (201, "true")
    );
    let told = second.json();
    assert!(told["key"].is_null() && text(&told["note"]).contains("revoke it"));
    assert_eq!(told["id"], made["id"]);
    // The first is the one that works, and there is no other.
    ask(&node, text(&made["key"]), "GET", "/v1/kv/range?prefix=", "").expect_json();
    post(0, json!({"scopes": ["kv:write"]})).expect_problem(422, "idempotency-key-reused");
    // Another client's name for another request.
    assert_ne!(post(1, body).json()["id"], made["id"]);
    let all = ask(&node, key(0).reveal(), "GET", "/v1/keys", "").expect_json();
    assert_eq!(all["keys"].as_array().map(Vec::len), Some(2));
}

#[test]
fn keys_are_listed_page_by_page_without_what_is_secret() {
    let node = start(&[&["*"]], LONG);
    let root = key(0).reveal().to_owned();
    let made: Vec<Value> = (0..3)
        .map(|at| {
            create(
                &node,
                &root,
                json!({"scopes": ["kv:read"], "name": format!("n{at}")}),
            )
        })
        .collect();
    let page = ask(&node, &root, "GET", "/v1/keys?limit=2", "");
    let first = page.expect_json();
    let next = text(&first["next"]);
    assert!(page.headers["link"].contains(next));
    let second = ask(
        &node,
        &root,
        "GET",
        &format!("/v1/keys?limit=2&cursor={next}"),
        "",
    );
    let second = second.expect_json();
    let ids = |value: &Value| -> Vec<String> {
        let keys = value["keys"].as_array().expect("keys").iter();
        keys.map(|key| text(&key["id"]).to_owned()).collect()
    };
    let listed = [ids(&first), ids(&second)].concat();
    let expected: Vec<&str> = made.iter().rev().map(|made| text(&made["id"])).collect();
    assert_eq!(listed, expected);
    assert!(second["next"].is_null());
    let whole = format!("{first}{second}");
    assert!(!whole.contains("sha256"), "{whole}");
    assert!(
        made.iter()
            .all(|made| !whole.contains(&text(&made["key"])[16..]))
    );
    ask(&node, &root, "GET", &format!("/v1/audit?cursor={next}"), "")
        .expect_problem(400, "invalid-cursor");
}

#[test]
fn what_cannot_be_is_refused() {
    let node = start(&[&["*"]], LONG);
    let root = key(0).reveal().to_owned();
    for (body, field) in [
        (json!({"scopes": []}), Some("scopes")),
        (json!({"scopes": ["kv:reed"]}), Some("scopes")),
        (json!({"scopes": ["*"], "name": "a\u{7}"}), Some("name")),
        (
            json!({"scopes": ["*"], "name": "n".repeat(201)}),
            Some("name"),
        ),
        (
            json!({"scopes": ["*"], "expires_at": "soon"}),
            Some("expires_at"),
        ),
        (
            json!({"scopes": ["*"], "expires_at": "2001-01-01T00:00:00Z"}),
            Some("expires_at"),
        ),
        (json!({"scopes": ["*"], "hash": "x"}), None),
        (json!({}), None),
    ] {
        let answer = ask(&node, &root, "POST", "/v1/keys", &body.to_string());
        let problem = answer.expect_problem(400, "bad-request");
        assert_eq!(problem.get("field").map(text), field, "{body}");
    }
    for method in ["GET", "DELETE"] {
        let known = format!("/v1/keys/{}", key(0).id());
        let answer = ask(&node, &root, method, &known, "");
        answer.expect_problem(404, "not-found");
        ask(&node, &root, method, "/v1/keys/short", "").expect_problem(400, "bad-request");
    }
    let none = ask(&node, &root, "GET", "/v1/keys", "").expect_json();
    assert_eq!(none, json!({"keys": []}));
}

#[test]
fn a_key_ends_when_its_time_has_come() {
    let node = start(&[&["*"]], LONG);
    let now = node.host().unix_time().as_nanos();
    let soon = holdfast_links::time::format(now + 3_000_000_000);
    let made = create(
        &node,
        key(0).reveal(),
        json!({"scopes": ["kv:read"], "expires_at": soon}),
    );
    let mut was_taken = false;
    crate::node::wait_for("the key's end", || {
        let answer = ask(&node, text(&made["key"]), "GET", "/v1/kv/range?prefix=", "");
        was_taken |= answer.status == 200;
        answer.status == 401
    });
    // Not before its time; on a machine that stood still in between nothing was seen of it.
    assert!(was_taken || node.host().unix_time().as_nanos() > now + 3_000_000_000);
}

#[test]
fn the_client_makes_and_revokes_keys() {
    let node = start(&[&["*"]], LONG);
    let mut config = ClientConfig::new(vec![node.address.to_string()]);
    config.api_key = Some(key(0));
    let client = Client::new(node.host(), config);
    node.runtime.block_on(async {
        let request = NewKeyRequest {
            scopes: vec!["kv:read".to_owned()],
            name: "a name".to_owned(),
            expires_at: None,
        };
        let made = client.create_key(&request).await.expect("made");
        let made_key: ApiKey = made.key.expect("told").parse().expect("a key");
        let id = made_key.id();
        assert_eq!(client.key(id).await.expect("there"), made.info);
        let page = client.keys(None).await.expect("a page");
        assert_eq!((page.keys, page.next), (vec![made.info], None));
        client.revoke_key(id).await.expect("revoked");
        let told = client.key(id).await.expect("there");
        assert!(told.revoked_at.is_some());
        let unknown = client.revoke_key(key(9).id()).await.expect_err("unknown");
        assert_eq!(unknown.refusal(), Some(ProblemKind::NotFound));
    });
}

/// Whoever may do everything may do this: keys can be made before anybody is asked for one.
#[test]
fn keys_can_be_made_where_nobody_is_asked_for_one() {
    let node = TestNode::start();
    let answer = node.post("/v1/keys", r#"{"scopes": ["*"]}"#);
    assert_eq!(
        (answer.status, answer.json()["created_by"].as_str()),
        (201, Some("anonymous"))
    );
}
