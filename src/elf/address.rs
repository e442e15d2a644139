//! Addresses as types, so that an address of the file is never mistaken for one of the process.

use core::fmt;
use core::ops::Range;

/// Size of a page in bytes: what x86-64 has, and the granularity of every mapping.
pub const PAGE_SIZE: u64 = 4096;

/// Rounds down to a page boundary.
pub const fn page_down(value: u64) -> u64 {
    value & !(PAGE_SIZE - 1)
}

/// Rounds up to a page boundary; wraps like the addresses themselves at the very end of the address space.
pub const fn page_up(value: u64) -> u64 {
    page_down(value.wrapping_add(PAGE_SIZE - 1))
}

/// A virtual address as the link editor wrote it into the file (before the load bias is added).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vaddr(pub u64);

/// An address in this process.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub u64);

/// What is added to an object's [`Vaddr`]s to get [`Address`]es: the gABI's base address. It may be "negative"
/// (an object placed below its link-time address), so the arithmetic wraps.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadBias(pub u64);

impl LoadBias {
    /// The bias of an object whose `vaddr` ended up at `address`.
    pub const fn between(address: Address, vaddr: Vaddr) -> Self {
        Self(address.0.wrapping_sub(vaddr.0))
    }

    /// Where `vaddr` is in this process.
    pub const fn apply(self, vaddr: Vaddr) -> Address {
        Address(self.0.wrapping_add(vaddr.0))
    }

    /// The link-time address of a place in this process.
    pub const fn unapply(self, address: Address) -> Vaddr {
        Vaddr(address.0.wrapping_sub(self.0))
    }

    /// Where a range of the file's addresses is in this process.
    pub fn apply_range(self, range: &Range<Vaddr>) -> Range<Address> {
        self.apply(range.start)..self.apply(range.end)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for LoadBias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
