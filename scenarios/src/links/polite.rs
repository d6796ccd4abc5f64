//! What the web's servers must not have seen.
//!
//! What is promised, as servers see it, by the true clock:
//!
//! - **gap**: between two requests to one origin, whichever nodes they come from, as much time passes as the origin's
//!   robots.txt asks for, and no less than every job that runs asks for. Requests for robots.txt itself do not count: a
//!   node that has just taken over reads it before it can know of any gap, and keeps the gap from there on;
//! - **concurrency**: one process never has more requests to one origin under way than its settings say. Those of a
//!   process that has died are nobody's;
//! - **robots**: what robots.txt forbids is never asked for;
//! - **bounded**: no URL is asked for more often than attempts, stops of jobs and changes of the lease explain, and no
//!   trap is entered further than a careful crawler would;
//! - **again**: a server that has put a request off for a second is not asked the same by the same process before;
//! - **stop**: who has no job that runs asks nothing, but for what was under way.
//!
//! Times are those of arrival. The way to the web is steady, so that two arrivals are nearer to each other than
//! the departures were by a round trip at most, when one request had to wait for its connection. A process that
//! stands still between its turn and its request sends late; a cut does the same to what is under way.

use super::stage::Active;
use crate::web::{Web, serve::Record};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// By how much a request may come early beside what the way and clocks explain.
const EARLY: Duration = Duration::from_millis(20);
/// How long after a process or a way has stood still what had piled up may still arrive.
const AFTERWARDS: Duration = Duration::from_secs(12);
/// How long after the end of a job that its owner knows of, a request may still arrive beside what was under way.
const LAST: Duration = Duration::from_secs(2);
/// How long the model's servers that put requests off do so, once.
const PUT_OFF: Duration = Duration::from_secs(1);
/// Hops of one chain of redirects: the page, then as many as the checker follows.
const HOPS: u32 = 11;
/// Further requests for one URL: with a cookie of a redirect that leads there, and from the middle of a chain that is
/// too long for others.
const BESIDE: u64 = 2;

/// A property that does not hold, and how that shows.
pub(super) type Broken = (&'static str, String);

/// What was going on while servers were asked.
pub(super) struct Conditions<'a> {
    /// The web.
    pub web: &'a Web,
    /// When the first of its servers' clock started, in simulated time.
    pub epoch: Duration,
    /// When jobs ran.
    pub active: &'a [Active],
    /// When somebody stood still: from, until, and who; `None`: the way was cut.
    pub standstills: &'a [(Duration, Duration, Option<IpAddr>)],
    /// One way to the web.
    pub way: Duration,
    /// How much faster clocks may run than they should, parts per million.
    pub drift_ppm: u32,
    /// Requests of one process to one origin under way at a time.
    pub per_host: usize,
    /// Time that one link may take.
    pub timeout: Duration,
    /// When processes began, and whose.
    pub began: &'a [(Duration, IpAddr)],
    /// How often one URL may be asked for because of attempts, stops and takeovers.
    pub explained: u64,
}

fn is_about_robots(record: &Record) -> bool {
    record.target == "/robots.txt" || record.target == "/robots-are-here"
}

/// Holds everything that was asked against what is promised.
pub(super) fn check(
    conditions: &Conditions<'_>,
    records: &[Record],
    concurrency: impl Fn(usize) -> u64,
) -> Result<(), Broken> {
    conditions.robots(records)?;
    conditions.gaps(records)?;
    conditions.bounded(records)?;
    conditions.stopped(records)?;
    conditions.again(records)?;
    for (place, origin) in conditions.web.origins().iter().enumerate() {
        let most = concurrency(place);
        if most > conditions.per_host as u64 {
            let message = format!("{most} requests of one node under way at {}", origin.base());
            return Err(("polite-concurrency", message));
        }
    }
    Ok(())
}

