//! The command line.

pub mod dht;
pub mod keys;
pub mod kv;
pub mod links;
pub mod serve;
pub mod status;

use crate::production::{environment, without_parents};
use clap::{Args, Parser, Subcommand, ValueEnum};
use holdfast_blobs::FetchError;
use holdfast_host::{Disk, Host, read_file};
use holdfast_node::{
    auth::{ApiKey, MalformedKey},
    client::{Client, ClientConfig, ClientError, Retry},
    http::TlsConnector,
};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
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
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(serve::Serve),
    Status(status::Status),
    /// Read and change keys
    #[command(subcommand)]
    Kv(kv::Kv),
    /// Check sites for broken links
    #[command(subcommand)]
    Links(links::Links),
    /// Ask and store in the BitTorrent DHT
    #[command(subcommand)]
    Dht(dht::Dht),
    /// Make and revoke API keys
    #[command(subcommand)]
    Keys(keys::Keys),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Where a node listens for clients when nothing else is said.
const ENDPOINT: &str = "127.0.0.1:7480";
/// How long a command goes on trying when nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The variable of the environment that holds an API key.
const API_KEY_VARIABLE: &str = "HOLDFAST_API_KEY";
/// Largest file with a key or certificates that is read.
const MAX_CREDENTIAL_BYTES: u64 = 1 << 20;

/// Whom to ask, and how to answer. Said before the command or behind it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Talking to nodes")]
pub struct Connection {
    /// A node's client address; give several to go on when one is down [default: 127.0.0.1:7480]
    #[arg(long = "endpoint", value_name = "HOST:PORT", global = true)]
    endpoints: Vec<String>,
    /// How long to go on trying, such as 5s [default: 15s]
    #[arg(long, value_name = "DURATION", global = true,
          value_parser = holdfast_node::config::parse_duration)]
    timeout: Option<Duration>,
    /// A file that holds the API key to show to nodes; without it, HOLDFAST_API_KEY of the environment is taken
    #[arg(long, value_name = "FILE", global = true)]
    api_key_file: Option<PathBuf>,
    /// A PEM file with the certificates by which nodes at https:// are known: their own, or that of who signed them
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
}

impl Connection {
    /// Whether anything was said.
    pub fn is_given(&self) -> bool {
        self.is_for_nodes() || self.json
    }

    /// Whether anything was said that only matters when a node is asked.
    pub fn is_for_nodes(&self) -> bool {
        self.names_nodes() || self.timeout.is_some()
    }

    /// Whether it was said which nodes are asked, or how they are to be known.
    pub fn names_nodes(&self) -> bool {
        let has_file = self.api_key_file.is_some() || self.ca_file.is_some();
        !self.endpoints.is_empty() || has_file
    }

    async fn client(&self, host: &Host) -> Result<Client, Failure> {
        self.client_for(host, None).await
    }

    /// The same for what may take as long as this, also at one attempt, when nothing else is said.
    async fn client_for(&self, host: &Host, patience: Option<Duration>) -> Result<Client, Failure> {
        let mut endpoints = self.endpoints.clone();
        if endpoints.is_empty() {
            endpoints.push(ENDPOINT.to_owned());
        }
        let timeout = self.timeout.or(patience).unwrap_or(TIMEOUT);
        let mut config = ClientConfig::new(endpoints);
        config.retry = Retry::For(timeout);
        config.attempt_timeout = match patience {
            Some(_) => timeout,
            None => timeout.min(config.attempt_timeout),
        };
        config.connect_timeout = timeout.min(config.connect_timeout);
        config.api_key = self.api_key(host).await?;
        if let Some(file) = &self.ca_file {
            let roots = read_credential(host, file).await?;
            let tls = TlsConnector::from_pem(host, &roots);
            let fault = |error| Failure::Credential(format!("{}: {error}", file.display()));
            config.tls = Some(tls.map_err(fault)?);
        }
        Ok(Client::new(host, config))
    }

    /// Never an argument of the command line, which every user of the machine can read.
    async fn api_key(&self, host: &Host) -> Result<Option<ApiKey>, Failure> {
        let (whence, text) = match &self.api_key_file {
            Some(file) => {
                let bytes = read_credential(host, file).await?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                (file.display().to_string(), text)
            }
            None => match environment(API_KEY_VARIABLE) {
                Some(text) => (API_KEY_VARIABLE.to_owned(), text),
                None => return Ok(None),
            },
        };
        let key = text.trim().parse();
        key.map(Some)
            .map_err(|error: MalformedKey| Failure::Credential(format!("{whence}: {error}")))
    }
}

async fn read_credential(host: &Host, file: &Path) -> Result<Vec<u8>, Failure> {
    let path = without_parents(file)?;
    let read = move |disk: &mut dyn Disk| read_file(disk, &path, MAX_CREDENTIAL_BYTES);
    let fault = |error| Failure::Credential(format!("{}: {error}", file.display()));
    host.blocking(read).await.map_err(fault)
}

/// Why a command of the command line ended badly.
#[derive(Debug)]
pub enum Failure {
    /// A call to a node did.
    Client(ClientError),
    /// The key is not there.
    NotFound(String),
    /// The job is not there any more.
    Deleted(String),
    /// Nobody has stored it.
    NotStored,
    /// A blob could not be fetched.
    Fetch(FetchError),
    /// What is asked for cannot be.
    Invalid(String),
    /// The API key or the certificates cannot be used.
    Credential(String),
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
        Err(Failure::Credential(message) | Failure::Invalid(message)) => (message, 2),
        Err(Failure::Fetch(error)) => (error.to_string(), 1),
        Err(Failure::NotStored) => ("no node has stored it".to_owned(), 1),
        Err(Failure::NotFound(key)) => (format!("no such key: {key}"), 1),
        Err(Failure::Deleted(job)) => (format!("the job was deleted: {job}"), 1),
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
