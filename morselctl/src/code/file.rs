//! What an ELF file says about its code besides the code itself: sections, functions' symbols, and what relocation will
//! write where.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ld_morsel::elf::Vaddr;
use object::LittleEndian;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader, SectionHeader};

use super::Uncertain;

pub(super) const LE: LittleEndian = LittleEndian;

/// A section that has addresses.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is.
    pub range: Range<Vaddr>,
    /// What the file has for it: nothing if it is zeroed.
    pub bytes: &'a [u8],
    /// Whether it holds code.
    pub executable: bool,
    /// Whether relocation or the program write into it.
    pub writable: bool,
    /// Its place in the table of section headers.
    pub index: usize,
}

impl Section<'_> {
    /// Whether an address is in it.
    pub fn contains(&self, at: Vaddr) -> bool {
        self.range.contains(&at)
    }
}

/// A relocation that the link editor left for others to read (`--emit-relocs`).
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub at: Vaddr,
    pub kind: u32,
    pub addend: i64,
    /// The symbol's value and section, if it is defined in a section.
    pub symbol: Option<(Vaddr, usize)>,
}

/// What is known.
pub struct File<'a> {
    /// All sections with addresses, in their order.
    pub sections: Vec<Section<'a>>,
    /// Functions that have a size.
    pub functions: Vec<Range<Vaddr>>,
    /// Other symbols within code.
    pub labels: Vec<Vaddr>,
    /// Symbols of what is not code.
    pub data_symbols: BTreeSet<Vaddr>,
    /// Where control comes from outside: initialisation, termination, the program's entry.
    pub entries: Vec<Vaddr>,
    /// What relocation writes into: the address there if it is one of this file, as the dynamic relocations say.
    pub relocated: BTreeMap<Vaddr, Option<Vaddr>>,
    /// Slots whose address is handed on: those of thread-local storage in the general and local dynamic models.
    pub tls_slots: BTreeSet<Vaddr>,
    /// What the link editor left; `None` if it left nothing.
    pub left: Option<Vec<Left>>,
}

impl<'a> File<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self, Uncertain> {
        let file = ElfFile64::<LittleEndian>::parse(bytes).map_err(damaged)?;
        let header = file.elf_header();
        if header.e_machine(LE) != elf::EM_X86_64 || header.e_type(LE) != elf::ET_DYN {
            return Err(Uncertain::File("not a library for x86-64".to_owned()));
        }
        let mut result = Self {
            sections: sections(&file, bytes)?,
            functions: Vec::new(),
            labels: Vec::new(),
            data_symbols: BTreeSet::new(),
            entries: Vec::new(),
            relocated: BTreeMap::new(),
            tls_slots: BTreeSet::new(),
            left: None,
        };
        if result.sections.is_empty() {
            return Err(Uncertain::NoSections);
        }
        result.check_segments(&file, bytes)?;
        for table in [file.elf_symbol_table(), file.elf_dynamic_symbol_table()] {
            for symbol in table.iter() {
                let name =
                    || String::from_utf8_lossy(table.symbol_name(LE, symbol).unwrap_or(b"?")).into_owned();
                result.add_symbol(symbol, name)?;
            }
        }
        result.read_relocations(&file, bytes)?;
        result.find_entries(&file, bytes)?;
        Ok(result)
    }

    /// The section that has an address.
    pub fn section_at(&self, at: Vaddr) -> Option<&Section<'a>> {
        let index = self.sections.partition_point(|section| section.range.end <= at);
        self.sections.get(index).filter(|section| section.contains(at))
    }

    /// The section of a name.
    pub fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Whether there is code at an address.
    pub fn is_code(&self, at: Vaddr) -> bool {
        self.section_at(at).is_some_and(|section| section.executable)
    }

    /// What is executable but in no section must be the file's headers or padding.
    fn check_segments(&self, file: &ElfFile64<'a, LittleEndian>, bytes: &[u8]) -> Result<(), Uncertain> {
        let header = file.elf_header();
        let headers = header.e_phoff(LE) + u64::from(header.e_phnum(LE)) * u64::from(header.e_phentsize(LE));
        for load in file.elf_program_headers() {
            let executable = load.p_flags(LE) & elf::PF_X != 0;
            if load.p_type(LE) != elf::PT_LOAD || !executable {
                continue;
            }
            let (offset, start, size) = (load.p_offset(LE), load.p_vaddr(LE), load.p_filesz(LE));
            if load.p_flags(LE) & elf::PF_W != 0 || load.p_memsz(LE) != size {
                return Err(Uncertain::File(format!(
                    "the executable segment at {start:#x} can be written to"
                )));
            }
            let first = if offset < headers { (headers - offset).min(size) } else { 0 };
            let mut at = first;
            while at < size {
                let vaddr = Vaddr(start + at);
                if let Some(section) = self.section_at(vaddr) {
                    at = section.range.end.0 - start;
                    continue;
                }
                let byte = usize::try_from(offset + at).ok().and_then(|at| bytes.get(at));
                if !byte.is_some_and(|byte| [0, 0x90, 0xcc].contains(byte)) {
                    return Err(Uncertain::NoSection(vaddr..Vaddr(start + size)));
                }
                at += 1;
            }
        }
        Ok(())
    }
}

fn sections<'a>(file: &ElfFile64<'a, LittleEndian>, bytes: &'a [u8]) -> Result<Vec<Section<'a>>, Uncertain> {
    let table = file.elf_section_table();
    let mut sections = Vec::new();
    for (index, header) in table.enumerate() {
        let flag = |flag: u32| header.sh_flags(LE) & u64::from(flag) != 0;
        let zeroed = header.sh_type(LE) == elf::SHT_NOBITS;
        let (start, size) = (header.sh_addr(LE), header.sh_size(LE));
        if !flag(elf::SHF_ALLOC) || size == 0 || (zeroed && flag(elf::SHF_TLS)) {
            continue;
        }
        let name = table.section_name(LE, header).ok().and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(|| Uncertain::File(format!("section {} has no name", index.0)))?;
        let end =
            start.checked_add(size).ok_or_else(|| Uncertain::File(format!("section {name} is too large")))?;
        let section = Section {
            name,
            range: Vaddr(start)..Vaddr(end),
            bytes: header.data(LE, bytes).map_err(damaged)?,
            executable: flag(elf::SHF_EXECINSTR),
            writable: flag(elf::SHF_WRITE),
            index: index.0,
        };
        if section.executable && (section.writable || zeroed) {
            return Err(Uncertain::File(format!("section {name} is writable or zeroed, and executable")));
        }
        sections.push(section);
    }
    sections.sort_by_key(|section| section.range.start);
    match sections.windows(2).find(|pair| pair[1].range.start < pair[0].range.end) {
        Some(pair) => Err(Uncertain::File(format!("sections {} and {} overlap", pair[0].name, pair[1].name))),
        None => Ok(sections),
    }
}

pub(super) fn damaged(error: object::read::Error) -> Uncertain {
    Uncertain::File(format!("damaged: {error}"))
}