impl Conditions<'_> {
    fn name(&self, record: &Record) -> String {
        let origin = &self.web.origins()[record.origin];
        format!("{}{}", origin.base().trim_end_matches('/'), record.target)
    }

    fn time(&self, record: &Record) -> Duration {
        self.epoch + Duration::from_nanos(record.at.as_nanos())
    }

    fn robots(&self, records: &[Record]) -> Result<(), Broken> {
        let is_forbidden = |record: &&Record| {
            let conduct = self.web.origins()[record.origin].conduct();
            conduct.forbids(&record.target)
        };
        match records.iter().find(is_forbidden) {
            Some(record) => Err(("robots-obeyed", self.name(record))),
            None => Ok(()),
        }
    }

    /// What every job that may have run between two moments asks for.
    fn asked_gap(&self, from: Duration, until: Duration) -> Duration {
        let runs = |active: &&Active| {
            active.from <= until && active.until.is_none_or(|end| end + AFTERWARDS >= from)
        };
        let gaps = self.active.iter().filter(runs).map(|active| active.gap);
        gaps.min().unwrap_or_default()
    }

    fn stood_still(&self, client: IpAddr, at: Duration) -> bool {
        self.standstills.iter().any(|(from, until, who)| {
            let is_meant = who.is_none_or(|who| who == client);
            is_meant && *from <= at && at <= *until + AFTERWARDS
        })
    }

    fn gaps(&self, records: &[Record]) -> Result<(), Broken> {
        let mut last: BTreeMap<usize, &Record> = BTreeMap::new();
        for record in records.iter().filter(|record| !is_about_robots(record)) {
            let Some(before) = last.insert(record.origin, record) else {
                continue;
            };
            let (from, at) = (self.time(before), self.time(record));
            let own = self.web.origins()[record.origin].conduct().min_gap;
            let asked = own.max(self.asked_gap(from, at));
            let slack = asked.mul_f64(f64::from(self.drift_ppm) * 2e-6) + self.way * 2 + EARLY;
            let passed = at - from;
            if passed + slack < asked
                && !self.stood_still(record.client, at)
                && !self.stood_still(before.client, from)
            {
                let message = format!(
                    "{} at {:.3} s, {:.0} ms after {} instead of {:.0} ms; {} nodes",
                    self.name(record),
                    at.as_secs_f64(),
                    passed.as_secs_f64() * 1e3,
                    before.target,
                    asked.as_secs_f64() * 1e3,
                    if before.client == record.client {
                        "same"
                    } else {
                        "different"
                    }
                );
                return Err(("polite-gap", message));
            }
        }
        Ok(())
    }

    fn bounded(&self, records: &[Record]) -> Result<(), Broken> {
        let mut counts: BTreeMap<(usize, &str), u64> = BTreeMap::new();
        let mut trapped: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        let origins = self.web.origins();
        for record in records {
            *counts.entry((record.origin, &record.target)).or_default() += 1;
            for (begin, _) in &origins[record.origin].conduct().traps {
                if record.target.starts_with(begin) {
                    *trapped.entry((record.origin, begin)).or_default() += 1;
                }
            }
        }
        let most = self.explained + BESIDE;
        let often = counts.iter().find(|((_, target), count)| {
            let is_robots = *target == "/robots.txt" || *target == "/robots-are-here";
            let is_home = *target == "/";
            !is_robots && !is_home && **count > most
        });
        if let Some(((origin, target), count)) = often {
            let base = origins[*origin].base().trim_end_matches('/');
            let message = format!("{base}{target} was asked for {count} times, more than {most}");
            return Err(("bounded-requests", message));
        }
        for ((origin, begin), requests) in trapped {
            let mut traps = origins[origin].conduct().traps.iter();
            let cap = traps.find(|(b, _)| b == begin).map_or(0, |(_, cap)| *cap);
            let cap = cap + self.explained as usize;
            if requests > cap {
                let message = format!("{requests} requests in the trap {begin}, more than {cap}");
                return Err(("bounded-requests", message));
            }
        }
        Ok(())
    }

    /// How long what was under way at an origin may go on.
    fn grace(&self, origin: usize) -> Duration {
        let own = self.web.origins()[origin].conduct().min_gap;
        let gaps = self.active.iter().map(|active| active.gap);
        let gap = gaps.max().unwrap_or_default().max(own);
        self.timeout + gap * HOPS * self.per_host as u32 + LAST
    }

    fn again(&self, records: &[Record]) -> Result<(), Broken> {
        let mut first: BTreeMap<(usize, &str), Option<&Record>> = BTreeMap::new();
        for record in records {
            let target = record.target.as_str();
            if !target.starts_with("/c/429-once-") && !target.starts_with("/c/503-once-") {
                continue;
            }
            // Only the first is put off.
            let entry = first.entry((record.origin, target)).or_insert(Some(record));
            let Some(before) = entry.take_if(|before| !std::ptr::eq(*before, record)) else {
                continue;
            };
            let (from, at) = (self.time(before), self.time(record));
            let is_same = before.client == record.client
                && !self.began.iter().any(|(began, whose)| {
                    *whose == record.client && from <= *began && *began <= at
                });
            let slack = self.way * 2 + EARLY;
            if is_same && at - from + slack < PUT_OFF && !self.stood_still(record.client, at) {
                let name = self.name(record);
                let passed = (at - from).as_secs_f64() * 1e3;
                let message = format!("{name} is asked again after {passed:.0} ms");
                return Err(("put-off", message));
            }
        }
        Ok(())
    }

    fn stopped(&self, records: &[Record]) -> Result<(), Broken> {
        for record in records {
            let at = self.time(record);
            let grace = self.grace(record.origin);
            let runs = |active: &Active| {
                active.from <= at && active.until.is_none_or(|end| at <= end + grace)
            };
            if !self.active.iter().any(runs) {
                let message = format!(
                    "{} at {:.3} s, when no job had run for {:.0} s",
                    self.name(record),
                    at.as_secs_f64(),
                    grace.as_secs_f64()
                );
                return Err(("stops-asking", message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_host::Moment;

    const NODE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn record(client: IpAddr, origin: usize, target: &str, at: u64) -> Record {
        Record {
            at: Moment::from_nanos(at * 1_000_000),
            client,
            origin,
            method: "GET".into(),
            target: target.into(),
        }
    }

    fn verdict(
        web: &Web,
        standstills: &[(Duration, Duration, Option<IpAddr>)],
        records: &[Record],
        most: u64,
    ) -> Option<&'static str> {
        let active = [Active::for_tests(
            millis(0),
            Some(millis(60_000)),
            millis(200),
        )];
        let conditions = Conditions {
            web,
            epoch: Duration::ZERO,
            active: &active,
            standstills,
            way: millis(10),
            drift_ppm: 200,
            per_host: 2,
            began: &[],
            timeout: millis(8_000),
            explained: 3,
        };
        let checked = check(&conditions, records, |_| most);
        checked.err().map(|(property, _)| property)
    }

    #[test]
    fn haste_is_seen_whoever_asks() {
        let web = Web::simulated(2, 30);
        let check = |client, target: &str, at| {
            let records = [
                record(NODE, 0, "/p/0.html", 1_000),
                record(client, 0, target, at),
            ];
            verdict(&web, &[], &records, 1)
        };
        assert_eq!(
            check(NODE, "/p/1.html", 1_165),
            None,
            "the way explains that"
        );
        assert_eq!(check(NODE, "/p/1.html", 1_150), Some("polite-gap"));
        assert_eq!(check(OTHER, "/p/1.html", 1_150), Some("polite-gap"));
        assert_eq!(check(OTHER, "/robots.txt", 1_150), None);
    }

    #[test]
    fn the_crawl_delay_counts_more_than_the_job() {
        let web = Web::simulated(2, 100);
        let slow = web
            .origins()
            .iter()
            .position(|o| !o.conduct().min_gap.is_zero());
        let slow = slow.expect("one of a hundred asks for a pause");
        let records = [
            record(NODE, slow, "/p/0.html", 1_000),
            record(NODE, slow, "/p/1.html", 1_900),
        ];
        assert_eq!(verdict(&web, &[], &records, 1), Some("polite-gap"));
        let still = [(millis(1_500), millis(1_600), Some(NODE))];
        assert_eq!(verdict(&web, &still, &records, 1), None, "it stood still");
        let still = [(millis(1_500), millis(1_600), Some(OTHER))];
        assert_eq!(verdict(&web, &still, &records, 1), Some("polite-gap"));
    }

    #[test]
    fn what_is_forbidden_too_often_too_much_or_too_late_is_seen() {
        let web = Web::simulated(2, 30);
        let one = |target: &str, at| [record(NODE, 0, target, at)];
        assert_eq!(
            verdict(&web, &[], &one("/private/x", 1_000), 1),
            Some("robots-obeyed")
        );
        assert_eq!(
            verdict(&web, &[], &one("/p/0.html", 1_000), 3),
            Some("polite-concurrency")
        );
        let put_off = |second| {
            let target = "/c/429-once-7";
            let records = [
                record(NODE, 0, target, 1_000),
                record(NODE, 0, target, second),
            ];
            verdict(&web, &[], &records, 1)
        };
        assert_eq!((put_off(1_970), put_off(1_900)), (None, Some("put-off")));
        assert_eq!(
            verdict(&web, &[], &one("/p/0.html", 74_000), 1),
            None,
            "it was under way"
        );
        assert_eq!(
            verdict(&web, &[], &one("/p/0.html", 110_000), 1),
            Some("stops-asking")
        );
        let often: Vec<Record> = (0..6)
            .map(|i| record(NODE, 0, "/p/0.html", i * 500))
            .collect();
        assert_eq!(verdict(&web, &[], &often[..5], 1), None);
        assert_eq!(verdict(&web, &[], &often, 1), Some("bounded-requests"));
    }
}
