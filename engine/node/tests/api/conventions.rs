//! What is the same for every service: conditional requests and pages.

use crate::node::{Answer, TestNode};

fn ask(node: &TestNode, method: &str, conditions: &[&str]) -> Answer {
    node.request(method, "/v1/kv/keys/a", conditions, b"v")
}

#[test]
fn who_has_it_already_is_not_sent_it_again() {
    let node = TestNode::start();
    assert_eq!(ask(&node, "GET", &["If-None-Match: *"]).status, 404);
    ask(&node, "GET", &["If-Match: *"]).expect_problem(412, "precondition-failed");
    node.put("a", "1").expect_json();
    for condition in ["\"2\"", "W/\"2\"", "*", "\"1\", \"2\""] {
        for method in ["GET", "HEAD"] {
            let answer = ask(&node, method, &[&format!("If-None-Match: {condition}")]);
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{condition}");
            assert_eq!(answer.headers["etag"], "\"2\"");
        }
    }
    let other = ask(&node, "GET", &["If-None-Match: \"1\""]);
    assert_eq!(other.expect_json()["mod_revision"], 2);
    assert_eq!(ask(&node, "GET", &["If-Match: \"2\""]).status, 200);
    let gone = ask(&node, "GET", &["If-Match: \"1\""]).expect_problem(412, "precondition-failed");
    assert_eq!(gone["revision"], 2);
    node.put("a", "2").expect_json();
    // As it was then.
    let old = node.request(
        "GET",
        "/v1/kv/keys/a?revision=2",
        &["If-None-Match: \"2\""],
        b"",
    );
    assert_eq!(old.status, 304);
    for bad in ["If-None-Match: 2", "If-Match: \"2", "If-None-Match:"] {
        ask(&node, "GET", &[bad]).expect_problem(400, "bad-request");
    }
}

#[test]
fn changes_may_name_what_must_not_be_there() {
    let node = TestNode::start();
    node.put("a", "1").expect_json();
    ask(&node, "PUT", &["If-None-Match: \"2\""]).expect_problem(412, "precondition-failed");
    ask(&node, "PUT", &["If-None-Match: W/\"9\", \"2\""])
        .expect_problem(412, "precondition-failed");
    ask(&node, "PUT", &["If-Match: W/\"2\""]).expect_problem(412, "precondition-failed");
    ask(&node, "PUT", &["If-Match: \"another's\""]).expect_problem(412, "precondition-failed");
    ask(&node, "PUT", &["If-Match: \"2\", \"3\""]).expect_problem(400, "bad-request");
    assert_eq!(
        ask(&node, "PUT", &["If-None-Match: \"7\", \"x\""]).expect_json()["revision"],
        3
    );
    let both = ["If-Match: \"3\"", "If-None-Match: \"2\""];
    assert_eq!(ask(&node, "PUT", &both).expect_json()["revision"], 4);
    ask(&node, "DELETE", &["If-None-Match: \"4\""]).expect_problem(412, "precondition-failed");
    assert_eq!(
        ask(&node, "DELETE", &["If-Match: \"5\", \"4\", \"4\""]).status,
        400
    );
    assert_eq!(
        ask(&node, "DELETE", &["If-None-Match: \"3\""]).expect_json()["deleted"],
        1
    );
}

fn keys(page: &serde_json::Value) -> Vec<String> {
    let pairs = page["kvs"].as_array().expect("pairs").iter();
    let key = |pair: &serde_json::Value| pair["key"].as_str().expect("text").to_owned();
    pairs.map(key).collect()
}

#[test]
fn a_list_is_read_page_by_page_as_it_was_at_the_first() {
    let node = TestNode::start();
    let expected: Vec<String> = (0..7).map(|number| format!("k/{number}")).collect();
    for key in &expected {
        node.put(key, "1").expect_json();
    }
    node.put("z", "1").expect_json();
    let first = "/v1/kv/range?limit=3&prefix=k%2F";
    let (mut seen, mut pages, mut target) = (Vec::new(), 0, first.to_owned());
    loop {
        let answer = node.get(&target);
        let page = answer.expect_json();
        seen.extend(keys(&page));
        assert_eq!(page["count"], 7 - 3 * pages, "from this page on");
        pages += 1;
        // What happens meanwhile is not seen.
        node.put(&format!("k/{pages}5"), "2").expect_json();
        node.request("DELETE", "/v1/kv/keys/k/6", &[], b"")
            .expect_json();
        let Some(next) = page["next"].as_str() else {
            assert_eq!(
                (&page["more"], answer.headers.get("link")),
                (&false.into(), None)
            );
            break;
        };
        let link = &answer.headers["link"];
        let there = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""));
        target = there.expect("a link").to_owned();
        assert_eq!(target, format!("{first}&cursor={next}"));
    }
    assert_eq!((seen, pages), (expected, 3));
    // The last page ends with the last key, and says so.
    let all = node.get("/v1/kv/range?prefix=&limit=999").expect_json();
    assert_eq!((&all["more"], all.get("next")), (&false.into(), None));
    let counted = node.get("/v1/kv/range?prefix=&count_only").expect_json();
    assert_eq!(counted.get("next"), None);
}

#[test]
fn a_cursor_is_its_lists_own() {
    let node = TestNode::start();
    for key in ["a/1", "a/2", "b/1", "b/2"] {
        node.put(key, "1").expect_json();
    }
    let page = node.get("/v1/kv/range?prefix=a/&limit=1").expect_json();
    let next = page["next"].as_str().expect("a cursor");
    let then = node.get(&format!("/v1/kv/range?prefix=a/&cursor={next}&revision=5"));
    assert_eq!(keys(&then.expect_json()), ["a/2"]);
    let cut = &next[..next.len() - 1];
    for query in [
        format!("prefix=b/&cursor={next}"),
        format!("prefix=a/&cursor={next}&revision=4"),
        format!("prefix=a/&cursor={cut}"),
        "prefix=a/&cursor=".to_owned(),
        "prefix=a/&cursor=AAAA".to_owned(),
        format!("prefix=a/&cursor={}", "A".repeat(8000)),
    ] {
        let refused = node.get(&format!("/v1/kv/range?{query}"));
        refused.expect_problem(400, "invalid-cursor");
    }
    node.get(&format!(
        "/v1/kv/range?prefix=a/&cursor={next}&cursor={next}"
    ))
    .expect_problem(400, "bad-request");
    // The past that it leads to may be forgotten.
    node.put("a/1", "2").expect_json();
    node.post("/v1/kv/compact", "{\"revision\": 6}")
        .expect_json();
    node.get(&format!("/v1/kv/range?prefix=a/&cursor={next}"))
        .expect_problem(410, "compacted");
}
