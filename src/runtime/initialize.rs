//! Constructors and destructors. libc calls [`initialize`] and [`finalize`] as those of the synthetic object, inside
//! `__libc_start_main` and `exit`: where musl runs a program's own (`do_init_fini`, `__libc_exit_fini`).

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::bind;
use crate::elf::{Address, Table, Vaddr};
use crate::program::Object;
use crate::sys::Text;
use crate::tls::x86_64::thread_pointer;

use super::Process;

/// How far constructors and destructors have come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Objects of the initialisation order whose constructors have returned.
    constructed: AtomicUsize,
    /// The thread pointer of the thread that runs constructors; zero before and after.
    constructor_thread: AtomicU64,
    /// The process is exiting: no more constructors.
    exiting: AtomicBool,
    /// Destructors have begun.
    destructed: AtomicBool,
}

/// Runs every object's constructors, dependencies first.
///
/// If one of them exits, libc considers the synthetic object unconstructed and will not call [`finalize`]. So before
/// anything else, a function is registered that does it in that case: first registered, it runs last, as destructors do.
pub extern "C" fn initialize() {
    let process = Process::get();
    let progress = &process.progress;
    progress.constructor_thread.store(thread_pointer(), Ordering::Release);
    register_at_exit(process);
    for &id in &process.init_order {
        if progress.exiting.load(Ordering::Acquire) {
            break;
        }
        let object = &process.program[id];
        log::debug!("constructors of {}", Text::from(&object.name));
        // SAFETY: the object is relocated and libc is up; the order is that of the program's dependencies.
        unsafe { construct(object) };
        progress.constructed.fetch_add(1, Ordering::Release);
    }
    progress.constructor_thread.store(0, Ordering::Release);
}

/// Runs the destructors of what has been constructed, in reverse order, once.
pub extern "C" fn finalize() {
    let process = Process::get();
    if process.progress.destructed.swap(true, Ordering::AcqRel) {
        return;
    }
    let constructed = process.progress.constructed.load(Ordering::Acquire);
    for &id in process.init_order.iter().take(constructed).rev() {
        let object = &process.program[id];
        log::debug!("destructors of {}", Text::from(&object.name));
        // SAFETY: its constructors have returned, and this happens once.
        unsafe { destruct(object) };
    }
}

/// Runs at exit. If that comes from a constructor, libc will not run destructors: do it here. If it comes from another
/// thread while constructors run, libc waits for them to end, and no further ones must begin.
extern "C" fn at_exit() {
    let progress = &Process::get().progress;
    match progress.constructor_thread.load(Ordering::Acquire) {
        0 => {}
        thread if thread == thread_pointer() => finalize(),
        _ => progress.exiting.store(true, Ordering::Release),
    }
}

fn register_at_exit(process: &Process) {
    let Some(libc) = process.program.libc() else { return };
    let libc = &process.program[libc];
    if let Some(symbol) = bind::definition_in(libc, b"atexit") {
        // SAFETY: libc's `atexit` has this signature (C11 7.22.4.2), and libc is up.
        unsafe {
            let atexit: extern "C" fn(extern "C" fn()) -> i32 =
                core::mem::transmute(libc.address(symbol.vaddr()).0);
            atexit(at_exit);
        }
    }
}

/// `DT_INIT`, then `DT_INIT_ARRAY` forwards; without arguments, as in musl.
///
/// # Safety
/// The object is relocated, libc is up, and what it depends on is constructed.
unsafe fn construct(object: &Object) {
    // SAFETY: passed on to the caller.
    unsafe {
        if let Some(init) = object.dynamic.init {
            call(object.address(init));
        }
        for index in 0..entries(object.dynamic.init_array) {
            call_entry(object, object.dynamic.init_array, index);
        }
    }
}

/// `DT_FINI_ARRAY` backwards, then `DT_FINI`.
///
/// # Safety
/// The object is constructed and is not destructed twice.
unsafe fn destruct(object: &Object) {
    // SAFETY: passed on to the caller.
    unsafe {
        for index in (0..entries(object.dynamic.fini_array)).rev() {
            call_entry(object, object.dynamic.fini_array, index);
        }
        if let Some(fini) = object.dynamic.fini {
            call(object.address(fini));
        }
    }
}

fn entries(table: Table) -> u64 {
    table.size / size_of::<u64>() as u64
}

/// # Safety
/// As for [`call`].
unsafe fn call_entry(object: &Object, table: Table, index: u64) {
    let entry = Vaddr(table.vaddr.0.wrapping_add(index * size_of::<u64>() as u64));
    let Some(bytes) = object.view.bytes(entry, size_of::<u64>() as u64) else { return };
    // SAFETY: in bounds. The word is read afresh: constructors may change the array.
    unsafe { call(Address(bytes.as_ptr().cast::<u64>().read_unaligned())) };
}

/// # Safety
/// `function` is what the object names as one of its constructors or destructors.
unsafe fn call(function: Address) {
    // SAFETY: a function without arguments, as the dynamic section says.
    unsafe {
        let function: extern "C" fn() = core::mem::transmute(function.0);
        function();
    }
}
