//! Where each region of an object goes, its page class and its alignment: everything that can be decided before the
//! first byte is mapped. Pure arithmetic over checked [`Segments`]; the mapper only carries it out.

mod big;

use alloc::vec::Vec;
use core::ops::Range;

use crate::elf::{LoadSegment, ObjectType, PAGE_SIZE, SegmentFlags, Segments, Vaddr, page_down, page_up};
use crate::sys::MemoryFlags;

pub use big::{Begins, BigRegion, PIECE};

/// The largest `p_align` that is honoured; larger ones (old linkers' 2 MiB "maximum page size") say nothing about
/// what the data needs, and musl honours none.
const MAX_HONOURED_ALIGNMENT: u64 = 64 << 10;

/// What a page holds decides who may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageClass {
    /// Executable: the same in every process.
    Text,
    /// Read-only data: the same in every process.
    ReadOnly,
    /// Writable file contents: private as soon as they are written.
    Data,
    /// Writable, zero at first.
    Zero,
    /// Address space between segments, which nobody may touch.
    Hole,
}

/// Whole pages of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Which pages.
    pub pages: Range<Vaddr>,
    /// Their class.
    pub class: PageClass,
    /// What may be done with them.
    pub flags: MemoryFlags,
    /// Where their contents are in the file; `None` for zeroes and holes.
    pub file_offset: Option<u64>,
    /// From here to the end of the last page, the file's bytes are not the segment's: they must read as zero.
    pub zero_from: Option<Vaddr>,
    /// Whether it is mapped as shared memory, which nobody can make writable.
    pub shared: bool,
}

/// Where an object wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Anywhere where the byte `at` of the span has an address that is a multiple of `to`, a power of two.
    Aligned {
        /// See above.
        to: u64,
        /// See above, less than the length of the span.
        at: u64,
    },
    /// At its link-time address if that is free, else anywhere.
    Preferred,
    /// At its link-time address or not at all (`ET_EXEC`).
    Exact,
}

impl Placement {
    /// The highest start not above `limit` that is aligned as wanted.
    pub fn align_down(&self, limit: u64) -> Option<u64> {
        match self {
            Self::Aligned { to, at } => (limit.checked_add(*at)? & !(to - 1)).checked_sub(*at),
            Self::Preferred | Self::Exact => Some(limit),
        }
    }

    fn at(&self) -> u64 {
        match self {
            Self::Aligned { at, .. } => *at,
            Self::Preferred | Self::Exact => 0,
        }
    }
}

/// How an object is to be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The pages from the first to the last.
    pub span: Range<Vaddr>,
    /// Where to put them.
    pub placement: Placement,
    /// The regions in the order in which they are laid down; a later one replaces what it overlaps.
    /// The first one starts the span.
    pub regions: Vec<Region>,
}

impl Plan {
    /// Lays out an object.
    pub fn new(object_type: ObjectType, segments: &Segments) -> Self {
        let span = segments.span();
        let mut plan = Self {
            placement: placement(object_type, &span, segments),
            regions: Vec::with_capacity(segments.loads.len() + 1),
            span,
        };
        for (place, load) in segments.in_order().enumerate() {
            let start = load.pages().start;
            let keeps_first_page = place > 0 && segments.is_on_first_page(load);
            plan.add_segment(load, if keeps_first_page { Vaddr(start.0 + PAGE_SIZE) } else { start });
        }
        plan.add_holes(segments);
        plan
    }

    /// Bytes of address space.
    pub fn length(&self) -> u64 {
        self.span.end.0 - self.span.start.0
    }

    /// Whether the regions follow each other without holes or overlaps.
    pub fn is_seamless(&self) -> bool {
        let begins = self.regions.first().is_some_and(|region| region.pages.start == self.span.start);
        let ends = self.regions.last().is_some_and(|region| region.pages.end == self.span.end);
        begins && ends && self.regions.windows(2).all(|pair| pair[0].pages.end == pair[1].pages.start)
    }

