//! Distances that read-only data may hold besides those that are known: from a table's beginning, or from where they stand, to what
//! is moved by another way. Clang makes tables of such distances to constants that hold pointers, and C++ can have virtual tables
//! of them; assembler may have any. One that is overlooked leads nowhere once the parts of a library are apart. So every word is
//! looked at, and what could be a distance keeps things where they are: better too often than once too seldom.

use std::collections::BTreeSet;

use iced_x86::{Code as Opcode, Instruction, Mnemonic};
use ld_morsel::elf::Vaddr;

use super::decode::decoder;
use super::moves::Unit;
use super::{Code, Section, Uncertain};

/// Bytes of a short distance.
const SHORT: usize = 4;
/// So many addresses before a word may be the beginning of its table: what refers into a table's midst is another.
const NEAR: usize = 3;
/// Virtual tables count from behind their first entries.
const HEADS: [u64; 3] = [0, 8, 16];

/// Sections of what changes, or of tables for loaders: no constants.
const VARIABLE: [&str; 9] =
    [".data", ".bss", ".tdata", ".tbss", ".got", ".got.plt", ".dynamic", ".init_array", ".fini_array"];

/// What is known of a library's functions and data.
struct Hidden<'c, 'a> {
    code: &'c Code<'a>,
    units: &'c [Unit],
    /// Where functions begin.
    functions: BTreeSet<Vaddr>,
    /// Addresses in read-only data that something refers to.
    anchors: BTreeSet<Vaddr>,
    /// Addresses in functions that read signed numbers of four bytes.
    signed: BTreeSet<Vaddr>,
}

/// Looks for distances between units in read-only data, but for those at `known` places.
///
/// # Errors
/// There may be one, or code computes addresses in a way that is not followed.
pub fn check(code: &Code<'_>, units: &[Unit], known: &BTreeSet<Vaddr>) -> Result<(), Uncertain> {
    let mut hidden = Hidden {
        code,
        units,
        functions: code.beginnings().into_iter().collect(),
        anchors: code.data_symbols().clone(),
        signed: BTreeSet::new(),
    };
    let references = code.references().filter(|reference| !reference.is_branch());
    // What leads to another library's function leads to its stub.
    hidden.functions.extend(code.stubs().keys());
    hidden.anchors.extend(references.map(|reference| reference.target));
    hidden.anchors.extend(code.relocated().values().copied().flatten());
    hidden.read_functions()?;
    let data = code.sections().iter().filter(|section| !section.writable && !section.executable);
    data.filter(|section| section.name.contains("rodata"))
        .try_for_each(|section| hidden.check_section(section, known))
}

impl Hidden<'_, '_> {
    /// Finds out what functions do with addresses.
    fn read_functions(&mut self) -> Result<(), Uncertain> {
        let starts = self.code.beginnings();
        for (number, start) in starts.iter().enumerate() {
            let Some(section) = self.code.section_at(*start).filter(|section| section.executable) else {
                continue;
            };
            let end = starts.get(number + 1).map_or(section.range.end, |next| section.range.end.min(*next));
            let mut decoder = decoder(section, *start);
            let (mut addresses, mut own, mut wide, mut signed) = (Vec::new(), None, false, false);
            while decoder.ip() < end.0 && decoder.can_decode() {
                let instruction = decoder.decode();
                signed |= reads_signed(&instruction);
                wide |= instruction.code() == Opcode::Mov_r64_imm64;
                if instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand() {
                    let address = Vaddr(instruction.ip_rel_memory_address());
                    addresses.push(address);
                    own = own.or(Some(address).filter(|address| (*start..end).contains(address)));
                }
            }
            // The large code model adds distances of eight bytes to the function's own address.
            if let Some(own) = own.filter(|_| wide) {
                return Err(Uncertain::Large(own));
            }
            if signed {
                self.signed.extend(addresses);
            }
        }
        Ok(())
    }

    fn unit_of(&self, at: Vaddr) -> Option<usize> {
        self.units.iter().position(|unit| unit.range.contains(&at))
    }

    fn check_section(&self, section: &Section<'_>, known: &BTreeSet<Vaddr>) -> Result<(), Uncertain> {
        let own = self.unit_of(section.range.start);
        let start = section.range.start.0.next_multiple_of(SHORT as u64);
        // Of the word before: the addresses from which it would lead to an instruction.
        let mut leading: Vec<u64> = Vec::new();
        for at in (start..section.range.end.0).step_by(SHORT).map(Vaddr) {
            if known.contains(&at) {
                leading.clear();
                continue;
            }
            let near = self.anchors.range(section.range.start..=at).rev().take(NEAR);
            let tables: Vec<u64> = near.map(|table| table.0).collect();
            let heads = tables.iter().flat_map(|table| HEADS.map(|head| table + head));
            let bases: BTreeSet<u64> = heads.chain([at.0, section.range.start.0]).collect();
            let before = std::mem::take(&mut leading);
            for distance in self.distances_at(at) {
                for &base in &bases {
                    let target = Vaddr(base.wrapping_add_signed(distance));
                    let to = self.unit_of(target);
                    if distance == 0 || to.is_none() || to == own {
                        continue;
                    }
                    let leads = self.code.begins(target);
                    let is_entry = before.contains(&base) || base == at.0 && self.anchors.contains(&at);
                    let is_code = self.functions.contains(&target) || leads && is_entry;
                    if is_code || self.is_constant(at, Vaddr(base), target) {
                        return Err(Uncertain::Distance(at, target));
                    }
                    leading.extend(Some(base).filter(|_| leads));
                }
            }
        }
        Ok(())
    }

    /// What a word may stand for.
    fn distances_at(&self, at: Vaddr) -> impl Iterator<Item = i64> {
        let bytes = self.code.bytes(at, 2 * SHORT);
        let short = bytes.first_chunk().map(|word| i32::from_le_bytes(*word).into());
        let long = bytes.first_chunk().map(|word| i64::from_le_bytes(*word));
        let is_long = at.0.is_multiple_of(2 * SHORT as u64);
        short.into_iter().chain(long.filter(|_| is_long))
    }

    /// Whether a word leads to a constant that holds pointers: from a table from which signed numbers are read, or as the type does in
    /// a virtual table, with functions behind it.
    fn is_constant(&self, at: Vaddr, table: Vaddr, target: Vaddr) -> bool {
        let section = self.code.section_at(target);
        section.is_some_and(|section| section.writable && !VARIABLE.contains(&section.name))
            && target.0.is_multiple_of(8)
            && (self.signed.contains(&table) || self.is_function(Vaddr(at.0 + SHORT as u64), table))
    }

    fn is_function(&self, at: Vaddr, table: Vaddr) -> bool {
        let word = self.code.bytes(at, SHORT).first_chunk().map(|word| i32::from_le_bytes(*word));
        word.is_some_and(|word| self.code.begins(Vaddr(table.0.wrapping_add_signed(word.into()))))
    }
}

/// Whether an instruction makes eight bytes of a signed number of four.
fn reads_signed(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Movsxd | Mnemonic::Cdqe)
}
