use crate::{
    Mutant as NodeMutant,
    api::Api,
    audit::Audit,
    blobs::{BlobsParts, NodeBlobs},
    config::{ConfigError, NodeConfig},
    discovery::{self, DiscoveryError, DiscoveryHandle, Keeper, KeeperParts},
    folder::{DataFolder, FolderError, Identity},
    http::{Acceptor, HttpLimits, Server, ServerStats, TlsAcceptor},
};
use holdfast_host::{Host, Listener, read_file};
use holdfast_keys::Keys;
use holdfast_kv::Kv;
use holdfast_links::{Links, LinksSettings, LinksWorker};
use holdfast_peers::{Dht, DhtHandle};
use holdfast_raft::{Config, Membership};
use holdfast_replica::{
    Extras, Mutant, Observer, ReplicaConfig, ReplicaHandle, SNAPSHOT_CHUNK_BYTES, Settings,
    StartError,
};
use holdfast_tables::{Services, Tables, TablesHandle, TablesOptions};
use std::{
    io,
    net::SocketAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Largest command of the replicated log. A limit of the cluster, equal on all nodes, whatever a node is told to accept
/// of its clients: a follower takes what its leader took.
const MAX_COMMAND_BYTES: usize = 8 << 20;
/// Largest page cache of the tables, KiB.
const TABLES_CACHE_KIB: u32 = 16 << 10;
/// Largest file of trusted certificates.
const MAX_ROOTS_BYTES: u64 = 16 << 20;
/// Largest file with certificates or a key that is read.
const MAX_PEM_BYTES: u64 = 1 << 20;
/// How long an unanswered piece of a snapshot is waited for before it is sent again.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(2);
/// For a follower that it hears from, a leader keeps log of as many bytes as it takes so many snapshots after.
const SNAPSHOTS_HELD: u64 = 4;
/// Most bytes of a snapshot under way to one follower: 80 Mb/s over a tenth of a second. What is under way delays what
/// is sent behind it, so no more than that.
const SNAPSHOT_WINDOW: u64 = 1 << 20;

/// What a simulator may choose of a node beside its configuration; production runs [`Rig::default`].
#[derive(Clone)]
pub struct Rig {
    /// A bug of the zoo to plant; has an effect only where debug assertions are on.
    pub mutant: Option<Mutant>,
    /// Another, in the tables.
    pub tables_mutant: Option<holdfast_tables::Mutant>,
    /// Another, in the link checker.
    pub links_mutant: Option<holdfast_links::Mutant>,
    /// Another, in the store of blobs.
    pub blobs_mutant: Option<holdfast_blobs::Mutant>,
    /// Another, in the node itself.
    pub node_mutant: Option<NodeMutant>,
    /// Who looks on.
    pub observer: Option<Arc<dyn Observer<Kv>>>,
    /// Who looks on at the tables.
    pub witness: Option<Arc<dyn holdfast_tables::Witness>>,
    /// Who is told of every change that clients ask for, beside the log.
    pub audit: Option<Arc<dyn Audit>>,
    /// Bytes in which snapshots are sent.
    pub snapshot_chunk_bytes: usize,
    /// Most bytes of a snapshot under way to one follower.
    pub snapshot_window: u64,
}

impl Default for Rig {
    fn default() -> Self {
        Rig {
            mutant: None,
            tables_mutant: None,
            links_mutant: None,
            blobs_mutant: None,
            node_mutant: None,
            observer: None,
            witness: None,
            audit: None,
            snapshot_chunk_bytes: SNAPSHOT_CHUNK_BYTES,
            snapshot_window: SNAPSHOT_WINDOW,
        }
    }
}

/// A running node: its data folder, its replica, and its clients' interface.
///
/// Everything it does goes through its [`Host`]: the same node runs in production and in simulation.
pub struct Node {
    host: Host,
    folder: DataFolder,
    replica: ReplicaHandle<Kv>,
    tables: TablesHandle,
    links: Option<LinksWorker>,
    dht: Option<DhtHandle>,
    discovery: Option<DiscoveryHandle>,
    blobs: Option<NodeBlobs>,
    api: Arc<Api>,
    server: Server,
    lame_duck: Duration,
}

/// Why a node does not start. The folder is as it was, and nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It was told something that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The clients' address cannot be listened on.
    #[error("cannot listen for clients on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("{}: {detail}", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// Why.
        detail: String,
    },
    /// The replica did not start.
    #[error(transparent)]
    Replica(#[from] StartError),
    /// The link checker cannot start.
    #[error("{0}")]
    Links(String),
    /// The node of the DHT did not start.
    #[error(transparent)]
    Dht(#[from] holdfast_peers::StartError),
    /// The members were not found, or cannot be told.
    #[error(transparent)]
    Discovery(#[from] Box<DiscoveryError>),
    /// The blobs cannot be used.
    #[error(transparent)]
    Blobs(#[from] holdfast_blobs::StoreError),
    /// The tables of the services cannot be used.
    #[error("{path}: {error}")]
    Tables {
        /// Where they are.
        path: String,
        /// What is wrong.
        error: holdfast_tables::DatabaseError,
    },
}

impl Node {
    /// Takes the data folder, recovers what is in it, joins the cluster and serves clients. It serves them before there
    /// is a leader; whether there is one is told at `/readyz`. A node that was told no members but whom to believe
    /// about them (`[discovery]`) looks for them first, and takes nothing before it has found them.
    pub async fn start(host: Host, config: NodeConfig) -> Result<Node, NodeError> {
        Node::start_with(host, config, Rig::default()).await
    }

    /// The replica of the store that this node runs.
    pub fn replica(&self) -> &ReplicaHandle<Kv> {
        &self.replica
    }

    /// The tables of the services that this node runs.
    pub fn tables(&self) -> &TablesHandle {
        &self.tables
    }

    /// The same, rigged by a simulator.
    pub async fn start_with(host: Host, config: NodeConfig, rig: Rig) -> Result<Node, NodeError> {
        config.validate()?;
        let config = discovery::completed_rigged(&host, config, rig.node_mutant).await;
        let config = config.map_err(Box::new)?;
        let (path, identity) = (config.node.data.clone(), identity(&config));
        let folder = host
            .blocking(move |disk| DataFolder::open(disk, &path, &identity))
            .await?;
        match serve(&host, &config, &folder, rig).await {
            Ok(Parts {
                replica,
                tables,
                links,
                dht,
                discovery,
                blobs,
                api,
                server,
            }) => Ok(Node {
                host,
                folder,
                replica,
                tables,
                links,
                dht,
                discovery,
                blobs,
                api,
                server,
                lame_duck: config.node.lame_duck,
            }),
            Err(error) => {
                host.blocking(move |disk| folder.close(disk)).await;
                Err(error)
            }
        }
    }

    /// What talks to its node of the DHT, if it has one.
    pub fn dht(&self) -> Option<&DhtHandle> {
        self.dht.as_ref()
    }

    /// What knows where the members are, if that is looked for.
    pub fn discovery(&self) -> Option<&DiscoveryHandle> {
        self.discovery.as_ref()
    }

    /// Its blobs, if it has any.
    pub fn blobs(&self) -> Option<&NodeBlobs> {
        self.blobs.as_ref()
    }

    /// Where it listens for clients.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where it listens for its peers.
    pub fn peer_address(&self) -> SocketAddr {
        self.replica.address()
    }

    /// Completes when the node has failed for good, with the reason: its storage can no longer be trusted. Nothing
    /// acknowledged is lost by that, but the node must be stopped.
    pub async fn failed(&self) -> String {
        let mut failed = self.replica.failed();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().expect("it was waited for"),
            Err(_) => "the replica has stopped".to_owned(),
        }
    }

    /// Stops in order: says that it is not ready and ends watches with a line that says so, a little later turns new
    /// clients away, lets requests under way finish for up to `drain`, hands leadership over, syncs, and gives the
    /// folder back.
    pub async fn shutdown(self, drain: Duration) {
        self.api.begin_drain();
        self.host.sleep(self.lame_duck.min(drain)).await;
        self.server.shutdown(drain).await;
        if let Some(dht) = &self.dht {
            dht.shutdown().await;
        }
        self.replica.shutdown().await;
        // Only now, so that it could give its lease back to whoever leads next.
        drop(self.links);
        let folder = self.folder;
        self.host.blocking(move |disk| folder.close(disk)).await;
    }
}

pub(crate) fn identity(config: &NodeConfig) -> Identity {
    let cluster = &config.cluster;
    Identity::new(
        &cluster.name,
        cluster.identity(),
        config.node.id,
        config.members().into_keys(),
    )
}

/// Everything of a node beside its folder. The clients' address is taken first: a node whose clients cannot reach it
/// must not join.
async fn serve(
    host: &Host,
    config: &NodeConfig,
    folder: &DataFolder,
    rig: Rig,
) -> Result<Parts, NodeError> {
    let mut links_settings = links_settings(host, config).await?;
    links_settings.tables_mutant = rig.tables_mutant;
    links_settings.mutant = rig.links_mutant;
    let acceptor = acceptor(host, config).await?;
    let secret = discovery::secret_of(host, config).await;
    let secret = secret.map_err(Box::new)?;
    let listener = listen(host, config.node.listen).await?;
    let address = listener.local_addr();
    let replica = replica_config(config, folder, &rig);
    let dht = match config.dht.enabled {
        true => {
            let mut settings = config.dht.settings(folder.dht());
            settings.config.mutant = NodeMutant::dht(rig.node_mutant);
            Some(Dht::start(host, settings).await?)
        }
        false => None,
    };
    let tables = open_tables(host, folder, &rig).await?;
    let changed = tables.changed();
    let extras = Extras {
        disk_machine: Some(Box::new(tables)),
        observer: rig.observer,
    };
    let replica = ReplicaHandle::start_with(host.clone(), replica, Kv::new(), extras).await?;
    let tables = TablesHandle::new(replica.disk(), changed);
    let links = match config.links.enabled {
        true => {
            let worker = LinksWorker::start(host, tables.clone(), &links_settings);
            Some(worker.map_err(|error| NodeError::Links(error.to_string()))?)
        }
        false => None,
    };
    if let Some(dht) = &dht {
        for node in 0..dht.nodes() {
            let [v4, v6] = dht.addresses(node);
            tracing::info!(id = %dht.id(node), ?v4, ?v6, "a node of the DHT");
        }
        if let Some([one, other]) = config.dht.crowded() {
            tracing::warn!(%one, %other, "two nodes in one network of 64 bits, which others may take for one");
        }
    }
    let discovery = match &dht {
        Some(dht) => {
            let parts = KeeperParts {
                host,
                config,
                secret,
                dht: dht.clone(),
                replica: replica.clone(),
                client: address,
                file: folder.roster(),
                mutant: rig.node_mutant,
            };
            Keeper::start(parts).await.map_err(Box::new)?
        }
        None => None,
    };
    let blobs = match config.blobs.enabled {
        true => {
            let port = config.blobs.announce_port;
            let parts = BlobsParts {
                directory: folder.blobs(),
                limits: config.blobs.limits(),
                dht: dht.clone(),
                port: port.map_or(address.port(), NonZeroU16::get),
                store_mutant: rig.blobs_mutant,
                mutant: rig.node_mutant,
            };
            Some(NodeBlobs::start(host, parts).await?)
        }
        false => None,
    };
    let stats = Arc::new(ServerStats::default());
    let api = Api::new(
        host,
        config,
        replica.clone(),
        tables.clone(),
        dht.clone(),
        stats.clone(),
        rig.audit,
    );
    let api = api
        .with_discovery(discovery.clone())
        .with_blobs(blobs.clone());
    let api = Arc::new(api);
    let limits = HttpLimits {
        max_connections: config.limits.connections,
        max_head_bytes: config.limits.head_bytes as usize,
        head_timeout: config.limits.head_timeout,
        write_timeout: config.limits.write_timeout,
    };
    let server = Server::start(host, listener, acceptor, limits, stats, api.clone());
    if config.auth.is_on() && !config.tls.is_on() && !config.node.listen.ip().is_loopback() {
        tracing::warn!("API keys travel in the clear, unless something before this node ends TLS");
    }
    tracing::info!(
        node = config.node.id,
        cluster = config.cluster.name,
        clients = %address,
        peers = %replica.address(),
        data = %config.node.data.display(),
        "serving"
    );
    Ok(Parts {
        replica,
        tables,
        links,
        dht,
        discovery,
        blobs,
        api,
        server,
    })
}

/// What serves.
struct Parts {
    replica: ReplicaHandle<Kv>,
    tables: TablesHandle,
    links: Option<LinksWorker>,
    dht: Option<DhtHandle>,
    discovery: Option<DiscoveryHandle>,
    blobs: Option<NodeBlobs>,
    api: Arc<Api>,
    server: Server,
}

/// The service's settings, with the certificates that it is to trust.
pub(crate) async fn links_settings(
    host: &Host,
    config: &NodeConfig,
) -> Result<LinksSettings, NodeError> {
    let Some(path) = config.links.roots.clone() else {
        return Ok(config.links.settings(None));
    };
    let shown = path.display().to_string();
    let read = host
        .blocking(move |disk| read_file(disk, &path, MAX_ROOTS_BYTES))
        .await;
    let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let text = text.map_err(|error| NodeError::Links(format!("links.roots, {shown}: {error}")))?;
    Ok(config.links.settings(Some(text)))
}

pub(crate) async fn open_tables(
    host: &Host,
    folder: &DataFolder,
    rig: &Rig,
) -> Result<Tables, NodeError> {
    let options = TablesOptions {
        path: folder.tables(),
        cache_kib: TABLES_CACHE_KIB,
        mutant: rig.tables_mutant,
        witness: rig.witness.clone(),
    };
    let path = options.path.display().to_string();
    let (now, rng) = (host.unix_time(), host.rng("tables"));
    let services = Services::new()
        .with(Links {
            mutant: rig.links_mutant,
        })
        .with(Keys);
    let opened = host.blocking(move |disk| Tables::open(disk, now, services, options, rng));
    opened
        .await
        .map_err(|error| NodeError::Tables { path, error })
}

/// What clients' connections go through first.
async fn acceptor(
    host: &Host,
    config: &NodeConfig,
) -> Result<Option<Arc<dyn Acceptor>>, NodeError> {
    let (Some(cert), Some(key)) = (&config.tls.cert, &config.tls.key) else {
        return Ok(None);
    };
    let (chain, secret) = (read_pem(host, cert).await?, read_pem(host, key).await?);
    match TlsAcceptor::from_pem(host, &chain, &secret) {
        Ok(acceptor) => Ok(Some(Arc::new(acceptor))),
        Err(error) => Err(NodeError::Tls {
            file: if error.is_of_key() { key } else { cert }.clone(),
            detail: error.to_string(),
        }),
    }
}

async fn read_pem(host: &Host, file: &Path) -> Result<Vec<u8>, NodeError> {
    let path = file.to_owned();
    let read = host
        .blocking(move |disk| read_file(disk, &path, MAX_PEM_BYTES))
        .await;
    read.map_err(|error| NodeError::Tls {
        file: file.to_owned(),
        detail: error.to_string(),
    })
}

async fn listen(host: &Host, address: SocketAddr) -> Result<Listener, NodeError> {
    let listener = host.network.listen(address).await;
    listener.map_err(|error| NodeError::Listen { address, error })
}

pub(crate) fn replica_config(config: &NodeConfig, folder: &DataFolder, rig: &Rig) -> ReplicaConfig {
    ReplicaConfig {
        cluster: config.group(),
        listen: config.node.peer_listen,
        peers: config.members(),
        directory: folder.replica(),
        segment_bytes: config.raft.segment_bytes,
        snapshot_chunk_bytes: rig.snapshot_chunk_bytes,
        settings: settings(config, rig),
    }
}

fn settings(config: &NodeConfig, rig: &Rig) -> Settings {
    let nanos = |duration: Duration| duration.as_nanos() as u64;
    let (raft, limits) = (&config.raft, &config.limits);
    Settings {
        raft: Config {
            id: config.node.id,
            membership: Membership {
                voters: config.members().into_keys().collect(),
                learners: Vec::new(),
            },
            election_timeout: nanos(raft.election_timeout),
            heartbeat_interval: nanos(raft.heartbeat_interval),
            max_inflight_messages: 128,
            max_inflight_bytes: 16 << 20,
            max_append_bytes: 1 << 20,
            max_uncommitted_bytes: 64 << 20,
            max_apply_bytes: 4 << 20,
            max_pending_reads: limits.pending_requests,
            pre_vote: raft.pre_vote,
            check_quorum: raft.check_quorum,
            lease_reads: raft.lease_reads,
            max_clock_drift_ppm: raft.max_clock_drift_ppm,
            mutant: rig.mutant.and_then(Mutant::raft),
        },
        max_command_bytes: MAX_COMMAND_BYTES,
        max_pending: limits.pending_requests,
        request_timeout: nanos(limits.request_timeout),
        snapshot_entries: raft.snapshot_entries,
        snapshot_bytes: raft.snapshot_bytes,
        keep_entries: raft.keep_entries,
        hold_bytes: raft.snapshot_bytes.saturating_mul(SNAPSHOTS_HELD),
        snapshot_retry: nanos(SNAPSHOT_RETRY),
        snapshot_window: rig.snapshot_window,
        mutant: rig.mutant,
    }
}
