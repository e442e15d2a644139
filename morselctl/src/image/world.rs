//! The system as the loader's discovery sees it while an image is built: files are read instead of mapped, each gets its place
//! in the image, and every path that was asked for is written down.

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use ld_morsel::discover::World;
use ld_morsel::elf::{
    Address, ElfError, FileHeader, LoadBias, LoadSegment, PAGE_SIZE, SegmentFlags, Segments, Vaddr, View,
};
use ld_morsel::error::LoadError;
use ld_morsel::image::format::Input;
use ld_morsel::layout::{PageClass, Placement, Plan};
use ld_morsel::map::load::describe;
use ld_morsel::program::{Mapping, Object, Origin};
use ld_morsel::sys::{self, Errno, File, FileIdentity, FileStamp};

/// What is read of a file at least must be readable by all, or else the image is not, either.
const READABLE_BY_ALL: u32 = 0o004;

/// A file's bytes in the shape that its segments ask for.
pub struct Part {
    /// The object's first page.
    pub start: Address,
    /// Its layout.
    pub plan: Plan,
    /// The program header table.
    pub header_table: Vec<u8>,
    /// The pages, from the first to the last, to be relocated.
    pub memory: Vec<u8>,
    /// The same, for another base.
    pub moved: Vec<u8>,
}

/// See the module.
pub struct Recorder {
    /// The image's base.
    base: u64,
    /// Where the next object goes, counted from there.
    pub end: u64,
    /// The program's path, for `$ORIGIN`.
    program: CString,
    /// `$ORIGIN` has been asked for.
    pub asked_for_origin: bool,
    /// All paths that were tried, with what was there.
    inputs: Vec<(CString, Option<FileStamp>)>,
    known: HashSet<CString>,
    /// What has been read.
    pub parts: Vec<Part>,
    /// All files may be read by everybody.
    pub readable_by_all: bool,
    /// A path depends on the current directory.
    pub relative: Option<CString>,
}

impl Recorder {
    /// Nothing read yet; the first object comes at `first` of an image for `base`.
    pub fn new(base: u64, first: u64, program: CString) -> Self {
        Self {
            base,
            end: first,
            program,
            asked_for_origin: false,
            inputs: Vec::new(),
            known: HashSet::new(),
            parts: Vec::new(),
            readable_by_all: true,
            relative: None,
        }
    }

    fn record(&mut self, path: &CStr, stamp: Option<FileStamp>) {
        if !path.to_bytes().starts_with(b"/") {
            self.relative.get_or_insert_with(|| path.into());
        }
        if self.known.insert(path.into()) {
            self.inputs.push((path.into(), stamp));
        }
    }

    /// Gives an object its place in the image.
    ///
    /// # Errors
    /// The loader would refuse it.
    pub fn place(
        &mut self,
        bytes: &[u8],
        name: CString,
        identity: Option<FileIdentity>,
    ) -> Result<Box<Object>, ElfError> {
        let base = self.base;
        let mut next = self.end;
        let place = |plan: &Plan| {
            let align = match plan.placement {
                Placement::Aligned { to, .. } => to,
                Placement::Preferred | Placement::Exact => PAGE_SIZE,
            };
            next = next.next_multiple_of(align);
            LoadBias::between(Address(base + next), plan.span.start)
        };
        let (object, part) = read_object(bytes, name, Origin::File, identity, place)?;
        self.end = next + part.plan.length();
        self.parts.push(part);
        Ok(object)
    }

    /// All paths that were tried, as the tables have them.
    pub fn inputs(&self) -> Vec<Input<'_>> {
        self.inputs.iter().map(|(path, stamp)| Input { path, stamp: *stamp }).collect()
    }

    /// What has been read for the object at `start`.
    pub fn part_at(&mut self, start: Address) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.start == start)
    }
}

impl World for Recorder {
    type File = File;

    fn open(&mut self, path: &CStr) -> Result<File, Errno> {
        match sys::open(path).and_then(|file| file.full_status().map(|status| (file, status))) {
            Ok((file, status)) => {
                self.readable_by_all &= status.mode & READABLE_BY_ALL != 0;
                self.record(path, Some(status.stamp));
                Ok(file)
            }
            Err(errno) => {
                self.record(path, None);
                Err(errno)
            }
        }
    }

