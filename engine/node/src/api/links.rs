//! The link checker: jobs, and what they found.

mod events;
mod report;

use super::{
    Api, Call, Problem, ProblemKind, consistency, decode, json_reply,
    tables::{Carried, caller},
};
use crate::{
    config::parse_duration,
    http::{
        Query, ReplyBody,
        conditional::{Conditions, EntityTag, Tags, Verdict as Judged},
        idempotency::REPLAYED_HEADER,
        page::{PageRequest, Position, invalid_cursor, next_link},
    },
    wire::{
        Consistency,
        links::{JobReply, JobsReply, NewJobRequest, ResultsReply},
    },
};
use holdfast_links::{
    CheckJob, Command, InvalidJobId, JobId, Links, NewJob, Outcome, Refusal, Status, Verdict,
    query::{self, Filter, MAX_PAGE},
    time,
};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where a page of jobs begins.
#[derive(Debug, Serialize, Deserialize)]
struct JobsPosition {
    /// The last job of the page before.
    before: JobId,
}

impl Position for JobsPosition {
    const LIST: u8 = 2;
}

/// Where a page of results begins.
#[derive(Debug, Serialize, Deserialize)]
struct ResultsPosition {
    job: JobId,
    filter: Filter,
    /// The last result of the page before.
    after: u64,
}

impl Position for ResultsPosition {
    const LIST: u8 = 3;
}

impl Api {
    /// Makes a job.
    pub(super) async fn create_job(
        &self,
        mut call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let body = self.json_body(&mut call).await?;
        let command = Command::Create(new_job(decode(&body)?)?);
        let caller = caller(&call, &body)?;
        let carried = self.propose_to::<Links>(caller, &command).await?;
        let (job, is_replayed) = changed(carried)?;
        let mut response = job_reply(&job, is_replayed);
        *response.status_mut() = StatusCode::CREATED;
        let location = format!("/v1/links/jobs/{}", job.id);
        let location = HeaderValue::from_str(&location).expect("a path of ASCII");
        response.headers_mut().insert(header::LOCATION, location);
        Ok(response)
    }

    /// Lists jobs.
    pub(super) async fn list_jobs(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let mut query = Query::parse(call.head.uri.query())?;
        let consistency = consistency(&mut query)?;
        let page = PageRequest::<JobsPosition>::take(&mut query, MAX_PAGE)?;
        query.finish()?;
        let before = page.from.map(|from| from.before);
        let more = page.limit + 1;
        let read = move |reader: holdfast_tables::Reader<'_>| query::jobs(reader, before, more);
        let mut jobs = self.read_tables(consistency, read).await?;
        let next = cut(&mut jobs, page.limit, |job| JobsPosition { before: job.id });
        let reply = JobsReply {
            jobs,
            next: next.clone(),
        };
        Ok(paged(&call, json_reply(&reply), next.as_deref()))
    }

