//! The world as services see it.
//!
//! Everything in `engine/` that needs time, a network, a disk, a task or a random number asks a [`Host`] for it. A
//! `Host` is a cheap-to-clone struct of trait objects; which world stands behind it (an operating system through
//! tokio, or the simulator) is decided once, where the process starts, and nothing above can tell.
//!
//! The two types that matter are [`Host`] and [`Disk`]. The traits are contracts: what each call means, down to
//! short reads, cancellation and connection reset, is written at the method and checked by the conformance suite in
//! [`conformance`], which every implementation runs.
//!
//! What this crate is not: a runtime. It has no executor of its own and it reads no clock outside [`tokio_host`].

mod clock;
pub mod conformance;
mod disk;
mod entropy;
mod network;
mod tasks;
pub mod tokio_host;

pub use clock::{Clock, Elapsed, Moment, Sleep, UnixTime};
pub use disk::{Disk, FileId, OpenMode, read_exact_at, read_file, write_all_at};
pub use entropy::Entropy;
pub use network::{
    DatagramSocket, Datagrams, Listener, ListenerSocket, Network, RawStream, Stream,
};
pub use tasks::{BoxFuture, Job, TaskControl, TaskEnd, TaskHandle, Tasks};

use rand_chacha::ChaCha8Rng;
use std::{future::Future, sync::Arc, time::Duration};

/// A handle on the world, shared by every service of one process.
///
/// Cloning copies four pointers. All clones see the same clock, the same network interfaces and the same disk.
#[derive(Clone)]
pub struct Host {
    /// Monotonic and wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Datagrams, streams, listeners and name resolution.
    pub network: Arc<dyn Network>,
    /// Spawning tasks and reaching the disk.
    pub tasks: Arc<dyn Tasks>,
    /// Random generators.
    pub entropy: Arc<dyn Entropy>,
}

impl Host {
    /// The monotonic clock's reading.
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The wall clock's reading; it may jump, also backwards.
    pub fn unix_time(&self) -> UnixTime {
        self.clock.unix_time()
    }

    /// Completes no earlier than `duration` from now, by the monotonic clock.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.clock
            .sleep_until(self.clock.now().saturating_add(duration))
    }

    /// Runs `future` for at most `duration`; the future is dropped when the time is over.
    pub async fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        clock::race(self.sleep(duration), future).await
    }

    /// Starts a named task. Dropping the handle detaches the task; [`TaskHandle::abort`] ends it at its next await.
    pub fn spawn(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> TaskHandle {
        self.tasks.spawn(name, Box::pin(future))
    }

    /// Runs `job` where blocking is allowed and hands it the disk: the only way from async code to a file.
    ///
    /// In production the job runs on the blocking pool. In simulation it runs inline and the device time that it used
    /// is slept afterwards. Once begun, a job runs to its end even when the returned future is dropped.
    ///
    /// # Panics
    /// When the job panicked, the panic goes on in the caller.
    pub async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Disk) -> T + Send + 'static,
    ) -> T {
        let (send, receive) = tokio::sync::oneshot::channel();
        self.tasks
            .blocking(Box::new(move |disk| {
                // The caller may have been dropped: its result is then nobody's.
                let _ = send.send(job(disk));
            }))
            .await;
        receive
            .await
            .expect("a blocking job that has returned has sent its result")
    }

    /// A generator of its own for `purpose`. In simulation the same purpose yields the same stream for one node and
    /// incarnation, so that adding a consumer does not disturb the others.
    pub fn rng(&self, purpose: &str) -> ChaCha8Rng {
        self.entropy.rng(purpose)
    }
}
