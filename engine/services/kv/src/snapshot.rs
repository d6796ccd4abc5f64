//! The store as bytes.
//!
//! ```text
//! version u8 = 1 | revision u64 | compact_revision u64 | changes...
//! changes: length u64 | postcard (revision, [change])          a length of 0 ends the snapshot
//! ```
//! Integers are little-endian. The index is not written: replaying the changes makes it.

use crate::{Kv, store::Change};
use fnv::FnvHasher;
use holdfast_replica::CorruptSnapshot;
use std::{
    hash::Hasher,
    io::{self, Read, Write},
};

const VERSION: u8 = 1;

pub fn write(kv: &Kv, sink: &mut dyn Write) -> io::Result<()> {
    let (revision, compact_revision, changes) = kv.parts();
    sink.write_all(&[VERSION])?;
    sink.write_all(&revision.to_le_bytes())?;
    sink.write_all(&compact_revision.to_le_bytes())?;
    for entry in changes {
        let bytes = postcard::to_stdvec(&entry).expect("changes encode");
        sink.write_all(&(bytes.len() as u64).to_le_bytes())?;
        sink.write_all(&bytes)?;
    }
    sink.write_all(&0_u64.to_le_bytes())
}

pub fn read(source: &mut dyn Read) -> Result<Kv, CorruptSnapshot> {
    let [version] = take(source)?;
    if version != VERSION {
        return Err(corrupt(format!("version {version} is not known here")));
    }
    let revision = u64::from_le_bytes(take(source)?);
    let compact_revision = u64::from_le_bytes(take(source)?);
    if compact_revision == 0 || compact_revision > revision {
        return Err(corrupt(format!(
            "compacted at {compact_revision} of {revision}"
        )));
    }
    let mut kv = Kv::with_revisions(revision, compact_revision);
    let mut last = 1;
    loop {
        let len = u64::from_le_bytes(take(source)?);
        if len == 0 {
            return Ok(kv);
        }
        // Not allocated before it is there: the length may be a lie.
        let mut bytes = Vec::new();
        source
            .take(len)
            .read_to_end(&mut bytes)
            .map_err(|error| corrupt(error.to_string()))?;
        let (at, changes): (u64, Vec<Change>) =
            postcard::from_bytes(&bytes).map_err(|error| corrupt(error.to_string()))?;
        if at <= last || at > revision || changes.is_empty() {
            return Err(corrupt(format!("revision {at} after {last} of {revision}")));
        }
        last = at;
        kv.restore(at, changes);
    }
}

/// A hash over the bytes of the snapshot.
pub fn digest(kv: &Kv) -> u64 {
    let mut hash = Hash(FnvHasher::default());
    write(kv, &mut hash).expect("a hash takes everything");
    hash.0.finish()
}

/// Takes what is written for its hash alone.
struct Hash(FnvHasher);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn take<const N: usize>(source: &mut dyn Read) -> Result<[u8; N], CorruptSnapshot> {
    let mut bytes = [0; N];
    source
        .read_exact(&mut bytes)
        .map_err(|error| corrupt(error.to_string()))?;
    Ok(bytes)
}

fn corrupt(what: String) -> CorruptSnapshot {
    CorruptSnapshot(format!("key-value store: {what}"))
}
