//! What a disk holds: names, directories, locks, file numbers.

use super::{Site, table};
use crate::{Disk, FileId, OpenMode, read_file, write_all_at};
use std::{io, path::Path};

table! { "disk":
    modes_open_what_they_say,
    a_file_opened_for_reading_is_not_written,
    a_rename_replaces_in_one_step,
    a_rename_crosses_directories,
    a_removed_file_stays_readable_while_open,
    names_are_listed_in_order,
    directories_are_made_with_their_parents,
    paths_do_not_climb,
    a_lock_is_held_until_its_file_is_closed,
    a_lock_does_not_touch_the_file,
    a_closed_file_is_gone_and_its_number_too,
    a_file_is_open_for_every_job,
}

/// Runs `job` with a new directory.
async fn with_directory(
    site: Site,
    check: &'static str,
    job: impl FnOnce(&mut dyn Disk, &Path) + Send + 'static,
) {
    let directory = site.directory(check).await;
    site.host.blocking(move |disk| job(disk, &directory)).await;
}

fn write(disk: &mut dyn Disk, path: &Path, bytes: &[u8]) -> FileId {
    let file = disk.open(path, OpenMode::CreateNew).expect("open");
    write_all_at(disk, file, 0, bytes).expect("write_at");
    file
}

fn read(disk: &mut dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    read_file(disk, path, 1 << 20)
}

#[track_caller]
fn assert_kind<T>(result: io::Result<T>, kind: io::ErrorKind, promise: &str) {
    match result {
        Ok(_) => panic!("{promise}: succeeded instead of {kind:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{promise}: {error}"),
    }
}

async fn modes_open_what_they_say(site: Site) {
    use OpenMode::{Create, CreateNew, Read, Write};
    with_directory(site, "modes", |disk, directory| {
        let path = &directory.join("file");
        for mode in [Read, Write] {
            let opened = disk.open(path, mode);
            assert_kind(opened, io::ErrorKind::NotFound, "not there");
        }
        assert!(
            disk.list(directory).expect("list").is_empty(),
            "Read and Write make nothing"
        );
        let made = disk.open(path, Create).expect("Create: makes it");
        assert_eq!(disk.len(made).expect("len"), 0, "Create: made empty");
        write_all_at(disk, made, 0, b"kept").expect("Create: for writing");
        let opened = disk.open(path, CreateNew);
        assert_kind(
            opened,
            io::ErrorKind::AlreadyExists,
            "CreateNew: it is there",
        );
        for mode in [Read, Write, Create] {
            let file = disk.open(path, mode).expect("open: it is there");
            let mut bytes = [0; 4];
            crate::read_exact_at(disk, file, 0, &mut bytes).expect("every mode reads");
            assert_eq!(&bytes, b"kept", "{mode:?}: what is there is kept");
            if mode != Read {
                write_all_at(disk, file, 0, b"kept").expect("every mode but Read writes");
            }
            disk.close(file);
        }
        let fresh = disk
            .open(&directory.join("fresh"), CreateNew)
            .expect("CreateNew: makes it");
        assert_eq!(disk.len(fresh).expect("len"), 0);
        write_all_at(disk, fresh, 0, b"written").expect("CreateNew: for writing");
        for mode in [Create, CreateNew] {
            let opened = disk.open(&directory.join("no/file"), mode);
            assert_kind(opened, io::ErrorKind::NotFound, "the parent must exist");
        }
        for mode in [Read, Write, Create, CreateNew] {
            disk.open(directory, mode)
                .expect_err("open: a directory is not a file");
        }
        disk.close(made);
        disk.close(fresh);
    })
    .await;
}

async fn a_file_opened_for_reading_is_not_written(site: Site) {
    with_directory(site, "read_only", |disk, directory| {
        let path = &directory.join("file");
        let file = write(disk, path, b"as it was");
        disk.close(file);
        let file = disk.open(path, OpenMode::Read).expect("open");
        disk.write_at(file, 0, b"changed")
            .expect_err("all modes but Read allow writing");
        disk.set_len(file, 2)
            .expect_err("all modes but Read allow writing");
        disk.close(file);
        assert_eq!(read(disk, path).expect("read"), b"as it was");
    })
    .await;
}

