//! The command line of `cargo xtask`.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{Verdict, XtaskError, lint, simulate, workspace_root};

/// The tools of the Holdfast workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
#[command(
    after_help = "Exit codes: 0 all is well; 1 something was found; 2 the tool itself failed."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run scenarios in the deterministic simulator, many seeds or one
    Simulate(simulate::Arguments),
    /// Check formatting, clippy, the floors between rooms and the conventions of the source
    Lint(lint::Arguments),
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
        Command::Lint(arguments) => lint::run(&root, &arguments),
    }
}
