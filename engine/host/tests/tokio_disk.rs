//! What the tokio host's disk promises beyond the conformance suite: where files lie, who shares locks, and that a
//! failed sync is not forgotten.

use holdfast_host::{Disk, Host, OpenMode, read_file, tokio_host, write_all_at};
use std::{
    io,
    path::{Path, PathBuf},
};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Runs `job` with the disk of `host`.
fn with<T: Send + 'static>(
    runtime: &Runtime,
    host: &Host,
    job: impl FnOnce(&mut dyn Disk) -> T + Send + 'static,
) -> T {
    runtime.block_on(host.blocking(job))
}

fn host(runtime: &Runtime, root: &Path) -> Host {
    tokio_host::host(root.to_owned(), runtime.handle().clone())
}

#[test]
fn the_root_is_made_by_create_dir_of_the_empty_path() {
    let (runtime, temporary) = (runtime(), tempfile::tempdir().expect("a directory"));
    let root = temporary.path().join("not/yet/there");
    let host = host(&runtime, &root);
    let file = root.join("file");
    with(&runtime, &host, move |disk| {
        let early = disk.open(Path::new("file"), OpenMode::Create);
        assert_eq!(early.map_err(|e| e.kind()), Err(io::ErrorKind::NotFound));
        disk.create_dir(Path::new("")).expect("create_dir");
        disk.sync_dir(Path::new("")).expect("sync_dir");
        let id = disk
            .open(Path::new("file"), OpenMode::Create)
            .expect("open");
        write_all_at(disk, id, 0, b"here").expect("write_at");
        disk.close(id);
        assert_eq!(disk.list(Path::new("")).expect("list"), ["file"]);
        assert_eq!(
            read_file(disk, &file, 10).expect("an absolute path is taken as it is"),
            b"here"
        );
    });
}

#[test]
fn locks_exclude_other_hosts_until_the_owner_is_gone() {
    let (runtime, root) = (runtime(), tempfile::tempdir().expect("a directory"));
    let lock = |host: &Host| with(&runtime, host, |disk| disk.lock(Path::new("lock")));
    let (first, second) = (host(&runtime, root.path()), host(&runtime, root.path()));
    lock(&first).expect("nobody has it");
    let refused = lock(&second).expect_err("the first host has it");
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    drop(first);
    lock(&second).expect("the owner is gone");
}

/// A character device cannot be synced, which is the one way to a failing sync that needs no broken disk.
#[test]
#[cfg(target_os = "linux")]
fn a_failed_sync_is_never_taken_back() {
    let (runtime, root) = (runtime(), tempfile::tempdir().expect("a directory"));
    let host = host(&runtime, root.path());
    with(&runtime, &host, |disk| {
        let device = PathBuf::from("/dev/null");
        let file = disk.open(&device, OpenMode::Write).expect("open");
        let fresh = disk.open(&device, OpenMode::Write).expect("open");
        let first = disk.sync(file).expect_err("devices do not sync");
        assert!(first.raw_os_error().is_some(), "the system's own: {first}");
        for _ in 0..2 {
            let later = disk.sync(file).expect_err("it failed before");
            assert_eq!(later.kind(), first.kind());
            assert!(later.to_string().contains("earlier sync"), "{later}");
        }
        let other = disk.sync(fresh).expect_err("devices do not sync");
        assert!(
            other.raw_os_error().is_some(),
            "another opening asks the system itself: {other}"
        );
        disk.close(file);
        disk.close(fresh);
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_name_that_is_not_utf_8_is_reported() {
    use std::os::unix::ffi::OsStrExt;
    let (runtime, root) = (runtime(), tempfile::tempdir().expect("a directory"));
    let host = host(&runtime, root.path());
    with(&runtime, &host, |disk| {
        let name = Path::new(std::ffi::OsStr::from_bytes(b"\xff"));
        let file = disk.open(name, OpenMode::Create).expect("open");
        disk.close(file);
        let listed = disk.list(Path::new("")).expect_err("no string is its name");
        assert_eq!(listed.kind(), io::ErrorKind::InvalidData);
    });
}
