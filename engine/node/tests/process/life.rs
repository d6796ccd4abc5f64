//! Starting, serving, stopping.

use crate::{
    engine::{ENGINE, Engine, refused_start, run, skip},
    ports::free_ports,
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[test]
fn it_starts_without_being_told_anything() {
    let taken = [7480, 7481].map(|port| TcpListener::bind(("127.0.0.1", port)));
    if taken.iter().any(Result::is_err) {
        return skip("the start without configuration: somebody has port 7480 or 7481");
    }
    drop(taken);
    let work = tempfile::tempdir().expect("a folder");
    let engine = Engine::start_bare(work.path());
    assert_eq!(engine.address, "127.0.0.1:7480");
    assert_eq!(engine.kv_out(&["put", "a", "hello"]), "revision 2\n");
    assert!(work.path().join("holdfast-data/identity").is_file());
    engine.stop();
}

#[test]
fn the_command_line_reads_and_changes_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(folder.path());
    engine.kv_out(&["put", "a/1", "one"]);
    engine.kv_out(&["put", "a/2", "two"]);
    assert_eq!(engine.kv_out(&["get", "a/1"]), "one\n");
    assert_eq!(
        engine.kv_out(&["get", "a/", "--prefix"]),
        "a/1\tone\na/2\ttwo\n"
    );
    assert_eq!(engine.kv_out(&["delete", "a/1"]), "deleted 1, revision 4\n");
    assert_eq!(engine.kv_out(&["list"]), "a/2\tversion 1\trevision 3\n");
    assert_eq!(engine.kv_out(&["get", "a/1", "--revision", "2"]), "one\n");
    let missing = engine.kv(&["get", "a/1"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&missing.stderr),
        "error: no such key: a/1\n"
    );
    let not = engine.kv(&["put", "a/2", "three", "--if-revision", "2"]);
    assert_eq!(not.status.code(), Some(1), "{not:?}");
    assert_eq!(
        engine.kv_out(&["compact", "4"]),
        "readable from revision 4 to 4\n"
    );
    let address = engine.address.clone();
    engine.stop();
    let (code, stderr) = run(&[
        "kv",
        "get",
        "a",
        "--timeout",
        "100ms",
        "--endpoint",
        &address,
    ]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
}

#[test]
fn a_wrong_configuration_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("engine.toml");
    for (text, words) in [
        (
            "[raft]\n\nelection_timeuot = '1s'\n",
            &["engine.toml:3", "election_timeuot", "election_timeout"][..],
        ),
        ("[node]\nid = 'one'\n", &["engine.toml:2", "id"]),
        (
            "[node]\nid = 7\n[cluster.peers]\n1 = 'a:1'\n",
            &["node.id", "7"],
        ),
        (
            "[node]\nlisten = '0.0.0.0:1'\n",
            &["node.listen", "--insecure"],
        ),
        (
            "[raft]\nheartbeat_interval = '2s'\n",
            &["raft.heartbeat_interval"],
        ),
        (
            "[cluster.peers]\n1 = 'a:1'\n01 = 'b:1'\n",
            &["engine.toml", "`1`", "`01`"],
        ),
        (
            "[cluster.peers]\n1 = 'a:1'\n2 = 'a:1'\n",
            &["cluster.peers.1", "cluster.peers.2", "a:1"],
        ),
        ("nonsense", &["engine.toml:1"]),
    ] {
        std::fs::write(&file, text).expect("written");
        let (code, stderr) = run(&["serve", "--config", file.to_str().expect("text")]);
        assert_eq!(code, Some(2), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "`{word}` is missing in: {stderr}");
        }
    }
    let (code, stderr) = run(&["serve", "--config", "there/is/no/such.toml"]);
    assert!(
        code == Some(2) && stderr.contains("no/such.toml"),
        "{stderr}"
    );
    let (code, stderr) = run(&["serve", "--peer", "1=a:1", "--peer", "1=b:1"]);
    assert_eq!(code, Some(2), "{stderr}");
    for word in ["--peer", "node 1 twice", "`a:1`", "`b:1`"] {
        assert!(stderr.contains(word), "`{word}` is missing in: {stderr}");
    }
    let (code, stderr) = run(&["serve", "--endpoint", "127.0.0.1:1"]);
    assert!(
        code == Some(2) && stderr.contains("not for `serve`"),
        "{stderr}"
    );
    let (code, stderr) = run(&["serve", "--lisen", "127.0.0.1:1"]);
    assert!(code == Some(2) && stderr.contains("--listen"), "{stderr}");
}

