//! Making the layout real: files become memory, through one interface with interchangeable backends.
//!
//! [`load`] takes an open file all the way to an [`Object`](crate::program::Object); [`adopt`] describes what the
//! kernel has mapped already. [`protect`] is the one place that changes protections afterwards.

pub mod adopt;
mod file;
pub mod load;
pub mod protect;
mod system;

use alloc::boxed::Box;

use crate::config::MapChoice;
use crate::elf::Address;
use crate::layout::Plan;
use crate::sys::{Errno, File};

pub use file::FileMapper;
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
}

/// The backend that the user chose, or the best that there is. Below the address `below` there is probably free space.
pub fn backend(choice: MapChoice, below: Option<Address>) -> Box<dyn Mapper> {
    if matches!(choice, MapChoice::Morsel | MapChoice::Huge) {
        log::warn!("LD_MORSEL_MAP={}: not available, mapping files as usual", choice.name());
    }
    Box::new(FileMapper::new(below))
}
