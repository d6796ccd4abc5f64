//! A cluster whose members find each other through the DHT.

use crate::{
    engine::{ENGINE, Engine, run},
    ports::free_ports,
};
use serde_json::Value;
use std::{
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a node's file says.
struct Node<'a> {
    id: u64,
    peer_port: u16,
    /// Where it is in the DHT.
    dht: &'a str,
    bootstrap: Option<&'a str>,
    /// The lines of `[cluster.peers]`, if it is told.
    peers: &'a str,
    /// The lines of `[discovery]`.
    discovery: &'a str,
}

impl Node<'_> {
    fn write(&self, folder: &Path) -> PathBuf {
        let data = folder.join(format!("data-{}", self.id));
        let bootstrap: Vec<&str> = self.bootstrap.into_iter().collect();
        let text = format!(
            "[node]\nid = {}\ndata = {data:?}\nlisten = \"127.0.0.1:0\"\npeer_listen = \"127.0.0.1:{}\"\n\
             [cluster]\nname = \"demo\"\n{}\n[raft]\nelection_timeout = \"500ms\"\nheartbeat_interval = \"50ms\"\n\
             [dht]\nenabled = true\nlisten = {:?}\nbootstrap = {bootstrap:?}\n\
             [discovery]\ninterval = \"1s\"\npatience = \"20s\"\n{}\n",
            self.id, self.peer_port, self.peers, self.dht, self.discovery
        );
        let file = folder.join(format!("node-{}.toml", self.id));
        std::fs::write(&file, text).expect("written");
        file
    }
}

fn show(endpoint: &str, arguments: &[&str]) -> Value {
    let mut command = Command::new(ENGINE);
    command.args(["dht", "cluster", "show", "--json", "--endpoint", endpoint]);
    let output = command.args(arguments).output().expect("the binary runs");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[track_caller]
fn wait_for(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn peer_of(shown: &Value, node: u64) -> Option<&str> {
    let members = shown["members"].as_array()?;
    members.iter().find(|member| member["node"] == node)?["peer"].as_str()
}

#[test]
fn a_node_finds_its_cluster_by_a_key_and_is_found_where_it_moves_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let secret = folder.join("cluster.key").display().to_string();
    let made = Command::new(ENGINE)
        .args(["dht", "cluster", "key", &secret])
        .output();
    let key = String::from_utf8(made.expect("it runs").stdout).expect("text");
    let key = key.trim();
    assert_eq!(key.len(), 64, "{key}");
    let (code, error) = run(&["dht", "cluster", "key", &secret]);
    assert_eq!(code, Some(1), "a secret is not written over: {error}");

    let ports = free_ports(4);
    let peers: Vec<String> = (1..=3)
        .map(|id| format!("{id} = \"127.0.0.1:{}\"", ports[id - 1]))
        .collect();
    let peers = format!("[cluster.peers]\n{}", peers.join("\n"));
    let udp = |n| {
        let socket = UdpSocket::bind(format!("127.0.9.{n}:0")).expect("a port");
        socket.local_addr().expect("bound").to_string()
    };
    let dht = [1, 2, 3, 4].map(udp);
    let writes = format!("key_file = {secret:?}");
    let told = |id: usize| Node {
        id: id as u64,
        peer_port: ports[id - 1],
        dht: &dht[id - 1],
        bootstrap: (id != 1).then_some(&dht[0][..]),
        peers: &peers,
        discovery: &writes,
    };
    let one = Engine::start_file(&told(1).write(folder));
    let two = Engine::start_file(&told(2).write(folder));
    let is_client_of = |shown: &Value, at: usize, engine: &Engine| {
        shown["members"][at]["client"].as_str() == Some(&engine.address)
    };
    wait_for("both to have told where they are", || {
        let shown = show(&two.address, &[]);
        is_client_of(&shown, 0, &one) && is_client_of(&shown, 1, &two)
    });
    let by_key = show(&one.address, &["--key", key, "--cluster-name", "demo"]);
    assert_eq!(
        by_key["members"].as_array().map(Vec::len),
        Some(3),
        "{by_key}"
    );

    // The third is told nothing but the key, and whom to begin with.
    let reads = format!("key = {key:?}");
    let three = Node {
        peers: "",
        discovery: &reads,
        ..told(3)
    };
    let third = Engine::start_file(&three.write(folder));
    one.kv_out(&["put", "a", "1", "--timeout", "60s"]);
    assert_eq!(third.kv_out(&["get", "a", "--timeout", "60s"]), "1\n");
    wait_for("the third to have the list", || {
        show(&third.address, &[])["sequence"].is_number()
    });
    assert_eq!(show(&third.address, &[])["writes"], false);

    // Nobody becomes a member by finding them.
    let stranger = Node {
        id: 4,
        discovery: &reads.replace("key =", "patience = \"2s\"\nkey ="),
        ..three
    };
    let file = stranger.write(folder);
    let text = std::fs::read_to_string(&file).expect("there");
    std::fs::write(&file, text.replacen("patience = \"20s\"\n", "", 1)).expect("written");
    let file = file.display().to_string();
    let (code, error) = run(&["serve", "--config", &file, "--log", "error"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("1, 2, 3, and not this node, 4"), "{error}");
    assert!(!folder.join("data-4").exists(), "nothing was made");

    // It moves. Its folder says who its members are, and where they were; it says where it is now.
    third.stop();
    let moved = Node {
        peer_port: ports[3],
        dht: &dht[3],
        peers: "",
        ..told(3)
    };
    let third = Engine::start_file(&moved.write(folder));
    let address = format!("127.0.0.1:{}", ports[3]);
    wait_for("the second to hear where the third is", || {
        peer_of(&show(&two.address, &[]), 3) == Some(&address)
    });
    // Two and three are a quorum only if two reaches three there.
    one.kill();
    two.kv_out(&["put", "a", "2", "--timeout", "60s"]);
    assert_eq!(third.kv_out(&["get", "a", "--timeout", "60s"]), "2\n");
    third.stop();
    two.stop();
}
