//! The very first instructions: at the process' entry the loader itself is not relocated yet, and has no memory of its own.

use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;

use goblin::elf64::dynamic::{DT_NULL, DT_RELA, DT_RELASZ, Dyn};
use goblin::elf64::reloc::{R_X86_64_RELATIVE, Rela};

use crate::elf::{Address, page_up};
use crate::host::OwnFile;
use crate::sys::{self, Errno, MemoryFlags, bare};

use super::{alone, leave};

/// At most so many bytes of whole pages hold data that are not zero at first (`loader.ld`).
const MOST_INITIALISED: usize = 8192;

/// The loader's own parts; the order is that in which [`entry`] puts them on the stack.
#[repr(C)]
struct Parts {
    /// Its ELF header.
    base: Address,
    /// Its dynamic section.
    dynamic: *const Dyn,
    /// `_dl_debug_state`, where debuggers stop.
    changed: extern "C" fn(),
    /// Where its data begin, on a page of their own.
    data: Address,
    /// Where those end that are not zero at first.
    initialised_end: Address,
    /// Where they all end, with a page.
    data_end: Address,
}

/// The loader's ELF entry. It finds the last four of its `Parts` in rcx, r8, r9 and r10, and passes them on to Rust with the
/// initial stack pointer. Below that, it leaves room for what [`InitialStack::lowered`](super::InitialStack::lowered) puts there.
///
/// # Safety
/// Only the kernel calls it, at the start of a process.
#[unsafe(naked)]
pub unsafe extern "C" fn entry() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rsp",
        "sub rsp, {room}",
        "and rsp, -16",
        "push r10",
        "push r9",
        "push r8",
        "push rcx",
        "lea rax, [rip + _DYNAMIC]",
        "push rax",
        "lea rax, [rip + __ehdr_start]",
        "push rax",
        "mov rsi, rsp",
        "call {begin}",
        "ud2",
        room = const super::stack::ROOM,
        begin = sym begin,
    )
}

/// Begins the story: the program is left to libc, if that is possible. That takes nothing that the loader would have to write to.
///
/// # Safety
/// `stack` is the initial stack, `parts` are our own.
unsafe extern "C" fn begin(stack: *mut u64, parts: &Parts) -> ! {
    // SAFETY: passed on to the caller.
    unsafe {
        let own = OwnFile::of(parts.base);
        if let Some(program) = alone::find(stack, own) {
            leave::to_fused_libc(stack, own);
            leave::to_libc(stack, own, &program, parts.changed);
        }
        tell(stack, parts)
    }
}

/// Makes the loader fit for the rest of the story, and tells it.
///
/// # Safety
/// As for [`begin`].
#[cold]
#[inline(never)]
unsafe fn tell(stack: *mut u64, parts: &Parts) -> ! {
    // SAFETY: passed on to the caller; nothing has been written to so far, and each relocation is applied once.
    unsafe {
        provide_data(parts);
        for relocation in own_relocations(parts.base, parts.dynamic) {
            apply(parts.base, relocation);
        }
        // Those by which the data were provided.
        sys::count_calls(2);
        super::start(stack, parts.base, parts.data)
    }
}

/// Makes the loader's data memory of its own. In the file, they are part of what nobody may write to.
///
/// # Safety
/// As for [`begin`]; nothing of the data is in use.
#[inline(never)]
unsafe fn provide_data(parts: &Parts) {
    let Parts { data, initialised_end, data_end, .. } = *parts;
    let zeros = Address(page_up(initialised_end.0));
    let access = MemoryFlags::READ | MemoryFlags::WRITE;
    // SAFETY: the pages are our own; what is replaced is zero (`xtask`, `elfcheck`), or was copied before.
    let provided = unsafe {
        let initialised =
            bare::protect(data.0, zeros.0 - data.0, access).or_else(|_| replace_data(data, zeros));
        initialised.and_then(|()| bare::map_zeros_over(zeros.0, data_end.0 - zeros.0))
    };
    if provided.is_err() {
        bare::complain(b"ld-morsel: no memory for the loader's own data\n");
        sys::exit(super::EXIT_CANNOT_LOAD);
    }
}

/// Puts other memory in the place of initialised data, where the system does not let what may be executed be written to ever after.
///
/// # Safety
/// As for [`provide_data`].
#[cold]
#[inline(never)]
unsafe fn replace_data(data: Address, end: Address) -> Result<(), Errno> {
    let mut kept = [MaybeUninit::<u64>::uninit(); MOST_INITIALISED / size_of::<u64>()];
    let (data_words, kept_words) = (data.0 as *mut u64, kept.as_mut_ptr().cast());
    let size = end.0 - data.0;
    let count = size as usize / size_of::<u64>();
    if count > kept.len() {
        return Err(Errno::NOMEM);
    }
    // SAFETY: the pages are our own, and the copy has room for them.
    unsafe {
        copy_words(data_words, kept_words, count);
        bare::map_zeros_over(data.0, size)?;
        copy_words(kept_words, data_words, count);
    }
    Ok(())
}

/// Copies words from the first to the last. They may overlap if the destination is the lower.
///
/// # Safety
/// The words are there, and may be read and written to, respectively.
pub(super) unsafe fn copy_words(from: *const u64, to: *mut u64, count: usize) {
    // The compiler would call `memcpy` by way of a table that has to be relocated first.
    // SAFETY: passed on to the caller; the direction flag is clear in Rust code.
    unsafe {
        asm!(
            "rep movsq",
            inout("rcx") count => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Our own relocations. Until all are applied, nothing may be used that itself needs relocation: no statics with addresses in
/// them; who panics dies without a message.
///
/// # Safety
/// `base` is our load bias (we are linked at 0), `dynamic` our dynamic section.
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
unsafe fn apply(base: Address, relocation: &Rela) {
    if relocation.r_info == u64::from(R_X86_64_RELATIVE) {
        let slot = base.0.wrapping_add(relocation.r_offset) as *mut u64;
        // SAFETY: the slot is ours, and aligned.
        unsafe { *slot = base.0.wrapping_add(relocation.r_addend as u64) };
    }
}
