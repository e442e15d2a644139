//! Making the layout real: files become memory, through one interface with interchangeable backends.
//!
//! [`load`] takes an open file all the way to an [`Object`](crate::program::Object); [`adopt`] describes what the
//! kernel has mapped already. [`protect`] is the one place that changes protections afterwards.

pub mod adopt;
mod file;
pub mod libc;
pub mod load;
mod morsel;
mod pieces;
pub mod protect;
mod system;

use alloc::boxed::Box;
use core::ops::Range;

use crate::config::MapChoice;
use crate::elf::{Address, Segments};
use crate::layout::Plan;
use crate::sys::{Errno, File};

pub use file::FileMapper;
pub use pieces::PieceMapper;
pub use system::System;

/// A way to put a planned object into memory.
pub trait Mapper {
    /// The backend's name, as in `LD_MORSEL_MAP` and `LD_MORSEL_STATS`.
    fn name(&self) -> &'static str;

    /// Maps all regions of `plan` and returns where the first page of its span is.
    ///
    /// # Errors
    /// What the kernel says; `EBUSY` if an object must have its link-time address and cannot (as in musl). Nothing
    /// stays mapped then.
    fn map(&mut self, plan: &Plan, file: &File) -> Result<Address, Errno>;

    /// The same of a libc of the usual kind, in a way that suits it. `None` if it is not mapped: it is an object as others are.
    fn map_libc(&mut self, _plan: &Plan, _segments: &Segments, _file: &File) -> Option<Address> {
        None
    }

    /// Adapts a plan before it is carried out.
    fn prepare(&mut self, _plan: &mut Plan, _file: &File) {}

    /// The object that has been mapped at `start` is sound, and its code and read-only data will not be written to.
    fn share(&mut self, _plan: &Plan, _start: Address, _file: File) {}

    /// The object that has been mapped at `start` is sound, but all of it must be fit for being written to.
    fn keep_private(&mut self, _plan: &Plan, _start: Address, _file: &File) {}

    /// What is mapped at `pages` is about to be unmapped.
    fn forget(&mut self, _pages: &Range<Address>) {}

    /// All objects of a load are mapped, and none of them is in use yet.
    fn settle(&mut self) {}

    /// What became of regions that are mapped in pieces of 2 MiB.
    fn pieces(&self) -> &[Piecewise] {
        &[]
    }
}

/// A region in pieces of 2 MiB.
#[derive(Debug)]
pub struct Piecewise {
    /// Where it is.
    pub pages: Range<Address>,
    /// `shared`, or why its page tables are not.
    pub state: &'static str,
}

/// The backend that the user chose, or the best that there is. Below the address `below` there is probably free space.
pub fn backend(choice: MapChoice, below: Option<Address>) -> Box<dyn Mapper> {
    let files = FileMapper::new(below);
    match choice {
        // Filling a morsel costs 0.1 million instructions for each MiB, whatever the program needs of it, and how much that is
        // cannot be known before: it must be asked for (`docs/morsels.md`).
        MapChoice::Auto => Box::new(PieceMapper::with_morsels(files, true)),
        MapChoice::Morsel => Box::new(PieceMapper::with_morsels(files, false)),
        MapChoice::Huge => Box::new(PieceMapper::with_huge_pages(files)),
        MapChoice::File => Box::new(files),
    }
}
