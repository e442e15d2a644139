//! Starting libc: what it reads of the initial stack is changed to describe the synthetic object, it is entered as the
//! kernel would enter it, and when it comes back everything is put right again.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::{asm, naked_asm};
use core::ffi::c_char;
use core::sync::atomic::{AtomicPtr, Ordering};

use goblin::elf64::program_header::SIZEOF_PHDR;
use linux_raw_sys::auxvec::{AT_BASE, AT_ENTRY, AT_PHDR, AT_PHENT, AT_PHNUM};

use crate::config;
use crate::elf::Address;
use crate::program::Object;
use crate::start::InitialStack;

use super::Synthetic;

/// The environment variables that musl must not act upon again.
const HIDDEN: [&[u8]; 2] = [b"LD_PRELOAD", b"LD_LIBRARY_PATH"];
/// What their first byte becomes meanwhile; no variable's name begins with it.
const HIDING_BYTE: c_char = 1;

/// A start of libc.
pub struct Boot {
    /// libc, mapped.
    pub libc: &'static Object,
    /// What it is told of the program, if that is not the truth.
    pub synthetic: Option<&'static Synthetic>,
    /// The stack that the program will start with.
    pub stack: InitialStack,
    /// What to do when libc is up.
    pub then: fn() -> !,
}

/// What has been changed, to be put right by [`continuation`].
struct Changes {
    auxiliary: Vec<(*mut u64, u64)>,
    environment: Vec<*mut c_char>,
    then: fn() -> !,
}

#[unsafe(link_section = ".bss.sealed")]
static CHANGES: AtomicPtr<Changes> = AtomicPtr::new(core::ptr::null_mut());

/// Enters libc; `boot.then` runs when libc is up, on the program's stack.
///
/// # Safety
/// Everything is mapped and relocated, and nothing on the stack below `boot.stack` is needed any more.
pub unsafe fn boot(boot: Boot) -> ! {
    let program = boot.synthetic.map(|synthetic| {
        let headers = synthetic.program_headers().0;
        [(AT_PHDR, headers), (AT_PHNUM, synthetic.program_header_count()), (AT_PHENT, SIZEOF_PHDR as u64)]
    });
    let itself = [(AT_BASE, boot.libc.mapping.pages.start.0), (AT_ENTRY, continuation as *const () as u64)];
    let mut changes = Changes { auxiliary: Vec::new(), environment: Vec::new(), then: boot.then };
    for entry in boot.stack.auxiliary() {
        // SAFETY: the entries are on the initial stack, which is writable and ours alone at this time.
        let entry = unsafe { &mut *entry };
        let mut described = program.iter().flatten().chain(&itself);
        if let Some((_, value)) = described.find(|(key, _)| u64::from(*key) == entry.key) {
            changes.auxiliary.push((&raw mut entry.value, entry.value));
            entry.value = *value;
        }
    }
    for entry in boot.stack.environment(config::PREFIX) {
        if HIDDEN.iter().any(|name| config::value_of(entry, name).is_some()) {
            let first = entry.as_ptr().cast_mut();
            // SAFETY: the strings are on the initial stack, too.
            unsafe { *first = HIDING_BYTE };
            changes.environment.push(first);
        }
    }
    CHANGES.store(Box::into_raw(Box::new(changes)), Ordering::Release);
    // SAFETY: the state is that of an interpreter's entry: rsp at argc, rdx without a function to register.
    unsafe { enter(boot.libc.entry, boot.stack.pointer()) }
}

/// libc jumps here, as to a program's entry.
#[unsafe(naked)]
unsafe extern "C" fn continuation() -> ! {
    naked_asm!("xor ebp, ebp", "and rsp, -16", "call {restore}", "ud2", restore = sym restore)
}

extern "C" fn restore() -> ! {
    // SAFETY: `boot` has stored a box, and libc jumps here once.
    let changes = unsafe { Box::from_raw(CHANGES.swap(core::ptr::null_mut(), Ordering::Acquire)) };
    // SAFETY: the places are those that `boot` has found on the initial stack; no other thread exists.
    unsafe {
        for &(place, value) in &changes.auxiliary {
            *place = value;
        }
        for &first in &changes.environment {
            *first = b'L' as c_char;
        }
    }
    (changes.then)()
}

/// Jumps to the entry of a program or interpreter.
///
/// # Safety
/// `entry` is one, `stack` is an initial stack, and nothing of the loader's own stack is needed any more.
pub unsafe fn enter(entry: Address, stack: *mut u64) -> ! {
    // SAFETY: passed on to the caller. rdx is a function for `atexit` in the psABI: there is none.
    unsafe {
        asm!(
            "mov rsp, rcx",
            "xor edx, edx",
            "xor ebp, ebp",
            "jmp rax",
            in("rcx") stack,
            in("rax") entry.0,
            options(noreturn),
        )
    }
}
