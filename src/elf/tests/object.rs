//! From a library in memory to an [`Object`], for the tests of what works on objects: everything that `map::load` does,
//! except that leaked memory takes the place of a mapping.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use super::builder::Library;
use super::drive::Pages;
use crate::elf::{
    Address, Dynamic, ElfError, FileHeader, LoadBias, LoadSegment, Segments, SymbolTable, Vaddr, View,
};
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
    let view = View::new(segments.loads.iter().map(part).collect());
    let dynamic_section = segments.dynamic.ok_or(ElfError::NoDynamic)?;
    let dynamic = Dynamic::parse(&view, dynamic_section)?;
    dynamic.check_initialisation(&view, &segments)?;
    let symbols = SymbolTable::parse(&view, &dynamic)?;
    let bias = LoadBias::between(Address(memory.as_ptr() as u64), Vaddr(0));
    Ok(Box::new(Object {
        name: CString::from(name),
        origin: Origin::File,
        identity: Some(identity),
        mapping: Mapping {
            bias,
            pages: bias.apply_range(&segments.span()),
            backend: "test",
            sealed: false,
            shared: false,
            linked_dynamic: None,
        },
        program_headers: None,
        entry: bias.apply(header.entry),
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
