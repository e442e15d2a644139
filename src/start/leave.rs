//! Leaving a program to libc. A libc in our own file is entered as if the kernel had done it, with nothing in between. Another
//! is mapped first, and told where it is; on the way to the program it comes back here once, as debuggers shall find in its
//! list what they would find in ours.

use alloc::boxed::Box;
use core::ffi::{c_char, c_int};
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::elf::{Address, LoadBias};
use crate::host::{self, Boot, OwnFile, locate};
use crate::map::{FileMapper, System};
use crate::program::Object;

use super::InitialStack;
use super::alone::Alone;

/// What is to be done when libc comes back.
struct Left {
    stack: InitialStack,
    program: Alone,
    libc: &'static Object,
    changed: extern "C" fn(),
}

/// The public part of `struct r_debug` (`<link.h>`), as libc has it.
#[repr(C)]
struct Debug {
    version: c_int,
    head: *mut LinkMap,
}

/// Likewise of `struct link_map`.
#[repr(C)]
struct LinkMap {
    bias: LoadBias,
    name: *const c_char,
    dynamic: Address,
    next: *mut LinkMap,
}

#[unsafe(link_section = ".bss.sealed")]
static LEFT: AtomicPtr<Left> = AtomicPtr::new(core::ptr::null_mut());

/// Enters the libc in our own file, if there is one.
///
/// # Safety
/// `stack` is the initial stack, and `own` the file that we are in; nothing on our own stack is needed any more.
pub unsafe fn to_fused_libc(stack: *mut u64, own: OwnFile) {
    if let Some(entry) = own.libc_entry() {
        // SAFETY: the kernel has mapped the file, and the stack is as it has made it.
        unsafe { host::enter(entry, stack) }
    }
}

/// Maps the system's libc and enters it. Comes back if there is none that could be used: what is wrong is told on the usual way.
///
/// As in [`alone`](super::alone), nothing here may need an address in a table: the loader is not relocated, so that nothing is
/// written to the pages with such tables.
///
/// # Safety
/// As for [`to_fused_libc`]; there is one thread. `changed` may be called when a debugger is to look at the list of objects.
#[inline(never)]
pub unsafe fn to_libc(stack: *mut u64, own: OwnFile, program: Alone, changed: extern "C" fn()) {
    // SAFETY: passed on to the caller.
    let stack = unsafe { InitialStack::new(stack) };
    // libc is too small for pieces of 2 MiB.
    let mapper = Box::new(FileMapper::new(super::free_space(&stack, own)));
    let mut system = System { mapper, list: false };
    let found = locate::libc(&mut system, None, || None, None, Some(program.interpreter));
    let Ok(Some(libc)) = found else { return };
    let libc = Box::leak(libc);
    let left = Left { stack, program, libc, changed };
    LEFT.store(Box::into_raw(Box::new(left)), Ordering::Release);
    let boot = Boot { libc, synthetic: None, stack, then: go_on };
    // SAFETY: libc is mapped, for ever, and nothing else is needed any more.
    unsafe { host::boot(boot) }
}

/// The program takes over.
fn go_on() -> ! {
    // SAFETY: `to_libc` has stored a box, and libc comes back once.
    let left = unsafe { Box::from_raw(LEFT.swap(core::ptr::null_mut(), Ordering::Acquire)) };
    // SAFETY: libc has written to the program's `DT_DEBUG` where its list is, and the list is not used by others yet.
    unsafe {
        if let Some(slot) = left.program.debug {
            name_libc((slot.0 as *const *const Debug).read_unaligned(), left.libc);
        }
        (left.changed)();
        host::enter(left.program.entry, left.stack.pointer())
    }
}

/// libc takes the interpreter's name for its own: debuggers would look for its symbols in our file.
///
/// # Safety
/// `debug` is null or libc's list, which nobody else reads yet.
unsafe fn name_libc(debug: *const Debug, libc: &'static Object) {
    // SAFETY: the caller vouches for the list; libc lives as long as the process.
    unsafe {
        let mut next = debug.as_ref().map_or(core::ptr::null_mut(), |debug| debug.head);
        while let Some(map) = next.as_mut() {
            if map.bias == libc.mapping.bias {
                map.name = libc.name.as_ptr();
            }
            next = map.next;
        }
    }
}
