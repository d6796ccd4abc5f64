//! How much a node lets others ask, and how much it sends.
//!
//! All rates are kept as *virtual scheduling* (the generic cell rate algorithm, ITU-T I.371): of a bucket only the time
//! is stored at which it is full again, and nothing has to be done while nothing happens.

use crate::Nanos;
use crate::expiry::SECOND;
use crate::source::Source;
use std::net::IpAddr;

/// What a [`Limiter`] allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Queries a second that a source may send for ever. A source is an IPv4 address, or the network of an IPv6
    /// address (64 bits).
    pub queries_per_second: u32,
    /// Queries that a source may send at once after a silence.
    pub query_burst: u32,
    /// For how long a source is not listened to that sends more, in nanoseconds. More queries do not make it longer.
    pub block: Nanos,
    /// How many sources are remembered. None is forgotten that has sent lately or is blocked; newcomers that find no
    /// place share `others_per_second`.
    pub sources: usize,
    /// Queries a second, and as many at once, of all sources together that are not remembered.
    pub others_per_second: u32,
    /// Bytes a second that are sent in answer to queries, headers of lower layers aside.
    pub bytes_per_second: u32,
    /// Bytes that may be sent at once after a silence.
    pub byte_burst: u32,
}

impl RateLimits {
    /// Everything is allowed. For a network of nodes at one address.
    pub const NONE: RateLimits = RateLimits {
        queries_per_second: u32::MAX,
        query_burst: u32::MAX,
        block: 0,
        sources: 0,
        others_per_second: u32::MAX,
        bytes_per_second: u32::MAX,
        byte_burst: u32::MAX,
    };
}

impl Default for RateLimits {
    /// Five queries a second over ten seconds, else five minutes of silence, as libtorrent has it; four thousand
    /// sources, in 100 kB of memory at most; eight megabits a second.
    fn default() -> RateLimits {
        RateLimits {
            queries_per_second: 5,
            query_burst: 50,
            block: 300 * SECOND,
            sources: 4_096,
            others_per_second: 1_000,
            bytes_per_second: 1_000_000,
            byte_burst: 1_000_000,
        }
    }
}

/// How many sources are remembered before it is looked whether some can be forgotten.
const SWEEP_FLOOR: u32 = 16;
/// Sources for which room is made at a time.
const GROWS_BY: usize = 8;
/// How often a full memory is looked through, in nanoseconds.
const SWEEP_INTERVAL: Nanos = SECOND / 10;

/// Keeps the rates of queries that come in, by source, and of the bytes of answers.
///
/// It is asked about queries only: replies are those that the node asked for. On UDP a source can be forged, so
/// somebody may get another one blocked; it takes him a whole burst for each node at which he does it.
///
/// A source whose bucket is full again is like one that was never seen, and is forgotten. So those of the last seconds
/// are remembered, and those that are blocked.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    /// Sorted, sixteen bytes each. Some dozens in a node that is not attacked; in one that is, a newcomer moves 64 kB at
    /// most.
    sources: Vec<(Source, Seen)>,
    /// How many sources there may be before the next sweep; 0 is [`SWEEP_FLOOR`].
    sweep_above: u32,
    /// When a full memory may be looked through again.
    sweep_at: Nanos,
    others: Bucket,
    sent: Bucket,
}

/// What is remembered of a source, in one word: the time of its bucket, or until when it is not listened to, which has
/// the highest bit set.
#[derive(Clone, Copy, Debug)]
struct Seen(u64);

/// A token bucket: the time at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(Nanos);

impl Bucket {
    /// Takes `count` of something of which there are `rate` a second and at most `burst`, if there is enough. From a
    /// full bucket anything can be taken once, or what is larger than the bucket could never be sent.
    fn take(&mut self, now: Nanos, count: u32, rate: u32, burst: u32) -> bool {
        let span = |count: u32| u64::from(count) * SECOND / u64::from(rate.max(1));
        let missing = self.0.saturating_sub(now);
        let needed = missing.saturating_add(span(count));
        if missing > 0 && needed > span(burst) {
            return false;
        }
        self.0 = now.saturating_add(needed);
        true
    }
}

