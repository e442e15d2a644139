//! The ELF file header: is this a file we can load, and where is its program header table?

use core::ops::Range;

use goblin::elf64::header::{
    EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_DYN, ET_EXEC, Header, SELFMAG,
};
use goblin::elf64::program_header::SIZEOF_PHDR;

use super::{ElfError, Vaddr};

/// Whether an object may be placed anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectType {
    /// `ET_DYN`: a shared object or position-independent executable.
    Relocatable,
    /// `ET_EXEC`: bound to its link-time addresses.
    Fixed,
}

/// What the loader needs from the `Elf64_Ehdr`.
#[derive(Clone, Copy, Debug)]
pub struct FileHeader {
    /// From `e_type`.
    pub object_type: ObjectType,
    /// `e_entry`; zero in most libraries.
    pub entry: Vaddr,
    /// Where the program header table is in the file.
    pub phoff: u64,
    /// Number of program headers.
    pub phnum: u16,
}

impl FileHeader {
    /// Bytes of an ELF64 header.
    pub const SIZE: usize = size_of::<Header>();

    /// Checks the header at the start of `bytes`.
    ///
    /// The order of the checks is that of usefulness to the reader of the message: a text file is "not an ELF file"
    /// rather than too short. musl (`map_library`) checks length and `e_type` only.
    ///
    /// # Errors
    /// Any of [`ElfError`]'s variants about the header.
    pub fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        let mut header = Header::default();
        if bytes.len() < Self::SIZE || plain::copy_from_bytes(&mut header, bytes).is_err() {
            return Err(ElfError::Truncated);
        }
        if header.e_ident[..SELFMAG] != *ELFMAG {
            return Err(ElfError::NotElf);
        }
        if header.e_ident[EI_CLASS] != ELFCLASS64 {
            return Err(ElfError::Not64Bit);
        }
        if header.e_ident[EI_DATA] != ELFDATA2LSB {
            return Err(ElfError::NotLittleEndian);
        }
        let object_type = match header.e_type {
            ET_DYN => ObjectType::Relocatable,
            ET_EXEC => ObjectType::Fixed,
            _ => return Err(ElfError::NotLoadable),
        };
        if header.e_machine != EM_X86_64 {
            return Err(ElfError::WrongMachine(header.e_machine));
        }
        if header.e_phnum > 0 && usize::from(header.e_phentsize) != SIZEOF_PHDR {
            return Err(ElfError::ProgramHeaderSize(header.e_phentsize));
        }
        Ok(Self { object_type, entry: Vaddr(header.e_entry), phoff: header.e_phoff, phnum: header.e_phnum })
    }

    /// The file offsets of the program header table.
    ///
    /// # Errors
    /// [`ElfError::Truncated`] if the table would wrap round the end of the address space.
    pub fn program_headers(&self) -> Result<Range<u64>, ElfError> {
        let size = u64::from(self.phnum) * SIZEOF_PHDR as u64;
        let end = self.phoff.checked_add(size).ok_or(ElfError::Truncated)?;
        Ok(self.phoff..end)
    }
}
