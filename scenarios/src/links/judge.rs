//! After the last fault.

use super::{errand::Chosen, people::Ended, site::Sites, stage::Stage};
use holdfast_host::Host;
use holdfast_links::{CheckJob, LinkResult, query};
use holdfast_replica::{Consistency, DiskMachine};
use std::time::Duration;

/// How often replicas are looked at until they are equal.
const LOOK: Duration = Duration::from_millis(100);

/// Looks at everything; how many links were judged.
pub(super) async fn judge(
    stage: &Stage,
    host: &Host,
    _endpoints: Vec<String>,
    _chosen: &Chosen,
    sites: &Sites,
    ended: &[Ended],
) -> u64 {
    let mut links = 0;
    for ended in ended {
        let Some((job, rows)) = read_job(stage, host, ended).await else {
            continue;
        };
        links += rows.len() as u64;
        eprintln!("{:?} {:?} {} {} {} {} {}", ended.errand.new.start_urls, job.status, job.total_links, job.broken_count, job.pages, job.targets, rows.len());
        let _ = (&job, sites);
    }
    let _ = LOOK;
    links
}

async fn read_job(stage: &Stage, host: &Host, ended: &Ended) -> Option<(CheckJob, Vec<LinkResult>)> {
    let id = ended.id;
    let tables = stage.door(0)?;
    let asked = tables.read(Consistency::Linearizable, move |reader| {
        let job = query::find_job(reader, id)?.expect("it is there");
        let mut rows: Vec<LinkResult> = Vec::new();
        loop {
            let from = rows.last().map_or(0, |row| row.id);
            let page = query::results(reader, id, query::Filter::All, from, query::MAX_PAGE)?;
            let page = page.expect("it is there");
            if page.is_empty() {
                return Ok((job, rows));
            }
            rows.extend(page);
        }
    });
    match host.timeout(Duration::from_secs(5), asked).await {
        Ok(Ok(found)) => Some(found),
        other => {
            let message = format!("a read long after the last fault: {:?}", other.is_ok());
            stage.world.fail("liveness", message, None);
            None
        }
    }
}
#[allow(dead_code)]
fn _x(m: &dyn DiskMachine) -> u64 { m.applied() }
