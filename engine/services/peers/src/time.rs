//! The time by which nodes live: the host's monotonic clock.

use crate::Mutant;
use holdfast_host::{Host, Moment, Sleep};
use holdfast_kademlia::Nanos;
use std::{cell::Cell, time::Duration};

/// The clock of one task.
pub(crate) struct Time {
    host: Host,
    wall: Option<Wall>,
}

/// The planted bug [`Mutant::ClockOfTheWall`].
struct Wall {
    /// What both clocks read in the beginning, monotonic and wall.
    began: (Nanos, u64),
    /// The latest reading: whoever writes such a clock has heard that it must not run backwards.
    latest: Cell<Nanos>,
}

impl Time {
    pub fn new(host: &Host, mutant: Option<Mutant>) -> Time {
        let now = host.now().as_nanos();
        let wall = Mutant::ClockOfTheWall.is_in(mutant).then(|| Wall {
            began: (now, host.unix_time().as_nanos()),
            latest: Cell::new(now),
        });
        Time {
            host: host.clone(),
            wall,
        }
    }

    pub fn now(&self) -> Nanos {
        let Some(wall) = &self.wall else {
            return self.host.now().as_nanos();
        };
        let elapsed = self
            .host
            .unix_time()
            .as_nanos()
            .saturating_sub(wall.began.1);
        wall.latest
            .set(wall.latest.get().max(wall.began.0 + elapsed));
        wall.latest.get()
    }

    /// Completes when it is `at`.
    pub fn sleep_until(&self, at: Nanos) -> Sleep {
        match self.wall {
            None => self.host.clock.sleep_until(Moment::from_nanos(at)),
            Some(_) => self
                .host
                .sleep(Duration::from_nanos(at.saturating_sub(self.now()))),
        }
    }
}
