//! Moving the parts of an ordinary library apart: from its file to one with the shape that `linker-scripts/morsel.ld` gives, in
//! which code and read-only data lie together, and far away what is read-only after relocation, and farther the data. Code that
//! is in a segment of its own is moved away from read-only data, too, if all distances between them are known.
//!
//! What of code and unwind tables must change is `code::moves`' business, and `code::verify` checks it. Here the rest
//! follows: headers, the dynamic section, symbols, relocations and what they write. The result is a library that every loader
//! accepts; only debug information still tells the old addresses.

mod segments;
mod shape;
mod tables;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use goblin::elf64::program_header::{PF_W, ProgramHeader, SIZEOF_PHDR};
use goblin::elf64::reloc::{R_X86_64_JUMP_SLOT, Rela, r_type};
use goblin::elf64::section_header::{SHF_ALLOC, SHT_DYNSYM, SHT_RELA, SHT_SYMTAB, SectionHeader};
use ld_morsel::elf::{Dynamic, PAGE_SIZE, RelrSlots, Table, Vaddr, page_up};

use crate::code::moves::{self, Unit, unit_of_pointer};
use crate::code::verify::{self, Changed, Claim, Kind};
use crate::code::{Code, Section, apply};
use crate::elf_file::ElfFile;

pub use shape::{FAR, Shape};
pub use tables::relr;
use tables::{entries, moved};

/// Where the parts go, and so that nothing depends on it yet: as far away as the linker script has them.
const NOMINAL: Places = Places { code: 1 << 29, relro: 1 << 30, data: 3 << 29 };

/// Where the moved parts begin, in whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// The code, if it is [apart](Separable::apart).
    pub code: u64,
    /// What is read-only after relocation.
    pub relro: u64,
    /// The data.
    pub data: u64,
}

/// Bytes that the parts take, in whole pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Code, read-only data, tables; from address 0 on.
    pub text: u64,
    /// Code that is not among that.
    pub code: u64,
    /// What the file has in front of such code, and behind it.
    pub around: [u64; 2],
    /// What is read-only after relocation.
    pub relro: u64,
    /// The data.
    pub data: u64,
}

/// A library whose parts can be moved apart.
pub struct Separable<'a> {
    file: ElfFile,
    code: Code<'a>,
    shape: Shape,
    dynamic: Dynamic,
    /// The link editor has left its relocations.
    pub has_relocations: bool,
    /// The code moves away from read-only data.
    pub apart: bool,
    /// Why it does not, if it has a segment of its own.
    pub together: Option<String>,
    /// A segment is divided: there is one more program header.
    divided: bool,
    /// The words of `DT_RELR`.
    relr: Vec<u64>,
    /// Bytes of tables that have no room where they were. They come first in the first part that moves, which is extended
    /// by `more` bytes of whole pages for them.
    front: u64,
    more: u64,
}

impl<'a> Separable<'a> {
    /// Reads a library, all of whose file is in `bytes`; `name` is for messages.
    ///
    /// # Errors
    /// Its parts cannot be moved apart; why.
    pub fn read(name: &Path, bytes: &'a [u8]) -> Result<Self> {
        let file = ElfFile::parse(name, bytes.to_vec())?;
        let shape = Shape::of(&file.segments)?;
        let dynamic = file.dynamic()?;
        if shape.first_moved().is_empty() || shape.is_far() {
            bail!("there is nothing to be moved");
        }
        let length = file.bytes.len() as u64;
        if file.loads().any(|load| load.p_filesz > 0 && load.p_offset + load.p_filesz > length) {
            bail!("its last page is not in the file as a whole");
        }
        if dynamic.text_relocations {
            bail!("it has relocations in its code (DT_TEXTREL)");
        }
        if dynamic.rel.size > 0 || (dynamic.jmprel.size > 0 && !dynamic.jmprel_has_addends) {
            bail!("it has relocations without addends");
        }
        if dynamic.relr.size > 0 && dynamic.relr.vaddr.0 >= shape.text.end {
            bail!("its relative relocations (DT_RELR) can be written to");
        }
        let writable = |vaddr: u64| vaddr >= shape.first_moved().start;
        let is_large = |header: &&SectionHeader| {
            header.sh_flags & u64::from(SHF_ALLOC) != 0
                && writable(header.sh_addr)
                && header.sh_addralign > PAGE_SIZE
        };
        let tls_align = file.segments.tls.map_or(1, |tls| tls.align);
        if file.sections.iter().find(is_large).is_some() || tls_align > PAGE_SIZE {
            bail!("it has data that are aligned to more than a page");
        }
        let code = Code::read(bytes)?;
        let has_relocations = code.from_relocations()?.is_some();
        let mut this = Self {
            file,
            code,
            shape,
            dynamic,
            has_relocations,
            apart: false,
            together: None,
            divided: false,
            relr: Vec::new(),
            front: 0,
            more: 0,
        };
        this.divided = this.file.loads().any(|load| this.divides(load));
        let words = this.table(this.dynamic.relr, "DT_RELR")?;
        let words = &this.file.bytes[words.start as usize..words.end as usize];
        this.relr = words.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        this.make_room()?;
        // Whether all is known does not depend on where the parts go.
        if this.may_be_apart() {
            this.apart = true;
            match this.separate(NOMINAL) {
                Ok(_) => return Ok(this),
                Err(error) => (this.apart, this.together) = (false, Some(error.root_cause().to_string())),
            }
        }
        this.separate(NOMINAL)?;
        Ok(this)
    }

