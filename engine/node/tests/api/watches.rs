//! What watches promise.

use crate::node::{TestNode, read_head, wait_for};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A watch's lines as they come.
struct Watch {
    reader: BufReader<Chunks>,
}

/// A body in HTTP/1.1's chunks (RFC 9112, §7.1), which may end anywhere in a line.
struct Chunks {
    stream: BufReader<TcpStream>,
    /// Bytes left of the chunk under way.
    left: usize,
    is_over: bool,
}

impl Chunks {
    fn text(&mut self) -> String {
        let mut line = String::new();
        let len = self.stream.read_line(&mut line).expect("a line");
        assert_ne!(len, 0, "cut off");
        line.trim_end().to_owned()
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.is_over {
            return Ok(0);
        }
        if self.left == 0 {
            let size = self.text();
            self.left = usize::from_str_radix(&size, 16).expect("a chunk's size");
            self.is_over = self.left == 0;
        }
        let len = self.left.min(buffer.len());
        let read = self.stream.read(&mut buffer[..len])?;
        self.left -= read;
        if self.left == 0 {
            assert_eq!(self.text(), "", "the end of a chunk");
        }
        Ok(read)
    }
}

impl Watch {
    fn open(node: &TestNode, query: &str, headers: &str) -> Watch {
        let mut stream = node.connect();
        let request = format!("GET /v1/kv/watch?{query} HTTP/1.1\r\nHost: n\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut stream = BufReader::new(stream);
        let (status, _) = read_head(&mut stream);
        assert_eq!(status, 200);
        Watch {
            reader: BufReader::new(Chunks {
                stream,
                left: 0,
                is_over: false,
            }),
        }
    }

    /// The next line of text that is not empty; `None` at the end.
    fn text(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).expect("a line") == 0 {
                return None;
            }
            let line = line.trim_end();
            if !line.is_empty() {
                return Some(line.to_owned());
            }
        }
    }

    fn line(&mut self) -> Value {
        let text = self.text().expect("a line before the end");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

fn revisions(watch: &mut Watch, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let line = watch.line();
        if line["type"] == "events" {
            seen.push(line["revision"].as_u64().expect("a revision"));
        }
    }
    seen
}

#[test]
fn a_watch_tells_the_past_and_then_what_happens() {
    let node = TestNode::start();
    for key in ["a/1", "b/1", "a/2"] {
        node.put(key, "v").expect_json();
    }
    let mut watch = Watch::open(&node, "prefix=a/&from_revision=2", "");
    assert_eq!(
        watch.line(),
        json!({"type": "created", "revision": 4, "from_revision": 2})
    );
    let first = watch.line();
    assert_eq!(
        first,
        json!({"type": "events", "revision": 2, "events": [{"kind": "put", "kv": {
            "key": "a/1", "value": "dg==", "create_revision": 2, "mod_revision": 2, "version": 1
        }}]})
    );
    assert_eq!(revisions(&mut watch, 1), [4]);
    node.put("b/1", "w").expect_json();
    let txn = r#"{"success": [{"put": {"key": "a/3", "value": ""}}, {"delete": {"key": "a/1"}}]}"#;
    node.post("/v1/kv/txn", txn).expect_json();
    let line = watch.line();
    assert_eq!(
        line["revision"], 6,
        "one revision is one line, and other keys' changes are none: {line}"
    );
    assert_eq!(line["events"].as_array().map(Vec::len), Some(2));
    assert_eq!(line["events"][1], json!({"kind": "delete", "key": "a/1"}));
}

#[test]
fn a_watch_from_now_on_begins_after_what_was_acknowledged() {
    let node = TestNode::start();
    node.put("a", "1").expect_json();
    let mut watch = Watch::open(&node, "key=a", "");
    assert_eq!(
        watch.line(),
        json!({"type": "created", "revision": 2, "from_revision": 3})
    );
    node.put("a", "2").expect_json();
    assert_eq!(revisions(&mut watch, 1), [3]);
}

#[test]
fn a_watch_may_begin_in_the_future() {
    let node =
        TestNode::start_with(|config| config.limits.watch_progress = Duration::from_millis(20));
    let mut watch = Watch::open(&node, "prefix=&from_revision=4", "");
    assert_eq!(
        watch.line(),
        json!({"type": "created", "revision": 1, "from_revision": 4})
    );
    assert_eq!(
        watch.line(),
        json!({"type": "progress", "revision": 1}),
        "what has not happened has not been told"
    );
    for _ in 0..4 {
        node.put("a", "1").expect_json();
    }
    assert_eq!(revisions(&mut watch, 2), [4, 5]);
}

#[test]
fn many_watches_see_every_revision_once_and_in_order() {
    let node = TestNode::start();
    let mut watches: Vec<Watch> = (0..8).map(|_| Watch::open(&node, "prefix=", "")).collect();
    for watch in &mut watches {
        assert_eq!(watch.line()["type"], "created");
    }
    // More than one fetch from the store, and more bytes than wait for a slow client.
    let value = "v".repeat(10_000);
    for _ in 0..300 {
        node.put("a", &value).expect_json();
    }
    let expected: Vec<u64> = (2..302).collect();
    for watch in &mut watches {
        assert_eq!(revisions(watch, 300), expected);
    }
}

