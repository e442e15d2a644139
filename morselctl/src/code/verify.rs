//! The proof that changed code does what the original does. It has nothing in common with what made the changes: it decodes both
//! on its own, compares instruction by instruction, and follows slots and stubs itself.
//!
//! An instruction may differ in two ways. A distance may have become the one to where its target has moved; or what leads
//! through a slot leads straight to what the slot holds, in one of the forms listed here, byte by byte. Data may differ where
//! the old bytes are the distance to a pointer in another unit that is relocated (so unwind tables refer to types and
//! personality routines), and the new ones that to where it has moved.

use std::collections::BTreeMap;
use std::fmt;

use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
use ld_morsel::elf::Vaddr;

use super::moves::Unit;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Instructions.
    Code,
    /// Descriptions of frames (`.eh_frame`).
    Frames,
    /// Anything else.
    Data,
}

/// A section as it was and as it is.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    /// Its address, as the link editor placed it.
    pub start: Vaddr,
    /// What it holds.
    pub kind: Kind,
    /// What it was.
    pub old: &'a [u8],
    /// What it has become.
    pub new: &'a [u8],
}

/// What has been done to a library.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// Sections that are not written to by dynamic relocations.
    pub sections: &'a [Changed<'a>],
    /// Where decoding is to begin anew: where functions begin, and whatever else control enters.
    pub beginnings: &'a [Vaddr],
    /// How the library's parts were moved; nothing if they were not.
    pub units: &'a [Unit],
    /// What is added to an address of the library's first unit, before it was moved, to get the address in the process.
    pub bias: u64,
    /// What dynamic relocations write into, and what of this file.
    pub relocated: &'a BTreeMap<Vaddr, Option<Vaddr>>,
    /// What slots hold, as addresses in the process.
    pub slots: &'a BTreeMap<Vaddr, u64>,
}

/// A place that does not do what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong(pub Vaddr);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the change at {:#x} is not one that keeps the meaning", self.0.0)
    }
}

impl std::error::Error for Wrong {}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Distances to what has moved, in code.
    pub moved: usize,
    /// What led through a slot, and leads straight to its content.
    pub direct: usize,
    /// Bytes of data that belong to distances to what has moved.
    pub data: usize,
}

/// Checks all that differs, and that all differs that must.
///
/// # Errors
/// Something does not do what it did.
pub fn verify(claim: &Claim<'_>) -> Result<Found, Wrong> {
    let mut found = Found::default();
    for section in claim.sections {
        if section.old.len() != section.new.len() {
            return Err(Wrong(section.start));
        }
        match section.kind {
            Kind::Code => claim.check_code(section, &mut found)?,
            Kind::Frames => {
                claim.check_personalities(section)?;
                claim.check_data(section, &mut found)?;
            }
            Kind::Data => claim.check_data(section, &mut found)?,
        }
    }
    Ok(found)
}

