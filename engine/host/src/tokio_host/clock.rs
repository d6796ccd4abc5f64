use crate::{Clock, Moment, Sleep, UnixTime};
use std::{
    future::Future,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Handle;

/// The operating system's clocks, with the monotonic one counted from the host's start.
pub(super) struct TokioClock {
    runtime: Handle,
    origin: Instant,
}

impl TokioClock {
    /// A clock whose origin is now.
    pub(super) fn start(runtime: Handle) -> Self {
        TokioClock {
            runtime,
            origin: Instant::now(),
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        Moment::ORIGIN.saturating_add(self.origin.elapsed())
    }

    fn unix_time(&self) -> UnixTime {
        // A wall clock set before 1970 reads as 1970.
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixTime::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, deadline: Moment) -> Sleep {
        let deadline = self.origin + Duration::from_nanos(deadline.as_nanos());
        let mut timer = {
            let _entered = self.runtime.enter();
            Box::pin(tokio::time::sleep_until(deadline.into()))
        };
        Box::pin(std::future::poll_fn(move |cx| {
            // Asked first: the timer wheel counts in whole milliseconds, and a task that used up its cooperative
            // budget is told to wait although the deadline has passed.
            if Instant::now() >= deadline {
                return std::task::Poll::Ready(());
            }
            timer.as_mut().poll(cx)
        }))
    }
}
