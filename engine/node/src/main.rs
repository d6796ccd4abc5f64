//! `engine`: runs a Holdfast node, and talks to one.

mod cli;
mod production;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match arguments.command {
        cli::Command::Serve(serve) => {
            production::start_logs(&serve.log, serve.log_format);
            production::stop_on_panic();
            production::run(|host| cli::serve::run(host, serve))
        }
        cli::Command::Status(status) => production::run(|host| cli::status::run(host, status)),
        cli::Command::Kv(kv) => production::run(|host| cli::kv::run(host, kv)),
    }
}
