//! The synthetic object: everything that libc's own loader must see of our program, and nothing else.
//!
//! It has no `PT_PHDR`, so musl takes its base to be 0 and every address in it is absolute. Its own `PT_LOAD` is
//! read-only, so that musl gives nothing of it to malloc. The unused ends of the real objects' writable pages, which musl
//! does give to malloc (`reclaim_gaps`), are offered by writable `PT_LOAD`s that end (or begin) where these begin (or end).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use goblin::elf64::dynamic::{
    DT_DEBUG, DT_FINI, DT_HASH, DT_INIT, DT_NEEDED, DT_NULL, DT_RELA, DT_RELASZ, DT_STRSZ, DT_STRTAB,
    DT_SYMENT, DT_SYMTAB, Dyn,
};
use goblin::elf64::program_header::{PF_R, PF_W, PT_DYNAMIC, PT_GNU_STACK, PT_LOAD, PT_TLS, ProgramHeader};
use goblin::elf64::reloc::{R_X86_64_COPY, Rela};
use goblin::elf64::sym::{STB_GLOBAL, STT_OBJECT, Sym};

use crate::bind::{Definition, Scope};
use crate::elf::{Address, PAGE_SIZE, RelocationTable, SymbolName, page_down};
use crate::program::Object;
use crate::relocate::LibcCopy;
use crate::tls::StaticTls;

/// A symbol that the synthetic object exports to libc.
struct Export {
    name: &'static [u8],
    address: u64,
    size: u64,
    info: u8,
}

/// The definitions that libc must bind to instead of its own: for each symbol that libc's relocations name, the one
/// that comes before libc in the program's scope. `malloc` and `aligned_alloc` are asked about in any case: libc looks
/// them up to learn whether they have been replaced (`__malloc_replaced`).
pub fn exports(libc: &Object, scope: &Scope) -> Vec<(SymbolName<'static>, Definition)> {
    let mut names: Vec<SymbolName<'static>> = [&b"malloc"[..], b"aligned_alloc"].map(SymbolName::new).into();
    let dynamic = &libc.dynamic;
    let tables = [(dynamic.jmprel, dynamic.jmprel_has_addends), (dynamic.rel, false), (dynamic.rela, true)];
    for (table, has_addends) in tables {
        let Ok(table) = RelocationTable::parse(&libc.view, table, has_addends, "libc") else { continue };
        table.for_each(|relocation| {
            if relocation.symbol == 0 {
                return;
            }
            let symbol = libc.symbols.get(relocation.symbol);
            if let Some(name) = symbol.and_then(|symbol| libc.symbols.name_of(&symbol))
                && !names.iter().any(|known| known.bytes() == name.bytes())
            {
                names.push(name);
            }
        });
    }
    names.into_iter().filter_map(|name| Some((name, scope.find_before_libc(&name)?))).collect()
}

/// The merged image of static thread-local storage.
pub struct MergedTls {
    /// Its size and alignment.
    pub layout: &'static StaticTls,
    /// Where it is, aligned as the layout says.
    pub image: Address,
    /// How many of them, from the start, are not all zero.
    pub initialised: u64,
}

/// The synthetic object's parts. They live as long as the process: libc keeps them in its list.
pub struct Synthetic {
    headers: Vec<ProgramHeader>,
}

