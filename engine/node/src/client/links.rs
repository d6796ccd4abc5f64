//! The link checker, asked from outside.

use super::{
    Call, Client, ClientError, Effect, Retry, connection::Opened, is_passing, watch::open,
};
use crate::{
    http::{idempotency::IDEMPOTENCY_KEY_HEADER, percent_encode},
    wire::links::{EventDetail, JobEvent, JobReply, JobsReply, NewJobRequest, ResultsReply},
};
use bytes::{Bytes, BytesMut};
use holdfast_links::{CheckJob, JobId, report::Format};
use http::{HeaderName, Method, header};
use http_body_util::BodyExt;
use rand_chacha::rand_core::RngCore;
use std::{fmt::Write, sync::atomic::Ordering, time::Duration};

/// Longest event that is read.
const MAX_EVENT_BYTES: usize = 16 << 20;
const JOBS: &str = "/v1/links/jobs";

impl Client {
    /// Makes a job.
    pub async fn create_links_job(&self, request: &NewJobRequest) -> Result<CheckJob, ClientError> {
        let call = Call::new(Method::POST, JOBS, Effect::Command);
        super::decode(&self.once(call.json(request)).await?)
    }

    /// A page of jobs, the newest first; `cursor` is what the page before said.
    pub async fn links_jobs(&self, cursor: Option<&str>) -> Result<JobsReply, ClientError> {
        let mut target = JOBS.to_owned();
        if let Some(cursor) = cursor {
            write!(target, "?cursor={cursor}").expect("a string takes what is written");
        }
        self.call(Call::new(Method::GET, target, Effect::Read))
            .await
    }

    /// Reads a job.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`](crate::http::ProblemKind::NotFound) among others.
    pub async fn links_job(&self, id: JobId) -> Result<JobReply, ClientError> {
        let target = format!("{JOBS}/{id}");
        self.call(Call::new(Method::GET, target, Effect::Read))
            .await
    }

    /// Stops a job, if it is in this version.
    pub async fn cancel_links_job(
        &self,
        id: JobId,
        version: Option<u64>,
    ) -> Result<CheckJob, ClientError> {
        let call = Call::new(Method::POST, format!("{JOBS}/{id}/cancel"), Effect::Command);
        super::decode(&self.once(if_version(call, version)).await?)
    }

    /// Goes on with a job, if it is in this version.
    pub async fn resume_links_job(
        &self,
        id: JobId,
        version: Option<u64>,
    ) -> Result<CheckJob, ClientError> {
        let call = Call::new(Method::POST, format!("{JOBS}/{id}/resume"), Effect::Command);
        super::decode(&self.once(if_version(call, version)).await?)
    }

    /// Forgets a job, if it is in this version.
    pub async fn delete_links_job(
        &self,
        id: JobId,
        version: Option<u64>,
    ) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, format!("{JOBS}/{id}"), Effect::Command);
        self.once(if_version(call, version)).await.map(|_| ())
    }

    /// A page of a job's results; `filter` as the interface names it.
    pub async fn links_results(
        &self,
        id: JobId,
        filter: &str,
        cursor: Option<&str>,
    ) -> Result<ResultsReply, ClientError> {
        let filter = percent_encode(filter.as_bytes());
        let mut target = format!("{JOBS}/{id}/results?filter={filter}");
        if let Some(cursor) = cursor {
            write!(target, "&cursor={cursor}").expect("a string takes what is written");
        }
        self.call(Call::new(Method::GET, target, Effect::Read))
            .await
    }

    /// A report over a job's results, as it is written. It is begun at one node, and ends with that node's answer: to
    /// go on elsewhere in the middle could give another report.
    pub async fn links_report(
        &self,
        id: JobId,
        format: Format,
        filter: &str,
    ) -> Result<LinksReport, ClientError> {
        let filter = percent_encode(filter.as_bytes());
        let target = format!("{JOBS}/{id}/report?format={format}&filter={filter}");
        let call = Call::new(Method::GET, target, Effect::Read);
        let mut retries = Retries::new(self);
        loop {
            match open(self, &call).await {
                Ok(opened) => {
                    return Ok(LinksReport {
                        client: self.clone(),
                        opened,
                    });
                }
                Err(error) => retries.after(error).await?,
            }
        }
    }

    /// A job's progress, as it happens.
    pub fn links_events(&self, id: JobId) -> JobEvents {
        JobEvents {
            client: self.clone(),
            id,
            stream: None,
        }
    }

    /// A command under a key of its own, so that a retry is not carried out twice.
    pub(super) async fn once(&self, mut call: Call) -> Result<super::Answer, ClientError> {
        let key = {
            let mut rng = self.shared.rng.lock().expect("no panic under this lock");
            u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())
        };
        let name = HeaderName::from_static(IDEMPOTENCY_KEY_HEADER);
        call.headers.push((name, format!("\"{key:032x}\"")));
        self.with_retries(&call, None).await
    }
}

fn if_version(mut call: Call, version: Option<u64>) -> Call {
    if let Some(version) = version {
        let tag = format!("\"{version}\"");
        call.headers.push((header::IF_MATCH, tag));
    }
    call
}

