use crate::{
    Consistency, DiskApplied, DiskCommand, DiskMachine, DiskMachineError, Mutant, RequestError,
    RequestId, SnapshotFile, State, StateMachine, StoreDone,
    snapshot::{self, DiskCopy},
    storage::Done,
};
use bytes::Bytes;
use holdfast_host::{Disk, Host, UnixTime};
use holdfast_raft::{Index, NodeId, SnapshotMeta, Term};
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot, watch};

/// Most pieces of work that the disk machine does in one go: commands among them share a sync.
const BATCH: usize = 512;
/// Where a copy of the disk machine is on its way into a snapshot, or out of one.
const COPY_NAME: &str = "disk-machine.copy";

/// What a replica is in its group; see [`DiskHandle::standing`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// This replica.
    pub id: NodeId,
    /// Its term.
    pub term: Term,
    /// Whether it leads in that term, and has applied everything that earlier leaders had committed.
    pub leads: bool,
    /// Who leads, when that is known.
    pub leader: Option<NodeId>,
}

/// The disk machine and where it may be reached, or why not.
pub(crate) type CallWork = Box<dyn FnOnce(Result<DiskAccess<'_>, RequestError>) + Send + 'static>;

/// The disk machine with the world it lives in, for the length of a call.
pub struct DiskAccess<'a> {
    /// The machine.
    pub machine: &'a mut dyn DiskMachine,
    /// The disk that it is on.
    pub disk: &'a mut dyn Disk,
    /// The wall clock.
    pub now: UnixTime,
}

/// What clients of the disk machine ask of the driver.
pub(crate) enum DiskRequest {
    Propose {
        payload: Bytes,
        reply: oneshot::Sender<Result<(Index, crate::Outcome), RequestError>>,
    },
    Call {
        consistency: Consistency,
        work: CallWork,
    },
}

/// Reaches the [`DiskMachine`] of a running replica; clones reach the same one.
#[derive(Clone)]
pub struct DiskHandle {
    pub(crate) requests: mpsc::Sender<DiskRequest>,
    pub(crate) standing: watch::Receiver<Standing>,
}

impl DiskHandle {
    /// Replicates a command and waits until this replica's machine has applied it: its index in the log, and what
    /// became of it. A command whose outcome is not learned may have been applied; the machine must recognise a retry.
    pub async fn propose(&self, payload: Bytes) -> Result<(Index, Bytes), RequestError> {
        let (reply, outcome) = oneshot::channel();
        self.request(DiskRequest::Propose { payload, reply })?;
        match outcome.await.unwrap_or(Err(RequestError::Stopped))? {
            (index, crate::Outcome::Applied(outcome)) => Ok((index, outcome)),
            (_, other) => unreachable!("only the machine in memory answers {other:?}"),
        }
    }

    /// Calls into the machine once it is as far as `consistency` asks; it does nothing else meanwhile.
    pub async fn call<T: Send + 'static>(
        &self,
        consistency: Consistency,
        call: impl FnOnce(DiskAccess<'_>) -> T + Send + 'static,
    ) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        let work: CallWork = Box::new(move |access| {
            let _ = reply.send(access.map(call));
        });
        self.request(DiskRequest::Call { consistency, work })?;
        answer.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// What this replica is in its group, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    fn request(&self, request: DiskRequest) -> Result<(), RequestError> {
        crate::driver::try_send(&self.requests, request)
    }
}

/// What the disk machine's task is asked for, in order.
pub(crate) enum Work<S> {
    Apply {
        command: DiskCommand,
        request: RequestId,
    },
    Snapshot {
        meta: SnapshotMeta,
        state: Box<State<S>>,
    },
    Install(SnapshotFile),
    Call(CallWork),
    Close,
}

/// Has the disk machine, and does with it what it is asked for.
pub(crate) struct DiskTask<S> {
    pub host: Host,
    pub machine: Box<dyn DiskMachine>,
    pub directory: PathBuf,
    pub group: u64,
    pub mutant: Option<Mutant>,
    /// Bounded by what Raft hands out to be applied; calls by the requests that may wait.
    pub queue: mpsc::UnboundedReceiver<Work<S>>,
    pub done: mpsc::UnboundedSender<Done<S>>,
}

