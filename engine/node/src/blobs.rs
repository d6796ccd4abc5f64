//! The node's blobs: a store on its disk, and announcements in the DHT of what is in it.

use holdfast_blobs::{BlobId, Blobs, StoreError, StoreLimits};
use holdfast_host::Host;
use holdfast_kademlia::Request;
use holdfast_peers::{DhtError, DhtHandle, KeptKind, Via};
use std::{num::NonZeroU16, path::PathBuf};

/// Blobs that are announced. Clones share them.
#[derive(Clone)]
pub struct NodeBlobs {
    host: Host,
    blobs: Blobs,
    dht: Option<DhtHandle>,
    /// Where they are given.
    port: Option<NonZeroU16>,
}

impl NodeBlobs {
    /// Opens the store, and announces what is in it; without a DHT nothing is announced.
    pub async fn start(
        host: &Host,
        directory: PathBuf,
        limits: StoreLimits,
        dht: Option<DhtHandle>,
        port: u16,
    ) -> Result<NodeBlobs, StoreError> {
        let this = NodeBlobs {
            host: host.clone(),
            blobs: Blobs::open(host, directory, limits).await?,
            dht,
            port: NonZeroU16::new(port),
        };
        let all = this.blobs.list(None, usize::MAX);
        let announcer = this.clone();
        // One after the other: a start is no reason to flood the DHT.
        drop(host.spawn("blobs-announce", async move {
            for info in all {
                announcer.keep(info.id).await;
            }
        }));
        Ok(this)
    }

    /// The store.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Announces one, again and again as long as the node runs; nobody waits for it.
    pub fn announce(&self, id: BlobId) {
        let this = self.clone();
        drop(self.host.spawn("blob-announce", async move {
            this.keep(id).await;
        }));
    }

    async fn keep(&self, id: BlobId) {
        let Some(dht) = &self.dht else {
            return;
        };
        let request = Request::Announce {
            info_hash: id.key(),
            port: self.port,
            is_seed: true,
        };
        match dht.keep_via(Via::Each, request).await {
            Ok(_) | Err(DhtError::Stopped) => {}
            Err(error) => tracing::warn!(blob = %id, %error, "a blob is not announced"),
        }
        // It may have been removed meanwhile.
        if !self.blobs.contains(id) {
            self.withdraw(id).await;
        }
    }

    /// Announces one no more. Those that were told remember it for a while.
    pub async fn withdraw(&self, id: BlobId) {
        if let Some(dht) = &self.dht {
            // What is not kept need not be forgotten.
            let _ = dht.forget_via(Via::Each, KeptKind::Peer, id.key()).await;
        }
    }
}
