//! Finding symbols and objects for `dlsym` and `dladdr`. No lock is needed: what they read only grows.

use crate::bind::{self, Accept, Definition, Entry, Lookup};
use crate::elf::{Address, Symbol, SymbolName};
use crate::program::Object;
use crate::sys::Errno;
use crate::tls::dynamic;
use crate::tls::x86_64::thread_pointer;

use super::{LinkMap, Process};

impl Process {
    /// What `dlsym(RTLD_DEFAULT)` finds.
    pub(super) fn find_global(&self, name: &SymbolName<'_>) -> Option<Definition> {
        Lookup { global: &self.scope, local: None }.find(name, Accept::AnyWithValue)
    }

    /// What `dlsym(RTLD_NEXT)` finds: in the object behind the caller's in load order, and if that is global, in what follows
    /// it in the global scope.
    pub(super) fn find_next(&self, caller: Option<&LinkMap>, name: &SymbolName<'_>) -> Option<Definition> {
        let mut maps = self.debug.maps();
        let caller = caller.or_else(|| maps.next())?;
        let next = self.debug.maps().skip_while(|map| map.id() != caller.id()).nth(1)?;
        if self.scope.contains(next.id()) {
            return self.scope.find_from(next.id(), name);
        }
        bind::find_in(&[Entry::new(next.id(), next.object())], name, Accept::AnyWithValue)
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

    /// The object with a segment at `address` (`addr2dso`).
    pub(super) fn object_at(&self, address: Address) -> Option<&'static LinkMap> {
        self.debug.maps().find(|map| map.object().has_segment_at(address))
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
pub(super) fn symbol_at(object: &Object, address: Address) -> Option<Symbol> {
    let mut best: Option<Symbol> = None;
    for symbol in object.symbols.iter() {
        let start = object.address(symbol.vaddr());
        let usable = symbol.value != 0 && symbol.has_linkable_type() && symbol.has_linkable_binding();
        if usable && start <= address && best.is_none_or(|best| object.address(best.vaddr()) < start) {
            best = Some(symbol);
            if start == address {
                break;
            }
        }
    }
    // A symbol of size zero covers everything behind it, as musl's arithmetic has it.
    let covers =
        |symbol: &Symbol| address.0 - object.address(symbol.vaddr()).0 <= symbol.size.wrapping_sub(1);
    best.filter(covers)
}
