//! Lines for a terminal: one for each link that somebody has to look at, pages apart, and a summary at the end.
//!
//! A line begins with `page:line:column`, as compilers write it, so that editors and `grep` know what to do with it.
//! No column but the verdicts' is aligned: they are ASCII, while texts of pages have widths that terminals disagree
//! about. Nothing of a page can steer the terminal: see `escape::terminal`.

use super::{
    Change, Comparison, ReportOptions, Severity, Totals, Writer, escape, page_of, severity,
};
use crate::{CheckJob, LinkResult, Status, Verdict};
use std::fmt::Write;

/// Characters of a link's text that are shown.
const MAX_TEXT: usize = 60;
/// The longest name of a verdict.
const VERDICT_WIDTH: usize = "fragment_missing".len();

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const GREEN: &str = "\x1b[32m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// What the summary will say.
pub(super) struct Text {
    options: ReportOptions,
    status: Status,
    failure: Option<String>,
    pages: u64,
    totals: Totals,
    page: Option<String>,
}

impl Text {
    pub fn begin(job: &CheckJob, options: &ReportOptions, _: &mut String) -> Text {
        Text {
            options: options.clone(),
            status: job.status,
            failure: job.failure.clone(),
            pages: job.pages,
            totals: Totals::default(),
            page: None,
        }
    }

    fn styled(&self, style: &str, text: &str, out: &mut String) {
        match self.options.colour {
            true => out.extend([style, text, RESET]),
            false => out.push_str(text),
        }
    }

    fn place(&self, result: &LinkResult, out: &mut String) {
        let mut place = String::new();
        escape::terminal(page_of(result), &mut place);
        if result.line > 0 {
            // Writing to a String does not fail.
            let _ = write!(place, ":{}:{}", result.line, result.column);
        }
        self.styled(DIM, &place, out);
    }

    fn summary(&self, out: &mut String) {
        let totals = &self.totals;
        let broken = counted(totals.broken(), "broken link", "broken links");
        let style = if totals.broken() == 0 { GREEN } else { RED };
        self.styled(&format!("{BOLD}{style}"), &broken, out);
        match &self.options.comparison {
            Some(Comparison::Counted(counts)) => {
                let (new, fixed) = (counts.newly_broken, counts.fixed);
                let _ = write!(out, " ({new} new, {fixed} fixed");
                if counts.unclear > 0 {
                    let _ = write!(out, ", {} unclear", counts.unclear);
                }
                out.push_str(" since the last run)");
            }
            Some(Comparison::NotCompared { .. }) => {
                out.push_str(" (too many to be compared with the last run)");
            }
            None => {}
        }
        let rest = [
            (totals.warnings(), "with a warning"),
            (totals.of(Verdict::Unverifiable), "not checkable"),
            (totals.pending(), "without a verdict yet"),
        ];
        for (count, what) in rest {
            if count > 0 {
                let _ = write!(out, ", {count} {what}");
            }
        }
        let links = counted(totals.links(), "link", "links");
        let pages = counted(self.pages, "page", "pages");
        let _ = write!(out, "; {links} on {pages}");
        if self.status != Status::Completed {
            let _ = write!(out, "; the job is {}", self.status.name());
        }
        if let Some(failure) = &self.failure {
            out.push_str(": ");
            escape::terminal(failure, out);
        }
        out.push('\n');
    }
}

impl Writer for Text {
    fn push(&mut self, result: &LinkResult, change: Option<Change>, out: &mut String) {
        self.totals.add(result.verdict);
        let Some(verdict) = result.verdict else {
            return;
        };
        let style = match severity(verdict) {
            Severity::Fine => return,
            _ if self.options.only_broken && !verdict.is_broken() => return,
            Severity::Note => CYAN,
            Severity::Warning => YELLOW,
            Severity::Error => RED,
        };
        let page = page_of(result);
        if self.page.as_deref() != Some(page) {
            if self.page.is_some() {
                out.push('\n');
            }
            self.page = Some(page.to_owned());
        }
        self.place(result, out);
        out.push_str("  ");
        self.styled(style, &format!("{:<VERDICT_WIDTH$}", verdict.name()), out);
        out.push_str("  ");
        escape::terminal(&result.reason, out);
        out.push_str("  ");
        escape::terminal(&result.target, out);
        if let (Verdict::Moved, Some(to)) = (verdict, &result.final_url) {
            out.push_str(" -> ");
            escape::terminal(to, out);
        }
        if !result.text.is_empty() {
            let (text, is_clipped) = escape::clip(&result.text, MAX_TEXT);
            out.push_str("  (");
            escape::terminal(text, out);
            out.push_str(if is_clipped { "…)" } else { ")" });
        }
        if change == Some(Change::NewlyBroken) {
            out.push_str("  ");
            self.styled(BOLD, "new", out);
        }
        out.push('\n');
    }

    fn finish(&mut self, out: &mut String) {
        if self.page.is_some() {
            out.push('\n');
        }
        self.summary(out);
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    match count {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}
