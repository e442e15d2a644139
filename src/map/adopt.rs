//! Describing what the kernel has mapped: the program that it started us for, the vDSO, and this loader.

use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::CStr;

use crate::elf::{Address, Anatomy, Dynamic, ElfError, FileHeader, LoadBias, Segments, Vaddr};
use crate::program::{Mapping, Object, Origin};
use crate::sys;

use super::load;

/// The `count` program headers at `table`.
///
/// # Safety
/// They are there, and stay.
unsafe fn header_table((table, count): (Address, u16)) -> &'static [u8] {
    let size = usize::from(count) * goblin::elf64::program_header::SIZEOF_PHDR;
    // SAFETY: the caller says so.
    unsafe { core::slice::from_raw_parts(table.0 as *const u8, size) }
}

/// Describes an object that is mapped with `bias`; its program headers are `headers`.
///
/// # Safety
/// It is, and it stays there.
#[inline(never)]
unsafe fn adopt(
    origin: Origin,
    name: &CStr,
    headers: (Address, u16),
    entry: Address,
    segments: Segments,
    bias: LoadBias,
) -> Result<Box<Object>, ElfError> {
    let pages = bias.apply_range(&segments.span());
    // SAFETY: passed on to the caller.
    let view = unsafe { load::view(&segments, bias) };
    let mapping = Mapping { bias, pages, backend: "kernel", sealed: false, shared: false };
    let mut object = Object::read(CString::from(name).into(), origin, mapping, segments, view)?;
    object.program_headers = Some(headers);
    object.entry = entry;
    Ok(object)
}

/// The program that the kernel started; `size` is that of the file at its path, if there is one. Its bias comes from `PT_PHDR`, or else (where musl would assume 0) from the
/// segment that holds the program headers.
///
/// # Errors
/// What is wrong with it; the kernel checks only what it needs itself.
///
/// # Safety
/// `headers` are `AT_PHDR` and `AT_PHNUM`, `entry` is `AT_ENTRY` of a process whose interpreter we are.
pub unsafe fn program(
    name: &CStr,
    size: Option<u64>,
    headers: (Address, u16),
    entry: Address,
) -> Result<Box<Object>, ElfError> {
    let mut segments = Segments::default();
    // SAFETY: passed on to the caller.
    let bias = unsafe { read_program_headers(&mut segments, headers) }?;
    check_file(size, &segments)?;
    // SAFETY: the kernel has mapped what the program headers say, for the life of the process.
    unsafe { adopt(Origin::Kernel, name, headers, entry, segments, bias) }
}

/// Reads the segments of the program that the kernel started. Returns their bias.
///
/// # Safety
/// As for [`program`].
unsafe fn read_program_headers(
    segments: &mut Segments,
    headers: (Address, u16),
) -> Result<LoadBias, ElfError> {
    // SAFETY: passed on to the caller.
    segments.read(unsafe { header_table(headers) })?;
    let after_header = FileHeader::SIZE as u64..FileHeader::SIZE as u64 + 1;
    let linked = segments.phdr.or_else(|| segments.program_headers(&after_header));
    Ok(linked.map_or(LoadBias(0), |vaddr| LoadBias::between(headers.0, vaddr)))
}

/// Reads what the program that the kernel started consists of, unless that takes memory or makes no sense. Returns its bias. The
/// file is not asked for.
///
/// # Safety
/// As for [`program`].
pub unsafe fn read_small_program(
    anatomy: &mut Anatomy<'static>,
    headers: (Address, u16),
) -> Option<LoadBias> {
    // SAFETY: passed on to the caller.
    let bias = unsafe {
        let table = header_table(headers);
        Segments::are_few(table).then(|| read_program_headers(&mut anatomy.segments, headers))?.ok()?
    };
    // SAFETY: the kernel has mapped what the program headers say, for the life of the process.
    anatomy.view.add(unsafe { load::parts(&anatomy.segments, bias) });
    let is_small = Dynamic::names_few(&anatomy.view, anatomy.segments.dynamic?);
    (is_small && anatomy.read_tables().is_ok()).then_some(bias)
}

/// The kernel does not mind if a program's file is shorter than its segments, but touching what is missing would be fatal.
/// The program's path may lead elsewhere by now, but asking `/proc` costs several times as much: that is the second opinion.
fn check_file(size: Option<u64>, segments: &Segments) -> Result<(), ElfError> {
    let check = |size: Option<u64>| size.map_or(Ok(()), |size| segments.check_file_size(size));
    let own = || sys::file_status(c"/proc/self/exe").ok().map(|status| status.stamp.size);
    check(size).or_else(|_| check(own()))
}

/// An object that is mapped as one piece with its ELF header at `start`: this loader, or the vDSO (`AT_SYSINFO_EHDR`).
///
/// # Errors
/// What is wrong with it.
///
/// # Safety
/// Such an object is at `start`, and stays there.
pub unsafe fn whole(origin: Origin, name: &CStr, start: Address) -> Result<Box<Object>, ElfError> {
    // SAFETY: passed on to the caller.
    unsafe {
        let (headers, segments, bias) = described_at(start)?;
        adopt(origin, name, headers, Address(0), segments, bias)
    }
}

/// The libc that is fused with this loader: what is mapped of the file at `start` before the loader's `limit`.
///
/// # Errors
/// What is wrong with it.
///
/// # Safety
/// Such a file is at `start`, and stays there.
pub unsafe fn fused_libc(name: &CStr, start: Address, limit: Address) -> Result<Box<Object>, ElfError> {
    // SAFETY: passed on to the caller.
    unsafe {
        let (headers, mut segments, bias) = described_at(start)?;
        segments.loads.retain(|load| bias.apply(load.range().end) <= limit);
        adopt(Origin::Libc, name, headers, Address(0), segments, bias)
    }
}

/// Program headers, what they say, and the bias of an object that is mapped with its ELF header at `start`.
///
/// # Safety
/// There is one.
unsafe fn described_at(start: Address) -> Result<((Address, u16), Segments, LoadBias), ElfError> {
    // SAFETY: the caller says that there is at least a header.
    let bytes = unsafe { core::slice::from_raw_parts(start.0 as *const u8, FileHeader::SIZE) };
    let header = FileHeader::parse(bytes)?;
    let table = Address(start.0.wrapping_add(header.phoff));
    // SAFETY: the program headers belong to the object.
    let segments = Segments::parse(unsafe { header_table((table, header.phnum)) })?;
    let first = segments.loads.first();
    let linked = first.map_or(Vaddr(0), |load| Vaddr(load.vaddr.0.wrapping_sub(load.offset)));
    Ok(((table, header.phnum), segments, LoadBias::between(start, linked)))
}
