//! SQLite on the simulated disk: power is cut in the middle of anything, also of the recovery from the cut before, and
//! no committed transaction is lost and no database damaged. And the same test sees it when that is not so.

use holdfast_host::{Disk, OpenMode, UnixTime, read_exact_at};
use holdfast_sim::{
    disk::SimDisk,
    draw::{Domain, Draws, bytes_hash, node_rng},
    plan::{DiskProfile, PowerCutProfile},
};
use holdfast_sqlite::{Database, Error, Migration, Mutant, Options, Schema, forget_randomness};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

const PATH: &str = "/data/bank.db";
const ACCOUNTS: i64 = 20;
const EACH: i64 = 1_000;
/// Seeds of each of the two ways in which power goes.
const SEEDS: u64 = 5_000;

const SCHEMA: Schema = Schema {
    name: "bank",
    migrations: MIGRATIONS,
};
const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "accounts",
        sql: "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL) STRICT;
              WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 20)
              INSERT INTO accounts SELECT id, 1000 FROM n;",
    },
    Migration {
        number: 2,
        name: "transfers",
        sql: "CREATE TABLE transfers (
                  number INTEGER PRIMARY KEY,
                  source INTEGER NOT NULL REFERENCES accounts,
                  target INTEGER NOT NULL REFERENCES accounts,
                  amount INTEGER NOT NULL,
                  note BLOB NOT NULL
              ) STRICT;
              CREATE INDEX transfers_by_source ON transfers (source);",
    },
];

/// SQLite's random generator is one for the process: runs that are to be compared must not share it.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    forget_randomness();
    guard
}

fn lose_all() -> DiskProfile {
    DiskProfile {
        power_cut: PowerCutProfile {
            lose_all: 1.0,
            keep_all: 0.0,
            ..PowerCutProfile::default()
        },
        ..DiskProfile::default()
    }
}

/// Sectors are kept, lost, torn and garbled one by one, names come and go in any order, reads and writes are short.
fn anything() -> DiskProfile {
    DiskProfile {
        short_io: 0.05,
        write_back: 0.2,
        power_cut: PowerCutProfile {
            lose_all: 0.1,
            ..PowerCutProfile::default()
        },
        ..DiskProfile::default()
    }
}

struct Bank {
    disk: SimDisk,
    seed: u64,
    starts: u32,
    draws: Draws,
    mutant: Option<Mutant>,
    /// Transfers that were acknowledged.
    acknowledged: i64,
    /// Transfers that were begun.
    begun: i64,
}

impl Bank {
    fn new(seed: u64, profile: &DiskProfile, mutant: Option<Mutant>) -> Self {
        let mut disk = SimDisk::new(seed, 0, profile);
        disk.create_dir(Path::new("/data")).expect("a new disk");
        Bank {
            disk,
            seed,
            starts: 0,
            draws: Draws::new(seed, Domain::Scenario, 0),
            mutant,
            acknowledged: 0,
            begun: 0,
        }
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_nanos(1_800_000_000_000_000_000 + self.begun as u64)
    }

    fn open(&mut self) -> Result<Database, Error> {
        self.starts += 1;
        let rng = node_rng(self.seed, 0, self.starts, "sqlite", 0);
        let options = Options {
            schemas: vec![SCHEMA],
            cache_kib: 256,
            mutant: self.mutant,
        };
        let now = self.now();
        Database::open(&mut self.disk, now, Path::new(PATH), rng, &options)
    }

