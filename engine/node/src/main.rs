//! `engine`: runs a Holdfast node, and talks to one.

mod cli;
mod production;

use clap::{CommandFactory, Parser};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let connection = arguments.connection;
    match arguments.command {
        cli::Command::Serve(_) if connection.is_given() => conflict(
            "--endpoint, --timeout, --api-key-file, --ca-file and --json are for talking to a node, not for `serve`",
        ),
        cli::Command::Serve(serve) => {
            production::start_logs(&serve.log, serve.log_format);
            production::stop_on_panic();
            production::run(|host| cli::serve::run(host, serve))
        }
        cli::Command::Status(status) => {
            production::run(|host| cli::status::run(host, status, connection))
        }
        cli::Command::Keys(keys) => match keys.conflict(&connection) {
            Some(message) => conflict(message),
            None => production::run(|host| cli::keys::run(host, keys, connection)),
        },
        cli::Command::Links(links) => match links.conflict(&connection) {
            Some(message) => conflict(message),
            None if links.is_scratch() => {
                production::run_scratch(|host| cli::links::run(host, links, connection))
            }
            None => production::run(|host| cli::links::run(host, links, connection)),
        },
        cli::Command::Dht(dht) => production::run(|host| cli::dht::run(host, dht, connection)),
        cli::Command::Kv(kv) => production::run(|host| cli::kv::run(host, kv, connection)),
    }
}

/// Ends the process as bad usage does.
fn conflict(message: &str) -> ! {
    let kind = clap::error::ErrorKind::ArgumentConflict;
    cli::Arguments::command().error(kind, message).exit()
}
