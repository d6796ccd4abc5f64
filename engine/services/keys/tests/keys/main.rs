//! The service in tables, on the operating system's files, without a replica around them.

use holdfast_host::{Disk, Host, UnixTime, tokio_host};
use holdfast_keys::{
    ApiKey, Command, KeyId, KeyRecord, Keys, MAX_ENDED, MAX_KEYS, MAX_NAME_BYTES, MAX_SCOPE_BYTES,
    MAX_SCOPES, NewKey, Outcome, Refusal, query,
};
use holdfast_replica::{DiskCommand, DiskMachine};
use holdfast_tables::{
    AuditEntry, Caller, Idempotency, Reader, Services, SqlError, Tables, TablesOptions,
    audit_entries,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::path::PathBuf;
use tokio::runtime::Builder;

const SECOND: u64 = 1_000_000_000;
const NOW: UnixTime = UnixTime::from_nanos(1_800_000_000 * SECOND);

/// The call of a service as it stands in the log, written down here once more on purpose: logs outlive programs.
#[derive(serde::Serialize)]
enum Call<'a> {
    Service {
        service: &'a str,
        caller: Option<Caller>,
        command: Vec<u8>,
    },
}

#[derive(Debug, PartialEq, serde::Deserialize)]
enum Reply {
    Done(Vec<u8>),
    Replayed(Vec<u8>),
    Refused(Vec<u8>),
}

/// Tables with nothing but keys in them, and the disk below.
struct World<'a> {
    tables: Tables,
    disk: &'a mut dyn Disk,
    index: u64,
    /// Nanoseconds since the epoch.
    time: u64,
}

impl World<'_> {
    fn propose_as(&mut self, caller: Option<Caller>, commands: &[Command]) -> Vec<Reply> {
        let encode = |command: &Command| {
            self.index += 1;
            let call = Call::Service {
                service: "keys",
                caller: caller.clone(),
                command: postcard::to_stdvec(command).expect("it encodes"),
            };
            DiskCommand {
                index: self.index,
                time: self.time,
                payload: postcard::to_stdvec(&call).expect("it encodes").into(),
            }
        };
        let commands: Vec<DiskCommand> = commands.iter().map(encode).collect();
        let replies = self.tables.apply(self.disk, NOW, &commands);
        let replies = replies.expect("the disk works");
        let read = |bytes: &bytes::Bytes| postcard::from_bytes(bytes).expect("a reply");
        replies.iter().map(read).collect()
    }

    fn propose(&mut self, command: Command) -> Result<KeyRecord, Refusal> {
        match self.propose_as(None, &[command]).remove(0) {
            Reply::Done(bytes) | Reply::Replayed(bytes) => Ok(record(&bytes)),
            Reply::Refused(bytes) => Err(postcard::from_bytes(&bytes).expect("a refusal")),
        }
    }

    fn read<T>(&mut self, read: impl FnOnce(Reader<'_>) -> Result<T, SqlError>) -> T {
        let read = self.tables.read(self.disk, NOW, read);
        read.expect("it can be read")
    }

    fn audit(&mut self) -> Vec<AuditEntry> {
        self.read(|reader| audit_entries(reader, None, 10))
    }
}

fn record(bytes: &[u8]) -> KeyRecord {
    let Outcome::Key(record) = postcard::from_bytes(bytes).expect("an outcome");
    *record
}

fn run(test: impl FnOnce(&mut World<'_>) + Send + 'static) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let host: Host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    runtime.block_on(host.blocking(|disk| {
        let options = TablesOptions {
            path: PathBuf::from("tables.db"),
            cache_kib: 1024,
            mutant: None,
            witness: None,
        };
        let services = Services::new().with(Keys);
        let rng = ChaCha8Rng::seed_from_u64(7);
        let tables = Tables::open(disk, NOW, services, options, rng);
        let mut world = World {
            tables: tables.expect("it opens"),
            disk,
            index: 0,
            time: NOW.as_nanos(),
        };
        test(&mut world);
    }));
}

fn key(seed: u64) -> ApiKey {
    ApiKey::generate(&mut ChaCha8Rng::seed_from_u64(seed))
}

fn new(seed: u64) -> NewKey {
    NewKey {
        id: key(seed).id(),
        hash: key(seed).hash(),
        name: format!("number {seed}"),
        scopes: ["kv:write", "kv:read"].map(str::to_owned).into(),
        expires_at: None,
        created_by: "tests".to_owned(),
    }
}

