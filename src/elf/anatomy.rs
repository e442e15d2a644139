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

impl Default for Anatomy<'_> {
    /// Nothing is known.
    #[inline]
    fn default() -> Self {
        Self::new(Segments::default(), View::default())
    }
}

impl<'a> Anatomy<'a> {
    /// What the program headers say. Of the tables nothing is known yet.
    #[inline]
    pub fn new(segments: Segments, view: View<'a>) -> Self {
        let dynamic_section = segments.dynamic.unwrap_or_default();
        Self { segments, dynamic_section, dynamic: Dynamic::default(), view, symbols: SymbolTable::EMPTY }
    }

    /// Reads what the dynamic section points to.
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
