//! The relocation types of x86-64 (psABI, "Relocation Types"): those that musl handles, and `R_X86_64_IRELATIVE`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use goblin::elf64::reloc::{
    R_X86_64_64, R_X86_64_COPY, R_X86_64_DTPMOD64, R_X86_64_DTPOFF64, R_X86_64_GLOB_DAT, R_X86_64_IRELATIVE,
    R_X86_64_JUMP_SLOT, R_X86_64_NONE, R_X86_64_PC32, R_X86_64_RELATIVE, R_X86_64_TLSDESC, R_X86_64_TPOFF64,
};

use crate::bind::{Accept, Definition, Found};
use crate::elf::{Address, Relocation, SymbolName, Vaddr};
use crate::error::RelocationProblem;
use crate::program::{Origin, TlsPlacement};
use crate::tls::dynamic::TlsIndex;
use crate::tls::x86_64::{tlsdesc_dynamic, tlsdesc_static};

use super::{Deferred, LibcCopy, Moment, Outcome, Pass, Postponed, Reference, Search, Target};

/// One more than the highest number in [`NAMES`].
pub(super) const KINDS: usize = R_X86_64_IRELATIVE as usize + 1;

/// What `DT_RELR` entries stand for.
pub(super) const RELATIVE: u32 = R_X86_64_RELATIVE;

/// The types that are carried out.
pub(super) const NAMES: &[(u32, &str)] = &[
    (R_X86_64_64, "R_X86_64_64"),
    (R_X86_64_PC32, "R_X86_64_PC32"),
    (R_X86_64_COPY, "R_X86_64_COPY"),
    (R_X86_64_GLOB_DAT, "R_X86_64_GLOB_DAT"),
    (R_X86_64_JUMP_SLOT, "R_X86_64_JUMP_SLOT"),
    (R_X86_64_RELATIVE, "R_X86_64_RELATIVE"),
    (R_X86_64_DTPMOD64, "R_X86_64_DTPMOD64"),
    (R_X86_64_DTPOFF64, "R_X86_64_DTPOFF64"),
    (R_X86_64_TPOFF64, "R_X86_64_TPOFF64"),
    (R_X86_64_TLSDESC, "R_X86_64_TLSDESC"),
    (R_X86_64_IRELATIVE, "R_X86_64_IRELATIVE"),
];

