use crate::{command::MAX_URL_BYTES, mutant::Mutant};
use holdfast_host::{BoxFuture, Host, Moment};
use holdfast_http::{
    BodyPolicy, Client, CookieJar, FetchError, Gate, Hop, Origin, Refusal, Request,
};
use holdfast_web::{Robots, robots::ProductToken, urls};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::OnceCell;
use url::Url;

/// How long a robots.txt is believed (RFC 9309, section 2.4).
const BELIEVED: Duration = Duration::from_secs(24 * 3600);
/// How long a failure to get one is: as long as those who ask together take to notice.
const FAILURE_BELIEVED: Duration = Duration::from_millis(300);
/// Hosts whose robots.txt are remembered.
const MAX_ORIGINS: usize = 10_000;
/// Bytes of one that are read (RFC 9309, section 2.5 asks for 500 KiB at least).
const MAX_BYTES: u64 = 512 << 10;

/// The `name` of the refusal when robots.txt forbids a page.
pub(crate) const FORBIDDEN: &str = "robots";
/// The `name` of the refusal when robots.txt is there and cannot be had: nothing may be fetched.
pub(crate) const UNAVAILABLE: &str = "robots_unavailable";
/// The `name` of the refusal when the host cannot be reached.
pub(crate) const UNREACHABLE: &str = "robots_unreachable";

/// What was learned of one host.
#[derive(Clone, Debug)]
pub(crate) enum Rules {
    /// Its rules.
    Known(Robots),
    /// Its server answered with an error: all is forbidden (section 2.3.1.4).
    Unavailable(u16),
    /// It did not answer.
    Failed(FetchError),
}

struct Entry {
    asked: Moment,
    rules: OnceCell<Rules>,
}

impl Entry {
    fn is_stale(&self, now: Moment) -> bool {
        let age = now.since(self.asked);
        match self.rules.get() {
            None => false,
            Some(Rules::Known(_)) => age > BELIEVED,
            Some(_) => age > FAILURE_BELIEVED,
        }
    }
}

/// The robots.txt of the hosts that were met, each fetched once.
pub(crate) struct RobotsCache {
    host: Host,
    client: Client,
    crawler: ProductToken,
    known: Mutex<BTreeMap<Origin, Arc<Entry>>>,
    takeovers: AtomicU32,
    mutant: Option<Mutant>,
}

impl RobotsCache {
    pub fn new(client: &Client, crawler: ProductToken, mutant: Option<Mutant>) -> Self {
        RobotsCache {
            host: client.host().clone(),
            client: client.clone(),
            crawler,
            known: Mutex::default(),
            takeovers: AtomicU32::new(0),
            mutant,
        }
    }

    /// The rules of the host of `url`. Sets the client's gap for it to what they ask; `gap` is kept when they must be
    /// fetched.
    pub async fn rules(&self, url: &Url, gap: Duration) -> Result<Rules, FetchError> {
        let origin = Origin::of(url)?;
        let entry = match Mutant::RobotsShared.is_in(self.mutant) {
            true => self.entry(&Origin::of(
                &Url::parse("http://all.example/").expect("a URL"),
            )?),
            false => self.entry(&origin),
        };
        let rules = entry
            .rules
            .get_or_init(|| self.fetch(url, &origin, gap))
            .await;
        Ok(rules.clone())
    }

    /// Forgets everything: what is asked next is asked anew.
    pub fn forget(&self) {
        self.takeovers.fetch_add(1, Ordering::Relaxed);
        self.known.lock().expect("nobody panics with it").clear();
    }

