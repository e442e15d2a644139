//! Which relocations refer to a name: what an image needs to stay in use when a process has objects beside its members, such as
//! preloaded ones. Their definitions may come first in the scope; then everything that refers to one of their names is bound
//! anew. A start without such objects does not look at this.
//!
//! The index lies in the first window behind the program's tables, and has a checksum of its own.

use alloc::vec::Vec;

use crate::elf::{Relocation, RelocationTable, SymbolName};
use crate::program::Object;

/// A relocation that refers to a name: the name's hash value (`DT_GNU_HASH`), the number of the member, and which of the member's
/// relocations it is.
type Reference = [u32; 3];

/// The index: references in ascending order. The names are in the members' own tables.
#[derive(Clone, Copy, Debug)]
pub struct References<'a>(&'a [Reference]);

impl<'a> References<'a> {
    /// An index that [`Collector::to_bytes`] has made. `bytes` begin at a multiple of a word.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let words: &[u32] = plain::slice_from_bytes(bytes).ok()?;
        let (references, rest) = words.as_chunks();
        rest.is_empty().then_some(Self(references))
    }

    /// Members and relocations whose symbol may have that name: its hash value is the same.
    pub fn candidates(&self, name: &SymbolName<'_>) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let hash = name.gnu_hash();
        let first = self.0.partition_point(|reference| reference[0] < hash);
        let same = self.0[first..].iter().take_while(move |reference| reference[0] == hash);
        same.map(|&[_, member, number]| (member, number))
    }
}

/// Makes an index.
#[derive(Debug, Default)]
pub struct Collector {
    references: Vec<Reference>,
}

impl Collector {
    /// Adds what refers to names of a member. `None` if the addend of such a relocation is in the slot, which will be
    /// overwritten: it cannot be done twice.
    pub fn add(&mut self, member: u32, object: &Object) -> Option<()> {
        let mut number = 0;
        for table in tables(object)? {
            for index in 0..table.len() {
                if let Some((relocation, name)) = named(object, table.get(index)?) {
                    relocation.addend?;
                    self.references.push([name.gnu_hash(), member, number]);
                }
                number += 1;
            }
        }
        Some(())
    }

    /// The bytes of the index.
    pub fn to_bytes(mut self) -> Vec<u8> {
        self.references.sort_unstable();
        self.references.iter().flatten().flat_map(|half| half.to_le_bytes()).collect()
    }
}

/// An object's relocation of that number, and the name to which it refers.
pub fn reference(object: &Object, number: u32) -> Option<(Relocation, SymbolName<'static>)> {
    let mut index = number as usize;
    for table in tables(object)? {
        match index.checked_sub(table.len()) {
            None => return named(object, table.get(index)?),
            Some(rest) => index = rest,
        }
    }
    None
}

/// An object's relocation tables.
fn tables(object: &Object) -> Option<[RelocationTable<'static>; 3]> {
    let dynamic = &object.dynamic;
    let table = |table, has_addends| RelocationTable::parse(&object.view, table, has_addends, "image").ok();
    Some([
        table(dynamic.jmprel, dynamic.jmprel_has_addends)?,
        table(dynamic.rel, false)?,
        table(dynamic.rela, true)?,
    ])
}

/// A relocation that is bound by name, with the name.
fn named(object: &Object, relocation: Relocation) -> Option<(Relocation, SymbolName<'static>)> {
    let symbol = object.symbols.get(relocation.symbol).filter(|_| relocation.symbol != 0)?;
    let name = object.symbols.name_of(&symbol).filter(|_| !symbol.is_local())?;
    Some((relocation, name))
}
