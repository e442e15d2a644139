//! The code that x86-64 programs call to reach thread-local variables: `__tls_get_addr` and the TLSDESC resolver.

use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::StaticTls;

/// Offsets below the thread pointer by module id.
static OFFSETS: AtomicPtr<u64> = AtomicPtr::new(core::ptr::null_mut());

/// Makes the layout known to [`tls_get_addr`], for ever.
pub fn publish(layout: &'static StaticTls) {
    OFFSETS.store(layout.offsets.as_ptr().cast_mut(), Ordering::Release);
}

/// `__tls_get_addr` (psABI, "ELF Handling For Thread-Local Storage"): rdi points to a module id and an offset within
/// its block. Some compilers call it with a misaligned stack; it uses none.
///
/// # Safety
/// `rdi` points to a pair that relocation has filled in.
#[unsafe(naked)]
pub unsafe extern "C" fn tls_get_addr() {
    naked_asm!(
        "mov rdx, [rip + {offsets}]",
        "mov rcx, [rdi]",
        "mov rax, fs:[0]",
        "sub rax, [rdx + 8*rcx]",
        "add rax, [rdi + 8]",
        "ret",
        offsets = sym OFFSETS,
    )
}

/// The resolver of TLS descriptors for static blocks: rax points to the descriptor, whose second word is the
/// offset from the thread pointer. Must preserve every other register.
///
/// # Safety
/// `rax` points to a descriptor that relocation has filled in.
#[unsafe(naked)]
pub unsafe extern "C" fn tlsdesc_static() {
    naked_asm!("mov rax, [rax + 8]", "ret")
}

/// The thread pointer: it tells threads apart. Zero before there is one.
pub fn thread_pointer() -> u64 {
    let value: u64;
    // SAFETY: once libc is booted, fs:0 holds the thread control block's own address; only called after that.
    unsafe { asm!("mov {}, fs:[0]", out(reg) value, options(nostack, preserves_flags, readonly)) };
    value
}
