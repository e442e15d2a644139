//! Relocation in two parts, for images: [`relocate_ahead`] writes what is the same in every process, [`complete`] does in the
//! process what is left of it. No symbol is looked up then.

use alloc::vec::Vec;

use crate::bind::{Definition, Lookup, Query};
use crate::elf::{Relocation, Symbol, Vaddr};
use crate::error::RelocationProblem;
use crate::program::{Object, ObjectId, Origin, Program};

use super::{Moment, NOTHING, Outcome, Pass, Reference, Relocated, Slots, Target, relocate, x86_64};

/// A relocation that an image leaves to the process, bound already.
#[derive(Clone, Copy, Debug)]
pub struct Late {
    /// Whose it is.
    pub object: ObjectId,
    /// The relocation.
    pub relocation: Relocation,
    /// What its symbol is bound to; `None` for nothing (a weak reference), or if it names no symbol.
    pub definition: Option<Definition>,
}

/// A relocation of an image's member, or of the program, that is bound anew: an object that the image does not know defines its
/// name.
#[derive(Clone, Copy, Debug)]
pub struct Rebound {
    /// Whose it is.
    pub object: ObjectId,
    /// The relocation. Its addend is in the table.
    pub relocation: Relocation,
}

/// What a process has that an image does not know.
#[derive(Debug, Default)]
pub struct Added {
    /// The objects, in load order.
    pub objects: Vec<ObjectId>,
    /// What may refer to them, in order of objects and slots, each once. What is read-only after relocation is open.
    pub rebound: Vec<Rebound>,
}

impl Added {
    /// Whether a relocation is bound anew.
    fn rebinds(&self, object: ObjectId, relocation: &Relocation) -> bool {
        self.rebound.binary_search_by_key(&(object, relocation.slot), Rebound::place).is_ok()
    }

    /// Those of one object after the other.
    fn by_object(&self) -> impl Iterator<Item = &[Rebound]> {
        self.rebound.chunk_by(|a, b| a.object == b.object)
    }
}

impl Rebound {
    /// By what they are sorted.
    pub fn place(&self) -> (ObjectId, Vaddr) {
        (self.object, self.relocation.slot)
    }
}

/// Relocates `objects` for the addresses that they will have, in memory to which `slots` leads. [`Relocated::late`] is what has
/// been left out: all that depends on where the program and the loader are, or on what functions return, and every
/// symbol of the program itself.
///
/// # Safety
/// The memory to which `slots` leads holds the objects' segments, and nothing else refers to it.
pub unsafe fn relocate_ahead(
    program: &Program,
    lookup: Lookup<'_>,
    objects: impl Iterator<Item = ObjectId>,
    mut slots: impl FnMut(ObjectId, &Object) -> Slots,
) -> Relocated {
    let mut done = Relocated::default();
    for id in objects {
        let object = &program[id];
        if matches!(object.origin, Origin::Kernel | Origin::File) {
            let (slots, moment) = (slots(id, object), Moment::Ahead);
            let mut pass =
                Pass { program, lookup, id, object, slots, moment, last: NOTHING, done: &mut done };
            // SAFETY: passed on to the caller.
            if let Err(error) = unsafe { pass.tables() } {
                pass.report(RelocationProblem::BadTable(error));
            }
        }
    }
    done
}

/// Does what [`relocate_ahead`] has left, and what of the program needs no symbol. `late` is in the order of that function. What has
/// been added is relocated as ever; the program's own relocations come last, since they copy what others have made.
///
/// # Safety
/// The objects are mapped and relocated as the image says, those that were added not yet, and none of their code has run.
#[inline(never)]
pub unsafe fn complete(
    program: &Program,
    lookup: Lookup<'_>,
    late: impl Iterator<Item = Late>,
    added: &Added,
) -> Relocated {
    // SAFETY: passed on to the caller.
    let mut done = unsafe { relocate(program, lookup, added.objects.iter().copied(), Moment::Start) };
    // SAFETY: likewise.
    unsafe { pass(program, lookup, ObjectId::PROGRAM, Moment::Bound, &mut done).run() };
    let (own, others): (Vec<_>, Vec<_>) = added.by_object().partition(|of| of[0].object == ObjectId::PROGRAM);
    // SAFETY: likewise.
    others.iter().for_each(|of| unsafe { rebind(program, lookup, of, &mut done) });
    let late = late.filter(|late| added.rebound.is_empty() || !added.rebinds(late.object, &late.relocation));
    let mut late = late.peekable();
    while let Some(Late { object, .. }) = late.peek().copied() {
        let mut pass = pass(program, lookup, object, Moment::Start, &mut done);
        while let Some(entry) = late.next_if(|entry| entry.object == object) {
            // SAFETY: passed on to the caller.
            if let Err(problem) = unsafe { pass.apply_late(&entry) } {
                pass.report(*problem);
            }
        }
    }
    // SAFETY: likewise.
    own.iter().for_each(|of| unsafe { rebind(program, lookup, of, &mut done) });
    done
}

/// Carries out some relocations of one object again.
///
/// # Safety
/// As for [`complete`].
#[inline(never)]
unsafe fn rebind(program: &Program, lookup: Lookup<'_>, of_object: &[Rebound], done: &mut Relocated) {
    let mut pass = pass(program, lookup, of_object[0].object, Moment::Start, done);
    for entry in of_object {
        // SAFETY: passed on to the caller.
        unsafe { pass.batch(core::slice::from_ref(&entry.relocation)) };
    }
}

fn pass<'a>(
    program: &'a Program,
    lookup: Lookup<'a>,
    id: ObjectId,
    moment: Moment,
    done: &'a mut Relocated,
) -> Pass<'a> {
    let object = &program[id];
    Pass { program, lookup, id, object, slots: Slots::of(object), moment, last: NOTHING, done }
}

impl Pass<'_> {
    /// Leaves a relocation to the process.
    pub(super) fn leave(&mut self, relocation: &Relocation, target: &Target) {
        let definition = match target {
            Target::Found(definition) => Some(*definition),
            Target::Absent | Target::Null | Target::Postponed => None,
        };
        self.done.late.push(Late { object: self.id, relocation: *relocation, definition });
    }

    /// # Safety
    /// As for [`complete`].
    unsafe fn apply_late(&mut self, late: &Late) -> Outcome<()> {
        let relocation = &late.relocation;
        self.done.counts.add(relocation.kind);
        let target = match late.definition {
            Some(definition) => Target::Found(definition),
            None if relocation.symbol == 0 => Target::Absent,
            None => Target::Null,
        };
        // SAFETY: passed on to the caller.
        unsafe {
            if !x86_64::is_copy(relocation.kind) {
                return self.apply_target(relocation, target);
            }
            let table = &self.object.symbols;
            let symbol: Option<Symbol> = table.get(relocation.symbol);
            let query: Option<Query<'_>> = symbol.and_then(|symbol| table.name_of(&symbol)).map(Query::from);
            let reference =
                symbol.as_ref().map(|symbol| Reference { symbol, query: query.as_ref(), found: None });
            self.copy(relocation, reference.as_ref(), &target)
        }
    }
}
