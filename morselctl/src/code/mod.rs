//! Machine code, read with certainty: where the instructions of a library are and what they refer to, or the reason why
//! that cannot be said.
//!
//! Who moves the segments of a library apart, or turns calls through slots into direct ones, must know every reference; one
//! byte that may be something else, and the library stays as it is. So all executable bytes are accounted for: functions are
//! delimited by unwind tables and symbols and read from beginning to end (`decode`); what is left must be entered by a call or
//! jump from there, or be padding. All branches lead to where an instruction begins; nothing reads code as if it were data.
//!
//! [`moves`] finds what to change so that segments can be moved apart, [`calls`] makes calls direct, and [`verify`] checks
//! the result without using either. `jump_tables` finds the distances to code in read-only data, and [`hidden`] what may be others.
//! [`idle`] knows functions that need not be called.

pub mod calls;
mod decode;
mod file;
mod flow;
mod handlers;
pub mod hidden;
pub mod idle;
mod jump_tables;
pub mod moves;
mod patch;
mod plt;
mod reference;
mod relocations;
mod tables;
mod uncertain;
mod unwind;
pub mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ld_morsel::elf::Vaddr;

use decode::Decoded;
use file::File;
pub use file::Section;
pub use patch::{Patch, apply, overlay};
pub use plt::Stub;
pub use reference::{Field, Kind, Reference};
pub use relocations::Distance;
pub use uncertain::Uncertain;
pub use unwind::Pointer;
use unwind::Unwind;

/// A library's code.
pub struct Code<'a> {
    file: File<'a>,
    decoded: Decoded,
    unwind: Unwind,
    stubs: BTreeMap<Vaddr, Stub>,
    functions: Vec<Range<Vaddr>>,
}

