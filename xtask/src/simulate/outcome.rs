//! What a simulation came to: the files it leaves, the JSON document, and the lines for a person.

use super::{Place, reproduce};
use crate::XtaskError;
use holdfast_record::{Lane, SeedRecord, Timeline};
use holdfast_reports::html;
use holdfast_reports::summary::{self, Summary};
use holdfast_reports::table::grouped;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many failing seeds a person is told of, for each property; the JSON document has them all.
const TOLD: usize = 3;

/// Where a run leaves its files, relative to the workspace's root for those who read it.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
    relative: PathBuf,
}

impl Folder {
    /// An empty folder in `reports/runs`, in place of what a run of that name left there.
    pub(super) fn create(root: &Path, name: &str) -> Result<Self, XtaskError> {
        let relative = Path::new("reports/runs").join(name);
        let path = root.join(&relative);
        let what = |verb: &str| format!("{verb} {}", path.display());
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(XtaskError::io(what("empty")))?;
        }
        std::fs::create_dir_all(&path).map_err(XtaskError::io(what("create")))?;
        Ok(Folder {
            root: root.to_path_buf(),
            relative,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(&self.relative).join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, XtaskError> {
        let path = self.path(name);
        let what = format!("write {}", path.display());
        std::fs::write(&path, bytes).map_err(XtaskError::io(what))?;
        Ok(self.relative.join(name))
    }

    /// Where it is, relative to the workspace's root.
    pub fn relative(&self) -> &Path {
        &self.relative
    }
}

impl Serialize for Folder {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.relative.serialize(serializer)
    }
}

/// What a simulation came to; `--json` prints it as it is.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Whether nothing is wrong.
    pub passed: bool,
    /// How many seeds ran, the second runs of the sample not counted.
    pub seeds: u64,
    /// How long it took, in real seconds.
    pub seconds: f64,
    /// The bug that was planted.
    pub mutant: Option<String>,
    /// Where records.jsonl, records.parquet and the pages are.
    pub folder: Folder,
    /// Every seed that failed, in order of scenario, lane and seed.
    pub failures: Vec<Broken>,
    /// Which seeds ran twice, place by place, and whether they did the same.
    pub determinism: Vec<Determinism>,
    /// Marks that no seed reached, of those that a scenario declares.
    pub unreached: Vec<Unreached>,
    /// The pages that were written.
    pub pages: Vec<Page>,
    /// The run in numbers.
    pub summary: Summary,
    #[serde(skip)]
    records: Vec<SeedRecord>,
}

/// A seed in which a property broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The scenario.
    pub scenario: String,
    /// The lane.
    pub lane: Lane,
    /// The seed.
    pub seed: u64,
    /// The property; `no-panic` if the worker died, `terminates` if it hung.
    pub property: String,
    /// What was seen.
    pub message: String,
    /// When, in simulated nanoseconds.
    pub at_ns: u64,
    /// On which node, when one can be named.
    pub node: Option<u32>,
    /// The command that runs it again.
    pub reproduce: String,
}

/// How the sample of seeds that ran twice compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Determinism {
    /// The scenario.
    pub scenario: String,
    /// The lane.
    pub lane: Lane,
    /// How many seeds ran twice: the second time in another process, and downwards.
    pub seeds: u64,
    /// Those that were not the same.
    pub divergences: Vec<Divergence>,
}

/// A seed that was not the same twice: its trace hashes, with the property that broke if one did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// The seed.
    pub seed: u64,
    /// What the first run came to.
    pub first: String,
    /// What the second run came to.
    pub second: String,
}

/// A mark that no seed reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreached {
    /// The scenario.
    pub scenario: String,
    /// The lane.
    pub lane: Lane,
    /// The mark.
    pub mark: String,
    /// Whether enough seeds ran to expect it.
    pub required: bool,
}

/// A page that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The scenario.
    pub scenario: String,
    /// The lane.
    pub lane: Lane,
    /// The seed.
    pub seed: u64,
    /// The page, relative to the workspace's root.
    pub page: PathBuf,
    /// Its fault plan, for `--replay`, where it has one.
    pub plan: Option<PathBuf>,
}

impl Outcome {
    /// An outcome with nothing in it yet.
    pub(super) fn new(folder: Folder, mutant: Option<String>) -> Self {
        Outcome {
            passed: false,
            seeds: 0,
            seconds: 0.0,
            mutant,
            folder,
            failures: Vec::new(),
            determinism: Vec::new(),
            unreached: Vec::new(),
            pages: Vec::new(),
            summary: Summary::default(),
            records: Vec::new(),
        }
    }

    /// Takes in the records of a place, each seed's once. With `enough` of them, every mark must have been reached.
    pub(super) fn add(&mut self, place: &Place, records: Vec<SeedRecord>, enough: bool) {
        for mark in &place.info.marks {
            let mut counts = records.iter().filter_map(|r| r.marks.get(mark));
            if !counts.any(|count| *count > 0) {
                self.unreached.push(Unreached {
                    scenario: place.scenario.clone(),
                    lane: place.info.lane,
                    mark: mark.clone(),
                    required: enough,
                });
            }
        }
        for record in &records {
            let Some(failure) = &record.failure else {
                continue;
            };
            let mutant = self.mutant.as_deref();
            self.failures.push(Broken {
                scenario: record.scenario.clone(),
                lane: record.lane,
                seed: record.seed,
                property: failure.property.clone(),
                message: failure.message.clone(),
                at_ns: failure.at_ns,
                node: failure.node,
                reproduce: reproduce(&record.scenario, record.lane, record.seed, mutant),
            });
        }
        self.seeds += records.len() as u64;
        self.records.extend(records);
    }

