//! Which object provides each symbol that a program's objects refer to, and who else could.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use goblin::elf64::reloc::R_X86_64_COPY;
use ld_morsel::bind::{Accept, Definition, Lookup, Scope, find_in};
use ld_morsel::elf::{RelocationTable, SymbolName};
use ld_morsel::program::{Object, ObjectId, Origin, Program};
use ld_morsel::relocate::definition_for;
use serde::Serialize;

use super::versions::Versions;

/// A name, and all that has to do with it.
#[derive(Serialize)]
pub struct Name {
    /// The symbol's name.
    pub name: String,
    /// Who refers to it.
    pub references: Vec<Reference>,
    /// Who defines it, in the order of the search. The first one counts, whatever its version; the others are interposed.
    pub definitions: Vec<Defined>,
}

/// A reference of an object to a name.
#[derive(Serialize, PartialEq)]
pub struct Reference {
    /// The object's number in the order of the search.
    pub from: usize,
    /// It may stay without a definition.
    pub weak: bool,
    /// The version that it asks for, which does not count.
    pub version: Option<String>,
    /// It is a copy relocation: the program has its own copy of a library's variable.
    pub copy: bool,
    /// The number of the object that provides it; `None` for nobody.
    pub provider: Option<usize>,
    /// The name under which it is provided, where that is another one (the large-file interface).
    pub provided_as: Option<String>,
}

/// A definition of a name.
#[derive(Serialize)]
pub struct Defined {
    /// The object's number in the order of the search.
    pub object: usize,
    /// The definition's version.
    pub version: Option<String>,
    /// A weak definition counts like any other.
    pub weak: bool,
    /// What it is.
    pub kind: &'static str,
}

/// A program whose bindings are asked for.
pub struct Bindings<'a> {
    program: &'a Program,
    scope: Scope,
    /// The objects in the order of the search.
    pub order: Vec<ObjectId>,
    versions: Vec<Versions<'a>>,
}

impl<'a> Bindings<'a> {
    /// The bindings of a program that is complete.
    pub fn new(program: &'a Program) -> Self {
        let scope = Scope::new(program);
        let order = scope.entries().map(|entry| entry.object()).collect();
        let versions = program.objects().map(Versions::of).collect();
        Self { program, scope, order, versions }
    }

    /// The names that objects refer to, in alphabetical order; only `wanted`, if that is given.
    ///
    /// # Errors
    /// A relocation table is damaged.
    pub fn names(&self, wanted: Option<&str>) -> Result<Vec<Name>> {
        let mut references: BTreeMap<&[u8], Vec<Reference>> = BTreeMap::new();
        for (id, object) in self.program.iter() {
            // libc relocates itself, and so does the loader.
            if matches!(object.origin, Origin::Kernel | Origin::File) {
                let read = self.references_of(id, object, wanted, &mut references);
                read.with_context(|| object.name.to_string_lossy().into_owned())?;
            }
        }
        let unreferenced = wanted.filter(|wanted| !references.contains_key(wanted.as_bytes()));
        if let Some(wanted) = unreferenced {
            references.insert(wanted.as_bytes(), Vec::new());
        }
        let names = references.into_iter().map(|(name, references)| Name {
            name: String::from_utf8_lossy(name).into_owned(),
            references,
            definitions: self.definitions(name),
        });
        Ok(names.collect())
    }

    /// An object's number in the order of the search.
    pub fn number(&self, id: ObjectId) -> Option<usize> {
        self.order.iter().position(|&other| other == id)
    }

    fn references_of<'b>(
        &self,
        id: ObjectId,
        object: &'b Object,
        wanted: Option<&'b str>,
        references: &mut BTreeMap<&'b [u8], Vec<Reference>>,
    ) -> Result<()> {
        let (view, dynamic) = (&object.view, &object.dynamic);
        let tables = [
            (dynamic.jmprel, dynamic.jmprel_has_addends, "DT_JMPREL"),
            (dynamic.rel, false, "DT_REL"),
            (dynamic.rela, true, "DT_RELA"),
        ];
        let Some(from) = self.number(id) else { return Ok(()) };
        for (table, has_addends, what) in tables {
            RelocationTable::parse(view, table, has_addends, what)?.for_each(|relocation| {
                let symbol = object.symbols.get(relocation.symbol).filter(|symbol| !symbol.is_local());
                let named = symbol.and_then(|symbol| Some((symbol, object.symbols.name_of(&symbol)?)));
                let Some((symbol, name)) = named else { return };
                if wanted.is_some_and(|wanted| wanted.as_bytes() != name.bytes()) {
                    return;
                }
                let found = definition_for(relocation.kind, &Lookup::in_global(&self.scope), &name.into());
                let reference = Reference {
                    from,
                    weak: symbol.is_weak() && !symbol.is_defined(),
                    version: self.version(id, relocation.symbol),
                    copy: relocation.kind == R_X86_64_COPY,
                    provider: found.and_then(|found| self.number(found.object)),
                    provided_as: found.and_then(|found| self.other_name(&found, &name)),
                };
                let known = references.entry(name.bytes()).or_default();
                if !known.contains(&reference) {
                    known.push(reference);
                }
            });
        }
        Ok(())
    }

    fn version(&self, id: ObjectId, symbol: u32) -> Option<String> {
        self.versions.get(id.index())?.of_symbol(symbol).map(str::to_owned)
    }

    fn other_name(&self, found: &Definition, name: &SymbolName<'_>) -> Option<String> {
        let own = self.program[found.object].symbols.name_of(&found.symbol)?;
        (own.bytes() != name.bytes()).then(|| String::from_utf8_lossy(own.bytes()).into_owned())
    }

    fn definitions(&self, name: &[u8]) -> Vec<Defined> {
        let name = SymbolName::new(name);
        let find = |entry| find_in(std::iter::once(entry), &name, Accept::DefinitionOnly);
        let found =
            self.scope.entries().enumerate().filter_map(|(number, entry)| Some((number, find(entry)?)));
        let defined = found.map(|(object, Definition { object: id, symbol, .. })| {
            let table = &self.program[id].symbols;
            let is_it = |index: &u32| {
                table.get(*index).is_some_and(|other| other.value == symbol.value)
                    && table.lookup_at(*index, &name).is_some()
            };
            let index = table.exports().find(is_it);
            Defined {
                object,
                version: index.and_then(|index| self.version(id, index)),
                weak: symbol.is_weak(),
                kind: kind_of(&symbol),
            }
        });
        defined.collect()
    }
}

/// The type of a symbol (gABI, "Symbol Table"), in words.
fn kind_of(symbol: &ld_morsel::elf::Symbol) -> &'static str {
    const STT_OBJECT: u8 = 1;
    const STT_FUNC: u8 = 2;
    match symbol.info() & 0xf {
        _ if symbol.is_tls() => "thread-local",
        _ if symbol.is_ifunc() => "indirect function",
        STT_OBJECT => "variable",
        STT_FUNC => "function",
        _ => "untyped",
    }
}
