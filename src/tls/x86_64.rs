//! The code that x86-64 programs call to reach thread-local variables: `__tls_get_addr` and the TLSDESC resolvers.

use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::{StaticTls, dynamic};

/// Offsets below the thread pointer by module id.
#[unsafe(link_section = ".sealed")]
static OFFSETS: AtomicPtr<u64> = AtomicPtr::new(core::ptr::null_mut());
/// The highest module id with an offset.
#[unsafe(link_section = ".sealed")]
static LAST_STATIC: AtomicU64 = AtomicU64::new(0);

/// Makes the layout known to the code below, for ever.
pub fn publish(layout: &'static StaticTls) {
    OFFSETS.store(layout.offsets.as_ptr().cast_mut(), Ordering::Release);
    LAST_STATIC.store(layout.offsets.len() as u64 - 1, Ordering::Release);
    dynamic::publish(layout);
}

/// Turns the thread pointer in rax into the address of the block that the calling thread has of the module in rcx; goes to the
/// next `3:` if it has none yet.
macro_rules! find_block {
    () => {
        "sub rax, [rip + {slot_distance}]
        mov rax, [rax]
        test rax, rax
        jz 3f
        cmp rcx, [rax + {capacity}]
        jae 3f
        mov rax, [rax + {blocks}]
        mov rax, [rax + 8*rcx]
        test rax, rax
        jz 3f"
    };
}

/// `__tls_get_addr` (psABI, "ELF Handling For Thread-Local Storage"): rdi points to a module id and an offset within
/// its block. Some compilers call it with a misaligned stack.
///
/// # Safety
/// `rdi` points to a pair that relocation has filled in.
#[unsafe(naked)]
pub unsafe extern "C" fn tls_get_addr() {
    naked_asm!(
        "mov rcx, [rdi]",
        "mov rax, fs:[0]",
        "cmp rcx, [rip + {last_static}]",
        "ja 2f",
        "mov rdx, [rip + {offsets}]",
        "sub rax, [rdx + 8*rcx]",
        "add rax, [rdi + 8]",
        "ret",
        // A module that was loaded later: the calling thread may have its block already.
        "2:",
        find_block!(),
        "add rax, [rdi + 8]",
        "ret",
        "3:",
        "push rbp",
        "mov rbp, rsp",
        "and rsp, -16",
        "call {address_of}",
        "leave",
        "ret",
        last_static = sym LAST_STATIC,
        offsets = sym OFFSETS,
        slot_distance = sym dynamic::SLOT_DISTANCE,
        capacity = const offset_of!(dynamic::Thread, capacity),
        blocks = const offset_of!(dynamic::Thread, blocks),
        address_of = sym dynamic::address_of,
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

/// The resolver of TLS descriptors for blocks made on first use: the descriptor's second word points to a
/// [`dynamic::TlsIndex`]. Must preserve every other register. What it calls is compiled for SSE2, which leaves the upper
/// parts of wider registers alone, so that `fxsave` saves enough.
///
/// # Safety
/// `rax` points to a descriptor that relocation has filled in.
#[unsafe(naked)]
pub unsafe extern "C" fn tlsdesc_dynamic() {
    naked_asm!(
        "push rdi",
        "push rcx",
        "mov rdi, [rax + 8]",
        "mov rcx, [rdi]",
        "mov rax, fs:[0]",
        find_block!(),
        "add rax, [rdi + 8]",
        "2:",
        "sub rax, fs:[0]",
        "pop rcx",
        "pop rdi",
        "ret",
        "3:",
        "push rbp",
        "mov rbp, rsp",
        "push rdx",
        "push rsi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "sub rsp, 512",
        "and rsp, -16",
        "fxsave64 [rsp]",
        "call {address_of}",
        "fxrstor64 [rsp]",
        "mov rdx, [rbp - 8]",
        "mov rsi, [rbp - 16]",
        "mov r8, [rbp - 24]",
        "mov r9, [rbp - 32]",
        "mov r10, [rbp - 40]",
        "mov r11, [rbp - 48]",
        "leave",
        "jmp 2b",
        slot_distance = sym dynamic::SLOT_DISTANCE,
        capacity = const offset_of!(dynamic::Thread, capacity),
        blocks = const offset_of!(dynamic::Thread, blocks),
        address_of = sym dynamic::address_of,
    )
}
