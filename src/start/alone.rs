//! Programs that need nothing but libc. musl's own loader, which every libc of musl's is, does all for them that this one would,
//! and they have no way back to a loader: so they are left to it (see [`leave`](super::leave)).
//!
//! Whatever musl would not do, or not refuse, as this loader does it is ruled out first; where there is a doubt, the start goes
//! the usual way. This comes before everything else, and before the loader has memory of its own, which a program that is left to
//! libc does not pay for: nothing here may be written to, allocated, or found by an address in a table, which the link editor
//! leaves to relocation. A check of the binary sees to that (`xtask`).

use core::ffi::CStr;

use linux_raw_sys::auxvec::{AT_BASE, AT_ENTRY, AT_PHDR, AT_PHNUM};

use goblin::elf64::reloc::SIZEOF_RELA;

use crate::config;
use crate::discover::search;
use crate::elf::{Address, Anatomy, LoadBias, Relocation, RelocationTable};
use crate::host::OwnFile;
use crate::map::adopt;
use crate::relocate::{self, Slots};

use super::stack::{InitialStack, Unmeasured};

/// Looking at more relocations than that would cost what is to be saved.
const FEW: u64 = 256;

/// A program that can be left to libc.
#[derive(Clone, Copy, Debug)]
pub struct Alone {
    /// The interpreter that it names.
    pub interpreter: &'static CStr,
    /// Where it begins.
    pub entry: Address,
    /// Where its `DT_DEBUG` is.
    pub debug: Option<Address>,
}

/// The program that the kernel started, if libc can do what is to be done for it.
///
/// # Safety
/// `stack` is the initial stack of the process, `own` the file that we are in.
#[inline(never)]
pub unsafe fn find(stack: *mut u64, own: OwnFile) -> Option<Alone> {
    // SAFETY: passed on to the caller.
    let stack = unsafe { InitialStack::new(stack) };
    // It is called by its own name otherwise.
    let is_interpreter = stack.auxiliary_value(AT_BASE) == Some(own.start.0);
    if !is_interpreter || stack.variables().any(concerns_us) {
        return None;
    }
    let headers = Address(stack.auxiliary_value(AT_PHDR)?);
    let count = u16::try_from(stack.auxiliary_value(AT_PHNUM)?).ok()?;
    let mut program = Anatomy::unread();
    // SAFETY: passed on to the caller; the kernel has mapped the program.
    let bias = unsafe { adopt::read_small_program(&mut program, (headers, count)) }?;
    let entry = Address(stack.auxiliary_value(AT_ENTRY)?);
    let interpreter = program.segments.interpreter_in(&program.view)?;
    let segments = &program.segments;
    // musl has no other way to know where it is.
    let is_found = segments.phdr.is_some() || bias == LoadBias(0);
    let fits = is_found && segments.is_code(bias.unapply(entry)) && needs_libc_only(&program, bias);
    fits.then(|| Alone { entry, interpreter, debug: program.dynamic.debug.map(|slot| bias.apply(slot)) })
}

/// Whether an entry of the environment bears on a program without libraries.
fn concerns_us(entry: Unmeasured) -> bool {
    let Some(rest) = entry.without(config::PREFIX) else { return false };
    let Some(rest) = rest.without(b"MORSEL_") else { return rest.without(b"PRELOAD=").is_some() };
    // An image that may be used would not make it faster.
    let place = rest.without(b"IMAGE=");
    !place.is_some_and(|place| place.is(b"off") || place.is(b"auto") || place.without(b"/").is_some())
}

