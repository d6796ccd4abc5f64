//! CSV (RFC 4180): a header, CRLF line ends, UTF-8 without a byte order mark.
//!
//! Spreadsheets take a cell that begins with `=`, `+`, `-` or `@` for a formula, and some strip a tab, a line end or
//! a full width look-alike before they look. The rule against it: **a field that begins with one of these, or with an
//! apostrophe, gets an apostrophe before it**. So a reader who wants the field as it was takes away one leading
//! apostrophe, if there is one, and never has to guess. Fields are quoted whenever a reader with another separator
//! (`;` or tab) could see a field begin inside them.

use super::{Change, Writer, kind_name, when::Rfc3339};
use crate::LinkResult;
use std::fmt::Write;

const HEADER: [&str; 20] = [
    "id",
    "source",
    "line",
    "column",
    "ordinal",
    "kind",
    "element",
    "text",
    "raw",
    "target",
    "verdict",
    "reason",
    "detail",
    "status",
    "final_url",
    "redirects",
    "attempts",
    "total_ms",
    "checked_at",
    "job",
];

/// CSV keeps nothing.
pub(super) struct Csv;

impl Csv {
    pub fn begin(out: &mut String) -> Csv {
        let mut row = Row::new(out);
        for name in HEADER {
            row.text(name);
        }
        row.end();
        Csv
    }
}

impl Writer for Csv {
    fn push(&mut self, result: &LinkResult, _: Option<Change>, out: &mut String) {
        let mut row = Row::new(out);
        row.number(Some(result.id));
        row.text(result.source.as_deref().unwrap_or(""));
        row.number(Some(u64::from(result.line)));
        row.number(Some(u64::from(result.column)));
        row.number(Some(u64::from(result.ordinal)));
        row.text(&kind_name(result));
        row.text(&result.element);
        row.text(&result.text);
        row.text(&result.raw);
        row.text(&result.target);
        row.text(result.verdict.map_or("", |verdict| verdict.name()));
        row.text(&result.reason);
        row.text(&result.detail);
        row.number(result.status.map(u64::from));
        row.text(result.final_url.as_deref().unwrap_or(""));
        row.number(Some(result.redirects.len() as u64));
        row.number(Some(u64::from(result.attempts)));
        row.number(Some(u64::from(result.timings.total_ms)));
        let checked_at = result.checked_at.map(|at| Rfc3339(at).to_string());
        row.text(checked_at.as_deref().unwrap_or(""));
        row.text(&result.job.to_string());
        row.end();
    }

    fn finish(&mut self, _: &mut String) {}
}

/// A line being written.
struct Row<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl Row<'_> {
    fn new(out: &mut String) -> Row<'_> {
        let is_empty = true;
        Row { out, is_empty }
    }

    fn text(&mut self, field: &str) {
        self.separate();
        let must_guard = field.starts_with([
            '=', '+', '-', '@', '\t', '\r', '\n', '\'', '＝', '＋', '－', '＠',
        ]);
        let must_quote = |c: char| matches!(c, ',' | '"' | ';') || c.is_control();
        if !field.contains(must_quote) {
            if must_guard {
                self.out.push('\'');
            }
            self.out.push_str(field);
            return;
        }
        self.out.push('"');
        if must_guard {
            self.out.push('\'');
        }
        for c in field.chars() {
            if c == '"' {
                self.out.push('"');
            }
            self.out.push(c);
        }
        self.out.push('"');
    }

    /// A number has no sign, so nobody takes it for a formula.
    fn number(&mut self, field: Option<u64>) {
        self.separate();
        if let Some(field) = field {
            // Writing to a String does not fail.
            let _ = write!(self.out, "{field}");
        }
    }

    fn separate(&mut self) {
        if !self.is_empty {
            self.out.push(',');
        }
        self.is_empty = false;
    }

    fn end(self) {
        self.out.push_str("\r\n");
    }
}
