//! The node's blobs: a store on its disk, and announcements in the DHT of what is in it.

use crate::Mutant;
use holdfast_blobs::{BlobId, BlobInfo, Blobs, StoreError, StoreLimits};
use holdfast_host::Host;
use holdfast_kademlia::Request;
use holdfast_peers::{DhtError, DhtHandle, KeptKind, Via};
use std::{num::NonZeroU16, path::PathBuf, time::Duration};

/// When a blob is announced again that the DHT had no room for.
const AGAIN: Duration = Duration::from_secs(10);

/// What the blobs of a node are started with.
pub(crate) struct BlobsParts {
    /// Where they are kept.
    pub directory: PathBuf,
    /// How much is kept.
    pub limits: StoreLimits,
    /// Where they are announced; `None`: nowhere.
    pub dht: Option<DhtHandle>,
    /// Where they are given.
    pub port: u16,
    /// A bug to plant in the store.
    pub store_mutant: Option<holdfast_blobs::Mutant>,
    /// A bug to plant in what announces them.
    pub mutant: Option<Mutant>,
}

/// Blobs that are announced. Clones share them.
///
/// What is in the store is announced, and nothing else: whoever changes the store looks afterwards whether what he then
/// tells the DHT is still so, for somebody else may have changed it back meanwhile.
#[derive(Clone)]
pub struct NodeBlobs {
    host: Host,
    blobs: Blobs,
    dht: Option<DhtHandle>,
    /// Where they are given.
    port: Option<NonZeroU16>,
    mutant: Option<Mutant>,
}

impl NodeBlobs {
    /// Opens the store, and announces what is in it; without a DHT nothing is announced.
    pub(crate) async fn start(host: &Host, parts: BlobsParts) -> Result<NodeBlobs, StoreError> {
        let BlobsParts {
            directory,
            limits,
            dht,
            port,
            store_mutant,
            mutant,
        } = parts;
        let this = NodeBlobs {
            host: host.clone(),
            blobs: Blobs::open_rigged(host, directory, limits, store_mutant).await?,
            dht,
            port: NonZeroU16::new(port),
            mutant,
        };
        let mut all = this.blobs.list(None, usize::MAX);
        if Mutant::StoredNotAnnounced.is_in(mutant) {
            all.clear();
        }
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

    /// One to be given; see [`Blobs::find`]. One that is damaged is announced no more.
    pub async fn find(&self, id: BlobId) -> Result<BlobInfo, StoreError> {
        let found = self.blobs.find(id).await;
        if matches!(found, Err(StoreError::Damaged(_)))
            && !Mutant::DamagedStaysAnnounced.is_in(self.mutant)
        {
            self.withdraw(id).await;
        }
        found
    }

    /// Removes one, and announces it no more; whether it was there.
    pub async fn remove(&self, id: BlobId) -> Result<bool, StoreError> {
        let removed = self.blobs.remove(id).await;
        if !self.blobs.contains(id) {
            self.withdraw(id).await;
        }
        removed
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
        let request = || Request::Announce {
            info_hash: id.key(),
            port: self.port,
            is_seed: true,
        };
        while self.blobs.contains(id) {
            let kept = match Mutant::AnnouncedOnce.is_in(self.mutant) {
                true => dht.run_via(Via::Each, request()).await,
                false => dht.keep_via(Via::Each, request()).await,
            };
            match kept {
                // One that took too long is kept, and begun again when it is due.
                Ok(_) | Err(DhtError::Stopped | DhtError::TimedOut) => break,
                Err(DhtError::Overloaded) => self.host.sleep(AGAIN).await,
                Err(error) => {
                    tracing::warn!(blob = %id, %error, "a blob is not announced");
                    break;
                }
            }
        }
        // It may have been removed meanwhile.
        if !self.blobs.contains(id) {
            self.withdraw(id).await;
        }
    }

    /// Announces one no more. Those that were told remember it for a while.
    async fn withdraw(&self, id: BlobId) {
        let Some(dht) = &self.dht else {
            return;
        };
        // What is not kept need not be forgotten.
        let _ = dht.forget_via(Via::Each, KeptKind::Peer, id.key()).await;
        // It may have been stored again meanwhile, and announced before it was withdrawn.
        if self.blobs.contains(id) {
            self.announce(id);
        }
    }
}
