//! The kernel's entropy, asked for behind libc's back, comes from the run's seed too.
//!
//! madsim stands in for libc's `getrandom` function. ring, under TLS, and whoever else uses `getrandom` 0.2 make the
//! system call themselves, by libc's `syscall`; this stands in for that one, and passes everything else on. Key
//! shares, signatures and session tickets are then the same in every run of a seed, and each process draws its own, so
//! that a fault taken out of a plan does not reshuffle those of the others.
#![allow(
    unsafe_code,
    reason = "a symbol of libc's is replaced, and what is passed on goes to the original"
)]

use super::{gate::Gate, world::World};
use libc::{c_char, c_long, c_uint, c_void};
use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicPtr, Ordering},
    },
};

thread_local! {
    /// The process whose task runs now.
    static CURRENT: RefCell<Option<(World, Arc<Gate>)>> = const { RefCell::new(None) };
}

/// Runs a step of the process behind `gate`; what it asks of the kernel's entropy is its own.
pub(super) fn within<T>(world: &World, gate: &Arc<Gate>, step: impl FnOnce() -> T) -> T {
    let current = Some((world.clone(), gate.clone()));
    let before = CURRENT.with(|place| place.replace(current));
    let result = step();
    CURRENT.with(|place| place.replace(before));
    result
}

/// Fills the buffer for the process that runs now; false when none does.
fn fill(buffer: &mut [u8]) -> bool {
    // On a thread that is ending there is no process any more.
    let current = CURRENT.try_with(|current| current.borrow().clone());
    let Some((world, gate)) = current.ok().flatten() else {
        return false;
    };
    gate.draw(buffer, || {
        world.with(|core| core.generator(gate.node, gate.incarnation, "kernel"))
    });
    true
}

/// `syscall(2)` as libc declares it, with all the arguments that it can have.
type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;

/// libc's own `syscall`, once it was looked up.
static ORIGINAL: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Takes the place of libc's `syscall`. The real one is variadic; on the architectures that Linux runs on, a variadic
/// caller puts integers where a callee with seven parameters finds them.
///
/// # Safety
/// The arguments must be right for the system call `number`; those that it does not have are passed on unread.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_getrandom {
        if b > 0 {
            // SAFETY: the caller's buffer and its length, as it gave them: `getrandom` writes all of it.
            let buffer = unsafe { std::slice::from_raw_parts_mut(a as *mut u8, b as usize) };
            if fill(buffer) {
                return b;
            }
        }
        // SAFETY: the same. The function is madsim's.
        let got = unsafe { libc::getrandom(a as *mut c_void, b as usize, c as c_uint) };
        return got as c_long;
    }
    // SAFETY: the caller's arguments, as it gave them, to the function that it meant.
    unsafe { original()(number, a, b, c, d, e, f) }
}

/// libc's own `syscall`. Threads that look it up at the same time find the same. No lock: std's locks are built on
/// this very function.
fn original() -> Syscall {
    const NAME: *const c_char = c"syscall".as_ptr();
    let mut found = ORIGINAL.load(Ordering::Relaxed);
    if found.is_null() {
        // SAFETY: the name ends in a zero byte.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, NAME) };
        if found.is_null() {
            // Nothing works without it, a panic's message least of all.
            std::process::abort();
        }
        ORIGINAL.store(found, Ordering::Relaxed);
    }
    // SAFETY: libc's `syscall` is of this type.
    unsafe { std::mem::transmute::<*mut c_void, Syscall>(found) }
}

/// Makes sure that the function above is in the program and in libc's place: the linker takes from a library only what
/// something refers to.
///
/// # Panics
/// When it is not: TLS would differ between two runs of a seed.
pub(super) fn tame() {
    // SAFETY: a call that asks who we are has no arguments, and a read of no bytes writes none.
    let nothing = unsafe { libc::syscall(libc::SYS_getpid) };
    assert!(nothing > 0, "system calls are passed on");
    let linked: unsafe extern "C" fn(c_long, ...) -> c_long = libc::syscall;
    let ours = syscall as *const () as usize;
    assert_eq!(
        linked as *const () as usize, ours,
        "system calls do not come to the simulator"
    );
}