    /// Adds the regions of a segment, from the page at `start` on.
    fn add_segment(&mut self, load: &LoadSegment, start: Vaddr) {
        let flags = memory_flags(load.flags);
        let pages = start..load.pages().end;
        let file_end = Vaddr(load.vaddr.0 + load.filesz);
        let file_pages_end = if load.filesz == 0 { pages.start } else { Vaddr(page_up(file_end.0)) };
        let file_pages = pages.start..file_pages_end.max(pages.start);
        if !file_pages.is_empty() {
            let class = if load.flags.contains(SegmentFlags::WRITE) {
                PageClass::Data
            } else if load.flags.contains(SegmentFlags::EXECUTE) {
                PageClass::Text
            } else {
                PageClass::ReadOnly
            };
            let file_offset = Some(page_down(load.offset) + (pages.start.0 - load.pages().start.0));
            let has_tail = load.memsz > load.filesz && load.flags.contains(SegmentFlags::WRITE);
            let zero_from = has_tail.then_some(file_end).filter(|tail| tail.0 % PAGE_SIZE != 0);
            self.regions.push(Region {
                pages: file_pages.clone(),
                class,
                flags,
                file_offset,
                zero_from,
                shared: false,
            });
        }
        if file_pages.end < pages.end {
            let pages = file_pages.end..pages.end;
            self.regions.push(Region {
                pages,
                class: PageClass::Zero,
                flags,
                file_offset: None,
                zero_from: None,
                shared: false,
            });
        }
    }

    /// The reservation shows bytes of the first segment's file where no segment is: take them away.
    fn add_holes(&mut self, segments: &Segments) {
        let mut covered: Vec<Range<Vaddr>> = segments.loads.iter().map(LoadSegment::pages).collect();
        covered.sort_unstable_by_key(|pages| pages.start);
        let mut end = self.span.start;
        for pages in covered {
            if pages.start > end {
                let flags = MemoryFlags::empty();
                let (pages, class) = (end..pages.start, PageClass::Hole);
                self.regions.push(Region {
                    pages,
                    class,
                    flags,
                    file_offset: None,
                    zero_from: None,
                    shared: false,
                });
            }
            end = end.max(pages.end);
        }
    }
}

/// The unused ends of the pages of writable segments, which musl gives to malloc (`reclaim_gaps`): what lies in a page
/// before the segment begins and after it ends, outside of what becomes read-only, and of other segments.
pub fn unused_ends(segments: &Segments) -> impl Iterator<Item = Range<Vaddr>> + '_ {
    let readable_and_writable = SegmentFlags::READ | SegmentFlags::WRITE;
    let sealed = segments.relro.clone().unwrap_or_default();
    let outside_sealed = move |gap: Range<Vaddr>| {
        let start = if sealed.contains(&gap.start) { sealed.end } else { gap.start };
        let end = if sealed.contains(&gap.end) { sealed.start } else { gap.end };
        let taken = |load: &LoadSegment| load.range().start < end && start < load.range().end;
        (start < end && !segments.loads.iter().any(taken)).then_some(start..end)
    };
    let writable = segments.loads.iter().filter(move |load| load.flags.contains(readable_and_writable));
    let ends = writable.flat_map(|load| {
        let (range, pages) = (load.range(), load.pages());
        [pages.start..range.start, range.end..pages.end]
    });
    ends.filter_map(outside_sealed)
}

/// Where an object with these segments wants to be; `span` is theirs.
pub fn placement(object_type: ObjectType, span: &Range<Vaddr>, segments: &Segments) -> Placement {
    if object_type == ObjectType::Fixed && span.start.0 > 0 {
        return Placement::Exact;
    }
    if span.start.0 > 0 {
        return Placement::Preferred;
    }
    let aligns = segments.loads.iter().map(|load| load.align);
    let to = aligns.filter(|&align| align <= MAX_HONOURED_ALIGNMENT).max().unwrap_or(PAGE_SIZE);
    Placement::Aligned { to, at: 0 }
}

