//! Why a library's code cannot be read with certainty, or not be changed. Every reason names the address that it is about.

use std::fmt;
use std::ops::Range;

use ld_morsel::elf::Vaddr;

/// A reason. The caller knows the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncertain {
    /// The file is no library of the expected kind, or damaged.
    File(String),
    /// There are no section headers.
    NoSections,
    /// A relocation writes into what is read-only.
    TextRelocation(Vaddr),
    /// The unwind tables at an address are of an unknown kind or damaged.
    Unwind(Vaddr, String),
    /// Bytes in an executable section that no function contains and nothing jumps to.
    NoFunction(Range<Vaddr>),
    /// Bytes in an executable segment that no section contains.
    NoSection(Range<Vaddr>),
    /// A symbol says that there is data among code.
    DataSymbol(Vaddr, String),
    /// There is no valid instruction at an address.
    Invalid(Vaddr),
    /// There is an instruction that no library has: rather data.
    Unusual(Vaddr, &'static str),
    /// An instruction reaches over the end of its function.
    Overrun(Vaddr, Range<Vaddr>),
    /// Something leads from one address into the middle of an instruction, into padding or out of the code.
    Astray(Vaddr, Vaddr),
    /// Something uses an address among code that is not the beginning of a function.
    DataAmongCode(Vaddr, Vaddr),
    /// An instruction in the procedure linkage table is of no known shape.
    LinkageTable(Vaddr),
    /// The relocations that the link editor left say something else than the code.
    Relocation(Vaddr, String),
    /// A section that must be in one unit is not.
    Unit(String, Range<Vaddr>),
    /// It cannot be said in which unit the second address is that the first refers to.
    Ambiguous(Vaddr, Vaddr, String),
    /// A distance no longer fits in its field.
    Reach(Vaddr, i128),
    /// A branch goes to an address that is computed, perhaps by a table of distances.
    Computed(Vaddr, &'static str),
    /// A function makes addresses of its own one and constants of eight bytes (the large code model).
    Large(Vaddr),
    /// What an address has may be a distance to what is moved otherwise.
    Distance(Vaddr, Vaddr),
    /// A section of a name that nothing is known of, which may hold distances.
    UnknownSection(String, Range<Vaddr>),
    /// What is to be changed is not what was read, or twice.
    Patch(Vaddr),
}

impl fmt::Display for Uncertain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(cause) => f.write_str(cause),
            Self::NoSections => f.write_str("no section headers"),
            Self::TextRelocation(Vaddr(at)) => {
                write!(f, "the relocation at {at:#x} writes into read-only data or code")
            }
            Self::Unwind(Vaddr(at), cause) => write!(f, "the unwind tables at {at:#x}: {cause}"),
            Self::NoFunction(range) => write!(f, "{} belongs to no function", span(range)),
            Self::NoSection(range) => write!(f, "{} is executable and belongs to no section", span(range)),
            Self::DataSymbol(Vaddr(at), name) => write!(f, "the variable {name} at {at:#x} is among code"),
            Self::Invalid(Vaddr(at)) => write!(f, "there is no valid instruction at {at:#x}"),
            Self::Unusual(Vaddr(at), what) => write!(f, "the {what} at {at:#x} is rather data"),
            Self::Overrun(Vaddr(at), range) => {
                write!(f, "the instruction at {at:#x} reaches over the end of {}", span(range))
            }
            Self::Astray(Vaddr(from), Vaddr(to)) => {
                write!(f, "{from:#x} leads to {to:#x}, where no instruction begins")
            }
            Self::DataAmongCode(Vaddr(at), Vaddr(target)) => {
                write!(
                    f,
                    "{at:#x} refers to {target:#x} among code, which is not the beginning of a function"
                )
            }
            Self::LinkageTable(Vaddr(at)) => write!(f, "the linkage table has an unknown shape at {at:#x}"),
            Self::Relocation(Vaddr(at), cause) => {
                write!(f, "the link editor's relocation at {at:#x}: {cause}")
            }
            Self::Unit(name, range) => {
                write!(f, "section {name}, {}, is in no unit or in several", span(range))
            }
            Self::Ambiguous(Vaddr(at), Vaddr(target), cause) => {
                write!(f, "{at:#x} refers to {target:#x}, {cause}")
            }
            Self::Reach(Vaddr(at), distance) => write!(f, "the distance at {at:#x} would be {distance:#x}"),
            Self::Computed(Vaddr(at), cause) => {
                write!(f, "the branch at {at:#x} goes to a computed address, {cause}")
            }
            Self::Large(Vaddr(at)) => {
                write!(f, "the function at {at:#x} makes addresses of constants of eight bytes")
            }
            Self::Distance(Vaddr(at), Vaddr(target)) => {
                write!(f, "what is at {at:#x} may be the distance to {target:#x}")
            }
            Self::UnknownSection(name, range) => {
                write!(f, "section {name}, {}, may hold distances to what is moved", span(range))
            }
            Self::Patch(Vaddr(at)) => write!(f, "what is to be changed at {at:#x} is something else"),
        }
    }
}

impl std::error::Error for Uncertain {}

fn span(range: &Range<Vaddr>) -> String {
    format!("{:#x}..{:#x}", range.start.0, range.end.0)
}
