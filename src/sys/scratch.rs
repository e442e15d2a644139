//! Memory that is needed for a while: unlike what the allocator gives, it goes back to the kernel.

use super::calls::{Errno, Memory, unmap};

/// Zeroed words.
#[derive(Debug)]
pub struct Scratch {
    address: u64,
    words: usize,
}

impl Scratch {
    /// Takes so many words. They will all be used, so the kernel is asked to provide the pages at once.
    ///
    /// # Errors
    /// What `mmap` says.
    pub fn new(words: usize) -> Result<Self, Errno> {
        let length = (words as u64).checked_mul(size_of::<u32>() as u64).ok_or(Errno::NOMEM)?;
        let memory = Memory { populate: true, ..Memory::zeroed(length.max(1)) };
        Ok(Self { address: memory.map(0)?, words })
    }

    /// The same memory as bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: as in `words`; bytes need no alignment.
        unsafe { core::slice::from_raw_parts_mut(self.address as *mut u8, self.words * size_of::<u32>()) }
    }

    /// The words.
    pub fn words(&mut self) -> &mut [u32] {
        // SAFETY: the pages are ours, zeroed at first, and as many; the borrow keeps others away.
        unsafe { core::slice::from_raw_parts_mut(self.address as *mut u32, self.words) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: ours, and nothing borrows them any more.
        unsafe { unmap(self.address, (self.words * size_of::<u32>()) as u64) };
    }
}
