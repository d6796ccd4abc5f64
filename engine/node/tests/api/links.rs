//! The link checker's interface, over a small site on loopback.

use crate::{
    node::{Answer, TestNode, read_head, wait_for},
    site::Site,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    time::Duration,
};

const JOBS: &str = "/v1/links/jobs";
const NO_JOB: &str = "/v1/links/jobs/00000000000000000000000000000000";

fn create(node: &TestNode, body: &Value, headers: &[&str]) -> Answer {
    let mut all = vec!["Content-Type: application/json"];
    all.extend(headers);
    node.request("POST", JOBS, &all, body.to_string().as_bytes())
}

/// A job that checks the site, without pauses; its path.
pub fn begin(node: &TestNode, site: &Site) -> String {
    let options = json!({"retries": 0});
    let body = json!({"start_urls": [site.url("/")], "options": options});
    let answer = create(node, &body, &[]);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.headers["location"].clone()
}

pub fn wait_until_over(node: &TestNode, job: &str) -> Value {
    let mut last = Value::Null;
    wait_for("a job that is over", || {
        last = node.get(job).expect_json();
        last["status"] != "running" && last["status"] != "queued"
    });
    last
}

/// Every result, page by page.
fn all_pages(node: &TestNode, target: &str, list: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut next = format!("{target}limit={limit}");
    loop {
        let answer = node.get(&next);
        let page = answer.expect_json();
        let found = page[list].as_array().expect("a list").clone();
        let cursor = page["next"].as_str();
        assert!(found.len() <= limit);
        assert!(found.len() == limit || cursor.is_none(), "a page is full");
        items.extend(found);
        let Some(cursor) = cursor else {
            assert!(!answer.headers.contains_key("link"));
            return items;
        };
        let link = &answer.headers["link"];
        let (target, relation) = link[1..].split_once('>').expect("a link");
        assert_eq!(relation, "; rel=\"next\"");
        assert!(target.contains(cursor), "{target}");
        next = target.to_owned();
    }
}

#[test]
fn a_site_is_checked_and_every_link_has_its_verdict() {
    let (node, site) = (TestNode::start(), Site::start());
    let job = begin(&node, &site);
    let over = wait_until_over(&node, &job);
    assert_eq!(over["status"], "completed", "{over}");
    let domain = over["target_domain"].as_str().expect("a text");
    assert_eq!(site.url("/"), format!("http://{domain}/"));
    assert_eq!(over["pages"], Site::PAGES);
    assert_eq!(over["broken_count"], Site::BROKEN);
    assert_eq!(over["verdicts"]["dead"], Site::BROKEN - 1);
    assert_eq!(over["verdicts"]["fragment_missing"], 1);
    assert!(over["created_at"].as_str().expect("a time").ends_with('Z'));
    let results = node.get(&format!("{job}/results")).expect_json();
    let results = results["results"].as_array().expect("results");
    assert_eq!(
        results.len() as u64,
        over["total_links"].as_u64().expect("a number")
    );
    let of = |path: &str| {
        let target = site.url(path);
        let found = results.iter().find(|one| one["target"] == target);
        found.unwrap_or_else(|| panic!("no {path} in {results:#?}"))
    };
    assert_eq!(of("/gone")["verdict"], "dead");
    assert_eq!(of("/gone")["status"], 404);
    assert_eq!(of("/gone")["source"], site.url("/"));
    assert_eq!(of("/a#nowhere")["verdict"], "fragment_missing");
    assert_eq!(of("/a#here")["verdict"], "alive");
    assert_eq!(of("/old")["verdict"], "moved");
    assert_eq!(of("/old")["redirects"][0]["to"], site.url("/a"));
    for (filter, count) in [
        ("all", results.len() as u64),
        ("broken", Site::BROKEN),
        ("newly_broken", Site::BROKEN),
        ("fragment_missing", 1),
        ("soft404", 0),
    ] {
        let page = node
            .get(&format!("{job}/results?filter={filter}"))
            .expect_json();
        let found = page["results"].as_array().expect("results").len() as u64;
        assert_eq!(found, count, "{filter}");
    }
    // The second run knows the first.
    let again = begin(&node, &site);
    let over = wait_until_over(&node, &again);
    assert_eq!(over["previous"], job.rsplit('/').next().expect("an id"));
    let newly = node
        .get(&format!("{again}/results?filter=newly_broken"))
        .expect_json();
    assert_eq!(newly["results"], json!([]));
}

