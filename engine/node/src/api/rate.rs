//! How often clients may ask: a token bucket for each.
//!
//! A bucket is one moment, the time at which it will be full again (the *theoretical arrival time* of the generic cell
//! rate algorithm, ITU-T I.371): tokens drip in by themselves, and a bucket that is full need not be kept.

use super::{Problem, ProblemKind};
use crate::{
    auth::{Actor, KeyId},
    config::LimitsSection,
};
use holdfast_host::{Host, Moment};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::Duration,
};

/// Most clients whose buckets are kept. Who comes when there are more shares one bucket with others who do.
const CLIENTS: usize = 16 << 10;
/// The policy's name in headers.
const POLICY: &str = "requests";
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Whose bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Client {
    Key(KeyId),
    Address(IpAddr),
    /// Everybody for whom there is no room.
    Others,
}

/// Counts requests, and refuses those that come too fast.
pub(super) struct RateLimiter {
    host: Host,
    /// Nanoseconds in which a token drips in.
    token: u64,
    /// Tokens in a full bucket.
    burst: u64,
    buckets: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    /// When each is full again.
    full_at: BTreeMap<Client, Moment>,
    /// Not before then are those that are full looked for again.
    sweep_at: Moment,
}

/// How a client stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Requests that are left now.
    remaining: u64,
    /// Until there are as many as there can be.
    full_in: Duration,
    /// Until there is one, when this one was refused.
    retry_in: Option<Duration>,
}

impl RateLimiter {
    /// `None` when nothing is limited.
    pub fn new(host: &Host, limits: &LimitsSection) -> Option<RateLimiter> {
        let rate = limits.requests_per_second;
        (rate > 0).then(|| RateLimiter {
            host: host.clone(),
            token: 1_000_000_000 / rate,
            burst: limits.burst.unwrap_or(rate).max(1),
            buckets: Mutex::default(),
        })
    }

    /// Takes a token of who asks: of the key's bucket, or of the address's where there is no key.
    pub fn take(&self, actor: Actor, address: IpAddr) -> Standing {
        let client = match actor {
            Actor::Key(id) => Client::Key(id),
            Actor::Anonymous => Client::Address(network(address)),
        };
        let now = self.host.now();
        let mut buckets = self.buckets.lock().expect("no panic under this lock");
        let client = buckets.admit(client, now, self.capacity());
        let full_at = buckets
            .full_at
            .get(&client)
            .copied()
            .unwrap_or(now)
            .max(now);
        let wanted = full_at.saturating_add(Duration::from_nanos(self.token));
        let over = wanted.since(now).saturating_sub(self.capacity());
        let (full_at, retry_in) = match over.is_zero() {
            true => (wanted, None),
            false => (full_at, Some(over)),
        };
        buckets.full_at.insert(client, full_at);
        let full_in = full_at.since(now);
        let left = self.capacity().saturating_sub(full_in).as_nanos() as u64;
        Standing {
            remaining: left / self.token,
            full_in,
            retry_in,
        }
    }

    /// How long an empty bucket takes to be full.
    fn capacity(&self) -> Duration {
        Duration::from_nanos(self.token.saturating_mul(self.burst))
    }

    /// Tells how a client stands (draft-ietf-httpapi-ratelimit-headers-10).
    pub fn write_headers(&self, standing: Standing, headers: &mut HeaderMap) {
        let window = seconds(self.capacity());
        let policy = format!("\"{POLICY}\";q={};w={window}", self.burst);
        let state = format!(
            "\"{POLICY}\";r={};t={}",
            standing.remaining,
            seconds(standing.full_in)
        );
        for (name, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
            headers.insert(name, HeaderValue::from_str(&text).expect("it is ASCII"));
        }
    }
}

impl Standing {
    /// Refuses (429) who had no token left.
    pub fn check(&self) -> Result<(), Problem> {
        let Some(retry_in) = self.retry_in else {
            return Ok(());
        };
        let seconds = seconds(retry_in);
        let detail = format!("there have been too many requests; ask again in {seconds} s");
        Err(Problem::new(ProblemKind::RateLimited, detail)
            .with("retry_after_ms", retry_in.as_millis() as u64)
            .with_header(header::RETRY_AFTER, seconds.into()))
    }
}

