//! API keys, from the command that makes one to the node that takes it.

use crate::engine::{ENGINE, Engine, run};
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Output},
};

fn make(arguments: &[&str]) -> String {
    let output = Command::new(ENGINE)
        .args(["keys", "new"])
        .args(arguments)
        .output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn kv(engine: &Engine, key: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(ENGINE);
    command.arg("kv").args(arguments);
    command.args(["--endpoint", &engine.address, "--timeout", "30s"]);
    command.env_remove("HOLDFAST_API_KEY");
    if let Some(key) = key {
        command.env("HOLDFAST_API_KEY", key);
    }
    command.output().expect("the binary runs")
}

/// Starts a node with what `engine keys new` printed, as it was printed.
fn start(folder: &Path, printed: &str) -> Engine {
    let file = folder.join("engine.toml");
    let data = folder.join("data").display().to_string();
    let lines = printed.split_once('\n').expect("the key, and then lines").1;
    let node = format!(
        "[node]\ndata = {data:?}\nlisten = \"127.0.0.1:0\"\npeer_listen = \"127.0.0.1:0\"\n{lines}"
    );
    std::fs::write(&file, node).expect("written");
    Engine::start_file(&file)
}

#[test]
fn a_key_is_made_put_into_a_configuration_and_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let printed = make(&[
        "--scope",
        "kv:*",
        "--name",
        "a \"test\"",
        "--expires",
        "2500-01-01T00:00:00Z",
    ]);
    let key = printed.lines().next().expect("the key");
    let engine = start(folder.path(), &printed);
    let refused = kv(&engine, None, &["put", "a", "1"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("API key"),
        "{refused:?}"
    );
    let put = kv(&engine, Some(key), &["put", "a", "1"]);
    assert!(put.status.success(), "{put:?}");
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{key}\n")).expect("written");
    let file = file.to_str().expect("text");
    // The file goes before the environment.
    let got = kv(
        &engine,
        Some("hf_nonsense"),
        &["get", "a", "--api-key-file", file],
    );
    assert_eq!(String::from_utf8_lossy(&got.stdout), "1\n", "{got:?}");
    let misspelt = kv(&engine, Some("hf_nonsense"), &["get", "a"]);
    assert_eq!(misspelt.status.code(), Some(2), "{misspelt:?}");
    assert!(
        String::from_utf8_lossy(&misspelt.stderr).contains("HOLDFAST_API_KEY"),
        "{misspelt:?}"
    );
    let (code, stderr) = run(&[
        "status",
        "--endpoint",
        &engine.address,
        "--api-key-file",
        file,
    ]);
    assert_eq!(code, Some(1), "not what it was granted: {stderr}");
    assert!(stderr.contains("status:read"), "{stderr}");
    engine.signal("-TERM");
    let (status, log) = engine.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    let audited: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|event: &Value| event["target"] == "audit")
        .collect();
    let statuses: Vec<_> = audited
        .iter()
        .map(|event| event["fields"]["status"].as_u64())
        .collect();
    assert_eq!(statuses, [Some(401), Some(200)], "{log}");
    assert_eq!(audited[1]["fields"]["actor"], key[3..15], "{log}");
    assert_eq!(audited[1]["fields"]["operation"], "kvPut", "{log}");
    assert!(!log.contains(&key[16..]), "no secret in the log");
}

#[test]
fn keys_new_reads_its_arguments_strictly() {
    let made: Value =
        serde_json::from_str(&make(&["--json", "--scope", "*", "--scope", "*"])).expect("JSON");
    assert!(
        made["key"]
            .as_str()
            .is_some_and(|key| key.starts_with("hf_"))
    );
    assert_eq!(made["scopes"], serde_json::json!(["*"]));
    for (arguments, word) in [
        (&["keys", "new"][..], "--scope"),
        (&["keys", "new", "--scope", "kv:reed"], "kv:read"),
        (
            &["keys", "new", "--scope", "*", "--expires", "tomorrow"],
            "2027",
        ),
        (
            &["keys", "new", "--scope", "*", "--endpoint", "a:1"],
            "--endpoint",
        ),
    ] {
        let (code, stderr) = run(arguments);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(word), "`{word}` is missing in: {stderr}");
    }
}

#[test]
fn keys_travel_by_tls_where_a_certificate_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(path("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("written");
    let printed = make(&["--scope", "*"]);
    std::fs::write(path("key"), printed.lines().next().expect("the key")).expect("written");
    let lines = printed.split_once('\n').expect("the key, and then lines").1;
    std::fs::write(path("engine.toml"), lines).expect("written");
    let (config, data) = (path("engine.toml"), path("data"));
    let (cert, secret) = (path("cert.pem"), path("key.pem"));
    let ports = ["--listen", "0.0.0.0:0", "--peer-listen", "127.0.0.1:0"];
    let tls = ["--tls-cert", &cert, "--tls-key", &secret];
    let rest = ["--config", &config, "--data", &data];
    let engine = Engine::start_in(folder.path(), &[&rest[..], &ports, &tls].concat());
    let (_, port) = engine.address.rsplit_once(':').expect("a port");
    let (endpoint, key) = (format!("https://127.0.0.1:{port}"), path("key"));
    let there = [
        "--endpoint",
        &endpoint,
        "--api-key-file",
        &key,
        "--ca-file",
        &cert,
    ];
    let (code, stderr) = run(&[&["kv", "put", "a", "1", "--timeout", "60s"], &there[..]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stderr) = run(&[&["status"], &there[..]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    let stranger = ["kv", "get", "a", "--endpoint", &endpoint, "--timeout", "1s"];
    let (code, stderr) = run(&stranger);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("--ca-file"), "{stderr}");
    engine.stop();
    for (arguments, word) in [
        (&["serve", "--tls-cert", &cert][..], "--tls-key"),
        (&["kv", "get", "a", "--ca-file", &secret], "certificate"),
        (
            &["kv", "get", "a", "--ca-file", "no/such.pem"],
            "no/such.pem",
        ),
    ] {
        let (code, stderr) = run(arguments);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(word), "`{word}` is missing in: {stderr}");
    }
}
