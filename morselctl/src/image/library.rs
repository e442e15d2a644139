//! A library as it will be in an image: its pages, in units whose distances are frozen, and its place.

use std::ffi::CString;
use std::ops::Range;

use goblin::elf64::program_header::ProgramHeader;
use ld_morsel::elf::{
    Address, ElfError, FileHeader, LoadBias, LoadSegment, SegmentFlags, Segments, Vaddr, View,
};
use ld_morsel::layout::{PageClass, Placement, Plan};
use ld_morsel::program::{Mapping, Object, Origin};
use ld_morsel::sys::FileIdentity;
use morselctl::separate::FAR;

use super::symbols::Names;

/// A library's file, before anything is made of it.
pub struct InputFile {
    /// The path by which it was found.
    pub name: CString,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Its number among the libraries.
    pub library: usize,
    /// It is libc, which relocates itself.
    pub is_libc: bool,
    /// If something else has been put in its place, by how much its code has moved.
    changed: Option<u64>,
}

impl InputFile {
    /// A file that nobody has changed.
    pub fn new(name: CString, bytes: Vec<u8>, library: usize) -> Self {
        Self { name, bytes, library, is_libc: false, changed: None }
    }

    /// Puts something else in its place, in which code is so many bytes farther.
    pub fn replace(&mut self, bytes: Vec<u8>, code_shift: u64) {
        self.bytes = bytes;
        self.changed = Some(code_shift);
    }

    /// If something else is in its place, how much farther code is.
    pub fn changed(&self) -> Option<u64> {
        self.changed
    }
}

/// Pages that follow each other.
pub struct Unit {
    /// Which, at link-time addresses.
    pub pages: Range<Vaddr>,
    /// What a loader would map there, before relocation.
    pub bytes: &'static [u8],
}

/// See the module.
pub struct Library {
    /// The path by which it was found first.
    pub name: CString,
    /// Its file, if it is one of its own.
    pub identity: Option<FileIdentity>,
    /// Its layout.
    pub plan: Plan,
    /// The program header table.
    pub header_table: Vec<u8>,
    /// Its pages, ascending.
    pub units: Vec<Unit>,
    /// Where its link-time address 0 is, counted from the image's base.
    pub place: u64,
    /// If a pass has moved its parts apart, where its file has the dynamic section.
    pub linked_dynamic: Option<Vaddr>,
    /// By how much its code has moved then.
    pub code_shift: u64,
    /// What tools shall call what is in it.
    pub names: Names,
}

impl Library {
    /// Where pages of it are, counted from the image's base.
    pub fn placed(&self, pages: &Range<Vaddr>) -> Range<u64> {
        pages.start.0.wrapping_add(self.place)..pages.end.0.wrapping_add(self.place)
    }

    /// What its place must be a multiple of.
    pub fn align(&self) -> u64 {
        match self.plan.placement {
            Placement::Aligned { to, .. } => to,
            Placement::Preferred | Placement::Exact => ld_morsel::elf::PAGE_SIZE,
        }
    }

    /// Whether both come from the same file, unchanged.
    pub fn is_same(&self, other: &Self) -> bool {
        let content = |library: &Self| library.units.iter().map(|unit| unit.bytes).collect::<Vec<_>>();
        self.identity == other.identity
            && self.plan == other.plan
            && self.header_table == other.header_table
            && content(self) == content(other)
    }
}

/// An object as the loader would describe it; `place` says where it will be.
///
/// # Errors
/// The loader would refuse it.
pub fn read_object(
    bytes: &[u8],
    name: CString,
    origin: Origin,
    identity: Option<FileIdentity>,
    place: impl FnOnce(&Plan) -> LoadBias,
) -> Result<(Box<Object>, Library), ElfError> {
    let header = FileHeader::parse(bytes)?;
    let table_range = header.program_headers()?;
    let range = usize::try_from(table_range.start).ok().zip(usize::try_from(table_range.end).ok());
    let header_table = range.and_then(|(start, end)| bytes.get(start..end)).ok_or(ElfError::Truncated)?;
    let segments = Segments::parse(header_table)?;
    segments.check_file_size(bytes.len() as u64)?;
    let plan = Plan::new(header.object_type, &segments);
    let bias = place(&plan);
    let units = lay_out(&plan, bytes);
    let view = View::new(readable(&segments).filter_map(|load| segment(&units, load)));
    let program_headers =
        segments.program_headers(&table_range).map(|vaddr| (bias.apply(vaddr), header.phnum));
    let pages = bias.apply_range(&plan.span);
    let library = Library {
        name: name.clone(),
        identity,
        header_table: header_table.to_vec(),
        units,
        plan,
        place: 0,
        linked_dynamic: None,
        code_shift: 0,
        names: Names::read(bytes),
    };
    let mapping = Mapping { bias, pages, backend: "image", sealed: false, shared: false };
    let mut object = Object::read(name.into(), origin, mapping, segments, view)?;
    object.identity = identity;
    object.program_headers = program_headers;
    object.entry = bias.apply(header.entry);
    Ok((object, library))
}

