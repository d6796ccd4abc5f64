//! What commands do to tables, and what is remembered of them.

use crate::{Command, TooMany, open, open_with, run};
use holdfast_host::{Disk, UnixTime};
use holdfast_replica::{DiskCommand, DiskMachine};
use holdfast_tables::{Mutant, Tables};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

/// The call of a service as it stands in the log, written down here once more on purpose: logs outlive programs.
#[derive(serde::Serialize)]
enum Call<'a> {
    Service {
        service: &'a str,
        caller: Option<Caller<'a>>,
        command: Vec<u8>,
    },
    Acquire {
        service: &'a str,
        holder: u64,
        seen: (u64, u64, u64),
    },
    Renew {
        service: &'a str,
        epoch: u64,
    },
    Release {
        service: &'a str,
        epoch: u64,
    },
    Settle {
        service: &'a str,
        epoch: u64,
        settled: Vec<(i64, u32, End)>,
    },
}

#[derive(serde::Serialize)]
enum End {
    Done(Vec<u8>),
}

#[derive(serde::Serialize)]
struct Caller<'a> {
    actor: &'a str,
    operation: &'a str,
    idempotency: Option<(&'a str, u64)>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
enum Reply {
    Done(Vec<u8>),
    Replayed(Vec<u8>),
    Refused(Vec<u8>),
    KeyReused,
    Unknown,
    Failed(String),
    Leased { epoch: u64 },
    Fenced,
    Settled,
}

fn command(index: u64, command: &Command, key: Option<(&str, u64)>) -> DiskCommand {
    let call = Call::Service {
        service: "tally",
        caller: Some(Caller {
            actor: "tests",
            operation: "add",
            idempotency: key,
        }),
        command: postcard::to_stdvec(command).expect("it encodes"),
    };
    entry(index, &call)
}

fn entry(index: u64, call: &Call<'_>) -> DiskCommand {
    DiskCommand {
        index,
        time: index * 1_000_000_000,
        payload: postcard::to_stdvec(call).expect("it encodes").into(),
    }
}

fn apply(tables: &mut Tables, disk: &mut dyn Disk, commands: &[DiskCommand]) -> Vec<Reply> {
    let outcomes = tables.apply(disk, NOW, commands).expect("the disk works");
    let read = |bytes: &bytes::Bytes| postcard::from_bytes(bytes).expect("a reply");
    outcomes.iter().map(read).collect()
}

const NOW: UnixTime = UnixTime::from_nanos(1_800_000_000_000_000_000);

fn done(count: u64) -> Reply {
    Reply::Done(postcard::to_stdvec(&count).expect("it encodes"))
}

fn words(tables: &mut Tables, disk: &mut dyn Disk) -> Vec<(String, i64)> {
    let read = tables.read(disk, NOW, |reader| {
        reader.all("SELECT word, seen FROM words ORDER BY word", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    });
    read.expect("it can be read")
}

fn add(word: &str) -> Command {
    Command::Add(word.into())
}

#[test]
fn commands_are_all_or_nothing_and_the_index_is_with_them() {
    run(|host| {
        Box::pin(async move {
            let world = host.clone();
            host.blocking(move |disk| {
                let mut tables = open(disk, &world, "a.db");
                let refused = postcard::to_stdvec(&TooMany(3)).expect("it encodes");
                let replies = apply(
                    &mut tables,
                    disk,
                    &[
                        command(3, &add("a"), None),
                        command(4, &Command::AddAndRefuse("b".into()), None),
                        command(7, &Command::Break, None),
                        command(8, &add("a"), None),
                    ],
                );
                assert_eq!(replies[0], done(1));
                assert_eq!(replies[1], Reply::Refused(refused));
                assert!(matches!(&replies[2], Reply::Failed(why) if why.contains("CHECK")));
                assert_eq!(replies[3], done(2));
                let garbage = DiskCommand {
                    index: 9,
                    time: 0,
                    payload: vec![0xff; 40].into(),
                };
                assert_eq!(apply(&mut tables, disk, &[garbage]), [Reply::Unknown]);
                let closed = Box::new(tables).close(disk, NOW);
                closed.expect("it closes");
                let mut tables = open(disk, &world, "a.db");
                assert_eq!(tables.applied(), 9);
                assert_eq!(words(&mut tables, disk), [("a".to_owned(), 2)]);
                let audited = tables.read(disk, NOW, |reader| {
                    reader.all(
                        "SELECT log_index, actor, operation, resource FROM audit ORDER BY id",
                        [],
                        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
                    )
                });
                let entry = |index: i64| {
                    let owned = |text: &str| text.to_owned();
                    (index, owned("tests"), owned("add"), owned("a"))
                };
                assert_eq!(audited.expect("it reads"), [entry(3), entry(8)]);
            })
            .await;
        })
    });
}

#[test]
fn the_same_request_has_one_effect() {
    run(|host| {
        Box::pin(async move {
            let world = host.clone();
            host.blocking(move |disk| {
                let mut tables = open(disk, &world, "a.db");
                let key = Some(("key", 77));
                let replies = apply(
                    &mut tables,
                    disk,
                    &[
                        command(1, &add("a"), key),
                        command(2, &add("a"), key),
                        command(3, &add("b"), Some(("key", 78))),
                    ],
                );
                let Reply::Done(outcome) = done(1) else {
                    unreachable!()
                };
                let expected = [done(1), Reply::Replayed(outcome), Reply::KeyReused];
                assert_eq!(replies, expected);
                // A day later the key is forgotten.
                let late = 1 + 24 * 3600 + 10;
                let replies = apply(
                    &mut tables,
                    disk,
                    &[
                        command(late, &add("c"), Some(("other", 1))),
                        command(late + 1, &add("a"), key),
                    ],
                );
                assert_eq!(replies, [done(1), done(2)]);
            })
            .await;
        })
    });
}

#[test]
fn replicas_have_equal_content_however_commands_were_batched_and_a_copy_takes_a_place() {
    run(|host| {
        Box::pin(async move {
            let world = host.clone();
            host.blocking(move |disk| {
                let commands: Vec<DiskCommand> = (1..60)
                    .map(|index| match index % 4 {
                        0 => command(index, &Command::Say(vec![("l".into(), "w".into())]), None),
                        1 => command(index, &Command::Break, None),
                        _ => command(index, &add(&format!("w{}", index % 7)), None),
                    })
                    .collect();
                let (mut one, mut other) = (open(disk, &world, "a.db"), open(disk, &world, "b.db"));
                apply(&mut one, disk, &commands);
                for batch in commands[..40].chunks(3) {
                    apply(&mut other, disk, batch);
                }
                let hash = |tables: &mut Tables, disk: &mut dyn Disk| {
                    tables.content_hash(disk, NOW).expect("it reads")
                };
                assert_ne!(hash(&mut one, disk), hash(&mut other, disk), "it is behind");
                one.copy_to(disk, NOW, Path::new("copy")).expect("a copy");
                other
                    .replace(disk, NOW, Path::new("copy"))
                    .expect("it fits");
                assert_eq!(other.applied(), one.applied());
                assert_eq!(hash(&mut one, disk), hash(&mut other, disk));
                let next = command(60, &add("z"), None);
                apply(&mut one, disk, std::slice::from_ref(&next));
                apply(&mut other, disk, &[next]);
                assert_eq!(hash(&mut one, disk), hash(&mut other, disk));
                assert!(
                    !disk
                        .list(Path::new(""))
                        .expect("a list")
                        .contains(&"copy".into())
                );
            })
            .await;
        })
    });
}

/// Two holders, one after the other, and what the first says of a row of the outbox when the second has the lease.
fn told_late(mutant: Option<Mutant>) -> Vec<Reply> {
    let replies = Arc::new(Mutex::new(Vec::new()));
    let told = replies.clone();
    run(|host| {
        Box::pin(async move {
            let (same, seen) = (host.clone(), told.clone());
            let work = move |disk: &mut dyn Disk| {
                let mut tables = open_with(disk, &same, "tables.db", mutant);
                let say = Command::Say(vec![("lane".into(), "word".into())]);
                let service = "tally";
                let settle = |epoch, attempt| Call::Settle {
                    service,
                    epoch,
                    settled: vec![(1, attempt, End::Done(b"word".to_vec()))],
                };
                let acquire = |holder, seen| Call::Acquire {
                    service,
                    holder,
                    seen,
                };
                let entries = [
                    command(1, &say, None),
                    entry(2, &acquire(7, (0, 0, 0))),
                    entry(3, &Call::Renew { service, epoch: 1 }),
                    // It has renewed since: whoever has not seen that waits.
                    entry(4, &acquire(8, (7, 1, 0))),
                    entry(5, &acquire(8, (7, 1, 1))),
                    entry(6, &settle(1, 0)),
                    entry(7, &Call::Renew { service, epoch: 1 }),
                    entry(8, &Call::Release { service, epoch: 1 }),
                    entry(9, &settle(2, 0)),
                ];
                let replies = apply(&mut tables, disk, &entries);
                seen.lock().expect("no panic").extend(replies);
            };
            host.blocking(work).await;
        })
    });
    std::mem::take(&mut *replies.lock().expect("no panic"))
}

#[test]
fn a_holder_of_an_older_lease_is_fenced() {
    use Reply::{Fenced, Leased, Settled};
    let replies = told_late(None);
    let expected = [
        done(1),
        Leased { epoch: 1 },
        Leased { epoch: 1 },
        Fenced,
        Leased { epoch: 2 },
        Fenced,
        Fenced,
        Fenced,
        Settled,
    ];
    assert_eq!(replies, expected);
    assert_eq!(told_late(Some(Mutant::Unfenced))[5], Settled, "planted");
}
