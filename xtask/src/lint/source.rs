//! What must come from the `Host` and not from the operating system, a runtime or chance.
//!
//! Paths are matched word by word, inside `use` trees too; comments, literals and test code are not looked at.

use super::tokens::{Token, tokens};
use super::{Finding, files, read};
use crate::XtaskError;
use std::path::{Path, PathBuf};

/// Words of a path that are banned, and what to use instead.
const BANNED: [(&[&str], &str); 20] = [
    (&["std", "fs"], FILES),
    (&["tokio", "fs"], FILES),
    (&["std", "net"], "use the `Host`'s network"),
    (&["tokio", "net"], "use the `Host`'s network"),
    (&["std", "thread"], TASKS),
    (&["tokio", "spawn"], TASKS),
    (&["tokio", "task", "spawn"], TASKS),
    (&["tokio", "task", "spawn_blocking"], TASKS),
    (&["tokio", "task", "spawn_local"], TASKS),
    (&["Instant", "now"], "use `Host::now`"),
    (&["SystemTime", "now"], "use `Host::unix_time`"),
    (&["tokio", "time"], "use `Host::sleep` or `Host::timeout`"),
    (&["thread_rng"], CHANCE),
    (&["rand", "rng"], CHANCE),
    (&["rand", "random"], CHANCE),
    (&["from_os_rng"], CHANCE),
    (&["from_entropy"], CHANCE),
    (&["OsRng"], CHANCE),
    (&["getrandom"], CHANCE),
    (
        &["RandomState"],
        "use `BTreeMap`, or a hasher with a fixed key: the order must be the seed's",
    ),
];
/// What makes a text that was put together at run time pass for one of the program, as SQL statements have to be.
const LEAKS: [&str; 2] = ["leak", "transmute"];
/// Where statements are written.
const STATEMENTS: [&str; 3] = [
    "engine/services",
    "engine/node",
    "engine/replication/tables",
];
/// What is only data in modules that are banned otherwise.
const DATA: [&str; 8] = [
    "AddrParseError",
    "IpAddr",
    "Ipv4Addr",
    "Ipv6Addr",
    "Shutdown",
    "SocketAddr",
    "SocketAddrV4",
    "SocketAddrV6",
];
const FILES: &str = "use the `Disk` that `Host::blocking` hands out";
const TASKS: &str = "use `Host::spawn` or `Host::blocking`";
const CHANCE: &str = "use the `Host`'s entropy, or a generator that is handed in";

/// Where a ban does not hold: the beginning of a file's path, the ban (`*` for all), and why.
const LIFTED: [(&str, &str); 10] = [
    // The host on an operating system: where all of it has to be, so that it is nowhere else.
    ("engine/host/src/tokio_host", "*"),
    // Builds the runtime, the host and the signals around a node; no simulation runs it.
    ("engine/node/src/production.rs", "*"),
    ("engine/node/src/main.rs", "*"),
    // Hyper's timer trait speaks of `Instant`: the anchor between its time and the host's.
    ("engine/http/src/rt.rs", "Instant::now"),
    ("engine/http/src/rt.rs", "Instant::now"),
    // A run needs a thread of its own, whose hash maps madsim can seed.
    ("sim/src/full/run.rs", "std::thread"),
    // Stands in for the system call that asks the kernel for entropy.
    ("sim/src/full/entropy.rs", "getrandom"),
    // Reads a plan for `--replay`, before anything is simulated.
    ("sim/src/plan/mod.rs", "std::fs"),
    // The worker reads plans and writes timelines.
    ("scenarios/src/bin", "*"),
    // The benchmarks measure real time on a real disk.
    ("scenarios/benches", "*"),
];

/// Checks the engine, the simulator and the scenarios of the workspace at `root`.
pub fn check(root: &Path) -> Result<Vec<Finding>, XtaskError> {
    let mut findings = Vec::new();
    for room in ["engine", "sim", "scenarios"] {
        if !root.join(room).is_dir() {
            continue;
        }
        let mut sources = Vec::new();
        for file in files(root, Path::new(room), &[".rs"])? {
            if !is_beside_sources(&file) {
                let source = read(root, &file)?;
                sources.push((file, source));
            }
        }
        let tests: Vec<PathBuf> = sources
            .iter()
            .flat_map(|(file, source)| test_modules(file, source))
            .collect();
        for (file, source) in &sources {
            if !tests.iter().any(|test| belongs_to(file, test)) {
                findings.extend(check_file(file, source));
            }
        }
    }
    Ok(findings)
}

/// Whether a file is a test or a benchmark of cargo's: in a folder of that name beside `src`. Inside `src` a name says
/// nothing.
fn is_beside_sources(file: &Path) -> bool {
    let has = |name: &str| file.components().any(|part| part.as_os_str() == name);
    !has("src") && (has("tests") || has("benches"))
}

