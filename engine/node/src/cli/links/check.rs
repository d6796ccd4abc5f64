use super::{How, whole};
use crate::{
    cli::Connection,
    production::{self, Output, stop_signal, without_parents},
};
use clap::Args;
use holdfast_host::Host;
use holdfast_links::{
    CheckJob, Command, Links, NewJob, Outcome, Refusal, ReportError, ReportStream, Status,
    query::{self, Filter},
    report::{Format, ReportOptions},
};
use holdfast_node::{
    Embedded, NodeError,
    config::NodeConfig,
    race::{First, first},
};
use holdfast_replica::{Consistency, Rejection, RequestError};
use holdfast_tables::{CallError, TablesHandle};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{io, path::PathBuf, pin::Pin, process::ExitCode, time::Duration};

/// Exit code when something is broken.
const BROKEN: u8 = 1;
/// Exit code when the site could not be checked.
const UNCHECKED: u8 = 2;
/// Exit code when a signal has ended it: that of a shell for SIGINT.
const INTERRUPTED: u8 = 130;
/// The variable of the environment that names a file of trusted certificates, as OpenSSL reads it.
const ROOTS_VARIABLE: &str = "SSL_CERT_FILE";
/// How often it is looked at least how far the job is, and the pause that there is at least.
const LOOK: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_millis(20);
/// Pause before a request is made again that the node cannot take yet.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the node may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// Check a site's links now, without a server.
///
/// Pages under the URLs' hosts are crawled, and every link on them is checked. --timeout is the time that one link may take,
/// redirects included [default: 30s]; --json is short for --format json.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing is broken, 1 something is, 2 the site could not be checked, 130 interrupted"
)]
pub struct Check {
    /// Where to begin; without a scheme, https:// is meant
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// How the report is written: text, json, jsonl, csv, junit, sarif or html
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<Format>,
    /// Write the report into a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    how: How,
    /// Requests under way to one host [default: 6]
    #[arg(long, value_name = "REQUESTS")]
    per_host: Option<usize>,
    /// Requests under way in all [default: 256]
    #[arg(long, value_name = "REQUESTS")]
    in_flight: Option<usize>,
    /// The User-Agent header
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// A PEM file of certificates that are trusted instead of the bundled ones; without it, SSL_CERT_FILE of the
    /// environment is taken
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Why a site was not checked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Other(String),
}

impl Check {
    pub async fn run(self, host: Host, connection: Connection) -> ExitCode {
        // From here on a signal ends the job, and what is known is still told.
        let mut stop: Stop = Box::pin(stop_signal());
        let scratch = match production::scratch_folder() {
            Ok(scratch) => scratch,
            Err(error) => {
                eprintln!("error: no temporary folder: {error}");
                return ExitCode::from(UNCHECKED);
            }
        };
        let result = match self.config(&connection, scratch.path().join("data")) {
            Ok(config) => match Embedded::start(host.clone(), config).await {
                Ok(node) => {
                    let result = self.check(&host, &node, &connection, &mut stop).await;
                    node.shutdown().await;
                    result
                }
                Err(error) => Err(error.into()),
            },
            Err(failure) => Err(failure),
        };
        if let Err(error) = scratch.close() {
            eprintln!("warning: the temporary folder stays: {error}");
        }
        match result {
            Ok(code) => ExitCode::from(code),
            Err(failure) => {
                eprintln!("error: {failure}");
                ExitCode::from(UNCHECKED)
            }
        }
    }

    /// A cluster of one, on loopback, that nobody else knows.
    fn config(&self, connection: &Connection, data: PathBuf) -> Result<NodeConfig, Failure> {
        let mut config = NodeConfig::default();
        config.node.data = data;
        config.node.listen.set_port(0);
        config.node.peer_listen.set_port(0);
        let links = &mut config.links;
        if let Some(per_host) = self.per_host {
            links.per_host = per_host;
        }
        if let Some(in_flight) = self.in_flight {
            links.in_flight = in_flight;
        }
        if let Some(timeout) = connection.timeout {
            links.timeout = timeout;
            links.connect_timeout = links.connect_timeout.min(timeout);
        }
        if let Some(user_agent) = &self.user_agent {
            links.user_agent.clone_from(user_agent);
        }
        let of_environment = || production::environment(ROOTS_VARIABLE).map(PathBuf::from);
        let roots = self.roots.clone().or_else(of_environment);
        links.roots = roots.as_deref().map(without_parents).transpose()?;
        Ok(config)
    }

    fn new_job(&self) -> NewJob {
        NewJob {
            start_urls: self.urls.iter().map(|url| whole(url)).collect(),
            options: self.how.options(),
            scheduled_for: None,
            every_ms: None,
        }
    }

