//! Moving the segments of a library apart: what to change so that every reference from one to another still arrives.
//!
//! A library is divided into units that keep their inner distances: read-only data with unwind tables, code (both may be one), what
//! is read-only after relocation, data. Absolute addresses are the dynamic relocations' business; here it is distances: operands
//! of instructions, pointers in unwind tables, jump tables, and whatever else the link editor left a relocation for.
//!
//! Without the link editor's relocations an address says in which unit its object is, but compilers also form addresses at or
//! beyond the edges of objects: the end of an array, an array less a constant. Such an address in `lea` is taken for what it
//! looks like only if it is within a section that holds objects; the sections that hold none (unwind tables, the dynamic
//! section, slots) lie between units and are watched: who points into one of them is not understood.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ld_morsel::elf::Vaddr;

use super::{Code, Distance, Field, Kind, Patch, Pointer, Reference, Section, Uncertain, hidden};

/// A part of a library that is moved as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its addresses, as the link editor placed it.
    pub range: Range<Vaddr>,
    /// Bytes by which it is moved.
    pub shift: i64,
}

/// What to change so that the units can be moved, in the order of addresses.
///
/// # Errors
/// A reference is ambiguous or unknown, or would reach too far.
pub fn patches(code: &Code<'_>, units: &[Unit]) -> Result<Vec<Patch>, Uncertain> {
    let distances = code.from_relocations()?;
    let distances = distances.map(|all| all.into_iter().map(|one| (one.field.at, one)).collect());
    let moves = Moves { code, units, distances };
    let (mut patches, mut known) = (BTreeMap::new(), BTreeSet::new());
    moves.check_sections()?;
    for reference in code.references() {
        let to = moves.unit_of_target(reference)?;
        moves.add(&mut patches, reference.field, to)?;
    }
    for pointer in code.unwind_pointers() {
        moves.add_pointer(&mut patches, pointer)?;
    }
    if moves.code_is_apart()? {
        for pointer in code.search_table()? {
            moves.add_pointer(&mut patches, &pointer)?;
        }
        // With the link editor's relocations it is known where distances are.
        let tables = if moves.distances.is_none() { code.jump_tables()? } else { Vec::new() };
        for pointer in tables {
            moves.add_pointer(&mut patches, &pointer)?;
            known.insert(pointer.field.at);
        }
    }
    if moves.distances.is_none() {
        hidden::check(code, units, &known)?;
    }
    for distance in moves.distances.iter().flat_map(BTreeMap::values) {
        moves.add_data(&mut patches, distance)?;
    }
    Ok(patches.into_values().collect())
}

/// The unit of what a relocated word at `at` points to.
///
/// # Errors
/// The address may be in several, or in none.
pub fn unit_of_pointer(
    code: &Code<'_>,
    units: &[Unit],
    at: Vaddr,
    target: Vaddr,
) -> Result<usize, Uncertain> {
    let moves = Moves { code, units, distances: None };
    let field = Field { at, width: 8 };
    moves.unit_by_address(&Reference { at, next: at, field, kind: Kind::Address, target })
}

/// What is known when patches are looked for.
struct Moves<'c, 'a> {
    code: &'c Code<'a>,
    units: &'c [Unit],
    /// What the link editor's relocations say, by their places.
    distances: Option<BTreeMap<Vaddr, Distance>>,
}

const OUTSIDE: &str = "outside all sections";