/// Whether libc is all that a program needs, and it needs nothing of libc that this loader has in its stead. That libc has
/// it all is for libc to find out: it would say so in the same words.
fn needs_libc_only(program: &Anatomy<'static>, bias: LoadBias) -> bool {
    let dynamic = &program.dynamic;
    let is_libc = |&name: &u64| {
        let name = program.symbols.string(name);
        // What belongs to glibc is told in this loader's words.
        name.is_some_and(|name| name != c"libc.so.6" && search::is_libc(name.to_bytes()))
    };
    let tables = [(dynamic.jmprel, "DT_JMPREL"), (dynamic.rela, "DT_RELA")];
    let size = tables.iter().fold(0_u64, |sum, (table, _)| sum.saturating_add(table.size));
    let are_whole = tables.iter().all(|(table, _)| table.size.is_multiple_of(SIZEOF_RELA as u64));
    // Not every musl knows DT_RELR.
    let usual = are_whole
        && dynamic.rel.size == 0
        && dynamic.relr.size == 0
        && (dynamic.jmprel.size == 0 || dynamic.jmprel_has_addends)
        && !dynamic.text_relocations;
    if !usual || size > FEW * SIZEOF_RELA as u64 || !dynamic.needed.iter().all(is_libc) {
        return false;
    }
    let mut slots = Slots::among(&program.segments, false, bias);
    let mut all_usual = true;
    for (table, what) in tables {
        let Ok(table) = RelocationTable::parse(&program.view, table, true, what) else { return false };
        table.for_each(|relocation| all_usual &= is_usual(program, relocation, &mut slots).is_some());
    }
    all_usual
}

/// `None` if a relocation is out of the ordinary.
fn is_usual(program: &Anatomy<'static>, relocation: &Relocation, slots: &mut Slots) -> Option<()> {
    let mut size = size_of::<u64>() as u64;
    if relocation.symbol != 0 {
        let symbol = program.symbols.get(relocation.symbol).filter(|symbol| !symbol.is_ifunc())?;
        if relocate::is_copy(relocation.kind) {
            size = symbol.size;
        }
        if !symbol.is_local() {
            program.symbols.name_of(&symbol).filter(|name| !leads_to_loader(name.bytes()))?;
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

    use goblin::elf64::dynamic::{DF_TEXTREL, DT_FLAGS, DT_RELA, DT_RELASZ};
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
        let file = FileIdentity { device: 0, inode: 0 };
        let object = object::load(program, c"test", file).expect("a valid library");
        needs_libc_only(&object, object.mapping.bias)
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
        // That this is not there libc itself tells.
        assert!(is_left_to_libc(&with(reference("nowhere"), R_X86_64_JUMP_SLOT)));
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
        let glibc = Library { needed: vec![b"libc.so.6".to_vec()], ..usual() };
        assert!(!is_left_to_libc(&glibc));
    }

    #[test]
    fn what_the_user_wants_of_the_loader_is_minded() {
        for entry in [
            c"LD_PRELOAD=libx.so",
            c"LD_MORSEL_STATS=-",
            c"LD_MORSEL_LIBC=/x",
            c"LD_MORSEL_IMAGE=require:/x/",
            c"LD_MORSEL_IMAGE=require",
            c"LD_MORSEL_IMAGE=nonsense",
        ] {
            assert!(concerns_us(entry.into()), "{entry:?}");
        }
        for entry in [
            c"LD_LIBRARY_PATH=/x",
            c"LD_MORSEL_IMAGE=off",
            c"LD_MORSEL_IMAGE=auto",
            c"LD_MORSEL_IMAGE=/x/",
            c"LD_DEBUG=all",
            c"LD_BIND_NOW=1",
        ] {
            assert!(!concerns_us(entry.into()), "{entry:?}");
        }
    }

    #[test]
    fn one_with_what_musl_does_not_carry_out_is_not() {
        assert!(!is_left_to_libc(&with(reference("write"), R_X86_64_IRELATIVE)));
        assert!(!is_left_to_libc(&Library { relr: vec![0], ..usual() }));
        assert!(!is_left_to_libc(&Library { dynamic: vec![[DT_FLAGS, DF_TEXTREL]], ..usual() }));
        let partial = vec![[DT_RELA, CODE], [DT_RELASZ, 1]];
        assert!(!is_left_to_libc(&Library { rela: vec![], dynamic: partial, ..usual() }));
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
