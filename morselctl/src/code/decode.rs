//! Decoding: every byte of the executable sections is an instruction of a function, an instruction that something leads to,
//! or padding.
//!
//! Functions with a size are read from their beginning to their end. What has none (the start files of compilers, assembler,
//! static functions without unwind tables) is followed from where calls, jumps, initialisation and termination enter it, and
//! from where its address is taken. What remains must be padding.

use std::collections::BTreeSet;
use std::ops::Range;

use iced_x86::{Code as Opcode, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use ld_morsel::elf::Vaddr;

use super::Uncertain;
use super::file::{File, Section};
use super::reference::{self, Kind, Reference};

/// What a byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    Unknown,
    /// The first of an instruction.
    First,
    /// Another one of an instruction.
    Inside,
    Padding,
}

/// An executable section and what its bytes are.
struct Stretch {
    start: u64,
    bytes: Vec<Byte>,
}

/// The result: where instructions begin, and what they refer to.
pub struct Decoded {
    stretches: Vec<Stretch>,
    pub references: Vec<Reference>,
    /// What has no size and is used as an address: functions that are called through pointers only.
    pub beginnings: BTreeSet<Vaddr>,
}

impl Decoded {
    /// Reads all code; `functions` have a size, in order, without overlap; `boundaries` are where an instruction must begin.
    pub fn read(
        file: &File<'_>,
        functions: &[Range<Vaddr>],
        boundaries: &[Vaddr],
    ) -> Result<Self, Uncertain> {
        let code = file.sections.iter().filter(|section| section.executable);
        let stretches = code.map(|section| Stretch {
            start: section.range.start.0,
            bytes: vec![Byte::Unknown; section.bytes.len()],
        });
        let mut decoded =
            Self { stretches: stretches.collect(), references: Vec::new(), beginnings: BTreeSet::new() };
        for function in functions {
            let section = section(file, function.start, function.start)?;
            if function.end > section.range.end {
                return Err(Uncertain::Overrun(function.start, section.range.clone()));
            }
            decoded.read_function(section, function)?;
        }
        decoded.follow(file)?;
        decoded.find_padding(file)?;
        match boundaries.iter().find(|at| !decoded.begins(**at)) {
            Some(at) => Err(Uncertain::Astray(*at, *at)),
            None => decoded.check_branches(),
        }?;
        decoded.references.sort_unstable_by_key(|reference| reference.at);
        Ok(decoded)
    }

    /// Whether an instruction begins at an address.
    pub fn begins(&self, at: Vaddr) -> bool {
        self.byte(at) == Some(Byte::First)
    }

    fn read_function(&mut self, section: &Section<'_>, function: &Range<Vaddr>) -> Result<(), Uncertain> {
        let mut decoder = decoder(section, function.start);
        while decoder.ip() < function.end.0 {
            let instruction = decoder.decode();
            if instruction.next_ip() > function.end.0 && !instruction.is_invalid() {
                return Err(Uncertain::Overrun(Vaddr(instruction.ip()), function.clone()));
            }
            self.add(&decoder, &instruction)?;
        }
        Ok(())
    }

    /// Reads what has no size, from wherever something leads to it: first what control enters, then what is used as an address.
    fn follow(&mut self, file: &File<'_>) -> Result<(), Uncertain> {
        let mut pending: Vec<(Vaddr, Vaddr)> = file.entries.iter().map(|entry| (*entry, *entry)).collect();
        let mut addresses: Vec<(Vaddr, Vaddr)> =
            file.relocated.iter().filter_map(|(place, target)| Some((*place, (*target)?))).collect();
        let mut seen = 0;
        loop {
            let new = &self.references[seen..];
            let lead = |one: &&Reference| (one.at, one.target);
            pending.extend(new.iter().filter(|one| one.is_branch()).map(|one| lead(&one)));
            addresses.extend(new.iter().filter(|one| one.kind == Kind::Address).map(|one| lead(&one)));
            seen = self.references.len();
            if let Some((from, target)) = pending.pop() {
                self.follow_from(section(file, from, target)?, from, target)?;
            } else if let Some((from, target)) = addresses.pop() {
                if self.byte(target) == Some(Byte::Unknown) {
                    self.follow_from(section(file, from, target)?, from, target)?;
                    self.beginnings.insert(target);
                }
            } else {
                return Ok(());
            }
        }
    }

