//! What a job has found: pages, links and targets, and the counts of them.

use crate::{
    CheckJob, Verdict,
    command::{Checked, Found, FoundTarget, Onward, Scope, Task, authority},
    identity::{PointsTo, identity},
    mutant::Mutant,
};
use holdfast_tables::{Change, SqlError, params};
use holdfast_web::{
    LinkKind,
    traps::{self, Trap},
    urls,
};
use std::{collections::BTreeMap, time::Duration};
use url::Url;

/// Takes what was found into a job's tables. Its counts are written by [`finish`](Intake::finish).
pub(crate) struct Intake<'c, 'a> {
    pub(crate) change: &'c Change<'a>,
    pub(crate) number: i64,
    pub(crate) job: &'c CheckJob,
    mutant: Option<Mutant>,
    scope: Scope,
    planned: u64,
    pub(crate) pending: i64,
    targets: u64,
    links: u64,
    /// By how much there are more links with a verdict.
    verdicts: BTreeMap<&'static str, i64>,
    broken: i64,
    pages: u64,
    pub(crate) skipped: u64,
}

/// A page that links stand on.
#[derive(Clone, Copy)]
struct Page<'a> {
    /// The target that it is.
    target: i64,
    url: &'a str,
    key: &'a str,
}

/// A target as links to it see it.
pub(crate) struct Known {
    pub id: i64,
    pub verdict: Option<Verdict>,
    /// As it is written there.
    pub url: String,
    /// Redirects from a target that a link leads to.
    pub hops: u32,
}

