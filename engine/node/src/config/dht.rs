use super::units;
use holdfast_kademlia::{Config, secure_id};
use holdfast_peers::{LocalNode, MAX_BOOTSTRAP, PUBLIC_ROUTERS, Settings};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    path::PathBuf,
    time::Duration,
};

/// How the node is called in its messages: two letters and a version (BEP 20).
const VERSION: [u8; 4] = [b'H', b'F', 0, 1];

/// Most addresses in `dht.also`: with the first node there are 256, as many as announce one after another
/// ([`holdfast_peers::Via::Each`]).
const MAX_ALSO: usize = 255;

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
    /// Further addresses of this host (UDP). At each there is a node of its own, with its own id and table, as BEP 45
    /// has it; what is announced is announced through all of them.
    pub also: Vec<SocketAddr>,
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
            also: Vec::new(),
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
        if let Some(fault) = self.addresses_fault() {
            return Some(fault);
        }
        let settings = self.settings(PathBuf::new());
        settings
            .validate()
            .err()
            .map(|error| format!("dht: {error}"))
    }

    /// All addresses to listen on.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let v4 = self.ipv4.then_some(SocketAddr::V4(self.listen));
        let v6 = self.listen6.map(SocketAddr::V6);
        v4.into_iter().chain(v6).chain(self.also.iter().copied())
    }

    /// What BEP 45 rules out where there are several: an address that is none in particular, from which it is not known
    /// who is answered, and two ports of one address, which others take for one that asks too much.
    fn addresses_fault(&self) -> Option<String> {
        if self.also.len() > MAX_ALSO {
            return Some(format!("dht.also may name at most {MAX_ALSO} addresses"));
        }
        let mut known = BTreeSet::new();
        for address in self.addresses() {
            let ip = address.ip().to_canonical();
            let is_several = self.also.iter().any(|a| a.is_ipv4() == address.is_ipv4());
            if ip.is_unspecified() && is_several {
                return Some(format!(
                    "dht: {address} is no address in particular, which a node beside others needs (dht.also)"
                ));
            }
            // Of this machine alone nobody else thinks anything.
            if !ip.is_loopback() && !known.insert(ip) {
                return Some(format!("dht: two nodes at {ip} (dht.also)"));
            }
        }
        None
    }

    /// The first two addresses of IPv6 that are in one network of 64 bits: others may take them for one (BEP 45).
    pub fn crowded(&self) -> Option<[SocketAddr; 2]> {
        let mut networks = BTreeMap::new();
        let network = |address: &SocketAddr| match address.ip().to_canonical() {
            IpAddr::V6(ip) if !secure_id::is_exempt(ip.into()) => Some(u128::from(ip) >> 64),
            _ => None,
        };
        self.addresses().find_map(|address| {
            let before = networks.insert(network(&address)?, address)?;
            Some([before, address])
        })
    }

    /// A node at one address more. Where that is one that others see, its id is one of it (BEP 42).
    fn another(address: SocketAddr) -> LocalNode {
        let (v4, v6) = match address {
            SocketAddr::V4(address) => (Some(address), None),
            SocketAddr::V6(address) => (None, Some(address)),
        };
        LocalNode {
            v4,
            v6,
            id: None,
            external: Some(address.ip()).filter(|ip| !secure_id::is_exempt(*ip)),
        }
    }

    /// What the service is told; its tables are kept in `directory`.
    pub fn settings(&self, directory: PathBuf) -> Settings {
        let routers = match self.public_routers {
            true => PUBLIC_ROUTERS.map(str::to_owned).to_vec(),
            false => Vec::new(),
        };
        let first = LocalNode {
            v4: self.ipv4.then_some(self.listen),
            v6: self.listen6,
            id: None,
            external: self.external,
        };
        let others = self
            .also
            .iter()
            .map(|address| DhtSection::another(*address));
        Settings {
            nodes: std::iter::once(first).chain(others).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn section(listen: &str, also: &[&str]) -> DhtSection {
        let parsed = also.iter().map(|a| a.parse().expect("an address"));
        DhtSection {
            enabled: true,
            listen: listen.parse().expect("an address"),
            also: parsed.collect(),
            ..DhtSection::default()
        }
    }

    #[test]
    fn each_address_is_a_node_of_its_own() {
        let section = section("192.0.2.1:6881", &["192.0.2.9:6881", "[2001:db8::9]:1"]);
        assert_eq!(section.fault(), None);
        let nodes = section.settings(PathBuf::new()).nodes;
        let at = |node: &LocalNode| {
            let (v4, v6) = (node.v4.map(SocketAddr::V4), node.v6.map(SocketAddr::V6));
            [v4, v6].map(|address| address.map(|address| address.to_string()))
        };
        let at: Vec<_> = nodes.iter().map(at).collect();
        let some = |address: &str| Some(address.to_owned());
        assert_eq!(
            at,
            [
                [some("192.0.2.1:6881"), None],
                [some("192.0.2.9:6881"), None],
                [None, some("[2001:db8::9]:1")]
            ]
        );
        let external: Vec<_> = nodes.iter().map(|node| node.external).collect();
        let seen = ["192.0.2.9", "2001:db8::9"].map(|ip| ip.parse().ok());
        assert_eq!(external, [None, seen[0], seen[1]], "ids are of the address");
    }

    #[test]
    fn addresses_that_others_could_not_tell_apart_are_refused() {
        let check = |listen: &str, also: &[&str], expected: Option<&str>| {
            let fault = section(listen, also).fault();
            match expected {
                None => assert_eq!(fault, None),
                Some(part) => assert!(fault.expect(part).contains(part), "{part}"),
            }
        };
        check("0.0.0.0:6881", &[], None);
        check("0.0.0.0:6881", &["[2001:db8::9]:1"], None);
        check("0.0.0.0:6881", &["192.0.2.9:1"], Some("0.0.0.0:6881"));
        check("192.0.2.9:1", &["[::]:1"], Some("[::]:1"));
        check(
            "192.0.2.9:1",
            &["192.0.2.9:2"],
            Some("two nodes at 192.0.2.9"),
        );
        check("127.0.0.1:1", &["127.0.0.1:2"], None);
        let many = vec!["127.0.0.1:1"; MAX_ALSO + 1];
        check("127.0.0.1:1", &many, Some("at most 255"));
    }

    #[test]
    fn two_addresses_of_one_network_are_seen() {
        let crowded = |also: &[&str]| section("192.0.2.1:1", also).crowded();
        assert_eq!(crowded(&["[2001:db8::9]:1", "[2001:db8:0:1::9]:1"]), None);
        assert_eq!(crowded(&["[::1]:1", "[::1]:2", "192.0.2.2:1"]), None);
        let two = ["[2001:db8::9]:1", "[2001:db8::a]:1"];
        let parsed = two.map(|address| address.parse().expect("an address"));
        assert_eq!(crowded(&two), Some(parsed));
    }
}
