//! Processes that run seeds, and what becomes of seeds whose process dies.
//!
//! The protocol is that of [`holdfast_record::worker`]. A worker that panics, aborts, is killed or says nothing for too
//! long has found something: the seed that it was running gets a record that says so, and a new process goes on with
//! the rest. A worker that exits with an error of its own ends the run.

use crate::XtaskError;
use holdfast_record::worker::{MutantInfo, ScenarioInfo};
use holdfast_record::{Failure, Lane, SeedRecord};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many of a worker's last lines on standard error are kept for a report.
const LAST_WORDS: usize = 30;
/// Records that may wait between the reader of a pipe and whoever uses them.
const RECORDS_IN_FLIGHT: usize = 256;
/// The exit code of a Rust program whose main thread panicked.
const PANICKED: i32 = 101;

/// In which order the seeds of a range run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the lowest.
    Up,
    /// From the highest.
    Down,
}

/// What to do after a seed that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Run the rest.
    Continue,
    /// Leave the rest.
    Stop,
}

/// Seeds to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The scenario.
    pub scenario: String,
    /// The lane.
    pub lane: Lane,
    /// The seeds.
    pub seeds: Range<u64>,
    /// In which order.
    pub order: Order,
    /// A planted bug to run with.
    pub mutant: Option<String>,
    /// Let only properties count that are seen from outside.
    pub black_box: bool,
    /// Whether to go on after a failure.
    pub after_failure: AfterFailure,
}

impl Job {
    fn all(&self) -> VecDeque<u64> {
        match self.order {
            Order::Up => self.seeds.clone().collect(),
            Order::Down => self.seeds.clone().rev().collect(),
        }
    }
}

/// The worker binary.
#[derive(Clone, Debug)]
pub struct Worker {
    program: PathBuf,
    patience: Duration,
}

impl Worker {
    /// A worker that may be silent for five minutes before it is taken to hang.
    pub fn new(program: PathBuf) -> Self {
        Worker {
            program,
            patience: Duration::from_secs(300),
        }
    }

    /// Changes how long one seed may take, in real time.
    pub fn with_patience(self, patience: Duration) -> Self {
        Worker { patience, ..self }
    }

    /// What there is to run.
    pub fn scenarios(&self) -> Result<Vec<ScenarioInfo>, XtaskError> {
        self.ask(&["list"])
    }

    /// The planted bugs.
    pub fn mutants(&self) -> Result<Vec<MutantInfo>, XtaskError> {
        self.ask(&["mutants"])
    }

    /// Runs the program with `arguments` and reads its standard output as one JSON document.
    pub fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, XtaskError> {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        let output = command
            .output()
            .map_err(XtaskError::io(format!("start {}", self.program.display())))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(broken(&command, format!("{}: {words}", output.status)));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|e| broken(&command, format!("printed what is not its protocol: {e}")))
    }

    /// Runs a job and hands over each record as it comes. In the full lane each seed has a process of its own.
    pub fn run(&self, job: &Job, mut each: impl FnMut(SeedRecord)) -> Result<(), XtaskError> {
        let mut left = job.all();
        while !left.is_empty() {
            let mut command = self.command(job);
            match job.lane {
                Lane::Fast => self.range(&mut command, job, &left),
                Lane::Full => {
                    command.args(["--seed", &left[0].to_string()]);
                }
            }
            let expected = match job.lane {
                Lane::Fast => left.len(),
                Lane::Full => 1,
            };
            let failed = self.follow(&mut command, job, &mut left, expected, &mut each)?;
            if failed && job.after_failure == AfterFailure::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Runs one seed, and has it write its timeline to `timeline`. The record says `no-panic` if the process died, and
    /// then there is no timeline.
    pub fn run_one(&self, job: &Job, seed: u64, timeline: &Path) -> Result<SeedRecord, XtaskError> {
        let mut command = self.command(job);
        command.args(["--seed", &seed.to_string()]);
        command.arg("--timeline").arg(timeline);
        let mut record = None;
        let mut left = VecDeque::from([seed]);
        self.follow(&mut command, job, &mut left, 1, &mut |r| record = Some(r))?;
        Ok(record.expect("follow answers for every seed that it takes"))
    }

    /// Runs a fault plan as it is written.
    pub fn replay(
        &self,
        scenario: &str,
        lane: Option<Lane>,
        mutant: Option<&str>,
        plan: &Path,
        timeline: &Path,
    ) -> Result<SeedRecord, XtaskError> {
        let mut command = Command::new(&self.program);
        command.args(["run", scenario, "--replay"]).arg(plan);
        command.arg("--timeline").arg(timeline);
        if let Some(lane) = lane {
            command.args(["--lane", &lane.to_string()]);
        }
        if let Some(mutant) = mutant {
            command.args(["--mutant", mutant]);
        }
        let mut process = Process::start(&mut command)?;
        let record = process.record(self.patience);
        let (status, last_words) = process.finish();
        match record {
            Some(line) => parse(&command, &line),
            // Whose seed and lane it was only the plan knows, and that is the worker's to read.
            None => Err(broken(&command, format!("died, {status}:\n{last_words}"))),
        }
    }

    fn command(&self, job: &Job) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["run", &job.scenario, "--lane", &job.lane.to_string()]);
        if let Some(mutant) = &job.mutant {
            command.args(["--mutant", mutant]);
        }
        if job.black_box {
            command.arg("--black-box");
        }
        command
    }

    fn range(&self, command: &mut Command, job: &Job, left: &VecDeque<u64>) {
        let (first, last) = (left[0], left[left.len() - 1]);
        command.args(["--from", &first.min(last).to_string()]);
        command.args(["--to", &(first.max(last) + 1).to_string()]);
        if job.order == Order::Down {
            command.args(["--order", "reverse"]);
        }
        if job.after_failure == AfterFailure::Stop {
            command.arg("--stop-on-failure");
        }
    }

    /// Takes up to `expected` seeds off `left`, in order, as the process answers for them; answers itself for the one
    /// that a process dies of. Returns whether the last one failed.
    fn follow(
        &self,
        command: &mut Command,
        job: &Job,
        left: &mut VecDeque<u64>,
        expected: usize,
        each: &mut dyn FnMut(SeedRecord),
    ) -> Result<bool, XtaskError> {
        let mut process = Process::start(command)?;
        let mut failed = false;
        for _ in 0..expected {
            let Some(line) = process.record(self.patience) else {
                let hung = process.hung;
                let (status, last_words) = process.finish();
                if failed && status.success() && job.after_failure == AfterFailure::Stop {
                    return Ok(true);
                }
                if !hung && !died(status) {
                    let problem = format!("ended before seed {}, {status}:\n{last_words}", left[0]);
                    return Err(broken(command, problem));
                }
                let seed = left.pop_front().expect("not all seeds are answered for");
                each(obituary(job, seed, hung, status, &last_words));
                return Ok(true);
            };
            let record: SeedRecord = parse(command, &line)?;
            let seed = left.pop_front().expect("not all seeds are answered for");
            if record.seed != seed || record.lane != job.lane {
                let problem = format!(
                    "answered for {} seed {} when it was {} seed {seed}'s turn",
                    record.lane, record.seed, job.lane
                );
                return Err(broken(command, problem));
            }
            failed = record.failure.is_some();
            each(record);
            if failed && job.after_failure == AfterFailure::Stop {
                return Ok(true);
            }
        }
        let (status, last_words) = process.finish();
        if !status.success() {
            return Err(broken(
                command,
                format!("failed after its last seed, {status}:\n{last_words}"),
            ));
        }
        Ok(failed)
    }
}

