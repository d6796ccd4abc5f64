//! `cargo xtask lint`: what the compiler does not know about the house.
//!
//! Formatting and clippy are cargo's; the rest is ours. [`floors`] reads `cargo metadata` and knows which room may
//! build on which, [`source`] reads the code and knows what must come from the `Host`, [`conventions`] reads the
//! folders. `clippy.toml` bans the same calls one by one, where types are known; the source scan bans whole modules,
//! and cannot be lifted by an `allow`.

pub mod conventions;
pub mod floors;
pub mod source;
pub mod tokens;

use crate::{Output, Verdict, XtaskError, cargo};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Check formatting, clippy, the floors between rooms and the conventions of the source
///
/// Floors come from `cargo metadata`: which room may build on which, and what must not be in whose tree. The source of
/// the engine and of the simulator may not touch files, sockets, threads, clocks or chance but through the `Host`.
/// Every finding names its place, its rule and what to do instead.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Leave clippy out, which has to check the whole workspace first
    #[arg(long)]
    pub quick: bool,
    /// Print one JSON document instead of lines for a person
    #[arg(long)]
    pub json: bool,
}

/// Something that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file, relative to the workspace's root.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: usize,
    /// Which rule it breaks.
    pub rule: &'static str,
    /// What is wrong.
    pub problem: String,
    /// What to do instead.
    pub instead: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            file,
            line,
            rule,
            problem,
            instead,
        } = self;
        let file = file.display();
        write!(f, "{file}:{line}: [{rule}] {problem}; {instead}")
    }
}

/// What the whole command found, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    passed: bool,
    /// Cargo's own checks: which ran, and whether each passed. What they found is on standard error.
    cargo: Vec<(&'static str, bool)>,
    findings: Vec<Finding>,
}

/// Runs the command.
pub fn run(root: &Path, arguments: &Arguments) -> Result<Verdict, XtaskError> {
    let output = Output::of(arguments.json);
    let spinner = output.spinner("floors, source and conventions");
    let findings = findings(root)?;
    spinner.finish_and_clear();
    if output == Output::Text {
        findings.iter().for_each(|finding| println!("{finding}"));
    }
    // In the selections in which everything is built: another one would check all dependencies once more.
    let clippy = |selection: &[&'static str]| {
        let flags = ["--all-targets", "--", "-D", "warnings"];
        [&["clippy"], selection, &flags].concat()
    };
    let mut checks = vec![vec!["fmt", "--all", "--check"]];
    if !arguments.quick {
        checks.extend([clippy(&cargo::ENGINE), clippy(&cargo::TOOLS)]);
    }
    let mut results = Vec::new();
    for check in checks {
        output.note(&format!("cargo {}", check.join(" ")));
        let status = cargo::command(root)
            .args(&check)
            .stdout(std::io::stderr())
            .status()
            .map_err(XtaskError::io("start cargo"))?;
        results.push((check[0], status.success()));
    }
    let report = Report {
        passed: findings.is_empty() && results.iter().all(|(_, passed)| *passed),
        cargo: results,
        findings,
    };
    match output {
        Output::Json => println!("{}", crate::json(&report)),
        Output::Text => println!("{}", closing(&report)),
    }
    Ok(Verdict::of(report.passed))
}

fn closing(report: &Report) -> String {
    let mut words = vec![match report.findings.len() {
        0 => "floors, source and conventions: passed".to_string(),
        n => format!("floors, source and conventions: {n} findings"),
    }];
    for (name, passed) in &report.cargo {
        let verdict = if *passed {
            "passed"
        } else {
            "FAILED, see above"
        };
        words.push(format!("{name}: {verdict}"));
    }
    format!("lint: {}", words.join("; "))
}

/// Everything but cargo's own checks, sorted by file and line.
pub fn findings(root: &Path) -> Result<Vec<Finding>, XtaskError> {
    let mut all = floors::check(root)?;
    all.extend(source::check(root)?);
    all.extend(conventions::check(root)?);
    all.sort();
    Ok(all)
}

/// The files under `dir` whose names end in one of `endings`, sorted, relative to `root`; build output and hidden
/// folders are left out.
fn files(root: &Path, dir: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, XtaskError> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(dir)];
    while let Some(folder) = folders.pop() {
        let what = || format!("list {}", folder.display());
        for entry in std::fs::read_dir(&folder).map_err(XtaskError::io(what()))? {
            let entry = entry.map_err(XtaskError::io(what()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(XtaskError::io(what()))?;
            if kind.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(entry.path());
            } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
                let path = entry.path();
                let relative = path
                    .strip_prefix(root)
                    .expect("it was found under the root");
                found.push(relative.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(root: &Path, file: &Path) -> Result<String, XtaskError> {
    std::fs::read_to_string(root.join(file))
        .map_err(XtaskError::io(format!("read {}", file.display())))
}
