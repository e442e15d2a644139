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

impl Anatomy<'_> {
    /// Nothing is known yet. It is large: it is filled in place.
    #[inline]
    pub fn unread() -> Self {
        Self {
            segments: Segments::default(),
            dynamic_section: Vaddr(0),
            dynamic: Dynamic::default(),
            view: View::default(),
            symbols: SymbolTable::EMPTY,
        }
    }

    /// Reads what the dynamic section points to; segments and bytes are known.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline(never)]
    pub fn read_tables(&mut self) -> Result<(), ElfError> {
        self.dynamic_section = self.segments.dynamic.ok_or(ElfError::NoDynamic)?;
        self.dynamic.read(&self.view, self.dynamic_section)?;
        self.dynamic.check_initialisation(&self.view, &self.segments)?;
        self.symbols = SymbolTable::parse(&self.view, &self.dynamic)?;
        Ok(())
    }
}
