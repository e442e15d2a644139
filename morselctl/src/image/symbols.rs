//! The names in an image, for debuggers and profilers: the functions and objects of all libraries, and the build IDs by which their
//! debug information is found. They are in the file behind everything else, and never mapped.

use std::collections::HashMap;

use goblin::elf64::section_header::{SHN_ABS, SHN_UNDEF};
use goblin::elf64::sym::{STB_LOCAL, STT_FILE, STT_FUNC, STT_GNU_IFUNC, STT_OBJECT, Sym};
use object::LittleEndian as LE;
use object::Object as _;
use object::elf::FileHeader64;
use object::read::elf::{ElfFile, Sym as _};

use super::library::Library;

/// What a library's file says for tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    symbols: Vec<Name>,
    /// Its GNU build ID; empty if it has none.
    pub build_id: Vec<u8>,
}

/// A function or an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    value: u64,
    text: Vec<u8>,
    size: u64,
    info: u8,
}

impl Names {
    /// Those of a file. What a loader does not need may be damaged: then there are none.
    pub fn read(bytes: &[u8]) -> Self {
        let Ok(file) = ElfFile::<FileHeader64<LE>>::parse(bytes) else { return Self::default() };
        let mut symbols: Vec<Name> = Vec::new();
        for table in [file.elf_symbol_table(), file.elf_dynamic_symbol_table()] {
            symbols.extend(table.iter().filter_map(|symbol| {
                let text = table.symbol_name(LE, symbol).ok().filter(|text| !text.is_empty())?;
                let section = u32::from(symbol.st_shndx(LE));
                let named = matches!(symbol.st_type(), STT_FUNC | STT_OBJECT | STT_GNU_IFUNC);
                let placed = section != SHN_UNDEF && section != SHN_ABS;
                let (value, size) = (symbol.st_value(LE), symbol.st_size(LE));
                (named && placed).then(|| Name { value, text: text.to_vec(), size, info: symbol.st_info() })
            }));
        }
        symbols.sort_unstable();
        symbols.dedup_by(|a, b| (a.value, &a.text) == (b.value, &b.text));
        let build_id = file.build_id().ok().flatten().unwrap_or_default().to_vec();
        Self { symbols, build_id }
    }
}

/// A symbol table, and the names in it.
pub struct SymbolTable {
    /// In the order that ELF demands: local ones first.
    pub symbols: Vec<Sym>,
    /// How many are local.
    pub locals: usize,
    /// The names.
    pub strings: Vec<u8>,
}

impl SymbolTable {
    /// All symbols of libraries in an image at `base`. A name that several libraries define is local in each, below the library's own
    /// name. `section` says in which section a place of the image is.
    pub fn new(base: u64, libraries: &[Library], section: impl Fn(u64) -> Option<u16>) -> Self {
        let mut definers: HashMap<&[u8], usize> = HashMap::new();
        let used = || libraries.iter().filter(|library| !library.units.is_empty());
        for library in used() {
            let mut texts: Vec<&[u8]> = global(library).map(|name| &name.text[..]).collect();
            texts.sort_unstable();
            texts.dedup();
            texts.into_iter().for_each(|text| *definers.entry(text).or_default() += 1);
        }
        let mut table = Self { symbols: vec![Sym::default()], locals: 0, strings: vec![0] };
        let mut globals = Vec::new();
        for library in used() {
            let file = Sym { st_info: STT_FILE, st_shndx: SHN_ABS as u16, ..Sym::default() };
            table.add(file, library.name.to_bytes());
            for name in &library.names.symbols {
                let place = name.value.wrapping_add(library.place);
                let Some(section) = section(place) else { continue };
                let symbol = Sym {
                    st_info: name.info,
                    st_shndx: section,
                    st_value: base.wrapping_add(place),
                    st_size: name.size,
                    ..Sym::default()
                };
                let alone = definers.get(&name.text[..]) == Some(&1);
                match name.info >> 4 {
                    STB_LOCAL => table.add(symbol, &name.text),
                    _ if alone => globals.push((symbol, &name.text)),
                    _ => table.add(Sym { st_info: name.info & 0xf, ..symbol }, &name.text),
                }
            }
        }
        table.locals = table.symbols.len();
        globals.into_iter().for_each(|(symbol, text)| table.add(symbol, text));
        table
    }

    fn add(&mut self, symbol: Sym, name: &[u8]) {
        let st_name = self.strings.len() as u32;
        self.strings.extend_from_slice(name);
        self.strings.push(0);
        self.symbols.push(Sym { st_name, ..symbol });
    }
}

fn global(library: &Library) -> impl Iterator<Item = &Name> {
    library.names.symbols.iter().filter(|name| name.info >> 4 != STB_LOCAL)
}
