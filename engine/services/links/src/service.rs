use crate::{
    CheckJob, JobId, Status, Verdict,
    command::{
        Checked, Command, MAX_STARTS, MAX_URL_BYTES, NewJob, Onward, Outcome, Refusal, Task,
        authority,
    },
    intake::Intake,
    mutant::Mutant,
    query,
    sweep::sweep,
};
use holdfast_tables::{Change, Effect, Fault, Migration, Schema, Service, SqlError, params};
use holdfast_web::{Target, urls};
use std::time::Duration;

/// Jobs that are kept, deleted ones counted that have left rows.
const MAX_JOBS: u64 = 10_000;
/// Jobs that are worked on at a time; others wait.
pub const MAX_RUNNING: u64 = 4;
/// Longest time between two runs, and furthest time that one can be scheduled for.
const MAX_WAIT_MS: u64 = 366 * 24 * 3_600_000;

/// The broken-link checker's tables, and what commands do to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Links {
    /// A bug to plant, on all replicas alike; has an effect only where debug assertions are on.
    pub mutant: Option<Mutant>,
}

impl Service for Links {
    type Command = Command;
    type Outcome = Outcome;
    type Refusal = Refusal;

    const SCHEMA: Schema = Schema {
        name: "links",
        migrations: &[Migration {
            number: 1,
            name: "links",
            sql: include_str!("schema/001-links.sql"),
        }],
    };

    fn apply(&self, change: &mut Change<'_>, command: Command) -> Result<Outcome, Fault<Refusal>> {
        match command {
            Command::Create(new) => create(self, change, &new),
            Command::Cancel { id, version } => cancel(self, change, id, version),
            Command::Resume { id, version } => resume(self, change, id, version),
            Command::Delete { id, version } => delete(change, id, version),
            Command::Tick => Ok(Outcome::Begun(begin_due(self, change)?)),
            Command::Sweep => Ok(Outcome::Swept(sweep(change)?)),
        }
    }

    fn performed(
        &self,
        change: &mut Change<'_>,
        effect: Effect,
        result: &[u8],
    ) -> Result<(), SqlError> {
        let (Ok(task), Ok(checked)) = (
            postcard::from_bytes::<Task>(&effect.payload),
            postcard::from_bytes::<Checked>(result),
        ) else {
            // Written by a program that knows more; the row is gone, so the job must not wait for it.
            return self.buried(change, effect, "the result cannot be read");
        };
        take_in(self, change, &task, checked)
    }

    fn buried(
        &self,
        change: &mut Change<'_>,
        effect: Effect,
        reason: &str,
    ) -> Result<(), SqlError> {
        let Ok(task) = postcard::from_bytes::<Task>(&effect.payload) else {
            return Ok(());
        };
        let checked = Checked {
            verdict: Verdict::Unverifiable,
            reason: "given_up".into(),
            detail: reason.to_owned(),
            status: None,
            final_url: None,
            redirects: Vec::new(),
            timings: Default::default(),
            attempts: effect.attempts + 1,
            names: None,
            is_page: false,
            links: Vec::new(),
            left_out: 0,
            onward: None,
        };
        take_in(self, change, &task, checked)
    }
}

fn take_in(
    links: &Links,
    change: &mut Change<'_>,
    task: &Task,
    checked: Checked,
) -> Result<(), SqlError> {
    let Some(job) = query::by_number(**change, task.job)? else {
        return Ok(());
    };
    let mut intake = Intake::new(change, task.job, &job, links.mutant)?;
    if let Some(Onward::Unasked(url)) = &checked.onward {
        intake.hand_over(task, &checked, url)?;
    } else {
        intake.judge(task.target, &checked)?;
        let has_found = checked.onward.is_some() || !checked.links.is_empty();
        if checked.is_page || has_found {
            intake.add_page(task, &checked)?;
        }
    }
    let has_ended = intake.finish()?;
    if has_ended {
        end(links, change, task.job)?;
    }
    Ok(())
}

/// Everything that was found has its verdict.
fn end(links: &Links, change: &mut Change<'_>, number: i64) -> Result<(), SqlError> {
    let job = query::by_number(**change, number)?.expect("it has just been changed");
    let failure = (job.pages == 0).then_some("none of the start pages could be read");
    let status = match failure {
        None => Status::Completed,
        Some(_) => Status::Failed,
    };
    let now = change.time().as_nanos().cast_signed();
    change.execute(
        "UPDATE links_jobs SET status = ?2, completed_at = ?3, failure = ?4, version = version + 1
         WHERE number = ?1",
        params![number, status.name(), now, failure],
    )?;
    forget_scaffolding(change, number)?;
    begin_due(links, change)?;
    Ok(())
}

/// What only a running job needs.
fn forget_scaffolding(change: &Change<'_>, number: i64) -> Result<(), SqlError> {
    change.execute("DELETE FROM links_hosts WHERE job = ?1", [number])?;
    change.execute("DELETE FROM links_calendars WHERE job = ?1", [number])?;
    Ok(())
}

fn invalid(field: &str, reason: impl Into<String>) -> Fault<Refusal> {
    Fault::Refused(Refusal::Invalid {
        field: field.to_owned(),
        reason: reason.into(),
    })
}

