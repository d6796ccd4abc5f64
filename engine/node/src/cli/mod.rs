//! The command line.

pub mod kv;
pub mod serve;
pub mod status;

use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_host::Host;
use holdfast_node::client::{Client, ClientConfig, ClientError, Retry};
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Exit code when no node could be reached.
const UNREACHABLE: u8 = 3;
/// Exit code when a command may or may not have been carried out.
const UNKNOWN: u8 = 4;

/// Holdfast: a replicated key-value store that is tested by trying to destroy it.
///
/// `engine serve` runs a node; everything else talks to one.
#[derive(Debug, Parser)]
#[command(
    name = "engine",
    version,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 bad usage or configuration, 3 no node reached, \
                  4 outcome unknown"
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(serve::Serve),
    Status(status::Status),
    /// Read and change keys
    #[command(subcommand)]
    Kv(kv::Kv),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Whom to ask, and how to answer.
#[derive(Clone, Debug, Args)]
pub struct Connection {
    /// A node's client address; give several to go on when one is down
    #[arg(
        long = "endpoint",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:7480"
    )]
    pub endpoints: Vec<String>,
    /// How long to go on trying, such as 5s
    #[arg(long, value_name = "DURATION", default_value = "15s",
          value_parser = holdfast_node::config::parse_duration)]
    pub timeout: std::time::Duration,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

impl Connection {
    fn client(&self, host: &Host) -> Client {
        let mut config = ClientConfig::new(self.endpoints.clone());
        config.retry = Retry::For(self.timeout);
        config.attempt_timeout = self.timeout.min(config.attempt_timeout);
        config.connect_timeout = self.timeout.min(config.connect_timeout);
        Client::new(host, config)
    }
}

/// Why a command of the command line ended badly.
#[derive(Debug)]
pub enum Failure {
    /// A call to a node did.
    Client(ClientError),
    /// The key is not there.
    NotFound(String),
    /// Standard input or output did.
    Io(io::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

/// Tells a failure on standard error, and the exit code that goes with it.
fn finish(result: Result<(), Failure>) -> ExitCode {
    let (message, code) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Err(Failure::Io(error)) => (error.to_string(), 1),
        Err(Failure::NotFound(key)) => (format!("no such key: {key}"), 1),
        Err(Failure::Client(error)) => {
            let code = match &error {
                ClientError::Refused(_) => 1,
                ClientError::Unreachable { .. } => UNREACHABLE,
                ClientError::Unknown(_) => UNKNOWN,
            };
            (error.to_string(), code)
        }
    };
    eprintln!("error: {message}");
    ExitCode::from(code)
}

/// Writes one JSON document and a newline to standard output.
fn print_json(value: &impl serde::Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Bytes for people: text as it is, everything else escaped.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}
