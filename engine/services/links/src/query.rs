//! Reads of the service's tables.

use crate::{
    CheckJob, JobId, LinkResult, Redirect, Status, Timings, Verdict,
    report::{Comparison, ComparisonCounts, NotCompared},
};
use holdfast_tables::{Reader, Row, SqlError, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};

/// Most jobs or results of one page. One more is given when it is asked for, so that who pages knows whether there is one.
pub const MAX_PAGE: usize = 1_000;
/// Most broken links of a run, twins counted, that are compared with those of another: a comparison is one read, and
/// commands wait for it.
pub const MAX_COMPARED: u64 = 100_000;

/// The column list is the same in every statement; [`job`] reads it.
macro_rules! select_job {
    ($rest:literal) => {
        concat!(
            "SELECT job.number, job.id, job.version, job.target_domain, job.starts, job.options, job.status,
                job.created_at, job.scheduled_for, job.every_ms, job.started_at, job.completed_at,
                job.total_links, job.broken_count, job.pages, job.targets, job.pending, job.skipped,
                before.id, job.failure
             FROM links_jobs AS job LEFT JOIN links_jobs AS before ON before.number = job.previous ",
            $rest
        )
    };
}

fn count(row: &Row<'_>, column: usize) -> Result<u64, SqlError> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

fn maybe(row: &Row<'_>, column: usize) -> Result<Option<u64>, SqlError> {
    Ok(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
}

/// Texts that this program wrote.
fn json<T: DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_default()
}

fn job(row: &Row<'_>) -> Result<(i64, CheckJob), SqlError> {
    let before: Option<[u8; 16]> = row.get(18)?;
    let job = CheckJob {
        id: JobId(u128::from_be_bytes(row.get(1)?)),
        version: count(row, 2)?,
        target_domain: row.get(3)?,
        start_urls: json(&row.get::<_, String>(4)?),
        options: json(&row.get::<_, String>(5)?),
        status: Status::named(&row.get::<_, String>(6)?).expect("one of ours"),
        created_at: count(row, 7)?,
        scheduled_for: maybe(row, 8)?,
        every_ms: maybe(row, 9)?,
        started_at: maybe(row, 10)?,
        completed_at: maybe(row, 11)?,
        total_links: count(row, 12)?,
        broken_count: count(row, 13)?,
        pages: count(row, 14)?,
        targets: count(row, 15)?,
        pending: count(row, 16)?,
        skipped: count(row, 17)?,
        previous: before.map(|id| JobId(u128::from_be_bytes(id))),
        failure: row.get(19)?,
    };
    Ok((row.get(0)?, job))
}

pub(crate) fn by_number(reader: Reader<'_>, number: i64) -> Result<Option<CheckJob>, SqlError> {
    let found = reader.first(select_job!("WHERE job.number = ?1"), [number], job)?;
    Ok(found.map(|(_, job)| job))
}

pub(crate) fn by_id(reader: Reader<'_>, id: JobId) -> Result<Option<(i64, CheckJob)>, SqlError> {
    reader.first(select_job!("WHERE job.id = ?1"), [id.0.to_be_bytes()], job)
}

/// One job.
pub fn find_job(reader: Reader<'_>, id: JobId) -> Result<Option<CheckJob>, SqlError> {
    Ok(by_id(reader, id)?.map(|(_, job)| job))
}

/// Jobs, the newest first, those before `before`.
pub fn jobs(
    reader: Reader<'_>,
    before: Option<JobId>,
    limit: usize,
) -> Result<Vec<CheckJob>, SqlError> {
    let before = before.map_or(u128::MAX, |id| id.0).to_be_bytes();
    let limit = limit.min(MAX_PAGE + 1) as i64;
    let found = reader.all(
        select_job!("WHERE job.id < ?1 ORDER BY job.id DESC LIMIT ?2"),
        params![before, limit],
        job,
    )?;
    Ok(found.into_iter().map(|(_, job)| job).collect())
}

/// When the next queued job is due, nanoseconds since the epoch; 0: at once.
pub fn next_due(reader: Reader<'_>) -> Result<Option<u64>, SqlError> {
    reader.one(
        "SELECT min(coalesce(scheduled_for, 0)) FROM links_jobs WHERE status = 'queued'",
        [],
        |row| maybe(row, 0),
    )
}

/// How many jobs are running.
pub fn running(reader: Reader<'_>) -> Result<u64, SqlError> {
    reader.one(
        "SELECT count(*) FROM links_jobs WHERE status = 'running'",
        [],
        |row| count(row, 0),
    )
}

/// Which results to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// All of them.
    #[default]
    All,
    /// Those that are broken.
    Broken,
    /// Those with this verdict.
    Verdict(Verdict),
    /// Those that are broken and were not in the previous run; all that are broken when there is none.
    NewlyBroken,
}

