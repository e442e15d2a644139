//! From a symbol's name to its definition: musl's scope rules (`find_sym2`, `get_lfs64`).

mod index;
mod lfs64;
mod query;
#[cfg(test)]
mod tests;
mod walk;

use alloc::boxed::Box;
use alloc::vec::Vec;

use goblin::elf64::sym::Sym;
use once_cell::race::OnceBox;

use crate::elf::{Address, Anatomy, Filter, LoadBias, Probe, Symbol, SymbolName, SymbolTable};
use crate::program::{Object, ObjectId, Origin, Program};

pub use index::{Index, Outline};
pub use query::Query;

use query::{Ahead, Candidate};

/// Where a name is defined.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The defining object.
    pub object: ObjectId,
    /// Its symbol.
    pub symbol: Symbol,
    /// The object's bias.
    pub bias: LoadBias,
}

impl Definition {
    /// The address in this process (meaningless for thread-local symbols).
    pub fn address(&self) -> Address {
        self.bias.apply(self.symbol.vaddr())
    }
}

/// What a reference accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Also an undefined symbol that has a value: the address of a function in a non-PIC executable.
    AnyWithValue,
    /// Only a definition: what a procedure linkage table entry needs.
    DefinitionOnly,
}

/// An object as lookup sees it: its tables side by side, as a walk over a scope touches them all.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    filter: Filter<'static>,
    table: SymbolTable<'static>,
    bias: LoadBias,
    object: ObjectId,
    is_libc: bool,
}

impl Entry {
    /// The entry of an object.
    pub fn new(id: ObjectId, object: &Object) -> Self {
        let is_libc = object.origin == Origin::Libc;
        Self {
            filter: object.symbols.filter(),
            table: object.symbols,
            bias: object.mapping.bias,
            object: id,
            is_libc,
        }
    }

    /// Which object it is.
    pub fn object(&self) -> ObjectId {
        self.object
    }

    /// The definition of one version of a name.
    pub fn find_version(&self, name: &SymbolName<'_>, version: &SymbolName<'_>) -> Option<Definition> {
        let symbol = self.table.lookup_version(name, version)?;
        may_be_taken(&symbol).then_some(Definition { object: self.object, symbol, bias: self.bias })
    }
}

/// Objects that are searched one after the other.
#[derive(Debug)]
pub struct Group {
    entries: Vec<Entry>,
    /// The group that was made global after this one.
    next: OnceBox<Group>,
}

impl Group {
    /// The objects `ids`, in this order. The vDSO is never searched. libc is preceded by this loader, whose functions stand
    /// in for some of libc's.
    pub fn new(program: &Program, ids: impl Iterator<Item = ObjectId>) -> Self {
        let mut entries: Vec<Entry> = Vec::with_capacity(ids.size_hint().0);
        for id in ids {
            match program[id].origin {
                Origin::Vdso | Origin::Loader => {}
                Origin::Libc => {
                    let loader = program.iter().find(|(_, object)| object.origin == Origin::Loader);
                    entries.extend(loader.map(|(id, object)| Entry::new(id, object)));
                    entries.push(Entry::new(id, &program[id]));
                }
                _ => entries.push(Entry::new(id, &program[id])),
            }
        }
        Self { entries, next: OnceBox::new() }
    }

    /// The first definition of `name` in the group.
    pub fn find(&self, name: &SymbolName<'_>, accept: Accept) -> Option<Definition> {
        find_in(self.entries.iter(), name, accept)
    }

    /// What is searched, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether there is nothing to be searched.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an object is in the group.
    pub fn contains(&self, object: ObjectId) -> bool {
        self.entries.iter().any(|entry| entry.object == object)
    }
}

/// The global scope: the start-up objects in load order, then whatever was made global later. Groups are only ever added,
/// and readers need no lock. As long as nothing is looked up, it can be empty.
#[derive(Debug, Default)]
pub struct Scope {
    first: OnceBox<Group>,
}

impl Scope {
    /// The scope of a program's start-up objects.
    pub fn new(program: &Program) -> Self {
        let scope = Self::default();
        scope.append(Group::new(program, program.ids()));
        scope
    }

    /// Whether the start-up objects are not in it yet.
    pub fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    /// Makes a group global. Only one thread at a time may do that.
    pub fn append(&self, group: Group) {
        let place = self.groups().last().map_or(&self.first, |last| &last.next);
        // A second writer would be a breach of the rule above; its group is lost, nothing else.
        let _ = place.set(Box::new(group));
    }

    /// Whether an object is in the scope.
    pub fn contains(&self, object: ObjectId) -> bool {
        self.groups().any(|group| group.contains(object))
    }

