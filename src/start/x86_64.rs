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
    // SAFETY: passed on to the caller; each relocation is applied once.
    unsafe {
        // Behind the dynamic section stands what the compiler's calls of `memcpy` and its kind go through, on a page that the
        // kernel has written to anyway. The link editor sorts relocations, so that these are the last.
        let is_for_call = |relocation: &Rela| base.0.wrapping_add(relocation.r_offset) > dynamic as u64;
        let mut tables = own_relocations(base, dynamic);
        while let [rest @ .., last] = tables
            && is_for_call(last)
        {
            apply(base, last);
            tables = rest;
        }
        let own = OwnFile::of(base);
        if let Some(program) = alone::find(stack, own) {
            leave::to_fused_libc(stack, own);
            leave::to_libc(stack, own, program, changed);
        }
        for relocation in tables {
            apply(base, relocation);
        }
        super::start(stack, base)
    }
}

/// Our own relocations. Until all are applied, nothing may be used that itself needs relocation: no statics with addresses in
/// them, no panics.
///
/// # Safety
/// `base` is our load bias (we are linked at 0), `dynamic` our dynamic section.
#[inline(always)]
unsafe fn own_relocations(base: Address, dynamic: *const Dyn) -> &'static [Rela] {
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
        let table = base.0.wrapping_add(table) as *const Rela;
        core::slice::from_raw_parts(table, size as usize / size_of::<Rela>())
    }
}

/// Applies one of them. A static-pie that exports a few functions has `R_X86_64_RELATIVE` ones only.
///
/// # Safety
/// As for [`own_relocations`]; the relocation is ours, and has not been applied.
#[inline(always)]
unsafe fn apply(base: Address, relocation: &Rela) {
    if relocation.r_info == u64::from(R_X86_64_RELATIVE) {
        let slot = base.0.wrapping_add(relocation.r_offset) as *mut u64;
        // SAFETY: the slot is ours, and aligned.
        unsafe { *slot = base.0.wrapping_add(relocation.r_addend as u64) };
    }
}
