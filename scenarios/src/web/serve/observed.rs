//! What a served web was asked, and whether that was polite.

use crate::web::Web;
use holdfast_host::Moment;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Requests that are written down; further ones are only counted.
pub const MAX_RECORDS: usize = 1 << 20;
/// Targets for each of which a client's attempts are counted; further ones are always asked for the first time.
const MAX_TARGETS: usize = 1 << 18;
/// By how much a client may come early: what is measured is when requests arrive, not when they leave.
const EARLY: Duration = Duration::from_millis(20);

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it came, by the server's clock.
    pub at: Moment,
    /// From where.
    pub client: IpAddr,
    /// Which of the web's origins was asked.
    pub origin: usize,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
}

/// What is being observed; clones are handles on the same.
#[derive(Clone)]
pub struct Observed {
    web: Web,
    /// All clients are one: its machines take turns.
    is_cluster: bool,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    records: Vec<Record>,
    uncounted: u64,
    attempts: BTreeMap<(IpAddr, usize), BTreeMap<String, u32>>,
    targets: usize,
    /// Requests under way, by origin and by who asks.
    running: BTreeMap<usize, BTreeSet<(IpAddr, u64)>>,
    most_running: BTreeMap<usize, u64>,
    /// The most that one client had.
    most_of_one: BTreeMap<usize, u64>,
    next: u64,
}

/// A request under way, until this is dropped.
pub(super) struct Asked {
    observed: Observed,
    origin: usize,
    who: (IpAddr, u64),
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut seen = self.observed.seen();
        if let Some(running) = seen.running.get_mut(&self.origin) {
            running.remove(&self.who);
        }
    }
}

/// What was asked, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// All requests, those for robots.txt included.
    pub requests: u64,
    /// URLs that were asked for.
    pub distinct: u64,
    /// Requests beyond the first for a URL that answers at once what it always answers, `HEAD` and `GET` together.
    pub duplicates: u64,
    /// Requests for what robots.txt disallows.
    pub forbidden: u64,
    /// Requests in traps, beyond those that a careful crawler makes.
    pub trapped: u64,
    /// Requests that came sooner after another than their origin asks for.
    pub hasty: u64,
    /// The most requests that any origin had under way at a time.
    pub concurrency: u64,
}

/// Something impolite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A request for what robots.txt disallows.
    Forbidden(Record),
    /// Two requests' starts nearer to each other than the origin asks for.
    Hasty {
        /// The second.
        record: Record,
        /// How long after the first it came.
        gap: Duration,
    },
    /// More requests in a trap than a careful crawler makes.
    Trapped {
        /// The URL where the trap begins.
        trap: String,
        /// How many.
        requests: usize,
    },
}

impl Observed {
    /// Nothing has been asked yet.
    pub fn new(web: &Web) -> Self {
        Observed {
            web: web.clone(),
            is_cluster: false,
            seen: Arc::default(),
        }
    }

    /// The same, by clients that act as one: what one of them was told when it asked first is not told another.
    pub fn by_a_cluster(web: &Web) -> Self {
        Observed {
            is_cluster: true,
            ..Observed::new(web)
        }
    }

