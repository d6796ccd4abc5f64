//! How fast the simulator, the log, the Raft core, the HTTP client and the reading of pages are, each beside a rival
//! that does the same, or less, in the same run. A package of its own, so that what runs seeds links no rival. The
//! command line is described in `holdfast_record::worker`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what is measured is real time on a real disk; nothing here is simulated but by the library measured"
)]

mod http;
mod job;
mod links;
mod log;
mod loopback;
mod measure;
mod overlay;
mod page;
mod raft;
mod sim;
mod site;

use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_record::worker::BenchRow;
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(
    name = "benches",
    about = "Measures speed, beside rivals in the same run",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure.
    #[arg(value_enum, required = true)]
    name: Option<Bench>,
    /// Print a JSON array instead of a table.
    #[arg(long)]
    json: bool,
    /// Run this seed of raft-kv in the full lane and print its record, for `sim`: the lane wants a process for each.
    #[arg(long, value_name = "SEED")]
    full_seed: Option<u64>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the faulty site on loopback until standard input ends.
    Site(site::Arguments),
    /// Run link checkers over the faulty site, and hold their findings against the truth.
    Links(links::Arguments),
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    /// The simulator's lanes, the fast one beside the network of the library under its full lane.
    Sim,
    /// The log, beside the bare disk and SQLite.
    Log,
    /// The Raft core, beside that of TiKV.
    Raft,
    /// The HTTP client, beside bare connections of hyper's.
    Http,
    /// Reading the links of a page, beside html5ever's tokenizer.
    Page,
    /// A job of 100,000 links: memory, and pages of results.
    Job,
}

#[derive(Parser)]
#[command(
    name = "dht",
    about = "Measures the DHT, beside libtorrent's where it is there"
)]
struct DhtCli {
    #[command(subcommand)]
    command: DhtCommand,
}

#[derive(Subcommand)]
enum DhtCommand {
    /// Lookups in overlays and what they cost to simulate; and on loopback, beside libtorrent.
    Kademlia(Rows),
    /// What of it is on loopback.
    Loopback(Rows),
    /// Look things up in overlays, and print the whole table.
    Overlay(overlay::Arguments),
}

#[derive(Args)]
struct Rows {
    /// Print a JSON array instead of a table.
    #[arg(long)]
    json: bool,
    /// An environment of Python that has libtorrent.
    #[arg(long, value_name = "FOLDER")]
    libtorrent: Option<PathBuf>,
}

/// The program `benches`.
pub fn benches() -> ExitCode {
    let cli = Cli::parse();
    if let Some(command) = &cli.command {
        return exit(match command {
            Command::Site(arguments) => site::serve(arguments),
            Command::Links(arguments) => links::print(arguments),
        });
    }
    if let Some(seed) = cli.full_seed {
        return match sim::full_seed(seed) {
            Ok(record) => {
                println!("{record}");
                ExitCode::SUCCESS
            }
            Err(error) => failure(error.as_ref()),
        };
    }
    let rows = match cli.name {
        Some(Bench::Sim) => sim::rows(),
        Some(Bench::Log) => log::rows(),
        Some(Bench::Raft) => raft::rows(),
        Some(Bench::Http) => http::rows(),
        Some(Bench::Page) => page::rows(),
        Some(Bench::Job) => job::rows(),
        None => Err("say what to measure".into()),
    };
    exit(rows.and_then(|rows| print(&rows, cli.json)))
}

/// The program `dht`.
pub fn dht() -> ExitCode {
    exit(match &DhtCli::parse().command {
        DhtCommand::Kademlia(arguments) => {
            let rows = loopback::rows(arguments.libtorrent.as_deref());
            rows.and_then(|mut rows| {
                rows.extend(overlay::rows()?);
                print(&rows, arguments.json)
            })
        }
        DhtCommand::Loopback(arguments) => loopback::rows(arguments.libtorrent.as_deref())
            .and_then(|rows| print(&rows, arguments.json)),
        DhtCommand::Overlay(arguments) => overlay::print(arguments),
    })
}

fn print(rows: &[BenchRow], json: bool) -> measure::Result<()> {
    let text = match json {
        true => serde_json::to_string(rows)?,
        false => table(rows),
    };
    println!("{}", text.trim_end());
    Ok(())
}

fn exit(done: measure::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(error.as_ref()),
    }
}

fn failure(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("benches: {error}");
    ExitCode::FAILURE
}

fn table(rows: &[BenchRow]) -> String {
    let longest = |text: fn(&BenchRow) -> usize| rows.iter().map(text).max().unwrap_or(0);
    let (name, unit) = (longest(|row| row.name.len()), longest(|row| row.unit.len()));
    let mut text = String::new();
    for row in rows {
        text += &format!(
            "{:<name$}  {:>12.1} {:<unit$}",
            row.name, row.value, row.unit
        );
        if let (Some(rival), Some(value), Some(ratio)) = (&row.rival, row.rival_value, row.ratio) {
            text += &format!("  {ratio:.2}x of {value:.1}, {rival}");
        }
        text += &format!("\n    {}\n", row.note);
    }
    text
}
