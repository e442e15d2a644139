//! From a symbol's name to its definition: musl's scope rules (`find_sym2`, `get_lfs64`).

mod lfs64;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::elf::{Address, LoadBias, Symbol, SymbolName, SymbolTable};
use crate::program::{Object, ObjectId, Origin, Program};

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

/// The objects that take part in lookup, in order. Each has its tables side by side here, as a walk touches them all.
#[derive(Debug)]
pub struct Scope {
    entries: Vec<Entry>,
    libc: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    table: SymbolTable<'static>,
    bias: LoadBias,
    object: ObjectId,
}

impl Scope {
    /// The global scope of a program: all its objects in load order.
    pub fn new(program: &Program) -> Self {
        Self::of(program, program.ids())
    }

    /// A scope of some of the objects.
    pub fn of(program: &Program, objects: impl Iterator<Item = ObjectId>) -> Self {
        let mut scope = Self { entries: Vec::with_capacity(program.objects().len()), libc: None };
        for id in objects {
            let object = &program[id];
            match object.origin {
                Origin::Vdso => continue,
                Origin::Libc => scope.libc = Some(scope.entries.len()),
                _ => {}
            }
            scope.entries.push(Entry { table: object.symbols, bias: object.mapping.bias, object: id });
        }
        scope
    }

    /// The first definition of `name` in the scope, from the entry `start` on. Weak and strong definitions count alike,
    /// as do all versions. A name of the large-file interface that nobody defines stands for libc's plain one.
    /// `STT_GNU_IFUNC` definitions, which musl never sees, are taken only where musl finds nothing.
    pub fn find(&self, name: &SymbolName<'_>, accept: Accept, start: usize) -> Option<Definition> {
        let entries = self.entries.get(start..)?;
        find(entries, name, |symbol| acceptable(symbol, accept))
            .or_else(|| self.find_lfs64(name))
            .or_else(|| find(entries, name, acceptable_ifunc))
    }

    /// The first definition of `name` in a part of the scope.
    pub fn find_in(&self, part: RangeInclusive<usize>, name: &SymbolName<'_>) -> Option<Definition> {
        let entries = self.entries.get(part)?;
        find(entries, name, |symbol| acceptable(symbol, Accept::AnyWithValue))
            .or_else(|| find(entries, name, acceptable_ifunc))
    }

    /// The definition of `name` that comes before libc's own.
    pub fn find_before_libc(&self, name: &SymbolName<'_>) -> Option<Definition> {
        let entries = &self.entries[..self.libc.unwrap_or(self.entries.len())];
        find(entries, name, |symbol| acceptable(symbol, Accept::DefinitionOnly))
    }

    fn find_lfs64(&self, name: &SymbolName<'_>) -> Option<Definition> {
        let plain = SymbolName::new(lfs64::plain_name(name.bytes())?);
        let libc = self.entries.get(self.libc?)?;
        find(core::slice::from_ref(libc), &plain, |symbol| acceptable(symbol, Accept::DefinitionOnly))
    }
}

#[inline]
fn find(
    entries: &[Entry],
    name: &SymbolName<'_>,
    acceptable: impl Fn(&Symbol) -> bool,
) -> Option<Definition> {
    entries.iter().find_map(|entry| {
        let symbol = entry.table.lookup(name).filter(&acceptable)?;
        Some(Definition { object: entry.object, symbol, bias: entry.bias })
    })
}

fn acceptable(symbol: &Symbol, accept: Accept) -> bool {
    let defined = symbol.is_defined() || (accept == Accept::AnyWithValue && !symbol.is_tls());
    let placed = symbol.value != 0 || symbol.is_tls();
    defined && placed && symbol.has_linkable_type() && symbol.has_linkable_binding()
}

fn acceptable_ifunc(symbol: &Symbol) -> bool {
    symbol.is_ifunc() && symbol.is_defined() && symbol.value != 0 && symbol.has_linkable_binding()
}

/// A symbol that one object defines for others.
pub fn definition_in(object: &Object, name: &[u8]) -> Option<Symbol> {
    object.symbols.lookup(&SymbolName::new(name)).filter(|symbol| acceptable(symbol, Accept::DefinitionOnly))
}

/// Whether an object is a C library, musl's or another: it must not be loaded beside the one we host. The two names
/// are musl's choice (`load_library`).
pub fn is_a_libc(object: &Object) -> bool {
    definition_in(object, b"__libc_start_main").is_some() && definition_in(object, b"stdin").is_some()
}
