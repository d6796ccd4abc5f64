//! What the outbox asks for is performed, once in effect, by a replica that leads.

use crate::{Command, Tally, open, run};
use holdfast_host::{BoxFuture, Host};
use holdfast_raft::{Config, Membership};
use holdfast_replica::{
    Command as LogCommand, Consistency, CorruptSnapshot, Extras, ReplicaConfig, ReplicaHandle,
    Settings, StateMachine,
};
use holdfast_tables::{Effect, End, Performer, Pool, PoolSettings, TablesHandle};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A machine in memory that does nothing.
#[derive(Clone)]
struct Idle;

impl StateMachine for Idle {
    fn apply(&mut self, _: LogCommand<'_>) -> bytes::Bytes {
        bytes::Bytes::new()
    }

    fn digest(&self) -> u64 {
        0
    }

    fn write_snapshot(&self, _: &mut dyn io::Write) -> io::Result<()> {
        Ok(())
    }

    fn read_snapshot(&self, _: &mut dyn io::Read) -> Result<Self, CorruptSnapshot> {
        Ok(Idle)
    }
}

fn config() -> ReplicaConfig {
    let millis = 1_000_000;
    ReplicaConfig {
        cluster: 1,
        listen: "127.0.0.1:0".parse().expect("an address"),
        peers: BTreeMap::from([(1, "127.0.0.1:0".to_owned())]),
        directory: PathBuf::from("replica"),
        segment_bytes: 1 << 20,
        snapshot_chunk_bytes: 64 << 10,
        settings: Settings {
            raft: Config {
                id: 1,
                membership: Membership {
                    voters: vec![1],
                    learners: Vec::new(),
                },
                election_timeout: 100 * millis,
                heartbeat_interval: 20 * millis,
                max_inflight_messages: 16,
                max_inflight_bytes: 1 << 20,
                max_append_bytes: 1 << 20,
                max_uncommitted_bytes: 1 << 20,
                max_apply_bytes: 1 << 20,
                max_pending_reads: 100,
                pre_vote: true,
                check_quorum: true,
                lease_reads: false,
                max_clock_drift_ppm: 0,
                mutant: None,
            },
            max_command_bytes: 1 << 20,
            max_pending: 1000,
            request_timeout: 5_000 * millis,
            snapshot_entries: 16,
            snapshot_bytes: 1 << 20,
            keep_entries: 4,
            hold_bytes: 1 << 20,
            snapshot_retry: 100 * millis,
            snapshot_window: 1 << 20,
            mutant: None,
        },
    }
}

async fn start(host: &Host) -> (ReplicaHandle<Idle>, TablesHandle) {
    let world = host.clone();
    let tables = host
        .blocking(move |disk| open(disk, &world, "tables.db"))
        .await;
    let changed = tables.changed();
    let extras = Extras {
        disk_machine: Some(Box::new(tables)),
        observer: None,
    };
    let replica = ReplicaHandle::start_with(host.clone(), config(), Idle, extras).await;
    let replica = replica.expect("it starts");
    let tables = TablesHandle::new(replica.disk(), changed);
    let mut standing = tables.standing();
    let leads = standing.wait_for(|standing| standing.leads).await;
    leads.expect("it runs");
    (replica, tables)
}

/// Says words; some only at the third attempt, some never.
struct Mouth {
    said: Mutex<BTreeMap<String, u32>>,
}

impl Performer for Mouth {
    fn service(&self) -> &'static str {
        "tally"
    }

    fn perform(&self, effect: Effect) -> BoxFuture<'static, End> {
        let word: String = postcard::from_bytes(&effect.payload).expect("as enqueued");
        *self
            .said
            .lock()
            .expect("nobody panics")
            .entry(word.clone())
            .or_default() += 1;
        Box::pin(async move {
            let retry = End::Retry {
                after: Duration::from_millis(1),
                reason: "not yet".into(),
            };
            match word.as_str() {
                "slow" if effect.attempts < 2 => retry,
                "never" => retry,
                "impossible" => End::Dead {
                    reason: "no such word".into(),
                },
                "panic" if effect.attempts == 0 => panic!("planted"),
                _ => End::Done(word.into_bytes().into()),
            }
        })
    }
}