impl Pass<'_> {
    /// Carries out one relocation; `reference` is the symbol that it names.
    ///
    /// # Errors
    /// What is wrong with it; nothing is written then.
    ///
    /// # Safety
    /// As for [`super::relocate`].
    #[inline(always)]
    pub(super) unsafe fn apply(
        &mut self,
        relocation: &Relocation,
        reference: Option<&Reference<'_>>,
    ) -> Outcome<()> {
        self.done.counts.add(relocation.kind);
        if relocation.kind == R_X86_64_RELATIVE && relocation.symbol == 0 {
            let bias = self.object.mapping.bias.0;
            // SAFETY: `Slots` checks the slot, the caller vouches for the rest.
            let written = unsafe {
                match relocation.addend {
                    Some(addend) => self.slots.write(relocation.slot, bias.wrapping_add(addend)),
                    None => self.slots.add(relocation.slot, bias),
                }
            };
            return written.ok_or_else(|| corrupt(relocation));
        }
        // SAFETY: passed on to the caller.
        unsafe { self.apply_symbolic(relocation, reference) }
    }

    /// Carries out a relocation that asks for no more than an address, if `found` is what its symbol is bound to. Otherwise nothing
    /// is done.
    ///
    /// # Safety
    /// As for [`super::relocate`].
    #[inline(always)]
    pub(super) unsafe fn apply_address(&mut self, relocation: &Relocation, found: &Found<'_>) -> bool {
        let (Some(addend), Search::Anywhere(accept)) = (relocation.addend, search_for(relocation.kind))
        else {
            return false;
        };
        let Some(address) = found.address(accept).filter(|_| is_address(relocation.kind)) else {
            return false;
        };
        // SAFETY: `Slots` checks the slot, the caller vouches for the rest.
        let written = unsafe { self.slots.write(relocation.slot, address.0.wrapping_add(addend)) };
        if written.is_some() {
            self.done.counts.add(relocation.kind);
        }
        written.is_some()
    }

    /// # Safety
    /// As for [`super::relocate`].
    #[inline(always)]
    unsafe fn apply_symbolic(
        &mut self,
        relocation: &Relocation,
        reference: Option<&Reference<'_>>,
    ) -> Outcome<()> {
        if relocation.kind == R_X86_64_NONE {
            return Ok(());
        }
        let target = self.target(relocation, reference)?;
        if self.moment == Moment::Ahead && self.is_late(relocation, &target) {
            self.leave(relocation, &target);
            return Ok(());
        }
        // SAFETY: passed on to the caller.
        unsafe {
            match relocation.kind {
                R_X86_64_COPY => self.copy(relocation, reference, &target),
                _ => self.apply_target(relocation, target),
            }
        }
    }

    /// Whether only the process itself can know the value: it says where something is that is not in the image, or what a function
    /// returns. Where blocks of thread-local storage lie below the thread pointer is known.
    fn is_late(&self, relocation: &Relocation, target: &Target) -> bool {
        if self.object.origin == Origin::Kernel {
            return relocation.symbol != 0;
        }
        match relocation.kind {
            R_X86_64_IRELATIVE | R_X86_64_TLSDESC | R_X86_64_COPY => true,
            R_X86_64_DTPMOD64 | R_X86_64_DTPOFF64 | R_X86_64_TPOFF64 => false,
            _ => match target {
                Target::Found(definition) => {
                    let definer = self.program[definition.object].origin;
                    definition.symbol.is_ifunc() || matches!(definer, Origin::Kernel | Origin::Loader)
                }
                _ => false,
            },
        }
    }

    /// Writes the value of a relocation whose target is known.
    ///
    /// # Safety
    /// As for [`super::relocate`].
    pub(super) unsafe fn apply_target(&mut self, relocation: &Relocation, target: Target) -> Outcome<()> {
        let slot = relocation.slot;
        if let Target::Postponed = target {
            self.done.postponed.push(Postponed { object: self.id, relocation: *relocation });
            return Ok(());
        }
        // SAFETY: the reads and writes below are checked by `Slots`, the caller vouches for the rest.
        let written = unsafe {
            let addend = match (relocation.addend, relocation.kind) {
                (Some(addend), _) => addend,
                (None, R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT) => 0,
                (None, R_X86_64_TLSDESC) => self.slots.read(Vaddr(slot.0.wrapping_add(8))).unwrap_or(0),
                (None, _) => self.slots.read(slot).unwrap_or(0),
            };
            match relocation.kind {
                R_X86_64_64 | R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT => match &target {
                    Target::Found(definition) if definition.symbol.is_ifunc() => {
                        let resolver = definition.address();
                        return self.defer(relocation, resolver, addend);
                    }
                    _ => self.slots.write(slot, address(&target).wrapping_add(addend)),
                },
                R_X86_64_PC32 => {
                    let place = self.object.address(slot).0;
                    let distance = address(&target).wrapping_add(addend).wrapping_sub(place);
                    self.slots.write(slot, distance as u32)
                }
                R_X86_64_RELATIVE => {
                    let value = self.object.mapping.bias.0.wrapping_add(addend);
                    self.slots.write(slot, value)
                }
                R_X86_64_IRELATIVE => {
                    let resolver = self.object.address(Vaddr(addend));
                    return self.defer(relocation, resolver, 0);
                }
                R_X86_64_DTPMOD64 => {
                    let (tls, _) = self.thread_local(&target);
                    self.slots.write(slot, tls.map_or(0, |tls| tls.module))
                }
                R_X86_64_DTPOFF64 => {
                    let (_, value) = self.thread_local(&target);
                    self.slots.write(slot, value.wrapping_add(addend))
                }
                R_X86_64_TPOFF64 => {
                    let (tls, value) = self.thread_local(&target);
                    let Some(offset) = static_offset(tls) else {
                        return Err(self.dynamic_tls(relocation, &target).into());
                    };
                    self.slots.write(slot, value.wrapping_sub(offset).wrapping_add(addend))
                }
                R_X86_64_TLSDESC => {
                    let (tls, value) = self.thread_local(&target);
                    let value = value.wrapping_add(addend);
                    let (resolver, argument) = match (static_offset(tls), tls) {
                        (None, Some(tls)) => {
                            let index = Box::new(TlsIndex { module: tls.module, offset: value });
                            (tlsdesc_dynamic as *const () as u64, Box::into_raw(index) as u64)
                        }
                        (offset, _) => {
                            (tlsdesc_static as *const () as u64, value.wrapping_sub(offset.unwrap_or(0)))
                        }
                    };
                    self.slots.write(slot, [resolver, argument])
                }
                kind => return Err(RelocationProblem::UnsupportedType(kind).into()),
            }
        };
        written.ok_or_else(|| corrupt(relocation))
    }

    /// Module and offset within its block of what a thread-local relocation refers to.
    fn thread_local(&self, target: &Target) -> (Option<TlsPlacement>, u64) {
        match target {
            Target::Absent => (self.object.tls, 0),
            Target::Null | Target::Postponed => (None, 0),
            Target::Found(definition) => (self.program[definition.object].tls, definition.symbol.value),
        }
    }

    /// A fixed distance from the thread pointer is asked for, and there is none.
    fn dynamic_tls(&self, relocation: &Relocation, target: &Target) -> RelocationProblem {
        let symbol = self.object.symbols.get(relocation.symbol);
        let name = symbol.and_then(|symbol| self.object.symbols.name_of(&symbol));
        let definer = match target {
            Target::Found(definition) => &self.program[definition.object],
            _ => self.object,
        };
        RelocationProblem::DynamicTls {
            symbol: name.map_or_else(Vec::new, |name| name.bytes().to_vec()),
            definer: definer.name.clone().into(),
        }
    }

    /// Puts off a value that a function of the program has to tell.
    fn defer(&mut self, relocation: &Relocation, resolver: Address, addend: u64) -> Outcome<()> {
        let slot = self.slots.address(relocation.slot, size_of::<u64>() as u64);
        let executable = self.program.objects().any(|object| object.is_code(resolver));
        let Some(slot) = slot.filter(|_| executable) else { return Err(corrupt(relocation)) };
        self.done.deferred.push(Deferred { slot, resolver, addend });
        Ok(())
    }

    /// A copy relocation: the program has room for a library's variable and needs its initial value. The search begins
    /// behind the program.
    ///
    /// # Safety
    /// As for [`super::relocate`].
    pub(super) unsafe fn copy(
        &mut self,
        relocation: &Relocation,
        reference: Option<&Reference<'_>>,
        target: &Target,
    ) -> Outcome<()> {
        let (Some(Reference { symbol, query, .. }), Target::Found(definition)) = (reference, target) else {
            return Ok(());
        };
        let name = query.map_or(SymbolName::EMPTY, |query| query.name);
        let definer = &self.program[definition.object];
        if definer.origin == Origin::Libc && self.moment == Moment::Start {
            let slot = self.slots.address(relocation.slot, symbol.size).ok_or_else(|| corrupt(relocation))?;
            self.done.libc_copies.push(LibcCopy { name, slot, size: symbol.size });
            return Ok(());
        }
        let source = self.source(definition, symbol.size);
        let source = source.ok_or_else(|| RelocationProblem::CopyOutOfBounds(name.bytes().to_vec()))?;
        // SAFETY: `Slots` checks the slot, the caller vouches for the rest.
        unsafe { self.slots.copy(relocation.slot, source) }.ok_or_else(|| corrupt(relocation))
    }

    /// The initial value of a library's variable.
    fn source(&self, definition: &Definition, size: u64) -> Option<&'static [u8]> {
        self.program[definition.object].view.bytes(definition.symbol.vaddr(), size)
    }
}

