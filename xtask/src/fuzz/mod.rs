//! `cargo xtask fuzz`: what strangers send, changed again and again by what it reaches, until something breaks.
//!
//! The targets are functions of `holdfast-kademlia-fuzz`; here they are built into LLVM's libFuzzer, with counters on
//! every edge, and run. Inputs that reach something new stay in `target/fuzz/corpus`; at the end the fewest that reach
//! as much are kept in `fixtures/fuzz`, which `cargo xtask test` runs, too.

mod job;
mod keep;

use crate::tools::{self, Tool};
use crate::{Output, Verdict, XtaskError, cargo};
use job::{Ended, Job, Status};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The package with the targets.
const PACKAGE: &str = "holdfast-kademlia-fuzz";
/// Where inputs are kept, a folder each target.
const KEPT: &str = "fixtures/fuzz/kademlia";
/// The compiler that libFuzzer needs.
const COMPILER: Tool = Tool {
    program: "c++",
    package: "g++",
    needed_for: "libFuzzer, which is C++",
};

/// A function that takes any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    name: &'static str,
    what: &'static str,
    /// The longest input, bytes.
    longest: usize,
    /// Whether libFuzzer sees what is compared with what, and tries that. It more than halves the speed of what
    /// computes much.
    sees_comparisons: bool,
    /// Whether inputs are kept, too, that pass an edge more often than others. The tests run all that is kept.
    keeps_counts: bool,
}

const TARGETS: [Target; 3] = [
    Target {
        name: "codec",
        what: "datagrams of the DHT and bencode: read, written, read again",
        // A bit more than the longest datagram that is read.
        longest: 2_112,
        sees_comparisons: true,
        keeps_counts: true,
    },
    Target {
        name: "formats",
        what: "saved tables, magnet links, compact forms, ids",
        longest: 4_096,
        sees_comparisons: true,
        keeps_counts: true,
    },
    Target {
        name: "node",
        what: "histories of a node of the DHT among honest ones and enemies",
        longest: 4_096,
        sees_comparisons: false,
        keeps_counts: false,
    },
];

/// Fuzz what reads bytes of strangers, by what inputs reach; keep those that reach something new
///
/// Without a name all targets are fuzzed, one after another. Needs a C++ compiler; everything else is built here, into
/// target/fuzz. What is found new is in fixtures/fuzz afterwards and belongs into the repository.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Targets:
  codec     datagrams of the DHT and bencode: read, written, read again
  formats   saved tables, magnet links, compact forms, ids
  node      histories of a node of the DHT among honest ones and enemies

An input that breaks something is written to fixtures/fuzz/kademlia/TARGET and told. `cargo xtask test` runs it from
then on, and fails until it is fixed; leave it there afterwards.")]
pub struct Arguments {
    /// Which target: codec, formats or node
    pub target: Option<String>,
    /// For how long each target is fuzzed
    #[arg(long, default_value_t = 10)]
    pub minutes: u64,
    /// How many processes fuzz a target at a time
    #[arg(long, default_value_t = 1)]
    pub jobs: usize,
    /// Print one JSON document instead of lines for a person
    #[arg(long)]
    pub json: bool,
}

