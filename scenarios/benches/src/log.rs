//! The log on this machine's disk, beside the bare disk, which is the limit, and SQLite, which is what one would take
//! otherwise. All three in the same folder, in turn.

use crate::measure::{Result, beside, median, rate_for};
use holdfast_host::{Disk, Host, tokio_host};
use holdfast_log::{Log, Options};
use holdfast_record::worker::BenchRow;
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Short turns and many: a disk that others use too has moods, and each party must meet all of them.
const ROUNDS: usize = 25;
/// How long one party appends in one round.
const TURN: Duration = Duration::from_millis(100);
const GROUP: u64 = 64;
/// The raw file begins anew at its end, so that it never grows.
const RAW_BYTES: u64 = 64 << 20;
/// Payload bytes of a log that is recovered.
const RECOVERED_BYTES: u64 = 64 << 20;
const RECORD_BYTES: [usize; 2] = [128, 4096];
const DIRECTORY: &str = "log";

/// Measures.
pub fn rows() -> Result<Vec<BenchRow>> {
    let folder = tempfile::Builder::new()
        .prefix("holdfast-benches-")
        .tempdir()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for record_bytes in RECORD_BYTES {
        for group in [1, GROUP] {
            let case = Case {
                record_bytes,
                group,
            };
            let place = folder.path().join(format!("append-{record_bytes}-{group}"));
            rows.extend(case.rows(&runtime, &place)?);
        }
    }
    for record_bytes in RECORD_BYTES {
        let place = folder.path().join(format!("recover-{record_bytes}"));
        rows.extend(recovery(&runtime, &place, record_bytes)?);
    }
    Ok(rows)
}

/// How much is made durable at once.
#[derive(Clone, Copy)]
struct Case {
    record_bytes: usize,
    group: u64,
}

impl Case {
    /// Records a second of each party.
    fn rows(self, runtime: &Runtime, place: &Path) -> Result<[BenchRow; 2]> {
        std::fs::create_dir(place)?;
        let mut raw = Raw::new(&place.join("raw"))?;
        let mut sqlite = Sqlite::new(&place.join("sqlite"))?;
        let host = host(runtime, place);
        let mut log = runtime.block_on(host.blocking(|disk| open(disk).map(|(log, _)| log)))?;
        let (mut limits, mut ours, mut rivals) = (Vec::new(), Vec::new(), Vec::new());
        // The first round warms up.
        for round in 0..=ROUNDS {
            let limit = rate_for(TURN, || raw.write(self))?;
            let appending = host.blocking(move |disk| {
                let rate = rate_for(TURN, || append(&mut log, disk, self));
                (log, rate)
            });
            let rate;
            (log, rate) = runtime.block_on(appending);
            let (rate, rival) = (rate?, rate_for(TURN, || sqlite.insert(self))?);
            if round > 0 {
                limits.push(limit);
                ours.push(rate);
                rivals.push(rival);
            }
        }
        runtime.block_on(host.blocking(move |disk| log.close(disk)))?;
        let name = match self.group {
            1 => format!("append and sync, {} bytes", self.record_bytes),
            group => format!("append, a sync for {group}, {} bytes", self.record_bytes),
        };
        let what = format!("medians of {ROUNDS} rounds of {TURN:?} each, one writer, real time");
        let (ours, unit) = (median(ours), "records/s");
        let sqlite = format!(
            "{what}, SQLite {} in WAL mode with synchronous=FULL, {} in a transaction, one prepared INSERT, \
             its automatic checkpoints included",
            rusqlite::version(),
            match self.group {
                1 => "one record".into(),
                group => format!("{group} records"),
            }
        );
        let limit = format!(
            "{what}, the limit: the same payloads with one write and one fdatasync into a file that never grows, \
             without headers and checksums"
        );
        Ok([
            beside(&name, ours, unit, ("SQLite", median(rivals)), &sqlite),
            beside(&name, ours, unit, ("the bare disk", median(limits)), &limit),
        ])
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 20,
        max_record_bytes: 1 << 20,
        identity: 1,
        mutant: None,
    }
}

fn host(runtime: &Runtime, place: &Path) -> Host {
    tokio_host::host(place.to_owned(), runtime.handle().clone())
}

/// The log with the payload bytes that were found in it.
fn open(disk: &mut dyn Disk) -> Result<(Log, u64)> {
    let mut bytes = 0;
    let mut count = |record: holdfast_log::Record<'_>| bytes += record.payload.len() as u64;
    let (log, _) = Log::open(disk, Path::new(DIRECTORY), options(), 1, 0, &mut count)?;
    Ok((log, bytes))
}

fn append(log: &mut Log, disk: &mut dyn Disk, case: Case) -> Result<u64> {
    for _ in 0..case.group {
        let payload = payload(log.next(), case.record_bytes);
        log.append(0, &[&payload])?;
    }
    log.sync(disk)?;
    Ok(case.group)
}

/// Records differ, as they do in life.
fn payload(number: u64, bytes: usize) -> Vec<u8> {
    let mut payload = vec![number as u8; bytes];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}

/// One file whose blocks are all there.
struct Raw {
    file: File,
    at: u64,
    number: u64,
}

