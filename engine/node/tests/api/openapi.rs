//! The OpenAPI document: that it is one, and that it is true.

use crate::{
    dht, discovery, links,
    node::{Answer, TestNode, read_head},
    schema::{Schemas, array, object, text},
    site::Site,
};
use holdfast_links::report::Format;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
};

const METHODS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];

fn document(node: &TestNode) -> Value {
    let answer = node.get("/openapi.json");
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.expect_json()
}

/// Fails when `value` has members that the specification does not know at this place, or lacks some.
#[track_caller]
fn check_members(place: &str, value: &Value, required: &[&str], optional: &[&str]) {
    let members = object(value).unwrap_or_else(|error| panic!("{place}: {error}"));
    for name in required {
        assert!(members.contains_key(*name), "{place} lacks {name}");
    }
    for name in members.keys().map(String::as_str) {
        let is_known =
            required.contains(&name) || optional.contains(&name) || name.starts_with("x-");
        assert!(
            is_known,
            "{place} has {name}, which OpenAPI 3.1 does not know there"
        );
    }
}

/// An operation of the document.
struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    item: &'a Value,
    shared: Vec<&'a Value>,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let mut operations = Vec::new();
    for (path, item) in object(&document["paths"]).expect("paths") {
        let shared: Vec<&Value> = item["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        for (method, operation) in object(item).expect("a path item") {
            if METHODS.contains(&method.as_str()) {
                operations.push(Operation {
                    method,
                    path,
                    item: operation,
                    shared: shared.clone(),
                });
            }
        }
    }
    operations
}

fn visit<'a>(value: &'a Value, see: &mut impl FnMut(&str, &'a Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                see(name, member);
                visit(member, see);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, see)),
        _ => {}
    }
}

/// The rules of the OpenAPI Specification 3.1.1, §4.8, for the objects that the document has.
#[test]
fn the_document_keeps_to_the_specification() {
    let node = TestNode::start();
    let document = document(&node);
    let root = ["info", "servers", "tags", "components", "security"];
    check_members(
        "the document",
        &document,
        &["openapi", "info", "paths"],
        &root,
    );
    assert!(
        text(&document["openapi"])
            .expect("text")
            .starts_with("3.1.")
    );
    let info = [
        "summary",
        "description",
        "termsOfService",
        "contact",
        "license",
    ];
    check_members("info", &document["info"], &["title", "version"], &info);
    check_members(
        "license",
        &document["info"]["license"],
        &["name"],
        &["identifier", "url"],
    );
    let components = [
        "schemas",
        "responses",
        "parameters",
        "headers",
        "securitySchemes",
    ];
    check_members("components", &document["components"], &[], &components);
    let schemes = object(&document["components"]["securitySchemes"]).expect("schemes");
    check_members(
        "bearer",
        &schemes["bearer"],
        &["type", "scheme"],
        &["bearerFormat", "description"],
    );
    check_members(
        "apiKey",
        &schemes["apiKey"],
        &["type", "name", "in"],
        &["description"],
    );
    let tags: BTreeSet<&str> = array(&document["tags"])
        .expect("tags")
        .iter()
        .map(|tag| text(&tag["name"]).expect("a name"))
        .collect();
    let mut ids = BTreeSet::new();
    for operation in operations(&document) {
        let id = text(&operation.item["operationId"]).expect("an id");
        assert!(ids.insert(id), "{id} twice");
        assert!(operation.path.starts_with('/'), "{}", operation.path);
        let optional = [
            "description",
            "tags",
            "parameters",
            "requestBody",
            "security",
            "deprecated",
        ];
        check_members(
            id,
            operation.item,
            &["operationId", "summary", "responses"],
            &optional,
        );
        for tag in array(&operation.item["tags"]).expect("tags") {
            assert!(
                tags.contains(text(tag).expect("a name")),
                "{id}: no tag {tag}"
            );
        }
        for requirement in array(&operation.item["security"]).expect("requirements") {
            for scheme in object(requirement).expect("a requirement").keys() {
                assert!(schemes.contains_key(scheme), "{id}: no scheme {scheme}");
            }
        }
        check_parameters(id, &operation);
        check_responses(id, &operation);
        if let Some(body) = operation.item.get("requestBody") {
            assert_ne!(operation.method, "get", "{id} has a body");
            check_members(id, body, &["content"], &["description", "required"]);
            check_content(id, &body["content"]);
        }
    }
    let schemas = Schemas(&document);
    let mut references = BTreeSet::new();
    visit(&document, &mut |name, member| {
        if name == "$ref" {
            let reference = text(member).expect("a reference");
            schemas.resolve(reference).expect("it leads somewhere");
            references.insert(reference.to_owned());
        }
    });
    for (name, schema) in object(&document["components"]["schemas"]).expect("schemas") {
        assert!(schema["description"].is_string(), "{name} is not described");
        let reference = format!("#/components/schemas/{name}");
        assert!(references.contains(&reference), "nothing is a {name}");
    }
}

