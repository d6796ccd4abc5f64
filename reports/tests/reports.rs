//! What comes out for given records: tables, Parquet, the page.
#![allow(
    clippy::disallowed_methods,
    reason = "a Parquet file goes through the operating system's temporary folder"
)]

use holdfast_record::{Failure, Lane, SeedRecord, Timeline, TimelineEvent};
use holdfast_reports::{frame, html, summary};
use std::collections::BTreeMap;

fn record(lane: Lane, seed: u64) -> SeedRecord {
    let counts = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
        pairs.iter().map(|(k, n)| (k.to_string(), *n)).collect()
    };
    SeedRecord {
        scenario: "raft-kv".into(),
        lane,
        seed,
        nodes: 5,
        simulated_ns: 60_000_000_000,
        cpu_ns: 2_000_000 + seed * 1_000,
        messages: 40_000 + seed,
        operations: 900,
        unknown: 3,
        faults: counts(&[("partition", 4), ("kill", seed % 3), ("power_cut", 0)]),
        marks: match lane {
            Lane::Fast => counts(&[("leader changed", 7), ("snapshot installed", 0)]),
            Lane::Full => counts(&[("stream reset", seed % 2)]),
        },
        trace_hash: format!("{seed:016x}"),
        failure: None,
    }
}

fn failed(lane: Lane, seed: u64, property: &str, message: &str) -> SeedRecord {
    SeedRecord {
        failure: Some(Failure {
            property: property.into(),
            message: message.into(),
            at_ns: 12_345_678_000,
            node: Some(2),
        }),
        ..record(lane, seed)
    }
}

/// A hundred seeds in the fast lane, of which three fail; ten in the full lane.
fn records() -> Vec<SeedRecord> {
    let mut records: Vec<SeedRecord> = (0..97).map(|seed| record(Lane::Fast, seed)).collect();
    records.push(failed(
        Lane::Fast,
        99,
        "linearizability",
        "get a returned 3",
    ));
    records.push(failed(
        Lane::Fast,
        98,
        "linearizability",
        "get b returned 7 at revision 12, after a put of 8 had been acknowledged\nsecond line",
    ));
    records.push(failed(Lane::Fast, 97, "one-leader", "two in term 4"));
    records.extend((0..10).map(|seed| record(Lane::Full, seed)));
    records
}

#[test]
fn summary_table() {
    let summary = summary::aggregate(&records()).unwrap();
    let text = summary.to_string();
    for line in text.lines() {
        assert!(
            line.chars().count() <= summary::WIDTH,
            "too wide for a terminal: {line}"
        );
    }
    insta::assert_snapshot!(text);
}

#[test]
fn sums_are_those_of_the_records() {
    let records = records();
    let summary = summary::aggregate(&records).unwrap();
    let fast: Vec<&SeedRecord> = records.iter().filter(|r| r.lane == Lane::Fast).collect();
    let row = &summary.lanes[0];
    assert_eq!((row.lane, row.seeds), (Lane::Fast, 100));
    assert_eq!(row.messages, fast.iter().map(|r| r.messages).sum::<u64>());
    assert_eq!(
        row.faults.get("kill").copied(),
        Some(fast.iter().map(|r| r.faults["kill"]).sum::<u64>())
    );
    assert_eq!(row.faults.get("power_cut"), None, "never took effect");
    assert_eq!(row.failures, 3);
    let cpu: u64 = fast.iter().map(|r| r.cpu_ns).sum();
    assert!((row.cpu_ms_per_seed - cpu as f64 / 1e6 / 100.0).abs() < 1e-9);
    assert!((row.speedup - 6000.0 / (cpu as f64 / 1e9)).abs() < 1e-6);
}

#[test]
fn marks_count_only_where_they_are_declared() {
    let summary = summary::aggregate(&records()).unwrap();
    let unreached: Vec<&str> = summary.unreached().map(|m| m.mark.as_str()).collect();
    assert_eq!(unreached, ["snapshot installed"]);
    let stream = summary
        .marks
        .iter()
        .find(|m| m.mark == "stream reset")
        .unwrap();
    assert_eq!(
        (stream.lane, stream.count, stream.seeds, stream.of_seeds),
        (Lane::Full, 5, 5, 10)
    );
}