macro_rules! select_result {
    ($rest:literal) => {
        concat!(
            "SELECT link.id, source.url, link.ordinal, link.line, link.col, link.kind, link.element, link.text,
                link.raw, coalesce(link.url, target.url), link.fragment, target.final_url, target.status, target.redirects,
                link.verdict, coalesce(link.reason, target.reason), target.detail,
                target.attempts, target.wait_ms, target.head_ms, target.total_ms, target.checked_at
             FROM links_links AS link
                LEFT JOIN links_targets AS source ON source.id = link.source
                LEFT JOIN links_targets AS target ON target.id = link.target ",
            $rest
        )
    };
}

fn result(id: JobId, row: &Row<'_>) -> Result<LinkResult, SqlError> {
    let raw: String = row.get(8)?;
    let url: Option<String> = row.get(9)?;
    let fragment: Option<String> = row.get(10)?;
    let target = match (url, fragment) {
        (Some(url), Some(fragment)) => format!("{url}#{fragment}"),
        (Some(url), None) => url,
        (None, _) => raw.clone(),
    };
    let verdict: Option<String> = row.get(14)?;
    let kind: String = row.get(5)?;
    let redirects: Option<String> = row.get(13)?;
    let small =
        |column| -> Result<u32, SqlError> { Ok(row.get::<_, Option<u32>>(column)?.unwrap_or(0)) };
    Ok(LinkResult {
        id: count(row, 0)?,
        job: id,
        source: row.get(1)?,
        ordinal: row.get(2)?,
        line: row.get(3)?,
        column: row.get(4)?,
        kind: serde_json::from_value(kind.into()).unwrap_or(holdfast_web::LinkKind::OtherLink),
        element: row.get(6)?,
        text: row.get(7)?,
        raw,
        target,
        final_url: row.get(11)?,
        status: row.get(12)?,
        redirects: redirects
            .filter(|text| !text.is_empty())
            .map(|text| json::<Vec<Redirect>>(&text))
            .unwrap_or_default(),
        verdict: verdict.and_then(|name| Verdict::named(&name)),
        reason: row.get::<_, Option<String>>(15)?.unwrap_or_default(),
        detail: row.get::<_, Option<String>>(16)?.unwrap_or_default(),
        attempts: small(17)?,
        timings: Timings {
            wait_ms: small(18)?,
            head_ms: small(19)?,
            total_ms: small(20)?,
        },
        checked_at: maybe(row, 21)?,
    })
}

/// Results of a job in the order of their ids, those after `after`; `None` when there is no such job.
pub fn results(
    reader: Reader<'_>,
    id: JobId,
    filter: Filter,
    after: u64,
    limit: usize,
) -> Result<Option<Vec<LinkResult>>, SqlError> {
    let Some((number, _)) = by_id(reader, id)? else {
        return Ok(None);
    };
    let (after, limit) = (after.cast_signed(), limit.min(MAX_PAGE + 1) as i64);
    let read = |row: &Row<'_>| result(id, row);
    let page = params![number, after, limit];
    let found = match filter {
        Filter::All => reader.all(
            select_result!("WHERE link.job = ?1 AND link.id > ?2 ORDER BY link.id LIMIT ?3"),
            page,
            read,
        ),
        Filter::Broken => reader.all(
            select_result!(
                "WHERE link.job = ?1 AND link.broken = 1 AND link.id > ?2 ORDER BY link.id LIMIT ?3"
            ),
            page,
            read,
        ),
        Filter::Verdict(verdict) => reader.all(
            select_result!(
                "WHERE link.job = ?1 AND link.verdict = ?4 AND link.id > ?2
                 ORDER BY link.id LIMIT ?3"
            ),
            params![number, after, limit, verdict.name()],
            read,
        ),
        Filter::NewlyBroken => reader.all(
            select_result!(
                "WHERE link.job = ?1 AND link.broken = 1 AND link.id > ?2
                    AND NOT EXISTS (
                        SELECT 1 FROM links_links AS was
                        WHERE was.job = (SELECT previous FROM links_jobs WHERE number = ?1)
                            AND was.broken = 1 AND was.identity = link.identity
                            AND was.verdict NOT IN ('alive', 'moved'))
                 ORDER BY link.id LIMIT ?3"
            ),
            page,
            read,
        ),
    };
    found.map(Some)
}

/// How many results of a job have which verdict; those without one count as `pending`. They were counted as they came
/// in, in the same transactions.
pub fn verdicts(reader: Reader<'_>, id: JobId) -> Result<BTreeMap<String, u64>, SqlError> {
    let Some((number, job)) = by_id(reader, id)? else {
        return Ok(BTreeMap::new());
    };
    let counted = reader.all(
        "SELECT verdict, links FROM links_verdicts WHERE job = ?1 AND links > 0",
        [number],
        |row| Ok((row.get(0)?, count(row, 1)?)),
    )?;
    let mut verdicts: BTreeMap<String, u64> = counted.into_iter().collect();
    let pending = job.total_links.saturating_sub(verdicts.values().sum());
    if pending > 0 {
        verdicts.insert("pending".into(), pending);
    }
    Ok(verdicts)
}