impl<S: StateMachine> DiskTask<S> {
    /// Works until it is told to close, something fails, or nobody asks any more.
    pub async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.queue.recv_many(&mut waiting, BATCH).await > 0 {
            let work = std::mem::take(&mut waiting);
            let host = self.host.clone();
            let (task, end) = host.blocking(move |disk| self.work(disk, work)).await;
            self = task;
            match end {
                Ok(false) => {}
                Ok(true) => {
                    let (machine, now) = (self.machine, self.host.unix_time());
                    let closed = host.blocking(move |disk| machine.close(disk, now)).await;
                    if let Err(error) = closed {
                        tracing::warn!(%error, "the disk machine did not close in order");
                    }
                    return;
                }
                Err(error) => {
                    let _ = self.done.send(Done::Failed(error.into()));
                    return;
                }
            }
        }
    }

    /// Does the work; whether it was told to close.
    fn work(
        mut self,
        disk: &mut dyn Disk,
        work: Vec<Work<S>>,
    ) -> (Self, Result<bool, DiskMachineError>) {
        let mut commands = Vec::new();
        let mut closes = false;
        let result = (|| {
            for work in work {
                if let Work::Apply { command, request } = work {
                    commands.push((command, request));
                    continue;
                }
                let is_early = cfg!(debug_assertions)
                    && self.mutant == Some(Mutant::CopyBeforeCommands)
                    && matches!(work, Work::Snapshot { .. });
                if !is_early {
                    self.apply(disk, std::mem::take(&mut commands))?;
                }
                match work {
                    Work::Apply { .. } => unreachable!("gathered above"),
                    Work::Snapshot { meta, state } => self.snapshot(disk, &meta, &state)?,
                    Work::Install(file) => self.install(disk, &file)?,
                    Work::Call(call) => call(Ok(DiskAccess {
                        machine: &mut *self.machine,
                        disk,
                        now: self.host.unix_time(),
                    })),
                    Work::Close => closes = true,
                }
            }
            self.apply(disk, commands)
        })();
        (self, result.map(|()| closes))
    }

    fn apply(
        &mut self,
        disk: &mut dyn Disk,
        commands: Vec<(DiskCommand, RequestId)>,
    ) -> Result<(), DiskMachineError> {
        if commands.is_empty() {
            return Ok(());
        }
        let applied = self.machine.applied();
        let now = self.host.unix_time();
        let (commands, requests): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        let known = commands.partition_point(|command| command.index <= applied);
        let outcomes = match &commands[known..] {
            [] => Vec::new(),
            new => self.machine.apply(disk, now, new)?,
        };
        assert_eq!(outcomes.len(), commands.len() - known, "an outcome each");
        let outcomes = std::iter::repeat_n(None, known).chain(outcomes.into_iter().map(Some));
        let done = commands.iter().zip(requests).zip(outcomes);
        let done = done.map(|((command, request), outcome)| DiskApplied {
            index: command.index,
            request,
            bytes: command.payload.len(),
            outcome,
        });
        let _ = self.done.send(Done::OnDisk(done.collect()));
        Ok(())
    }

    fn snapshot(
        &mut self,
        disk: &mut dyn Disk,
        meta: &SnapshotMeta,
        state: &State<S>,
    ) -> Result<(), DiskMachineError> {
        let started = self.host.now();
        let applied = self.machine.applied();
        let path = self.directory.join(COPY_NAME);
        remove_if_there(disk, &path)?;
        // Nothing was ever asked of it: every replica begins with as much.
        let copy = (applied > 0).then_some(DiskCopy { applied, path });
        if let Some(copy) = &copy {
            let now = self.host.unix_time();
            self.machine.copy_to(disk, now, &copy.path)?;
        }
        let written = snapshot::write(
            disk,
            &self.directory,
            self.group,
            meta,
            state,
            copy.as_ref(),
            self.mutant,
        );
        let _ = self.done.send(match written {
            Ok(file) => Done::Batch {
                done: vec![StoreDone::SnapshotTaken(file)],
                commands: 1,
                took: self.host.now().since(started),
            },
            Err(error) => Done::Failed(error),
        });
        match copy {
            Some(copy) => remove_if_there(disk, &copy.path),
            None => Ok(()),
        }
    }

    fn install(
        &mut self,
        disk: &mut dyn Disk,
        file: &SnapshotFile,
    ) -> Result<(), DiskMachineError> {
        install(
            &mut *self.machine,
            disk,
            self.host.unix_time(),
            &self.directory,
            file,
        )
    }
}

/// Gives the machine what the snapshot holds of it, if that is newer than what it has.
pub(crate) fn install(
    machine: &mut dyn DiskMachine,
    disk: &mut dyn Disk,
    now: UnixTime,
    directory: &std::path::Path,
    file: &SnapshotFile,
) -> Result<(), DiskMachineError> {
    let copy = directory.join(COPY_NAME);
    let applied = machine.applied();
    let extracted = snapshot::extract_copy(disk, directory, file, applied, &copy);
    if extracted.map_err(|error| DiskMachineError(format!("disk: {error}")))? {
        machine.replace(disk, now, &copy)?;
    }
    Ok(())
}

fn remove_if_there(disk: &mut dyn Disk, path: &std::path::Path) -> Result<(), DiskMachineError> {
    match disk.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DiskMachineError(format!("disk: {error}")))
        }
        _ => Ok(()),
    }
}
