//! Several processes that are one cluster.

use crate::{engine::Engine, ports::free_ports};
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration file for each of `count` nodes; `rest` is said to all of them.
fn write_files(folder: &Path, count: usize, rest: &str) -> Vec<PathBuf> {
    let ports = free_ports(2 * count);
    let peers: Vec<String> = (0..count)
        .map(|at| format!("{} = \"127.0.0.1:{}\"", at + 1, ports[at]))
        .collect();
    let file = |at: usize| {
        let file = folder.join(format!("node-{}.toml", at + 1));
        let text = format!(
            "[node]\nid = {}\ndata = {:?}\nlisten = \"127.0.0.1:{}\"\npeer_listen = \"127.0.0.1:{}\"\n\
             [cluster]\nname = \"demo\"\n[cluster.peers]\n{}\n{rest}",
            at + 1,
            folder.join(format!("data-{}", at + 1)),
            ports[count + at],
            ports[at],
            peers.join("\n"),
        );
        std::fs::write(&file, text).expect("written");
        file
    };
    (0..count).map(file).collect()
}

fn start(files: &[PathBuf]) -> Vec<Engine> {
    files.iter().map(|file| Engine::start_file(file)).collect()
}

/// Who leads, by what a node says of itself; none while it does not know.
fn leader(node: &Engine) -> Option<u64> {
    node.status()["leader"].as_u64()
}

#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One file a node, and nothing else said. A leader that is stopped hands over: the others need not notice its absence
/// first, which here would take them longer than anybody waits.
#[test]
fn a_cluster_of_three_files_goes_on_when_its_leader_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let raft = "[raft]\nelection_timeout = \"4s\"\nheartbeat_interval = \"100ms\"\n";
    let files = write_files(folder.path(), 3, raft);
    let mut nodes = start(&files);
    nodes[0].kv_out(&["put", "a", "1", "--timeout", "60s"]);
    for node in &nodes {
        assert_eq!(node.kv_out(&["get", "a", "--timeout", "60s"]), "1\n");
    }
    let stopped = wait_for("a leader", || leader(&nodes[0]));
    nodes.remove(stopped as usize - 1).stop();
    let ended = Instant::now();
    let next = wait_for("another leader", || {
        leader(&nodes[0]).filter(|leader| *leader != stopped)
    });
    assert!(
        ended.elapsed() < Duration::from_secs(3),
        "node {next} waited"
    );
    nodes[1].kv_out(&["put", "a", "2"]);
    nodes.insert(
        stopped as usize - 1,
        Engine::start_file(&files[stopped as usize - 1]),
    );
    for node in &nodes {
        assert_eq!(node.kv_out(&["get", "a", "--timeout", "60s"]), "2\n");
    }
    for node in nodes {
        node.stop();
    }
}

/// Status line and body of an answer.
fn put(node: &Engine, key: &str) -> String {
    let mut stream = TcpStream::connect(&node.address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let head = format!(
        "PUT /v1/kv/keys/{key} HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Length: 1\r\n\r\nv"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

/// A leader that has lost its only follower takes a command and cannot know what will become of it.
#[test]
fn an_outcome_that_nobody_knows_is_told_as_unknown() {
    let folder = tempfile::tempdir().expect("a folder");
    let rest = "[raft]\nelection_timeout = \"5s\"\nheartbeat_interval = \"100ms\"\n\
                [limits]\nrequest_timeout = \"300ms\"\n";
    let files = write_files(folder.path(), 2, rest);
    let mut nodes = start(&files);
    nodes[0].kv_out(&["put", "a", "1", "--timeout", "60s"]);
    let leads = wait_for("a leader", || leader(&nodes[0])) as usize - 1;
    nodes.remove(1 - leads).kill();
    let alone = &nodes[0];
    let answer = put(alone, "b");
    assert!(
        answer.starts_with("HTTP/1.1 504 ") && answer.contains("problem:outcome-unknown"),
        "{answer}"
    );
    let unknown = alone.kv(&["put", "c", "1", "--timeout", "1s"]);
    assert_eq!(unknown.status.code(), Some(4), "{unknown:?}");
    // It leads nobody, and finds that out.
    wait_for("a node without a leader", || {
        put(alone, "d").starts_with("HTTP/1.1 503 ").then_some(())
    });
    // With the other, everything goes on.
    nodes.insert(1 - leads, Engine::start_file(&files[1 - leads]));
    for node in &nodes {
        node.kv_out(&["put", "e", "1", "--timeout", "60s"]);
    }
}