    /// All that is searched, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.groups().flat_map(|group| &group.entries)
    }

    /// What follows an object in the scope, itself included.
    pub fn entries_from(&self, object: ObjectId) -> impl Iterator<Item = &Entry> + Clone {
        self.entries().skip_while(move |entry| entry.object != object)
    }

    /// Where the search for an object's definitions begins: at the loader's, where these stand in for libc's.
    pub fn with_stand_in(&self, object: ObjectId) -> ObjectId {
        let mut pairs = self.first().windows(2);
        let before = pairs.find(|pair| pair[1].object == object && pair[1].is_libc);
        before.map_or(object, |pair| pair[0].object)
    }

    /// The definition of `name` that comes before libc's own.
    pub fn find_before_libc(&self, name: &SymbolName<'_>) -> Option<Definition> {
        let entries = self.first();
        let libc = entries.iter().position(|entry| entry.is_libc).unwrap_or(entries.len());
        find(&entries[..libc], name, |symbol| acceptable(symbol, Accept::DefinitionOnly))
            .map(Definition::from)
    }

    /// What every search begins with: the start-up objects.
    pub fn first(&self) -> &[Entry] {
        self.first.get().map_or(&[], Group::entries)
    }

    fn groups(&self) -> impl Iterator<Item = &Group> + Clone {
        core::iter::successors(self.first.get(), |group| group.next.get())
    }

    fn libc(&self) -> Option<&Entry> {
        self.first().iter().find(|entry| entry.is_libc)
    }
}

/// What a reference can see: the global scope, and behind it a group of objects that are being loaded.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The global scope.
    pub global: &'a Scope,
    /// Not (yet) global.
    pub local: Option<&'a Group>,
    /// The group comes first (`RTLD_DEEPBIND`).
    pub local_first: bool,
    /// A table of the global scope's first group.
    pub index: Option<Index<'a>>,
}

impl<'a> Lookup<'a> {
    /// The global scope alone.
    pub fn in_global(global: &'a Scope) -> Self {
        Self { global, local: None, local_first: false, index: None }
    }

    /// Makes ready for some searches at once.
    pub fn prepare(&self, queries: &mut [Query<'_>]) {
        let first = self.global.first();
        match &self.index {
            Some(index) => index.prepare(queries, first),
            None => walk::prepare(queries, first),
        }
    }

    /// The first definition of a name. Weak and strong definitions count alike, as do all versions. A name of the
    /// large-file interface that nobody defines stands for libc's plain one. `STT_GNU_IFUNC` definitions, which musl
    /// never sees, are taken only where musl finds nothing.
    pub fn find(&self, query: &Query<'_>, accept: Accept) -> Option<Definition> {
        self.search(query, accept).map(Definition::from)
    }

    /// The first definition behind the program itself: what a copy relocation copies.
    pub fn find_behind_program(&self, query: &Query<'_>) -> Option<Definition> {
        self.search_behind_program(query).map(Definition::from)
    }

    /// The first symbol of a name that a prepared search leads to. No other is what [`Lookup::search`] finds, if this one is taken.
    #[inline(always)]
    pub fn first_named(&self, query: &Query<'_>) -> Option<Found<'a>> {
        let (first, name) = (self.global.first(), &query.name);
        match &query.ahead {
            _ if self.local_first => None,
            Ahead::Nothing => None,
            Ahead::Walk(candidate) => find_at(*candidate, first, name),
            Ahead::Likely(candidates) => find_among(candidates.iter().copied(), first, name, 0, |_| true),
        }
    }

    /// What [`Lookup::find`] finds.
    #[inline(never)]
    pub fn search(&self, query: &Query<'_>, accept: Accept) -> Option<Found<'a>> {
        let acceptable = |symbol: &Symbol| acceptable(symbol, accept);
        self.first_named(query)
            .filter(|found| acceptable(&found.symbol.into()))
            .or_else(|| self.find_where(query, 0, acceptable))
            .or_else(|| self.find_substitute(query))
    }

    /// What is taken where nobody defines a name.
    #[cold]
    #[inline(never)]
    fn find_substitute(&self, query: &Query<'_>) -> Option<Found<'a>> {
        self.find_lfs64(&query.name).or_else(|| self.find_where(query, 0, acceptable_ifunc))
    }

    /// What [`Lookup::find_behind_program`] finds.
    pub fn search_behind_program(&self, query: &Query<'_>) -> Option<Found<'a>> {
        self.find_where(query, 1, |symbol| acceptable(symbol, Accept::AnyWithValue))
            .or_else(|| self.find_lfs64(&query.name))
    }

    #[inline(always)]
    fn find_where(
        &self,
        query: &Query<'_>,
        skip: usize,
        acceptable: impl Fn(&Symbol) -> bool,
    ) -> Option<Found<'a>> {
        let name = &query.name;
        if let Some(group) = self.local.filter(|_| self.local_first)
            && let Some(found) = find(&group.entries, name, &acceptable)
        {
            return Some(found);
        }
        let first = self.global.first();
        let found = match &self.index {
            Some(index) => find_among(index.candidates(name), first, name, skip, &acceptable),
            None => find(first.get(skip..).unwrap_or_default(), name, &acceptable),
        };
        if found.is_some() {
            return found;
        }
        let later = self.global.groups().skip(1).chain(self.local);
        later.into_iter().find_map(|group| find(&group.entries, name, &acceptable))
    }

    fn find_lfs64(&self, name: &SymbolName<'_>) -> Option<Found<'a>> {
        let plain = SymbolName::new(lfs64::plain_name(name.bytes())?);
        let libc = core::slice::from_ref(self.global.libc()?);
        find(libc, &plain, |symbol| acceptable(symbol, Accept::DefinitionOnly))
    }
}

/// The first definition of `name` in some objects.
pub fn find_in<'a>(
    entries: impl Iterator<Item = &'a Entry> + Clone,
    name: &SymbolName<'_>,
    accept: Accept,
) -> Option<Definition> {
    find(entries.clone(), name, |symbol| acceptable(symbol, accept))
        .or_else(|| find(entries, name, acceptable_ifunc))
        .map(Definition::from)
}

/// What a search has found: two references, which stay in registers until somebody wants more of it.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    entry: &'a Entry,
    symbol: &'a Sym,
}

impl Found<'_> {
    /// Where it is defined.
    pub fn object(&self) -> ObjectId {
        self.entry.object
    }

    /// The address of the symbol, if such a reference takes it.
    #[inline]
    pub fn address(&self, accept: Accept) -> Option<Address> {
        let symbol = Symbol::from(self.symbol);
        acceptable(&symbol, accept).then(|| self.entry.bias.apply(symbol.vaddr()))
    }
}

impl From<Found<'_>> for Definition {
    #[inline]
    fn from(Found { entry, symbol }: Found<'_>) -> Self {
        Self { object: entry.object, symbol: symbol.into(), bias: entry.bias }
    }
}

#[inline]
fn find<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    name: &SymbolName<'_>,
    acceptable: impl Fn(&Symbol) -> bool,
) -> Option<Found<'a>> {
    let mut probe = Probe::new(name);
    for entry in entries {
        if probe.is_excluded_by(&entry.filter) {
            continue;
        }
        if let Some(symbol) = entry.table.lookup_raw(name)
            && acceptable(&symbol.into())
        {
            return Some(Found { entry, symbol });
        }
    }
    None
}

