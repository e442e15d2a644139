//! The program model: the objects of a process, the order in which they are searched, bound and initialised.
//!
//! It is plain data. The phases fill it in one after the other; the running program's loader calls read it.

mod init_order;
mod object;
mod whole;

pub use init_order::{InitOrder, initialization_order};
pub use object::{Describe, Mapping, Object, ObjectId, Origin, SearchNotes, SearchPath, TlsPlacement};
pub use whole::Program;
