//! Which libraries need not be told of the start and end of a process, as their constructors or destructors do nothing
//! (`morselctl::code::idle`): to call them would take page faults that nothing else needs.

use std::ops::{Range, RangeInclusive};

use ld_morsel::elf::{Address, SegmentFlags, Table, Vaddr};
use ld_morsel::program::{Object, ObjectId};
use morselctl::code::idle::{Followed, LONGEST_INSTRUCTION, Surroundings, Value, are_referred_to, follow};

use super::build::{Built, Served};
use super::library::Library;
use super::pages::is_sealed;

/// What a library need not be called for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idle {
    /// It has constructors, and all do nothing.
    pub constructors: bool,
    /// It has destructors, and all do nothing.
    pub destructors: bool,
}

/// All addresses that a program's libraries hold after relocation, or the process is to write, ascending.
pub struct Pointers(Vec<u64>);

impl Pointers {
    /// Those of one program.
    pub fn of(served: &Served) -> Self {
        let bound = served.late.iter().filter_map(|late| late.binding.as_ref());
        let bound = bound.map(|binding| {
            let object = &served.program[ObjectId(binding.object)];
            object.address(Vaddr(binding.value)).0
        });
        let mut pointers: Vec<u64> =
            served.rebase.iter().map(|&place| word(served, place)).chain(bound).collect();
        pointers.sort_unstable();
        Self(pointers)
    }

    fn any_in(&self, some: &RangeInclusive<u64>) -> bool {
        let next = self.0.partition_point(|pointer| pointer < some.start());
        self.0.get(next).is_some_and(|pointer| some.contains(pointer))
    }
}

impl Idle {
    /// What holds of a library of a program, as it is after relocation.
    pub fn of(built: &Built, served: &Served, pointers: &Pointers, id: ObjectId) -> Self {
        let Some(library) = served.libraries[id.index()] else { return Self::default() };
        // What is read-only after relocation is sealed: it is as it will be.
        if !is_sealed(served, id) {
            return Self::default();
        }
        let object = &served.program[id];
        let around = Around { built, served, object, library: &built.libraries[library] };
        let dynamic = &object.dynamic;
        let constructors = around.followed(dynamic.init, dynamic.init_array);
        let destructors = around.followed(dynamic.fini, dynamic.fini_array);
        let mut known = Followed::default();
        constructors.iter().flatten().for_each(|one| known.add(one));
        let is_idle = |all: &[Option<Followed>]| !all.is_empty() && all.iter().all(Option::is_some);
        let idle = Self {
            constructors: is_idle(&constructors) && known.written.is_empty(),
            destructors: is_idle(&destructors),
        };
        destructors.iter().flatten().for_each(|one| known.add(one));
        // What only they themselves look at need not be noted down.
        let is_seen =
            |one: &Followed| one.written.iter().any(|&byte| around.is_seen(byte, one, &known, pointers));
        let any_is_seen = known.written.len() > 1 || destructors.iter().flatten().any(is_seen);
        Self { destructors: idle.destructors && !any_is_seen, ..idle }
    }
}

/// Libraries with more constructors or destructors than that have some that do something.
const MOST_FUNCTIONS: u64 = 1 << 12;
/// Zeroed data begin at a multiple of that, at most.
const MOST_PADDING: u64 = 64;

/// A library among the others of a program. Addresses are those of the image at its base.
struct Around<'a> {
    built: &'a Built,
    served: &'a Served,
    object: &'a Object,
    library: &'a Library,
}

