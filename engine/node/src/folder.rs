//! The data folder: whose it is, and that only one process uses it.
//!
//! ```text
//! <data>/lock        held by the process that uses the folder
//! <data>/identity    whose data this is: TOML, its last line a CRC-32C of the lines before
//! <data>/replica/    log, hard state, snapshots
//! <data>/tables.db   the tables of the services, as of one index of the log
//! <data>/blobs/      content-addressed blobs
//! <data>/dht/        what the node knows of the DHT
//! <data>/roster      where the members are, as last found through the DHT; signed
//! ```

use holdfast_host::{Disk, FileId, OpenMode, read_file, write_all_at};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The folder's layout. Format 1 did not say who the members are.
const FORMAT: u32 = 2;
/// Largest identity file that is read.
const MAX_IDENTITY_BYTES: u64 = 64 << 10;
const CHECKSUM: &str = "crc32c = ";

/// Whose data a folder holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The cluster's name, for people.
    pub cluster: String,
    /// The cluster's identity in hexadecimal.
    pub cluster_id: String,
    /// The node's number in the cluster.
    pub node: u64,
    /// The numbers of all members, ascending. Votes and acknowledgements in the folder were given as one of these: a
    /// node that began to count other quorums would break what it promised.
    #[serde(default)]
    pub members: Vec<u64>,
    format: u32,
}

impl Identity {
    /// Of this node among these members of this cluster, in the present format.
    pub fn new(
        cluster: &str,
        cluster_id: u64,
        node: u64,
        members: impl IntoIterator<Item = u64>,
    ) -> Self {
        let mut members: Vec<u64> = members.into_iter().collect();
        members.sort_unstable();
        Identity {
            cluster: cluster.to_owned(),
            cluster_id: format!("{cluster_id:016x}"),
            node,
            members,
            format: FORMAT,
        }
    }

    fn encode(&self) -> String {
        let body = toml::to_string(self).expect("an identity encodes");
        let checksum = crc32c::crc32c(body.as_bytes());
        format!("{body}{CHECKSUM}{checksum}\n")
    }

    fn decode(text: &[u8]) -> Option<Identity> {
        let text = std::str::from_utf8(text).ok()?;
        let end = text.rfind(CHECKSUM)?;
        let (body, checksum) = text.split_at(end);
        let checksum: u32 = checksum[CHECKSUM.len()..].trim_end().parse().ok()?;
        if crc32c::crc32c(body.as_bytes()) != checksum {
            return None;
        }
        toml::from_str(body).ok()
    }
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error("the data folder {folder} is in use by another process: one node, one folder")]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// It holds the data of another cluster.
    #[error(
        "the data folder {folder} belongs to cluster `{found}` ({found_id}), not to cluster `{expected}` ({expected_id})"
    )]
    OtherCluster {
        /// The folder.
        folder: PathBuf,
        /// The name of the cluster it belongs to.
        found: String,
        /// That cluster's identity.
        found_id: String,
        /// The name of the cluster that was configured.
        expected: String,
        /// That cluster's identity.
        expected_id: String,
    },
    /// It holds the data of another node.
    #[error("the data folder {folder} belongs to node {found}, not to node {expected}")]
    OtherNode {
        /// The folder.
        folder: PathBuf,
        /// The node it belongs to.
        found: u64,
        /// The node that was configured.
        expected: u64,
    },
    /// It was made by a cluster with other members.
    #[error(
        "the data folder {folder} belongs to a cluster of the nodes {}, not to one of the nodes {}: start the node \
         with the members that it had (--peer, or cluster.peers)",
        list(found),
        list(expected)
    )]
    OtherMembers {
        /// The folder.
        folder: PathBuf,
        /// The members when the folder was made.
        found: Vec<u64>,
        /// The members that were configured.
        expected: Vec<u64>,
    },
    /// Written by another version of this program.
    #[error("the data folder {folder} has format {found}; this program knows format {FORMAT}")]
    OtherFormat {
        /// The folder.
        folder: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The identity file is not what was written.
    #[error("{file} is damaged: its checksum does not match")]
    Damaged {
        /// The file.
        file: PathBuf,
    },
    /// The disk refused.
    #[error("{path}: {error}")]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn list(members: &[u64]) -> String {
    let members: Vec<String> = members.iter().map(u64::to_string).collect();
    members.join(", ")
}

/// A data folder that is this process's own until [`close`](DataFolder::close), or until the process ends.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    lock: FileId,
}