    /// Reads a job.
    pub(super) async fn get_job(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let id = job_id(&call)?;
        let mut query = Query::parse(call.head.uri.query())?;
        let consistency = consistency(&mut query)?;
        query.finish()?;
        let conditions = Conditions::of(&call.head.headers)?;
        let found = self.find_job(consistency, id).await?;
        let tag = found.as_ref().map(tag);
        let judged = conditions.judge(tag.as_ref());
        if judged == Judged::Failed {
            return Err(changed_since(found.as_ref()));
        }
        let (Some(job), Some(tag)) = (found, tag) else {
            return Err(no_job(id));
        };
        let mut response = Response::new(ReplyBody::Full(None));
        if judged == Judged::NotModified {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            // Counted only for who has not seen it; perhaps a little later than the job was read.
            let read = move |reader: holdfast_tables::Reader<'_>| {
                Ok((query::verdicts(reader, id)?, query::comparison(reader, id)?))
            };
            let (verdicts, comparison) = self.read_tables(Consistency::Stale, read).await?;
            response = json_reply(&JobReply {
                job,
                verdicts,
                comparison,
            });
        }
        response.headers_mut().insert(header::ETAG, tag.to_value());
        Ok(response)
    }

    /// Stops a job.
    pub(super) async fn cancel_job(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let carried = self.change_job(&call, |id, version| Command::Cancel { id, version });
        let (job, is_replayed) = changed(carried.await?)?;
        Ok(job_reply(&job, is_replayed))
    }

    /// Goes on with a job.
    pub(super) async fn resume_job(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let carried = self.change_job(&call, |id, version| Command::Resume { id, version });
        let (job, is_replayed) = changed(carried.await?)?;
        Ok(job_reply(&job, is_replayed))
    }

    /// Forgets a job.
    pub(super) async fn delete_job(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let carried = self.change_job(&call, |id, version| Command::Delete { id, version });
        let carried = carried.await?;
        carried.outcome.map_err(refusal)?;
        let mut response = Response::new(ReplyBody::Full(None));
        *response.status_mut() = StatusCode::NO_CONTENT;
        note_replay(&mut response, carried.replayed);
        Ok(response)
    }

    /// Lists what a job has found.
    pub(super) async fn list_results(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let id = job_id(&call)?;
        let mut query = Query::parse(call.head.uri.query())?;
        let consistency = consistency(&mut query)?;
        let filter = filter(&mut query)?;
        let page = PageRequest::<ResultsPosition>::take(&mut query, MAX_PAGE)?;
        query.finish()?;
        let after = match page.from {
            None => 0,
            Some(from) if from.job == id && from.filter == filter => from.after,
            Some(_) => return Err(invalid_cursor()),
        };
        let more = page.limit + 1;
        let read = move |reader: holdfast_tables::Reader<'_>| {
            query::results(reader, id, filter, after, more)
        };
        let found = self.read_tables(consistency, read).await?;
        let mut results = found.ok_or_else(|| no_job(id))?;
        let next = cut(&mut results, page.limit, |last| ResultsPosition {
            job: id,
            filter,
            after: last.id,
        });
        let reply = ResultsReply {
            results,
            next: next.clone(),
        };
        Ok(paged(&call, json_reply(&reply), next.as_deref()))
    }

    async fn find_job(
        &self,
        consistency: Consistency,
        id: JobId,
    ) -> Result<Option<CheckJob>, Problem> {
        self.read_tables(consistency, move |reader| query::find_job(reader, id))
            .await
    }

    /// Proposes a change of the job that the path names, if it is in the version that the client knows.
    async fn change_job(
        &self,
        call: &Call<'_>,
        command: impl FnOnce(JobId, Option<u64>) -> Command,
    ) -> Result<Carried<Links>, Problem> {
        let id = job_id(call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let caller = caller(call, b"")?;
        let conditions = Conditions::of(&call.head.headers)?;
        if conditions.if_none_match.is_some() {
            return Err(Problem::bad_request("If-None-Match is for reads"));
        }
        let version = match conditions.if_match {
            None | Some(Tags::Any) => None,
            Some(Tags::These(tags)) => {
                let versions: BTreeSet<u64> = tags.iter().filter_map(version).collect();
                match versions.len() {
                    // Versions begin at 1: this is none, and the answer is that of a version that is past.
                    0 => Some(0),
                    1 => versions.first().copied(),
                    _ => {
                        let found = self.find_job(Consistency::Linearizable, id).await?;
                        let current = found.map(|job| job.version);
                        current.filter(|v| versions.contains(v)).or(Some(0))
                    }
                }
            }
        };
        let command = command(id, version);
        self.propose_to::<Links>(caller, &command).await
    }
}

/// The job that a path names.
fn job_id(call: &Call<'_>) -> Result<JobId, Problem> {
    let id = call.path.get("id");
    let parsed = std::str::from_utf8(&id).map_err(|_| InvalidJobId);
    parsed
        .and_then(str::parse)
        .map_err(|error: InvalidJobId| Problem::bad_request(error.to_string()))
}

