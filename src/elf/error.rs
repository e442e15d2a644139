//! What can be wrong with an ELF file, each with the words that tell a user.

use core::fmt;

/// Why an ELF file cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// The file ends before the ELF header or the program headers do.
    Truncated,
    /// `e_type` is neither `ET_DYN` nor `ET_EXEC`.
    NotLoadable,
    /// There is no `PT_DYNAMIC`.
    NoDynamic,
    /// The first four bytes are not the ELF magic number.
    NotElf,
    /// `EI_CLASS` is not `ELFCLASS64`.
    Not64Bit,
    /// `EI_DATA` is not `ELFDATA2LSB`.
    NotLittleEndian,
    /// `e_machine` is another processor's.
    WrongMachine(u16),
    /// `e_phentsize` is not the size of a program header.
    ProgramHeaderSize(u16),
    /// A `PT_LOAD` (index in the program header table) has impossible addresses or sizes.
    SegmentBounds(usize),
    /// A `PT_LOAD` (counted among themselves) claims bytes beyond the end of the file.
    SegmentBeyondFile(usize),
    /// A `PT_LOAD`'s file offset and address differ modulo the page size (gABI chapter 5, "Program Header").
    SegmentMisaligned(usize),
    /// There is no `PT_LOAD` at all.
    NothingToLoad,
    /// `PT_TLS` has an alignment that is no power of two, or is absurdly large.
    TlsAlignment(u64),
    /// `PT_TLS` lies outside the loaded segments, or its sizes are impossible.
    TlsBounds,
    /// `PT_GNU_RELRO` does not lie in a writable segment.
    RelroBounds,
    /// Two `PT_LOAD`s claim the same memory.
    SegmentsOverlap,
    /// The named function of the dynamic section does not lie in an executable segment.
    NotCode(&'static str),
    /// `e_entry` does not lie in an executable segment.
    EntryNotCode,
    /// A static executable that has its own thread-local storage and libc: nothing for a loader to do.
    Static,
    /// The named table of the dynamic section lies outside the loaded segments or is malformed.
    BadTable(&'static str),
}

impl ElfError {
    /// Whether musl notices this too, and so has words for it that scripts may rely on (`map_library`).
    pub fn known_to_musl(self) -> bool {
        matches!(self, Self::Truncated | Self::NotElf | Self::NotLoadable | Self::NoDynamic)
    }
}

impl core::error::Error for ElfError {}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated => f.write_str("the file ends within its headers"),
            Self::NotLoadable => f.write_str("neither a shared object nor an executable"),
            Self::NoDynamic => f.write_str("no dynamic section (PT_DYNAMIC)"),
            Self::NotElf => f.write_str("not an ELF file"),
            Self::Not64Bit => f.write_str("wrong ELF class: not a 64-bit object"),
            Self::NotLittleEndian => f.write_str("wrong byte order: not a little-endian object"),
            Self::WrongMachine(machine) => {
                write!(f, "wrong architecture: e_machine is {machine}, not 62 (x86-64)")
            }
            Self::ProgramHeaderSize(size) => write!(f, "corrupt header: e_phentsize is {size}, not 56"),
            Self::SegmentBounds(index) => {
                write!(f, "corrupt program header {index}: impossible address or size")
            }
            Self::SegmentBeyondFile(index) => {
                write!(f, "truncated file: segment {index} reaches beyond its end")
            }
            Self::SegmentMisaligned(index) => {
                write!(f, "corrupt program header {index}: offset and address disagree within the page")
            }
            Self::NothingToLoad => f.write_str("no loadable segment (PT_LOAD)"),
            Self::TlsAlignment(align) => {
                write!(f, "corrupt thread-local segment (PT_TLS): alignment {align:#x}")
            }
            Self::TlsBounds => {
                f.write_str("corrupt thread-local segment (PT_TLS): outside the loaded segments")
            }
            Self::RelroBounds => f.write_str("corrupt PT_GNU_RELRO: outside the writable segments"),
            Self::SegmentsOverlap => f.write_str("corrupt program headers: segments overlap"),
            Self::NotCode(name) => {
                write!(f, "corrupt dynamic section: {name} is outside the executable segments")
            }
            Self::EntryNotCode => f.write_str("corrupt header: entry point outside the executable segments"),
            Self::Static => f.write_str("statically linked: run it by itself"),
            Self::BadTable(name) => write!(f, "corrupt dynamic section: {name}"),
        }
    }
}
