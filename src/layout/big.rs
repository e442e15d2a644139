//! What of an object can be mapped in pieces of 2 MiB, the reach of one page table and the size of a huge page: the inside of
//! its text and read-only data. For that their addresses and the pieces' must agree.

use alloc::vec::Vec;
use core::ops::Range;

use crate::elf::{Address, LoadBias, Vaddr};
use crate::sys::MemoryFlags;

use super::{PageClass, Placement, Plan, Region};

/// The size of a piece.
pub const PIECE: u64 = 2 << 20;

/// Which addresses begin a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// Where the largest region begins: as much as possible of it is in pieces, of whatever part of the file.
    WithRegion,
    /// Where a piece of the file begins: huge pages of the page cache can be mapped.
    WithFile,
}

/// Part of a region, made of whole pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigRegion {
    /// From the beginning of the first piece to the end of the last one.
    pub pages: Range<Address>,
    /// Where in the file it begins.
    pub file_offset: u64,
    /// What may be done with it.
    pub flags: MemoryFlags,
    /// The bytes of the pages that the region itself has of it: the rest of the last piece is behind the region's end.
    pub used: u64,
}

impl Plan {
    /// Asks for an address at which pieces begin so. Returns whether that is worth it: whether the regions that can be shared have
    /// `least` bytes in pieces then.
    pub fn prefer_pieces(&mut self, begins: Begins, least: u64) -> bool {
        let Placement::Aligned { to: own, at: 0 } = self.placement else { return false };
        let length = |region: &&Region| region.length();
        let shared = || self.regions.iter().filter(|region| region.is_shared());
        // Most objects are too small, however they lie.
        if shared().map(|region| length(&region)).sum::<u64>() < least {
            return false;
        }
        let largest = shared().max_by_key(length);
        let Some(largest) = largest else { return false };
        let offset = match begins {
            Begins::WithRegion => 0,
            Begins::WithFile => largest.file_offset.unwrap_or_default(),
        };
        let distance = largest.pages.start.0 - self.span.start.0;
        // The object's own alignment holds, too.
        let at = (distance.wrapping_sub(offset) % PIECE).next_multiple_of(own) % PIECE;
        let placement = Placement::Aligned { to: PIECE, at };
        let pieces = self.big_regions(self.any_start(placement));
        let bytes: u64 = pieces.iter().map(|region| region.used).sum();
        if bytes < least {
            return false;
        }
        self.placement = placement;
        true
    }

    /// The pieces wherever the plan wants to be; the addresses are only right within a piece.
    pub fn pieces_anywhere(&self) -> Vec<BigRegion> {
        self.big_regions(self.any_start(self.placement))
    }

    /// Has the regions that have pieces mapped as shared memory, with all of a last piece that is followed by a hole.
    pub fn map_pieces_shared(&mut self) {
        let bias = LoadBias::between(self.any_start(self.placement), self.span.start);
        for index in 0..self.regions.len() {
            let region = &self.regions[index];
            let Some(pieces) = self.big_region(region, bias).filter(|_| region.is_shared()) else { continue };
            let end = region.pages.end;
            let missing = pieces.pages.end.0.saturating_sub(bias.apply(end).0);
            let after = |hole: &&mut Region| hole.class == PageClass::Hole && hole.pages.start == end;
            if let Some(hole) = self.regions.iter_mut().find(after) {
                hole.pages.start.0 += missing;
            }
            let region = &mut self.regions[index];
            region.pages.end.0 += missing;
            region.shared = true;
        }
    }

    /// An address for the span that is aligned so, for counting.
    fn any_start(&self, placement: Placement) -> Address {
        Address((self.length() + PIECE).next_multiple_of(PIECE) - placement.at())
    }

    /// The pieces if the span is mapped at `start`. A last one that the region fills only in part counts if nothing but a hole
    /// follows.
    pub fn big_regions(&self, start: Address) -> Vec<BigRegion> {
        let bias = LoadBias::between(start, self.span.start);
        let shared = self.regions.iter().filter(|region| region.is_shared());
        shared.filter_map(|region| self.big_region(region, bias)).collect()
    }

    fn big_region(&self, region: &Region, bias: LoadBias) -> Option<BigRegion> {
        let (start, end) = (bias.apply(region.pages.start).0, bias.apply(region.pages.end).0);
        let first = start.checked_next_multiple_of(PIECE)?;
        let beyond = end.checked_next_multiple_of(PIECE)?;
        let free = region.pages.end..Vaddr(region.pages.end.0 + (beyond - end));
        let last = if self.is_hole(&free) { beyond } else { end / PIECE * PIECE };
        (first < last && first < end).then(|| BigRegion {
            pages: Address(first)..Address(last),
            file_offset: region.file_offset.unwrap_or_default() + (first - start),
            flags: region.flags,
            used: end.min(last) - first,
        })
    }

    fn is_hole(&self, pages: &Range<Vaddr>) -> bool {
        let holes = || self.regions.iter().filter(|region| region.class == PageClass::Hole);
        pages.is_empty() || holes().any(|hole| hole.pages.start <= pages.start && pages.end <= hole.pages.end)
    }
}

impl Region {
    /// Bytes of its pages.
    pub fn length(&self) -> u64 {
        self.pages.end.0 - self.pages.start.0
    }

