//! Where peers may be, as somebody said who may be wrong.

use crate::driver::ReplicaHandle;
use holdfast_raft::NodeId;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Where peers may be beside where the configuration says. Whoever says so may be wrong: an address of these is tried
/// in turns with the configured one, and whoever is met there must be the peer that was called.
#[derive(Clone, Default)]
pub(crate) struct PeerHints(Arc<Mutex<BTreeMap<NodeId, String>>>);

impl PeerHints {
    pub fn set(&self, peer: NodeId, address: String) {
        let mut hints = self.0.lock().expect("no panic under this lock");
        hints.insert(peer, address);
    }

    pub fn get(&self, peer: NodeId) -> Option<String> {
        let hints = self.0.lock().expect("no panic under this lock");
        hints.get(&peer).cloned()
    }
}

impl<S> ReplicaHandle<S> {
    /// Says where a peer may be, `host:port`, beside where the configuration says it is. A hint that is wrong does no
    /// harm: both are tried in turns, whichever led to the peer last is tried first, and who the members are stays as
    /// it is.
    pub fn hint(&self, peer: NodeId, address: String) {
        self.hints.set(peer, address);
    }
}
