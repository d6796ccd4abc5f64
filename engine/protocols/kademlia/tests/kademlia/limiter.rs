//! Rates, rule by rule.

use holdfast_kademlia::Nanos;
use holdfast_kademlia::limiter::{Limiter, RateLimits};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SECOND: Nanos = 1_000_000_000;

fn ip(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0xcb00_7100 + n))
}

fn limits() -> RateLimits {
    RateLimits::default()
}

#[test]
fn a_burst_is_admitted_and_then_the_source_is_blocked() {
    let (mut limiter, limits) = (Limiter::default(), limits());
    let admitted = |limiter: &mut Limiter, now| limiter.admit(now, ip(1), &limits);
    for query in 0..limits.query_burst {
        assert!(admitted(&mut limiter, 7), "query {query}");
    }
    assert!(!admitted(&mut limiter, 7));
    // It is not listened to, and does not make it worse by more of it.
    for second in 0..300 {
        assert!(!admitted(&mut limiter, 7 + second * SECOND));
    }
    assert!(!admitted(&mut limiter, 6 + limits.block));
    // Others are.
    assert!(limiter.admit(7, ip(2), &limits));
    // Then all is forgiven.
    for query in 0..limits.query_burst {
        assert!(admitted(&mut limiter, 7 + limits.block), "query {query}");
    }
    assert!(!admitted(&mut limiter, 7 + limits.block));
}

#[test]
fn the_rate_is_admitted_for_ever() {
    let (mut limiter, limits) = (Limiter::default(), limits());
    let gap = SECOND / u64::from(limits.queries_per_second);
    for query in 0..100_000 {
        assert!(limiter.admit(query * gap, ip(1), &limits), "query {query}");
    }
}

#[test]
fn more_than_the_rate_is_blocked_at_last() {
    let (mut limiter, limits) = (Limiter::default(), limits());
    // A quarter more: after four bursts' worth the bucket is empty.
    let gap = SECOND * 4 / 5 / u64::from(limits.queries_per_second);
    let blocked = (0..10_000).find(|query| !limiter.admit(query * gap, ip(1), &limits));
    assert!(matches!(blocked, Some(200..=260)), "{blocked:?}");
}

#[test]
fn a_network_of_ipv6_is_one_source() {
    let (mut limiter, limits) = (Limiter::default(), limits());
    let host =
        |network: u128, n: u128| IpAddr::V6(Ipv6Addr::from(0x2001_0db8 << 96 | network << 64 | n));
    for n in 0..limits.query_burst {
        assert!(limiter.admit(0, host(1, n.into()), &limits));
    }
    assert!(!limiter.admit(0, host(1, 1 << 60), &limits));
    assert!(limiter.admit(0, host(2, 0), &limits));
    assert_eq!(limiter.source_count(), 2);
}

#[test]
fn sources_that_are_silent_are_forgotten() {
    let (mut limiter, limits) = (Limiter::default(), limits());
    for n in 0..100_000 {
        // A thousand sources a second, each of which is over after a fifth of one.
        assert!(limiter.admit(u64::from(n) * SECOND / 1_000, ip(n), &limits));
        assert!(limiter.source_count() <= 401, "{}", limiter.source_count());
    }
}

#[test]
fn those_for_whom_there_is_no_place_share_a_rate() {
    let limits = RateLimits {
        sources: 10,
        others_per_second: 3,
        ..limits()
    };
    let mut limiter = Limiter::default();
    // One is blocked, and nothing makes it forgotten.
    while limiter.admit(0, ip(0), &limits) {}
    for n in 1..10 {
        assert!(limiter.admit(0, ip(n), &limits));
    }
    let admitted = (10..100).filter(|n| limiter.admit(0, ip(*n), &limits));
    assert_eq!(admitted.count(), 3);
    assert_eq!(limiter.source_count(), 10);
    assert!(!limiter.admit(0, ip(0), &limits));
    // Those that are remembered are not worse off.
    assert!(limiter.admit(0, ip(1), &limits));
    // A second later there is place again, beside the one that is blocked.
    let admitted = (100..150).filter(|n| limiter.admit(SECOND, ip(*n), &limits));
    assert_eq!(admitted.count(), 9 + 3);
    assert!(!limiter.admit(SECOND, ip(0), &limits));
}

#[test]
fn answers_stay_within_their_rate() {
    let limits = RateLimits {
        bytes_per_second: 10_000,
        byte_burst: 2_000,
        ..limits()
    };
    let mut limiter = Limiter::default();
    let mut sent = 0;
    for millisecond in 0..10_000 {
        if limiter.admit_answer(millisecond * SECOND / 1_000, 300, &limits) {
            sent += 300;
        }
    }
    assert!((99_000..=102_000).contains(&sent), "{sent}");
    // What is longer than the burst is not kept back for ever.
    let mut limiter = Limiter::default();
    assert!(limiter.admit_answer(0, 5_000, &limits));
    assert!(!limiter.admit_answer(SECOND / 4, 1, &limits));
    assert!(limiter.admit_answer(SECOND, 5_000, &limits));
    assert!(limiter.admit_answer(Nanos::MAX, usize::MAX, &limits));
}

#[test]
fn without_limits_everything_is_admitted() {
    let (mut limiter, limits) = (Limiter::default(), RateLimits::NONE);
    for n in 0..10_000 {
        assert!(limiter.admit(0, ip(n % 3), &limits));
        assert!(limiter.admit_answer(0, 1_000, &limits));
    }
    assert_eq!(limiter.source_count(), 0);
}

#[test]
fn a_limiter_that_does_nothing_is_small() {
    assert!(size_of::<Limiter>() <= 64, "{}", size_of::<Limiter>());
}

proptest! {
    /// Whatever comes when, a source has no more than burst and rate, and memory is bounded.
    #[test]
    fn no_source_has_more_than_its_rate(
        queries in prop::collection::vec((0..SECOND / 4, 0_u32..6), 1..600),
        places in 0_usize..6,
    ) {
        let limits = RateLimits {
            queries_per_second: 4,
            query_burst: 5,
            block: 3 * SECOND,
            sources: places,
            others_per_second: 2,
            ..RateLimits::default()
        };
        let mut limiter = Limiter::default();
        let mut now = 0;
        let mut admitted = vec![Vec::new(); 6];
        for (gap, source) in queries {
            now += gap;
            if limiter.admit(now, ip(source), &limits) {
                admitted[source as usize].push(now);
            }
            prop_assert!(limiter.source_count() <= places);
        }
        // A source that loses its place while its bucket is full, and none else, may add the shared rate to its own.
        let (rate, burst) = (4 + 2, 5 + 2);
        for times in admitted {
            for (first, start) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    let allowed = burst + (end - start) * rate / SECOND + 1;
                    prop_assert!((last - first) as u64 <= allowed);
                }
            }
        }
    }
}
