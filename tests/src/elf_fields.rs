//! Knows where each field of a 64-bit little-endian ELF file lies, for the tests that change one.
//!
//! This is not a parser to be proud of: it trusts files that the linker has just made.

use std::ops::Range;

use anyhow::{Context, Result, bail};

/// A field of an ELF structure: its name, its offset in the structure and its size in bytes.
pub type Field = (&'static str, usize, usize);

/// The fields of the ELF header.
pub const EHDR: [Field; 18] = [
    ("ei_magic", 0, 4),
    ("ei_class", 4, 1),
    ("ei_data", 5, 1),
    ("ei_version", 6, 1),
    ("ei_osabi", 7, 1),
    ("e_type", 16, 2),
    ("e_machine", 18, 2),
    ("e_version", 20, 4),
    ("e_entry", 24, 8),
    ("e_phoff", 32, 8),
    ("e_shoff", 40, 8),
    ("e_flags", 48, 4),
    ("e_ehsize", 52, 2),
    ("e_phentsize", 54, 2),
    ("e_phnum", 56, 2),
    ("e_shentsize", 58, 2),
    ("e_shnum", 60, 2),
    ("e_shstrndx", 62, 2),
];
/// The fields of a program header.
pub const PHDR: [Field; 8] = [
    ("p_type", 0, 4),
    ("p_flags", 4, 4),
    ("p_offset", 8, 8),
    ("p_vaddr", 16, 8),
    ("p_paddr", 24, 8),
    ("p_filesz", 32, 8),
    ("p_memsz", 40, 8),
    ("p_align", 48, 8),
];
/// The fields of a dynamic entry.
pub const DYN: [Field; 2] = [("d_tag", 0, 8), ("d_val", 8, 8)];
/// The fields of a symbol.
pub const SYM: [Field; 6] = [
    ("st_name", 0, 4),
    ("st_info", 4, 1),
    ("st_other", 5, 1),
    ("st_shndx", 6, 2),
    ("st_value", 8, 8),
    ("st_size", 16, 8),
];
/// The fields of a relocation; `r_type` and `r_sym` are the halves of `r_info`.
pub const RELA: [Field; 4] = [("r_offset", 0, 8), ("r_type", 8, 4), ("r_sym", 12, 4), ("r_addend", 16, 8)];

/// Names that may stand for numbers.
pub const CONSTANTS: [(&str, u64); 37] = [
    ("PT_NULL", 0),
    ("PT_LOAD", 1),
    ("PT_DYNAMIC", 2),
    ("PT_INTERP", 3),
    ("PT_NOTE", 4),
    ("PT_PHDR", 6),
    ("PT_TLS", 7),
    ("PT_GNU_EH_FRAME", 0x6474_e550),
    ("PT_GNU_STACK", 0x6474_e551),
    ("PT_GNU_RELRO", 0x6474_e552),
    ("DT_NULL", 0),
    ("DT_NEEDED", 1),
    ("DT_PLTRELSZ", 2),
    ("DT_HASH", 4),
    ("DT_STRTAB", 5),
    ("DT_SYMTAB", 6),
    ("DT_RELA", 7),
    ("DT_RELASZ", 8),
    ("DT_INIT", 12),
    ("DT_FINI", 13),
    ("DT_SONAME", 14),
    ("DT_RPATH", 15),
    ("DT_DEBUG", 21),
    ("DT_JMPREL", 23),
    ("DT_INIT_ARRAY", 25),
    ("DT_INIT_ARRAYSZ", 27),
    ("DT_RUNPATH", 29),
    ("DT_PREINIT_ARRAY", 32),
    ("DT_PREINIT_ARRAYSZ", 33),
    ("DT_AUDIT", 0x6fff_fefc),
    ("DT_GNU_HASH", 0x6fff_fef5),
    ("DT_VERSYM", 0x6fff_fff0),
    ("R_X86_64_64", 1),
    ("R_X86_64_PC32", 2),
    ("R_X86_64_COPY", 5),
    ("R_X86_64_GLOB_DAT", 6),
    ("R_X86_64_RELATIVE", 8),
];

/// The value of a name in [`CONSTANTS`], or of a number in decimal or hexadecimal.
pub fn number(text: &str) -> Result<u64> {
    if let Some((_, value)) = CONSTANTS.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let parsed = match (text.strip_prefix("0x"), text.strip_prefix('-')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16),
        (None, Some(digits)) => digits.parse().map(u64::wrapping_neg),
        (None, None) => text.parse(),
    };
    parsed.with_context(|| format!("`{text}` is neither a number nor a known constant"))
}

