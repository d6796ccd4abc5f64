//! What a node is told: a TOML file, overridden by command-line flags.

mod auth;
mod blobs;
mod dht;
mod discovery;
mod links;
mod units;

pub use auth::{AuditSection, AuthKey, AuthMode, AuthSection, TlsSection};
pub use blobs::BlobsSection;
pub use dht::DhtSection;
pub use discovery::DiscoverySection;
pub use links::LinksSection;
pub use units::{format_duration, parse_bytes, parse_duration};

use fnv::FnvHasher;
use serde::{Deserialize, Deserializer, de};
use std::{
    collections::BTreeMap,
    fmt,
    hash::Hasher,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// Everything a node is told. [`NodeConfig::default`] is a cluster of one that listens on loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// `[node]`: who this node is and where it listens.
    pub node: NodeSection,
    /// `[cluster]`: whom it belongs to; equal on all nodes.
    pub cluster: ClusterSection,
    /// `[raft]`: timing and sizes of replication; equal on all nodes.
    pub raft: RaftSection,
    /// `[limits]`: what clients may ask of this node.
    pub limits: LimitsSection,
    /// `[auth]`: who clients must be.
    pub auth: AuthSection,
    /// `[audit]`: what is told of changes.
    pub audit: AuditSection,
    /// `[links]`: how links are checked.
    pub links: LinksSection,
    /// `[dht]`: this node as one of the BitTorrent DHT.
    pub dht: DhtSection,
    /// `[blobs]`: content-addressed blobs.
    pub blobs: BlobsSection,
    /// `[discovery]`: how members are found through the DHT.
    pub discovery: DiscoverySection,
    /// `[tls]`: how clients' connections are kept secret.
    pub tls: TlsSection,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSection {
    /// This node's number in its cluster, from 1.
    pub id: u64,
    /// The folder of everything that must survive.
    pub data: PathBuf,
    /// Where clients connect (HTTP).
    pub listen: SocketAddr,
    /// Where the other nodes of the cluster connect.
    pub peer_listen: SocketAddr,
    /// Listen beyond loopback although nobody is authenticated: neither peers, nor clients unless `auth.mode` says so.
    pub insecure: bool,
    /// Listen for peers beyond loopback although they are not authenticated, but not for clients.
    pub insecure_peers: bool,
    /// How long a node that is told to stop still takes new connections, while `/readyz` says that it leaves: time for
    /// whoever sends clients here to notice.
    #[serde(deserialize_with = "units::duration")]
    pub lame_duck: Duration,
}

impl Default for NodeSection {
    fn default() -> Self {
        NodeSection {
            id: 1,
            data: PathBuf::from("holdfast-data"),
            listen: (Ipv4Addr::LOCALHOST, 7480).into(),
            peer_listen: (Ipv4Addr::LOCALHOST, 7481).into(),
            insecure: false,
            insecure_peers: false,
            lame_duck: Duration::from_millis(500),
        }
    }
}

/// `[cluster]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSection {
    /// The cluster's name; its identity is derived from it unless `id` gives one.
    pub name: String,
    /// The cluster's identity, when the name is not enough to tell it from others.
    pub id: Option<u64>,
    /// Every member's number and where it listens for peers, `host:port`. Empty: a cluster of this node alone.
    #[serde(deserialize_with = "peers_by_number")]
    pub peers: BTreeMap<u64, String>,
}

impl Default for ClusterSection {
    fn default() -> Self {
        ClusterSection {
            name: "holdfast".to_owned(),
            id: None,
            peers: BTreeMap::new(),
        }
    }
}

impl ClusterSection {
    /// The cluster's identity: the one given, else a hash of the name.
    pub fn identity(&self) -> u64 {
        self.id.unwrap_or_else(|| {
            let mut hash = FnvHasher::default();
            hash.write(self.name.as_bytes());
            hash.finish()
        })
    }
}

