//! The beginning of `main`. If another thread exits while the main thread runs the start-up constructors, musl stops the main
//! thread at the end of the one that it is in (the program's own is the last: then `main` begins). Hosted, libc
//! takes all of them for one and waits for it to end, so that they must return; `main` is what can be stopped.

use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sys;

use super::Process;

/// The `main` of a program.
type Main = extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;

/// The program's `main`, from [`libc_start_main`] to [`main_in_its_time`].
static MAIN: AtomicUsize = AtomicUsize::new(0);

/// Somebody wants to know when `main` begins.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);

/// Makes the process send itself a signal when `main` begins (see [`sys::announce`]).
pub fn watch_main() {
    IS_WATCHED.store(true, Ordering::Relaxed);
}

/// `__libc_start_main`, which a program's entry calls: libc's own, with another `main`.
///
/// # Safety
/// The arguments are those of a program's entry.
pub unsafe extern "C" fn libc_start_main(
    main: Main,
    argc: c_int,
    argv: *mut *mut c_char,
    init: usize,
    fini: usize,
    loader_fini: usize,
) -> c_int {
    MAIN.store(main as usize, Ordering::Relaxed);
    let Some(start_main) = Process::get().libc_function(b"__libc_start_main") else { sys::abort() };
    type StartMain = extern "C" fn(Main, c_int, *mut *mut c_char, usize, usize, usize) -> c_int;
    // SAFETY: musl's `__libc_start_main` has this signature; the last three are what its start files have passed over the years.
    let start_main: StartMain = unsafe { core::mem::transmute(start_main.0) };
    start_main(main_in_its_time, argc, argv, init, fini, loader_fini)
}

extern "C" fn main_in_its_time(argc: c_int, argv: *mut *mut c_char, envp: *mut *mut c_char) -> c_int {
    Process::get().initialization.stop_if_cut_short();
    if IS_WATCHED.load(Ordering::Relaxed) {
        sys::announce();
    }
    // SAFETY: `libc_start_main` has stored a function of that signature.
    let main: Main = unsafe { core::mem::transmute(MAIN.load(Ordering::Relaxed)) };
    main(argc, argv, envp)
}
