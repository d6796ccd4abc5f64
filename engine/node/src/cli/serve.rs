use super::LogFormat;
use crate::production::{parse_log_filter, stop_signal, without_parents};
use clap::Args;
use holdfast_host::{Host, read_file};
use holdfast_node::{
    Node,
    config::{ConfigError, NodeConfig},
    discovery::ClusterKey,
    race::{First, first},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// Largest configuration file that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Run a node.
///
/// Without options: a cluster of one, data in ./holdfast-data, clients on 127.0.0.1:7480.
#[derive(Debug, Args)]
pub struct Serve {
    /// The configuration file (TOML); options given here go before what it says
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// This node's number in its cluster, from 1
    #[arg(long, value_name = "NUMBER")]
    pub id: Option<u64>,
    /// The folder of everything that must survive
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where clients connect
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where the other nodes connect
    #[arg(long, value_name = "IP:PORT")]
    pub peer_listen: Option<SocketAddr>,
    /// A member of the cluster and where it listens for peers; repeat for every member, this node too
    #[arg(long = "peer", value_name = "NUMBER=HOST:PORT", value_parser = parse_peer)]
    pub peers: Vec<(u64, String)>,
    /// The cluster's name; its identity is derived from it
    #[arg(long, value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Find the members through the DHT, by this public key of the cluster, instead of being told them; see
    /// `engine dht cluster`
    #[arg(long, value_name = "KEY")]
    pub discover: Option<ClusterKey>,
    /// A node of the DHT to begin with; repeat for several. The node becomes one of the DHT
    #[arg(long = "dht-bootstrap", value_name = "HOST:PORT")]
    pub dht_bootstrap: Vec<String>,
    /// Listen beyond loopback although nobody is authenticated; for clients, API keys (auth.mode in the configuration)
    /// are the better way
    #[arg(long)]
    pub insecure: bool,
    /// Listen for peers beyond loopback although they are not authenticated
    #[arg(long)]
    pub insecure_peers: bool,
    /// A PEM file with the node's certificate and those that lead to a root: clients connect by TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// How long requests under way may take to finish when the node is told to stop
    #[arg(long, value_name = "DURATION", default_value = "10s",
          value_parser = holdfast_node::config::parse_duration)]
    pub drain: Duration,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,holdfast_replica=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = parse_log_filter)]
    pub log: String,
    /// How log lines look
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

fn parse_peer(text: &str) -> Result<(u64, String), String> {
    text.split_once('=')
        .and_then(|(id, address)| Some((id.parse().ok()?, address.to_owned())))
        .ok_or_else(|| "write a number, `=`, and host:port, such as 2=10.0.0.2:7481".to_owned())
}

impl Serve {
    async fn load(&self, host: &Host) -> Result<NodeConfig, ConfigError> {
        let mut config = match &self.config {
            Some(file) => NodeConfig::parse(&read_config(host, file).await?, file)?,
            None => NodeConfig::default(),
        };
        self.apply_to(&mut config)?;
        config.validate()?;
        config.node.data = resolved(&config.node.data)?;
        let files = [
            &mut config.tls.cert,
            &mut config.tls.key,
            &mut config.discovery.key_file,
        ];
        for file in files {
            *file = file.as_deref().map(resolved).transpose()?;
        }
        Ok(config)
    }

    fn apply_to(&self, config: &mut NodeConfig) -> Result<(), ConfigError> {
        fn set<T: Clone>(target: &mut T, given: &Option<T>) {
            if let Some(given) = given {
                target.clone_from(given);
            }
        }
        set(&mut config.node.id, &self.id);
        set(&mut config.node.data, &self.data);
        set(&mut config.node.listen, &self.listen);
        set(&mut config.node.peer_listen, &self.peer_listen);
        set(&mut config.cluster.name, &self.cluster_name);
        if self.tls_cert.is_some() {
            config.tls.cert.clone_from(&self.tls_cert);
            config.tls.key.clone_from(&self.tls_key);
        }
        if self.discover.is_some() {
            config.discovery.key = self.discover;
        }
        if !self.dht_bootstrap.is_empty() {
            config.dht.enabled = true;
            config.dht.bootstrap.clone_from(&self.dht_bootstrap);
        }
        config.node.insecure |= self.insecure;
        config.node.insecure_peers |= self.insecure_peers;
        if !self.peers.is_empty() {
            config.cluster.peers = BTreeMap::new();
        }
        for (node, address) in &self.peers {
            if let Some(other) = config.cluster.peers.insert(*node, address.clone()) {
                let message = format!("--peer names node {node} twice: `{other}` and `{address}`");
                return Err(fault(None, message));
            }
        }
        Ok(())
    }
}

async fn read_config(host: &Host, file: &Path) -> Result<String, ConfigError> {
    let path = resolved(file)?;
    let read = host
        .blocking(move |disk| read_file(disk, &path, MAX_CONFIG_BYTES))
        .await;
    let text = read
        .map_err(|error| error.to_string())
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned()));
    text.map_err(|message| fault(Some(file), message))
}

/// A path as an operator wrote it, in a form that the host's disk takes.
fn resolved(path: &Path) -> Result<PathBuf, ConfigError> {
    without_parents(path).map_err(|error| fault(Some(path), error.to_string()))
}

fn fault(file: Option<&Path>, message: String) -> ConfigError {
    ConfigError {
        file: file.map(Path::to_owned),
        line: None,
        message,
    }
}

/// Runs a node until a signal or a fatal error.
pub async fn run(host: Host, serve: Serve) -> ExitCode {
    let config = match serve.load(&host).await {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    // From here on a signal is not the end of the process, but the beginning of an orderly one.
    let mut stop = std::pin::pin!(stop_signal());
    // A node that looks for its members may do so for long.
    let node = match first(Node::start(host, config), stop.as_mut()).await {
        First::One(Ok(node)) => node,
        First::One(Err(error)) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
        First::Other(signal) => {
            tracing::info!(signal, "stopped before it served");
            return ExitCode::SUCCESS;
        }
    };
    match first(node.failed(), stop.as_mut()).await {
        First::One(failure) => {
            eprintln!("error: {failure}");
            return ExitCode::FAILURE;
        }
        First::Other(signal) => tracing::info!(signal, "stopping"),
    }
    match first(node.shutdown(serve.drain), stop_signal()).await {
        First::One(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        First::Other(signal) => {
            eprintln!("error: {signal} again: stopped before everything was in order");
            ExitCode::FAILURE
        }
    }
}
