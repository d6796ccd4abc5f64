//! What a replica is started with, and why it may not start.

use crate::{DiskMachine, Observer, Settings, StoreError};
use holdfast_raft::{ConfigError, NodeId};
use std::{collections::BTreeMap, io, net::SocketAddr, path::PathBuf, sync::Arc};

/// What it takes to run a replica.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// The cluster's identity: nodes of other clusters are turned away, their files never validate.
    pub cluster: u64,
    /// Where peers' connections are accepted.
    pub listen: SocketAddr,
    /// The members of the group and where they listen, `host:port`; this replica's own entry included.
    pub peers: BTreeMap<NodeId, String>,
    /// The folder of log, hard state and snapshots; made when missing.
    pub directory: PathBuf,
    /// Bytes after which the log begins a new segment.
    pub segment_bytes: u64,
    /// Bytes in which snapshots are sent; [`SNAPSHOT_CHUNK_BYTES`](crate::SNAPSHOT_CHUNK_BYTES) where nothing else is
    /// wanted.
    pub snapshot_chunk_bytes: usize,
    /// Timing and limits.
    pub settings: Settings,
}

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What is on the disk cannot be used.
    #[error("{directory}: {error}")]
    Store {
        /// The folder.
        directory: String,
        /// What is wrong.
        error: StoreError,
    },
    /// The peers' address cannot be listened on.
    #[error("cannot listen for peers on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// What a replica may be started with beside its configuration and its state machine.
pub struct Extras<S> {
    /// A second state machine, on the disk, fed by the same log. All replicas of a group have one, or none.
    pub disk_machine: Option<Box<dyn DiskMachine>>,
    /// Somebody who looks on.
    pub observer: Option<Arc<dyn Observer<S>>>,
}

impl<S> Default for Extras<S> {
    fn default() -> Self {
        Extras {
            disk_machine: None,
            observer: None,
        }
    }
}
