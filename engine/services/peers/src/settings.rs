use crate::Mutant;
use holdfast_kademlia::{Config, Id};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddrV4, SocketAddrV6},
    path::PathBuf,
    time::Duration,
};
use thiserror::Error;

/// Most nodes that one task drives.
pub const MAX_NODES: usize = 10_000;
/// Most addresses to begin with.
pub const MAX_BOOTSTRAP: usize = holdfast_kademlia::MAX_SEEDS;

/// Public nodes that are meant to be begun with; each is run by the authors of a client. They come and go, which is why
/// they are data, and asked only by whoever puts them into [`Settings::bootstrap`].
pub const PUBLIC_ROUTERS: [&str; 4] = [
    "dht.libtorrent.org:25401",
    "dht.transmissionbt.com:6881",
    "router.bittorrent.com:6881",
    "router.utorrent.com:6881",
];

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The local nodes, from 1 to [`MAX_NODES`]. A host that has several addresses of a family has as many nodes (BEP
    /// 45).
    pub nodes: Vec<LocalNode>,
    /// How they all behave.
    pub config: Config,
    /// Whom to begin with: `host:port`, IPv6 addresses in brackets. Empty: others come to these nodes, or what was saved
    /// leads them back.
    pub bootstrap: Vec<String>,
    /// Where tables are kept; `None`: nowhere.
    pub directory: Option<PathBuf>,
    /// How often they are saved, beside at the end.
    pub save_interval: Duration,
    /// How long a lookup may take before it is given up. Each ends by itself in far less, unless more is asked than can be.
    pub patience: Duration,
    /// Whether what one local node sends to another goes straight there, and not through the network. It is right where
    /// many nodes are run for their own sake, and wrong where they are to be as far apart as strangers.
    pub is_direct: bool,
    /// A bug to plant; has an effect only where debug assertions are on.
    pub mutant: Option<Mutant>,
}

impl Default for Settings {
    /// One node in IPv4 on any port, that knows nobody.
    fn default() -> Self {
        Settings {
            nodes: vec![LocalNode::default()],
            config: Config::default(),
            bootstrap: Vec::new(),
            directory: None,
            save_interval: Duration::from_secs(300),
            patience: Duration::from_secs(60),
            is_direct: false,
            mutant: None,
        }
    }
}

/// One node of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Where it listens in IPv4; port 0 picks a free one.
    pub v4: Option<SocketAddrV4>,
    /// Where it listens in IPv6.
    pub v6: Option<SocketAddrV6>,
    /// Its id; `None`: the one that was saved, or one at random.
    pub id: Option<Id>,
    /// The address by which others know it: one at random is then an id that this address may have (BEP 42), and a saved one
    /// that it may not have is given up.
    pub external: Option<IpAddr>,
}

impl Default for LocalNode {
    fn default() -> Self {
        LocalNode {
            v4: Some(SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0)),
            v6: None,
            id: None,
            external: None,
        }
    }
}

/// What cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// There are none, or too many.
    #[error("from 1 to {MAX_NODES} nodes can be run, not {0}")]
    Nodes(usize),
    /// A node is in neither family.
    #[error("node {0} has no address to listen on")]
    NoAddress(usize),
    /// Two nodes would look like one that is here and there (BEP 45).
    #[error("nodes {0} and {1} are to have the same id")]
    SameId(usize, usize),
    /// Too many to begin with.
    #[error("at most {MAX_BOOTSTRAP} addresses to begin with, not {0}")]
    Bootstrap(usize),
    /// One to begin with is not written as it should be.
    #[error("an address to begin with must be `host:port`, not `{0}`")]
    BootstrapAddress(String),
    /// A time is too short to be meant.
    #[error("{0} must be at least a second")]
    TooShort(&'static str),
    /// A number is out of its range.
    #[error("{0} must be from {1} to {2}")]
    Range(&'static str, usize, usize),
}

impl Settings {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if !(1..=MAX_NODES).contains(&self.nodes.len()) {
            return Err(SettingsError::Nodes(self.nodes.len()));
        }
        let mut nodes = self.nodes.iter();
        if let Some(node) = nodes.position(|node| node.v4.is_none() && node.v6.is_none()) {
            return Err(SettingsError::NoAddress(node));
        }
        let mut ids = BTreeMap::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if let Some(before) = node.id.and_then(|id| ids.insert(id, number)) {
                return Err(SettingsError::SameId(before, number));
            }
        }
        if self.bootstrap.len() > MAX_BOOTSTRAP {
            return Err(SettingsError::Bootstrap(self.bootstrap.len()));
        }
        for address in &self.bootstrap {
            split_address(address)?;
        }
        for (name, time) in [
            ("save_interval", self.save_interval),
            ("patience", self.patience),
        ] {
            if time < Duration::from_secs(1) {
                return Err(SettingsError::TooShort(name));
            }
        }
        let config = &self.config;
        for (name, value, most) in [
            ("k", config.k, 64),
            ("alpha", config.alpha, 64),
            ("paths", config.paths, holdfast_kademlia::MAX_PATHS),
            ("lookup_queries", config.lookup_queries, 10_000),
            ("lookups", config.lookups, 65_536),
        ] {
            if !(1..=most).contains(&value) {
                return Err(SettingsError::Range(name, 1, most));
            }
        }
        Ok(())
    }
}

/// Host and port of an address as it is configured.
pub(crate) fn split_address(address: &str) -> Result<(&str, u16), SettingsError> {
    let malformed = || SettingsError::BootstrapAddress(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(malformed)?,
        None if host.contains(':') => return Err(malformed()),
        None => host,
    };
    let port = port.parse().ok().filter(|port| *port != 0);
    match (host.is_empty(), port) {
        (false, Some(port)) => Ok((host, port)),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        assert_eq!(split_address("a.example:6881"), Ok(("a.example", 6881)));
        assert_eq!(split_address("127.0.0.1:1"), Ok(("127.0.0.1", 1)));
        assert_eq!(split_address("[::1]:6881"), Ok(("::1", 6881)));
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "::1:6881", "[::1:1"] {
            let expected = SettingsError::BootstrapAddress(bad.to_owned());
            assert_eq!(split_address(bad), Err(expected), "{bad:?}");
        }
        for router in PUBLIC_ROUTERS {
            assert!(split_address(router).is_ok(), "{router}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let settings = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate().unwrap_err()
        };
        assert_eq!(Settings::default().validate(), Ok(()));
        assert_eq!(settings(|s| s.nodes.clear()), SettingsError::Nodes(0));
        assert_eq!(
            settings(|s| s.nodes[0].v4 = None),
            SettingsError::NoAddress(0)
        );
        let same = |s: &mut Settings| {
            s.nodes = vec![LocalNode::default(); 3];
            (s.nodes[0].id, s.nodes[2].id) = (Some(Id::MAX), Some(Id::MAX));
        };
        assert_eq!(settings(same), SettingsError::SameId(0, 2));
        assert_eq!(
            settings(|s| s.bootstrap = vec!["a:1".to_owned(); 33]),
            SettingsError::Bootstrap(33)
        );
        assert_eq!(
            settings(|s| s.patience = Duration::ZERO),
            SettingsError::TooShort("patience")
        );
        assert_eq!(
            settings(|s| s.config.alpha = 0),
            SettingsError::Range("alpha", 1, 64)
        );
    }
}
