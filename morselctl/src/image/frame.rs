//! What makes an ELF file of an image, for tools: the ELF header, program headers for the pages, and sections that name library
//! and content. The loader reads none of it.

use std::ops::Range;

use goblin::elf64::header::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_DYN, EV_CURRENT, Header as ElfHeader,
};
use goblin::elf64::program_header::{PF_R, PF_W, PF_X, PT_LOAD, ProgramHeader};
use goblin::elf64::section_header::{
    SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS, SHT_NULL, SHT_PROGBITS, SHT_STRTAB, SectionHeader,
};
use ld_morsel::elf::PAGE_SIZE;
use ld_morsel::image::format::{Content, Member, TABLE_NAMES};
use ld_morsel::sys::MemoryFlags;

use crate::elf_file::record;

/// What makes an ELF file of the window: the header for its beginning, and all that comes behind it.
pub fn frame(
    base: u64,
    window: u64,
    tables_at: u64,
    sizes: &[usize; TABLE_NAMES.len()],
    members: &[Member<'_>],
) -> (ElfHeader, Vec<u8>) {
    let mut sections = Sections::new(base);
    let mut headers = vec![program_header(base, 0..PAGE_SIZE, MemoryFlags::READ, true)];
    for member in members {
        let file = member.name.to_bytes().rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let file = String::from_utf8_lossy(file);
        for region in member.regions.iter().filter(|region| !region.access.is_empty()) {
            let access = match region.content {
                Content::Sealed => MemoryFlags::READ,
                Content::File | Content::Zero => region.access,
            };
            let in_file = region.content != Content::Zero;
            headers.push(program_header(base, region.range.clone(), access, in_file));
            let kind = match (region.content, access) {
                (Content::Zero, _) => "bss",
                (Content::Sealed, _) => "data.rel.ro",
                (_, access) if access.contains(MemoryFlags::EXECUTE) => "text",
                (_, access) if access.contains(MemoryFlags::WRITE) => "data",
                _ => "rodata",
            };
            sections.add(&format!(".{kind}:{file}"), region.range.clone(), access, in_file);
        }
    }
    headers.push(program_header(base, tables_at..window, MemoryFlags::READ, true));
    let mut at = tables_at;
    for (name, size) in TABLE_NAMES.iter().zip(sizes) {
        let end = at + *size as u64;
        sections.add(&format!(".morsel.{name}"), at..end, MemoryFlags::READ, true);
        at = end;
    }
    let mut rest: Vec<u8> = headers.iter().flat_map(|header| record(header).to_vec()).collect();
    let (section_headers, count, names) = sections.finish(&mut rest, window);
    let mut header = ElfHeader {
        e_type: ET_DYN,
        e_machine: EM_X86_64,
        e_version: EV_CURRENT.into(),
        e_phoff: window,
        e_shoff: section_headers,
        e_ehsize: size_of::<ElfHeader>() as u16,
        e_phentsize: size_of::<ProgramHeader>() as u16,
        e_phnum: headers.len() as u16,
        e_shentsize: size_of::<SectionHeader>() as u16,
        e_shnum: count,
        e_shstrndx: names,
        ..ElfHeader::default()
    };
    header.e_ident[..4].copy_from_slice(ELFMAG);
    header.e_ident[4..7].copy_from_slice(&[ELFCLASS64, ELFDATA2LSB, EV_CURRENT]);
    (header, rest)
}

fn program_header(base: u64, range: Range<u64>, access: MemoryFlags, in_file: bool) -> ProgramHeader {
    let size = range.end - range.start;
    let flag = |access_flag, flag| if access.contains(access_flag) { flag } else { 0 };
    ProgramHeader {
        p_type: PT_LOAD,
        p_flags: flag(MemoryFlags::READ, PF_R)
            | flag(MemoryFlags::WRITE, PF_W)
            | flag(MemoryFlags::EXECUTE, PF_X),
        p_offset: range.start,
        p_vaddr: base + range.start,
        p_paddr: base + range.start,
        p_filesz: if in_file { size } else { 0 },
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

    fn add(&mut self, name: &str, range: Range<u64>, access: MemoryFlags, in_file: bool) {
        let flag = |access_flag, flag| if access.contains(access_flag) { flag } else { 0 };
        let flags =
            SHF_ALLOC | flag(MemoryFlags::WRITE, SHF_WRITE) | flag(MemoryFlags::EXECUTE, SHF_EXECINSTR);
        let header = SectionHeader {
            sh_name: self.name(name),
            sh_type: if in_file { SHT_PROGBITS } else { SHT_NOBITS },
            sh_flags: flags.into(),
            sh_addr: self.base + range.start,
            sh_offset: range.start,
            sh_size: range.end - range.start,
            sh_addralign: 8,
            ..SectionHeader::default()
        };
        self.headers.push(header);
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
