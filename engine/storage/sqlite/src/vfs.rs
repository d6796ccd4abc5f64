//! The file system that SQLite sees: a [`Disk`], for the length of one call.
//!
//! SQLite calls back from inside its own functions and on the same thread. So whoever calls into SQLite first
//! [`enter`]s a world: disk, time and randomness, remembered in a thread-local until the call returns. A callback
//! outside of that (a connection dropped after its process died, say) finds no world and fails.
//!
//! Two rules go beyond what SQLite asks for. A file that is made or removed is so durably: the directory is synced each
//! time, because a rollback journal that comes back after a power cut rolls a database back to nothing. And after a
//! sync that failed nothing is read, written or synced any more: what a failed sync left behind is anybody's guess.
#![allow(
    unsafe_code,
    reason = "SQLite's interface to file systems is a table of C functions"
)]

use holdfast_host::{Disk, FileId, OpenMode, UnixTime, read_exact_at, write_all_at};
use rand_chacha::{ChaCha8Rng, rand_core::RngCore};
use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_vfs};
use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_void},
    io,
    mem::MaybeUninit,
    path::{Path, PathBuf},
    ptr, slice,
    sync::Once,
};

/// The file system's name, as SQLite knows it.
pub const NAME: &CStr = c"holdfast";

/// Julian day of the Unix epoch, in the milliseconds that SQLite counts.
const EPOCH_JULIAN_MS: i64 = 210_866_760_000_000;

/// Longest path, its end included.
const MAX_PATH: usize = 1024;

/// Bugs to plant, for the test of the test; they have an effect only where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A file that was made may be gone and one that was removed may come back: directories are not synced.
    LaxNames,
    /// SQLite's syncs do nothing.
    NoSync,
}

/// What stands behind SQLite during one call.
pub struct World<'a> {
    /// Its files.
    pub disk: &'a mut dyn Disk,
    /// What it takes for the time.
    pub now: UnixTime,
    /// Where its randomness comes from.
    pub rng: &'a mut ChaCha8Rng,
    /// What outlives the call.
    pub health: &'a mut Health,
}

/// What a database remembers of its disk.
#[derive(Debug, Default)]
pub struct Health {
    /// The last error of the disk, for people: SQLite has only its kind.
    pub last_error: Option<io::Error>,
    /// A sync has failed.
    pub deceived: bool,
    /// A bug to plant.
    pub mutant: Option<Mutant>,
}

thread_local! {
    /// The world of the innermost call into SQLite on this thread. The pointer is valid while `enter` is on the stack,
    /// and nobody but the callbacks follows it.
    static WORLD: Cell<*mut World<'static>> = const { Cell::new(ptr::null_mut()) };
}

