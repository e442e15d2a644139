//! Memory in the shape of an image, in which libraries are relocated: what lies at a place of the image lies at that
//! distance from the beginning. It takes address space for all of it, and memory for what is used.

use std::ops::Range;

use anyhow::{Context, Result};
use memmap2::{MmapMut, MmapOptions};

/// See the module.
pub struct Buffer(MmapMut);

impl Buffer {
    /// Zeros.
    ///
    /// # Errors
    /// There is no address space for it.
    pub fn new(size: u64) -> Result<Self> {
        let length = usize::try_from(size.max(1)).context("the image is too large")?;
        let map = MmapOptions::new().len(length).no_reserve_swap().map_anon();
        Ok(Self(map.with_context(|| format!("no address space for an image of {} MiB", size >> 20))?))
    }

    /// Where it begins in this process.
    pub fn address(&mut self) -> u64 {
        self.0.as_mut_ptr() as u64
    }

    /// Some of it.
    pub fn at(&self, range: &Range<u64>) -> &[u8] {
        &self.0[range.start as usize..range.end as usize]
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, range: &Range<u64>) -> &mut [u8] {
        &mut self.0[range.start as usize..range.end as usize]
    }
}
