//! What SARIF 2.1.0 and code scanning ask of a report beyond the schema.

use crate::sample;
use holdfast_links::report::{Format, Report, ReportOptions};
use holdfast_links::{LinkResult, Verdict};
use serde_json::Value;
use std::collections::BTreeSet;

fn write(results: &[LinkResult]) -> Value {
    let options = ReportOptions::default();
    let text = Report::whole(Format::Sarif, &sample::job(results), &options, results);
    serde_json::from_str(&text).expect("JSON")
}

fn fingerprints(sarif: &Value) -> Vec<String> {
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    let prints = results
        .iter()
        .map(|result| &result["partialFingerprints"]["link/v1"]);
    prints
        .map(|print| print.as_str().expect("a print").to_owned())
        .collect()
}

#[test]
fn every_result_has_a_rule_a_level_and_a_place() {
    let results = sample::results();
    let sarif = write(&results);
    assert_eq!(sarif["version"], "2.1.0");
    assert!(
        sarif["$schema"]
            .as_str()
            .is_some_and(|uri| uri.ends_with("/sarif-schema-2.1.0.json"))
    );
    let run = &sarif["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "holdfast");
    let rules = driver["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), Verdict::ALL.len() - 2);
    let found = run["results"].as_array().expect("results");
    let mut at = 0;
    for link in &results {
        let Some(verdict) = link.verdict else {
            continue;
        };
        if matches!(verdict, Verdict::Alive | Verdict::Unverifiable) {
            continue;
        }
        let result = &found[at];
        at += 1;
        assert_eq!(result["ruleId"], verdict.name());
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(rules[index]["id"], verdict.name());
        assert_eq!(
            result["level"],
            rules[index]["defaultConfiguration"]["level"]
        );
        assert_eq!(result["level"] == "error", verdict.is_broken());
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(
            place["artifactLocation"]["uri"],
            *link.source.as_ref().expect("a page")
        );
        assert_eq!(place["region"]["startLine"], link.line);
        assert_eq!(place["region"]["startColumn"], link.column);
    }
    assert_eq!(at, found.len());
}

#[test]
fn places_in_headers_and_start_pages_have_no_region() {
    let mut header = sample::link(1, Some("/"), "https://e.org/");
    (header.line, header.column) = (0, 0);
    let mut start = sample::link(2, None, "https://docs.example.org/");
    for link in [&mut header, &mut start] {
        link.verdict = Some(Verdict::Dead);
    }
    let sarif = write(&[header, start]);
    let results = &sarif["runs"][0]["results"];
    for n in 0..2 {
        let place = &results[n]["locations"][0]["physicalLocation"];
        assert_eq!(
            place["artifactLocation"]["uri"],
            "https://docs.example.org/"
        );
        assert!(place.get("region").is_none());
    }
}

#[test]
fn fingerprints_survive_edits_and_tell_links_apart() {
    let results = sample::results();
    let before = fingerprints(&write(&results));
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), before.len());
    let mut edited = results.clone();
    for (n, link) in edited.iter_mut().enumerate() {
        link.id += 1_000;
        link.line += 40;
        link.ordinal += n as u32;
        link.text.push_str(", edited");
        link.attempts += 1;
    }
    assert_eq!(fingerprints(&write(&edited)), before);
    edited[2].target.push('x');
    assert_ne!(fingerprints(&write(&edited)), before);
}
