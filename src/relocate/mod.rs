//! Writing values: every relocation of every object but libc (which relocates itself when it is booted), in musl's
//! order (`reloc_all`, `do_relocs`).

mod ahead;
mod slots;
mod x86_64;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bind::{Accept, Definition, Found, Lookup, Query};
use crate::elf::{Address, ElfError, Relocation, RelocationTable, RelrSlots, Symbol, SymbolName};
use crate::error::{RelocationProblem, StartError};
use crate::map::protect;
use crate::program::{Object, ObjectId, Origin, Program};
use crate::sys::{Text, prefetch};

pub use ahead::{Added, Late, Rebound, complete, relocate_ahead};
pub use slots::Slots;
pub use x86_64::{is_copy, is_ordinary};

/// A value that only a function of the program can tell (`STT_GNU_IFUNC`, `R_X86_64_IRELATIVE`). Such functions run when
/// everything is relocated and libc is up.
#[derive(Clone, Copy, Debug)]
pub struct Deferred {
    /// Where the value goes.
    pub slot: Address,
    /// The function to ask.
    pub resolver: Address,
    /// Added to the answer.
    pub addend: u64,
}

/// A copy relocation whose source is in libc, which has not relocated itself yet: libc makes the copy when it is
/// booted.
#[derive(Clone, Copy, Debug)]
pub struct LibcCopy {
    /// The symbol's name.
    pub name: SymbolName<'static>,
    /// Where the copy goes.
    pub slot: Address,
    /// Bytes.
    pub size: u64,
}

/// When objects are relocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When an image is built, in another process.
    Ahead,
    /// As at start, but for what names a symbol: that is bound already.
    Bound,
    /// Before libc is booted.
    Start,
    /// In a running program; `lazy` if symbols may stay open (`RTLD_LAZY`).
    Running {
        /// See there.
        lazy: bool,
    },
}

impl Moment {
    fn is_lazy(self) -> bool {
        matches!(self, Self::Running { lazy: true })
    }
}

/// What there was to do.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Relocations by their `R_X86_64_*` number; `DT_RELR` entries count as relative ones.
    by_kind: [u64; x86_64::KINDS],
    /// Symbol lookups.
    pub lookups: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self { by_kind: [0; x86_64::KINDS], lookups: 0 }
    }
}

impl Counts {
    /// The kinds that occurred, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let count = |kind: u32| self.by_kind.get(kind as usize).copied().unwrap_or(0);
        x86_64::NAMES.iter().map(move |(kind, name)| (*name, count(*kind))).filter(|(_, count)| *count > 0)
    }

    #[inline]
    fn add(&mut self, kind: u32) {
        self.add_many(kind, 1);
    }

    #[inline]
    fn add_many(&mut self, kind: u32, more: usize) {
        if let Some(count) = self.by_kind.get_mut(kind as usize) {
            *count += more as u64;
        }
    }
}

/// A relocation whose symbol nobody defines yet (`RTLD_LAZY`).
#[derive(Clone, Copy, Debug)]
pub struct Postponed {
    object: ObjectId,
    relocation: Relocation,
}

/// The outcome of relocation.
#[derive(Debug, Default)]
pub struct Relocated {
    /// What an image leaves to the process.
    pub late: Vec<Late>,
    /// To be tried again when more objects are loaded.
    pub postponed: Vec<Postponed>,
    /// To be asked later.
    pub deferred: Vec<Deferred>,
    /// To be copied by libc.
    pub libc_copies: Vec<LibcCopy>,
    /// Everything that went wrong.
    pub errors: Vec<StartError>,
    /// For the statistics.
    pub counts: Counts,
}

/// Relocates `objects` in the given order. At start-up that is: libraries in load order, the program last, since its
/// copy relocations take what the libraries' relocations have made.
///
/// # Safety
/// The objects are mapped as the model says, their thread-local storage is laid out, and none of their code has run.
#[inline(never)]
pub unsafe fn relocate(
    program: &Program,
    lookup: Lookup<'_>,
    objects: impl Iterator<Item = ObjectId>,
    moment: Moment,
) -> Relocated {
    let mut done = Relocated::default();
    for id in objects {
        let object = &program[id];
        if matches!(object.origin, Origin::Kernel | Origin::File) {
            let moment = match moment {
                Moment::Running { lazy } => Moment::Running { lazy: lazy && !object.dynamic.bind_now },
                Moment::Ahead | Moment::Bound | Moment::Start => moment,
            };
            let slots = Slots::of(object);
            // SAFETY: passed on to the caller.
            unsafe {
                Pass { program, lookup, id, object, slots, moment, last: NOTHING, done: &mut done }.run()
            };
        }
    }
    done
}

