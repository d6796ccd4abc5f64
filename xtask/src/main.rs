//! The command line of `cargo xtask`.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{Verdict, XtaskError, bench, bugs, fuzz, lint, simulate, test, workspace_root};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The tools of the Holdfast workspace"
)]
#[command(
    after_help = "Exit codes: 0 all is well; 1 something was found; 2 the tool itself failed."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Simulate(simulate::Arguments),
    Bugs(bugs::Arguments),
    Test(test::Arguments),
    Lint(lint::Arguments),
    Bench(bench::Arguments),
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match run(command) {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<Verdict, XtaskError> {
    let root = workspace_root()?;
    match command {
        Command::Simulate(arguments) => simulate::run(&root, &arguments),
        Command::Bugs(arguments) => bugs::run(&root, &arguments),
        Command::Test(arguments) => test::run(&root, &arguments),
        Command::Lint(arguments) => lint::run(&root, &arguments),
        Command::Bench(arguments) => bench::run(&root, &arguments),
        Command::Fuzz(arguments) => fuzz::run(&root, &arguments),
    }
}