async fn a_rename_replaces_in_one_step(site: Site) {
    with_directory(site, "rename", |disk, directory| {
        let (from, to) = (&directory.join("from"), &directory.join("to"));
        let new = write(disk, from, b"new");
        let old = write(disk, to, b"old");
        disk.rename(from, to).expect("rename");
        disk.sync_dir(directory).expect("sync_dir");
        assert_eq!(disk.list(directory).expect("list"), ["to"]);
        assert_eq!(read(disk, to).expect("read"), b"new", "rename: replaces");
        assert_kind(read(disk, from), io::ErrorKind::NotFound, "rename: moves");

        let mut bytes = [0; 3];
        crate::read_exact_at(disk, old, 0, &mut bytes).expect("open files stay readable");
        assert_eq!(
            &bytes, b"old",
            "the replaced file keeps its bytes while open"
        );
        write_all_at(disk, new, 3, b"er").expect("an open file keeps its number");
        assert_eq!(read(disk, to).expect("read"), b"newer");

        let missing = disk.rename(from, to);
        assert_kind(missing, io::ErrorKind::NotFound, "rename: it is not there");
        assert_eq!(
            read(disk, to).expect("a failed rename does nothing"),
            b"newer"
        );
        disk.close(old);
        disk.close(new);
    })
    .await;
}

async fn a_rename_crosses_directories(site: Site) {
    with_directory(site, "rename_across", |disk, directory| {
        let (left, right) = (&directory.join("left"), &directory.join("right"));
        disk.create_dir(left).expect("create_dir");
        disk.create_dir(right).expect("create_dir");
        let file = write(disk, &left.join("file"), b"moved");
        disk.close(file);
        disk.rename(&left.join("file"), &right.join("other"))
            .expect("rename");
        disk.sync_dir(left).expect("sync_dir");
        disk.sync_dir(right).expect("sync_dir");
        assert!(disk.list(left).expect("list").is_empty());
        assert_eq!(read(disk, &right.join("other")).expect("read"), b"moved");
        let nowhere = disk.rename(&right.join("other"), &directory.join("no/file"));
        assert_kind(nowhere, io::ErrorKind::NotFound, "the parent must exist");
        assert_eq!(disk.list(right).expect("list"), ["other"]);
    })
    .await;
}

async fn a_removed_file_stays_readable_while_open(site: Site) {
    with_directory(site, "remove", |disk, directory| {
        let path = &directory.join("file");
        let open = write(disk, path, b"first");
        disk.remove(path).expect("remove");
        assert_kind(
            read(disk, path),
            io::ErrorKind::NotFound,
            "remove: the name is gone",
        );
        assert!(disk.list(directory).expect("list").is_empty());
        let second = write(disk, path, b"second");
        let mut bytes = [0; 5];
        crate::read_exact_at(disk, open, 0, &mut bytes).expect("remove: open files stay readable");
        assert_eq!(
            &bytes, b"first",
            "a new file of the same name is another file"
        );
        assert_eq!(disk.len(open).expect("len"), 5);
        disk.close(open);
        disk.close(second);
        disk.remove(path).expect("remove");
        let again = disk.remove(path);
        assert_kind(again, io::ErrorKind::NotFound, "remove: it is not there");
    })
    .await;
}

async fn names_are_listed_in_order(site: Site) {
    with_directory(site, "list", |disk, directory| {
        assert!(disk.list(directory).expect("list").is_empty());
        let names = ["b", "B", "é", "a.tmp", "a", "10", "9", "z z", "-"];
        for name in names {
            let file = write(disk, &directory.join(name), b"");
            disk.close(file);
        }
        disk.create_dir(&directory.join("m/inner"))
            .expect("create_dir");
        let file = write(disk, &directory.join("m/hidden"), b"");
        disk.close(file);
        assert_eq!(
            disk.list(directory).expect("list"),
            ["-", "10", "9", "B", "a", "a.tmp", "b", "m", "z z", "é"],
            "list: the names in a directory, sorted by bytes, and no names below"
        );
        assert_eq!(
            disk.list(&directory.join("m")).expect("list"),
            ["hidden", "inner"]
        );
        let missing = disk.list(&directory.join("no"));
        assert_kind(missing, io::ErrorKind::NotFound, "list: it is not there");
        disk.list(&directory.join("a"))
            .expect_err("list: a file is not a directory");
    })
    .await;
}

async fn directories_are_made_with_their_parents(site: Site) {
    with_directory(site, "create_dir", |disk, directory| {
        let deep = &directory.join("one/two/three");
        disk.create_dir(deep).expect("create_dir: and its parents");
        let file = write(disk, &deep.join("file"), b"stays");
        disk.close(file);
        disk.create_dir(deep).expect("create_dir: it is there");
        disk.create_dir(&directory.join("one"))
            .expect("create_dir: it is there");
        disk.create_dir(&directory.join("one/two/four"))
            .expect("create_dir: some parents are there");
        assert_eq!(
            read(disk, &deep.join("file")).expect("read"),
            b"stays",
            "create_dir: nothing happens when it is there"
        );
        assert_eq!(
            disk.list(&directory.join("one/two")).expect("list"),
            ["four", "three"]
        );
        disk.create_dir(&deep.join("file"))
            .expect_err("create_dir: a file has that name");
        disk.sync_dir(deep).expect("sync_dir");
        disk.sync_dir(&directory.join("no"))
            .expect_err("sync_dir: it is not there");
    })
    .await;
}

