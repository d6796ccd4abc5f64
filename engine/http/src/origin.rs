//! Origins, and the politeness that each is owed.

use crate::{FetchError, Stage, mutant::Mutant};
use holdfast_host::{Host, Moment, UnixTime};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use url::Url;

/// How requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As a URL says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// Scheme, host and port: what connections and politeness go by (RFC 6454, section 4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    host: Arc<str>,
    port: u16,
    scheme: Scheme,
}

impl Origin {
    /// The origin of an http or https URL.
    ///
    /// # Errors
    /// [`FetchError::UnsupportedScheme`] for any other URL.
    pub fn of(url: &Url) -> Result<Origin, FetchError> {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => {
                return Err(FetchError::UnsupportedScheme {
                    scheme: other.to_owned(),
                });
            }
        };
        let host = url.host_str().ok_or_else(|| FetchError::InvalidUrl {
            detail: "it names no host".to_owned(),
        })?;
        Ok(Origin {
            host: host.into(),
            port: url.port().unwrap_or(scheme.default_port()),
            scheme,
        })
    }

    /// How its requests travel.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host as the URL standard writes it: lower case, IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host as resolvers and TLS want it: IPv6 without brackets.
    pub(crate) fn bare_host(&self) -> &str {
        self.host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    /// The `Host` header and HTTP/2's `:authority`: the port only where it is not the scheme's own.
    pub(crate) fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// Whether connections of an origin are shared between requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Not known yet: the first request finds out while the others wait for it.
    Unknown,
    /// HTTP/2: one connection serves all.
    Shared,
    /// HTTP/1, or no connection at the last try: nobody waits for another's.
    Single,
}