impl Raw {
    fn new(path: &Path) -> Result<Self> {
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path);
        let file = options?;
        file.write_all_at(&vec![0; RAW_BYTES as usize], 0)?;
        file.sync_all()?;
        Ok(Raw {
            file,
            at: 0,
            number: 0,
        })
    }

    fn write(&mut self, case: Case) -> Result<u64> {
        let mut bytes = Vec::with_capacity(case.record_bytes * case.group as usize);
        for _ in 0..case.group {
            bytes.extend(payload(self.number, case.record_bytes));
            self.number += 1;
        }
        if self.at + bytes.len() as u64 > RAW_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.file.sync_data()?;
        Ok(case.group)
    }
}

/// A table whose key is the position.
struct Sqlite {
    connection: Connection,
    next: u64,
}

impl Sqlite {
    fn new(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| {
            let mode: String = row.get(0)?;
            assert_eq!(mode, "wal", "the folder allows a write-ahead log");
            Ok(())
        })?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE log (position INTEGER PRIMARY KEY, kind INTEGER NOT NULL, payload BLOB NOT NULL)",
        )?;
        Ok(Sqlite {
            connection,
            next: 1,
        })
    }

    fn insert(&mut self, case: Case) -> Result<u64> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO log VALUES (?1, 0, ?2)")?;
            for _ in 0..case.group {
                insert.execute((self.next as i64, payload(self.next, case.record_bytes)))?;
                self.next += 1;
            }
        }
        transaction.commit()?;
        Ok(case.group)
    }
}

/// Payload megabytes a second at which a log that was not closed is opened and every record is seen.
fn recovery(runtime: &Runtime, place: &Path, record_bytes: usize) -> Result<[BenchRow; 2]> {
    std::fs::create_dir(place)?;
    let case = Case {
        record_bytes,
        group: GROUP,
    };
    let turns = RECOVERED_BYTES / (GROUP * record_bytes as u64);
    let bytes = turns * GROUP * record_bytes as u64;
    let (sqlite, raw) = (place.join("sqlite"), place.join("raw"));
    fill(runtime, place, case, turns)?;
    fill_sqlite(&sqlite, case, turns)?;
    std::fs::write(&raw, vec![7; bytes as usize])?;
    let (mut ours, mut rivals, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let rates = [
            reading_rate(bytes, || recover(runtime, place))?,
            reading_rate(bytes, || scan(&sqlite))?,
            reading_rate(bytes, || read_through(&raw))?,
        ];
        if round > 0 {
            ours.push(rates[0]);
            rivals.push(rates[1]);
            limits.push(rates[2]);
        }
    }
    let name = format!("recovery, records of {record_bytes} bytes");
    let what = format!(
        "medians of {ROUNDS} rounds over {} MiB of payload in the page cache, real time, \
         ours: open behind a crash, all checksums and the chain of records checked",
        bytes >> 20
    );
    let ours = median(ours);
    Ok([
        beside(
            &name,
            ours,
            "MB/s",
            ("SQLite", median(rivals)),
            &format!(
                "{what}, the rival: open and SELECT of all rows in order, which checks no checksums"
            ),
        ),
        beside(
            &name,
            ours,
            "MB/s",
            ("the bare disk", median(limits)),
            &format!("{what}, the limit: one file read from end to end in pieces of 1 MiB"),
        ),
    ])
}

fn fill(runtime: &Runtime, place: &Path, case: Case, turns: u64) -> Result<()> {
    let filling = host(runtime, place);
    runtime.block_on(filling.blocking(move |disk| {
        let (mut log, _) = open(disk)?;
        for turn in 0..turns {
            for _ in 0..case.group {
                let payload = payload(log.next(), case.record_bytes);
                log.append(0, &[&payload])?;
            }
            if turn % 64 == 63 {
                log.sync(disk)?;
            }
        }
        log.sync(disk)?;
        log.abandon(disk);
        Ok(())
    }))
}

fn fill_sqlite(path: &Path, case: Case, turns: u64) -> Result<()> {
    let mut sqlite = Sqlite::new(path)?;
    sqlite
        .connection
        .pragma_update(None, "synchronous", "OFF")?;
    let group = case.group * turns;
    sqlite.insert(Case { group, ..case })?;
    Ok(())
}

/// Megabytes a second of `read`, which must have seen so many payload bytes.
fn reading_rate(bytes: u64, read: impl FnOnce() -> Result<u64>) -> Result<f64> {
    let began = Instant::now();
    let seen = read()?;
    let seconds = began.elapsed().as_secs_f64();
    if seen != bytes {
        return Err(format!("{seen} of {bytes} bytes were read").into());
    }
    Ok(bytes as f64 / 1e6 / seconds)
}

fn recover(runtime: &Runtime, place: &Path) -> Result<u64> {
    let again = host(runtime, place);
    runtime.block_on(again.blocking(|disk| {
        let (mut log, bytes) = open(disk)?;
        log.abandon(disk);
        Ok(bytes)
    }))
}

fn scan(path: &PathBuf) -> Result<u64> {
    let connection = Connection::open(path)?;
    let mut select =
        connection.prepare("SELECT position, kind, payload FROM log ORDER BY position")?;
    let mut rows = select.query(())?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        bytes += row.get_ref(2)?.as_blob()?.len() as u64;
    }
    Ok(bytes)
}

fn read_through(path: &PathBuf) -> Result<u64> {
    let file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read_at(&mut buffer, bytes)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}