fn revoke(seed: u64) -> Command {
    let id = key(seed).id();
    Command::Revoke { id }
}

#[test]
fn a_key_is_created_found_and_revoked_for_good() {
    run(|world| {
        let made = world.propose(Command::Create(new(1))).expect("created");
        let expected = KeyRecord {
            number: 1,
            id: key(1).id(),
            name: "number 1".to_owned(),
            scopes: vec!["kv:read".to_owned(), "kv:write".to_owned()],
            created_at: NOW.as_nanos(),
            created_by: "tests".to_owned(),
            expires_at: None,
            revoked_at: None,
        };
        assert_eq!(made, expected);
        let id = made.id;
        assert_eq!(
            world.read(|reader| query::find(reader, id)),
            Some(made.clone())
        );
        let (found, hash) = world
            .read(|reader| query::credentials(reader, id))
            .expect("it is there");
        assert!(found == made && hash.is_of(&key(1)) && !hash.is_of(&key(2)));

        world.time += SECOND;
        let revoked = world.propose(revoke(1)).expect("revoked");
        assert_eq!(revoked.revoked_at, Some(world.time));
        let first = world.time;
        world.time += SECOND;
        let again = world.propose(revoke(1)).expect("the same");
        assert_eq!(again.revoked_at, Some(first), "when it first was");
        assert_eq!(
            world.read(|reader| query::find(reader, id)),
            Some(again),
            "it is remembered"
        );
    });
}

#[test]
fn what_cannot_be_is_refused_and_nothing_happens() {
    run(|world| {
        world.propose(Command::Create(new(1))).expect("created");
        let id = key(1).id();
        let other = NewKey { id, ..new(2) };
        assert_eq!(
            world.propose(Command::Create(other)),
            Err(Refusal::Taken(id))
        );
        let unknown = key(9).id();
        assert_eq!(world.propose(revoke(9)), Err(Refusal::NotFound(unknown)));

        let scopes = |scopes: &[&str]| scopes.iter().map(|scope| scope.to_string()).collect();
        let many: Vec<String> = (0..=MAX_SCOPES).map(|n| format!("area{n}:read")).collect();
        let (long, far) = ("a".repeat(MAX_SCOPE_BYTES + 1), u64::MAX / 2 + 1);
        let bad = |change: &dyn Fn(&mut NewKey)| {
            let mut bad = new(3);
            change(&mut bad);
            bad
        };
        for (field, bad) in [
            (
                "name",
                bad(&|new| new.name = "n".repeat(MAX_NAME_BYTES + 1)),
            ),
            ("name", bad(&|new| new.name = "a\nb".into())),
            ("scopes", bad(&|new| new.scopes.clear())),
            ("scopes", bad(&|new| new.scopes = many_of(&many))),
            ("scopes", bad(&|new| new.scopes = scopes(&[""]))),
            (
                "scopes",
                bad(&|new| new.scopes = scopes(&["kv:read admin"])),
            ),
            ("scopes", bad(&|new| new.scopes = scopes(&[&long]))),
            (
                "expires_at",
                bad(&|new| new.expires_at = Some(NOW.as_nanos())),
            ),
            ("expires_at", bad(&|new| new.expires_at = Some(far))),
        ] {
            match world.propose(Command::Create(bad)) {
                Err(Refusal::Invalid { field: told, .. }) => assert_eq!(told, field),
                other => panic!("{field}: {other:?}"),
            }
        }
        let kept = world.read(|reader| query::list(reader, None, 10));
        assert_eq!(kept.len(), 1);
        // What is just within the bounds is taken.
        let most: Vec<String> = (1..=MAX_SCOPES).map(|n| format!("area{n}:read")).collect();
        let good = NewKey {
            name: "n".repeat(MAX_NAME_BYTES),
            scopes: most.into_iter().collect(),
            expires_at: Some(NOW.as_nanos() + 1),
            ..new(4)
        };
        let made = world.propose(Command::Create(good)).expect("created");
        assert_eq!(made.scopes.len(), MAX_SCOPES);
    });
}

fn many_of(texts: &[String]) -> std::collections::BTreeSet<String> {
    texts.iter().cloned().collect()
}