    fn identity(&mut self, file: &File) -> Result<(FileIdentity, u64), Errno> {
        file.status()
    }

    fn load(
        &mut self,
        file: File,
        identity: FileIdentity,
        _size: u64,
        name: CString,
    ) -> Result<Box<Object>, LoadError> {
        let bytes = self.contents(file)?;
        Ok(self.place(&bytes, name, Some(identity))?)
    }

    fn unload(&mut self, object: Box<Object>) {
        self.parts.retain(|part| part.start != object.mapping.pages.start);
    }

    fn contents(&mut self, file: File) -> Result<Vec<u8>, Errno> {
        let (_, size) = file.status()?;
        let mut contents = vec![0; usize::try_from(size).map_err(|_| Errno::NOMEM)?];
        let read = file.read_at(&mut contents, 0)?;
        contents.truncate(read);
        Ok(contents)
    }

    fn executable<'a>(&mut self, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        self.asked_for_origin = true;
        let path = self.program.to_bytes();
        let length = path.len().min(buffer.len());
        buffer[..length].copy_from_slice(&path[..length]);
        Ok(&buffer[..length])
    }

    fn announce(&mut self, _name: &CStr, _path: &CStr, _start: Address) {}
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
) -> Result<(Box<Object>, Part), ElfError> {
    let header = FileHeader::parse(bytes)?;
    let table_range = header.program_headers()?;
    let range = usize::try_from(table_range.start).ok().zip(usize::try_from(table_range.end).ok());
    let header_table = range.and_then(|(start, end)| bytes.get(start..end)).ok_or(ElfError::Truncated)?;
    let segments = Segments::parse(header_table)?;
    segments.check_file_size(bytes.len() as u64)?;
    let plan = Plan::new(header.object_type, &segments);
    let bias = place(&plan);
    // What the loader's views see does not change while the other copy is relocated.
    let pristine: &'static [u8] = lay_out(&plan, bytes).leak();
    let view =
        View::new(readable(&segments).map(|load| (load.vaddr, segment(&plan, pristine, load))).collect());
    let (dynamic_section, dynamic, symbols) = describe(&segments, &view)?;
    let pages = bias.apply_range(&plan.span);
    let part = Part {
        start: pages.start,
        header_table: header_table.to_vec(),
        memory: lay_out(&plan, bytes),
        moved: lay_out(&plan, bytes),
        plan,
    };
    let object = Object {
        name,
        origin,
        identity,
        mapping: Mapping { bias, pages, backend: "image", sealed: false, shared: false },
        program_headers: segments
            .program_headers(&table_range)
            .map(|vaddr| (bias.apply(vaddr), header.phnum)),
        entry: bias.apply(header.entry),
        segments,
        dynamic_section,
        dynamic,
        view,
        symbols,
        needed_by: None,
        dependencies: Vec::new(),
        tls: None,
    };
    Ok((Box::new(object), part))
}

fn readable(segments: &Segments) -> impl Iterator<Item = &LoadSegment> {
    segments.loads.iter().filter(|load| load.flags.contains(SegmentFlags::READ))
}

/// What a process sees of a segment.
fn segment<'a>(plan: &Plan, memory: &'a [u8], load: &LoadSegment) -> &'a [u8] {
    let size = if load.flags.contains(SegmentFlags::WRITE) { load.memsz } else { load.filesz };
    let start = (load.vaddr.0 - plan.span.start.0) as usize;
    &memory[start..start + size as usize]
}

/// Carries a layout out in a buffer.
fn lay_out(plan: &Plan, bytes: &[u8]) -> Vec<u8> {
    let at = |vaddr: Vaddr| (vaddr.0 - plan.span.start.0) as usize;
    let mut memory = vec![0; plan.length() as usize];
    for region in plan.regions.iter().filter(|region| region.class != PageClass::Hole) {
        let pages = &mut memory[at(region.pages.start)..at(region.pages.end)];
        let content = region.file_offset.map_or(&[][..], |offset| &bytes[bytes.len().min(offset as usize)..]);
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
    memory
}
