//! The memory of an object that relocations may write: its writable segments. A relocation that points elsewhere is
//! corrupt.

use core::ops::Range;

use goblin::elf64::reloc::Rela;
use smallvec::SmallVec;

use crate::elf::{
    Address, LoadBias, PAGE_SIZE, SegmentFlags, Segments, USUAL_SEGMENTS, Vaddr, page_down, page_up,
};
use crate::program::Object;
use crate::sys;

/// Where relocations of one object may write.
///
/// Tables that the loader reads (symbols, strings, hash tables) may lie in writable segments, too: patchelf moves them
/// there. No sane object relocates them. One that does changes them only between two reads, never during one, and as
/// every read checks its bounds afresh, the worst that comes of it is a wrong binding of that object.
#[derive(Debug)]
pub struct Slots {
    /// From the object's addresses to where the loader finds its bytes.
    memory: LoadBias,
    windows: SmallVec<[Range<u64>; USUAL_SEGMENTS]>,
    /// What is read-only after relocation.
    sealed: Range<u64>,
    /// The window that the last slot was in: relocations are sorted by address, mostly.
    current: Range<u64>,
}

impl Slots {
    /// The slots of a mapped object.
    pub fn of(object: &Object) -> Self {
        Self::elsewhere(object, object.mapping.bias)
    }

    /// The slots of an object whose bytes are not where it will be: `memory` leads to them.
    pub fn elsewhere(object: &Object, memory: LoadBias) -> Self {
        Self::among(&object.segments, object.dynamic.text_relocations, memory)
    }

    /// The slots in these segments; with `text`, all of them may be written.
    pub fn among(segments: &Segments, text: bool, memory: LoadBias) -> Self {
        let writable = segments.loads.iter().filter(|load| text || load.flags.contains(SegmentFlags::WRITE));
        let windows = writable.map(|load| load.range().start.0..load.range().end.0).collect();
        let sealed = segments.relro.clone().unwrap_or_default();
        Self { memory, windows, sealed: sealed.start.0..sealed.end.0, current: 0..0 }
    }

    /// The address of `size` writable bytes at `slot`.
    #[inline]
    fn locate(&mut self, slot: Vaddr, size: u64) -> Option<*mut u8> {
        let end = slot.0.checked_add(size)?;
        let holds = |window: &Range<u64>| window.start <= slot.0 && end <= window.end;
        if !holds(&self.current) {
            self.current = self.windows.iter().find(|window| holds(window))?.clone();
        }
        Some(self.memory.apply(slot).0 as *mut u8)
    }

    /// Where `slot` is in the process, if `size` bytes may be written there.
    pub fn address(&mut self, slot: Vaddr, size: u64) -> Option<Address> {
        self.locate(slot, size).map(|pointer| Address(pointer as u64))
    }

    /// Reads a word.
    ///
    /// # Safety
    /// The object is mapped as the model says.
    pub unsafe fn read(&mut self, slot: Vaddr) -> Option<u64> {
        let pointer = self.locate(slot, size_of::<u64>() as u64)?;
        // SAFETY: mapped, readable (segments that can be written can be read on x86-64), and in bounds.
        Some(unsafe { pointer.cast::<u64>().read_unaligned() })
    }

    /// Writes a value (a word, half a word, a pair of words).
    ///
    /// # Safety
    /// The object is mapped as the model says. None of its code runs meanwhile, unless the slot has been left open so far
    /// (`RTLD_LAZY`), so that no sane code uses it.
    #[inline]
    pub unsafe fn write<T: Copy>(&mut self, slot: Vaddr, value: T) -> Option<()> {
        let pointer = self.locate(slot, size_of::<T>() as u64)?;
        // SAFETY: mapped, writable and in bounds; no read of the loader's is under way.
        unsafe { pointer.cast::<T>().write_unaligned(value) };
        Some(())
    }

    /// Carries out relocations of type `kind` that add the load `bias` to a constant, as long as `entries` begins with such.
    /// Returns how many there were. One that may not be written ends the run, too.
    ///
    /// # Safety
    /// As for [`Slots::write`].
    pub unsafe fn write_run(&mut self, entries: &[Rela], kind: u32, bias: LoadBias) -> usize {
        const SIZE: u64 = size_of::<u64>() as u64;
        let in_run = |entry: &&Rela| entry.r_info == u64::from(kind);
        let mut done = 0;
        while let Some(first) = entries.get(done).filter(in_run) {
            if self.locate(Vaddr(first.r_offset), SIZE).is_none() {
                break;
            }
            let (start, last) = (self.current.start, self.current.end - SIZE);
            self.populate(&entries[done..], kind);
            let before = done;
            for entry in entries[done..].iter().take_while(in_run) {
                if entry.r_offset < start || entry.r_offset > last {
                    break;
                }
                let place = self.memory.apply(Vaddr(entry.r_offset)).0 as *mut u64;
                // SAFETY: the word lies in a window; otherwise as in `write`.
                unsafe { place.write_unaligned(bias.0.wrapping_add(entry.r_addend as u64)) };
                done += 1;
            }
            debug_assert!(done > before);
        }
        done
    }

    /// Asks for the pages of a long run at once, rather than fault by fault, as far as they are read-only after relocation: such
    /// data consists of little else than what is relocated.
    fn populate(&self, entries: &[Rela], kind: u32) {
        const LONG: usize = 512;
        const DENSE: u64 = 64;
        let in_run = |entry: &Rela| entry.r_info == u64::from(kind) && self.sealed.contains(&entry.r_offset);
        let Some(first) = entries.first().filter(|first| in_run(first)) else { return };
        // Link editors sort them: where the run ends is found by halving. A wrong guess costs a few pages.
        let count = entries.partition_point(in_run);
        let Some(last) = entries.get(count.saturating_sub(1)) else { return };
        let pages = page_down(first.r_offset)..page_up(last.r_offset).min(self.sealed.end);
        let length = pages.end.saturating_sub(pages.start);
        if count >= LONG && length > 0 && count as u64 / (length / PAGE_SIZE) >= DENSE {
            sys::populate_writable(self.memory.apply(Vaddr(pages.start)).0, length);
        }
    }

    /// Adds to a word.
    ///
    /// # Safety
    /// As for [`Slots::write`].
    #[inline]
    pub unsafe fn add(&mut self, slot: Vaddr, value: u64) -> Option<()> {
        let pointer = self.locate(slot, size_of::<u64>() as u64)?.cast::<u64>();
        // SAFETY: as in `write`.
        unsafe { pointer.write_unaligned(pointer.read_unaligned().wrapping_add(value)) };
        Some(())
    }

    /// Copies bytes into a slot.
    ///
    /// # Safety
    /// As for [`Slots::write`].
    pub unsafe fn copy(&mut self, slot: Vaddr, bytes: &[u8]) -> Option<()> {
        let pointer = self.locate(slot, bytes.len() as u64)?;
        // SAFETY: as in `write`; `copy` allows for overlap.
        unsafe { core::ptr::copy(bytes.as_ptr(), pointer, bytes.len()) };
        Some(())
    }
}
