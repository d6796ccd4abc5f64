//! What people want of the checker in one seed, drawn beforehand: which jobs, with which options, and what they do to
//! them meanwhile.

use crate::web::{Origin, Web};
use holdfast_links::{JobOptions, NewJob};
use holdfast_sim::{
    draw::{Domain, Draws},
    plan::FaultPlan,
};
use std::time::Duration;

const MS: u64 = 1_000_000;
/// Most jobs of one seed: as many people have one each.
pub(super) const MOST_JOBS: u32 = 3;
/// Cases of the web that no seed has time for: a server that puts the next try off by two minutes, as far as the
/// checker lets it; and a page without an end, of which four mebibytes are read.
pub(super) const LEFT_OUT: &[&str] = &["429-an-hour", "endless-html"];
/// The entity of [`Domain::Workload`] that draws what is the same for all.
const COMMON: u64 = 1 << 40;
/// Entities of [`Domain::Workload`], one a job, are numbered from here.
const ERRAND: u64 = 1 << 41;
/// Those that draw whether a job comes late.
const LATE: u64 = 1 << 47;

/// What one seed decides beside the replicas' settings.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// Sites of the web.
    pub hosts: usize,
    /// One way between a node and the web, and always the same: servers measure when nodes ask.
    pub way: Duration,
    /// Whether faults cut the way between nodes and the web; without, no verdict needs an excuse.
    pub is_cut: bool,
    /// Requests under way to one host.
    pub per_host: usize,
    /// Requests under way in all.
    pub in_flight: usize,
    /// Of the checkers.
    pub lease: Duration,
    /// Log entries between two snapshots.
    pub snapshot_entries: u64,
    /// One a job.
    pub errands: Vec<Errand>,
}

/// One job, and what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    /// Which, from 0.
    pub number: u32,
    /// What is asked for.
    pub new: NewJob,
    /// When it is asked for.
    pub at: Duration,
    /// How long after that it is to begin, if not at once.
    pub scheduled_in: Option<Duration>,
    /// How long after the last change it is stopped, and how long after that it goes on.
    pub stops: Vec<(Duration, Duration)>,
}

/// How much later than others a job comes: some when those before have ended, to the hosts that they met, for which
/// nothing of theirs may count any more.
fn late(seed: u64, number: u32) -> u64 {
    let mut draws = Draws::new(seed, Domain::Workload, LATE + u64::from(number));
    match number > 0 && draws.chance(0.4) {
        true => draws.range(20_000 * MS, 60_000 * MS),
        false => 0,
    }
}

/// The root of a URL's origin.
fn root(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |end| &url[..=host + end])
}

/// What a seed is like.
pub(super) fn choose(plan: &FaultPlan) -> Chosen {
    let mut draws = Draws::new(plan.seed, Domain::Workload, COMMON);
    let jobs = *draws.pick(&[1, 1, 2, MOST_JOBS]);
    let hosts = draws.magnitude(20, 200) as usize;
    Chosen {
        hosts,
        way: Duration::from_nanos(draws.magnitude(MS, 30 * MS)),
        is_cut: draws.chance(0.3),
        per_host: *draws.pick(&[1, 1, 2, 4, 6]),
        in_flight: *draws.pick(&[8, 32, 256]),
        lease: Duration::from_nanos(draws.range(500 * MS, 3_000 * MS)),
        snapshot_entries: draws.magnitude(10, 300),
        errands: (0..jobs).map(|n| Errand::draw(plan.seed, n)).collect(),
    }
}

impl Errand {
    fn draw(seed: u64, number: u32) -> Errand {
        let mut draws = Draws::new(seed, Domain::Workload, ERRAND + u64::from(number));
        let gap_ms = *draws.pick(&[0, 0, 200, 500, 1_000]);
        let options = JobOptions {
            external: draws.chance(0.85),
            fragments: draws.chance(0.85),
            sitemaps: draws.chance(0.7),
            max_depth: *draws.pick(&[1, 2, 50, 50, 50, 50]),
            gap_ms,
            // The model's servers fail twice at most, then work.
            retries: draws.range(2, 5) as u32,
            retry_after_ms: draws.magnitude(50, 500),
            ..JobOptions::default()
        };
        let millis = |ns: u64| Duration::from_nanos(ns);
        let mut stops = Vec::new();
        if draws.chance(0.5) {
            for _ in 0..draws.range(1, 4) {
                let after = millis(draws.magnitude(100 * MS, 6_000 * MS));
                let again = match draws.chance(0.4) {
                    // Long enough to see whether anybody goes on asking.
                    true => draws.range(30_000 * MS, 60_000 * MS),
                    false => draws.magnitude(50 * MS, 6_000 * MS),
                };
                stops.push((after, millis(again)));
            }
        }
        Errand {
            number,
            new: NewJob {
                options,
                ..NewJob::default()
            },
            at: millis(draws.range(500 * MS, 10_000 * MS) + late(seed, number)),
            scheduled_in: draws
                .chance(0.2)
                .then(|| millis(draws.range(100 * MS, 5_000 * MS))),
            stops,
        }
    }

    /// Where the job begins: at the first page of a few sites that let programs in.
    pub(super) fn set_starts(&mut self, web: &Web, seed: u64) {
        let entity = ERRAND + u64::from(MOST_JOBS) + u64::from(self.number);
        let mut draws = Draws::new(seed, Domain::Workload, entity);
        let is_open =
            |origin: &&Origin| !origin.pages().is_empty() && !origin.conduct().forbids_all;
        let open: Vec<&Origin> = web.origins().iter().filter(is_open).collect();
        let mut starts: Vec<String> = Vec::new();
        for _ in 0..draws.range(1, 8) {
            // Its root shows the same page, with links that lead elsewhere where they are relative.
            let start = format!("{}p/0.html", draws.pick(&open).base());
            if !starts.contains(&start) {
                starts.push(start);
            }
        }
        // Hosts that have an answer to everything are seen through only where the job is about them, too.
        let is_ours = |page: &str| starts.iter().any(|start| page.starts_with(root(start)));
        let mut soft: Vec<String> = web
            .links()
            .filter(|(page, target, _)| is_ours(page) && target.starts_with("http://soft-"))
            .map(|(_, target, _)| root(target).to_owned())
            .collect();
        soft.sort_unstable();
        soft.dedup();
        starts.extend(soft.into_iter().filter(|_| draws.chance(0.5)));
        self.new.start_urls = starts;
    }
}
