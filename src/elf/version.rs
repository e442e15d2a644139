//! Version definitions (`DT_VERDEF`; the Linux Standard Base, "Symbol Versioning"). musl binds without looking at
//! versions, and so do we; only `dlvsym` asks for one by name.

/// An object's version definitions: `Elf64_Verdef`s, each followed by `Elf64_Verdaux`s.
#[derive(Clone, Copy, Debug)]
pub struct VersionDefinitions<'a> {
    /// From `DT_VERDEF` to the end of the segment.
    bytes: &'a [u8],
}

impl<'a> VersionDefinitions<'a> {
    /// The definitions at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The index that stands for a version in `DT_VERSYM`, given a test for its name's place in the string table.
    pub fn index_of(&self, is_name: impl Fn(u64) -> bool) -> Option<u16> {
        let mut definition = 0;
        // Each definition has an index of its own; more of them mean that a hostile list runs in circles.
        for _ in 0..u16::MAX {
            // vd_ndx, vd_aux and vd_next of `Elf64_Verdef`; vda_name of the first `Elf64_Verdaux`.
            let index = u16::try_from(self.word(definition + 4)? & 0xffff).ok()?;
            let auxiliary = definition.checked_add(self.word(definition + 12)? as usize)?;
            if is_name(u64::from(self.word(auxiliary)?)) {
                return Some(index);
            }
            match self.word(definition + 16)? {
                0 => return None,
                next => definition = definition.checked_add(next as usize)?,
            }
        }
        None
    }

    fn word(&self, offset: usize) -> Option<u32> {
        let bytes = self.bytes.get(offset..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }
}