impl Buckets {
    /// Whose bucket `client` takes from: its own when there is room for one.
    fn admit(&mut self, client: Client, now: Moment, capacity: Duration) -> Client {
        if self.full_at.len() < CLIENTS || self.full_at.contains_key(&client) {
            return client;
        }
        if now >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            // A flood of clients must not make each request look at every bucket.
            self.sweep_at = now.saturating_add(capacity.clamp(MIN_SWEEP, MAX_SWEEP));
        }
        match self.full_at.len() < CLIENTS {
            true => client,
            false => Client::Others,
        }
    }
}

/// Shortest time between two looks at all buckets.
const MIN_SWEEP: Duration = Duration::from_millis(100);
/// Longest.
const MAX_SWEEP: Duration = Duration::from_secs(10);

/// To whom an address belongs: of IPv6 a client has a whole network of 64 bits, and can ask from any address in it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_host::{Clock, Sleep, UnixTime, tokio_host};
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    /// A clock that moves when it is told to.
    #[derive(Default)]
    struct ByHand(AtomicU64);

    impl Clock for ByHand {
        fn now(&self) -> Moment {
            Moment::from_nanos(self.0.load(Ordering::Relaxed))
        }
        fn unix_time(&self) -> UnixTime {
            UnixTime::from_nanos(0)
        }
        fn sleep_until(&self, _: Moment) -> Sleep {
            unreachable!("nothing sleeps here")
        }
    }

    fn check(rate: u64, burst: u64, test: impl FnOnce(&RateLimiter, &ByHand)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut host = tokio_host::host(".".into(), runtime.handle().clone());
        let clock = Arc::new(ByHand::default());
        host.clock = clock.clone();
        let limits = LimitsSection {
            requests_per_second: rate,
            burst: Some(burst),
            ..LimitsSection::default()
        };
        test(
            &RateLimiter::new(&host, &limits).expect("it limits"),
            &clock,
        );
    }

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(number).into()
    }

    #[test]
    fn a_bucket_gives_what_it_holds_and_what_drips_in() {
        check(10, 3, |limiter, clock| {
            let take = || limiter.take(Actor::Anonymous, address(1));
            for left in [2, 1, 0] {
                let standing = take();
                assert_eq!((standing.remaining, standing.check()), (left, Ok(())));
            }
            let refused = take();
            assert_eq!(refused.retry_in, Some(Duration::from_millis(100)));
            let problem = refused.check().expect_err("refused");
            assert_eq!(problem.extra["retry_after_ms"], 100);
            assert!(
                limiter.take(Actor::Anonymous, address(2)).check().is_ok(),
                "another's is full"
            );
            clock.0.fetch_add(99_999_999, Ordering::Relaxed);
            assert_eq!(
                take().retry_in,
                Some(Duration::from_nanos(1)),
                "a refusal costs nothing"
            );
            clock.0.fetch_add(1, Ordering::Relaxed);
            assert_eq!(take().retry_in, None);
            // However long nobody asks, there is no more in it than it holds.
            clock.0.fetch_add(3_600_000_000_000, Ordering::Relaxed);
            assert_eq!((0..9).filter(|_| take().retry_in.is_none()).count(), 3);
        });
    }

    #[test]
    fn headers_say_how_a_client_stands() {
        check(2, 5, |limiter, _| {
            let mut headers = HeaderMap::new();
            let standing = limiter.take(Actor::Anonymous, address(1));
            limiter.write_headers(standing, &mut headers);
            assert_eq!(headers["ratelimit-policy"], "\"requests\";q=5;w=3");
            assert_eq!(headers["ratelimit"], "\"requests\";r=4;t=1");
        });
    }

    #[test]
    fn a_flood_of_clients_shares_one_bucket() {
        check(1, 2, |limiter, clock| {
            let take = |number: usize| {
                limiter
                    .take(Actor::Anonymous, address(number as u32))
                    .retry_in
            };
            assert!((0..CLIENTS).all(|number| take(number).is_none()));
            let strangers = (CLIENTS..CLIENTS + 100).filter(|number| take(*number).is_none());
            assert_eq!(strangers.count(), 2);
            assert_eq!(
                take(0),
                None,
                "who was there before has a bucket of their own"
            );
            let kept = || limiter.buckets.lock().expect("unpoisoned").full_at.len();
            assert_eq!(kept(), CLIENTS + 1);
            clock.0.fetch_add(11_000_000_000, Ordering::Relaxed);
            assert_eq!(take(CLIENTS), None);
            assert_eq!(kept(), 1, "those that were full are forgotten");
        });
    }

    #[test]
    fn an_address_stands_for_its_network() {
        let of = |text: &str| network(text.parse().expect("an address")).to_string();
        assert_eq!(of("10.1.2.3"), "10.1.2.3");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
