//! What the log carries for the tables, and what a proposer is told; postcard.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Who asks for a change, and as what it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The name of the key that was used, or another name for who asked.
    pub actor: String,
    /// What was asked, as the interface calls it.
    pub operation: String,
    /// Makes a repetition of the request harmless.
    pub idempotency: Option<Idempotency>,
}

/// A client's name for a request: the same name, the same request, one effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The name.
    pub key: String,
    /// A hash of the request: another request under the same name is refused.
    pub fingerprint: u64,
}

/// A command of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    /// Of a service.
    Service {
        service: String,
        caller: Option<Caller>,
        command: Bytes,
    },
    /// Whoever proposes this wants to act for a service. It has seen the lease as it says and not changing for long
    /// enough, so its holder has stopped.
    Acquire {
        service: String,
        holder: u64,
        seen: LeaseView,
    },
    /// The holder goes on.
    Renew { service: String, epoch: u64 },
    /// The holder stops.
    Release { service: String, epoch: u64 },
    /// Results of outside effects, from the holder.
    Settle {
        service: String,
        epoch: u64,
        settled: Vec<Settled>,
    },
    /// A dead letter is to be tried again.
    Revive { id: i64, caller: Option<Caller> },
    /// A planted bug: a row of the outbox is gone before its result is there.
    Forget { ids: Vec<i64> },
}

/// A lease as somebody saw it. One that nobody ever had is all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseView {
    pub holder: u64,
    pub epoch: u64,
    pub renewals: u64,
}

/// How one attempt at an outside effect ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settled {
    pub id: i64,
    /// Which attempt, from 0.
    pub attempt: u32,
    pub end: End,
}

/// How an attempt at an outside effect ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It was performed, with this result.
    Done(Bytes),
    /// It is to be tried again, no sooner than after so long.
    Retry {
        /// How long.
        after: Duration,
        /// Why, for people.
        reason: String,
    },
    /// It cannot be performed.
    Dead {
        /// Why, for people.
        reason: String,
    },
}

/// What a proposer is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Carried out, with this outcome.
    Done(Bytes),
    /// Carried out by an earlier request with the same idempotency key, with this outcome.
    Replayed(Bytes),
    /// Refused by the service.
    Refused(Bytes),
    /// Refused: the idempotency key was used for another request.
    KeyReused,
    /// Refused: no such service, or its command does not decode.
    Unknown,
    /// A statement failed; nothing has happened.
    Failed(String),
    /// The lease is the proposer's, in this epoch.
    Leased { epoch: u64 },
    /// The lease is somebody else's, and nothing has happened.
    Fenced,
    /// Taken in.
    Settled,
}
