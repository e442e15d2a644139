//! An object's bytes, addressed the way the dynamic section addresses them: by [`Vaddr`].

use smallvec::SmallVec;

use super::segment::USUAL_SEGMENTS;
use super::{ElfError, Vaddr};

/// The loaded parts of an object. The loader builds it from mapped segments, tests and the fuzz target from a file.
#[derive(Clone, Debug, Default)]
pub struct View<'a> {
    parts: SmallVec<[(Vaddr, &'a [u8]); USUAL_SEGMENTS]>,
}

impl<'a> View<'a> {
    /// A view of these parts; where they overlap, the first one is seen.
    pub fn new(parts: impl IntoIterator<Item = (Vaddr, &'a [u8])>) -> Self {
        Self { parts: parts.into_iter().collect() }
    }

    /// Shows these parts, too, where none has been seen so far.
    pub fn add(&mut self, parts: impl IntoIterator<Item = (Vaddr, &'a [u8])>) {
        parts.into_iter().for_each(|part| self.parts.push(part));
    }

    /// Everything from `vaddr` to the end of the part that holds it.
    pub fn from(&self, vaddr: Vaddr) -> Option<&'a [u8]> {
        self.parts.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(vaddr.0.checked_sub(start.0)?).ok()?;
            bytes.get(offset..).filter(|rest| !rest.is_empty())
        })
    }

    /// Exactly `size` bytes at `vaddr`.
    pub fn bytes(&self, vaddr: Vaddr, size: u64) -> Option<&'a [u8]> {
        self.from(vaddr)?.get(..usize::try_from(size).ok()?)
    }

    /// As many `T` as there is room for from `vaddr` on.
    ///
    /// # Errors
    /// [`ElfError::BadTable`] naming `what` if `vaddr` lies outside the object or is misaligned.
    pub fn table_from<T: plain::Plain>(&self, vaddr: Vaddr, what: &'static str) -> Result<&'a [T], ElfError> {
        let bytes = self.from(vaddr).ok_or(ElfError::BadTable(what))?;
        let whole = bytes.len() / size_of::<T>();
        plain::slice_from_bytes_len(bytes, whole).map_err(|_| ElfError::BadTable(what))
    }

    /// The `T`s in the `size` bytes at `vaddr`; a trailing fraction of a `T` is ignored.
    ///
    /// # Errors
    /// [`ElfError::BadTable`] naming `what` if they lie outside the object or are misaligned.
    pub fn table<T: plain::Plain>(
        &self,
        vaddr: Vaddr,
        size: u64,
        what: &'static str,
    ) -> Result<&'a [T], ElfError> {
        if size == 0 {
            return Ok(&[]);
        }
        let bytes = self.bytes(vaddr, size).ok_or(ElfError::BadTable(what))?;
        let whole = bytes.len() / size_of::<T>();
        plain::slice_from_bytes_len(bytes, whole).map_err(|_| ElfError::BadTable(what))
    }
}
