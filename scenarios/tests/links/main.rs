//! The link checker of a real node against the model site on loopback: every verdict, and how politely it was found.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests run on the operating system, in temporary folders"
)]

use holdfast_host::{Host, tokio_host};
use holdfast_links::{
    CheckJob, Command, JobId, JobOptions, LinkResult, Links, NewJob, Outcome, Verdict, query,
};
use holdfast_node::{Node, config::NodeConfig};
use holdfast_replica::Consistency;
use holdfast_scenarios::web::{self, StaticShape, serve::Loopback};
use holdfast_tables::TablesHandle;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::runtime::Builder;

/// Pages of the site.
const PAGES: usize = 300;
/// Faults of the site.
const FAULTS: usize = 100;

fn config(folder: &Path, roots: PathBuf) -> NodeConfig {
    let mut config = NodeConfig::default();
    config.node.data = folder.join("data");
    config.node.listen = ([127, 0, 0, 1], 0).into();
    config.node.peer_listen = ([127, 0, 0, 1], 0).into();
    config.links.roots = Some(roots);
    config.links.timeout = Duration::from_secs(3);
    config.links.connect_timeout = Duration::from_secs(2);
    config.links.per_host = 16;
    config
}

async fn check(tables: &TablesHandle, host: &Host, new: NewJob) -> (CheckJob, Vec<LinkResult>) {
    let created = tables.propose::<Links>(None, &Command::Create(new)).await;
    let Ok(Outcome::Job(job)) = created.expect("it is proposed").outcome else {
        panic!("it is a job");
    };
    let job = loop {
        host.sleep(Duration::from_millis(50)).await;
        let id = job.id;
        let read = tables.read(Consistency::Linearizable, move |reader| {
            query::find_job(reader, id)
        });
        let now = read.await.expect("it reads").expect("it is there");
        if std::env::var("SHOW").is_ok() {
            println!(
                "{:?} {} {} {} {}",
                now.status, now.total_links, now.targets, now.pending, now.pages
            );
        }
        if now.status.has_ended() {
            break now;
        }
    };
    (job.clone(), results(tables, job.id).await)
}

async fn results(tables: &TablesHandle, id: JobId) -> Vec<LinkResult> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map_or(0, |result: &LinkResult| result.id);
        let page = tables.read(Consistency::Linearizable, move |reader| {
            query::results(reader, id, query::Filter::All, after, query::MAX_PAGE)
        });
        let page = page.await.expect("it reads").expect("there is the job");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn as_truth_says(result: &LinkResult) -> web::Verdict {
    match result.verdict.expect("it has one") {
        Verdict::Alive => web::Verdict::Alive,
        Verdict::Moved => web::Verdict::Moved,
        Verdict::Dead if result.reason.starts_with("invalid_url") => web::Verdict::InvalidUrl,
        Verdict::Dead => web::Verdict::Dead,
        Verdict::Blocked => web::Verdict::Blocked,
        Verdict::Throttled => web::Verdict::Throttled,
        Verdict::Flaky => web::Verdict::Flaky,
        Verdict::FragmentMissing => web::Verdict::FragmentMissing,
        Verdict::Soft404 => web::Verdict::Soft404,
        Verdict::RedirectLoop => web::Verdict::RedirectLoop,
        Verdict::TlsProblem => web::Verdict::TlsProblem,
        Verdict::Unverifiable if result.reason.starts_with("robots") => web::Verdict::Excluded,
        Verdict::Unverifiable if result.reason.starts_with("trap") => web::Verdict::Excluded,
        Verdict::Unverifiable => web::Verdict::Unverifiable,
    }
}

/// URLs that were asked for more than once though each answer to them is the same; how often. Front pages are left out:
/// they are asked for once more where a host answers everything, to be compared with that.
fn asked_twice(site: &Loopback) -> BTreeMap<String, u32> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for record in site.observed.records() {
        let is_front = record.target == "/";
        if site.web.is_steady(record.origin, &record.target) && !is_front {
            let base = site.web.origins()[record.origin].base();
            let url = format!("{}{}", base.trim_end_matches('/'), record.target);
            *counts.entry(url).or_default() += 1;
        }
    }
    counts.retain(|_, count| *count > 1);
    counts
}

#[test]
fn every_fault_of_the_model_site_is_found_and_nothing_else() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    runtime.block_on(async {
        let shape = |addresses| StaticShape {
            pages: PAGES,
            faults: FAULTS,
            slow: true,
            ..StaticShape::benchmark(addresses)
        };
        let site = Loopback::start(&host, 0, 1, shape)
            .await
            .expect("it serves");
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, &site.authority_pem).expect("it is written");
        let node = Node::start(host.clone(), config(folder.path(), roots)).await;
        let node = node.expect("it starts");
        let mut standing = node.tables().standing();
        let leads = standing.wait_for(|standing| standing.leads).await;
        leads.expect("it runs");
        let new = NewJob {
            start_urls: vec![site.root().to_owned()],
            options: JobOptions {
                retry_after_ms: 200,
                ..JobOptions::default()
            },
            ..NewJob::default()
        };
        let started = host.now();
        let (job, results) = check(node.tables(), &host, new).await;
        let took = host.now().since(started);
        println!("{job:#?}\nin {took:?}; {:?}", site.observed.summary());
        let mut said: BTreeMap<String, web::Verdict> = BTreeMap::new();
        let mut why: BTreeMap<String, String> = BTreeMap::new();
        for result in &results {
            let verdict = as_truth_says(result);
            let target = web::normal(&result.target);
            why.insert(
                target.clone(),
                format!("{} {}", result.reason, result.detail),
            );
            if let Some(before) = said.insert(target.clone(), verdict) {
                assert_eq!(before, verdict, "one target, one verdict: {target}");
            }
        }
        let truth = site.web.truth_of(0);
        let mismatches = truth.mismatches(&said);
        for mismatch in &mismatches {
            let why = why.get(&mismatch.target).map_or("", String::as_str);
            println!("WRONG {mismatch:?} because {why}");
        }
        for violation in site.observed.violations().iter().take(20) {
            println!("IMPOLITE {violation:?}");
        }
        for target in said.keys().filter(|target| truth.get(target).is_none()) {
            println!("UNKNOWN {target} {:?}", said[target]);
        }
        assert_eq!(mismatches.len(), 0, "verdicts that are wrong");
        let summary = site.observed.summary();
        assert_eq!(
            (summary.forbidden, summary.trapped, summary.hasty),
            (0, 0, 0)
        );
        assert_eq!(job.total_links, results.len() as u64);
        let broken = results
            .iter()
            .filter(|result| result.verdict.is_some_and(Verdict::is_broken));
        assert_eq!(job.broken_count, broken.count() as u64);
        assert_eq!(job.pending, 0);
        let twice = asked_twice(&site);
        // The second time with the cookie that the first answer has set.
        let with_cookie = |url: &String| url.contains("/c/redirect-loop-same-cookie-");
        let is_explained = twice.iter().all(|(url, n)| with_cookie(url) && *n == 2);
        assert!(is_explained, "asked for more than once: {twice:?}");
        node.shutdown(Duration::from_secs(1)).await;
    });
}