impl DataFolder {
    /// Makes the folder when it is missing, locks it, and sees that it belongs to `identity` (a new one is given it).
    pub fn open(
        disk: &mut dyn Disk,
        path: &Path,
        identity: &Identity,
    ) -> Result<DataFolder, FolderError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| FolderError::Disk { path, error }
        };
        disk.create_dir(path).map_err(failed(path))?;
        let lock_path = path.join("lock");
        let lock = disk.lock(&lock_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => FolderError::InUse {
                folder: path.to_owned(),
            },
            _ => failed(&lock_path)(error),
        })?;
        let folder = DataFolder {
            path: path.to_owned(),
            lock,
        };
        let file = path.join("identity");
        let checked = match read_file(disk, &file, MAX_IDENTITY_BYTES) {
            Ok(text) => folder.compare(&text, identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_durably(disk, path, "identity", identity.encode().as_bytes())
                    .map_err(failed(&file))
            }
            Err(error) => Err(failed(&file)(error)),
        };
        match checked {
            Ok(()) => Ok(folder),
            Err(error) => {
                folder.close(disk);
                Err(error)
            }
        }
    }

    fn compare(&self, text: &[u8], expected: &Identity) -> Result<(), FolderError> {
        let folder = self.path.clone();
        let Some(found) = Identity::decode(text) else {
            return Err(FolderError::Damaged {
                file: folder.join("identity"),
            });
        };
        if found.format != FORMAT {
            return Err(FolderError::OtherFormat {
                folder,
                found: found.format,
            });
        }
        if found.cluster_id != expected.cluster_id {
            return Err(FolderError::OtherCluster {
                folder,
                found: found.cluster,
                found_id: found.cluster_id,
                expected: expected.cluster.clone(),
                expected_id: expected.cluster_id.clone(),
            });
        }
        if found.node != expected.node {
            return Err(FolderError::OtherNode {
                folder,
                found: found.node,
                expected: expected.node,
            });
        }
        if found.members != expected.members {
            return Err(FolderError::OtherMembers {
                folder,
                found: found.members,
                expected: expected.members.clone(),
            });
        }
        Ok(())
    }

    /// Where the tables of the services are.
    pub fn tables(&self) -> PathBuf {
        self.path.join("tables.db")
    }

    /// Where the blobs are.
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// Where the node's tables of the DHT are.
    pub fn dht(&self) -> PathBuf {
        self.path.join("dht")
    }

    /// Where it is kept what was last found of the members.
    pub fn roster(&self) -> PathBuf {
        roster_file(&self.path)
    }

    /// Where the replica keeps its files.
    pub fn replica(&self) -> PathBuf {
        self.path.join("replica")
    }

    /// Gives the folder back.
    pub fn close(self, disk: &mut dyn Disk) {
        disk.close(self.lock);
    }
}

/// Where a data folder keeps what was last found of the members.
pub(crate) fn roster_file(folder: &Path) -> PathBuf {
    folder.join("roster")
}

/// The members of the cluster that a data folder belongs to; `None`: it belongs to none yet. The folder is not taken.
///
/// # Errors
/// When there is an identity that cannot be read. Whose it is is seen when the folder is taken.
pub(crate) fn members_of(
    disk: &mut dyn Disk,
    folder: &Path,
) -> Result<Option<Vec<u64>>, FolderError> {
    let path = folder.join("identity");
    match read_file(disk, &path, MAX_IDENTITY_BYTES) {
        Ok(text) => match Identity::decode(&text) {
            Some(identity) => Ok(Some(identity.members)),
            None => Err(FolderError::Damaged { file: path }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FolderError::Disk { path, error }),
    }
}

/// Puts a small file into `folder` so that after a power cut it is there whole or not at all.
pub(crate) fn write_durably(
    disk: &mut dyn Disk,
    folder: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let draft = folder.join(format!("{name}.new"));
    let file = disk.open(&draft, OpenMode::Create)?;
    let written = disk
        .set_len(file, 0)
        .and_then(|()| write_all_at(disk, file, 0, bytes))
        .and_then(|()| disk.sync(file));
    disk.close(file);
    written?;
    disk.rename(&draft, &folder.join(name))?;
    disk.sync_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_and_damage_is_seen() {
        let identity = Identity::new("demo", 7, 3, [3, 1, 2]);
        assert_eq!(identity.members, [1, 2, 3]);
        let text = identity.encode();
        assert_eq!(Identity::decode(text.as_bytes()), Some(identity));
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            // The newline at the very end carries nothing.
            if at + 1 < text.len() {
                assert_eq!(Identity::decode(&damaged), None, "byte {at} of {text}");
            }
            assert_eq!(
                Identity::decode(&text.as_bytes()[..at.saturating_sub(1)]),
                None
            );
        }
    }
}