/// What came of fuzzing one target.
#[derive(Debug, Serialize)]
struct Report {
    target: &'static str,
    /// Inputs that were run, all processes together.
    executions: u64,
    /// Edges of the program that inputs have reached.
    edges: u64,
    /// Inputs that are kept.
    kept: usize,
    /// Their bytes.
    kept_bytes: u64,
    /// Inputs that break something, relative to the root.
    broken_by: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(root: &Path, arguments: &Arguments) -> Result<Verdict, XtaskError> {
    let output = Output::of(arguments.json);
    let targets = chosen(arguments.target.as_deref())?;
    if arguments.jobs == 0 || arguments.minutes == 0 {
        let problem = "nothing is fuzzed in no time, or by nobody";
        return Err(XtaskError::Usage(problem.to_string()));
    }
    if std::env::var_os("CXX").is_none() && !tools::provide(&[COMPILER], output)?.is_empty() {
        let problem = "there is no C++ compiler (`c++`), which libFuzzer needs: install one (on Debian the \
                       package g++), or say in CXX where it is";
        return Err(XtaskError::Usage(problem.to_string()));
    }
    let mut reports = Vec::new();
    for target in &targets {
        let program = build(root, target, output)?;
        let report = fuzz(root, target, &program, arguments, output)?;
        output.note(&told(&report));
        reports.push(report);
    }
    if output == Output::Json {
        println!("{}", crate::json(&reports));
    }
    Ok(Verdict::of(reports.iter().all(|r| r.broken_by.is_empty())))
}

fn chosen(name: Option<&str>) -> Result<Vec<Target>, XtaskError> {
    let Some(name) = name else {
        return Ok(TARGETS.to_vec());
    };
    let found = TARGETS.iter().find(|target| target.name == name);
    let Some(target) = found else {
        let known = TARGETS.map(|target| format!("  {:<8} {}\n", target.name, target.what));
        let problem = format!("there is no target `{name}`; there are\n{}", known.concat());
        return Err(XtaskError::Usage(problem.trim_end().to_string()));
    };
    Ok(vec![*target])
}

/// What a report says, with what is to be done.
fn told(report: &Report) -> String {
    let Report {
        target,
        executions,
        edges,
        kept,
        kept_bytes,
        broken_by,
    } = report;
    let mut text = format!(
        "{target}: {executions} inputs run, {edges} edges reached, {kept} inputs of {kept_bytes} bytes kept in \
         {KEPT}/{target}"
    );
    for input in broken_by {
        text += &format!(
            "\n{target}: BROKEN by {0}\n  `cargo test --package {PACKAGE}` runs it from now on; mend what it breaks, \
             and commit it with that",
            input.display()
        );
    }
    text
}

/// What the compiler is told, so that libFuzzer sees which edges an input takes, and with what its bytes are compared.
/// These are the flags of `cargo fuzz --sanitizer none`: nothing in them needs a nightly compiler.
fn flags(target: &Target) -> Vec<&'static str> {
    let mut flags = vec![
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Ccodegen-units=1",
    ];
    if target.sees_comparisons {
        flags.push("-Cllvm-args=-sanitizer-coverage-trace-compares");
    }
    flags
}

/// The triple of this machine. Cargo has to be told it, or build scripts would be compiled with counters, too.
fn triple() -> Result<String, XtaskError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc)
        .arg("-vV")
        .output()
        .map_err(XtaskError::io("start rustc"))?;
    let text = String::from_utf8_lossy(&told.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_string)
        .ok_or_else(|| XtaskError::Build("anything: rustc does not say for which machine".into()))
}

/// Builds a target, and tells where it is.
fn build(root: &Path, target: &Target, output: Output) -> Result<PathBuf, XtaskError> {
    let triple = triple()?;
    // A folder for each set of flags, so that neither throws away what the other has built.
    let folder = match target.sees_comparisons {
        true => "target/fuzz/build",
        false => "target/fuzz/build-plain",
    };
    let binary = format!("fuzz-{}", target.name);
    output.note(&format!("building {binary} with counters on its edges"));
    let mut cargo = cargo::command(root);
    cargo
        .args(["build", "--package", PACKAGE, "--features", "libfuzzer"])
        .args([
            "--bin",
            &binary,
            "--target",
            &triple,
            "--target-dir",
            folder,
        ])
        .env("CARGO_ENCODED_RUSTFLAGS", flags(target).join("\u{1f}"));
    if output == Output::Json {
        cargo.arg("--quiet");
    }
    let status = cargo
        .stdout(std::io::stderr())
        .status()
        .map_err(XtaskError::io("start cargo"))?;
    let program = root.join(folder).join(triple).join("debug").join(&binary);
    match status.success() && program.is_file() {
        true => Ok(program),
        false => Err(XtaskError::Build(binary)),
    }
}

