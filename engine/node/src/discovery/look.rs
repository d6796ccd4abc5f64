//! Looking the item up.

use super::{ItemName, RosterError, SignedRoster};
use holdfast_host::{Disk, read_file};
use holdfast_kademlia::Request;
use holdfast_peers::{DhtError, DhtHandle, Via};
use std::{io, path::Path};

/// Longest file with a signed list: an item, and what bencode puts around it.
const MAX_FILE_BYTES: u64 = 2 << 10;

/// Why nothing was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// The DHT did not answer.
    #[error(transparent)]
    Dht(#[from] DhtError),
    /// None of the nodes that answered has the item.
    #[error("none of the {replies} nodes that answered has the cluster's item")]
    Missing {
        /// How many did.
        replies: u32,
    },
    /// Whoever has the key signed something that is no list of members.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// An item with a right signature that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster's item, number {sequence}: {error}")]
pub struct Unusable {
    /// Its sequence number.
    pub sequence: i64,
    /// What is wrong.
    pub error: RosterError,
}

/// The newest item that the DHT has. What is signed by another key is nobody's item, and is passed over where it comes
/// in.
pub(super) async fn look(dht: &DhtHandle, name: &ItemName) -> Result<SignedRoster, LookError> {
    let request = Request::Get {
        target: name.target(),
        salt: name.salt.as_bytes().to_vec(),
        is_mutable: true,
    };
    let outcome = dht.run_via(Via::Any, request).await?;
    let found = outcome
        .item
        .and_then(|item| Some((item.value, item.version?)));
    let Some((value, (sequence, signature))) = found else {
        let replies = outcome.reports.iter().map(|report| report.replies).sum();
        return Err(LookError::Missing { replies });
    };
    let signed = SignedRoster::of_checked(value, sequence, signature);
    signed.map_err(|error| Unusable { sequence, error }.into())
}

/// The last one that was found, as the data folder has it. One that is damaged, or of another key, is told in the log,
/// and is none.
pub(super) fn load(disk: &mut dyn Disk, file: &Path, name: &ItemName) -> Option<SignedRoster> {
    let fault = match read_file(disk, file, MAX_FILE_BYTES) {
        Ok(bytes) => match SignedRoster::from_file(&bytes, name) {
            Some(signed) => return Some(signed),
            None => "it is damaged, or of another cluster's key".to_owned(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
    };
    tracing::warn!(file = %file.display(), fault, "what was last found of the members cannot be used");
    None
}
