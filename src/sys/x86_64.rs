//! What takes assembly: the system calls that rustix keeps to itself because they end or redefine the process, the
//! thread pointer, and a hint to the processor.

use core::arch::asm;
use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Asks for the cache line of `place`, which will be read soon. A hint, without any other effect.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    // SAFETY: a prefetch neither reads nor faults; SSE belongs to every x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(place).cast()) };
}

/// Makes the system call `number` with three arguments.
///
/// # Safety
/// Whatever the call demands of its arguments.
pub(super) unsafe fn system_call(number: u32, a: usize, b: usize, c: usize) -> isize {
    // SAFETY: passed on to the caller; the kernel ignores arguments that a call does not have.
    unsafe { system_call4(number, a, b, c, 0) }
}

/// Makes the system call `number` with four arguments.
///
/// # Safety
/// Whatever the call demands of its arguments.
pub(super) unsafe fn system_call4(number: u32, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel's x86-64 convention: arguments in rdi, rsi, rdx, r10; rcx and r11 are clobbered.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The thread pointer: it tells threads apart.
pub fn thread_pointer() -> u64 {
    let value: u64;
    // SAFETY: once libc is booted, fs:0 holds the thread control block's own address; only called after that.
    unsafe { asm!("mov {}, fs:[0]", out(reg) value, options(nostack, preserves_flags, readonly)) };
    value
}