    /// Bytes that the parts will take.
    pub fn sizes(&self) -> Sizes {
        let Shape { text, code, head, rest, relro, data, .. } = &self.shape;
        let length = |part: &Range<u64>| {
            part.end - part.start + if part == self.shape.first_moved() { self.more } else { 0 }
        };
        let (text, code, around) = match self.apart {
            true => {
                let around = [code.start, relro.end.max(data.end) - code.end];
                (head + (rest.end - rest.start), code.end - code.start, around)
            }
            false => (text.end, 0, [0; 2]),
        };
        let relro = if relro.is_empty() { 0 } else { length(relro) };
        Sizes { text, code, around, relro, data: length(data) }
    }

    /// Whether the code has a segment of its own, and its pages are enough for what it is aligned to.
    fn may_be_apart(&mut self) -> bool {
        let code = &self.shape.code;
        let moves = |header: &&SectionHeader| (code.start..self.shape.text.end).contains(&header.sh_addr);
        let is_large = |header: &SectionHeader| {
            header.sh_flags & u64::from(SHF_ALLOC) != 0 && header.sh_addralign > PAGE_SIZE
        };
        let is_large = self.file.sections.iter().filter(moves).any(is_large);
        if is_large && !code.is_empty() {
            self.together = Some("it is aligned to more than a page".to_owned());
        }
        !code.is_empty() && !is_large
    }

    /// By how much the code moves if its parts go to these places.
    pub fn code_shift(&self, places: Places) -> u64 {
        if self.apart { places.code.wrapping_sub(self.shape.code.start) } else { 0 }
    }

    /// Whether what is read-only after relocation ends within a segment.
    fn divides(&self, load: &ProgramHeader) -> bool {
        let end = self.shape.relro.end;
        let inside = load.p_vaddr < end && end < load.p_vaddr + load.p_memsz;
        load.p_flags & PF_W != 0 && inside && !self.shape.relro.is_empty()
    }

    /// Finds out which tables grow.
    fn make_room(&mut self) -> Result<()> {
        let table = if self.divided { (self.file.program_headers.len() + 1) * SIZEOF_PHDR } else { 0 };
        let words = tables::move_relr(&self.relr, &self.units(NOMINAL))?.len();
        let grown = if words > self.relr.len() { words * 8 } else { 0 };
        self.front = (table + grown) as u64;
        if self.front == 0 {
            return Ok(());
        }
        let part = self.shape.first_moved();
        let mut loads = self.file.loads().filter(|load| part.contains(&load.p_vaddr));
        let (Some(load), None) = (loads.next(), loads.next()) else {
            bail!("there is no room for larger tables in front of its {} segments", part.end - part.start);
        };
        self.more = page_up(self.front.saturating_sub(shape::into_page(load.p_vaddr)));
        Ok(())
    }

    /// The parts and by how much they move. What is put in front of the first is not counted.
    fn units(&self, places: Places) -> Vec<Unit> {
        let Shape { relro, data, .. } = &self.shape;
        let [mut at_relro, mut at_data] = [places.relro, places.data];
        *if relro.is_empty() { &mut at_data } else { &mut at_relro } += self.more;
        let shift = |place: u64, part: &Range<u64>| place.wrapping_sub(part.start) as i64;
        let code = self.apart.then(|| shift(places.code, &self.shape.code));
        self.shape.units(code, shift(at_relro, relro), shift(at_data, data))
    }

    /// The library with its parts in these places.
    ///
    /// # Errors
    /// A distance does not fit in an instruction, or what refers to what is not certain.
    pub fn separate(&self, places: Places) -> Result<Vec<u8>> {
        let units = self.units(places);
        let mut bytes = self.file.bytes.clone();
        let patches = moves::patches(&self.code, &units)?;
        for section in self.code.sections().iter().filter(|section| !section.bytes.is_empty()) {
            apply(&mut bytes[self.content_of(section)], section.range.start, &patches)?;
        }
        self.verify(&units, &bytes)?;
        self.move_symbols(&mut bytes, &units)?;
        self.move_relocations(&mut bytes, &units)?;
        self.move_pointers(&mut bytes, &units)?;
        self.move_segments(bytes, &units)
    }

    /// Where in the file the bytes of a section are.
    fn content_of(&self, section: &Section<'_>) -> Range<usize> {
        let start = self.file.sections[section.index].sh_offset as usize;
        start..start + section.bytes.len()
    }

