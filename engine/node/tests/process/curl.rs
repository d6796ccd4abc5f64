//! A client that nobody here wrote.

use crate::engine::{Engine, skip};
use std::process::Command;

struct Curl(String);

impl Curl {
    /// `None` when there is no curl.
    fn find(engine: &Engine) -> Option<Curl> {
        let version = Command::new("curl").arg("--version").output().ok()?;
        version
            .status
            .success()
            .then(|| Curl(format!("http://{}", engine.address)))
    }

    /// Standard output, which must not be an error's.
    #[track_caller]
    fn run(&self, target: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "60"])
            .args(arguments);
        let output = command
            .arg(format!("{}{target}", self.0))
            .output()
            .expect("curl runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}

#[test]
fn curl_is_a_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(folder.path());
    let Some(curl) = Curl::find(&engine) else {
        return skip("the test with a foreign client: there is no curl");
    };
    let key = "/v1/kv/keys/greeting";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert_eq!(
        curl.run(key, &["--upload-file", file]).trim(),
        "{\"revision\":2}"
    );
    assert_eq!(
        curl.run(key, &["-X", "PUT", "--data-binary", "hello"])
            .trim(),
        "{\"revision\":3}"
    );
    let pair = "{\"key\":\"greeting\",\"value\":\"aGVsbG8=\",\"create_revision\":2,\"mod_revision\":3,\"version\":2,\
                \"revision\":3}";
    assert_eq!(curl.run(key, &[]), pair);
    let lost = curl.run(
        key,
        &[
            "-X",
            "PUT",
            "-H",
            "If-Match: \"2\"",
            "-d",
            "x",
            "-w",
            "%{http_code}",
        ],
    );
    assert!(
        lost.ends_with("412") && lost.contains("precondition-failed"),
        "{lost}"
    );
    // A megabyte and more: curl asks first (Expect: 100-continue), and is told.
    let big = folder.path().join("big");
    std::fs::write(&big, vec![0; 3 << 20]).expect("written");
    let upload = [
        "--upload-file",
        big.to_str().expect("text"),
        "-w",
        "%{http_code}",
    ];
    assert!(curl.run(key, &upload).ends_with("413"));
    assert_eq!(curl.run("/healthz", &[]), "ok\n");
    assert_eq!(
        curl.run("/readyz", &["-o", "/dev/null", "-w", "%{http_code}"]),
        "200"
    );
    // Many requests over one connection.
    let url = format!("{}{key}", curl.0);
    let times = curl.run(
        key,
        &[url.as_str(), url.as_str(), "-w", "%{num_connects}\n"],
    );
    assert_eq!(times.matches("version").count(), 3, "{times}");
    let connects: u32 = times
        .lines()
        .filter_map(|line| line.rsplit('}').next()?.parse::<u32>().ok())
        .sum();
    assert_eq!(connects, 1, "{times}");
}

#[test]
fn curl_is_a_client_over_http2() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(folder.path());
    let Some(curl) = Curl::find(&engine) else {
        return skip("the test with a foreign HTTP/2 client: there is no curl");
    };
    if !curl.run("/healthz", &["--version"]).contains("HTTP2") {
        return skip("the test with a foreign HTTP/2 client: this curl does not speak it");
    }
    let http2 = "--http2-prior-knowledge";
    let code = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
    assert_eq!(
        curl.run("/healthz", &[&[http2], &code[..]].concat()),
        "2 200"
    );
    curl.run("/v1/kv/keys/a", &[http2, "-X", "PUT", "-d", "1"]);
    let pair = curl.run("/v1/kv/keys/a", &[http2]);
    assert!(pair.contains("\"MQ==\""), "{pair}");
    let head = curl.run("/v1/kv/keys/a", &[http2, "--head"]);
    let length = format!("content-length: {}", pair.len());
    assert!(head.contains(&length), "{head}");
    assert_eq!(
        curl.run("/v1/kv/keys/b", &[&[http2], &code[..]].concat()),
        "2 404"
    );
}