    /// The record of the lowest seed that failed in a place.
    pub(super) fn first_failure(&self, place: &Place) -> Option<&SeedRecord> {
        let failed = self.records.iter().filter(|r| r.failure.is_some());
        failed
            .filter(|r| place.holds(&r.scenario, r.lane))
            .min_by_key(|r| r.seed)
    }

    /// Writes a seed's page and its plan; nothing without a timeline, which a worker that died did not leave.
    pub(super) fn write_page(
        &mut self,
        name: &str,
        record: &SeedRecord,
        timeline: Option<&Timeline>,
        reproduce: &str,
    ) -> Result<(), XtaskError> {
        let Some(timeline) = timeline else {
            return Ok(());
        };
        let page = html::Page {
            record,
            timeline,
            reproduce,
        };
        let html = html::page(&page);
        let plan = match timeline.plan.as_str() {
            "" => None,
            plan => {
                let name = format!("{name}.plan.json");
                Some(self.folder.write(&name, plan.as_bytes())?)
            }
        };
        self.pages.push(Page {
            scenario: record.scenario.clone(),
            lane: record.lane,
            seed: record.seed,
            page: self
                .folder
                .write(&format!("{name}.html"), html.as_bytes())?,
            plan,
        });
        Ok(())
    }

    /// Adds everything up and writes records and summary.
    pub(super) fn finish(mut self, took: Duration) -> Result<Self, XtaskError> {
        self.seconds = took.as_secs_f64();
        self.summary = summary::aggregate(&self.records)?;
        let diverged = self.determinism.iter().any(|d| !d.divergences.is_empty());
        let missing = self.unreached.iter().any(|mark| mark.required);
        self.passed = self.failures.is_empty() && !diverged && !missing;
        let lines = self.records.iter().map(|record| {
            serde_json::to_string(record).expect("records have texts for keys") + "\n"
        });
        let lines: String = lines.collect();
        self.folder.write("records.jsonl", lines.as_bytes())?;
        let parquet = self.folder.path("records.parquet");
        holdfast_reports::frame::write_parquet(&self.records, &parquet)?;
        let summary = crate::json(&self) + "\n";
        self.folder.write("summary.json", summary.as_bytes())?;
        Ok(self)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary)?;
        for determinism in &self.determinism {
            writeln!(f, "{determinism}")?;
        }
        for mark in self.unreached.iter().filter(|mark| mark.required) {
            let Unreached {
                scenario,
                lane,
                mark,
                ..
            } = mark;
            writeln!(
                f,
                "UNREACHED: no seed of {scenario} {lane} reached the mark `{mark}`"
            )?;
        }
        self.tell_failures(f)?;
        for page in &self.pages {
            let Page {
                scenario,
                lane,
                seed,
                page,
                plan,
            } = page;
            writeln!(
                f,
                "page of {scenario} {lane} seed {seed}: {}",
                page.display()
            )?;
            if let Some(plan) = plan {
                writeln!(f, "  its fault plan, for --replay: {}", plan.display())?;
            }
        }
        writeln!(f, "records: {}", self.folder.relative().display())?;
        writeln!(f, "simulate: {}", self.closing())
    }
}

impl Outcome {
    fn tell_failures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told: BTreeMap<(&str, Lane, &str), usize> = BTreeMap::new();
        for broken in &self.failures {
            let count = told
                .entry((&broken.scenario, broken.lane, &broken.property))
                .or_default();
            *count += 1;
            if *count <= TOLD {
                writeln!(f, "{broken}")?;
            }
        }
        for ((scenario, lane, property), count) in told {
            if count > TOLD {
                let more = count - TOLD;
                writeln!(
                    f,
                    "... and {property} broke in {more} more seeds of {scenario} {lane}"
                )?;
            }
        }
        Ok(())
    }

    fn closing(&self) -> String {
        let seeds = format!("{} in {:.1} s", seeds_of(self.seeds), self.seconds);
        if self.passed {
            return format!("PASSED, {seeds}");
        }
        let mut problems = Vec::new();
        if !self.failures.is_empty() {
            problems.push(format!(
                "a property broke in {}",
                seeds_of(self.failures.len() as u64)
            ));
        }
        let diverged: usize = self.determinism.iter().map(|d| d.divergences.len()).sum();
        if diverged > 0 {
            problems.push(format!("{diverged} seeds were not the same twice"));
        }
        let unreached = self.unreached.iter().filter(|mark| mark.required).count();
        if unreached > 0 {
            problems.push(format!("{unreached} marks were never reached"));
        }
        format!("FAILED, {seeds}: {}", problems.join(", "))
    }
}

fn seeds_of(count: u64) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} seed{s}", grouped(count))
}

impl fmt::Display for Determinism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Determinism {
            scenario,
            lane,
            seeds,
            divergences,
        } = self;
        write!(f, "determinism, {scenario} {lane}: ")?;
        if divergences.is_empty() {
            return write!(
                f,
                "{seeds} seeds ran twice, in two processes and in two orders, and left the same traces"
            );
        }
        write!(f, "{} seeds were NOT THE SAME twice", divergences.len())?;
        for Divergence {
            seed,
            first,
            second,
        } in divergences.iter().take(TOLD)
        {
            write!(f, "\n  seed {seed}: {first}, then {second}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken {
            scenario,
            lane,
            seed,
            property,
            message,
            ..
        } = self;
        writeln!(f, "FAILED: {scenario} {lane} seed {seed}: {property}")?;
        for line in message.lines() {
            writeln!(f, "  | {line}")?;
        }
        write!(f, "  run it again: {}", self.reproduce)
    }
}
