//! Golden files: what each format says about the sample.

use crate::sample;
use holdfast_links::report::{
    Change, Comparison, ComparisonCounts, Format, NotCompared, Report, ReportOptions, Totals,
};
use holdfast_links::{Status, Verdict};

/// The sample with a comparison.
fn write(format: Format, options: &ReportOptions) -> String {
    let results = sample::results();
    let job = sample::job(&results);
    let mut out = String::new();
    let mut report = Report::begin(format, &job, options, &mut out);
    assert_eq!(report.format(), format);
    for result in &results {
        let change = match (result.id, result.verdict.is_some_and(Verdict::is_broken)) {
            (9, _) => Some(Change::NewlyBroken),
            (_, true) => Some(Change::StillBroken),
            (11, _) => Some(Change::Unclear),
            _ => None,
        };
        report.push(result, change, &mut out);
    }
    report.finish(&mut out);
    out
}

fn compared() -> ReportOptions {
    ReportOptions {
        comparison: Some(Comparison::Counted(ComparisonCounts {
            newly_broken: 1,
            still_broken: 7,
            fixed: 3,
            unclear: 1,
        })),
        ..ReportOptions::default()
    }
}

fn not_compared() -> ReportOptions {
    let not_compared = NotCompared::TooManyBroken;
    ReportOptions {
        comparison: Some(Comparison::NotCompared { not_compared }),
        ..ReportOptions::default()
    }
}

#[test]
fn json() {
    insta::assert_snapshot!(write(Format::Json, &ReportOptions::default()));
}

#[test]
fn a_comparison_is_a_member_between_job_and_results() {
    let member = |options: &ReportOptions| {
        let json = write(Format::Json, options);
        let whole: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let read = serde_json::from_value(whole["comparison"].clone());
        assert_eq!(
            read.ok(),
            options.comparison,
            "it is read as it was written"
        );
        whole.get("comparison").cloned()
    };
    let counts =
        serde_json::json!({"newly_broken": 1, "still_broken": 7, "fixed": 3, "unclear": 1});
    assert_eq!(member(&compared()), Some(counts));
    let why = serde_json::json!({"not_compared": "too_many_broken"});
    assert_eq!(member(&not_compared()), Some(why));
    assert_eq!(member(&ReportOptions::default()), None);
}

#[test]
fn runs_that_were_not_compared_are_said_not_to_be() {
    let text = write(Format::Text, &not_compared());
    let summary = text.lines().last().expect("a summary");
    assert!(
        summary.starts_with("8 broken links (too many to be compared with the last run), "),
        "{summary}"
    );
    let html = write(Format::Html, &not_compared());
    assert!(html.contains("Too many links are broken to be compared with the last run."));
    assert!(!html.contains("newly broken"));
}

#[test]
fn json_lines() {
    let json = write(Format::Json, &ReportOptions::default());
    let lines = write(Format::JsonLines, &ReportOptions::default());
    let whole: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let each = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let each: Vec<serde_json::Value> = each.collect();
    assert_eq!(whole["results"], serde_json::Value::Array(each));
    assert_eq!(lines.lines().count(), sample::results().len());
}

#[test]
fn csv() {
    insta::assert_snapshot!(write(Format::Csv, &ReportOptions::default()));
}

#[test]
fn junit() {
    insta::assert_snapshot!(write(Format::Junit, &ReportOptions::default()));
}

#[test]
fn sarif() {
    insta::assert_snapshot!(write(Format::Sarif, &compared()));
}

#[test]
fn text() {
    insta::assert_snapshot!(write(Format::Text, &compared()));
}

#[test]
fn text_of_broken_links_in_colour() {
    let options = ReportOptions {
        colour: true,
        only_broken: true,
        ..ReportOptions::default()
    };
    let text = write(Format::Text, &options).replace('\u{1b}', "ESC");
    insta::assert_snapshot!(text);
}

#[test]
fn html() {
    let page = write(Format::Html, &compared());
    // Style and script are files of their own.
    let (before, rest) = page.split_once("<style>").expect("a style");
    let (_, rest) = rest.split_once("</style>").expect("its end");
    let (body, rest) = rest.split_once("<script>").expect("a script");
    let (_, after) = rest.split_once("</script>").expect("its end");
    insta::assert_snapshot!([before, body, after].concat());
}

#[test]
fn a_job_that_failed() {
    let mut job = sample::job(&[]);
    job.status = Status::Failed;
    job.failure = Some("no start page could be read: <timeout>\u{7}".to_owned());
    let options = ReportOptions::default();
    let text = Report::whole(Format::Text, &job, &options, []);
    assert_eq!(
        text,
        "no broken links; no links on 4 pages; the job is failed: no start page could be read: <timeout>\\u{7}\n"
    );
    let html = Report::whole(Format::Html, &job, &options, []);
    assert!(html.contains("no start page could be read: &lt;timeout&gt;\u{fffd}"));
    let sarif = Report::whole(Format::Sarif, &job, &options, []);
    let sarif: serde_json::Value = serde_json::from_str(&sarif).expect("JSON");
    let invocation = &sarif["runs"][0]["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(sarif["runs"][0]["results"], serde_json::json!([]));
    let json = Report::whole(Format::Json, &job, &options, []);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["job"]["status"], "failed");
    assert_eq!(Report::whole(Format::JsonLines, &job, &options, []), "");
    let csv = Report::whole(Format::Csv, &job, &options, []);
    assert_eq!(csv.lines().count(), 1);
}

#[test]
fn totals_that_are_known_stand_at_the_top_of_junit() {
    let results = sample::results();
    let mut totals = Totals::default();
    for result in &results {
        totals.add(result.verdict);
    }
    let options = ReportOptions {
        totals: Some(totals),
        ..ReportOptions::default()
    };
    let xml = Report::whole(Format::Junit, &sample::job(&results), &options, &results);
    assert!(
        xml.contains("tests=\"16\" failures=\"8\" skipped=\"2\" errors=\"0\">"),
        "{xml}"
    );
}

#[test]
fn file_names_are_plain() {
    let mut job = sample::job(&[]);
    assert_eq!(
        Format::Junit.file_name(&job),
        "links-docs.example.org-01954f2c8a007000800000000000002a.xml"
    );
    job.target_domain = format!("../[::1]\"\r\n{}", "é".repeat(500));
    let name = Format::Csv.file_name(&job);
    assert!(name.starts_with("links-..----1------"), "{name}");
    assert!(name.len() < 160);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    assert!(name.bytes().all(plain), "{name}");
}