#[test]
fn nothing_and_next_to_nothing_can_be_aggregated() {
    assert_eq!(summary::aggregate(&[]).unwrap(), Default::default());
    let bare = SeedRecord {
        faults: BTreeMap::new(),
        marks: BTreeMap::new(),
        cpu_ns: 0,
        ..record(Lane::Fast, 1)
    };
    let summary = summary::aggregate(&[bare]).unwrap();
    assert_eq!(summary.lanes[0].seeds, 1);
    assert_eq!(summary.lanes[0].speedup, 0.0, "not infinite, not NaN");
    assert!(summary.marks.is_empty() && summary.failures.is_empty());
}

#[test]
fn parquet_comes_back_as_it_was() {
    let path =
        std::env::temp_dir().join(format!("holdfast-records-{}.parquet", std::process::id()));
    let records = records();
    frame::write_parquet(&records, &path).unwrap();
    let read = frame::read_parquet(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(read.equals_missing(&frame::wide(&records).unwrap()));
    assert_eq!(read.height(), 110);
    let column = |name: &str| read.column(name).unwrap().u64().unwrap().clone();
    assert_eq!(
        column("mark.stream reset").get(0),
        None,
        "another lane's mark"
    );
    assert_eq!(column("mark.stream reset").get(101), Some(1));
    assert_eq!(column("fault.kill").get(2), Some(2));
}

const HOSTILE: &str = "</script><img src=x onerror=alert(1)> & \"quoted\" <!-- {{plan}}";

fn hostile_timeline() -> Timeline {
    Timeline {
        lanes: vec!["node 1".into(), "node 2".into(), HOSTILE.into()],
        events: vec![
            TimelineEvent::Message {
                at: 2_000,
                from: 0,
                to: 1,
                arrives: Some(2_500),
                label: "append 3 @17".into(),
            },
            TimelineEvent::Message {
                at: 1_000,
                from: 1,
                to: 0,
                arrives: None,
                label: HOSTILE.into(),
            },
            TimelineEvent::State {
                at: 10,
                lane: 0,
                state: "leader".into(),
                term: 4,
            },
            TimelineEvent::Violation {
                at: 3_000,
                lane: Some(1),
                property: "linearizability".into(),
                message: HOSTILE.into(),
            },
        ],
        dropped: 12,
        plan: format!("{{\"note\": {:?}}}", HOSTILE),
        portrait: None,
    }
}

#[test]
fn the_page_says_what_it_must() {
    let record = failed(Lane::Fast, 123, "linearizability", HOSTILE);
    let timeline = hostile_timeline();
    let html = html::page(&html::Page {
        record: &record,
        timeline: &timeline,
        reproduce: "cargo xtask simulate raft-kv --lane fast --seed 123",
    });
    for needed in [
        "<title>raft-kv, fast lane, seed 123</title>",
        "cargo xtask simulate raft-kv --lane fast --seed 123",
        "<b>linearizability broke</b> at 12.345678 s on &lt;/script&gt;&lt;img",
        "Should hold: every answer fits one order of all operations",
        "events left out, too many</dt><dd>12",
        "000000000000007b",
        "How to read this",
        "append 3 @17",
        "partition <b>4</b>",
        "Fault plan",
    ] {
        assert!(html.contains(needed), "the page lacks {needed:?}");
    }
    for outside in ["http://", "https://", " src=\"", "@import", "url("] {
        assert!(!html.contains(outside), "the page reaches out: {outside:?}");
    }
}

#[test]
fn no_text_of_a_run_becomes_markup() {
    let record = failed(Lane::Fast, 123, HOSTILE, HOSTILE);
    let html = html::page(&html::Page {
        record: &record,
        timeline: &hostile_timeline(),
        reproduce: HOSTILE,
    });
    assert_eq!(
        html.matches("</script>").count(),
        2,
        "the data and the code"
    );
    assert!(!html.contains("<img"));
    assert!(!html.contains("<!--"));
    // What looks like a placeholder in a value stays as it is.
    assert!(html.contains("&quot;quoted&quot; &lt;!-- {{plan}}"));
}

#[test]
fn the_data_in_the_page_is_the_timeline_in_order() {
    let record = record(Lane::Fast, 1);
    let html = html::page(&html::Page {
        record: &record,
        timeline: &hostile_timeline(),
        reproduce: "",
    });
    let (_, rest) = html.split_once("id=\"data\">").unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    let data: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(data["nodes"], 5);
    assert_eq!(data["lanes"][2], HOSTILE);
    assert_eq!(data["messages"]["at"], serde_json::json!([1_000, 1_000]));
    assert_eq!(data["messages"]["flight"], serde_json::json!([-1, 500]));
    let label = data["messages"]["label"][1].as_u64().unwrap() as usize;
    assert_eq!(data["texts"][label], "append 3 @17");
    assert_eq!(data["violations"][0][1], 1);
}
