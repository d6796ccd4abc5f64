//! The production host: an operating system, reached through tokio.
//!
//! The one module of `engine/` that may read a clock, open a socket or a file, or ask the system for entropy. It adds
//! to tokio and `std` only what the contracts ask for and those do not give: sleeps that are over at the first poll
//! after their deadline, task handles that may be polled after the end, file numbers that are never used again, and a
//! file whose sync failed once never reporting a later sync as good.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod clock;
mod disk;
mod network;
mod tasks;

use crate::{Entropy, Host};
use disk::Durability;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::{path::PathBuf, sync::Arc};
use tokio::runtime::Handle;

/// A host on this operating system whose relative paths lie under `root`.
///
/// Tasks, timers and sockets belong to `runtime`, which needs its I/O and time drivers enabled and must outlive what
/// is done with the host; the host's futures may be polled on any thread, also outside the runtime. `root` itself is
/// not created: [`Disk::create_dir`](crate::Disk::create_dir) of the empty path does that.
///
/// Two hosts share nothing but the operating system: each has its own clock origin and its own file numbers, and their
/// locks exclude each other. Files that are still open are closed when the last clone of the host is gone.
pub fn host(root: PathBuf, runtime: Handle) -> Host {
    with_durability(root, runtime, Durability::Synced)
}

/// The same for files that need not outlive the process: a sync does nothing, and costs nothing.
///
/// What such a host writes is no more than what the operating system cares to keep. It is for programs that keep their
/// data in a folder which they remove themselves.
pub fn scratch_host(root: PathBuf, runtime: Handle) -> Host {
    with_durability(root, runtime, Durability::None)
}

fn with_durability(root: PathBuf, runtime: Handle, durability: Durability) -> Host {
    Host {
        clock: Arc::new(clock::TokioClock::start(runtime.clone())),
        network: Arc::new(network::TokioNetwork::new(runtime.clone())),
        tasks: Arc::new(tasks::TokioTasks::new(runtime, root, durability)),
        entropy: Arc::new(OsEntropy),
    }
}

/// Seeds from the operating system; the purpose is for simulation only.
struct OsEntropy;

impl Entropy for OsEntropy {
    fn rng(&self, _purpose: &str) -> ChaCha8Rng {
        ChaCha8Rng::from_os_rng()
    }
}
