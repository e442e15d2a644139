//! What an image keeps behind its windows for processes in which a name means something else than it did when calls became direct:
//! the libraries' own code, and a list of which functions they call straight.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use ld_morsel::elf::Vaddr;
use ld_morsel::image::format::{Aside, List, Region, Rewritten, Source, Writer, checksum};
use ld_morsel::sys::MemoryFlags;

use super::build::{Built, Served};
use super::library::Library;
use super::pages::FileMap;

/// The pages of each rewritten library, with where in the file they are kept.
pub struct Originals(Vec<Vec<Region>>);

impl Originals {
    /// Gives them their places in the file.
    pub fn new(built: &Built, map: &mut FileMap) -> Self {
        let libraries = built.rewritten.iter().map(|rewritten| {
            let library = &built.libraries[rewritten.library];
            let regions = rewritten.pages.iter().map(|pages| {
                let pages = library.placed(pages);
                let offset = map.append(pages.end - pages.start);
                let access = MemoryFlags::READ | MemoryFlags::EXECUTE;
                Region { pages, access, source: Source::File(offset) }
            });
            regions.collect()
        });
        Self(libraries.collect())
    }

    /// The list for a program, and where it will be; nothing if no library of it has been changed.
    pub fn list(&self, built: &Built, served: &Served, map: &mut FileMap) -> Option<(Aside, Vec<u8>)> {
        let mut to = Writer::default();
        let symbols =
            built.rewritten.iter().map(|rewritten| rewritten.symbols.iter().map(Vec::as_slice).collect());
        let symbols: Vec<Vec<&[u8]>> = symbols.collect();
        let all = built.rewritten.iter().zip(&self.0).zip(&symbols);
        let used = all.filter_map(|((rewritten, regions), symbols)| {
            let object = served.libraries.iter().position(|library| *library == Some(rewritten.library))?;
            let (symbols, original) = (List::Values(symbols), List::Values(regions));
            Some(Rewritten { object: object as u32, symbols, original })
        });
        let used: Vec<Rewritten<'_>> = used.collect();
        to.list(&List::Values(&used));
        let bytes = to.finish();
        let size = bytes.len() as u64;
        let aside = || Aside { offset: map.append(size), size, checksum: checksum(&[&bytes]) };
        (!used.is_empty()).then(aside).map(|aside| (aside, bytes))
    }

    /// Writes the pages.
    pub fn write(&self, built: &Built, file: &File) -> io::Result<()> {
        for (rewritten, regions) in built.rewritten.iter().zip(&self.0) {
            let library = &built.libraries[rewritten.library];
            for (pages, region) in rewritten.pages.iter().zip(regions) {
                if let Source::File(offset) = region.source {
                    file.write_all_at(content(library, pages), offset)?;
                }
            }
        }
        Ok(())
    }
}

/// What a library's file has for some of its pages.
fn content<'a>(library: &'a Library, pages: &Range<Vaddr>) -> &'a [u8] {
    let unit = library.units.iter().find(|unit| unit.pages.contains(&pages.start));
    let at = |unit: Vaddr, vaddr: Vaddr| (vaddr.0 - unit.0) as usize;
    unit.map_or(&[], |unit| {
        let start = unit.pages.start;
        &unit.bytes[at(start, pages.start)..at(start, pages.end)]
    })
}