/// Attempts of something that is begun anew elsewhere, as [`Retry`] says, counted from the first failure.
struct Retries<'a> {
    client: &'a Client,
    deadline: Option<holdfast_host::Moment>,
    attempt: usize,
}

impl<'a> Retries<'a> {
    fn new(client: &'a Client) -> Self {
        Retries {
            client,
            deadline: None,
            attempt: 0,
        }
    }

    /// Waits before the attempt after one that failed with `error`; gives it back when there is to be none.
    async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        let shared = &self.client.shared;
        if let ClientError::Refused(problem) = &error
            && !is_passing(problem.kind)
        {
            return Err(error);
        }
        shared.rotation.fetch_add(1, Ordering::Relaxed);
        let patience = match shared.config.retry {
            Retry::Never => Duration::ZERO,
            Retry::For(patience) => patience,
        };
        let end = shared.host.now().saturating_add(patience);
        let deadline = *self.deadline.get_or_insert(end);
        if !self.client.pause(self.attempt, deadline).await {
            return Err(error);
        }
        self.attempt += 1;
        Ok(())
    }
}

/// A report under way.
pub struct LinksReport {
    client: Client,
    opened: Opened,
}

impl LinksReport {
    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] when the report breaks off: what came of it is not all.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let shared = &self.client.shared;
        let broken = |detail: &str| ClientError::Unknown(format!("the report broke off: {detail}"));
        loop {
            let frame = self.opened.2.frame();
            let frame = shared
                .host
                .timeout(shared.config.watch_silence, frame)
                .await;
            match frame.map_err(|_| broken("it fell silent"))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// A job's progress; it outlives connections and nodes. Each event tells how things are, so that one that was missed
/// misses nothing.
pub struct JobEvents {
    client: Client,
    id: JobId,
    stream: Option<Stream>,
}

impl JobEvents {
    /// Waits for the next event. After [`JobEvent::End`] and [`JobEvent::Deleted`] there is none.
    ///
    /// # Errors
    /// What went wrong with the last node tried, when all were tried for as long as the client's [`Retry`] says, counted
    /// from the first failure.
    pub async fn next(&mut self) -> Result<JobEvent, ClientError> {
        let client = self.client.clone();
        let mut retries = Retries::new(&client);
        loop {
            let error = match self.read_on().await {
                Ok(JobEvent::Closing(detail)) => ClientError::Unknown(detail),
                Ok(event) => return Ok(event),
                Err(error) => error,
            };
            self.stream = None;
            retries.after(error).await?;
        }
    }

    async fn read_on(&mut self) -> Result<JobEvent, ClientError> {
        let shared = &self.client.shared;
        if self.stream.is_none() {
            let target = format!("{JOBS}/{}/events", self.id);
            let call = Call::new(Method::GET, target, Effect::Read);
            self.stream = Some(Stream {
                opened: open(&self.client, &call).await?,
                buffer: BytesMut::new(),
            });
        }
        let stream = self.stream.as_mut().expect("it was just there");
        loop {
            if let Some(event) = stream.buffered()? {
                return Ok(event);
            }
            // Signs of life come between events.
            let read = shared
                .host
                .timeout(shared.config.watch_silence, stream.read());
            let silent = |_| ClientError::Unknown("the events fell silent".to_owned());
            read.await.map_err(silent)??;
        }
    }
}

/// A body that is read event by event (WHATWG HTML, §9.2.6), as far as nodes write it.
struct Stream {
    opened: Opened,
    buffer: BytesMut,
}

impl Stream {
    async fn read(&mut self) -> Result<(), ClientError> {
        let unknown = |detail: String| ClientError::Unknown(detail);
        let frame = self.opened.2.frame().await;
        let frame = frame.ok_or_else(|| unknown("the events ended".to_owned()))?;
        let frame = frame.map_err(|error| unknown(format!("the events broke off: {error}")))?;
        if let Some(data) = frame.data_ref() {
            if self.buffer.len() + data.len() > MAX_EVENT_BYTES {
                let detail = format!("an event of more than {MAX_EVENT_BYTES} bytes");
                return Err(unknown(detail));
            }
            self.buffer.extend_from_slice(data);
        }
        Ok(())
    }

    /// The next event that has arrived whole.
    fn buffered(&mut self) -> Result<Option<JobEvent>, ClientError> {
        loop {
            let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") else {
                return Ok(None);
            };
            let block = self.buffer.split_to(end + 2);
            let malformed = |error: &dyn std::fmt::Display| {
                ClientError::Unknown(format!("an event that does not decode: {error}"))
            };
            let block = std::str::from_utf8(&block).map_err(|error| malformed(&error))?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            // A comment, or an event of a later version.
            let (Some(name), Some(data)) = (field("event: "), field("data: ")) else {
                continue;
            };
            let job = || serde_json::from_str(data).map_err(|error| malformed(&error));
            return Ok(Some(match name {
                "progress" => JobEvent::Progress(job()?),
                "end" => JobEvent::End(job()?),
                "deleted" => JobEvent::Deleted,
                "closing" => {
                    let told: EventDetail =
                        serde_json::from_str(data).map_err(|error| malformed(&error))?;
                    JobEvent::Closing(told.detail)
                }
                _ => continue,
            }));
        }
    }
}