/// The little-endian number in `range`.
pub fn read(bytes: &[u8], range: Range<usize>) -> Result<u64> {
    let slice = bytes.get(range.clone()).with_context(|| format!("{range:?} is outside the file"))?;
    Ok(slice.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Writes a little-endian number into `range`, cut to its size.
pub fn write(bytes: &mut [u8], range: Range<usize>, value: u64) -> Result<()> {
    let slice = bytes.get_mut(range.clone()).with_context(|| format!("{range:?} is outside the file"))?;
    for (index, byte) in slice.iter_mut().enumerate() {
        *byte = value.to_le_bytes().get(index).copied().unwrap_or(0);
    }
    Ok(())
}

/// An array of structures in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The file offset of the first.
    pub start: usize,
    /// How many there are.
    pub count: usize,
    /// The size of one.
    pub entry: usize,
}

impl Table {
    /// The file offsets of the entries.
    pub fn entries(self) -> impl Iterator<Item = usize> {
        (0..self.count).map(move |index| self.start + index * self.entry)
    }
}

/// The places of a file's tables.
#[derive(Debug)]
pub struct Elf<'a> {
    bytes: &'a [u8],
    /// The program headers.
    pub phdrs: Table,
    /// The dynamic entries, `DT_NULL` included.
    pub dynamic: Table,
}

impl<'a> Elf<'a> {
    /// Finds the tables.
    pub fn new(bytes: &'a [u8]) -> Result<Elf<'a>> {
        let phdrs = Table {
            start: usize::try_from(read(bytes, 32..40)?)?,
            count: usize::try_from(read(bytes, 56..58)?)?,
            entry: 56,
        };
        let mut elf = Elf { bytes, phdrs, dynamic: Table { start: 0, count: 0, entry: 16 } };
        let header = elf.phdr(2).context("no PT_DYNAMIC")?;
        elf.dynamic.start = elf.get(header + 8, 8)?;
        while elf.get(elf.dynamic.start + elf.dynamic.count * 16, 8)? != 0 {
            elf.dynamic.count += 1;
        }
        elf.dynamic.count += 1;
        Ok(elf)
    }

    fn get(&self, offset: usize, size: usize) -> Result<usize> {
        Ok(usize::try_from(read(self.bytes, offset..offset + size)?)?)
    }

    /// The file offset of the first program header of a type.
    pub fn phdr(&self, p_type: usize) -> Result<usize> {
        let mut found = self.phdrs.entries();
        found.find(|at| self.get(*at, 4).is_ok_and(|t| t == p_type)).context("no such program header")
    }

    /// The file offset of the first dynamic entry with a tag.
    pub fn dyn_entry(&self, tag: usize) -> Result<usize> {
        let mut found = self.dynamic.entries();
        found.find(|at| self.get(*at, 8).is_ok_and(|t| t == tag)).context("no such dynamic entry")
    }

    /// The value of the first dynamic entry with a tag.
    pub fn dyn_value(&self, tag: usize) -> Result<usize> {
        self.get(self.dyn_entry(tag)? + 8, 8)
    }

    /// The file offset of a virtual address.
    pub fn offset_of(&self, vaddr: usize) -> Result<usize> {
        for at in self.phdrs.entries() {
            let (start, size) = (self.get(at + 16, 8)?, self.get(at + 32, 8)?);
            if self.get(at, 4)? == 1 && vaddr >= start && vaddr - start < size {
                return Ok(self.get(at + 8, 8)? + vaddr - start);
            }
        }
        bail!("address {vaddr:#x} is not in the file")
    }

    /// The dynamic symbols, counted by the section headers.
    pub fn symbols(&self) -> Result<Table> {
        const SHT_DYNSYM: usize = 11;
        let (start, count) = (self.get(40, 8)?, self.get(60, 2)?);
        for header in (0..count).map(|index| start + index * 64) {
            if self.get(header + 4, 4)? == SHT_DYNSYM {
                let size = self.get(header + 32, 8)?;
                return Ok(Table { start: self.get(header + 24, 8)?, count: size / 24, entry: 24 });
            }
        }
        bail!("no dynamic symbols")
    }

    /// The index of a dynamic symbol.
    pub fn symbol(&self, name: &str) -> Result<usize> {
        let strings = self.offset_of(self.dyn_value(5)?)?;
        let wanted = [name.as_bytes(), b"\0"].concat();
        for (index, at) in self.symbols()?.entries().enumerate() {
            let text = strings + self.get(at, 4)?;
            if self.bytes.get(text..text + wanted.len()) == Some(&wanted) {
                return Ok(index);
            }
        }
        bail!("no symbol `{name}`")
    }

    /// The tables of relocations that exist: `DT_RELA`, then `DT_JMPREL`.
    pub fn relocations(&self) -> Result<Vec<Table>> {
        let mut tables = Vec::new();
        for (tag, size_tag) in [(7, 8), (23, 2)] {
            if let Ok(address) = self.dyn_value(tag) {
                let count = self.dyn_value(size_tag)? / 24;
                tables.push(Table { start: self.offset_of(address)?, count, entry: 24 });
            }
        }
        Ok(tables)
    }
}
