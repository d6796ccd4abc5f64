//! Who changed what: a record of every change that was asked for, carried out or refused.
//!
//! There are two records, for two questions. *What is the state made of?* A change of a service that keeps tables
//! is written into the table `audit` by the transaction that carries it out, with who asked for it: that record is
//! replicated, the same on every node, kept with the state, and read at `/v1/audit`. *What was asked of this node?*
//! Everything with an effect that a client asks of any service, a change of leadership among it, carried out or
//! refused, is told to the tracing target [`LogAudit::TARGET`] by the node that was asked; how long that is kept is
//! the operator's affair.
//!
//! Changes of the key-value store are in the second record only. They come ten thousand a second, are applied in
//! memory, and would each cost a row on every node's disk, and push everything else out of a table that is bounded.
//! What of them is durable is the store's own history: the revisions of each key up to the last compaction.

use crate::{auth::Actor, http::rfc3339};
use holdfast_host::UnixTime;
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// One change that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When, by the node's wall clock.
    pub time: UnixTime,
    /// The name of the request, which its answer told the client.
    pub request: &'a str,
    /// Who asked; [`Actor::Anonymous`] also when the key was none that is taken.
    pub actor: Actor,
    /// From where.
    pub remote: SocketAddr,
    /// For what: an operation's id in the OpenAPI document.
    pub operation: &'static str,
    /// Of what: the request's path.
    pub resource: &'a str,
    /// How it was answered. `None` when the client went away before that: whether the change happened is not known.
    pub status: Option<u16>,
    /// How long it took.
    pub took: Duration,
}

/// Where records go.
pub trait Audit: Send + Sync + 'static {
    /// Takes a record. It is called when a request ends, however it ends, and must not wait: a sink that writes
    /// elsewhere queues, within a bound of its own.
    fn record(&self, record: &Record<'_>);
}

/// Counts records, and logs them as events of the target `audit`.
#[derive(Debug, Default)]
pub struct LogAudit {
    is_silent: bool,
    records: AtomicU64,
}

impl LogAudit {
    /// The target of its events.
    pub const TARGET: &'static str = "audit";

    /// One that logs.
    pub fn logging() -> LogAudit {
        LogAudit::default()
    }

    /// One that only counts.
    pub fn counting() -> LogAudit {
        LogAudit {
            is_silent: true,
            ..LogAudit::default()
        }
    }

    /// How many records there have been.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

impl Audit for LogAudit {
    fn record(&self, record: &Record<'_>) {
        self.records.fetch_add(1, Ordering::Relaxed);
        if self.is_silent {
            return;
        }
        tracing::info!(
            target: LogAudit::TARGET,
            at = rfc3339(record.time),
            request = record.request,
            actor = %record.actor,
            remote = %record.remote,
            operation = record.operation,
            resource = record.resource,
            // 0 where there was no answer: a field of one type is easier to search.
            status = record.status.unwrap_or(0),
            took_us = record.took.as_micros() as u64,
            "change"
        );
    }
}