/// Which results of a job, of those after `after` up to `last`, [`Filter::NewlyBroken`] lets through.
pub(crate) fn newly_broken(
    reader: Reader<'_>,
    id: JobId,
    after: u64,
    last: u64,
) -> Result<BTreeSet<u64>, SqlError> {
    let Some((number, _)) = by_id(reader, id)? else {
        return Ok(BTreeSet::new());
    };
    let found = reader.all(
        "SELECT link.id FROM links_links AS link
         WHERE link.job = ?1 AND link.broken = 1 AND link.id > ?2 AND link.id <= ?3
            AND NOT EXISTS (
                SELECT 1 FROM links_links AS was
                WHERE was.job = (SELECT previous FROM links_jobs WHERE number = ?1)
                    AND was.broken = 1 AND was.identity = link.identity
                    AND was.verdict NOT IN ('alive', 'moved'))",
        params![number, after.cast_signed(), last.cast_signed()],
        |row| count(row, 0),
    )?;
    Ok(found.into_iter().collect())
}

/// What changed since the run before; `None` when there is none, or the job has not ended, or there is no such job.
///
/// What was broken and works now, or stands there no more, is fixed. Of a page that could not be read now, nobody knows
/// what stands there, unless its server says that it is gone (404, 410) or nothing links to it any more.
pub fn comparison(reader: Reader<'_>, id: JobId) -> Result<Option<Comparison>, SqlError> {
    let Some((number, job)) = by_id(reader, id)? else {
        return Ok(None);
    };
    let before = match job.previous {
        Some(before) if job.status.has_ended() => by_id(reader, before)?,
        _ => None,
    };
    let Some((previous, before)) = before else {
        return Ok(None);
    };
    if job.broken_count.max(before.broken_count) > MAX_COMPARED {
        let not_compared = NotCompared::TooManyBroken;
        return Ok(Some(Comparison::NotCompared { not_compared }));
    }
    let newly_broken = reader.one(
        "SELECT count(DISTINCT link.identity) FROM links_links AS link
         WHERE link.job = ?1 AND link.broken = 1 AND link.verdict NOT IN ('alive', 'moved')
            AND NOT EXISTS (
                SELECT 1 FROM links_links AS was
                WHERE was.job = ?2 AND was.broken = 1 AND was.identity = link.identity
                    AND was.verdict NOT IN ('alive', 'moved'))",
        [number, previous],
        |row| count(row, 0),
    )?;
    let mut counts = ComparisonCounts {
        newly_broken,
        ..ComparisonCounts::default()
    };
    let is_complete = job.status == Status::Completed;
    let options = &job.options;
    let has_room = job.targets < options.max_targets.min(options.max_targets_per_host);
    // The best comes last: whether the page was read, which takes some look-ups, is asked only for what stands among
    // the links neither as broken nor as uncertain.
    reader.each(
        "SELECT change, count(*) FROM (
            SELECT CASE
                WHEN EXISTS (
                    SELECT 1 FROM links_links AS link
                    WHERE link.job = ?1 AND link.broken = 1 AND link.identity = was.identity
                        AND link.verdict NOT IN ('alive', 'moved')) THEN 'still_broken'
                WHEN EXISTS (
                    SELECT 1 FROM links_links AS link
                    WHERE link.job = ?1 AND link.broken = 0 AND link.identity = was.identity
                        AND link.verdict NOT IN ('alive', 'moved')) THEN 'unclear'
                WHEN NOT ?3 AND EXISTS (
                    SELECT 1 FROM links_links AS link
                        JOIN links_targets AS old ON old.id = link.target
                        JOIN links_targets AS new ON new.job = ?1 AND new.key = old.key
                    WHERE link.id = was.link AND new.verdict IS NULL) THEN 'unclear'
                WHEN (
                    SELECT CASE
                        WHEN link.source IS NULL THEN 1
                        WHEN page.id IS NULL THEN ?3 AND ?4
                        WHEN page.verdict IN ('alive', 'moved') THEN page.crawled
                        WHEN page.verdict = 'dead' THEN page.status IN (404, 410)
                        ELSE page.verdict = 'soft404'
                    END
                    FROM links_links AS link
                        LEFT JOIN links_targets AS old ON old.id = link.source
                        LEFT JOIN links_targets AS page ON page.job = ?1 AND page.key = old.key
                    WHERE link.id = was.link) THEN 'fixed'
                ELSE 'unclear' END AS change
            FROM (
                SELECT identity, min(id) AS link FROM links_links
                WHERE job = ?2 AND broken = 1 AND verdict NOT IN ('alive', 'moved')
                GROUP BY identity) AS was)
         GROUP BY change",
        params![number, previous, is_complete, has_room],
        |row| {
            let change: String = row.get(0)?;
            let links = count(row, 1)?;
            match change.as_str() {
                "still_broken" => counts.still_broken = links,
                "fixed" => counts.fixed = links,
                _ => counts.unclear = links,
            }
            Ok(())
        },
    )?;
    Ok(Some(Comparison::Counted(counts)))
}