impl Synthetic {
    /// Builds the object. `initialize` and `finalize` are called where the program's constructors and destructors
    /// belong.
    pub fn new(
        interposed: &[(SymbolName<'static>, Definition)],
        copies: &[LibcCopy],
        stack_size: u64,
        tls: MergedTls,
        unused: impl Iterator<Item = Range<Address>>,
        initialize: extern "C" fn(),
        finalize: extern "C" fn(),
    ) -> &'static Self {
        let exports = all_exports(interposed, copies);
        let symbols = Symbols::new(&exports);
        let relocations: Vec<Rela> = copies
            .iter()
            .map(|copy| {
                let index = exports.iter().position(|export| export.name == copy.name.bytes());
                let symbol = index.map_or(0, |index| index as u64 + 1);
                Rela { r_offset: copy.slot.0, r_info: symbol << 32 | u64::from(R_X86_64_COPY), r_addend: 0 }
            })
            .collect();
        let relocations = relocations.leak();
        let dynamic = [
            (DT_NEEDED, symbols.libc_name),
            (DT_HASH, symbols.hash),
            (DT_STRTAB, symbols.strings),
            (DT_STRSZ, symbols.strings_size),
            (DT_SYMTAB, symbols.table),
            (DT_SYMENT, size_of::<Sym>() as u64),
            (DT_RELA, relocations.as_ptr() as u64),
            (DT_RELASZ, size_of_val(relocations) as u64),
            (DT_INIT, initialize as *const () as u64),
            (DT_FINI, finalize as *const () as u64),
            (DT_DEBUG, 0),
            (DT_NULL, 0),
        ];
        let dynamic = dynamic.map(|(d_tag, d_val)| Dyn { d_tag, d_val });
        let dynamic = Box::leak(Box::new(dynamic));
        let header = |p_type, address: u64, p_filesz, p_memsz, p_align| ProgramHeader {
            p_type,
            p_flags: PF_R,
            p_offset: 0,
            p_vaddr: address,
            p_paddr: address,
            p_filesz,
            p_memsz,
            p_align,
        };
        let dynamic_size = size_of_val(dynamic) as u64;
        let mut headers = vec![
            header(PT_LOAD, dynamic.as_ptr() as u64, dynamic_size, dynamic_size, 8),
            header(PT_DYNAMIC, dynamic.as_ptr() as u64, 0, size_of_val(dynamic) as u64, 8),
            header(PT_GNU_STACK, 0, 0, stack_size, 16),
            header(PT_TLS, tls.image.0, tls.initialised, tls.layout.size, tls.layout.align),
        ];
        headers.extend(unused.map(|gap| {
            // musl takes what a segment leaves of its first and last page. This one is all of the gap's page but the gap.
            let page = page_down(gap.start.0);
            let used = if gap.start.0 > page { page..gap.start.0 } else { gap.end.0..page + PAGE_SIZE };
            let segment = header(PT_LOAD, used.start, 0, used.end - used.start, PAGE_SIZE);
            ProgramHeader { p_flags: PF_R | PF_W, ..segment }
        }));
        Box::leak(Box::new(Self { headers }))
    }

    /// For `AT_PHDR`.
    pub fn program_headers(&self) -> Address {
        Address(self.headers.as_ptr() as u64)
    }

    /// For `AT_PHNUM`.
    pub fn program_header_count(&self) -> u64 {
        self.headers.len() as u64
    }
}

/// Interposed definitions, and the destinations of libc's copy relocations: libc itself must use the copy.
fn all_exports(interposed: &[(SymbolName<'static>, Definition)], copies: &[LibcCopy]) -> Vec<Export> {
    let interposed = interposed.iter().map(|(name, definition)| Export {
        name: name.bytes(),
        address: definition.address().0,
        size: definition.symbol.size,
        info: definition.symbol.info(),
    });
    let mut exports: Vec<Export> = interposed.collect();
    for copy in copies {
        match exports.iter_mut().find(|export| export.name == copy.name.bytes()) {
            // The program's definition *is* the copy.
            Some(export) => export.size = copy.size,
            None => exports.push(Export {
                name: copy.name.bytes(),
                address: copy.slot.0,
                size: copy.size,
                info: STB_GLOBAL << 4 | STT_OBJECT,
            }),
        }
    }
    exports
}

/// Symbol table, strings and hash table in memory: addresses for the dynamic section.
struct Symbols {
    table: u64,
    strings: u64,
    strings_size: u64,
    hash: u64,
    libc_name: u64,
}

impl Symbols {
    fn new(exports: &[Export]) -> Self {
        let mut strings = vec![0];
        let mut add = |text: &[u8]| {
            let offset = strings.len();
            strings.extend_from_slice(text);
            strings.push(0);
            offset as u64
        };
        let libc_name = add(b"libc.so");
        let mut table = vec![Sym::default()];
        for export in exports {
            table.push(Sym {
                st_name: add(export.name) as u32,
                st_info: export.info,
                st_other: 0,
                // Any section index but SHN_UNDEF makes it a definition.
                st_shndx: 1,
                st_value: export.address,
                st_size: export.size,
            });
        }
        // One bucket, whose chain visits every symbol (gABI chapter 5, "Hash Table").
        let count = table.len() as u32;
        let mut hash = vec![1, count, if count > 1 { 1 } else { 0 }, 0];
        hash.extend((1..count).map(|index| if index + 1 < count { index + 1 } else { 0 }));
        let strings = strings.leak();
        Self {
            table: table.leak().as_ptr() as u64,
            strings: strings.as_ptr() as u64,
            strings_size: strings.len() as u64,
            hash: hash.leak().as_ptr() as u64,
            libc_name,
        }
    }
}
