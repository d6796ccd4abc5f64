use super::units;
use holdfast_blobs::StoreLimits;
use serde::Deserialize;
use std::num::NonZeroU16;

/// Most blobs of a node: each is an announcement that the DHT is told again and again, and of these there is room for
/// 10,000 ([`holdfast_peers::MAX_KEPT`]), others included.
const MAX_BLOBS: usize = 9_000;

/// `[blobs]`: content-addressed blobs, which the node stores, gives to whoever knows their names, and announces in the
/// DHT.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlobsSection {
    /// Whether there are any. Not when nothing is said: they are given to everybody.
    pub enabled: bool,
    /// Largest blob.
    #[serde(deserialize_with = "units::bytes")]
    pub blob_bytes: u64,
    /// Most bytes of all of them.
    #[serde(deserialize_with = "units::bytes")]
    pub store_bytes: u64,
    /// Most of them.
    pub blobs: usize,
    /// The port that is announced; the one of `node.listen` when nothing is said.
    pub announce_port: Option<NonZeroU16>,
}

impl Default for BlobsSection {
    fn default() -> Self {
        let limits = StoreLimits::default();
        BlobsSection {
            enabled: false,
            blob_bytes: limits.blob_bytes,
            store_bytes: limits.store_bytes,
            blobs: limits.blobs,
            announce_port: None,
        }
    }
}

impl BlobsSection {
    /// What is wrong with it.
    pub(super) fn fault(&self, has_tls: bool) -> Option<String> {
        if !self.enabled {
            return None;
        }
        if has_tls {
            return Some(
                "blobs.enabled needs a clients' port without TLS: who finds a provider has its address, and no \
                 certificate to go by. What is fetched is checked by its name"
                    .to_owned(),
            );
        }
        let ranges = [
            ("blobs.blob_bytes", self.blob_bytes, 1, 4 << 30),
            (
                "blobs.store_bytes",
                self.store_bytes,
                self.blob_bytes,
                u64::MAX,
            ),
            ("blobs.blobs", self.blobs as u64, 1, MAX_BLOBS as u64),
        ];
        let mut ranges = ranges.into_iter();
        ranges.find_map(|(key, value, least, most)| {
            (!(least..=most).contains(&value))
                .then(|| format!("{key} is {value}; it must be from {least} to {most}"))
        })
    }

    /// What the store is told.
    pub fn limits(&self) -> StoreLimits {
        StoreLimits {
            blob_bytes: self.blob_bytes,
            store_bytes: self.store_bytes,
            blobs: self.blobs,
        }
    }
}
