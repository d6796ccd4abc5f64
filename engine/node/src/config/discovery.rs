use super::{DhtSection, NodeSection, format_duration, units};
use crate::discovery::{ClusterKey, is_address};
use serde::Deserialize;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// `[discovery]`: how members find each other, and clients find members, by a signed item of the DHT (BEP 44).
///
/// It finds addresses. Who the members are it says only to a node without data that was told none; from then on the
/// data folder says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoverySection {
    /// Whom to believe: the cluster's public key, 64 hexadecimal digits.
    pub key: Option<ClusterKey>,
    /// A file with the secret of that key: who has it tells others where this node is. `engine dht cluster key` makes
    /// one.
    pub key_file: Option<PathBuf>,
    /// Where peers find this node, `host:port`; `node.peer_listen` when nothing is said.
    pub advertise_peer: Option<String>,
    /// Where clients find this node, `host:port`; `node.listen` when nothing is said.
    pub advertise_client: Option<String>,
    /// How often the item is looked up, and stored again: nodes of the DHT forget one after two hours (BEP 44).
    #[serde(deserialize_with = "units::duration")]
    pub interval: Duration,
    /// How long a node that was told no members looks for them before it gives up.
    #[serde(deserialize_with = "units::duration")]
    pub patience: Duration,
}

impl Default for DiscoverySection {
    fn default() -> Self {
        DiscoverySection {
            key: None,
            key_file: None,
            advertise_peer: None,
            advertise_client: None,
            interval: Duration::from_secs(3_600),
            patience: Duration::from_secs(120),
        }
    }
}

impl DiscoverySection {
    /// Whether there is any.
    pub fn is_on(&self) -> bool {
        self.key.is_some() || self.key_file.is_some()
    }

    /// What is wrong with it.
    pub(super) fn fault(&self, dht: &DhtSection, node: &NodeSection) -> Option<String> {
        if !self.is_on() {
            return None;
        }
        if !dht.enabled {
            return Some(
                "discovery.key asks the DHT, and this node is none of it: set dht.enabled = true"
                    .to_owned(),
            );
        }
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(2 * 3_600));
        if !(least..=most).contains(&self.interval) {
            return Some(format!(
                "discovery.interval is {}; it must be from 1s to 2h, after which the DHT forgets",
                format_duration(self.interval)
            ));
        }
        if self.patience.is_zero() || self.patience > Duration::from_secs(86_400) {
            return Some("discovery.patience must be above zero and at most a day".to_owned());
        }
        let told = [
            (
                "advertise_peer",
                &self.advertise_peer,
                "peer_listen",
                node.peer_listen,
            ),
            (
                "advertise_client",
                &self.advertise_client,
                "listen",
                node.listen,
            ),
        ];
        told.into_iter()
            .find_map(|(key, told, listens, address)| match told {
                Some(text) => (!is_address(text))
                    .then(|| format!("discovery.{key} must be `host:port`, not `{text}`")),
                None => self.fault_of_address(key, listens, address),
            })
    }

    fn fault_of_address(&self, key: &str, listens: &str, address: SocketAddr) -> Option<String> {
        let is_told = self.key_file.is_some() && address.ip().is_unspecified();
        is_told.then(|| {
            format!(
                "node.{listens} is {address}, which is no address to find this node at: set discovery.{key}"
            )
        })
    }
}
