//! Changes to a library's bytes, as lists that can be looked at, combined and applied.

use ld_morsel::elf::Vaddr;

use super::Uncertain;

/// Some bytes to be changed, eight at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Patch {
    /// Address of the first byte, as the link editor placed it.
    pub at: Vaddr,
    /// How many bytes.
    pub width: u8,
    /// What is there, little-endian.
    pub old: u64,
    /// What is to be there.
    pub new: u64,
}

impl Patch {
    /// A change from some bytes, of which there are eight at most, to as many others.
    pub(super) fn new(at: Vaddr, old: &[u8], new: &[u8]) -> Self {
        debug_assert!(old.len() == new.len() && old.len() <= 8);
        Self { at, width: old.len() as u8, old: word(old), new: word(new) }
    }

    /// The address behind the last byte.
    pub fn end(&self) -> Vaddr {
        Vaddr(self.at.0 + u64::from(self.width))
    }
}

/// Changes `bytes`, which are those from `start` on, by the patches that are about them.
///
/// # Errors
/// A patch is partly about them, or they are not what it changes; then some have been applied.
pub fn apply(bytes: &mut [u8], start: Vaddr, patches: &[Patch]) -> Result<(), Uncertain> {
    let end = start.0 + bytes.len() as u64;
    for patch in patches.iter().filter(|patch| start < patch.end() && patch.at.0 < end) {
        let offset = patch.at.0.checked_sub(start.0).map(|offset| offset as usize);
        let place = offset.and_then(|offset| bytes.get_mut(offset..offset + usize::from(patch.width)));
        let place = place.filter(|place| word(place) == patch.old).ok_or(Uncertain::Patch(patch.at))?;
        place.copy_from_slice(&patch.new.to_le_bytes()[..usize::from(patch.width)]);
    }
    Ok(())
}

/// Both lists as one, in the order of addresses. Where `above` changes an instruction, its change replaces those of `below`:
/// calls that are made direct do not need the distance to their slot any more.
///
/// # Errors
/// Two changes overlap otherwise.
pub fn overlay(below: &[Patch], above: &[Patch]) -> Result<Vec<Patch>, Uncertain> {
    let mut all = above.to_vec();
    all.sort_unstable();
    let above = all.clone();
    all.extend(below.iter().filter(|patch| {
        let next = above.partition_point(|other| other.at <= patch.at);
        next.checked_sub(1).is_none_or(|last| above[last].end() < patch.end())
    }));
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[1].at < pair[0].end()) {
        Some(pair) => Err(Uncertain::Patch(pair[1].at)),
        None => Ok(all),
    }
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(at: u64, old: &[u8], new: &[u8]) -> Patch {
        Patch::new(Vaddr(at), old, new)
    }

    #[test]
    fn bytes_are_changed_where_they_are_what_was_read() {
        let mut bytes = *b"abcdefgh";
        let patches = [patch(0x11, b"bc", b"BC"), patch(0x17, b"h", b"H"), patch(0x18, b"i", b"I")];
        apply(&mut bytes, Vaddr(0x10), &patches).unwrap();
        assert_eq!(&bytes, b"aBCdefgH");
        assert_eq!(apply(&mut bytes, Vaddr(0x10), &patches), Err(Uncertain::Patch(Vaddr(0x11))));
        let beyond = [patch(0x17, b"Hi", b"hi")];
        assert_eq!(apply(&mut bytes, Vaddr(0x10), &beyond), Err(Uncertain::Patch(Vaddr(0x17))));
        assert_eq!(
            apply(&mut bytes, Vaddr(0x18), &[patch(0x17, b"Hi", b"hi")]),
            Err(Uncertain::Patch(Vaddr(0x17)))
        );
    }

    #[test]
    fn an_instruction_that_is_replaced_needs_no_new_distance() {
        let (call, distance) = (patch(0x10, b"abcdef", b"ABCDEF"), patch(0x12, b"cdef", b"1234"));
        let (other, across) = (patch(0x20, b"xyz", b"123"), patch(0x0f, b"za", b"ZA"));
        assert_eq!(overlay(&[distance, other], &[call]), Ok(vec![call, other]));
        assert_eq!(overlay(&[across], &[call]), Err(Uncertain::Patch(Vaddr(0x10))));
    }
}
