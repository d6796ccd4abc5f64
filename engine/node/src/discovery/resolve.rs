//! What is done before a start: a node that was told no members looks for them.

use super::{
    ClusterKey, ClusterSecret, ItemName, LookError, Roster, SignedRoster,
    look::{load, look},
};
use crate::{
    Mutant,
    config::{ConfigError, NodeConfig},
    folder::{self, FolderError},
};
use holdfast_host::{Host, read_file};
use holdfast_peers::{Dht, DhtHandle, Settings};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Largest file with a secret that is read.
const MAX_SECRET_BYTES: u64 = 1 << 10;
/// How long after nothing was found it is looked again, at first and at most.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// Why a node does not know whom to join.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The file with the secret cannot be used.
    #[error("discovery.key_file, {}: {detail}", file.display())]
    Secret {
        /// The file.
        file: PathBuf,
        /// Why.
        detail: String,
    },
    /// The secret is that of another key.
    #[error("discovery.key is {told}, but discovery.key_file has the secret of {found}")]
    OtherKey {
        /// The public key that was configured.
        told: ClusterKey,
        /// The one of the secret.
        found: ClusterKey,
    },
    /// The data folder cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The DHT cannot be asked.
    #[error(transparent)]
    Dht(#[from] holdfast_peers::StartError),
    /// Nothing usable was found in time.
    #[error(
        "no members were found through the DHT in {}: {last}. Tell them (--peer, or cluster.peers) to begin a cluster",
        crate::config::format_duration(*patience)
    )]
    NotFound {
        /// How long it was looked.
        patience: Duration,
        /// What became of the last attempt.
        last: Refused,
    },
    /// What was found cannot work.
    #[error("the members that were found through the DHT: {0}")]
    Config(ConfigError),
}

/// Why a node does not take what was found for its members.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing was looked at yet.
    #[error("the DHT did not answer")]
    NoAnswer,
    /// Nothing was found.
    #[error(transparent)]
    Look(#[from] LookError),
    /// An older list than one that was seen before.
    #[error("the item has the number {found}, and number {seen} was seen before")]
    Older {
        /// Its number.
        found: i64,
        /// That of the one before.
        seen: i64,
    },
    /// The folder belongs to a cluster of others.
    #[error(
        "it lists the members {}, and the data folder belongs to a cluster of {}",
        list(found),
        list(own)
    )]
    OtherMembers {
        /// Those that it lists.
        found: BTreeSet<u64>,
        /// Those of the folder.
        own: BTreeSet<u64>,
    },
    /// It does not list this node.
    #[error("it lists the members {}, and not this node, {node}", list(found))]
    NotListed {
        /// Those that it lists.
        found: BTreeSet<u64>,
        /// This node.
        node: u64,
    },
    /// It lists nobody else.
    #[error("it lists nobody but this node, and no item makes a node a cluster of its own")]
    Alone,
    /// It does not say where a member is.
    #[error("it does not say where member {member} listens for its peers")]
    NoAddress {
        /// Which.
        member: u64,
    },
}

fn list(members: &BTreeSet<u64>) -> String {
    let members: Vec<String> = members.iter().map(u64::to_string).collect();
    members.join(", ")
}

/// The configuration with the members in it. Where they were told, or there is no discovery, it is left as it is. A
/// node that has found them before starts with what it found then, and asks nobody.
///
/// # Errors
/// When nothing usable was found in `discovery.patience`. Nothing was written.
pub async fn completed(host: &Host, config: NodeConfig) -> Result<NodeConfig, DiscoveryError> {
    completed_rigged(host, config, None).await
}