/// What is remembered of one origin.
pub(crate) struct OriginState {
    mutant: Option<Mutant>,
    pace: Mutex<Pace>,
    /// One permit a request under way, and those next in turn.
    slots: Arc<Semaphore>,
    /// Held by the request that waits for the gap to pass, and until it is sent where there is a gap: the queue behind
    /// it is first come, first served.
    first: Arc<tokio::sync::Mutex<()>>,
    /// The pace was changed.
    changed: Notify,
    waiting: AtomicUsize,
    /// Held while an HTTP/2 connection is made.
    pub connecting: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Pace {
    gap: Duration,
    has_own_gap: bool,
    /// The longest gap that a request has asked for.
    asked: Duration,
    last_start: Option<Moment>,
    /// The same by the wall clock; kept only for a planted bug.
    last_wall_start: Option<UnixTime>,
    blocked_until: Moment,
    sharing: Sharing,
}

impl Pace {
    /// When the next request may start, if it asks for a gap of its own.
    fn due(&self, own: Duration) -> Moment {
        let gap = self.gap.max(own);
        let after_gap = self
            .last_start
            .map_or(Moment::ORIGIN, |start| start.saturating_add(gap));
        after_gap.max(self.blocked_until)
    }
}

/// How often the planted bug looks at the wall clock.
const LOOK_AT_WALL: Duration = Duration::from_millis(20);

impl Pace {
    /// A planted bug: how long to wait if the wall clock were to be trusted.
    fn wait_by_wall_clock(&mut self, host: &Host, own: Duration) -> Duration {
        let now = host.unix_time();
        let due = self.last_wall_start.map_or(0, |start| {
            let gap = self.gap.max(own);
            start.as_nanos().saturating_add(gap.as_nanos() as u64)
        });
        let wait = Duration::from_nanos(due.saturating_sub(now.as_nanos()));
        // Looked at again and again, as who trusts that clock has to.
        let wait = wait.min(LOOK_AT_WALL);
        let wait = wait.max(self.blocked_until.since(host.now()));
        if wait.is_zero() {
            self.last_wall_start = Some(now);
        }
        wait
    }
}

/// A request's right to run: one of its origin's slots, given back when dropped.
pub(crate) struct Turn {
    origin: Arc<OriginState>,
    _slot: OwnedSemaphorePermit,
    /// Nobody else's gap begins before this request is sent: what a connection takes to be made does not bring two
    /// requests closer together.
    first: Option<OwnedMutexGuard<()>>,
}

impl Turn {
    /// Says that the request is sent now: the gap begins.
    pub fn start(&mut self, now: Moment) {
        self.origin.pace().last_start = Some(now);
        self.first = None;
    }
}

/// Counts one that waits for as long as it waits, however that ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OriginState {
    fn new(gap: Duration, max_concurrent: usize, mutant: Option<Mutant>) -> Self {
        OriginState {
            mutant,
            pace: Mutex::new(Pace {
                gap,
                has_own_gap: false,
                asked: Duration::ZERO,
                last_start: None,
                last_wall_start: None,
                blocked_until: Moment::ORIGIN,
                sharing: Sharing::Unknown,
            }),
            slots: Arc::new(Semaphore::new(max_concurrent)),
            first: Arc::default(),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn sharing(&self) -> Sharing {
        self.pace().sharing
    }

    pub fn set_sharing(&self, sharing: Sharing) {
        self.pace().sharing = sharing;
    }

    /// Waits for a slot, then for the gap, the origin's or the request's own, whichever is longer; first come, first
    /// served. A waiter that is dropped leaves the queue, and
    /// whoever is behind it moves up.
    pub async fn turn(
        self: &Arc<Self>,
        host: &Host,
        gap: Duration,
        patience: Duration,
        max_waiting: usize,
    ) -> Result<Turn, FetchError> {
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= max_waiting {
            return Err(FetchError::Busy {
                detail: "requests for this origin",
            });
        }
        let turn = host
            .timeout(patience, self.take_turn(host, gap))
            .await
            .map_err(|_| FetchError::Timeout {
                stage: Stage::Queue,
                after: patience,
            });
        drop(waiting);
        turn
    }

    async fn take_turn(self: &Arc<Self>, host: &Host, gap: Duration) -> Turn {
        let slot = self.slots.clone().acquire_owned().await;
        let slot = slot.expect("the semaphore is never closed");
        let first = self.first.clone().lock_owned().await;
        loop {
            let wait = {
                let mut pace = self.pace();
                let now = host.now();
                let wait = match Mutant::GapByWallClock.is_in(self.mutant) {
                    true => pace.wait_by_wall_clock(host, gap),
                    false => pace.due(gap).since(now),
                };
                if wait.is_zero() {
                    pace.last_start = Some(now);
                    pace.asked = pace.asked.max(gap);
                    return Turn {
                        origin: self.clone(),
                        _slot: slot,
                        first: (!pace.gap.max(gap).is_zero()).then_some(first),
                    };
                }
                wait
            };
            // Either way the due time is read again: it may have moved.
            let _ = host.timeout(wait, self.changed.notified()).await;
        }
    }
}

/// The origins that are remembered, bounded.
pub(crate) struct Origins {
    map: Mutex<BTreeMap<Origin, Arc<OriginState>>>,
    max_origins: usize,
    max_concurrent: usize,
    default_gap: Duration,
    mutant: Option<Mutant>,
}

impl Origins {
    pub fn new(
        max_origins: usize,
        max_concurrent: usize,
        default_gap: Duration,
        mutant: Option<Mutant>,
    ) -> Self {
        Origins {
            map: Mutex::default(),
            max_origins,
            max_concurrent,
            default_gap,
            mutant,
        }
    }

    /// The state of `origin`, made when there is none.
    pub fn get(&self, origin: &Origin, now: Moment) -> Result<Arc<OriginState>, FetchError> {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = map.get(origin) {
            return Ok(state.clone());
        }
        if map.len() >= self.max_origins {
            evict(&mut map, now);
            if map.len() >= self.max_origins {
                return Err(FetchError::Busy {
                    detail: "origins that are owed politeness",
                });
            }
        }
        let state = Arc::new(OriginState::new(
            self.default_gap,
            self.max_concurrent,
            self.mutant,
        ));
        map.insert(origin.clone(), state.clone());
        Ok(state)
    }

    pub fn set_gap(&self, origin: &Origin, gap: Duration, now: Moment) -> Result<(), FetchError> {
        let state = self.get(origin, now)?;
        {
            let mut pace = state.pace();
            pace.gap = gap;
            pace.has_own_gap = true;
        }
        state.changed.notify_one();
        Ok(())
    }

    pub fn block_until(
        &self,
        origin: &Origin,
        until: Moment,
        now: Moment,
    ) -> Result<(), FetchError> {
        let state = self.get(origin, now)?;
        let mut pace = state.pace();
        pace.blocked_until = pace.blocked_until.max(until);
        drop(pace);
        state.changed.notify_one();
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.map
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// Forgets origins that nobody uses and that are owed nothing any more: those with the default gap first, so that a
/// gap that was set is remembered as long as there is room.
fn evict(map: &mut BTreeMap<Origin, Arc<OriginState>>, now: Moment) {
    for may_have_own_gap in [false, true] {
        let before = map.len();
        map.retain(|_, state| {
            let pace = *state.pace();
            let is_idle = Arc::strong_count(state) == 1 && pace.due(pace.asked) <= now;
            !is_idle || (pace.has_own_gap && !may_have_own_gap)
        });
        if map.len() < before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&Url::parse(text).expect("a URL")).expect("a web URL")
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("http://a.test:80/x"), origin("http://A.TEST/y?z#f"));
        assert_ne!(origin("http://a.test/"), origin("https://a.test/"));
        assert_ne!(origin("http://a.test/"), origin("http://a.test:81/"));
        let six = origin("https://[2001:db8::1]:8443/");
        assert_eq!(six.bare_host(), "2001:db8::1");
        assert_eq!(six.to_string(), "https://[2001:db8::1]:8443");
        let mail = Origin::of(&Url::parse("mailto:a@b").expect("a URL"));
        assert_eq!(
            mail.expect_err("no origin of the web").name(),
            "unsupported-scheme"
        );
    }

    #[test]
    fn only_idle_origins_are_forgotten_and_own_gaps_last() {
        let second = Duration::from_secs(1);
        let origins = Origins::new(3, 1, second, None);
        let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
        let held = origins
            .get(&origin("http://held.test"), at(0))
            .expect("room");
        origins
            .set_gap(&origin("http://slow.test"), 5 * second, at(0))
            .expect("room");
        origins
            .block_until(&origin("http://blocked.test"), at(9), at(0))
            .expect("room");
        // One is in use, one is blocked: the one with its own gap goes, as there is no other.
        origins
            .get(&origin("http://four.test"), at(1))
            .expect("room is made");
        assert_eq!(origins.len(), 3);
        // `four` is idle and has the default gap.
        origins
            .set_gap(&origin("http://five.test"), second, at(1))
            .expect("room is made");
        let six = origins
            .get(&origin("http://six.test"), at(1))
            .expect("room is made");
        let full = origins.get(&origin("http://seven.test"), at(1)).map(drop);
        assert_eq!(full.expect_err("nothing is idle").name(), "busy");
        origins
            .get(&origin("http://seven.test"), at(9))
            .expect("the block is over");
        drop((held, six));
    }
}
