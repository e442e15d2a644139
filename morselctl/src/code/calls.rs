//! Direct calls: calls and jumps through slots of the global offset table, by way of a stub or not, become direct, and loads of
//! a slot become the computation of what it holds.
//!
//! Instructions keep their place and length, so that nothing else changes: a prefix without effect or a `nop` fills the byte
//! that a direct call or jump is shorter. As all branches lead to where an instruction begins, none leads into a changed one.
//!
//! Functions at the same place of a page compete for the same few lines of the instruction cache. Where one function calls
//! more of them than there is room for, each call waits for code. On the way through a stub the processor has time to ask for
//! that code early, so such calls are faster with a stub than without (measured in `docs/passes-evaluation.md`): they keep it, as
//! it is, since a stub that jumps directly gives away part of that time.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::Register;
use ld_morsel::elf::Vaddr;

use super::{Code, Kind, Patch, Reference};

/// Why a place stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The target is more than 2 GiB away.
    OutOfReach,
    /// The instruction has a form that is not known.
    Form,
    /// It leads by a stub to one of too many functions that compete for a place in the cache, or is that stub's jump.
    Crowded,
}

/// Lines of the instruction cache for addresses that are alike in all bits of [`place`]: so many ways have the caches of 32 KiB that are
/// in use for long.
const WAYS: usize = 8;

/// Where an address goes in the instruction cache, which has 64 sets of lines of 64 bytes. The same for all places of a library in
/// memory, as these are whole pages.
fn place(address: u64) -> u64 {
    address / 64 % 64
}

/// What functions call by stubs: by the function, and the place of what is called.
struct Crowds(BTreeMap<(usize, u64), BTreeSet<u64>>);

impl Crowds {
    fn of(code: &Code<'_>, slots: &BTreeMap<Vaddr, u64>) -> Self {
        let mut called = BTreeMap::<_, BTreeSet<u64>>::new();
        for reference in code.references() {
            let stub = code.stubs().get(&reference.target).filter(|_| reference.is_branch());
            if let Some(&target) = stub.and_then(|stub| slots.get(&stub.slot)) {
                called.entry(Self::key(code, reference, target)).or_default().insert(target);
            }
        }
        Self(called)
    }

    /// The slots of the stubs by which too many calls lead.
    fn slots(&self, code: &Code<'_>, slots: &BTreeMap<Vaddr, u64>) -> BTreeSet<Vaddr> {
        let by_stubs = code.references().filter(|reference| reference.is_branch());
        let held = by_stubs.filter_map(|reference| {
            let slot = code.stubs().get(&reference.target)?.slot;
            self.hold(code, reference, *slots.get(&slot)?).then_some(slot)
        });
        held.collect()
    }

    /// Whether a call to `target` by its stub is one of too many.
    fn hold(&self, code: &Code<'_>, reference: &Reference, target: u64) -> bool {
        let called = self.0.get(&Self::key(code, reference, target));
        called.is_some_and(|called| called.len() > WAYS)
    }

    fn key(code: &Code<'_>, caller: &Reference, target: u64) -> (usize, u64) {
        let function = code.functions().partition_point(|function| function.start <= caller.at);
        (function, place(target))
    }
}

/// What can be made direct.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sites {
    /// The changes, in the order of addresses.
    pub patches: Vec<Patch>,
    /// The instructions that lead through a slot of those given, and must go on to do so.
    pub kept: Vec<(Vaddr, Kept)>,
    /// The slots that something does not lead through any more.
    pub passed_by: BTreeSet<Vaddr>,
}

/// The slot that a reference leads through or reads, if it is one: of a branch to a stub, the stub's.
pub fn slot_of(code: &Code<'_>, reference: &Reference) -> Vaddr {
    match code.stubs().get(&reference.target) {
        Some(stub) if reference.is_branch() => stub.slot,
        _ => reference.target,
    }
}

/// The changes that make everything direct that leads through `slots`: by their addresses what they hold, of which it must be
/// certain that it stays. `bias` is what is added to a [`Vaddr`] of the code to get its address in the process.
pub fn patches(code: &Code<'_>, bias: u64, slots: &BTreeMap<Vaddr, u64>) -> Sites {
    let mut sites = Sites::default();
    let crowds = Crowds::of(code, slots);
    let crowded = crowds.slots(code, slots);
    for reference in code.references() {
        let slot = slot_of(code, reference);
        let Some(target) = slots.get(&slot) else { continue };
        let is_crowded = match code.is_linkage_table(reference.at) {
            true => crowded.contains(&slot),
            false => slot != reference.target && crowds.hold(code, reference, *target),
        };
        if is_crowded {
            sites.kept.push((reference.at, Kept::Crowded));
            continue;
        }
        let next = bias.wrapping_add(reference.next.0);
        match direct(code, reference, |shorter| distance(*target, next.wrapping_sub(shorter))) {
            Ok(Some(patch)) => {
                sites.patches.push(patch);
                sites.passed_by.insert(slot);
            }
            Ok(None) => {}
            Err(kept) => sites.kept.push((reference.at, kept)),
        }
    }
    sites
}

/// The change for one reference. `distance` gives the bytes of a distance that is followed by so many bytes of the instruction.
fn direct(
    code: &Code<'_>,
    reference: &Reference,
    distance: impl Fn(u64) -> Result<[u8; 4], Kept>,
) -> Result<Option<Patch>, Kept> {
    let old = code.bytes(reference.at, (reference.next.0 - reference.at.0) as usize);
    let with = |head: &[u8], distance: [u8; 4], tail: &[u8]| {
        Ok(Some(Patch::new(reference.at, old, &[head, &distance, tail].concat())))
    };
    match (reference.kind, old) {
        (Kind::Call | Kind::Jump, _) if reference.field.width == 4 => {
            let old = code.bytes(reference.field.at, 4);
            Ok(Some(Patch::new(reference.field.at, old, &distance(0)?)))
        }
        (Kind::IndirectCall, [0xff, 0x15, ..]) => with(&[0x67, 0xe8], distance(0)?, &[]),
        // `__tls_get_addr`: the prefixes stay, in the order in which the wide operand is not in doubt.
        (Kind::IndirectCall, [0x66, 0x48, 0xff, 0x15, ..]) => {
            with(&[0x67, 0x66, 0x48, 0xe8], distance(0)?, &[])
        }
        (Kind::IndirectJump, [0xff, 0x25, ..]) => with(&[0xe9], distance(1)?, &[0x90]),
        (Kind::IndirectJump, [0xf2, 0xff, 0x25, ..]) => with(&[0xf2, 0xe9], distance(1)?, &[0x90]),
        (Kind::Load(register), [rex @ (0x48 | 0x4c), 0x8b, operand, ..])
            if old.len() == 7 && register != Register::RSP =>
        {
            with(&[*rex, 0x8d, *operand], distance(0)?, &[])
        }
        // Not through the slot, but reading it: it stays, and so does what it holds.
        (Kind::Address | Kind::Other, _) => Ok(None),
        _ => Err(Kept::Form),
    }
}

fn distance(target: u64, from: u64) -> Result<[u8; 4], Kept> {
    let distance = target.wrapping_sub(from) as i64;
    i32::try_from(distance).map(i32::to_le_bytes).map_err(|_| Kept::OutOfReach)
}
