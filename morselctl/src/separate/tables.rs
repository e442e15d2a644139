//! The tables of a library whose parts move: what in them is an address becomes the new one.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use goblin::elf64::dynamic::{
    DT_BIND_NOW, DT_DEBUG, DT_FINI, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_FLAGS, DT_FLAGS_1, DT_GNU_HASH,
    DT_HASH, DT_INIT, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, DT_JMPREL, DT_NEEDED, DT_NULL, DT_PLTGOT, DT_PLTREL,
    DT_PLTRELSZ, DT_RELA, DT_RELACOUNT, DT_RELAENT, DT_RELASZ, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ,
    DT_STRTAB, DT_SYMBOLIC, DT_SYMENT, DT_SYMTAB, DT_TLSDESC_GOT, DT_TLSDESC_PLT, DT_VERDEF, DT_VERDEFNUM,
    DT_VERNEED, DT_VERNEEDNUM, DT_VERSYM, Dyn,
};
use goblin::elf64::reloc::{
    R_X86_64_64, R_X86_64_DTPMOD64, R_X86_64_DTPOFF64, R_X86_64_GLOB_DAT, R_X86_64_IRELATIVE,
    R_X86_64_JUMP_SLOT, R_X86_64_NONE, R_X86_64_RELATIVE, R_X86_64_TLSDESC, R_X86_64_TPOFF64, Rela, r_type,
};
use goblin::elf64::section_header::{SHF_ALLOC, SHN_LORESERVE, SHN_UNDEF, SHN_XINDEX, SectionHeader};
use goblin::elf64::sym::{STT_TLS, Sym, st_type};
use ld_morsel::elf::{RelrSlots, Vaddr};

use crate::code::Code;
use crate::code::moves::{Unit, unit_of_pointer};

const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
const DT_RELRENT: u64 = 37;
const DT_AUXILIARY: u64 = 0x7fff_fffd;
const DT_FILTER: u64 = 0x7fff_ffff;
/// Tags whose entries are no addresses (`DT_VALRNGLO`, `DT_VALRNGHI`).
const DT_VALUES: Range<u64> = 0x6fff_fd00..0x6fff_fe00;
/// `DT_X86_64_PLT`, `DT_X86_64_PLTSZ`, `DT_X86_64_PLTENT`
const DT_X86_64: Range<u64> = 0x7000_0000..0x7000_0004;

/// By how much an address moves that is in a unit, or the end of the last before a gap.
pub fn shift_at(units: &[Unit], at: u64) -> Result<i64> {
    let inside = units.iter().find(|unit| unit.range.contains(&Vaddr(at)));
    let unit = inside.or_else(|| units.iter().find(|unit| unit.range.end == Vaddr(at)));
    Ok(unit.with_context(|| format!("the address {at:#x} is outside all segments"))?.shift)
}

/// Where `at` goes.
pub fn moved(units: &[Unit], at: u64) -> Result<u64> {
    Ok(at.wrapping_add_signed(shift_at(units, at)?))
}

/// The entries of a table, to be changed.
pub fn entries<'b, T: plain::Plain>(
    bytes: &'b mut [u8],
    range: &Range<u64>,
    what: &str,
) -> Result<&'b mut [T]> {
    let part = bytes.get_mut(range.start as usize..range.end as usize);
    let part = part.with_context(|| format!("{what} reaches beyond the end of the file"))?;
    plain::slice_from_mut_bytes(part).map_err(|_| anyhow::anyhow!("{what} is not aligned"))
}

/// Moves symbols with the sections that they are defined in: an address at the edge of a part belongs to that of its section.
/// What tools alone see (not `exported`) may be far outside of its section: mold puts symbols of its own in any. Then the
/// address says it.
pub fn move_symbols(
    symbols: &mut [Sym],
    exported: bool,
    sections: &[SectionHeader],
    units: &[Unit],
) -> Result<()> {
    for symbol in symbols {
        let reserved = u32::from(symbol.st_shndx) >= SHN_LORESERVE;
        if u32::from(symbol.st_shndx) == SHN_XINDEX {
            bail!("it has too many sections");
        }
        if u32::from(symbol.st_shndx) == SHN_UNDEF || reserved || st_type(symbol.st_info) == STT_TLS {
            continue;
        }
        let section = sections.get(usize::from(symbol.st_shndx));
        let section = section.with_context(|| format!("there is no section {}", symbol.st_shndx))?;
        if section.sh_flags & u64::from(SHF_ALLOC) != 0 {
            let shift = match shift_in(section, symbol.st_value, units) {
                Err(_) if !exported => shift_at(units, symbol.st_value)?,
                shift => shift?,
            };
            symbol.st_value = symbol.st_value.wrapping_add_signed(shift);
        }
    }
    Ok(())
}

