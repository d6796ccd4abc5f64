//! Reports over a job's results, written as they are read: page by page, as fast as the client takes them.

use super::{Api, Call, Problem, ProblemKind, consistency, filter, job_id, no_job};
use crate::http::{BrokenOff, Query, ReplyBody};
use bytes::Bytes;
use holdfast_host::Host;
use holdfast_links::{
    CheckJob, JobId, LinkResult, Verdict,
    query::{self, Filter, MAX_PAGE},
    report::{Change, Format, Report, ReportOptions, Totals},
};
use holdfast_replica::{Consistency, RequestError};
use holdfast_tables::{CallError, Reader, SqlError, TablesHandle};
use http::{HeaderMap, HeaderValue, Response, header};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Most written pieces that wait for a slow client; until there is room nothing more is read for it.
const PIECES: usize = 4;
/// Bytes above which what is written is sent.
const PIECE_BYTES: usize = 64 << 10;
/// How often a read is tried that fails because too many requests wait, and the pause between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

impl Api {
    /// Writes a report.
    pub(in crate::api) async fn links_report(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let id = job_id(&call)?;
        let mut query = Query::parse(call.head.uri.query())?;
        let consistency = consistency(&mut query)?;
        let filter = filter(&mut query)?;
        let format = query.text("format")?;
        query.finish()?;
        let format = match format {
            Some(name) => name.parse().map_err(|error| {
                Problem::bad_request(format!("query parameter `format`: {error}"))
            })?,
            None => accepted(&call.head.headers)?,
        };
        // The others say how many there are at their end.
        let wants_totals = format == Format::Junit;
        let read = move |reader: Reader<'_>| {
            let Some(job) = query::find_job(reader, id)? else {
                return Ok(None);
            };
            let totals = match wants_totals {
                true => Some(totals(reader, id)?),
                false => None,
            };
            Ok(Some((job, totals)))
        };
        let found = self.read_tables(consistency, read).await?;
        let (job, totals) = found.ok_or_else(|| no_job(id))?;
        // Told only after it is known that everything may be read: the stream cannot refuse any more.
        let slot = self.watches.admit()?;
        let options = ReportOptions {
            totals,
            ..ReportOptions::default()
        };
        let (pieces, body) = mpsc::channel(PIECES);
        let name = format.file_name(&job);
        let mut writing = Writing {
            host: self.host.clone(),
            tables: self.tables.clone(),
            filter,
            pieces,
            patience: self.limits.write_timeout,
            text: String::new(),
        };
        self.host.spawn("links-report", async move {
            let _slot = slot;
            if let Err(Stopped::Broken) = writing.write(format, &job, &options).await {
                // A client must not take what it has for all there is.
                let _ = writing.pieces.send(Err(BrokenOff)).await;
            }
        });
        let mut response = Response::new(ReplyBody::Fallible(body));
        let headers = response.headers_mut();
        let disposition = format!("attachment; filename=\"{name}\"");
        let disposition = HeaderValue::from_str(&disposition).expect("file names are plain");
        headers.insert(header::CONTENT_DISPOSITION, disposition);
        let media_type = HeaderValue::from_static(format.media_type());
        headers.insert(header::CONTENT_TYPE, media_type);
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        // What a checked site wrote is in there: nobody shall take it for something else.
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        Ok(response)
    }
}

/// The format that suits the client best.
fn accepted(headers: &HeaderMap) -> Result<Format, Problem> {
    let values = headers.get_all(header::ACCEPT).iter();
    let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    Format::for_accept(&texts.join(",")).ok_or_else(|| {
        let known = Format::ALL.map(Format::media_type).join(", ");
        let detail = format!("reports are given as {known}");
        Problem::new(ProblemKind::NotAcceptable, detail)
    })
}

fn totals(reader: Reader<'_>, id: JobId) -> Result<Totals, SqlError> {
    let mut totals = Totals::default();
    for (name, count) in query::verdicts(reader, id)? {
        totals.add_many(Verdict::named(&name), count);
    }
    Ok(totals)
}

/// Why a report ends early.
enum Stopped {
    /// The client has gone, or takes nothing any more.
    Gone,
    /// The results cannot be read any more.
    Broken,
}

/// A report under way.
struct Writing {
    host: Host,
    tables: TablesHandle,
    filter: Filter,
    pieces: mpsc::Sender<Result<Bytes, BrokenOff>>,
    /// How long the client may take nothing.
    patience: Duration,
    /// Written and not sent.
    text: String,
}

/// Results, and which of them were not broken in the run before.
type Page = (Vec<LinkResult>, BTreeSet<u64>);

impl Writing {
    async fn write(
        &mut self,
        format: Format,
        job: &CheckJob,
        options: &ReportOptions,
    ) -> Result<(), Stopped> {
        let mut report = Report::begin(format, job, options, &mut self.text);
        let mut after = 0;
        loop {
            let (results, newly_broken) = self.page(job, after).await?;
            let has_more = results.len() == MAX_PAGE;
            for result in &results {
                after = result.id;
                report.push(result, change(job, result, &newly_broken), &mut self.text);
                if self.text.len() >= PIECE_BYTES {
                    self.send().await?;
                }
            }
            if !has_more {
                break;
            }
        }
        report.finish(&mut self.text);
        self.send().await
    }

    async fn page(&self, job: &CheckJob, after: u64) -> Result<Page, Stopped> {
        let (id, filter, has_previous) = (job.id, self.filter, job.previous.is_some());
        let read = Arc::new(move |reader: Reader<'_>| {
            let Some(results) = query::results(reader, id, filter, after, MAX_PAGE)? else {
                return Ok(None);
            };
            let mut newly = BTreeSet::new();
            if has_previous && results.iter().any(is_broken) {
                let broken = query::results(reader, id, Filter::NewlyBroken, after, MAX_PAGE)?;
                newly.extend(broken.into_iter().flatten().map(|result| result.id));
            }
            Ok(Some((results, newly)))
        });
        for _ in 0..TRIES {
            let read = read.clone();
            match self.tables.read(Consistency::Stale, move |r| read(r)).await {
                Ok(Some(page)) => return Ok(page),
                // Deleted meanwhile.
                Ok(None) => return Err(Stopped::Broken),
                Err(CallError::Request(RequestError::Rejected(_))) => {
                    self.host.sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "a report broke off");
                    return Err(Stopped::Broken);
                }
            }
        }
        Err(Stopped::Broken)
    }

    async fn send(&mut self) -> Result<(), Stopped> {
        let mut text = Bytes::from(std::mem::take(&mut self.text));
        while !text.is_empty() {
            let piece = text.split_to(text.len().min(PIECE_BYTES));
            let sent = self.pieces.send(Ok(piece));
            let sent = self.host.timeout(self.patience, sent).await;
            sent.map_err(|_| Stopped::Gone)?
                .map_err(|_| Stopped::Gone)?;
        }
        Ok(())
    }
}

fn is_broken(result: &LinkResult) -> bool {
    result.verdict.is_some_and(Verdict::is_broken)
}

/// What changed since the run before, as far as what is broken tells.
fn change(job: &CheckJob, result: &LinkResult, newly_broken: &BTreeSet<u64>) -> Option<Change> {
    if job.previous.is_none() || !is_broken(result) {
        return None;
    }
    Some(match newly_broken.contains(&result.id) {
        true => Change::NewlyBroken,
        false => Change::StillBroken,
    })
}
