//! `cargo xtask bugs`: the simulator measured by bugs that are known to be there.
//!
//! Each bug of the zoo is documented in some other system and planted in ours behind a run-time switch. A simulator that
//! does not find one of them within its seeds has a hole, and its tests prove less than they seem to.

use crate::worker::{AfterFailure, Job, Order, Worker};
use crate::{Output, Verdict, XtaskError, cargo, crew};
use holdfast_record::Failure;
use holdfast_record::worker::MutantInfo;
use holdfast_reports::table::{Align, Table, grouped};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// Plant documented bugs of other systems one at a time, and tell which seed finds each
///
/// Runs seeds 0, 1, 2, ... in the lane of its scenario for each bug until a property breaks, and again with only those properties
/// that are seen from outside: in what clients were told, in what replicas applied, in silence. A seed that kills its
/// worker has found the bug, too. Fails (exit code 1) if one is not found by any property.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Only this one, by name or number
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// How many seeds to try for each
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// How many workers to run at a time [default: one a processor]
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What became of the hunts; `--json` prints it as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many bugs were found.
    pub found: usize,
    /// How many were planted.
    pub planted: usize,
    /// One hunt a bug, in the zoo's order.
    pub hunts: Vec<Hunt>,
}

/// The hunt for one bug.
#[derive(Clone, Debug, Serialize)]
pub struct Hunt {
    /// The bug.
    #[serde(flatten)]
    pub bug: MutantInfo,
    /// How many seeds were run, the one that found it included.
    pub seeds_tried: u64,
    /// Where it was found, if it was.
    pub found: Option<Found>,
    /// Where it was found when only properties counted that are seen from outside.
    pub found_from_outside: Option<Found>,
    /// The command that runs the seed again.
    pub reproduce: Option<String>,
}

/// The first seed that found a bug.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// What broke; `no-panic` if an assertion did.
    pub property: String,
    /// What was seen.
    pub message: String,
}

/// Builds the worker and runs the command.
pub fn run(root: &Path, arguments: &Arguments) -> Result<Verdict, XtaskError> {
    let output = Output::of(arguments.json);
    let worker = Worker::new(cargo::build_one(root, "seeds", output)?);
    let report = run_with(&worker, arguments)?;
    match output {
        Output::Json => println!("{}", crate::json(&report)),
        Output::Text => print!("{report}"),
    }
    Ok(Verdict::of(report.found == report.planted))
}

/// Runs the command with a worker that is there.
pub fn run_with(worker: &Worker, arguments: &Arguments) -> Result<Report, XtaskError> {
    let bugs = chosen(worker.mutants()?, arguments.mutant.as_deref())?;
    let job = |bug: &MutantInfo, black_box| Job {
        scenario: bug.scenario.clone(),
        lane: bug.lane,
        seeds: 0..arguments.seeds,
        order: Order::Up,
        mutant: Some(bug.name.clone()),
        black_box,
        after_failure: AfterFailure::Stop,
    };
    // Each bug is hunted twice: the first half of the jobs by all properties, the second from outside.
    let count = bugs.len();
    let by_all = bugs.iter().map(|bug| job(bug, false));
    let from_outside = bugs.iter().map(|bug| job(bug, true));
    let jobs: Vec<Job> = by_all.chain(from_outside).collect();
    let mut tried = vec![0; jobs.len()];
    let mut hunts: Vec<Hunt> = bugs.into_iter().map(Hunt::new).collect();

    let output = Output::of(arguments.json);
    let bar = output.bar(jobs.len() as u64, "hunts");
    let parallel = arguments.jobs.unwrap_or_else(cargo::processors);
    crew::run(worker, &jobs, parallel, |place, record| {
        tried[place] += 1;
        let (hunt, is_from_outside) = (&mut hunts[place % count], place >= count);
        if !is_from_outside {
            hunt.seeds_tried += 1;
        }
        let failed = record.failure.is_some();
        if let Some(failure) = record.failure {
            hunt.was_found(record.seed, failure, is_from_outside);
        }
        if failed || tried[place] == arguments.seeds {
            bar.inc(1);
        }
    })?;
    bar.finish_and_clear();
    Ok(Report {
        found: hunts.iter().filter(|hunt| hunt.found.is_some()).count(),
        planted: hunts.len(),
        hunts,
    })
}