/// TOML's keys are text; members are numbers.
fn peers_by_number<'de, D: Deserializer<'de>>(de: D) -> Result<BTreeMap<u64, String>, D::Error> {
    BTreeMap::<String, String>::deserialize(de)?
        .into_iter()
        .map(|(id, address)| {
            let number: u64 = id.parse().map_err(|_| {
                de::Error::custom(format!("a peer's key must be its number, not `{id}`"))
            })?;
            // `1` and `01` would be two keys for one node, and one of the addresses would be lost.
            if number.to_string() != id {
                let message = format!("a peer's key must be written `{number}`, not `{id}`");
                return Err(de::Error::custom(message));
            }
            Ok((number, address))
        })
        .collect()
}

/// `[raft]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaftSection {
    /// Shortest time without a leader before a node campaigns; the longest is twice this.
    #[serde(deserialize_with = "units::duration")]
    pub election_timeout: Duration,
    /// Time between a leader's heartbeats; well below `election_timeout`.
    #[serde(deserialize_with = "units::duration")]
    pub heartbeat_interval: Duration,
    /// Ask whether a campaign could be won before disturbing a leader with it.
    pub pre_vote: bool,
    /// A leader that hears from no quorum steps down.
    pub check_quorum: bool,
    /// Serve linearizable reads from the leader's lease. Faster, and rests on the nodes' clocks drifting apart by less
    /// than `max_clock_drift_ppm`.
    pub lease_reads: bool,
    /// By how much two nodes' monotonic clocks may differ in speed, parts per million.
    pub max_clock_drift_ppm: u32,
    /// Log entries after which a snapshot is taken.
    pub snapshot_entries: u64,
    /// Log bytes after which a snapshot is taken.
    #[serde(deserialize_with = "units::bytes")]
    pub snapshot_bytes: u64,
    /// Entries that stay in the log behind a snapshot, for followers that are a little late.
    pub keep_entries: u64,
    /// Size of a log segment.
    #[serde(deserialize_with = "units::bytes")]
    pub segment_bytes: u64,
}

impl Default for RaftSection {
    fn default() -> Self {
        RaftSection {
            election_timeout: Duration::from_secs(1),
            heartbeat_interval: Duration::from_millis(100),
            pre_vote: true,
            check_quorum: true,
            lease_reads: false,
            max_clock_drift_ppm: 500,
            snapshot_entries: 100_000,
            snapshot_bytes: 64 << 20,
            keep_entries: 10_000,
            segment_bytes: 64 << 20,
        }
    }
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// Largest key.
    #[serde(deserialize_with = "units::bytes")]
    pub key_bytes: u64,
    /// Largest value.
    #[serde(deserialize_with = "units::bytes")]
    pub value_bytes: u64,
    /// Largest command as it stands in the log (a transaction has many keys and values).
    #[serde(deserialize_with = "units::bytes")]
    pub command_bytes: u64,
    /// Largest request body.
    #[serde(deserialize_with = "units::bytes")]
    pub body_bytes: u64,
    /// Largest request head: path, query and headers.
    #[serde(deserialize_with = "units::bytes")]
    pub head_bytes: u64,
    /// Most key-value pairs in one answer to a range read.
    pub range_keys: usize,
    /// Most bytes of keys and values in one answer to a range read.
    #[serde(deserialize_with = "units::bytes")]
    pub range_bytes: u64,
    /// Most client connections at a time.
    pub connections: usize,
    /// Most watches at a time.
    pub watches: usize,
    /// Most requests that wait for their outcome.
    pub pending_requests: usize,
    /// How many requests a second a client may make in the long run, by its key, or by its address where clients are
    /// not authenticated; probes apart. 0: as many as it likes. Behind a proxy all clients have one address.
    pub requests_per_second: u64,
    /// How many it may make at once when it has made none for a while; as many as in a second when nothing is said.
    pub burst: Option<u64>,
    /// How long a request may wait for its outcome.
    #[serde(deserialize_with = "units::duration")]
    pub request_timeout: Duration,
    /// How long a connection may take to send a request's head, and stay idle.
    #[serde(deserialize_with = "units::duration")]
    pub head_timeout: Duration,
    /// How long a request's body may take.
    #[serde(deserialize_with = "units::duration")]
    pub body_timeout: Duration,
    /// How long a client may take none of the bytes sent to it.
    #[serde(deserialize_with = "units::duration")]
    pub write_timeout: Duration,
    /// Time between a quiet watch's signs of life.
    #[serde(deserialize_with = "units::duration")]
    pub watch_progress: Duration,
}

