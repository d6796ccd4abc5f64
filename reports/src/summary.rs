//! Many records in a few rows: what ran, what was reached, what broke.

use crate::ReportError;
use crate::frame::{self, LANE, PROPERTY, SCENARIO};
use crate::table::{Align, Table, grouped, short, three_digits, wrapped};
use holdfast_record::{Lane, SeedRecord};
use polars::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// How wide a terminal the tables are made for, in characters.
pub const WIDTH: usize = 120;

/// A run in numbers. Rows are in order of scenario, lane and name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// One row a scenario and lane.
    pub lanes: Vec<LaneSummary>,
    /// One row a scenario, lane and mark.
    pub marks: Vec<MarkSummary>,
    /// One row a scenario, lane and property that broke.
    pub failures: Vec<FailureSummary>,
}

/// What one scenario did in one lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneSummary {
    /// The scenario.
    pub scenario: String,
    /// The lane.
    pub lane: Lane,
    /// How many seeds ran.
    pub seeds: u64,
    /// Simulated time of all seeds, hours.
    pub simulated_hours: f64,
    /// Answered client operations.
    pub operations: u64,
    /// Client operations whose outcome stayed unknown.
    pub unknown: u64,
    /// Messages handled.
    pub messages: u64,
    /// Faults that took effect, by kind; kinds that never did are left out.
    pub faults: BTreeMap<String, u64>,
    /// Seeds in which a property broke.
    pub failures: u64,
    /// Simulated seconds per CPU second.
    pub speedup: f64,
    /// Messages per CPU second.
    pub messages_per_cpu_second: f64,
    /// CPU milliseconds per seed, on average.
    pub cpu_ms_per_seed: f64,
}

/// How often a mark was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkSummary {
    /// The scenario.
    pub scenario: String,
    /// The lane.
    pub lane: Lane,
    /// The mark's name.
    pub mark: String,
    /// How often it was reached, over all seeds.
    pub count: u64,
    /// How many seeds reached it.
    pub seeds: u64,
    /// How many seeds declared it.
    pub of_seeds: u64,
}

/// How often a property broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureSummary {
    /// The scenario.
    pub scenario: String,
    /// The lane.
    pub lane: Lane,
    /// The property.
    pub property: String,
    /// In how many seeds it broke.
    pub seeds: u64,
    /// The lowest of them.
    pub first_seed: u64,
    /// What was seen in that one.
    pub message: String,
}

impl Summary {
    /// The marks that no seed reached.
    pub fn unreached(&self) -> impl Iterator<Item = &MarkSummary> {
        self.marks.iter().filter(|mark| mark.count == 0)
    }
}

/// Adds up records. Those of several scenarios and lanes may be mixed, in any order; the same seed twice counts twice.
pub fn aggregate(records: &[SeedRecord]) -> Result<Summary, ReportError> {
    if records.is_empty() {
        return Ok(Summary::default());
    }
    Ok(Summary {
        lanes: lanes(records)?,
        marks: marks(records)?,
        failures: failures(records)?,
    })
}

