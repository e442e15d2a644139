//! Relocation in two parts, for images: [`relocate_ahead`] writes what is the same in every process, [`complete`] does in the
//! process what is left of it. No symbol is looked up then.

use crate::bind::{Definition, Lookup, Query};
use crate::elf::{Relocation, Symbol};
use crate::error::RelocationProblem;
use crate::program::{Object, ObjectId, Origin, Program};

use super::{Moment, NOTHING, Outcome, Pass, Reference, Relocated, Slots, Target, x86_64};

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

/// Does what [`relocate_ahead`] has left, and what of the program needs no symbol. `late` is in the order of that function.
///
/// # Safety
/// The objects are mapped and relocated as the image says, and none of their code has run.
#[inline(never)]
pub unsafe fn complete(program: &Program, lookup: Lookup<'_>, late: impl Iterator<Item = Late>) -> Relocated {
    let mut done = Relocated::default();
    // SAFETY: passed on to the caller.
    unsafe { pass(program, lookup, ObjectId::PROGRAM, Moment::Bound, &mut done).run() };
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
    done
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
            let reference = symbol.as_ref().zip(query.as_ref());
            let reference = reference.map(|(symbol, query)| Reference { symbol, query });
            self.copy(relocation, reference.as_ref(), &target)
        }
    }
}
