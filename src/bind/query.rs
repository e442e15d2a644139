//! What is searched for, and what is known before the search begins: several are prepared together.

use crate::elf::SymbolName;
use crate::sys::prefetch;

use super::Entry;

/// A search for a name.
#[derive(Clone, Copy, Debug)]
pub struct Query<'n> {
    /// The name.
    pub name: SymbolName<'n>,
    pub(super) ahead: Ahead,
}

/// The first symbols of the right hash value are likely to be looked at, later ones (of a name that many objects define) are not.
pub(super) const LIKELY: usize = 2;

/// What is known of where the global scope's first group defines a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ahead {
    Nothing,
    /// The first candidate of all, where a walk has come to; the others in its object are behind it in the chain.
    Walk(Candidate),
    /// The first candidates, in order of the scope.
    Likely([Candidate; LIKELY]),
}

/// A symbol that may have the name: its hash value is the same, but for the lowest bit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The place of its object in the scope.
    pub place: u32,
    /// Its number.
    pub symbol: u32,
}

impl Candidate {
    /// No symbol: no scope has so many objects.
    pub const NONE: Self = Self { place: u32::MAX, symbol: 0 };

    /// Asks for the symbol's entry.
    #[inline]
    pub fn prefetch_symbol(&self, entries: &[Entry]) {
        let entry = entries.get(self.place as usize);
        entry.and_then(|entry| entry.table.raw_entry(self.symbol)).into_iter().for_each(prefetch);
    }

    /// Asks for its name. Reads the entry.
    #[inline]
    pub fn prefetch_name(&self, entries: &[Entry]) {
        let entry = entries.get(self.place as usize);
        entry.and_then(|entry| entry.table.start_of_name(self.symbol)).into_iter().for_each(prefetch);
    }
}

impl<'n> From<SymbolName<'n>> for Query<'n> {
    #[inline]
    fn from(name: SymbolName<'n>) -> Self {
        Self { name, ahead: Ahead::Nothing }
    }
}
