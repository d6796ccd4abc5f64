//! People: those who have jobs, one who reads results while they come in, and one who operates the cluster.

use super::{
    asker::{Asker, Refused},
    errand::Errand,
    stage::Stage,
};
use bytes::Bytes;
use holdfast_host::Host;
use holdfast_links::{CheckJob, JobId, LinkResult, Status, time};
use holdfast_node::{
    client::{Client, ClientConfig, Retry},
    race::{First, first},
    wire::links::{NewJobRequest, ResultsReply},
};
use holdfast_sim::draw::{Domain, Draws};
use holdfast_tables::{Reader, SqlError};
use http::StatusCode;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// How often a person looks how far the job is.
const LOOK: Duration = Duration::from_millis(500);
/// The mean pause of the reader.
const READER_PAUSE_NS: u64 = 700_000_000;
/// The mean pause of the operator.
const OPERATOR_PAUSE_NS: u64 = 4_000_000_000;
/// How long before the last fault ends the operator leaves the nodes alone.
const HANDS_OFF: Duration = Duration::from_secs(2);
/// How long an attempt of the operator may take.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Results of one page: few, so that pages are turned while results come in.
const PAGE: usize = 40;
/// Entities of [`Domain::Workload`].
const PERSON: u64 = 1 << 42;
const READER: u64 = 1 << 43;
const OPERATOR: u64 = 1 << 44;

/// A job that has come to its end.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// As it was asked for.
    pub errand: Errand,
    /// Its name.
    pub id: JobId,
}

/// The jobs that there are, for the reader.
pub(super) type Jobs = Arc<Mutex<Vec<JobId>>>;

/// Has a job done. `None` when it did not end in the time that there was; the failure is told.
pub(super) async fn ask(stage: Stage, host: Host, errand: Errand, jobs: Jobs) -> Option<Ended> {
    let entity = PERSON + u64::from(errand.number);
    let draws = Draws::new(stage.world.plan().seed, Domain::Workload, entity);
    let mut person = Person {
        asker: Asker::new(&stage, &host, draws),
        end: stage.world.horizon() + Duration::from_nanos(stage.world.plan().liveness_ns),
        stage,
        host,
        errand,
        changes: 0,
    };
    let ended = person.run(jobs).await;
    person.stage.job_ends(person.errand.number);
    if ended.is_none() {
        let message = format!(
            "job {} has not ended {:.0} s after the last fault",
            person.errand.number + 1,
            (person.end - person.stage.world.horizon()).as_secs_f64()
        );
        person.stage.world.fail("liveness", message, None);
    }
    ended
}

struct Person {
    stage: Stage,
    host: Host,
    asker: Asker,
    errand: Errand,
    end: Duration,
    changes: u32,
}

impl Person {
    async fn run(&mut self, jobs: Jobs) -> Option<Ended> {
        self.stage.world.sleep_until(self.errand.at).await;
        let mut new = NewJobRequest {
            start_urls: Some(self.errand.new.start_urls.clone()),
            options: self.errand.new.options.clone(),
            ..NewJobRequest::default()
        };
        if let Some(later) = self.errand.scheduled_in {
            let at = self.host.unix_time().as_nanos() + later.as_nanos() as u64;
            new.scheduled_for = Some(time::format(at));
            self.stage.world.mark("job-scheduled");
        }
        let new = serde_json::to_vec(&new).expect("plain data encodes");
        self.begins();
        let created = self.change("linksCreateJob", "/v1/links/jobs", new.into());
        let id = match created.await? {
            Ok(job) => job.id,
            Err(refused) => {
                self.refused("to create", &refused);
                return None;
            }
        };
        jobs.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        let path = format!("/v1/links/jobs/{id}");
        let mut was_stopped = false;
        for (after, again) in self.errand.stops.clone() {
            self.host.sleep(after).await;
            let cancel = format!("{path}/cancel");
            match self.change("linksCancelJob", &cancel, Bytes::new()).await? {
                Ok(_) => {
                    self.stage.job_ends(self.errand.number);
                    self.stage.world.mark("job-cancelled");
                    was_stopped = true;
                }
                // It was faster.
                Err(refused) if refused.status == StatusCode::CONFLICT => break,
                Err(refused) => self.refused("to cancel", &refused),
            }
            self.host.sleep(again).await;
            self.begins();
            let resume = format!("{path}/resume");
            match self.change("linksResumeJob", &resume, Bytes::new()).await? {
                Ok(_) => self.stage.world.mark("job-resumed"),
                Err(refused) => self.refused("to resume", &refused),
            }
        }
        while self.stage.world.now() < self.end {
            match self.asker.read::<CheckJob>(&path).await {
                Some(Ok(job)) if job.status.has_ended() => {
                    if was_stopped && job.status == Status::Completed {
                        self.stage.world.mark("job-completed-after-a-stop");
                    }
                    let errand = self.errand.clone();
                    return Some(Ended { errand, id });
                }
                Some(Err(refused)) => {
                    self.refused("to read", &refused);
                    return None;
                }
                _ => self.host.sleep(LOOK).await,
            }
        }
        None
    }

    fn begins(&self) {
        let gap = Duration::from_millis(self.errand.new.options.gap_ms);
        self.stage.job_begins(self.errand.number, gap);
    }

    fn refused(&self, what: &str, refused: &Refused) {
        let message = format!("{what} job {}: {refused}", self.errand.number + 1);
        self.stage.world.fail("refusal", message, None);
    }

