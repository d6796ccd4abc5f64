//! Where things are, how long a file may be, and what every manifest says.

use super::{Finding, files, read};
use crate::XtaskError;
use std::path::{Path, PathBuf};

/// The longest file of source, in lines.
pub const LONGEST_FILE: usize = 800;

/// What there may be at the top, beside files and folders whose names begin with a dot.
const TOP: [&str; 12] = [
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "engine",
    "fixtures",
    "reports",
    "scenarios",
    "sim",
    "xtask",
];
/// What is there and not in the repository.
const IGNORED: [&str; 2] = ["target", "holdfast-data"];
/// The folders that hold what we wrote.
const ROOMS: [&str; 5] = ["engine", "reports", "scenarios", "sim", "xtask"];

/// Checks the workspace at `root`.
pub fn check(root: &Path) -> Result<Vec<Finding>, XtaskError> {
    let mut findings = top(root)?;
    for room in ROOMS.iter().filter(|room| root.join(room).is_dir()) {
        for file in files(root, Path::new(room), &[".rs", ".js", ".css", ".html"])? {
            // Pages of earlier runs are not source.
            if !file.starts_with("reports/runs") {
                findings.extend(length(&file, &read(root, &file)?));
            }
        }
        for file in files(root, Path::new(room), &["Cargo.toml"])? {
            findings.extend(manifest(&file, &read(root, &file)?));
        }
    }
    Ok(findings)
}

fn top(root: &Path) -> Result<Vec<Finding>, XtaskError> {
    let what = || format!("list {}", root.display());
    let mut there = Vec::new();
    for entry in std::fs::read_dir(root).map_err(XtaskError::io(what()))? {
        let entry = entry.map_err(XtaskError::io(what()))?;
        there.push(entry.file_name().to_string_lossy().into_owned());
    }
    let finding = |name: &str, problem: &str, instead: String| Finding {
        file: PathBuf::from(name),
        line: 1,
        rule: "top-level",
        problem: problem.to_string(),
        instead,
    };
    let unknown = |name: &&String| {
        !name.starts_with('.') && !TOP.contains(&name.as_str()) && !IGNORED.contains(&name.as_str())
    };
    let mut findings = Vec::new();
    for name in there.iter().filter(unknown) {
        let instead = "put it into the room that it belongs to (see ARCHITECTURE.md)".to_string();
        findings.push(finding(name, "nothing else belongs at the top", instead));
    }
    for name in TOP.iter().filter(|name| !there.iter().any(|n| n == *name)) {
        let instead = "bring it back, or change the drawing and this rule".to_string();
        findings.push(finding(name, "it is missing at the top", instead));
    }
    Ok(findings)
}

fn length(file: &Path, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    (lines > LONGEST_FILE).then(|| Finding {
        file: file.to_path_buf(),
        line: LONGEST_FILE + 1,
        rule: "file-length",
        problem: format!("{lines} lines, of {LONGEST_FILE} at most"),
        instead: "split it along what it does, and give each part a name".to_string(),
    })
}

/// Every package takes versions and lints from the workspace, where they are chosen once.
fn manifest(file: &Path, text: &str) -> Vec<Finding> {
    let finding = |line, problem: String, instead: &str| Finding {
        file: file.to_path_buf(),
        line,
        rule: "manifest",
        problem,
        instead: instead.to_string(),
    };
    let mut findings = Vec::new();
    let mut section = "";
    let mut has_lints = false;
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            continue;
        }
        let from_workspace = line.replace(' ', "").contains("workspace=true");
        if section == "lints" && from_workspace {
            has_lints = true;
        }
        let is_entry = line.contains('=') && !line.starts_with('#');
        if section.ends_with("dependencies") && is_entry && !from_workspace {
            let name = line.split(['=', '.', ' ']).next().unwrap_or(line);
            let instead = "add it to [workspace.dependencies] and say `workspace = true` here";
            findings.push(finding(
                i + 1,
                format!("the version of {name} is chosen here"),
                instead,
            ));
        }
    }
    if !has_lints {
        let instead = "add `[lints]` with `workspace = true`";
        findings.push(finding(
            1,
            "the workspace's lints do not hold here".into(),
            instead,
        ));
    }
    findings
}