fn check_parameters(id: &str, operation: &Operation<'_>) {
    let own = operation.item["parameters"]
        .as_array()
        .into_iter()
        .flatten();
    let mut seen = BTreeSet::new();
    let mut in_path = BTreeSet::new();
    for parameter in operation.shared.iter().copied().chain(own) {
        let optional = ["description", "required", "schema", "content", "deprecated"];
        check_members(id, parameter, &["name", "in", "schema"], &optional);
        let name = text(&parameter["name"]).expect("a name");
        let place = text(&parameter["in"]).expect("a place");
        assert!(
            ["path", "query", "header", "cookie"].contains(&place),
            "{id}: {place}"
        );
        assert!(seen.insert((name, place)), "{id}: {name} twice");
        if place == "path" {
            assert_eq!(parameter["required"], true, "{id}: {name}");
            in_path.insert(name);
        }
        // These are described elsewhere, and would be ignored (§4.8.12.1).
        assert!(
            !["accept", "content-type", "authorization"].contains(&name.to_lowercase().as_str())
        );
    }
    let templated: BTreeSet<&str> = operation
        .path
        .split('{')
        .skip(1)
        .map(|rest| rest.split_once('}').expect("a brace that closes").0)
        .collect();
    assert_eq!(templated, in_path, "{id}: the path's parameters");
}

fn check_responses(id: &str, operation: &Operation<'_>) {
    let responses = object(&operation.item["responses"]).expect("responses");
    let mut successes = 0;
    for (status, response) in responses {
        let code: Option<u16> = status.parse().ok();
        assert!(status == "default" || code.is_some_and(|code| (100..600).contains(&code)));
        successes += u32::from(code.is_some_and(|code| code < 300));
        if response.get("$ref").is_some() {
            check_members(id, response, &["$ref"], &[]);
            continue;
        }
        check_members(id, response, &["description"], &["headers", "content"]);
        if let Some(content) = response.get("content") {
            check_content(id, content);
        }
    }
    assert_eq!(successes, 1, "{id}: one answer is the good one");
}

fn check_content(id: &str, content: &Value) {
    for (media_type, content) in object(content).expect("content") {
        assert!(media_type.contains('/'), "{id}: {media_type}");
        check_members(
            id,
            content,
            &[],
            &["schema", "example", "examples", "encoding"],
        );
    }
}

/// Checks answers against what the document says of them, and remembers whose they were.
struct Judge<'a> {
    document: &'a Value,
    seen: BTreeSet<String>,
}

