//! `engine dht`: the DHT from the command line.

use crate::engine::{ENGINE, Engine};
use serde_json::Value;
use std::{
    net::UdpSocket,
    path::Path,
    process::{Command, Output},
};

/// A node that is one of the DHT and knows of `bootstrap`.
fn start(folder: &Path, listen: &str, bootstrap: Option<&str>) -> Engine {
    let file = folder.join("engine.toml");
    let data = folder.join("data").display().to_string();
    let bootstrap: Vec<&str> = bootstrap.into_iter().collect();
    let text = format!(
        "[node]\ndata = {data:?}\nlisten = \"127.0.0.1:0\"\npeer_listen = \"127.0.0.1:0\"\n\
         [dht]\nenabled = true\nlisten = {listen:?}\nbootstrap = {bootstrap:?}\n"
    );
    std::fs::write(&file, text).expect("written");
    Engine::start_file(&file)
}

fn dht(engine: &Engine, arguments: &[&str]) -> Output {
    let mut command = Command::new(ENGINE);
    command.arg("dht").args(arguments);
    command.args(["--endpoint", &engine.address, "--timeout", "60s"]);
    command.output().expect("the binary runs")
}

#[track_caller]
fn out(engine: &Engine, arguments: &[&str]) -> String {
    let output = dht(engine, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn status(engine: &Engine) -> Value {
    serde_json::from_str(&out(engine, &["status", "--json"])).expect("JSON")
}

#[test]
fn two_servers_find_each_other_and_what_they_store() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let port = UdpSocket::bind("127.0.5.1:0").and_then(|socket| socket.local_addr());
    let address = port.expect("a free port").to_string();
    let first = start(folders[0].path(), &address, None);
    let second = start(folders[1].path(), "127.0.5.2:0", Some(&address));
    let id = status(&first)["id"].as_str().expect("an id").to_owned();
    while status(&first)["families"][0]["good"] != 1 || status(&second)["families"][0]["good"] != 1
    {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(out(&second, &["nodes"]).contains(&address));
    let lookup = out(&second, &["lookup", &id]);
    assert!(
        lookup.contains(&id) && lookup.contains("1 asked, 1 answered"),
        "{lookup}"
    );
    let put = out(&first, &["put", "hello there"]);
    let target = put.split('\t').next().expect("an id");
    assert_eq!(out(&second, &["get", target]), "hello there\n");

    // The seed stays here; the number follows the one that is there.
    let key = folders[0].path().join("seed");
    std::fs::write(&key, "07".repeat(32)).expect("written");
    let key = key.to_str().expect("a path");
    let signed = |text: &str| out(&first, &["put", text, "--key-file", key, "--salt", "s"]);
    let target = signed("one").split('\t').next().expect("an id").to_owned();
    assert_eq!(signed("two").split('\t').next(), Some(&target[..]));
    let json = out(&second, &["get", &target, "--salt", "s", "--json"]);
    let found: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&found["text"], &found["sequence"]),
        (&"two".into(), &2.into())
    );

    let torrent = "0123456789abcdef0123456789abcdef01234567";
    out(&first, &["announce", torrent, "--port", "4242", "--keep"]);
    assert_eq!(out(&second, &["peers", torrent]), "127.0.5.1:4242\n");
    assert!(out(&first, &["kept"]).contains(torrent));
    out(&first, &["forget", "peer", torrent]);
    assert_eq!(out(&first, &["kept"]), "");
    let crawled = out(&second, &["crawl", "--lookups", "50"]);
    assert_eq!(crawled, format!("{id}\t{address}\n"));
    let nothing = dht(&second, &["get", torrent]);
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
}
