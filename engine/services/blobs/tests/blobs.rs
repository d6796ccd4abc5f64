//! The store for async code, on a real disk.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use bytes::Bytes;
use holdfast_blobs::{BlobId, Blobs, MAX_DRAFTS, StoreError, StoreLimits};
use holdfast_host::tokio_host;
use std::path::PathBuf;
use tokio::runtime::Runtime;

struct World {
    runtime: Runtime,
    folder: tempfile::TempDir,
}

const LIMITS: StoreLimits = StoreLimits {
    blob_bytes: 1_000,
    store_bytes: 2_500,
    blobs: 20,
};

impl World {
    fn new() -> World {
        World {
            runtime: Runtime::new().expect("a runtime"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn open(&self) -> Blobs {
        let root = self.folder.path().to_owned();
        let host = tokio_host::host(root, self.runtime.handle().clone());
        let opened = Blobs::open(&host, PathBuf::from("blobs"), LIMITS);
        self.runtime.block_on(opened).expect("opened")
    }

    fn put(&self, blobs: &Blobs, bytes: &[u8]) -> Result<(BlobId, bool), StoreError> {
        self.runtime.block_on(async {
            let mut upload = blobs.begin().await?;
            for piece in bytes.chunks(100) {
                upload = upload.write(Bytes::copy_from_slice(piece)).await?;
            }
            let (info, is_new) = upload.finish().await?;
            assert_eq!(info.bytes, bytes.len() as u64);
            Ok((info.id, is_new))
        })
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("blobs"))
            .expect("there")
            .count()
    }
}

#[test]
fn what_is_stored_is_there_after_a_start() {
    let world = World::new();
    let blobs = world.open();
    let (id, is_new) = world.put(&blobs, &[7; 950]).expect("stored");
    assert_eq!((id, is_new), (BlobId::of(&[7; 950]), true));
    assert!(!world.put(&blobs, &[7; 950]).expect("stored").1);
    drop(blobs);
    let blobs = world.open();
    let found = world.runtime.block_on(blobs.find(id)).expect("there");
    assert_eq!(found.bytes, 950);
    let read = world.runtime.block_on(blobs.read(id, 900, 50));
    assert_eq!(read.expect("read"), [7; 50][..]);
    assert_eq!(blobs.list(None, 10), [found]);
    assert_eq!(blobs.list(Some(id), 10), []);
    assert!(world.runtime.block_on(blobs.remove(id)).expect("removed"));
    assert!(!world.runtime.block_on(blobs.remove(id)).expect("gone"));
    let gone = world.runtime.block_on(blobs.find(id));
    assert!(matches!(gone, Err(StoreError::NotFound(_))));
}

#[test]
fn limits_hold_and_what_is_given_up_takes_no_room() {
    let world = World::new();
    let blobs = world.open();
    let large = world.put(&blobs, &[1; 1_001]);
    assert!(
        matches!(large, Err(StoreError::TooLarge(1_000))),
        "{large:?}"
    );
    for n in 0..2 {
        world.put(&blobs, &[n; 1_000]).expect("stored");
    }
    let full = world.put(&blobs, &[3; 600]);
    assert!(matches!(full, Err(StoreError::Full(2_000))), "{full:?}");
    world.put(&blobs, &[3; 500]).expect("there is room for it");
    let uploads: Vec<_> = (0..MAX_DRAFTS)
        .map(|_| world.runtime.block_on(blobs.begin()).expect("a draft"))
        .collect();
    let busy = world.runtime.block_on(blobs.begin());
    assert!(matches!(busy, Err(StoreError::Busy)));
    drop(uploads);
    // What was given up goes when the next is begun.
    drop(world.runtime.block_on(blobs.begin()).expect("a draft"));
    assert_eq!(world.files(), 3 + 1);
    world.open();
    assert_eq!(world.files(), 3);
}

#[test]
fn what_was_given_up_goes_before_its_room_is_taken() {
    let world = World::new();
    let blobs = world.open();
    let upload = |bytes: u8| {
        world.runtime.block_on(async {
            let upload = blobs.begin().await.expect("a draft");
            upload.write(Bytes::from(vec![bytes; 900])).await
        })
    };
    let (given_up, _other) = (upload(1).expect("room"), upload(2).expect("room"));
    let third = world.runtime.block_on(blobs.begin()).expect("a draft");
    drop(given_up);
    let written = third.write(Bytes::from(vec![3; 900]));
    let written = world.runtime.block_on(written).expect("there is room now");
    assert_eq!(world.files(), 2, "no more is on the disk than may be");
    let whole = world
        .runtime
        .block_on(written.write(Bytes::from(vec![3; 100])));
    let _whole = whole.expect("no more than a blob may have, and there is room");
    assert!(matches!(upload(4), Err(StoreError::Full(_))));
}

#[test]
fn what_is_damaged_is_not_given_and_goes() {
    let world = World::new();
    let blobs = world.open();
    let ids = [1, 2].map(|n| world.put(&blobs, &[n; 800]).expect("stored").0);
    drop(blobs);
    let file = |id: BlobId| world.folder.path().join("blobs").join(id.to_string());
    let mut damaged = vec![1; 800];
    damaged[799] = 0;
    std::fs::write(file(ids[0]), damaged).expect("written");
    let blobs = world.open();
    let first = world.runtime.block_on(blobs.find(ids[0]));
    assert!(matches!(first, Err(StoreError::Damaged(id)) if id == ids[0]));
    let again = world.runtime.block_on(blobs.find(ids[0]));
    assert!(matches!(again, Err(StoreError::NotFound(_))));
    assert!(!file(ids[0]).exists());
    world
        .runtime
        .block_on(blobs.find(ids[1]))
        .expect("it is right");
    assert_eq!(blobs.list(None, 9).len(), 1);
}
