use crate::{DiskApplied, StateMachine, Store, StoreCommand, StoreDone, StoreError};
use holdfast_host::Host;
use holdfast_raft::Index;
use std::time::Duration;
use tokio::sync::mpsc;

/// Most store commands of one group commit.
const STORE_BATCH: usize = 256;

/// Carries out store commands: as many as wait, then one sync.
pub(crate) struct Storage<S> {
    pub host: Host,
    pub store: Store<S>,
    pub queue: mpsc::UnboundedReceiver<Stored<S>>,
    pub done: mpsc::UnboundedSender<Done<S>>,
}

/// What the storage task is asked for.
pub(crate) enum Stored<S> {
    Command(StoreCommand<S>),
    Close { commit: Index },
}

/// What it has done.
pub(crate) enum Done<S> {
    Batch {
        done: Vec<StoreDone<S>>,
        commands: u64,
        took: Duration,
    },
    OnDisk(Vec<DiskApplied>),
    Failed(StoreError),
}

impl<S: StateMachine> Storage<S> {
    /// Works until it is told to close, something fails, or nobody asks any more.
    pub async fn run(mut self) {
        let mut commands = Vec::new();
        while self.queue.recv_many(&mut commands, STORE_BATCH).await > 0 {
            let batch = std::mem::take(&mut commands);
            let started = self.host.now();
            let count = batch.len() as u64;
            let mut store = self.store;
            let closing = batch.iter().any(|c| matches!(c, Stored::Close { .. }));
            let (store, result) = self
                .host
                .blocking(move |disk| {
                    let result = (|| {
                        for command in batch {
                            match command {
                                Stored::Command(command) => store.write(disk, command)?,
                                Stored::Close { commit } => store.close(disk, commit)?,
                            }
                        }
                        store.sync(disk)
                    })();
                    (store, result)
                })
                .await;
            self.store = store;
            let message = match result {
                Ok(done) => Done::Batch {
                    done,
                    commands: count,
                    took: self.host.now().since(started),
                },
                Err(error) => Done::Failed(error),
            };
            let failed = matches!(message, Done::Failed(_));
            if self.done.send(message).is_err() || failed || closing {
                return;
            }
        }
    }
}
