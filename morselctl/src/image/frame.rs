//! What makes an ELF file of an image, for tools: the ELF header, program headers for the pages, and sections that name library
//! and content, symbols, build IDs. The loader reads none of it.

use std::ops::Range;

use goblin::elf64::header::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_DYN, EV_CURRENT, Header as ElfHeader,
};
use goblin::elf64::program_header::{PF_R, PF_W, PF_X, PT_LOAD, ProgramHeader};
use goblin::elf64::section_header::{
    SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS, SHT_NOTE, SHT_NULL, SHT_PROGBITS, SHT_STRTAB,
    SHT_SYMTAB, SectionHeader,
};
use goblin::elf64::sym::Sym;
use ld_morsel::elf::PAGE_SIZE;
use ld_morsel::sys::MemoryFlags;

use super::library::Library;
use super::pages::{Content, Run};
use super::symbols::SymbolTable;
use super::write::file_name;
use crate::elf_file::record;

/// Owner and type of the notes that hold build IDs of libraries.
const NOTE_OWNER: &[u8] = b"ld-morsel\0";
const NOTE_INPUT: u32 = 2;

/// Pages with a name.
pub struct Part {
    /// What the section is called.
    pub name: String,
    /// Where, counted from the base.
    pub pages: Range<u64>,
    /// Where they are in the file; `None` for zeros that are not there.
    pub offset: Option<u64>,
    /// What may be done with them.
    pub access: MemoryFlags,
}

/// What makes an ELF file of the windows: the header for the beginning, and all that comes behind them at `at`. `loads` are what
/// is mapped, `parts` what is in it, of `libraries`.
pub fn frame(
    base: u64,
    at: u64,
    loads: &[Part],
    parts: &[Part],
    libraries: &[Library],
) -> (ElfHeader, Vec<u8>) {
    let mut rest: Vec<u8> =
        loads.iter().flat_map(|load| record(&program_header(base, load)).to_vec()).collect();
    let mut sections = Sections::new(base);
    parts.iter().for_each(|part| sections.add(part));
    for library in libraries.iter().filter(|library| !library.units.is_empty()) {
        sections.add_build_id(library, &mut rest, at);
    }
    // The sections begin with one that stands for none.
    let mut numbers: Vec<(&Part, u16)> = parts.iter().zip(1..).collect();
    numbers.sort_unstable_by_key(|(part, _)| part.pages.start);
    let section = |place: u64| {
        let after = numbers.partition_point(|(part, _)| part.pages.start <= place);
        let (part, number) = numbers.get(after.checked_sub(1)?)?;
        part.pages.contains(&place).then_some(*number)
    };
    sections.add_symbols(&SymbolTable::new(base, libraries, section), &mut rest, at);
    let (section_headers, count, names) = sections.finish(&mut rest, at);
    let mut header = ElfHeader {
        e_type: ET_DYN,
        e_machine: EM_X86_64,
        e_version: EV_CURRENT.into(),
        e_phoff: at,
        e_shoff: section_headers,
        e_ehsize: size_of::<ElfHeader>() as u16,
        e_phentsize: size_of::<ProgramHeader>() as u16,
        e_phnum: loads.len() as u16,
        e_shentsize: size_of::<SectionHeader>() as u16,
        e_shnum: count,
        e_shstrndx: names,
        ..ElfHeader::default()
    };
    header.e_ident[..4].copy_from_slice(ELFMAG);
    header.e_ident[4..7].copy_from_slice(&[ELFCLASS64, ELFDATA2LSB, EV_CURRENT]);
    (header, rest)
}

/// How the section of such pages begins its name.
pub fn kind(run: &Run) -> &'static str {
    match run.content {
        Content::Zero => "bss",
        Content::Sealed => "data.rel.ro",
        _ if run.access.contains(MemoryFlags::EXECUTE) => "text",
        _ if run.access.contains(MemoryFlags::WRITE) => "data",
        _ => "rodata",
    }
}

fn program_header(base: u64, part: &Part) -> ProgramHeader {
    let size = part.pages.end - part.pages.start;
    let flag = |access, flag| if part.access.contains(access) { flag } else { 0 };
    ProgramHeader {
        p_type: PT_LOAD,
        p_flags: flag(MemoryFlags::READ, PF_R)
            | flag(MemoryFlags::WRITE, PF_W)
            | flag(MemoryFlags::EXECUTE, PF_X),
        p_offset: part.offset.unwrap_or(0),
        p_vaddr: base + part.pages.start,
        p_paddr: base + part.pages.start,
        p_filesz: if part.offset.is_some() { size } else { 0 },
        p_memsz: size,
        p_align: PAGE_SIZE,
    }
}