/// Paths mean what they mean to the operating system, wherever `engine` is started.
#[test]
fn paths_may_lead_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work/deep");
    std::fs::create_dir_all(&work).expect("made");
    std::os::unix::fs::symlink("work/deep", folder.path().join("link")).expect("made");
    let config =
        "[cluster]\nname = 'up'\n[node]\nlisten = '127.0.0.1:0'\npeer_listen = '127.0.0.1:0'\n";
    std::fs::write(folder.path().join("x.toml"), config).expect("written");
    let arguments = ["--config", "../../x.toml", "--data", "../../link/../d"];
    let engine = Engine::start_in(&work, &arguments);
    engine.kv_out(&["put", "a", "1", "--timeout", "60s"]);
    engine.stop();
    // The folder above the one that the link leads to.
    assert!(folder.path().join("work/d/identity").is_file());
    let (code, stderr) = run(&["serve", "--data", "no/such/../folder"]);
    assert!(
        code == Some(2) && stderr.contains("no/such/../folder"),
        "{stderr}"
    );
}

#[test]
fn a_value_that_is_too_large_is_refused_by_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(folder.path());
    let mut put = Command::new(ENGINE)
        .args(["--endpoint", &engine.address, "kv", "put", "a", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut value = put.stdin.take().expect("piped");
    value.write_all(&vec![b'v'; 2 << 20]).expect("read");
    drop(value);
    let output = put.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("larger than 1048576 bytes"), "{stderr}");
    assert_eq!(engine.kv(&["get", "a"]).status.code(), Some(1));
}

/// The log cannot go on where its folder has gone: down is better than wrong.
#[test]
fn a_node_whose_storage_fails_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("engine.toml");
    std::fs::write(&config, "[raft]\nsegment_bytes = '64KiB'\n").expect("written");
    let data = folder.path().join("data");
    let config = config.to_str().expect("text");
    let ports = ["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"];
    let engine = Engine::start_with(&data, &[&ports[..], &["--config", config]].concat());
    engine.kv_out(&["put", "a", "1", "--timeout", "60s"]);
    std::fs::remove_dir_all(data.join("replica/log")).expect("it is there");
    let value = "v".repeat(40_000);
    let failed = (0..10).any(|_| {
        let put = engine.kv(&["put", "a", &value, "--timeout", "1s"]);
        !put.status.success()
    });
    assert!(failed, "the log is full");
    let (status, log) = engine.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("storage failed"), "{log}");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let data = folder.path().to_str().expect("text");
    for option in ["--listen", "--peer-listen"] {
        let other = if option == "--listen" {
            "--peer-listen"
        } else {
            "--listen"
        };
        let (code, stderr) = run(&[
            "serve",
            "--data",
            data,
            option,
            &address,
            other,
            "127.0.0.1:0",
        ]);
        assert!(code == Some(1) && stderr.contains(&address), "{stderr}");
    }
    // What the failed start had taken is free again.
    Engine::start(folder.path()).stop();
}

#[test]
fn a_second_start_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(folder.path());
    let (code, stderr) = refused_start(folder.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("in use by another process"), "{stderr}");
    engine.kv_out(&["put", "a", "unharmed"]);
    engine.stop();
}

#[test]
fn what_was_acknowledged_survives_stop_and_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..6 {
        let engine = Engine::start(folder.path());
        for before in 0..round {
            let key = format!("k{before}");
            assert_eq!(engine.kv_out(&["get", &key]), format!("v{before}\n"));
        }
        engine.kv_out(&["put", &format!("k{round}"), &format!("v{round}")]);
        if round % 2 == 0 {
            engine.stop()
        } else {
            engine.kill()
        }
    }
}