/// The start pages as they are fetched, or what is wrong with them.
fn starts(new: &NewJob) -> Result<Vec<url::Url>, Fault<Refusal>> {
    if new.start_urls.is_empty() || new.start_urls.len() > MAX_STARTS {
        let reason = format!("there must be 1 to {MAX_STARTS} of them");
        return Err(invalid("start_urls", reason));
    }
    let mut starts = Vec::new();
    for start in &new.start_urls {
        match urls::parse(start, MAX_URL_BYTES) {
            Ok(Target::Web(target)) if target.url.host_str().is_some_and(|h| !h.is_empty()) => {
                if !starts.contains(&target.url) {
                    starts.push(target.url);
                }
            }
            Ok(_) => return Err(invalid("start_urls", format!("{start} is not on the web"))),
            Err(problem) => return Err(invalid("start_urls", format!("{start}: {problem}"))),
        }
    }
    Ok(starts)
}

fn check_options(new: &NewJob) -> Result<(), Fault<Refusal>> {
    let options = &new.options;
    for (field, value, least, most) in [
        ("max_depth", u64::from(options.max_depth), 0, 10_000),
        ("max_pages", options.max_pages, 1, 10_000_000),
        ("max_targets", options.max_targets, 1, 10_000_000),
        (
            "max_targets_per_host",
            options.max_targets_per_host,
            1,
            10_000_000,
        ),
        ("gap_ms", options.gap_ms, 0, 3_600_000),
        ("retries", u64::from(options.retries), 0, 8),
        ("retry_after_ms", options.retry_after_ms, 0, 3_600_000),
        (
            "every_ms",
            new.every_ms.unwrap_or(60_000),
            60_000,
            MAX_WAIT_MS,
        ),
    ] {
        if value < least || value > most {
            return Err(invalid(field, format!("must be from {least} to {most}")));
        }
    }
    match &options.path_prefix {
        Some(prefix) if !prefix.starts_with('/') || prefix.len() > MAX_URL_BYTES => Err(invalid(
            "path_prefix",
            "must begin with / and be no longer than a URL",
        )),
        _ => Ok(()),
    }
}

fn create(links: &Links, change: &mut Change<'_>, new: &NewJob) -> Result<Outcome, Fault<Refusal>> {
    let starts = starts(new)?;
    check_options(new)?;
    let now = change.time().as_nanos();
    if let Some(at) = new.scheduled_for
        && at > now.saturating_add(MAX_WAIT_MS * 1_000_000)
    {
        return Err(invalid("scheduled_for", "must be within a year"));
    }
    let count: i64 = change.one(
        "SELECT (SELECT count(*) FROM links_jobs) + (SELECT count(*) FROM links_deleted)",
        [],
        |row| row.get(0),
    )?;
    if count.cast_unsigned() >= MAX_JOBS {
        return Err(Fault::Refused(Refusal::TooMany(MAX_JOBS)));
    }
    let starts: Vec<String> = starts.into_iter().map(String::from).collect();
    let number = insert(change, &starts, new, now)?;
    begin_due(links, change)?;
    answer(change, number)
}

fn insert(
    change: &mut Change<'_>,
    starts: &[String],
    new: &NewJob,
    now: u64,
) -> Result<i64, SqlError> {
    let id = change.new_id();
    let domain = url::Url::parse(&starts[0]).map(|url| authority(&url));
    let starts = serde_json::to_string(starts).expect("texts encode");
    let options = serde_json::to_string(&new.options).expect("plain data encodes");
    let number = change.insert(
        "INSERT INTO links_jobs
            (number, id, version, target_domain, starts, options, status, created_at, scheduled_for, every_ms, previous)
         VALUES (
            -- None that a deleted job has left rows under.
            1 + max(
                coalesce((SELECT max(number) FROM links_jobs), 0),
                coalesce((SELECT max(job) FROM links_deleted), 0)),
            ?1, 1, ?2, ?3, ?4, 'queued', ?5, ?6, ?7,
            (SELECT max(number) FROM links_jobs WHERE starts = ?3 AND status = 'completed'))",
        params![
            id.to_be_bytes(),
            domain.unwrap_or_default(),
            starts,
            options,
            now.cast_signed(),
            new.scheduled_for.map(u64::cast_signed),
            new.every_ms.map(u64::cast_signed)
        ],
    )?;
    change.concerns(format!("job {}", JobId(id)));
    Ok(number)
}

/// Begins jobs whose time has come, as many as may run; how many.
fn begin_due(links: &Links, change: &mut Change<'_>) -> Result<u32, SqlError> {
    let mut begun = 0;
    loop {
        let running: i64 = change.one(
            "SELECT count(*) FROM links_jobs WHERE status = 'running'",
            [],
            |row| row.get(0),
        )?;
        if running.cast_unsigned() >= MAX_RUNNING {
            return Ok(begun);
        }
        let due: Option<i64> = change.first(
            "SELECT number FROM links_jobs
             WHERE status = 'queued' AND (scheduled_for IS NULL OR scheduled_for <= ?1)
             ORDER BY number LIMIT 1",
            [change.time().as_nanos().cast_signed()],
            |row| row.get(0),
        )?;
        let Some(number) = due else { return Ok(begun) };
        begin(links, change, number)?;
        begun += 1;
    }
}

