//! The memory of an object that relocations may write: its writable segments. A relocation that points elsewhere is
//! corrupt.

use alloc::vec::Vec;
use core::ops::Range;

use crate::elf::{Address, LoadBias, SegmentFlags, Vaddr};
use crate::program::Object;

/// Where relocations of one object may write.
///
/// Tables that the loader reads (symbols, strings, hash tables) may lie in writable segments, too: patchelf moves them
/// there. No sane object relocates them. One that does changes them only between two reads, never during one, and as
/// every read checks its bounds afresh, the worst that comes of it is a wrong binding of that object.
#[derive(Debug)]
pub struct Slots {
    /// From the object's addresses to where the loader finds its bytes.
    memory: LoadBias,
    windows: Vec<Range<u64>>,
    /// The window that the last slot was in: relocations are sorted by address, mostly.
    current: usize,
}

impl Slots {
    /// The slots of a mapped object.
    pub fn of(object: &Object) -> Self {
        Self::elsewhere(object, object.mapping.bias)
    }

    /// The slots of an object whose bytes are not where it will be: `memory` leads to them.
    pub fn elsewhere(object: &Object, memory: LoadBias) -> Self {
        let text = object.dynamic.text_relocations;
        let loads = object.segments.loads.iter();
        let writable = loads.filter(|load| text || load.flags.contains(SegmentFlags::WRITE));
        let windows = writable.map(|load| load.range().start.0..load.range().end.0).collect();
        Self { memory, windows, current: 0 }
    }

    /// The address of `size` writable bytes at `slot`.
    #[inline]
    fn locate(&mut self, slot: Vaddr, size: u64) -> Option<*mut u8> {
        let end = slot.0.checked_add(size)?;
        let holds = |window: &Range<u64>| window.start <= slot.0 && end <= window.end;
        if !self.windows.get(self.current).is_some_and(holds) {
            self.current = self.windows.iter().position(holds)?;
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
