//! Finding symbols and objects for `dlsym` and `dladdr`. No lock is needed: what they read only grows.

use crate::bind::{self, Accept, Definition, Entry, Group, Lookup};
use crate::elf::{Address, Symbol, SymbolName};
use crate::program::{Object, ObjectId};
use crate::sys::{Errno, thread_pointer};
use crate::tls::dynamic;

use super::{LinkMap, Process};

/// Which objects a call of `dlsym` or `dlvsym` searches.
pub(super) enum Searched {
    /// The global scope: `RTLD_DEFAULT`, and the program's handle.
    Global,
    /// The global scope from an object on: `RTLD_NEXT`.
    From(ObjectId),
    /// One object that is not global: `RTLD_NEXT` from the object before it.
    Alone(Entry),
    /// An object and its dependencies: a handle.
    Group(&'static Group),
}

impl Process {
    /// What `RTLD_NEXT` means in code at `caller`: the object behind the caller's in load order, and if that is global,
    /// what follows it in the global scope.
    pub(super) fn next_after(&self, caller: Address) -> Option<Searched> {
        let caller = self.object_at(caller).or_else(|| self.debug.maps().next())?;
        let next = self.debug.maps().skip_while(|map| map.id() != caller.id()).nth(1)?;
        if self.scope.contains(next.id()) {
            Some(Searched::From(self.scope.with_stand_in(next.id())))
        } else {
            Some(Searched::Alone(Entry::new(next.id(), next.object())))
        }
    }

    /// The definition of a name, of one version if that is asked for.
    pub(super) fn find(
        &self,
        searched: &Searched,
        name: &SymbolName<'_>,
        version: Option<&SymbolName<'_>>,
    ) -> Option<Definition> {
        match searched {
            Searched::Global if version.is_none() => {
                Lookup::in_global(&self.scope).find(&(*name).into(), Accept::AnyWithValue)
            }
            Searched::Global => find(self.scope.entries(), name, version),
            Searched::From(first) => find(self.scope.entries_from(*first), name, version),
            Searched::Alone(entry) => find(core::iter::once(entry), name, version),
            Searched::Group(group) => find(group.entries().iter(), name, version),
        }
    }

    /// Where a definition is for the calling thread.
    ///
    /// # Errors
    /// There is no memory for the thread's block.
    pub(super) fn value_of(&self, definition: &Definition) -> Result<Address, Errno> {
        if definition.symbol.is_tls() {
            let map = self.debug.map_of(definition.object);
            let block = map.map_or(Ok(Address(0)), |map| thread_block(map.object()))?;
            return Ok(Address(block.0.wrapping_add(definition.symbol.value)));
        }
        if definition.symbol.is_ifunc() {
            // SAFETY: the symbol says that it is such a function, and everything is relocated.
            let resolver: extern "C" fn() -> u64 = unsafe { core::mem::transmute(definition.address().0) };
            return Ok(Address(resolver()));
        }
        Ok(definition.address())
    }

    /// What `dladdr` tells of `address`: to whom it belongs, and whose symbols to look at. This loader's functions belong to
    /// libc, for which they stand in.
    pub(super) fn described_at(&self, address: Address) -> Option<(&'static LinkMap, &'static Object)> {
        if let Some(loader) = self.stand_in.filter(|loader| loader.has_segment_at(address)) {
            return self.debug.maps().find(|map| map.object().is_libc()).map(|libc| (libc, loader));
        }
        self.object_at(address).map(|map| (map, map.object()))
    }

    /// The object with a segment at `address` (`addr2dso`).
    pub(super) fn object_at(&self, address: Address) -> Option<&'static LinkMap> {
        self.debug.maps().find(|map| map.object().has_segment_at(address))
    }
}

fn find<'a>(
    mut entries: impl Iterator<Item = &'a Entry> + Clone,
    name: &SymbolName<'_>,
    version: Option<&SymbolName<'_>>,
) -> Option<Definition> {
    match version {
        None => bind::find_in(entries, name, Accept::AnyWithValue),
        Some(version) => entries.find_map(|entry| entry.find_version(name, version)),
    }
}

/// The calling thread's block of an object's thread-local storage, made if there is none yet; zero if the object has none.
///
/// # Errors
/// There is no memory for it.
pub(super) fn thread_block(object: &Object) -> Result<Address, Errno> {
    match object.tls {
        None => Ok(Address(0)),
        Some(tls) => match tls.offset {
            Some(offset) => Ok(Address(thread_pointer() - offset)),
            None => dynamic::block_of(tls.module).map(|block| Address(block as u64)),
        },
    }
}

/// The symbol that covers `address`: the nearest one below, if it is large enough (`dladdr`).
pub(super) fn symbol_at(object: &Object, address: Address) -> Option<(u32, Symbol)> {
    let mut best: Option<(u32, Symbol)> = None;
    for (index, symbol) in object.symbols.iter() {
        let start = object.address(symbol.vaddr());
        let usable = symbol.value != 0 && symbol.has_linkable_type() && symbol.has_linkable_binding();
        if usable && start <= address && best.is_none_or(|(_, best)| object.address(best.vaddr()) < start) {
            best = Some((index, symbol));
            if start == address {
                break;
            }
        }
    }
    // A symbol of size zero covers everything behind it, as musl's arithmetic has it.
    let covers = |(_, symbol): &(u32, Symbol)| {
        address.0 - object.address(symbol.vaddr()).0 <= symbol.size.wrapping_sub(1)
    };
    best.filter(covers)
}