/// The first symbol of that name in an object whose table has led to a candidate.
#[inline]
fn find_at<'a>(candidate: Candidate, entries: &'a [Entry], name: &SymbolName<'_>) -> Option<Found<'a>> {
    let entry = entries.get(candidate.place as usize)?;
    Some(Found { entry, symbol: entry.table.lookup_from(candidate.symbol, name)? })
}

/// The first definition of `name` behind `skip` objects, as [`find`] would find it, among those that may be one.
#[inline]
fn find_among<'a>(
    candidates: impl Iterator<Item = Candidate>,
    entries: &'a [Entry],
    name: &SymbolName<'_>,
    skip: usize,
    acceptable: impl Fn(&Symbol) -> bool,
) -> Option<Found<'a>> {
    let mut next = skip;
    for Candidate { place, symbol } in candidates {
        let place = place as usize;
        if place < next {
            continue;
        }
        let entry = entries.get(place)?;
        let Some(symbol) = entry.table.lookup_at(symbol, name) else { continue };
        if acceptable(&symbol.into()) {
            return Some(Found { entry, symbol });
        }
        // An object has one chance: its first symbol of the name.
        next = place + 1;
    }
    None
}

fn acceptable(symbol: &Symbol, accept: Accept) -> bool {
    let defined = symbol.is_defined() || (accept == Accept::AnyWithValue && !symbol.is_tls());
    let placed = symbol.value != 0 || symbol.is_tls();
    defined && placed && symbol.has_linkable_type() && symbol.has_linkable_binding()
}

fn acceptable_ifunc(symbol: &Symbol) -> bool {
    symbol.is_ifunc() && symbol.is_defined() && symbol.value != 0 && symbol.has_linkable_binding()
}

/// Whether any reference would take a symbol.
pub fn may_be_taken(symbol: &Symbol) -> bool {
    acceptable(symbol, Accept::AnyWithValue) || acceptable_ifunc(symbol)
}

/// A symbol that one object defines for others.
pub fn definition_in(object: &Anatomy<'_>, name: &[u8]) -> Option<Symbol> {
    definition_of(object, &SymbolName::new(name))
}

/// The same, by a name whose hash values are known.
pub fn definition_of(object: &Anatomy<'_>, name: &SymbolName<'_>) -> Option<Symbol> {
    object.symbols.lookup(name).filter(|symbol| acceptable(symbol, Accept::DefinitionOnly))
}

/// Whether an object is a C library, musl's or another: it must not be loaded beside the one we host. The two names
/// are musl's choice (`load_library`).
pub fn is_a_libc(object: &Anatomy<'_>) -> bool {
    definition_in(object, b"__libc_start_main").is_some() && definition_in(object, b"stdin").is_some()
}
