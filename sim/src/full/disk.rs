//! Disk jobs of a process: run inline on the node's simulated disk, paid for in simulated time.

use super::{core::Core, gate::Gate, world::World};
use crate::disk::SimDisk;
use holdfast_host::{Disk, FileId, Job, OpenMode};
use std::{
    io::{self, Error},
    path::Path,
    sync::PoisonError,
};

/// The disk as one job sees it: every operation is traced and counted, and after the power fails in the middle of
/// the job, none works.
pub(super) struct NodeDisk<'a> {
    world: &'a World,
    gate: &'a Gate,
    disk: &'a mut SimDisk,
    power_failed: bool,
}

impl NodeDisk<'_> {
    /// Runs `job` and says at which instant the device will be done with it; `None` when the node lost power in it.
    pub(super) fn run(world: &World, gate: &Gate, job: Job) -> Option<u64> {
        let disk = world.with(|core| {
            let node = &core.nodes[gate.node as usize];
            (!node.power_failing).then(|| node.disk.clone())
        })?;
        let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = NodeDisk {
            world,
            gate,
            disk: &mut disk,
            power_failed: false,
        };
        job(&mut view);
        let power_failed = view.power_failed;
        let used = disk.take_elapsed();
        drop(disk);
        if power_failed {
            world.mark("power-failed-in-a-disk-job");
            world.with(|core| core.power_fails_in_job(gate.node, used));
            return None;
        }
        Some(world.with(|core| core.occupy_device(gate.node, used)))
    }

    /// Admits one operation, unless the power fails here.
    fn admit(&mut self) -> io::Result<()> {
        if self.power_failed {
            return Err(Error::other("the power failed during this job"));
        }
        let node = self.gate.node;
        if self.world.with(|core| core.disk_operation(node)) {
            return Ok(());
        }
        self.power_failed = true;
        Err(Error::other("the power failed during this job"))
    }

    fn trace(&mut self, kind: DiskOperation, file: u64, offset: u64, bytes: &[u8]) {
        let node = self.gate.node;
        self.world
            .with(|core: &mut Core| core.trace_disk(node, kind, file, offset, bytes));
    }
}

/// Disk operations as the trace tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskOperation {
    Open = 1,
    Read,
    Write,
    SetLen,
    Sync,
    Rename,
    Remove,
    List,
    CreateDir,
    SyncDir,
    Lock,
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// What a result adds to the trace: a failure is part of what happened.
fn failed<T>(result: &io::Result<T>) -> u64 {
    u64::from(result.is_err())
}

impl Disk for NodeDisk<'_> {
    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<FileId> {
        self.admit()?;
        let result = self.disk.open(path, mode);
        self.trace(
            DiskOperation::Open,
            failed(&result),
            mode as u64,
            path_bytes(path),
        );
        result
    }

    fn close(&mut self, file: FileId) {
        if !self.power_failed {
            self.disk.close(file);
        }
    }

    fn read_at(&mut self, file: FileId, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.admit()?;
        let result = self.disk.read_at(file, offset, buffer);
        let read = *result.as_ref().unwrap_or(&0);
        self.trace(DiskOperation::Read, file.0, offset, &buffer[..read]);
        result
    }

    fn write_at(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.admit()?;
        let result = self.disk.write_at(file, offset, bytes);
        let written = *result.as_ref().unwrap_or(&0);
        self.trace(DiskOperation::Write, file.0, offset, &bytes[..written]);
        result
    }

    fn len(&mut self, file: FileId) -> io::Result<u64> {
        self.admit()?;
        self.disk.len(file)
    }

    fn set_len(&mut self, file: FileId, len: u64) -> io::Result<()> {
        self.admit()?;
        let result = self.disk.set_len(file, len);
        self.trace(DiskOperation::SetLen, file.0, len, &[]);
        result
    }

    fn sync(&mut self, file: FileId) -> io::Result<()> {
        self.admit()?;
        let result = self.disk.sync(file);
        self.trace(DiskOperation::Sync, file.0, failed(&result), &[]);
        result
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.admit()?;
        let result = self.disk.rename(from, to);
        self.trace(DiskOperation::Rename, failed(&result), 0, path_bytes(to));
        result
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.admit()?;
        let result = self.disk.remove(path);
        self.trace(DiskOperation::Remove, failed(&result), 0, path_bytes(path));
        result
    }

    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        self.admit()?;
        let result = self.disk.list(directory);
        let names = result.as_ref().map_or(0, Vec::len) as u64;
        self.trace(DiskOperation::List, names, 0, path_bytes(directory));
        result
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.admit()?;
        let result = self.disk.create_dir(path);
        self.trace(
            DiskOperation::CreateDir,
            failed(&result),
            0,
            path_bytes(path),
        );
        result
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.admit()?;
        let result = self.disk.sync_dir(path);
        self.trace(DiskOperation::SyncDir, failed(&result), 0, path_bytes(path));
        result
    }

    fn lock(&mut self, path: &Path) -> io::Result<FileId> {
        self.admit()?;
        let result = self.disk.lock(path);
        self.trace(DiskOperation::Lock, failed(&result), 0, path_bytes(path));
        result
    }
}
