//! Redirects, as the tables see them.
//!
//! Where a redirect leads is a target of its own, asked for once however many links and redirects lead there; the
//! target that redirects *waits* for its verdict, or has it at once. So a URL is asked for once whoever asks first,
//! nobody holds a place in a queue for another's answer, and a new leader knows as much as the last.
//!
//! Waiting goes round in no circle: who would close one is judged instead. It is not done where it would not give what
//! following the chain gives: after a cookie was set, and under the same key ([`RobotsGate`](crate::robots::RobotsGate)
//! says when); nor in the middle of chains that are longer than anybody follows. Such a target is asked once more, to
//! the end of its chain ([`Task::follow`]).

use crate::{
    Redirect, Timings, Verdict,
    command::{Checked, MAX_REDIRECTS, Task},
    intake::{Intake, Known},
};
use holdfast_http::FetchError;
use holdfast_tables::{SqlError, params};
use std::collections::VecDeque;
use url::Url;

/// The reason of chains that are too long, as [`FetchError`] names it.
const TOO_MANY: &str = "too_many_redirects";
/// That of chains that lead back.
const LOOP: &str = "redirect_loop";
/// That of a target which worked at a later try.
pub(crate) const RECOVERED: &str = "recovered";

/// A target as whoever redirects to it sees it.
struct Asked {
    id: i64,
    url: String,
    hops: u32,
    found_on: Option<i64>,
    depth: u32,
    is_crawled: bool,
    next: Option<i64>,
    /// What is known by now: of one that waits, what its own answer was.
    checked: Checked,
    has_verdict: bool,
}

/// Where a chain of targets leads that have no verdict.
enum Way {
    /// Somewhere that is being asked.
    Open,
    /// Back to where it begins.
    Round(Vec<Redirect>),
    /// Further than anybody follows.
    Far(Vec<Redirect>),
}

impl Intake<'_, '_> {
    /// A target has its verdict, and with it all that wait for it.
    pub fn judge(&mut self, target: i64, checked: &Checked) -> Result<(), SqlError> {
        if !self.judge_one(target, checked)? {
            return Ok(());
        }
        let mut judged = VecDeque::from([target]);
        while let Some(next) = judged.pop_front() {
            let waiting = self.change.all(
                "SELECT id FROM links_targets WHERE next = ?1 AND verdict IS NULL ORDER BY id",
                [next],
                |row| row.get::<_, i64>(0),
            )?;
            if waiting.is_empty() {
                continue;
            }
            let end = self.asked(next)?;
            for target in waiting {
                let own = self.asked(target)?;
                if self.judge_by(&own, &end)? {
                    judged.push_back(target);
                }
            }
        }
        Ok(())
    }

    /// A target redirects to `url`, and nobody asked there for it.
    pub fn hand_over(&mut self, task: &Task, checked: &Checked, url: &str) -> Result<(), SqlError> {
        let Ok(url) = Url::parse(url) else {
            // Written by a program that reads URLs in another way.
            return self.ask_to_the_end(&self.asked(task.target)?);
        };
        self.remember(task.target, checked)?;
        let own = self.asked(task.target)?;
        if own.has_verdict {
            return Ok(());
        }
        let known = self.known(&url)?;
        if known.is_none() && own.hops as usize >= MAX_REDIRECTS {
            let far = too_many(&own.checked, own.checked.redirects.clone());
            return self.judge(own.id, &far);
        }
        let next = self.target_of_redirect(task, &url)?;
        let way = match next.verdict {
            Some(_) => Way::Open,
            None => self.way(&own, next.id)?,
        };
        match way {
            Way::Open => {
                self.change.execute(
                    "UPDATE links_targets SET next = ?2 WHERE id = ?1",
                    params![own.id, next.id],
                )?;
                if next.verdict.is_some() {
                    let end = self.asked(next.id)?;
                    if let Some(checked) = through(&own, &end) {
                        return self.judge(own.id, &checked);
                    }
                    return self.ask_to_the_end(&own);
                }
                Ok(())
            }
            Way::Far(redirects) => {
                let far = too_many(&own.checked, redirects);
                self.judge(own.id, &far)
            }
            Way::Round(redirects) => {
                // Under another spelling of the same key it may answer something else.
                let is_same = redirects.last().is_some_and(|last| last.to == own.url);
                if !is_same {
                    return self.ask_to_the_end(&own);
                }
                let error = FetchError::RedirectLoop {
                    url: Box::new(Url::parse(&own.url).unwrap_or(url)),
                };
                let round = leads_nowhere(&own.checked, redirects, LOOP, &error);
                self.judge(own.id, &round)
            }
        }
    }

