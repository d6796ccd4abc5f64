//! `engine`: runs a Holdfast node, and talks to one.

mod cli;
mod production;

use clap::{CommandFactory, Parser};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let connection = arguments.connection;
    match arguments.command {
        cli::Command::Serve(_) if connection.is_given() => {
            let message =
                "--endpoint, --timeout and --json are for talking to a node, not for `serve`";
            let kind = clap::error::ErrorKind::ArgumentConflict;
            cli::Arguments::command().error(kind, message).exit()
        }
        cli::Command::Serve(serve) => {
            production::start_logs(&serve.log, serve.log_format);
            production::stop_on_panic();
            production::run(|host| cli::serve::run(host, serve))
        }
        cli::Command::Status(status) => {
            production::run(|host| cli::status::run(host, status, connection))
        }
        cli::Command::Kv(kv) => production::run(|host| cli::kv::run(host, kv, connection)),
    }
}