async fn paths_do_not_climb(site: Site) {
    with_directory(site, "climb", |disk, directory| {
        let up = &directory.join("../climb/file");
        let promise = "a path with `..` is InvalidInput";
        let refused = io::ErrorKind::InvalidInput;
        assert_kind(disk.open(up, OpenMode::Create), refused, promise);
        assert_kind(disk.lock(up), refused, promise);
        assert_kind(disk.create_dir(up), refused, promise);
        assert_kind(disk.remove(up), refused, promise);
        assert_kind(disk.list(&directory.join("..")), refused, promise);
        assert_kind(disk.sync_dir(&directory.join("..")), refused, promise);
        let file = write(disk, &directory.join("here"), b"");
        disk.close(file);
        assert_kind(disk.rename(&directory.join("here"), up), refused, promise);
        assert_kind(disk.rename(up, &directory.join("here")), refused, promise);
        assert_eq!(disk.list(directory).expect("list"), ["here"]);
    })
    .await;
}

async fn a_lock_is_held_until_its_file_is_closed(site: Site) {
    let directory = site.directory("lock").await;
    let path = directory.join("lock");
    let first = path.clone();
    let held = site
        .host
        .blocking(move |disk| disk.lock(&first))
        .await
        .expect("lock: creates the file when needed");
    for _ in 0..2 {
        let second = path.clone();
        let refused = site.host.blocking(move |disk| disk.lock(&second)).await;
        let promise = "lock: somebody, also this process, has it";
        assert_kind(refused, io::ErrorKind::WouldBlock, promise);
    }
    site.host
        .blocking(move |disk| {
            let bystander = disk.open(&path, OpenMode::Write).expect("open");
            disk.close(bystander);
            let still = disk.lock(&path);
            let promise = "lock: closing another opening does not give it up";
            assert_kind(still, io::ErrorKind::WouldBlock, promise);
            disk.lock(&directory.join("another"))
                .expect("lock: another file is another lock");
            disk.close(held);
            let again = disk
                .lock(&path)
                .expect("close: gives up a lock that was taken");
            assert_ne!(again, held, "a number is not used again");
            disk.close(again);
        })
        .await;
}

async fn a_lock_does_not_touch_the_file(site: Site) {
    with_directory(site, "lock_file", |disk, directory| {
        let path = &directory.join("lock");
        let file = write(disk, path, b"owner");
        disk.close(file);
        let locked = disk.lock(path).expect("lock");
        assert_eq!(
            disk.len(locked).expect("len"),
            5,
            "lock: creates, not empties"
        );
        disk.close(locked);
        assert_eq!(read(disk, path).expect("read"), b"owner");
        let nowhere = disk.lock(&directory.join("no/lock"));
        assert_kind(nowhere, io::ErrorKind::NotFound, "the parent must exist");
    })
    .await;
}

async fn a_closed_file_is_gone_and_its_number_too(site: Site) {
    with_directory(site, "closed", |disk, directory| {
        let path = &directory.join("file");
        let closed = write(disk, path, b"bytes");
        disk.close(closed);
        let promise = "a stale number is an error";
        for _ in 0..2 {
            disk.read_at(closed, 0, &mut [0; 5]).expect_err(promise);
            disk.write_at(closed, 0, b"x").expect_err(promise);
            disk.len(closed).expect_err(promise);
            disk.set_len(closed, 0).expect_err(promise);
            disk.sync(closed).expect_err(promise);
            // The second round asks while another file is open, which must not be taken for it.
            let open = disk.open(path, OpenMode::Write).expect("open");
            assert_ne!(open, closed, "a number is not used again");
            disk.close(closed);
            assert_eq!(
                disk.len(open).expect("closing twice closes nothing else"),
                5
            );
        }
        disk.len(FileId(u64::MAX)).expect_err("never opened");
        assert_eq!(read(disk, path).expect("read"), b"bytes");
    })
    .await;
}

async fn a_file_is_open_for_every_job(site: Site) {
    let path = site.directory("jobs").await.join("file");
    let file = site
        .host
        .blocking(move |disk| write(disk, &path, b"one"))
        .await;
    let clone = site.host.clone();
    super::on(&site.host, async move {
        clone
            .blocking(move |disk| {
                write_all_at(disk, file, 3, b" two")
                    .expect("a number is valid for every Disk handle of the same host");
                disk.sync(file).expect("sync");
            })
            .await;
    })
    .await;
    site.host
        .blocking(move |disk| {
            let mut bytes = [0; 7];
            crate::read_exact_at(disk, file, 0, &mut bytes).expect("read_at");
            assert_eq!(&bytes, b"one two");
            disk.close(file);
        })
        .await;
}
