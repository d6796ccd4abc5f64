//! The outbox and its leases, as commands change them.

use crate::{
    Change, End, Reader, SqlError,
    call::{LeaseView, Reply, Settled},
    service::AnyService,
};
use bytes::Bytes;
use holdfast_sqlite::rusqlite::params;
use std::time::Duration;

/// Attempts after which an outside effect is given up.
pub const MAX_ATTEMPTS: u32 = 12;

/// A row of the outbox: something to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Its name, never used again.
    pub id: i64,
    /// Its lane.
    pub lane: String,
    /// How many attempts were made before.
    pub attempts: u32,
    /// Why the last of them did not do; empty before the first.
    pub last_reason: String,
    /// What the service wrote.
    pub payload: Bytes,
}

/// The lease of a service.
pub(crate) fn lease(reader: Reader<'_>, service: &str) -> Result<LeaseView, SqlError> {
    let known = reader.first(
        "SELECT holder, epoch, renewals FROM leases WHERE service = ?1",
        [service],
        |row| {
            Ok(LeaseView {
                holder: row.get::<_, i64>(0)?.cast_unsigned(),
                epoch: row.get::<_, i64>(1)?.cast_unsigned(),
                renewals: row.get::<_, i64>(2)?.cast_unsigned(),
            })
        },
    )?;
    Ok(known.unwrap_or_default())
}

pub(crate) fn is_current(reader: Reader<'_>, service: &str, epoch: u64) -> Result<bool, SqlError> {
    let lease = lease(reader, service)?;
    Ok(lease.holder != 0 && lease.epoch == epoch)
}

pub(crate) fn acquire(
    reader: Reader<'_>,
    service: &str,
    holder: u64,
    seen: LeaseView,
) -> Result<Reply, SqlError> {
    if lease(reader, service)? != seen {
        return Ok(Reply::Fenced);
    }
    let epoch = seen.epoch + 1;
    reader.execute(
        "INSERT INTO leases (service, holder, epoch, renewals) VALUES (?1, ?2, ?3, 0)
         ON CONFLICT (service) DO UPDATE SET holder = ?2, epoch = ?3, renewals = 0",
        params![service, holder.cast_signed(), epoch.cast_signed()],
    )?;
    Ok(Reply::Leased { epoch })
}

pub(crate) fn renew(reader: Reader<'_>, service: &str, epoch: u64) -> Result<Reply, SqlError> {
    if !is_current(reader, service, epoch)? {
        return Ok(Reply::Fenced);
    }
    reader.execute(
        "UPDATE leases SET renewals = renewals + 1 WHERE service = ?1",
        [service],
    )?;
    Ok(Reply::Leased { epoch })
}

pub(crate) fn release(reader: Reader<'_>, service: &str, epoch: u64) -> Result<Reply, SqlError> {
    if !is_current(reader, service, epoch)? {
        return Ok(Reply::Fenced);
    }
    reader.execute(
        "UPDATE leases SET holder = 0, renewals = 0 WHERE service = ?1",
        [service],
    )?;
    Ok(Reply::Leased { epoch })
}

/// Takes in how an attempt ended. A row that is gone was settled or revoked before; one that has had another attempt
/// since waits for that.
pub(crate) fn settle(
    change: &mut Change<'_>,
    service: &dyn AnyService,
    settled: Settled,
) -> Result<(), SqlError> {
    let Settled { id, attempt, end } = settled;
    let row = change.first(
        "SELECT lane, payload, attempts, reason FROM outbox WHERE id = ?1",
        [id],
        |row| {
            Ok(Effect {
                id,
                lane: row.get(0)?,
                payload: Bytes::from(row.get::<_, Vec<u8>>(1)?),
                attempts: row.get(2)?,
                last_reason: row.get(3)?,
            })
        },
    )?;
    let Some(effect) = row.filter(|effect| effect.attempts == attempt) else {
        return Ok(());
    };
    match end {
        End::Done(result) => {
            change.execute("DELETE FROM outbox WHERE id = ?1", [id])?;
            service.performed(change, effect, &result)
        }
        End::Retry { reason, .. } if attempt + 1 >= MAX_ATTEMPTS => {
            bury(change, service, effect, &reason)
        }
        End::Retry { after, reason } => {
            change.execute(
                "UPDATE outbox SET attempts = attempts + 1, delay = ?2, reason = ?3 WHERE id = ?1",
                params![id, after.as_millis() as i64, reason],
            )?;
            Ok(())
        }
        End::Dead { reason } => bury(change, service, effect, &reason),
    }
}

fn bury(
    change: &mut Change<'_>,
    service: &dyn AnyService,
    effect: Effect,
    reason: &str,
) -> Result<(), SqlError> {
    change.execute(
        "INSERT INTO dead_letters (id, service, lane, payload, attempts, reason, died)
         SELECT id, service, lane, payload, attempts + 1, ?2, ?3 FROM outbox WHERE id = ?1",
        params![effect.id, reason, change.time().as_nanos().cast_signed()],
    )?;
    change.execute("DELETE FROM outbox WHERE id = ?1", [effect.id])?;
    service.buried(change, effect, reason)
}

/// Puts a dead letter back into the outbox, under a new id; whether there was one.
pub(crate) fn revive(reader: Reader<'_>, id: i64) -> Result<bool, SqlError> {
    let revived = reader.execute(
        "INSERT INTO outbox (service, lane, payload, attempts, delay)
         SELECT service, lane, payload, 0, 0 FROM dead_letters WHERE id = ?1",
        [id],
    )?;
    reader.execute("DELETE FROM dead_letters WHERE id = ?1", [id])?;
    Ok(revived > 0)
}

/// A row to be performed, and how long to wait before.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub effect: Effect,
    pub delay: Duration,
}

/// Rows behind `after`, in the order in which they were asked for.
pub(crate) fn rows(
    reader: Reader<'_>,
    service: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<Waiting>, SqlError> {
    reader.all(
        "SELECT id, lane, attempts, payload, delay, reason FROM outbox
         WHERE service = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        params![service, after, limit as i64],
        waiting,
    )
}

/// Rows of one lane.
pub(crate) fn rows_of_lane(
    reader: Reader<'_>,
    service: &str,
    lane: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<Waiting>, SqlError> {
    reader.all(
        "SELECT id, lane, attempts, payload, delay, reason FROM outbox
         WHERE service = ?1 AND lane = ?2 AND id > ?3 ORDER BY id LIMIT ?4",
        params![service, lane, after, limit as i64],
        waiting,
    )
}

fn waiting(row: &holdfast_sqlite::rusqlite::Row<'_>) -> Result<Waiting, SqlError> {
    Ok(Waiting {
        effect: Effect {
            id: row.get(0)?,
            lane: row.get(1)?,
            attempts: row.get(2)?,
            payload: Bytes::from(row.get::<_, Vec<u8>>(3)?),
            last_reason: row.get(5)?,
        },
        delay: Duration::from_millis(row.get::<_, i64>(4)?.max(0).cast_unsigned()),
    })
}

/// Whether a service has anything to do outside.
pub(crate) fn has_rows(reader: Reader<'_>, service: &str) -> Result<bool, SqlError> {
    reader.one(
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE service = ?1)",
        [service],
        |row| row.get(0),
    )
}