/// The same, with a bug of the zoo planted.
pub(crate) async fn completed_rigged(
    host: &Host,
    mut config: NodeConfig,
    mutant: Option<Mutant>,
) -> Result<NodeConfig, DiscoveryError> {
    if !config.discovery.is_on() || !config.cluster.peers.is_empty() {
        return Ok(config);
    }
    let secret = secret_of(host, &config).await?;
    let key = key_of(&config, secret.as_ref())?;
    let name = ItemName::new(key, config.cluster.identity());
    let (folder, file_name) = (config.node.data.clone(), name.clone());
    let looked = host.blocking(move |disk| {
        let members = folder::members_of(disk, &folder)?;
        let saved = load(disk, &folder::roster_file(&folder), &file_name);
        Ok::<_, FolderError>((members, saved))
    });
    let (members, saved) = looked.await?;
    let judge = Judge {
        node: config.node.id,
        members: members.map(|members| members.into_iter().collect()),
        seen: saved.as_ref().map(SignedRoster::sequence),
    };
    let known = saved.and_then(|saved| judge.judge(&saved).ok());
    config.cluster.peers = match known {
        Some(peers) if judge.members.is_some() => peers,
        _ => find(host, &config, &name, &judge, mutant).await?,
    };
    tracing::info!(members = ?config.cluster.peers, "found through the DHT");
    config.validate().map_err(DiscoveryError::Config)?;
    Ok(config)
}

/// The secret, where there is one.
pub(crate) async fn secret_of(
    host: &Host,
    config: &NodeConfig,
) -> Result<Option<ClusterSecret>, DiscoveryError> {
    let Some(file) = config.discovery.key_file.clone() else {
        return Ok(None);
    };
    let fault = |detail: String| DiscoveryError::Secret {
        file: file.clone(),
        detail,
    };
    let path = file.clone();
    let read = host.blocking(move |disk| read_file(disk, &path, MAX_SECRET_BYTES));
    let text = read
        .await
        .map_err(|error: io::Error| fault(error.to_string()))?;
    let secret = ClusterSecret::parse(&text).map_err(|error| fault(error.to_string()))?;
    Ok(Some(secret))
}

/// Whom to believe.
///
/// # Panics
/// When there is no discovery.
pub(super) fn key_of(
    config: &NodeConfig,
    secret: Option<&ClusterSecret>,
) -> Result<ClusterKey, DiscoveryError> {
    let found = secret.map(ClusterSecret::public);
    match (config.discovery.key, found) {
        (Some(told), Some(found)) if told != found => Err(DiscoveryError::OtherKey { told, found }),
        (told, found) => Ok(told.or(found).expect("discovery is on")),
    }
}

/// Asks the DHT, as a node that is in nobody's table and keeps none (BEP 43): the folder is not taken yet.
async fn find(
    host: &Host,
    config: &NodeConfig,
    name: &ItemName,
    judge: &Judge,
    mutant: Option<Mutant>,
) -> Result<BTreeMap<u64, String>, DiscoveryError> {
    let patience = config.discovery.patience;
    let mut settings = visitor(config);
    settings.config.mutant = Mutant::dht(mutant);
    let dht = Dht::start(host, settings).await?;
    let mut last = Refused::NoAnswer;
    let asking = ask(host, &dht, name, judge, &mut last);
    let found = host.timeout(patience, asking).await;
    dht.shutdown().await;
    found.map_err(|_| DiscoveryError::NotFound { patience, last })
}

fn visitor(config: &NodeConfig) -> Settings {
    let mut settings = config.dht.settings(PathBuf::new());
    settings.directory = None;
    settings.config.read_only = true;
    for node in &mut settings.nodes {
        // Its own ports are those of the node that is to be started.
        if let Some(address) = &mut node.v4 {
            address.set_port(0);
        }
        if let Some(address) = &mut node.v6 {
            address.set_port(0);
        }
    }
    settings
}

async fn ask(
    host: &Host,
    dht: &DhtHandle,
    name: &ItemName,
    judge: &Judge,
    last: &mut Refused,
) -> BTreeMap<u64, String> {
    let mut pause = LOOK_AGAIN.0;
    loop {
        let found = look(dht, name).await.map_err(Refused::Look);
        match found.and_then(|found| judge.judge(&found)) {
            Ok(peers) => return peers,
            Err(refused) => {
                let is_new = *last != refused;
                if is_new {
                    tracing::warn!(item = %name.target(), reason = %refused, "no members through the DHT yet");
                }
                *last = refused;
            }
        }
        host.sleep(pause).await;
        pause = (pause * 2).min(LOOK_AGAIN.1);
    }
}

