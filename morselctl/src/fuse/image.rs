//! The fused file's bytes.
//!
//! The file is what memory will be: every byte that is loaded stands at an offset that equals its address. Thus nothing
//! needs to be zeroed by the kernel (up to 6.6 it does that for an interpreter's last segment only), and the program headers
//! are where musl looks for them when it reads its own: at `e_phoff` from the base.
//!
//! | address | what |
//! | --- | --- |
//! | 0 | libc, its zeroed data written out |
//! | `distance` - 1 page | the program headers, on a page of the loader's first segment |
//! | `distance`, a multiple of 64 KiB | the loader, whose segments are all read-only |
//! | not loaded | libc's other sections, section names, section headers |

use anyhow::{Context, Result, bail};
use goblin::elf64::program_header::{PT_LOAD, PT_NOTE, PT_PHDR, ProgramHeader, SIZEOF_PHDR};
use goblin::elf64::section_header::{
    SHF_ALLOC, SHF_EXECINSTR, SHT_NOBITS, SHT_NULL, SHT_PROGBITS, SectionHeader,
};
use ld_morsel::elf::{PAGE_SIZE, page_up};

use crate::elf_file::{ElfFile, MorselNote, is_executable, is_writable, record};

/// What the loader's place is a multiple of: the largest page size that x86-64's link editors are used to but for 2 MiB.
pub const ALIGNMENT: u64 = 64 * 1024;

/// A libc that reaches further would make a file that is mostly holes.
const LARGEST: u64 = 256 << 20;

/// The fused file.
pub struct Image {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The loader's address.
    pub distance: u64,
}

/// How far behind libc the loader begins; the page before is free for the program headers.
pub fn loader_distance(libc: &ElfFile) -> u64 {
    (libc.segments.span().end.0 + PAGE_SIZE).next_multiple_of(ALIGNMENT)
}

/// Puts the two together.
///
/// # Errors
/// One of them has a shape that this format has no place for.
pub fn build(libc: &ElfFile, loader: &ElfFile, note: &MorselNote) -> Result<Image> {
    let distance = loader_distance(libc);
    if distance > LARGEST {
        bail!("{}: its segments are too far apart", libc.path.display());
    }
    let own = loader_segments(loader, distance)?;
    let mut bytes = Vec::new();
    for load in libc.loads() {
        place(&mut bytes, load.p_vaddr, libc.content(load));
        bytes.resize(page_up(load.p_vaddr + load.p_memsz) as usize, 0);
    }
    for load in loader.loads() {
        place(&mut bytes, distance + load.p_vaddr, loader.content(load));
    }
    write_note(&mut bytes, loader, note, distance, libc.header.e_entry)?;

    let headers = program_headers(libc, loader, &own, distance);
    let table: Vec<u8> = headers.iter().flat_map(|header| record(header).to_vec()).collect();
    if table.len() as u64 > PAGE_SIZE {
        bail!("{}: too many program headers", libc.path.display());
    }
    let mut header = libc.header;
    header.e_entry = distance + loader.header.e_entry;
    header.e_phoff = distance - PAGE_SIZE;
    header.e_phnum = headers.len() as u16;
    header.e_phentsize = SIZEOF_PHDR as u16;
    place(&mut bytes, header.e_phoff, &table);

    let sections = append_sections(&mut bytes, libc, &own, distance);
    align(&mut bytes, 8);
    header.e_shoff = if sections.is_empty() { 0 } else { bytes.len() as u64 };
    header.e_shnum = sections.len() as u16;
    bytes.extend(sections.iter().flat_map(|section| record(section).to_vec()));
    place(&mut bytes, 0, record(&header));
    Ok(Image { bytes, distance })
}

/// The loader's `PT_LOAD`s in the fused file, the first of them with the page of the program headers in front.
fn loader_segments(loader: &ElfFile, distance: u64) -> Result<Vec<ProgramHeader>> {
    let mut segments = Vec::new();
    for (index, load) in loader.loads().enumerate() {
        // musl would give the unused ends of writable pages of its own file to malloc.
        if is_writable(load) || load.p_filesz != load.p_memsz {
            bail!("{}: a segment is writable, or has zeroed data", loader.path.display());
        }
        let start = distance + load.p_vaddr - if index == 0 { PAGE_SIZE } else { 0 };
        let size = distance + load.p_vaddr + load.p_memsz - start;
        segments.push(ProgramHeader {
            p_type: PT_LOAD,
            p_flags: load.p_flags,
            p_offset: start,
            p_vaddr: start,
            p_paddr: start,
            p_filesz: size,
            p_memsz: size,
            p_align: PAGE_SIZE,
        });
    }
    Ok(segments)
}

