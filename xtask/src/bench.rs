//! `cargo xtask bench`: speed, beside a rival's where there is one.

mod links;

use crate::worker::Worker;
use crate::{Output, Verdict, XtaskError, cargo, clients};
use holdfast_record::worker::BenchRow;
use holdfast_reports::table::{Align, Table, short, wrapped};
use std::path::Path;

/// The benchmarks, with what each measures.
pub const BENCHES: [(&str, &str); 8] = [
    (
        "sim",
        "the simulator: messages and simulated time per CPU second in each lane",
    ),
    (
        "log",
        "the log: records appended and synced, beside SQLite on the same disk",
    ),
    (
        "raft",
        "the Raft core: entries committed by a group in one process",
    ),
    (
        "http",
        "the HTTP client: requests per CPU second, beside bare connections of hyper's",
    ),
    (
        "page",
        "the links of a page: megabytes per CPU second, beside html5ever's tokenizer",
    ),
    (
        "job",
        "a job of 100,000 links: memory of the node, and how long a page of results takes",
    ),
    (
        "kademlia",
        "the DHT: lookups on loopback beside libtorrent's, and among up to 100,000 simulated nodes, some of them dead",
    ),
    (
        "links",
        "the link checker, beside lychee and linkchecker on one faulty site",
    ),
];

/// Measure speed, beside rivals where there are any; without a name, list what can be measured
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which benchmark: sim, log, raft, http, page, job, kademlia or links
    pub name: Option<String>,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(root: &Path, arguments: &Arguments) -> Result<Verdict, XtaskError> {
    let output = Output::of(arguments.json);
    let Some(name) = &arguments.name else {
        match output {
            Output::Json => println!("{}", crate::json(&BENCHES.map(|(name, _)| name))),
            Output::Text => print!("{}", list()),
        }
        return Ok(Verdict::Passed);
    };
    if !BENCHES.iter().any(|(known, _)| known == name) {
        let problem = format!("there is no benchmark `{name}`; there are\n{}", list());
        return Err(XtaskError::Usage(problem.trim_end().to_string()));
    }
    if name == "links" {
        return links::run(root, output);
    }
    let program = match name.as_str() {
        "kademlia" => "dht",
        _ => "benches",
    };
    let program = Worker::new(cargo::build_one(root, program, output)?);
    let libtorrent = match name.as_str() {
        "kademlia" => clients::ensure(root, &clients::LIBTORRENT, output)?,
        _ => None,
    };
    let libtorrent = libtorrent.map(|home| home.to_string_lossy().into_owned());
    let mut arguments = vec![name.as_str(), "--json"];
    if let Some(home) = &libtorrent {
        arguments.extend(["--libtorrent", home]);
    }
    output.note(&format!(
        "measuring {name}; leave the machine alone meanwhile"
    ));
    let spinner = output.spinner(&format!("measuring {name}"));
    let rows: Vec<BenchRow> = program.ask(&arguments)?;
    spinner.finish_and_clear();
    match output {
        Output::Json => println!("{}", crate::json(&rows)),
        Output::Text => print!("{}", table(&rows)),
    }
    Ok(Verdict::Passed)
}

fn list() -> String {
    let lines = BENCHES.map(|(name, what)| format!("  {name:<8} {what}\n"));
    lines.concat()
}

/// The measurements as a table, with their notes below.
pub fn table(rows: &[BenchRow]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("measured", Left),
        ("value", Right),
        ("unit", Left),
        ("rival", Left),
        ("its value", Right),
        ("ratio", Right),
    ]);
    let none = || "-".to_string();
    for row in rows {
        table.row(vec![
            row.name.clone(),
            short(row.value),
            row.unit.clone(),
            row.rival.clone().unwrap_or_else(none),
            row.rival_value.map_or_else(none, short),
            row.ratio.map_or_else(none, |ratio| format!("{ratio:.2}×")),
        ]);
    }
    let mut text = table.to_string();
    for row in rows.iter().filter(|row| !row.note.is_empty()) {
        let words: Vec<String> = row.note.split(", ").map(String::from).collect();
        text += &wrapped(
            &format!("{}:", row.name),
            &words,
            holdfast_reports::summary::WIDTH,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_a_rival_has_dashes() {
        let row: BenchRow =
            serde_json::from_str(r#"{"name": "appends", "value": 1234567.0, "unit": "entries/s"}"#)
                .unwrap();
        let other = BenchRow {
            rival: Some("SQLite".into()),
            rival_value: Some(1000.0),
            ratio: Some(2.5),
            note: "synced each time".into(),
            ..row.clone()
        };
        let text = table(&[row, other]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[2].starts_with("appends   1.23 M  entries/s  -"),
            "{text}"
        );
        assert!(lines[3].ends_with("SQLite     1.00 k  2.50×"), "{text}");
        assert_eq!(lines[4], "appends:  synced each time");
    }
}