    fn entry(&self, origin: &Origin) -> Arc<Entry> {
        let now = self.host.now();
        let mut known = self.known.lock().expect("nobody panics with it");
        if let Some(entry) = known.get(origin)
            && !entry.is_stale(now)
        {
            return entry.clone();
        }
        if known.len() >= MAX_ORIGINS {
            let oldest = known.iter().min_by_key(|(_, entry)| entry.asked);
            if let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) {
                known.remove(&oldest);
            }
        }
        let entry = Arc::new(Entry {
            asked: now,
            rules: OnceCell::new(),
        });
        known.insert(origin.clone(), entry.clone());
        entry
    }

    async fn fetch(&self, url: &Url, origin: &Origin, gap: Duration) -> Rules {
        let first = match Mutant::GapOfTheFirst.is_in(self.mutant) {
            true => gap,
            false => Duration::ZERO,
        };
        let _ = self.client.set_gap(origin, first);
        let mut robots = url.clone();
        robots.set_path("/robots.txt");
        robots.set_query(None);
        robots.set_fragment(None);
        let request = Request::get(robots);
        let fetched = self
            .client
            .fetch(&request, &Spaced(gap), &|_| BodyPolicy::Prefix {
                max: MAX_BYTES,
            })
            .await;
        let rules = match fetched.outcome {
            Ok(response) => {
                let status = response.head.status.as_u16();
                match status {
                    429 | 500.. => Rules::Unavailable(status),
                    _ => Rules::Known(Robots::for_status(
                        Some(status),
                        &response.body,
                        &self.crawler,
                    )),
                }
            }
            // The host is there: what it says is nothing that forbids.
            Err(
                FetchError::TooManyRedirects { .. }
                | FetchError::RedirectLoop { .. }
                | FetchError::BadRedirect { .. }
                | FetchError::RedirectScheme { .. },
            ) => Rules::Known(Robots::allow_all()),
            Err(error) => Rules::Failed(error),
        };
        let is_forgotten =
            Mutant::DelayForgotten.is_in(self.mutant) && self.takeovers.load(Ordering::Relaxed) > 1;
        if let Rules::Known(robots) = &rules
            && !is_forgotten
            && let Some(delay) = robots.crawl_delay()
        {
            let delay = Duration::from_secs_f64(delay.clamp(0.0, 3600.0));
            let _ = self.client.set_gap(origin, delay.max(first));
        }
        rules
    }
}

/// Lets everything pass, with so much time in between.
struct Spaced(Duration);

impl Gate for Spaced {
    fn admit<'a>(&'a self, _hop: &'a Url) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn gap(&self) -> Duration {
        self.0
    }
}

/// Lets pass what robots.txt allows, as slowly as it and the job ask for.
pub(crate) struct RobotsGate<'a> {
    pub robots: &'a RobotsCache,
    pub gap: Duration,
    /// Why the last hop's host could not be reached, if it could not.
    pub failure: Mutex<Option<FetchError>>,
    /// Redirects are left to whom they lead to, where that is a target of its own.
    pub hands_over: bool,
    /// Where one led that was not followed.
    pub onward: Mutex<Option<Url>>,
}

impl Gate for RobotsGate<'_> {
    fn gap(&self) -> Duration {
        match Mutant::GapOfTheFirst.is_in(self.robots.mutant) {
            true => Duration::ZERO,
            false => self.gap,
        }
    }

    fn admit<'a>(&'a self, hop: &'a Url) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            if hop.as_str().len() > MAX_URL_BYTES {
                return Err(Refusal {
                    name: FORBIDDEN,
                    detail: "the URL is too long".into(),
                });
            }
            match self.robots.rules(hop, self.gap).await {
                Ok(Rules::Known(robots)) if robots.allows(urls::path_and_query(hop)) => Ok(()),
                Ok(Rules::Known(_)) => Err(Refusal {
                    name: FORBIDDEN,
                    detail: "robots.txt forbids it".into(),
                }),
                Ok(Rules::Unavailable(status)) => Err(Refusal {
                    name: UNAVAILABLE,
                    detail: format!(
                        "robots.txt was answered with {status}, so nothing may be fetched"
                    ),
                }),
                Ok(Rules::Failed(error)) | Err(error) => {
                    let refusal = Refusal {
                        name: UNREACHABLE,
                        detail: error.to_string(),
                    };
                    *self.failure.lock().expect("nobody panics with it") = Some(error);
                    Err(refusal)
                }
            }
        })
    }

    /// With a cookie the answer may be another than the target's own; under the same key it is the target itself.
    fn follows(&self, hop: &Hop, cookies: &CookieJar) -> bool {
        let Some(target) = &hop.target else {
            return true;
        };
        let is_other = urls::key(target) != urls::key(&hop.url);
        let is_fit = target.as_str().len() <= MAX_URL_BYTES;
        if !self.hands_over || !cookies.cookies().is_empty() || !is_other || !is_fit {
            return true;
        }
        *self.onward.lock().expect("nobody panics with it") = Some(target.clone());
        false
    }
}
