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

use clap::{Parser, Subcommand, ValueEnum};
use holdfast_record::worker::BenchRow;
use std::{path::PathBuf, process::ExitCode};

/// The allocator of the binary `seeds`, whose speed is asked for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// An environment of Python that has libtorrent, for `kademlia`.
    #[arg(long, value_name = "FOLDER")]
    libtorrent: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the faulty site on loopback until standard input ends.
    Site(site::Arguments),
    /// Run link checkers over the faulty site, and hold their findings against the truth.
    Links(links::Arguments),
    /// Look things up in overlays of the DHT, and print the whole table.
    Overlay(overlay::Arguments),
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
    /// Lookups in overlays of the DHT and what they cost to simulate; and on loopback, beside libtorrent.
    Kademlia,
    /// What of it is on loopback.
    Loopback,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(command) = &cli.command {
        let done = match command {
            Command::Site(arguments) => site::serve(arguments),
            Command::Links(arguments) => links::print(arguments),
            Command::Overlay(arguments) => overlay::print(arguments),
        };
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(error.as_ref()),
        };
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
    let libtorrent = cli.libtorrent.as_deref();
    let rows = match cli.name {
        Some(Bench::Sim) => sim::rows(),
        Some(Bench::Log) => log::rows(),
        Some(Bench::Raft) => raft::rows(),
        Some(Bench::Http) => http::rows(),
        Some(Bench::Page) => page::rows(),
        Some(Bench::Job) => job::rows(),
        Some(Bench::Kademlia) => loopback::rows(libtorrent)
            .and_then(|rows| Ok(rows.into_iter().chain(overlay::rows()?).collect())),
        Some(Bench::Loopback) => loopback::rows(libtorrent),
        None => Err("say what to measure".into()),
    };
    let printed = rows.and_then(|rows| match cli.json {
        true => serde_json::to_string(&rows).map_err(Into::into),
        false => Ok(table(&rows)),
    });
    match printed {
        Ok(text) => {
            println!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
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
