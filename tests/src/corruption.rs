//! Makes damaged copies of an ELF file, field by field, for the tests of the loader's caution.
//!
//! Every field of every table that a loader reads is set to a few bad values in turn. The specimens are made
//! so that nothing of the damaged file is executed, or only what is not damaged: whatever happens to a run is
//! the loader's doing.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;

use crate::elf_fields::{CONSTANTS, DYN, EHDR, Elf, Field, PHDR, RELA, SYM, Table, read, write};

/// A damaged file.
#[derive(Debug)]
pub struct Mutant {
    /// What was changed, for messages.
    pub name: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// Mutants by what they change.
pub type Groups = BTreeMap<String, Vec<Mutant>>;

/// The values tried for a field of `size` bytes that holds `old`.
fn bad_values(old: u64, size: usize) -> Vec<u64> {
    let bits = 8 * u32::try_from(size).unwrap_or(8);
    let mask = u64::MAX >> (64 - bits);
    let top = 1 << (bits - 1);
    let mut values = vec![0, 1, 7, mask, mask - 7, top, top - 1, old.wrapping_add(1), old ^ top];
    if size == 8 {
        // Off by a page; just not overflowing when a page is added; beyond what can be mapped; a terabyte.
        values.extend([old.wrapping_add(0x1000), old.wrapping_sub(0x1000), mask - 0xfff, 1 << 47, 1 << 40]);
    }
    values.iter_mut().for_each(|value| *value &= mask);
    values.sort_unstable();
    values.dedup();
    values.retain(|value| *value != old);
    values
}

/// Collects mutants of one original.
struct Surgeon<'a> {
    original: &'a [u8],
    groups: Groups,
}

impl Surgeon<'_> {
    fn add(
        &mut self,
        group: &str,
        name: String,
        change: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let mut bytes = self.original.to_vec();
        change(&mut bytes)?;
        self.groups.entry(group.to_owned()).or_default().push(Mutant { name, bytes });
        Ok(())
    }

    /// Sets the number at `place` to each bad value.
    fn damage(&mut self, group: &str, what: &str, place: Range<usize>) -> Result<()> {
        let old = read(self.original, place.clone())?;
        for value in bad_values(old, place.len()) {
            let name = format!("{what}: {old:#x} -> {value:#x}");
            self.add(group, name, |bytes| write(bytes, place.clone(), value))?;
        }
        Ok(())
    }

    fn damage_table(&mut self, group: &str, table: Table, fields: &[Field]) -> Result<()> {
        for (index, start) in table.entries().enumerate() {
            for (field, offset, size) in fields {
                let at = start + offset;
                self.damage(group, &format!("[{index}].{field}"), at..at + size)?;
            }
        }
        Ok(())
    }

    fn damage_words(&mut self, group: &str, start: usize, count: usize, size: usize) -> Result<()> {
        for index in 0..count {
            let at = start + index * size;
            self.damage(group, &format!("word {index}"), at..at + size)?;
        }
        Ok(())
    }
}

/// The mutants of a file whose code may be damaged too, because nothing of it is executed.
///
/// With `spare_code` the executable segment and the entry are left alone.
pub fn mutants(original: &[u8], spare_code: bool) -> Result<Groups> {
    let elf = Elf::new(original)?;
    let mut surgeon = Surgeon { original, groups: Groups::new() };
    for (field, offset, size) in EHDR.iter().filter(|(field, ..)| !spare_code || *field != "e_entry") {
        surgeon.damage("ELF header", field, *offset..offset + size)?;
    }
    for start in elf.phdrs.entries() {
        let (kind, flags) = (read(original, start..start + 4)?, read(original, start + 4..start + 8)?);
        if spare_code && kind == 1 && flags & 1 != 0 {
            continue;
        }
        let kind = constant("PT_", kind);
        for (field, offset, size) in PHDR {
            let at = start + offset;
            surgeon.damage(&format!("program header {kind}"), field, at..at + size)?;
        }
    }
    for start in elf.dynamic.entries() {
        let tag = constant("DT_", read(original, start..start + 8)?);
        for (field, offset, size) in DYN {
            let at = start + offset;
            surgeon.damage(&format!("dynamic entry {tag}"), field, at..at + size)?;
        }
    }
    surgeon.damage_table("symbols", elf.symbols()?, &SYM)?;
    for table in elf.relocations()? {
        surgeon.damage_table("relocations", table, &RELA)?;
    }
    hash_tables(&mut surgeon, &elf)?;
    if let (Ok(packed), Ok(size)) = (elf.dyn_value(36), elf.dyn_value(35)) {
        surgeon.damage_words("packed relocations", elf.offset_of(packed)?, size / 8, 8)?;
    }
    if let Ok(versions) = elf.dyn_value(0x6fff_fff0) {
        surgeon.damage_words("symbol versions", elf.offset_of(versions)?, elf.symbols()?.count, 2)?;
    }
    truncations(&mut surgeon)?;
    if !spare_code {
        noise(&mut surgeon, &elf)?;
    }
    Ok(surgeon.groups)
}