fn lanes(records: &[SeedRecord]) -> Result<Vec<LaneSummary>, ReportError> {
    let mut rows = frame::wide(records)?;
    let failed: Vec<u64> = records.iter().map(|r| r.failure.is_some().into()).collect();
    rows.with_column(Column::new("failed".into(), failed))?;
    rows.with_column(Column::new("seeds".into(), vec![1u64; records.len()]))?;
    let sums = [
        "seeds",
        "simulated_ns",
        "cpu_ns",
        "messages",
        "operations",
        "unknown",
        "failed",
    ];
    let totals = Groups::of(&rows, &[SCENARIO, LANE], &sums)?;
    let faults = Groups::of(
        &frame::long(records, |r| &r.faults)?,
        &[SCENARIO, LANE, "name"],
        &["count"],
    )?;
    (0..totals.len())
        .map(|i| {
            let (scenario, lane) = (totals.text(SCENARIO, i)?, totals.lane(i)?);
            let cpu_seconds = totals.sum("cpu_ns", i)? as f64 / 1e9;
            let per_cpu_second = |n: f64| {
                if cpu_seconds > 0.0 {
                    n / cpu_seconds
                } else {
                    0.0
                }
            };
            let simulated_seconds = totals.sum("simulated_ns", i)? as f64 / 1e9;
            let (seeds, messages) = (totals.sum("seeds", i)?, totals.sum("messages", i)?);
            Ok(LaneSummary {
                seeds,
                simulated_hours: simulated_seconds / 3600.0,
                operations: totals.sum("operations", i)?,
                unknown: totals.sum("unknown", i)?,
                messages,
                faults: faults.counts_of(&scenario, lane)?,
                failures: totals.sum("failed", i)?,
                speedup: per_cpu_second(simulated_seconds),
                messages_per_cpu_second: per_cpu_second(messages as f64),
                cpu_ms_per_seed: cpu_seconds * 1e3 / seeds as f64,
                scenario,
                lane,
            })
        })
        .collect()
}

fn marks(records: &[SeedRecord]) -> Result<Vec<MarkSummary>, ReportError> {
    let mut rows = frame::long(records, |r| &r.marks)?;
    rows.with_column(Column::new("declared".into(), vec![1u64; rows.height()]))?;
    let groups = Groups::of(
        &rows,
        &[SCENARIO, LANE, "name"],
        &["count", "hit", "declared"],
    )?;
    (0..groups.len())
        .map(|i| {
            Ok(MarkSummary {
                scenario: groups.text(SCENARIO, i)?,
                lane: groups.lane(i)?,
                mark: groups.text("name", i)?,
                count: groups.sum("count", i)?,
                seeds: groups.sum("hit", i)?,
                of_seeds: groups.sum("declared", i)?,
            })
        })
        .collect()
}

fn failures(records: &[SeedRecord]) -> Result<Vec<FailureSummary>, ReportError> {
    let failed: Vec<SeedRecord> = records
        .iter()
        .filter(|r| r.failure.is_some())
        .cloned()
        .collect();
    let mut rows = frame::wide(&failed)?;
    rows.with_column(Column::new("seeds".into(), vec![1u64; failed.len()]))?;
    let groups = Groups::of(&rows, &[SCENARIO, LANE, PROPERTY], &["seeds"])?;
    (0..groups.len())
        .map(|i| {
            let (scenario, lane) = (groups.text(SCENARIO, i)?, groups.lane(i)?);
            let property = groups.text(PROPERTY, i)?;
            let (first_seed, message) = failed
                .iter()
                .filter(|r| r.scenario == scenario && r.lane == lane)
                .filter_map(|r| Some((r.seed, r.failure.as_ref()?)))
                .filter(|(_, failure)| failure.property == property)
                .min_by_key(|(seed, _)| *seed)
                .map(|(seed, failure)| (seed, failure.message.clone()))
                .expect("the group was made of these records");
            Ok(FailureSummary {
                seeds: groups.sum("seeds", i)?,
                scenario,
                lane,
                property,
                first_seed,
                message,
            })
        })
        .collect()
}

/// Sums of columns by the values of others, in their order.
struct Groups(DataFrame);

impl Groups {
    // The alternative is the lazy engine, which would triple the build of polars for four sums.
    #[expect(deprecated, reason = "the eager sum, see above")]
    fn of(rows: &DataFrame, keys: &[&str], sums: &[&str]) -> Result<Self, ReportError> {
        let mut totals = rows
            .group_by(keys.iter().copied())?
            .select(sums.iter().copied())
            .sum()?;
        for name in sums {
            totals.rename(&format!("{name}_sum"), (*name).into())?;
        }
        let order = SortMultipleOptions::default();
        Ok(Groups(totals.sort(keys.iter().copied(), order)?))
    }

    fn len(&self) -> usize {
        self.0.height()
    }

    fn sum(&self, column: &str, row: usize) -> Result<u64, ReportError> {
        Ok(self.0.column(column)?.u64()?.get(row).unwrap_or(0))
    }

