//! Leaving a program to libc. A libc in our own file is entered as if the kernel had done it, with nothing in between. Another
//! is mapped first, and told where it is; on the way to the program it comes back here once, as debuggers shall find in its
//! list what they would find in ours.

use core::arch::naked_asm;
use core::ffi::{CStr, c_char, c_int};

use linux_raw_sys::auxvec::{AT_BASE, AT_ENTRY};

use crate::elf::{Address, LoadBias};
use crate::host::{self, OwnFile, Told, locate};
use crate::map::libc;
use crate::sys::{AsFd, bare};

use super::InitialStack;
use super::alone::Alone;

/// What is to be done when libc comes back.
#[derive(Clone, Copy)]
struct Left {
    told: Told<2>,
    entry: Address,
    /// The program's `DT_DEBUG`.
    debug: Option<Address>,
    libc: LoadBias,
    name: &'static CStr,
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

/// Maps the system's libc and enters it. Comes back if there is none that is of the usual kind: all else is told on the usual way.
///
/// # Safety
/// As for [`to_fused_libc`]; there is one thread, and nothing is in the [`ROOM`](super::stack::ROOM) below the stack. `changed` may
/// be called when a debugger is to look at the list of objects.
#[inline(never)]
pub unsafe fn to_libc(stack: *mut u64, own: OwnFile, program: &Alone, changed: extern "C" fn()) {
    // SAFETY: passed on to the caller.
    let stack = unsafe { InitialStack::new(stack) };
    let Some(limit) = super::free_space(&stack, own) else { return };
    // The program's interpreter is this loader.
    let is_other = |place: &&CStr| !place.to_bytes().iter().eq(program.interpreter.to_bytes());
    let opened =
        locate::usual_places().filter(is_other).find_map(|place| Some((bare::open(place).ok()?, place)));
    let Some((file, name)) = opened else { return };
    let Some(mapped) = libc::load(file.as_fd(), limit) else { return };
    drop(file);
    let told = Told::new([(AT_BASE, mapped.bias.0), (AT_ENTRY, continuation as *const () as u64)]);
    let &Alone { entry, debug, .. } = program;
    let mut left = Left { told, entry, debug, libc: mapped.bias, name, changed };
    // SAFETY: passed on to the caller; libc is mapped, for ever.
    unsafe {
        let stack = stack.lowered::<Left>();
        left.told.exchange(&stack);
        stack.kept::<Left>().write(left);
        host::enter(mapped.entry, stack.pointer())
    }
}

/// libc jumps here, as to a program's entry.
#[unsafe(naked)]
unsafe extern "C" fn continuation() -> ! {
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {go_on}", "ud2", go_on = sym go_on)
}

/// The program takes over.
///
/// # Safety
/// `stack` is the one that [`to_libc`] has given libc, which is up.
unsafe extern "C" fn go_on(stack: *mut u64) -> ! {
    // SAFETY: passed on to the caller. libc has written to the program's `DT_DEBUG` where its list is, and the list is not used
    // by others yet.
    unsafe {
        let stack = InitialStack::new(stack);
        let mut left = stack.kept::<Left>().read();
        left.told.exchange(&stack);
        if let Some(slot) = left.debug {
            name_libc((slot.0 as *const *const Debug).read_unaligned(), left.libc, left.name);
        }
        (left.changed)();
        host::enter(left.entry, stack.pointer())
    }
}

/// libc takes the interpreter's name for its own: debuggers would look for its symbols in our file.
///
/// # Safety
/// `debug` is null or libc's list, which nobody else reads yet.
unsafe fn name_libc(debug: *const Debug, libc: LoadBias, name: &'static CStr) {
    // SAFETY: the caller vouches for the list.
    unsafe {
        let mut next = debug.as_ref().map_or(core::ptr::null_mut(), |debug| debug.head);
        while let Some(map) = next.as_mut() {
            if map.bias == libc {
                map.name = name.as_ptr();
            }
            next = map.next;
        }
    }
}
