use super::PoolSettings;
use crate::{Mutant, call::LeaseView};
use holdfast_host::{Moment, UnixTime};
use std::time::Duration;

/// A lease that this worker holds. It counts from before it asked, by its own monotonic clock; whoever wants it next
/// counts from after that, and a quarter longer: clocks may drift, and need not agree on anything else.
pub(super) struct Held {
    pub epoch: u64,
    since: Moment,
    length: Duration,
}

impl Held {
    pub fn new(epoch: u64, asked: Moment, length: Duration) -> Self {
        Held {
            epoch,
            since: asked,
            length,
        }
    }

    pub fn renewed(&mut self, asked: Moment) {
        self.since = self.since.max(asked);
    }

    pub fn until(&self) -> Moment {
        self.since.saturating_add(self.length)
    }

    pub fn holds(&self, now: Moment) -> bool {
        now < self.until()
    }

    pub fn renew_at(&self) -> Moment {
        self.since.saturating_add(self.length / 3)
    }
}

/// Looks at a lease that somebody else may hold.
#[derive(Default)]
pub(super) struct Contender {
    seen: Option<(LeaseView, Moment, UnixTime)>,
}

impl Contender {
    /// This is how the lease is now.
    pub fn look(&mut self, now: Moment, wall: UnixTime, lease: LeaseView) {
        if self.seen.is_none_or(|(seen, ..)| seen != lease) {
            self.seen = Some((lease, now, wall));
        }
    }

    /// Whether its holder has stopped, for certain.
    pub fn may_take(&self, now: (Moment, UnixTime), settings: &PoolSettings) -> bool {
        let Some((lease, since, wall)) = self.seen else {
            return false;
        };
        if Mutant::LeaseByWallClock.is_in(settings.mutant) {
            let elapsed = now.1.as_nanos().saturating_sub(wall.as_nanos());
            return lease.holder == 0 || elapsed >= patience(settings).as_nanos() as u64;
        }
        lease.holder == 0 || now.0 >= since.saturating_add(patience(settings))
    }

    /// How long to wait before looking again.
    pub fn pause(&self, now: Moment, settings: &PoolSettings) -> Duration {
        let whole = patience(settings);
        self.seen.map_or(whole, |(_, since, _)| {
            let left = since.saturating_add(whole).since(now);
            if left.is_zero() { whole } else { left }
        })
    }
}

fn patience(settings: &PoolSettings) -> Duration {
    settings.lease + settings.lease / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_has_stopped_before_anybody_else_may_begin() {
        let settings = PoolSettings::default();
        let second = Duration::from_secs(1);
        let start = Moment::from_nanos(1_000_000_000_000);
        let mut held = Held::new(1, start, settings.lease);
        let mut contender = Contender::default();
        let mut view = LeaseView {
            holder: 7,
            epoch: 1,
            renewals: 0,
        };
        let wall = UnixTime::from_nanos(0);
        // Seen as soon as it is there.
        contender.look(start, wall, view);
        let renewed = start.saturating_add(second);
        held.renewed(renewed);
        view.renewals = 1;
        contender.look(renewed, wall, view);
        for tenths in 0..60 {
            let now = renewed.saturating_add(second / 10 * tenths);
            contender.look(now, wall, view);
            let may = contender.may_take((now, wall), &settings);
            assert!(!(held.holds(now) && may), "both at {tenths}");
        }
        let late = renewed.saturating_add(settings.lease * 2);
        assert!(contender.may_take((late, wall), &settings));
    }

    #[test]
    fn a_wall_clock_that_is_set_changes_nothing() {
        let may_take = |mutant| {
            let settings = PoolSettings {
                mutant,
                ..PoolSettings::default()
            };
            let mut contender = Contender::default();
            let view = LeaseView {
                holder: 7,
                epoch: 1,
                renewals: 0,
            };
            let now = Moment::from_nanos(5);
            contender.look(now, UnixTime::from_nanos(0), view);
            let set = UnixTime::from_nanos(3_600_000_000_000);
            contender.may_take((now, set), &settings)
        };
        assert!(!may_take(None));
        assert!(may_take(Some(Mutant::LeaseByWallClock)), "planted");
    }

    #[test]
    fn a_lease_that_was_given_back_is_free_at_once() {
        let mut contender = Contender::default();
        let now = (Moment::from_nanos(5), UnixTime::from_nanos(5));
        assert!(!contender.may_take(now, &PoolSettings::default()));
        contender.look(now.0, now.1, LeaseView::default());
        assert!(contender.may_take(now, &PoolSettings::default()));
    }
}
