//! Describing what the kernel has mapped: the program that it started us for, the vDSO, and this loader.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use crate::elf::{Address, ElfError, FileHeader, LoadBias, Segments, Vaddr};
use crate::program::{Mapping, Object, Origin, SearchPath};

use super::load;

/// Describes the object whose program headers are at `table`. `file_size` is that of its file, if known.
///
/// # Errors
/// What is wrong with it; the kernel checks only what it needs itself.
///
/// # Safety
/// `count` program headers are at `table`, and `bias_of` gives the bias at which the kernel has mapped what they say.
#[inline(never)]
unsafe fn adopt(
    origin: Origin,
    name: &CStr,
    table: Address,
    count: u16,
    entry: Address,
    file_size: Option<u64>,
    bias_of: impl FnOnce(&Segments) -> LoadBias,
) -> Result<Box<Object>, ElfError> {
    let size = usize::from(count) * goblin::elf64::program_header::SIZEOF_PHDR;
    // SAFETY: the caller says so.
    let bytes = unsafe { core::slice::from_raw_parts(table.0 as *const u8, size) };
    let segments = Segments::parse(bytes, file_size)?;
    let bias = bias_of(&segments);
    let pages = bias.apply_range(&segments.span());
    // SAFETY: the kernel has mapped the segments for the life of the process.
    let view = unsafe { load::view(&segments, bias) };
    let (dynamic_section, dynamic, symbols) = load::describe(&segments, &view)?;
    Ok(Box::new(Object {
        name: CString::from(name),
        short_name: None,
        origin,
        identity: None,
        mapping: Mapping { bias, pages, backend: "kernel" },
        program_headers: Some((table, count)),
        entry,
        segments,
        dynamic_section,
        dynamic,
        view,
        symbols,
        needed_by: None,
        dependencies: Vec::new(),
        search_path: SearchPath::Unread,
        tls: None,
    }))
}

/// The program that the kernel started. Its bias comes from `PT_PHDR`, or else (where musl would assume 0) from the
/// segment that holds the program headers. The kernel does not mind if the file is shorter than its segments, and touching
/// what is missing would be fatal: hence `file_size`.
///
/// # Errors
/// What is wrong with it.
///
/// # Safety
/// The arguments are `AT_PHDR`, `AT_PHNUM` and `AT_ENTRY` of a process whose interpreter we are.
pub unsafe fn program(
    name: &CStr,
    table: Address,
    count: u16,
    entry: Address,
    file_size: Option<u64>,
) -> Result<Box<Object>, ElfError> {
    let bias = |segments: &Segments| {
        let after_header = FileHeader::SIZE as u64..FileHeader::SIZE as u64 + 1;
        let vaddr = segments.phdr.or_else(|| segments.program_headers(&after_header));
        vaddr.map_or(LoadBias(0), |vaddr| LoadBias::between(table, vaddr))
    };
    // SAFETY: passed on to the caller.
    unsafe { adopt(Origin::Kernel, name, table, count, entry, file_size, bias) }
}

/// An object that is mapped as one piece with its ELF header at `start`: this loader, or the vDSO (`AT_SYSINFO_EHDR`).
///
/// # Errors
/// What is wrong with it.
///
/// # Safety
/// Such an object is at `start`, and stays there.
pub unsafe fn whole(origin: Origin, name: &CStr, start: Address) -> Result<Box<Object>, ElfError> {
    // SAFETY: the caller says that there is at least a header.
    let bytes = unsafe { core::slice::from_raw_parts(start.0 as *const u8, FileHeader::SIZE) };
    let header = FileHeader::parse(bytes)?;
    let table = Address(start.0.wrapping_add(header.phoff));
    let bias = |segments: &Segments| {
        let first = segments.loads.first();
        LoadBias::between(start, first.map_or(Vaddr(0), |load| Vaddr(load.vaddr.0.wrapping_sub(load.offset))))
    };
    // SAFETY: passed on to the caller.
    unsafe { adopt(origin, name, table, header.phnum, Address(0), None, bias) }
}