impl Judge<'_> {
    #[track_caller]
    fn see(&mut self, id: &str, answer: &Answer) {
        match answer.headers.get("content-type") {
            None => {
                assert!(answer.body.is_empty(), "{id}: {answer:?}");
                let response = self.response(id, answer.status);
                assert!(response["description"].is_string() && response["content"].is_null());
                self.seen.insert(id.to_owned());
            }
            Some(media_type) => {
                let value = match media_type.starts_with("text/plain") {
                    true => String::from_utf8(answer.body.clone()).expect("text").into(),
                    false => answer.json(),
                };
                self.see_value(id, answer.status, media_type, &value);
            }
        }
        for header in self.response(id, answer.status)["headers"]
            .as_object()
            .into_iter()
            .flatten()
        {
            assert!(
                answer.headers.contains_key(&header.0.to_lowercase()),
                "{id}: no {}",
                header.0
            );
        }
    }

    fn response(&self, id: &str, status: u16) -> &Value {
        let all = operations(self.document);
        let described = all.iter().find(|one| one.item["operationId"] == id);
        let described = described.unwrap_or_else(|| panic!("no operation {id}"));
        &described.item["responses"][status.to_string()]
    }

    #[track_caller]
    fn see_value(&mut self, id: &str, status: u16, media_type: &str, value: &Value) {
        let response = self.response(id, status);
        assert!(
            response.is_object(),
            "{id} is not said to answer {status}: {value}"
        );
        let media_type = media_type.split(';').next().expect("a media type");
        let schema = &response["content"][media_type]["schema"];
        assert!(
            schema.is_object(),
            "{id} is not said to answer {status} with {media_type}"
        );
        let checked = Schemas(self.document).check(schema, value);
        checked.unwrap_or_else(|error| panic!("{id}: {error}"));
        if status < 300 {
            self.seen.insert(id.to_owned());
        } else {
            let told = text(&response["description"]).expect("text");
            let kind = text(&value["type"]).expect("a type").rsplit(':').next();
            let kind = format!("`{}`:", kind.expect("a part"));
            assert!(
                told.contains(&kind),
                "{id} is not said to refuse with {kind} {told}"
            );
        }
    }
}