impl<'c, 'a> Intake<'c, 'a> {
    pub fn new(
        change: &'c mut Change<'a>,
        number: i64,
        job: &'c CheckJob,
        mutant: Option<Mutant>,
    ) -> Result<Self, SqlError> {
        let change = &*change;
        let (planned, hosts): (i64, String) = change.one(
            "SELECT planned, hosts FROM links_jobs WHERE number = ?1",
            [number],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let scope = Scope {
            hosts: serde_json::from_str(&hosts).unwrap_or_default(),
            subdomains: job.options.subdomains,
            path_prefix: job.options.path_prefix.clone(),
        };
        Ok(Intake {
            change,
            number,
            job,
            mutant,
            scope,
            planned: planned.cast_unsigned(),
            pending: 0,
            targets: 0,
            links: 0,
            verdicts: BTreeMap::new(),
            broken: 0,
            pages: 0,
            skipped: 0,
        })
    }

    /// The pages to begin with: links that stand nowhere.
    pub fn add_starts(&mut self) -> Result<(), SqlError> {
        for start in &self.job.start_urls {
            if let Ok(url) = Url::parse(start) {
                self.widen(&url)?;
            }
        }
        for (ordinal, start) in self.job.start_urls.iter().enumerate() {
            let found = Found {
                ordinal: ordinal as u32,
                line: 0,
                column: 0,
                kind: LinkKind::Anchor,
                element: String::new(),
                text: String::new(),
                raw: start.clone(),
                target: FoundTarget::Web {
                    url: start.clone(),
                    fragment: None,
                },
            };
            self.add_link(None, 0, &found)?;
        }
        Ok(())
    }

    /// Pages of the host of `url` are crawled, too.
    fn widen(&mut self, url: &Url) -> Result<(), SqlError> {
        let host = authority(url);
        if !self.scope.hosts.contains(&host) {
            self.scope.hosts.push(host);
            let hosts = serde_json::to_string(&self.scope.hosts).expect("texts encode");
            self.change.execute(
                "UPDATE links_jobs SET hosts = ?2 WHERE number = ?1",
                params![self.number, hosts],
            )?;
        }
        Ok(())
    }

    /// A target has its verdict, and with it the links that lead there. Whether that is new.
    pub(crate) fn judge_one(&mut self, target: i64, checked: &Checked) -> Result<bool, SqlError> {
        let names = checked.names.as_ref();
        let encoded = names.map(|names| postcard::to_stdvec(names).expect("texts encode"));
        let redirects = match checked.redirects.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&checked.redirects).expect("plain data encodes"),
        };
        let judged = self.change.execute(
            "UPDATE links_targets SET effect = NULL, verdict = ?2, reason = ?3, detail = ?4, status = ?5,
                final_url = ?6, redirects = ?7, attempts = ?8, wait_ms = ?9, head_ms = ?10, total_ms = ?11,
                checked_at = ?12, names = ?13
             WHERE id = ?1 AND (verdict IS NULL OR ?14)",
            params![
                target,
                checked.verdict.name(),
                checked.reason,
                checked.detail,
                checked.status,
                checked.final_url,
                redirects,
                checked.attempts,
                checked.timings.wait_ms,
                checked.timings.head_ms,
                checked.timings.total_ms,
                self.change.time().as_nanos().cast_signed(),
                encoded,
                Mutant::CountedTwice.is_in(self.mutant)
            ],
        )?;
        if judged == 0 {
            return Ok(false);
        }
        self.pending -= 1;
        let is_broken = checked.verdict.is_broken();
        let told = self.change.execute(
            "UPDATE links_links SET verdict = ?2, broken = ?3 WHERE target = ?1 AND verdict IS NULL",
            params![target, checked.verdict.name(), is_broken],
        )?;
        self.count(checked.verdict, told as i64);
        if let (false, Some(names)) = (is_broken, names) {
            let pointing = self.change.all(
                "SELECT id, fragment FROM links_links WHERE target = ?1 AND fragment IS NOT NULL",
                [target],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
            )?;
            for (link, fragment) in pointing {
                if self.job.options.fragments && !self.has_name(names, &fragment) {
                    self.miss_fragment(link, checked.verdict)?;
                }
            }
        }
        Ok(true)
    }

    /// So many more links have a verdict, or fewer.
    fn count(&mut self, verdict: Verdict, links: i64) {
        *self.verdicts.entry(verdict.name()).or_default() += links;
        if verdict.is_broken() {
            self.broken += links;
        }
    }

    /// A link to a target with this verdict points to a place that is not there.
    fn miss_fragment(&mut self, link: i64, verdict: Verdict) -> Result<(), SqlError> {
        self.change.execute(
            "UPDATE links_links SET verdict = ?2, reason = 'no_such_fragment', broken = 1 WHERE id = ?1",
            params![link, Verdict::FragmentMissing.name()],
        )?;
        self.count(verdict, -1);
        self.count(Verdict::FragmentMissing, 1);
        Ok(())
    }

    /// Something was read that has links.
    pub fn add_page(&mut self, task: &Task, checked: &Checked) -> Result<(), SqlError> {
        // A site that moved its start page is the site that was meant.
        let document = checked.final_url.as_deref().unwrap_or(&task.url);
        if task.referer.is_none()
            && let Ok(url) = Url::parse(document)
        {
            self.widen(&url)?;
        }
        let (depth, key): (u32, String) = self.change.one(
            "SELECT depth, key FROM links_targets WHERE id = ?1",
            [task.target],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let page = Page {
            target: task.target,
            url: &task.url,
            key: &key,
        };
        if let Some(Onward::Followed(url)) = &checked.onward
            && let Ok(url) = Url::parse(url)
        {
            self.target_of_redirect(task, &url)?;
        }
        self.pages += u64::from(checked.is_page);
        self.skipped += u64::from(checked.left_out);
        for found in &checked.links {
            self.add_link(Some(page), depth + 1, found)?;
        }
        Ok(())
    }

    fn add_link(
        &mut self,
        source: Option<Page<'_>>,
        depth: u32,
        found: &Found,
    ) -> Result<(), SqlError> {
        let url = match &found.target {
            FoundTarget::Web { url, .. } => Url::parse(url).ok(),
            FoundTarget::Other(_) | FoundTarget::Invalid(_) => None,
        };
        // What there is to say of the link alone: verdict and reason.
        let mut own: Option<(Verdict, String)> = None;
        let mut target = None;
        let mut fragment_of = None;
        let mut own_url = None;
        match &found.target {
            FoundTarget::Other(scheme) => {
                let name = serde_json::to_value(scheme).ok();
                let name = name.and_then(|name| name.as_str().map(str::to_owned));
                let reason = format!("scheme_{}", name.unwrap_or_default());
                own = Some((Verdict::Unverifiable, reason));
            }
            FoundTarget::Invalid(reason) => own = Some((Verdict::Dead, reason.clone())),
            FoundTarget::Web { .. } if !found.kind.is_checkable() => {
                own = Some((Verdict::Unverifiable, "not_asked_by_get".into()));
            }
            FoundTarget::Web {
                url: text,
                fragment,
            } => {
                fragment_of = fragment.as_deref();
                let wanted = match &url {
                    Some(url) => self.target(source, depth, url, found.kind)?,
                    None => Err("not_a_url"),
                };
                match wanted {
                    Ok(known) => {
                        own_url = (known.url != *text).then_some(text.as_str());
                        target = Some(known);
                    }
                    Err(reason) => {
                        self.skipped += 1;
                        own = Some((Verdict::Unverifiable, reason.into()));
                    }
                }
            }
        }
        if let (Some(known), Some(fragment)) = (&target, fragment_of)
            && known.verdict.is_some_and(|verdict| !verdict.is_broken())
            && self.job.options.fragments
            && self.lacks_name(known.id, fragment)?
        {
            own = Some((Verdict::FragmentMissing, "no_such_fragment".into()));
        }
        let verdict = match &own {
            Some((verdict, _)) => Some(*verdict),
            None => target.as_ref().and_then(|known| known.verdict),
        };
        let broken = verdict.map(Verdict::is_broken);
        let kind = serde_json::to_value(found.kind).ok();
        let kind = kind.as_ref().and_then(|kind| kind.as_str());
        let key = url.as_ref().map(urls::key);
        let points_to = match (&key, &found.target) {
            (Some(key), FoundTarget::Web { fragment, .. }) => {
                PointsTo::Url(key.as_str(), fragment.as_deref())
            }
            _ => PointsTo::Text(&found.raw),
        };
        let page = source.map(|page| page.key);
        let identity = identity(page, kind.unwrap_or_default(), &points_to);
        self.change.execute(
            "INSERT INTO links_links
                (job, source, ordinal, line, col, kind, element, text, raw, target, url, fragment, verdict, reason,
                 broken, identity)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            params![
                self.number,
                source.map(|page| page.target),
                found.ordinal,
                found.line,
                found.column,
                kind,
                found.element,
                found.text,
                found.raw,
                target.as_ref().map(|known| known.id),
                own_url,
                fragment_of,
                verdict.map(Verdict::name),
                own.as_ref().map(|(_, reason)| reason),
                broken,
                identity
            ],
        )?;
        self.links += 1;
        if let Some(verdict) = verdict {
            self.count(verdict, 1);
        }
        Ok(())
    }

    fn lacks_name(&self, target: i64, fragment: &str) -> Result<bool, SqlError> {
        let names: Option<Vec<u8>> = self.change.one(
            "SELECT names FROM links_targets WHERE id = ?1",
            [target],
            |row| row.get(0),
        )?;
        let names: Option<Vec<String>> = names.and_then(|names| postcard::from_bytes(&names).ok());
        Ok(names.is_some_and(|names| !self.has_name(&names, fragment)))
    }

    fn has_name(&self, names: &[String], fragment: &str) -> bool {
        match Mutant::FragmentsUndecoded.is_in(self.mutant) {
            true => names.iter().any(|name| name == fragment),
            false => has_name(names, fragment),
        }
    }

    /// The target for a URL, new or known; or why it is not checked.
    fn target(
        &mut self,
        source: Option<Page<'_>>,
        depth: u32,
        url: &Url,
        kind: LinkKind,
    ) -> Result<Result<Known, &'static str>, SqlError> {
        let known = match self.known(url)? {
            Some(known) if known.hops == 0 => return Ok(Ok(known)),
            known => known,
        };
        // That a redirect has led there makes no difference.
        if source.is_some()
            && let Some(reason) = self.unwanted(url)
        {
            return Ok(Err(reason));
        }
        if let Some(known) = known {
            return self.linked(known).map(Ok);
        }
        if source.is_some()
            && let Some(reason) = self.overflows(url, depth)?
        {
            return Ok(Err(reason));
        }
        let is_inside = self.scope.contains(url);
        let is_crawled = source.is_none() || (is_inside && self.has_room(depth));
        if is_inside && !is_crawled {
            self.skipped += 1;
        }
        let options = &self.job.options;
        let task = Task {
            job: self.number,
            target: 0,
            url: url.as_str().to_owned(),
            follow: false,
            referer: source.map(|page| page.url.to_owned()),
            scope: is_crawled.then(|| self.scope.clone()),
            sitemaps: source.is_none() && options.sitemaps,
            kind,
            retries: options.retries,
            retry_after_ms: options.retry_after_ms,
            gap_ms: options.gap_ms,
        };
        let found_on = source.map(|page| page.target);
        self.add_target(task, url, found_on, depth, 0).map(Ok)
    }

    pub(crate) fn known(&self, url: &Url) -> Result<Option<Known>, SqlError> {
        self.change.first(
            "SELECT id, verdict, url, hops FROM links_targets WHERE job = ?1 AND key = ?2",
            params![self.number, urls::key(url).as_str()],
            |row| {
                let verdict: Option<String> = row.get(1)?;
                Ok(Known {
                    id: row.get(0)?,
                    verdict: verdict.and_then(|name| Verdict::named(&name)),
                    url: row.get(2)?,
                    hops: row.get(3)?,
                })
            },
        )
    }

    /// Why a URL is not asked for, whatever else was found.
    fn unwanted(&self, url: &Url) -> Option<&'static str> {
        if !self.job.options.external && !self.scope.contains(url) {
            return Some("external");
        }
        traps::by_shape(url).map(Trap::code)
    }

    /// Why a URL is one too many; one that is not is counted.
    fn overflows(&self, url: &Url, depth: u32) -> Result<Option<&'static str>, SqlError> {
        if self.job.targets + self.targets >= self.job.options.max_targets {
            return Ok(Some("max_targets"));
        }
        if self.is_full(&authority(url))? {
            return Ok(Some("max_targets_per_host"));
        }
        if depth > traps::NEAR
            && let Some(family) = traps::without_dates(url)
            && self.is_endless(&family)?
        {
            return Ok(Some(Trap::Calendar.code()));
        }
        Ok(None)
    }

    /// Whether one more page, so far away, may be crawled.
    fn has_room(&self, depth: u32) -> bool {
        depth <= self.job.options.max_depth && self.planned < self.job.options.max_pages
    }

    /// Whether the page that a redirect leads to is crawled: as if a link led there.
    pub(crate) fn is_page_to_crawl(&self, url: &Url, depth: u32) -> Result<bool, SqlError> {
        Ok(self.scope.contains(url)
            && self.unwanted(url).is_none()
            && self.has_room(depth)
            && self.overflows(url, depth)?.is_none())
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// A new target, to be asked.
    pub(crate) fn add_target(
        &mut self,
        task: Task,
        url: &Url,
        found_on: Option<i64>,
        depth: u32,
        hops: u32,
    ) -> Result<Known, SqlError> {
        let is_crawled = task.scope.is_some();
        self.planned += u64::from(is_crawled);
        let key = urls::key(url);
        let id = self.change.insert(
            "INSERT INTO links_targets (job, key, url, depth, crawled, found_on, hops)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                self.number,
                key.as_str(),
                task.url,
                depth,
                is_crawled,
                found_on,
                hops
            ],
        )?;
        self.enqueue(Task { target: id, ..task }, url)?;
        self.targets += 1;
        self.pending += 1;
        Ok(Known {
            id,
            verdict: None,
            url: url.as_str().to_owned(),
            hops,
        })
    }

    /// Asks for a target.
    pub(crate) fn enqueue(&mut self, task: Task, url: &Url) -> Result<(), SqlError> {
        let lane = url.origin().ascii_serialization();
        let effect = self.change.enqueue(&lane, &task, Duration::ZERO)?;
        self.change.execute(
            "UPDATE links_targets SET effect = ?2 WHERE id = ?1",
            params![task.target, effect],
        )?;
        Ok(())
    }

    /// Takes one more target of a host, if it may have more.
    fn is_full(&self, host: &str) -> Result<bool, SqlError> {
        let taken = self.change.execute(
            "INSERT INTO links_hosts (job, host, targets) VALUES (?1, ?2, 1)
             ON CONFLICT (job, host) DO UPDATE SET targets = targets + 1 WHERE targets < ?3",
            params![
                self.number,
                host,
                self.job.options.max_targets_per_host.cast_signed()
            ],
        )?;
        Ok(taken == 0)
    }

    /// Counts one more of the URLs that are the same but for their dates, if there may be more.
    fn is_endless(&self, family: &str) -> Result<bool, SqlError> {
        let taken = self.change.execute(
            "INSERT INTO links_calendars (job, prefix, dates) VALUES (?1, ?2, 1)
             ON CONFLICT (job, prefix) DO UPDATE SET dates = dates + 1 WHERE dates < ?3",
            params![self.number, family, traps::MAX_DATES],
        )?;
        Ok(taken == 0)
    }

    /// Asks again for what has no verdict and waits for no other target's, after a job was stopped.
    pub fn enqueue_pending(&mut self) -> Result<(), SqlError> {
        let waiting = self.change.all(
            "SELECT target.id, target.url, target.crawled, page.url
             FROM links_targets AS target LEFT JOIN links_targets AS page ON page.id = target.found_on
             WHERE target.job = ?1 AND target.verdict IS NULL AND target.effect IS NULL AND target.next IS NULL
             ORDER BY target.id",
            [self.number],
            |row| {
                let page: Option<String> = row.get(3)?;
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?, page))
            },
        )?;
        for (target, text, is_crawled, page) in waiting {
            let Ok(url) = Url::parse(&text) else { continue };
            let is_crawled: bool = is_crawled;
            let options = &self.job.options;
            let task = Task {
                job: self.number,
                target,
                url: text,
                follow: false,
                sitemaps: page.is_none() && options.sitemaps,
                referer: page,
                scope: is_crawled.then(|| self.scope.clone()),
                kind: LinkKind::Anchor,
                retries: options.retries,
                retry_after_ms: options.retry_after_ms,
                gap_ms: options.gap_ms,
            };
            self.enqueue(task, &url)?;
        }
        Ok(())
    }

    /// Writes the counts; whether nothing is left to do.
    pub fn finish(self) -> Result<bool, SqlError> {
        self.change.execute(
            "UPDATE links_jobs SET total_links = total_links + ?2, broken_count = broken_count + ?3,
                pages = pages + ?4, targets = targets + ?5, pending = pending + ?6, skipped = skipped + ?7,
                planned = ?8
             WHERE number = ?1",
            params![
                self.number,
                self.links.cast_signed(),
                self.broken,
                self.pages.cast_signed(),
                self.targets.cast_signed(),
                self.pending,
                self.skipped.cast_signed(),
                self.planned.cast_signed()
            ],
        )?;
        for (verdict, links) in &self.verdicts {
            self.change.execute(
                "INSERT INTO links_verdicts (job, verdict, links) VALUES (?1, ?2, ?3)
                 ON CONFLICT (job, verdict) DO UPDATE SET links = links + ?3",
                params![self.number, verdict, links],
            )?;
        }
        self.change.one(
            "SELECT pending = 0 FROM links_jobs WHERE number = ?1",
            [self.number],
            |row| row.get(0),
        )
    }
}

/// Whether a fragment points to one of these names, or to none on purpose; by the rules of
/// [`holdfast_web::Fragments::contains`].
fn has_name(names: &[String], fragment: &str) -> bool {
    holdfast_web::Fragments::points_into(fragment, |name| {
        names
            .binary_search_by(|known| known.as_str().cmp(name))
            .is_ok()
    })
}