/// Tries again what was postponed. What still has no definition is postponed once more.
///
/// # Safety
/// The objects are mapped as the model says.
pub unsafe fn retry(program: &Program, lookup: Lookup<'_>, postponed: Vec<Postponed>) -> Relocated {
    let mut done = Relocated::default();
    for of_object in postponed.chunk_by(|a, b| a.object == b.object) {
        let id = of_object[0].object;
        let object = &program[id];
        let slots = Slots::of(object);
        let moment = Moment::Running { lazy: true };
        let mut pass = Pass { program, lookup, id, object, slots, moment, last: NOTHING, done: &mut done };
        // SAFETY: passed on to the caller. Slots may be among what is sealed.
        unsafe {
            let opened = protect::open_relro(object);
            for entry in of_object {
                match opened {
                    Ok(()) => pass.batch(core::slice::from_ref(&entry.relocation)),
                    Err(errno) => pass.report(RelocationProblem::Relro(errno)),
                }
            }
            resolve_deferred(&core::mem::take(&mut pass.done.deferred));
            if let Err(errno) = protect::seal_relro(object) {
                pass.report(RelocationProblem::Relro(errno));
            }
        }
    }
    done
}

/// What is wrong with a relocation: boxed, as it hardly ever happens.
type Outcome<T> = Result<T, Box<RelocationProblem>>;

/// Where a relocation's symbol is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    Anywhere(Accept),
    BehindProgram,
}

impl Search {
    #[inline]
    fn find<'a>(self, lookup: &Lookup<'a>, query: &Query<'_>) -> Option<Found<'a>> {
        match self {
            Self::Anywhere(accept) => lookup.search(query, accept),
            Self::BehindProgram => lookup.search_behind_program(query),
        }
    }

    /// Whether it finds what is found first.
    fn takes(self, found: &Found<'_>) -> bool {
        match self {
            Self::Anywhere(accept) => found.address(accept).is_some(),
            Self::BehindProgram => false,
        }
    }
}

/// What a relocation of this `R_X86_64_*` kind is bound to whose symbol has that name, and is not local.
pub fn definition_for(kind: u32, lookup: &Lookup<'_>, query: &Query<'_>) -> Option<Definition> {
    x86_64::search_for(kind).find(lookup, query).map(Definition::from)
}

/// One object being relocated.
struct Pass<'a> {
    program: &'a Program,
    lookup: Lookup<'a>,
    id: ObjectId,
    object: &'a Object,
    slots: Slots,
    moment: Moment,
    /// The last symbol that was looked up, by its index: link editors put all that refers to a symbol together.
    last: ((u32, Search), Target),
    done: &'a mut Relocated,
}

/// No symbol has been looked up yet: number 0 is none.
const NOTHING: ((u32, Search), Target) = ((0, Search::BehindProgram), Target::Absent);

/// The symbol that a relocation names, a search for its name (`None` if it has none, or is local), and what that has found at first
/// sight.
struct Reference<'a> {
    symbol: &'a Symbol,
    query: Option<&'a Query<'static>>,
    found: Option<&'a Found<'a>>,
}

/// What a relocation refers to.
#[derive(Clone, Copy)]
enum Target {
    /// Nobody defines it yet.
    Postponed,
    /// None is named.
    Absent,
    /// A weak reference that nobody satisfies: zero.
    Null,
    /// Found.
    Found(Definition),
}

impl<'a> Pass<'a> {
    /// # Safety
    /// As for [`relocate`].
    unsafe fn run(&mut self) {
        log::debug!("relocating {}", Text::from(&self.object.name));
        let text = self.object.dynamic.text_relocations;
        if text {
            // SAFETY: nothing of the object runs before `close_text` below.
            if let Err(errno) = unsafe { protect::open_text(self.object) } {
                return self.report(RelocationProblem::TextRelocations(errno));
            }
        }
        // SAFETY: passed on to the caller.
        if let Err(error) = unsafe { self.tables() } {
            self.report(RelocationProblem::BadTable(error));
        }
        if text {
            // SAFETY: the text relocations are done.
            if let Err(errno) = unsafe { protect::close_text(self.object) } {
                self.report(RelocationProblem::TextRelocations(errno));
            }
        }
    }

