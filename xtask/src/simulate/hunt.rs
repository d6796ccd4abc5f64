//! Many seeds, on all processors, and a sample of them twice.

use super::outcome::{Determinism, Divergence, Folder, Outcome};
use super::{Arguments, Place, one};
use crate::worker::{AfterFailure, Job, Order, Worker};
use crate::{Output, XtaskError, cargo, crew};
use holdfast_record::{Lane, SeedRecord};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

/// How many seeds of a lane run twice, if there are as many.
const SAMPLE: u64 = 200;
/// In how many places of the range the sample is taken.
const SLICES: u64 = 4;
/// How many seeds a worker gets at a time, at most: a worker that dies is started again for the rest.
const LARGEST_JOB: u64 = 500;

/// A hunt over ranges of seeds.
#[derive(Debug)]
pub struct Hunt<'a> {
    worker: &'a Worker,
    arguments: &'a Arguments,
    output: Output,
    parallel: usize,
}

impl<'a> Hunt<'a> {
    /// A hunt as the arguments say.
    pub fn new(worker: &'a Worker, arguments: &'a Arguments) -> Self {
        Hunt {
            worker,
            arguments,
            output: Output::of(arguments.json),
            parallel: arguments.jobs.unwrap_or_else(cargo::processors),
        }
    }

    pub(super) fn run(&self, places: &[Place], folder: Folder) -> Result<Outcome, XtaskError> {
        let began = Instant::now();
        let mut outcome = Outcome::new(folder, self.arguments.mutant.clone());
        for place in places {
            let seeds = self.seeds(place)?;
            let (records, determinism) = self.place(place, seeds.clone())?;
            let enough = seeds.end - seeds.start >= place.info.default_seeds;
            outcome.add(place, records, enough && self.arguments.mutant.is_none());
            outcome.determinism.push(determinism);
        }
        for place in places {
            self.page_of_first_failure(place, &mut outcome)?;
        }
        outcome.finish(began.elapsed())
    }

    fn seeds(&self, place: &Place) -> Result<Range<u64>, XtaskError> {
        let from = self.arguments.from;
        let count = self.arguments.seeds.unwrap_or(place.info.default_seeds);
        let end = from.checked_add(count);
        end.map(|end| from..end)
            .ok_or_else(|| XtaskError::Usage(format!("there are no {count} seeds from {from}")))
    }

    /// Runs a place's seeds, and its sample again. Records come back in order of seeds.
    fn place(
        &self,
        place: &Place,
        seeds: Range<u64>,
    ) -> Result<(Vec<SeedRecord>, Determinism), XtaskError> {
        let slices = sample(seeds.clone());
        let share = (seeds.end - seeds.start).div_ceil(4 * self.parallel as u64);
        let chunks = chunks(seeds.clone(), share.clamp(1, LARGEST_JOB));
        let firsts = chunks.len();
        let up = chunks
            .into_iter()
            .map(|range| self.job(place, range, Order::Up));
        let down = slices
            .iter()
            .map(|range| self.job(place, range.clone(), Order::Down));
        let jobs: Vec<Job> = up.chain(down).collect();

        let sampled: u64 = slices.iter().map(|s| s.end - s.start).sum();
        let what = format!("{} {}", place.scenario, place.info.lane);
        let bar = self.output.bar(seeds.end - seeds.start + sampled, &what);
        let (mut records, mut again) = (BTreeMap::new(), BTreeMap::new());
        let mut failed = 0;
        crew::run(self.worker, &jobs, self.parallel, |job, record| {
            if job < firsts && record.failure.is_some() {
                failed += 1;
                bar.set_message(format!("{failed} failed"));
            }
            let kept = if job < firsts {
                &mut records
            } else {
                &mut again
            };
            kept.insert(record.seed, record);
            bar.inc(1);
        })?;
        bar.finish_and_clear();
        let divergences = again
            .values()
            .filter_map(|second| Divergence::between(&records[&second.seed], second))
            .collect();
        let determinism = Determinism {
            scenario: place.scenario.clone(),
            lane: place.info.lane,
            seeds: again.len() as u64,
            divergences,
        };
        Ok((records.into_values().collect(), determinism))
    }

    fn job(&self, place: &Place, seeds: Range<u64>, order: Order) -> Job {
        Job {
            scenario: place.scenario.clone(),
            lane: place.info.lane,
            seeds,
            order,
            mutant: self.arguments.mutant.clone(),
            black_box: false,
            after_failure: AfterFailure::Continue,
        }
    }

