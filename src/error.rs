//! What can go wrong while a program starts, and the words for it: musl's own wherever musl has words, since users
//! and scripts match on them.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::fmt;

use crate::elf::ElfError;
use crate::image::Refusal;
use crate::sys::{Errno, MESSAGE_PREFIX, Text, errno_text};

/// Why a file could not be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The system said no.
    System(Errno),
    /// Nothing has failed that we could name: musl prints its message for error number 0.
    Unknown,
    /// The file is not an object that can be loaded.
    Elf(ElfError),
}

impl From<Errno> for LoadError {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl From<ElfError> for LoadError {
    fn from(error: ElfError) -> Self {
        Self::Elf(error)
    }
}

impl fmt::Display for LoadError {
    /// The text in the place of musl's `%m`. What musl does not check gets its cause added.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(errno) => f.write_str(errno_text(*errno)),
            Self::Unknown => f.write_str("No error information"),
            Self::Elf(error) if error.known_to_musl() => f.write_str(errno_text(Errno::NOEXEC)),
            Self::Elf(error) => write!(f, "{}: {error}", errno_text(Errno::NOEXEC)),
        }
    }
}

/// An error of start-up. They are collected, so that a user sees all of them at once (`ldso_fail` in musl).
#[derive(Debug)]
pub enum StartError {
    /// An image is required, and this one cannot be used.
    Image {
        /// Where it is.
        path: CString,
        /// Why not.
        cause: Refusal,
    },
    /// A library that is needed cannot be loaded.
    Library {
        /// As it is named in `DT_NEEDED`.
        name: CString,
        /// Why not.
        cause: LoadError,
        /// Who needs it.
        needed_by: CString,
    },
    /// `DT_NEEDED` points outside the string table.
    NamelessLibrary {
        /// Who needs it.
        needed_by: CString,
    },
    /// Something in `object` cannot be relocated.
    Relocation {
        /// The object.
        object: CString,
        /// What is the matter.
        problem: RelocationProblem,
    },
    /// The program itself is malformed.
    Program {
        /// The program.
        name: CString,
        /// What is the matter.
        cause: ElfError,
    },
    /// There is no memory for static thread-local storage.
    ThreadLocalStorage {
        /// The program's name for itself, as in musl.
        program: CString,
        /// How much was wanted.
        bytes: u64,
    },
    /// `LD_MORSEL_LIBC` is no musl, or there is none at all.
    Libc {
        /// The path in question.
        path: CString,
        /// What is the matter.
        cause: &'static str,
    },
}

/// What is the matter with a relocation.
#[derive(Clone, Debug)]
pub enum RelocationProblem {
    /// Nobody defines the symbol.
    SymbolNotFound(Vec<u8>),
    /// A type that x86-64 loaders do not handle.
    UnsupportedType(u32),
    /// Initial-exec access to a module without a static slot.
    DynamicTls {
        /// The symbol.
        symbol: Vec<u8>,
        /// Who defines it.
        definer: CString,
    },
    /// `mprotect` failed.
    Relro(Errno),
    /// The segments could not be made writable for text relocations.
    TextRelocations(Errno),
    /// The slot is not in memory that relocations may write.
    SlotOutOfBounds {
        /// The relocation's type.
        kind: u32,
        /// Link-time address of the slot.
        slot: u64,
    },
    /// The symbol index or the symbol's name is out of bounds.
    BadSymbol(u32),
    /// A relocation table is out of bounds.
    BadTable(ElfError),
    /// A copy relocation reads outside the defining object.
    CopyOutOfBounds(Vec<u8>),
    /// The object needs glibc, and more of it than musl has.
    Glibc,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library { name: library, cause, needed_by } => {
                let (library, needed_by) = (Text::from(library), Text::from(needed_by));
                write!(f, "Error loading shared library {library}: {cause} (needed by {needed_by})")
            }
            Self::NamelessLibrary { needed_by } => {
                let needed_by = Text::from(needed_by);
                write!(f, "Error loading shared library: corrupt DT_NEEDED entry (needed by {needed_by})")
            }
            Self::Relocation { object, problem } => {
                write!(f, "Error relocating {}: {problem}", Text::from(object))
            }
            Self::Program { name: program, cause } => {
                write!(f, "{}: Not a valid dynamic program: {cause}", Text::from(program))
            }
            Self::ThreadLocalStorage { program, bytes } => {
                let (program, cause) = (Text::from(program), errno_text(Errno::NOMEM));
                write!(f, "{program}: Error getting {bytes} bytes thread-local storage: {cause}")
            }
            Self::Image { path, cause } => write!(f, "{}image {}: {cause}", MESSAGE_PREFIX, Text::from(path)),
            Self::Libc { path, cause } => write!(f, "{}{}: {cause}", MESSAGE_PREFIX, Text::from(path)),
        }
    }
}

impl fmt::Display for RelocationProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SymbolNotFound(symbol) => write!(f, "{}: symbol not found", Text(symbol)),
            Self::UnsupportedType(kind) => write!(f, "unsupported relocation type {kind}"),
            Self::DynamicTls { symbol, definer } => {
                let (symbol, definer) = (Text(symbol), Text::from(definer));
                write!(f, "{symbol}: initial-exec TLS resolves to dynamic definition in {definer}")
            }
            Self::Relro(errno) => write!(f, "RELRO protection failed: {}", errno_text(*errno)),
            Self::TextRelocations(errno) => {
                write!(f, "text segment cannot be made writable: {}", errno_text(*errno))
            }
            Self::SlotOutOfBounds { kind, slot } => {
                write!(f, "corrupt relocation: type {kind} at {slot:#x}, which is not writable data")
            }
            Self::BadSymbol(index) => write!(f, "corrupt relocation: no symbol {index}"),
            Self::BadTable(error) => write!(f, "{error}"),
            Self::CopyOutOfBounds(symbol) => {
                write!(f, "{}: corrupt copy relocation", Text(symbol))
            }
            Self::Glibc => f.write_str(
                "linked against glibc (it needs libc.so.6), of which musl lacks a part: rebuild it for musl",
            ),
        }
    }
}
