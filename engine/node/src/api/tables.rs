//! Commands and reads of the services that keep tables, and what a client is told when one of them fails.

use super::{Api, Call, Problem, ProblemKind, convert, unread};
use crate::{
    http::idempotency::{Fingerprint, IdempotencyKey},
    wire::Consistency,
};
use holdfast_tables::{CallError, Caller, Idempotency, Proposed, Reader, Service, SqlError};
use std::sync::atomic::Ordering;

/// What a service made of a command.
pub(super) type Carried<V> = Proposed<Result<<V as Service>::Outcome, <V as Service>::Refusal>>;

/// Why tables may not be read.
pub(super) const READ: &[ProblemKind] = &[
    ProblemKind::NoLeader,
    ProblemKind::Overloaded,
    ProblemKind::Unavailable,
    ProblemKind::ReadTimeout,
    ProblemKind::TooLarge,
    ProblemKind::Internal,
];
/// Why a command may not be carried out, or not be known to have been.
pub(super) const COMMAND: &[ProblemKind] = &[
    ProblemKind::NoLeader,
    ProblemKind::Overloaded,
    ProblemKind::Unavailable,
    ProblemKind::OutcomeUnknown,
    ProblemKind::TooLarge,
    ProblemKind::IdempotencyKeyReused,
    ProblemKind::Internal,
];

/// Who asks, for the audit log; and by which name the request is known when it comes again.
///
/// # Errors
/// 400 when the `Idempotency-Key` is malformed.
pub(super) fn caller(call: &Call<'_>, body: &[u8]) -> Result<Caller, Problem> {
    let head = call.head;
    let key = IdempotencyKey::of(&head.headers)?;
    let target = head
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    Ok(Caller {
        actor: call.actor.to_string(),
        operation: call.operation.id.to_owned(),
        idempotency: key.map(|key| Idempotency {
            key: key.as_str().to_owned(),
            fingerprint: Fingerprint::of(&head.method, target, body).short(),
        }),
    })
}

impl Api {
    /// Reads tables that are as `consistency` promises.
    pub(super) async fn read_tables<T: Send + 'static>(
        &self,
        consistency: Consistency,
        read: impl FnOnce(Reader<'_>) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, Problem> {
        let read = self.tables.read(convert::consistency(consistency), read);
        read.await.map_err(|error| match error {
            CallError::Request(error) => unread(error),
            other => self.failed(other),
        })
    }

    /// Replicates a command of a service.
    pub(super) async fn propose_to<V: Service>(
        &self,
        caller: Caller,
        command: &V::Command,
    ) -> Result<Carried<V>, Problem> {
        self.begin_proposal()?;
        let proposed = self.tables.propose::<V>(Some(caller), command).await;
        proposed.map_err(|error| self.not_carried_out(error))
    }

    /// Counts a proposal, unless there can be none any more.
    pub(super) fn begin_proposal(&self) -> Result<(), Problem> {
        if let Some(failure) = self.failure() {
            return Err(Problem::new(ProblemKind::Unavailable, failure));
        }
        self.metrics.proposals.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Why a command has no outcome.
    pub(super) fn not_carried_out(&self, error: CallError) -> Problem {
        match error {
            CallError::Request(error) => self.not_proposed(error),
            other => self.failed(other),
        }
    }

    fn failed(&self, error: CallError) -> Problem {
        let kind = match &error {
            CallError::KeyReused => ProblemKind::IdempotencyKeyReused,
            // While the nodes of a cluster run different programs.
            CallError::Unknown => ProblemKind::Unavailable,
            CallError::Statement(_) => ProblemKind::Internal,
            CallError::Request(_) | CallError::Database(_) => ProblemKind::Unavailable,
        };
        if kind == ProblemKind::Internal {
            tracing::error!(%error, "a command was not carried out");
        }
        Problem::new(kind, error.to_string())
    }
}
