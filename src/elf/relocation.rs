//! Relocation tables: `Elf64_Rel`, `Elf64_Rela` and the compact `DT_RELR` form.

use goblin::elf64::reloc::{Rel, Rela};

use super::{ElfError, Table, Vaddr, View};

/// One relocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relocation {
    /// `r_offset`: the first byte to be written.
    pub slot: Vaddr,
    /// The low half of `r_info`: an `R_X86_64_*` number.
    pub kind: u32,
    /// The high half of `r_info`: an index into the symbol table, zero for none.
    pub symbol: u32,
    /// `r_addend`; `None` in a `Rel` table, whose addends are in the slots.
    pub addend: Option<u64>,
}

impl Relocation {
    #[inline]
    fn new(slot: u64, info: u64, addend: Option<u64>) -> Self {
        Self { slot: Vaddr(slot), kind: info as u32, symbol: (info >> 32) as u32, addend }
    }
}

impl From<&Rel> for Relocation {
    #[inline]
    fn from(entry: &Rel) -> Self {
        Self::new(entry.r_offset, entry.r_info, None)
    }
}

impl From<&Rela> for Relocation {
    #[inline]
    fn from(entry: &Rela) -> Self {
        Self::new(entry.r_offset, entry.r_info, Some(entry.r_addend as u64))
    }
}

/// A `DT_REL`, `DT_RELA` or `DT_JMPREL` table.
#[derive(Clone, Copy, Debug)]
pub enum RelocationTable<'a> {
    /// Addends are in the slots.
    Rel(&'a [Rel]),
    /// Addends are in the entries.
    Rela(&'a [Rela]),
}

impl<'a> RelocationTable<'a> {
    /// As many as have room in the nearest cache with all that belongs to them, and enough to hide how far away that is.
    pub const BATCH: usize = 16;

    /// The table that an object's dynamic section describes.
    ///
    /// # Errors
    /// [`ElfError::BadTable`] naming `what` if it reaches outside the object.
    pub fn parse(
        view: &View<'a>,
        table: Table,
        has_addends: bool,
        what: &'static str,
    ) -> Result<Self, ElfError> {
        if has_addends {
            view.table(table.vaddr, table.size, what).map(Self::Rela)
        } else {
            view.table(table.vaddr, table.size, what).map(Self::Rel)
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Rel(entries) => entries.len(),
            Self::Rela(entries) => entries.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry at `index`.
    pub fn get(&self, index: usize) -> Option<Relocation> {
        match self {
            Self::Rel(entries) => entries.get(index).map(Relocation::from),
            Self::Rela(entries) => entries.get(index).map(Relocation::from),
        }
    }

    /// Calls `apply` for all entries in order, some at a time: at most [`RelocationTable::BATCH`].
    #[inline]
    pub fn for_each_batch(&self, mut apply: impl FnMut(&[Relocation])) {
        let mut batch = [Relocation::default(); Self::BATCH];
        match self {
            Self::Rel(entries) => {
                for chunk in entries.chunks(Self::BATCH) {
                    for (relocation, entry) in batch.iter_mut().zip(chunk) {
                        *relocation = entry.into();
                    }
                    apply(&batch[..chunk.len()]);
                }
            }
            Self::Rela(entries) => {
                for chunk in entries.chunks(Self::BATCH) {
                    for (relocation, entry) in batch.iter_mut().zip(chunk) {
                        *relocation = entry.into();
                    }
                    apply(&batch[..chunk.len()]);
                }
            }
        }
    }

    /// Calls `apply` for every entry in order.
    pub fn for_each(&self, mut apply: impl FnMut(&Relocation)) {
        self.for_each_batch(|batch| batch.iter().for_each(&mut apply));
    }
}

/// The slots that a `DT_RELR` table names: an even word is an address to relocate, an odd one a bitmap of the 63
/// words after it (gABI draft, "Relative relocations").
pub struct RelrSlots<'a> {
    words: core::slice::Iter<'a, u64>,
    next: u64,
    bitmap: u64,
    bitmap_base: u64,
}

impl<'a> RelrSlots<'a> {
    /// Decodes `words`.
    pub fn new(words: &'a [u64]) -> Self {
        Self { words: words.iter(), next: 0, bitmap: 0, bitmap_base: 0 }
    }
}

impl Iterator for RelrSlots<'_> {
    type Item = Vaddr;

    #[inline]
    fn next(&mut self) -> Option<Vaddr> {
        const WORD: u64 = size_of::<u64>() as u64;
        loop {
            if self.bitmap != 0 {
                let index = u64::from(self.bitmap.trailing_zeros());
                self.bitmap &= self.bitmap - 1;
                return Some(Vaddr(self.bitmap_base.wrapping_add(index * WORD)));
            }
            let word = *self.words.next()?;
            if word & 1 == 0 {
                self.next = word.wrapping_add(WORD);
                return Some(Vaddr(word));
            }
            self.bitmap = word >> 1;
            self.bitmap_base = self.next;
            self.next = self.next.wrapping_add(63 * WORD);
        }
    }
}