    fn follow_from(&mut self, section: &Section<'_>, from: Vaddr, target: Vaddr) -> Result<(), Uncertain> {
        let mut decoder = decoder(section, target);
        // Code does not run on into what is known already, unless the last call does not return: data would.
        let mut ends = true;
        while self.byte(Vaddr(decoder.ip())) == Some(Byte::Unknown) {
            let instruction = decoder.decode();
            self.add(&decoder, &instruction)?;
            if reference::ends(&instruction) {
                return Ok(());
            }
            if !is_padding(&instruction) {
                ends = instruction.flow_control() != FlowControl::Next;
            }
        }
        if ends { Ok(()) } else { Err(Uncertain::DataAmongCode(from, target)) }
    }

    fn find_padding(&mut self, file: &File<'_>) -> Result<(), Uncertain> {
        for section in file.sections.iter().filter(|section| section.executable) {
            let mut at = section.range.start;
            while at < section.range.end {
                let length = match self.byte(at) {
                    Some(Byte::Unknown) => self.padding_at(section, at)?,
                    _ => 1,
                };
                at.0 += length;
            }
        }
        Ok(())
    }

    /// Marks one piece of padding and returns its length in bytes.
    fn padding_at(&mut self, section: &Section<'_>, at: Vaddr) -> Result<u64, Uncertain> {
        let rest = &section.bytes[(at.0 - section.range.start.0) as usize..];
        let known =
            (0..rest.len()).find(|index| self.byte(Vaddr(at.0 + *index as u64)) != Some(Byte::Unknown));
        let gap = known.unwrap_or(rest.len());
        let mut decoder = decoder(section, at);
        let instruction = decoder.decode();
        let length = match rest[0] {
            0 => 1, // before decoding: two zeros are an instruction
            _ if is_padding(&instruction) && instruction.len() <= gap => instruction.len(),
            _ => return Err(Uncertain::NoFunction(at..Vaddr(at.0 + gap as u64))),
        };
        self.mark(at, length, Byte::Padding, Byte::Padding)?;
        Ok(length as u64)
    }

    fn add(&mut self, decoder: &Decoder<'_>, instruction: &Instruction) -> Result<(), Uncertain> {
        let at = Vaddr(instruction.ip());
        if instruction.is_invalid() {
            return Err(Uncertain::Invalid(at));
        }
        if let Some(what) = reference::unusual(instruction) {
            return Err(Uncertain::Unusual(at, what));
        }
        self.mark(at, instruction.len(), Byte::First, Byte::Inside)?;
        let found = Reference::of(instruction, &decoder.get_constant_offsets(instruction));
        self.references.extend(found.map_err(|what| Uncertain::Unusual(at, what))?);
        Ok(())
    }

    fn mark(&mut self, at: Vaddr, length: usize, first: Byte, other: Byte) -> Result<(), Uncertain> {
        let found = self.stretches.iter_mut().find_map(|stretch| {
            let start = usize::try_from(at.0.checked_sub(stretch.start)?).ok()?;
            stretch.bytes.get_mut(start..start + length)
        });
        let bytes = found.ok_or(Uncertain::Astray(at, at))?;
        if bytes.iter().any(|byte| *byte != Byte::Unknown) {
            return Err(Uncertain::Astray(at, Vaddr(at.0 + length as u64)));
        }
        bytes.fill(other);
        bytes[0] = first;
        Ok(())
    }

    fn check_branches(&self) -> Result<(), Uncertain> {
        let branches = self.references.iter().filter(|reference| reference.is_branch());
        match branches.into_iter().find(|reference| !self.begins(reference.target)) {
            Some(reference) => Err(Uncertain::Astray(reference.at, reference.target)),
            None => Ok(()),
        }
    }

    fn byte(&self, at: Vaddr) -> Option<Byte> {
        self.stretches.iter().find_map(|stretch| {
            let index = usize::try_from(at.0.checked_sub(stretch.start)?).ok()?;
            stretch.bytes.get(index).copied()
        })
    }
}

/// A decoder that begins at an address of a section.
pub fn decoder<'a>(section: &Section<'a>, at: Vaddr) -> Decoder<'a> {
    let bytes = &section.bytes[(at.0 - section.range.start.0) as usize..];
    Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE)
}

fn section<'f, 'a>(file: &'f File<'a>, from: Vaddr, at: Vaddr) -> Result<&'f Section<'a>, Uncertain> {
    file.section_at(at).filter(|section| section.executable).ok_or(Uncertain::Astray(from, at))
}

/// Whether an instruction does nothing, or is not to be reached.
pub fn is_padding(instruction: &Instruction) -> bool {
    instruction.code() == Opcode::Int3 || instruction.mnemonic() == Mnemonic::Nop
}
