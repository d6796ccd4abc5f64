//! The store for async code.

use crate::{BlobId, BlobInfo, BlobStore, Draft, Mutant, StoreError, StoreLimits, verify};
use bytes::Bytes;
use holdfast_host::{Disk, Host, OpenMode, read_exact_at};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

/// Blobs of one directory; clones share them.
#[derive(Clone)]
pub struct Blobs {
    host: Host,
    store: Arc<Mutex<BlobStore>>,
}

impl Blobs {
    /// Opens a directory; see [`BlobStore::open`].
    pub async fn open(
        host: &Host,
        directory: PathBuf,
        limits: StoreLimits,
    ) -> Result<Blobs, StoreError> {
        Blobs::open_rigged(host, directory, limits, None).await
    }

    /// The same, with a bug of the zoo planted.
    pub async fn open_rigged(
        host: &Host,
        directory: PathBuf,
        limits: StoreLimits,
        mutant: Option<Mutant>,
    ) -> Result<Blobs, StoreError> {
        let opened = host.blocking(move |disk| BlobStore::open(disk, &directory, limits, mutant));
        Ok(Blobs {
            store: Arc::new(Mutex::new(opened.await?)),
            host: host.clone(),
        })
    }

    /// Never held while a blob is read or written: only while one is given its name, or is removed.
    fn lock(&self) -> MutexGuard<'_, BlobStore> {
        self.store.lock().expect("no panic under this lock")
    }

    /// Those after `after`, in the order of their names.
    pub fn list(&self, after: Option<BlobId>, limit: usize) -> Vec<BlobInfo> {
        self.lock().list(after, limit)
    }

    /// Whether there is a blob of this name, as far as is known without a look at it.
    pub fn contains(&self, id: BlobId) -> bool {
        self.lock().find(id).is_some()
    }

    /// The limits.
    pub fn limits(&self) -> StoreLimits {
        self.lock().limits()
    }

    /// The blob of this name. The first who asks for it after a start waits until it was read and compared with its
    /// name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Damaged`] when it is not what its name says, once.
    pub async fn find(&self, id: BlobId) -> Result<BlobInfo, StoreError> {
        let (info, is_checked) = self.lock().find(id).ok_or(StoreError::NotFound(id))?;
        if is_checked {
            return Ok(info);
        }
        let this = self.clone();
        let checked = self.host.blocking(move |disk| this.check(disk, info));
        checked.await
    }

    fn check(&self, disk: &mut dyn Disk, info: BlobInfo) -> Result<BlobInfo, StoreError> {
        let id = info.id;
        let path = self.lock().path(id);
        match verify(disk, &path, info) {
            Ok(true) => {
                self.lock().note_checked(id);
                Ok(info)
            }
            Ok(false) => {
                tracing::error!(%id, "a blob is damaged on the disk");
                if let Err(error) = self.lock().remove(disk, id) {
                    tracing::error!(%id, %error, "it is not removed");
                }
                Err(StoreError::Damaged(id))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NotFound(id)),
            Err(error) => Err(StoreError::Disk { path, error }),
        }
    }

    /// Bytes `at` to `at + length` of a blob that was [found](Blobs::find).
    ///
    /// # Errors
    /// [`StoreError::Disk`], also when it has been removed.
    pub async fn read(&self, id: BlobId, at: u64, length: usize) -> Result<Bytes, StoreError> {
        let path = self.lock().path(id);
        let shown = path.clone();
        let read = self.host.blocking(move |disk| {
            let file = disk.open(&path, OpenMode::Read)?;
            let mut bytes = vec![0; length];
            let read = read_exact_at(disk, file, at, &mut bytes);
            disk.close(file);
            read.map(|()| bytes.into())
        });
        read.await
            .map_err(|error| StoreError::Disk { path: shown, error })
    }

    /// Removes a blob; whether it was there.
    pub async fn remove(&self, id: BlobId) -> Result<bool, StoreError> {
        let this = self.clone();
        let removed = self.host.blocking(move |disk| this.lock().remove(disk, id));
        removed.await
    }

    /// Begins to store one.
    pub async fn begin(&self) -> Result<Upload, StoreError> {
        let this = self.clone();
        let begun = self.host.blocking(move |disk| {
            let draft = this.lock().begin(disk)?;
            let lease = Lease {
                blobs: this,
                held: Some(draft),
            };
            Ok(Upload { lease })
        });
        begun.await
    }
}

/// A blob that is being stored. Dropped before its end, it is given up.
pub struct Upload {
    lease: Lease,
}

/// What gives a draft up when nobody holds it any more: also when it was on its way back from the disk to somebody who
/// has gone.
struct Lease {
    blobs: Blobs,
    held: Option<Draft>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(draft) = self.held.take() else {
            return;
        };
        self.blobs.lock().abandon(&draft);
    }
}

impl Lease {
    fn write(&mut self, disk: &mut dyn Disk, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(draft) = &mut self.held else {
            unreachable!("it is sealed at its end only");
        };
        self.blobs.lock().reserve(disk, draft, bytes.len() as u64)?;
        draft.write(disk, bytes)
    }

    fn finish(mut self, disk: &mut dyn Disk) -> Result<(BlobInfo, bool), StoreError> {
        let Some(draft) = &self.held else {
            unreachable!("it is sealed at its end only");
        };
        // An error leaves the draft to be given up.
        let sealed = draft.seal(disk)?;
        self.held = None;
        self.blobs.lock().commit(disk, sealed)
    }
}

impl Upload {
    /// Writes on; after an error the blob is given up.
    pub async fn write(self, bytes: Bytes) -> Result<Upload, StoreError> {
        let host = self.lease.blobs.host.clone();
        let mut lease = self.lease;
        let written = host.blocking(move |disk| {
            lease.write(disk, &bytes)?;
            Ok(lease)
        });
        written.await.map(|lease| Upload { lease })
    }

    /// Ends it: the blob is there, durably, and whether it was not before.
    pub async fn finish(self) -> Result<(BlobInfo, bool), StoreError> {
        let host = self.lease.blobs.host.clone();
        let lease = self.lease;
        host.blocking(move |disk| lease.finish(disk)).await
    }
}
