use crate::{
    Mutant, Schema,
    hash::Fnv,
    migrate::migrate,
    vfs::{self, Health, World},
};
use holdfast_host::{Disk, FileId, OpenMode, UnixTime};
use rand_chacha::ChaCha8Rng;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Bytes of the write-ahead log file that stay on the disk between checkpoints.
const WAL_BYTES_KEPT: u32 = 16 << 20;

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The tables, by their owners, step by step.
    pub schemas: Vec<Schema>,
    /// Largest page cache, KiB.
    pub cache_kib: u32,
    /// A bug to plant; has an effect only where debug assertions are on.
    pub mutant: Option<Mutant>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused, and what it said.
    #[error("disk: {0}")]
    Disk(#[from] io::Error),
    /// A sync has failed: what is on the disk is not known any more. The database must be closed and opened again.
    #[error("a sync failed; the database cannot be trusted until it is opened again")]
    Deceived,
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// Somebody else has the database open.
    #[error("{0} is open already")]
    Locked(String),
    /// A path that SQLite cannot be told.
    #[error("{0} is no path in UTF-8")]
    Path(String),
    /// A later program has used this database.
    #[error("the schema of {owner} has step {found}, this program knows {known}")]
    NewerSchema {
        /// Whose.
        owner: &'static str,
        /// The newest step that was applied.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The text of a step that was applied is another one now.
    #[error(
        "migration {number} ({name}) of {owner} is not the one that this database was made with"
    )]
    ChangedMigration {
        /// Whose.
        owner: &'static str,
        /// Which.
        number: u32,
        /// Its name now.
        name: &'static str,
    },
}

/// An open database. Synchronous: async code calls it inside [`Host::blocking`](holdfast_host::Host::blocking).
///
/// Dropping it without [`close`](Database::close) is what a killed process does: nothing that was committed is lost, and
/// the next opening recovers.
#[derive(Debug)]
pub struct Database {
    /// Before the other fields: SQLite's last words are spoken into no world, and fail.
    connection: Connection,
    path: PathBuf,
    lock: FileId,
    rng: ChaCha8Rng,
    health: Health,
}

