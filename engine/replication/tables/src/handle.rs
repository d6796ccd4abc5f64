use crate::{
    Reader, Service, SqlError, Tables,
    call::{Call, Caller, Reply},
    service::encode,
};
use bytes::Bytes;
use holdfast_raft::Index;
use holdfast_replica::{Consistency, DiskHandle, RequestError, Standing};
use holdfast_sqlite::Error;
use std::any::Any;
use tokio::sync::watch;

/// Why a command or a read has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// See [`RequestError`]; for a command: it may have been carried out, unless the error says that it was not.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The idempotency key was used for another request before; nothing has happened.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The replicas run a program that does not know the command; nothing has happened.
    #[error("the command is not known to the replicas")]
    Unknown,
    /// A statement failed; nothing has happened. A mistake in the service.
    #[error("a statement failed: {0}")]
    Statement(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// A command that was carried out or refused by its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed<T> {
    /// Its place in the log.
    pub index: Index,
    /// An earlier request with the same idempotency key had done it, and this is that one's outcome.
    pub replayed: bool,
    /// What the service said.
    pub outcome: T,
}

/// Proposes commands to the services of a replica's tables and reads them. Clones reach the same.
#[derive(Clone)]
pub struct TablesHandle {
    disk: DiskHandle,
    changed: watch::Receiver<Index>,
}

impl TablesHandle {
    /// A handle on the tables of the replica behind `disk`; `changed` is what [`Tables::changed`] gave before the
    /// replica took them.
    pub fn new(disk: DiskHandle, changed: watch::Receiver<Index>) -> Self {
        TablesHandle { disk, changed }
    }

    /// Replicates a command of a service and waits until this replica has applied it. With a caller it enters the
    /// audit log.
    pub async fn propose<V: Service>(
        &self,
        caller: Option<Caller>,
        command: &V::Command,
    ) -> Result<Proposed<Result<V::Outcome, V::Refusal>>, CallError> {
        let call = Call::Service {
            service: V::SCHEMA.name.to_owned(),
            caller,
            command: encode(command).into(),
        };
        let (index, reply) = self.call(&call).await?;
        let decoded = |bytes: &Bytes| postcard::from_bytes(bytes).ok();
        let (replayed, outcome) = match &reply {
            Reply::Done(bytes) => (false, decoded(bytes).map(Ok)),
            Reply::Replayed(bytes) => (true, decoded(bytes).map(Ok)),
            Reply::Refused(bytes) => (false, postcard::from_bytes(bytes).ok().map(Err)),
            _ => (false, None),
        };
        let outcome = match (outcome, reply) {
            (Some(outcome), _) => outcome,
            (None, Reply::KeyReused) => return Err(CallError::KeyReused),
            (None, Reply::Failed(error)) => return Err(CallError::Statement(error)),
            (None, _) => return Err(CallError::Unknown),
        };
        Ok(Proposed {
            index,
            replayed,
            outcome,
        })
    }

    /// Tries a dead letter of the outbox again; whether there is one of that name.
    pub async fn revive(&self, id: i64, caller: Option<Caller>) -> Result<bool, CallError> {
        match self.call(&Call::Revive { id, caller }).await?.1 {
            Reply::Done(bytes) => Ok(postcard::from_bytes(&bytes).unwrap_or(false)),
            Reply::Failed(error) => Err(CallError::Statement(error)),
            _ => Err(CallError::Unknown),
        }
    }

    pub(crate) async fn call(&self, call: &Call) -> Result<(Index, Reply), CallError> {
        let (index, reply) = self.disk.propose(encode(call).into()).await?;
        let reply = postcard::from_bytes(&reply).map_err(|_| CallError::Unknown)?;
        Ok((index, reply))
    }

    /// Reads the tables once they are as `consistency` promises. Nothing is applied meanwhile, so a read is bounded:
    /// a page, not a table.
    pub async fn read<T: Send + 'static>(
        &self,
        consistency: Consistency,
        read: impl FnOnce(Reader<'_>) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, CallError> {
        let answer = self.with_tables(consistency, move |tables, disk, now| {
            tables.read(disk, now, read)
        });
        Ok(answer.await??)
    }

    /// Calls into the tables themselves.
    pub async fn with_tables<T: Send + 'static>(
        &self,
        consistency: Consistency,
        call: impl FnOnce(&mut Tables, &mut dyn holdfast_host::Disk, holdfast_host::UnixTime) -> T
        + Send
        + 'static,
    ) -> Result<T, RequestError> {
        self.disk
            .call(consistency, move |access| {
                let machine: &mut dyn Any = access.machine;
                let tables = machine.downcast_mut::<Tables>();
                let tables = tables.expect("the replica's disk machine is its tables");
                call(tables, access.disk, access.now)
            })
            .await
    }

    /// The index of the last command that the tables here have applied, as it rises.
    pub fn changed(&self) -> watch::Receiver<Index> {
        self.changed.clone()
    }

    /// What this replica is in its group, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.disk.standing()
    }
}
