//! Checks targets: what the outbox of the service asks for.

use crate::{
    Redirect, Timings, Verdict,
    command::{Checked, Found, FoundTarget, Onward, Task},
    judge::{self, Judgement},
    mutant::Mutant,
    probe::Probes,
    redirects::RECOVERED,
    robots::{RobotsCache, RobotsGate, Rules, UNREACHABLE},
    service::retry_delay,
};
use bytes::Bytes;
use holdfast_host::{BoxFuture, Host};
use holdfast_http::{BodyPolicy, Client, FetchError, Fetched, Head, Origin, Request, Response};
use holdfast_tables::{Effect, End, Performer};
use holdfast_web::{
    Fragments, Limits, Link, LinkKind, Target, charset, css, header, page, sitemap, urls,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use url::Url;

/// Bytes of a page that are read.
const PAGE_BYTES: u64 = 4 << 20;
/// Bytes of a sitemap or feed that are read.
const XML_BYTES: u64 = 16 << 20;
/// Bytes of a page above which it is parsed where it delays nobody.
const LARGE_PAGE: usize = 256 << 10;
/// Encoded bytes of links that one result carries; the rest is counted as left out.
const LINK_BYTES: usize = 2 << 20;
/// Encoded bytes of names that fragments can point to; above it none are known.
const NAME_BYTES: usize = 128 << 10;
/// Longest time that a server may put off the next try; who asks for more is throttling for good.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);
/// How long a host is left alone when it puts off one request: it may mean that one alone.
const FIRST_PUT_OFF: Duration = Duration::from_secs(1);
/// Hosts whose putting off is remembered.
const MAX_STRIKES: usize = 10_000;
/// Tries beyond the job's after a server said when to come again.
const THROTTLED_TRIES: u32 = 2;
/// The reason of an attempt that a server put off.
const PUT_OFF: &str = "put_off";
/// Characters of a detail.
const MAX_DETAIL: usize = 300;

/// Checks targets with one HTTP client and one memory of robots.txt.
pub(crate) struct Checker {
    host: Host,
    client: Client,
    robots: RobotsCache,
    probes: Probes,
    mutant: Option<Mutant>,
    /// Requests that each host has put off since it last answered one.
    strikes: Mutex<BTreeMap<Origin, u32>>,
}

/// The service's [`Performer`].
pub(crate) struct Checking(pub Arc<Checker>);

impl Performer for Checking {
    fn service(&self) -> &'static str {
        "links"
    }

    fn perform(&self, effect: Effect) -> BoxFuture<'static, End> {
        let checker = self.0.clone();
        Box::pin(async move { checker.check(effect).await })
    }

    fn takes_over(&self) {
        // Somebody else may have asked these hosts a moment ago: the gap is kept from robots.txt on.
        self.0.robots.forget();
    }
}

impl Checker {
    pub fn new(
        client: Client,
        robots: RobotsCache,
        probes: Probes,
        mutant: Option<Mutant>,
    ) -> Self {
        Checker {
            host: client.host().clone(),
            client,
            robots,
            probes,
            mutant,
            strikes: Mutex::default(),
        }
    }

    async fn check(&self, effect: Effect) -> End {
        let Ok(task) = postcard::from_bytes::<Task>(&effect.payload) else {
            return End::Dead {
                reason: "the task cannot be read".into(),
            };
        };
        let Ok(url) = Url::parse(&task.url) else {
            return End::Dead {
                reason: "the task's URL cannot be read".into(),
            };
        };
        let began = self.host.now();
        let (fetched, judgement, onward) = self.fetch(&task, &url).await;
        let put_off = self.put_off(&task, &effect, &fetched);
        if let Some(after) = put_off {
            return End::Retry {
                after,
                reason: PUT_OFF.into(),
            };
        }
        let is_final = is_put_off_for_good(&fetched);
        if judgement.may_pass && !is_final && effect.attempts < task.retries {
            return End::Retry {
                after: retry_delay(&task, effect.attempts),
                reason: judgement.reason,
            };
        }
        let mut checked = self.read(&task, &url, fetched, judgement, onward).await;
        checked.attempts = effect.attempts + 1;
        let last = effect.last_reason;
        let is_good = matches!(checked.verdict, Verdict::Alive | Verdict::Moved);
        if is_good && !last.is_empty() && last != PUT_OFF {
            checked.verdict = Verdict::Flaky;
            checked.reason = RECOVERED.into();
            checked.detail = format!("it works now, and did not at the try before: {last}");
        }
        checked.timings.total_ms = millis(self.host.now().since(began));
        let result = postcard::to_stdvec(&checked).expect("plain data encodes");
        End::Done(result.into())
    }