    async fn change(
        &mut self,
        operation: &str,
        path: &str,
        body: Bytes,
    ) -> Option<Result<CheckJob, Refused>> {
        self.changes += 1;
        let key = format!("\"person {}, {}\"", self.errand.number + 1, self.changes);
        let asked = self.asker.change((&key, operation), path, body, self.end);
        asked.await
    }
}

/// What must not change of a result that was read before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    source: Option<String>,
    ordinal: u32,
    target: String,
    verdict: Option<holdfast_links::Verdict>,
}

impl Known {
    fn of(result: &LinkResult) -> Self {
        Known {
            source: result.source.clone(),
            ordinal: result.ordinal,
            target: result.target.clone(),
            verdict: result.verdict,
        }
    }

    /// Whether `later`, read of the same result afterwards, says the same, or a verdict where there was none.
    fn may_become(&self, later: &Known) -> bool {
        let same = (&self.source, self.ordinal, &self.target)
            == (&later.source, later.ordinal, &later.target);
        same && (self.verdict.is_none() || self.verdict == later.verdict)
    }
}

/// Reads results page by page while they come in: what was read once stays as it was, but for verdicts that were not
/// known yet.
pub(super) async fn read_along(stage: Stage, host: Host, jobs: Jobs, done: Arc<Notify>) {
    let draws = Draws::new(stage.world.plan().seed, Domain::Workload, READER);
    let mut asker = Asker::new(&stage, &host, draws);
    let mut known: BTreeMap<(u128, u64), Known> = BTreeMap::new();
    let mut after: BTreeMap<u128, String> = BTreeMap::new();
    let mut holding = 0;
    let mut ended = std::pin::pin!(done.notified());
    loop {
        let pause = Duration::from_nanos(asker.draws.exponential(READER_PAUSE_NS));
        if let First::One(()) = first(&mut ended, host.sleep(pause)).await {
            return;
        }
        if let Some(now) = stage.read(&host, &mut asker.draws, holder).await
            && now != 0
        {
            let before = std::mem::replace(&mut holding, now);
            if before != 0 && before != now {
                stage.world.mark("lease-taken-over");
            }
        }
        let all = jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(&id) = all.get(asker.draws.range(0, all.len().max(1) as u64) as usize) else {
            continue;
        };
        let mut path = format!("/v1/links/jobs/{id}/results?limit={PAGE}");
        if let Some(cursor) = after.get(&id.0) {
            path += &format!("&cursor={cursor}");
        }
        let page = match asker.read::<ResultsReply>(&path).await {
            Some(Ok(page)) => page,
            Some(Err(refused)) => {
                let message = format!("a page of job {id}: {refused}");
                stage.world.fail("refusal", message, None);
                continue;
            }
            None => continue,
        };
        // To the end, then from the beginning again.
        match page.next {
            Some(next) => {
                stage.world.mark("page-turned");
                after.insert(id.0, next);
            }
            None => {
                after.remove(&id.0);
            }
        }
        if !page.results.is_sorted_by(|a, b| a.id < b.id) || page.results.len() > PAGE {
            let message = format!("a page of job {id} is out of order");
            stage.world.fail("stable-results", message, None);
        }
        for result in &page.results {
            let now = Known::of(result);
            if let Some(before) = known.insert((id.0, result.id), now.clone())
                && !before.may_become(&now)
            {
                let message = format!("result {} was {before:?}, and is {now:?}", result.id);
                stage.world.fail("stable-results", message, None);
            }
        }
    }
}

/// Who holds the checker's lease; 0 for nobody.
fn holder(reader: Reader<'_>) -> Result<i64, SqlError> {
    let held = reader.first(
        "SELECT holder FROM leases WHERE service = 'links'",
        [],
        |row| row.get(0),
    )?;
    Ok(held.unwrap_or(0))
}

/// Operates the cluster: hands leadership on, and shuts nodes down in order, which are started again as a supervisor
/// would.
pub(super) async fn operate(
    stage: Stage,
    host: Host,
    endpoints: Vec<String>,
    stops: Arc<Vec<Notify>>,
) {
    let world = &stage.world;
    let plan = world.plan();
    let mut draws = Draws::new(plan.seed, Domain::Workload, OPERATOR);
    let mut config = ClientConfig::new(endpoints);
    config.retry = Retry::For(ATTEMPT * 2);
    config.connect_timeout = ATTEMPT;
    config.attempt_timeout = ATTEMPT;
    let client = Client::new(&host, config);
    let is_active = draws.chance(0.6);
    while is_active && world.now() + HANDS_OFF < world.horizon() {
        let pause = draws.exponential(OPERATOR_PAUSE_NS);
        host.sleep(Duration::from_nanos(pause)).await;
        let node = draws.range(0, u64::from(plan.nodes));
        let is_transfer = draws.chance(0.7);
        // To stop a node is a fault, too: there are none after the horizon.
        if world.now() + HANDS_OFF >= world.horizon() {
            return;
        }
        if is_transfer {
            // Whether it was accepted shows in who leads.
            let _ = client.transfer_leader(node + 1).await;
        } else {
            stops[node as usize].notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_links::Verdict;

    #[test]
    fn a_result_may_get_a_verdict_and_nothing_else() {
        let first = Known {
            source: Some("http://a/".into()),
            ordinal: 3,
            target: "http://b/".into(),
            verdict: None,
        };
        let judged = Known {
            verdict: Some(Verdict::Dead),
            ..first.clone()
        };
        let moved = Known {
            ordinal: 4,
            ..judged.clone()
        };
        assert!(first.may_become(&judged) && first.may_become(&first));
        assert!(!judged.may_become(&first), "a verdict does not go away");
        assert!(!judged.may_become(&moved));
    }
}
