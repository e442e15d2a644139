//! Finding symbols and objects for `dlsym` and `dladdr`.

use alloc::vec;
use alloc::vec::Vec;

use crate::bind::{Accept, Definition};
use crate::elf::{Address, Symbol, SymbolName};
use crate::program::{Object, ObjectId, Program};
use crate::tls::{self, x86_64::thread_pointer};

use super::Process;

/// An object and everything it depends on, breadth first (`extend_bfs_deps`).
fn with_dependencies(program: &Program, root: ObjectId) -> Vec<ObjectId> {
    let mut seen = vec![false; program.objects().len()];
    seen[root.index()] = true;
    let mut order = vec![root];
    let mut next = 0;
    while let Some(&id) = order.get(next) {
        for &dependency in &program[id].dependencies {
            if !core::mem::replace(&mut seen[dependency.index()], true) {
                order.push(dependency);
            }
        }
        next += 1;
    }
    order
}

impl Process {
    /// What `dlsym` finds in an object and its dependencies. The loader's functions stand in for libc's.
    pub(super) fn find_from(&self, root: ObjectId, name: &SymbolName<'_>) -> Option<Definition> {
        let order = with_dependencies(&self.program, root);
        order.into_iter().find_map(|id| self.scope.find_in(self.with_stand_in(id), name))
    }

    /// What `dlsym(RTLD_NEXT)` finds: behind `caller` in load order.
    pub(super) fn find_after(&self, caller: ObjectId, name: &SymbolName<'_>) -> Option<Definition> {
        self.scope.find(name, Accept::AnyWithValue, caller.index() + 1)
    }

    /// libc is preceded by this loader wherever it is searched.
    fn with_stand_in(&self, id: ObjectId) -> core::ops::RangeInclusive<usize> {
        let first = if self.program.libc() == Some(id) { id.index().saturating_sub(1) } else { id.index() };
        first..=id.index()
    }

    /// Where a definition is for the calling thread.
    pub(super) fn value_of(&self, definition: &Definition) -> Address {
        if definition.symbol.is_tls() {
            let offset = tls::placement(&self.program, definition.object).offset;
            return Address(thread_pointer() - offset + definition.symbol.value);
        }
        if definition.symbol.is_ifunc() {
            // SAFETY: the symbol says that it is such a function, and everything is relocated.
            let resolver: extern "C" fn() -> u64 = unsafe { core::mem::transmute(definition.address().0) };
            return Address(resolver());
        }
        definition.address()
    }

    /// The object with a segment at `address` (`addr2dso`).
    pub(super) fn object_at(&self, address: Address) -> Option<(ObjectId, &Object)> {
        self.program.visible().find(|(_, object)| object.has_segment_at(address))
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
