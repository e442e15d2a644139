//! The very first instructions: at the process' entry the loader itself is not relocated yet.

use core::arch::naked_asm;

use goblin::elf64::dynamic::{DT_NULL, DT_RELA, DT_RELASZ, Dyn};
use goblin::elf64::reloc::{R_X86_64_RELATIVE, Rela};

use crate::elf::Address;
use crate::host::OwnFile;

use super::{alone, leave};

/// The loader's ELF entry: passes the initial stack pointer, the address of our own ELF header, and what is in rcx on to Rust:
/// `_dl_debug_state`.
///
/// # Safety
/// Only the kernel calls it, at the start of a process.
#[unsafe(naked)]
pub unsafe extern "C" fn entry() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rsp",
        "lea rsi, [rip + __ehdr_start]",
        "lea rdx, [rip + _DYNAMIC]",
        "and rsp, -16",
        "call {begin}",
        "ud2",
        begin = sym begin,
    )
}

/// Relocates the loader and starts the story.
///
/// # Safety
/// `stack` is the initial stack; `base` and `dynamic` are our own ELF header and dynamic section, `changed` is the function at
/// which debuggers stop.
unsafe extern "C" fn begin(stack: *mut u64, base: u64, dynamic: *const Dyn, changed: extern "C" fn()) -> ! {
    let base = Address(base);
    // Behind the dynamic section stands what the compiler's calls of `memcpy` and its kind go through, on a page that the kernel
    // has written to anyway.
    let calls = dynamic as u64;
    // SAFETY: passed on to the caller; each relocation is applied once.
    unsafe {
        relocate_self(base.0, dynamic, |slot| slot > calls);
        let own = OwnFile::of(base);
        if let Some(program) = alone::find(stack, own) {
            leave::to_fused_libc(stack, own);
            leave::to_libc(stack, own, program, changed);
        }
        relocate_self(base.0, dynamic, |slot| slot < calls);
        super::start(stack, base)
    }
}

/// Applies our own relocations, those of the slots at `wanted` addresses. A static-pie that exports a few functions has
/// `R_X86_64_RELATIVE` ones only.
///
/// Until all are applied, nothing may be used that itself needs relocation: no statics with addresses in them, no panics.
///
/// # Safety
/// `base` is our load bias (we are linked at 0), `dynamic` our dynamic section, and this happens once.
#[inline(always)]
unsafe fn relocate_self(base: u64, dynamic: *const Dyn, wanted: impl Fn(u64) -> bool) {
    // SAFETY: the link editor guarantees the shape of the tables, whose addresses are link-time ones.
    unsafe {
        let (mut table, mut size) = (0, 0);
        let mut entry = dynamic;
        while (*entry).d_tag != DT_NULL {
            match (*entry).d_tag {
                DT_RELA => table = (*entry).d_val,
                DT_RELASZ => size = (*entry).d_val,
                _ => {}
            }
            entry = entry.wrapping_add(1);
        }
        let mut relocation = base.wrapping_add(table) as *const Rela;
        let end = base.wrapping_add(table).wrapping_add(size) as *const Rela;
        while relocation < end {
            if (*relocation).r_info == u64::from(R_X86_64_RELATIVE) {
                let slot = base.wrapping_add((*relocation).r_offset);
                if wanted(slot) {
                    *(slot as *mut u64) = base.wrapping_add((*relocation).r_addend as u64);
                }
            }
            relocation = relocation.wrapping_add(1);
        }
    }
}