impl Default for LimitsSection {
    fn default() -> Self {
        LimitsSection {
            key_bytes: 4 << 10,
            value_bytes: 1 << 20,
            command_bytes: 2 << 20,
            body_bytes: 4 << 20,
            head_bytes: 16 << 10,
            range_keys: 10_000,
            range_bytes: 8 << 20,
            connections: 4096,
            watches: 1024,
            pending_requests: 4096,
            requests_per_second: 0,
            burst: None,
            request_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            watch_progress: Duration::from_secs(5),
        }
    }
}

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, when it came from one.
    pub file: Option<PathBuf>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// What is wrong, naming the key.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl NodeConfig {
    /// Reads the text of a configuration file; `file` names it in errors.
    pub fn parse(text: &str, file: &Path) -> Result<NodeConfig, ConfigError> {
        toml::from_str(text).map_err(|error| explain(text, file, &error))
    }

    /// The members and where they listen for peers; a cluster without a list is this node alone.
    pub fn members(&self) -> BTreeMap<u64, String> {
        if self.cluster.peers.is_empty() {
            return BTreeMap::from([(self.node.id, self.node.peer_listen.to_string())]);
        }
        self.cluster.peers.clone()
    }

    /// The identity of the group that replicates the data: of the cluster and of who its members are. Nodes that were
    /// told other members count other quorums, so to each other they are strangers.
    pub fn group(&self) -> u64 {
        let mut hash = FnvHasher::default();
        hash.write(&self.cluster.identity().to_le_bytes());
        for member in self.members().keys() {
            hash.write(&member.to_le_bytes());
        }
        hash.finish()
    }

    /// Whether changes are logged.
    pub fn logs_audit(&self) -> bool {
        self.audit.log.unwrap_or(self.auth.is_on())
    }

    /// Refuses what cannot work, naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self.first_fault() {
            None => Ok(()),
            Some(message) => Err(ConfigError {
                file: None,
                line: None,
                message,
            }),
        }
    }

    fn first_fault(&self) -> Option<String> {
        self.fault_of_members()
            .or_else(|| self.fault_of_exposure())
            .or_else(|| self.auth.fault())
            .or_else(|| self.links.fault())
            .or_else(|| self.dht.fault())
            .or_else(|| self.blobs.fault(self.tls.is_on()))
            .or_else(|| self.discovery.fault(&self.dht, &self.node))
            .or_else(|| self.tls.fault())
            .or_else(|| self.fault_of_times())
            .or_else(|| self.fault_of_sizes())
    }

    fn fault_of_members(&self) -> Option<String> {
        let members = self.members();
        if members.contains_key(&0) {
            return Some("node.id and the keys of cluster.peers start at 1; 0 names nobody".into());
        }
        if !members.contains_key(&self.node.id) {
            let listed: Vec<String> = members.keys().map(u64::to_string).collect();
            return Some(format!(
                "node.id is {}, but cluster.peers lists only {}",
                self.node.id,
                listed.join(", ")
            ));
        }
        if self.cluster.name.is_empty() {
            return Some("cluster.name must not be empty".into());
        }
        let mut owners = BTreeMap::new();
        for (id, address) in &members {
            if let Some(other) = owners.insert(address, id) {
                return Some(format!(
                    "cluster.peers.{other} and cluster.peers.{id} are both `{address}`: every member has an address of its own"
                ));
            }
        }
        members.iter().find_map(|(id, address)| {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
            let is_good = !host.is_empty() && port.parse::<u16>().is_ok();
            (!is_good).then(|| format!("cluster.peers.{id} must be `host:port`, not `{address}`"))
        })
    }

    fn fault_of_exposure(&self) -> Option<String> {
        let is_open = |address: SocketAddr| !address.ip().is_loopback();
        let node = &self.node;
        if is_open(node.listen) && !node.insecure && !self.auth.is_on() {
            return Some(format!(
                "node.listen is {}, which other machines can reach, and clients are not authenticated: whoever \
                 reaches it can read and change everything. Listen on 127.0.0.1, ask for API keys (auth.mode = \
                 \"keys\"; `engine keys new` makes one), or say --insecure (node.insecure = true) when the network \
                 itself keeps strangers out",
                node.listen
            ));
        }
        if is_open(node.peer_listen) && !node.insecure && !node.insecure_peers {
            return Some(format!(
                "node.peer_listen is {}, which other machines can reach, and peers are not authenticated: whoever \
                 reaches it can take part in the cluster. Listen on 127.0.0.1, or say --insecure-peers \
                 (node.insecure_peers = true) when the network itself keeps strangers out of that port",
                node.peer_listen
            ));
        }
        None
    }

    fn fault_of_times(&self) -> Option<String> {
        let (raft, limits) = (&self.raft, &self.limits);
        if raft.heartbeat_interval.is_zero() || raft.election_timeout < raft.heartbeat_interval * 2
        {
            return Some(format!(
                "raft.heartbeat_interval ({}) must be above zero and at most half of raft.election_timeout ({})",
                format_duration(raft.heartbeat_interval),
                format_duration(raft.election_timeout)
            ));
        }
        if raft.lease_reads && !raft.check_quorum {
            return Some("raft.lease_reads needs raft.check_quorum".into());
        }
        let times = [
            ("limits.request_timeout", limits.request_timeout),
            ("limits.head_timeout", limits.head_timeout),
            ("limits.body_timeout", limits.body_timeout),
            ("limits.write_timeout", limits.write_timeout),
            ("limits.watch_progress", limits.watch_progress),
        ];
        times.into_iter().find_map(|(key, time)| {
            (time.is_zero() || time > Duration::from_secs(86_400))
                .then(|| format!("{key} must be above zero and at most a day"))
        })
    }

    fn fault_of_sizes(&self) -> Option<String> {
        let (raft, limits) = (&self.raft, &self.limits);
        let ranges: [(&str, u64, u64, u64); 15] = [
            ("limits.key_bytes", limits.key_bytes, 1, 64 << 10),
            ("limits.value_bytes", limits.value_bytes, 1, 4 << 20),
            (
                "limits.command_bytes",
                limits.command_bytes,
                1 << 10,
                8 << 20,
            ),
            ("limits.body_bytes", limits.body_bytes, 1 << 10, 64 << 20),
            ("limits.head_bytes", limits.head_bytes, 4 << 10, 1 << 20),
            ("limits.range_keys", limits.range_keys as u64, 1, 1 << 20),
            ("limits.range_bytes", limits.range_bytes, 1 << 10, 256 << 20),
            ("limits.connections", limits.connections as u64, 1, 1 << 20),
            ("limits.watches", limits.watches as u64, 1, 1 << 20),
            (
                "limits.pending_requests",
                limits.pending_requests as u64,
                1,
                1 << 20,
            ),
            (
                "limits.requests_per_second",
                limits.requests_per_second,
                0,
                1_000_000,
            ),
            ("limits.burst", limits.burst.unwrap_or(1), 1, 1_000_000),
            ("raft.snapshot_entries", raft.snapshot_entries, 1, u64::MAX),
            (
                "raft.snapshot_bytes",
                raft.snapshot_bytes,
                1 << 10,
                u64::MAX,
            ),
            ("raft.segment_bytes", raft.segment_bytes, 64 << 10, 4 << 30),
        ];
        ranges
            .into_iter()
            .find_map(|(key, value, least, most)| {
                (!(least..=most).contains(&value))
                    .then(|| format!("{key} is {value}; it must be from {least} to {most}"))
            })
            .or_else(|| {
                let needed = limits.key_bytes + limits.value_bytes + 1024;
                (limits.command_bytes < needed).then(|| {
                    format!(
                        "limits.command_bytes is {}; one key and value within their limits need {needed}",
                        limits.command_bytes
                    )
                })
            })
    }
}

