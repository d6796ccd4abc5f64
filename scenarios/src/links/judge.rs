//! After the last fault: what jobs found is held against the model, what servers saw against good manners, and replicas
//! against each other.

use super::{
    LINK_TIMEOUT,
    errand::Chosen,
    expect::{self, Question},
    people::Ended,
    polite::{self, Conditions},
    site::Sites,
    stage::Stage,
};
use holdfast_host::Host;
use holdfast_links::{CheckJob, LinkResult, query};
use holdfast_node::client::{Client, ClientConfig};
use holdfast_replica::{Consistency, DiskMachine};
use holdfast_sim::{full::World, plan::FaultKind};
use holdfast_tables::Reader;
use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// How often replicas are looked at until they are equal, and for how long at most.
const LOOK: Duration = Duration::from_millis(200);
const CONVERGENCE: Duration = Duration::from_secs(20);
/// How long one read may take long after the last fault.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Looks at everything; how many links were judged.
pub(super) async fn judge(
    stage: &Stage,
    host: &Host,
    endpoints: Vec<String>,
    chosen: &Chosen,
    sites: &Sites,
    ended: &[Ended],
) -> u64 {
    let judge = Judge {
        stage,
        host,
        chosen,
        sites,
    };
    let mut links = 0;
    for ended in ended {
        let id = ended.id;
        let read = move |reader: Reader<'_>| {
            let job = query::find_job(reader, id)?;
            let verdicts = query::verdicts(reader, id)?;
            let mut rows: Vec<LinkResult> = Vec::new();
            loop {
                let from = rows.last().map_or(0, |row| row.id);
                let page = query::results(reader, id, query::Filter::All, from, query::MAX_PAGE)?;
                let page = page.unwrap_or_default();
                if page.is_empty() {
                    return Ok((job, verdicts, rows));
                }
                rows.extend(page);
            }
        };
        let Some((job, verdicts, rows)) = judge.read(read).await else {
            return links;
        };
        links += rows.len() as u64;
        judge.job(ended, job, &verdicts, &rows);
    }
    judge.manners(ended).await;
    judge.audit().await;
    let Some(before) = judge.convergence(&endpoints).await else {
        return links;
    };
    for node in 0..stage.world.plan().nodes {
        stage.close_door(node);
        stage.world.restart(node);
    }
    if let Some(after) = judge.convergence(&endpoints).await
        && before.rows != after.rows
    {
        let message = format!(
            "{:?} rows, and {:?} after a restart",
            before.rows, after.rows
        );
        stage.world.fail("recovery", message, None);
    }
    links
}

struct Judge<'a> {
    stage: &'a Stage,
    host: &'a Host,
    chosen: &'a Chosen,
    sites: &'a Sites,
}

/// What one replica's tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    applied: u64,
    hash: u64,
    damage: Option<String>,
    /// Of jobs, targets, links, and the audit log.
    rows: Vec<i64>,
}

