//! `engine links`: a site checked without a server, and with one.

use crate::{
    engine::{ENGINE, Engine},
    site::Site,
};
use serde_json::Value;
use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// `engine links check` with its temporary files in `scratch`.
fn check(scratch: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(ENGINE);
    command.args(["links", "check"]).args(arguments);
    command.env("TMPDIR", scratch).env_remove("SSL_CERT_FILE");
    command
}

/// Runs it, and sees that it leaves nothing behind.
#[track_caller]
fn run(arguments: &[&str]) -> Output {
    let scratch = tempfile::tempdir().expect("a folder");
    let output = check(scratch.path(), arguments).output();
    let left = std::fs::read_dir(scratch.path()).expect("the folder");
    assert_eq!(left.count(), 0, "files stay");
    output.expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_site_with_broken_links_is_told_by_exit_code_and_report() {
    let site = Site::start();
    let root = site.url("/");
    let output = run(&[&root, "--json", "--retries", "0"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stderr), "", "no progress where no terminal is");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["job"]["status"], "completed");
    assert_eq!(report["job"]["pages"], Site::PAGES);
    assert_eq!(report["job"]["broken_count"], Site::BROKEN);
    let output = run(&[&root]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("/gone"), "{output:?}");
    let only_b = run(&[&site.url("/a"), "--depth", "0", "--no-fragments", "--json"]);
    let report: Value = serde_json::from_slice(&only_b.stdout).expect("JSON");
    assert_eq!(report["job"]["pages"], 1, "{report:#}");
}

#[test]
fn a_site_without_broken_links_is_a_success() {
    let site = Site::start();
    let output = run(&[&site.url("/whole"), "--depth", "0", "--format", "jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout).lines().count(), 2);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report.xml");
    let name = file.to_str().expect("a path");
    let junit = ["--depth", "0", "--format", "junit", "-o", name];
    let output = run(&[&[site.url("/whole").as_str()], &junit[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), "");
    let report = std::fs::read_to_string(&file).expect("the report");
    assert!(report.trim_end().ends_with("</testsuites>"), "{report}");
}

#[test]
fn what_cannot_be_checked_is_neither() {
    let site = Site::start();
    let nobody = "http://127.0.0.1:1/";
    for (arguments, says) in [
        (
            vec![nobody, "--retries", "0"],
            "none of the start pages could be read",
        ),
        (vec!["mailto:a@b.test"], "not on the web"),
        (vec!["http://"], "start_urls"),
        (vec![nobody, "--retries", "9"], "retries"),
        (vec![nobody, "--path-prefix", "x"], "path_prefix"),
        (vec![nobody, "--per-host", "0"], "per_host"),
        (vec![nobody, "--roots", "/nowhere.pem"], "/nowhere.pem"),
        (vec![nobody, "-o", "/nowhere/report"], "/nowhere/report"),
        (vec![nobody, "--format", "pdf"], "one of json"),
        (
            vec![nobody, "--format", "csv", "--json"],
            "cannot be used with",
        ),
        (vec![nobody, "--endpoint", "127.0.0.1:1"], "asks none"),
        (vec![], "<URL>"),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(
            text(&output.stderr).contains(says),
            "{arguments:?}: {output:?}"
        );
    }
    assert_eq!(site.asked("/"), 0);
}

#[test]
fn an_interrupt_reports_what_is_known() {
    let site = Site::start();
    site.hold("/a");
    let scratch = tempfile::tempdir().expect("a folder");
    let root = site.url("/");
    let mut command = check(scratch.path(), &[&root, "--json", "--retries", "0"]);
    let child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    // By then the root has been taken in: the links of it are asked for.
    while site.asked("/a") == 0 {
        assert!(Instant::now() < deadline, "the page is never asked for");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut interrupt = Command::new("kill");
    interrupt.args(["-INT", &child.id().to_string()]);
    assert!(interrupt.status().expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["job"]["status"], "cancelled");
    assert!(
        report["job"]["pages"]
            .as_u64()
            .is_some_and(|pages| pages >= 1)
    );
    let left = std::fs::read_dir(scratch.path()).expect("the folder");
    assert_eq!(left.count(), 0, "files stay");
    site.release();
}

fn links(engine: &Engine, arguments: &[&str]) -> Output {
    let mut command = Command::new(ENGINE);
    command.arg("links").args(arguments);
    command.args(["--endpoint", &engine.address, "--timeout", "30s"]);
    command.output().expect("the binary runs")
}

fn json(engine: &Engine, arguments: &[&str]) -> Value {
    let output = links(engine, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let last = text(&output.stdout).lines().last().expect("a line");
    serde_json::from_str(last).expect("JSON")
}

#[test]
fn a_server_checks_a_site_for_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, site) = (Engine::start(folder.path()), Site::start());
    let root = site.url("/");
    let job = json(&engine, &["start", &root, "--retries", "0"]);
    let id = job["id"].as_str().expect("an id");
    let over = json(&engine, &["watch", id]);
    assert_eq!(over["status"], "completed");
    assert_eq!(over["broken_count"], Site::BROKEN);
    let shown = json(&engine, &["show", id]);
    assert_eq!(shown["verdicts"]["fragment_missing"], 1);
    assert!(text(&links(&engine, &["show", id]).stdout).contains("completed"));
    assert_eq!(json(&engine, &["list"])["id"], *id);
    let broken = links(&engine, &["results", id, "--filter", "broken"]);
    assert_eq!(text(&broken.stdout).lines().count() as u64, Site::BROKEN);
    let report = links(&engine, &["report", id, "--format", "csv"]);
    let total = over["total_links"].as_u64().expect("a number");
    assert_eq!(text(&report.stdout).lines().count() as u64, total + 1);
    site.change("/gone", "200 OK");
    let next = json(&engine, &["start", &root, "--retries", "0"]);
    let next = next["id"].as_str().expect("an id");
    json(&engine, &["watch", next]);
    let output = links(&engine, &["show", next]);
    let shown = text(&output.stdout);
    for line in [
        "newly broken     0",
        "still broken     2",
        "fixed            2",
        "now unclear      0",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
    let refused = links(&engine, &["cancel", id]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let stale = links(&engine, &["delete", id, "--if-version", "1"]);
    assert_eq!(stale.status.code(), Some(1), "{stale:?}");
    let version = over["version"].to_string();
    assert!(
        links(&engine, &["delete", id, "--if-version", &version])
            .status
            .success()
    );
    assert_eq!(links(&engine, &["show", id]).status.code(), Some(1));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let in_an_hour = now.expect("after the epoch") + Duration::from_secs(3600);
    let at = holdfast_links::time::format(in_an_hour.as_nanos() as u64);
    let later = json(&engine, &["start", &root, "--at", &at, "--every", "24h"]);
    assert_eq!(later["status"], "queued");
    assert_eq!(later["every_ms"], 86_400_000);
    let id = later["id"].as_str().expect("an id");
    assert_eq!(json(&engine, &["cancel", id])["status"], "cancelled");
    assert_eq!(json(&engine, &["resume", id])["status"], "running");
    let malformed = links(&engine, &["show", "7"]);
    assert_eq!(malformed.status.code(), Some(2), "{malformed:?}");
}