fn new_job(request: NewJobRequest) -> Result<NewJob, Problem> {
    let start_urls = match (request.start_urls, request.target_domain) {
        (Some(urls), None) => urls,
        (None, Some(domain)) => {
            let is_host = |c: char| c.is_alphanumeric() || "-._:[]".contains(c);
            if domain.is_empty() || !domain.chars().all(is_host) {
                return Err(invalid(
                    "target_domain",
                    "must be a host such as example.com",
                ));
            }
            vec![format!("https://{domain}/")]
        }
        (None, None) => {
            let detail = "which site? Give `start_urls` or `target_domain`";
            return Err(Problem::bad_request(detail).with("field", "start_urls"));
        }
        (Some(_), Some(_)) => {
            let reason = "give it or `start_urls`, not both";
            return Err(invalid("target_domain", reason));
        }
    };
    let scheduled_for = request.scheduled_for.as_deref().map(time::parse);
    let every_ms = match (request.every, request.every_ms) {
        (None, every_ms) => every_ms,
        (Some(every), None) => {
            let every = parse_duration(&every).map_err(|error| invalid("every", &error))?;
            Some(u64::try_from(every.as_millis()).unwrap_or(u64::MAX))
        }
        (Some(_), Some(_)) => return Err(invalid("every", "give it or `every_ms`, not both")),
    };
    Ok(NewJob {
        start_urls,
        options: request.options,
        scheduled_for: scheduled_for
            .transpose()
            .map_err(|error| invalid("scheduled_for", &error.to_string()))?,
        every_ms,
    })
}

fn invalid(field: &str, reason: &str) -> Problem {
    Problem::bad_request(format!("{field}: {reason}")).with("field", field)
}

/// Which results a query asks for.
fn filter(query: &mut Query) -> Result<Filter, Problem> {
    Ok(match query.text("filter")?.as_deref() {
        None | Some("all") => Filter::All,
        Some("broken") => Filter::Broken,
        Some("newly_broken") => Filter::NewlyBroken,
        Some(name) => match Verdict::named(name) {
            Some(verdict) => Filter::Verdict(verdict),
            None => {
                let known = Verdict::ALL.map(Verdict::name).join(", ");
                return Err(Problem::bad_request(format!(
                    "query parameter `filter` must be all, broken, newly_broken, or a verdict: {known}"
                )));
            }
        },
    })
}

/// The tag of a job as it is. While it runs, what it has found changes without a change of its version: the tag then says
/// both, and `If-Match` looks at the version alone.
fn tag(job: &CheckJob) -> EntityTag {
    let version = job.version;
    if job.status != Status::Running {
        return EntityTag::of_version(version);
    }
    let done = job.targets.saturating_sub(job.pending);
    EntityTag {
        is_weak: false,
        opaque: format!("{version}.{}.{done}", job.total_links).into_bytes(),
    }
}

/// The version that a tag of ours names.
fn version(tag: &EntityTag) -> Option<u64> {
    let end = tag.opaque.iter().position(|byte| *byte == b'.');
    let version = EntityTag {
        is_weak: tag.is_weak,
        opaque: tag.opaque[..end.unwrap_or(tag.opaque.len())].to_vec(),
    };
    version.version()
}

/// The job that a command has changed, and whether it had been carried out before.
fn changed(carried: Carried<Links>) -> Result<(CheckJob, bool), Problem> {
    match carried.outcome {
        Ok(Outcome::Job(job)) => Ok((*job, carried.replayed)),
        // The key was used for a command with another outcome, and its fingerprint would have told.
        Ok(other) => Err(Problem::new(
            ProblemKind::IdempotencyKeyReused,
            format!("the outcome of another command: {other:?}"),
        )),
        Err(refused) => Err(refusal(refused)),
    }
}

fn job_reply(job: &CheckJob, is_replayed: bool) -> Response<ReplyBody> {
    let mut response = json_reply(job);
    let tag = tag(job).to_value();
    response.headers_mut().insert(header::ETAG, tag);
    note_replay(&mut response, is_replayed);
    response
}

