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
/// What their first byte becomes meanwhile.
const HIDING_BYTE: c_char = 1;

/// Values in the auxiliary vector that are not the truth.
#[derive(Clone, Copy, Debug)]
pub struct Told<const N: usize>([(u32, u64); N]);

impl<const N: usize> Told<N> {
    /// These values of these keys (`AT_*`).
    pub fn new(entries: [(u32, u64); N]) -> Self {
        Self(entries)
    }

    /// Exchanges them with what is in the vector: to do it again puts everything right.
    ///
    /// # Safety
    /// `stack` is writable, and nobody else uses it at this time.
    pub unsafe fn exchange(&mut self, stack: &InitialStack) {
        for (key, value) in &mut self.0 {
            if let Some(entry) = stack.auxiliary_entry(*key) {
                // SAFETY: the entry is on the stack.
                unsafe { core::mem::swap(&mut (*entry).value, value) };
            }
        }
    }
}

/// A start of libc.
pub struct Boot {
    /// libc, mapped.
    pub libc: &'static Object,
    /// What it is told of the program.
    pub synthetic: &'static Synthetic,
    /// The stack that the program will start with.
    pub stack: InitialStack,
    /// What to do when libc is up.
    pub then: fn() -> !,
}

/// What has been changed, to be put right by [`continuation`].
struct Changes {
    told: Told<5>,
    stack: InitialStack,
    hidden: Vec<*mut c_char>,
    then: fn() -> !,
}

#[unsafe(link_section = ".sealed")]
static CHANGES: AtomicPtr<Changes> = AtomicPtr::new(core::ptr::null_mut());

/// Enters libc; `boot.then` runs when libc is up, on the program's stack.
///
/// # Safety
/// Everything is mapped and relocated, and nothing on the stack below `boot.stack` is needed any more.
pub unsafe fn boot(boot: Boot) -> ! {
    let Boot { libc, synthetic, stack, then } = boot;
    let mut told = Told::new([
        (AT_PHDR, synthetic.program_headers().0),
        (AT_PHNUM, synthetic.program_header_count()),
        (AT_PHENT, SIZEOF_PHDR as u64),
        (AT_BASE, libc.mapping.pages.start.0),
        (AT_ENTRY, continuation as *const () as u64),
    ]);
    let loaders = stack.environment(config::PREFIX);
    let hidden = loaders.filter(|entry| HIDDEN.iter().any(|name| config::value_of(entry, name).is_some()));
    let hidden: Vec<*mut c_char> = hidden.map(|entry| entry.as_ptr().cast_mut()).collect();
    // SAFETY: the initial stack, with the strings, is ours alone at this time.
    unsafe {
        told.exchange(&stack);
        hidden.iter().for_each(|&first| *first = HIDING_BYTE);
    }
    CHANGES.store(Box::into_raw(Box::new(Changes { told, stack, hidden, then })), Ordering::Release);
    // SAFETY: the state is that of an interpreter's entry: rsp at argc, rdx without a function to register.
    unsafe { enter(libc.entry, stack.pointer()) }
}

/// libc jumps here, as to a program's entry.
#[unsafe(naked)]
unsafe extern "C" fn continuation() -> ! {
    naked_asm!("xor ebp, ebp", "and rsp, -16", "call {restore}", "ud2", restore = sym restore)
}

extern "C" fn restore() -> ! {
    // SAFETY: `boot` has stored a box, and libc jumps here once.
    let mut changes = unsafe { Box::from_raw(CHANGES.swap(core::ptr::null_mut(), Ordering::Acquire)) };
    // SAFETY: the strings are on the initial stack, and no other thread exists.
    unsafe {
        changes.told.exchange(&changes.stack);
        changes.hidden.iter().for_each(|&first| *first = b'L' as c_char);
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