#[test]
fn keys_are_listed_page_by_page_the_newest_first() {
    run(|world| {
        for seed in 1..=5 {
            world.propose(Command::Create(new(seed))).expect("created");
        }
        let numbers = |world: &mut World<'_>, before, limit| -> Vec<u64> {
            let found = world.read(move |reader| query::list(reader, before, limit));
            found.iter().map(|key| key.number).collect()
        };
        assert_eq!(numbers(world, None, 2), [5, 4]);
        assert_eq!(numbers(world, Some(4), 2), [3, 2]);
        assert_eq!(numbers(world, Some(2), 2), [1]);
        assert_eq!(numbers(world, Some(1), 2), [0; 0]);
        assert_eq!(numbers(world, Some(u64::MAX), 9).len(), 5);
    });
}

#[test]
fn a_repetition_tells_the_first_outcome_and_the_audit_log_tells_who() {
    run(|world| {
        let caller = |operation: &str| Caller {
            actor: "root".to_owned(),
            operation: operation.to_owned(),
            idempotency: Some(Idempotency {
                key: operation.to_owned(),
                fingerprint: 7,
            }),
        };
        // The second attempt has drawn another key, as a node does that is asked once more.
        let (first, second) = (Command::Create(new(1)), Command::Create(new(2)));
        let replies = world.propose_as(Some(caller("createKey")), &[first, second]);
        let [Reply::Done(done), Reply::Replayed(replayed)] = &replies[..] else {
            panic!("{replies:?}");
        };
        assert_eq!(done, replayed);
        assert_eq!(record(done).id, key(1).id());
        assert_eq!(world.read(|reader| query::list(reader, None, 9)).len(), 1);
        world.propose_as(Some(caller("revokeKey")), &[revoke(1), revoke(9)]);
        let audit = world.audit();
        let told: Vec<String> = audit
            .iter()
            .map(|one| {
                format!(
                    "{} {} {} {}",
                    one.actor, one.service, one.operation, one.resource
                )
            })
            .collect();
        let resource = format!("key {}", key(1).id());
        assert_eq!(
            told,
            [
                format!("root keys revokeKey {resource}"),
                format!("root keys createKey {resource}")
            ]
        );
    });
}

/// A secret is a long text that stands nowhere.
#[test]
fn no_secret_is_in_what_is_written_or_shown() {
    run(|world| {
        let command = Command::Create(new(1));
        let secret = key(1).reveal()[16..].to_owned();
        let encoded = postcard::to_stdvec(&command).expect("it encodes");
        let shown = format!("{command:?}{}", String::from_utf8_lossy(&encoded));
        assert!(!shown.contains(&secret) && shown.contains(key(1).id().as_str()));
        let made = world.propose(command).expect("created");
        let hash = key(1).hash().to_string();
        let outcome = format!("{made:?}");
        assert!(!outcome.contains(&secret) && !outcome.contains(&hash));
    });
}

#[test]
fn the_number_of_keys_is_bounded_and_ended_ones_make_room() {
    run(|world| {
        let create = |seed: u64, expires_at: Option<u64>| {
            Command::Create(NewKey {
                expires_at,
                ..new(seed)
            })
        };
        let soon = world.time + 10 * SECOND;
        let first = 0..MAX_KEYS;
        let commands: Vec<Command> = first.map(|seed| create(seed, Some(soon))).collect();
        let replies = world.propose_as(None, &commands);
        assert!(replies.iter().all(|reply| matches!(reply, Reply::Done(_))));
        assert_eq!(
            world.propose(create(MAX_KEYS, None)),
            Err(Refusal::TooMany(MAX_KEYS))
        );
        world.propose(revoke(3)).expect("revoked");
        world.propose(create(MAX_KEYS, None)).expect("one has room");
        world.propose(revoke(MAX_KEYS)).expect("revoked");
        world.time = soon;
        // All have ended by now, one more than are remembered: the oldest is forgotten with the next key.
        assert_eq!(MAX_ENDED, MAX_KEYS);
        world.propose(create(MAX_KEYS + 1, None)).expect("created");
        let find = |world: &mut World<'_>, id: KeyId| world.read(|reader| query::find(reader, id));
        assert_eq!(find(world, key(0).id()), None);
        assert!(find(world, key(1).id()).is_some());
        assert!(find(world, key(MAX_KEYS + 1).id()).is_some());
        let rows: i64 =
            world.read(|reader| reader.one("SELECT count(*) FROM api_keys", [], |row| row.get(0)));
        assert_eq!(rows.cast_unsigned(), MAX_ENDED + 1);
    });
}