fn hash_tables(surgeon: &mut Surgeon, elf: &Elf) -> Result<()> {
    if let Ok(address) = elf.dyn_value(4) {
        let start = elf.offset_of(address)?;
        let words = |index: usize| read(surgeon.original, start + index * 4..start + index * 4 + 4);
        let count = usize::try_from(2 + words(0)? + words(1)?)?;
        surgeon.damage_words("SysV hash table", start, count, 4)?;
    }
    if let Ok(address) = elf.dyn_value(0x6fff_fef5) {
        let start = elf.offset_of(address)?;
        let words = |index: usize| read(surgeon.original, start + index * 4..start + index * 4 + 4);
        let (buckets, first, bloom) = (words(0)?, words(1)?, words(2)?);
        let chains = elf.symbols()?.count.saturating_sub(usize::try_from(first)?);
        let count = usize::try_from(4 + 2 * bloom + buckets)? + chains;
        surgeon.damage_words("GNU hash table", start, count, 4)?;
    }
    Ok(())
}

fn truncations(surgeon: &mut Surgeon) -> Result<()> {
    let length = surgeon.original.len();
    let steps = (0..64).map(|step| length * step / 64);
    let lengths =
        steps.chain([1, 4, 15, 16, 52, 63, 64, 65, 120, 121, 0x1000, 0x1001, 0x2000, 0x3000, length - 1]);
    for new in lengths.filter(|new| *new < length) {
        surgeon.add("truncation", format!("{length} -> {new} bytes"), |bytes| {
            bytes.truncate(new);
            Ok(())
        })?;
    }
    Ok(())
}

/// Several wrong bytes at a time, at places that look random and are the same in every run.
fn noise(surgeon: &mut Surgeon, elf: &Elf) -> Result<()> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0) % below.max(1)
    };
    let metadata = elf.phdrs.start..elf.phdrs.start + elf.phdrs.count * 56;
    let dynamic = elf.dynamic.start..elf.dynamic.start + elf.dynamic.count * 16;
    // What lies between the program headers and the code is all metadata: notes, hashes, symbols, relocations.
    let tables = metadata.end..0x1000.min(surgeon.original.len());
    for (name, range) in [("program headers", metadata), ("dynamic section", dynamic), ("tables", tables)] {
        for round in 0..100 {
            let edits: Vec<(usize, u8)> = (0..1 + next(6))
                .map(|_| (range.start + next(range.len()), u8::try_from(next(256)).unwrap_or(0)))
                .collect();
            surgeon.add(&format!("noise in {name}"), format!("round {round}: {edits:x?}"), |bytes| {
                edits.iter().try_for_each(|(at, byte)| write(bytes, *at..at + 1, u64::from(*byte)))
            })?;
        }
    }
    Ok(())
}

/// The mutants whose `DT_INIT`, `DT_INIT_ARRAY` and the like point out of the code or of the file.
pub fn wild_constructors(original: &[u8]) -> Result<Groups> {
    let elf = Elf::new(original)?;
    let mut surgeon = Surgeon { original, groups: Groups::new() };
    for (tag, name) in [(12, "DT_INIT"), (13, "DT_FINI"), (25, "DT_INIT_ARRAY"), (26, "DT_FINI_ARRAY")] {
        let at = elf.dyn_entry(tag)? + 8;
        for value in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 47, 1 << 40, 0x1000_0000] {
            let text = format!("{name} -> {value:#x}");
            surgeon.add("constructors and destructors", text, |bytes| write(bytes, at..at + 8, value))?;
        }
    }
    for (tag, name) in [(27, "DT_INIT_ARRAYSZ"), (28, "DT_FINI_ARRAYSZ")] {
        let at = elf.dyn_entry(tag)? + 8;
        for value in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 40] {
            let text = format!("{name} -> {value:#x}");
            surgeon.add("constructors and destructors", text, |bytes| write(bytes, at..at + 8, value))?;
        }
    }
    Ok(surgeon.groups)
}

/// The mutants that no loader may accept: another class, byte order, machine or type of file.
pub fn foreign_files(original: &[u8]) -> Result<Groups> {
    const FOREIGN: [(&str, usize, u64); 9] = [
        ("ei_magic", 0, 0),
        ("ei_class", 4, 1),
        ("ei_data", 5, 2),
        ("e_type", 16, 1),
        ("e_type", 16, 4),
        ("e_machine", 18, 3),
        ("e_machine", 18, 183),
        ("e_machine", 18, 0),
        ("e_phnum", 56, 0),
    ];
    let mut surgeon = Surgeon { original, groups: Groups::new() };
    for (field, offset, value) in FOREIGN {
        let size = EHDR.iter().find(|(name, ..)| *name == field).map_or(1, |(_, _, size)| *size);
        surgeon.add("foreign files", format!("{field} = {value}"), |bytes| {
            write(bytes, offset..offset + size, value)
        })?;
    }
    Ok(surgeon.groups)
}

fn constant(prefix: &str, value: u64) -> String {
    let known = CONSTANTS.iter().find(|(name, number)| name.starts_with(prefix) && *number == value);
    known.map_or_else(|| format!("{value:#x}"), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_fit_and_differ() {
        for (old, size) in [(0, 1), (255, 1), (7, 2), (u64::from(u32::MAX), 4), (u64::MAX, 8), (0x1000, 8)] {
            let values = bad_values(old, size);
            assert!(values.len() >= 6 && !values.contains(&old));
            assert!(size == 8 || values.iter().all(|value| value >> (8 * size) == 0));
        }
    }
}
