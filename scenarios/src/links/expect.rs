//! What a job must have found: the model's links within its scope, each once, each with a right verdict.

use crate::web::{Verdict, Web, normal};
use holdfast_links::{CheckJob, JobOptions, LinkResult, Status};
use holdfast_web::urls;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use url::Url;

/// Depth above which no crawl of the model is bounded by it.
const UNBOUNDED_DEPTH: u32 = 50;

/// A property that does not hold, and how that shows.
pub(super) type Broken = (&'static str, String);

/// What a job was asked, and what may have kept it from the truth.
pub(super) struct Question<'a> {
    /// The web that it looked at.
    pub web: &'a Web,
    /// Where it began.
    pub starts: &'a [String],
    /// How it was to check.
    pub options: &'a JobOptions,
    /// The way to the web was cut while it ran: what is there may look dead, or like it now and then.
    pub was_cut: bool,
}

/// Holds an ended job and all of its results against the model.
pub(super) fn check(
    question: &Question<'_>,
    job: &CheckJob,
    verdicts: &BTreeMap<String, u64>,
    rows: &[LinkResult],
) -> Result<(), Broken> {
    counts(job, rows)?;
    verdict_counts(verdicts, rows)?;
    once(rows)?;
    if job.status == Status::Failed {
        return match question.was_cut && job.pages == 0 {
            true => Ok(()),
            false => Err((
                "job-completes",
                format!("{:?}: {:?}", job.status, job.failure),
            )),
        };
    }
    complete(question, rows)?;
    rows.iter().try_for_each(|row| verdict(question, row))
}

/// The counts of a job are those of its results, and all of these are judged.
fn counts(job: &CheckJob, rows: &[LinkResult]) -> Result<(), Broken> {
    if let Some(row) = rows.iter().find(|row| row.verdict.is_none()) {
        let message = format!("{} on {:?} has no verdict", row.target, row.source);
        return Err(("every-link-judged", message));
    }
    let broken = rows
        .iter()
        .filter(|row| row.verdict.is_some_and(|v| v.is_broken()));
    let (broken, all) = (broken.count() as u64, rows.len() as u64);
    if (job.total_links, job.broken_count, job.pending) != (all, broken, 0) {
        let message = format!(
            "the job counts {} links, {} broken, {} pending; there are {all}, {broken} broken",
            job.total_links, job.broken_count, job.pending
        );
        return Err(("right-counts", message));
    }
    Ok(())
}

/// What is counted of each verdict is what results have it.
fn verdict_counts(verdicts: &BTreeMap<String, u64>, rows: &[LinkResult]) -> Result<(), Broken> {
    let mut there: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows {
        let name = row.verdict.map_or("pending", |verdict| verdict.name());
        *there.entry(name.to_owned()).or_default() += 1;
    }
    match there == *verdicts {
        true => Ok(()),
        false => {
            let message = format!("the job counts {verdicts:?}; there are {there:?}");
            Err(("right-counts", message))
        }
    }
}

/// The links of a page are numbered from 0, and each has one result.
fn once(rows: &[LinkResult]) -> Result<(), Broken> {
    let mut places: BTreeMap<&Option<String>, BTreeSet<u32>> = BTreeMap::new();
    for row in rows {
        if !places.entry(&row.source).or_default().insert(row.ordinal) {
            let message = format!("link {} of {:?} is there twice", row.ordinal, row.source);
            return Err(("each-link-once", message));
        }
    }
    for (source, ordinals) in places {
        let next = ordinals.last().map_or(0, |last| last + 1);
        if let Some(gap) = (0..next).find(|ordinal| !ordinals.contains(ordinal)) {
            return Err((
                "each-link-once",
                format!("link {gap} of {source:?} is missing"),
            ));
        }
    }
    Ok(())
}

/// A target as it is compared: two ways to write the same are one.
fn name(target: &str) -> String {
    let Ok(url) = Url::parse(target) else {
        return normal(target);
    };
    match (url.has_host(), url.fragment()) {
        (true, Some(fragment)) => format!("{}#{fragment}", urls::key(&url).as_str()),
        (true, None) => urls::key(&url).as_str().to_owned(),
        (false, _) => url.into(),
    }
}

