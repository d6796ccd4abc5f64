//! Who changed what: a record of every change that was asked for, carried out or refused.

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
