//! The proof that changed code does what the original does. It has nothing in common with what made the changes: it decodes both
//! on its own, compares instruction by instruction, and follows slots and stubs itself.
//!
//! An instruction may differ in two ways. A distance may have become the one to where its target has moved; or what leads
//! through a slot leads straight to what the slot holds, in one of the forms listed here, byte by byte. Data may differ where
//! the old bytes are a distance to another unit and the new ones that to where it has moved: to a pointer that is relocated (so
//! tables of handlers refer to types), from unwind tables to what they describe, from a jump table that code has the address of
//! to an instruction, or where the link editor left a relocation. All tables for unwinding must say of everything what they said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gimli::{BaseAddresses, CieOrFde, EhFrame, EhFrameHdr, LittleEndian, UnwindSection};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
use ld_morsel::elf::Vaddr;

use super::moves::Unit;
use super::{Distance, Section};

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Instructions.
    Code,
    /// Descriptions of frames (`.eh_frame`).
    Frames,
    /// The table by which these are searched (`.eh_frame_hdr`).
    SearchTable,
    /// Anything else.
    Data,
}

impl Kind {
    /// What a read-only section holds.
    pub fn of(section: &Section<'_>) -> Self {
        match section.name {
            _ if section.executable => Self::Code,
            ".eh_frame" => Self::Frames,
            ".eh_frame_hdr" => Self::SearchTable,
            _ => Self::Data,
        }
    }
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
    /// The distances that the link editor left relocations for; `None` if it left none.
    pub distances: Option<&'a [Distance]>,
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
    let mut code = Instructions::default();
    let (executable, others): (Vec<&Changed<'_>>, Vec<_>) =
        claim.sections.iter().partition(|section| section.kind == Kind::Code);
    for section in executable.iter().chain(&others) {
        if section.old.len() != section.new.len() {
            return Err(Wrong(section.start));
        }
        match section.kind {
            Kind::Code => claim.check_code(section, &mut code, &mut found)?,
            Kind::Frames => {
                let targets = claim.check_frames(section)?;
                claim.check_data(section, &targets, &BTreeSet::new(), &mut found)?;
            }
            Kind::SearchTable => claim.check_search_table(section)?,
            Kind::Data => {
                let places = claim.check_tables(section, &code)?;
                claim.check_data(section, &BTreeSet::new(), &places, &mut found)?;
            }
        }
    }
    Ok(found)
}

/// What the code is like, which tables in data are compared with.
#[derive(Default)]
struct Instructions {
    /// Where sections of code begin, and for each byte whether an instruction begins there.
    begins: Vec<(u64, Vec<bool>)>,
    /// The addresses that are computed.
    addresses: BTreeSet<u64>,
}

impl Instructions {
    fn begins(&self, at: u64) -> bool {
        let byte = |(start, begins): &(u64, Vec<bool>)| begins.get(at.checked_sub(*start)? as usize).copied();
        self.begins.iter().find_map(byte).unwrap_or(false)
    }
}

/// The address at a distance.
fn at_distance(at: u64, distance: i32) -> u64 {
    at.wrapping_add_signed(distance.into())
}

impl Claim<'_> {
    fn check_code(
        &self,
        section: &Changed<'_>,
        code: &mut Instructions,
        found: &mut Found,
    ) -> Result<(), Wrong> {
        let mut begins = vec![false; section.old.len()];
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
                begins[(pair[0] - section.start.0) as usize + begin] = true;
                if instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand() {
                    code.addresses.insert(instruction.ip_rel_memory_address());
                }
                let range = begin..decoder.position();
                self.check_instruction(&instruction, &old[range.clone()], &new[range], found)?;
            }
        }
        code.begins.push((section.start.0, begins));
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

    /// The frames must be those that they were. Returns what they point to.
    fn check_frames(&self, section: &Changed<'_>) -> Result<BTreeSet<u64>, Wrong> {
        let (old, new) =
            (frame_pointers(section.start, section.old), frame_pointers(section.start, section.new));
        let (old, new) =
            old.zip(new).filter(|(old, new)| old.len() == new.len()).ok_or(Wrong(section.start))?;
        for ((at, old), (_, new)) in old.iter().zip(new) {
            if !self.has_moved(section, *old, new) {
                return Err(Wrong(*at));
            }
        }
        Ok(old.into_iter().map(|(_, target)| target).collect())
    }

    /// The table must lead to the same frames for the same functions, in their order.
    fn check_search_table(&self, section: &Changed<'_>) -> Result<(), Wrong> {
        const HEAD: usize = 4; // version and encodings
        let wrong = Wrong(section.start);
        if section.old == section.new && !self.is_apart(section) {
            return Ok(());
        }
        let (old, new) = (search_table(section.start, section.old), search_table(section.start, section.new));
        let (old, new) = old.zip(new).filter(|(old, new)| old.len() == new.len()).ok_or(wrong)?;
        let moved = old.iter().zip(&new).all(|(old, new)| self.has_moved(section, *old, *new));
        // Behind where the frames are, each function has two words.
        let functions: Vec<u64> = new.iter().skip(1).step_by(2).copied().collect();
        let used = 3 * HEAD + (new.len() - 1) * HEAD;
        let kept =
            section.old[..HEAD] == section.new[..HEAD] && section.old.get(used..) == section.new.get(used..);
        if moved && kept && functions.is_sorted() { Ok(()) } else { Err(wrong) }
    }

    /// Whether what a whole section pointed to is where it points to now. The section moves itself: what counts is how much the
    /// distances to its beginning differ.
    fn has_moved(&self, section: &Changed<'_>, old: u64, new: u64) -> bool {
        self.moved_distance(section.start.0, old) == Some(new.wrapping_sub(section.start.0) as i64)
    }

    /// Whether code moves by another distance than a section.
    fn is_apart(&self, section: &Changed<'_>) -> bool {
        let mut code = self.sections.iter().filter(|section| section.kind == Kind::Code);
        code.any(|code| self.shift(code.start.0) != self.shift(section.start.0))
    }

    /// The places of distances to code. Where the link editor left relocations, these say it. Else they are in tables that code has the
    /// address of, and go on as long as they lead to instructions; none of this may be as it was.
    fn check_tables(&self, section: &Changed<'_>, code: &Instructions) -> Result<BTreeSet<u64>, Wrong> {
        let mut places = BTreeSet::new();
        let range = section.start.0..section.start.0 + section.old.len() as u64;
        let words = |at: u64| {
            let at = (at - range.start) as usize;
            let word = |bytes: &[u8]| bytes.get(at..)?.first_chunk().map(|word| i32::from_le_bytes(*word));
            word(section.old).zip(word(section.new))
        };
        if !self.is_apart(section) {
            return Ok(places);
        }
        for left in self.distances.into_iter().flatten().filter(|left| range.contains(&left.field.at.0)) {
            let (at, Some((symbol, _))) = (left.field.at.0, left.symbol) else { continue };
            let Some((was, is)) = words(at).filter(|_| left.field.width == 4 && !left.is_to_slot()) else {
                continue;
            };
            let change = self.shift(symbol.0).checked_sub(self.shift(at));
            if change != Some(i64::from(is) - i64::from(was)) {
                return Err(Wrong(left.field.at));
            }
            places.insert(at);
        }
        if self.distances.is_some() {
            return Ok(places);
        }
        for &table in code.addresses.range(range.clone()) {
            let next =
                code.addresses.range(table + 1..).next().map_or(range.end, |next| range.end.min(*next));
            for at in (table..next).step_by(4) {
                let Some((was, is)) = words(at) else { break };
                let target = at_distance(table, was);
                if !code.begins(target) {
                    break;
                }
                if self.moved_distance(table, target) != Some(is.into()) {
                    return Err(Wrong(Vaddr(at)));
                }
                places.insert(at);
            }
        }
        Ok(places)
    }

    /// What differs must be a distance to another unit, wherever in it the difference is: to what is relocated or among `targets`. What
    /// stands in one of `places` has been checked.
    fn check_data(
        &self,
        section: &Changed<'_>,
        targets: &BTreeSet<u64>,
        places: &BTreeSet<u64>,
        found: &mut Found,
    ) -> Result<(), Wrong> {
        let differs = |index: &usize| section.old[*index] != section.new[*index];
        for index in (0..section.old.len()).filter(differs) {
            let explained = (index.saturating_sub(3)..=index).any(|start| {
                let place = section.start.0 + start as u64;
                places.contains(&place) || self.is_moved_word(section, start, targets)
            });
            if !explained {
                return Err(Wrong(Vaddr(section.start.0 + index as u64)));
            }
            found.data += 1;
        }
        Ok(())
    }

    fn is_moved_word(&self, section: &Changed<'_>, start: usize, targets: &BTreeSet<u64>) -> bool {
        let word = |bytes: &[u8]| Some(i32::from_le_bytes(bytes.get(start..start + 4)?.try_into().ok()?));
        let (Some(was), Some(is)) = (word(section.old), word(section.new)) else { return false };
        let at = section.start.0 + start as u64;
        let target = at_distance(at, was);
        let is_known = self.relocated.contains_key(&Vaddr(target)) || targets.contains(&target);
        is_known && self.moved_distance(at, target) == Some(is.into())
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

/// What the entries of `.eh_frame` point to, each with the entry's address: personality routines or where their addresses are,
/// functions, and tables of handlers.
fn frame_pointers(start: Vaddr, bytes: &[u8]) -> Option<Vec<(Vaddr, u64)>> {
    let frames = EhFrame::new(bytes, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(start.0);
    let mut entries = frames.entries(&bases);
    let mut found = Vec::new();
    while let Some(entry) = entries.next().ok()? {
        match entry {
            CieOrFde::Cie(cie) => {
                let personality = cie.personality().map(|personality| personality.pointer());
                found.extend(personality.map(|target| (Vaddr(start.0 + cie.offset() as u64), target)));
            }
            CieOrFde::Fde(partial) => {
                let fde = partial.parse(EhFrame::cie_from_offset).ok()?;
                let targets = [Some(fde.initial_address()), fde.lsda().map(|lsda| lsda.pointer())];
                let at = Vaddr(start.0 + fde.offset() as u64);
                // What has no table of handlers says so by no distance at all.
                found.extend(
                    targets.into_iter().flatten().filter(|target| *target != 0).map(|target| (at, target)),
                );
            }
        }
    }
    Some(found)
}

/// What the words of `.eh_frame_hdr` point to: the frames, and for each function itself and its frame.
fn search_table(start: Vaddr, bytes: &[u8]) -> Option<Vec<u64>> {
    let bases = BaseAddresses::default().set_eh_frame_hdr(start.0);
    let header = EhFrameHdr::new(bytes, LittleEndian).parse(&bases, 8).ok()?;
    let mut found = vec![header.eh_frame_ptr().pointer()];
    let table = header.table();
    let mut entries = table.iter().flat_map(|table| {
        let mut entries = table.iter(&bases);
        std::iter::from_fn(move || entries.next().transpose())
    });
    entries.try_for_each(|entry| {
        let (function, frame) = entry.ok()?;
        found.extend([function.pointer(), frame.pointer()]);
        Some(())
    })?;
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
