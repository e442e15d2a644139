//! The headers of a library whose parts move, and what is put in front of the first of these: tables that grow.

use anyhow::{Context, Result};
use goblin::elf64::program_header::{PT_DYNAMIC, PT_GNU_RELRO, PT_LOAD, PT_PHDR, ProgramHeader, SIZEOF_PHDR};
use goblin::elf64::section_header::{SHF_ALLOC, SHT_NOBITS, SectionHeader};
use ld_morsel::elf::{PAGE_SIZE, page_up};

use super::Separable;
use super::shape::into_page;
use super::tables::{self, entries, moved};
use crate::code::moves::Unit;
use crate::elf_file::record;

/// What comes in front of the first part that moves.
struct Front {
    /// Its address.
    vaddr: u64,
    /// Where it is in the file.
    offset: u64,
    /// Bytes taken so far.
    used: u64,
}

impl Front {
    /// Room for so many bytes: address, and place in the file.
    fn take(&mut self, size: usize) -> (u64, u64) {
        let at = self.used;
        self.used += size as u64;
        (self.vaddr + at, self.offset + at)
    }
}

impl Separable<'_> {
    /// Changes everything that says where segments are. All else in `bytes` is as it shall be.
    pub(super) fn move_segments(&self, mut bytes: Vec<u8>, units: &[Unit]) -> Result<Vec<u8>> {
        let relr = tables::move_relr(&self.relr, units)?;
        let mut loads = self.moved_loads(units)?;
        let mut front = None;
        if self.front > 0 {
            let start = moved(units, self.shape.first_moved().start)?;
            let load = loads.iter_mut().find(|load| load.p_vaddr >= start).context("no segment moves")?;
            let more = self.more + into_page(load.p_vaddr);
            let offset = page_up(bytes.len() as u64);
            bytes.resize((offset + more) as usize, 0);
            bytes.extend_from_within(load.p_offset as usize..(load.p_offset + load.p_filesz) as usize);
            (load.p_offset, load.p_vaddr) = (offset, load.p_vaddr - more);
            (load.p_filesz, load.p_memsz) = (load.p_filesz + more, load.p_memsz + more);
            load.p_paddr = load.p_vaddr;
            front = Some(Front { vaddr: load.p_vaddr, offset, used: 0 });
        }
        let mut header = self.file.header;
        header.e_entry = if header.e_entry == 0 { 0 } else { moved(units, header.e_entry)? };
        let headers = self.program_headers(units, &loads)?;
        if let Some(front) = front.as_mut().filter(|_| self.divided) {
            header.e_phoff = front.take(headers.len() * SIZEOF_PHDR).1;
            header.e_phnum = headers.len() as u16;
        }
        let words: Vec<u8> = relr.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut relr = self.table(self.dynamic.relr, "DT_RELR")?;
        let mut relr_at = if relr.is_empty() { 0 } else { moved(units, self.dynamic.relr.vaddr.0)? };
        if let Some(front) = front.as_mut().filter(|_| words.len() > self.relr.len() * 8) {
            (relr_at, relr.start) = front.take(words.len());
        }
        relr.end = relr.start + words.len() as u64;
        bytes[relr.start as usize..relr.end as usize].copy_from_slice(&words);
        let is_relr =
            |section: &SectionHeader| section.sh_addr == self.dynamic.relr.vaddr.0 && section.sh_size > 0;
        for (section, old) in self.section_headers(&mut bytes)?.iter_mut().zip(&self.file.sections) {
            if !words.is_empty() && is_relr(old) {
                (section.sh_addr, section.sh_offset, section.sh_size) =
                    (relr_at, relr.start, words.len() as u64);
            } else if old.sh_flags & u64::from(SHF_ALLOC) != 0 {
                self.move_section(section, units, &loads)?;
            }
        }
        let dynamic =
            headers.iter().find(|header| header.p_type == PT_DYNAMIC).context("no dynamic section")?;
        let range = dynamic.p_offset..dynamic.p_offset + dynamic.p_filesz / 16 * 16;
        let dynamic = entries(&mut bytes, &range, "the dynamic section")?;
        tables::move_dynamic(dynamic, units, (relr_at, words.len() as u64))?;
        let table = header.e_phoff;
        let headers = headers.into_iter().map(|header| self.with_table(header, table, &loads));
        let headers: Vec<u8> = headers.flat_map(|header| record(&header).to_vec()).collect();
        bytes[table as usize..table as usize + headers.len()].copy_from_slice(&headers);
        let header = record(&header);
        bytes[..header.len()].copy_from_slice(header);
        Ok(bytes)
    }

    /// The `PT_LOAD`s in their new places; what is divided is two.
    fn moved_loads(&self, units: &[Unit]) -> Result<Vec<ProgramHeader>> {
        let mut loads = Vec::new();
        for load in self.file.loads() {
            let end = self.shape.relro.end;
            let mut parts = vec![*load];
            if self.divides(load) {
                let (size, mut rest) = (end - load.p_vaddr, *load);
                (parts[0].p_memsz, parts[0].p_filesz) = (size, load.p_filesz.min(size));
                (rest.p_memsz, rest.p_filesz) = (load.p_memsz - size, load.p_filesz.saturating_sub(size));
                (rest.p_vaddr, rest.p_offset) = (end, load.p_offset + size);
                parts.push(rest);
            }
            for mut part in parts {
                let vaddr = moved(units, part.p_vaddr)?;
                if vaddr != part.p_vaddr {
                    (part.p_vaddr, part.p_paddr, part.p_align) = (vaddr, vaddr, PAGE_SIZE);
                }
                loads.push(part);
            }
        }
        loads.sort_by_key(|load| load.p_vaddr);
        Ok(loads)
    }

    /// All program headers, with these `PT_LOAD`s.
    fn program_headers(&self, units: &[Unit], loads: &[ProgramHeader]) -> Result<Vec<ProgramHeader>> {
        let mut headers = Vec::new();
        let mut loads_left = loads.iter();
        for old in &self.file.program_headers {
            let mut header = *old;
            match header.p_type {
                _ if header.p_memsz == 0 => {}
                PT_LOAD => {
                    let count = if self.divides(old) { 2 } else { 1 };
                    headers.extend(loads_left.by_ref().take(count));
                    continue;
                }
                PT_GNU_RELRO if !self.shape.relro.is_empty() => {
                    let relro = &self.shape.relro;
                    let end = moved(units, relro.start)? + (relro.end - relro.start);
                    let load = loads.iter().rev().find(|load| load.p_vaddr < end);
                    header = *load.context("nothing is read-only after relocation")?;
                    header.p_type = PT_GNU_RELRO;
                    header.p_flags = old.p_flags;
                    header.p_align = old.p_align;
                    header.p_memsz = end - header.p_vaddr;
                    header.p_filesz = header.p_filesz.min(header.p_memsz);
                }
                _ => {
                    header.p_vaddr = moved(units, header.p_vaddr)?;
                    header.p_paddr = header.p_vaddr;
                    header.p_offset = offset_of(loads, header.p_vaddr).unwrap_or(header.p_offset);
                }
            }
            headers.push(header);
        }
        Ok(headers)
    }

    /// The header of the program headers themselves, which are at `at` in the file; any other stays.
    fn with_table(&self, mut header: ProgramHeader, table: u64, loads: &[ProgramHeader]) -> ProgramHeader {
        let load = loads.iter().find(|load| (load.p_offset..load.p_offset + load.p_filesz).contains(&table));
        if let (PT_PHDR, Some(load)) = (header.p_type, load) {
            header.p_offset = table;
            header.p_vaddr = load.p_vaddr + (table - load.p_offset);
            header.p_paddr = header.p_vaddr;
            let count = self.file.program_headers.len() + usize::from(self.divided);
            header.p_filesz = (count * SIZEOF_PHDR) as u64;
            header.p_memsz = header.p_filesz;
        }
        header
    }

    fn section_headers<'b>(&self, bytes: &'b mut [u8]) -> Result<&'b mut [SectionHeader]> {
        let start = self.file.header.e_shoff;
        let size = (self.file.sections.len() * size_of::<SectionHeader>()) as u64;
        entries(bytes, &(start..start + size), "the table of sections")
    }

    /// Moves a section. Of one that is divided, as slots may be, the part that stays writable keeps the name.
    fn move_section(
        &self,
        section: &mut SectionHeader,
        units: &[Unit],
        loads: &[ProgramHeader],
    ) -> Result<()> {
        let edge = self.shape.relro.end;
        if section.sh_addr < edge
            && edge < section.sh_addr.saturating_add(section.sh_size)
            && section.sh_addr >= self.shape.relro.start
        {
            section.sh_size -= edge - section.sh_addr;
            section.sh_addr = edge;
        }
        section.sh_addr = moved(units, section.sh_addr)?;
        if section.sh_type != SHT_NOBITS {
            section.sh_offset = offset_of(loads, section.sh_addr).unwrap_or(section.sh_offset);
        }
        Ok(())
    }
}

/// Where in the file an address is.
fn offset_of(loads: &[ProgramHeader], vaddr: u64) -> Option<u64> {
    let load = loads.iter().find(|load| load.p_vaddr <= vaddr && vaddr < load.p_vaddr + load.p_filesz)?;
    Some(load.p_offset + (vaddr - load.p_vaddr))
}
