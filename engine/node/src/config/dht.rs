use super::units;
use holdfast_kademlia::Config;
use holdfast_peers::{LocalNode, MAX_BOOTSTRAP, PUBLIC_ROUTERS, Settings};
use serde::Deserialize;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4, SocketAddrV6},
    path::PathBuf,
    time::Duration,
};

/// How the node is called in its messages: two letters and a version (BEP 20).
const VERSION: [u8; 4] = [b'H', b'F', 0, 1];

/// `[dht]`: this node as one of the BitTorrent DHT. What it stores there and for others is no part of what the cluster
/// replicates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DhtSection {
    /// Whether it is one. Not when nothing is said: it talks to strangers.
    pub enabled: bool,
    /// Whether it is in the DHT of IPv4.
    pub ipv4: bool,
    /// Where it listens in IPv4 (UDP).
    pub listen: SocketAddrV4,
    /// Where it listens in IPv6 (UDP); without it, it is not in the DHT of IPv6.
    pub listen6: Option<SocketAddrV6>,
    /// Nodes to begin with, `host:port`.
    pub bootstrap: Vec<String>,
    /// Begin with nodes too that are run for everybody.
    pub public_routers: bool,
    /// Answer nobody, and be in nobody's table (BEP 43).
    pub read_only: bool,
    /// Keep out of the table whose id is not one of its address (BEP 42).
    pub secure_ids: bool,
    /// The address by which others know this node: its id is then one of that address (BEP 42).
    pub external: Option<IpAddr>,
    /// Paths of a lookup that share no node, from 1 to 8: a liar leads only one of them astray.
    pub paths: usize,
    /// Lookups under way at a time.
    pub lookups: usize,
    /// How often the table is saved, beside at the end.
    #[serde(deserialize_with = "units::duration")]
    pub save_interval: Duration,
    /// How long a lookup may take.
    #[serde(deserialize_with = "units::duration")]
    pub patience: Duration,
}

impl Default for DhtSection {
    fn default() -> Self {
        let (settings, config) = (Settings::default(), Config::default());
        DhtSection {
            enabled: false,
            ipv4: true,
            listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 6881),
            listen6: None,
            bootstrap: Vec::new(),
            public_routers: false,
            read_only: config.read_only,
            secure_ids: config.secure_ids,
            external: None,
            paths: config.paths,
            lookups: config.lookups,
            save_interval: settings.save_interval,
            patience: settings.patience,
        }
    }
}

impl DhtSection {
    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        if !self.enabled {
            return None;
        }
        if self.bootstrap.len() + PUBLIC_ROUTERS.len() > MAX_BOOTSTRAP {
            let most = MAX_BOOTSTRAP - PUBLIC_ROUTERS.len();
            return Some(format!("dht.bootstrap may name at most {most} nodes"));
        }
        let settings = self.settings(PathBuf::new());
        settings
            .validate()
            .err()
            .map(|error| format!("dht: {error}"))
    }

    /// What the service is told; its tables are kept in `directory`.
    pub fn settings(&self, directory: PathBuf) -> Settings {
        let routers = match self.public_routers {
            true => PUBLIC_ROUTERS.map(str::to_owned).to_vec(),
            false => Vec::new(),
        };
        Settings {
            nodes: vec![LocalNode {
                v4: self.ipv4.then_some(self.listen),
                v6: self.listen6,
                id: None,
                external: self.external,
            }],
            config: Config {
                read_only: self.read_only,
                secure_ids: self.secure_ids,
                paths: self.paths,
                lookups: self.lookups,
                version: Some(VERSION),
                ..Config::default()
            },
            bootstrap: self.bootstrap.iter().cloned().chain(routers).collect(),
            directory: Some(directory),
            save_interval: self.save_interval,
            patience: self.patience,
            is_direct: false,
            mutant: None,
        }
    }
}
