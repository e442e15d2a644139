//! All that a loaded object's headers and tables say of it, and what every start needs of that.

use super::{Dynamic, ElfError, Segments, SymbolTable, Vaddr, View};

/// What an object consists of.
#[derive(Debug)]
pub struct Anatomy<'a> {
    /// What its program headers say.
    pub segments: Segments,
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
        let dynamic_section = self.segments.dynamic.ok_or(ElfError::NoDynamic)?;
        self.dynamic.read(&self.view, dynamic_section)?;
        self.dynamic.check_initialisation(&self.view, &self.segments)?;
        self.symbols = SymbolTable::parse(&self.view, &self.dynamic)?;
        Ok(())
    }

    /// What every start needs of it.
    pub fn summary(&self) -> Summary {
        let Dynamic { init, fini, init_array, fini_array, .. } = &self.dynamic;
        let has_arrays = init_array.size > 0 || fini_array.size > 0;
        Summary {
            dynamic_section: self.segments.dynamic.unwrap_or_default(),
            stack_size: self.segments.stack_size,
            has_tls: self.segments.tls.is_some(),
            has_initialisation: has_arrays || init.is_some() || fini.is_some(),
        }
    }
}

/// What every start needs of an object's [`Anatomy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Where its dynamic section is.
    pub dynamic_section: Vaddr,
    /// The stack size that its threads want, in bytes.
    pub stack_size: u64,
    /// It has thread-local storage.
    pub has_tls: bool,
    /// It has constructors or destructors.
    pub has_initialisation: bool,
}