    /// Asks for the target, and judges what came before looking into it. The last is where it redirects to, if nobody
    /// asked there.
    async fn fetch(&self, task: &Task, url: &Url) -> (Fetched, Judgement, Option<Url>) {
        // A name and a password go along to the end of a chain, and to no other target.
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        let gate = RobotsGate {
            hands_over: !task.follow && !has_credentials,
            ..self.gate(task)
        };
        let mut request = Request::get(url.clone());
        if let Some(referer) = &task.referer
            // RFC 9110, section 10.1.3.
            && (url.scheme() == "https" || !referer.starts_with("https:"))
            && let Ok(with_referer) = request.clone().header("Referer", referer)
        {
            request = with_referer;
        }
        let is_wanted = task.scope.is_some();
        let choose = move |head: &Head| body_policy(head, is_wanted);
        let fetched = self.client.fetch(&request, &gate, &choose).await;
        let failure = gate.failure.lock().expect("nobody panics with it").take();
        let onward = gate.onward.lock().expect("nobody panics with it").take();
        let judgement = match &fetched.outcome {
            Ok(_) if onward.is_some() => Judgement::new(Verdict::Alive, "ok", ""),
            Ok(response) => judge::status(response.head.status.as_u16()),
            Err(FetchError::NotAdmitted(refusal)) if refusal.name == UNREACHABLE => {
                // Who cannot be asked for robots.txt cannot be asked for the page.
                judge::failure(&failure.expect("the gate kept it"))
            }
            Err(error) => judge::failure(error),
        };
        (fetched, judgement, onward)
    }

    /// The server said when to come again, and that is worth waiting for.
    fn put_off(&self, task: &Task, effect: &Effect, fetched: &Fetched) -> Option<Duration> {
        let Ok(response) = &fetched.outcome else {
            return None;
        };
        let origin = Origin::of(&response.head.url).ok()?;
        let status = response.head.status.as_u16();
        if !matches!(status, 429 | 503) {
            self.strikes().remove(&origin);
            return None;
        }
        if Mutant::RetryAfterIgnored.is_in(self.mutant) {
            return None;
        }
        let after = holdfast_http::retry_after(&response.head.headers, self.host.unix_time())?;
        let pause = match self.strike(&origin) {
            1 => after.min(FIRST_PUT_OFF),
            _ => after.min(MAX_RETRY_AFTER),
        };
        let until = self.host.now().saturating_add(pause);
        let _ = self.client.block_until(&origin, until);
        let tries = task.retries + THROTTLED_TRIES;
        let is_worth = task.retries > 0 && effect.attempts < tries && after <= MAX_RETRY_AFTER;
        is_worth.then_some(after)
    }

