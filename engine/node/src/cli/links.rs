mod check;

use super::Connection;
use clap::Subcommand;
use holdfast_host::Host;
use std::process::ExitCode;

/// Check a site's links.
#[derive(Debug, Subcommand)]
pub enum Links {
    Check(check::Check),
}

impl Links {
    /// Whether it keeps nothing.
    pub fn is_scratch(&self) -> bool {
        matches!(self, Links::Check(_))
    }

    /// What of `connection` does not go with this, for people.
    pub fn conflict(&self, connection: &Connection) -> Option<&'static str> {
        let Links::Check(_) = self;
        connection.names_nodes().then_some(
            "--endpoint, --api-key-file and --ca-file are for talking to a node, and `links check` asks none",
        )
    }
}

/// Carries out one command.
pub async fn run(host: Host, links: Links, connection: Connection) -> ExitCode {
    match links {
        Links::Check(check) => check.run(host, connection).await,
    }
}
