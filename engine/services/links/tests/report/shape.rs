//! Bounds and grouping: what does not grow with the number of results, and what belongs together.

use crate::sample;
use holdfast_links::{
    LinkResult, Verdict,
    report::{Format, Report, ReportOptions},
};

fn dead(id: u64, page: &str, target: &str) -> LinkResult {
    let mut link = sample::link(id, Some(page), target);
    link.verdict = Some(Verdict::Dead);
    link.reason = "status_404".to_owned();
    link
}

fn write(format: Format, results: &[LinkResult]) -> String {
    let options = ReportOptions::default();
    Report::whole(format, &sample::job(results), &options, results)
}

#[test]
fn streaming_formats_keep_nothing_back() {
    let results = sample::results();
    let job = sample::job(&results);
    for format in [
        Format::Json,
        Format::JsonLines,
        Format::Csv,
        Format::Sarif,
        Format::Text,
    ] {
        let mut out = String::new();
        let mut report = Report::begin(format, &job, &ReportOptions::default(), &mut out);
        let mut pieces = std::mem::take(&mut out);
        for result in &results {
            report.push(result, None, &mut out);
            let is_shown = result.verdict.is_some_and(Verdict::is_broken);
            assert!(!is_shown || !out.is_empty(), "{format}");
            pieces.push_str(&std::mem::take(&mut out));
        }
        report.finish(&mut out);
        pieces.push_str(&out);
        assert_eq!(pieces, write(format, &results), "{format}");
    }
}

#[test]
fn junit_holds_back_one_suite_at_most() {
    let results: Vec<_> = (1..=2_500)
        .map(|id| dead(id, "/long", &format!("https://e.org/{id}")))
        .collect();
    let job = sample::job(&results);
    let mut out = String::new();
    let mut report = Report::begin(Format::Junit, &job, &ReportOptions::default(), &mut out);
    let mut most = 0;
    let mut held = 0;
    for result in &results {
        out.clear();
        report.push(result, None, &mut out);
        held += 1;
        if !out.is_empty() {
            held = 1;
        }
        most = most.max(held);
    }
    assert_eq!(most, 1_000);
    let xml = write(Format::Junit, &results);
    for suite in [
        "long\" tests=\"1000\"",
        "long (part 2)\" tests=\"1000\"",
        "long (part 3)\" tests=\"500\"",
    ] {
        assert!(xml.contains(suite), "{suite}");
    }
    assert_eq!(xml.matches("<testcase ").count(), 2_500);
}

#[test]
fn twins_have_names_of_their_own() {
    let mut results: Vec<_> = (1..=3)
        .map(|id| dead(id, "/a", "https://e.org/x"))
        .collect();
    results.push(dead(4, "/b", "https://e.org/x"));
    let xml = write(Format::Junit, &results);
    for name in [
        "x (anchor)\" classname=\"https://docs.example.org/a\"",
        "x [2] (anchor)",
        "x [3] (anchor)",
        "x (anchor)\" classname=\"https://docs.example.org/b\"",
    ] {
        assert_eq!(xml.matches(name).count(), 1, "{name}\n{xml}");
    }
}

#[test]
fn html_shows_a_bounded_number_of_targets_and_places() {
    let mut results = Vec::new();
    // One target that stands everywhere, and more targets than there is room for.
    for n in 0..1_500_u64 {
        results.push(dead(
            2 * n + 1,
            &format!("/{n}"),
            "https://e.org/everywhere",
        ));
        results.push(dead(
            2 * n + 2,
            &format!("/{n}"),
            &format!("https://e.org/{n}"),
        ));
    }
    let page = write(Format::Html, &results);
    assert_eq!(page.matches("<tr data-verdict=\"dead\">").count(), 1_000);
    assert!(page.contains("501 more links lead to targets that this page has no room for."));
    assert!(page.contains("<summary>1,497 more places</summary>"));
    assert!(page.contains("And 1,475 more, which"));
    assert!(page.contains("<td class=\"number\">1,500</td>"));
    let first = page.find("<div class=\"target\">").expect("a target");
    assert!(page[first..].starts_with(
        "<div class=\"target\"><a class=\"url\" rel=\"noopener noreferrer nofollow\" href=\"https://e.org/everywhere\""
    ));
}

#[test]
fn html_is_bounded_by_bytes_too() {
    let long = "x".repeat(1_000_000);
    let mut results: Vec<_> = (1..=5_000)
        .map(|id| {
            dead(
                id,
                &format!("/{}/{id}", &long[..2_000]),
                &format!("https://e.org/{id}/{}", &long[..3_000]),
            )
        })
        .collect();
    results[0].text = long.clone();
    results[0].detail = long.clone();
    results[0].reason = long;
    let page = write(Format::Html, &results);
    // What is kept, with each text shown twice at most and its markup.
    assert!(page.len() < 40 << 20, "{}", page.len());
    assert!(!page.contains(&"x".repeat(2_001)));
}

#[test]
fn html_without_results_says_so() {
    let page = write(Format::Html, &[]);
    assert_eq!(page.matches("<p class=\"none\">None.</p>").count(), 2);
}

#[test]
fn text_is_grouped_by_page() {
    let results = [
        dead(1, "/a", "https://e.org/1"),
        dead(2, "/a", "https://e.org/2"),
        dead(3, "/b", "https://e.org/1"),
    ];
    let text = write(Format::Text, &results);
    let blocks: Vec<&str> = text.split("\n\n").collect();
    assert_eq!(blocks.len(), 3, "{text}");
    assert_eq!(blocks[0].lines().count(), 2);
    assert!(blocks[0].starts_with("https://docs.example.org/a:11:5  dead "));
    assert_eq!(blocks[2], "3 broken links; 3 links on 4 pages\n");
}
