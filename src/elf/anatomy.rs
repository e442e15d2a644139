//! All that a loaded object's headers and tables say of it.

use super::{Dynamic, ElfError, Segments, SymbolTable, Vaddr, View};

/// What an object consists of.
#[derive(Debug)]
pub struct Anatomy<'a> {
    /// What its program headers say.
    pub segments: Segments,
    /// Where its dynamic section is.
    pub dynamic_section: Vaddr,
    /// What its dynamic section says.
    pub dynamic: Dynamic,
    /// Its loaded bytes.
    pub view: View<'a>,
    /// Its symbols.
    pub symbols: SymbolTable<'a>,
}

impl<'a> Anatomy<'a> {
    /// Reads what the dynamic section points to.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline(never)]
    pub fn read(segments: Segments, view: View<'a>) -> Result<Self, ElfError> {
        let dynamic_section = segments.dynamic.ok_or(ElfError::NoDynamic)?;
        let dynamic = Dynamic::parse(&view, dynamic_section)?;
        dynamic.check_initialisation(&view, &segments)?;
        let symbols = SymbolTable::parse(&view, &dynamic)?;
        Ok(Self { segments, dynamic_section, dynamic, view, symbols })
    }
}
