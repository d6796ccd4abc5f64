use crate::{Error, hash::Fnv};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// A numbered step from one schema to the next. Steps are never changed once they have been applied anywhere: each is
/// remembered with a checksum of its text, and a start that finds another text refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its place: 1, 2, 3, ...
    pub number: u32,
    /// What it does, in a word or two.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

impl Migration {
    fn checksum(&self) -> i64 {
        let mut hash = Fnv::default();
        hash.bytes(self.sql.as_bytes());
        hash.sum().cast_signed()
    }
}

/// Applies the steps that the database lacks, each in a transaction of its own, which a crash leaves done or undone.
pub(crate) fn migrate(connection: &mut Connection, steps: &[Migration]) -> Result<(), Error> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            checksum INTEGER NOT NULL
        ) STRICT",
    )?;
    for (place, step) in steps.iter().enumerate() {
        assert_eq!(
            step.number as usize,
            place + 1,
            "migrations are numbered from 1"
        );
        let transaction = connection.transaction()?;
        apply(&transaction, step)?;
        transaction.commit()?;
    }
    let newest: u32 = connection.query_row(
        "SELECT coalesce(max(number), 0) FROM migrations",
        [],
        |row| row.get(0),
    )?;
    match newest as usize > steps.len() {
        true => Err(Error::NewerSchema {
            found: newest,
            known: steps.len() as u32,
        }),
        false => Ok(()),
    }
}

fn apply(transaction: &Transaction<'_>, step: &Migration) -> Result<(), Error> {
    let known: Option<i64> = transaction
        .prepare_cached("SELECT checksum FROM migrations WHERE number = ?1")?
        .query_row([step.number], |row| row.get(0))
        .optional()?;
    match known {
        Some(checksum) if checksum == step.checksum() => Ok(()),
        Some(_) => Err(Error::ChangedMigration {
            number: step.number,
            name: step.name,
        }),
        None => {
            transaction.execute_batch(step.sql)?;
            transaction
                .prepare_cached(
                    "INSERT INTO migrations (number, name, checksum) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![step.number, step.name, step.checksum()])?;
            Ok(())
        }
    }
}
