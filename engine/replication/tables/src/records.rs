//! Reads of what the tables remember beside those of the services: who changed what, and what could not be done outside.

use crate::{Reader, SqlError};
use bytes::Bytes;
use holdfast_raft::Index;
use holdfast_sqlite::rusqlite::params;

/// Most records that one read gives; one more than a page, so that who pages knows whether there is another.
pub const MAX_RECORDS: usize = 1_001;

/// A change that a client asked for and got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its name; rises along the log.
    pub id: i64,
    /// The command's place in the log.
    pub index: Index,
    /// When it was proposed, nanoseconds since the epoch.
    pub time: u64,
    /// Who asked.
    pub actor: String,
    /// What changed it.
    pub service: String,
    /// What was asked, as the interface calls it.
    pub operation: String,
    /// Of what.
    pub resource: String,
    /// What became of it.
    pub outcome: String,
}

/// The audit log, the newest first, those before `before`.
pub fn audit_entries(
    reader: Reader<'_>,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<AuditEntry>, SqlError> {
    reader.all(
        "SELECT id, log_index, time, actor, service, operation, resource, outcome
         FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
        params![before.unwrap_or(i64::MAX), limit.min(MAX_RECORDS) as i64],
        |row| {
            Ok(AuditEntry {
                id: row.get(0)?,
                index: row.get::<_, i64>(1)?.cast_unsigned(),
                time: row.get::<_, i64>(2)?.cast_unsigned(),
                actor: row.get(3)?,
                service: row.get(4)?,
                operation: row.get(5)?,
                resource: row.get(6)?,
                outcome: row.get(7)?,
            })
        },
    )
}

/// A row of the outbox that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its name.
    pub id: i64,
    /// Whose it was.
    pub service: String,
    /// Its lane.
    pub lane: String,
    /// What the service wrote.
    pub payload: Bytes,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why it was given up.
    pub reason: String,
    /// When, nanoseconds since the epoch.
    pub died: u64,
}

/// The dead letters of every service, the newest first, those before `before`.
pub fn dead_letters(
    reader: Reader<'_>,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<DeadLetter>, SqlError> {
    reader.all(
        "SELECT id, service, lane, payload, attempts, reason, died
         FROM dead_letters WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
        params![before.unwrap_or(i64::MAX), limit.min(MAX_RECORDS) as i64],
        |row| {
            Ok(DeadLetter {
                id: row.get(0)?,
                service: row.get(1)?,
                lane: row.get(2)?,
                payload: Bytes::from(row.get::<_, Vec<u8>>(3)?),
                attempts: row.get(4)?,
                reason: row.get(5)?,
                died: row.get::<_, i64>(6)?.cast_unsigned(),
            })
        },
    )
}
