//! Taking a fused file apart again: an image holds its libc, and is bound to its loader.
//!
//! `morselctl fuse` lays the file out as memory, so that each of the two is there byte for byte. What it changes are headers.

use anyhow::{Context, Result, bail};
use goblin::elf64::header::Header;
use goblin::elf64::program_header::{PT_PHDR, ProgramHeader, SIZEOF_PHDR};
use ld_morsel::elf::FileHeader;

use crate::elf_file::{ElfFile, record};

/// The files that libc and the loader would be alone, but that what is at an address of memory is at that offset.
///
/// # Errors
/// The file is not as `morselctl fuse` writes it.
pub fn take_apart(file: &ElfFile, distance: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    let parts = usize::try_from(distance).ok().and_then(|distance| file.bytes.split_at_checked(distance));
    let (libc, loader) = parts.context("its note about what it is fused with is wrong")?;
    Ok((libc_of(file, libc.to_vec())?, loader_of(loader.to_vec())?))
}

/// libc's own program headers are where they were before: behind its header.
fn libc_of(file: &ElfFile, mut libc: Vec<u8>) -> Result<Vec<u8>> {
    let end = libc.len() as u64;
    let own = file
        .program_headers
        .iter()
        .filter(|header| header.p_vaddr + header.p_memsz <= end || header.p_type == PT_PHDR);
    let mut own: Vec<ProgramHeader> = own.copied().collect();
    let start = size_of::<Header>();
    let size = own.len() * SIZEOF_PHDR;
    let table = libc.get_mut(start..start + size).context("libc is cut off")?;
    for (header, place) in own.iter_mut().zip(table.chunks_exact_mut(SIZEOF_PHDR)) {
        let mut before = ProgramHeader::default();
        if plain::copy_from_bytes(&mut before, place).is_err() || before.p_type != header.p_type {
            bail!("libc's own program headers are not behind its header");
        }
        if header.p_type == PT_PHDR {
            *header = ProgramHeader { p_offset: start as u64, ..before };
        }
        place.copy_from_slice(record(header));
    }
    let mut header = file.header;
    (header.e_phoff, header.e_phnum) = (start as u64, own.len() as u16);
    (header.e_shoff, header.e_shnum, header.e_shstrndx) = (0, 0, 0);
    libc[..start].copy_from_slice(record(&header));
    Ok(libc)
}

/// The loader's program headers say where its segments have been in its own file.
fn loader_of(mut loader: Vec<u8>) -> Result<Vec<u8>> {
    let table = FileHeader::parse(&loader)?.program_headers()?;
    let table = loader.get_mut(table.start as usize..table.end as usize).context("the loader is cut off")?;
    for bytes in table.chunks_exact_mut(SIZEOF_PHDR) {
        let mut header = ProgramHeader::default();
        if plain::copy_from_bytes(&mut header, bytes).is_ok() {
            header.p_offset = header.p_vaddr;
            bytes.copy_from_slice(record(&header));
        }
    }
    Ok(loader)
}
