use crate::Nanos;

/// A second, in nanoseconds.
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// What a node stores and has expired is dropped at multiples of this, in nanoseconds: once for all that expired since
/// the last time. It is not given out in between.
pub const SWEEP_INTERVAL: Nanos = 60 * SECOND;

/// When what expires then is dropped.
pub(crate) fn sweep_time(expires: Nanos) -> Nanos {
    expires
        .checked_next_multiple_of(SWEEP_INTERVAL)
        .unwrap_or(Nanos::MAX)
}
