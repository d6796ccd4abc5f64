use crate::{
    Change, Fault, Mutant, Reader, Service, SqlError, When, Witness,
    call::{Call, Caller, Reply},
    outbox,
    service::{AnyService, encode},
    sql::is_of_this_machine,
};
use bytes::Bytes;
use holdfast_host::{Disk, UnixTime};
use holdfast_raft::Index;
use holdfast_replica::{DiskCommand, DiskMachine, DiskMachineError};
use holdfast_sqlite::{
    Database, Error, Migration, Options, Schema,
    rusqlite::{Transaction, params},
};
use rand_chacha::ChaCha8Rng;
use std::{
    cell::Cell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::watch;

/// The tables that stand beside those of every service.
const BASE: Schema = Schema {
    name: "tables",
    migrations: &[Migration {
        number: 1,
        name: "base",
        sql: include_str!("schema/001-base.sql"),
    }],
};
/// How long a request is remembered under its idempotency key, by the log's time.
const IDEMPOTENCY_NANOS: u64 = 24 * 3600 * 1_000_000_000;
/// Most forgotten requests that one command cleans up.
const FORGOTTEN_AT_ONCE: u32 = 8;
/// Entries that the audit log keeps.
const AUDIT_ENTRIES: i64 = 1_000_000;

/// The services that share a database and a log.
#[derive(Default)]
pub struct Services {
    by_name: BTreeMap<&'static str, Box<dyn AnyService>>,
}

impl Services {
    /// None yet.
    pub fn new() -> Self {
        Services::default()
    }

    /// With one more.
    ///
    /// # Panics
    /// When there is one of that name.
    pub fn with<V: Service>(mut self, service: V) -> Self {
        let name = V::SCHEMA.name;
        let before = self.by_name.insert(name, Box::new(service));
        assert!(
            before.is_none() && name != BASE.name,
            "one service is called {name}"
        );
        self
    }
}

/// How [`Tables`] are opened.
#[derive(Clone)]
pub struct TablesOptions {
    /// Where the database is; its directory exists.
    pub path: PathBuf,
    /// Largest page cache, KiB.
    pub cache_kib: u32,
    /// A bug to plant; has an effect only where debug assertions are on.
    pub mutant: Option<Mutant>,
    /// Who looks on.
    pub witness: Option<Arc<dyn Witness>>,
}

/// The tables of several services, as the [`DiskMachine`] of a replica.
///
/// Each batch of commands is one transaction, together with the index of the last of them; each command in it is all or
/// nothing. So the tables are always as of one index of the log, and a restart replays exactly the rest.
pub struct Tables {
    /// `None` only while a copy takes its place.
    database: Option<Database>,
    services: BTreeMap<&'static str, Box<dyn AnyService>>,
    options: TablesOptions,
    rng: ChaCha8Rng,
    applied: Index,
    changed: watch::Sender<Index>,
    revocations: u64,
}

impl Tables {
    /// Opens or creates the database. `rng` seeds SQLite's own generator, whose numbers reach no result.
    pub fn open(
        disk: &mut dyn Disk,
        now: UnixTime,
        services: Services,
        options: TablesOptions,
        rng: ChaCha8Rng,
    ) -> Result<Self, Error> {
        let mut tables = Tables {
            database: None,
            services: services.by_name,
            options,
            rng,
            applied: 0,
            changed: watch::Sender::new(0),
            revocations: 0,
        };
        tables.reopen(disk, now)?;
        Ok(tables)
    }

    fn reopen(&mut self, disk: &mut dyn Disk, now: UnixTime) -> Result<(), Error> {
        let own = self.services.values().map(|service| service.schema());
        let options = Options {
            schemas: std::iter::once(BASE).chain(own).collect(),
            cache_kib: self.options.cache_kib,
            mutant: self.options.mutant.and_then(Mutant::sqlite),
        };
        let path = &self.options.path;
        let mut database = Database::open(disk, now, path, self.rng.clone(), &options)?;
        self.applied = database.read(disk, now, |connection| {
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            Reader::new(connection).one("SELECT log_index FROM applied", [], |row| {
                Ok(row.get::<_, i64>(0)?.cast_unsigned())
            })
        })?;
        self.database = Some(database);
        self.changed.send_replace(self.applied);
        self.show(disk, now, When::Opened)
    }

    fn show(&mut self, disk: &mut dyn Disk, now: UnixTime, when: When) -> Result<(), Error> {
        let Some(witness) = self.options.witness.clone() else {
            return Ok(());
        };
        let applied = self.applied;
        self.read(disk, now, |reader| {
            witness.stand(when, applied, reader);
            Ok(())
        })
    }

    /// Tells the index of the last command applied, as it rises.
    pub fn changed(&self) -> watch::Receiver<Index> {
        self.changed.subscribe()
    }

    /// How many rows of the outbox were taken back since the tables were opened, or more: whoever has rows in mind looks
    /// again when this has changed.
    pub(crate) fn revocations(&self) -> u64 {
        self.revocations
    }

    /// Reads.
    pub fn read<T>(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        read: impl FnOnce(Reader<'_>) -> Result<T, SqlError>,
    ) -> Result<T, Error> {
        self.database()
            .read(disk, now, |connection| read(Reader::new(connection)))
    }

    fn database(&mut self) -> &mut Database {
        self.database.as_mut().expect("open but while replaced")
    }

    /// What is wrong with the database file, as far as SQLite can see.
    pub fn damage(&mut self, disk: &mut dyn Disk, now: UnixTime) -> Result<Option<String>, Error> {
        self.database().damage(disk, now)
    }
}

/// Prepared statements that are kept.
const STATEMENTS: usize = 256;

impl DiskMachine for Tables {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        commands: &[DiskCommand],
    ) -> Result<Vec<Bytes>, DiskMachineError> {
        let Some(last) = commands.last() else {
            return Ok(Vec::new());
        };
        assert!(
            commands[0].index > self.applied && commands.is_sorted_by(|a, b| a.index < b.index),
            "commands come in order, each once"
        );
        let unfenced = Mutant::Unfenced.is_in(self.options.mutant);
        let apart = Mutant::AppliedIndexApart.is_in(self.options.mutant);
        let revoked = Cell::new(0);
        let Tables {
            database, services, ..
        } = self;
        let database = database.as_mut().expect("open but while replaced");
        let outcomes = database.transaction(disk, now, |transaction| {
            let mut outcomes = Vec::with_capacity(commands.len());
            for command in commands {
                let reply = apply_one(services, transaction, command, unfenced, &revoked)?;
                outcomes.push(Bytes::from(encode(&reply)));
            }
            if !apart {
                set_applied(transaction, last)?;
            }
            Ok::<_, Error>(outcomes)
        });
        let outcomes = outcomes.map_err(fatal)?;
        if apart {
            let written = database.transaction(disk, now, |transaction| {
                set_applied(transaction, last).map_err(Error::from)
            });
            written.map_err(fatal)?;
        }
        self.applied = last.index;
        self.revocations += revoked.get();
        self.show(disk, now, When::Applied).map_err(fatal)?;
        self.changed.send_replace(last.index);
        Ok(outcomes)
    }

    fn copy_to(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        target: &Path,
    ) -> Result<(), DiskMachineError> {
        self.database().copy_to(disk, now, target).map_err(fatal)
    }

    fn replace(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
        source: &Path,
    ) -> Result<(), DiskMachineError> {
        let database = self.database.take().expect("open but while replaced");
        // In order, so that no write-ahead log is left that would be taken for the copy's.
        database.close(disk, now).map_err(fatal)?;
        let path = &self.options.path;
        let wal = PathBuf::from(format!("{}-wal", path.display()));
        let io = |error: std::io::Error| DiskMachineError(format!("tables: {error}"));
        match disk.remove(&wal) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        disk.sync_dir(directory).map_err(io)?;
        disk.rename(source, path).map_err(io)?;
        disk.sync_dir(directory).map_err(io)?;
        if let Some(source) = source.parent() {
            disk.sync_dir(source).map_err(io)?;
        }
        // Rows may be gone that somebody has in mind.
        self.revocations += 1;
        self.reopen(disk, now).map_err(fatal)
    }

    fn content_hash(
        &mut self,
        disk: &mut dyn Disk,
        now: UnixTime,
    ) -> Result<u64, DiskMachineError> {
        self.database().content_hash(disk, now).map_err(fatal)
    }

    fn close(
        mut self: Box<Self>,
        disk: &mut dyn Disk,
        now: UnixTime,
    ) -> Result<(), DiskMachineError> {
        let database = self.database.take().expect("open but while replaced");
        database.close(disk, now).map_err(fatal)
    }
}

fn fatal(error: Error) -> DiskMachineError {
    DiskMachineError(format!("tables: {error}"))
}

fn set_applied(transaction: &Transaction<'_>, last: &DiskCommand) -> Result<(), SqlError> {
    Reader::new(transaction).execute(
        "UPDATE applied SET log_index = ?1, time = ?2",
        params![last.index.cast_signed(), last.time.cast_signed()],
    )?;
    Ok(())
}

/// Applies one command, all or nothing.
fn apply_one(
    services: &BTreeMap<&'static str, Box<dyn AnyService>>,
    transaction: &Transaction<'_>,
    command: &DiskCommand,
    unfenced: bool,
    revoked: &Cell<u64>,
) -> Result<Reply, SqlError> {
    let reader = Reader::new(transaction);
    reader.execute("SAVEPOINT command", [])?;
    let result = dispatch(services, reader, command, unfenced, revoked);
    let (reply, keeps) = match result {
        Ok(Carried::Done(reply)) => (reply, true),
        Ok(Carried::Undone(reply)) => (reply, false),
        Err(error) if is_of_this_machine(&error) => return Err(error),
        // The same on every replica: the statement and the tables are.
        Err(error) => (Reply::Failed(error.to_string()), false),
    };
    if !keeps {
        reader.execute("ROLLBACK TO command", [])?;
    }
    reader.execute("RELEASE command", [])?;
    Ok(reply)
}

/// What a command has come to.
enum Carried {
    /// What it did stays.
    Done(Reply),
    /// What it did is rolled back.
    Undone(Reply),
}

fn dispatch(
    services: &BTreeMap<&'static str, Box<dyn AnyService>>,
    reader: Reader<'_>,
    command: &DiskCommand,
    unfenced: bool,
    revoked: &Cell<u64>,
) -> Result<Carried, SqlError> {
    let Ok(call) = postcard::from_bytes::<Call>(&command.payload) else {
        return Ok(Carried::Undone(Reply::Unknown));
    };
    let time = UnixTime::from_nanos(command.time);
    let change = |service: &'static str| Change::new(reader, service, command.index, time, revoked);
    match call {
        Call::Service {
            service,
            caller,
            command,
        } => {
            let Some((&name, service)) = services.get_key_value(service.as_str()) else {
                return Ok(Carried::Undone(Reply::Unknown));
            };
            serve(change(name), name, &**service, caller, &command)
        }
        Call::Acquire {
            service,
            holder,
            seen,
        } => outbox::acquire(reader, &service, holder, seen).map(Carried::Done),
        Call::Renew { service, epoch } => outbox::renew(reader, &service, epoch).map(Carried::Done),
        Call::Release { service, epoch } => {
            outbox::release(reader, &service, epoch).map(Carried::Done)
        }
        Call::Settle {
            service,
            epoch,
            settled,
        } => {
            let Some((&name, service)) = services.get_key_value(service.as_str()) else {
                return Ok(Carried::Undone(Reply::Unknown));
            };
            if !unfenced && !outbox::is_current(reader, name, epoch)? {
                return Ok(Carried::Done(Reply::Fenced));
            }
            let mut change = change(name);
            for settled in settled {
                outbox::settle(&mut change, &**service, settled)?;
            }
            Ok(Carried::Done(Reply::Settled))
        }
        Call::Revive { id, caller } => {
            let revived = outbox::revive(reader, id)?;
            if let Some(caller) = caller {
                let mut change = change(BASE.name);
                change.concerns(format!("dead letter {id}"));
                let outcome = if revived { "done" } else { "no such letter" };
                audit(&change, &caller, BASE.name, outcome)?;
            }
            Ok(Carried::Done(Reply::Done(encode(&revived).into())))
        }
        Call::Forget { ids } => {
            for id in ids {
                reader.execute("DELETE FROM outbox WHERE id = ?1", [id])?;
            }
            Ok(Carried::Done(Reply::Settled))
        }
    }
}

/// A command of a service: remembered under its idempotency key, carried out, and written into the audit log.
fn serve(
    mut change: Change<'_>,
    name: &'static str,
    service: &dyn AnyService,
    caller: Option<Caller>,
    command: &[u8],
) -> Result<Carried, SqlError> {
    if let Some(caller) = &caller
        && let Some(reply) = remembered(&change, caller)?
    {
        return Ok(Carried::Undone(reply));
    }
    match service.apply(&mut change, command) {
        Ok(None) => Ok(Carried::Undone(Reply::Unknown)),
        Ok(Some(outcome)) => {
            if let Some(caller) = &caller {
                remember(&change, caller, &outcome)?;
                audit(&change, caller, name, "done")?;
            }
            Ok(Carried::Done(Reply::Done(outcome.into())))
        }
        Err(Fault::Refused(refusal)) => Ok(Carried::Undone(Reply::Refused(refusal.into()))),
        Err(Fault::Sql(error)) => Err(error),
    }
}

fn remembered(change: &Change<'_>, caller: &Caller) -> Result<Option<Reply>, SqlError> {
    let Some(idempotency) = &caller.idempotency else {
        return Ok(None);
    };
    let known: Option<(i64, Vec<u8>)> = change.first(
        "SELECT fingerprint, outcome FROM idempotency WHERE actor = ?1 AND key = ?2",
        params![caller.actor, idempotency.key],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(known.map(|(fingerprint, outcome)| {
        match fingerprint.cast_unsigned() == idempotency.fingerprint {
            true => Reply::Replayed(outcome.into()),
            false => Reply::KeyReused,
        }
    }))
}

fn remember(change: &Change<'_>, caller: &Caller, outcome: &[u8]) -> Result<(), SqlError> {
    let Some(idempotency) = &caller.idempotency else {
        return Ok(());
    };
    let now = change.time().as_nanos();
    change.execute(
        "DELETE FROM idempotency WHERE (actor, key) IN (
            SELECT actor, key FROM idempotency WHERE time < ?1 ORDER BY time LIMIT ?2)",
        params![
            now.saturating_sub(IDEMPOTENCY_NANOS).cast_signed(),
            FORGOTTEN_AT_ONCE
        ],
    )?;
    change.execute(
        "INSERT INTO idempotency (actor, key, fingerprint, outcome, time) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            caller.actor,
            idempotency.key,
            idempotency.fingerprint.cast_signed(),
            outcome,
            now.cast_signed()
        ],
    )?;
    Ok(())
}

fn audit(
    change: &Change<'_>,
    caller: &Caller,
    service: &str,
    outcome: &str,
) -> Result<(), SqlError> {
    let id = change.insert(
        "INSERT INTO audit (log_index, time, actor, service, operation, resource, outcome)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            change.index().cast_signed(),
            change.time().as_nanos().cast_signed(),
            caller.actor,
            service,
            caller.operation,
            change.resource(),
            outcome
        ],
    )?;
    change.execute("DELETE FROM audit WHERE id <= ?1", [id - AUDIT_ENTRIES])?;
    Ok(())
}