    /// Runs the lowest seed that failed in a place once more, for its page; one more chance to diverge, too.
    fn page_of_first_failure(
        &self,
        place: &Place,
        outcome: &mut Outcome,
    ) -> Result<(), XtaskError> {
        let Some(first) = outcome.first_failure(place).cloned() else {
            return Ok(());
        };
        let job = self.job(place, first.seed..first.seed + 1, Order::Up);
        let again = one::run_with_page(self.worker, &job, outcome)?;
        let divergence = Divergence::between(&first, &again);
        let mut places = outcome.determinism.iter_mut();
        let here = |d: &&mut Determinism| d.scenario == place.scenario && d.lane == place.info.lane;
        let determinism = places.find(here).expect("every place was checked");
        if let Some(divergence) = divergence
            && !determinism.divergences.contains(&divergence)
        {
            determinism.divergences.push(divergence);
        }
        Ok(())
    }
}

/// The seeds of a range that run twice: two hundred in four slices spread over the range, or all when there are fewer.
pub fn sample(seeds: Range<u64>) -> Vec<Range<u64>> {
    let count = seeds.end - seeds.start;
    let size = SAMPLE.min(count);
    let slices = SLICES.min(size);
    (0..slices)
        .map(|i| {
            // Each slice ends where its part of the range ends: the last seed is always among them.
            let part_end = seeds.start + count * (i + 1) / slices;
            let length = size * (i + 1) / slices - size * i / slices;
            part_end - length..part_end
        })
        .collect()
}

fn chunks(seeds: Range<u64>, length: u64) -> Vec<Range<u64>> {
    let mut chunks = Vec::new();
    let mut from = seeds.start;
    while from < seeds.end {
        let to = seeds.end.min(from.saturating_add(length));
        chunks.push(from..to);
        from = to;
    }
    chunks
}

impl Divergence {
    /// What differs between two runs of one seed, if anything does: everything that a record says must be the same but
    /// the time that it took.
    fn between(first: &SeedRecord, second: &SeedRecord) -> Option<Divergence> {
        let (one, other) = (comparable(first), comparable(second));
        if one == other {
            return None;
        }
        let fields = serde_json::Map::keys(&one);
        let differing: Vec<&str> = fields
            .filter(|field| one.get(*field) != other.get(*field))
            .map(String::as_str)
            .collect();
        let story = |record: &SeedRecord| match &record.failure {
            Some(failure) => format!("{} ({} broke)", record.trace_hash, failure.property),
            None => record.trace_hash.clone(),
        };
        let second = format!("{}, unlike in {}", story(second), differing.join(", "));
        Some(Divergence {
            seed: first.seed,
            first: story(first),
            second,
        })
    }
}

/// What must be the same in two runs of one seed, by field.
fn comparable(record: &SeedRecord) -> serde_json::Map<String, serde_json::Value> {
    let json = serde_json::to_value(record).expect("records have texts for keys");
    let serde_json::Value::Object(mut fields) = json else {
        unreachable!("a record is an object");
    };
    fields.remove("cpu_ns");
    // The last words of a process that died name threads by numbers of the operating system.
    if record.trace_hash.is_empty()
        && let Some(failure) = fields.get_mut("failure").and_then(|f| f.as_object_mut())
    {
        failure.remove("message");
    }
    fields
}

impl Place {
    /// Whether a record is of this place.
    pub(super) fn holds(&self, scenario: &str, lane: Lane) -> bool {
        self.scenario == scenario && self.info.lane == lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(change: &str) -> SeedRecord {
        let record = r#"{"scenario": "s", "lane": "full", "seed": 4, "nodes": 3, "simulated_ns": 9, "cpu_ns": 1,
            "messages": 7, "operations": 5, "unknown": 0, "faults": {"kill": 1}, "marks": {"m": 2},
            "trace_hash": "abc", "failure": null}"#;
        let (from, to) = change.split_once(" => ").unwrap_or_default();
        serde_json::from_str(&record.replacen(from, to, 1)).expect("a record")
    }

    #[test]
    fn runs_must_be_the_same_in_everything_but_their_time() {
        let first = record("");
        assert_eq!(
            Divergence::between(&first, &record(r#""cpu_ns": 1 => "cpu_ns": 2"#)),
            None
        );
        for (change, field) in [
            (r#""m": 2 => "m": 3"#, "marks"),
            (r#""kill": 1 => "kill": 2"#, "faults"),
            (r#""operations": 5 => "operations": 6"#, "operations"),
            (r#""abc" => "abd""#, "trace_hash"),
        ] {
            let divergence = Divergence::between(&first, &record(change));
            let told = divergence.expect("they differ").second;
            assert!(told.ends_with(&format!("unlike in {field}")), "{told}");
        }
    }
}