/// Describes an object anew whose file has been changed, and its code moved by so many bytes. How it was found and its place in
/// thread-local storage stay.
///
/// # Errors
/// The loader would refuse the file.
pub fn read_anew(object: &mut Object, bytes: &[u8], code_shift: u64) -> Result<Library, ElfError> {
    let (name, bias) = (object.name.clone().into_owned(), object.mapping.bias);
    let (mut new, mut library) = read_object(bytes, name, object.origin, object.identity, |_| bias)?;
    (library.linked_dynamic, library.code_shift) = (Some(object.summary.dynamic_section), code_shift);
    new.needed_by = object.needed_by;
    new.dependencies = std::mem::take(&mut object.dependencies);
    new.tls = object.tls;
    *object = *new;
    Ok(library)
}

/// Moves an object; what is in its memory is not touched.
pub fn move_object(object: &mut Object, bias: LoadBias) {
    let old = object.mapping.bias;
    let moved = |address: Address| bias.apply(old.unapply(address));
    object.entry = moved(object.entry);
    object.program_headers = object.program_headers.map(|(address, count)| (moved(address), count));
    object.mapping.pages = moved(object.mapping.pages.start)..moved(object.mapping.pages.end);
    object.mapping.bias = bias;
}

/// The bytes of a segment in the units.
pub fn content<'a>(units: &'a [Unit], header: &ProgramHeader) -> Option<&'a [u8]> {
    slice(units, Vaddr(header.p_vaddr), header.p_filesz)
}

fn slice(units: &[Unit], start: Vaddr, size: u64) -> Option<&'static [u8]> {
    let unit = units.iter().find(|unit| unit.pages.contains(&start))?;
    let start = usize::try_from(start.0 - unit.pages.start.0).ok()?;
    unit.bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

fn readable(segments: &Segments) -> impl Iterator<Item = &LoadSegment> {
    segments.loads.iter().filter(|load| load.flags.contains(SegmentFlags::READ))
}

/// What a process sees of a segment.
fn segment(units: &[Unit], load: &LoadSegment) -> Option<(Vaddr, &'static [u8])> {
    let size = if load.flags.contains(SegmentFlags::WRITE) { load.memsz } else { load.filesz };
    slice(units, load.vaddr, size).map(|bytes| (load.vaddr, bytes))
}

/// Carries a layout out in memory of this process, for its life: what the loader's views see does not change while another
/// copy is relocated.
fn lay_out(plan: &Plan, bytes: &[u8]) -> Vec<Unit> {
    let filled = || plan.regions.iter().filter(|region| region.class != PageClass::Hole);
    let mut ranges: Vec<Range<Vaddr>> = filled().map(|region| region.pages.clone()).collect();
    ranges.sort_unstable_by_key(|pages| pages.start);
    let mut units: Vec<Range<Vaddr>> = Vec::new();
    for pages in ranges {
        match units.last_mut().filter(|last| pages.start.0.saturating_sub(last.end.0) < FAR) {
            Some(last) => last.end = last.end.max(pages.end),
            None => units.push(pages),
        }
    }
    let units = units.into_iter().map(|unit| {
        let at = |vaddr: Vaddr| (vaddr.0 - unit.start.0) as usize;
        let mut memory = vec![0; at(unit.end)];
        for region in filled().filter(|region| unit.contains(&region.pages.start)) {
            let pages = &mut memory[at(region.pages.start)..at(region.pages.end)];
            let content =
                region.file_offset.map_or(&[][..], |offset| &bytes[bytes.len().min(offset as usize)..]);
            let length = pages.len().min(content.len());
            pages[..length].copy_from_slice(&content[..length]);
            // Fresh pages are zero already; only one that is laid over another needs it.
            if length < pages.len() && pages[length..].iter().any(|&byte| byte != 0) {
                pages[length..].fill(0);
            }
            if let Some(tail) = region.zero_from {
                memory[at(tail)..at(region.pages.end)].fill(0);
            }
        }
        Unit { pages: unit, bytes: memory.leak() }
    });
    units.collect()
}
