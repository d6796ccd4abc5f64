//! Link checkers over the site of known faults: how fast, how polite, how right.
//!
//! The site is a process of its own, so that what a checker uses is a checker's alone. Each runs as a process, in turn,
//! and is told as much as it can be told to do the same: to check fragments and other hosts, to wait five seconds for an
//! answer, to try three times, to ask as fast as it can. A checker that cannot follow links is given the list of pages.

mod checkers;
mod process;

use crate::{measure::Result, measure::median, site::Site};
use checkers::{Checker, Task};
use holdfast_record::worker::CheckerRow;
use holdfast_scenarios::web::{Truth, serve::Summary};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// How often each checker runs.
const REPETITIONS: usize = 3;

/// What to run.
#[derive(clap::Args)]
pub struct Arguments {
    /// Our binary, which has `links check`.
    #[arg(long)]
    engine: Option<PathBuf>,
    /// lychee.
    #[arg(long)]
    lychee: Option<PathBuf>,
    /// linkchecker.
    #[arg(long)]
    linkchecker: Option<PathBuf>,
    /// What the site is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ordinary pages of the site.
    #[arg(long, default_value_t = 2000)]
    pages: usize,
    /// Have faults, too, for which a checker has to wait.
    #[arg(long)]
    slow: bool,
    /// How often each checker runs.
    #[arg(long, default_value_t = REPETITIONS)]
    repetitions: usize,
    /// Accepted for likeness with the other benchmarks: a JSON array is what is printed.
    #[arg(long)]
    json: bool,
}

/// Measures, and prints rows as JSON.
pub fn print(arguments: &Arguments) -> Result<()> {
    println!("{}", serde_json::to_string(&rows(arguments)?)?);
    Ok(())
}

fn rows(arguments: &Arguments) -> Result<Vec<CheckerRow>> {
    let folder = tempfile::Builder::new()
        .prefix("holdfast-links-")
        .tempdir()?;
    // linkchecker gives up being root and reads and writes as nobody.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777))?;
    let place = |name: &str| folder.path().join(name);
    let mut served = Served::start(arguments, place("truth.json"), place("authority.pem"))?;
    std::fs::write(place("pages.txt"), served.site.pages.join("\n") + "\n")?;
    let checkers = [
        (Checker::Ours, &arguments.engine),
        (Checker::Lychee, &arguments.lychee),
        (Checker::Linkchecker, &arguments.linkchecker),
    ];
    let mut runs: Vec<Runs> = Vec::new();
    for (checker, program) in checkers {
        runs.push(match program {
            Some(program) => Runs::new(checker, program.clone())?,
            None => Runs::skipped(checker, "it is not here".into()),
        });
    }
    for _ in 0..arguments.repetitions.max(1) {
        for run in runs.iter_mut().filter(|run| run.skipped.is_none()) {
            served.ask::<Summary>("reset")?;
            let task = Task {
                root: &served.site.root,
                pages: &place("pages.txt"),
                authority: &place("authority.pem"),
                folder: folder.path(),
            };
            match run.checker.run(&run.program, &task) {
                Ok(done) => {
                    let summary = served.ask("summary")?;
                    run.done.push((done, summary));
                }
                Err(error) => run.skipped = Some(error.to_string()),
            }
        }
    }
    Ok(runs.iter().map(|run| run.row(&served)).collect())
}

/// What came of one checker.
struct Runs {
    checker: Checker,
    program: PathBuf,
    name: String,
    skipped: Option<String>,
    done: Vec<(checkers::Done, Summary)>,
}

impl Runs {
    fn new(checker: Checker, program: PathBuf) -> Result<Self> {
        let name = checker.version(&program)?;
        Ok(Runs {
            checker,
            program,
            name,
            skipped: None,
            done: Vec::new(),
        })
    }

    fn skipped(checker: Checker, why: String) -> Self {
        Runs {
            checker,
            program: PathBuf::new(),
            name: checker.name().to_string(),
            skipped: Some(why),
            done: Vec::new(),
        }
    }

    fn row(&self, served: &Served) -> CheckerRow {
        let faults = served.truth.faults() as u64;
        let mut row = CheckerRow {
            name: self.name.clone(),
            skipped: self.skipped.clone(),
            faults,
            ..CheckerRow::default()
        };
        let Some((_, last)) = self.done.last().filter(|_| self.skipped.is_none()) else {
            return row;
        };
        let middle = |of: fn(&checkers::Done) -> f64| {
            median(self.done.iter().map(|(done, _)| of(done)).collect())
        };
        let (mut missed, mut alarms) = (BTreeSet::new(), BTreeSet::new());
        for (done, _) in &self.done {
            let score = served.truth.score(done.broken.iter().map(String::as_str));
            missed.extend(score.missed);
            alarms.extend(score.false_alarms);
            alarms.extend(
                score
                    .unknown
                    .into_iter()
                    .map(|target| format!("no link ({target})")),
            );
        }
        row.wall_seconds = middle(|done| done.usage.wall_seconds);
        row.cpu_seconds = middle(|done| done.usage.cpu_seconds);
        row.peak_bytes = middle(|done| done.usage.peak_bytes);
        row.requests = last.requests;
        row.distinct = last.distinct;
        row.duplicates = last.duplicates;
        row.forbidden = last.forbidden;
        row.missed = missed.into_iter().collect();
        row.false_alarms = alarms.into_iter().collect();
        row.note = self.checker.note().to_string();
        row
    }
}

/// The site's process. Ends when this is dropped.
struct Served {
    site: Site,
    truth: Truth,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Served {
    fn start(arguments: &Arguments, truth: PathBuf, authority: PathBuf) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["site", "--seed", &arguments.seed.to_string()]);
        command.args(["--pages", &arguments.pages.to_string()]);
        command.arg("--truth").arg(&truth);
        command.arg("--authority").arg(&authority);
        if arguments.slow {
            command.arg("--slow");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().ok_or("it was piped")?);
        let site = line(&mut output)?;
        Ok(Served {
            site,
            truth: serde_json::from_slice(&std::fs::read(truth)?)?,
            child,
            input,
            output,
        })
    }

    fn ask<T: DeserializeOwned>(&mut self, word: &str) -> Result<T> {
        let input = self.input.as_mut().ok_or("it is open until the end")?;
        writeln!(input, "{word}")?;
        input.flush()?;
        line(&mut self.output)
    }
}

fn line<T: DeserializeOwned>(output: &mut BufReader<ChildStdout>) -> Result<T> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

impl Drop for Served {
    fn drop(&mut self) {
        self.input = None;
        // It ends by itself when its input does; that it has ended already is as well.
        let _ = self.child.wait();
    }
}