    fn strikes(&self) -> MutexGuard<'_, BTreeMap<Origin, u32>> {
        self.strikes.lock().expect("nobody panics with it")
    }

    /// How many requests in a row the host has put off, this one included.
    fn strike(&self, origin: &Origin) -> u32 {
        let mut strikes = self.strikes();
        if strikes.len() >= MAX_STRIKES && !strikes.contains_key(origin) {
            strikes.pop_first();
        }
        let count = strikes.entry(origin.clone()).or_default();
        *count += 1;
        *count
    }

    /// Looks into what came.
    async fn read(
        &self,
        task: &Task,
        url: &Url,
        fetched: Fetched,
        judgement: Judgement,
        onward: Option<Url>,
    ) -> Checked {
        let redirects = redirects(&fetched);
        let is_put_off = is_put_off_for_good(&fetched);
        let mut checked = Checked {
            verdict: match is_put_off {
                true => Verdict::Throttled,
                false => judgement.verdict,
            },
            reason: judgement.reason,
            detail: judgement.detail.chars().take(MAX_DETAIL).collect(),
            status: None,
            final_url: (!redirects.is_empty()).then(|| without_fragment(&fetched.url)),
            timings: timings(&fetched),
            redirects,
            attempts: 1,
            names: None,
            is_page: false,
            links: Vec::new(),
            left_out: 0,
            onward: onward.map(|url| Onward::Unasked(without_fragment(&url))),
        };
        if checked.onward.is_some() {
            return checked;
        }
        let response = match fetched.outcome {
            Ok(response) => response,
            Err(_) => return checked,
        };
        checked.status = Some(response.head.status.as_u16());
        let permanent = fetched.hops.iter().take_while(|hop| hop.is_permanent);
        if checked.verdict == Verdict::Alive
            && let Some(new) = permanent.last().and_then(|hop| hop.target.as_ref())
        {
            checked = checked.moved_to(&without_fragment(new));
        }
        if !matches!(checked.verdict, Verdict::Alive | Verdict::Moved) {
            return checked;
        }
        let document = without_fragment_url(&fetched.url);
        let is_inside = task
            .scope
            .as_ref()
            .is_some_and(|scope| task.referer.is_none() || scope.contains(&document));
        let mut harvest = Harvest::default();
        if task.sitemaps
            && let Ok(Rules::Known(robots)) = self.robots.rules(&document, Duration::ZERO).await
        {
            for text in robots.sitemaps() {
                harvest.add_sitemap(text, &document);
            }
        }
        if !fetched.hops.is_empty() {
            if is_inside && !is_same(url, &document) {
                // Its links are its own: it is a target like others.
                checked.onward = Some(Onward::Followed(document.as_str().to_owned()));
            }
            self.take_names(&response, &document, &mut checked).await;
        } else {
            let wants = is_inside;
            self.take_in(task, response, document, wants, &mut checked, &mut harvest)
                .await;
        }
        checked.left_out = harvest.left_out;
        checked.links = harvest.links;
        checked
    }

    async fn take_names(&self, response: &Response, document: &Url, checked: &mut Checked) {
        if is_html(&response.head) && !response.is_truncated {
            let page = self.parse(response, document, false).await;
            checked.names = names(&page.fragments);
        }
    }

    /// A document that was asked for by its own URL.
    async fn take_in(
        &self,
        task: &Task,
        response: Response,
        document: Url,
        is_inside: bool,
        checked: &mut Checked,
        harvest: &mut Harvest,
    ) {
        let limits = Limits::default();
        let media = response.head.media_type();
        let content_type = header_text(&response.head, "content-type");
        if is_html(&response.head) {
            // Only a host that has an answer to everything needs a closer look.
            let fingerprints = self.answers_everything(&document, task).await;
            let page = self.parse(&response, &document, fingerprints).await;
            if fingerprints
                && let Some(fingerprint) = page.fingerprint
                && self.is_soft_404(&document, fingerprint, task).await
            {
                checked.verdict = Verdict::Soft404;
                checked.reason = "soft_404".into();
                checked.detail = "it says what the host says of pages that are not there".into();
                return;
            }
            if !response.is_truncated {
                checked.names = names(&page.fragments);
            }
            if is_inside {
                checked.is_page = true;
                for link in &page.links {
                    harvest.add(link);
                }
            }
        } else if is_inside && media == "text/css" {
            let text = charset::decode_css(&response.body, content_type.as_deref());
            for link in &css::parse(&text.text, &document, &limits).links {
                harvest.add(link);
            }
        } else if is_inside && (is_xml(&media) || task.kind == LinkKind::Sitemap) {
            let map = sitemap::read(&response.body, content_type.as_deref(), &document, &limits);
            for entry in &map.entries {
                harvest.add(&entry.link);
            }
        }
        if is_inside {
            let mut ordinal = harvest.next_ordinal();
            for value in response.head.headers.get_all("link") {
                let value = value.to_str().unwrap_or("");
                for link in header::links(value, &document, ordinal, &limits) {
                    ordinal = link.ordinal + 1;
                    harvest.add(&link);
                }
            }
            if let Some(value) = header_text(&response.head, "refresh")
                && let Some(link) = header::refresh_link(&value, &document, ordinal, &limits)
            {
                harvest.add(&link);
            }
        }
    }

    async fn parse(&self, response: &Response, document: &Url, fingerprint: bool) -> page::Page {
        let content_type = header_text(&response.head, "content-type");
        let body: Bytes = response.body.clone();
        let options = page::Options {
            fingerprint,
            ..page::Options::default()
        };
        if body.len() < LARGE_PAGE {
            return page::read(&body, content_type.as_deref(), document, &options);
        }
        let document = document.clone();
        self.host
            .blocking(move |_| page::read(&body, content_type.as_deref(), &document, &options))
            .await
    }

    async fn answers_everything(&self, document: &Url, task: &Task) -> bool {
        let gate = self.gate(task);
        self.probes
            .answers_everything(&self.client, &gate, document)
            .await
    }

    async fn is_soft_404(
        &self,
        document: &Url,
        fingerprint: holdfast_web::soft404::Fingerprint,
        task: &Task,
    ) -> bool {
        let gate = self.gate(task);
        self.probes
            .is_soft_404(&self.client, &gate, document, fingerprint)
            .await
    }

    fn gate(&self, task: &Task) -> RobotsGate<'_> {
        RobotsGate {
            robots: &self.robots,
            gap: Duration::from_millis(task.gap_ms),
            failure: Mutex::new(None),
            hands_over: false,
            onward: Mutex::new(None),
        }
    }
}