impl<'a> Moves<'_, 'a> {
    /// Every section must be in a unit. Of read-only ones without the link editor's relocations it must be known that they
    /// hold no distances to other units.
    fn check_sections(&self) -> Result<(), Uncertain> {
        for section in self.code.sections() {
            self.unit_of(section)?;
            let known = section.writable || section.executable || is_known(section.name);
            if !known && self.distances.is_none() {
                return Err(Uncertain::UnknownSection(section.name.to_owned(), section.range.clone()));
            }
        }
        Ok(())
    }

    /// Whether code is in another unit than read-only data or the tables for unwinding.
    fn code_is_apart(&self) -> Result<bool, Uncertain> {
        let mut units = [BTreeSet::new(), BTreeSet::new()];
        for section in self.code.sections().iter().filter(|section| !section.writable) {
            units[usize::from(section.executable)].insert(self.unit_of(section)?);
        }
        let [data, code] = units;
        Ok(!code.is_empty() && data.iter().any(|unit| !code.contains(unit)))
    }

    /// The unit that has all of a section.
    fn unit_of(&self, section: &Section<'_>) -> Result<usize, Uncertain> {
        self.unit_with(section, section.range.start)
    }

    /// The unit that has an address in a section, and all of the section unless it consists of slots: each of these is by
    /// itself, and GNU ld ends what is read-only after relocation among them.
    fn unit_with(&self, section: &Section<'_>, at: Vaddr) -> Result<usize, Uncertain> {
        let contains = |unit: &Unit| {
            let all = unit.range.start <= section.range.start && section.range.end <= unit.range.end;
            if is_slots(section) { unit.range.contains(&at) } else { all }
        };
        let unit = self.units.iter().position(contains);
        unit.ok_or_else(|| Uncertain::Unit(section.name.to_owned(), section.range.clone()))
    }

    fn unit_of_target(&self, reference: &Reference) -> Result<usize, Uncertain> {
        match self.section_by_relocation(reference)? {
            Some(section) => self.unit_of(section),
            None => self.unit_by_address(reference),
        }
    }

    /// The section of what the link editor's relocation names, if there is one and it leads straight to what it names.
    fn section_by_relocation(&self, reference: &Reference) -> Result<Option<&Section<'a>>, Uncertain> {
        let Some(distances) = &self.distances else { return Ok(None) };
        let Some(distance) = distances.get(&reference.field.at) else {
            let section = |at| self.code.section_at(at).map(|section| section.index);
            // The link editor's own code has none, nor have distances within a section.
            let by_itself = self.code.is_linkage_table(reference.at)
                || section(reference.at) == section(reference.target);
            let cause = "there is none for this operand";
            return if by_itself {
                Ok(None)
            } else {
                Err(Uncertain::Relocation(reference.at, cause.to_owned()))
            };
        };
        if distance.field != reference.field {
            return Err(Uncertain::Relocation(
                distance.field.at,
                "its width is not the operand's".to_owned(),
            ));
        }
        let Some((value, index)) = distance.symbol else { return Ok(None) };
        let bridge = (reference.next.0 - reference.field.at.0) as i64;
        let named = Vaddr(value.0.wrapping_add_signed(distance.addend + bridge));
        let section = self.code.sections().iter().find(|section| section.index == index);
        match section {
            // An empty section is none: then the address has to say it.
            section if named == reference.target => Ok(section),
            // Through a slot or a stub.
            _ if distance.is_to_slot() || reference.is_branch() => Ok(None),
            _ => Err(Uncertain::Relocation(reference.at, "it leads elsewhere than the operand".to_owned())),
        }
    }

    /// The unit that a target's address says it is in.
    fn unit_by_address(&self, reference: &Reference) -> Result<usize, Uncertain> {
        let (at, target) = (reference.at, reference.target);
        let before = self.code.sections().iter().rev().find(|section| section.range.end <= target);
        let Some(section) = self.code.section_at(target) else {
            return self.unit_outside(target, before)?.ok_or_else(|| ambiguous(at, target, OUTSIDE));
        };
        let unit = self.unit_with(section, target)?;
        if reference.kind == Kind::Address {
            let edge = before.filter(|before| before.range.end == target && section.range.start == target);
            let edge = edge.filter(|before| holds_objects(before));
            if let Some(before) = edge
                && self.unit_of(before)? != unit
            {
                return Err(ambiguous(
                    at,
                    target,
                    &format!("the end of {} and the beginning of {}", before.name, section.name),
                ));
            }
            // Start files hand on the address of the unwind tables.
            let is_known = edge.is_some() || self.code.is_tls_slot(target) || self.code.is_frame(target);
            if !is_known && !holds_objects(section) {
                return Err(ambiguous(
                    at,
                    target,
                    &format!("within {}, which holds no objects", section.name),
                ));
            }
        } else if !holds_objects(section) && !is_slots(section) {
            return Err(ambiguous(at, target, &format!("within {}, which holds no objects", section.name)));
        }
        Ok(unit)
    }

    /// The unit of an address that is in no section: behind one by no more than alignment asks for, unless it may as well
    /// belong to the section after it; or in the headers at the beginning of the file.
    fn unit_outside(&self, target: Vaddr, before: Option<&Section<'a>>) -> Result<Option<usize>, Uncertain> {
        const ALIGNMENT: u64 = 64;
        let Some(before) = before else {
            return Ok(self.units.iter().position(|unit| unit.range.contains(&target)));
        };
        let unit = self.unit_with(before, Vaddr(before.range.end.0 - 1))?;
        let after = self.code.sections().iter().find(|section| target < section.range.start);
        let alone = after.map(|after| self.unit_of(after)).transpose()?.is_none_or(|after| after == unit);
        let beyond = target.0 - before.range.end.0;
        let is_end = alone && beyond < ALIGNMENT || holds_objects(before) && beyond == 0;
        Ok(is_end.then_some(unit))
    }

    /// A pointer of a table.
    fn add_pointer(&self, patches: &mut BTreeMap<Vaddr, Patch>, pointer: &Pointer) -> Result<(), Uncertain> {
        let section = self.code.section_at(pointer.target);
        let section = section.ok_or_else(|| ambiguous(pointer.field.at, pointer.target, OUTSIDE))?;
        self.add(patches, pointer.field, self.unit_of(section)?)
    }

    /// A relocation that is not about an operand.
    fn add_data(&self, patches: &mut BTreeMap<Vaddr, Patch>, distance: &Distance) -> Result<(), Uncertain> {
        let at = distance.field.at;
        let Some(section) = self.code.section_at(at) else { return Ok(()) };
        if section.executable {
            let known = self.code.reference_with(distance.field);
            return known
                .map(drop)
                .ok_or_else(|| Uncertain::Relocation(at, "there is no operand".to_owned()));
        }
        if section.name == ".eh_frame" {
            return Ok(()); // has been read; lld leaves relocations whose places are not those in the file
        }
        if let Some((value, _)) = distance.symbol
            && !distance.is_to_slot()
        {
            let named = value.0.wrapping_add_signed(distance.addend).wrapping_sub(at.0) as i64;
            let bytes = self.code.bytes(at, usize::from(distance.field.width));
            if bytes.len() != usize::from(distance.field.width) || signed(bytes) != named {
                return Err(Uncertain::Relocation(at, "it is not what stands there".to_owned()));
            }
        }
        let index = distance.symbol.map(|(_, index)| index);
        let target = self.code.sections().iter().find(|section| match distance.is_to_slot() {
            true => is_slots(section),
            false => Some(section.index) == index,
        });
        let target =
            target.ok_or_else(|| Uncertain::Relocation(at, "its symbol is not defined here".to_owned()))?;
        self.add(patches, distance.field, self.unit_of(target)?)
    }

    /// Adds the change of a distance to the unit `to`, if there is any.
    fn add(&self, patches: &mut BTreeMap<Vaddr, Patch>, field: Field, to: usize) -> Result<(), Uncertain> {
        let unit = |at: Vaddr| self.units.iter().find(|unit| unit.range.contains(&at));
        let own = unit(field.at).ok_or_else(|| ambiguous(field.at, field.at, OUTSIDE))?;
        let change = i128::from(self.units[to].shift) - i128::from(own.shift);
        let bytes = self.code.bytes(field.at, usize::from(field.width));
        if bytes.len() != usize::from(field.width) {
            return Err(Uncertain::Patch(field.at));
        }
        let old = signed(bytes);
        let new = i128::from(old) + change;
        let bits = 8 * u32::from(field.width);
        if new >> (bits - 1) != 0 && new >> (bits - 1) != -1 {
            return Err(Uncertain::Reach(field.at, new));
        }
        let patch = Patch::new(field.at, bytes, &new.to_le_bytes()[..bytes.len()]);
        match patches.get(&field.at) {
            Some(other) if *other != patch => {
                return Err(Uncertain::Relocation(field.at, "it contradicts the tables".to_owned()));
            }
            None if change != 0 => patches.insert(field.at, patch),
            _ => None,
        };
        Ok(())
    }
}