impl Judge<'_> {
    fn world(&self) -> &World {
        &self.stage.world
    }

    fn tell(&self, checked: Result<(), (&'static str, String)>) {
        if let Err((property, message)) = checked {
            self.world().fail(property, message, None);
        }
    }

    /// Reads at the first node; a failure that is told when that takes long.
    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(Reader<'_>) -> Result<T, holdfast_tables::SqlError> + Clone + Send + 'static,
    ) -> Option<T> {
        let deadline = self.world().now() + CONVERGENCE;
        let mut last = String::from("no node runs");
        while self.world().now() < deadline {
            if let Some(tables) = self.stage.door(0) {
                let asked = tables.read(Consistency::Linearizable, read.clone());
                match self.host.timeout(ATTEMPT, asked).await {
                    Ok(Ok(read)) => return Some(read),
                    Ok(Err(error)) => last = error.to_string(),
                    Err(_) => last = "no answer".into(),
                }
            }
            self.host.sleep(LOOK).await;
        }
        let message = format!("a read long after the last fault: {last}");
        self.world().fail("liveness", message, Some(0));
        None
    }

    /// When the way to the web was cut, by the plan or beside it.
    fn cuts(&self) -> Vec<(Duration, Duration)> {
        let plan = self.world().plan();
        let isolations = plan.faults.iter().filter_map(|fault| {
            let until = fault.until_ns.unwrap_or(plan.horizon_ns);
            let is_cut = matches!(fault.kind, FaultKind::Isolate { .. });
            is_cut.then(|| {
                (
                    Duration::from_nanos(fault.at_ns),
                    Duration::from_nanos(until),
                )
            })
        });
        isolations.chain(self.sites.cuts()).collect()
    }

    fn job(
        &self,
        ended: &Ended,
        job: Option<CheckJob>,
        verdicts: &BTreeMap<String, u64>,
        rows: &[LinkResult],
    ) {
        let world = self.world();
        let Some(job) = job else {
            let message = format!("job {} is gone", ended.id);
            return world.fail("durable-job", message, None);
        };
        let active = self.stage.active();
        let mut times = active.iter().filter(|a| a.is_of(ended.errand.number));
        let was_cut = times.any(|active| {
            let end = active.until.unwrap_or(world.now());
            self.cuts()
                .iter()
                .any(|(from, until)| *from <= end && active.from <= *until + LINK_TIMEOUT)
        });
        let question = Question {
            web: &self.sites.web,
            starts: &ended.errand.new.start_urls,
            options: &ended.errand.new.options,
            was_cut,
        };
        self.tell(expect::check(&question, &job, verdicts, rows));
        for row in rows {
            let Some(verdict) = row.verdict else { continue };
            if verdict != holdfast_links::Verdict::TlsProblem {
                world.mark(&format!("verdict-{}", verdict.name()));
            }
            if row.attempts > 1 {
                world.mark("row-retried");
                if row.target.contains("/c/429-once-") || row.target.contains("/c/503-once-") {
                    world.mark("throttled-and-later-alive");
                }
            }
            if row.reason == "robots" {
                world.mark("robots-forbade");
            }
            if row.reason.starts_with("trap_") {
                world.mark("trap-left");
            }
        }
    }

    async fn manners(&self, ended: &[Ended]) {
        let epoch = |reader: Reader<'_>| {
            reader.one("SELECT coalesce(max(epoch), 0) FROM leases", [], |row| {
                row.get::<_, i64>(0)
            })
        };
        let Some(epoch) = self.read(epoch).await else {
            return;
        };
        let plan = self.world().plan();
        let pauses = plan.faults.iter().filter_map(|fault| {
            let until = Duration::from_nanos(fault.until_ns.unwrap_or(plan.horizon_ns));
            let from = Duration::from_nanos(fault.at_ns);
            // Which node it was is decided when it begins.
            matches!(fault.kind, FaultKind::Pause { .. }).then_some((from, until, None))
        });
        let cuts = self
            .cuts()
            .into_iter()
            .map(|(from, until)| (from, until, None));
        let standstills: Vec<(Duration, Duration, Option<IpAddr>)> = pauses.chain(cuts).collect();
        let explained = ended.iter().map(|ended| {
            let stops = ended.errand.stops.len() as u64;
            u64::from(ended.errand.new.options.retries) + 3 + stops
        });
        let active = self.stage.active();
        let began = self.stage.began();
        let began: Vec<(Duration, IpAddr)> = began
            .into_iter()
            .map(|(at, node)| (at, World::ip(node)))
            .collect();
        let conditions = Conditions {
            began: &began,
            web: &self.sites.web,
            epoch: self.sites.epoch(),
            active: &active,
            standstills: &standstills,
            way: self.chosen.way,
            drift_ppm: plan.drift_bound_ppm.max(200),
            per_host: self.chosen.per_host,
            timeout: LINK_TIMEOUT,
            // A connection that was kept and turns out to be closed is made up for once: to a server, another request.
            explained: 2 * (explained.sum::<u64>() + epoch.cast_unsigned()),
        };
        let records = self.sites.observed.records();
        let concurrency = |origin| self.sites.observed.concurrency_of_one(origin);
        self.tell(polite::check(&conditions, &records, concurrency));
        let assets = records
            .iter()
            .filter(|record| record.target.starts_with("/asset/"));
        let mut counts = BTreeMap::new();
        for record in assets {
            *counts.entry((record.origin, &record.target)).or_insert(0) += 1;
        }
        if counts.values().any(|count| *count > ended.len()) {
            self.world().mark("performed-twice");
        }
    }

    /// The audit log has what people were told was done, each once.
    async fn audit(&self) {
        let read = |reader: Reader<'_>| {
            reader.all(
                "SELECT operation, resource FROM audit WHERE outcome = 'done' ORDER BY id",
                [],
                |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
            )
        };
        let Some(mut written) = self.read(read).await else {
            return;
        };
        let mut told = self.stage.acknowledged();
        written.sort_unstable();
        told.sort_unstable();
        if written != told {
            let message = format!("people were told of {told:?}, the log has {written:?}");
            self.world().fail("audit", message, None);
        }
    }

    async fn look(&self, node: u32) -> Option<Look> {
        let tables = self.stage.door(node)?;
        let asked = tables.with_tables(Consistency::Stale, |tables, disk, now| {
            let rows = tables.read(disk, now, |reader| {
                let count = |sql: &'static str| reader.one(sql, [], |row| row.get::<_, i64>(0));
                Ok(vec![
                    count("SELECT count(*) FROM links_jobs")?,
                    count("SELECT count(*) FROM links_targets")?,
                    count("SELECT count(*) FROM links_links")?,
                    count("SELECT count(*) FROM audit")?,
                ])
            });
            let damage = match tables.damage(disk, now) {
                Ok(damage) => damage,
                Err(error) => Some(error.to_string()),
            };
            Look {
                applied: tables.applied(),
                hash: tables.content_hash(disk, now).unwrap_or(0),
                damage,
                rows: rows.unwrap_or_default(),
            }
        });
        self.host.timeout(ATTEMPT, asked).await.ok()?.ok()
    }

    /// Waits until all replicas are as of the same entry, and holds them against each other.
    async fn convergence(&self, endpoints: &[String]) -> Option<Look> {
        let world = self.world();
        let nodes = world.plan().nodes;
        let deadline = world.now() + CONVERGENCE;
        loop {
            let mut looks = Vec::new();
            for node in 0..nodes {
                looks.extend(self.look(node).await);
            }
            let is_equal = looks.iter().all(|look| look.applied == looks[0].applied);
            if looks.len() == nodes as usize && is_equal {
                for (node, look) in looks.iter().enumerate() {
                    if let Some(damage) = &look.damage {
                        world.fail("storage", damage.clone(), Some(node as u32));
                    }
                    if look.hash != looks[0].hash {
                        let message = format!(
                            "after entry {} its tables differ from node 1's: {:?}, {:?}",
                            look.applied, look.rows, looks[0].rows
                        );
                        world.fail("equal-tables", message, Some(node as u32));
                    }
                }
                self.stores(endpoints).await;
                return looks.into_iter().next();
            }
            if world.now() >= deadline {
                let applied: Vec<u64> = looks.iter().map(|look| look.applied).collect();
                let message = format!("{nodes} replicas, applied {applied:?}");
                world.fail("convergence", message, None);
                return None;
            }
            self.host.sleep(LOOK).await;
        }
    }

    /// The key-value stores are equal where they are as of the same entry.
    async fn stores(&self, endpoints: &[String]) {
        let client = Client::new(self.host, ClientConfig::new(endpoints.to_vec()));
        let mut first = None;
        for (node, endpoint) in endpoints.iter().enumerate() {
            let Ok(status) = client.status_with_digest(endpoint).await else {
                let message = "a node does not answer long after the last fault".into();
                self.world().fail("liveness", message, Some(node as u32));
                return;
            };
            let (applied, digest) = first.get_or_insert((status.applied, status.digest.clone()));
            if *applied == status.applied && *digest != status.digest {
                let message = "its store differs from node 1's".into();
                self.world().fail("equal-state", message, Some(node as u32));
            }
        }
    }
}
