//! Thread-local storage of the start-up objects: where each one's block lies below the thread pointer, and the merged
//! initial image that libc copies for every thread (TLS variant II of the psABI; `hosted-libc.md` of the design notes
//! is the story of the merged image).

pub mod dynamic;
pub mod x86_64;

use alloc::vec::Vec;

use goblin::elf64::reloc::R_X86_64_TPOFF64;

use crate::elf::{Address, RelocationTable, TlsSegment};
use crate::program::{Object, ObjectId, Program, TlsPlacement};

/// Bytes at the very bottom of the merged image that belong to the loader: zero in each new thread, at a fixed distance
/// below the thread pointer.
pub const LOADER_SLOT: u64 = 8;

/// musl keeps the main thread's storage in its own data as long as it takes no more bytes than this, the loader's slot
/// included (`builtin_tls`); beyond, it allocates.
const ROOM_IN_LIBC: u64 = 104;

/// Bytes kept for objects that are loaded later and use initial-exec access, where the start-up objects take more than
/// [`ROOM_IN_LIBC`] anyway. Where they take less, it is what is left of that.
const DEFAULT_SURPLUS: u64 = 512;

/// The layout of all static thread-local storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticTls {
    /// Bytes from the bottom of the merged image to the thread pointer; a multiple of `align`.
    pub size: u64,
    /// Alignment of the merged image and of the thread pointer, in bytes.
    pub align: u64,
    /// Offsets below the thread pointer by module id; entry 0 is unused.
    pub offsets: Vec<u64>,
    /// Bytes below the thread pointer that are in use.
    end: u64,
}

/// Bytes of zeroes from which on a block may wait for its first use.
const LARGE: u64 = 64 << 10;

/// Alignment of the surplus, in bytes, where libc allocates anyway.
const SURPLUS_ALIGN: u64 = 64;

/// Gives every object with thread-local storage its module id and offset, in the given order, the program first and
/// nearest the thread pointer: the offset of its variables is built into its code (`__dls3`, `load_library`). That is load
/// order, but objects that are not in an image come behind those that are, whose offsets are known to it.
/// `surplus` is how many bytes the user wants to keep for objects that are loaded later.
pub fn lay_out(
    program: &mut Program,
    order: impl Iterator<Item = ObjectId>,
    surplus: Option<u64>,
) -> StaticTls {
    let mut layout = StaticTls { align: LOADER_SLOT, offsets: alloc::vec![0], ..StaticTls::default() };
    let mut waiting = Vec::new();
    for id in order {
        let object = &program[id];
        let Some(segment) = object.tls_segment() else { continue };
        if id != ObjectId::PROGRAM && may_wait(object, &segment) {
            waiting.push(id);
            continue;
        }
        let image = object.address(segment.vaddr);
        layout.end = block_offset(layout.end, &segment, image);
        layout.align = layout.align.max(segment.align);
        let module = layout.offsets.len() as u64;
        layout.offsets.push(layout.end);
        program[id].tls = Some(TlsPlacement { module, offset: Some(layout.end) });
    }
    for (module, id) in (layout.offsets.len() as u64..).zip(waiting) {
        program[id].tls = Some(TlsPlacement { module, offset: None });
    }
    let left = ROOM_IN_LIBC.checked_sub(layout.end + LOADER_SLOT).filter(|_| layout.align == LOADER_SLOT);
    if left.is_none() || surplus.is_some() {
        // It costs no more now to have room for what needs alignment.
        layout.align = layout.align.max(SURPLUS_ALIGN);
    }
    let surplus = surplus.or(left).unwrap_or(DEFAULT_SURPLUS);
    layout.size = (layout.end + surplus + LOADER_SLOT).next_multiple_of(layout.align);
    layout
}