    /// # Safety
    /// As for [`relocate`].
    unsafe fn tables(&mut self) -> Result<(), ElfError> {
        let (view, dynamic) = (&self.object.view, &self.object.dynamic);
        let tables = [
            (dynamic.jmprel, dynamic.jmprel_has_addends, "DT_JMPREL"),
            (dynamic.rel, false, "DT_REL"),
            (dynamic.rela, true, "DT_RELA"),
        ];
        for (table, has_addends, what) in tables {
            let mut entries = RelocationTable::parse(view, table, has_addends, what)?;
            if let RelocationTable::Rela(all) = &mut entries {
                // SAFETY: passed on to the caller.
                let run = unsafe { self.slots.write_run(all, x86_64::RELATIVE, self.object.mapping.bias) };
                self.done.counts.add_many(x86_64::RELATIVE, run);
                *all = &all[run..];
            }
            // SAFETY: passed on to the caller.
            entries.for_each_batch(|batch| unsafe { self.batch(batch) });
        }
        let relr: &[u64] = view.table(dynamic.relr.vaddr, dynamic.relr.size, "DT_RELR")?;
        for slot in RelrSlots::new(relr) {
            self.done.counts.add(x86_64::RELATIVE);
            // SAFETY: `Slots` only yields what may be written; nobody holds references there (see `Slots`).
            let added = unsafe { self.slots.add(slot, self.object.mapping.bias.0) };
            if added.is_none() {
                return Err(ElfError::BadTable("DT_RELR names a slot that is not writable data"));
            }
        }
        Ok(())
    }

    /// Carries out some relocations, at most [`RelocationTable::BATCH`].
    ///
    /// # Safety
    /// As for [`relocate`].
    unsafe fn batch(&mut self, batch: &[Relocation]) {
        if self.moment != Moment::Bound && batch.iter().any(|relocation| relocation.symbol != 0) {
            // SAFETY: passed on to the caller.
            return unsafe { self.symbolic_batch(batch) };
        }
        for relocation in batch.iter().filter(|relocation| relocation.symbol == 0) {
            // SAFETY: passed on to the caller.
            if let Err(problem) = unsafe { self.apply(relocation, None) } {
                self.report(*problem);
            }
        }
    }

    /// # Safety
    /// As for [`relocate`].
    #[inline(never)]
    unsafe fn symbolic_batch(&mut self, batch: &[Relocation]) {
        let table = &self.object.symbols;
        // Where relocations are sorted by address, their symbols are in no order.
        for entry in batch.iter().filter_map(|relocation| table.raw_entry(relocation.symbol)) {
            prefetch(entry);
        }
        for text in batch.iter().filter_map(|relocation| table.start_of_name(relocation.symbol)) {
            prefetch(text);
        }
        let mut queries = [Query::from(SymbolName::EMPTY); RelocationTable::BATCH];
        // Which of them belongs to a relocation.
        let mut places = [u8::MAX; RelocationTable::BATCH];
        let (mut count, mut last) = (0, 0);
        for (place, relocation) in places.iter_mut().zip(batch) {
            if relocation.symbol == 0 {
                continue;
            }
            if relocation.symbol != last {
                let Some(name) = table.global_name_at(relocation.symbol) else { continue };
                let Some(query) = queries.get_mut(count) else { continue };
                *query = name.into();
                (count, last) = (count + 1, relocation.symbol);
            }
            *place = (count - 1) as u8;
        }
        let queries = &mut queries[..count];
        self.lookup.prepare(queries);
        let mut found = [None; RelocationTable::BATCH];
        // What is left to the process, or told, takes more than an address.
        if self.moment != Moment::Ahead && !log::log_enabled!(log::Level::Trace) {
            for (found, query) in found.iter_mut().zip(&*queries) {
                *found = self.lookup.first_named(query);
                self.done.counts.lookups += u64::from(found.is_some());
            }
        }
        for (relocation, place) in batch.iter().zip(places) {
            let place = usize::from(place);
            let found = found.get(place).and_then(Option::as_ref);
            // SAFETY: passed on to the caller.
            unsafe {
                if !found.is_some_and(|found| self.apply_address(relocation, found)) {
                    self.apply_any(relocation, queries.get(place), found);
                }
            }
        }
    }

