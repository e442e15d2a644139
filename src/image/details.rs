//! What an image knows of its members beside what every start needs: copies of their headers and tables, so that nobody who wants to
//! know them must touch the members' own pages. Only a start that runs code of a member, has thread-local storage in it or binds
//! something of it reads this; for all others, that is done when the program first looks for a symbol or a library.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use crate::elf::{Anatomy, ElfError, LoadBias, SymbolTable, Vaddr, View};
use crate::map::load;
use crate::program::Describe;

use super::encoding::{Reader, Record, Writer};
use super::format::WindowPart;
use super::mapped;

/// Headers and tables of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Details<'a> {
    /// The program headers.
    pub header_table: &'a [u8],
    /// The dynamic section.
    pub dynamic: &'a [u8],
    /// The head of its `DT_GNU_HASH` table, if it has one.
    pub gnu_hash: Option<[u32; 4]>,
    /// If what is read-only after relocation is so already, its arrays of constructors and destructors and where they begin.
    pub arrays: Option<(u64, &'a [u8])>,
}

impl<'a> Details<'a> {
    /// The bytes that stand for it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::default();
        self.write(&mut to);
        to.finish()
    }

    /// Reads them; `None` if they are damaged.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        Self::read(&mut Reader::new(bytes))
    }
}

impl<'a> Record<'a> for Details<'a> {
    fn write(&self, to: &mut Writer) {
        let [first, second, third, fourth] = self.gnu_hash.unwrap_or_default().map(u64::from);
        let (arrays, array_bytes) = self.arrays.unwrap_or_default();
        let present = u64::from(self.gnu_hash.is_some()) | u64::from(self.arrays.is_some()) << 1;
        to.words(&[present, first | second << 32, third | fourth << 32, arrays]);
        [self.header_table, self.dynamic, array_bytes].into_iter().for_each(|bytes| to.bytes(bytes));
    }

    fn read(from: &mut Reader<'a>) -> Option<Self> {
        let [present, head, rest, arrays] = from.words()?;
        let (header_table, dynamic, array_bytes) = (from.bytes()?, from.bytes()?, from.bytes()?);
        let halves = [head as u32, (head >> 32) as u32, rest as u32, (rest >> 32) as u32];
        Some(Self {
            header_table,
            dynamic,
            gnu_hash: (present & 1 != 0).then_some(halves),
            arrays: (present & 2 != 0).then_some((arrays, array_bytes)),
        })
    }
}

/// A member of which nobody has read the details yet.
#[derive(Debug)]
pub(super) struct Undescribed {
    /// Where they are.
    pub part: WindowPart,
    /// All that is mapped of the image; the first window is the first of them.
    pub windows: &'static [Range<u64>],
    /// The image is where it would be, and bound to nothing else: its copies are what the process has.
    pub as_built: bool,
}

impl Describe for Undescribed {
    fn describe(&self, bias: LoadBias) -> Result<Box<Anatomy<'static>>, ElfError> {
        const DAMAGED: ElfError = ElfError::BadTable("an image's details");
        let window = self.windows.first().ok_or(DAMAGED)?;
        let details = mapped::part(window, &self.part).and_then(Details::parse).ok_or(DAMAGED)?;
        let mut described = Box::new(Anatomy::unread());
        let Anatomy { segments, dynamic, view, symbols } = &mut *described;
        segments.read(details.header_table)?;
        for load in &segments.loads {
            let pages = bias.apply_range(&load.pages());
            let holds = |window: &Range<u64>| window.start <= pages.start.0 && pages.end.0 <= window.end;
            if pages.start > pages.end || !self.windows.iter().any(holds) {
                return Err(ElfError::BadTable("an image's object lies outside of it"));
            }
        }
        let arrays = details.arrays.filter(|_| self.as_built);
        view.add(arrays.map(|(start, bytes)| (Vaddr(start), bytes)));
        // SAFETY: the member's segments are mapped in the windows, for the life of the process.
        view.add(unsafe { load::parts(segments, bias) });
        // The copies spare pages that nobody else needs.
        let dynamic_section = segments.dynamic.ok_or(ElfError::NoDynamic)?;
        dynamic.read(&View::new([(dynamic_section, details.dynamic)]), dynamic_section)?;
        *symbols = SymbolTable::parse_with(view, dynamic, details.gnu_hash)?;
        Ok(described)
    }
}