    /// The target that a redirect leads to, new or known.
    pub(crate) fn target_of_redirect(&mut self, task: &Task, url: &Url) -> Result<Known, SqlError> {
        if let Some(known) = self.known(url)? {
            return Ok(known);
        }
        let from = self.asked(task.target)?;
        let depth = from.depth + 1;
        // Where a start page redirects to is meant by it.
        let is_crawled = task.referer.is_none() || self.is_page_to_crawl(url, depth)?;
        self.skipped += u64::from(!is_crawled && self.scope().contains(url));
        let next = Task {
            target: 0,
            url: url.as_str().to_owned(),
            follow: false,
            scope: is_crawled.then(|| self.scope().clone()),
            ..task.clone()
        };
        self.add_target(next, url, from.found_on, depth, from.hops + 1)
    }

    /// A link leads to a target that only redirects had led to.
    pub(crate) fn linked(&mut self, known: Known) -> Result<Known, SqlError> {
        self.change.execute(
            "UPDATE links_targets SET hops = 0 WHERE id = ?1",
            [known.id],
        )?;
        let known = Known { hops: 0, ..known };
        if known.verdict != Some(Verdict::RedirectLoop) {
            return Ok(known);
        }
        let own = self.asked(known.id)?;
        if !is_cut(&own) {
            return Ok(known);
        }
        // Too long for who came from further away.
        self.change.execute(
            "UPDATE links_targets SET verdict = NULL WHERE id = ?1",
            [known.id],
        )?;
        self.pending += 1;
        self.ask_to_the_end(&own)?;
        Ok(Known {
            verdict: None,
            ..known
        })
    }

    /// Judges a target that waits by the one that it waits for; whether it is judged.
    fn judge_by(&mut self, own: &Asked, end: &Asked) -> Result<bool, SqlError> {
        match through(own, end) {
            Some(checked) => self.judge_one(own.id, &checked),
            None => self.ask_to_the_end(own).map(|()| false),
        }
    }

    /// Asks for a target once more, and for all that its redirects lead to.
    fn ask_to_the_end(&mut self, own: &Asked) -> Result<(), SqlError> {
        let page: Option<String> = match own.found_on {
            None => None,
            Some(page) => self.change.first(
                "SELECT url FROM links_targets WHERE id = ?1",
                [page],
                |row| row.get(0),
            )?,
        };
        let options = &self.job.options;
        let task = Task {
            job: self.number,
            target: own.id,
            url: own.url.clone(),
            follow: true,
            sitemaps: page.is_none() && options.sitemaps,
            referer: page,
            scope: own.is_crawled.then(|| self.scope().clone()),
            kind: holdfast_web::LinkKind::Anchor,
            retries: options.retries,
            retry_after_ms: options.retry_after_ms,
            gap_ms: options.gap_ms,
        };
        self.change.execute(
            "UPDATE links_targets SET next = NULL WHERE id = ?1",
            [own.id],
        )?;
        match Url::parse(&own.url) {
            Ok(url) => self.enqueue(task, &url),
            Err(_) => Ok(()),
        }
    }

    /// Keeps what a target itself answered.
    fn remember(&self, target: i64, checked: &Checked) -> Result<(), SqlError> {
        let redirects = serde_json::to_string(&checked.redirects).expect("plain data encodes");
        self.change.execute(
            "UPDATE links_targets SET effect = NULL, reason = ?2, detail = ?3, redirects = ?4, attempts = ?5,
                wait_ms = ?6, head_ms = ?7, total_ms = ?8
             WHERE id = ?1 AND verdict IS NULL",
            params![
                target,
                checked.reason,
                checked.detail,
                redirects,
                checked.attempts,
                checked.timings.wait_ms,
                checked.timings.head_ms,
                checked.timings.total_ms
            ],
        )?;
        Ok(())
    }

    /// Where the targets lead that wait for each other from `from` on.
    fn way(&self, own: &Asked, from: i64) -> Result<Way, SqlError> {
        let mut redirects = own.checked.redirects.clone();
        let mut at = from;
        while redirects.len() <= MAX_REDIRECTS {
            if at == own.id {
                return Ok(Way::Round(redirects));
            }
            let step = self.asked(at)?;
            let Some(next) = step.next.filter(|_| !step.has_verdict) else {
                return Ok(Way::Open);
            };
            redirects.extend(step.checked.redirects);
            at = next;
        }
        Ok(Way::Far(redirects))
    }

