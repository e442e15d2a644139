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

/// Looking at more relocations than that would cost what is to be saved.
const FEW: u64 = 256;

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

/// Whether it is, by its looks, one of the functions by which a program comes back to its loader.
fn leads_to_loader(name: &[u8]) -> bool {
    name.starts_with(b"dl") || name.starts_with(b"_dl") || name == b"__tls_get_addr"
}

#[cfg(test)]
mod tests {
    use std::vec;

    use goblin::elf64::dynamic::{DF_TEXTREL, DT_FLAGS};
    use goblin::elf64::reloc::{R_X86_64_COPY, R_X86_64_IRELATIVE, R_X86_64_JUMP_SLOT, R_X86_64_RELATIVE};

    use super::*;
    use crate::elf::tests::builder::{CODE, Library, SymbolSpec};
    use crate::elf::tests::object;
    use crate::sys::FileIdentity;

    /// A program that calls `write` and relocates a word.
    fn usual() -> Library {
        Library {
            needed: vec![b"libc.so".to_vec(), b"libm.so.6".to_vec()],
            symbols: vec![SymbolSpec::function("write").undefined().at(0)],
            jmprel: vec![[0, 1 << 32 | u64::from(R_X86_64_JUMP_SLOT), 0]],
            rela: vec![[8, u64::from(R_X86_64_RELATIVE), CODE]],
            ..Library::default()
        }
    }

    fn is_left_to_libc(program: &Library) -> bool {
        let load = |library: &Library| {
            object::load(library, c"test", FileIdentity { device: 0, inode: 0 }).expect("a valid library")
        };
        let mut program = load(program);
        program.origin = Origin::Kernel;
        let names = ["write", "environ", "dlopen", "dl_iterate_phdr", "__tls_get_addr"];
        let libc = Library::defining(names.map(SymbolSpec::function));
        libc_entry(&program, || Some(load(&libc))).is_some()
    }

    /// The usual program with another symbol, and a relocation of this kind that names it.
    fn with(symbol: SymbolSpec, kind: u32) -> Library {
        let mut program = usual();
        // Link editors put what is not defined first.
        program.symbols.insert(0, symbol);
        program.jmprel =
            vec![[0, 2 << 32 | u64::from(R_X86_64_JUMP_SLOT), 0], [16, 1 << 32 | u64::from(kind), 0]];
        program
    }

    fn reference(name: &str) -> SymbolSpec {
        SymbolSpec::function(name).undefined().at(0)
    }

    #[test]
    fn a_usual_program_is_left_to_libc() {
        assert!(is_left_to_libc(&usual()));
        assert!(is_left_to_libc(&with(reference("environ"), R_X86_64_COPY)));
        assert!(is_left_to_libc(&with(reference("nowhere").weak(), R_X86_64_JUMP_SLOT)));
    }

    #[test]
    fn one_that_may_come_back_to_the_loader_is_not() {
        for name in ["dlopen", "dl_iterate_phdr", "__tls_get_addr"] {
            assert!(!is_left_to_libc(&with(reference(name), R_X86_64_JUMP_SLOT)), "{name}");
            assert!(!is_left_to_libc(&with(reference(name).weak(), R_X86_64_JUMP_SLOT)), "{name}");
        }
    }

    #[test]
    fn one_that_needs_more_than_libc_is_not() {
        let other = Library { needed: vec![b"libc.so".to_vec(), b"libz.so".to_vec()], ..usual() };
        assert!(!is_left_to_libc(&other));
        assert!(!is_left_to_libc(&with(reference("nowhere"), R_X86_64_JUMP_SLOT)));
    }

    #[test]
    fn one_with_what_musl_does_not_carry_out_is_not() {
        assert!(!is_left_to_libc(&with(reference("write"), R_X86_64_IRELATIVE)));
        assert!(!is_left_to_libc(&Library { relr: vec![0], ..usual() }));
        assert!(!is_left_to_libc(&Library { dynamic: vec![[DT_FLAGS, DF_TEXTREL]], ..usual() }));
        let mut indirect = usual();
        indirect.symbols.push(SymbolSpec::indirect("own"));
        indirect.rela = vec![[8, 2 << 32 | u64::from(R_X86_64_JUMP_SLOT), 0]];
        assert!(!is_left_to_libc(&indirect));
    }

    #[test]
    fn one_with_a_corrupt_relocation_is_not() {
        assert!(!is_left_to_libc(&Library {
            rela: vec![[1 << 40, u64::from(R_X86_64_RELATIVE), 0]],
            ..usual()
        }));
        assert!(!is_left_to_libc(&Library {
            rela: vec![[8, 99 << 32 | u64::from(R_X86_64_JUMP_SLOT), 0]],
            ..usual()
        }));
    }

    #[test]
    fn one_with_many_relocations_is_not() {
        let many = |count| Library { rela: vec![[8, u64::from(R_X86_64_RELATIVE), CODE]; count], ..usual() };
        assert!(is_left_to_libc(&many(FEW as usize - 1)));
        assert!(!is_left_to_libc(&many(FEW as usize)));
    }
}