impl<'a> Code<'a> {
    /// Reads the code of a library, all of whose file is in `bytes`.
    ///
    /// # Errors
    /// It cannot be read with certainty.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Uncertain> {
        let file = File::read(bytes)?;
        let unwind = Unwind::read(&file)?;
        let mut ranges = unwind.functions.clone();
        ranges.extend(file.functions.iter().cloned());
        let whole = |section: &&Section<'_>| {
            plt::SECTIONS.contains(&section.name) || [".init", ".fini"].contains(&section.name)
        };
        ranges.extend(file.sections.iter().filter(whole).map(|section| section.range.clone()));
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        ranges.dedup();
        let functions = merge(&ranges);
        let ends: BTreeSet<Vaddr> = functions.iter().map(|function| function.end).collect();
        let inner_ends = ranges.iter().map(|range| range.end).filter(|end| !ends.contains(end));
        let boundaries: Vec<Vaddr> = ranges.iter().map(|range| range.start).chain(inner_ends).collect();
        let decoded = Decoded::read(&file, &functions, &boundaries)?;
        let stubs = plt::stubs(&file)?;
        let code = Self { file, decoded, unwind, stubs, functions };
        code.check_addresses(&boundaries)?;
        Ok(code)
    }

    /// Every branch, and every operand relative to the instruction pointer, in the order of addresses.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.decoded.references.iter()
    }

    /// The sections that have addresses, in their order.
    pub fn sections(&self) -> &[Section<'a>] {
        &self.file.sections
    }

    /// Functions of known size, in their order; those that overlap are one.
    pub fn functions(&self) -> &[Range<Vaddr>] {
        &self.functions
    }

    /// Whether the unwind tables have an entry at an address.
    pub fn is_frame(&self, at: Vaddr) -> bool {
        self.unwind.frames.binary_search(&at).is_ok()
    }

    /// Where control enters code, in order: functions of known size, and whatever else something outside these leads to.
    pub fn beginnings(&self) -> Vec<Vaddr> {
        let within = |at: Vaddr| {
            let next = self.functions.partition_point(|function| function.start <= at);
            next.checked_sub(1).is_some_and(|last| self.functions[last].contains(&at))
        };
        let targets =
            self.references().filter(|reference| reference.is_branch()).map(|reference| reference.target);
        let others = self.file.entries.iter().copied().chain(targets);
        let others = others.chain(self.decoded.beginnings.iter().copied()).filter(|at| !within(*at));
        let all: BTreeSet<Vaddr> =
            self.functions.iter().map(|function| function.start).chain(others).collect();
        all.into_iter().collect()
    }

    /// The stubs of the procedure linkage table, by the addresses at which they may be called.
    pub fn stubs(&self) -> &BTreeMap<Vaddr, Stub> {
        &self.stubs
    }

    /// The distances in unwind tables and in tables of exception handlers.
    pub fn unwind_pointers(&self) -> &[Pointer] {
        &self.unwind.pointers
    }

    /// The distances in the table by which unwinders search (`.eh_frame_hdr`).
    ///
    /// # Errors
    /// It is of an unknown kind.
    pub fn search_table(&self) -> Result<Vec<Pointer>, Uncertain> {
        unwind::search_table(&self.file)
    }

    /// The distances to code in jump tables, which count from the beginning of their table. [`hidden`] looks for others.
    ///
    /// # Errors
    /// An indirect branch is not understood.
    pub fn jump_tables(&self) -> Result<Vec<Pointer>, Uncertain> {
        jump_tables::find(self)
    }

    /// The section that has an address.
    pub fn section_at(&self, at: Vaddr) -> Option<&Section<'a>> {
        self.file.section_at(at)
    }

    /// The section of a name.
    pub fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.file.section(name)
    }

    /// Whether an address is in the procedure linkage table.
    pub fn is_linkage_table(&self, at: Vaddr) -> bool {
        self.section_at(at).is_some_and(|section| plt::SECTIONS.contains(&section.name))
    }

    /// Whether an address is that of a slot whose address is handed on, to `__tls_get_addr` or a descriptor's function.
    pub fn is_tls_slot(&self, at: Vaddr) -> bool {
        self.file.tls_slots.contains(&at)
    }

    /// Symbols of what is not code.
    pub fn data_symbols(&self) -> &BTreeSet<Vaddr> {
        &self.file.data_symbols
    }

    /// What dynamic relocations write into, and the address that they write if it is one of this file. Where the symbol may
    /// be bound to another file's definition, that address is what it would be without one.
    pub fn relocated(&self) -> &BTreeMap<Vaddr, Option<Vaddr>> {
        &self.file.relocated
    }

    /// The reference whose distance is in a field.
    pub fn reference_with(&self, field: Field) -> Option<&Reference> {
        let references = &self.decoded.references;
        let next = references.partition_point(|reference| reference.at <= field.at);
        references.get(next.checked_sub(1)?).filter(|reference| reference.field == field)
    }

    /// Whether an instruction begins at an address.
    pub fn begins(&self, at: Vaddr) -> bool {
        self.decoded.begins(at)
    }

    /// The file's bytes from one address on, as far as `length` and the section go.
    pub fn bytes(&self, at: Vaddr, length: usize) -> &'a [u8] {
        let Some(section) = self.file.section_at(at) else { return &[] };
        let rest = section.bytes.get((at.0 - section.range.start.0) as usize..).unwrap_or(&[]);
        &rest[..length.min(rest.len())]
    }

    /// The distances that the link editor left relocations for (`--emit-relocs`), in code and elsewhere; `None` if it left none.
    ///
    /// # Errors
    /// There is one of a kind that cannot be followed.
    pub fn from_relocations(&self) -> Result<Option<Vec<Distance>>, Uncertain> {
        self.file.left.as_ref().map(|left| relocations::distances(&self.file, left)).transpose()
    }

    /// What is used as an address in code must be the beginning of a function, and what the code reads must not be code.
    fn check_addresses(&self, boundaries: &[Vaddr]) -> Result<(), Uncertain> {
        let mut beginnings: BTreeSet<Vaddr> = boundaries.iter().chain(&self.file.entries).copied().collect();
        beginnings.extend(self.file.labels.iter().filter(|label| self.begins(**label)));
        beginnings.extend(self.stubs.keys().chain(&self.decoded.beginnings));
        for reference in self.references().filter(|reference| !reference.is_branch()) {
            let known = reference.kind == Kind::Address && beginnings.contains(&reference.target);
            if self.file.is_code(reference.target) && !known {
                return Err(Uncertain::DataAmongCode(reference.at, reference.target));
            }
        }
        for (place, target) in &self.file.relocated {
            let Some(target) = *target else { continue };
            if self.file.is_code(target) && !self.begins(target) {
                return Err(Uncertain::Astray(*place, target));
            }
        }
        Ok(())
    }
}

/// Joins ranges that overlap, which must be sorted by where they begin.
fn merge(ranges: &[Range<Vaddr>]) -> Vec<Range<Vaddr>> {
    let mut merged: Vec<Range<Vaddr>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push(range.clone()),
        }
    }
    merged
}
