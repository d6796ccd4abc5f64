//! Reports over a job's results, written as they are read: page by page, as fast as the client takes them.

use super::{Api, Call, Problem, ProblemKind, consistency, filter, job_id, no_job};
use crate::http::{BrokenOff, Query, ReplyBody};
use bytes::Bytes;
use holdfast_host::Host;
use holdfast_links::{
    ReportStream, query,
    report::{Format, ReportOptions},
};
use holdfast_tables::Reader;
use http::{HeaderMap, HeaderValue, Response, header};
use std::time::Duration;
use tokio::sync::mpsc;

/// Most written pieces that wait for a slow client; until there is room nothing more is read for it.
const PIECES: usize = 4;
/// Most bytes that are sent at once.
const PIECE_BYTES: usize = 64 << 10;

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
        // Who reads one takes as much of the node as who listens.
        let slot = self.watches.admit()?;
        // The other formats say how many there are at their end.
        let wants_totals = format == Format::Junit;
        let wants_comparison = matches!(format, Format::Json | Format::Html | Format::Text);
        let read = move |reader: Reader<'_>| {
            let Some(job) = query::find_job(reader, id)? else {
                return Ok(None);
            };
            let totals = match wants_totals {
                true => Some(ReportStream::totals(reader, id)?),
                false => None,
            };
            let comparison = match wants_comparison {
                true => query::comparison(reader, id)?,
                false => None,
            };
            Ok(Some((job, totals, comparison)))
        };
        let found = self.read_tables(consistency, read).await?;
        let (job, totals, comparison) = found.ok_or_else(|| no_job(id))?;
        let options = ReportOptions {
            totals,
            comparison,
            ..ReportOptions::default()
        };
        let name = format.file_name(&job);
        let report = ReportStream::begin(
            &self.host,
            self.tables.clone(),
            job,
            filter,
            format,
            &options,
        );
        let (pieces, body) = mpsc::channel(PIECES);
        let (host, patience) = (self.host.clone(), self.limits.write_timeout);
        self.host.spawn("links-report", async move {
            let _slot = slot;
            write(&host, report, &pieces, patience).await;
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

/// Writes a report to its end, or until the client takes nothing for `patience`.
async fn write(
    host: &Host,
    mut report: ReportStream,
    pieces: &mpsc::Sender<Result<Bytes, BrokenOff>>,
    patience: Duration,
) {
    loop {
        let mut text = match report.next().await {
            Ok(Some(text)) => Bytes::from(text),
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "a report broke off");
                // A client must not take what it has for all there is.
                let _ = host.timeout(patience, pieces.send(Err(BrokenOff))).await;
                return;
            }
        };
        while !text.is_empty() {
            let piece = text.split_to(text.len().min(PIECE_BYTES));
            let sent = host.timeout(patience, pieces.send(Ok(piece))).await;
            if !matches!(sent, Ok(Ok(()))) {
                // It has gone, or its connection is as good as gone.
                return;
            }
        }
    }
}
