//! `cargo xtask test`: every test of the workspace, with what they need, and a count of what did not run.
//!
//! Tests that start the engine find it in `HOLDFAST_ENGINE`. A test that cannot run where it is appends a line to the
//! file that `HOLDFAST_SKIPS` names, and passes: what was skipped is told at the end, so that it cannot hide.

use crate::{Output, Verdict, XtaskError, cargo, clients, tools};
use serde::Serialize;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

/// The variable that tells tests where the binary `engine` is.
pub const ENGINE: &str = "HOLDFAST_ENGINE";
/// The variable that tells tests where to say what they skip, a line for each.
pub const SKIPS: &str = "HOLDFAST_SKIPS";

/// Clients that tests start; each finds its own in the variable that the client names.
const CLIENTS: [&clients::Client; 3] = [
    &clients::LYCHEE,
    &clients::LIBTORRENT,
    &clients::BITTORRENT_DHT,
];

/// Run every test of the workspace, with the binaries and tools that they need
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Tests that start the engine find it in HOLDFAST_ENGINE. A test that cannot run here says so in the file that
HOLDFAST_SKIPS names; skipped tests are listed and counted at the end.")]
pub struct Arguments {
    /// Run only tests whose names contain this
    pub filter: Option<String>,
    /// Print one JSON document; what tests print goes to standard error
    #[arg(long)]
    pub json: bool,
}

/// What the whole command came to, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    passed: bool,
    #[serde(flatten)]
    tally: &'a Tally,
    /// Parts whose tests did not build, or whose test process died.
    broken: &'a [&'a str],
    /// What did not run here, and why.
    skipped: &'a [String],
}

/// What tests came to, as their output tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many passed.
    #[serde(rename = "passed_tests")]
    pub passed: u64,
    /// How many failed.
    #[serde(rename = "failed_tests")]
    pub failed: u64,
    /// How many are marked `#[ignore]`.
    #[serde(rename = "ignored_tests")]
    pub ignored: u64,
    /// Those that failed.
    pub failures: Vec<String>,
}

impl Tally {
    /// Takes in a line of a test binary's output.
    pub fn read(&mut self, line: &str) {
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|l| l.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_string());
        }
        let Some(counts) = line.strip_prefix("test result: ") else {
            return;
        };
        for count in counts.split(['.', ';']) {
            let mut words = count.split_whitespace();
            if let (Some(Ok(number)), Some(what)) =
                (words.next().map(str::parse::<u64>), words.next())
            {
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.ignored += number,
                    _ => {}
                }
            }
        }
    }
}

/// Runs the command.
pub fn run(root: &Path, arguments: &Arguments) -> Result<Verdict, XtaskError> {
    let output = Output::of(arguments.json);
    let missing = tools::provide(&tools::TOOLS, output)?;
    let mut places = Vec::new();
    let mut absent = Vec::new();
    for client in CLIENTS {
        match clients::ensure(root, client, output)? {
            Some(program) => places.push((client.variable, program)),
            None => absent.push(client),
        }
    }
    // `seeds` too: that the worker builds is worth a test, and whoever runs tests runs seeds next.
    let binaries = cargo::build(root, &["engine", "seeds"], output)?;
    let skips = root.join("target/skipped-tests.txt");
    let what = format!("write {}", skips.display());
    std::fs::write(&skips, "").map_err(XtaskError::io(what))?;

    let mut tally = Tally::default();
    let mut broken = Vec::new();
    for (name, selection) in [("engine", &cargo::ENGINE[..]), ("tools", &cargo::TOOLS[..])] {
        let mut command = cargo::command(root);
        command.args(["test", "--no-fail-fast"]).args(selection);
        command.args(&arguments.filter);
        command.env(ENGINE, &binaries["engine"]).env(SKIPS, &skips);
        command.envs(places.iter().map(|(variable, program)| (variable, program)));
        let before = tally.failed;
        let succeeded = follow(&mut command, &mut tally, output)?;
        if !succeeded && tally.failed == before {
            broken.push(name);
        }
    }
    let skipped = std::fs::read_to_string(&skips)
        .map_err(XtaskError::io(format!("read {}", skips.display())))?;
    let mut skipped: Vec<String> = skipped.lines().map(without_prefix).collect();
    for tool in missing {
        let line = format!(
            "{} is missing, and cannot be installed here: {}",
            tool.program, tool.needed_for
        );
        skipped.push(line);
    }
    for client in absent {
        let line = format!(
            "{} is missing, and cannot be installed here: {}",
            client.program, client.needed_for
        );
        skipped.push(line);
    }
    let passed = tally.failed == 0 && broken.is_empty();
    match output {
        Output::Text => print!("{}", closing(&tally, &broken, &skipped)),
        Output::Json => {
            let report = Report {
                passed,
                tally: &tally,
                broken: &broken,
                skipped: &skipped,
            };
            println!("{}", crate::json(&report));
        }
    }
    Ok(Verdict::of(passed))
}