/// By how much an address moves that counts from a section.
fn shift_in(section: &SectionHeader, at: u64, units: &[Unit]) -> Result<i64> {
    let end = section.sh_addr.saturating_add(section.sh_size);
    let whole = |unit: &&Unit| {
        unit.range.start.0 <= section.sh_addr && section.sh_addr < unit.range.end.0 && end <= unit.range.end.0
    };
    let Some(unit) = units.iter().find(whole) else { return shift_at(units, at) };
    if at < unit.range.start.0 || unit.range.end.0 < at {
        bail!("a symbol is at {at:#x}, far outside of its section at {:#x}", section.sh_addr);
    }
    Ok(unit.shift)
}

/// Moves the places of relocations, and the addresses that they write.
pub fn move_relocations(relocations: &mut [Rela], code: &Code<'_>, units: &[Unit]) -> Result<()> {
    for one in relocations {
        match r_type(one.r_info) {
            R_X86_64_RELATIVE | R_X86_64_IRELATIVE => {
                let unit = unit_of_pointer(code, units, Vaddr(one.r_offset), Vaddr(one.r_addend as u64))?;
                one.r_addend = one.r_addend.wrapping_add(units[unit].shift);
            }
            R_X86_64_64 | R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT => {}
            R_X86_64_NONE | R_X86_64_DTPMOD64 | R_X86_64_DTPOFF64 | R_X86_64_TPOFF64 | R_X86_64_TLSDESC => {}
            kind => bail!("the relocation at {:#x} is of type {kind}", one.r_offset),
        }
        if r_type(one.r_info) != R_X86_64_NONE {
            one.r_offset = moved(units, one.r_offset)?;
        }
    }
    Ok(())
}

/// Moves the places of relocations that the link editor left.
pub fn move_left(relocations: &mut [Rela], units: &[Unit]) {
    for one in relocations {
        // What is about a section that was thrown away has no place.
        one.r_offset = moved(units, one.r_offset).unwrap_or(one.r_offset);
    }
}

/// The places of a `DT_RELR` table, moved, in the form of such a table.
pub fn move_relr(words: &[u64], units: &[Unit]) -> Result<Vec<u64>> {
    let slots: Result<Vec<u64>> = RelrSlots::new(words).map(|slot| moved(units, slot.0)).collect();
    let mut slots = slots?;
    slots.sort_unstable();
    Ok(relr(&slots))
}

/// Places of relative relocations, ascending, in the form of `DT_RELR`.
pub fn relr(slots: &[u64]) -> Vec<u64> {
    let mut words = Vec::new();
    let mut rest = slots.iter().copied().peekable();
    while let Some(first) = rest.next() {
        words.push(first);
        let mut from = first + 8;
        loop {
            let mut bitmap = 0;
            while let Some(slot) = rest.next_if(|slot| (*slot - from) / 8 < 63) {
                bitmap |= 2 << ((slot - from) / 8);
            }
            if bitmap == 0 {
                break;
            }
            words.push(bitmap | 1);
            from += 63 * 8;
        }
    }
    words
}

/// Moves what the dynamic section points to. `relr` is the place and the size of the table of relative relocations.
pub fn move_dynamic(dynamic: &mut [Dyn], units: &[Unit], relr: (u64, u64)) -> Result<()> {
    for entry in dynamic {
        match entry.d_tag {
            DT_NULL => break,
            DT_RELR => entry.d_val = relr.0,
            DT_RELRSZ => entry.d_val = relr.1,
            DT_HASH | DT_STRTAB | DT_SYMTAB | DT_RELA | DT_JMPREL | DT_PLTGOT | DT_INIT | DT_FINI
            | DT_INIT_ARRAY | DT_FINI_ARRAY | DT_VERSYM | DT_VERDEF | DT_VERNEED | DT_GNU_HASH
            | DT_TLSDESC_PLT | DT_TLSDESC_GOT => {
                entry.d_val = moved(units, entry.d_val)?;
            }
            tag if tag == DT_X86_64.start => entry.d_val = moved(units, entry.d_val)?,
            DT_NEEDED | DT_PLTRELSZ | DT_RELASZ | DT_RELAENT | DT_STRSZ | DT_SYMENT | DT_SONAME
            | DT_RPATH | DT_SYMBOLIC | DT_PLTREL | DT_DEBUG | DT_BIND_NOW | DT_INIT_ARRAYSZ
            | DT_FINI_ARRAYSZ | DT_RUNPATH | DT_FLAGS | DT_RELRENT | DT_FLAGS_1 | DT_RELACOUNT
            | DT_VERDEFNUM | DT_VERNEEDNUM | DT_AUXILIARY | DT_FILTER => {}
            tag if DT_X86_64.contains(&tag) || DT_VALUES.contains(&tag) => {}
            tag => bail!("its dynamic section has an entry of type {tag:#x}"),
        }
    }
    Ok(())
}
