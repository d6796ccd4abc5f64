//! What the page promises besides its looks.

use crate::sample;
use holdfast_links::report::{Format, Report, ReportOptions};

fn page() -> String {
    let results = sample::results();
    let options = ReportOptions::default();
    Report::whole(Format::Html, &sample::job(&results), &options, &results)
}

#[test]
fn it_asks_for_nothing_over_the_network() {
    let page = page();
    for tag in [
        "<link",
        "<img",
        "<iframe",
        " src=",
        "@import",
        "url(",
        "fetch(",
        "XMLHttpRequest",
    ] {
        assert!(!page.contains(tag), "{tag}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn it_is_read_without_its_script() {
    let page = page();
    assert!(page.contains("id=\"filter\" hidden"));
    assert!(!page.contains("<tr hidden"));
    assert!(page.contains("https://docs.example.org/help</a> instead."));
}