    /// Whether the region is the same in every process.
    fn is_shared(&self) -> bool {
        matches!(self.class, PageClass::Text | PageClass::ReadOnly) && self.file_offset.is_some()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::elf::{LoadSegment, ObjectType, SegmentFlags, Segments};

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    /// Read-only data, text and data, one behind the other or far apart.
    fn plan(read_only: u64, text: u64, data_at: u64) -> Plan {
        let load = |vaddr, size, flags| LoadSegment {
            vaddr: Vaddr(vaddr),
            offset: vaddr,
            filesz: size,
            memsz: size,
            align: 4096,
            flags,
        };
        let code = SegmentFlags::READ | SegmentFlags::EXECUTE;
        let loads = vec![
            load(0, read_only, SegmentFlags::READ),
            load(read_only, text, code),
            load(data_at, 4 * KIB, SegmentFlags::READ | SegmentFlags::WRITE),
        ];
        Plan::new(ObjectType::Relocatable, &Segments { loads: loads.into(), ..Segments::default() })
    }

    #[test]
    fn text_begins_with_a_piece_and_leaves_its_tail() {
        let mut plan = plan(64 * KIB, 5 * MIB, 6 * MIB);
        assert!(plan.prefer_pieces(Begins::WithRegion, 4 * MIB));
        assert_eq!(plan.placement, Placement::Aligned { to: PIECE, at: 64 * KIB });
        let start = Address(64 * MIB - 64 * KIB);
        let found = plan.big_regions(start);
        // The hole behind the text is long enough for the rest of the third piece.
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pages, Address(64 * MIB)..Address(68 * MIB));
        assert_eq!((found[0].file_offset, found[0].used), (64 * KIB, 4 * MIB));
    }

    #[test]
    fn pieces_may_be_those_of_the_file() {
        let mut plan = plan(64 * KIB, 5 * MIB, 6 * MIB);
        assert!(plan.prefer_pieces(Begins::WithFile, 2 * MIB));
        let found = plan.big_regions(Address(64 * MIB));
        assert_eq!((found[0].pages.start, found[0].file_offset), (Address(66 * MIB), 2 * MIB));
    }

    #[test]
    fn the_alignment_of_the_object_holds() {
        let mut plan = plan(0x1000, 5 * MIB, 6 * MIB);
        plan.placement = Placement::Aligned { to: 64 * KIB, at: 0 };
        assert!(plan.prefer_pieces(Begins::WithRegion, MIB));
        assert_eq!(plan.placement, Placement::Aligned { to: PIECE, at: 64 * KIB });
        assert_eq!(plan.big_regions(Address(64 * MIB - 64 * KIB))[0].file_offset, 64 * KIB);
    }

    #[test]
    fn a_tail_is_shared_where_nothing_follows() {
        let plan = plan(0x1000, 300 * KIB, 1 << 30);
        let mut wanting = plan.clone();
        assert!(wanting.prefer_pieces(Begins::WithRegion, 256 * KIB));
        assert!(!plan.clone().prefer_pieces(Begins::WithRegion, MIB));
        let found = wanting.big_regions(Address(32 * MIB - 0x1000));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].pages, Address(32 * MIB)..Address(34 * MIB));
        assert_eq!(found[0].used, 300 * KIB);
    }

    #[test]
    fn shared_regions_take_the_rest_of_their_last_piece_from_a_hole() {
        let mut plan = plan(0x1000, 300 * KIB, 1 << 30);
        assert!(plan.prefer_pieces(Begins::WithRegion, 256 * KIB));
        plan.map_pieces_shared();
        let shared: Vec<_> = plan.regions.iter().filter(|region| region.shared).collect();
        assert_eq!(shared.len(), 1);
        assert_eq!(shared[0].pages, Vaddr(0x1000)..Vaddr(0x1000 + PIECE));
        let hole = plan.regions.iter().find(|region| region.class == PageClass::Hole).unwrap();
        assert_eq!(hole.pages, Vaddr(0x1000 + PIECE)..Vaddr(1 << 30));
        assert_eq!(plan.pieces_anywhere()[0].used, PIECE);
    }

    #[test]
    fn what_follows_text_without_a_hole_stays_as_it_is() {
        let mut plan = plan(64 * KIB, 5 * MIB, 64 * KIB + 5 * MIB);
        let before = plan.regions.clone();
        assert!(plan.prefer_pieces(Begins::WithRegion, 4 * MIB));
        plan.map_pieces_shared();
        for (region, old) in plan.regions.iter().zip(&before) {
            assert_eq!((&region.pages, region.shared), (&old.pages, old.class == PageClass::Text));
        }
    }

    #[test]
    fn small_and_fixed_objects_are_left_alone() {
        assert!(!plan(64 * KIB, MIB, 2 * MIB).prefer_pieces(Begins::WithFile, 1));
        let load = LoadSegment {
            vaddr: Vaddr(0x400000),
            offset: 0,
            filesz: 8 * MIB,
            memsz: 8 * MIB,
            align: 4096,
            flags: SegmentFlags::READ,
        };
        let segments = Segments { loads: [load].into_iter().collect(), ..Segments::default() };
        assert!(!Plan::new(ObjectType::Fixed, &segments).prefer_pieces(Begins::WithFile, 1));
    }
}