fn settings() -> PoolSettings {
    PoolSettings {
        in_flight: 8,
        per_lane: 2,
        lease: Duration::from_millis(300),
        ..PoolSettings::default()
    }
}

async fn settled(host: &Host, tables: &TablesHandle) {
    for _ in 0..1_000 {
        let left = tables.read(Consistency::Linearizable, |reader| {
            reader.one("SELECT count(*) FROM outbox", [], |row| {
                row.get::<_, i64>(0)
            })
        });
        if left.await.expect("it reads") == 0 {
            return;
        }
        host.sleep(Duration::from_millis(10)).await;
    }
    panic!("the outbox is never empty");
}

#[test]
fn everything_is_performed_once_in_effect_and_what_cannot_be_is_a_dead_letter() {
    run(|host| {
        Box::pin(async move {
            let (replica, tables) = start(&host).await;
            let mouth = Arc::new(Mouth {
                said: Mutex::default(),
            });
            let pool = Pool::start(&host, tables.clone(), mouth.clone(), settings());
            let mut words: Vec<(String, String)> = (0..300)
                .map(|number| (format!("lane{}", number % 5), format!("w{number}")))
                .collect();
            for odd in ["slow", "never", "impossible"] {
                words.push(("odd".into(), odd.into()));
            }
            let said = tables.propose::<Tally>(None, &Command::Say(words)).await;
            assert_eq!(said.expect("it is proposed").outcome, Ok(303));
            settled(&host, &tables).await;
            let (said, attempts, unsaid) = tables
                .read(Consistency::Linearizable, |reader| {
                    let said: i64 = reader.one("SELECT count(*) FROM said", [], |r| r.get(0))?;
                    let attempts: i64 =
                        reader.one("SELECT attempts FROM said WHERE word = 'slow'", [], |r| {
                            r.get(0)
                        })?;
                    let unsaid: Vec<(String, String)> =
                        reader.all("SELECT word, reason FROM unsaid ORDER BY word", [], |r| {
                            Ok((r.get(0)?, r.get(1)?))
                        })?;
                    Ok((said, attempts, unsaid))
                })
                .await
                .expect("it reads");
            assert_eq!((said, attempts), (301, 2));
            let owned = |word: &str, why: &str| (word.to_owned(), why.to_owned());
            let expected = [
                owned("impossible", "no such word"),
                owned("never", "not yet"),
            ];
            assert_eq!(unsaid, expected);
            let tried = mouth.said.lock().expect("nobody panics").clone();
            assert_eq!(tried["never"], holdfast_tables::MAX_ATTEMPTS);
            assert_eq!(tried["w0"], 1, "nothing disturbed it");
            drop(pool);
            replica.shutdown().await;
        })
    });
}

#[test]
fn a_restart_goes_on_and_snapshots_hold_the_tables() {
    run(|host| {
        Box::pin(async move {
            let (replica, tables) = start(&host).await;
            for number in 0..40 {
                let words = vec![("lane".to_owned(), format!("w{number}"))];
                let said = tables.propose::<Tally>(None, &Command::Say(words)).await;
                said.expect("it is proposed").outcome.expect("not refused");
            }
            let status = replica.status().await.expect("it runs");
            assert!(status.snapshot_index >= 16, "{status:?}");
            replica.shutdown().await;
            // The database is lost: what the snapshot holds takes its place, the log brings the rest.
            host.blocking(|disk| {
                let names = disk.list(std::path::Path::new("")).expect("a list");
                for name in names.iter().filter(|name| name.starts_with("tables.db")) {
                    disk.remove(std::path::Path::new(name)).expect("removed");
                }
            })
            .await;
            let (replica, tables) = start(&host).await;
            let mouth = Arc::new(Mouth {
                said: Mutex::default(),
            });
            let _pool = Pool::start(&host, tables.clone(), mouth.clone(), settings());
            settled(&host, &tables).await;
            let said = tables.read(Consistency::Linearizable, |reader| {
                reader.one("SELECT count(DISTINCT word) FROM said", [], |row| {
                    row.get::<_, i64>(0)
                })
            });
            assert_eq!(said.await.expect("it reads"), 40_i64);
            replica.shutdown().await;
        })
    });
}
