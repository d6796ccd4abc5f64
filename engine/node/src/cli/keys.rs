use super::{Connection, Failure, finish, print_json};
use clap::{Args, Subcommand};
use holdfast_host::Host;
use holdfast_node::{
    auth::{ApiKey, Grant},
    http::parse_rfc3339,
};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Write},
    process::ExitCode,
};

/// Make API keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key, and the lines of a configuration that take it
    New(New),
}

/// Make a key, and the lines of a configuration that take it.
///
/// No node is asked. The key is shown once: what the configuration gets is its hash, from which the key cannot be
/// found.
#[derive(Debug, Args)]
pub struct New {
    /// What the key may be used for, such as kv:read; repeat for several. `kv:*`, `*:read` and `*` stand for many
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Grant>,
    /// Whose it is, for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// From when on it opens nothing, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    expires: Option<String>,
}

fn parse_time(text: &str) -> Result<String, String> {
    match parse_rfc3339(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("write a time in UTC, such as 2027-01-01T00:00:00Z".to_owned()),
    }
}

/// A key that was made, as it is printed in JSON and, without the key itself, stands in a configuration.
#[derive(Serialize)]
struct Made {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    id: String,
    hash: String,
    scopes: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Carries out one command.
pub async fn run(host: Host, keys: Keys, connection: Connection) -> ExitCode {
    match keys {
        Keys::New(new) => finish(new.run(&host, &connection).map_err(Failure::Io)),
    }
}

impl New {
    fn run(self, host: &Host, connection: &Connection) -> io::Result<()> {
        let key = ApiKey::generate(&mut host.rng("api-key"));
        let made = Made {
            key: connection.json.then(|| key.reveal().to_owned()),
            id: key.id().to_string(),
            hash: key.hash().to_string(),
            scopes: self.scopes.iter().map(Grant::to_string).collect(),
            expires: self.expires,
            name: self.name,
        };
        if connection.json {
            return print_json(&made);
        }
        let mut text = String::new();
        let lines = toml::to_string(&made).map_err(io::Error::other)?;
        // A string takes what is written.
        let _ = write!(
            text,
            "{}\n\n# The key stands above, and is not shown again. For the configuration of the nodes that take it:\n\
             [auth]\nmode = \"keys\"\n\n[[auth.keys]]\n{lines}",
            key.reveal()
        );
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
