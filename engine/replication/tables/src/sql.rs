//! SQL as services write it: texts that stand in the program, values that are bound.

use holdfast_sqlite::rusqlite::{self, Connection, OptionalExtension, Params, Row};

/// SQLite refused a statement.
pub type SqlError = rusqlite::Error;

/// Reads tables.
///
/// A statement is a text of the program and nothing else (`&'static str`): values can only be bound, so that what a
/// client sent is never read as SQL.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    connection: &'a Connection,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Reader { connection }
    }

    /// The first row, if there is one.
    pub fn first<T>(
        &self,
        sql: &'static str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        self.connection
            .prepare_cached(sql)?
            .query_row(values, read)
            .optional()
    }

    /// The only row of a statement that always has one: an aggregate, say.
    pub fn one<T>(
        &self,
        sql: &'static str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.connection.prepare_cached(sql)?.query_row(values, read)
    }

    /// All rows. Whoever writes the statement bounds them, by a `LIMIT` or by what the tables hold.
    pub fn all<T>(
        &self,
        sql: &'static str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        self.connection
            .prepare_cached(sql)?
            .query_map(values, read)?
            .collect()
    }

    /// Every row, one after the other, without holding them.
    pub fn each(
        &self,
        sql: &'static str,
        values: impl Params,
        mut visit: impl FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        while let Some(row) = rows.next()? {
            visit(row)?;
        }
        Ok(())
    }

    pub(crate) fn execute(
        &self,
        sql: &'static str,
        values: impl Params,
    ) -> Result<usize, SqlError> {
        debug_assert!(
            is_deterministic(sql),
            "not the same on every replica: {sql}"
        );
        self.connection.prepare_cached(sql)?.execute(values)
    }

    pub(crate) fn last_insert_rowid(&self) -> i64 {
        self.connection.last_insert_rowid()
    }
}

/// Whether a statement has the same effect wherever and whenever it is carried out, as far as its words tell.
fn is_deterministic(sql: &str) -> bool {
    const BANNED: [&str; 6] = [
        "random",
        "'now'",
        "current_time",
        "current_date",
        "unixepoch()",
        "julianday()",
    ];
    let sql = sql.to_ascii_lowercase();
    !BANNED.iter().any(|word| sql.contains(word))
}

/// Whether it is the disk, the memory or the file that failed: nothing that the next replica would see alike.
pub(crate) fn is_of_this_machine(error: &SqlError) -> bool {
    use rusqlite::ErrorCode::*;
    matches!(
        error.sqlite_error_code(),
        Some(
            SystemIoFailure
                | DiskFull
                | CannotOpen
                | OutOfMemory
                | DatabaseCorrupt
                | NotADatabase
                | ReadOnly
                | PermissionDenied
                | DatabaseBusy
                | OperationInterrupted
        )
    )
}

#[cfg(test)]
mod tests {
    use super::is_deterministic;

    #[test]
    fn chance_and_clocks_are_seen_in_a_statement() {
        assert!(is_deterministic(
            "UPDATE jobs SET status = ?1 WHERE id = ?2"
        ));
        assert!(!is_deterministic(
            "UPDATE jobs SET started = datetime('now')"
        ));
        assert!(!is_deterministic("INSERT INTO jobs VALUES (Random())"));
        assert!(!is_deterministic(
            "INSERT INTO jobs VALUES (CURRENT_TIMESTAMP)"
        ));
    }
}