#[test]
fn an_orderly_stop_ends_watches_and_lets_requests_finish() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(folder.path());
    let mut watch = TcpStream::connect(&engine.address).expect("connects");
    let request = "GET /v1/kv/watch?prefix= HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n";
    watch.write_all(request.as_bytes()).expect("sent");
    let mut watch = BufReader::new(watch);
    let mut line = String::new();
    while !line.contains("created") {
        line.clear();
        assert_ne!(watch.read_line(&mut line).expect("a line"), 0);
    }
    // A put whose body is still under way when the node is told to stop.
    let mut put = TcpStream::connect(&engine.address).expect("connects");
    put.write_all(b"PUT /v1/kv/keys/a HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nhel")
        .expect("sent");
    // Connections are taken in the order in which they came, and go on being taken for a while after the signal.
    engine.kv_out(&["put", "b", "x"]);
    engine.signal("-TERM");
    let mut rest = String::new();
    watch.read_to_string(&mut rest).expect("text");
    assert!(rest.contains("\"closing\""), "{rest}");
    put.write_all(b"lo").expect("sent");
    let mut answer = String::new();
    put.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (status, log) = engine.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    let engine = Engine::start(folder.path());
    assert_eq!(engine.kv_out(&["get", "a"]), "hello\n");
}

#[test]
fn three_nodes_survive_the_loss_of_any_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = free_ports(6);
    let start = |id: usize| {
        let mut arguments = vec!["--id".to_owned(), id.to_string()];
        let addresses = [
            ("--listen", ports[id - 1]),
            ("--peer-listen", ports[id + 2]),
        ];
        for (option, port) in addresses {
            arguments.extend([option.to_owned(), format!("127.0.0.1:{port}")]);
        }
        for peer in 1..=3 {
            arguments.extend([
                "--peer".to_owned(),
                format!("{peer}=127.0.0.1:{}", ports[peer + 2]),
            ]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Engine::start_with(&folder.path().join(id.to_string()), &arguments)
    };
    let mut nodes = vec![start(1), start(2), start(3)];
    for round in 0..3 {
        for (at, node) in nodes.iter().enumerate() {
            node.kv_out(&["put", &format!("{round}/{at}"), "there", "--timeout", "60s"]);
        }
        nodes.remove(round).kill();
        nodes[0].kv_out(&[
            "put",
            &format!("{round}/without"),
            "there",
            "--timeout",
            "60s",
        ]);
        nodes.insert(round, start(round + 1));
        let listed = nodes[round].kv_out(&["get", "", "--prefix", "--timeout", "60s"]);
        assert_eq!(listed.matches("there").count(), (round + 1) * 4, "{listed}");
    }
    for node in nodes {
        node.stop();
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start_with(
        folder.path(),
        &[
            "--listen",
            "127.0.0.1:0",
            "--peer-listen",
            "127.0.0.1:0",
            "--drain",
            "1h",
        ],
    );
    engine.kv_out(&["put", "a", "kept"]);
    let mut unfinished = TcpStream::connect(&engine.address).expect("connects");
    unfinished
        .write_all(b"PUT /v1/kv/keys/b HTTP/1.1\r\nHost: n\r\nContent-Length: 9\r\n\r\nhal")
        .expect("sent");
    // Connections are taken in the order in which they came, and go on being taken for a while after the signal.
    engine.kv_out(&["list"]);
    engine.signal("-TERM");
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(&engine.address).is_ok() {
        assert!(Instant::now() < deadline, "it goes on taking connections");
        std::thread::sleep(Duration::from_millis(5));
    }
    engine.signal("-INT");
    let (status, log) = engine.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("SIGINT again"), "{log}");
    let engine = Engine::start(folder.path());
    assert_eq!(engine.kv_out(&["get", "", "--prefix"]), "a\tkept\n");
}

#[test]
fn status_tells_who_answers_and_who_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(folder.path());
    let nowhere = format!("127.0.0.1:{}", free_ports(1)[0]);
    let status = |arguments: &[&str]| {
        let endpoints = ["--endpoint", &engine.address, "--endpoint", &nowhere];
        let output = Command::new(ENGINE)
            .arg("status")
            .args(endpoints)
            .args(arguments)
            .output();
        let output = output.expect("the binary runs");
        // One of the two does not answer.
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let table = status(&["--digest"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("ENDPOINT") && lines[0].ends_with("DIGEST"),
        "{table}"
    );
    assert!(
        lines[1].contains("leader") && lines[2].contains("no answer"),
        "{table}"
    );
    let json = status(&["--json"]);
    let answers: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers[0]["status"]["role"], "leader");
    assert!(answers[1]["error"].is_string(), "{json}");
}
