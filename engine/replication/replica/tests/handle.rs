//! The replica on this operating system: what takes long must not keep commands waiting.

use bytes::Bytes;
use holdfast_host::tokio_host;
use holdfast_raft::{Config, Membership};
use holdfast_replica::{
    Command, CorruptSnapshot, Outcome, ReplicaConfig, ReplicaHandle, Settings, StateMachine,
};
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

const MS: u64 = 1_000_000;
/// Far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine whose digest takes until it is let go.
#[derive(Clone)]
struct Large {
    begun: Arc<Mutex<mpsc::Sender<()>>>,
    go_on: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl StateMachine for Large {
    fn apply(&mut self, command: Command<'_>) -> Bytes {
        command.payload.clone()
    }

    fn digest(&self) -> u64 {
        let begun = self.begun.lock().expect("no panic");
        begun.send(()).expect("the test waits for it");
        let go_on = self.go_on.lock().expect("no panic");
        go_on.recv_timeout(PATIENCE).map_or(0, |()| 7)
    }

    fn write_snapshot(&self, _sink: &mut dyn Write) -> io::Result<()> {
        unreachable!("there are too few commands for a snapshot")
    }

    fn read_snapshot(&self, _source: &mut dyn Read) -> Result<Self, CorruptSnapshot> {
        unreachable!("there is no snapshot")
    }
}

fn config(directory: &std::path::Path) -> ReplicaConfig {
    let voters = vec![1];
    ReplicaConfig {
        cluster: 7,
        listen: "127.0.0.1:0".parse().expect("an address"),
        peers: BTreeMap::from([(1, "127.0.0.1:1".to_owned())]),
        directory: directory.to_owned(),
        segment_bytes: 1 << 20,
        snapshot_chunk_bytes: 1 << 16,
        settings: Settings {
            raft: Config {
                id: 1,
                membership: Membership {
                    voters,
                    learners: Vec::new(),
                },
                election_timeout: 100 * MS,
                heartbeat_interval: 20 * MS,
                max_inflight_messages: 16,
                max_inflight_bytes: 1 << 20,
                max_append_bytes: 1 << 16,
                max_uncommitted_bytes: 1 << 20,
                max_apply_bytes: 1 << 20,
                max_pending_reads: 100,
                pre_vote: true,
                check_quorum: true,
                lease_reads: false,
                max_clock_drift_ppm: 500,
                mutant: None,
            },
            max_command_bytes: 1 << 16,
            max_pending: 100,
            request_timeout: 10_000 * MS,
            snapshot_entries: 1_000_000,
            snapshot_bytes: 1 << 30,
            keep_entries: 100,
            snapshot_retry: 500 * MS,
            hold_bytes: 1 << 20,
            snapshot_window: 1 << 20,
            mutant: None,
        },
    }
}

#[test]
fn commands_go_on_while_the_state_is_digested() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
    let (begun, has_begun) = mpsc::channel();
    let (let_go, go_on) = mpsc::channel();
    let machine = Large {
        begun: Arc::new(Mutex::new(begun)),
        go_on: Arc::new(Mutex::new(go_on)),
    };
    runtime.block_on(async {
        let start = ReplicaHandle::start(host.clone(), config("data".as_ref()), machine);
        let replica = start.await.expect("starts");
        while replica.propose(None, "first".into()).await.is_err() {
            // It is about to elect itself.
            host.sleep(Duration::from_millis(10)).await;
        }
        let asked = replica.clone();
        let (send, told) = tokio::sync::oneshot::channel();
        host.spawn("digest", async move {
            let status = asked.status_with_digest().await.expect("it runs");
            send.send(status.digest).expect("the test waits for it");
        });
        host.blocking(move |_| has_begun.recv_timeout(PATIENCE).expect("it is asked for"))
            .await;
        let proposed = host.timeout(PATIENCE / 3, replica.propose(None, "a".into()));
        let (_, outcome) = proposed.await.expect("in time").expect("carried out");
        assert_eq!(outcome, Outcome::Applied("a".into()));
        let_go.send(()).expect("it waits");
        assert!(told.await.expect("an answer").is_some());
        replica.shutdown().await;
    });
}
