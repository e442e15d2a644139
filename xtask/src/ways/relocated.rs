//! The pages of an image that must be changed if it is moved, and where in them the words are: taken out of the image file and
//! laid side by side, as if all libraries' data were one region.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::elf::{FileHeader64, PT_LOAD, Relr64};
use object::read::elf::{FileHeader, ProgramHeader, RelrIterator, SectionHeader};
use object::{Endianness, pod};

const PAGE: u64 = 4096;

/// The pages that hold relocated words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relocated {
    /// Their contents for the image's own base, one after the other.
    pub pages: Vec<u8>,
    /// Where in them the words are, in order.
    pub words: Vec<u64>,
}

impl Relocated {
    /// Those of an image, by its `rebase` table (`docs/images.md`).
    ///
    /// # Errors
    /// The file is not an image.
    pub fn of(image: &Path) -> Result<Self> {
        let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
        let (words, parts) = read(&bytes).with_context(|| format!("in {}", image.display()))?;
        gather(|page| content(&bytes, &parts, page), words).with_context(|| format!("in {}", image.display()))
    }

    /// How many pages there are.
    pub fn count(&self) -> usize {
        self.pages.len() / PAGE as usize
    }

    /// The same several times, for costs that are small.
    pub fn repeated(&self, times: usize) -> Self {
        let size = self.pages.len() as u64;
        let words = (0..times as u64).flat_map(|time| self.words.iter().map(move |word| time * size + word));
        Self { pages: self.pages.repeat(times), words: words.collect() }
    }
}

/// What is mapped at a distance from the image's base, and where that is in the file.
type Part = (Range<u64>, u64);

/// The distances from the base of all words that hold addresses (a table of the image, which is in the form of DT_RELR), and the
/// parts of the image.
fn read(image: &[u8]) -> Result<(Vec<u64>, Vec<Part>)> {
    let header = FileHeader64::<Endianness>::parse(image)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, image)?;
    // Behind the table's name stands the program's.
    let is_table = |name: &[u8]| name.starts_with(b".morsel.rebase:");
    let mut tables =
        sections.iter().filter(|section| sections.section_name(endian, section).is_ok_and(is_table));
    let section = tables.next().context("no table of words to be changed")?;
    let table = section.data(endian, image)?;
    // Its size stands in front.
    let table = table.get(8..).context("an empty table")?;
    let (table, _) = pod::slice_from_bytes::<Relr64<Endianness>>(table, table.len() / 8)
        .ok()
        .context("a table cut off")?;
    let words = RelrIterator::<FileHeader64<Endianness>>::new(endian, table).collect();
    let segments =
        header.program_headers(endian, image)?.iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
    let base = segments.clone().map(|segment| segment.p_vaddr(endian)).min().context("nothing is mapped")?;
    let parts = segments.map(|segment| {
        let start = segment.p_vaddr(endian) - base;
        (start..start + segment.p_filesz(endian), segment.p_offset(endian))
    });
    Ok((words, parts.collect()))
}

/// The page that begins at a distance from the base.
fn content<'a>(image: &'a [u8], parts: &[Part], page: u64) -> Option<&'a [u8]> {
    let (part, offset) = parts.iter().find(|(part, _)| part.contains(&page))?;
    let start = usize::try_from(offset + (page - part.start)).ok()?;
    image.get(start..start + PAGE as usize)
}

fn gather<'a>(content: impl Fn(u64) -> Option<&'a [u8]>, words: Vec<u64>) -> Result<Relocated> {
    let mut relocated = Relocated::default();
    let mut last = None;
    for word in words {
        let (page, place) = (word / PAGE, word % PAGE);
        ensure!(place <= PAGE - 8, "the word at {word:#x} lies on two pages");
        if last != Some(page) {
            ensure!(last < Some(page), "the words are not in order at {word:#x}");
            last = Some(page);
            relocated.pages.extend(content(page * PAGE).context("a word outside of the file")?);
        }
        relocated.words.push(relocated.pages.len() as u64 - PAGE + place);
    }
    Ok(relocated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_without_words_are_left_out() {
        let image: Vec<u8> = (0..4).flat_map(|page| [page; PAGE as usize]).collect();
        // The second half is mapped farther away.
        let parts = [(0..2 * PAGE, 0), (9 * PAGE..11 * PAGE, 2 * PAGE)];
        let gather = |words| gather(|page| content(&image, &parts, page), words);
        let relocated = gather(vec![PAGE + 8, PAGE + 16, 10 * PAGE]).unwrap();
        assert_eq!((relocated.count(), &relocated.words), (2, &vec![8, 16, PAGE]));
        assert_eq!((relocated.pages[0], relocated.pages[PAGE as usize]), (1, 3));
        assert_eq!(relocated.repeated(2).words, [8, 16, PAGE, 2 * PAGE + 8, 2 * PAGE + 16, 3 * PAGE]);
        assert!(gather(vec![PAGE - 4]).is_err());
        assert!(gather(vec![4 * PAGE]).is_err());
    }
}
