//! What is searched for. Some searches are prepared together: what they will read lies far apart, mostly out of the near caches,
//! so that it is asked for step by step for all of them, and the waiting times overlap.

use crate::elf::SymbolName;
use crate::sys::prefetch;

use super::Entry;

/// A search for a name.
#[derive(Clone, Copy, Debug)]
pub struct Query<'n> {
    /// The name.
    pub name: SymbolName<'n>,
    /// The first symbols of the right hash value in the global scope's first group, as far as they are known: others (of a name that
    /// many objects define) are hardly ever looked at.
    pub(super) likely: [Candidate; 2],
}

/// A symbol that may have the name: its hash value is the same, but for the lowest bit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The place of the object in the scope.
    pub place: u32,
    /// The symbol's number.
    pub symbol: u32,
}

impl Candidate {
    /// None: no scope has so many objects.
    const NONE: Self = Self { place: u32::MAX, symbol: 0 };
}

impl<'n> From<SymbolName<'n>> for Query<'n> {
    #[inline]
    fn from(name: SymbolName<'n>) -> Self {
        Self { name, likely: [Candidate::NONE; 2] }
    }
}

impl Query<'_> {
    /// Asks for the entries of the symbols that it will read.
    #[inline]
    pub(super) fn prefetch_symbols(&self, entries: &[Entry]) {
        for Candidate { place, symbol } in self.likely {
            if let Some(symbol) = entries.get(place as usize).and_then(|entry| entry.table.raw_entry(symbol)) {
                prefetch(symbol);
            }
        }
    }

    /// Asks for their names. Reads the entries.
    #[inline]
    pub(super) fn prefetch_names(&self, entries: &[Entry]) {
        for Candidate { place, symbol } in self.likely {
            if let Some(text) = entries.get(place as usize).and_then(|entry| entry.table.start_of_name(symbol)) {
                prefetch(text);
            }
        }
    }
}
