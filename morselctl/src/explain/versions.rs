//! The versions of symbols (the Linux Standard Base, "Symbol Versioning"), which musl and we bind without: only to be shown.

use std::collections::HashMap;

use goblin::elf64::dynamic::{DT_NULL, DT_VERDEF, DT_VERNEED, Dyn};
use ld_morsel::elf::Vaddr;
use ld_morsel::program::Object;

/// The bits of a `DT_VERSYM` entry that are the version's number.
const NUMBER: u16 = 0x7fff;

/// The versions of an object's symbols.
pub struct Versions<'a> {
    /// By number.
    names: HashMap<u16, String>,
    /// `DT_VERSYM`
    symbols: &'a [u16],
}

impl<'a> Versions<'a> {
    /// Those of `object`; what is damaged is left out.
    pub fn of(object: &'a Object) -> Self {
        let symbols = object.dynamic.versym.and_then(|vaddr| object.view.table_from(vaddr, "DT_VERSYM").ok());
        let mut names = HashMap::new();
        let entries: &[Dyn] =
            object.view.table_from(object.summary.dynamic_section, "PT_DYNAMIC").unwrap_or_default();
        for entry in entries.iter().take_while(|entry| entry.d_tag != DT_NULL) {
            let bytes = || object.view.from(Vaddr(entry.d_val)).map(Bytes);
            let read = match entry.d_tag {
                DT_VERNEED => bytes().and_then(|bytes| read_needed(bytes, object, &mut names)),
                DT_VERDEF => bytes().and_then(|bytes| read_definitions(bytes, object, &mut names)),
                _ => continue,
            };
            read.unwrap_or_default();
        }
        Self { names, symbols: symbols.unwrap_or_default() }
    }

    /// The version of the symbol at `index`, if it has one.
    pub fn of_symbol(&self, index: u32) -> Option<&str> {
        let number = self.symbols.get(usize::try_from(index).ok()?)? & NUMBER;
        self.names.get(&number).map(String::as_str)
    }
}

/// A list that is longer is a hostile one.
const MOST_RECORDS: usize = 4096;

/// Records that are linked by offsets.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn half(self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn word(self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// What begins as far away as the word at `at` says.
    fn behind(self, at: usize) -> Option<Bytes<'a>> {
        self.0.get(self.word(at)? as usize..).map(Bytes)
    }

    /// The same; `None` at the end of a list.
    fn next(self, at: usize) -> Option<Bytes<'a>> {
        self.behind(at).filter(|_| self.word(at) != Some(0))
    }
}

/// The records of a list, whose links are at `next`.
fn chain(first: Bytes<'_>, next: usize) -> impl Iterator<Item = Bytes<'_>> {
    std::iter::successors(Some(first), move |record| record.next(next)).take(MOST_RECORDS)
}

fn name(object: &Object, offset: u32) -> Option<String> {
    Some(object.symbols.string(offset.into())?.to_string_lossy().into_owned())
}

/// `Elf64_Verneed`: vn_aux at 8, vn_next at 12; `Elf64_Vernaux`: vna_other at 6, vna_name at 8, vna_next at 12.
fn read_needed(bytes: Bytes<'_>, object: &Object, names: &mut HashMap<u16, String>) -> Option<()> {
    for file in chain(bytes, 12) {
        for version in chain(file.behind(8)?, 12) {
            names.insert(version.half(6)? & NUMBER, name(object, version.word(8)?)?);
        }
    }
    Some(())
}

/// `Elf64_Verdef`: vd_flags at 2, vd_ndx at 4, vd_aux at 12, vd_next at 16; `Elf64_Verdaux`: vda_name at 0. The definition of the
/// object's own name (`VER_FLG_BASE`) is no version.
fn read_definitions(bytes: Bytes<'_>, object: &Object, names: &mut HashMap<u16, String>) -> Option<()> {
    const VER_FLG_BASE: u16 = 1;
    for definition in chain(bytes, 16) {
        if definition.half(2)? & VER_FLG_BASE == 0 {
            names.insert(definition.half(4)? & NUMBER, name(object, definition.behind(12)?.word(0)?)?);
        }
    }
    Some(())
}
