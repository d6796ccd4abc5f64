//! Records as a table of columns, and the Parquet file made of it.
//!
//! One row a seed. Kinds of faults and names of marks are columns of their own, `fault.<kind>` and `mark.<name>`; a mark
//! that a lane does not declare is null there, one that it declares and did not reach is 0.

use crate::ReportError;
use holdfast_record::SeedRecord;
use polars::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

/// The column of the scenario's name.
pub const SCENARIO: &str = "scenario";
/// The column of the lane's name.
pub const LANE: &str = "lane";
/// The column of the seed.
pub const SEED: &str = "seed";
/// The column of the broken property; null where none broke.
pub const PROPERTY: &str = "failure_property";
/// What the columns of fault kinds begin with.
pub const FAULT_PREFIX: &str = "fault.";
/// What the columns of marks begin with.
pub const MARK_PREFIX: &str = "mark.";

/// One row a record, in the order given.
pub fn wide(records: &[SeedRecord]) -> Result<DataFrame, ReportError> {
    let mut columns = vec![
        text(SCENARIO, records, |r| Some(r.scenario.clone())),
        text(LANE, records, |r| Some(r.lane.to_string())),
        number(SEED, records, |r| Some(r.seed)),
        number("nodes", records, |r| Some(u64::from(r.nodes))),
        number("simulated_ns", records, |r| Some(r.simulated_ns)),
        number("cpu_ns", records, |r| Some(r.cpu_ns)),
        number("messages", records, |r| Some(r.messages)),
        number("operations", records, |r| Some(r.operations)),
        number("unknown", records, |r| Some(r.unknown)),
        text("trace_hash", records, |r| Some(r.trace_hash.clone())),
        text(PROPERTY, records, |r| {
            r.failure.as_ref().map(|f| f.property.clone())
        }),
        text("failure_message", records, |r| {
            r.failure.as_ref().map(|f| f.message.clone())
        }),
        number("failure_at_ns", records, |r| {
            r.failure.as_ref().map(|f| f.at_ns)
        }),
        number("failure_node", records, |r| {
            r.failure.as_ref()?.node.map(u64::from)
        }),
    ];
    for kind in names(records, |r| &r.faults) {
        let column = format!("{FAULT_PREFIX}{kind}");
        // A kind that a seed never drew is a kind that happened no times.
        columns.push(number(&column, records, |r| {
            Some(r.faults.get(&kind).copied().unwrap_or(0))
        }));
    }
    for mark in names(records, |r| &r.marks) {
        let column = format!("{MARK_PREFIX}{mark}");
        columns.push(number(&column, records, |r| r.marks.get(&mark).copied()));
    }
    Ok(DataFrame::new(records.len(), columns)?)
}

/// One row a record and name: the columns `scenario`, `lane`, `name`, `count` and `hit` (1 where `count` is not 0).
pub fn long(
    records: &[SeedRecord],
    counts: impl Fn(&SeedRecord) -> &BTreeMap<String, u64>,
) -> Result<DataFrame, ReportError> {
    let rows: Vec<(&SeedRecord, &String, u64)> = records
        .iter()
        .flat_map(|r| counts(r).iter().map(move |(name, count)| (r, name, *count)))
        .collect();
    let columns = vec![
        text(SCENARIO, &rows, |(r, ..)| Some(r.scenario.clone())),
        text(LANE, &rows, |(r, ..)| Some(r.lane.to_string())),
        text("name", &rows, |(_, name, _)| Some((*name).clone())),
        number("count", &rows, |(.., count)| Some(*count)),
        number("hit", &rows, |(.., count)| Some(u64::from(*count > 0))),
    ];
    Ok(DataFrame::new(rows.len(), columns)?)
}

/// Writes the records to `path` as Parquet, replacing what was there. Returns the file's size in bytes.
pub fn write_parquet(records: &[SeedRecord], path: &Path) -> Result<u64, ReportError> {
    let file = File::create(path)?;
    Ok(ParquetWriter::new(file)
        .with_compression(ParquetCompression::Uncompressed)
        .finish(&mut wide(records)?)?)
}

/// Reads a file that [`write_parquet`] wrote.
pub fn read_parquet(path: &Path) -> Result<DataFrame, ReportError> {
    Ok(ParquetReader::new(File::open(path)?).finish()?)
}

fn names(
    records: &[SeedRecord],
    counts: impl Fn(&SeedRecord) -> &BTreeMap<String, u64>,
) -> BTreeSet<String> {
    records
        .iter()
        .flat_map(|r| counts(r).keys().cloned())
        .collect()
}

fn number<T>(name: &str, rows: &[T], value: impl Fn(&T) -> Option<u64>) -> Column {
    Column::new(name.into(), rows.iter().map(value).collect::<Vec<_>>())
}

fn text<T>(name: &str, rows: &[T], value: impl Fn(&T) -> Option<String>) -> Column {
    Column::new(name.into(), rows.iter().map(value).collect::<Vec<_>>())
}
