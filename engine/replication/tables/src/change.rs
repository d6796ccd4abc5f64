use crate::{Reader, SqlError, service::encode};
use holdfast_host::UnixTime;
use holdfast_raft::Index;
use holdfast_sqlite::rusqlite::{Params, params};
use serde::Serialize;
use std::{cell::Cell, ops::Deref, time::Duration};

/// One command being applied: the tables, and what the command brings along. Reads as a [`Reader`] does.
pub struct Change<'a> {
    reader: Reader<'a>,
    service: &'static str,
    index: Index,
    time: UnixTime,
    ids: u32,
    resource: String,
    /// How many outside effects were taken back.
    revoked: &'a Cell<u64>,
}

impl<'a> Deref for Change<'a> {
    type Target = Reader<'a>;

    fn deref(&self) -> &Reader<'a> {
        &self.reader
    }
}

impl<'a> Change<'a> {
    pub(crate) fn new(
        reader: Reader<'a>,
        service: &'static str,
        index: Index,
        time: UnixTime,
        revoked: &'a Cell<u64>,
    ) -> Self {
        Change {
            reader,
            service,
            index,
            time,
            ids: 0,
            resource: String::new(),
            revoked,
        }
    }

    /// The command's place in the log.
    pub fn index(&self) -> Index {
        self.index
    }

    /// When the command was proposed, by the leader's wall clock; never before an earlier command.
    pub fn time(&self) -> UnixTime {
        self.time
    }

    /// An id that no other command gets, on whichever replica: 48 bits of milliseconds, the command's index, and how
    /// many ids it has had. Ids rise along the log. They are no secrets.
    pub fn new_id(&mut self) -> u128 {
        let id = u128::from(self.time.as_nanos() / 1_000_000) << 80
            | u128::from(self.index & ((1 << 56) - 1)) << 24
            | u128::from(self.ids & ((1 << 24) - 1));
        self.ids += 1;
        id
    }

    /// Changes rows; how many.
    pub fn execute(&self, sql: &'static str, values: impl Params) -> Result<usize, SqlError> {
        self.reader.execute(sql, values)
    }

    /// Inserts one row; its rowid.
    pub fn insert(&self, sql: &'static str, values: impl Params) -> Result<i64, SqlError> {
        self.reader.execute(sql, values)?;
        Ok(self.reader.last_insert_rowid())
    }

    /// Names what was changed, for the audit log.
    pub fn concerns(&mut self, resource: impl Into<String>) {
        self.resource = resource.into();
    }

    pub(crate) fn resource(&self) -> &str {
        &self.resource
    }

    /// Asks for an outside effect: a row of the outbox. Rows of one `lane` are performed a few at a time, in the order
    /// in which they were asked for, the first no sooner than after `delay`.
    pub fn enqueue(
        &self,
        lane: &str,
        payload: &impl Serialize,
        delay: Duration,
    ) -> Result<i64, SqlError> {
        self.insert(
            "INSERT INTO outbox (service, lane, payload, attempts, delay) VALUES (?1, ?2, ?3, 0, ?4)",
            params![
                self.service,
                lane,
                encode(payload),
                delay.as_millis() as i64
            ],
        )
    }

    /// Takes back every outside effect whose id the query gives, as [`revoke`](Change::revoke) does; how many.
    pub fn revoke_all(&self, query: &'static str, values: impl Params) -> Result<usize, SqlError> {
        let mut revoked = 0;
        let ids = self.all(query, values, |row| row.get::<_, Option<i64>>(0))?;
        for id in ids.into_iter().flatten() {
            revoked += usize::from(self.revoke(id)?);
        }
        Ok(revoked)
    }

    /// Takes back an outside effect that is not performed yet. One that is under way may still happen; its result is
    /// not taken in.
    pub fn revoke(&self, id: i64) -> Result<bool, SqlError> {
        let revoked = self.execute(
            "DELETE FROM outbox WHERE id = ?1 AND service = ?2",
            params![id, self.service],
        )?;
        self.revoked.set(self.revoked.get() + revoked as u64);
        Ok(revoked > 0)
    }
}