#[test]
fn a_run_is_compared_with_the_one_before() {
    let (node, site) = (TestNode::start(), Site::start());
    let first = begin(&node, &site);
    let over = wait_until_over(&node, &first);
    assert!(over.get("comparison").is_none(), "{over}");
    site.change("/gone", "200 OK");
    site.change("/b", "404 Not Found");
    site.hold("/a");
    let second = begin(&node, &site);
    wait_for("a page that is held", || site.asked("/a") > 1);
    let running = node.get(&second).expect_json();
    assert_eq!(running["status"], "running");
    assert!(running.get("comparison").is_none(), "{running}");
    site.release();
    let over = wait_until_over(&node, &second);
    // Broken now is the link to /b; what stood there is gone with it, and two links to /gone are mended.
    let changed = json!({"newly_broken": 1, "still_broken": 1, "fixed": 3, "unclear": 0});
    assert_eq!(over["comparison"], changed);
    let newly = node.get(&format!("{second}/results?filter=newly_broken"));
    let newly = newly.expect_json();
    assert_eq!(newly["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(newly["results"][0]["target"], site.url("/b"));
    let read = |job: &str, format: &str| {
        let target = format!("{job}/report?format={format}");
        stream(&node, &target, &[]).1
    };
    let report: Value = serde_json::from_str(&read(&second, "json")).expect("JSON");
    assert_eq!(report["comparison"], changed);
    let text = read(&second, "text");
    assert!(
        text.contains("2 broken links (1 new, 3 fixed since the last run)"),
        "{text}"
    );
    let marked: Vec<&str> = text
        .lines()
        .filter(|line| line.ends_with("  new"))
        .collect();
    assert_eq!(marked.len(), 1, "{text}");
    assert!(marked[0].contains(&site.url("/b")), "{text}");
    let html = read(&second, "html");
    assert!(html.contains("<dd>3</dd><dt>fixed</dt>"), "{html}");
    let report: Value = serde_json::from_str(&read(&first, "json")).expect("JSON");
    assert!(report.get("comparison").is_none());
    assert!(!read(&first, "text").contains("the last run"));
    // Without the run before there is nothing to be compared with.
    assert_eq!(node.request("DELETE", &first, &[], b"").status, 204);
    let over = node.get(&second).expect_json();
    assert_eq!(
        (&over["previous"], over.get("comparison")),
        (&Value::Null, None)
    );
}

#[test]
fn pages_lead_from_one_to_the_next() {
    let (node, site) = (TestNode::start(), Site::start());
    let job = begin(&node, &site);
    wait_until_over(&node, &job);
    let whole = node.get(&format!("{job}/results")).expect_json();
    let whole = whole["results"].as_array().expect("results");
    for limit in [1, 3, whole.len()] {
        let paged = all_pages(&node, &format!("{job}/results?"), "results", limit);
        assert_eq!(paged, *whole, "{limit}");
    }
    let broken = all_pages(
        &node,
        &format!("{job}/results?filter=broken&"),
        "results",
        1,
    );
    assert_eq!(broken.len() as u64, Site::BROKEN);
    let others: Vec<String> = (0..4).map(|_| begin(&node, &site)).collect();
    let listed = all_pages(&node, &format!("{JOBS}?"), "jobs", 2);
    let ids: Vec<&str> = listed
        .iter()
        .map(|job| job["id"].as_str().expect("an id"))
        .collect();
    let expected = [&job].into_iter().chain(&others).rev();
    let expected: Vec<&str> = expected
        .map(|path| path.rsplit('/').next().expect("id"))
        .collect();
    assert_eq!(ids, expected, "the newest first");
    // A cursor is of one list only.
    let first = node.get(&format!("{job}/results?limit=1")).expect_json();
    let cursor = first["next"].as_str().expect("a cursor");
    for target in [
        format!("{job}/results?cursor={cursor}&filter=broken"),
        format!("{}/results?cursor={cursor}", others[0]),
        format!("{JOBS}?cursor={cursor}"),
        format!("/v1/audit?cursor={cursor}"),
    ] {
        node.get(&target).expect_problem(400, "invalid-cursor");
    }
}

#[test]
fn what_cannot_be_a_job_is_refused() {
    let node = TestNode::start();
    for (body, field) in [
        (json!({}), "start_urls"),
        (json!({"start_urls": []}), "start_urls"),
        (json!({"start_urls": ["/a"]}), "start_urls"),
        (json!({"start_urls": ["ftp://a.test/"]}), "start_urls"),
        (json!({"start_urls": ["mailto:a@b.test"]}), "start_urls"),
        (
            json!({"start_urls": vec!["http://a.test/"; 101]}),
            "start_urls",
        ),
        (
            json!({"start_urls": ["http://a.test/"], "target_domain": "a.test"}),
            "target_domain",
        ),
        (json!({"target_domain": "a.test/b"}), "target_domain"),
        (
            json!({"target_domain": "a.test", "every": "1s"}),
            "every_ms",
        ),
        (json!({"target_domain": "a.test", "every": "soon"}), "every"),
        (
            json!({"target_domain": "a.test", "every_ms": 1}),
            "every_ms",
        ),
        (
            json!({"target_domain": "a.test", "scheduled_for": "now"}),
            "scheduled_for",
        ),
        (
            json!({"target_domain": "a.test", "scheduled_for": "2200-01-01T00:00:00Z"}),
            "scheduled_for",
        ),
        (
            json!({"target_domain": "a.test", "options": {"retries": 9}}),
            "retries",
        ),
        (
            json!({"target_domain": "a.test", "options": {"path_prefix": "a"}}),
            "path_prefix",
        ),
    ] {
        let problem = create(&node, &body, &[]).expect_problem(400, "bad-request");
        assert_eq!(problem["field"], field, "{body}");
    }
    for body in [
        json!({"target_domain": "a.test", "optoins": {}}),
        json!({"target_domain": "a.test", "options": {"depth": 1}}),
        json!({"target_domain": "a.test", "options": {"max_depth": -1}}),
        json!([["http://a.test/"]]),
    ] {
        create(&node, &body, &[]).expect_problem(400, "bad-request");
    }
    let plain = node.request("POST", JOBS, &["Content-Type: text/plain"], b"{}");
    plain.expect_problem(415, "unsupported-media-type");
    let listed = node.get(JOBS).expect_json();
    assert_eq!(listed["jobs"], json!([]), "nothing was made");
}

#[test]
fn what_is_not_there_is_not_found() {
    let node = TestNode::start();
    for target in ["", "/results", "/report", "/events", "?consistency=stale"] {
        let answer = node.get(&format!("{NO_JOB}{target}"));
        answer.expect_problem(404, "not-found");
        let malformed = node.get(&format!("{JOBS}/7{target}"));
        malformed.expect_problem(400, "bad-request");
    }
    node.request("DELETE", NO_JOB, &[], b"")
        .expect_problem(404, "not-found");
    for verb in ["cancel", "resume"] {
        node.post(&format!("{NO_JOB}/{verb}"), "")
            .expect_problem(404, "not-found");
        node.get(&format!("{NO_JOB}/{verb}"))
            .expect_problem(405, "method-not-allowed");
    }
    let missing = node.request("GET", NO_JOB, &["If-Match: *"], b"");
    missing.expect_problem(412, "precondition-failed");
    node.get(&format!("{NO_JOB}/results?filter=bad"))
        .expect_problem(400, "bad-request");
    node.get(&format!("{NO_JOB}/report?format=pdf"))
        .expect_problem(400, "bad-request");
    let odd = node.request(
        "GET",
        &format!("{NO_JOB}/report"),
        &["Accept: image/png"],
        b"",
    );
    odd.expect_problem(406, "not-acceptable");
}

#[test]
fn a_job_is_stopped_resumed_and_deleted_by_who_knows_its_version() {
    let (node, site) = (TestNode::start(), Site::start());
    site.hold("/a");
    let job = begin(&node, &site);
    let tag = |answer: &Answer| format!("If-Match: {}", answer.headers["etag"]);
    let order =
        |verb: &str, headers: &[&str]| node.request("POST", &format!("{job}/{verb}"), headers, b"");
    wait_for("a page that is held", || site.asked("/a") > 0);
    let running = node.get(&job);
    assert_eq!(running.expect_json()["status"], "running");
    // Progress changes the tag, and not what If-Match looks at.
    let version = running.json()["version"].as_u64().expect("a version");
    assert!(running.headers["etag"].starts_with(&format!("\"{version}.")));
    order("resume", &[]).expect_problem(409, "wrong-status");
    node.request("DELETE", &job, &[], b"")
        .expect_problem(409, "wrong-status");
    let stale = order("cancel", &["If-Match: \"1\""]).expect_problem(412, "precondition-failed");
    assert_eq!(stale["version"], version);
    order("cancel", &["If-Match: \"other\""]).expect_problem(412, "precondition-failed");
    order("cancel", &["If-Match: \"1\", \"x\""]).expect_problem(412, "precondition-failed");
    order("cancel", &["If-None-Match: \"1\""]).expect_problem(400, "bad-request");
    let cancelled = order("cancel", &[&tag(&running)]);
    assert_eq!(cancelled.expect_json()["status"], "cancelled");
    assert_eq!(cancelled.headers["etag"], format!("\"{}\"", version + 1));
    order("cancel", &[]).expect_problem(409, "wrong-status");
    // Nothing changes any more, so there is nothing to be sent again.
    let known = format!("If-None-Match: {}", cancelled.headers["etag"]);
    let unchanged = node.request("GET", &job, &[&known], b"");
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    site.release();
    order("resume", &[&tag(&running)]).expect_problem(412, "precondition-failed");
    let several = format!("{}, \"77\"", tag(&cancelled));
    assert_eq!(
        order("resume", &[&several]).expect_json()["status"],
        "running"
    );
    let over = wait_until_over(&node, &job);
    assert_eq!(over["status"], "completed");
    assert_eq!(over["broken_count"], Site::BROKEN);
    node.request("DELETE", &job, &[&tag(&cancelled)], b"")
        .expect_problem(412, "precondition-failed");
    let deleted = node.request("DELETE", &job, &["If-Match: *"], b"");
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    node.get(&job).expect_problem(404, "not-found");
    node.get(&format!("{job}/results"))
        .expect_problem(404, "not-found");
}

#[test]
fn a_request_with_a_key_is_carried_out_once() {
    let (node, site) = (TestNode::start(), Site::start());
    let body = json!({"start_urls": [site.url("/")]});
    let key = "Idempotency-Key: \"once\"";
    let first = create(&node, &body, &[key]);
    assert_eq!(first.status, 201);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = create(&node, &body, &[key]);
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["location"], first.headers["location"]);
    let other = json!({"start_urls": [site.url("/a")]});
    create(&node, &other, &[key]).expect_problem(422, "idempotency-key-reused");
    create(&node, &body, &["Idempotency-Key: "]).expect_problem(400, "bad-request");
    let job = &first.headers["location"];
    wait_until_over(&node, job);
    let listed = node.get(JOBS).expect_json();
    assert_eq!(listed["jobs"].as_array().expect("jobs").len(), 1);
    let key = "Idempotency-Key: \"gone\"";
    for replayed in [None, Some("true")] {
        let deleted = node.request("DELETE", job, &[key], b"");
        assert_eq!(deleted.status, 204);
        let told = deleted
            .headers
            .get("idempotent-replayed")
            .map(String::as_str);
        assert_eq!(told, replayed);
    }
}

#[test]
fn reports_come_in_every_format() {
    let (node, site) = (TestNode::start(), Site::start());
    let job = begin(&node, &site);
    let over = wait_until_over(&node, &job);
    let read = |format: &str| {
        let target = format!("{job}/report?format={format}");
        let (head, body) = stream(&node, &target, &[]);
        let name = head["content-disposition"].clone();
        let id = over["id"].as_str().expect("an id");
        assert!(
            name.starts_with("attachment; filename=\"links-127.0.0.1"),
            "{name}"
        );
        assert!(name.contains(id), "{name}");
        (head["content-type"].clone(), body)
    };
    let total = over["total_links"].as_u64().expect("a number") as usize;
    let (media_type, text) = read("json");
    assert_eq!(media_type, "application/json");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let listed = node.get(&format!("{job}/results")).expect_json();
    assert_eq!(
        report["results"], listed["results"],
        "the same words everywhere"
    );
    assert_eq!(report["job"]["id"], over["id"]);
    assert_eq!(read("jsonl").1.lines().count(), total);
    assert_eq!(read("csv").1.lines().count(), total + 1);
    assert!(read("junit").1.trim_end().ends_with("</testsuites>"));
    let sarif: Value = serde_json::from_str(&read("sarif").1).expect("JSON");
    assert_eq!(sarif["version"], "2.1.0");
    assert!(read("html").1.trim_end().ends_with("</html>"));
    assert!(read("text").1.contains("/gone"));
    let broken = stream(
        &node,
        &format!("{job}/report?format=jsonl&filter=broken"),
        &[],
    )
    .1;
    assert_eq!(broken.lines().count() as u64, Site::BROKEN);
    // Without a format, the client's media types decide.
    let (head, _) = stream(
        &node,
        &format!("{job}/report"),
        &["Accept: text/csv, */*;q=0.1"],
    );
    assert!(head["content-type"].starts_with("text/csv"));
}

/// The head and the whole body of an answer that comes in chunks.
pub fn stream(
    node: &TestNode,
    target: &str,
    headers: &[&str],
) -> (std::collections::BTreeMap<String, String>, String) {
    let mut stream = node.connect();
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let request = format!("GET {target} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut reader = BufReader::new(stream);
    let (status, head) = read_head(&mut reader);
    assert_eq!(status, 200, "{target}");
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).expect("a chunk's size");
        let size = usize::from_str_radix(size.trim(), 16).expect("hexadecimal");
        let mut chunk = vec![0; size + 2];
        std::io::Read::read_exact(&mut reader, &mut chunk).expect("a chunk");
        if size == 0 {
            return (head, String::from_utf8(body).expect("UTF-8"));
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Names and data of the events in a stream.
pub fn events(body: &str) -> Vec<(String, Value)> {
    let blocks = body.split("\n\n").filter(|block| block.contains("event: "));
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {block}"))
            .to_owned()
    };
    let read = |block: &str| {
        let data = serde_json::from_str(&field(block, "data: ")).expect("JSON");
        (field(block, "event: "), data)
    };
    blocks.map(read).collect()
}

#[test]
fn events_tell_progress_and_the_end() {
    let (node, site) = (TestNode::start(), Site::start());
    site.hold("/a");
    let job = begin(&node, &site);
    let target = format!("{job}/events");
    let told = std::thread::scope(|scope| {
        let reading = scope.spawn(|| stream(&node, &target, &["Last-Event-ID: \"1.2\""]));
        wait_for("a page that is held", || site.asked("/a") > 0);
        std::thread::sleep(Duration::from_millis(500));
        site.release();
        reading.join().expect("it is read to its end")
    });
    assert_eq!(told.0["content-type"], "text/event-stream");
    let told = events(&told.1);
    let names: BTreeSet<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["progress", "end"]));
    let (last, job) = told.last().expect("an event");
    assert_eq!(
        (last.as_str(), &job["status"]),
        ("end", &json!("completed"))
    );
    assert!(
        told.windows(2).all(|two| two[0].1 != two[1].1),
        "only what is new"
    );
    // Of what has ended there is nothing to be told but that.
    let again = events(&stream(&node, &target, &[]).1);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].0, "end");
}

