//! Tasks of a simulated process.

use super::{
    entropy,
    gate::{Gate, Passage},
    world::World,
};
use holdfast_host::{BoxFuture, TaskControl, TaskEnd, TaskHandle};
use std::{
    any::Any,
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, Once, PoisonError},
    task::{Context, Poll, Waker},
};

/// What a panic does to the process in which it happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// The world records the failure `no-panic` and the process dies.
    #[default]
    NodeDies,
    /// Only the task ends, with `TaskEnd::Panicked`, as on a runtime that catches panics.
    TaskEnds,
}

/// How a task ended and who waits for it.
#[derive(Default)]
struct Outcome {
    end: Option<TaskEnd>,
    waiting: Option<Waker>,
}

type SharedOutcome = Arc<Mutex<Outcome>>;

fn finish(outcome: &SharedOutcome, end: TaskEnd) {
    let waiting = {
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.end.get_or_insert(end);
        outcome.waiting.take()
    };
    if let Some(waker) = waiting {
        waker.wake();
    }
}

/// A future of one process: runs only while the process does, and takes its panics to the world.
pub(super) struct ProcessTask {
    world: World,
    gate: Arc<Gate>,
    name: &'static str,
    future: Option<BoxFuture<'static, ()>>,
    outcome: SharedOutcome,
}

impl Future for ProcessTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.gate.passage(cx) {
            Passage::Open => {}
            Passage::Stopped => return Poll::Pending,
            Passage::Dead => {
                self.discard(TaskEnd::Aborted);
                return Poll::Ready(());
            }
        }
        let this = &mut *self;
        let Some(future) = this.future.as_mut() else {
            return Poll::Ready(());
        };
        let poll = || catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match entropy::within(&this.world, &this.gate, poll) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => {
                self.discard(TaskEnd::Returned);
                Poll::Ready(())
            }
            Err(payload) => {
                self.world
                    .process_panicked(&self.gate, self.name, &panic_text(&*payload));
                self.discard(TaskEnd::Panicked);
                Poll::Ready(())
            }
        }
    }
}

impl ProcessTask {
    /// Drops the future, then lets waiters know. A destructor's panic counts as the process's own.
    fn discard(&mut self, end: TaskEnd) {
        let future = self.future.take();
        let had_one = future.is_some();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
            self.world
                .process_panicked(&self.gate, self.name, &panic_text(&*payload));
        }
        if had_one {
            self.world.with(|core| core.task_ended(self.gate.node));
            finish(&self.outcome, end);
        }
    }
}

impl Drop for ProcessTask {
    fn drop(&mut self) {
        self.discard(TaskEnd::Aborted);
    }
}

/// Starts a task on the process behind `gate`.
pub(super) fn spawn(
    world: &World,
    gate: &Arc<Gate>,
    spawner: &madsim::runtime::NodeHandle,
    name: &'static str,
    future: BoxFuture<'static, ()>,
) -> TaskHandle {
    let outcome = SharedOutcome::default();
    let is_sweep_due = world.with(|core| core.count_task(gate.node));
    let task = ProcessTask {
        world: world.clone(),
        gate: gate.clone(),
        name,
        future: Some(future),
        outcome: outcome.clone(),
    };
    if !gate.is_alive() {
        drop(task);
        return TaskHandle::new(Control {
            outcome,
            abort: None,
        });
    }
    if is_sweep_due {
        // madsim remembers every task that ever was until somebody asks how many there are.
        madsim::runtime::Handle::current().metrics().num_tasks();
    }
    let abort = spawner.spawn(task).abort_handle();
    TaskHandle::new(Control {
        outcome,
        abort: Some(abort),
    })
}

struct Control {
    outcome: SharedOutcome,
    abort: Option<madsim::task::AbortHandle>,
}

impl TaskControl for Control {
    fn abort(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<TaskEnd> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome.end {
            Some(end) => Poll::Ready(end),
            None => {
                let old = outcome.waiting.replace(cx.waker().clone());
                drop(outcome);
                drop(old);
                Poll::Pending
            }
        }
    }
}

thread_local! {
    static LAST_PANIC_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers where this thread last panicked, beside whatever the program does about panics.
pub(super) fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let at = info.location().map(ToString::to_string);
            LAST_PANIC_AT.with(|last| *last.borrow_mut() = at);
            before(info);
        }));
    });
}

/// What was said and where, for a person.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let said = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    match LAST_PANIC_AT.with(|last| last.borrow_mut().take()) {
        Some(at) => format!("{said} ({at})"),
        None => said,
    }
}