    /// Checks, reports, and says how it went.
    async fn check(
        &self,
        host: &Host,
        node: &Embedded,
        connection: &Connection,
        stop: &mut Stop,
    ) -> Result<u8, Failure> {
        let format = match (self.format, connection.json) {
            (Some(format), _) => format,
            (None, true) => Format::Json,
            (None, false) => Format::Text,
        };
        // Before anything is fetched in vain.
        let mut output = Output::open(self.output.as_deref())?;
        let tables = node.tables();
        let mut job = propose(host, tables, &Command::Create(self.new_job())).await?;
        let mut is_interrupted = false;
        {
            let followed = follow(host, tables, &job, self.bar());
            let followed = first(followed, node.failed());
            match first(stop.as_mut(), followed).await {
                First::One(_) => is_interrupted = true,
                First::Other(First::One(over)) => job = over?,
                First::Other(First::Other(failure)) => return Err(Failure::Other(failure)),
            }
        }
        if is_interrupted {
            let (id, version) = (job.id, None);
            job = match propose(host, tables, &Command::Cancel { id, version }).await {
                // It had just ended.
                Err(Failure::Refused(Refusal::WrongStatus(_))) => find(tables, &job).await?,
                other => other?,
            };
            // A second signal does not wait for the report.
            *stop = Box::pin(stop_signal());
        }
        let written = self.write(host, tables, &job, format, &mut output);
        match first(stop.as_mut(), written).await {
            First::One(_) => return Ok(INTERRUPTED),
            First::Other(Err(Failure::Io(error))) if error.kind() == io::ErrorKind::BrokenPipe => {}
            First::Other(written) => written?,
        }
        Ok(match job.status {
            _ if is_interrupted => INTERRUPTED,
            Status::Failed => {
                let failure = job.failure.as_deref().unwrap_or("the job failed");
                eprintln!("error: {failure}");
                UNCHECKED
            }
            _ if job.broken_count > 0 => BROKEN,
            _ => 0,
        })
    }

    async fn write(
        &self,
        host: &Host,
        tables: &TablesHandle,
        job: &CheckJob,
        format: Format,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let id = job.id;
        let totals = match format {
            Format::Junit => {
                let read =
                    move |reader: holdfast_tables::Reader<'_>| ReportStream::totals(reader, id);
                Some(tables.read(Consistency::Stale, read).await?)
            }
            _ => None,
        };
        let options = ReportOptions {
            totals,
            colour: output.is_coloured(),
            ..ReportOptions::default()
        };
        let (job, all) = (job.clone(), Filter::All);
        let mut report = ReportStream::begin(host, tables.clone(), job, all, format, &options);
        while let Some(text) = report.next().await? {
            output.write_all(text.as_bytes())?;
        }
        output.finish()?;
        Ok(())
    }

    fn bar(&self) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        // Hidden where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} checked, {msg}");
        bar.set_style(style.expect("a template of ours"));
        bar
    }
}

/// A signal to come.
type Stop = Pin<Box<dyn Future<Output = &'static str>>>;

/// Carries a command out, once the node leads; the job that it leaves.
async fn propose(
    host: &Host,
    tables: &TablesHandle,
    command: &Command,
) -> Result<CheckJob, Failure> {
    let mut standing = tables.standing();
    let leads = standing.wait_for(|standing| standing.leads);
    match host.timeout(PATIENCE, leads).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return Err(CallError::Request(RequestError::Stopped).into()),
        Err(_) => {
            return Err(CallError::Request(RequestError::Rejected(Rejection::NoLeader)).into());
        }
    }
    loop {
        let proposed = match tables.propose::<Links>(None, command).await {
            // Neither was carried out.
            Err(CallError::Request(RequestError::Rejected(
                Rejection::NoLeader | Rejection::Overloaded,
            ))) => {
                host.sleep(PAUSE).await;
                continue;
            }
            proposed => proposed?,
        };
        return match proposed.outcome? {
            Outcome::Job(job) => Ok(*job),
            other => Err(Failure::Other(format!(
                "an outcome of something else: {other:?}"
            ))),
        };
    }
}

async fn find(tables: &TablesHandle, job: &CheckJob) -> Result<CheckJob, Failure> {
    let id = job.id;
    let read = move |reader: holdfast_tables::Reader<'_>| query::find_job(reader, id);
    let found = tables.read(Consistency::Stale, read).await?;
    found.ok_or_else(|| Refusal::NotFound(id).into())
}

/// Waits until a job is over, and shows how far it is meanwhile.
async fn follow(
    host: &Host,
    tables: &TablesHandle,
    job: &CheckJob,
    bar: ProgressBar,
) -> Result<CheckJob, Failure> {
    let mut changed = tables.changed();
    loop {
        changed.mark_unchanged();
        match find(tables, job).await {
            Ok(job) if job.status.has_ended() => {
                bar.finish_and_clear();
                return Ok(job);
            }
            Ok(job) => {
                bar.set_length(job.targets);
                bar.set_position(job.targets.saturating_sub(job.pending));
                bar.set_message(format!("{} pages, {} broken", job.pages, job.broken_count));
            }
            // Later.
            Err(Failure::Call(CallError::Request(RequestError::Rejected(_)))) => {}
            Err(failure) => return Err(failure),
        }
        // Not with every batch of results: whoever looks makes them wait.
        host.sleep(REST).await;
        let _ = host.timeout(LOOK, changed.changed()).await;
    }
}