fn without_fragment(url: &str) -> &str {
    url.split_once('#').map_or(url, |(page, _)| page)
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port()
        .map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

impl Question<'_> {
    fn is_inside(&self, url: &str) -> bool {
        let host = Url::parse(url).ok().map(|url| authority(&url));
        host.is_some_and(|host| {
            let mut starts = self
                .starts
                .iter()
                .filter_map(|start| Url::parse(start).ok());
            starts.any(|start| authority(&start) == host)
        })
    }

    fn is_forbidden(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else {
            return false;
        };
        let origin = self.web.origin_of(&authority(&url));
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        origin.is_some_and(|origin| self.web.origins()[origin].conduct().forbids(target))
    }

    /// The pages that a crawl reaches, with the fewest links on the way there.
    fn crawl(&self, links: &BTreeMap<&str, Vec<&str>>) -> BTreeMap<String, u32> {
        let mut depths: BTreeMap<String, u32> = BTreeMap::new();
        let mut queue: VecDeque<(String, u32)> = VecDeque::new();
        queue.extend(self.starts.iter().map(|start| (start.clone(), 0)));
        while let Some((page, depth)) = queue.pop_front() {
            if depths.contains_key(&page) {
                continue;
            }
            for target in links.get(page.as_str()).into_iter().flatten() {
                let next = without_fragment(target);
                let truth = self.web.truth().get(next).or(self.web.truth().get(target));
                let is_there = truth.is_some_and(|e| e.verdicts == [Verdict::Alive]);
                let is_known = links.contains_key(next);
                if is_there && is_known && self.is_inside(next) && !self.is_forbidden(next) {
                    queue.push_back((next.to_owned(), depth + 1));
                }
            }
            depths.insert(page, depth);
        }
        depths
    }
}

/// Every page that the model knows and the job read has the model's links, each as often as the page has it, and none
/// that only looks like one; markup of the model has a few beside those that it tells of. Every page was read that must
/// have been. What a job with a small depth reads depends on which page it reads first; then only bounds are checked.
fn complete(question: &Question<'_>, rows: &[LinkResult]) -> Result<(), Broken> {
    let mut links: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (page, target, _) in question.web.links() {
        links.entry(page).or_default().push(target);
    }
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.element != "robots.txt") {
        if let Some(source) = row.source.as_deref() {
            found.entry(source).or_default().push(name(&row.target));
        }
    }
    let depths = question.crawl(&links);
    let is_bounded = question.options.max_depth < UNBOUNDED_DEPTH;
    for (page, depth) in &depths {
        let must = !question.was_cut && (*depth == 0 || !is_bounded);
        let has_links = links.contains_key(page.as_str());
        if must && has_links && !found.contains_key(page.as_str()) {
            return Err(("each-link-once", format!("nothing was found on {page}")));
        }
    }
    for (page, mut there) in found {
        let Some(expected) = links.get(page) else {
            continue;
        };
        if let Some(depth) = depths.get(page)
            && is_bounded
            && *depth > question.options.max_depth
        {
            return Err(("scope", format!("{page} is {depth} links away")));
        }
        let mut expected: Vec<String> = expected.iter().map(|target| name(target)).collect();
        there.sort_unstable();
        expected.sort_unstable();
        let missing = less(&expected, &there);
        if !missing.is_empty() {
            let message = format!("on {page} {missing:?} are missing; there are {there:?}");
            return Err(("each-link-once", message));
        }
        let is_decoy = |target: &&&str| {
            let truth = question.web.truth().get(target);
            truth.is_some_and(|truth| truth.verdicts.is_empty())
        };
        if let Some(decoy) = less(&there, &expected).iter().find(is_decoy) {
            return Err(("each-link-once", format!("on {page} {decoy} is no link")));
        }
    }
    Ok(())
}

/// What is in one sorted list and not in the other, as often as it is there too often.
fn less<'a>(some: &'a [String], others: &[String]) -> Vec<&'a str> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for other in others {
        *counts.entry(other).or_default() += 1;
    }
    let is_more = |one: &&'a String| {
        let left = counts.entry(one.as_str()).or_default();
        *left -= 1;
        *left < 0
    };
    some.iter().filter(is_more).map(String::as_str).collect()
}

/// What the engine says, in the model's words.
fn said(row: &LinkResult) -> Option<Verdict> {
    use holdfast_links::Verdict as V;
    Some(match row.verdict? {
        V::Dead if row.reason.starts_with("invalid_url") => Verdict::InvalidUrl,
        V::Unverifiable if row.reason == "robots" => Verdict::Excluded,
        V::Alive => Verdict::Alive,
        V::Moved => Verdict::Moved,
        V::Dead => Verdict::Dead,
        V::Blocked => Verdict::Blocked,
        V::Throttled => Verdict::Throttled,
        V::Flaky => Verdict::Flaky,
        V::FragmentMissing => Verdict::FragmentMissing,
        V::Soft404 => Verdict::Soft404,
        V::RedirectLoop => Verdict::RedirectLoop,
        V::TlsProblem => Verdict::TlsProblem,
        V::Unverifiable => Verdict::Unverifiable,
    })
}

