//! Runs scenarios seed by seed, for `cargo xtask`; the command line is described in `holdfast_record::worker`.
#![allow(
    clippy::disallowed_methods,
    reason = "a tool on a developer's machine writes the files that it is told to"
)]

use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_record::Lane;
use holdfast_scenarios::{MUTANTS, Outcome, Run, SCENARIOS, Scenario, Source, find, find_mutant};
use holdfast_sim::plan::FaultPlan;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// A simulated world is many small, short-lived things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "seeds", about = "Runs simulated scenarios seed by seed")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the scenarios as JSON.
    List,
    /// Print the planted bugs as JSON.
    Mutants,
    /// Run seeds; one JSON record a line.
    Run(RunArgs),
}

#[derive(Args)]
struct RunArgs {
    /// The scenario's name.
    scenario: String,
    /// Where to run: the fast lane when nothing is said, a plan in the lane that it was drawn for.
    #[arg(long)]
    lane: Option<Lane>,
    /// The first seed.
    #[arg(long, requires = "to")]
    from: Option<u64>,
    /// After the last seed.
    #[arg(long, requires = "from")]
    to: Option<u64>,
    /// Upwards or downwards.
    #[arg(long, value_enum, default_value_t = Order::Forward)]
    order: Order,
    /// Stop at the first seed that fails.
    #[arg(long)]
    stop_on_failure: bool,
    /// One seed.
    #[arg(long, conflicts_with = "from")]
    seed: Option<u64>,
    /// A fault plan to run as it is written.
    #[arg(long, conflicts_with_all = ["from", "seed"])]
    replay: Option<PathBuf>,
    /// A bug to plant, by name or number.
    #[arg(long)]
    mutant: Option<String>,
    /// Let only the properties count that are seen from outside.
    #[arg(long)]
    black_box: bool,
    /// Write what the report's page shows to this file.
    #[arg(long)]
    timeline: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Forward,
    Reverse,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seeds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<(), String> {
    match command {
        Command::List => {
            let infos: Vec<_> = SCENARIOS.iter().map(|s| s.info()).collect();
            print_line(&infos)
        }
        Command::Mutants => {
            let infos: Vec<_> = MUTANTS.iter().map(|m| m.info()).collect();
            print_line(&infos)
        }
        Command::Run(args) => run(&args),
    }
}

fn run(args: &RunArgs) -> Result<(), String> {
    let scenario = find(&args.scenario).ok_or_else(|| {
        let names: Vec<_> = SCENARIOS.iter().map(|s| s.info().name).collect();
        format!(
            "no scenario `{}`: there are {}",
            args.scenario,
            names.join(", ")
        )
    })?;
    let mutant = match &args.mutant {
        None => None,
        Some(name) => Some(find_mutant(name).ok_or_else(|| format!("no planted bug `{name}`"))?),
    };
    if mutant.is_some() && !cfg!(debug_assertions) {
        return Err("planted bugs exist only in builds with debug assertions".into());
    }
    let lane = args.lane.unwrap_or(Lane::Fast);
    let one = |lane, source| Run {
        lane,
        source,
        mutant,
        black_box: args.black_box,
        timeline: args.timeline.is_some(),
    };
    if let Some(path) = &args.replay {
        let plan = FaultPlan::load(path).map_err(|error| error.to_string())?;
        let lane = args.lane.unwrap_or(plan.lane);
        return report(scenario, &one(lane, Source::Plan(plan)), args).map(drop);
    }
    if let Some(seed) = args.seed {
        return report(scenario, &one(lane, Source::Seed(seed)), args).map(drop);
    }
    let (Some(from), Some(to)) = (args.from, args.to) else {
        return Err(
            "name seeds with --from and --to, one with --seed, or a plan with --replay".into(),
        );
    };
    if lane == Lane::Full && to - from > 1 {
        return Err("the full lane runs one seed a process: use --seed".into());
    }
    for i in 0..to.saturating_sub(from) {
        let seed = match args.order {
            Order::Forward => from + i,
            Order::Reverse => to - 1 - i,
        };
        let outcome = report(scenario, &one(lane, Source::Seed(seed)), args)?;
        if args.stop_on_failure && outcome.record.failure.is_some() {
            break;
        }
    }
    Ok(())
}

fn report(scenario: &dyn Scenario, run: &Run, args: &RunArgs) -> Result<Outcome, String> {
    let outcome = scenario.run(run);
    print_line(&outcome.record)?;
    if let (Some(path), Some(timeline)) = (&args.timeline, &outcome.timeline) {
        let json = serde_json::to_vec(timeline).map_err(|error| error.to_string())?;
        std::fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(outcome)
}

fn print_line<T: serde::Serialize>(value: &T) -> Result<(), String> {
    let mut line = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))
}
