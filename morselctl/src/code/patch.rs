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