/// A verdict is one of those that the truth allows. Of what the model knows nothing about (pages of a trap, say),
/// nothing is expected.
fn verdict(question: &Question<'_>, row: &LinkResult) -> Result<(), Broken> {
    let target = normal(&row.target);
    let Some(truth) = question.web.truth().get(&target) else {
        return Ok(());
    };
    let said = said(row).expect("it was seen that all have one");
    let options = question.options;
    let is_right = truth.verdicts.contains(&said)
        // Nobody looked.
        || (row.reason == "external" && !options.external && !question.is_inside(&target))
        || row.reason == "not_asked_by_get"
        // Of hosts elsewhere nobody asks for what is not there; their titles are believed, and the model's say nothing.
        || (truth.verdicts == [Verdict::Soft404]
            && !question.is_inside(&target)
            && said == Verdict::Alive)
        || (!options.fragments
            && truth.verdicts.contains(&Verdict::FragmentMissing)
            && matches!(said, Verdict::Alive | Verdict::Moved))
        || (question.was_cut
            && matches!(said, Verdict::Dead | Verdict::Flaky | Verdict::Unverifiable));
    if is_right {
        return Ok(());
    }
    let message = format!(
        "{target} ({}) on {:?}: {said:?} ({}, {} attempts: {}), right is {:?}",
        truth.case, row.source, row.reason, row.attempts, row.detail, truth.verdicts
    );
    Err(("right-verdict", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_links::{JobId, Timings};

    /// A web, a job over its first site, and what a perfect checker would have found.
    fn perfect() -> (Web, CheckJob, Vec<LinkResult>) {
        let web = Web::simulated(4, 20);
        let start = format!("{}p/0.html", web.origins()[0].base());
        let options = JobOptions::default();
        let question = Question {
            web: &web,
            starts: std::slice::from_ref(&start),
            options: &options,
            was_cut: false,
        };
        let mut links: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (page, target, _) in web.links() {
            links.entry(page).or_default().push(target);
        }
        let mut rows = vec![row(0, None, 0, &start, Verdict::Alive)];
        for page in question.crawl(&links).keys() {
            for (ordinal, target) in links[page.as_str()].iter().enumerate() {
                let verdict = web.truth().get(target).expect("it is known").verdicts[0];
                let id = rows.len() as u64;
                rows.push(row(id, Some(page), ordinal as u32, target, verdict));
            }
        }
        let job = job(&start, &rows);
        (web, job, rows)
    }

    fn row(
        id: u64,
        source: Option<&str>,
        ordinal: u32,
        target: &str,
        verdict: Verdict,
    ) -> LinkResult {
        let (verdict, reason) = match verdict {
            Verdict::InvalidUrl => ("dead", "invalid_url: so"),
            Verdict::Excluded => ("unverifiable", "robots"),
            Verdict::FragmentMissing => ("fragment_missing", ""),
            Verdict::RedirectLoop => ("redirect_loop", ""),
            Verdict::TlsProblem => ("tls_problem", ""),
            Verdict::Alive => ("alive", ""),
            Verdict::Moved => ("moved", ""),
            Verdict::Dead => ("dead", ""),
            Verdict::Blocked => ("blocked", ""),
            Verdict::Throttled => ("throttled", ""),
            Verdict::Flaky => ("flaky", ""),
            Verdict::Soft404 => ("soft404", ""),
            Verdict::Unverifiable => ("unverifiable", ""),
        };
        LinkResult {
            id,
            job: JobId(1),
            source: source.map(str::to_owned),
            ordinal,
            line: 1,
            column: 1,
            kind: serde_json::from_str("\"anchor\"").expect("a kind"),
            element: "a".into(),
            text: String::new(),
            raw: target.into(),
            target: target.into(),
            final_url: None,
            status: None,
            redirects: Vec::new(),
            verdict: holdfast_links::Verdict::named(verdict),
            reason: reason.into(),
            detail: String::new(),
            attempts: 1,
            timings: Timings::default(),
            checked_at: None,
        }
    }

    fn job(start: &str, rows: &[LinkResult]) -> CheckJob {
        let broken = rows
            .iter()
            .filter(|row| row.verdict.is_some_and(|v| v.is_broken()));
        CheckJob {
            id: JobId(1),
            version: 3,
            target_domain: String::new(),
            start_urls: vec![start.into()],
            status: Status::Completed,
            created_at: 0,
            scheduled_for: None,
            every_ms: None,
            started_at: None,
            completed_at: None,
            total_links: rows.len() as u64,
            broken_count: broken.count() as u64,
            pages: 1,
            targets: 0,
            pending: 0,
            skipped: 0,
            previous: None,
            failure: None,
            options: JobOptions::default(),
        }
    }

    /// What is said of the perfect findings after a change.
    fn after(change: impl FnOnce(&mut CheckJob, &mut Vec<LinkResult>)) -> Option<&'static str> {
        after_with(change, |_| ())
    }

    /// The same with a change of what is counted of each verdict.
    fn after_with(
        change: impl FnOnce(&mut CheckJob, &mut Vec<LinkResult>),
        miscount: impl FnOnce(&mut BTreeMap<String, u64>),
    ) -> Option<&'static str> {
        let (web, mut job, mut rows) = perfect();
        change(&mut job, &mut rows);
        let mut verdicts = BTreeMap::new();
        for row in &rows {
            let name = row.verdict.map_or("pending", |verdict| verdict.name());
            *verdicts.entry(name.to_owned()).or_default() += 1;
        }
        miscount(&mut verdicts);
        let question = Question {
            web: &web,
            starts: &job.start_urls.clone(),
            options: &JobOptions::default(),
            was_cut: false,
        };
        check(&question, &job, &verdicts, &rows)
            .err()
            .map(|(property, _)| property)
    }

    #[test]
    fn the_model_s_own_answer_is_right() {
        assert_eq!(after(|_, _| ()), None);
    }

    #[test]
    fn a_link_that_is_missing_doubled_or_invented_is_seen() {
        let recount = |job: &mut CheckJob, rows: &[LinkResult]| {
            *job = super::tests::job(&job.start_urls[0].clone(), rows);
        };
        let missing = after(|job, rows| {
            rows.pop();
            recount(job, rows);
        });
        assert_eq!(missing, Some("each-link-once"));
        let doubled = after(|job, rows| {
            rows.push(rows[3].clone());
            recount(job, rows);
        });
        assert_eq!(doubled, Some("each-link-once"));
        let left_out = after(|job, rows| {
            rows.remove(2);
            recount(job, rows);
        });
        assert_eq!(left_out, Some("each-link-once"));
        let page = after(|job, rows| {
            let last = rows.last().and_then(|row| row.source.clone());
            rows.retain(|row| row.source != last);
            recount(job, rows);
        });
        assert_eq!(page, Some("each-link-once"));
    }

    #[test]
    fn a_wrong_verdict_is_seen_and_so_is_none() {
        let flip = |_: &mut CheckJob, rows: &mut Vec<LinkResult>| {
            let alive = Some(holdfast_links::Verdict::Alive);
            let row = rows.iter_mut().skip(1).find(|row| row.verdict == alive);
            row.expect("one is alive").verdict = Some(holdfast_links::Verdict::Moved);
        };
        assert_eq!(after(flip), Some("right-verdict"));
        assert_eq!(
            after(|_, rows| rows[2].verdict = None),
            Some("every-link-judged")
        );
    }

    #[test]
    fn wrong_counts_of_verdicts_are_seen() {
        let after = |miscount: fn(&mut BTreeMap<String, u64>)| after_with(|_, _| (), miscount);
        let one_more = after(|verdicts| *verdicts.entry("alive".into()).or_default() += 1);
        assert_eq!(one_more, Some("right-counts"));
        let another = after(|verdicts| {
            *verdicts.entry("alive".into()).or_default() -= 1;
            *verdicts.entry("moved".into()).or_default() += 1;
        });
        assert_eq!(another, Some("right-counts"), "the sum is right");
        let none = after(|verdicts| {
            verdicts.insert("flaky".into(), 0);
        });
        assert_eq!(none, Some("right-counts"), "what nothing has is not there");
    }

    #[test]
    fn wrong_counts_are_seen() {
        assert_eq!(after(|job, _| job.broken_count += 1), Some("right-counts"));
        assert_eq!(after(|job, _| job.total_links -= 1), Some("right-counts"));
        assert_eq!(after(|job, _| job.pending = 1), Some("right-counts"));
        assert_eq!(
            after(|job, _| job.status = Status::Failed),
            Some("job-completes")
        );
    }
}