/// The modules that `file` declares under `#[cfg(test)]` and keeps in files of their own: each as the path of its file,
/// without the ending.
fn test_modules(file: &Path, source: &str) -> Vec<PathBuf> {
    let stem = file.file_stem().unwrap_or_default();
    let is_root = ["lib", "main", "mod"].iter().any(|name| stem == *name);
    let folder = match is_root {
        true => file.parent().unwrap_or(Path::new("")).to_path_buf(),
        false => file.with_extension(""),
    };
    let tokens = tokens(source);
    let mut modules = Vec::new();
    for at in 0..tokens.len() {
        let Some(behind) = behind_marker(&tokens, at) else {
            continue;
        };
        let word = |i: usize| tokens.get(behind + i).map_or("", |token| token.text);
        if word(0) == "mod" && word(2) == ";" {
            modules.push(folder.join(word(1)));
        }
    }
    modules
}

/// Whether `file` is the module at `module` or inside it.
fn belongs_to(file: &Path, module: &Path) -> bool {
    file.with_extension("") == module || file.starts_with(module)
}

/// Checks one file.
pub fn check_file(file: &Path, source: &str) -> Vec<Finding> {
    let finding = |line, problem, instead: &str| Finding {
        file: file.to_path_buf(),
        line,
        rule: "host",
        problem,
        instead: instead.to_string(),
    };
    let tokens = without_tests(tokens(source));
    let mut findings: Vec<Finding> = Vec::new();
    for path in paths(&tokens) {
        if path.ends_with(&["tokio", "select"])
            && tokens.get(path.end).is_some_and(|t| t.text == "!")
        {
            let first = tokens.get(path.end + 2).map(|t| t.text);
            if first != Some("biased") {
                let problem = "`tokio::select!` polls in random order".to_string();
                findings.push(finding(path.line, problem, "begin it with `biased;`"));
            }
        }
        let writes_sql = STATEMENTS.iter().any(|place| file.starts_with(place));
        if let Some(leak) = LEAKS.iter().find(|leak| path.ends_with(&[*leak]))
            && writes_sql
        {
            let instead =
                "an SQL statement is a text of the program; what comes at run time is bound";
            findings.push(finding(path.line, format!("`{leak}`"), instead));
        }
        for (words, instead) in BANNED {
            if path.contains(words) && !is_lifted(file, words) {
                findings.push(finding(
                    path.line,
                    format!("`{}`", words.join("::")),
                    instead,
                ));
            }
        }
    }
    findings.dedup();
    findings
}

fn is_lifted(file: &Path, words: &[&str]) -> bool {
    let ban = words.join("::");
    let here = |(place, lifted): &(&str, &str)| {
        file.starts_with(place) && [ban.as_str(), "*"].contains(lifted)
    };
    LIFTED.iter().any(here)
}

/// Drops every item under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if let Some(behind) = behind_marker(&tokens, at) {
            at = item_end(&tokens, behind);
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

/// Where the item begins whose `#[cfg(test)]` begins at `at`.
fn behind_marker(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let here = tokens[at..].iter().map(|token| token.text);
    here.take(marker.len())
        .eq(marker)
        .then_some(at + marker.len())
}

/// The index behind the item that begins at `at`: behind its `;` or its block.
fn item_end(tokens: &[Token<'_>], at: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(at) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" {
                    return i + 1;
                }
            }
            ";" if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// A path such as `std::fs::File`, with what stands before it in a `use` tree.
#[derive(Debug)]
struct CodePath<'a> {
    words: Vec<&'a str>,
    line: usize,
    /// The index of the token behind it.
    end: usize,
}

impl CodePath<'_> {
    /// Whether `words` occur in it, one after the other, and are not followed by the name of mere data.
    fn contains(&self, words: &[&str]) -> bool {
        let mut windows = self.words.windows(words.len()).enumerate();
        windows.any(|(i, window)| {
            let next = self.words.get(i + words.len());
            window == words && !next.is_some_and(|name| DATA.contains(name))
        })
    }

    fn ends_with(&self, words: &[&str]) -> bool {
        self.words.ends_with(words)
    }
}

/// All paths of a file, those of `use a::{b, c::d}` as `a::b` and `a::c::d`.
fn paths<'a>(tokens: &[Token<'a>]) -> Vec<CodePath<'a>> {
    let mut found = Vec::new();
    // For every open brace, the path it continues.
    let mut trees: Vec<Vec<&'a str>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at];
        match token.text {
            "{" => trees.push(Vec::new()),
            "}" => drop(trees.pop()),
            text if text.starts_with(|c: char| c == '_' || c.is_alphabetic()) => {
                let mut words = trees.last().cloned().unwrap_or_default();
                words.push(text);
                let next = |i: usize| tokens.get(i).map_or("", |t| t.text);
                while next(at + 1) == "::"
                    && next(at + 2).starts_with(|c: char| c == '_' || c.is_alphabetic())
                {
                    words.push(tokens[at + 2].text);
                    at += 2;
                }
                if next(at + 1) == "::" && next(at + 2) == "{" {
                    trees.push(words);
                    at += 2;
                } else {
                    found.push(CodePath {
                        words,
                        line: token.line,
                        end: at + 1,
                    });
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}
