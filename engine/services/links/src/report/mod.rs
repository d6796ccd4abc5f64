//! What a job found, in the formats that people and programs read.
//!
//! Pure code: a [`Report`] is begun with a job, is told the job's results in order of their ids, and appends to a
//! `String` that the caller empties as it likes, into the body of a response for example. What a format needs beyond
//! the result at hand is bounded: JSON, JSON Lines, CSV, SARIF and text keep nothing but how often a target stood on
//! the page before, JUnit keeps the test cases of one suite, HTML keeps the groups that it will show.
//!
//! Nothing that comes from a checked site can change the form of a report: every format has its own escaping, see
//! the format's module.

mod compare;
mod csv;
mod escape;
mod format;
mod html;
mod json;
mod junit;
mod occurrences;
mod sarif;
mod text;
mod totals;
pub(crate) mod when;
mod words;

pub use compare::{Change, Comparison, ComparisonCounts, NotCompared};
pub use format::{Format, InvalidFormat};
pub(crate) use occurrences::fingerprint;
pub use totals::Totals;
pub use words::{Severity, meaning, severity, title};

use crate::{CheckJob, LinkResult};

/// What a report can be told besides the job and its results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportOptions {
    /// How many of the results have which verdict, if that is known before the first of them: JUnit then says at
    /// its top how many were skipped.
    pub totals: Option<Totals>,
    /// What changed since the job before, if there is one and this one has ended: JSON, HTML and text say it.
    pub comparison: Option<Comparison>,
    /// Whether text is coloured with escape sequences of ECMA-48 (`SGR`).
    pub colour: bool,
    /// Whether text lists broken links only, no warnings.
    pub only_broken: bool,
}

/// A report being written.
pub struct Report {
    format: Format,
    writer: Box<dyn Writer + Send>,
}

impl Report {
    /// Begins a report over `job` and appends what comes before the first result.
    pub fn begin(
        format: Format,
        job: &CheckJob,
        options: &ReportOptions,
        out: &mut String,
    ) -> Report {
        let writer: Box<dyn Writer + Send> = match format {
            Format::Json => Box::new(json::Json::begin(job, options, out)),
            Format::JsonLines => Box::new(json::JsonLines),
            Format::Csv => Box::new(csv::Csv::begin(out)),
            Format::Junit => Box::new(junit::Junit::begin(job, options, out)),
            Format::Sarif => Box::new(sarif::Sarif::begin(job, out)),
            Format::Html => Box::new(html::Html::begin(job, options)),
            Format::Text => Box::new(text::Text::begin(job, options, out)),
        };
        Report { format, writer }
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Appends a result. Results come in order of their ids, so that those of one page come together; in another
    /// order a page may have several sections.
    ///
    /// `change` says what changed since the job before, where that is known; HTML, SARIF and text show it.
    pub fn push(&mut self, result: &LinkResult, change: Option<Change>, out: &mut String) {
        self.writer.push(result, change, out);
    }

    /// Appends what comes after the last result. Without it the report is not well formed.
    pub fn finish(mut self, out: &mut String) {
        self.writer.finish(out);
    }

    /// A whole report, for results that are few.
    pub fn whole<'a>(
        format: Format,
        job: &CheckJob,
        options: &ReportOptions,
        results: impl IntoIterator<Item = &'a LinkResult>,
    ) -> String {
        let mut out = String::new();
        let mut report = Report::begin(format, job, options, &mut out);
        for result in results {
            report.push(result, None, &mut out);
        }
        report.finish(&mut out);
        out
    }
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// What every format does.
trait Writer {
    fn push(&mut self, result: &LinkResult, change: Option<Change>, out: &mut String);
    fn finish(&mut self, out: &mut String);
}

/// What stands for the page that start pages stand on.
const START_PAGES: &str = "start pages";

/// The page that a result's link stands on.
fn page_of(result: &LinkResult) -> &str {
    result.source.as_deref().unwrap_or(START_PAGES)
}

/// The name of a kind of link in serialised form.
fn kind_name(result: &LinkResult) -> String {
    match serde_json::to_value(result.kind) {
        Ok(serde_json::Value::String(name)) => name,
        // A unit variant is encoded as its name; should that change, the name in Rust says as much.
        _ => format!("{:?}", result.kind),
    }
}
