//! The pages of an image as a recording names them: by library and link-time address. Where a page is in the file depends on the
//! program, which may have a page of its own for one that others share.

use std::path::PathBuf;

use anyhow::{Context, Result};
use ld_morsel::elf::{ObjectType, PAGE_SIZE, Segments};
use ld_morsel::image::check;
use ld_morsel::image::format::{HEADER_AT, Header, Member, Role, Source, Tables, Watch};
use ld_morsel::layout::{PageClass, Plan};
use ld_morsel::sys::FileIdentity;

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
    /// Its link-time address, in pages.
    pub number: u64,
    /// Where it is, in bytes from the image's start.
    pub place: u64,
    /// Which page of the file it is; `None` if it is not in the file.
    pub in_file: Option<usize>,
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
    pub fn recorded(&self, program: FileIdentity) -> Result<Vec<Recorded>> {
        let mine = |tables: &Tables<'_>| tables.key.program.identity == program;
        let libraries = self.each(|tables| mine(tables).then(|| self.libraries(tables)))?;
        let libraries = libraries.into_iter().flatten().next();
        libraries.with_context(|| format!("{}: it is for other programs", self.path.display()))?
    }

    fn libraries(&self, tables: &Tables<'_>) -> Result<Vec<Recorded>> {
        let members = tables.members.iter();
        let members = members.filter(|member| matches!(member.role, Role::Library | Role::Libc));
        members.map(|member| self.library(tables, member)).collect()
    }

    fn library(&self, tables: &Tables<'_>, member: &Member<'_>) -> Result<Recorded> {
        let path = path_of(member.name).to_owned();
        let segments = Segments::parse(member.header_table).with_context(|| path.display().to_string())?;
        let place = |vaddr: u64| member.place.wrapping_add(vaddr);
        let fingerprint = check::fingerprint(member.header_table, |header| {
            let start = usize::try_from(in_file(tables, place(header.p_vaddr))?).ok()?;
            self.bytes.get(start..start.checked_add(usize::try_from(header.p_filesz).ok()?)?)
        });
        let plan = Plan::new(ObjectType::Relocatable, &segments);
        let regions = plan.regions.iter().filter(|region| region.class != PageClass::Hole);
        let pages =
            regions.flat_map(|region| region.pages.start.0 / PAGE_SIZE..region.pages.end.0 / PAGE_SIZE);
        let pages = pages.map(|number| {
            let place = place(number * PAGE_SIZE);
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
