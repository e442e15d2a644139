//! The parts of a library that can be moved apart, in whole pages.

use std::ops::Range;

use anyhow::{Result, bail};
use ld_morsel::elf::{LoadSegment, SegmentFlags, Segments, Vaddr, page_down};

use crate::code::moves::Unit;

/// Parts with at least so many bytes between them are apart. The linker script leaves 512 MiB.
pub const FAR: u64 = 256 << 20;

/// Where the parts are, as the link editor placed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Code, read-only data, tables.
    pub text: Range<u64>,
    /// What of it is code that stands alone; nothing if other things are in its segment.
    pub code: Range<u64>,
    /// Where the first segment ends.
    first_end: u64,
    /// Where that ends which is in front of such code.
    pub head: u64,
    /// The read-only data behind such code.
    pub rest: Range<u64>,
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
        let first_end = segments.in_order().next().map_or(0, |load| load.pages().end.0);
        let mut shape = Self {
            text: 0..text_end,
            code: 0..0,
            first_end,
            head: 0,
            rest: 0..0,
            data: relro.end..end,
            relro,
        };
        shape.find_code(segments);
        Ok(shape)
    }

    /// Finds the code, if it is in one piece behind the headers and shares no page with anything else.
    fn find_code(&mut self, segments: &Segments) {
        let is = |load: &&LoadSegment, flag| load.flags.contains(flag);
        let pages = |code: bool| {
            let read_only = segments.loads.iter().filter(|load| !is(load, SegmentFlags::WRITE));
            let loads = read_only.filter(move |load| is(load, SegmentFlags::EXECUTE) == code);
            loads.map(|load| load.pages().start.0..load.pages().end.0)
        };
        let all = pages(true).reduce(|all, one| all.start.min(one.start)..all.end.max(one.end));
        let Some(code) = all else { return };
        if code.start == 0 || pages(false).any(|other| code.start < other.end && other.start < code.end) {
            return;
        }
        self.head = pages(false).map(|other| other.end).filter(|end| *end <= code.start).max().unwrap_or(0);
        let rest = pages(false).map(|other| other.start).filter(|start| *start >= code.end).min();
        self.rest = rest.unwrap_or(self.text.end)..self.text.end;
        self.code = code;
    }

    /// Whether the parts are apart already: the library is linked for it.
    pub fn is_far(&self) -> bool {
        self.relro.start - self.text.end >= FAR
    }

    /// The end of what never moves, in the file or in one that has been made of it.
    pub fn fixed_end(&self) -> u64 {
        if self.code.is_empty() { self.text.end } else { self.first_end }
    }

    /// The part that comes first of those that move.
    pub fn first_moved(&self) -> &Range<u64> {
        if self.relro.is_empty() { &self.data } else { &self.relro }
    }

    /// The parts as units, those that can be written to moved by so many bytes, and the code as well if its shift is given. Then
    /// what is read-only closes up.
    pub fn units(&self, code: Option<i64>, relro: i64, data: i64) -> Vec<Unit> {
        let Self { text, rest, .. } = self;
        let text = match code {
            None => [(text.clone(), 0), (0..0, 0), (0..0, 0)],
            Some(shift) => [
                (0..self.code.start, 0),
                (self.code.start..rest.start, shift),
                (rest.clone(), self.head.wrapping_sub(rest.start) as i64),
            ],
        };
        let parts = text.into_iter().chain([(self.relro.clone(), relro), (self.data.clone(), data)]);
        let parts = parts.filter(|(range, _)| !range.is_empty());
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
    use ld_morsel::elf::PAGE_SIZE;

    const R: SegmentFlags = SegmentFlags::READ;
    const W: SegmentFlags = SegmentFlags::WRITE;
    const X: SegmentFlags = SegmentFlags::EXECUTE;

    fn segments(loads: &[(u64, u64, SegmentFlags)], relro: Range<u64>) -> Segments {
        let load = |&(start, end, flags): &(u64, u64, SegmentFlags)| LoadSegment {
            vaddr: Vaddr(start),
            offset: start,
            filesz: end - start,
            memsz: end - start,
            align: PAGE_SIZE,
            flags: R | flags,
        };
        let relro = Some(Vaddr(relro.start)..Vaddr(relro.end));
        Segments { loads: loads.iter().map(load).collect(), relro, ..Segments::default() }
    }

    #[test]
    fn a_segment_is_divided_where_it_stays_writable() {
        let shape = Shape::of(&segments(&[(0, 0x1234, R), (0x3de8, 0x4567, W)], 0x3000..0x4000)).unwrap();
        assert_eq!(
            [&shape.text, &shape.relro, &shape.data],
            [&(0..0x2000), &(0x3000..0x4000), &(0x4000..0x5000)]
        );
        assert!(shape.code.is_empty());
        assert!(!shape.is_far());
    }

    #[test]
    fn parts_that_alternate_are_refused() {
        let loads = [(0, 0x1000, R), (0x1000, 0x2000, W), (0x2000, 0x3000, R)];
        assert!(Shape::of(&segments(&loads, 0..0)).is_err());
        let loads = [(0, 0x1000, R), (0x1000, 0x4000, W)];
        assert!(Shape::of(&segments(&loads, 0x2000..0x3000)).is_err());
    }

    #[test]
    fn code_stands_alone_if_nothing_else_is_in_its_pages() {
        let loads = [(0, 0x1234, R), (0x2234, 0x4800, X), (0x6000, 0x7000, R), (0x8000, 0x9000, W)];
        let shape = Shape::of(&segments(&loads, 0..0)).unwrap();
        assert_eq!(
            (shape.code.clone(), shape.head, shape.rest.clone()),
            (0x2000..0x5000, 0x2000, 0x6000..0x7000)
        );
        let units = shape.units(Some(0x100_0000), 0, 0x200_0000);
        let units = units.iter().map(|unit| (unit.range.start.0, unit.range.end.0, unit.shift));
        let expected = [
            (0, 0x2000, 0),
            (0x2000, 0x6000, 0x100_0000),
            (0x6000, 0x7000, -0x4000),
            (0x8000, 0x9000, 0x200_0000),
        ];
        assert_eq!(units.collect::<Vec<_>>(), expected);
        for loads in [[(0, 0x1234, X), (0x2000, 0x3000, R)], [(0, 0x2234, R), (0x2800, 0x3000, X)]] {
            assert!(Shape::of(&segments(&loads, 0..0)).unwrap().code.is_empty());
        }
    }
}
