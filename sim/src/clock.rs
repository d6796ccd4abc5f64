//! The clocks of one node: how simulated true time becomes what the node reads.
//!
//! One oscillator per machine, running fast or slow by some parts per million, feeds two clocks. The monotonic clock
//! counts from the start of the process; the wall clock has an offset and can be stepped. The true time of the
//! simulation, nanoseconds since the world began, is something that no node ever sees.

use holdfast_host::{Moment, UnixTime};
use serde::{Deserialize, Serialize};

/// How one node's clocks start out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockProfile {
    /// How far the wall clock is ahead of true time at the beginning, nanoseconds; negative: behind.
    #[serde(default)]
    pub offset_ns: i64,
    /// How much faster than true time both clocks run, parts per million; negative: slower.
    #[serde(default)]
    pub drift_ppm: i32,
}

/// True time begins at this instant of UTC: 2026-01-01T00:00:00Z.
pub const WORLD_BEGINS: UnixTime = UnixTime::from_nanos(1_767_225_600_000_000_000);

/// The largest drift that a clock takes, in parts per million: half or one and a half times true speed.
pub const MAX_DRIFT_PPM: i32 = 500_000;

const MILLION: u64 = 1_000_000;

/// One node's clocks. Time is piecewise linear, so a change of rate never moves a reading.
///
/// After [`set_drift`](NodeClock::set_drift) a timer that was scheduled with an earlier
/// [`true_time_at`](NodeClock::true_time_at) may come early by the node's clock: whoever fires it compares
/// [`monotonic`](NodeClock::monotonic) with the deadline first and schedules it anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeClock {
    /// True time at which the present rate began.
    since: u64,
    /// What the oscillator had counted by then.
    counted: u64,
    /// Ticks in a million true nanoseconds.
    rate: u64,
    /// What the oscillator had counted when the process started.
    origin: u64,
    /// The wall clock minus the oscillator.
    wall: i64,
}

impl NodeClock {
    /// The clocks of a machine that has run since the world began and whose process starts at that moment.
    ///
    /// # Panics
    /// When the drift is beyond [`MAX_DRIFT_PPM`].
    pub fn new(profile: &ClockProfile) -> Self {
        NodeClock {
            since: 0,
            counted: 0,
            rate: rate(profile.drift_ppm),
            origin: 0,
            wall: WORLD_BEGINS.as_nanos() as i64 + profile.offset_ns,
        }
    }

    fn oscillator(&self, now: u64) -> u64 {
        debug_assert!(now >= self.since, "true time went backwards");
        let elapsed = now.saturating_sub(self.since);
        if self.rate == MILLION {
            return self.counted + elapsed;
        }
        // Whole milliseconds and the rest apart: neither product overflows within 584 years.
        let (whole, rest) = (elapsed / MILLION, elapsed % MILLION);
        self.counted + whole * self.rate + rest * self.rate / MILLION
    }

    /// The monotonic clock at true time `now`: zero when the process started.
    pub fn monotonic(&self, now: u64) -> Moment {
        Moment::from_nanos(self.oscillator(now) - self.origin)
    }

    /// The wall clock at true time `now`.
    pub fn wall(&self, now: u64) -> UnixTime {
        UnixTime::from_nanos(self.oscillator(now).saturating_add_signed(self.wall))
    }

    /// The first true time at which the monotonic clock reads `deadline` or later, if the rate stays as it is: a
    /// timer that fires then is never early. The start of the present rate for deadlines before it.
    pub fn true_time_at(&self, deadline: Moment) -> u64 {
        let target = self.origin.saturating_add(deadline.as_nanos());
        let ticks = target.saturating_sub(self.counted);
        if self.rate == MILLION {
            return self.since.saturating_add(ticks);
        }
        // Mirrors `oscillator`: whole stretches of `rate` ticks take a million true nanoseconds each.
        let (whole, rest) = (ticks / self.rate, ticks % self.rate);
        self.since
            .saturating_add(whole.saturating_mul(MILLION))
            .saturating_add((rest * MILLION).div_ceil(self.rate))
    }

