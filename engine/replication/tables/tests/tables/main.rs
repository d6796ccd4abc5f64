//! Tables without and with a replica around them, on the operating system's files.

mod log;
mod outbox;

use holdfast_host::{BoxFuture, Disk, Host, tokio_host};
use holdfast_tables::{
    Change, Effect, Fault, Migration, Mutant, Schema, Service, Services, SqlError, Tables,
    TablesOptions, params,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};
use tokio::runtime::Builder;

/// Counts words, and has some of them said outside.
pub(crate) struct Tally;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// One more of a word.
    Add(String),
    /// Adds a word, then thinks better of it.
    AddAndRefuse(String),
    /// Breaks a constraint.
    Break,
    /// Has words said outside, each in its lane.
    Say(Vec<(String, String)>),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TooMany(pub(crate) u32);

impl Service for Tally {
    type Command = Command;
    type Outcome = u64;
    type Refusal = TooMany;

    const SCHEMA: Schema = Schema {
        name: "tally",
        migrations: &[Migration {
            number: 1,
            name: "words",
            sql: "CREATE TABLE words (word TEXT PRIMARY KEY, seen INTEGER NOT NULL CHECK (seen > 0)) STRICT;
                  CREATE TABLE said (id INTEGER PRIMARY KEY, word TEXT NOT NULL, attempts INTEGER NOT NULL) STRICT;
                  CREATE TABLE unsaid (id INTEGER PRIMARY KEY, word TEXT NOT NULL, reason TEXT NOT NULL) STRICT;",
        }],
    };

    fn apply(&self, change: &mut Change<'_>, command: Command) -> Result<u64, Fault<TooMany>> {
        match command {
            Command::Add(word) => {
                change.concerns(word.clone());
                change.execute(
                    "INSERT INTO words (word, seen) VALUES (?1, 1)
                     ON CONFLICT (word) DO UPDATE SET seen = seen + 1",
                    [&word],
                )?;
                let seen: i64 =
                    change.one("SELECT seen FROM words WHERE word = ?1", [&word], |row| {
                        row.get(0)
                    })?;
                Ok(seen.cast_unsigned())
            }
            Command::AddAndRefuse(word) => {
                self.apply(change, Command::Add(word))?;
                Err(Fault::Refused(TooMany(3)))
            }
            Command::Break => {
                change.execute("INSERT INTO words (word, seen) VALUES ('x', 1)", [])?;
                change.execute("INSERT INTO words (word, seen) VALUES ('y', 0)", [])?;
                Ok(0)
            }
            Command::Say(words) => {
                for (lane, word) in &words {
                    change.enqueue(lane, word, Duration::ZERO)?;
                }
                Ok(words.len() as u64)
            }
        }
    }

    fn performed(
        &self,
        change: &mut Change<'_>,
        effect: Effect,
        result: &[u8],
    ) -> Result<(), SqlError> {
        let word = String::from_utf8_lossy(result).into_owned();
        change.execute(
            "INSERT INTO said (id, word, attempts) VALUES (?1, ?2, ?3)",
            params![effect.id, word, effect.attempts],
        )?;
        Ok(())
    }

    fn buried(
        &self,
        change: &mut Change<'_>,
        effect: Effect,
        reason: &str,
    ) -> Result<(), SqlError> {
        let word: String = postcard::from_bytes(&effect.payload).expect("as enqueued");
        change.execute(
            "INSERT INTO unsaid (id, word, reason) VALUES (?1, ?2, ?3)",
            params![effect.id, word, reason],
        )?;
        Ok(())
    }
}

pub(crate) fn open(disk: &mut dyn Disk, host: &Host, path: &str) -> Tables {
    open_with(disk, host, path, None)
}

pub(crate) fn open_with(
    disk: &mut dyn Disk,
    host: &Host,
    path: &str,
    mutant: Option<Mutant>,
) -> Tables {
    let options = TablesOptions {
        path: PathBuf::from(path),
        cache_kib: 1024,
        mutant,
        witness: None,
    };
    let rng = ChaCha8Rng::seed_from_u64(7);
    let services = Services::new().with(Tally);
    Tables::open(disk, host.unix_time(), services, options, rng).expect("it opens")
}

/// Runs a test in a folder of its own.
pub(crate) fn run(test: impl FnOnce(Host) -> BoxFuture<'static, ()>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    runtime.block_on(test(host));
}