    fn text(&self, column: &str, row: usize) -> Result<String, ReportError> {
        let value = self.0.column(column)?.str()?.get(row);
        Ok(value.expect("keys are never null").to_string())
    }

    fn lane(&self, row: usize) -> Result<Lane, ReportError> {
        Ok(self
            .text(LANE, row)?
            .parse()
            .expect("written by Lane's Display"))
    }

    fn counts_of(&self, scenario: &str, lane: Lane) -> Result<BTreeMap<String, u64>, ReportError> {
        let mut counts = BTreeMap::new();
        for i in 0..self.len() {
            let count = self.sum("count", i)?;
            if count > 0 && self.text(SCENARIO, i)? == scenario && self.lane(i)? == lane {
                counts.insert(self.text("name", i)?, count);
            }
        }
        Ok(counts)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.lanes_table())?;
        writeln!(
            f,
            "sim. h: simulated hours; sim/CPU: simulated seconds per CPU second; ms/seed: CPU milliseconds per seed\n"
        )?;
        for lane in self.lanes.iter().filter(|lane| !lane.faults.is_empty()) {
            let items: Vec<String> = lane
                .faults
                .iter()
                .map(|(kind, count)| format!("{kind} {}", grouped(*count)))
                .collect();
            let label = format!("faults, {} {}", lane.scenario, lane.lane);
            write!(f, "{}", wrapped(&label, &items, WIDTH))?;
        }
        if !self.marks.is_empty() {
            write!(f, "\n{}", self.marks_table())?;
        }
        if !self.failures.is_empty() {
            write!(f, "\n{}", self.failures_table())?;
        }
        Ok(())
    }
}

impl Summary {
    fn lanes_table(&self) -> Table {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("scenario", Left),
            ("lane", Left),
            ("seeds", Right),
            ("sim. h", Right),
            ("operations", Right),
            ("unknown", Right),
            ("messages", Right),
            ("faults", Right),
            ("failures", Right),
            ("sim/CPU", Right),
            ("msgs/CPU s", Right),
            ("ms/seed", Right),
        ]);
        for row in &self.lanes {
            table.row(vec![
                row.scenario.clone(),
                row.lane.to_string(),
                grouped(row.seeds),
                three_digits(row.simulated_hours),
                grouped(row.operations),
                grouped(row.unknown),
                short(row.messages as f64),
                grouped(row.faults.values().sum()),
                grouped(row.failures),
                format!("{}×", short(row.speedup)),
                short(row.messages_per_cpu_second),
                three_digits(row.cpu_ms_per_seed),
            ]);
        }
        table
    }

    fn marks_table(&self) -> Table {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("mark", Left),
            ("scenario", Left),
            ("lane", Left),
            ("reached", Right),
            ("in seeds", Right),
            ("of", Right),
            ("", Left),
        ]);
        for row in &self.marks {
            table.row(vec![
                row.mark.clone(),
                row.scenario.clone(),
                row.lane.to_string(),
                grouped(row.count),
                grouped(row.seeds),
                grouped(row.of_seeds),
                String::from(if row.count == 0 { "not reached" } else { "" }),
            ]);
        }
        table
    }

    fn failures_table(&self) -> Table {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("broken property", Left),
            ("scenario", Left),
            ("lane", Left),
            ("seeds", Right),
            ("first seed", Right),
            ("what was seen there", Left),
        ]);
        for row in &self.failures {
            table.row(vec![
                row.property.clone(),
                row.scenario.clone(),
                row.lane.to_string(),
                grouped(row.seeds),
                row.first_seed.to_string(),
                first_line(&row.message),
            ]);
        }
        table
    }
}

/// The first line of a message, cut where a table would grow too wide.
fn first_line(message: &str) -> String {
    const LONGEST: usize = 60;
    let line = message.lines().next().unwrap_or("");
    if line.chars().count() > LONGEST {
        let mut cut: String = line.chars().take(LONGEST - 1).collect();
        cut.push('…');
        return cut;
    }
    line.to_string()
}