fn chosen(all: Vec<MutantInfo>, name: Option<&str>) -> Result<Vec<MutantInfo>, XtaskError> {
    let Some(name) = name else {
        return Ok(all);
    };
    let (wanted, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|bug| bug.name == name || bug.id == name);
    if wanted.is_empty() {
        let lines: Vec<String> = others
            .iter()
            .map(|bug| format!("  {:<4} {:<28} {}", bug.id, bug.name, bug.description))
            .collect();
        let problem = format!(
            "there is no planted bug `{name}`; there are\n{}",
            lines.join("\n")
        );
        return Err(XtaskError::Usage(problem));
    }
    Ok(wanted)
}

impl Hunt {
    fn new(bug: MutantInfo) -> Self {
        Hunt {
            bug,
            seeds_tried: 0,
            found: None,
            found_from_outside: None,
            reproduce: None,
        }
    }

    fn was_found(&mut self, seed: u64, failure: Failure, is_from_outside: bool) {
        let found = Some(Found {
            seed,
            property: failure.property,
            message: failure.message,
        });
        if is_from_outside {
            self.found_from_outside = found;
            return;
        }
        let MutantInfo {
            scenario,
            name,
            lane,
            ..
        } = &self.bug;
        self.reproduce = Some(format!(
            "cargo xtask simulate {scenario} --lane {lane} --seed {seed} --mutant {name}"
        ));
        self.found = found;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("", Left),
            ("planted bug", Left),
            ("found by seed", Right),
            ("seeds tried", Right),
            ("what broke", Left),
            ("from outside", Right),
            ("what broke", Left),
            ("seen in", Left),
        ]);
        for Hunt {
            bug,
            seeds_tried,
            found,
            found_from_outside,
            ..
        } in &self.hunts
        {
            let seed = |found: &Option<Found>, none: &str| {
                let seed = found.as_ref().map(|found| found.seed.to_string());
                seed.unwrap_or_else(|| none.to_owned())
            };
            let what_broke =
                |found: &Option<Found>| found.as_ref().map_or("-".into(), Found::what_broke);
            table.row(vec![
                bug.id.clone(),
                bug.name.clone(),
                seed(found, "NOT FOUND"),
                grouped(*seeds_tried),
                what_broke(found),
                seed(found_from_outside, "not found"),
                what_broke(found_from_outside),
                cut(&bug.source, 30),
            ]);
        }
        write!(f, "{table}")?;
        for hunt in self.hunts.iter().filter(|hunt| hunt.found.is_none()) {
            let MutantInfo {
                id,
                name,
                description,
                ..
            } = &hunt.bug;
            writeln!(f, "NOT FOUND: {id} {name}: {description}")?;
        }
        let verdict = if self.found == self.planted {
            "PASSED"
        } else {
            "FAILED"
        };
        writeln!(
            f,
            "bugs: {verdict}, {} of {} found",
            self.found, self.planted
        )?;
        if let Some(again) = self.hunts.iter().find_map(|hunt| hunt.reproduce.as_ref()) {
            writeln!(f, "see one: {again}")?;
        }
        Ok(())
    }
}

impl Found {
    /// The property; for a panic, what it said.
    fn what_broke(&self) -> String {
        if self.property != "no-panic" {
            return self.property.clone();
        }
        // Behind "the worker died" and the place of the panic comes its message.
        let mut lines = self
            .message
            .lines()
            .skip_while(|line| !line.contains("panicked at"));
        let panic = lines.nth(1).or(self.message.lines().last()).unwrap_or("");
        cut(&format!("panic: {panic}"), 36)
    }
}

/// A text that is at most `longest` characters long.
fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_string();
    }
    let mut short: String = text.chars().take(longest - 1).collect();
    short.push('…');
    short
}
