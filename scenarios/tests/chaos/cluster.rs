//! Three processes on this machine: started, killed, started again, looked at, stopped.

use crate::PATIENCE;
use holdfast_host::Host;
use holdfast_node::{
    client::{Client, ClientConfig},
    wire::StatusReply,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::OpenOptions,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The election timeout that the nodes are told. Followers wait once to twice as long, by lot, before they campaign.
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(500);

const NODES: u64 = 3;

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
///
/// # Panics
/// When it finds nothing for [`PATIENCE`].
pub async fn wait_for<T>(host: &Host, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = host.now().saturating_add(PATIENCE);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(host.now() < deadline, "waited {PATIENCE:?} for {what}");
        host.sleep(LOOK).await;
    }
}

/// The processes. Those that run are killed when this is dropped, and their logs shown if that is for a panic.
pub struct Cluster {
    host: Host,
    engine: PathBuf,
    folder: PathBuf,
    /// For clients: one a node.
    endpoints: Vec<String>,
    /// For peers: one a node.
    peers: Vec<String>,
    running: Vec<Option<Child>>,
    observer: Client,
}

impl Cluster {
    /// Starts all three, with their data, configuration and logs in `folder`.
    pub fn start(host: &Host, engine: &Path, folder: &Path) -> Cluster {
        let config = format!(
            "[raft]\nelection_timeout = \"{}ms\"\nheartbeat_interval = \"{}ms\"\n[links]\nlease = \"1s\"\n",
            ELECTION_TIMEOUT.as_millis(),
            ELECTION_TIMEOUT.as_millis() / 10,
        );
        std::fs::write(folder.join("engine.toml"), config).expect("the folder takes files");
        let mut addresses = free_addresses(2 * NODES as usize);
        let peers = addresses.split_off(NODES as usize);
        let observer = ClientConfig {
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(1),
            ..ClientConfig::single_attempt(addresses.clone())
        };
        let mut cluster = Cluster {
            host: host.clone(),
            engine: engine.to_owned(),
            folder: folder.to_owned(),
            observer: Client::new(host, observer),
            endpoints: addresses,
            peers,
            running: (0..NODES).map(|_| None).collect(),
        };
        for node in 1..=NODES {
            cluster.restart(node);
        }
        cluster
    }

    /// Where clients connect.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The host that clients of the cluster live on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Starts a node that does not run.
    pub fn restart(&mut self, node: u64) {
        let at = (node - 1) as usize;
        assert!(self.running[at].is_none(), "node {node} runs");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(node));
        let mut command = Command::new(&self.engine);
        command
            .arg("serve")
            .args(["--id", &node.to_string()])
            .arg("--config")
            .arg(self.folder.join("engine.toml"))
            .arg("--data")
            .arg(self.folder.join(format!("data-{node}")))
            .args(["--listen", &self.endpoints[at]])
            .args(["--peer-listen", &self.peers[at]])
            .stdout(Stdio::null())
            .stderr(log.expect("the folder takes files"));
        for (peer, address) in (1..).zip(&self.peers) {
            command.args(["--peer", &format!("{peer}={address}")]);
        }
        self.running[at] = Some(command.spawn().expect("the binary starts"));
    }

    /// Kills a node: SIGKILL, no last words.
    pub fn kill(&mut self, node: u64) {
        let child = self.running[(node - 1) as usize].take();
        let mut child = child.expect("it runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Stops all nodes as an operator does, at the same time, which must succeed.
    pub fn stop(mut self) {
        let children: Vec<Child> = self.running.iter_mut().filter_map(Option::take).collect();
        for child in &children {
            let pid = Pid::from_child(child);
            kill_process(pid, Signal::TERM).expect("it is our child");
        }
        for mut child in children {
            let status = child.wait().expect("it is our child");
            assert_eq!(status.code(), Some(0), "a stop in order");
        }
    }

    /// What a node says of itself; `None` while it does not answer.
    pub async fn status(&self, node: u64) -> Option<StatusReply> {
        let endpoint = &self.endpoints[(node - 1) as usize];
        self.observer.status(endpoint).await.ok()
    }

    /// What every node says of itself, with a digest of its state; `None` while one does not answer.
    pub async fn digests(&self) -> Option<Vec<StatusReply>> {
        let mut all = Vec::new();
        for endpoint in &self.endpoints {
            all.push(self.observer.status_with_digest(endpoint).await.ok()?);
        }
        Some(all)
    }

    /// Waits until a node leads and a quorum agrees on that, the leader among it; returns it.
    pub async fn leader(&self) -> u64 {
        wait_for(&self.host, "a leader", async || {
            let mut known = Vec::new();
            for node in 1..=NODES {
                known.extend(self.status(node).await);
            }
            let leader = known.iter().find(|status| status.role == "leader")?;
            let agree = known
                .iter()
                .filter(|s| s.leader == Some(leader.node) && s.term == leader.term);
            (agree.count() as u64 > NODES / 2).then_some(leader.node)
        })
        .await
    }

    /// Waits until a node follows a leader and has applied everything that was committed when this was called.
    pub async fn wait_until_caught_up(&self, node: u64) {
        let leader = self.leader().await;
        let committed = wait_for(&self.host, "the leader's status", async || {
            Some(self.status(leader).await?.commit)
        });
        let committed = committed.await;
        let what = format!("node {node} as a follower that has applied {committed}");
        wait_for(&self.host, &what, async || {
            let status = self.status(node).await?;
            (status.role == "follower" && status.leader.is_some() && status.applied >= committed)
                .then_some(())
        })
        .await;
    }

    fn log(&self, node: u64) -> PathBuf {
        self.folder.join(format!("log-{node}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.running.iter_mut().flatten() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for node in 1..=NODES {
                let log = std::fs::read_to_string(self.log(node));
                eprintln!("--- node {node}\n{}", log.unwrap_or_default());
            }
        }
    }
}

/// Addresses on loopback that nobody listens on. Their ports lie below those that systems choose for outgoing
/// connections: a node that is down must find its ports free when it comes back.
fn free_addresses(count: usize) -> Vec<String> {
    // Processes with neighbouring numbers, which may well be tests too, look at ports apart.
    let first = 10_000 + (std::process::id() % 2_000 * 10) as u16;
    let free: Vec<(String, TcpListener)> = (first..32_000)
        .map(|port| format!("127.0.0.1:{port}"))
        .filter_map(|address| Some((address.clone(), TcpListener::bind(address).ok()?)))
        .take(count)
        .collect();
    assert_eq!(free.len(), count, "there are free ports");
    free.into_iter().map(|(address, _)| address).collect()
}
