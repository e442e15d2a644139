//! Programs that need nothing but libc. musl's own loader, which a fused file holds, does all for them that this one would, and
//! they have no way back to a loader: so libc is started as if the kernel had done it, with nothing in between.
//!
//! Only where libc is in the interpreter's own file, which is where debuggers look for it. Whatever musl would not do, or not
//! refuse, as this loader does it is ruled out first; where there is a doubt, the start goes the usual way.

use alloc::boxed::Box;
use alloc::vec::Vec;

use goblin::elf64::reloc::SIZEOF_RELA;

use crate::bind;
use crate::discover::search;
use crate::elf::{Address, Relocation, RelocationTable, SymbolName};
use crate::program::{Object, Origin};
use crate::relocate::{self, Slots};

/// With more relocations than that, this loader is the faster one, and reading them twice costs too much.
const FEW: u64 = 64;

/// Where to enter libc, if that is all that is left to do for the program; `fused` is the libc in the interpreter's file.
pub fn libc_entry(program: &Object, fused: impl FnOnce() -> Option<Box<Object>>) -> Option<Address> {
    let imports = imports(program)?;
    let libc = fused()?;
    let found = |import: &Import| {
        let defines = |object| bind::definition_of(object, &import.name).is_some();
        import.is_weak || defines(&libc) || (!import.is_copy && defines(program))
    };
    imports.iter().all(found).then_some(libc.entry)
}

/// A symbol that one of the program's relocations names.
struct Import {
    name: SymbolName<'static>,
    /// Nobody need define it.
    is_weak: bool,
    /// What the program itself defines does not count.
    is_copy: bool,
}

/// What the program needs of libc; `None` if it needs anything else.
fn imports(program: &Object) -> Option<Vec<Import>> {
    let dynamic = &program.dynamic;
    let is_libc =
        |&name: &u64| program.symbols.string(name).is_some_and(|name| search::is_libc(name.to_bytes()));
    let tables = [(dynamic.jmprel, "DT_JMPREL"), (dynamic.rela, "DT_RELA")];
    let size = tables.iter().fold(0_u64, |sum, (table, _)| sum.saturating_add(table.size));
    // Not every musl knows DT_RELR.
    let usual = program.origin == Origin::Kernel
        && dynamic.rel.size == 0
        && dynamic.relr.size == 0
        && (dynamic.jmprel.size == 0 || dynamic.jmprel_has_addends)
        && !dynamic.text_relocations;
    if !usual || size > FEW * SIZEOF_RELA as u64 || !dynamic.needed.iter().all(is_libc) {
        return None;
    }
    let mut slots = Slots::of(program);
    let (mut imports, mut all_usual) = (Vec::new(), true);
    for (table, what) in tables {
        let table = RelocationTable::parse(&program.view, table, true, what).ok()?;
        table.for_each(|relocation| {
            all_usual &= take(program, relocation, &mut slots, &mut imports).is_some()
        });
    }
    all_usual.then_some(imports)
}

/// Adds what a relocation needs to `imports`; `None` if that is something out of the ordinary.
fn take(
    program: &Object,
    relocation: &Relocation,
    slots: &mut Slots,
    imports: &mut Vec<Import>,
) -> Option<()> {
    let is_copy = relocate::is_copy(relocation.kind);
    let mut size = size_of::<u64>() as u64;
    if relocation.symbol != 0 {
        let symbol = program.symbols.get(relocation.symbol).filter(|symbol| !symbol.is_ifunc())?;
        if is_copy {
            size = symbol.size;
        }
        if !symbol.is_local() {
            let name = program.symbols.name_of(&symbol).filter(|name| !leads_to_loader(name.bytes()))?;
            imports.push(Import { name, is_weak: symbol.is_weak() && !symbol.is_defined(), is_copy });
        }
    }
    slots.address(relocation.slot, size).filter(|_| relocate::is_ordinary(relocation.kind)).map(drop)
}

/// Whether somebody who uses this symbol may have the loader at work later, or see what it has done: whatever begins as its functions do.
fn leads_to_loader(name: &[u8]) -> bool {
    name.starts_with(b"dl") || name.starts_with(b"_dl") || name == b"__tls_get_addr"
}
