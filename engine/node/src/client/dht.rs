//! The BitTorrent DHT, asked for through a node.

use super::{Call, Client, ClientError, Effect, decode};
use crate::{
    http::percent_encode,
    wire::dht::{
        DhtAnnounceRequest, DhtClusterReply, DhtItemReply, DhtKeptReply, DhtLookupReply,
        DhtNodesReply, DhtPeersReply, DhtPutRequest, DhtSamplesReply, DhtStatusReply,
        DhtStoredReply, kind,
    },
};
use holdfast_kademlia::Id;
use holdfast_peers::KeptKind;
use http::Method;
use serde::{Serialize, de::DeserializeOwned};

const DHT: &str = "/v1/dht";

impl Client {
    /// How the node fares in the DHT.
    ///
    /// # Errors
    /// As of every call here, [`ProblemKind::NotFound`](crate::http::ProblemKind::NotFound) where the node is none of the
    /// DHT.
    pub async fn dht_status(&self) -> Result<DhtStatusReply, ClientError> {
        self.dht_read(String::new()).await
    }

    /// The contacts in its tables.
    pub async fn dht_nodes(&self) -> Result<DhtNodesReply, ClientError> {
        self.dht_read("/nodes".to_owned()).await
    }

    /// Who is closest to an id, and who was asked on the way.
    pub async fn dht_lookup(&self, target: Id) -> Result<DhtLookupReply, ClientError> {
        self.dht_read(format!("/lookup/{target}")).await
    }

    /// An item; a mutable one is only found with its salt.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`](crate::http::ProblemKind::NotFound) when nobody has it.
    pub async fn dht_get(&self, target: Id, salt: &[u8]) -> Result<DhtItemReply, ClientError> {
        let query = match salt.is_empty() {
            true => String::new(),
            false => format!("?salt={}", percent_encode(salt)),
        };
        self.dht_read(format!("/items/{target}{query}")).await
    }

    /// Stores an item.
    pub async fn dht_put(&self, request: &DhtPutRequest) -> Result<DhtStoredReply, ClientError> {
        self.dht_store("/items".to_owned(), request).await
    }

    /// The peers of a torrent.
    pub async fn dht_peers(&self, info_hash: Id) -> Result<DhtPeersReply, ClientError> {
        self.dht_read(format!("/peers/{info_hash}")).await
    }

    /// Makes a peer of a torrent known.
    pub async fn dht_announce(
        &self,
        info_hash: Id,
        request: &DhtAnnounceRequest,
    ) -> Result<DhtStoredReply, ClientError> {
        self.dht_store(format!("/peers/{info_hash}"), request).await
    }

    /// Ids of torrents that nodes around an id know of.
    pub async fn dht_samples(&self, target: Id) -> Result<DhtSamplesReply, ClientError> {
        self.dht_read(format!("/samples/{target}")).await
    }

    /// What the node stores again and again.
    pub async fn dht_kept(&self) -> Result<DhtKeptReply, ClientError> {
        self.dht_read("/kept".to_owned()).await
    }

    /// Stores it no more.
    ///
    /// # Errors
    /// [`ProblemKind::NotFound`](crate::http::ProblemKind::NotFound) when it was not kept.
    pub async fn dht_forget(&self, what: KeptKind, target: Id) -> Result<(), ClientError> {
        let target = format!("{DHT}/kept/{}s/{target}", kind(what));
        let call = Call::new(Method::DELETE, target, Effect::Command);
        self.with_retries(&call, None).await.map(|_| ())
    }

    /// Where the DHT says that the members are.
    pub async fn dht_cluster(&self) -> Result<DhtClusterReply, ClientError> {
        self.dht_read("/cluster".to_owned()).await
    }

    /// Tells the DHT where the node is; with `replace`, also in place of an item of other members.
    pub async fn dht_publish(&self, replace: bool) -> Result<DhtClusterReply, ClientError> {
        let query = if replace { "?replace" } else { "" };
        let call = Call::new(Method::POST, format!("{DHT}/cluster{query}"), Effect::Read);
        decode(&self.with_retries(&call, None).await?)
    }

    async fn dht_read<T: DeserializeOwned>(&self, path: String) -> Result<T, ClientError> {
        let call = Call::new(Method::GET, format!("{DHT}{path}"), Effect::Read);
        self.call(call).await
    }

    /// What is stored twice is stored once, so that an unknown outcome is no reason to stop.
    async fn dht_store<T: DeserializeOwned>(
        &self,
        path: String,
        request: &impl Serialize,
    ) -> Result<T, ClientError> {
        let call = Call::new(Method::POST, format!("{DHT}{path}"), Effect::Read);
        decode(&self.with_retries(&call.json(request), None).await?)
    }
}