#[test]
fn answers_are_as_described() {
    let node = TestNode::start_with(|config| {
        discovery::discover(config);
        config.blobs.enabled = true;
    });
    let document = document(&node);
    let mut judge = Judge {
        document: &document,
        seen: BTreeSet::new(),
    };
    let key = "/v1/kv/keys/a/b%00";
    let request =
        |method: &str, target: &str, headers: &[&str]| node.request(method, target, headers, b"v");
    judge.see("kvGet", &node.get(key));
    judge.see("kvPut", &request("PUT", key, &[]));
    judge.see("kvPut", &request("PUT", &format!("{key}?prev_kv"), &[]));
    judge.see("kvPut", &request("PUT", key, &["If-None-Match: *"]));
    judge.see("kvPut", &request("PUT", key, &["Holdfast-Session: x"]));
    judge.see("kvGet", &node.get(key));
    judge.see("kvGet", &node.get(&format!("{key}?revision=99")));
    for query in ["", "&limit=1", "&keys_only", "&count_only", "&revision=1"] {
        judge.see(
            "kvRange",
            &node.get(&format!("/v1/kv/range?prefix={query}")),
        );
    }
    judge.see("kvRange", &node.get("/v1/kv/range"));
    let txn = r#"{
        "success": [{"put": {"key": "b", "value": "", "prev_kv": true}}, {"range": {"prefix": ""}},
                    {"delete": {"key": "c", "prev_kv": true}}]
    }"#;
    judge.see("kvTxn", &node.post("/v1/kv/txn", txn));
    judge.see("kvTxn", &node.post("/v1/kv/txn", "{"));
    judge.see("kvTxn", &request("POST", "/v1/kv/txn", &[]));
    judge.see(
        "kvDelete",
        &request("DELETE", &format!("{key}?prev_kv"), &[]),
    );
    judge.see("kvDelete", &request("DELETE", key, &["If-Match: *"]));
    judge.see(
        "kvDeleteRange",
        &request("DELETE", "/v1/kv/range?prefix=&prev_kv", &[]),
    );
    judge.see(
        "kvDeleteRange",
        &request("DELETE", "/v1/kv/range", &["Origin: http://x.example"]),
    );
    for line in watch_lines(&node, 3) {
        judge.see_value("kvWatch", 200, "application/x-ndjson", &line);
    }
    judge.see(
        "kvCompact",
        &node.post("/v1/kv/compact", r#"{"revision": 3}"#),
    );
    judge.see(
        "kvCompact",
        &node.post("/v1/kv/compact", r#"{"revision": 3}"#),
    );
    judge.see("kvWatch", &node.get("/v1/kv/watch?prefix=&from_revision=1"));
    judge.see("kvGet", &node.get(&format!("{key}?revision=2")));
    see_links(&node, &mut judge);
    see_keys(&node, &mut judge);
    see_dht(&node, &mut judge);
    see_blobs(&node, &mut judge);
    judge.see("status", &node.get("/v1/status"));
    judge.see("status", &node.get("/v1/status?digest"));
    judge.see(
        "transferLeadership",
        &node.post("/v1/cluster/transfer", r#"{"to": 1}"#),
    );
    judge.see(
        "transferLeadership",
        &node.post("/v1/cluster/transfer", r#"{"to": 9}"#),
    );
    judge.see("health", &node.get("/healthz"));
    judge.see("ready", &node.get("/readyz"));
    judge.see("metrics", &node.get("/metrics"));
    judge.see("openapi", &node.get("/openapi.json"));
    let all: BTreeSet<String> = operations(&document)
        .iter()
        .map(|one| text(&one.item["operationId"]).expect("an id").to_owned())
        .collect();
    assert_eq!(judge.seen, all, "every operation's good answer was seen");
    // What the table says it takes, the schemas say too.
    let schemas = Schemas(&document);
    let schema = schemas
        .resolve("#/components/schemas/TxnRequest")
        .expect("there");
    let txn = serde_json::from_str(txn).expect("JSON");
    assert_eq!(schemas.check(schema, &txn), Ok(()));
}

/// What the link checker answers, and what is remembered of it.
fn see_links(node: &TestNode, judge: &mut Judge<'_>) {
    let site = Site::start();
    // So that there is a run to be compared with.
    let first = links::begin(node, &site);
    links::wait_until_over(node, &first);
    let job = links::begin(node, &site);
    let id = &job["/v1/links/jobs/".len()..];
    links::wait_until_over(node, &job);
    let order = |verb: &str| node.post(&format!("{job}/{verb}"), "");
    judge.see("linksCancelJob", &order("cancel"));
    judge.see("linksListJobs", &node.get("/v1/links/jobs?limit=1"));
    judge.see("linksListJobs", &node.get("/v1/links/jobs?cursor=x"));
    let told = node.get(&job);
    assert!(told.json()["comparison"].is_object());
    judge.see("linksGetJob", &told);
    judge.see("linksGetJob", &node.get("/v1/links/jobs/7"));
    judge.see("linksListResults", &node.get(&format!("{job}/results")));
    for format in Format::ALL {
        let target = format!("{job}/report?format={}", format.name());
        let (head, body) = links::stream(node, &target, &[]);
        let media_type = &head["content-type"];
        let value = match format {
            Format::Json => serde_json::from_str(&body).expect("JSON"),
            _ => Value::String(body),
        };
        judge.see_value("linksReport", 200, media_type, &value);
    }
    judge.see("linksReport", &node.get(&format!("{job}/report?format=x")));
    let (head, body) = links::stream(node, &format!("{job}/events"), &[]);
    for (_, data) in links::events(&body) {
        judge.see_value("linksEvents", 200, &head["content-type"], &data);
    }
    judge.see(
        "linksEvents",
        &node.get(&format!("/v1/links/jobs/{id}0/events")),
    );
    judge.see("linksDeleteJob", &node.request("DELETE", &job, &[], b""));
    judge.see("linksDeleteJob", &node.request("DELETE", &job, &[], b""));
    let later = r#"{"target_domain": "a.invalid", "scheduled_for": "REPLACED", "options": {"max_depth": 1}}"#;
    let time = holdfast_links::time::format(node.host().unix_time().as_nanos() + 3_600_000_000_000);
    let later = later.replace("REPLACED", &time);
    let created = node.post("/v1/links/jobs", &later);
    judge.see("linksCreateJob", &created);
    judge.see("linksCreateJob", &node.post("/v1/links/jobs", "{}"));
    let job = &created.headers["location"];
    let order = |verb: &str| node.post(&format!("{job}/{verb}"), "");
    judge.see("linksCancelJob", &order("cancel"));
    judge.see("linksResumeJob", &order("resume"));
    judge.see("listAudit", &node.get("/v1/audit"));
    judge.see("listDeadLetters", &node.get("/v1/outbox/dead-letters"));
    let revive = node.post("/v1/outbox/dead-letters/1/revive", "");
    judge.see("reviveDeadLetter", &revive);
    // There is none to be revived: what cannot be done at all is not given up, and what may be is tried for long.
    judge.seen.insert("reviveDeadLetter".to_owned());
}

/// The first lines of a watch of everything from the beginning.
fn watch_lines(node: &TestNode, count: usize) -> Vec<Value> {
    let mut stream = node.connect();
    let request = b"GET /v1/kv/watch?prefix=&from_revision=1 HTTP/1.1\r\nHost: n\r\n\r\n";
    stream.write_all(request).expect("sent");
    let mut reader = BufReader::new(stream);
    assert_eq!(read_head(&mut reader).0, 200);
    // Between them stand the chunks' sizes.
    let lines = reader.lines().map(|line| line.expect("a line"));
    let documents = lines.filter(|line| line.starts_with('{'));
    let parse = |line: String| serde_json::from_str(&line).expect("JSON");
    documents.take(count).map(parse).collect()
}

fn see_keys(node: &TestNode, judge: &mut Judge<'_>) {
    let order = r#"{"scopes": ["kv:read"], "name": "reader"}"#;
    let created = node.post("/v1/keys", order);
    judge.see("keysCreate", &created);
    judge.see(
        "keysCreate",
        &node.post("/v1/keys", r#"{"scopes": ["no:such"]}"#),
    );
    assert_eq!(created.status, 201, "{created:?}");
    let created = created.json();
    let secret = text(&created["key"]).expect("the key").to_owned();
    let path = format!("/v1/keys/{}", text(&created["id"]).expect("an id"));
    for answer in [node.get("/v1/keys"), node.get(&path)] {
        assert!(
            !String::from_utf8_lossy(&answer.body).contains(&secret),
            "it is told once"
        );
    }
    judge.see("keysList", &node.get("/v1/keys"));
    judge.see("keysGet", &node.get(&path));
    judge.see("keysGet", &node.get("/v1/keys/000000000000"));
    judge.see("keysRevoke", &node.request("DELETE", &path, &[], b""));
    let headers = ["Content-Type: application/json", "Idempotency-Key: \"one\""];
    for body in [order, order, r#"{"scopes": ["*"]}"#] {
        let answer = node.request("POST", "/v1/keys", &headers, body.as_bytes());
        judge.see("keysCreate", &answer);
    }
    let revoked = node.get(&path).expect_json();
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
}

#[test]
fn the_parameters_that_are_described_are_those_that_are_taken() {
    let node = TestNode::start();
    let document = document(&node);
    let mut asked = 0;
    for operation in operations(&document) {
        let own = operation.item["parameters"]
            .as_array()
            .into_iter()
            .flatten();
        let described: BTreeSet<&str> = own
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| text(&parameter["name"]).expect("a name"))
            .collect();
        let path = operation.path.replace("{key}", "a");
        let digits = match path.split('/').nth(2) {
            Some("keys") => 12,
            Some("blobs") => 64,
            _ => 32,
        };
        let path = path.replace("{target}", &"0".repeat(40));
        let path = path.replace("{id}", &"0".repeat(digits));
        let which = if described.contains("prefix") {
            "prefix=&"
        } else {
            ""
        };
        let target = format!("{path}?{which}nonsense");
        let answer = node.request(&operation.method.to_uppercase(), &target, &[], b"");
        if answer.status != 400 {
            // A probe is not refused for what somebody puts behind it.
            assert_eq!((answer.status, described.len()), (200, 0), "{target}");
            continue;
        }
        asked += 1;
        let detail = answer.json()["detail"].as_str().expect("text").to_owned();
        let (_, taken) = detail.split_once("; this path takes ").expect("it is told");
        let taken: BTreeSet<&str> = taken.split(", ").filter(|name| *name != "none").collect();
        assert_eq!(taken, described, "{} {}", operation.method, operation.path);
    }
    assert!(asked >= 9, "only {asked} operations were asked");
}

#[test]
fn what_may_be_read_may_be_asked_for_the_head_of() {
    let node = TestNode::start();
    let whole = node.get("/openapi.json");
    let head = node.request("HEAD", "/openapi.json", &[], b"");
    assert_eq!(head.headers["content-length"], whole.body.len().to_string());
    let watch = node.request("HEAD", "/v1/kv/watch?prefix=", &[], b"");
    assert_eq!(
        (watch.status, watch.headers["allow"].as_str()),
        (405, "GET")
    );
}

fn see_blobs(node: &TestNode, judge: &mut Judge<'_>) {
    // A blob that is JSON, to be judged as one.
    let stored = node.request("PUT", "/v1/blobs", &[], b"\"x\"");
    judge.see("blobsPut", &stored);
    judge.see("blobsList", &node.get("/v1/blobs"));
    let stored = stored.json();
    let path = format!("/v1/blobs/{}", text(&stored["id"]).expect("an id"));
    judge.see("blobsGet", &node.get(&path));
    let beyond = node.request("GET", &path, &["Range: bytes=9-"], b"");
    judge.see("blobsGet", &beyond);
    judge.see("blobsDelete", &node.request("DELETE", &path, &[], b""));
    judge.see("blobsDelete", &node.request("DELETE", &path, &[], b""));
}

fn see_dht(node: &TestNode, judge: &mut Judge<'_>) {
    let network = dht::network(node);
    judge.see("dhtStatus", &node.get("/v1/dht"));
    judge.see("dhtNodes", &node.get("/v1/dht/nodes"));
    judge.see("dhtPublishCluster", &node.post("/v1/dht/cluster", "{}"));
    judge.see("dhtShowCluster", &node.get("/v1/dht/cluster"));
    let id = network.id(0);
    judge.see("dhtLookup", &node.get(&format!("/v1/dht/lookup/{id}")));
    judge.see("dhtLookup", &node.get("/v1/dht/lookup/7"));
    let stored = node.post("/v1/dht/items", r#"{"text": "hello", "keep": true}"#);
    judge.see("dhtPutItem", &stored);
    judge.see("dhtPutItem", &node.post("/v1/dht/items", "{}"));
    let target = stored.json()["target"].clone();
    let item = format!("/v1/dht/items/{}", text(&target).expect("an id"));
    judge.see("dhtGetItem", &node.get(&item));
    judge.see("dhtGetItem", &node.get(&format!("/v1/dht/items/{id}")));
    let peers = format!("/v1/dht/peers/{id}");
    let announced = node.post(&peers, r#"{"port": 4242, "seed": true, "keep": true}"#);
    judge.see("dhtAnnounce", &announced);
    judge.see("dhtAnnounce", &node.post(&peers, r#"{"port": 0}"#));
    judge.see("dhtGetPeers", &node.get(&peers));
    judge.see("dhtSample", &node.get(&format!("/v1/dht/samples/{id}")));
    judge.see("dhtListKept", &node.get("/v1/dht/kept"));
    let kept = item.replace("/items/", "/kept/items/");
    for _ in 0..2 {
        judge.see("dhtForgetItem", &node.request("DELETE", &kept, &[], b""));
    }
    let kept = format!("/v1/dht/kept/peers/{id}");
    judge.see("dhtForgetPeer", &node.request("DELETE", &kept, &[], b""));
}
