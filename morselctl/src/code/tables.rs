//! The tables of an ELF file that say something of its code: symbols, relocations for the loader, relocations that the link
//! editor left, initialisation and termination.

use ld_morsel::elf::Vaddr;
use object::elf;
use object::read::elf::{Dyn, ElfFile64, FileHeader, Rela, SectionHeader, Sym};
use object::{LittleEndian, SymbolIndex};

use super::Uncertain;
use super::file::{File, LE, Left, damaged};

type Rela64 = elf::Rela64<LittleEndian>;

impl<'a> File<'a> {
    pub(super) fn add_symbol(
        &mut self,
        symbol: &elf::Sym64<LittleEndian>,
        name: impl Fn() -> String,
    ) -> Result<(), Uncertain> {
        let (start, size) = (Vaddr(symbol.st_value(LE)), symbol.st_size(LE));
        let section = usize::from(symbol.st_shndx(LE));
        let section = self.sections.iter().find(|one| one.index == section && one.contains(start));
        let Some(section) = section else { return Ok(()) };
        if !section.executable {
            self.data_symbols.insert(start);
            return Ok(());
        }
        match symbol.st_type() {
            elf::STT_FUNC | elf::STT_GNU_IFUNC if size > 0 => {
                let end = start.0.checked_add(size).map(Vaddr).filter(|end| *end <= section.range.end);
                let Some(end) = end else { return Err(Uncertain::NoSection(start..section.range.end)) };
                self.functions.push(start..end);
            }
            elf::STT_OBJECT if size > 0 => return Err(Uncertain::DataSymbol(start, name())),
            elf::STT_SECTION | elf::STT_FILE => {}
            _ => self.labels.push(start),
        }
        Ok(())
    }

    pub(super) fn read_relocations(
        &mut self,
        file: &ElfFile64<'a, LittleEndian>,
        bytes: &'a [u8],
    ) -> Result<(), Uncertain> {
        let sections = file.elf_section_table();
        let mut left = Vec::new();
        for (_, section) in sections.enumerate() {
            let allocated = section.sh_flags(LE) & u64::from(elf::SHF_ALLOC) != 0;
            if let Some((rela, link)) = section.rela(LE, bytes).map_err(damaged)? {
                let table = if link == file.elf_symbol_table().section() {
                    file.elf_symbol_table()
                } else {
                    file.elf_dynamic_symbol_table()
                };
                let about = section.sh_info(LE) as usize;
                if !allocated && !self.sections.iter().any(|section| section.index == about) {
                    continue; // about debug information
                }
                for one in rela {
                    let symbol = table.symbol(SymbolIndex(one.r_sym(LE, false) as usize)).ok();
                    if allocated {
                        self.add_dynamic(one, symbol)?;
                    } else {
                        left.push(left_behind(one, symbol));
                    }
                }
            } else if let Some(relr) = section.relr(LE, bytes).map_err(damaged)? {
                for place in relr {
                    let content = self.word(Vaddr(place));
                    self.relocated.insert(Vaddr(place), content.map(Vaddr));
                }
            }
        }
        self.left = Some(left).filter(|left| !left.is_empty());
        let read_only = |at: &&Vaddr| self.section_at(**at).is_none_or(|section| !section.writable);
        match self.relocated.keys().find(read_only) {
            Some(at) => Err(Uncertain::TextRelocation(*at)),
            None => Ok(()),
        }
    }

    fn add_dynamic(
        &mut self,
        one: &Rela64,
        symbol: Option<&elf::Sym64<LittleEndian>>,
    ) -> Result<(), Uncertain> {
        let place = Vaddr(one.r_offset(LE));
        let addend = one.r_addend(LE);
        let defined = symbol.filter(|symbol| symbol.st_shndx(LE) != elf::SHN_UNDEF);
        let value = defined.map_or(0, |symbol| symbol.st_value(LE));
        let target = match one.r_type(LE, false) {
            elf::R_X86_64_NONE => return Ok(()),
            elf::R_X86_64_RELATIVE => Some(addend as u64),
            elf::R_X86_64_IRELATIVE => {
                self.entries.push(Vaddr(addend as u64)); // the resolver; what it returns is not known
                None
            }
            _ if defined.is_some_and(|symbol| symbol.st_type() == elf::STT_GNU_IFUNC) => None,
            elf::R_X86_64_64 | elf::R_X86_64_GLOB_DAT | elf::R_X86_64_JUMP_SLOT if defined.is_some() => {
                Some(value.wrapping_add_signed(addend))
            }
            _ => None,
        };
        if matches!(one.r_type(LE, false), elf::R_X86_64_DTPMOD64 | elf::R_X86_64_TLSDESC) {
            self.tls_slots.insert(place);
        }
        if matches!(one.r_type(LE, false), elf::R_X86_64_PC32 | elf::R_X86_64_PC64) {
            return Err(Uncertain::File(format!("a dynamic relocation at {:#x} writes a distance", place.0)));
        }
        self.relocated.insert(place, target.map(Vaddr));
        Ok(())
    }

    pub(super) fn find_entries(
        &mut self,
        file: &ElfFile64<'a, LittleEndian>,
        bytes: &'a [u8],
    ) -> Result<(), Uncertain> {
        let dynamic = file.elf_section_table().dynamic(LE, bytes).map_err(damaged)?;
        let dynamic = dynamic.map_or(&[][..], |(table, _)| table);
        let tag =
            |one: &&elf::Dyn64<LittleEndian>| [elf::DT_INIT, elf::DT_FINI].contains(&(one.d_tag(LE) as u32));
        self.entries.extend(dynamic.iter().filter(tag).map(|one| Vaddr(one.d_val(LE))));
        self.entries.push(Vaddr(file.elf_header().e_entry(LE)));
        for section in self.sections.iter().filter(|section| section.name.contains("_array")) {
            let words = self.relocated.range(section.range.clone());
            self.entries.extend(words.filter_map(|(_, target)| *target));
        }
        self.entries.retain(|entry| {
            self.sections.iter().any(|section| section.executable && section.contains(*entry))
        });
        Ok(())
    }

    fn word(&self, at: Vaddr) -> Option<u64> {
        let section = self.section_at(at)?;
        let start = usize::try_from(at.0 - section.range.start.0).ok()?;
        let word = section.bytes.get(start..start + 8)?;
        Some(u64::from_le_bytes(word.try_into().ok()?))
    }
}

fn left_behind(one: &Rela64, symbol: Option<&elf::Sym64<LittleEndian>>) -> Left {
    let symbol = symbol.filter(|symbol| (1..elf::SHN_LORESERVE).contains(&symbol.st_shndx(LE)));
    Left {
        at: Vaddr(one.r_offset(LE)),
        kind: one.r_type(LE, false),
        addend: one.r_addend(LE),
        symbol: symbol.map(|symbol| (Vaddr(symbol.st_value(LE)), usize::from(symbol.st_shndx(LE)))),
    }
}
