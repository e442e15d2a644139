//! Safe views over ELF bytes: headers, segments, the dynamic section, symbols and hash tables, relocations.
//!
//! Everything here is bounds-checked plain logic over byte slices and knows nothing of processes or mappings: the
//! loader hands it mapped segments, the fuzz target hands it raw files. Whatever a hostile file says, the worst
//! that comes out of this module is an [`ElfError`] or "no such symbol".
//!
//! Source of the formats: the gABI (System V ABI, chapters 4 and 5) and the x86-64 psABI.

mod address;
mod anatomy;
mod dynamic;
mod error;
mod hash;
mod header;
mod note;
mod relocation;
mod segment;
mod symbol;
mod version;
mod view;
#[allow(unsafe_code, reason = "vector instructions")]
mod x86_64;

#[cfg(test)]
pub(crate) mod tests;

pub use address::{Address, LoadBias, PAGE_SIZE, Vaddr, page_down, page_up};
pub use anatomy::{Anatomy, Summary};
pub use dynamic::{Dynamic, Table};
pub use error::ElfError;
pub use hash::{Filter, HashTable, Probe, SymbolName};
pub use header::{FileHeader, ObjectType};
pub use note::{Note, notes};
pub use relocation::{Relocation, RelocationTable, RelrSlots};
pub use segment::{LoadSegment, SegmentFlags, Segments, TlsSegment, USUAL_SEGMENTS};
pub use symbol::{Symbol, SymbolTable};
pub use version::VersionDefinitions;
pub use view::View;
