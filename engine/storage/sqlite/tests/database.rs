//! A database on the operating system's files: what a schema remembers, who may have it open, what copies hold.

use holdfast_host::{Disk, Host, OpenMode, UnixTime, read_file, tokio_host, write_all_at};
use holdfast_sqlite::{Database, Error, Migration, Options, Schema, rusqlite};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::path::Path;
use tokio::runtime::Builder;

const NOW: UnixTime = UnixTime::from_nanos(1_800_000_000_123_456_789);
const FIRST: Migration = Migration {
    number: 1,
    name: "words",
    sql: "CREATE TABLE words (word TEXT PRIMARY KEY, seen INTEGER NOT NULL) STRICT",
};
const SECOND: Migration = Migration {
    number: 2,
    name: "places",
    sql: "ALTER TABLE words ADD COLUMN place TEXT;
          CREATE INDEX words_by_place ON words (place)",
};

/// Runs a test as a service works: inside `blocking`, where the disk is.
fn on_disk(test: impl FnOnce(&mut dyn Disk) + Send + 'static) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let host: Host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    runtime.block_on(host.blocking(test));
}

fn open(disk: &mut dyn Disk, migrations: &'static [Migration]) -> Result<Database, Error> {
    open_at(disk, "words.db", migrations)
}

fn open_at(
    disk: &mut dyn Disk,
    path: &str,
    migrations: &'static [Migration],
) -> Result<Database, Error> {
    let options = Options {
        schemas: vec![Schema {
            name: "words",
            migrations,
        }],
        cache_kib: 1_024,
        mutant: None,
    };
    let rng = ChaCha8Rng::seed_from_u64(7);
    Database::open(disk, NOW, Path::new(path), rng, &options)
}

fn say(database: &mut Database, disk: &mut dyn Disk, word: &str) -> Result<(), Error> {
    database.transaction(disk, NOW, |transaction| {
        transaction
            .prepare_cached(
                "INSERT INTO words (word, seen) VALUES (?1, 1)
                 ON CONFLICT (word) DO UPDATE SET seen = seen + 1",
            )?
            .execute([word])?;
        match word.is_empty() {
            true => Err(rusqlite::Error::InvalidQuery.into()),
            false => Ok(()),
        }
    })
}

fn words(database: &mut Database, disk: &mut dyn Disk) -> Vec<(String, i64)> {
    database
        .read(disk, NOW, |connection| {
            let mut rows = connection.prepare("SELECT word, seen FROM words ORDER BY word")?;
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .expect("it can be read")
}

fn count(database: &mut Database, disk: &mut dyn Disk, what: &str) -> i64 {
    database
        .read(disk, NOW, |connection| {
            connection.query_row(what, [], |row| row.get(0))
        })
        .expect("it can be counted")
}

#[test]
fn what_was_committed_is_there_and_what_was_refused_is_not() {
    on_disk(|disk| {
        let mut database = open(disk, &[FIRST]).unwrap();
        say(&mut database, disk, "hello").unwrap();
        say(&mut database, disk, "hello").unwrap();
        assert!(say(&mut database, disk, "").is_err());
        assert_eq!(words(&mut database, disk), [("hello".to_owned(), 2)]);
    });
}

#[test]
fn one_at_a_time_and_closing_makes_room() {
    on_disk(|disk| {
        let mut database = open(disk, &[FIRST]).unwrap();
        say(&mut database, disk, "hello").unwrap();
        let error = open(disk, &[FIRST]).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "words.db is open already");
        database.close(disk, NOW).unwrap();
        let mut again = open(disk, &[FIRST]).unwrap();
        assert_eq!(words(&mut again, disk).len(), 1);
    });
}

#[test]
fn a_schema_grows_step_by_step_and_never_changes_its_past() {
    on_disk(|disk| {
        let mut database = open(disk, &[FIRST]).unwrap();
        say(&mut database, disk, "hello").unwrap();
        database.close(disk, NOW).unwrap();
        let mut database = open(disk, &[FIRST, SECOND]).unwrap();
        let unplaced = "SELECT count(*) FROM words WHERE place IS NULL";
        assert_eq!(count(&mut database, disk, unplaced), 1);
        database.close(disk, NOW).unwrap();

        let error = open(disk, &[FIRST]).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the schema of words has step 2, this program knows 1"
        );
        const OTHER: Migration = Migration {
            sql: "CREATE TABLE words (word TEXT)",
            ..FIRST
        };
        let error = open(disk, &[OTHER, SECOND]).map(drop).unwrap_err();
        assert!(error.to_string().contains("migration 1 (words)"), "{error}");
        // A refusal leaves everything as it was, and nobody locked out.
        open(disk, &[FIRST, SECOND]).unwrap();
    });
}

#[test]
fn a_migration_that_fails_leaves_nothing_behind() {
    const BROKEN: Migration = Migration {
        number: 2,
        name: "broken",
        sql: "CREATE TABLE half (id INTEGER); CREATE TABLE words (id INTEGER)",
    };
    on_disk(|disk| {
        assert!(open(disk, &[FIRST, BROKEN]).is_err());
        let mut database = open(disk, &[FIRST, SECOND]).unwrap();
        let half = "SELECT count(*) FROM sqlite_schema WHERE name = 'half'";
        assert_eq!(count(&mut database, disk, half), 0);
    });
}

#[test]
fn a_copy_has_the_same_content_and_a_life_of_its_own() {
    on_disk(|disk| {
        let mut database = open(disk, &[FIRST]).unwrap();
        for word in ["one", "two", "three", "two"] {
            say(&mut database, disk, word).unwrap();
        }
        let before = database.content_hash(disk, NOW).unwrap();
        let copy = Path::new("copy.db");
        database.copy_to(disk, NOW, copy).unwrap();
        assert!(
            database.copy_to(disk, NOW, copy).is_err(),
            "one is there already"
        );
        let mut copy = open_at(disk, "copy.db", &[FIRST]).unwrap();
        assert_eq!(copy.damage(disk, NOW).unwrap(), None);
        assert_eq!(copy.content_hash(disk, NOW).unwrap(), before);
        // Rows that came in another order are the same content.
        for word in ["four", "five"] {
            say(&mut database, disk, word).unwrap();
        }
        assert_ne!(database.content_hash(disk, NOW).unwrap(), before);
        for word in ["five", "four"] {
            say(&mut copy, disk, word).unwrap();
        }
        let after = database.content_hash(disk, NOW).unwrap();
        assert_eq!(copy.content_hash(disk, NOW).unwrap(), after);
    });
}

#[test]
fn time_is_the_worlds() {
    on_disk(|disk| {
        let mut database = open(disk, &[FIRST]).unwrap();
        let now: String = database
            .read(disk, NOW, |connection| {
                let now = "SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')";
                connection.query_row(now, [], |row| row.get(0))
            })
            .unwrap();
        assert_eq!(now, "2027-01-15T08:00:00.123");
    });
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    on_disk(|disk| {
        let path = Path::new("words.db");
        let file = disk.open(path, OpenMode::Create).unwrap();
        let bytes = [7; 4_096];
        write_all_at(disk, file, 0, &bytes).unwrap();
        disk.close(file);
        let error = open(disk, &[FIRST]).map(drop).unwrap_err();
        assert!(error.to_string().contains("not a database"), "{error}");
        assert_eq!(read_file(disk, path, 1 << 20).unwrap(), bytes);
    });
}