/// A line of the skips' file; some tests write it as they print it.
fn without_prefix(line: &str) -> String {
    line.trim_start_matches("SKIPPED: ").to_string()
}

/// Runs tests, passes their output on, and counts. Returns whether cargo was content.
fn follow(
    command: &mut std::process::Command,
    tally: &mut Tally,
    output: Output,
) -> Result<bool, XtaskError> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(XtaskError::io("start cargo"))?;
    let stdout = child.stdout.take().expect("it was piped");
    let mut terminal: Box<dyn Write> = match output {
        Output::Text => Box::new(std::io::stdout().lock()),
        Output::Json => Box::new(std::io::stderr().lock()),
    };
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.map_err(XtaskError::io("read what tests print"))?;
        let line = String::from_utf8_lossy(&line);
        writeln!(terminal, "{line}").map_err(XtaskError::io("print what tests print"))?;
        tally.read(&line);
    }
    let status = child.wait().map_err(XtaskError::io("wait for cargo"))?;
    Ok(status.success())
}

/// The last lines: what failed, what was skipped, and the counts.
pub fn closing(tally: &Tally, broken: &[&str], skipped: &[String]) -> String {
    let mut lines = vec![String::new()];
    for name in &tally.failures {
        lines.push(format!("FAILED: {name}"));
    }
    for part in broken {
        lines.push(format!(
            "FAILED: tests of the {part} did not build, or a test process died; see above"
        ));
    }
    for skip in skipped {
        lines.push(format!("SKIPPED: {skip}"));
    }
    let failed = tally.failed > 0 || !broken.is_empty();
    let Tally {
        passed, ignored, ..
    } = tally;
    let mut counts = format!(
        "{passed} passed, {} failed, {} skipped",
        tally.failed,
        skipped.len()
    );
    if *ignored > 0 {
        counts += &format!(", {ignored} ignored");
    }
    let verdict = if failed { "FAILED" } else { "PASSED" };
    lines.push(format!("test: {verdict}, {counts}"));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 1.58s",
            "test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s",
        ] {
            tally.read(line);
        }
        assert_eq!((tally.passed, tally.failed, tally.ignored), (42, 1, 4));
        assert_eq!(tally.failures, ["a::c"]);
    }

    #[test]
    fn nothing_that_did_not_run_is_silent() {
        let tally = Tally {
            passed: 7,
            ..Tally::default()
        };
        let text = closing(&tally, &[], &["http: curl is missing".into()]);
        assert_eq!(
            text,
            "\nSKIPPED: http: curl is missing\ntest: PASSED, 7 passed, 0 failed, 1 skipped\n"
        );
        let text = closing(&tally, &["engine"], &[]);
        assert!(
            text.contains("FAILED: tests of the engine did not build"),
            "{text}"
        );
        assert!(
            text.ends_with("test: FAILED, 7 passed, 0 failed, 0 skipped\n"),
            "{text}"
        );
    }
}
