//! From an open file to an object: read the headers, check them, plan, map, and look at what is there.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec;
use alloc::vec::Vec;

use crate::elf::{
    Dynamic, FileHeader, LoadBias, LoadSegment, SegmentFlags, Segments, SymbolTable, Vaddr, View,
};
use crate::error::LoadError;
use crate::layout::Plan;
use crate::program::{Mapping, Object, Origin};
use crate::sys::{self, Errno, File, FileIdentity, Text};

use super::Mapper;

/// Enough for the ELF header and the program headers of nearly every file (musl reads as much).
const HEAD: usize = 960;

/// Bytes of the loader's own memory that an object may cost, relocation and all: far more than one does.
const ROOM_FOR_AN_OBJECT: usize = 64 << 10;

/// Maps the object in `file`, known to users as `name`.
///
/// # Errors
/// Why the file cannot be an object of this process. Nothing of it stays mapped.
#[inline(never)]
pub fn load(
    file: File,
    identity: FileIdentity,
    size: u64,
    name: CString,
    mapper: &mut dyn Mapper,
) -> Result<Box<Object>, LoadError> {
    if !sys::memory_is_available(ROOM_FOR_AN_OBJECT) {
        return Err(Errno::NOMEM.into());
    }
    let mut head = [0; HEAD];
    let read = file.read_at_once(&mut head)?;
    let header = FileHeader::parse(&head[..read])?;
    let table_range = header.program_headers()?;
    let table_size = (table_range.end - table_range.start) as usize;
    let in_head =
        usize::try_from(table_range.start).ok().and_then(|start| head[..read].get(start..start + table_size));
    let segments = match in_head {
        Some(table) => Segments::parse(table)?,
        None => {
            if !sys::memory_is_available(table_size) {
                return Err(Errno::NOMEM.into());
            }
            let mut table = vec![0; table_size];
            if file.read_at(&mut table, table_range.start)? != table_size {
                return Err(Errno::NOEXEC.into());
            }
            Segments::parse(&table)?
        }
    };
    segments.check_file_size(size)?;
    let mut plan = Plan::new(header.object_type, &segments);
    mapper.prepare(&mut plan);
    let start = mapper.map(&plan, &file)?;
    let bias = LoadBias::between(start, plan.span.start);
    let pages = bias.apply_range(&plan.span);
    let program_headers =
        segments.program_headers(&table_range).map(|vaddr| (bias.apply(vaddr), header.phnum));
    let mapping = Mapping { bias, pages, backend: mapper.name(), sealed: false, shared: false, linked_dynamic: None };
    // SAFETY: all segments have just been mapped at `bias` and are never unmapped while the object is known.
    let view = unsafe { view(&segments, bias) };
    let described = describe(&segments, &view);
    let Ok((dynamic_section, dynamic, symbols)) = described else {
        // SAFETY: mapped just now; `view` is the only reference into it and is not used any more.
        unsafe { unmap(&mapping) };
        return Err(described.map(|_| ()).unwrap_err().into());
    };
    if !dynamic.text_relocations {
        mapper.share(&plan, start, file);
    }
    log::debug!("mapped {} at {:?}-{:?}", Text::from(&name), mapping.pages.start, mapping.pages.end);
    Ok(Box::new(Object {
        name,
        origin: Origin::File,
        identity: Some(identity),
        program_headers,
        entry: bias.apply(header.entry),
        mapping,
        segments,
        dynamic_section,
        dynamic,
        view,
        symbols,
        needed_by: None,
        dependencies: Vec::new(),
        tls: None,
    }))
}

/// Reads what the dynamic section points to.
///
/// # Errors
/// What is wrong with it.
#[inline(never)]
pub fn describe(
    segments: &Segments,
    view: &View<'static>,
) -> Result<(Vaddr, Dynamic, SymbolTable<'static>), crate::elf::ElfError> {
    let dynamic_section = segments.dynamic.ok_or(crate::elf::ElfError::NoDynamic)?;
    let dynamic = Dynamic::parse(view, dynamic_section)?;
    dynamic.check_initialisation(view, segments)?;
    let symbols = SymbolTable::parse(view, &dynamic)?;
    Ok((dynamic_section, dynamic, symbols))
}

/// The bytes of mapped segments.
///
/// # Safety
/// The segments are mapped at `bias` and stay so. Slices into writable segments are handed out, too: dynamic
/// sections, and all tables of an object that patchelf has changed, lie there. They must not be written to while they
/// are being read (see `relocate::Slots`).
pub unsafe fn view(segments: &Segments, bias: LoadBias) -> View<'static> {
    let readable = segments.loads.iter().filter(|load| load.flags.contains(SegmentFlags::READ));
    let part = |load: &LoadSegment| {
        // Only writable segments are sure to have memory beyond what the file gives them.
        let writable = load.flags.contains(SegmentFlags::WRITE);
        let size = if writable { load.memsz } else { load.filesz };
        let address = bias.apply(load.vaddr).0 as *const u8;
        // SAFETY: mapped and readable, as the caller says; the file has these bytes (`Segments::parse`).
        (load.vaddr, unsafe { core::slice::from_raw_parts(address, size as usize) })
    };
    // With room for one that is laid over them ([`View::cover`]): memory that a start takes is never given back.
    let mut parts = Vec::with_capacity(segments.loads.len() + 1);
    parts.extend(readable.map(part));
    View::new(parts)
}

/// Takes an object out of memory again.
///
/// # Safety
/// Nothing refers to the object's memory any more.
pub unsafe fn unmap(mapping: &Mapping) {
    // SAFETY: passed on to the caller.
    unsafe { sys::unmap(mapping.pages.start.0, mapping.pages.end.0 - mapping.pages.start.0) };
}
