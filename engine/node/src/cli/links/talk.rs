use super::{How, whole};
use crate::{
    cli::{Connection, Failure, finish, print_json},
    production::Output,
};
use clap::{Args, Subcommand};
use holdfast_host::Host;
use holdfast_links::{
    CheckJob, JobId, LinkResult, Verdict,
    report::{Comparison, Format},
    time,
};
use holdfast_node::wire::links::{JobEvent, NewJobRequest};
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// What is asked of a node.
#[derive(Debug, Subcommand)]
pub enum Talk {
    /// Have a node check a site
    Start(Start),
    /// List jobs, the newest first
    List,
    /// Show a job, and count what it has found
    Show(Which),
    /// List what a job has found
    Results(Results),
    /// Write everything that a job has found as one document
    Report(Report),
    /// Stop a job; what it has found stays
    Cancel(Change),
    /// Go on with a job that was stopped or has failed
    Resume(Change),
    /// Forget a job that is over, and what it found
    Delete(Change),
    /// Show a job's progress until it ends
    Watch(Which),
}

#[derive(Debug, Args)]
pub struct Start {
    /// Where to begin; without a scheme, https:// is meant
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    #[command(flatten)]
    how: How,
    /// When to begin, such as 2027-01-31T12:00:00Z, instead of at once
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// How long after its beginning to begin the next one like it, such as 24h
    #[arg(long, value_name = "DURATION")]
    every: Option<String>,
}

#[derive(Debug, Args)]
pub struct Which {
    /// The job's id
    job: JobId,
}

#[derive(Debug, Args)]
pub struct Results {
    /// The job's id
    job: JobId,
    /// Only these: all, broken, newly_broken (broken, and not in the run before), or those with a verdict such as dead
    #[arg(long, value_name = "WHICH", default_value = "all")]
    filter: String,
}

#[derive(Debug, Args)]
pub struct Report {
    /// The job's id
    job: JobId,
    /// How it is written: text, json, jsonl, csv, junit, sarif or html
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<Format>,
    /// Only these: all, broken, newly_broken, or those with a verdict
    #[arg(long, value_name = "WHICH", default_value = "all")]
    filter: String,
    /// Write it into a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Change {
    /// The job's id
    job: JobId,
    /// Only when the job is in this version
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

impl Talk {
    /// Carries out one command.
    pub async fn run(self, host: &Host, connection: &Connection) -> ExitCode {
        finish(self.carry_out(host, connection).await)
    }

