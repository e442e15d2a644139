//! System calls that rustix keeps to itself because they end or redefine the process.

use core::arch::asm;

/// Makes the system call `number` with three arguments.
///
/// # Safety
/// Whatever the call demands of its arguments.
pub(super) unsafe fn system_call(number: u32, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel's x86-64 convention: arguments in rdi, rsi, rdx; rcx and r11 are clobbered.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
