//! Link checkers side by side.

use crate::worker::Worker;
use crate::{Output, Verdict, XtaskError, cargo, clients, tools};
use holdfast_record::worker::CheckerRow;
use holdfast_reports::table::{Align, Table, wrapped};
use std::path::{Path, PathBuf};

/// Gives the benchmark the checkers that there are, and prints what came of it.
pub fn run(root: &Path, output: Output) -> Result<Verdict, XtaskError> {
    let mut programs = cargo::build(root, &["benches", "engine"], output)?;
    let mut take = |name: &str| programs.remove(name).expect("cargo::build checks");
    let worker = Worker::new(take("benches"));
    let mut arguments = vec!["links".to_string(), "--json".to_string()];
    let mut give = |name: &str, program: Option<PathBuf>| match program {
        Some(program) => {
            arguments.push(format!("--{name}"));
            arguments.push(program.to_string_lossy().into_owned());
        }
        None => output.note(&format!(
            "SKIPPED: {name} is not here, and cannot be installed"
        )),
    };
    give("engine", Some(take("engine")));
    give("lychee", clients::ensure(root, &clients::LYCHEE, output)?);
    give("linkchecker", linkchecker(root, output)?);
    output.note("measuring links; leave the machine alone meanwhile");
    let spinner = output.spinner("measuring links");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let rows: Vec<CheckerRow> = worker.ask(&arguments)?;
    spinner.finish_and_clear();
    match output {
        Output::Json => println!("{}", crate::json(&rows)),
        Output::Text => print!("{}", table(&rows)),
    }
    Ok(Verdict::Passed)
}

/// The system's own where there is one: started by root it becomes nobody, who cannot read an environment of ours
/// everywhere.
fn linkchecker(root: &Path, output: Output) -> Result<Option<PathBuf>, XtaskError> {
    let tool = tools::Tool {
        program: "linkchecker",
        package: "linkchecker",
        needed_for: clients::LINKCHECKER.needed_for,
    };
    if tools::provide(&[tool], output)?.is_empty() {
        return Ok(Some(PathBuf::from(tool.program)));
    }
    clients::ensure(root, &clients::LINKCHECKER, output)
}

/// The checkers as a table, with what they missed below.
pub fn table(rows: &[CheckerRow]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("checker", Left),
        ("wall", Right),
        ("CPU", Right),
        ("peak", Right),
        ("requests", Right),
        ("URLs", Right),
        ("twice", Right),
        ("forbidden", Right),
        ("faults found", Right),
        ("false alarms", Right),
    ]);
    for row in rows.iter().filter(|row| row.skipped.is_none()) {
        table.row(vec![
            row.name.clone(),
            format!("{:.2} s", row.wall_seconds),
            format!("{:.2} s", row.cpu_seconds),
            format!("{:.0} MiB", row.peak_bytes / f64::from(1 << 20)),
            row.requests.to_string(),
            row.distinct.to_string(),
            row.duplicates.to_string(),
            row.forbidden.to_string(),
            format!("{} of {}", row.faults - row.missed.len() as u64, row.faults),
            row.false_alarms.len().to_string(),
        ]);
    }
    let mut text = table.to_string();
    let mut list = |title: String, words: Vec<String>| {
        if !words.is_empty() {
            text += &wrapped(&title, &words, holdfast_reports::summary::WIDTH);
        }
    };
    for row in rows {
        match &row.skipped {
            Some(why) => list(format!("SKIPPED: {}:", row.name), vec![why.clone()]),
            None => {
                let words = row.note.split("; ").map(String::from).collect();
                list(format!("{}:", row.name), words);
                list(format!("{} missed:", row.name), row.missed.clone());
                list(
                    format!("{} false alarms:", row.name),
                    row.false_alarms.clone(),
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checker_that_did_not_run_is_told_of_aloud() {
        let ran = CheckerRow {
            name: "quick 1.0".into(),
            faults: 3,
            missed: vec!["a-href".into()],
            wall_seconds: 1.25,
            peak_bytes: 1048576.0,
            ..CheckerRow::default()
        };
        let skipped = CheckerRow {
            name: "other".into(),
            skipped: Some("it is not here".into()),
            ..CheckerRow::default()
        };
        let text = table(&[ran, skipped]);
        assert!(text.contains("1.25 s"), "{text}");
        assert!(text.contains("2 of 3"), "{text}");
        assert!(text.contains("quick 1.0 missed:  a-href"), "{text}");
        assert!(text.contains("SKIPPED: other:  it is not here"), "{text}");
    }
}
