use crate::Disk;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// A boxed future, the currency of the Host's traits: one allocation is nothing next to an I/O.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A closure for the blocking pool; it is handed the disk.
pub type Job = Box<dyn FnOnce(&mut dyn Disk) + Send>;

/// Running things beside each other.
pub trait Tasks: Send + Sync + 'static {
    /// Starts a task. It runs until it returns, panics, is aborted, or the host ends.
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> TaskHandle;

    /// Runs a job that may block; the future completes when it has returned (and, in simulation, when the device
    /// time that it used has passed). A job that has begun is not stopped by dropping the future.
    fn blocking(&self, job: Job) -> BoxFuture<'static, ()>;
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// It returned.
    Returned,
    /// It was aborted, or its host ended.
    Aborted,
    /// It panicked.
    Panicked,
}

/// What a host's task handle does; used through [`TaskHandle`].
pub trait TaskControl: Send + Sync + 'static {
    /// Ends the task at its next await; nothing happens when it has ended.
    fn abort(&self);

    /// Waits for the task's end; may be polled again after that.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<TaskEnd>;
}

/// A running task. Awaiting it gives its [`TaskEnd`]; dropping it lets the task run on.
pub struct TaskHandle(Box<dyn TaskControl>);

impl TaskHandle {
    /// Wraps a host's handle.
    pub fn new(control: impl TaskControl) -> Self {
        TaskHandle(Box::new(control))
    }

    /// Ends the task at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskHandle")
    }
}

impl Future for TaskHandle {
    type Output = TaskEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskEnd> {
        self.0.poll_end(cx)
    }
}