impl Seen {
    /// No clock of nanoseconds gets there.
    const BLOCKED: u64 = 1 << 63;

    /// What it has sent is paid for.
    fn admitted(bucket: Bucket) -> Seen {
        Seen(bucket.0.min(Seen::BLOCKED - 1))
    }

    /// It is not listened to until then.
    fn blocked(until: Nanos) -> Seen {
        Seen(until | Seen::BLOCKED)
    }

    /// Its bucket; `None` while it is not listened to.
    fn bucket(self, now: Nanos) -> Option<Bucket> {
        let until = self.0 & !Seen::BLOCKED;
        match self.0 & Seen::BLOCKED {
            0 => Some(Bucket(until)),
            _ => (now >= until).then_some(Bucket::default()),
        }
    }

    /// Whether it says no more than that there was nothing.
    fn is_over(self, now: Nanos) -> bool {
        self.0 & !Seen::BLOCKED <= now
    }
}

impl Limiter {
    /// Whether a query from `ip` is to be answered. One that is not is to be dropped without an answer.
    pub fn admit(&mut self, now: Nanos, ip: IpAddr, limits: &RateLimits) -> bool {
        let (rate, burst) = (limits.queries_per_second, limits.query_burst);
        let source = Source::of(ip);
        let found =
            |sources: &[(Source, Seen)]| sources.binary_search_by_key(&source, |seen| seen.0);
        if let Ok(place) = found(&self.sources) {
            let seen = &mut self.sources[place].1;
            let Some(mut bucket) = seen.bucket(now) else {
                return false;
            };
            let is_admitted = bucket.take(now, 1, rate, burst);
            *seen = match is_admitted {
                true => Seen::admitted(bucket),
                false => Seen::blocked(now.saturating_add(limits.block)),
            };
            return is_admitted;
        }
        if !self.has_place(now, limits.sources) {
            let rate = limits.others_per_second;
            return self.others.take(now, 1, rate, rate);
        }
        let mut bucket = Bucket::default();
        let is_admitted = bucket.take(now, 1, rate, burst);
        debug_assert!(is_admitted, "the bucket was full");
        if self.sources.len() == self.sources.capacity() {
            // Little by little while they are few, as they are in most nodes.
            let more = (self.sources.len() / 2).max(GROWS_BY);
            self.sources.reserve_exact(more);
        }
        let place = found(&self.sources).unwrap_or_else(|place| place);
        self.sources.insert(place, (source, Seen::admitted(bucket)));
        is_admitted
    }

    /// Whether an answer of `bytes` may be sent now. One that may not is to be dropped: an answer that is late is worth
    /// nothing.
    pub fn admit_answer(&mut self, now: Nanos, bytes: usize, limits: &RateLimits) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let (rate, burst) = (limits.bytes_per_second, limits.byte_burst);
        self.sent.take(now, bytes, rate, burst)
    }

    /// How many sources are remembered.
    pub fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.sources.capacity() * size_of::<(Source, Seen)>()
    }

    /// Whether another source can be remembered, after those were forgotten that can be. A sweep is paid for by as many
    /// newcomers as it leaves sources, or by time.
    fn has_place(&mut self, now: Nanos, limit: usize) -> bool {
        let is_full = self.sources.len() >= limit;
        let is_due = match is_full {
            true => now >= self.sweep_at,
            false => self.sources.len() >= self.sweep_above.max(SWEEP_FLOOR) as usize,
        };
        if is_due {
            self.sources.retain(|(_, seen)| !seen.is_over(now));
            if self.sources.len() < self.sources.capacity() / 4 {
                self.sources.shrink_to(2 * self.sources.len());
            }
            self.sweep_above = 2 * self.sources.len() as u32;
            self.sweep_at = now.saturating_add(SWEEP_INTERVAL);
        }
        self.sources.len() < limit
    }
}