impl Claim<'_> {
    fn check_code(&self, section: &Changed<'_>, found: &mut Found) -> Result<(), Wrong> {
        let end = section.start.0 + section.old.len() as u64;
        let inside = |start: &&Vaddr| section.start < **start && start.0 < end;
        let mut starts: Vec<u64> = self.beginnings.iter().filter(inside).map(|start| start.0).collect();
        starts.extend([section.start.0, end]);
        starts.sort_unstable();
        starts.dedup();
        for pair in starts.windows(2) {
            let range = (pair[0] - section.start.0) as usize..(pair[1] - section.start.0) as usize;
            let (old, new) = (&section.old[range.clone()], &section.new[range]);
            let mut decoder = Decoder::with_ip(64, old, pair[0], DecoderOptions::NONE);
            while decoder.can_decode() {
                let begin = decoder.position();
                let instruction = decoder.decode();
                let range = begin..decoder.position();
                self.check_instruction(&instruction, &old[range.clone()], &new[range], found)?;
            }
        }
        Ok(())
    }

    fn check_instruction(
        &self,
        old: &Instruction,
        was: &[u8],
        is: &[u8],
        found: &mut Found,
    ) -> Result<(), Wrong> {
        let wrong = Wrong(Vaddr(old.ip()));
        if !old.is_invalid() && old.is_ip_rel_memory_operand() {
            let expected = self.moved_distance(old.next_ip(), old.ip_rel_memory_address());
            let new = decode(is, old.ip());
            let same_but_distance = new.len() == old.len() && new.is_ip_rel_memory_operand() && {
                let differing = was.iter().zip(is).filter(|(was, is)| was != is).count();
                differing == differing_in_distance(old, was, is)
            };
            if same_but_distance {
                let distance = new.ip_rel_memory_address().wrapping_sub(new.next_ip()) as i64;
                found.moved += usize::from(was != is);
                return if expected == Some(distance) { Ok(()) } else { Err(wrong) };
            }
            let slot = self.slots.get(&Vaddr(old.ip_rel_memory_address()));
            found.direct += 1;
            return if slot.is_some() && slot == self.direct_target(old, was, is).as_ref() {
                Ok(())
            } else {
                Err(wrong)
            };
        }
        if was == is {
            return Ok(());
        }
        // A branch to a stub, all of which but the distance of four bytes is as it was.
        let head = was.len().saturating_sub(4);
        let new = decode(is, old.ip());
        let branch = !old.is_invalid()
            && old.op0_kind() == OpKind::NearBranch64
            && head > 0
            && is[..head] == was[..head];
        let slot = self.slot_of_stub(old.near_branch_target()).and_then(|slot| self.slots.get(&slot));
        found.direct += 1;
        match slot {
            Some(target) if branch && new.len() == old.len() && new.code() == old.code() => {
                let leads_to = self.process(new.near_branch_target());
                if leads_to == *target { Ok(()) } else { Err(wrong) }
            }
            _ => Err(wrong),
        }
    }

    /// Where a direct instruction leads that replaces one through a slot, if it has one of the forms that may.
    fn direct_target(&self, old: &Instruction, was: &[u8], is: &[u8]) -> Option<u64> {
        let (head, tail, end): (&[u8], &[u8], usize) = match (old.mnemonic(), was, is) {
            (Mnemonic::Call, [0xff, 0x15, ..], [0x67, 0xe8, ..]) => (&[0x67, 0xe8], &[], 6),
            (Mnemonic::Call, [0x66, 0x48, 0xff, 0x15, ..], [0x67, 0x66, 0x48, 0xe8, ..]) => {
                (&[0x67, 0x66, 0x48, 0xe8], &[], 8)
            }
            (Mnemonic::Jmp, [0xff, 0x25, ..], [0xe9, ..]) => (&[0xe9], &[0x90], 6),
            (Mnemonic::Jmp, [0xf2, 0xff, 0x25, ..], [0xf2, 0xe9, ..]) => (&[0xf2, 0xe9], &[0x90], 7),
            (Mnemonic::Mov, [rex, 0x8b, operand, ..], [same_rex, 0x8d, same_operand, ..])
                if rex == same_rex
                    && operand == same_operand
                    && rex & 0x48 == 0x48
                    && operand & 0xc7 == 5 =>
            {
                (&is[..3], &[], 7)
            }
            _ => return None,
        };
        let distance = is.strip_prefix(head)?.strip_suffix(tail)?;
        let distance = i32::from_le_bytes(distance.try_into().ok()?);
        let from = old.ip() + (end - tail.len()) as u64;
        (is.len() == end).then(|| self.process(from.wrapping_add_signed(distance.into())))
    }

    /// The slot of the stub at an address of the original code.
    fn slot_of_stub(&self, at: u64) -> Option<Vaddr> {
        let section = self.sections.iter().find(|section| {
            section.kind == Kind::Code
                && (section.start.0..section.start.0 + section.old.len() as u64).contains(&at)
        })?;
        let bytes = &section.old[(at - section.start.0) as usize..];
        let mut decoder = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE);
        for instruction in decoder.iter().take(3) {
            match instruction.mnemonic() {
                // mold's stubs hand on their number in a register that a call may destroy.
                Mnemonic::Endbr64 | Mnemonic::Mov if !instruction.is_ip_rel_memory_operand() => {}
                Mnemonic::Jmp if instruction.is_ip_rel_memory_operand() => {
                    return Some(Vaddr(instruction.ip_rel_memory_address()));
                }
                _ => return None,
            }
        }
        None
    }

    /// The personality routines must be those that they were.
    fn check_personalities(&self, section: &Changed<'_>) -> Result<(), Wrong> {
        let (old, new) =
            (personalities(section.start, section.old), personalities(section.start, section.new));
        let (old, new) =
            old.zip(new).filter(|(old, new)| old.len() == new.len()).ok_or(Wrong(section.start))?;
        for ((at, old), (_, new)) in old.into_iter().zip(new) {
            // The whole section moves by the same: what counts is how much the distances to its beginning differ.
            let expected = self.moved_distance(section.start.0, old);
            if expected != Some(new.wrapping_sub(section.start.0) as i64) {
                return Err(Wrong(at));
            }
        }
        Ok(())
    }

    /// What differs must be a distance to another unit, wherever in it the difference is.
    fn check_data(&self, section: &Changed<'_>, found: &mut Found) -> Result<(), Wrong> {
        let differs = |index: &usize| section.old[*index] != section.new[*index];
        for index in (0..section.old.len()).filter(differs) {
            let explained = (index.saturating_sub(3)..=index).any(|start| self.is_moved_word(section, start));
            if !explained {
                return Err(Wrong(Vaddr(section.start.0 + index as u64)));
            }
            found.data += 1;
        }
        Ok(())
    }

    fn is_moved_word(&self, section: &Changed<'_>, start: usize) -> bool {
        let word = |bytes: &[u8]| Some(i32::from_le_bytes(bytes.get(start..start + 4)?.try_into().ok()?));
        let (Some(was), Some(is)) = (word(section.old), word(section.new)) else { return false };
        let at = section.start.0 + start as u64;
        let target = at.wrapping_add_signed(was.into());
        self.relocated.contains_key(&Vaddr(target)) && self.moved_distance(at, target) == Some(is.into())
    }

    /// The distance between two places after both have moved.
    fn moved_distance(&self, from: u64, to: u64) -> Option<i64> {
        let distance = to.wrapping_sub(from) as i64;
        distance.checked_add(self.shift(to))?.checked_sub(self.shift(from))
    }

    fn process(&self, code: u64) -> u64 {
        self.bias.wrapping_add(code)
    }

    /// What is outside all units moves with the last one that begins before it.
    fn shift(&self, at: u64) -> i64 {
        self.units.iter().rev().find(|unit| unit.range.start.0 <= at).map_or(0, |unit| unit.shift)
    }
}

/// The entries of `.eh_frame` that name a personality routine, or where its address is, with that.
fn personalities(start: Vaddr, bytes: &[u8]) -> Option<Vec<(Vaddr, u64)>> {
    let frames = EhFrame::new(bytes, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(start.0);
    let mut entries = frames.entries(&bases);
    let mut found = Vec::new();
    while let Some(entry) = entries.next().ok()? {
        if let CieOrFde::Cie(cie) = entry
            && let Some(personality) = cie.personality()
        {
            found.push((Vaddr(start.0 + cie.offset() as u64), personality.pointer()));
        }
    }
    Some(found)
}

fn decode(bytes: &[u8], at: u64) -> Instruction {
    Decoder::with_ip(64, bytes, at, DecoderOptions::NONE).decode()
}

/// How many bytes differ within the four of an operand's distance. What follows it is an immediate value.
fn differing_in_distance(old: &Instruction, was: &[u8], is: &[u8]) -> usize {
    let distance = old.ip_rel_memory_address().wrapping_sub(old.next_ip()) as i32;
    let place = was.windows(4).rposition(|window| window == distance.to_le_bytes());
    place.map_or(0, |place| (place..place + 4).filter(|index| was[*index] != is[*index]).count())
}
