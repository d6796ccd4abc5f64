mod check;
mod talk;

use super::Connection;
use clap::{Args, Subcommand};
use holdfast_host::Host;
use holdfast_links::JobOptions;
use holdfast_node::config::parse_duration;
use std::{process::ExitCode, time::Duration};

/// Check sites for broken links.
#[derive(Debug, Subcommand)]
pub enum Links {
    Check(check::Check),
    #[command(flatten)]
    Talk(talk::Talk),
}

/// How a job checks.
#[derive(Clone, Debug, Args)]
pub struct How {
    /// Links from a URL to the furthest page that is crawled [default: 50]
    #[arg(long, value_name = "LINKS")]
    depth: Option<u32>,
    /// Pages that are crawled [default: 100000]
    #[arg(long, value_name = "PAGES")]
    max_pages: Option<u64>,
    /// Check no links that lead elsewhere
    #[arg(long)]
    no_external: bool,
    /// Do not check whether the places in pages are there that links lead to
    #[arg(long)]
    no_fragments: bool,
    /// Do not read the sitemaps that robots.txt names
    #[arg(long)]
    no_sitemaps: bool,
    /// Crawl subdomains of the URLs' hosts too
    #[arg(long)]
    subdomains: bool,
    /// Crawl only pages whose path begins so
    #[arg(long, value_name = "PATH")]
    path_prefix: Option<String>,
    /// Least time between the beginnings of two requests to one host, such as 200ms; robots.txt may ask for more
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    gap: Option<Duration>,
    /// Further tries after a failure that may pass [default: 2]
    #[arg(long, value_name = "TRIES")]
    retries: Option<u32>,
    /// Time before the first further try; before each next one twice as long [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    retry_after: Option<Duration>,
}

impl How {
    fn options(&self) -> JobOptions {
        let mut options = JobOptions {
            subdomains: self.subdomains,
            path_prefix: self.path_prefix.clone(),
            external: !self.no_external,
            fragments: !self.no_fragments,
            sitemaps: !self.no_sitemaps,
            ..JobOptions::default()
        };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if let Some(depth) = self.depth {
            options.max_depth = depth;
        }
        if let Some(pages) = self.max_pages {
            options.max_pages = pages;
        }
        if let Some(gap) = self.gap {
            options.gap_ms = millis(gap);
        }
        if let Some(retries) = self.retries {
            options.retries = retries;
        }
        if let Some(pause) = self.retry_after {
            options.retry_after_ms = millis(pause);
        }
        options
    }
}

/// A URL as it was written, or of HTTPS where it begins with a host. What has neither, such as a mail address, is left for
/// the service to refuse.
fn whole(url: &str) -> String {
    let host = url.split(['/', '?', '#']).next().unwrap_or_default();
    match url.contains("://") || host.contains('@') {
        true => url.to_owned(),
        false => format!("https://{url}"),
    }
}

impl Links {
    /// Whether it keeps nothing.
    pub fn is_scratch(&self) -> bool {
        matches!(self, Links::Check(_))
    }

    /// What of `connection` does not go with this, for people.
    pub fn conflict(&self, connection: &Connection) -> Option<&'static str> {
        (self.is_scratch() && connection.names_nodes()).then_some(
            "--endpoint, --api-key-file and --ca-file are for talking to a node, and `links check` asks none",
        )
    }
}

/// Carries out one command.
pub async fn run(host: Host, links: Links, connection: Connection) -> ExitCode {
    match links {
        Links::Check(check) => check.run(host, connection).await,
        Links::Talk(talk) => talk.run(&host, &connection).await,
    }
}