    /// The process of a client has ended, whatever its connections look like: nothing that it asked for is under way
    /// any more.
    pub fn client_ended(&self, client: IpAddr) {
        for running in self.seen().running.values_mut() {
            running.retain(|(of, _)| *of != client);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a request down; how often its client has asked for this target by now, and the mark of its being under
    /// way.
    pub(super) fn ask(&self, record: Record) -> (u32, Asked) {
        let origin = record.origin;
        let mut seen = self.seen();
        let seen = &mut *seen;
        let asker = match self.is_cluster {
            true => IpAddr::from([0, 0, 0, 0]),
            false => record.client,
        };
        let of_client = seen.attempts.entry((asker, origin)).or_default();
        let attempt = match of_client.get_mut(&record.target) {
            Some(count) => {
                *count = count.saturating_add(1);
                *count
            }
            None => {
                if seen.targets < MAX_TARGETS {
                    seen.targets += 1;
                    of_client.insert(record.target.clone(), 1);
                }
                1
            }
        };
        let who = (record.client, seen.next);
        seen.next += 1;
        let running = seen.running.entry(origin).or_default();
        running.insert(who);
        let most = seen.most_running.entry(origin).or_default();
        *most = (*most).max(running.len() as u64);
        let own = running.iter().filter(|(client, _)| *client == who.0);
        let most = seen.most_of_one.entry(origin).or_default();
        *most = (*most).max(own.count() as u64);
        match seen.records.len() < MAX_RECORDS {
            true => seen.records.push(record),
            false => seen.uncounted += 1,
        }
        let observed = self.clone();
        let asked = Asked {
            observed,
            origin,
            who,
        };
        (attempt, asked)
    }

    /// Forgets everything, attempts included: the next client meets the web as it was at first.
    pub fn reset(&self) {
        let mut seen = self.seen();
        let running = std::mem::take(&mut seen.running);
        let counts = running.iter().map(|(o, all)| (*o, all.len() as u64));
        *seen = Seen {
            most_running: counts.collect(),
            running,
            next: seen.next,
            ..Seen::default()
        };
    }

    /// Every request, in the order of their coming.
    pub fn records(&self) -> Vec<Record> {
        self.seen().records.clone()
    }

    /// The most requests that an origin had under way at a time.
    pub fn concurrency(&self, origin: usize) -> u64 {
        self.seen().most_running.get(&origin).copied().unwrap_or(0)
    }

    /// The most requests of one client that an origin had under way at a time.
    pub fn concurrency_of_one(&self, origin: usize) -> u64 {
        self.seen().most_of_one.get(&origin).copied().unwrap_or(0)
    }

    /// Everything impolite that was seen.
    pub fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut last: BTreeMap<usize, Moment> = BTreeMap::new();
        let mut in_traps: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        let origins = self.web.origins();
        for record in self.records() {
            let conduct = origins[record.origin].conduct();
            for (begin, _) in &conduct.traps {
                if record.target.starts_with(begin) {
                    *in_traps.entry((record.origin, begin)).or_default() += 1;
                }
            }
            let before = last.insert(record.origin, record.at);
            let gap = before.map(|before| record.at.since(before));
            if let Some(gap) = gap.filter(|gap| *gap + EARLY < conduct.min_gap) {
                let record = record.clone();
                violations.push(Violation::Hasty { record, gap });
            }
            if conduct.forbids(&record.target) {
                violations.push(Violation::Forbidden(record));
            }
        }
        for ((origin, begin), requests) in in_traps {
            let mut traps = origins[origin].conduct().traps.iter();
            let cap = traps.find(|(b, _)| b == begin).map_or(0, |(_, cap)| *cap);
            if requests > cap {
                let trap = format!("{}{begin}", origins[origin].base().trim_end_matches('/'));
                violations.push(Violation::Trapped { trap, requests });
            }
        }
        violations
    }

    /// What was asked, in numbers.
    pub fn summary(&self) -> Summary {
        let records = self.records();
        let mut urls: BTreeSet<(usize, &str)> = BTreeSet::new();
        let (uncounted, concurrency) = {
            let seen = self.seen();
            let most = seen.most_running.values().copied().max();
            (seen.uncounted, most.unwrap_or(0))
        };
        let mut summary = Summary {
            requests: records.len() as u64 + uncounted,
            concurrency,
            ..Summary::default()
        };
        for record in &records {
            let is_new = urls.insert((record.origin, &record.target));
            if !is_new && self.web.is_steady(record.origin, &record.target) {
                summary.duplicates += 1;
            }
        }
        summary.distinct = urls.len() as u64;
        for violation in self.violations() {
            match violation {
                Violation::Forbidden(_) => summary.forbidden += 1,
                Violation::Hasty { .. } => summary.hasty += 1,
                Violation::Trapped { requests, .. } => summary.trapped += requests as u64,
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::StaticShape;

    fn record(origin: usize, target: &str, millis: u64) -> Record {
        Record {
            at: Moment::from_nanos(millis * 1_000_000),
            client: IpAddr::from([127, 0, 0, 1]),
            origin,
            method: "GET".into(),
            target: target.into(),
        }
    }

    #[test]
    fn what_is_forbidden_or_asked_twice_is_counted() {
        let web = Web::static_site(1, &StaticShape::for_tests());
        let observed = Observed::new(&web);
        let attempts: Vec<u32> = ["/robots.txt", "/p/1.html", "/p/1.html", "/private/x"]
            .into_iter()
            .zip(0..)
            .map(|(target, at)| observed.ask(record(0, target, at)).0)
            .collect();
        assert_eq!(attempts, [1, 1, 2, 1]);
        let summary = observed.summary();
        assert_eq!((summary.requests, summary.distinct), (4, 3));
        assert_eq!((summary.duplicates, summary.forbidden), (1, 1));
        assert_eq!(summary.concurrency, 1, "each was over before the next");
        observed.reset();
        assert_eq!(observed.summary(), Summary::default());
    }

    #[test]
    fn haste_and_traps_are_seen() {
        let web = Web::simulated(2, 100);
        let observed = Observed::new(&web);
        let origins = || web.origins().iter().enumerate();
        let (slow, _) = origins()
            .find(|(_, o)| !o.conduct().min_gap.is_zero())
            .expect("one of a hundred asks for a pause");
        for at in [0, 1_000, 1_500] {
            drop(observed.ask(record(slow, "/p/0.html", at)));
        }
        let (trapping, trap) = origins()
            .filter(|(_, o)| !o.conduct().forbids("/trap/"))
            .find_map(|(i, o)| Some((i, o.conduct().traps.first()?.clone())))
            .expect("one of a hundred has a trap");
        for at in 0..=trap.1 as u64 {
            let target = format!("{}/{at}", trap.0);
            drop(observed.ask(record(trapping, &target, 10_000 * at)));
        }
        let violations = observed.violations();
        let [
            Violation::Hasty { gap, .. },
            Violation::Trapped { requests, .. },
        ] = &violations[..]
        else {
            panic!("{violations:?}")
        };
        assert_eq!(*gap, Duration::from_millis(500));
        assert_eq!(*requests, trap.1 + 1);
    }
}
