use super::{Site, on, once, table};
use crate::{Elapsed, Moment};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

table! { "clock":
    now_never_goes_backwards,
    clones_see_the_same_clock,
    a_sleep_is_never_early,
    a_sleep_that_is_over_is_ready_at_its_first_poll,
    a_sleep_wakes_the_last_task_that_polled_it,
    a_dropped_sleep_wakes_nobody,
    sleeps_run_beside_each_other,
    a_timeout_returns_what_was_ready,
    a_timeout_ends_and_drops_what_was_not,
    the_wall_clock_is_plausible_and_advances,
}

const TICK: Duration = Duration::from_millis(5);

/// Counts how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

async fn now_never_goes_backwards(site: Site) {
    let mut last = Moment::ORIGIN;
    for _ in 0..20 {
        for _ in 0..100 {
            let now = site.host.now();
            assert!(now >= last, "now: never goes backwards: {last:?}, {now:?}");
            last = now;
        }
        site.host.sleep(Duration::from_micros(100)).await;
    }
}

async fn clones_see_the_same_clock(site: Site) {
    let clone = site.host.clone();
    let before = site.host.now();
    let between = clone.now();
    let after = site.host.now();
    assert!(
        before <= between && between <= after,
        "all clones see the same clock: {before:?}, {between:?}, {after:?}"
    );
}

async fn a_sleep_is_never_early(site: Site) {
    for nanos in [1, 999, 1_000, 250_000, 1_000_000, 1_500_001, 20_000_000] {
        let duration = Duration::from_nanos(nanos);
        let before = site.host.now();
        site.within_patience(site.host.sleep(duration)).await;
        let slept = site.host.now().since(before);
        assert!(
            slept >= duration,
            "sleep: completes no earlier than the duration: {slept:?} of {duration:?}"
        );
    }
}

async fn a_sleep_that_is_over_is_ready_at_its_first_poll(site: Site) {
    let clock = &site.host.clock;
    let promise = "sleep_until: completes at the first poll at or after the deadline";
    for deadline in [Moment::ORIGIN, site.host.now()] {
        let mut sleep = clock.sleep_until(deadline);
        assert_eq!(once(sleep.as_mut()).await, Poll::Ready(()), "{promise}");
    }
    let mut zero = site.host.sleep(Duration::ZERO);
    assert_eq!(once(zero.as_mut()).await, Poll::Ready(()), "{promise}");

    let mut not_polled = site.host.sleep(TICK);
    let mut polled = site.host.sleep(TICK);
    let _ = once(polled.as_mut()).await;
    site.within_patience(site.host.sleep(TICK * 2)).await;
    assert_eq!(
        once(not_polled.as_mut()).await,
        Poll::Ready(()),
        "{promise}"
    );
    assert_eq!(once(polled.as_mut()).await, Poll::Ready(()), "{promise}");
}

async fn a_sleep_wakes_the_last_task_that_polled_it(site: Site) {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut sleep = site.host.sleep(TICK * 4);
    let first = once(sleep.as_mut()).await;
    let second = sleep.as_mut().poll(&mut Context::from_waker(&waker));
    assert_eq!(
        (first, second),
        (Poll::Pending, Poll::Pending),
        "sleep: completes no earlier than the duration"
    );
    site.within_patience(site.host.sleep(TICK * 10)).await;
    assert!(
        wakes.count() > 0,
        "a future wakes the task that polled it last"
    );
    assert_eq!(once(sleep.as_mut()).await, Poll::Ready(()));
}

async fn a_dropped_sleep_wakes_nobody(site: Site) {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut sleep = site.host.sleep(TICK * 4);
    let _ = sleep.as_mut().poll(&mut Context::from_waker(&waker));
    let woken_before = wakes.count();
    drop(sleep);
    drop(site.host.sleep(TICK));
    site.within_patience(site.host.sleep(TICK * 10)).await;
    assert_eq!(
        wakes.count(),
        woken_before,
        "sleep_until: dropping it cancels the timer"
    );
}

async fn sleeps_run_beside_each_other(site: Site) {
    const SLEEPERS: u32 = 50;
    let before = site.host.now();
    let sleepers: Vec<_> = (0..SLEEPERS)
        .map(|n| on(&site.host, site.host.sleep(TICK * (4 + n % 3))))
        .collect();
    for sleeper in sleepers {
        site.within_patience(sleeper).await;
    }
    let took = site.host.now().since(before);
    assert!(
        took >= TICK * 6 && took < TICK * 4 * SLEEPERS,
        "timers of different tasks run at the same time, not one after the other: {took:?}"
    );
}

async fn a_timeout_returns_what_was_ready(site: Site) {
    let ready = site.host.timeout(Duration::ZERO, async { 7 }).await;
    assert_eq!(ready, Ok(7), "timeout: a result that is ready wins");
    let host = site.host.clone();
    let later = site
        .host
        .timeout(super::PATIENCE, async move {
            host.sleep(TICK).await;
            8
        })
        .await;
    assert_eq!(later, Ok(8), "timeout: runs the future");
}

async fn a_timeout_ends_and_drops_what_was_not(site: Site) {
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Flag(dropped.clone());
    let before = site.host.now();
    let result = site
        .host
        .timeout(TICK, async move {
            let _flag = flag;
            std::future::pending::<()>().await;
        })
        .await;
    assert_eq!(result, Err(Elapsed), "timeout: at most the duration");
    assert!(
        site.host.now().since(before) >= TICK,
        "timeout: not before the time is over"
    );
    assert!(
        dropped.load(Ordering::SeqCst),
        "timeout: the future is dropped when the time is over"
    );
}

async fn the_wall_clock_is_plausible_and_advances(site: Site) {
    const SECONDS_PER_YEAR: u64 = 31_556_952;
    let year = 1970 + site.host.unix_time().as_nanos() / 1_000_000_000 / SECONDS_PER_YEAR;
    assert!(
        (2000..2200).contains(&year),
        "unix_time: nanoseconds since 1970, which makes this the year {year}"
    );
    let (moment, time) = (site.host.now(), site.host.unix_time());
    site.within_patience(site.host.sleep(TICK * 10)).await;
    let by_time = site
        .host
        .unix_time()
        .as_nanos()
        .checked_sub(time.as_nanos())
        .expect("unix_time: a clock that nobody steps does not go backwards");
    let by_moment = site.host.now().since(moment).as_nanos() as u64;
    let slack = Duration::from_millis(100).as_nanos() as u64;
    assert!(
        by_time >= by_moment / 2 - by_moment / 4 && by_time <= by_moment * 2 + slack,
        "the two clocks run at about the same rate: {by_time} ns by the wall, {by_moment} ns by the other"
    );
}
