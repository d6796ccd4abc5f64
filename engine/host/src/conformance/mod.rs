//! One suite for every host: what the traits promise, as assertions.
//!
//! [`checks`] is a table of named checks. Whoever implements [`Host`] runs every one of them, each in a task of the
//! host under test and with a time limit of the runner's own, on a quiet world: no faults, no clock steps. A check that
//! finds a broken promise panics, and quotes the promise.
//!
//! The suite itself knows no runtime: it spawns, sleeps and connects through the host only.

mod clock;
mod datagrams;
mod disk;
mod entropy;
mod files;
mod streams;
mod tasks;
mod transfers;

use crate::{BoxFuture, Host, Stream, TaskEnd};
use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    task::Poll,
    time::Duration,
};
use tokio::sync::oneshot;

/// Where the suite runs.
///
/// Files are made below `conformance` in the host's root, which must not be there before the first check. A check
/// makes no use of what another left behind, so they may run in any order, also at the same time.
#[derive(Clone)]
pub struct Site {
    /// The host under test. The checks run in its tasks.
    pub host: Host,
    /// An address of that host.
    pub ip: IpAddr,
    /// A second host and its address, for the far ends of streams and datagrams; `host` talks to itself when there is
    /// none. It runs its part in tasks of its own.
    pub other: Option<(Host, IpAddr)>,
    /// A name that resolves, and one of its addresses, if the host knows any.
    pub name: Option<(String, IpAddr)>,
}

/// One check. It returns when the host kept its promise and panics when it did not.
pub type Check = fn(Site) -> BoxFuture<'static, ()>;

/// Every check with its name, `topic::what_is_promised`; grouped by topic, names unique.
pub fn checks() -> Vec<(&'static str, Check)> {
    [
        clock::CHECKS,
        entropy::CHECKS,
        tasks::CHECKS,
        files::CHECKS,
        disk::CHECKS,
        datagrams::CHECKS,
        streams::CHECKS,
        transfers::CHECKS,
    ]
    .concat()
}

/// The topic's table, from the functions that check.
macro_rules! table {
    ($topic:literal: $($check:ident,)+) => {
        pub(super) const CHECKS: &[(&str, super::Check)] = &[
            $((concat!($topic, "::", stringify!($check)), |site| Box::pin($check(site))),)+
        ];
    };
}
use table;

/// How long something may take that must happen. Long, since it decides nothing but when to give up.
const PATIENCE: Duration = Duration::from_secs(20);

impl Site {
    /// The host of the far end and its address.
    fn far(&self) -> (Host, IpAddr) {
        self.other.clone().unwrap_or((self.host.clone(), self.ip))
    }

    /// Some free port of the host under test.
    fn any_port(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 0)
    }

    /// A new directory of the host under test, for one check alone.
    async fn directory(&self, check: &str) -> PathBuf {
        let path = PathBuf::from("conformance").join(check);
        let made = path.clone();
        self.host
            .blocking(move |disk| disk.create_dir(&made))
            .await
            .expect("create_dir: makes a directory and its parents");
        path
    }

    /// A stream to the far host, which opened it and runs `far` over its end, and what `far` returns.
    async fn stream<T, F>(
        &self,
        far: impl FnOnce(Host, Stream) -> F + Send + 'static,
    ) -> (Stream, BoxFuture<'static, T>)
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let network = &self.host.network;
        let mut listener = network
            .listen(self.any_port())
            .await
            .expect("listen: port 0 picks a free one");
        let address = listener.local_addr();
        let (host, _) = self.far();
        let far = on(&host.clone(), async move {
            let stream = host
                .network
                .connect(address)
                .await
                .expect("connect: opens a stream");
            far(host, stream).await
        });
        let (stream, _) = self
            .within_patience(listener.accept())
            .await
            .expect("accept: the next stream and its far end");
        (stream, far)
    }

    /// Waits for what must happen.
    async fn within_patience<F: Future>(&self, future: F) -> F::Output {
        self.host
            .timeout(PATIENCE, future)
            .await
            .expect("what this check waits for never happened")
    }
}

/// Runs `work` in a task of `host`, at once, and returns what it returned.
fn on<T: Send + 'static>(
    host: &Host,
    work: impl Future<Output = T> + Send + 'static,
) -> BoxFuture<'static, T> {
    let (send, receive) = oneshot::channel();
    let task = host.spawn("conformance", async move {
        // Nobody waits when the check failed first.
        let _ = send.send(work.await);
    });
    Box::pin(async move {
        assert_eq!(task.await, TaskEnd::Returned, "a part of this check failed");
        receive
            .await
            .expect("a task that returned has sent its result")
    })
}

/// Polls a future once, with the waker of the task that asks.
async fn once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// The byte at `offset` of a sequence that does not look alike anywhere near.
fn pattern(offset: u64) -> u8 {
    let mixed = (offset + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

/// The bytes of the pattern from `offset`.
fn pattern_from(offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(pattern).collect()
}
