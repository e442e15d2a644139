//! The parts of a library that can be moved apart, in whole pages.

use std::ops::Range;

use anyhow::{Result, bail};
use ld_morsel::elf::{SegmentFlags, Segments, Vaddr, page_down};

use crate::code::moves::Unit;

/// Parts with at least so many bytes between them are apart. The linker script leaves 512 MiB.
pub const FAR: u64 = 256 << 20;

/// Where the parts are, as the link editor placed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Code, read-only data, tables.
    pub text: Range<u64>,
    /// What is read-only after relocation. It ends with a page; what it has of one more page stays with the data, as it stays
    /// writable in musl.
    pub relro: Range<u64>,
    /// Everything else.
    pub data: Range<u64>,
}

impl Shape {
    /// The parts, of which those that can be written to may be empty.
    ///
    /// # Errors
    /// They do not follow each other in this order.
    pub fn of(segments: &Segments) -> Result<Self> {
        let pages = |writable: bool| {
            let loads = segments.loads.iter();
            let loads = loads.filter(move |load| load.flags.contains(SegmentFlags::WRITE) == writable);
            loads.map(|load| load.pages().start.0..load.pages().end.0)
        };
        let text_end = pages(false).map(|pages| pages.end).max().unwrap_or(0);
        let end = pages(true).map(|pages| pages.end).max().unwrap_or(text_end);
        let start = pages(true).map(|pages| pages.start).min().unwrap_or(text_end);
        if segments.span().start != Vaddr(0) {
            bail!("it is linked for a fixed address");
        }
        if text_end > start {
            bail!("read-only segments are not all before the writable ones");
        }
        let relro = segments.relro.clone().filter(|relro| relro.start < relro.end);
        let relro = relro.map_or(start..start, |relro| relro.start.0..relro.end.0.min(end));
        if relro.start != start {
            bail!("there is something writable before what is read-only after relocation");
        }
        Ok(Self { text: 0..text_end, data: relro.end..end, relro })
    }

    /// Whether the parts are apart already: the library is linked for it.
    pub fn is_far(&self) -> bool {
        self.relro.start - self.text.end >= FAR
    }

    /// The part that comes first of those that move.
    pub fn first_moved(&self) -> &Range<u64> {
        if self.relro.is_empty() { &self.data } else { &self.relro }
    }

    /// The parts as units, those that can be written to moved by so many bytes.
    pub fn units(&self, relro: i64, data: i64) -> Vec<Unit> {
        let parts = [(&self.text, 0), (&self.relro, relro), (&self.data, data)];
        let parts = parts.into_iter().filter(|(range, _)| !range.is_empty());
        parts.map(|(range, shift)| Unit { range: Vaddr(range.start)..Vaddr(range.end), shift }).collect()
    }
}

/// Bytes up to the first one of a page that is used.
pub fn into_page(at: u64) -> u64 {
    at - page_down(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ld_morsel::elf::{LoadSegment, PAGE_SIZE};

    fn segments(loads: &[(u64, u64, bool)], relro: Range<u64>) -> Segments {
        let load = |&(start, end, writable): &(u64, u64, bool)| LoadSegment {
            vaddr: Vaddr(start),
            offset: start,
            filesz: end - start,
            memsz: end - start,
            align: PAGE_SIZE,
            flags: if writable { SegmentFlags::READ | SegmentFlags::WRITE } else { SegmentFlags::READ },
        };
        let relro = Some(Vaddr(relro.start)..Vaddr(relro.end));
        Segments { loads: loads.iter().map(load).collect(), relro, ..Segments::default() }
    }

    #[test]
    fn a_segment_is_divided_where_it_stays_writable() {
        let shape =
            Shape::of(&segments(&[(0, 0x1234, false), (0x3de8, 0x4567, true)], 0x3000..0x4000)).unwrap();
        assert_eq!(shape, Shape { text: 0..0x2000, relro: 0x3000..0x4000, data: 0x4000..0x5000 });
        assert!(!shape.is_far());
    }

    #[test]
    fn parts_that_alternate_are_refused() {
        let loads = [(0, 0x1000, false), (0x1000, 0x2000, true), (0x2000, 0x3000, false)];
        assert!(Shape::of(&segments(&loads, 0..0)).is_err());
        let loads = [(0, 0x1000, false), (0x1000, 0x4000, true)];
        assert!(Shape::of(&segments(&loads, 0x2000..0x3000)).is_err());
    }
}