    /// From true time `now` on, both clocks run at this rate.
    ///
    /// # Panics
    /// When the drift is beyond [`MAX_DRIFT_PPM`].
    pub fn set_drift(&mut self, now: u64, drift_ppm: i32) {
        self.counted = self.oscillator(now);
        self.since = now;
        self.rate = rate(drift_ppm);
    }

    /// Moves the wall clock by `delta_ns`, also backwards; the monotonic clock does not notice.
    pub fn step(&mut self, delta_ns: i64) {
        self.wall = self.wall.saturating_add(delta_ns);
    }

    /// A new process starts at true time `now`: its monotonic clock begins at zero, the wall clock goes on.
    pub fn restart(&mut self, now: u64) {
        self.origin = self.oscillator(now);
    }
}

fn rate(drift_ppm: i32) -> u64 {
    assert!(
        drift_ppm.abs() <= MAX_DRIFT_PPM,
        "a drift of {drift_ppm} ppm is beyond {MAX_DRIFT_PPM}"
    );
    MILLION.saturating_add_signed(i64::from(drift_ppm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn clock(offset_ns: i64, drift_ppm: i32) -> NodeClock {
        NodeClock::new(&ClockProfile {
            offset_ns,
            drift_ppm,
        })
    }

    #[test]
    fn an_ideal_clock_reads_true_time() {
        let clock = clock(0, 0);
        assert_eq!(clock.monotonic(17).as_nanos(), 17);
        assert_eq!(
            clock.wall(17).as_nanos(),
            1_767_225_600_000_000_017,
            "2026-01-01 and 17 ns"
        );
        assert_eq!(clock.true_time_at(Moment::from_nanos(17)), 17);
    }

    #[test]
    fn drift_moves_both_clocks_and_steps_only_the_wall() {
        let mut clock = clock(-5, 100);
        assert_eq!(clock.monotonic(10 * SECOND).as_nanos(), 10_001_000_000);
        let before = clock.wall(10 * SECOND).as_nanos();
        assert_eq!(before, WORLD_BEGINS.as_nanos() + 10_001_000_000 - 5);
        clock.step(-3_600 * SECOND as i64);
        assert_eq!(
            clock.wall(10 * SECOND).as_nanos(),
            before - 3_600 * SECOND,
            "wall time may go backwards"
        );
        assert_eq!(clock.monotonic(10 * SECOND).as_nanos(), 10_001_000_000);
    }

    #[test]
    fn a_restart_is_a_new_origin_for_the_monotonic_clock_only() {
        let mut clock = clock(0, -200);
        let wall = clock.wall(5 * SECOND);
        clock.restart(5 * SECOND);
        assert_eq!(clock.monotonic(5 * SECOND), Moment::ORIGIN);
        assert_eq!(clock.wall(5 * SECOND), wall);
        assert_eq!(clock.monotonic(6 * SECOND).as_nanos(), 999_800_000);
    }

    proptest! {
        #[test]
        fn no_timer_fires_early_or_needlessly_late(
            drift in -MAX_DRIFT_PPM..=MAX_DRIFT_PPM,
            started in 0..100 * SECOND,
            delay in 0..100 * SECOND,
        ) {
            let mut clock = clock(0, 17);
            clock.set_drift(started / 2, drift);
            clock.restart(started);
            let deadline = Moment::from_nanos(delay);
            let at = clock.true_time_at(deadline);
            prop_assert!(clock.monotonic(at) >= deadline);
            if at > started {
                prop_assert!(clock.monotonic(at - 1) < deadline);
            }
        }

        #[test]
        fn the_monotonic_clock_never_goes_backwards(
            changes in prop::collection::vec((0..10_000_000u64, -MAX_DRIFT_PPM..=MAX_DRIFT_PPM), 1..30),
        ) {
            let mut clock = clock(0, 0);
            let (mut now, mut last) = (0, Moment::ORIGIN);
            for (wait, drift) in changes {
                now += wait;
                let reading = clock.monotonic(now);
                prop_assert!(reading >= last);
                clock.set_drift(now, drift);
                prop_assert_eq!(clock.monotonic(now), reading, "a new rate does not move the reading");
                last = reading;
            }
        }
    }
}
