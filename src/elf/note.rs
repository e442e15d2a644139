//! Notes (gABI chapter 5, "Note Section"): small named records for tools.

/// One note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// Who defines its meaning, with the terminating NUL.
    pub owner: &'a [u8],
    /// What it is to the owner.
    pub kind: u32,
    /// Where the descriptor begins in the segment.
    pub at: usize,
    /// Its contents.
    pub descriptor: &'a [u8],
}

/// The notes in the bytes of a `PT_NOTE` segment, up to the first that is damaged.
pub fn notes(segment: &[u8]) -> impl Iterator<Item = Note<'_>> {
    let mut at = 0_usize;
    core::iter::from_fn(move || {
        let word = |at: usize| Some(u32::from_le_bytes(*segment.get(at..)?.first_chunk()?));
        let (name_size, size, kind) = (word(at)? as usize, word(at + 4)? as usize, word(at + 8)?);
        let name_at = at + 12;
        let descriptor_at = name_at.checked_add(name_size.next_multiple_of(4))?;
        let owner = segment.get(name_at..name_at.checked_add(name_size)?)?;
        let end = descriptor_at.checked_add(size)?;
        let descriptor = segment.get(descriptor_at..end)?;
        at = end.checked_next_multiple_of(4)?;
        Some(Note { owner, kind, at: descriptor_at, descriptor })
    })
}
