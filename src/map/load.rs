//! From an open file to an object: read the headers, check them, plan, map, and look at what is there.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec;
use core::mem::MaybeUninit;
use core::ops::Range;

use crate::elf::{Address, Anatomy, FileHeader, LoadBias, LoadSegment, SegmentFlags, Segments, Vaddr, View};
use crate::error::LoadError;
use crate::layout::Plan;
use crate::program::{Mapping, Object, Origin};
use crate::sys::{self, Errno, File, FileIdentity, Text};

use super::Mapper;

/// Enough for the ELF header and the program headers of nearly every file (musl reads as much).
pub const HEAD: usize = 960;

/// Bytes of the loader's own memory that an object may cost, relocation and all: far more than one does.
const ROOM_FOR_AN_OBJECT: usize = 64 << 10;

/// What the headers of a file say.
struct Described {
    header: FileHeader,
    /// Where in the file the program headers are.
    table: Range<u64>,
    segments: Segments,
}

/// Maps the object in `file`, known to users as `name`.
///
/// # Errors
/// Why the file cannot be an object of this process. Nothing of it stays mapped.
pub fn load<M: Mapper + ?Sized>(
    file: File,
    identity: FileIdentity,
    size: u64,
    name: CString,
    origin: Origin,
    mapper: &mut M,
) -> Result<Box<Object>, LoadError> {
    let described = describe(&file, size)?;
    let mut plan = Plan::new(described.header.object_type, &described.segments);
    mapper.prepare(&mut plan, &file);
    let as_libc = match origin {
        Origin::Libc => mapper.map_libc(&plan, &described.segments, &file),
        _ => None,
    };
    let start = match as_libc {
        Some(start) => start,
        None => mapper.map(&plan, &file)?,
    };
    let object = examine(described, &plan.span, start, mapper.name(), identity, name, origin)?;
    if object.dynamic.text_relocations {
        mapper.keep_private(&plan, start, &file);
    } else {
        mapper.share(&plan, start, file);
    }
    Ok(object)
}

/// Reads the headers.
#[inline(never)]
fn describe(file: &File, size: u64) -> Result<Described, LoadError> {
    if !sys::memory_is_available(ROOM_FOR_AN_OBJECT) {
        return Err(Errno::NOMEM.into());
    }
    let mut head = [MaybeUninit::uninit(); HEAD];
    let head = file.read_at_once(&mut head)?;
    let header = FileHeader::parse(head)?;
    let table = header.program_headers()?;
    let table_size = (table.end - table.start) as usize;
    let in_head = usize::try_from(table.start).ok().and_then(|start| head.get(start..start + table_size));
    let segments = match in_head {
        Some(bytes) => Segments::parse(bytes)?,
        None => {
            if !sys::memory_is_available(table_size) {
                return Err(Errno::NOMEM.into());
            }
            let mut bytes = vec![0; table_size];
            if file.read_at(&mut bytes, table.start)? != table_size {
                return Err(Errno::NOEXEC.into());
            }
            Segments::parse(&bytes)?
        }
    };
    segments.check_file_size(size)?;
    Ok(Described { header, table, segments })
}

/// Reads what has just been mapped at `start`; if it makes no sense, it is unmapped again.
#[inline(never)]
fn examine(
    described: Described,
    span: &Range<Vaddr>,
    start: Address,
    backend: &'static str,
    identity: FileIdentity,
    name: CString,
    origin: Origin,
) -> Result<Box<Object>, LoadError> {
    let Described { header, table, segments } = described;
    let bias = LoadBias::between(start, span.start);
    let pages = bias.apply_range(span);
    let program_headers = segments.program_headers(&table).map(|vaddr| (bias.apply(vaddr), header.phnum));
    let mapping = Mapping { bias, pages, backend, sealed: false, shared: false };
    // SAFETY: all segments have just been mapped at `bias` and are never unmapped while the object is known.
    let view = unsafe { view(&segments, bias) };
    let mut anatomy = Box::new(Anatomy::unread());
    (anatomy.segments, anatomy.view) = (segments, view);
    if let Err(error) = anatomy.read_tables() {
        // SAFETY: mapped just now; the view is the only reference into it, and not used any more.
        unsafe { unmap(&mapping) };
        return Err(error.into());
    }
    let mut object = Object::new(name.into(), origin, mapping, anatomy);
    let pages = &object.mapping.pages;
    log::debug!("mapped {} at {:?}-{:?}", Text::from(&object.name), pages.start, pages.end);
    object.identity = Some(identity);
    object.program_headers = program_headers;
    object.entry = bias.apply(header.entry);
    Ok(object)
}

/// The bytes of mapped segments.
///
/// # Safety
/// The segments are mapped at `bias` and stay so. Slices into writable segments are handed out, too: dynamic
/// sections, and all tables of an object that patchelf has changed, lie there. They must not be written to while they
/// are being read (see `relocate::Slots`).
pub unsafe fn view(segments: &Segments, bias: LoadBias) -> View<'static> {
    // SAFETY: passed on to the caller.
    View::new(unsafe { parts(segments, bias) })
}

/// What such a view consists of.
///
/// # Safety
/// As for [`view`].
pub unsafe fn parts(
    segments: &Segments,
    bias: LoadBias,
) -> impl Iterator<Item = (Vaddr, &'static [u8])> + '_ {
    let readable = segments.loads.iter().filter(|load| load.flags.contains(SegmentFlags::READ));
    let part = move |load: &LoadSegment| {
        // Only writable segments are sure to have memory beyond what the file gives them.
        let writable = load.flags.contains(SegmentFlags::WRITE);
        let size = if writable { load.memsz } else { load.filesz };
        let address = bias.apply(load.vaddr).0 as *const u8;
        // SAFETY: mapped and readable, as the caller says; the file has these bytes (`Segments::parse`).
        (load.vaddr, unsafe { core::slice::from_raw_parts(address, size as usize) })
    };
    readable.map(part)
}

/// Takes an object out of memory again.
///
/// # Safety
/// Nothing refers to the object's memory any more.
pub unsafe fn unmap(mapping: &Mapping) {
    // SAFETY: passed on to the caller.
    unsafe { sys::unmap(mapping.pages.start.0, mapping.pages.end.0 - mapping.pages.start.0) };
}