/// Section headers and their names.
struct Sections {
    base: u64,
    headers: Vec<SectionHeader>,
    names: Vec<u8>,
}

impl Sections {
    fn new(base: u64) -> Self {
        Self {
            base,
            headers: vec![SectionHeader { sh_type: SHT_NULL, ..Default::default() }],
            names: vec![0],
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        let at = self.names.len() as u32;
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        at
    }

    fn add(&mut self, part: &Part) {
        let flag = |access, flag| if part.access.contains(access) { flag } else { 0 };
        let flags =
            SHF_ALLOC | flag(MemoryFlags::WRITE, SHF_WRITE) | flag(MemoryFlags::EXECUTE, SHF_EXECINSTR);
        let header = SectionHeader {
            sh_name: self.name(&part.name),
            sh_type: if part.offset.is_some() { SHT_PROGBITS } else { SHT_NOBITS },
            sh_flags: flags.into(),
            sh_addr: self.base + part.pages.start,
            sh_offset: part.offset.unwrap_or(0),
            sh_size: part.pages.end - part.pages.start,
            sh_addralign: 8,
            ..SectionHeader::default()
        };
        self.headers.push(header);
    }

    /// Appends what is not mapped to what comes at `at` in the file.
    fn append(&mut self, name: &str, header: SectionHeader, bytes: &[u8], to: &mut Vec<u8>, at: u64) {
        to.resize(to.len().next_multiple_of(8), 0);
        let (sh_name, sh_offset) = (self.name(name), at + to.len() as u64);
        self.headers.push(SectionHeader { sh_name, sh_offset, sh_size: bytes.len() as u64, ..header });
        to.extend_from_slice(bytes);
    }

    /// The build ID of a library, in a note that nobody takes for the image's own.
    fn add_build_id(&mut self, library: &Library, to: &mut Vec<u8>, at: u64) {
        let build_id = &library.names.build_id;
        if build_id.is_empty() {
            return;
        }
        let numbers = [NOTE_OWNER.len() as u32, build_id.len() as u32, NOTE_INPUT];
        let mut note: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        for part in [NOTE_OWNER, build_id] {
            note.extend_from_slice(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        let header = SectionHeader { sh_type: SHT_NOTE, sh_addralign: 4, ..SectionHeader::default() };
        self.append(&format!(".note.build-id:{}", file_name(&library.name)), header, &note, to, at);
    }

    fn add_symbols(&mut self, table: &SymbolTable, to: &mut Vec<u8>, at: u64) {
        let symbols: Vec<u8> = table.symbols.iter().flat_map(|symbol| record(symbol).to_vec()).collect();
        let header = SectionHeader {
            sh_type: SHT_SYMTAB,
            sh_link: self.headers.len() as u32 + 1,
            sh_info: table.locals as u32,
            sh_entsize: size_of::<Sym>() as u64,
            sh_addralign: 8,
            ..SectionHeader::default()
        };
        self.append(".symtab", header, &symbols, to, at);
        let header = SectionHeader { sh_type: SHT_STRTAB, sh_addralign: 1, ..SectionHeader::default() };
        self.append(".strtab", header, &table.strings, to, at);
    }

    /// Appends all of it to what comes at `at` in the file. Where the headers are, how many, and which has the names.
    fn finish(mut self, to: &mut Vec<u8>, at: u64) -> (u64, u16, u16) {
        let name = self.name(".shstrtab");
        let names = SectionHeader {
            sh_name: name,
            sh_type: SHT_STRTAB,
            sh_offset: at + to.len() as u64,
            sh_size: self.names.len() as u64,
            sh_addralign: 1,
            ..SectionHeader::default()
        };
        self.headers.push(names);
        to.extend_from_slice(&self.names);
        to.resize(to.len().next_multiple_of(8), 0);
        let start = at + to.len() as u64;
        to.extend(self.headers.iter().flat_map(|header| record(header).to_vec()));
        (start, self.headers.len() as u16, self.headers.len() as u16 - 1)
    }
}
