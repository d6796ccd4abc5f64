//! Tables on the disk: a file a node, replaced as a whole.

use crate::Mutant;
use holdfast_host::{Disk, OpenMode, read_file, write_all_at};
use holdfast_kademlia::{SAVED_LIMIT_BYTES, Saved};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The file of local node `number`.
pub(crate) fn file(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("node-{number}.dht"))
}

/// Reads what was saved of `count` nodes; what is missing or torn is `None`, and said in the log when it is torn.
pub(crate) fn load(
    disk: &mut dyn Disk,
    directory: &Path,
    count: usize,
    mutant: Option<holdfast_kademlia::Mutant>,
) -> Vec<Option<Saved>> {
    let read = |disk: &mut dyn Disk, number| {
        let path = file(directory, number);
        let fault = |error: &dyn std::fmt::Display| {
            let path = path.display();
            tracing::warn!(%path, %error, "a saved DHT table cannot be used; the node starts with none");
        };
        let bytes = match read_file(disk, &path, SAVED_LIMIT_BYTES as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                fault(&error);
                return None;
            }
        };
        Saved::decode_planted(&bytes, mutant)
            .inspect_err(|error| fault(error))
            .ok()
    };
    (0..count).map(|number| read(disk, number)).collect()
}

/// Replaces the files of all nodes, each in one step: after a power cut there is the old one or the new one.
pub(crate) fn save(
    disk: &mut dyn Disk,
    directory: &Path,
    tables: &[(usize, Vec<u8>)],
    mutant: Option<Mutant>,
) -> io::Result<()> {
    disk.create_dir(directory)?;
    for (number, bytes) in tables {
        let path = file(directory, *number);
        let new = match Mutant::TableInPlace.is_in(mutant) {
            true => path.clone(),
            false => path.with_extension("new"),
        };
        // What an earlier attempt left may be longer.
        match disk.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let handle = disk.open(&new, OpenMode::CreateNew)?;
        let written = write_all_at(disk, handle, 0, bytes).and_then(|()| disk.sync(handle));
        disk.close(handle);
        written?;
        if new != path {
            disk.rename(&new, &path)?;
        }
    }
    disk.sync_dir(directory)
}
