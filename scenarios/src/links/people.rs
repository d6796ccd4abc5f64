//! People: those who have jobs, one who reads results while they come in, and one who operates the cluster.

use super::{errand::Errand, stage::Stage};
use holdfast_host::Host;
use holdfast_links::{CheckJob, Command, JobId, LinkResult, Outcome, Refusal, Status, query};
use holdfast_node::{
    client::{Client, ClientConfig, Retry},
    race::{First, first},
};
use holdfast_sim::draw::{Domain, Draws};
use holdfast_tables::{Reader, SqlError};
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
    let mut person = Person {
        actor: format!("person-{}", errand.number + 1),
        draws: Draws::new(
            stage.world.plan().seed,
            Domain::Workload,
            PERSON + u64::from(errand.number),
        ),
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
    errand: Errand,
    actor: String,
    draws: Draws,
    end: Duration,
    changes: u32,
}

impl Person {
    async fn run(&mut self, jobs: Jobs) -> Option<Ended> {
        self.stage.world.sleep_until(self.errand.at).await;
        let mut new = self.errand.new.clone();
        if let Some(later) = self.errand.scheduled_in {
            let at = self.host.unix_time().as_nanos() + later.as_nanos() as u64;
            new.scheduled_for = Some(at);
            self.stage.world.mark("job-scheduled");
        }
        self.begins();
        let job = match self.change("create", &Command::Create(new)).await? {
            Ok(job) => job,
            Err(refusal) => {
                self.refused("create", &refusal);
                return None;
            }
        };
        let id = job.id;
        jobs.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        let mut was_stopped = false;
        for (after, again) in self.errand.stops.clone() {
            self.host.sleep(after).await;
            let cancel = Command::Cancel { id, version: None };
            match self.change("cancel", &cancel).await? {
                Ok(_) => {
                    self.stage.job_ends(self.errand.number);
                    self.stage.world.mark("job-cancelled");
                    was_stopped = true;
                }
                // It was faster.
                Err(Refusal::WrongStatus(status)) if status.has_ended() => break,
                Err(refusal) => self.refused("cancel", &refusal),
            }
            self.host.sleep(again).await;
            self.begins();
            let resume = Command::Resume { id, version: None };
            match self.change("resume", &resume).await? {
                Ok(_) => self.stage.world.mark("job-resumed"),
                Err(refusal) => self.refused("resume", &refusal),
            }
        }
        loop {
            let job = self.look(id).await?;
            if job.status.has_ended() {
                if was_stopped && job.status == Status::Completed {
                    self.stage.world.mark("job-completed-after-a-stop");
                }
                return Some(Ended {
                    errand: self.errand.clone(),
                    id,
                });
            }
            self.host.sleep(LOOK).await;
        }
    }

    fn begins(&self) {
        let gap = Duration::from_millis(self.errand.new.options.gap_ms);
        self.stage.job_begins(self.errand.number, gap);
    }

    fn refused(&self, what: &str, refusal: &Refusal) {
        let message = format!("{what} of job {}: {refusal}", self.errand.number + 1);
        self.stage.world.fail("refusal", message, None);
    }

    async fn change(&mut self, what: &str, command: &Command) -> Option<Result<CheckJob, Refusal>> {
        self.changes += 1;
        let operation = format!("{} {what}", self.changes);
        let who = (self.actor.as_str(), operation.as_str());
        let outcome = self
            .stage
            .change(&self.host, &mut self.draws, who, command, self.end)
            .await?;
        Some(outcome.map(|outcome| match outcome {
            Outcome::Job(job) => *job,
            other => unreachable!("a change of a job is answered with the job, not {other:?}"),
        }))
    }

    /// The job as it is now.
    async fn look(&mut self, id: JobId) -> Option<CheckJob> {
        while self.stage.world.now() < self.end {
            let read = move |reader: Reader<'_>| query::find_job(reader, id);
            match self.stage.read(&self.host, &mut self.draws, read).await {
                Some(Some(job)) => return Some(job),
                Some(None) => {
                    let message = format!("job {id} is gone");
                    self.stage.world.fail("durable-job", message, None);
                    return None;
                }
                None => self.host.sleep(LOOK).await,
            }
        }
        None
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
    let mut draws = Draws::new(stage.world.plan().seed, Domain::Workload, READER);
    let mut known: BTreeMap<(u128, u64), Known> = BTreeMap::new();
    let mut after: BTreeMap<u128, u64> = BTreeMap::new();
    let mut holding = 0;
    let mut ended = std::pin::pin!(done.notified());
    loop {
        let pause = host.sleep(Duration::from_nanos(draws.exponential(READER_PAUSE_NS)));
        if let First::One(()) = first(&mut ended, pause).await {
            return;
        }
        let all = jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(&id) = all.get(draws.range(0, all.len().max(1) as u64) as usize) else {
            continue;
        };
        let from = after.get(&id.0).copied().unwrap_or(0);
        let read = move |reader: Reader<'_>| {
            let page = query::results(reader, id, query::Filter::All, from, PAGE)?;
            Ok((page, holder(reader)?))
        };
        let Some((Some(page), now)) = stage.read(&host, &mut draws, read).await else {
            continue;
        };
        if now != 0 {
            let before = std::mem::replace(&mut holding, now);
            if before != 0 && before != now {
                stage.world.mark("lease-taken-over");
            }
        }
        let last = page.last().map(|result| result.id);
        // To the end, then from the beginning again.
        after.insert(id.0, last.unwrap_or(0));
        if from > 0 && last.is_some() {
            stage.world.mark("page-turned-while-running");
        }
        if !page.is_sorted_by(|a, b| a.id < b.id) || page.first().is_some_and(|r| r.id <= from) {
            let message = format!("a page of job {id} behind {from} is out of order");
            stage.world.fail("stable-results", message, None);
        }
        for result in &page {
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
