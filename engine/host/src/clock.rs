use serde::{Deserialize, Serialize};
use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

/// A reading of a host's monotonic clock: nanoseconds since an origin that only this host knows.
///
/// Readings of different hosts, and of one host before and after a restart, must not be compared.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(u64);

impl Moment {
    /// The clock's origin.
    pub const ORIGIN: Moment = Moment(0);

    /// The moment `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Moment(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This moment moved by `duration`, stopping at the end of time (584 years).
    pub fn saturating_add(self, duration: Duration) -> Self {
        Moment(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// The time from `earlier` to this moment, zero when `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A reading of the wall clock: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct UnixTime(u64);

impl UnixTime {
    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        UnixTime(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

/// The future that [`Clock::sleep_until`] returns. `Sync`, since hyper's timers ask for it.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Time. The two clocks may disagree, and drift from those of other hosts.
pub trait Clock: Send + Sync + 'static {
    /// The monotonic clock: never goes backwards, starts near its origin at process start.
    fn now(&self) -> Moment;

    /// The wall clock: may be stepped in either direction at any time.
    fn unix_time(&self) -> UnixTime;

    /// Completes at the first poll at or after `deadline` by the monotonic clock; at once if that has passed.
    /// Dropping it cancels the timer.
    fn sleep_until(&self, deadline: Moment) -> Sleep;
}

/// The time given to [`Host::timeout`](crate::Host::timeout) was over first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time allowed was over")
    }
}

impl std::error::Error for Elapsed {}

/// Polls the future before the timer, so that a result which is ready at the deadline wins.
pub(crate) async fn race<F: Future>(mut sleep: Sleep, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        sleep.as_mut().poll(cx).map(|()| Err(Elapsed))
    })
    .await
}
