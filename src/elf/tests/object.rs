//! From a library in memory to an [`Object`], for the tests of what works on objects: everything that `map::load` does,
//! except that leaked memory takes the place of a mapping.

use alloc::boxed::Box;
use alloc::ffi::CString;
use core::ffi::CStr;

use super::builder::Library;
use super::drive::Pages;
use crate::elf::{Address, ElfError, FileHeader, LoadBias, LoadSegment, Segments, Vaddr, View};
use crate::program::{Mapping, Object, Origin};
use crate::sys::FileIdentity;

/// An object that has been loaded from a library.
///
/// # Errors
/// What the loader would say about it.
pub fn load(library: &Library, name: &CStr, identity: FileIdentity) -> Result<Box<Object>, ElfError> {
    let built = library.build();
    let header = FileHeader::parse(&built.bytes)?;
    let headers = header.program_headers()?;
    let table = &built.bytes[headers.start as usize..headers.end as usize];
    let segments = Segments::parse(table)?;
    segments.check_file_size(built.bytes.len() as u64)?;
    let memory: &'static Pages = Box::leak(Box::new(Pages::new(&built.bytes, built.memory_size as usize)));
    let memory = memory.bytes();
    let part = |load: &LoadSegment| {
        (load.vaddr, &memory[load.vaddr.0 as usize..(load.vaddr.0 + load.memsz) as usize])
    };
    let view = View::new(segments.loads.iter().map(part));
    let bias = LoadBias::between(Address(memory.as_ptr() as u64), Vaddr(0));
    let pages = bias.apply_range(&segments.span());
    let mapping = Mapping { bias, pages, backend: "test", sealed: false, shared: false };
    let mut object = Object::read(CString::from(name).into(), Origin::File, mapping, segments, view)?;
    object.identity = Some(identity);
    object.entry = bias.apply(header.entry);
    Ok(object)
}
