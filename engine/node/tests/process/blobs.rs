//! Blobs from the command line, between servers that know each other through the DHT.

use crate::engine::{ENGINE, Engine};
use serde_json::Value;
use std::{
    net::UdpSocket,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that gives blobs where it is in the DHT.
fn start(folder: &Path, ip: &str, dht: &str, bootstrap: Option<&str>) -> Engine {
    let data = folder.join(format!("data-{ip}"));
    let bootstrap: Vec<&str> = bootstrap.into_iter().collect();
    let text = format!(
        "[node]\ndata = {data:?}\nlisten = \"{ip}:0\"\npeer_listen = \"127.0.0.1:0\"\n\
         [dht]\nenabled = true\nlisten = {dht:?}\nbootstrap = {bootstrap:?}\n[blobs]\nenabled = true\n"
    );
    let file = folder.join(format!("{ip}.toml"));
    std::fs::write(&file, text).expect("written");
    Engine::start_file(&file)
}

fn blob(engine: &Engine, work: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(ENGINE);
    command.args(["dht", "blob"]).args(arguments);
    command.args(["--endpoint", &engine.address, "--timeout", "60s"]);
    command.current_dir(work).output().expect("the binary runs")
}

#[track_caller]
fn out(engine: &Engine, work: &Path, arguments: &[&str]) -> String {
    let output = blob(engine, work, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn wait_for(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many the DHT knows to have it.
fn providers(engine: &Engine, id: &str) -> usize {
    let mut command = Command::new(ENGINE);
    command.args([
        "dht",
        "peers",
        &id[..40],
        "--json",
        "--endpoint",
        &engine.address,
    ]);
    let output = command.output().expect("the binary runs");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    found["peers"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_blob_is_fetched_from_whoever_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let udp = UdpSocket::bind("127.0.11.1:0").and_then(|socket| socket.local_addr());
    let seed = udp.expect("a free port").to_string();
    let one = start(folder, "127.0.11.1", &seed, None);
    let two = start(folder, "127.0.11.2", "127.0.11.2:0", Some(&seed));
    let three = start(folder, "127.0.11.3", "127.0.11.3:0", Some(&seed));
    let content: Vec<u8> = (0..3_000_000u32)
        .map(|at| (at * 13 + at / 509) as u8)
        .collect();
    std::fs::write(folder.join("file"), &content).expect("written");
    let put = out(&one, folder, &["put", "file"]);
    let (id, bytes) = put.trim().split_once('\t').expect("a name and a size");
    assert_eq!((id.len(), bytes), (64, "3000000"));
    wait_for("a provider", || providers(&three, id) == 1);

    let fetched = out(&three, folder, &["get", id, "--out", "got"]);
    assert_eq!(fetched, format!("{id}\t3000000\tgot\n"));
    assert_eq!(std::fs::read(folder.join("got")).expect("there"), content);
    out(&two, folder, &["put", "file"]);
    wait_for("two providers", || providers(&three, id) == 2);
    // One of the two has gone, and what came before the interruption is wrong.
    one.kill();
    std::fs::write(folder.join(format!("again.{id}.part")), vec![1; 70_000]).expect("written");
    let got = out(&three, folder, &["get", id, "--out", "again", "--json"]);
    let got: Value = serde_json::from_str(&got).expect("JSON");
    assert_eq!(got["resumed"], 70_000);
    assert_eq!(std::fs::read(folder.join("again")).expect("there"), content);

    assert_eq!(out(&two, folder, &["list"]), put);
    let small = blob(
        &three,
        folder,
        &["get", id, "--out", "small", "--max-bytes", "1MiB"],
    );
    assert_eq!(small.status.code(), Some(1), "{small:?}");
    assert!(
        String::from_utf8_lossy(&small.stderr).contains("3000000 bytes"),
        "{small:?}"
    );
    out(&two, folder, &["delete", id]);
    let gone = blob(&three, folder, &["get", id, "--out", "gone"]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
    assert!(
        String::from_utf8_lossy(&gone.stderr).contains("404"),
        "{gone:?}"
    );
    assert!(!folder.join("gone").exists());
}