/// libc's program headers with the loader's segments behind its own, and the loader's notes (its build ID). What else the
/// loader has it knows of itself: the kernel and musl must take the file for a libc.
fn program_headers(
    libc: &ElfFile,
    loader: &ElfFile,
    own: &[ProgramHeader],
    distance: u64,
) -> Vec<ProgramHeader> {
    let mut headers = Vec::new();
    let last = libc.program_headers.iter().rposition(|header| header.p_type == PT_LOAD);
    for (index, header) in libc.program_headers.iter().enumerate() {
        let mut header = *header;
        header.p_offset = header.p_vaddr;
        if header.p_type == PT_LOAD {
            header.p_filesz = header.p_memsz;
        }
        headers.push(header);
        if Some(index) == last {
            headers.extend_from_slice(own);
        }
    }
    for note in loader.program_headers.iter().filter(|header| header.p_type == PT_NOTE) {
        let place = distance + note.p_vaddr;
        headers.push(ProgramHeader { p_offset: place, p_vaddr: place, p_paddr: place, ..*note });
    }
    let size = (headers.len() * SIZEOF_PHDR) as u64;
    for header in headers.iter_mut().filter(|header| header.p_type == PT_PHDR) {
        let place = distance - PAGE_SIZE;
        (header.p_offset, header.p_vaddr, header.p_paddr) = (place, place, place);
        (header.p_filesz, header.p_memsz) = (size, size);
    }
    headers
}

/// Writes into the loader's note how far it is from libc, and where libc is entered.
fn write_note(
    bytes: &mut [u8],
    loader: &ElfFile,
    note: &MorselNote,
    distance: u64,
    libc_entry: u64,
) -> Result<()> {
    let descriptor = [distance.to_le_bytes(), libc_entry.to_le_bytes()].concat();
    if note.descriptor.len() != descriptor.len() {
        bail!("{}: its note is that of another version", loader.path.display());
    }
    let (offset, end) = (note.descriptor.start as u64, note.descriptor.end as u64);
    let holds = |load: &&ProgramHeader| load.p_offset <= offset && end <= load.p_offset + load.p_filesz;
    let load = loader.loads().find(holds);
    let load = load.with_context(|| format!("{}: its note is not loaded", loader.path.display()))?;
    let at = (distance + load.p_vaddr + (offset - load.p_offset)) as usize;
    bytes[at..at + descriptor.len()].copy_from_slice(&descriptor);
    Ok(())
}

/// libc's sections under their old numbers, those that are not loaded behind everything; then the loader's segments as
/// sections, so that tools which go by sections see its code. Returns the section headers.
fn append_sections(
    bytes: &mut Vec<u8>,
    libc: &ElfFile,
    own: &[ProgramHeader],
    distance: u64,
) -> Vec<SectionHeader> {
    if libc.sections.is_empty() {
        return Vec::new();
    }
    let names_at = usize::from(libc.header.e_shstrndx);
    let names =
        libc.sections.get(names_at).map_or(&[][..], |names| libc.range(names.sh_offset, names.sh_size));
    let mut names = names.to_vec();
    let mut sections = libc.sections.clone();
    for load in own {
        add_loader_section(&mut sections, &mut names, load, distance);
    }
    for (index, section) in sections.iter_mut().enumerate() {
        if section.sh_flags & u64::from(SHF_ALLOC) != 0 {
            section.sh_offset = section.sh_addr;
            continue;
        }
        let content = match section.sh_type {
            SHT_NULL | SHT_NOBITS => continue,
            _ if index == names_at => &names,
            _ => libc.range(section.sh_offset, section.sh_size),
        };
        align(bytes, section.sh_addralign);
        section.sh_offset = bytes.len() as u64;
        section.sh_size = content.len() as u64;
        bytes.extend_from_slice(content);
    }
    sections
}

/// A segment of the loader's as a section.
fn add_loader_section(
    sections: &mut Vec<SectionHeader>,
    names: &mut Vec<u8>,
    load: &ProgramHeader,
    distance: u64,
) {
    let (name, flags) = match is_executable(load) {
        true => (".ld-morsel.text", SHF_ALLOC | SHF_EXECINSTR),
        false => (".ld-morsel.rodata", SHF_ALLOC),
    };
    // The program headers' page belongs to no section, as in any file.
    let start = load.p_vaddr.max(distance);
    sections.push(SectionHeader {
        sh_name: names.len() as u32,
        sh_type: SHT_PROGBITS,
        sh_flags: u64::from(flags),
        sh_addr: start,
        sh_size: load.p_vaddr + load.p_memsz - start,
        sh_addralign: 1,
        ..SectionHeader::default()
    });
    names.extend_from_slice(name.as_bytes());
    names.push(0);
}

/// Puts `content` at `offset`, with zeros before it where there is nothing yet.
fn place(bytes: &mut Vec<u8>, offset: u64, content: &[u8]) {
    let start = offset as usize;
    let end = start + content.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(content);
}

fn align(bytes: &mut Vec<u8>, alignment: u64) {
    bytes.resize(bytes.len().next_multiple_of(alignment.max(1) as usize), 0);
}
