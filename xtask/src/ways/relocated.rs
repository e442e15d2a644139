//! The pages of an image that must be changed if it is moved, and where in them the words are: taken out of the image file and
//! laid side by side, as if all libraries' data were one region.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object::elf::{FileHeader64, Relr64};
use object::read::elf::{FileHeader, RelrIterator, SectionHeader};
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
        let words = rebase(&bytes).with_context(|| format!("in {}", image.display()))?;
        gather(&bytes, words).with_context(|| format!("in {}", image.display()))
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

/// The offsets of all words that hold addresses: a table of the image, which is in the form of DT_RELR.
fn rebase(image: &[u8]) -> Result<Vec<u64>> {
    let header = FileHeader64::<Endianness>::parse(image)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, image)?;
    let (_, section) =
        sections.section_by_name(endian, b".morsel.rebase").context("no table of words to be changed")?;
    let table = section.data(endian, image)?;
    // Its size stands in front.
    let table = table.get(8..).context("an empty table")?;
    let (table, _) = pod::slice_from_bytes::<Relr64<Endianness>>(table, table.len() / 8)
        .ok()
        .context("a table cut off")?;
    Ok(RelrIterator::<FileHeader64<Endianness>>::new(endian, table).collect())
}

fn gather(image: &[u8], words: Vec<u64>) -> Result<Relocated> {
    let mut relocated = Relocated::default();
    let mut last = None;
    for word in words {
        let (page, place) = (word / PAGE, word % PAGE);
        ensure!(place <= PAGE - 8, "the word at {word:#x} lies on two pages");
        if last != Some(page) {
            ensure!(last < Some(page), "the words are not in order at {word:#x}");
            last = Some(page);
            let start = usize::try_from(page * PAGE)?;
            let page = image.get(start..start + PAGE as usize).context("a word outside of the file")?;
            relocated.pages.extend(page);
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
        let relocated = gather(&image, vec![PAGE + 8, PAGE + 16, 3 * PAGE]).unwrap();
        assert_eq!((relocated.count(), &relocated.words), (2, &vec![8, 16, PAGE]));
        assert_eq!((relocated.pages[0], relocated.pages[PAGE as usize]), (1, 3));
        assert_eq!(relocated.repeated(2).words, [8, 16, PAGE, 2 * PAGE + 8, 2 * PAGE + 16, 3 * PAGE]);
        assert!(gather(&image, vec![PAGE - 4]).is_err());
        assert!(gather(&image, vec![4 * PAGE]).is_err());
    }
}
