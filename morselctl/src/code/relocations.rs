//! The relocations that `--emit-relocs` leaves in a file: the same references that are found in the code, from the link
//! editor's own knowledge, and those in data that no decoder sees.

use ld_morsel::elf::Vaddr;
use object::elf::{
    R_X86_64_32, R_X86_64_32S, R_X86_64_64, R_X86_64_DTPOFF32, R_X86_64_DTPOFF64, R_X86_64_GOT32,
    R_X86_64_GOT64, R_X86_64_GOTOFF64, R_X86_64_GOTPC32, R_X86_64_GOTPC32_TLSDESC, R_X86_64_GOTPC64,
    R_X86_64_GOTPCREL, R_X86_64_GOTPCREL64, R_X86_64_GOTPCRELX, R_X86_64_GOTTPOFF, R_X86_64_NONE,
    R_X86_64_PC8, R_X86_64_PC16, R_X86_64_PC32, R_X86_64_PC64, R_X86_64_PLT32, R_X86_64_PLTOFF64,
    R_X86_64_REX_GOTPCRELX, R_X86_64_SIZE32, R_X86_64_SIZE64, R_X86_64_TLSDESC_CALL, R_X86_64_TLSGD,
    R_X86_64_TLSLD, R_X86_64_TPOFF32, R_X86_64_TPOFF64,
};

use super::Uncertain;
use super::file::{File, Left};
use super::reference::Field;

/// A distance from where it stands to something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// Where it stands.
    pub field: Field,
    /// Type of the relocation (`R_X86_64_*`).
    pub kind: u32,
    /// What is added to the symbol's value; in code it also bridges the way to the next instruction.
    pub addend: i64,
    /// The symbol's value and the index of its section header, if it is defined in this file. Where the relocation asks for
    /// a slot, the distance is to the slot and not to the symbol.
    pub symbol: Option<(Vaddr, usize)>,
}

impl Distance {
    /// Whether the distance is to a slot in the global offset table.
    pub fn is_to_slot(&self) -> bool {
        !matches!(self.kind, R_X86_64_PC8 | R_X86_64_PC16 | R_X86_64_PC32 | R_X86_64_PC64 | R_X86_64_PLT32)
    }
}

pub(super) fn distances(file: &File<'_>, left: &[Left]) -> Result<Vec<Distance>, Uncertain> {
    let mut distances = Vec::new();
    for one in left {
        let width = match one.kind {
            R_X86_64_PC8 => 1,
            R_X86_64_PC16 => 2,
            R_X86_64_PC32
            | R_X86_64_PLT32
            | R_X86_64_GOTPCREL
            | R_X86_64_GOTPCRELX
            | R_X86_64_REX_GOTPCRELX
            | R_X86_64_GOTTPOFF
            | R_X86_64_TLSGD
            | R_X86_64_TLSLD
            | R_X86_64_GOTPC32_TLSDESC => 4,
            R_X86_64_PC64 => 8,
            // Absolute values, which dynamic relocations keep; offsets that do not depend on where anything is.
            R_X86_64_NONE
            | R_X86_64_64
            | R_X86_64_32
            | R_X86_64_32S
            | R_X86_64_TPOFF32
            | R_X86_64_TPOFF64
            | R_X86_64_DTPOFF32
            | R_X86_64_DTPOFF64
            | R_X86_64_TLSDESC_CALL
            | R_X86_64_SIZE32
            | R_X86_64_SIZE64 => continue,
            R_X86_64_GOTPC32 | R_X86_64_GOTPC64 | R_X86_64_GOTOFF64 | R_X86_64_PLTOFF64 | R_X86_64_GOT32
            | R_X86_64_GOT64 | R_X86_64_GOTPCREL64 => {
                let cause = "distances from the global offset table (the large code model)";
                return Err(Uncertain::Relocation(one.at, cause.to_owned()));
            }
            kind => return Err(Uncertain::Relocation(one.at, format!("type {kind} is unknown"))),
        };
        // A section that was thrown away leaves relocations without a place.
        if file.section_at(one.at).is_some() {
            let field = Field { at: one.at, width };
            distances.push(Distance { field, kind: one.kind, addend: one.addend, symbol: one.symbol });
        }
    }
    distances.sort_unstable_by_key(|distance| distance.field);
    Ok(distances)
}