/// Puts file, line and key to an error of the TOML reader, and the key that was probably meant.
fn explain(text: &str, file: &Path, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map(|span| span.start.min(text.len()));
    let before = start.and_then(|start| text.get(..start));
    let line = before.map(|before| before.matches('\n').count() + 1);
    let section = before.and_then(|before| {
        before
            .lines()
            .rev()
            .find(|line| line.trim_start().starts_with('['))
            .map(|line| line.trim().to_owned())
    });
    let in_section = section.map_or(String::new(), |section| format!(" in {section}"));
    let quoted: Vec<&str> = error.message().split('`').skip(1).step_by(2).collect();
    let message = match quoted.split_first() {
        Some((key, known)) if error.message().starts_with("unknown field") => {
            let meant = nearest(key, known)
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            format!(
                "unknown key `{key}`{in_section}{meant} (known here: {})",
                known.join(", ")
            )
        }
        _ => {
            let key = line
                .and_then(|line| text.lines().nth(line - 1))
                .and_then(|line| line.split_once('='))
                .map(|(key, _)| format!("`{}`{in_section}: ", key.trim()));
            format!("{}{}", key.unwrap_or_default(), error.message().trim())
        }
    };
    ConfigError {
        file: Some(file.to_owned()),
        line,
        message,
    }
}