fn parse(command: &Command, line: &str) -> Result<SeedRecord, XtaskError> {
    serde_json::from_str(line).map_err(|e| {
        broken(
            command,
            format!("printed what is not a record: {e}: {line}"),
        )
    })
}

fn broken(command: &Command, problem: String) -> XtaskError {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|w| w.to_string_lossy().into_owned()).collect();
    XtaskError::Worker {
        command: words.join(" "),
        problem: problem.trim_end().to_string(),
    }
}

/// Whether a process was ended by a panic or a signal, not by itself.
fn died(status: ExitStatus) -> bool {
    status.code().is_none_or(|code| code == PANICKED)
}

/// The record of a seed whose process died.
fn obituary(job: &Job, seed: u64, hung: bool, status: ExitStatus, last_words: &str) -> SeedRecord {
    let (property, how) = if hung {
        (
            "terminates",
            "the worker said nothing for too long".to_string(),
        )
    } else {
        ("no-panic", format!("the worker died, {status}"))
    };
    SeedRecord {
        scenario: job.scenario.clone(),
        lane: job.lane,
        seed,
        nodes: 0,
        simulated_ns: 0,
        cpu_ns: 0,
        messages: 0,
        operations: 0,
        unknown: 0,
        faults: BTreeMap::new(),
        marks: BTreeMap::new(),
        trace_hash: String::new(),
        failure: Some(Failure {
            property: property.to_string(),
            message: format!("{how}\n{last_words}").trim_end().to_string(),
            at_ns: 0,
            node: None,
        }),
    }
}

/// A running worker: its lines come over a channel, so that waiting for one can end. Killed when dropped.
struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    hung: bool,
}

impl Process {
    fn start(command: &mut Command) -> Result<Self, XtaskError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(XtaskError::io(format!("start {program}")))?;
        let stdout = child.stdout.take().expect("it was piped");
        let stderr = child.stderr.take().expect("it was piped");
        let (sender, lines) = sync_channel(RECORDS_IN_FLIGHT);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Process {
            child,
            lines,
            errors: Some(std::thread::spawn(move || last_lines(stderr))),
            hung: false,
        })
    }

    /// The next line; `None` when there will be none, because the process ended or because it hung and was killed.
    fn record(&mut self, patience: Duration) -> Option<String> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                self.hung = true;
                // It may have ended by itself just now; either way it is waited for.
                let _ = self.child.kill();
                None
            }
        }
    }

    fn finish(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("a child can be waited for");
        let errors = self.errors.take().expect("finished only once");
        (status, errors.join().unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_lines(stream: impl Read) -> String {
    let mut last = VecDeque::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(line);
    }
    Vec::from(last).join("\n")
}
