//! The JSON of blobs.

use holdfast_blobs::BlobInfo;
use serde::{Deserialize, Serialize};

/// A blob of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobReply {
    /// Its name: the SHA-256 of its bytes, 64 hexadecimal digits.
    pub id: String,
    /// How long it is, bytes.
    pub bytes: u64,
}

/// A page of the node's blobs, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobsReply {
    /// Each of them.
    pub blobs: Vec<BlobReply>,
    /// The cursor of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<BlobInfo> for BlobReply {
    fn from(info: BlobInfo) -> Self {
        BlobReply {
            id: info.id.to_string(),
            bytes: info.bytes,
        }
    }
}