/// The protection that `p_flags` ask for.
pub fn memory_flags(flags: SegmentFlags) -> MemoryFlags {
    let mut memory = MemoryFlags::empty();
    memory.set(MemoryFlags::READ, flags.contains(SegmentFlags::READ));
    memory.set(MemoryFlags::WRITE, flags.contains(SegmentFlags::WRITE));
    memory.set(MemoryFlags::EXECUTE, flags.contains(SegmentFlags::EXECUTE));
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: SegmentFlags = SegmentFlags::READ;
    const RX: SegmentFlags = SegmentFlags::READ.union(SegmentFlags::EXECUTE);
    const RW: SegmentFlags = SegmentFlags::READ.union(SegmentFlags::WRITE);

    fn load(vaddr: u64, filesz: u64, memsz: u64, align: u64, flags: SegmentFlags) -> LoadSegment {
        LoadSegment { vaddr: Vaddr(vaddr), offset: vaddr % PAGE_SIZE, filesz, memsz, align, flags }
    }

    fn plan(object_type: ObjectType, loads: Vec<LoadSegment>) -> Plan {
        Plan::new(object_type, &Segments { loads: loads.into(), ..Segments::default() })
    }

    fn classes(plan: &Plan) -> Vec<(PageClass, u64, u64)> {
        plan.regions.iter().map(|r| (r.class, r.pages.start.0, r.pages.end.0)).collect()
    }

    #[test]
    fn each_segment_becomes_a_region_of_its_class() {
        let plan = plan(
            ObjectType::Relocatable,
            vec![load(0, 0x900, 0x900, 0x1000, R), load(0x1000, 0x10, 0x10, 0x1000, RX)],
        );
        assert_eq!(classes(&plan), [(PageClass::ReadOnly, 0, 0x1000), (PageClass::Text, 0x1000, 0x2000)]);
        assert!(plan.regions.iter().all(|region| region.zero_from.is_none()));
        assert!(plan.is_seamless());
    }

    #[test]
    fn memory_beyond_the_file_is_zero() {
        let plan = plan(ObjectType::Relocatable, vec![load(0x100, 0x80, 0x5000, 0x1000, RW)]);
        assert_eq!(classes(&plan), [(PageClass::Data, 0, 0x1000), (PageClass::Zero, 0x1000, 0x6000)]);
        assert_eq!(plan.regions[0].zero_from, Some(Vaddr(0x180)));
    }

    #[test]
    fn a_segment_without_file_contents_is_all_zero() {
        let plan = plan(ObjectType::Relocatable, vec![load(0, 0, 0x1800, 0x1000, RW)]);
        assert_eq!(classes(&plan), [(PageClass::Zero, 0, 0x2000)]);
        assert!(plan.regions.iter().all(|region| region.zero_from.is_none()));
    }

    #[test]
    fn address_space_between_segments_is_a_hole() {
        let plan = plan(
            ObjectType::Relocatable,
            vec![load(0, 0x10, 0x10, 0x1000, R), load(0x200000, 0x10, 0x10, 0x1000, RW)],
        );
        assert_eq!(classes(&plan)[2], (PageClass::Hole, 0x1000, 0x200000));
        assert!(!plan.is_seamless());
    }

    #[test]
    fn moderate_alignments_are_honoured() {
        let placement_for =
            |align| plan(ObjectType::Relocatable, vec![load(0, 0x10, 0x10, align, R)]).placement;
        assert_eq!(placement_for(0x10000), Placement::Aligned { to: 0x10000, at: 0 });
        assert_eq!(placement_for(0x200000), Placement::Aligned { to: PAGE_SIZE, at: 0 });
    }

    #[test]
    fn unused_ends_are_outside_of_what_is_sealed() {
        let loads = vec![load(0x1e10, 0x300, 0x400, 0x1000, RW), load(0x4000, 0x10, 0x10, 0x1000, R)];
        let open = Segments { loads: loads.into(), ..Segments::default() };
        let ends = |segments: &Segments| unused_ends(segments).map(|gap| (gap.start.0, gap.end.0)).collect();
        let all: Vec<(u64, u64)> = ends(&open);
        assert_eq!(all, [(0x1000, 0x1e10), (0x2210, 0x3000)]);
        let sealed = Segments { relro: Some(Vaddr(0x1000)..Vaddr(0x2000)), ..open };
        let rest: Vec<(u64, u64)> = ends(&sealed);
        assert_eq!(rest, [(0x2210, 0x3000)]);
    }

    #[test]
    fn executables_stay_where_they_were_linked() {
        let loads = vec![load(0x400000, 0x10, 0x10, 0x1000, R)];
        assert_eq!(plan(ObjectType::Fixed, loads.clone()).placement, Placement::Exact);
        assert_eq!(plan(ObjectType::Relocatable, loads).placement, Placement::Preferred);
    }
}
