//! How each checker is started, and how it says what it found.

use super::process::{self, Usage};
use crate::measure::Result;
use holdfast_scenarios::web::resolve;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A link checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checker {
    /// `engine links check`.
    Ours,
    /// lychee, given the list of pages: it does not follow links.
    Lychee,
    /// linkchecker, given the root.
    Linkchecker,
}

/// What to check.
pub struct Task<'a> {
    /// Where to begin.
    pub root: &'a str,
    /// A file with every page's URL on a line.
    pub pages: &'a Path,
    /// A certificate to trust, in PEM.
    pub authority: &'a Path,
    /// Where to leave files.
    pub folder: &'a Path,
}

/// What came of a run.
pub struct Done {
    /// Targets that it called broken.
    pub broken: Vec<String>,
    /// What it used.
    pub usage: Usage,
}

/// A link as `engine links check --json` tells of it, in the array `results` of its document.
#[derive(Debug, Deserialize)]
struct Finding {
    target: String,
    verdict: String,
}

/// The document of `engine links check --json`, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Findings {
    results: Vec<Finding>,
}

/// Verdicts of ours that call for a repair.
const BROKEN: [&str; 5] = [
    "dead",
    "fragment_missing",
    "soft404",
    "redirect_loop",
    "tls_problem",
];

impl Checker {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Checker::Ours => "holdfast",
            Checker::Lychee => "lychee",
            Checker::Linkchecker => "linkchecker",
        }
    }

    /// What a reader must know of how it ran.
    pub fn note(self) -> &'static str {
        match self {
            Checker::Ours => {
                "crawls from the root; --per-host 64 --timeout 5s --retries 2 --retry-after 250ms"
            }
            Checker::Lychee => {
                "does not crawl: given the list of all pages, each of which it asks for as input and as a link; \
                 --include-fragments=anchor-only --max-concurrency 128 --host-concurrency 128 \
                 --host-request-interval 0ms --timeout 5 --max-retries 2 --retry-wait-time 1"
            }
            Checker::Linkchecker => {
                "crawls from the root; AnchorCheck on, checkextern, 10 threads, timeout 5, no limit of its rate"
            }
        }
    }

    /// Its name and version.
    pub fn version(self, program: &Path) -> Result<String> {
        let output = Command::new(program).arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        let version = text.split_whitespace().find(is_number).unwrap_or("");
        Ok(format!("{} {version}", self.name()).trim_end().to_string())
    }

    /// Runs it.
    pub fn run(self, program: &Path, task: &Task<'_>) -> Result<Done> {
        let output = task.folder.join(format!("{}.out", self.name()));
        let errors = task.folder.join(format!("{}.err", self.name()));
        let _ = std::fs::remove_file(&output);
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?)
            .env("SSL_CERT_FILE", task.authority);
        match self {
            Checker::Ours => {
                command.args(["links", "check", task.root, "--json", "--quiet"]);
                command.args(["--per-host", "64", "--timeout", "5s"]);
                command.args(["--retries", "2", "--retry-after", "250ms"]);
                command.stdout(File::create(&output)?);
            }
            Checker::Lychee => {
                command.args(["--no-progress", "--format", "json"]);
                command.args(["--include-fragments=anchor-only", "--timeout", "5"]);
                command.args(["--max-retries", "2", "--retry-wait-time", "1"]);
                command.args(["--max-concurrency", "128", "--host-concurrency", "128"]);
                command.args(["--host-request-interval", "0ms"]);
                command.arg("--output").arg(&output);
                command.arg("--files-from").arg(task.pages);
            }
            Checker::Linkchecker => {
                let config = task.folder.join("linkcheckerrc");
                let authority = task.authority.display();
                let text = format!(
                    "[checking]\nmaxrequestspersecond=100000\nthreads=10\ntimeout=5\nsslverify={authority}\n\
                     [filtering]\ncheckextern=1\n[AnchorCheck]\n"
                );
                std::fs::write(&config, text)?;
                command.arg("--config").arg(config);
                command.args(["--no-status", "--output", "none"]);
                let file = format!("csv/utf-8/{}", output.display());
                command.arg(format!("--file-output={file}")).arg(task.root);
            }
        }
        let usage = process::run(&mut command, PATIENCE)?;
        // What a checker finds is told by its exit code, too; whether it worked, by whether there is a document.
        let broken = std::fs::read_to_string(&output)
            .map_err(Into::into)
            .and_then(|text| self.read(&text));
        let broken = broken.map_err(|error| {
            let words = std::fs::read_to_string(&errors).unwrap_or_default();
            let first = words.trim().lines().next().unwrap_or_default();
            format!("it did not say what it found ({error}): {first}")
        })?;
        Ok(Done { broken, usage })
    }

    /// The targets that a document calls broken.
    fn read(self, text: &str) -> Result<Vec<String>> {
        match self {
            Checker::Ours => ours(text),
            Checker::Lychee => lychee(text),
            Checker::Linkchecker => linkchecker(text),
        }
    }
}

