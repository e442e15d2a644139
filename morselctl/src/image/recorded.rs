//! The pages of an image as a recording names them: by library, and by a number that does not depend on the shape that the library
//! has in the image. Where a page is in the file depends on the program, which may have a page of its own for one that others
//! share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use goblin::elf64::program_header::{PT_PHDR, ProgramHeader, SIZEOF_PHDR};
use ld_morsel::elf::{ObjectType, PAGE_SIZE, Segments};
use ld_morsel::image::check;
use ld_morsel::image::format::{HEADER_AT, Header, Member, Role, Source, Tables, Watch};
use ld_morsel::layout::{PageClass, Plan};
use morselctl::separate::Shape;

use super::inspect::ImageFile;
use super::path_of;

/// A library in an image.
pub struct Recorded {
    /// The path by which the search found it.
    pub path: PathBuf,
    /// Which build of it.
    pub fingerprint: u64,
    /// Its pages.
    pub pages: Vec<Page>,
}

/// A page of a library.
pub struct Page {
    /// Its [`Numbers`].
    pub number: i64,
    /// Where it is, in bytes from the image's start.
    pub place: u64,
    /// Which page of the file it is; `None` if it is not in the file.
    pub in_file: Option<usize>,
}

/// What a library's pages are called: those of read-only data are counted from its beginning, from 0 on, those of code that has a
/// segment of its own from [`CODE`] on, those that can be written to from its end, from -1 down. Moving these apart
/// ([`morselctl::separate`]) puts new pages between the parts and changes the distances, but no number. The pages of a library that
/// cannot be moved are counted from its beginning.
pub struct Numbers(Option<Shape>);

/// The number of the first page of code. No library has so many pages.
const CODE: i64 = 1 << 52;

impl Numbers {
    /// Those of a library with these segments.
    pub fn of(segments: &Segments) -> Self {
        let Ok(mut shape) = Shape::of(segments) else { return Self(None) };
        // What is unused between the parts is not counted.
        let data =
            segments.loads.iter().map(|load| load.pages()).filter(|pages| pages.end.0 > shape.data.start);
        let first = data.map(|pages| pages.start.0).min().unwrap_or(shape.data.end);
        shape.data.start = shape.data.start.max(first);
        Self(Some(shape))
    }

    fn number(&self, vaddr: u64) -> i64 {
        let bytes = match &self.0 {
            Some(shape) if shape.code.contains(&vaddr) => {
                return CODE + ((vaddr - shape.code.start) / PAGE_SIZE).cast_signed();
            }
            Some(shape) if shape.rest.contains(&vaddr) => vaddr - shape.rest.start + shape.head,
            Some(Shape { text, relro, data, .. }) if vaddr >= text.end => {
                let to_end = if relro.contains(&vaddr) {
                    relro.end - vaddr + (data.end - data.start)
                } else {
                    data.end.wrapping_sub(vaddr)
                };
                to_end.wrapping_neg()
            }
            _ => vaddr,
        };
        bytes.cast_signed() / PAGE_SIZE.cast_signed()
    }

    /// All pages of a library, each with its link-time address.
    pub fn pages<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = (i64, u64)> + 'a {
        let regions = plan.regions.iter().filter(|region| region.class != PageClass::Hole);
        let pages =
            regions.flat_map(|region| region.pages.start.0 / PAGE_SIZE..region.pages.end.0 / PAGE_SIZE);
        pages.map(|page| (self.number(page * PAGE_SIZE), page * PAGE_SIZE))
    }

    /// What tells builds of a library from each other, whatever shape they have: the program headers of code and read-only data, or
    /// of what is in front of code that has a segment of its own, but for that of the headers themselves, and the notes.
    pub fn fingerprint<'a>(
        &self,
        header_table: &[u8],
        content: impl Fn(&ProgramHeader) -> Option<&'a [u8]>,
    ) -> u64 {
        let end = self.0.as_ref().map_or(u64::MAX, |shape| shape.fixed_end());
        let stays = |bytes: &&[u8]| {
            let mut header = ProgramHeader::default();
            let read = plain::copy_from_bytes(&mut header, bytes);
            read.is_ok() && header.p_type != PT_PHDR && header.p_vaddr.saturating_add(header.p_memsz) <= end
        };
        let headers: Vec<&[u8]> = header_table.chunks_exact(SIZEOF_PHDR).filter(stays).collect();
        check::fingerprint(&headers.concat(), content)
    }
}