impl Around<'_> {
    /// What becomes of some functions, one by one; `None` for those that might do something. That is said also of a table that may
    /// change.
    fn followed(&self, function: Option<Vaddr>, table: Table) -> Vec<Option<Followed>> {
        let first = function.map(|function| Some(self.object.address(function).0));
        let count = table.size / 8;
        let words = (0..count.min(MOST_FUNCTIONS)).map(|index| {
            match self.fixed(self.object.address(table.vaddr).0.wrapping_add(8 * index))? {
                Value::Address(function) => Some(function),
                _ => None,
            }
        });
        let more = (count > MOST_FUNCTIONS).then_some(None);
        first.into_iter().chain(words).chain(more).map(|function| follow(function?, self)).collect()
    }

    /// Whether anything but the functions `by` could look at a byte of the library to which one of them writes. It could not if it is
    /// where gcc's `crtstuff.c` notes that destructors have run: the first of the zeroed data but for padding, where the empty table
    /// lies that the same function looks for, and nobody else refers to it. Of other variables one cannot tell: they may be found by
    /// way of their neighbours, and who else calls the function may see by what it returns.
    fn is_seen(&self, byte: u64, writer: &Followed, by: &Followed, pointers: &Pointers) -> bool {
        let (segments, bias) = (&self.object.segments, self.object.mapping.bias);
        let vaddr = bias.unapply(Address(byte));
        let Some(load) = segments.containing(&(vaddr..Vaddr(vaddr.0.saturating_add(1)))) else { return true };
        let zeroed = bias.apply(Vaddr(load.vaddr.0 + load.filesz)).0;
        let is_first = byte.checked_sub(zeroed).is_some_and(|padding| padding < MOST_PADDING);
        if !is_first || writer.empty_tables.range(zeroed..=byte).next().is_none() {
            return true;
        }
        let code =
            segments.loads.iter().filter(|load| load.flags.contains(SegmentFlags::EXECUTE)).map(|load| {
                let range = bias.apply_range(&load.range());
                (range.start.0..range.end.0, self.content(&load.range()))
            });
        let named = self.object.symbols.iter().any(|(_, symbol)| {
            let start = self.object.address(symbol.vaddr()).0;
            let end = start.saturating_add(symbol.size);
            symbol.is_defined() && !symbol.is_tls() && symbol.size > 0 && start <= byte && zeroed < end
        });
        let some = zeroed..=byte;
        named || pointers.any_in(&some) || are_referred_to(some, by, code)
    }

    /// What is at addresses of the library.
    fn content(&self, range: &Range<Vaddr>) -> &[u8] {
        self.served.memory.at(&self.library.placed(range))
    }

    /// The library whose code, which nobody changes, has an address, and where it is there.
    fn code_at(&self, at: u64) -> Option<(&Library, Range<Vaddr>)> {
        let objects = self.served.program.objects().zip(&self.served.libraries);
        objects.filter_map(|(object, library)| Some((object, (*library)?))).find_map(|(object, library)| {
            let at = object.mapping.bias.unapply(Address(at));
            let mut loads = object.segments.loads.iter();
            let code = loads.find(|load| is_fixed_code(load.flags) && load.range().contains(&at))?;
            let end = code.range().end.min(Vaddr(at.0 + LONGEST_INSTRUCTION));
            Some((&self.built.libraries[library], at..end))
        })
    }
}

/// A word at a place of the image.
fn word(served: &Served, place: u64) -> u64 {
    let bytes = served.memory.at(&(place..place + 8));
    bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// Whether a segment holds code that does not change.
fn is_fixed_code(flags: SegmentFlags) -> bool {
    flags.contains(SegmentFlags::EXECUTE) && !flags.contains(SegmentFlags::WRITE)
}

impl Surroundings for Around<'_> {
    fn code(&self, at: u64) -> Option<&[u8]> {
        let (library, range) = self.code_at(at)?;
        Some(self.served.memory.at(&library.placed(&range)))
    }

    fn fixed(&self, at: u64) -> Option<Value> {
        let relro = self.object.segments.relro.as_ref()?;
        let vaddr = self.object.mapping.bias.unapply(Address(at));
        let is_whole = vaddr.0.is_multiple_of(8);
        if !is_whole || vaddr < relro.start || relro.end.0 < vaddr.0.checked_add(8)? {
            return None;
        }
        let place = at.wrapping_sub(self.built.base);
        let word = word(self.served, place);
        match self.served.rebase.binary_search(&place) {
            Ok(_) => Some(Value::Address(word)),
            Err(_) => Some(Value::Number(word)),
        }
    }

    fn are_variable(&self, at: u64, size: u64) -> bool {
        let vaddr = self.object.mapping.bias.unapply(Address(at));
        let Some(end) = vaddr.0.checked_add(size) else { return false };
        let range = vaddr..Vaddr(end);
        let is_fixed = self
            .object
            .segments
            .relro
            .as_ref()
            .is_some_and(|relro| vaddr < relro.end && relro.start < range.end);
        let within = self.object.segments.containing(&range);
        !is_fixed && within.is_some_and(|load| load.flags.contains(SegmentFlags::WRITE))
    }
}
