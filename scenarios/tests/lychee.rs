//! The model web, served on loopback, checked by a link checker that nobody here wrote: what it finds of the faults, and
//! what it raises without need, is known kind by kind for the version that is installed for tests.
// This test starts a process and leaves files for it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use holdfast_host::tokio_host;
use holdfast_scenarios::web::{StaticShape, serve::Loopback};
use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// Kinds of faults in places that lychee 0.24.2 does not look at, or that it does not know as faults.
const MISSED: [&str; 25] = [
    "a-href-malformed",
    "base-href",
    "fragment-in-textarea",
    "fragment-name-of-paragraph",
    "header-link",
    "header-refresh",
    "iframe-srcdoc",
    "link-imagesrcset",
    "meta-og-image",
    "meta-refresh",
    "meta-twitter-image",
    "noscript",
    "page-windows-1252",
    "script-module",
    "script-src",
    "sheet-escaped",
    "sheet-import",
    "sheet-url",
    "sitemap",
    "soft-404",
    "soft-404-query",
    "style-attribute",
    "style-image-set",
    "style-import",
    "svg-image",
];

/// Kinds of what is fine that lychee 0.24.2 calls broken.
const FALSE_ALARMS: [&str; 8] = [
    "500-once",
    "503-once-retry-after",
    "503-twice",
    "redirect-cookie-detour",
    "redirect-cookie-wall",
    "redirect-utf8-location",
    "style-comment",
    "template",
];

#[test]
fn lychee_agrees_with_the_truth_on_what_it_knows() {
    let Some(lychee) = std::env::var_os("HOLDFAST_LYCHEE").map(PathBuf::from) else {
        return skip("the model web, checked by lychee: HOLDFAST_LYCHEE does not name it");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    let shape = |addresses| StaticShape {
        pages: 60,
        ..StaticShape::benchmark(addresses)
    };
    let site = runtime.block_on(Loopback::start(&host, 0, 1, shape));
    let site = site.expect("loopback has ports");
    let truth = site.web.truth_of(0);
    let score = truth.score(
        run(&lychee, folder.path(), &site)
            .iter()
            .map(String::as_str),
    );

    let missed: BTreeSet<&str> = score.missed.iter().map(String::as_str).collect();
    assert_eq!(missed, BTreeSet::from(MISSED));
    assert_eq!(score.found.len() + score.missed.len(), truth.faults());
    let alarms = score.false_alarms.iter();
    let alarms: BTreeSet<&str> = alarms.filter_map(|alarm| alarm.split(' ').next()).collect();
    assert_eq!(alarms, BTreeSet::from(FALSE_ALARMS));
    let summary = site.observed.summary();
    let pages = site.web.origins()[0].pages().len() as u64;
    assert!(summary.distinct > pages, "{summary:?}");
}

/// The targets that lychee calls broken.
fn run(lychee: &Path, folder: &Path, site: &Loopback) -> Vec<String> {
    let file = |name: &str| folder.join(name);
    let pages = site.web.origins()[0].pages().join("\n") + "\n";
    std::fs::write(file("pages.txt"), pages).expect("the folder takes files");
    std::fs::write(file("authority.pem"), &site.authority_pem).expect("the folder takes files");
    let output = Command::new(lychee)
        .args([
            "--no-progress",
            "--format",
            "json",
            "--include-fragments=anchor-only",
        ])
        .args([
            "--timeout",
            "10",
            "--max-retries",
            "2",
            "--retry-wait-time",
            "1",
        ])
        .args(["--host-concurrency", "32", "--host-request-interval", "0ms"])
        .arg("--output")
        .arg(file("found.json"))
        .arg("--files-from")
        .arg(file("pages.txt"))
        .env("SSL_CERT_FILE", file("authority.pem"))
        .output()
        .expect("lychee starts");
    assert_eq!(
        output.status.code(),
        Some(2),
        "it found broken links: {output:?}"
    );
    let text = std::fs::read_to_string(file("found.json")).expect("lychee leaves its document");
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let timeouts = document["timeout_map"].as_object().expect("a map");
    assert!(timeouts.is_empty(), "{timeouts:?}");
    let maps = document["error_map"].as_object().expect("a map").values();
    let entries = maps.flat_map(|entries| entries.as_array().expect("a list"));
    let targets = entries.map(|entry| {
        let url = entry["url"].as_str().expect("a text");
        let text = entry["status"]["text"].as_str().unwrap_or_default();
        match url {
            // What is no URL is quoted in the message only.
            "error:" => text.split('"').nth(1).unwrap_or(text).to_string(),
            _ => url.to_string(),
        }
    });
    targets.collect()
}

/// Says that a test did not run, and where `cargo xtask test` reads it.
fn skip(what: &str) {
    let line = format!("SKIPPED: {what}");
    eprintln!("{line}");
    let Some(file) = std::env::var_os("HOLDFAST_SKIPS") else {
        return;
    };
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file);
    let mut file = opened.expect("the file of skips can be written");
    writeln!(file, "{line}").expect("the file of skips can be written");
}
