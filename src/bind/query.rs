//! What is searched for, and what is known before the search begins: several are prepared together.

use crate::elf::SymbolName;

/// A search for a name.
#[derive(Clone, Copy, Debug)]
pub struct Query<'n> {
    /// The name.
    pub name: SymbolName<'n>,
    pub(super) ahead: Ahead,
}

/// What is known of where a name is defined.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ahead {
    Nothing,
    /// Where it leads to in the table of all names.
    Bucket(Bucket),
    /// What a walk looks at first.
    Candidate(Candidate),
}

/// A bucket of the table: a range of its exports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    pub start: u32,
    pub end: u32,
}

/// The first symbol in a scope that may have a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The place of its object in the scope.
    pub place: u32,
    /// Its number.
    pub symbol: u32,
}

impl<'n> From<SymbolName<'n>> for Query<'n> {
    #[inline]
    fn from(name: SymbolName<'n>) -> Self {
        Self { name, ahead: Ahead::Nothing }
    }
}
