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

/// The tables of one owner, and how they came to be. Several owners share a database, each with its own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The owner, for ever.
    pub name: &'static str,
    /// Its steps, from 1.
    pub migrations: &'static [Migration],
}

impl Migration {
    fn checksum(&self) -> i64 {
        let mut hash = Fnv::default();
        hash.bytes(self.sql.as_bytes());
        hash.sum().cast_signed()
    }
}

/// Applies the steps that the database lacks, each in a transaction of its own, which a crash leaves done or undone.
pub(crate) fn migrate(connection: &mut Connection, schemas: &[Schema]) -> Result<(), Error> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (
            owner TEXT NOT NULL,
            number INTEGER NOT NULL,
            name TEXT NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (owner, number)
        ) STRICT, WITHOUT ROWID",
    )?;
    for schema in schemas {
        let newest: u32 = connection.query_row(
            "SELECT coalesce(max(number), 0) FROM migrations WHERE owner = ?1",
            [schema.name],
            |row| row.get(0),
        )?;
        if newest as usize > schema.migrations.len() {
            return Err(Error::NewerSchema {
                owner: schema.name,
                found: newest,
                known: schema.migrations.len() as u32,
            });
        }
        for (place, step) in schema.migrations.iter().enumerate() {
            assert_eq!(
                step.number as usize,
                place + 1,
                "migrations are numbered from 1"
            );
            let transaction = connection.transaction()?;
            apply(&transaction, schema.name, step)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

fn apply(
    transaction: &Transaction<'_>,
    owner: &'static str,
    step: &Migration,
) -> Result<(), Error> {
    let known: Option<i64> = transaction
        .prepare_cached("SELECT checksum FROM migrations WHERE owner = ?1 AND number = ?2")?
        .query_row(params![owner, step.number], |row| row.get(0))
        .optional()?;
    match known {
        Some(checksum) if checksum == step.checksum() => Ok(()),
        Some(_) => Err(Error::ChangedMigration {
            owner,
            number: step.number,
            name: step.name,
        }),
        None => {
            transaction.execute_batch(step.sql)?;
            transaction
                .prepare_cached(
                    "INSERT INTO migrations (owner, number, name, checksum) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![owner, step.number, step.name, step.checksum()])?;
            Ok(())
        }
    }
}