/// The slot is none that may be written.
#[cold]
fn corrupt(relocation: &Relocation) -> Box<RelocationProblem> {
    Box::new(RelocationProblem::SlotOutOfBounds { kind: relocation.kind, slot: relocation.slot.0 })
}

/// Where the symbol of a relocation is looked for: a procedure linkage table entry needs a definition, a copy is not
/// made of itself.
pub(super) fn search_for(kind: u32) -> Search {
    match kind {
        R_X86_64_JUMP_SLOT => Search::Anywhere(Accept::DefinitionOnly),
        R_X86_64_COPY => Search::BehindProgram,
        _ => Search::Anywhere(Accept::AnyWithValue),
    }
}

/// Whether what is written is the address of the symbol and the addend, 64 bits wide.
fn is_address(kind: u32) -> bool {
    matches!(kind, R_X86_64_64 | R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT)
}

/// Whether a relocation copies a variable.
pub fn is_copy(kind: u32) -> bool {
    kind == R_X86_64_COPY
}

/// Whether a relocation is one of those that every program has, and every loader carries out alike.
pub fn is_ordinary(kind: u32) -> bool {
    matches!(
        kind,
        R_X86_64_64
            | R_X86_64_COPY
            | R_X86_64_GLOB_DAT
            | R_X86_64_JUMP_SLOT
            | R_X86_64_RELATIVE
            | R_X86_64_DTPMOD64
            | R_X86_64_DTPOFF64
            | R_X86_64_TPOFF64
    )
}

/// Whether the slot of a relocation may stay as it is until somebody defines the symbol (musl: `dso->lazy`).
pub(super) fn may_be_postponed(kind: u32) -> bool {
    matches!(kind, R_X86_64_JUMP_SLOT | R_X86_64_GLOB_DAT)
}

/// The distance of a block below the thread pointer, if it is the same in every thread. A reference to nothing has none
/// to speak of.
fn static_offset(tls: Option<TlsPlacement>) -> Option<u64> {
    tls.map_or(Some(0), |tls| tls.offset)
}

/// The address that a relocation refers to; zero for a weak reference to nothing.
fn address(target: &Target) -> u64 {
    match target {
        Target::Absent | Target::Null | Target::Postponed => 0,
        Target::Found(definition) => definition.address().0,
    }
}
