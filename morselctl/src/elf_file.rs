//! An ELF file on the disk: its bytes, its header and its tables, checked by the loader's own parser, and what its memory
//! holds once it is loaded.

use std::ffi::{CStr, OsStr};
use std::fs::{self, Metadata};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use goblin::elf64::header::Header;
use goblin::elf64::program_header::{PF_W, PF_X, PT_INTERP, PT_LOAD, PT_NOTE, ProgramHeader, SIZEOF_PHDR};
use goblin::elf64::section_header::SectionHeader;
use ld_morsel::elf::{Dynamic, FileHeader, Segments, Symbol, SymbolName, SymbolTable, Vaddr, View, notes};

/// Owner and type of the loader's note.
const MORSEL_NOTE: (&[u8], u32) = (b"ld-morsel\0", 1);

/// A file, taken apart.
pub struct ElfFile {
    /// What to call it in messages.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Vec<u8>,
    /// The ELF header.
    pub header: Header,
    /// The program headers, as they are.
    pub program_headers: Vec<ProgramHeader>,
    /// The same, checked.
    pub segments: Segments,
    /// The section headers; none if the file has been stripped of them.
    pub sections: Vec<SectionHeader>,
}

/// The loader's note about what it is fused with.
pub struct MorselNote {
    /// Where the descriptor is in the file.
    pub descriptor: Range<usize>,
    /// Bytes from libc to the loader; zero in a loader that stands alone.
    pub distance: u64,
}

impl ElfFile {
    /// Reads a file, and its metadata.
    ///
    /// # Errors
    /// It cannot be read, or the loader would refuse it.
    pub fn read(path: &Path) -> Result<(Self, Metadata)> {
        let read = || -> std::io::Result<_> { Ok((fs::read(path)?, fs::metadata(path)?)) };
        let (bytes, metadata) = read().with_context(|| format!("cannot read {}", path.display()))?;
        Ok((Self::parse(path, bytes)?, metadata))
    }

    /// Takes `bytes` apart, which are called `path` in messages.
    ///
    /// # Errors
    /// The loader would refuse the file.
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let name = || path.display().to_string();
        let checked = FileHeader::parse(&bytes).with_context(name)?;
        let mut header = Header::default();
        let Ok(()) = plain::copy_from_bytes(&mut header, &bytes) else {
            bail!("{}: the file ends within its headers", name());
        };
        let table = checked.program_headers().with_context(name)?;
        let table = usize::try_from(table.start).ok().zip(usize::try_from(table.end).ok());
        let table = table.and_then(|(start, end)| bytes.get(start..end));
        let table = table.with_context(|| format!("{}: the file ends within its headers", name()))?;
        let segments = Segments::parse(table).with_context(name)?;
        segments.check_file_size(bytes.len() as u64).with_context(name)?;
        let program_headers = records(table, SIZEOF_PHDR);
        let sections = sections(&header, &bytes).with_context(name)?;
        Ok(Self { path: path.to_owned(), bytes, header, program_headers, segments, sections })
    }

    /// The `PT_LOAD`s that are not empty, in the order of the table.
    pub fn loads(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.program_headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_memsz > 0)
    }

    /// What the file has for a segment. Shorter than `p_filesz` where the file ends within the last page.
    pub fn content(&self, segment: &ProgramHeader) -> &[u8] {
        self.range(segment.p_offset, segment.p_filesz)
    }

    /// What the file has of these bytes.
    pub fn range(&self, offset: u64, size: u64) -> &[u8] {
        let length = self.bytes.len() as u64;
        let start = offset.min(length);
        let end = offset.saturating_add(size).min(length);
        &self.bytes[start as usize..end as usize]
    }

    /// The dynamic section.
    ///
    /// # Errors
    /// It is damaged.
    pub fn dynamic(&self) -> Result<Dynamic> {
        let vaddr = self.segments.dynamic.unwrap_or_default();
        Dynamic::parse(&self.view(), vaddr).with_context(|| self.path.display().to_string())
    }

    /// The definition of `name` that others would be bound to.
    ///
    /// # Errors
    /// The symbol table is damaged.
    pub fn definition(&self, name: &str) -> Result<Option<Symbol>> {
        let view = self.view();
        let table = self.dynamic().and_then(|dynamic| Ok(SymbolTable::parse(&view, &dynamic)?));
        let table = table.with_context(|| self.path.display().to_string())?;
        Ok(table.lookup(&SymbolName::new(name.as_bytes())).filter(Symbol::is_defined))
    }

    /// The interpreter that the file names (`PT_INTERP`).
    pub fn interpreter(&self) -> Option<PathBuf> {
        let segment = self.program_headers.iter().find(|header| header.p_type == PT_INTERP)?;
        let path = CStr::from_bytes_until_nul(self.content(segment)).ok()?;
        Some(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
    }

    /// The note of an ld-morsel, if the file is or holds one.
    pub fn morsel_note(&self) -> Option<MorselNote> {
        let notes = self.program_headers.iter().filter(|header| header.p_type == PT_NOTE);
        notes.into_iter().find_map(|segment| self.note_in(segment))
    }

    fn note_in(&self, segment: &ProgramHeader) -> Option<MorselNote> {
        let found = notes(self.content(segment)).find(|note| (note.owner, note.kind) == MORSEL_NOTE)?;
        let (distance, _libc_entry) = found.descriptor.split_first_chunk()?;
        let distance = u64::from_le_bytes(*distance);
        let start = usize::try_from(segment.p_offset).ok()? + found.at;
        Some(MorselNote { descriptor: start..start + found.descriptor.len(), distance })
    }

    fn view(&self) -> View<'_> {
        View::new(self.loads().map(|load| (Vaddr(load.p_vaddr), self.content(load))))
    }
}

/// Whether the segment may be written to.
pub fn is_writable(segment: &ProgramHeader) -> bool {
    segment.p_flags & PF_W != 0
}

/// Whether the segment holds code.
pub fn is_executable(segment: &ProgramHeader) -> bool {
    segment.p_flags & PF_X != 0
}

fn sections(header: &Header, bytes: &[u8]) -> Result<Vec<SectionHeader>> {
    if header.e_shnum == 0 {
        return Ok(Vec::new());
    }
    let size = size_of::<SectionHeader>();
    if usize::from(header.e_shentsize) != size {
        bail!("corrupt header: e_shentsize is {}, not {size}", header.e_shentsize);
    }
    let start = usize::try_from(header.e_shoff).unwrap_or(usize::MAX);
    let end = start.saturating_add(usize::from(header.e_shnum) * size);
    let table = bytes.get(start..end).context("the section headers reach beyond the end of the file")?;
    Ok(records(table, size))
}

/// The bytes of an ELF header, a program header, a section header or a symbol.
pub fn record<T: plain::Plain>(value: &T) -> &[u8] {
    // SAFETY: the three kinds of ELF header and symbols (gABI chapters 4 and 5) are naturally aligned, without padding.
    unsafe { plain::as_bytes(value) }
}

fn records<T: plain::Plain + Default>(table: &[u8], size: usize) -> Vec<T> {
    let decode = |bytes: &[u8]| {
        let mut record = T::default();
        // The chunks have the record's size.
        plain::copy_from_bytes(&mut record, bytes).ok()?;
        Some(record)
    };
    table.chunks_exact(size).map_while(decode).collect()
}