    fn asked(&self, target: i64) -> Result<Asked, SqlError> {
        self.change.one(
            "SELECT url, hops, found_on, depth, crawled, next, verdict, reason, detail, status, final_url, redirects,
                attempts, wait_ms, head_ms, total_ms, names
             FROM links_targets WHERE id = ?1",
            [target],
            |row| {
                let verdict: Option<String> = row.get(6)?;
                let verdict = verdict.and_then(|name| Verdict::named(&name));
                let redirects: String = row.get(11)?;
                let names: Option<Vec<u8>> = row.get(16)?;
                Ok(Asked {
                    id: target,
                    url: row.get(0)?,
                    hops: row.get(1)?,
                    found_on: row.get(2)?,
                    depth: row.get(3)?,
                    is_crawled: row.get(4)?,
                    next: row.get(5)?,
                    has_verdict: verdict.is_some(),
                    checked: Checked {
                        verdict: verdict.unwrap_or(Verdict::Alive),
                        reason: row.get(7)?,
                        detail: row.get(8)?,
                        status: row.get(9)?,
                        final_url: row.get(10)?,
                        redirects: serde_json::from_str(&redirects).unwrap_or_default(),
                        timings: Timings {
                            wait_ms: row.get(13)?,
                            head_ms: row.get(14)?,
                            total_ms: row.get(15)?,
                        },
                        attempts: row.get(12)?,
                        names: names.and_then(|names| postcard::from_bytes(&names).ok()),
                        is_page: false,
                        links: Vec::new(),
                        left_out: 0,
                        onward: None,
                    },
                })
            },
        )
    }
}

/// Judged by a chain that was left before its end because others had come from further away.
fn is_cut(asked: &Asked) -> bool {
    let checked = &asked.checked;
    checked.verdict == Verdict::RedirectLoop
        && checked.reason == TOO_MANY
        && checked.redirects.len() <= MAX_REDIRECTS
}

/// What `own` is, which redirects to `end`; `None`: that cannot be said of it.
fn through(own: &Asked, end: &Asked) -> Option<Checked> {
    let (first, last) = (&own.checked, &end.checked);
    let redirects: Vec<Redirect> = first
        .redirects
        .iter()
        .chain(&last.redirects)
        .cloned()
        .collect();
    let is_long = redirects.len() > MAX_REDIRECTS;
    if is_cut(end) && !is_long && own.hops == 0 {
        return None;
    }
    if last.verdict == Verdict::RedirectLoop && last.reason == LOOP {
        return Some(Checked {
            redirects: until_repeated(redirects),
            ..joined(own, end)
        });
    }
    if is_long {
        return Some(too_many(first, redirects));
    }
    let mut checked = joined(own, end);
    if matches!(last.verdict, Verdict::Alive | Verdict::Moved) {
        let is_permanent = |hop: &&Redirect| matches!(hop.status, 301 | 308);
        match redirects.iter().take_while(is_permanent).last() {
            Some(hop) => checked = checked.moved_to(&hop.to),
            None if last.verdict == Verdict::Moved => {
                checked.verdict = Verdict::Alive;
                checked.reason = "ok".into();
                checked.detail.clear();
            }
            None => {}
        }
        if first.reason == RECOVERED {
            checked.verdict = Verdict::Flaky;
            checked.reason.clone_from(&first.reason);
            checked.detail.clone_from(&first.detail);
        }
    }
    checked.redirects = redirects;
    Some(checked)
}

/// The verdict of `end` with the effort of both.
fn joined(own: &Asked, end: &Asked) -> Checked {
    let (first, last) = (&own.checked, &end.checked);
    Checked {
        final_url: Some(last.final_url.clone().unwrap_or_else(|| end.url.clone())),
        attempts: first.attempts.max(last.attempts),
        timings: Timings {
            total_ms: first.timings.total_ms.saturating_add(last.timings.total_ms),
            ..last.timings
        },
        ..last.clone()
    }
}

fn too_many(own: &Checked, redirects: Vec<Redirect>) -> Checked {
    let limit = MAX_REDIRECTS;
    let error = FetchError::TooManyRedirects { limit };
    leads_nowhere(own, redirects, TOO_MANY, &error)
}

fn leads_nowhere(
    own: &Checked,
    redirects: Vec<Redirect>,
    reason: &str,
    error: &FetchError,
) -> Checked {
    Checked {
        verdict: Verdict::RedirectLoop,
        reason: reason.to_owned(),
        detail: error.to_string(),
        status: None,
        final_url: redirects.last().map(|hop| hop.to.clone()),
        redirects,
        names: None,
        ..own.clone()
    }
}

/// The redirects of a loop as far as the first that leads to where it has been.
fn until_repeated(mut redirects: Vec<Redirect>) -> Vec<Redirect> {
    let is_back = |at: &usize| {
        let to = &redirects[*at].to;
        redirects[..=*at].iter().any(|hop| hop.url == *to)
    };
    if let Some(at) = (0..redirects.len()).find(is_back) {
        redirects.truncate(at + 1);
    }
    redirects
}
