//! Changes single fields of ELF files, for shapes that no linker will make.
//!
//! An edit reads `PLACE OPERATOR NUMBER`, as in `phdr[PT_PHDR].p_type = PT_NULL`, `versym[f] |= 0x8000`,
//! `rela[f].r_type = 250` or `dyn[DT_NEEDED].d_val += 1`.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::elf_fields::{DYN, EHDR, Elf, Field, PHDR, RELA, SYM, number, read, write};

/// One change.
#[derive(Clone, Debug)]
pub struct Edit {
    table: String,
    key: String,
    field: String,
    operator: Operator,
    value: u64,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Set,
    Add,
    Or,
}

impl FromStr for Edit {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Edit> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [place, operator, value] = words[..] else {
            bail!("expected `place = number`, got `{text}`");
        };
        let operator = match operator {
            "=" => Operator::Set,
            "+=" => Operator::Add,
            "|=" => Operator::Or,
            _ => bail!("unknown operator `{operator}` (=, +=, |=)"),
        };
        let (table, key, field) = match place.split_once('[') {
            Some((table, rest)) => {
                let (key, field) = rest.split_once(']').context("`[` without `]`")?;
                (table, key, field.strip_prefix('.').unwrap_or(""))
            }
            None => {
                let (table, field) = place.split_once('.').context("expected `ehdr.field`")?;
                (table, "", field)
            }
        };
        let edit = Edit {
            table: table.into(),
            key: key.into(),
            field: field.into(),
            operator,
            value: number(value)?,
        };
        Ok(edit)
    }
}

impl Edit {
    /// Finds the bytes that the edit is about.
    fn place(&self, bytes: &[u8]) -> Result<Range<usize>> {
        let elf = Elf::new(bytes)?;
        let (start, fields): (usize, &[Field]) = match self.table.as_str() {
            "ehdr" => (0, &EHDR),
            "phdr" => (elf.phdr(usize::try_from(number(&self.key)?)?)?, &PHDR),
            "dyn" => (elf.dyn_entry(usize::try_from(number(&self.key)?)?)?, &DYN),
            "sym" => (elf.symbols()?.start + elf.symbol(&self.key)? * 24, &SYM),
            "rela" => (relocation(bytes, &elf, &self.key)?, &RELA),
            "versym" => {
                let table = elf.offset_of(elf.dyn_value(0x6fff_fff0)?)?;
                let start = table + elf.symbol(&self.key)? * 2;
                return Ok(start..start + 2);
            }
            other => bail!("unknown table `{other}` (ehdr, phdr, dyn, sym, rela, versym)"),
        };
        let (_, offset, size) = fields
            .iter()
            .find(|(name, ..)| *name == self.field)
            .with_context(|| format!("`{}` has no field `{}`", self.table, self.field))?;
        Ok(start + offset..start + offset + size)
    }

    /// Makes the change.
    pub fn apply(&self, bytes: &mut [u8]) -> Result<()> {
        let place = self.place(bytes)?;
        let old = read(bytes, place.clone())?;
        let new = match self.operator {
            Operator::Set => self.value,
            Operator::Add => old.wrapping_add(self.value),
            Operator::Or => old | self.value,
        };
        write(bytes, place, new)
    }
}

/// The first relocation against a symbol.
fn relocation(bytes: &[u8], elf: &Elf, symbol: &str) -> Result<usize> {
    let wanted = u64::try_from(elf.symbol(symbol)?)?;
    for table in elf.relocations()? {
        for at in table.entries() {
            if read(bytes, at + 12..at + 16)? == wanted {
                return Ok(at);
            }
        }
    }
    bail!("no relocation against `{symbol}`")
}

/// Makes the change in a file.
pub fn apply_to_file(path: &Path, edit: &Edit) -> Result<()> {
    let mut bytes = fs::read(path).with_context(|| path.display().to_string())?;
    edit.apply(&mut bytes).with_context(|| format!("cannot apply {edit:?} to {}", path.display()))?;
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_errors() {
        for text in [
            "phdr[PT_TLS].p_align",
            "ehdr = 1",
            "dyn[DT_INIT.d_val = 1",
            "ehdr.e_type ^= 1",
            "ehdr.e_type = x",
        ] {
            assert!(text.parse::<Edit>().is_err(), "{text}");
        }
    }

    #[test]
    fn fields_of_this_test_program_change() -> Result<()> {
        let original = fs::read("/proc/self/exe").context("/proc/self/exe")?;
        let mut bytes = original.clone();
        "ehdr.e_machine = 183".parse::<Edit>()?.apply(&mut bytes)?;
        assert_eq!(bytes[18..20], [183, 0]);
        assert_eq!(bytes[20..], original[20..]);
        assert!("ehdr.e_nothing = 1".parse::<Edit>()?.apply(&mut bytes).is_err());
        assert!("phdr[0x12345].p_type = 1".parse::<Edit>()?.apply(&mut bytes).is_err());
        Ok(())
    }
}