/// The server named a time to come again, and it was not worth waiting for or has been waited for often enough.
fn is_put_off_for_good(fetched: &Fetched) -> bool {
    fetched.outcome.as_ref().is_ok_and(|response| {
        matches!(response.head.status.as_u16(), 429 | 503)
            && response.head.headers.contains_key("retry-after")
    })
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn header_text(head: &Head, name: &str) -> Option<String> {
    let value = head.headers.get(name)?;
    value.to_str().ok().map(str::to_owned)
}

pub(crate) fn is_html(head: &Head) -> bool {
    matches!(
        head.media_type().as_str(),
        "text/html" | "application/xhtml+xml" | ""
    )
}

fn is_xml(media: &str) -> bool {
    matches!(media, "application/xml" | "text/xml") || media.ends_with("+xml")
}

/// How much of a body to read: a picture's first byte says as much as its last.
fn body_policy(head: &Head, is_wanted: bool) -> BodyPolicy {
    let media = head.media_type();
    if !head.status.is_success() {
        return BodyPolicy::Discard;
    }
    if is_html(head) {
        return BodyPolicy::Prefix { max: PAGE_BYTES };
    }
    if is_wanted && (is_xml(&media) || media == "text/plain") && media != "image/svg+xml" {
        return BodyPolicy::Prefix { max: XML_BYTES };
    }
    if is_wanted && media == "text/css" {
        return BodyPolicy::Prefix { max: PAGE_BYTES };
    }
    BodyPolicy::Discard
}

fn redirects(fetched: &Fetched) -> Vec<Redirect> {
    let hop = |hop: &holdfast_http::Hop| Redirect {
        url: without_fragment(&hop.url),
        status: hop.status.as_u16(),
        to: match &hop.target {
            Some(target) => without_fragment(target),
            None => hop.location.chars().take(MAX_DETAIL).collect(),
        },
    };
    fetched.hops.iter().map(hop).collect()
}

fn timings(fetched: &Fetched) -> Timings {
    let mut timings = Timings::default();
    if let Ok(response) = &fetched.outcome {
        let parts = &response.timings;
        let before = [Some(parts.queue), parts.connect, parts.tls];
        timings.wait_ms = millis(before.into_iter().flatten().sum());
        timings.head_ms = millis(parts.head);
    }
    timings
}

fn without_fragment_url(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    url
}

fn without_fragment(url: &Url) -> String {
    without_fragment_url(url).into()
}

fn is_same(one: &Url, other: &Url) -> bool {
    urls::key(one) == urls::key(other)
}

/// The names of a page, in order, if they are all known and not too many.
fn names(fragments: &Fragments) -> Option<Vec<String>> {
    let bytes: usize = fragments.names().map(|name| name.len() + 2).sum();
    (!fragments.is_cut() && bytes <= NAME_BYTES)
        .then(|| fragments.names().map(str::to_owned).collect())
}

/// The links of a document, as far as a result carries them.
#[derive(Default)]
struct Harvest {
    links: Vec<Found>,
    bytes: usize,
    left_out: u32,
}

impl Harvest {
    fn next_ordinal(&self) -> u32 {
        self.links.last().map_or(0, |link| link.ordinal + 1)
    }

    /// Adds a link.
    fn add(&mut self, link: &Link) {
        let target = match &link.target {
            Ok(Target::Web(web)) => FoundTarget::Web {
                url: web.url.as_str().to_owned(),
                fragment: web.fragment.clone(),
            },
            Ok(Target::Other(scheme)) => FoundTarget::Other(*scheme),
            Err(problem) => FoundTarget::Invalid(format!("invalid_url: {problem}")),
        };
        let found = Found {
            ordinal: self.next_ordinal().max(link.ordinal),
            line: link.line,
            column: link.column,
            kind: link.kind,
            element: link.element.clone().into_owned(),
            text: link.text.clone(),
            raw: link.raw.clone(),
            target,
        };
        let size = found.element.len() + found.text.len() + found.raw.len() * 2 + 32;
        if self.bytes + size > LINK_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += size;
        self.links.push(found);
    }

    fn add_sitemap(&mut self, text: &str, document: &Url) {
        let limits = Limits::default();
        let target = match urls::resolve(text, document, limits.url_bytes) {
            Ok(Target::Web(web)) => FoundTarget::Web {
                url: web.url.as_str().to_owned(),
                fragment: None,
            },
            Ok(Target::Other(scheme)) => FoundTarget::Other(scheme),
            Err(problem) => FoundTarget::Invalid(format!("invalid_url: {problem}")),
        };
        self.links.push(Found {
            ordinal: self.next_ordinal(),
            line: 0,
            column: 0,
            kind: LinkKind::Sitemap,
            element: "robots.txt".into(),
            text: String::new(),
            raw: text.to_owned(),
            target,
        });
    }
}