/// Whether a library's block can wait until a thread first uses it: libc copies the merged image for each new thread, zeroes
/// included. It must be certain that nobody counts on a fixed distance from the thread pointer, not even a library
/// that is loaded later: the library itself does not, and has no thread-local symbol for others.
fn may_wait(object: &Object, segment: &TlsSegment) -> bool {
    segment.memsz - segment.filesz >= LARGE
        && !object.symbols.iter().any(|(_, symbol)| symbol.is_tls())
        && !has_fixed_distances(object)
}

/// Whether an object asks for a distance from the thread pointer.
fn has_fixed_distances(object: &Object) -> bool {
    let dynamic = &object.dynamic;
    let tables = [(dynamic.jmprel, dynamic.jmprel_has_addends), (dynamic.rel, false), (dynamic.rela, true)];
    let mut found = dynamic.static_tls;
    for (table, has_addends) in tables {
        // A table that is out of bounds is reported when its turn comes.
        if let Ok(table) = RelocationTable::parse(&object.view, table, has_addends, "thread-local storage") {
            table.for_each(|relocation| found |= relocation.kind == R_X86_64_TPOFF64);
        }
    }
    found
}

impl StaticTls {
    /// Takes room for one more object from the surplus; its offset below the thread pointer.
    pub fn take_surplus(&mut self, segment: &TlsSegment, image: Address) -> Option<u64> {
        let offset = block_offset(self.end, segment, image);
        let fits = segment.align <= self.align && offset + LOADER_SLOT <= self.size;
        fits.then(|| core::mem::replace(&mut self.end, offset)).map(|_| offset)
    }

    /// The bytes in use below the thread pointer, to be put back by [`StaticTls::return_surplus`].
    pub fn in_use(&self) -> u64 {
        self.end
    }

    /// Undoes [`StaticTls::take_surplus`].
    pub fn return_surplus(&mut self, in_use: u64) {
        self.end = in_use;
    }
}

/// The offset of a block below the blocks that end at `end`: far enough for its size, and congruent to the address of
/// its image modulo its alignment, as musl has it.
fn block_offset(end: u64, segment: &TlsSegment, image: Address) -> u64 {
    let offset = end + segment.memsz;
    offset + (offset.wrapping_add(image.0).wrapping_neg() & (segment.align - 1))
}

/// Fills `merged`, the image of all of static thread-local storage (`layout.size` bytes), from the relocated
/// segments. Returns how many bytes from its start are not all zero, so that libc need not copy the rest.
pub fn merge_images(program: &Program, layout: &StaticTls, merged: &mut [u8]) -> u64 {
    // Images of later objects will come into the surplus.
    let mut initialised = layout.size - layout.end;
    for (id, object) in program.iter() {
        let (Some(segment), Some(tls)) = (object.tls_segment(), object.tls) else { continue };
        let Some(offset) = tls.offset else { continue };
        let start = layout.size - offset;
        let Some(image) = object.view.bytes(segment.vaddr, segment.filesz).filter(|image| !image.is_empty())
        else {
            continue;
        };
        merged[start as usize..][..image.len()].copy_from_slice(image);
        initialised = initialised.max(start + segment.filesz);
        log::debug!("TLS module {} of {:?} at -{:#x}", tls.module, id, offset);
    }
    initialised
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Vaddr;

    fn segment(memsz: u64, align: u64) -> TlsSegment {
        TlsSegment { vaddr: Vaddr(0), filesz: 0, memsz, align }
    }

    #[test]
    fn blocks_are_stacked_downwards_and_aligned() {
        let first = block_offset(0, &segment(10, 8), Address(0x1000));
        assert_eq!(first, 16);
        assert_eq!(block_offset(first, &segment(1, 64), Address(0x2000)), 64);
    }

    #[test]
    fn a_block_is_congruent_to_its_image() {
        // An image at 4 modulo 16: so must be the block, 12 below a multiple of 16.
        let offset = block_offset(0, &segment(8, 16), Address(0x1004));
        assert_eq!(offset, 12);
        assert_eq!(offset.wrapping_neg() % 16, 4);
    }
}