#[test]
fn a_quiet_watch_gives_signs_of_life() {
    let node =
        TestNode::start_with(|config| config.limits.watch_progress = Duration::from_millis(20));
    node.put("b", "1").expect_json();
    let mut watch = Watch::open(&node, "key=a", "");
    assert_eq!(watch.line()["type"], "created");
    assert_eq!(watch.line(), json!({"type": "progress", "revision": 2}));
    // The sign covers changes of other keys too.
    node.put("b", "2").expect_json();
    while watch.line() != json!({"type": "progress", "revision": 3}) {}
}

#[test]
fn a_quiet_watch_of_a_busy_store_gives_signs_of_life() {
    let node =
        TestNode::start_with(|config| config.limits.watch_progress = Duration::from_millis(300));
    let mut watch = Watch::open(&node, "key=a", "");
    assert_eq!(watch.line()["type"], "created");
    let heard = std::thread::spawn(move || watch.line());
    // Far more often than the watch is quiet for.
    wait_for("a sign of life", || {
        node.put("b", "1").expect_json();
        heard.is_finished()
    });
    let line = heard.join().expect("a line");
    assert_eq!(line["type"], "progress", "{line}");
    assert!(line["revision"].as_u64() > Some(1), "{line}");
}

#[test]
fn server_sent_events_resume_where_they_broke_off() {
    let node = TestNode::start();
    for value in ["1", "2", "3"] {
        node.put("a", value).expect_json();
    }
    let headers = "Accept: text/event-stream\r\nLast-Event-ID: 3\r\n";
    let mut watch = Watch::open(&node, "key=a", headers);
    let created = watch.text().expect("a line");
    assert!(
        created.starts_with("data: {\"type\":\"created\"")
            && created.contains("\"from_revision\":4"),
        "{created}"
    );
    assert_eq!(watch.text().expect("a line"), "id: 4");
    assert!(
        watch
            .text()
            .expect("a line")
            .starts_with("data: {\"type\":\"events\",\"revision\":4")
    );
    // A browser reconnects to the address at which it began.
    for (query, from) in [("key=a&from_revision=2", 4), ("key=a&from_revision=5", 5)] {
        let mut watch = Watch::open(&node, query, headers);
        let created = watch.text().expect("a line");
        assert!(
            created.contains(&format!("\"from_revision\":{from}")),
            "{created}"
        );
    }
    let bad = node.request("GET", "/v1/kv/watch?key=a", &["Last-Event-ID: x"], b"");
    bad.expect_problem(400, "bad-request");
}

#[test]
fn what_was_compacted_cannot_be_watched() {
    let node = TestNode::start();
    for value in ["1", "2", "3"] {
        node.put("a", value).expect_json();
    }
    node.post("/v1/kv/compact", "{\"revision\": 3}")
        .expect_json();
    for from in [0, 1, 2] {
        let answer = node.get(&format!("/v1/kv/watch?prefix=&from_revision={from}"));
        assert_eq!(
            answer.expect_problem(410, "compacted")["compact_revision"],
            3
        );
    }
    let mut watch = Watch::open(&node, "prefix=&from_revision=3", "");
    assert_eq!(revisions(&mut watch, 2), [3, 4]);
}

#[test]
fn watches_are_counted_and_given_back() {
    let node = TestNode::start_with(|config| config.limits.watches = 2);
    let one = Watch::open(&node, "key=a", "");
    let _two = Watch::open(&node, "key=a", "");
    let refused = node.get("/v1/kv/watch?key=a");
    refused.expect_problem(503, "overloaded");
    assert!(refused.headers.contains_key("retry-after"));
    drop(one);
    // The node notices when it next looks at the connection.
    let query = "/v1/kv/watch?key=a&nonsense";
    node.get(query).expect_problem(400, "bad-request");
    wait_for("the watch to end", || node.metric("holdfast_watches") == 1);
    Watch::open(&node, "key=a", "");
}

#[test]
fn a_node_that_stops_ends_its_watches_with_a_word() {
    let mut node = TestNode::start();
    let mut watch = Watch::open(&node, "prefix=", "");
    assert_eq!(watch.line()["type"], "created");
    node.put("a", "1").expect_json();
    node.begin_shutdown(Duration::from_secs(60));
    assert_eq!(watch.line()["type"], "events");
    let last = watch.line();
    assert_eq!(last["type"], "closing", "{last}");
    assert_eq!(watch.text(), None, "the stream ends in order");
}

#[test]
fn a_client_that_does_not_listen_loses_its_watch() {
    let node =
        TestNode::start_with(|config| config.limits.write_timeout = Duration::from_millis(200));
    let deaf = Watch::open(&node, "prefix=", "");
    let mut other = Watch::open(&node, "prefix=", "");
    assert_eq!(other.line()["type"], "created");
    // Far more than the operating system keeps for a socket that nobody reads.
    let value = "v".repeat(500_000);
    for revision in 2..82 {
        node.put("a", &value).expect_json();
        assert_eq!(revisions(&mut other, 1), [revision]);
    }
    wait_for("the watch to end", || node.metric("holdfast_watches") == 1);
    drop(deaf);
}
