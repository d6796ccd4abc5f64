//! Reads of the service's table.

use crate::{KeyHash, KeyId, KeyRecord};
use holdfast_tables::{Reader, Row, SqlError, params};

/// Most keys of one page. One more is given when it is asked for, so that who pages knows whether there is one.
pub const MAX_PAGE: usize = 1_000;

/// The column list is the same in every statement; [`record`] reads it.
macro_rules! select_key {
    ($rest:literal) => {
        concat!(
            "SELECT number, id, name, scopes, created_at, created_by, expires_at, revoked_at, hash
             FROM api_keys ",
            $rest
        )
    };
}

fn maybe(row: &Row<'_>, column: usize) -> Result<Option<u64>, SqlError> {
    Ok(row.get::<_, Option<i64>>(column)?.map(i64::cast_unsigned))
}

fn record(row: &Row<'_>) -> Result<KeyRecord, SqlError> {
    let (id, scopes): (String, String) = (row.get(1)?, row.get(3)?);
    Ok(KeyRecord {
        number: row.get::<_, i64>(0)?.cast_unsigned(),
        id: id.parse().expect("written as an id"),
        name: row.get(2)?,
        scopes: scopes.split(' ').map(str::to_owned).collect(),
        created_at: row.get::<_, i64>(4)?.cast_unsigned(),
        created_by: row.get(5)?,
        expires_at: maybe(row, 6)?,
        revoked_at: maybe(row, 7)?,
    })
}

/// One key.
pub fn find(reader: Reader<'_>, id: KeyId) -> Result<Option<KeyRecord>, SqlError> {
    reader.first(select_key!("WHERE id = ?1"), [id.as_str()], record)
}

/// One key, with the hash by which its secret is known: for who lets somebody in, not for who asks.
pub fn credentials(
    reader: Reader<'_>,
    id: KeyId,
) -> Result<Option<(KeyRecord, KeyHash)>, SqlError> {
    reader.first(select_key!("WHERE id = ?1"), [id.as_str()], |row| {
        let hash: String = row.get(8)?;
        Ok((record(row)?, hash.parse().expect("written as a hash")))
    })
}

/// Keys, the newest first, those whose number is below `before`; revoked and expired ones among them.
pub fn list(
    reader: Reader<'_>,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<KeyRecord>, SqlError> {
    let before = before.map_or(i64::MAX, |number| i64::try_from(number).unwrap_or(i64::MAX));
    let limit = limit.min(MAX_PAGE + 1) as i64;
    reader.all(
        select_key!("WHERE number < ?1 ORDER BY number DESC LIMIT ?2"),
        params![before, limit],
        record,
    )
}
