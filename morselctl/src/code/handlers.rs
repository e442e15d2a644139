//! The tables of exception handlers (`.gcc_except_table`), as the Itanium ABI and gcc's `unwind-pe.h` describe them: which
//! distances to types they hold. Types that no call leads to (gcc repeats those of a function for its cold part) are
//! never read, and cannot be told from what is around them: they are left out.

use gimli::{DwEhPe, Reader};
use ld_morsel::elf::Vaddr;

use super::Uncertain;
use super::file::{File, Section};
use super::unwind::{Pointer, Slice, pointer, slice, width};

/// The distances in the table at an address.
pub fn pointers(file: &File<'_>, table: Vaddr) -> Result<Vec<Pointer>, Uncertain> {
    let outside = || Uncertain::Unwind(table, "a table of handlers outside all sections".to_owned());
    let section = file.section_at(table).ok_or_else(outside)?;
    let start = (table.0 - section.range.start.0) as usize;
    let table = Table { section, start };
    table.pointers()
}

struct Table<'f, 'a> {
    section: &'f Section<'a>,
    /// Offset in the section.
    start: usize,
}

impl<'a> Table<'_, 'a> {
    fn pointers(&self) -> Result<Vec<Pointer>, Uncertain> {
        let mut rest = slice(self.section, self.start)?;
        let mut found = Vec::new();
        let base = DwEhPe(self.try_to(rest.read_u8())?);
        if base != gimli::DW_EH_PE_omit {
            let offset = self.offset(&rest);
            found.extend(pointer(self.section, offset, base)?);
            self.try_to(rest.skip(width(self.section, offset, base)?))?;
        }
        let encoding = DwEhPe(self.try_to(rest.read_u8())?);
        if encoding == gimli::DW_EH_PE_omit {
            return Ok(found); // cleanups only
        }
        let distance = self.try_to(rest.read_uleb128())? as usize;
        let types = self.offset(&rest).checked_add(distance).ok_or_else(|| self.damaged("a bad distance"))?;
        let sites = DwEhPe(self.try_to(rest.read_u8())?);
        let length = self.try_to(rest.read_uleb128())? as usize;
        let mut sites_left = self.try_to(rest.split(length))?;
        let mut actions = Vec::new();
        while !sites_left.is_empty() {
            for _ in 0..3 {
                self.skip(&mut sites_left, sites)?;
            }
            actions.push(self.try_to(sites_left.read_uleb128())?);
        }
        let mut indices = Vec::new();
        for action in actions.into_iter().filter(|action| *action != 0) {
            self.follow(self.offset(&rest), types, action, &mut indices)?;
        }
        indices.sort_unstable();
        indices.dedup();
        for index in indices {
            let back = width(self.section, self.start, encoding)?.checked_mul(index);
            let offset = back.and_then(|back| types.checked_sub(back)).filter(|offset| *offset > self.start);
            found.extend(pointer(self.section, offset.ok_or_else(|| self.damaged("a bad type"))?, encoding)?);
        }
        Ok(found)
    }

    /// The types that a chain of actions speaks of. `action` counts from one.
    fn follow(
        &self,
        actions: usize,
        types: usize,
        action: u64,
        indices: &mut Vec<usize>,
    ) -> Result<(), Uncertain> {
        let mut at = actions.checked_add(action as usize - 1).ok_or_else(|| self.damaged("a bad action"))?;
        // Chains are short; the bound only ends those that lead back to themselves.
        for _ in 0..1 << 16 {
            let mut record = slice(self.section, at)?;
            let filter = self.try_to(record.read_sleb128())?;
            let next_at = self.offset(&record);
            let next = self.try_to(record.read_sleb128())?;
            if filter > 0 {
                indices.push(filter as usize);
            } else if filter < 0 {
                self.specification(types, filter, indices)?;
            }
            if next == 0 {
                return Ok(());
            }
            at = next_at.checked_add_signed(next as isize).ok_or_else(|| self.damaged("a bad action"))?;
        }
        Err(self.damaged("a chain of actions without an end"))
    }

    /// The types of an exception specification: a list behind the types, at a negative filter.
    fn specification(&self, types: usize, filter: i64, indices: &mut Vec<usize>) -> Result<(), Uncertain> {
        let offset = usize::try_from(-1 - filter).ok().and_then(|back| types.checked_add(back));
        let mut list = slice(self.section, offset.ok_or_else(|| self.damaged("a bad filter"))?)?;
        loop {
            match self.try_to(list.read_uleb128())? {
                0 => return Ok(()),
                index => indices.push(index as usize),
            }
        }
    }

    fn skip(&self, rest: &mut Slice<'a>, encoding: DwEhPe) -> Result<(), Uncertain> {
        if encoding == gimli::DW_EH_PE_uleb128 {
            return self.try_to(rest.read_uleb128().map(drop));
        }
        let width = width(self.section, self.start, encoding)?;
        self.try_to(rest.skip(width))
    }

    /// Where `rest`, which ends with the section, begins in it.
    fn offset(&self, rest: &Slice<'a>) -> usize {
        self.section.bytes.len() - rest.len()
    }

    fn try_to<T>(&self, result: gimli::Result<T>) -> Result<T, Uncertain> {
        result.map_err(|error| self.damaged(&error.to_string()))
    }

    fn damaged(&self, cause: &str) -> Uncertain {
        Uncertain::Unwind(Vaddr(self.section.range.start.0 + self.start as u64), cause.to_owned())
    }
}
