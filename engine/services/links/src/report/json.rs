//! JSON (RFC 8259): an object `{"job": ..., "results": [...]}`, one result a line, with a member `comparison` between
//! them where there is one; and JSON Lines, results alone.
//!
//! Members are those of [`CheckJob`], [`Comparison`](super::Comparison) and [`LinkResult`]. Times are texts of RFC 3339. Ids of results are 64-bit numbers,
//! which can be greater than what JavaScript holds exactly.

use super::{Change, ReportOptions, Writer};
use crate::{CheckJob, LinkResult};
use serde::Serialize;

/// The array's results so far.
pub(super) struct Json {
    is_empty: bool,
}

impl Json {
    pub fn begin(job: &CheckJob, options: &ReportOptions, out: &mut String) -> Json {
        out.push_str("{\"job\":");
        encode(job, out);
        if let Some(comparison) = &options.comparison {
            out.push_str(",\"comparison\":");
            encode(comparison, out);
        }
        out.push_str(",\"results\":[");
        Json { is_empty: true }
    }
}

impl Writer for Json {
    fn push(&mut self, result: &LinkResult, _: Option<Change>, out: &mut String) {
        out.push_str(if self.is_empty { "\n" } else { ",\n" });
        self.is_empty = false;
        encode(result, out);
    }

    fn finish(&mut self, out: &mut String) {
        out.push_str("\n]}\n");
    }
}

/// One result a line.
pub(super) struct JsonLines;

impl Writer for JsonLines {
    fn push(&mut self, result: &LinkResult, _: Option<Change>, out: &mut String) {
        encode(result, out);
        out.push('\n');
    }

    fn finish(&mut self, _: &mut String) {}
}

/// Appends `value` as JSON on one line.
pub(super) fn encode(value: &impl Serialize, out: &mut String) {
    // Our own types, without maps whose keys are no texts, into memory: it cannot fail.
    out.push_str(&serde_json::to_string(value).expect("plain data encodes as JSON"));
}