#[test]
fn events_end_when_the_node_stops() {
    let (mut node, site) = (TestNode::start(), Site::start());
    site.hold("/a");
    let job = begin(&node, &site);
    let mut stream = node.connect();
    let request = format!("GET {job}/events HTTP/1.1\r\nHost: n\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut reader = BufReader::new(stream);
    assert_eq!(read_head(&mut reader).0, 200);
    wait_for("a page that is held", || site.asked("/a") > 0);
    node.begin_shutdown(Duration::from_secs(10));
    let lines: Vec<String> = reader.lines().map_while(Result::ok).collect();
    let mut told = lines.iter().filter(|line| line.starts_with("event: "));
    assert_eq!(told.next_back().map(String::as_str), Some("event: closing"));
    site.release();
}

#[test]
fn changes_are_in_the_audit_log() {
    let (node, site) = (TestNode::start(), Site::start());
    let jobs: Vec<String> = (0..3).map(|_| begin(&node, &site)).collect();
    for job in &jobs {
        wait_until_over(&node, job);
    }
    assert_eq!(node.request("DELETE", &jobs[0], &[], b"").status, 204);
    node.request("DELETE", &jobs[0], &[], b"")
        .expect_problem(404, "not-found");
    let entries = all_pages(&node, "/v1/audit?", "entries", 2);
    let told: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["actor"], "anonymous");
            assert_eq!(entry["service"], "links");
            let text = |name: &str| entry[name].as_str().expect("a text");
            (text("operation"), text("resource"))
        })
        .collect();
    let id = |job: &str| format!("job {}", job.rsplit('/').next().expect("an id"));
    let ids: Vec<String> = jobs.iter().map(|job| id(job)).collect();
    let expected = [
        ("linksDeleteJob", ids[0].as_str()),
        ("linksCreateJob", &ids[2]),
        ("linksCreateJob", &ids[1]),
        ("linksCreateJob", &ids[0]),
    ];
    assert_eq!(told, expected, "the newest first");
    let letters = node.get("/v1/outbox/dead-letters").expect_json();
    assert_eq!(letters, json!({"letters": []}));
    node.post("/v1/outbox/dead-letters/7/revive", "")
        .expect_problem(404, "not-found");
    node.post("/v1/outbox/dead-letters/x/revive", "")
        .expect_problem(400, "bad-request");
}
