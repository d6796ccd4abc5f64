//! JUnit's XML, as Jenkins wrote it down and GitLab and GitHub's reporters read it.
//!
//! One `testsuite` for each page, so that reporters group by page; one `testcase` for each link, named by its target,
//! since a name must not change when lines above the link do. Broken is `failure`, with the reason as its type. What
//! cannot be checked, and what has no verdict yet, is `skipped`. What works in part (moved, blocked, throttled,
//! flaky) passes, and `system-out` says what to know: a pipeline that breaks over a site's bad day is soon switched
//! off.
//!
//! The cases of a suite are held back until it ends, since their count stands before them: at most [`MAX_CASES`]. A
//! page with more has several suites.

use super::{
    Change, ReportOptions, Writer, escape, kind_name, occurrences::Occurrences, page_of, severity,
    title, when::Rfc3339,
};
use crate::{CheckJob, LinkResult, Verdict};
use std::fmt::Write;

/// Cases in one suite.
const MAX_CASES: u64 = 1_000;

/// A page's suite, so far.
pub(super) struct Junit {
    timestamp: String,
    page: Option<String>,
    /// Which suite of the page it is, from 0.
    part: u32,
    cases: String,
    counts: Counts,
    occurrences: Occurrences,
}

#[derive(Default)]
struct Counts {
    tests: u64,
    failures: u64,
    skipped: u64,
    millis: u64,
}

impl Junit {
    pub fn begin(job: &CheckJob, options: &ReportOptions, out: &mut String) -> Junit {
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites");
        attribute("name", &format!("links of {}", job.target_domain), out);
        match &options.totals {
            Some(totals) => {
                let skipped = totals.of(Verdict::Unverifiable) + totals.pending();
                number("tests", totals.links(), out);
                number("failures", totals.broken(), out);
                number("skipped", skipped, out);
            }
            None => {
                number("tests", job.total_links, out);
                number("failures", job.broken_count, out);
            }
        }
        number("errors", 0, out);
        out.push_str(">\n");
        Junit {
            timestamp: Rfc3339(job.started_at.unwrap_or(job.created_at)).to_string(),
            page: None,
            part: 0,
            cases: String::new(),
            counts: Counts::default(),
            occurrences: Occurrences::default(),
        }
    }

    /// Ends the suite at hand, if there is one.
    fn end_suite(&mut self, out: &mut String) {
        let Some(page) = &self.page else {
            return;
        };
        let counts = std::mem::take(&mut self.counts);
        out.push_str("  <testsuite");
        match self.part {
            0 => attribute("name", page, out),
            part => attribute("name", &format!("{page} (part {})", part + 1), out),
        }
        number("tests", counts.tests, out);
        number("failures", counts.failures, out);
        number("errors", 0, out);
        number("skipped", counts.skipped, out);
        attribute("time", &seconds(counts.millis), out);
        attribute("timestamp", &self.timestamp, out);
        out.push_str(">\n");
        out.push_str(&self.cases);
        out.push_str("  </testsuite>\n");
        self.cases.clear();
    }

    fn case(&mut self, result: &LinkResult) {
        let twin = self.occurrences.before(result);
        let name = match twin {
            0 => result.target.clone(),
            n => format!("{} [{}]", result.target, u64::from(n) + 1),
        };
        let millis = u64::from(result.timings.total_ms);
        self.counts.tests += 1;
        self.counts.millis += millis;
        let out = &mut self.cases;
        out.push_str("    <testcase");
        attribute("name", &format!("{name} ({})", kind_name(result)), out);
        attribute("classname", page_of(result), out);
        attribute("time", &seconds(millis), out);
        out.push('>');
        match result.verdict {
            None => {
                self.counts.skipped += 1;
                element("skipped", &[("message", "no verdict yet")], "", out);
            }
            Some(Verdict::Unverifiable) => {
                self.counts.skipped += 1;
                element("skipped", &[("message", &result.detail)], "", out);
            }
            Some(verdict) if verdict.is_broken() => {
                self.counts.failures += 1;
                let message = format!("{}: {}", title(verdict), result.detail);
                let attributes = [("type", &*result.reason), ("message", &*message)];
                element("failure", &attributes, &facts(result, verdict), out);
            }
            Some(verdict) if severity(verdict) > super::Severity::Fine => {
                element("system-out", &[], &facts(result, verdict), out);
            }
            Some(_) => {}
        }
        out.push_str("</testcase>\n");
    }
}

impl Writer for Junit {
    fn push(&mut self, result: &LinkResult, _: Option<Change>, out: &mut String) {
        let page = page_of(result);
        if self.page.as_deref() != Some(page) {
            self.end_suite(out);
            self.page = Some(page.to_owned());
            self.part = 0;
        } else if self.counts.tests >= MAX_CASES {
            self.end_suite(out);
            self.part += 1;
        }
        self.case(result);
    }

    fn finish(&mut self, out: &mut String) {
        self.end_suite(out);
        out.push_str("</testsuites>\n");
    }
}

/// What somebody who looks into a case wants to know.
fn facts(result: &LinkResult, verdict: Verdict) -> String {
    let mut text = format!(
        "{} ({}): {}\n",
        title(verdict),
        result.reason,
        result.detail
    );
    // Writing to a String does not fail.
    let _ = writeln!(text, "target: {}", result.target);
    if let Some(to) = &result.final_url {
        let _ = writeln!(text, "leads to: {to}");
    }
    let _ = write!(text, "page: {}", page_of(result));
    if result.line > 0 {
        let _ = write!(text, ":{}:{}", result.line, result.column);
    }
    let _ = writeln!(text, "\nelement: {}", result.element);
    if !result.text.is_empty() {
        let _ = writeln!(text, "text: {}", result.text);
    }
    for redirect in &result.redirects {
        let _ = writeln!(
            text,
            "redirect: {} {} to {}",
            redirect.status, redirect.url, redirect.to
        );
    }
    let _ = writeln!(text, "attempts: {}", result.attempts);
    text
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

fn attribute(name: &str, value: &str, out: &mut String) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape::xml(value, out);
    out.push('"');
}

fn number(name: &str, value: u64, out: &mut String) {
    attribute(name, &value.to_string(), out);
}

fn element(name: &str, attributes: &[(&str, &str)], text: &str, out: &mut String) {
    out.push('<');
    out.push_str(name);
    for (name, value) in attributes {
        attribute(name, value, out);
    }
    if text.is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    // Line ends of our own stay as they are: what is inside a line cannot make one.
    for (n, line) in text.lines().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        escape::xml(line, out);
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}