/// Which lists a node takes for its members.
#[derive(Clone, Debug)]
struct Judge {
    node: u64,
    /// Those of the data folder.
    members: Option<BTreeSet<u64>>,
    /// The highest number that was seen.
    seen: Option<i64>,
}

impl Judge {
    fn judge(&self, found: &SignedRoster) -> Result<BTreeMap<u64, String>, Refused> {
        if let Some(seen) = self.seen.filter(|seen| *seen > found.sequence()) {
            let found = found.sequence();
            return Err(Refused::Older { found, seen });
        }
        self.members_of(found.roster())
    }

    fn members_of(&self, roster: &Roster) -> Result<BTreeMap<u64, String>, Refused> {
        let listed = || roster.members().keys().copied().collect();
        match &self.members {
            Some(own) if !roster.lists(own) => {
                let (found, own) = (listed(), own.clone());
                return Err(Refused::OtherMembers { found, own });
            }
            None if !roster.members().contains_key(&self.node) => {
                let (found, node) = (listed(), self.node);
                return Err(Refused::NotListed { found, node });
            }
            // A cluster of one that its operator has made goes on as one.
            None if roster.members().len() == 1 => return Err(Refused::Alone),
            _ => {}
        }
        let address = |(&member, addresses): (&u64, &super::Addresses)| {
            let peer = addresses.peer.clone();
            Ok((member, peer.ok_or(Refused::NoAddress { member })?))
        };
        roster.members().iter().map(address).collect()
    }
}

/// Keeps what was found for the next start.
pub(super) async fn save(host: &Host, file: &Path, signed: &SignedRoster) {
    let (file, bytes) = (file.to_owned(), signed.to_file());
    let shown = file.display().to_string();
    let written = host.blocking(move |disk| {
        let folder = file.parent().unwrap_or(Path::new("."));
        let name = file.file_name().and_then(|name| name.to_str());
        folder::write_durably(disk, folder, name.unwrap_or("roster"), &bytes)
    });
    if let Err(error) = written.await {
        tracing::warn!(file = shown, %error, "what was found of the members is not kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::Addresses;

    fn signed(sequence: i64, members: &[u64]) -> SignedRoster {
        let secret = ClusterSecret::from_seed(&[1; 32]);
        let name = ItemName::new(secret.public(), 1);
        let addresses = |member: &u64| Addresses {
            peer: (*member != 9).then(|| format!("10.0.0.{member}:7481")),
            client: None,
        };
        let members = members.iter().map(|member| (*member, addresses(member)));
        let roster = Roster::new(members.collect()).expect("a list");
        SignedRoster::sign(&secret, &name, sequence, roster).expect("signed")
    }

    #[test]
    fn a_list_makes_nobody_a_cluster_of_his_own_and_changes_no_members() {
        let fresh = Judge {
            node: 1,
            members: None,
            seen: None,
        };
        let peers = fresh.judge(&signed(5, &[1, 2, 3])).expect("taken");
        assert_eq!(peers.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(peers[&2], "10.0.0.2:7481");
        assert_eq!(fresh.judge(&signed(5, &[1])), Err(Refused::Alone));
        let not_listed = fresh.judge(&signed(5, &[2, 3]));
        assert!(matches!(
            not_listed,
            Err(Refused::NotListed { node: 1, .. })
        ));
        let no_address = fresh.judge(&signed(5, &[1, 9]));
        assert_eq!(no_address, Err(Refused::NoAddress { member: 9 }));

        let settled = Judge {
            members: Some([1, 2, 3].into()),
            seen: Some(6),
            ..fresh
        };
        assert_eq!(
            settled.judge(&signed(5, &[1, 2, 3])),
            Err(Refused::Older { found: 5, seen: 6 })
        );
        assert!(settled.judge(&signed(6, &[1, 2, 3])).is_ok());
        for others in [&[1, 2][..], &[1, 2, 3, 4], &[1]] {
            let refused = settled.judge(&signed(7, others));
            assert!(
                matches!(refused, Err(Refused::OtherMembers { .. })),
                "{others:?}"
            );
        }
        let alone = Judge {
            members: Some([1].into()),
            ..settled
        };
        assert!(alone.judge(&signed(7, &[1])).is_ok(), "it was one before");
    }
}