impl ImageFile {
    /// The bytes of the image, as it would be if somebody watched its starts.
    pub fn watched_by(&self, watch: Watch) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let header = Header { watch, ..self.header }.to_bytes(&self.entries);
        bytes[HEADER_AT..HEADER_AT + header.len()].copy_from_slice(&header);
        bytes
    }

    /// The libraries of a program.
    ///
    /// # Errors
    /// The image is damaged, or not for that program.
    pub fn recorded(&self, program: &Path) -> Result<Vec<Recorded>> {
        let mine = |tables: &Tables<'_>| path_of(tables.program_path()) == program;
        let libraries = self.each(|tables| mine(tables).then(|| self.libraries(tables)))?;
        let libraries = libraries.into_iter().flatten().next();
        libraries.with_context(|| format!("{}: it is for other programs", self.path().display()))?
    }

    fn libraries(&self, tables: &Tables<'_>) -> Result<Vec<Recorded>> {
        let members = tables.members.iter();
        let members = members.filter(|member| matches!(member.role, Role::Library | Role::Libc));
        members.map(|member| self.library(tables, &member)).collect()
    }

    fn library(&self, tables: &Tables<'_>, member: &Member<'_>) -> Result<Recorded> {
        let path = path_of(member.name).to_owned();
        let header_table = self.details(member)?.header_table;
        let segments = Segments::parse(header_table).with_context(|| path.display().to_string())?;
        let place = |vaddr: u64| member.place.wrapping_add(vaddr);
        let numbers = Numbers::of(&segments);
        let fingerprint = numbers.fingerprint(header_table, |header| {
            self.bytes(in_file(tables, place(header.p_vaddr))?, header.p_filesz).ok()
        });
        let plan = Plan::new(ObjectType::Relocatable, &segments);
        let pages = numbers.pages(&plan).map(|(number, vaddr)| {
            let place = place(vaddr);
            let in_file = in_file(tables, place).and_then(|at| usize::try_from(at / PAGE_SIZE).ok());
            Page { number, place, in_file }
        });
        Ok(Recorded { path, fingerprint, pages: pages.collect() })
    }
}

/// Where in the file the contents of a place are.
fn in_file(tables: &Tables<'_>, place: u64) -> Option<u64> {
    let window = tables.windows.iter().find(|window| window.pages.contains(&place));
    let usual = window.map_or(place, |window| window.offset + (place - window.pages.start));
    let region = tables.regions.iter().find(|region| region.pages.contains(&place));
    match region.map(|region| (region.source, place - region.pages.start)) {
        None | Some((Source::Window, _)) => Some(usual),
        Some((Source::File(offset) | Source::Written(offset), distance)) => Some(offset + distance),
        Some((Source::Zero, _)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ld_morsel::elf::{LoadSegment, SegmentFlags, Vaddr};

    /// A library in whole pages: code, what is read-only after relocation from `relro` on, data from `data` on.
    fn segments(relro: (u64, u64), data: (u64, u64)) -> Segments {
        let load = |(start, pages): (u64, u64), flags| LoadSegment {
            vaddr: Vaddr(start * PAGE_SIZE),
            offset: 0,
            filesz: pages * PAGE_SIZE,
            memsz: pages * PAGE_SIZE,
            align: PAGE_SIZE,
            flags,
        };
        let writable = SegmentFlags::READ | SegmentFlags::WRITE;
        let end = relro.0 + relro.1;
        Segments {
            loads: vec![load((0, 3), SegmentFlags::READ), load(relro, writable), load(data, writable)].into(),
            relro: Some(Vaddr(relro.0 * PAGE_SIZE)..Vaddr(end * PAGE_SIZE)),
            ..Segments::default()
        }
    }

    fn numbers(segments: &Segments) -> Vec<i64> {
        let plan = Plan::new(ObjectType::Relocatable, segments);
        Numbers::of(segments).pages(&plan).map(|(number, _)| number).collect()
    }

    #[test]
    fn pages_keep_their_numbers_when_they_move() {
        assert_eq!(numbers(&segments((4, 1), (5, 2))), [0, 1, 2, -3, -2, -1]);
        // One more page in front of what moves.
        let far = 1 << 18;
        assert_eq!(numbers(&segments((far, 2), (2 * far, 2))), [0, 1, 2, -4, -3, -2, -1]);
    }

    /// Code between read-only data, and behind them.
    #[test]
    fn pages_keep_their_numbers_when_code_moves() {
        let with_code = |code: u64, rest: u64| {
            let mut segments = segments((1 << 18, 1), (1 << 19, 1));
            let mut code_load = segments.loads[0];
            let mut rest_load = code_load;
            (code_load.vaddr, code_load.flags) = (Vaddr(code * PAGE_SIZE), SegmentFlags::EXECUTE);
            rest_load.vaddr = Vaddr(rest * PAGE_SIZE);
            segments.loads = segments.loads.iter().cloned().chain([code_load, rest_load]).collect();
            let mut numbers = numbers(&segments);
            numbers.sort_unstable();
            numbers
        };
        let expected = [-2, -1, 0, 1, 2, 3, 4, 5, CODE, CODE + 1, CODE + 2];
        assert_eq!(with_code(3, 6), expected);
        assert_eq!(with_code(1 << 17, 3), expected);
    }

    #[test]
    fn pages_of_unusual_libraries_are_counted_from_the_beginning() {
        let mut unusual = segments((4, 1), (5, 2));
        unusual.loads[1].vaddr = Vaddr(7 * PAGE_SIZE);
        assert!(numbers(&unusual).iter().all(|number| *number >= 0));
    }
}