impl Database {
    /// Opens or creates the database at `path`, whose directory must exist, recovers what a crash left, and brings its
    /// schema up to date. `now` is what `datetime('now')` and its like tell, here and in every call below. `rng` feeds SQLite's random generator, if nothing has seeded that before.
    pub fn open(
        disk: &mut dyn Disk,
        now: UnixTime,
        path: &Path,
        mut rng: ChaCha8Rng,
        options: &Options,
    ) -> Result<Database, Error> {
        let mut health = Health {
            mutant: options.mutant,
            ..Health::default()
        };
        let name = path
            .to_str()
            .ok_or_else(|| Error::Path(path.display().to_string()))?;
        let lock = disk.lock(&PathBuf::from(format!("{name}-lock")));
        let lock = lock.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Locked(name.to_owned()),
            _ => error.into(),
        })?;
        let mut world = World {
            disk: &mut *disk,
            now,
            rng: &mut rng,
            health: &mut health,
        };
        let connection = vfs::enter(&mut world, || connect(name, options));
        match connection {
            Ok(connection) => Ok(Database {
                connection,
                path: path.to_path_buf(),
                lock,
                rng,
                health,
            }),
            Err(error) => {
                let error = health.explain(error);
                disk.close(lock);
                Err(error)
            }
        }
    }

    /// Reads.
    pub fn read<T>(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        read: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Error> {
        self.call(disk, now, |connection| Ok(read(connection)?))
    }

    /// Carries out `change` in one transaction: when this returns `Ok`, all of it is durable; otherwise nothing of it has
    /// happened, unless the error is [`Error::Deceived`] or of the commit itself.
    pub fn transaction<T, E: From<Error>>(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut refused = None;
        let result = self.call(disk, now, |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            match change(&transaction) {
                Ok(value) => {
                    transaction.commit()?;
                    Ok(Some(value))
                }
                Err(error) => {
                    refused = Some(error);
                    transaction.rollback()?;
                    Ok(None)
                }
            }
        });
        match (result, refused) {
            (_, Some(error)) => Err(error),
            (Ok(value), None) => Ok(value.expect("there is a value or a refusal")),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Writes a consistent copy, compact and durable, to `target`, which must not exist. Takes time in proportion to the
    /// content; nothing else can be done with the database meanwhile.
    pub fn copy_to(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        target: &Path,
    ) -> Result<(), Error> {
        let name = target
            .to_str()
            .ok_or_else(|| Error::Path(target.display().to_string()))?;
        self.call(disk, now, |connection| {
            connection.execute("VACUUM INTO ?1", [name])?;
            Ok(())
        })?;
        let file = disk.open(target, OpenMode::Write)?;
        let synced = disk.sync(file);
        disk.close(file);
        synced?;
        disk.sync_dir(target.parent().unwrap_or(Path::new("")))?;
        Ok(())
    }

    /// A hash of every row of every table, the same for the same content however it came to be. O(content).
    pub fn content_hash(&mut self, disk: &mut dyn Disk, now: UnixTime) -> Result<u64, Error> {
        self.call(disk, now, |connection| Ok(content_hash(connection)?))
    }

    /// What is wrong with the file, as far as SQLite can see; `None`: nothing. O(content).
    pub fn damage(&mut self, disk: &mut dyn Disk, now: UnixTime) -> Result<Option<String>, Error> {
        self.call(disk, now, |connection| {
            let found: String =
                connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            Ok((found != "ok").then_some(found))
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes it in order: what is in the write-ahead log moves into the database file.
    pub fn close(self, disk: &mut dyn Disk, now: UnixTime) -> Result<(), Error> {
        let Database {
            connection,
            lock,
            mut rng,
            mut health,
            ..
        } = self;
        let mut world = World {
            disk: &mut *disk,
            now,
            rng: &mut rng,
            health: &mut health,
        };
        let closed = vfs::enter(&mut world, || {
            connection.close().map_err(|(_, error)| error)
        });
        let closed = closed.map_err(|error| health.explain(error.into()));
        disk.close(lock);
        closed
    }

    /// Calls into SQLite, with a world.
    fn call<T>(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        call: impl FnOnce(&mut Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.health.deceived {
            return Err(Error::Deceived);
        }
        let mut world = World {
            disk,
            now,
            rng: &mut self.rng,
            health: &mut self.health,
        };
        let connection = &mut self.connection;
        let result = vfs::enter(&mut world, || call(connection));
        result.map_err(|error| self.health.explain(error))
    }
}

impl Health {
    /// SQLite knows that the disk refused; the disk knows why.
    fn explain(&mut self, error: Error) -> Error {
        let last = self.last_error.take();
        if self.deceived {
            return Error::Deceived;
        }
        let is_of_disk = matches!(
            error,
            Error::Sqlite(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error {
                    code: rusqlite::ErrorCode::SystemIoFailure
                        | rusqlite::ErrorCode::DiskFull
                        | rusqlite::ErrorCode::CannotOpen,
                    ..
                },
                _
            ))
        );
        match last {
            Some(last) if is_of_disk => Error::Disk(last),
            _ => error,
        }
    }
}

fn connect(name: &str, options: &Options) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags_and_vfs(name, flags, vfs::NAME)?;
    // The lock mode comes first: then the write-ahead log's index is in this process's memory.
    let settings = [
        ("locking_mode", "EXCLUSIVE".to_owned()),
        ("journal_mode", "WAL".to_owned()),
        ("synchronous", "FULL".to_owned()),
        ("temp_store", "MEMORY".to_owned()),
        ("foreign_keys", "ON".to_owned()),
        ("trusted_schema", "OFF".to_owned()),
        ("cell_size_check", "ON".to_owned()),
        ("journal_size_limit", WAL_BYTES_KEPT.to_string()),
        ("cache_size", format!("-{}", options.cache_kib)),
    ];
    for (name, value) in settings {
        connection.pragma_update(None, name, value)?;
    }
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    assert_eq!(mode, "wal", "nobody else has the database");
    migrate(&mut connection, &options.schemas)?;
    Ok(connection)
}

fn content_hash(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let mut hash = Fnv::default();
    let mut tables = connection.prepare(
        "SELECT name, sql FROM sqlite_schema
         WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let tables: Vec<(String, String)> = tables
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    for (table, sql) in tables {
        hash.text(&table);
        hash.text(&sql);
        let quoted = table.replace('"', "\"\"");
        let columns = connection
            .prepare(&format!("SELECT * FROM \"{quoted}\" LIMIT 0"))?
            .column_count();
        // By all columns: the order does not depend on how rows came to be.
        let order: Vec<String> = (1..=columns).map(|column| column.to_string()).collect();
        let order = order.join(", ");
        let mut rows =
            connection.prepare(&format!("SELECT * FROM \"{quoted}\" ORDER BY {order}"))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                hash.value(row.get_ref(column)?);
            }
        }
    }
    Ok(hash.sum())
}