    /// Moves money until something fails, or so many times.
    fn work(&mut self, database: &mut Database, times: u64) -> Result<(), Error> {
        for _ in 0..times {
            let number = self.acknowledged + 1;
            self.begun = number;
            let source = self.draws.range(1, ACCOUNTS as u64 + 1) as i64;
            let target = self.draws.range(1, ACCOUNTS as u64 + 1) as i64;
            let amount = self.draws.range(1, 50) as i64;
            let note = vec![number as u8; self.draws.magnitude(1, 6_000) as usize];
            let now = self.now();
            database.transaction(&mut self.disk, now, |transaction| -> Result<(), Error> {
                for (id, change) in [(source, -amount), (target, amount)] {
                    transaction
                        .prepare_cached("UPDATE accounts SET balance = balance + ?2 WHERE id = ?1")?
                        .execute([id, change])?;
                }
                transaction
                    .prepare_cached("INSERT INTO transfers VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute((number, source, target, amount, &note))?;
                Ok(())
            })?;
            self.acknowledged = number;
        }
        Ok(())
    }

    /// A transfer whose end nobody was told may have been durable: it counts from now on.
    fn learn(&mut self, database: &mut Database) -> Result<(), Error> {
        let now = self.now();
        let last: i64 = database.read(&mut self.disk, now, |connection| {
            connection.query_row(
                "SELECT coalesce(max(number), 0) FROM transfers",
                [],
                |row| row.get(0),
            )
        })?;
        // Less than that is for the verdict to find.
        if last == self.begun {
            self.acknowledged = last;
        }
        Ok(())
    }

    /// A process works until power goes, at any operation of the disk; what it has open dies with it.
    fn live_and_die(&mut self, most_operations: u64) -> Result<(), String> {
        let operations = self.draws.magnitude(1, most_operations);
        self.disk.cut_after(operations);
        let times = self.draws.range(5, 60);
        let lived = self.open().and_then(|mut database| {
            self.learn(&mut database)?;
            self.work(&mut database, times)?;
            let now = self.now();
            database.close(&mut self.disk, now)
        });
        let failed = self.disk.power_failed();
        self.disk.power_cut();
        match lived {
            Err(error) if !failed => Err(format!("an error without a cause: {error}")),
            _ => Ok(()),
        }
    }

    /// What is wrong with what was left, if anything is.
    fn verdict(&mut self) -> Result<(), String> {
        self.disk.keep_power();
        let mut database = self
            .open()
            .map_err(|error| format!("cannot open: {error}"))?;
        let now = self.now();
        let damage = database.damage(&mut self.disk, now);
        if let Some(damage) = damage.map_err(|error| error.to_string())? {
            return Err(format!("damaged: {damage}"));
        }
        let found = database.read(&mut self.disk, now, |connection| {
            connection.query_row(
                "SELECT (SELECT sum(balance) FROM accounts), count(*), coalesce(max(number), 0)
                 FROM transfers",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
        });
        let (sum, count, last): (i64, i64, i64) = found.map_err(|error| error.to_string())?;
        if sum != ACCOUNTS * EACH {
            return Err(format!("a transfer was torn: the accounts hold {sum}"));
        }
        if count != last || last < self.acknowledged || last > self.begun {
            return Err(format!(
                "{count} transfers, the last is {last}; {} were acknowledged, {} begun",
                self.acknowledged, self.begun
            ));
        }
        self.learn(&mut database)
            .map_err(|error| error.to_string())?;
        if self.draws.chance(0.5) {
            let closed = database.close(&mut self.disk, now);
            return closed.map_err(|error| format!("cannot close: {error}"));
        }
        // Killed: nothing of it is lost.
        drop(database);
        self.disk.kill();
        Ok(())
    }

    /// Lives, dies, in one seed of three dies again while it recovers, and is judged; twice over.
    fn story(&mut self) -> Result<(), String> {
        for _ in 0..2 {
            self.live_and_die(2_000)?;
            if self.draws.chance(1.0 / 3.0) {
                self.live_and_die(40)?;
            }
            self.verdict()?;
        }
        Ok(())
    }

    /// A hash over every file's name and bytes.
    fn files(&mut self) -> u64 {
        let mut sum = 0;
        for (name, len) in self.disk.files() {
            let file = self
                .disk
                .open(Path::new(&name), OpenMode::Read)
                .expect("it is listed");
            let mut bytes = vec![0; len as usize];
            read_exact_at(&mut self.disk, file, 0, &mut bytes).expect("it is there");
            self.disk.close(file);
            sum = bytes_hash(&bytes) ^ bytes_hash(name.as_bytes()) ^ u64::rotate_left(sum, 9);
        }
        sum
    }
}

fn stories(profile: &DiskProfile, mutant: Option<Mutant>, seeds: u64) -> Vec<(u64, String)> {
    let story = |seed| {
        let mut bank = Bank::new(seed, profile, mutant);
        Some((seed, bank.story().err()?))
    };
    (0..seeds).filter_map(story).collect()
}

#[test]
fn no_power_cut_costs_a_committed_transaction() {
    let _alone = alone();
    for profile in [lose_all(), anything()] {
        let wrong = stories(&profile, None, SEEDS);
        assert!(wrong.is_empty(), "{}: {:?}", wrong.len(), wrong.first());
    }
}

/// SQLite asks for syncs that do nothing: the test must see that.
#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    let _alone = alone();
    for profile in [lose_all(), anything()] {
        let wrong = stories(&profile, Some(Mutant::NoSync), 50);
        assert!(wrong.len() > 25, "{}", wrong.len());
    }
}

/// A database that was made is gone, or a rollback journal that was removed comes back and rolls it back to nothing.
#[test]
fn names_that_come_and_go_are_found_out() {
    let _alone = alone();
    for profile in [lose_all(), anything()] {
        let wrong = stories(&profile, Some(Mutant::LaxNames), 200);
        assert!(wrong.len() > 20, "{}", wrong.len());
    }
}

#[test]
fn one_seed_leaves_the_same_bytes_every_time() {
    let _alone = alone();
    let mut seen = Vec::new();
    for _ in 0..2 {
        forget_randomness();
        let leaves: Vec<u64> = (0..20)
            .map(|seed| {
                let mut bank = Bank::new(seed, &anything(), None);
                bank.story().expect("nothing is wrong");
                bank.files()
            })
            .collect();
        seen.push(leaves);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].windows(2).any(|pair| pair[0] != pair[1]));
}