fn begin(links: &Links, change: &mut Change<'_>, number: i64) -> Result<(), SqlError> {
    let now = change.time().as_nanos();
    change.execute(
        "UPDATE links_jobs SET status = 'running', started_at = ?2, version = version + 1,
            previous = (SELECT max(before.number) FROM links_jobs AS before
                WHERE before.starts = links_jobs.starts AND before.status = 'completed')
         WHERE number = ?1",
        params![number, now.cast_signed()],
    )?;
    let job = query::by_number(**change, number)?.expect("it is due");
    if let Some(every) = job.every_ms {
        let next = NewJob {
            start_urls: job.start_urls.clone(),
            options: job.options.clone(),
            scheduled_for: Some(now.saturating_add(every * 1_000_000)),
            every_ms: Some(every),
        };
        insert(change, &job.start_urls, &next, now)?;
    }
    let mut intake = Intake::new(change, number, &job, links.mutant)?;
    intake.add_starts()?;
    let has_ended = intake.finish()?;
    debug_assert!(!has_ended, "start pages are to be checked");
    Ok(())
}

/// The job, if it is there and in the version that the client knows.
fn found(
    change: &Change<'_>,
    id: JobId,
    version: Option<u64>,
) -> Result<(i64, CheckJob), Fault<Refusal>> {
    let Some((number, job)) = query::by_id(**change, id)? else {
        return Err(Fault::Refused(Refusal::NotFound(id)));
    };
    match version {
        Some(version) if version != job.version => {
            Err(Fault::Refused(Refusal::Changed(job.version)))
        }
        _ => Ok((number, job)),
    }
}

fn answer(change: &Change<'_>, number: i64) -> Result<Outcome, Fault<Refusal>> {
    let job = query::by_number(**change, number)?.expect("it has just been changed");
    Ok(Outcome::Job(Box::new(job)))
}

fn cancel(
    links: &Links,
    change: &mut Change<'_>,
    id: JobId,
    version: Option<u64>,
) -> Result<Outcome, Fault<Refusal>> {
    let (number, job) = found(change, id, version)?;
    if job.status.has_ended() {
        return Err(Fault::Refused(Refusal::WrongStatus(job.status)));
    }
    change.concerns(format!("job {id}"));
    if !Mutant::CountedTwice.is_in(links.mutant) {
        change.revoke_all(
            "SELECT effect FROM links_targets WHERE job = ?1 AND verdict IS NULL",
            [number],
        )?;
    }
    change.execute(
        "UPDATE links_targets SET effect = NULL WHERE job = ?1 AND verdict IS NULL",
        [number],
    )?;
    change.execute(
        "UPDATE links_jobs SET status = 'cancelled', completed_at = ?2, version = version + 1
         WHERE number = ?1",
        params![number, change.time().as_nanos().cast_signed()],
    )?;
    begin_due(links, change)?;
    answer(change, number)
}

fn resume(
    links: &Links,
    change: &mut Change<'_>,
    id: JobId,
    version: Option<u64>,
) -> Result<Outcome, Fault<Refusal>> {
    let (number, job) = found(change, id, version)?;
    if !matches!(job.status, Status::Cancelled | Status::Failed) {
        return Err(Fault::Refused(Refusal::WrongStatus(job.status)));
    }
    change.concerns(format!("job {id}"));
    change.execute(
        "UPDATE links_jobs SET status = 'running', completed_at = NULL, failure = NULL,
            version = version + 1, started_at = coalesce(started_at, ?2)
         WHERE number = ?1",
        params![number, change.time().as_nanos().cast_signed()],
    )?;
    let job = query::by_number(**change, number)?.expect("it is there");
    let mut intake = Intake::new(change, number, &job, links.mutant)?;
    if job.targets == 0 || job.status == Status::Failed {
        intake.add_starts()?;
    }
    intake.enqueue_pending()?;
    if intake.finish()? {
        end(links, change, number)?;
    }
    answer(change, number)
}

fn delete(
    change: &mut Change<'_>,
    id: JobId,
    version: Option<u64>,
) -> Result<Outcome, Fault<Refusal>> {
    let (number, job) = found(change, id, version)?;
    if !job.status.has_ended() {
        return Err(Fault::Refused(Refusal::WrongStatus(job.status)));
    }
    change.concerns(format!("job {id}"));
    change.execute(
        "UPDATE links_jobs SET previous = NULL WHERE previous = ?1",
        [number],
    )?;
    change.execute("DELETE FROM links_jobs WHERE number = ?1", [number])?;
    change.execute("INSERT INTO links_deleted (job) VALUES (?1)", [number])?;
    // A small one is gone at once.
    sweep(change)?;
    Ok(Outcome::Deleted)
}

/// How soon a failed first look is repeated.
pub(crate) fn retry_delay(task: &Task, attempts: u32) -> Duration {
    Duration::from_millis(task.retry_after_ms << attempts.min(10))
}
