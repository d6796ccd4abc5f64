//! One seed or one plan, and its page.

use super::outcome::{Folder, Outcome};
use super::{Arguments, Place, known, reproduce};
use crate::XtaskError;
use crate::worker::{AfterFailure, Job, Order, Worker};
use holdfast_record::worker::ScenarioInfo;
use holdfast_record::{SeedRecord, Timeline};
use std::path::Path;
use std::time::Instant;

/// Runs one seed in each place.
pub(super) fn seed(
    worker: &Worker,
    places: &[Place],
    arguments: &Arguments,
    seed: u64,
    folder: Folder,
) -> Result<Outcome, XtaskError> {
    let began = Instant::now();
    let end = seed
        .checked_add(1)
        .ok_or_else(|| XtaskError::Usage(format!("seeds end before {seed}")))?;
    let mut outcome = Outcome::new(folder, arguments.mutant.clone());
    for place in places {
        let job = Job {
            scenario: place.scenario.clone(),
            lane: place.info.lane,
            seeds: seed..end,
            order: Order::Up,
            mutant: arguments.mutant.clone(),
            black_box: false,
            after_failure: AfterFailure::Continue,
        };
        let record = run_with_page(worker, &job, &mut outcome)?;
        outcome.add(place, vec![record], false);
    }
    outcome.finish(began.elapsed())
}

/// Runs the first seed of `job` and writes its page.
pub(super) fn run_with_page(
    worker: &Worker,
    job: &Job,
    outcome: &mut Outcome,
) -> Result<SeedRecord, XtaskError> {
    let seed = job.seeds.start;
    let name = format!("{}-{}-seed-{seed}", job.scenario, job.lane);
    let timeline = timeline_file()?;
    let record = worker.run_one(job, seed, timeline.path())?;
    let again = reproduce(&job.scenario, job.lane, seed, job.mutant.as_deref());
    let story = read_timeline(timeline.path())?;
    outcome.write_page(&name, &record, story.as_ref(), &again)?;
    Ok(record)
}

/// Runs a plan as it is written.
pub(super) fn replay(
    worker: &Worker,
    scenarios: &[ScenarioInfo],
    arguments: &Arguments,
    plan: &Path,
    folder: Folder,
) -> Result<Outcome, XtaskError> {
    let began = Instant::now();
    let scenario = match &arguments.scenario {
        Some(name) => name.clone(),
        None => scenario_of(plan)?,
    };
    known(scenarios, &scenario)?;
    let mut outcome = Outcome::new(folder, arguments.mutant.clone());
    let timeline = timeline_file()?;
    let mutant = arguments.mutant.as_deref();
    let record = worker.replay(&scenario, arguments.lane, mutant, plan, timeline.path())?;
    let mut again = format!("cargo xtask simulate {scenario}");
    if let Some(lane) = arguments.lane {
        again += &format!(" --lane {lane}");
    }
    again += &format!(" --replay {}", plan.display());
    if let Some(mutant) = mutant {
        again += &format!(" --mutant {mutant}");
    }
    let story = read_timeline(timeline.path())?;
    outcome.write_page(
        &format!("{scenario}-replay"),
        &record,
        story.as_ref(),
        &again,
    )?;
    let place = super::places(scenarios, Some(&scenario), Some(record.lane))?;
    outcome.add(&place[0], vec![record], false);
    for broken in &mut outcome.failures {
        broken.reproduce.clone_from(&again);
    }
    outcome.finish(began.elapsed())
}

/// The scenario that a plan was drawn for. The rest of the plan is the worker's to read.
fn scenario_of(plan: &Path) -> Result<String, XtaskError> {
    let what = format!("read the plan {}", plan.display());
    let text = std::fs::read_to_string(plan).map_err(XtaskError::io(what))?;
    let problem = |why: String| XtaskError::Usage(format!("{} {why}", plan.display()));
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| problem(format!("is not JSON: {e}")))?;
    let name = json.get("scenario").and_then(|name| name.as_str());
    name.map(String::from)
        .ok_or_else(|| problem("does not say its \"scenario\": name it on the command line".into()))
}

/// An empty file for a worker to write its timeline to, gone when dropped.
fn timeline_file() -> Result<tempfile::NamedTempFile, XtaskError> {
    tempfile::NamedTempFile::new().map_err(XtaskError::io("make a temporary file"))
}

/// Reads the timeline that a worker wrote; `None` if it died before it wrote one.
fn read_timeline(path: &Path) -> Result<Option<Timeline>, XtaskError> {
    let bytes = std::fs::read(path).map_err(XtaskError::io("read a timeline"))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let timeline = serde_json::from_slice(&bytes).map_err(|e| XtaskError::Io {
        what: "understand a timeline".into(),
        source: e.into(),
    })?;
    Ok(Some(timeline))
}