    /// The second opinion on changes in code and read-only data.
    fn verify(&self, units: &[Unit], bytes: &[u8]) -> Result<()> {
        let read_only = self.code.sections().iter().filter(|section| !section.writable);
        let sections = read_only.map(|section| {
            let new = &bytes[self.content_of(section)];
            Changed { start: section.range.start, kind: Kind::of(section), old: section.bytes, new }
        });
        let sections: Vec<Changed<'_>> = sections.collect();
        let (beginnings, relocated) = (&self.code.beginnings(), self.code.relocated());
        let distances = self.code.from_relocations()?;
        verify::verify(&Claim {
            sections: &sections,
            beginnings,
            units,
            bias: 0,
            relocated,
            distances: distances.as_deref(),
            slots: &BTreeMap::new(),
        })?;
        Ok(())
    }

    fn move_symbols(&self, bytes: &mut [u8], units: &[Unit]) -> Result<()> {
        let sections = &self.file.sections;
        for table in sections.iter().filter(|section| [SHT_DYNSYM, SHT_SYMTAB].contains(&section.sh_type)) {
            let range = table.sh_offset..table.sh_offset.saturating_add(table.sh_size);
            let symbols = entries(bytes, &range, "a symbol table")?;
            tables::move_symbols(symbols, table.sh_type == SHT_DYNSYM, sections, units)?;
        }
        // Others see the symbols that the dynamic section leads to.
        let mut tables = sections.iter().filter(|section| section.sh_type == SHT_DYNSYM);
        if !tables.any(|section| Some(Vaddr(section.sh_addr)) == self.dynamic.symtab) {
            bail!("its dynamic symbols are in no section");
        }
        Ok(())
    }

    fn move_relocations(&self, bytes: &mut [u8], units: &[Unit]) -> Result<()> {
        let rela = self.table(self.dynamic.rela, "DT_RELA")?;
        let jmprel = self.table(self.dynamic.jmprel, "DT_JMPREL")?;
        if rela.start < jmprel.end && jmprel.start < rela.end {
            bail!("its tables of relocations overlap");
        }
        for range in [rela, jmprel] {
            tables::move_relocations(entries(bytes, &range, "a table of relocations")?, &self.code, units)?;
        }
        let allocated = |section: &SectionHeader| section.sh_flags & u64::from(SHF_ALLOC) != 0;
        for left in self.file.sections.iter().filter(|section| section.sh_type == SHT_RELA) {
            let about = self.file.sections.get(left.sh_info as usize);
            if !allocated(left) && about.is_some_and(allocated) {
                let range = left.sh_offset..left.sh_offset.saturating_add(left.sh_size);
                tables::move_left(entries(bytes, &range, "a table of relocations")?, units);
            }
        }
        Ok(())
    }

    /// Addresses that no table of relocations with addends holds.
    fn move_pointers(&self, bytes: &mut [u8], units: &[Unit]) -> Result<()> {
        for slot in RelrSlots::new(&self.relr) {
            let range = self.range(slot, 8, "DT_RELR")?;
            let word = &mut entries::<u64>(bytes, &range, "a word of DT_RELR")?[0];
            let unit = unit_of_pointer(&self.code, units, slot, Vaddr(*word))?;
            *word = word.wrapping_add_signed(units[unit].shift);
        }
        // What binds lazily leads back to its stub at first.
        let jmprel = self.table(self.dynamic.jmprel, "DT_JMPREL")?;
        let lazy: &[Rela] =
            plain::slice_from_bytes(&self.file.bytes[jmprel.start as usize..jmprel.end as usize])
                .map_err(|_| anyhow!("DT_JMPREL is not aligned"))?;
        for one in lazy.iter().filter(|one| r_type(one.r_info) == R_X86_64_JUMP_SLOT) {
            let range = self.range(Vaddr(one.r_offset), 8, "a slot")?;
            let slot = &mut entries::<u64>(bytes, &range, "a slot")?[0];
            if self.code.is_linkage_table(Vaddr(*slot)) {
                *slot = moved(units, *slot)?;
            }
        }
        // By convention the first slot has the address of the dynamic section.
        let own = self.file.segments.dynamic.unwrap_or_default();
        for section in self.code.sections().iter().filter(|section| section.name.starts_with(".got")) {
            let start = self.content_of(section).start as u64;
            if section.bytes.starts_with(&own.0.to_le_bytes())
                && !self.code.relocated().contains_key(&section.range.start)
            {
                let first = entries::<u64>(bytes, &(start..start + 8), section.name)?;
                first[0] = moved(units, own.0)?;
            }
        }
        Ok(())
    }

    /// Where in the file a table is.
    fn table(&self, table: Table, what: &str) -> Result<Range<u64>> {
        if table.size == 0 { Ok(0..0) } else { self.range(table.vaddr, table.size, what) }
    }

    /// Where in the file so many bytes from an address on are.
    fn range(&self, at: Vaddr, size: u64, what: &str) -> Result<Range<u64>> {
        let holds = |load: &&ProgramHeader| {
            let end = at.0.checked_add(size);
            load.p_vaddr <= at.0 && end.is_some_and(|end| end <= load.p_vaddr + load.p_filesz)
        };
        let load = self.file.loads().find(holds);
        let load = load.with_context(|| format!("{what} at {:#x} is not in the file", at.0))?;
        let start = load.p_offset + (at.0 - load.p_vaddr);
        Ok(start..start + size)
    }
}