    /// Carries out a relocation of any kind; `query` is for the name of its symbol, unless that is a local one, and has `found` that.
    ///
    /// # Safety
    /// As for [`relocate`].
    #[inline(never)]
    unsafe fn apply_any(
        &mut self,
        relocation: &Relocation,
        query: Option<&Query<'static>>,
        found: Option<&Found<'_>>,
    ) {
        let symbol = self.object.symbols.get(relocation.symbol);
        let reference = symbol.as_ref().map(|symbol| Reference { symbol, query, found });
        // SAFETY: passed on to the caller.
        if let Err(problem) = unsafe { self.apply(relocation, reference.as_ref()) } {
            self.report(*problem);
        }
    }

    /// Finds what a relocation refers to.
    #[inline]
    fn target(&mut self, relocation: &Relocation, reference: Option<&Reference<'_>>) -> Outcome<Target> {
        if relocation.symbol == 0 {
            return Ok(Target::Absent);
        }
        let bad_symbol = || RelocationProblem::BadSymbol(relocation.symbol);
        let Reference { symbol, query, found } = reference.ok_or_else(bad_symbol)?;
        if symbol.is_local() {
            let bias = self.object.mapping.bias;
            return Ok(Target::Found(Definition { object: self.id, symbol: **symbol, bias }));
        }
        let search = x86_64::search_for(relocation.kind);
        if self.last.0 == (relocation.symbol, search) {
            return Ok(self.last.1);
        }
        let query = query.ok_or_else(bad_symbol)?;
        let at_first_sight = found.copied().filter(|found| search.takes(found)).map(Definition::from);
        let target = match at_first_sight.or_else(|| self.look_up(query, search)) {
            Some(definition) => Target::Found(definition),
            None => self.not_found(relocation.kind, symbol, query)?,
        };
        // Another relocation of the symbol need not be of a kind that may be postponed.
        if !matches!(target, Target::Postponed) {
            self.last = ((relocation.symbol, search), target);
        }
        Ok(target)
    }

    /// Finds the definition that a symbol refers to, which is not local.
    fn look_up(&mut self, query: &Query<'_>, search: Search) -> Option<Definition> {
        self.done.counts.lookups += 1;
        let found = search.find(&self.lookup, query)?;
        if log::log_enabled!(log::Level::Trace) {
            let (object, name) = (Text::from(&self.object.name), Text(query.name.bytes()));
            log::trace!("{object}: {name} -> {}", Text::from(&self.program[found.object()].name));
        }
        Some(found.into())
    }

    /// What a relocation refers to whose symbol nobody defines.
    #[cold]
    fn not_found(&self, kind: u32, symbol: &Symbol, query: &Query<'_>) -> Outcome<Target> {
        if symbol.is_weak() && !symbol.is_defined() {
            Ok(Target::Null)
        } else if self.moment.is_lazy() && x86_64::may_be_postponed(kind) {
            Ok(Target::Postponed)
        } else if self.object.wants_glibc() {
            Err(RelocationProblem::Glibc.into())
        } else {
            Err(RelocationProblem::SymbolNotFound(query.name.bytes().to_vec()).into())
        }
    }

    fn report(&mut self, problem: RelocationProblem) {
        self.done.errors.push(StartError::Relocation { object: self.object.name.clone().into(), problem });
    }
}

/// Runs the functions that were put off, and writes what they say.
///
/// # Safety
/// Everything else is relocated, libc is up, and what is read-only after relocation is still writable.
pub unsafe fn resolve_deferred(deferred: &[Deferred]) {
    for entry in deferred {
        // SAFETY: relocation checked that the resolver lies in an executable segment and the slot in a writable one; the
        // program vouches for its own resolver.
        unsafe {
            let resolver: extern "C" fn() -> u64 = core::mem::transmute(entry.resolver.0);
            (entry.slot.0 as *mut u64).write_unaligned(resolver().wrapping_add(entry.addend));
        }
    }
}
