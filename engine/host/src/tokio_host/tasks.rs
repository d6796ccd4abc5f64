use super::disk::{Durability, Files, OsDisk};
use crate::{BoxFuture, Job, TaskControl, TaskEnd, TaskHandle, Tasks};
use std::{
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinHandle},
};

/// Tasks on the runtime, jobs on its blocking pool.
pub(super) struct TokioTasks {
    runtime: Handle,
    files: Arc<Files>,
}

impl TokioTasks {
    /// Relative paths of the jobs' disk lie under `root`.
    pub(super) fn new(runtime: Handle, root: PathBuf, durability: Durability) -> Self {
        TokioTasks {
            runtime,
            files: Arc::new(Files::new(root, durability)),
        }
    }
}

impl Tasks for TokioTasks {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> TaskHandle {
        let task = self.runtime.spawn(async move {
            let _witness = PanicWitness(name);
            future.await;
        });
        TaskHandle::new(TokioTask::Running(task))
    }

    fn blocking(&self, job: Job) -> BoxFuture<'static, ()> {
        let runtime = self.runtime.clone();
        let files = self.files.clone();
        Box::pin(async move {
            // Dropping tokio's handle lets the job run on, as the contract asks.
            let job = runtime.spawn_blocking(move || job(&mut OsDisk::new(files)));
            match job.await.map_err(JoinError::try_into_panic) {
                Ok(()) => {}
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and dropped the job unbegun; the caller goes the same way.
                Err(Err(_cancelled)) => std::future::pending().await,
            }
        })
    }
}

/// Names the task that panicked, since tokio knows it by a number only.
struct PanicWitness(&'static str);

impl Drop for PanicWitness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0, "a task panicked");
        }
    }
}

/// A task of tokio's; it remembers its end, since tokio's handle must not be polled again after that.
enum TokioTask {
    Running(JoinHandle<()>),
    Ended(TaskEnd),
}

impl TaskControl for TokioTask {
    fn abort(&self) {
        if let TokioTask::Running(task) = self {
            task.abort();
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<TaskEnd> {
        let end = match self {
            TokioTask::Ended(end) => return Poll::Ready(*end),
            TokioTask::Running(task) => match std::task::ready!(Pin::new(task).poll(cx)) {
                Ok(()) => TaskEnd::Returned,
                Err(error) if error.is_panic() => TaskEnd::Panicked,
                Err(_) => TaskEnd::Aborted,
            },
        };
        *self = TokioTask::Ended(end);
        Poll::Ready(end)
    }
}
