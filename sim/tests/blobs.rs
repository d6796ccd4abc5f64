//! The store of blobs on a disk that loses power: what is given is whole, and what was acknowledged is there.

use holdfast_blobs::{BlobId, BlobStore, StoreError, StoreLimits, verify};
use holdfast_host::Disk;
use holdfast_sim::{
    disk::SimDisk,
    draw::{Domain, Draws},
    plan::{DiskProfile, PowerCutProfile},
};
use std::{collections::BTreeSet, path::Path};

const DIRECTORY: &str = "/data/blobs";
const SEEDS: u64 = 400;
const CUTS: u64 = 12;

struct World {
    disk: SimDisk,
    draws: Draws,
    /// Those whose storing was acknowledged, and no removal begun.
    there: BTreeSet<BlobId>,
    /// Those of which it is not known.
    unknown: BTreeSet<BlobId>,
    /// Blobs whose name was there when power failed while they were being stored.
    survived: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let profile = DiskProfile {
            short_io: 0.05,
            write_back: 0.2,
            power_cut: PowerCutProfile {
                lose_all: 0.1,
                ..PowerCutProfile::default()
            },
            ..DiskProfile::default()
        };
        let mut disk = SimDisk::new(seed, 0, &profile);
        disk.create_dir(Path::new("/data")).expect("a new disk");
        World {
            disk,
            draws: Draws::new(seed, Domain::Scenario, 0),
            there: BTreeSet::new(),
            unknown: BTreeSet::new(),
            survived: 0,
        }
    }

    fn open(&mut self) -> Result<BlobStore, StoreError> {
        let limits = StoreLimits::default();
        BlobStore::open(&mut self.disk, Path::new(DIRECTORY), limits, None)
    }

    /// Stores and removes until power fails.
    fn work(&mut self, store: &mut BlobStore) -> Result<(), StoreError> {
        loop {
            if self.draws.range(0, 4) == 0
                && let Some(id) = self.there.first().copied()
            {
                self.there.remove(&id);
                self.unknown.insert(id);
                store.remove(&mut self.disk, id)?;
                self.unknown.remove(&id);
                continue;
            }
            let bytes = self.draws.magnitude(1, 20_000) as usize;
            let byte = self.draws.range(0, 256) as u8;
            let blob: Vec<u8> = (0..bytes).map(|at| byte ^ (at / 512) as u8).collect();
            let id = BlobId::of(&blob);
            if !self.there.contains(&id) {
                self.unknown.insert(id);
            }
            let mut draft = store.begin(&mut self.disk)?;
            for piece in blob.chunks(3_000) {
                store.reserve(&mut self.disk, &draft, piece.len() as u64)?;
                draft.write(&mut self.disk, piece)?;
            }
            let sealed = draft.seal(&mut self.disk)?;
            let (info, _) = store.commit(&mut self.disk, sealed)?;
            assert_eq!(info.id, id);
            self.unknown.remove(&id);
            self.there.insert(id);
        }
    }

    /// After a cut: everything under a name is whole, and nothing is missing.
    fn check(&mut self, store: &BlobStore, seed: u64) {
        let listed = store.list(None, usize::MAX);
        for info in &listed {
            let path = store.path(info.id);
            let is_whole = verify(&mut self.disk, &path, *info).expect("it is read");
            assert!(is_whole, "seed {seed}: {} is torn", info.id);
            let is_known = self.there.contains(&info.id) || self.unknown.contains(&info.id);
            assert!(is_known, "seed {seed}: {} was removed", info.id);
            self.survived += u64::from(self.unknown.contains(&info.id));
        }
        let found: BTreeSet<BlobId> = listed.iter().map(|info| info.id).collect();
        let missing: Vec<_> = self.there.difference(&found).collect();
        assert!(missing.is_empty(), "seed {seed}: {missing:?} are missing");
        let names = self.disk.list(Path::new(DIRECTORY)).expect("there");
        assert_eq!(names.len(), found.len(), "seed {seed}: {names:?}");
        self.there = found;
        self.unknown.clear();
    }
}

#[test]
fn a_power_cut_leaves_a_blob_whole_or_not_at_all() {
    let (mut survived, mut kept) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..CUTS {
            let operations = world.draws.magnitude(1, 200);
            world.disk.cut_after(operations);
            if let Ok(mut store) = world.open() {
                let error = world.work(&mut store).expect_err("power fails");
                assert!(matches!(error, StoreError::Disk { .. }), "{error}");
            }
            world.disk.power_cut();
            let store = world.open().expect("power is back");
            world.check(&store, seed);
            world.disk.kill();
        }
        survived += world.survived;
        kept += world.there.len();
    }
    assert!(kept > 1_000, "{kept} blobs were kept");
    assert!(
        survived > 10,
        "{survived} names survived before they were promised"
    );
}