/// Fuzzes one target for the time that was asked for, or until it breaks; then keeps what it has found.
fn fuzz(
    root: &Path,
    target: &Target,
    program: &Path,
    arguments: &Arguments,
    output: Output,
) -> Result<Report, XtaskError> {
    let kept = root.join(KEPT).join(target.name);
    let corpus = root.join("target/fuzz/corpus").join(target.name);
    for folder in [&kept, &corpus] {
        std::fs::create_dir_all(folder)
            .map_err(XtaskError::io(format!("make {}", folder.display())))?;
    }
    let seconds = arguments.minutes * 60;
    let mut jobs = Vec::new();
    for _ in 0..arguments.jobs {
        let mut command = Command::new(program);
        command
            .current_dir(root)
            .args([&corpus, &kept])
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={}", target.longest))
            .arg(format!("-dict={KEPT}/krpc.dict"))
            // Whatever comes is dealt with soon, in little memory.
            .args(["-timeout=10", "-rss_limit_mb=512"])
            .arg(format!("-artifact_prefix={KEPT}/{}/", target.name))
            // What the others find is taken in now and then.
            .arg(format!("-reload={}", u8::from(arguments.jobs > 1)));
        jobs.push(Job::start(command)?);
    }
    watch(target, &jobs, Duration::from_secs(seconds), output);
    let mut broken_by = Vec::new();
    let mut executions = 0;
    for job in jobs {
        let Ended {
            executed,
            artifact,
            last_words,
        } = job.wait()?;
        executions += executed;
        if let Some(artifact) = artifact {
            output.note(&last_words);
            broken_by.push(artifact);
        }
    }
    let spinner = output.spinner(&format!("{}: keeping what is needed", target.name));
    let merged = keep::merge(program, target.keeps_counts, &corpus, &kept)?;
    spinner.finish_and_clear();
    Ok(Report {
        target: target.name,
        executions,
        edges: merged.edges,
        kept: merged.inputs,
        kept_bytes: merged.bytes,
        broken_by,
    })
}

/// Shows how far the jobs are until all have ended, and ends them all when one has found something.
fn watch(target: &Target, jobs: &[Job], span: Duration, output: Output) {
    let began = Instant::now();
    let bar = output.bar(span.as_secs(), target.name);
    let mut told = 0;
    while !jobs.iter().all(Job::has_ended) {
        std::thread::sleep(Duration::from_millis(200));
        if jobs.iter().any(Job::has_failed) {
            jobs.iter().for_each(Job::stop);
        }
        let passed = began.elapsed().as_secs().min(span.as_secs());
        let message = progress(&jobs.iter().map(Job::status).collect::<Vec<_>>());
        bar.set_position(passed);
        bar.set_message(message.clone());
        // Where nobody watches a bar, a line a minute.
        if bar.is_hidden() && passed / 60 > told {
            told = passed / 60;
            output.note(&format!("{}: {told} min, {message}", target.name));
        }
    }
    bar.finish_and_clear();
}

/// How far jobs are that share what they find.
fn progress(status: &[Status]) -> String {
    let most = |value: fn(&Status) -> u64| status.iter().map(value).max().unwrap_or(0);
    let executed: u64 = status.iter().map(|status| status.executed).sum();
    let speed: u64 = status.iter().map(|status| status.per_second).sum();
    format!(
        "{executed} inputs run, {speed}/s, {} edges, {} inputs reach them",
        most(|status| status.edges),
        most(|status| status.inputs)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_chosen_by_its_name_and_all_without_one() {
        assert_eq!(chosen(None).unwrap().len(), TARGETS.len());
        assert_eq!(chosen(Some("node")).unwrap(), [TARGETS[2]]);
        let error = chosen(Some("nodes")).unwrap_err().to_string();
        assert!(
            error.contains("no target `nodes`") && error.contains("\n  codec "),
            "{error}"
        );
    }

    #[test]
    fn a_report_says_what_is_to_be_done() {
        let mut report = Report {
            target: "codec",
            executions: 5,
            edges: 6,
            kept: 7,
            kept_bytes: 8,
            broken_by: Vec::new(),
        };
        let fine = "codec: 5 inputs run, 6 edges reached, 7 inputs of 8 bytes kept in fixtures/fuzz/kademlia/codec";
        assert_eq!(told(&report), fine);
        report
            .broken_by
            .push("fixtures/fuzz/kademlia/codec/crash-12".into());
        let text = told(&report);
        assert!(
            text.starts_with(fine)
                && text.contains("BROKEN by fixtures/fuzz/kademlia/codec/crash-12\n")
        );
    }

    #[test]
    fn jobs_that_share_what_they_find_are_not_added_up() {
        let status = |executed, edges, inputs| Status {
            executed,
            edges,
            inputs,
            per_second: 10,
        };
        let text = progress(&[status(100, 7, 3), status(200, 6, 4)]);
        assert_eq!(text, "300 inputs run, 20/s, 7 edges, 4 inputs reach them");
    }
}
