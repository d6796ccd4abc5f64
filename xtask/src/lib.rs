//! What a developer does with Holdfast, as commands: `cargo xtask simulate | bugs | test | lint | bench | fuzz`.
//!
//! The tools link the reports (polars) and know the engine only as binaries that they build and run: editing a protocol
//! rebuilds the worker, never this. Nothing here is shipped. The types that matter are [`worker::Worker`], which turns
//! processes into records and survives their deaths, and [`lint::Finding`], which says what is wrong, where, and what
//! to do instead.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tools on a developer's machine: they start processes and write files, and no simulator ever runs them"
)]

pub mod bench;
pub mod bugs;
pub mod cargo;
pub mod clients;
pub mod crew;
pub mod fuzz;
pub mod lint;
pub mod simulate;
pub mod test;
pub mod tools;
pub mod worker;

use std::path::PathBuf;

/// What a command came to, if it could do its work at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is well.
    Passed,
    /// It found what it looks for: a broken property, a failing test, a finding.
    Failed,
}

impl Verdict {
    /// The verdict over something that has passed or not.
    pub fn of(passed: bool) -> Self {
        if passed {
            Verdict::Passed
        } else {
            Verdict::Failed
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum XtaskError {
    /// What was asked for makes no sense; says what would.
    #[error("{0}")]
    Usage(String),
    /// A process could not be started, or a file not be read or written.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done, e.g. `write reports/runs/x/summary.json`.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Cargo did not build what is needed; it has said why.
    #[error("cargo could not build {0}")]
    Build(String),
    /// The worker did not keep to the protocol of `holdfast_record::worker`, or gave up.
    #[error("the worker `{command}` {problem}")]
    Worker {
        /// Its command line.
        command: String,
        /// What was wrong, with its last words.
        problem: String,
    },
    /// `cargo metadata` failed.
    #[error("{0}")]
    Metadata(#[from] cargo_metadata::Error),
    /// A report could not be made.
    #[error("{0}")]
    Report(#[from] holdfast_reports::ReportError),
}

impl XtaskError {
    /// Wraps an I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> XtaskError {
        let what = what.into();
        move |source| XtaskError::Io { what, source }
    }
}

/// The root of the workspace that contains the current directory.
pub fn workspace_root() -> Result<PathBuf, XtaskError> {
    let here = std::env::current_dir().map_err(XtaskError::io("tell the current directory"))?;
    here.ancestors()
        .find(|dir| dir.join("xtask/Cargo.toml").is_file() && dir.join("engine").is_dir())
        .map(PathBuf::from)
        .ok_or_else(|| XtaskError::Usage(format!("{} is not inside the workspace", here.display())))
}

/// How a command tells what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Tables for a person, progress on standard error.
    Text,
    /// One JSON document on standard output and nothing else.
    Json,
}

impl Output {
    /// The output that a `--json` switch asks for.
    pub fn of(json: bool) -> Self {
        if json { Output::Json } else { Output::Text }
    }

    /// A progress bar over `length` steps, on standard error; invisible unless a person watches a terminal.
    pub fn bar(self, length: u64, what: &str) -> indicatif::ProgressBar {
        use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
        let target = match self {
            Output::Text => ProgressDrawTarget::stderr(),
            Output::Json => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template(
            "{prefix:<28} {bar:32} {human_pos}/{human_len}  {elapsed} (left {eta})  {msg}",
        )
        .expect("a well-formed template");
        ProgressBar::with_draw_target(Some(length), target)
            .with_style(style)
            .with_prefix(what.to_string())
    }

    /// Says what is being done and for how long already, on standard error, where nobody can tell how long it will take;
    /// invisible unless a person watches a terminal. Gone when the bar is dropped or finished.
    pub fn spinner(self, what: &str) -> indicatif::ProgressBar {
        use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
        let target = match self {
            Output::Text => ProgressDrawTarget::stderr(),
            Output::Json => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}")
            .expect("a well-formed template");
        let bar = ProgressBar::with_draw_target(None, target)
            .with_style(style)
            .with_prefix(what.to_string())
            .with_finish(indicatif::ProgressFinish::AndClear);
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        bar
    }

    /// Prints a line for a person, on standard error.
    pub fn note(self, line: &str) {
        if self == Output::Text {
            eprintln!("{line}");
        }
    }
}

/// What `--json` prints.
pub fn json<T: serde::Serialize>(document: &T) -> String {
    serde_json::to_string_pretty(document).expect("documents have texts for keys")
}