fn ours(text: &str) -> Result<Vec<String>> {
    let document: Findings = serde_json::from_str(text)?;
    let broken = document.results.into_iter();
    let broken = broken.filter(|link| BROKEN.contains(&link.verdict.as_str()));
    Ok(broken.map(|link| link.target).collect())
}

fn lychee(text: &str) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Document {
        error_map: BTreeMap<String, Vec<Entry>>,
        #[serde(default)]
        timeout_map: BTreeMap<String, Vec<Entry>>,
    }
    #[derive(Deserialize)]
    struct Entry {
        url: String,
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        text: String,
    }
    let document: Document = serde_json::from_str(text)?;
    let maps = document
        .error_map
        .into_values()
        .chain(document.timeout_map.into_values());
    let targets = maps.flatten().map(|entry| match entry.url.as_str() {
        // What is no URL is quoted in the message only.
        "error:" => {
            let quoted = entry.status.text.split('"').nth(1);
            quoted.unwrap_or(&entry.status.text).to_string()
        }
        _ => entry.url,
    });
    Ok(targets.collect::<BTreeSet<String>>().into_iter().collect())
}

fn linkchecker(text: &str) -> Result<Vec<String>> {
    let mut rows = rows_of(text).into_iter();
    let head = rows.next().ok_or("there is no head")?;
    let column = |name: &str| {
        let found = head.iter().position(|column| column == name);
        found.ok_or(format!("there is no column {name}"))
    };
    let (written, parent, base) = (column("urlname")?, column("parentname")?, column("base")?);
    let (valid, warning) = (column("valid")?, column("warningstring")?);
    let mut broken = BTreeSet::new();
    for row in rows.filter(|row| row.len() == head.len()) {
        if row[valid] == "False" || row[warning].contains("Anchor") {
            // Its column `url` names where redirects led to: what the page says counts.
            let page = if row[base].is_empty() { parent } else { base };
            broken.insert(match row[page].is_empty() {
                true => row[written].clone(),
                false => resolve(&row[page], &row[written]),
            });
        }
    }
    Ok(broken.into_iter().collect())
}

/// Rows of values that semicolons separate and quotation marks may enclose; comments left out.
fn rows_of(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut value) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let lines = text.split_inclusive('\n');
    let lines = lines.filter(|line| !line.starts_with("# "));
    let characters: Vec<char> = lines.flat_map(str::chars).collect();
    for (i, c) in characters.iter().enumerate() {
        match c {
            '"' => {
                // Two of them within quotes are one: a quotation ends and begins again.
                if !quoted && i > 0 && characters[i - 1] == '"' {
                    value.push('"');
                }
                quoted = !quoted;
            }
            ';' if !quoted => row.push(std::mem::take(&mut value)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut value));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            c => value.push(*c),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ours_calls_broken_is_read() {
        let text = r#"{"results": [{"source": "http://a/", "target": "http://a/x", "verdict": "dead"},
            {"source": "http://a/", "target": "http://a/y", "verdict": "alive"}]}"#;
        assert_eq!(ours(text).unwrap(), ["http://a/x"]);
        assert!(ours("error: no such command").is_err());
    }

    #[test]
    fn lychee_quotes_what_is_no_url_in_its_message() {
        let text = r#"{"error_map": {"http://a/": [
            {"url": "error:", "status": {"text": "Error building URL for \"http://[b/\" (Attribute)"}},
            {"url": "http://a/x", "status": {"text": "404", "code": 404}}]}}"#;
        assert_eq!(lychee(text).unwrap(), ["http://[b/", "http://a/x"]);
    }

    #[test]
    fn rows_of_linkchecker_may_hold_quotes_and_line_ends() {
        let text = "# comment\nurlname;parentname;base;valid;warningstring\n\
                    \"a;b\";;;False;\n#y;http://a/;;True;\"Anchor \"\"y\"\"\nnot found\"\nz;http://a/;;True;\n\
                    x;http://a/b;http://a/c/;False;\n# end\n";
        let broken = ["a;b", "http://a/#y", "http://a/c/x"];
        assert_eq!(linkchecker(text).unwrap(), broken);
    }
}