/// The known word that `word` was probably meant to be.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NodeConfig, ConfigError> {
        NodeConfig::parse(text, Path::new("holdfast.toml"))
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &[&str]) {
        let message = parse(text).expect_err("refused").to_string();
        for part in expected {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
    }

    #[track_caller]
    fn check_invalid(text: &str, expected: &str) {
        let error = parse(text).expect("well-formed").validate();
        let message = error.expect_err("invalid").to_string();
        assert!(
            message.contains(expected),
            "`{expected}` is missing in: {message}"
        );
    }

    #[test]
    fn nothing_said_is_a_cluster_of_one_on_loopback() {
        let config = parse("").expect("empty is fine");
        assert_eq!(config, NodeConfig::default());
        config.validate().expect("defaults work");
        assert_eq!(
            config.members(),
            BTreeMap::from([(1, "127.0.0.1:7481".into())])
        );
    }

    #[test]
    fn a_file_says_all_of_it() {
        let config = parse(
            r#"
            [node]
            id = 2
            data = "/var/lib/holdfast"
            listen = "127.0.0.1:1"
            peer_listen = "127.0.0.1:2"
            [cluster]
            name = "demo"
            peers = { 1 = "a:7481", 2 = "b:7481", 3 = "c:7481" }
            [raft]
            election_timeout = "1.5s"
            heartbeat_interval = "150ms"
            snapshot_bytes = "16 MiB"
            [limits]
            value_bytes = 65536
            "#,
        )
        .expect("well-formed");
        config.validate().expect("works");
        assert_eq!(config.cluster.peers[&3], "c:7481");
        assert_eq!(config.raft.election_timeout, Duration::from_millis(1500));
        assert_eq!(config.raft.snapshot_bytes, 16 << 20);
        assert_eq!(config.limits.value_bytes, 65536);
        assert_ne!(
            config.cluster.identity(),
            NodeConfig::default().cluster.identity()
        );
    }

    /// Folders on disks and peers of other versions have them.
    #[test]
    fn identities_never_change() {
        let text =
            "[cluster]\nname = \"foobar\"\npeers = { 1 = \"a:1\", 2 = \"b:1\", 3 = \"c:1\" }\n";
        let config = parse(text).expect("well-formed");
        // The one of FNV's published test vectors.
        assert_eq!(config.cluster.identity(), 0x8594_4171_f739_67e8);
        assert_eq!(config.group(), 0xbe97_eb02_d98a_4f7d);
    }

    #[test]
    fn a_group_is_a_cluster_and_its_members() {
        let group = |text: &str| parse(text).expect("well-formed").group();
        let three = "[cluster]\npeers = { 1 = \"a:1\", 2 = \"b:1\", 3 = \"c:1\" }\n";
        let moved =
            "[node]\nid = 2\n[cluster]\npeers = { 3 = \"z:1\", 2 = \"y:1\", 1 = \"x:1\" }\n";
        assert_eq!(
            group(three),
            group(moved),
            "whoever asks, wherever they are"
        );
        let others = [
            "",
            "[node]\nid = 2",
            "[cluster]\npeers = { 1 = \"a:1\", 2 = \"b:1\" }",
            "[cluster]\nname = \"other\"\npeers = { 1 = \"a:1\", 2 = \"b:1\", 3 = \"c:1\" }",
        ];
        for other in others {
            assert_ne!(group(three), group(other), "{other}");
        }
    }

    #[test]
    fn errors_name_file_line_and_key() {
        check_refused(
            "[node]\nid = 1\n\n[raft]\nelecton_timeout = \"1s\"\n",
            &[
                "holdfast.toml:5:",
                "`electon_timeout`",
                "[raft]",
                "did you mean `election_timeout`?",
            ],
        );
        check_refused(
            "[nodes]\nid = 1\n",
            &["holdfast.toml:1:", "`nodes`", "did you mean `node`?"],
        );
        check_refused(
            "[node]\nid = \"one\"\n",
            &["holdfast.toml:2:", "`id`", "[node]", "expected"],
        );
        check_refused(
            "[node]\nid = 1\nid = 2\n",
            &["holdfast.toml:3:", "duplicate"],
        );
        check_refused(
            "[raft]\nelection_timeout = \"fast\"\n",
            &["holdfast.toml:2:", "`election_timeout`", "150ms"],
        );
        check_refused(
            "[node]\nlisten = \"here\"\n",
            &["holdfast.toml:2:", "`listen`", "address"],
        );
        check_refused(
            "[cluster]\npeers = { a = \"x:1\" }\n",
            &["holdfast.toml:2:", "number"],
        );
        check_refused(
            "[cluster.peers]\n1 = \"x:1\"\n01 = \"y:1\"\n",
            &["holdfast.toml:", "`1`", "`01`"],
        );
        check_refused("[node\n", &["holdfast.toml:1:"]);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        check_invalid("[node]\nid = 0", "start at 1");
        check_invalid("[cluster]\npeers = { 2 = \"x:1\" }", "lists only 2");
        check_invalid("[cluster]\npeers = { 1 = \"x\" }", "cluster.peers.1");
        check_invalid(
            "[cluster]\npeers = { 1 = \"x:1\", 2 = \"y:1\", 3 = \"x:1\" }",
            "cluster.peers.1 and cluster.peers.3 are both `x:1`",
        );
        check_invalid(
            "[raft]\nheartbeat_interval = \"1s\"",
            "half of raft.election_timeout",
        );
        check_invalid(
            "[raft]\nlease_reads = true\ncheck_quorum = false",
            "needs raft.check_quorum",
        );
        check_invalid("[limits]\nconnections = 0", "limits.connections");
        check_invalid("[limits]\nburst = 0", "limits.burst");
        check_invalid("[tls]\ncert = \"a.pem\"", "tls.key");
        check_invalid("[tls]\nkey = \"a.pem\"", "tls.cert");
        check_invalid("[limits]\ncommand_bytes = \"1KiB\"", "limits.command_bytes");
        check_invalid("[limits]\nwrite_timeout = \"0s\"", "limits.write_timeout");
        check_refused(
            "[discovery]\nkey = \"a5\"",
            &["`key`", "64 hexadecimal digits"],
        );
        let discovery =
            |rest: &str| format!("[dht]\nenabled = true\n[discovery]\nkey_file = \"f\"\n{rest}");
        check_invalid("[blobs]\nenabled = true\nblobs = 0", "blobs.blobs");
        check_invalid("[discovery]\nkey_file = \"f\"", "dht.enabled");
        check_invalid(&discovery("interval = \"3h\""), "discovery.interval");
        check_invalid(&discovery("advertise_peer = \"a\""), "host:port");
        let anywhere = "[node]\npeer_listen = \"0.0.0.0:1\"\ninsecure = true\n";
        check_invalid(
            &format!("{anywhere}{}", discovery("")),
            "discovery.advertise_peer",
        );
    }

    #[test]
    fn the_world_is_let_in_only_on_purpose() {
        check_invalid("[node]\nlisten = \"0.0.0.0:7480\"", "--insecure");
        check_invalid(
            "[node]\npeer_listen = \"10.0.0.1:7481\"",
            "node.peer_listen",
        );
        let key = format!(
            "id = \"000000000000\"\nhash = \"sha256:{}\"\nscopes = [\"*\"]",
            "0".repeat(64)
        );
        let auth = format!("[auth]\nmode = \"keys\"\n[[auth.keys]]\n{key}");
        for on_purpose in [
            "[node]\nlisten = \"0.0.0.0:7480\"\ninsecure = true".to_owned(),
            "[node]\npeer_listen = \"0.0.0.0:7481\"\ninsecure_peers = true".to_owned(),
            format!("[node]\nlisten = \"0.0.0.0:7480\"\n{auth}"),
        ] {
            let open = parse(&on_purpose).expect("fine");
            open.validate().expect("on purpose");
        }
        // Keys keep strangers from the clients' port only.
        check_invalid(
            &format!("[node]\npeer_listen = \"0.0.0.0:1\"\n{auth}"),
            "--insecure-peers",
        );
        let peers = "[node]\nlisten = \"0.0.0.0:7480\"\ninsecure_peers = true";
        check_invalid(peers, "auth.mode");
    }

    #[test]
    fn keys_are_read_strictly() {
        let hash = format!("sha256:{}", "0".repeat(64));
        let key = |id: &str, rest: &str| {
            format!(
                "[[auth.keys]]\nid = \"{id}\"\nhash = \"{hash}\"\nscopes = [\"kv:*\"]\n{rest}\n"
            )
        };
        let on = "[auth]\nmode = \"keys\"\n";
        let one = key(
            "000000000000",
            "expires = \"2027-01-01T00:00:00Z\"\nname = \"ci\"",
        );
        let config = parse(&format!("{on}{one}")).expect("well-formed");
        config.validate().expect("works");
        assert_eq!(config.auth.keys[0].name, "ci");
        assert_eq!(
            config.auth.keys[0]
                .expires
                .map(crate::http::rfc3339)
                .as_deref(),
            Some("2027-01-01T00:00:00Z")
        );
        check_invalid(on, "lists none");
        check_invalid(&format!("{on}cache_ttl = \"11m\"\n{one}"), "cache_ttl");
        check_invalid(&one, "auth.mode is none");
        check_invalid(&format!("{on}{one}{one}"), "twice");
        let no_scopes = one.replace("\"kv:*\"", "");
        check_invalid(&format!("{on}{no_scopes}"), "no scopes");
        check_refused(
            &format!("{on}{}", key("short", "")),
            &["holdfast.toml:4:", "`id`", "12"],
        );
        check_refused(
            &format!("{on}{}", key("000000000000", "expires = \"soon\"")),
            &["`expires`", "2027"],
        );
        check_refused(
            &one.replace("kv:*", "kv:reed"),
            &["`scopes`", "`kv:reed`", "kv:read"],
        );
        check_refused(&one.replace("sha256", "md5"), &["`hash`", "sha256"]);
        check_refused("[auth]\nmode = \"key\"", &["`mode`", "keys"]);
        check_refused(
            &key("000000000000", "scope = 1"),
            &["did you mean `scopes`?"],
        );
    }
}
