//! The leader of three processes is killed in the middle of a job of 20,000 links: another goes on, and in the results
//! no link is missing and none is there twice.

use crate::{
    PATIENCE,
    cluster::{Cluster, wait_for},
    engine_binary, skip, tell,
};
use holdfast_host::{Host, tokio_host};
use holdfast_http::{BodyPolicy, Client, ClientConfig, Request, tls::Roots};
use holdfast_scenarios::web::{StaticShape, serve::Loopback};
use http::Method;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, time::Duration};
use url::Url;

/// Pages of the site: with 27 links each, a little over 20,000 links.
const PAGES: usize = 750;
/// Faults of the site.
const FAULTS: usize = 40;
/// Pages that are read before the leader is killed.
const BEFORE: u64 = 150;
/// Results asked for at once.
const PAGE: usize = 1_000;

#[test]
fn a_job_outlives_the_leader_that_works_on_it() {
    let engine = engine_binary();
    if !engine.is_file() {
        return skip("killing the leader in a job of links: there is no engine; build it");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    runtime.block_on(run(&host, &engine, folder.path()));
}

/// The REST interface of a cluster: whichever node answers.
struct Api {
    client: Client,
    endpoints: Vec<String>,
}

impl Api {
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Option<Value> {
        for endpoint in &self.endpoints {
            let url = Url::parse(&format!("http://{endpoint}{path}")).expect("a URL");
            let mut request = Request::new(method.clone(), url);
            if let Some(body) = body {
                let with_type = request
                    .header("content-type", "application/json")
                    .and_then(|request| request.header("idempotency-key", "\"chaos\""));
                request = with_type.expect("headers").body(body.to_string());
            }
            let collect = |_: &holdfast_http::Head| BodyPolicy::Collect { max: 64 << 20 };
            let answer = self.client.send(&request, &collect).await;
            if let Ok(answer) = answer
                && answer.head.status.is_success()
            {
                return serde_json::from_slice(&answer.body).ok();
            }
        }
        None
    }

    async fn job(&self, id: &str) -> Option<Value> {
        self.ask(Method::GET, &format!("/v1/links/jobs/{id}"), None)
            .await
    }

    /// Every result, and how long the slowest page of them took.
    async fn results(&self, host: &Host, id: &str) -> (Vec<Value>, Duration) {
        let mut all = Vec::new();
        let mut slowest = Duration::ZERO;
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/links/jobs/{id}/results?limit={PAGE}{cursor}");
            let asked = host.now();
            let page = self.ask(Method::GET, &path, None).await;
            slowest = slowest.max(host.now().since(asked));
            let page = page.expect("a page of results");
            all.extend(
                page["results"]
                    .as_array()
                    .expect("an array")
                    .iter()
                    .cloned(),
            );
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return (all, slowest),
            }
        }
    }
}

fn number(job: &Value, name: &str) -> u64 {
    job[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} of {job}"))
}

async fn run(host: &Host, engine: &Path, folder: &Path) {
    let shape = |addresses| StaticShape {
        pages: PAGES,
        faults: FAULTS,
        ..StaticShape::benchmark(addresses)
    };
    let site = Loopback::start(host, 0, 7, shape).await.expect("it serves");
    let mut cluster = Cluster::start(host, engine, folder);
    let api = Api {
        client: Client::new(host, ClientConfig::default(), &Roots::Bundled).expect("a client"),
        endpoints: cluster.endpoints().to_vec(),
    };
    cluster.leader().await;
    let order = json!({
        "start_urls": [site.root()],
        "options": {"retries": 1, "retry_after_ms": 300}
    });
    let created = wait_for(host, "a job", async || {
        api.ask(Method::POST, "/v1/links/jobs", Some(&order)).await
    });
    let id = created.await["id"].as_str().expect("an id").to_owned();
    wait_for(host, "the middle of the job", async || {
        let job = api.job(&id).await?;
        assert_eq!(
            job["status"], "running",
            "too fast to be killed in the middle"
        );
        (number(&job, "pages") >= BEFORE).then_some(())
    })
    .await;
    let killed = cluster.leader().await;
    cluster.kill(killed);
    let killed_at = host.now();
    let at_kill = site.observed.summary().requests;
    let resumed = wait_for(host, "the next request", async || {
        (site.observed.summary().requests > at_kill + 20).then(|| host.now())
    });
    let resumed = resumed.await.since(killed_at);
    let mut job = Value::Null;
    let deadline = host.now().saturating_add(PATIENCE * 4);
    while job["status"] != "completed" {
        assert!(host.now() < deadline, "{job}");
        host.sleep(Duration::from_millis(50)).await;
        job = api.job(&id).await.unwrap_or(job);
    }
    let (results, slowest) = api.results(host, &id).await;
    check(&site, &job, &results);
    cluster.restart(killed);
    cluster.wait_until_caught_up(killed).await;
    cluster.stop();
    let summary = site.observed.summary();
    tell(&format!(
        "chaos: the leader (node {killed}) of a job of {} links was killed; another node asked again after {} ms; \
         completed with {} results, none missing, none twice; {} requests for {} URLs; slowest page of {PAGE} results \
         {} ms",
        results.len(),
        resumed.as_millis(),
        results.len(),
        summary.requests,
        summary.distinct,
        slowest.as_millis(),
    ));
}

/// Every link of the site is there as often as its page has it, and judged.
fn check(site: &Loopback, job: &Value, results: &[Value]) {
    assert!(results.len() >= 20_000, "{} links", results.len());
    assert_eq!(number(job, "total_links"), results.len() as u64);
    assert_eq!(number(job, "pending"), 0);
    let mut places = BTreeMap::new();
    let mut links = BTreeMap::<(String, String), i64>::new();
    let mut broken = 0;
    for result in results {
        let text = |name: &str| result[name].as_str().unwrap_or("").to_owned();
        let verdict = text("verdict");
        assert!(!verdict.is_empty(), "no verdict: {result}");
        let is_broken = [
            "dead",
            "fragment_missing",
            "soft404",
            "redirect_loop",
            "tls_problem",
        ];
        broken += u64::from(is_broken.contains(&verdict.as_str()));
        let place = (text("source"), number(result, "ordinal"));
        let before = places.insert(place, text("target"));
        assert_eq!(before, None, "a place on a page has one link: {result}");
        *links.entry((text("source"), text("target"))).or_default() += 1;
    }
    assert_eq!(number(job, "broken_count"), broken);
    let truth = site.web.truth_of(0);
    let mut missing = Vec::new();
    for (page, target, place) in site.web.links() {
        let target = holdfast_scenarios::web::normal(target);
        let key = (page.to_owned(), target.clone());
        let is_known = truth.get(&target).is_some_and(|t| !t.verdicts.is_empty());
        if is_known && !links.contains_key(&key) {
            missing.push(format!("{key:?} {place:?}"));
        }
    }
    assert!(
        missing.is_empty(),
        "{} missing: {:#?}",
        missing.len(),
        &missing[..missing.len().min(10)]
    );
}
