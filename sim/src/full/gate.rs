//! What stands between a process's tasks and their world: alive or dead, running or stopped.

use rand_chacha::{ChaCha8Rng, rand_core::RngCore};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
};

/// One incarnation of a node's process. Every handle of the process carries it and asks it before any I/O, since
/// the executor drops a dead process's tasks only some time after the death: nothing they do then may leave.
pub(super) struct Gate {
    pub(super) node: u32,
    pub(super) incarnation: u32,
    alive: AtomicBool,
    stopped: AtomicBool,
    /// Tasks that were due while the process was stopped.
    held: Mutex<Vec<Waker>>,
    /// What the process's kernel draws from, once it was asked.
    kernel: Mutex<Option<ChaCha8Rng>>,
}

/// What a task may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// Run.
    Open,
    /// Wait; it will be woken when the process goes on.
    Stopped,
    /// End without another step.
    Dead,
}

impl Gate {
    pub(super) fn new(node: u32, incarnation: u32) -> Self {
        Gate {
            node,
            incarnation,
            alive: AtomicBool::new(true),
            stopped: AtomicBool::new(false),
            held: Mutex::new(Vec::new()),
            kernel: Mutex::new(None),
        }
    }

    /// Fills `buffer` with the kernel's random bytes; `begin` makes their generator at the first time.
    pub(super) fn draw(&self, buffer: &mut [u8], begin: impl FnOnce() -> ChaCha8Rng) {
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        kernel.get_or_insert_with(begin).fill_bytes(buffer);
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn passage(&self, cx: &Context<'_>) -> Passage {
        if !self.is_alive() {
            return Passage::Dead;
        }
        if !self.is_stopped() {
            return Passage::Open;
        }
        let mut held = self.lock_held();
        if !held.iter().any(|waker| waker.will_wake(cx.waker())) {
            held.push(cx.waker().clone());
        }
        Passage::Stopped
    }

    /// The process is dead from here on. What was held is let go, so that it can be dropped.
    pub(super) fn die(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.release();
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The process goes on: whatever became due meanwhile runs now.
    pub(super) fn resume(&self) {
        self.stopped.store(false, Ordering::Relaxed);
        self.release();
    }

    fn release(&self) {
        let held = std::mem::take(&mut *self.lock_held());
        for waker in held {
            waker.wake();
        }
    }

    fn lock_held(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