fn ambiguous(at: Vaddr, target: Vaddr, cause: &str) -> Uncertain {
    Uncertain::Ambiguous(at, target, cause.to_owned())
}

fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut word = if negative { [0xff; 8] } else { [0; 8] };
    word[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(word)
}

fn is_slots(section: &Section<'_>) -> bool {
    [".got", ".got.plt"].contains(&section.name)
}

/// Whether a section holds a compiler's objects, to which code has operands; not tables for loaders and unwinders.
fn holds_objects(section: &Section<'_>) -> bool {
    let tables = [
        ".eh_frame",
        ".gcc_except_table",
        ".dynamic",
        ".init_array",
        ".fini_array",
        ".preinit_array",
        ".tdata",
    ];
    let of_loader = !section.writable
        && !section.executable
        && !section.name.contains("rodata")
        && is_known(section.name);
    !of_loader && !is_slots(section) && !tables.iter().any(|table| section.name.starts_with(table))
}

/// Read-only sections that hold no distances to other units besides those that are read.
fn is_known(name: &str) -> bool {
    const KNOWN: [&str; 12] = [
        ".rodata",
        ".lrodata",
        ".note",
        ".hash",
        ".gnu.",
        ".dynsym",
        ".dynstr",
        ".rel",
        ".eh_frame",
        ".gcc_except_table",
        ".interp",
        ".stapsdt.base",
    ];
    KNOWN.iter().any(|known| name.starts_with(known))
}