    async fn carry_out(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let client = connection.client(host).await?;
        let is_json = connection.json;
        match self {
            Talk::Start(start) => {
                let request = NewJobRequest {
                    start_urls: Some(start.urls.iter().map(|url| whole(url)).collect()),
                    options: start.how.options(),
                    scheduled_for: start.at,
                    every: start.every,
                    ..NewJobRequest::default()
                };
                print_job(&client.create_links_job(&request).await?, is_json)?;
            }
            Talk::List => {
                let mut cursor: Option<String> = None;
                loop {
                    let page = client.links_jobs(cursor.as_deref()).await?;
                    for job in &page.jobs {
                        print_job(job, is_json)?;
                    }
                    cursor = page.next;
                    if cursor.is_none() {
                        return Ok(());
                    }
                }
            }
            Talk::Show(which) => {
                let reply = client.links_job(which.job).await?;
                if is_json {
                    print_json(&reply)?;
                    return Ok(());
                }
                let mut out = io::stdout().lock();
                write_details(&mut out, &reply.job)?;
                for (verdict, count) in &reply.verdicts {
                    writeln!(out, "{verdict:<16} {count}")?;
                }
                write_comparison(&mut out, reply.comparison.as_ref())?;
                out.flush()?;
            }
            Talk::Results(results) => {
                let mut cursor: Option<String> = None;
                loop {
                    let (id, filter) = (results.job, &results.filter);
                    let page = client.links_results(id, filter, cursor.as_deref()).await?;
                    for result in &page.results {
                        match is_json {
                            true => print_json(result)?,
                            false => write_result(result)?,
                        }
                    }
                    cursor = page.next;
                    if cursor.is_none() {
                        return Ok(());
                    }
                }
            }
            Talk::Report(report) => {
                let format = match (report.format, is_json) {
                    (Some(format), _) => format,
                    (None, true) => Format::Json,
                    (None, false) => Format::Text,
                };
                let begun = client.links_report(report.job, format, &report.filter);
                let mut begun = begun.await?;
                let mut output = Output::open(report.output.as_deref())?;
                while let Some(piece) = begun.next().await? {
                    output.write_all(&piece)?;
                }
                output.finish()?;
            }
            Talk::Cancel(change) => {
                let changed = client.cancel_links_job(change.job, change.if_version);
                print_job(&changed.await?, is_json)?;
            }
            Talk::Resume(change) => {
                let changed = client.resume_links_job(change.job, change.if_version);
                print_job(&changed.await?, is_json)?;
            }
            Talk::Delete(change) => {
                let deleted = client.delete_links_job(change.job, change.if_version);
                deleted.await?;
            }
            Talk::Watch(which) => {
                let mut events = client.links_events(which.job);
                loop {
                    match events.next().await? {
                        JobEvent::Progress(job) => print_job(&job, is_json)?,
                        JobEvent::End(job) => {
                            print_job(&job, is_json)?;
                            return Ok(());
                        }
                        JobEvent::Deleted => {
                            return Err(Failure::Deleted(which.job.to_string()));
                        }
                        // The client goes on by itself.
                        JobEvent::Closing(_) => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// A job on one line.
fn print_job(job: &CheckJob, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(job);
    }
    let mut out = io::stdout().lock();
    let done = job.targets.saturating_sub(job.pending);
    writeln!(
        out,
        "{}\t{}\tversion {}\t{}\t{done} of {} targets\t{} links\t{} broken",
        job.id,
        job.status.name(),
        job.version,
        job.target_domain,
        job.targets,
        job.total_links,
        job.broken_count
    )?;
    out.flush()
}

fn write_details(out: &mut impl Write, job: &CheckJob) -> io::Result<()> {
    let at = |nanos: Option<u64>| nanos.map_or("-".to_owned(), time::format);
    let previous = job.previous.map_or("-".to_owned(), |id| id.to_string());
    let rows = [
        ("id", job.id.to_string()),
        ("version", job.version.to_string()),
        ("status", job.status.name().to_owned()),
        ("begins at", job.start_urls.join(" ")),
        ("created", at(Some(job.created_at))),
        ("scheduled for", at(job.scheduled_for)),
        ("started", at(job.started_at)),
        ("completed", at(job.completed_at)),
        ("previous", previous),
        ("pages", job.pages.to_string()),
        ("targets", job.targets.to_string()),
        ("pending", job.pending.to_string()),
        ("skipped", job.skipped.to_string()),
        ("links", job.total_links.to_string()),
        ("broken", job.broken_count.to_string()),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<16} {value}")?;
    }
    match &job.failure {
        Some(failure) => writeln!(out, "{:<16} {failure}", "failure"),
        None => Ok(()),
    }
}

/// What changed since the run before.
fn write_comparison(out: &mut impl Write, comparison: Option<&Comparison>) -> io::Result<()> {
    let counts = match comparison {
        None => return Ok(()),
        Some(Comparison::Counted(counts)) => counts,
        Some(Comparison::NotCompared { .. }) => {
            return writeln!(out, "{:<16} too many broken links", "not compared");
        }
    };
    let rows = [
        ("newly broken", counts.newly_broken),
        ("still broken", counts.still_broken),
        ("fixed", counts.fixed),
        ("now unclear", counts.unclear),
    ];
    for (name, count) in rows {
        writeln!(out, "{name:<16} {count}")?;
    }
    Ok(())
}

/// A result on one line: verdict, why, where it stands, what it points to.
fn write_result(result: &LinkResult) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let verdict = result.verdict.map_or("pending", Verdict::name);
    let source = result.source.as_deref().unwrap_or("-");
    let (line, column) = (result.line, result.column);
    // What a site wrote may hold anything.
    let target = crate::cli::readable(result.target.as_bytes());
    let reason = &result.reason;
    writeln!(
        out,
        "{verdict}\t{reason}\t{source}:{line}:{column}\t{target}"
    )?;
    out.flush()
}