pub(super) fn note_replay(response: &mut Response<ReplyBody>, is_replayed: bool) {
    if is_replayed {
        let name = HeaderName::from_static(REPLAYED_HEADER);
        let value = HeaderValue::from_static("true");
        response.headers_mut().insert(name, value);
    }
}

/// Cuts a page to its limit; the cursor of the next one, if something is left.
pub(super) fn cut<T, P: Position>(
    items: &mut Vec<T>,
    limit: usize,
    position: impl FnOnce(&T) -> P,
) -> Option<String> {
    let has_more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| has_more)?;
    Some(position(last).to_cursor())
}

/// With the `Link` to the next page.
pub(super) fn paged(
    call: &Call<'_>,
    mut response: Response<ReplyBody>,
    next: Option<&str>,
) -> Response<ReplyBody> {
    if let Some(next) = next {
        let link = next_link(&call.head.uri, next);
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn no_job(id: JobId) -> Problem {
    Problem::new(ProblemKind::NotFound, Refusal::NotFound(id).to_string())
}

fn changed_since(job: Option<&CheckJob>) -> Problem {
    let problem = |detail| Problem::new(ProblemKind::PreconditionFailed, detail);
    match job {
        None => problem("there is no such job".to_owned()),
        Some(job) => {
            problem(Refusal::Changed(job.version).to_string()).with("version", job.version)
        }
    }
}

/// What a client is told when the service refuses.
fn refusal(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NotFound(_) => Problem::new(ProblemKind::NotFound, detail),
        Refusal::Changed(version) => {
            Problem::new(ProblemKind::PreconditionFailed, detail).with("version", version)
        }
        Refusal::WrongStatus(status) => {
            Problem::new(ProblemKind::WrongStatus, detail).with("status_of_job", status.name())
        }
        Refusal::Invalid { field, .. } => Problem::bad_request(detail).with("field", field),
        Refusal::TooMany(most) => {
            Problem::new(ProblemKind::QuotaReached, detail).with("limit", most)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_a_version_with_and_without_progress() {
        let tag = |opaque: &str| EntityTag {
            is_weak: false,
            opaque: opaque.into(),
        };
        for (opaque, named) in [
            ("7", Some(7)),
            ("7.12.3", Some(7)),
            ("7.", Some(7)),
            (".7", None),
            ("", None),
            ("x", None),
            ("07", None),
        ] {
            assert_eq!(version(&tag(opaque)), named, "{opaque}");
        }
        let weak = EntityTag {
            is_weak: true,
            ..tag("7")
        };
        assert_eq!(version(&weak), None);
    }

    #[test]
    fn requests_name_one_site_in_one_way() {
        let read = |text: &str| new_job(serde_json::from_str(text).expect("a request"));
        let job = read(r#"{"target_domain": "example.com:8443", "every": "1.5h"}"#).expect("good");
        assert_eq!(job.start_urls, ["https://example.com:8443/"]);
        assert_eq!(job.every_ms, Some(5_400_000));
        let job =
            read(r#"{"start_urls": ["http://a.test/"], "scheduled_for": "1970-01-01T00:00:01Z"}"#);
        assert_eq!(job.expect("good").scheduled_for, Some(1_000_000_000));
        for bad in [
            "{}",
            r#"{"start_urls": [], "target_domain": "a.test"}"#,
            r#"{"target_domain": ""}"#,
            r#"{"target_domain": "http://a.test"}"#,
            r#"{"target_domain": "a.test/b"}"#,
            r#"{"target_domain": "u@a.test"}"#,
            r#"{"target_domain": "a.test?b"}"#,
            r#"{"target_domain": "a.test", "every": "1x"}"#,
            r#"{"target_domain": "a.test", "every": "1h", "every_ms": 3600000}"#,
            r#"{"target_domain": "a.test", "scheduled_for": "tomorrow"}"#,
        ] {
            let problem = read(bad).expect_err(bad);
            assert_eq!(problem.kind, ProblemKind::BadRequest, "{bad}");
            assert!(problem.extra.contains_key("field"), "{bad}");
        }
    }
}
