use crate::{
    CheckJob, JobId, LinkResult, Verdict,
    query::{self, Filter, MAX_PAGE},
    report::{Change, Format, Report, ReportOptions, Totals},
};
use holdfast_host::Host;
use holdfast_replica::{Consistency, RequestError};
use holdfast_tables::{CallError, Reader, SqlError, TablesHandle};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How often a read is tried that fails because too many requests wait, and the pause between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// A report over a job's results, written as they are read: a page of [`MAX_PAGE`] at a time, however many there are.
pub struct ReportStream {
    host: Host,
    tables: TablesHandle,
    job: CheckJob,
    filter: Filter,
    /// `None` after its end.
    report: Option<Report>,
    /// The last result that was written.
    after: u64,
    /// What comes before the first.
    head: String,
}

/// Why a report cannot be written to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The job was deleted meanwhile.
    #[error("the job was deleted")]
    Deleted,
    /// The results cannot be read.
    #[error(transparent)]
    Read(#[from] CallError),
}

/// Results, and which of them were not broken in the run before.
type Page = (Vec<LinkResult>, BTreeSet<u64>);

impl ReportStream {
    /// Begins a report over those results of `job` that `filter` lets through.
    pub fn begin(
        host: &Host,
        tables: TablesHandle,
        job: CheckJob,
        filter: Filter,
        format: Format,
        options: &ReportOptions,
    ) -> ReportStream {
        let mut head = String::new();
        let report = Report::begin(format, &job, options, &mut head);
        ReportStream {
            host: host.clone(),
            tables,
            job,
            filter,
            report: Some(report),
            after: 0,
            head,
        }
    }

    /// How many of a job's results have which verdict, for [`ReportOptions::totals`].
    pub fn totals(reader: Reader<'_>, id: JobId) -> Result<Totals, SqlError> {
        let mut totals = Totals::default();
        for (name, count) in query::verdicts(reader, id)? {
            totals.add_many(Verdict::named(&name), count);
        }
        Ok(totals)
    }

    /// The next piece, which may be empty; `None` after the last one.
    ///
    /// # Errors
    /// [`ReportError`] when there is no next piece, though the report has not ended.
    pub async fn next(&mut self) -> Result<Option<String>, ReportError> {
        if self.report.is_none() {
            return Ok(None);
        }
        let (results, newly_broken) = self.page().await?;
        let mut text = std::mem::take(&mut self.head);
        let report = self.report.as_mut().expect("it has not ended");
        for result in &results {
            report.push(result, change(&self.job, result, &newly_broken), &mut text);
        }
        match results.last() {
            Some(last) if results.len() == MAX_PAGE => self.after = last.id,
            _ => {
                let report = self.report.take().expect("it has not ended");
                report.finish(&mut text);
            }
        }
        Ok(Some(text))
    }

    /// The page after what was written. It borrows nothing, so that the stream need not be shared to be sent elsewhere.
    fn page(&self) -> impl Future<Output = Result<Page, ReportError>> + Send + use<> {
        let (id, filter, after) = (self.job.id, self.filter, self.after);
        let has_previous = self.job.previous.is_some();
        let (host, tables) = (self.host.clone(), self.tables.clone());
        let read = Arc::new(move |reader: Reader<'_>| {
            let Some(results) = query::results(reader, id, filter, after, MAX_PAGE)? else {
                return Ok(None);
            };
            let mut newly = BTreeSet::new();
            if has_previous && results.iter().any(is_broken) {
                let last = results.last().map_or(after, |result| result.id);
                newly = query::newly_broken(reader, id, after, last)?;
            }
            Ok(Some((results, newly)))
        });
        async move {
            let mut tries = 0;
            loop {
                let read = read.clone();
                let answer = tables.read(Consistency::Stale, move |r| read(r));
                match answer.await {
                    Ok(page) => return page.ok_or(ReportError::Deleted),
                    Err(CallError::Request(RequestError::Rejected(_))) if tries < TRIES => {
                        tries += 1;
                        host.sleep(PAUSE).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
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