/// Gives SQLite a world for the length of `call`.
pub fn enter<T>(world: &mut World<'_>, call: impl FnOnce() -> T) -> T {
    struct Leave(*mut World<'static>);
    impl Drop for Leave {
        fn drop(&mut self) {
            WORLD.set(self.0);
        }
    }
    register();
    let world: *mut World<'_> = world;
    let _leave = Leave(WORLD.replace(world.cast()));
    call()
}

/// Follows the pointer, for one operation of one callback.
fn with<T>(failure: T, operation: impl FnOnce(&mut World<'_>) -> T) -> T {
    let world = WORLD.get();
    if world.is_null() {
        return failure;
    }
    // SAFETY: `enter` put it there and is still on this thread's stack, holding the only reference; callbacks do not
    // nest, since none of them calls SQLite.
    operation(unsafe { &mut *world })
}

/// Makes this the file system of every database that names none. Done once a process; later calls do nothing.
pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let vfs = Box::leak(Box::new(sqlite3_vfs {
            iVersion: 2,
            szOsFile: size_of::<File>() as c_int,
            mxPathname: MAX_PATH as c_int,
            pNext: ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: ptr::null_mut(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(get_last_error),
            xCurrentTimeInt64: Some(current_time_int64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the table and the name live for ever, and every function in it keeps SQLite's contract.
        let result = unsafe { ffi::sqlite3_vfs_register(vfs, 1) };
        assert_eq!(result, ffi::SQLITE_OK, "SQLite takes a file system");
    });
}

/// Forgets the state of SQLite's random generator, of which there is one a process: the next call that needs it seeds it
/// from its world. A simulated run begins with this; it must be the only one of its process then.
pub fn forget_randomness() {
    register();
    // SAFETY: this is how the generator is reset, says its documentation.
    unsafe { ffi::sqlite3_randomness(0, ptr::null_mut()) };
}

/// A file that SQLite has open. SQLite allocates it, and knows its beginning.
#[repr(C)]
struct File {
    base: sqlite3_file,
    id: FileId,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // The first version has no shared memory: WAL works for one connection that has the database to itself.
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Remembers an error of the disk and says it in SQLite's words.
fn failed(health: &mut Health, error: io::Error, otherwise: c_int) -> c_int {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge => ffi::SQLITE_FULL,
        _ => otherwise,
    };
    health.last_error = Some(error);
    code
}

/// # Safety
/// `name` is a path that ends with a zero byte.
unsafe fn path(name: *const c_char) -> Option<PathBuf> {
    // SAFETY: the caller's promise.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().ok().map(PathBuf::from)
}

fn sync_parent(disk: &mut dyn Disk, path: &Path) -> io::Result<()> {
    disk.sync_dir(path.parent().unwrap_or(Path::new("")))
}

// ---- The file system ----

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes room for a `File`. It must find no methods there unless the file is open.
    unsafe { (*file).pMethods = ptr::null() };
    // Without a name it is a temporary file; connections keep theirs in memory.
    if name.is_null() {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: SQLite's names end with a zero byte.
    let Some(path) = (unsafe { path(name) }) else {
        return ffi::SQLITE_CANTOPEN;
    };
    let may_create = flags & ffi::SQLITE_OPEN_CREATE != 0;
    let opened = with(Err(ffi::SQLITE_CANTOPEN), |world| {
        let result = (|| {
            match world.disk.open(&path, OpenMode::Write) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && may_create => {}
                other => return other,
            }
            let id = world.disk.open(&path, OpenMode::Create)?;
            if world.health.has(Mutant::LaxNames) {
                return Ok(id);
            }
            match sync_parent(world.disk, &path) {
                Ok(()) => Ok(id),
                Err(error) => {
                    world.disk.close(id);
                    Err(error)
                }
            }
        })();
        result.map_err(|error| failed(world.health, error, ffi::SQLITE_CANTOPEN))
    });
    match opened {
        Err(code) => code,
        Ok(id) => {
            let base = sqlite3_file { pMethods: &METHODS };
            // SAFETY: as above; `szOsFile` is the size of a `File`, and SQLite aligns it for any type.
            unsafe { file.cast::<File>().write(File { base, id }) };
            if !out_flags.is_null() {
                // SAFETY: SQLite passes null or a place for an int.
                unsafe { *out_flags = flags };
            }
            ffi::SQLITE_OK
        }
    }
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, _: c_int) -> c_int {
    // SAFETY: SQLite's names end with a zero byte.
    let Some(path) = (unsafe { path(name) }) else {
        return ffi::SQLITE_IOERR_DELETE;
    };
    with(ffi::SQLITE_IOERR_DELETE, |world| {
        let is_lax = world.health.has(Mutant::LaxNames);
        let removed = world.disk.remove(&path).and_then(|()| match is_lax {
            true => Ok(()),
            false => sync_parent(world.disk, &path),
        });
        match removed {
            Ok(()) => ffi::SQLITE_OK,
            Err(error) if error.kind() == io::ErrorKind::NotFound => ffi::SQLITE_IOERR_DELETE_NOENT,
            Err(error) => failed(world.health, error, ffi::SQLITE_IOERR_DELETE),
        }
    })
}

unsafe extern "C" fn access(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    _: c_int,
    result: *mut c_int,
) -> c_int {
    // SAFETY: SQLite's names end with a zero byte.
    let Some(path) = (unsafe { path(name) }) else {
        return ffi::SQLITE_IOERR_ACCESS;
    };
    let found = with(Err(ffi::SQLITE_IOERR_ACCESS), |world| {
        match world.disk.open(&path, OpenMode::Read) {
            Ok(id) => {
                // An empty journal is as good as none.
                let len = world.disk.len(id);
                world.disk.close(id);
                len.map(|len| len > 0)
                    .map_err(|error| failed(world.health, error, ffi::SQLITE_IOERR_ACCESS))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(world.health, error, ffi::SQLITE_IOERR_ACCESS)),
        }
    });
    match found {
        Ok(found) => {
            // SAFETY: SQLite passes a place for an int.
            unsafe { *result = c_int::from(found) };
            ffi::SQLITE_OK
        }
        Err(code) => code,
    }
}

unsafe extern "C" fn full_pathname(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite's names end with a zero byte.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if name.len() > room as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: SQLite passes `room` bytes, which do not overlap the name.
    unsafe { ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_: *mut sqlite3_vfs, bytes: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite passes `bytes` bytes to fill.
    let out = unsafe { slice::from_raw_parts_mut(out.cast::<u8>(), bytes as usize) };
    out.fill(0);
    with(0, |world| {
        world.rng.fill_bytes(out);
        bytes
    })
}

/// Nobody else has the database: there is nothing to wait for.
unsafe extern "C" fn sleep(_: *mut sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

fn julian_ms() -> i64 {
    with(EPOCH_JULIAN_MS, |world| {
        EPOCH_JULIAN_MS + (world.now.as_nanos() / 1_000_000) as i64
    })
}

unsafe extern "C" fn current_time(_: *mut sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite passes a place for the number.
    unsafe { *out = julian_ms() as f64 / 86_400_000.0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time_int64(_: *mut sqlite3_vfs, out: *mut sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes a place for the number.
    unsafe { *out = julian_ms() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn get_last_error(_: *mut sqlite3_vfs, _: c_int, _: *mut c_char) -> c_int {
    0
}

// ---- One file ----

/// # Safety
/// `file` was opened by [`open`] and not closed since.
unsafe fn id(file: *mut sqlite3_file) -> FileId {
    // SAFETY: the caller's promise.
    unsafe { (*file.cast::<File>()).id }
}

/// One operation on an open file of a disk that can still be trusted.
fn on_disk(otherwise: c_int, operation: impl FnOnce(&mut dyn Disk) -> io::Result<c_int>) -> c_int {
    with(otherwise, |world| {
        if world.health.deceived {
            return otherwise;
        }
        operation(world.disk).unwrap_or_else(|error| failed(world.health, error, otherwise))
    })
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes what it has opened.
    let id = unsafe { id(file) };
    with((), |world| world.disk.close(id));
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file and `amount` bytes to fill. They may be uninitialised: zeros first.
    let (id, buffer) = unsafe {
        let buffer = buffer.cast::<MaybeUninit<u8>>();
        ptr::write_bytes(buffer, 0, amount as usize);
        let buffer = slice::from_raw_parts_mut(buffer.cast::<u8>(), amount as usize);
        (id(file), buffer)
    };
    on_disk(ffi::SQLITE_IOERR_READ, |disk| {
        let available = disk.len(id)?.saturating_sub(offset as u64);
        let whole = buffer.len();
        let there = whole.min(usize::try_from(available).unwrap_or(usize::MAX));
        read_exact_at(disk, id, offset as u64, &mut buffer[..there])?;
        Ok(match there == whole {
            true => ffi::SQLITE_OK,
            // The rest is zeros, as SQLite wants it.
            false => ffi::SQLITE_IOERR_SHORT_READ,
        })
    })
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    amount: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite passes an open file and `amount` bytes.
    let (id, bytes) = unsafe {
        let bytes = slice::from_raw_parts(bytes.cast::<u8>(), amount as usize);
        (id(file), bytes)
    };
    on_disk(ffi::SQLITE_IOERR_WRITE, |disk| {
        write_all_at(disk, id, offset as u64, bytes)?;
        Ok(ffi::SQLITE_OK)
    })
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes an open file.
    let id = unsafe { id(file) };
    on_disk(ffi::SQLITE_IOERR_TRUNCATE, |disk| {
        disk.set_len(id, size as u64)?;
        Ok(ffi::SQLITE_OK)
    })
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite passes an open file.
    let id = unsafe { id(file) };
    with(ffi::SQLITE_IOERR_FSYNC, |world| {
        if world.health.deceived {
            return ffi::SQLITE_IOERR_FSYNC;
        }
        if world.health.has(Mutant::NoSync) {
            return ffi::SQLITE_OK;
        }
        match world.disk.sync(id) {
            Ok(()) => ffi::SQLITE_OK,
            Err(error) => {
                world.health.deceived = true;
                failed(world.health, error, ffi::SQLITE_IOERR_FSYNC)
            }
        }
    })
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes an open file.
    let id = unsafe { id(file) };
    on_disk(ffi::SQLITE_IOERR_FSTAT, |disk| {
        let len = disk.len(id)?;
        // SAFETY: SQLite passes a place for the number.
        unsafe { *size = len as i64 };
        Ok(ffi::SQLITE_OK)
    })
}

/// The lock file beside the database, held while it is open, keeps everybody else out.
unsafe extern "C" fn lock(_: *mut sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut sqlite3_file, result: *mut c_int) -> c_int {
    // SAFETY: SQLite passes a place for an int.
    unsafe { *result = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

/// What a [`Disk`] loses or keeps as a whole.
unsafe extern "C" fn sector_size(_: *mut sqlite3_file) -> c_int {
    512
}

/// Nothing is promised beyond what a [`Disk`] promises: a torn write may damage all of a sector that it touches.
unsafe extern "C" fn device_characteristics(_: *mut sqlite3_file) -> c_int {
    0
}

impl Health {
    fn has(&self, mutant: Mutant) -> bool {
        cfg!(debug_assertions) && self.mutant == Some(mutant)
    }
}
