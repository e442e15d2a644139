//! A link editor for tests: makes small, valid shared objects in memory, whose every part a test can choose and then
//! spoil. Addresses are file offsets, so that an image of the file is an image of the object.

use core::ops::Range;
use std::vec;
use std::vec::Vec;

use goblin::elf64::dynamic::{
    DT_GNU_HASH, DT_HASH, DT_INIT, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, DT_JMPREL, DT_NEEDED, DT_NULL, DT_PLTREL,
    DT_PLTRELSZ, DT_RELA, DT_RELASZ, DT_RPATH, DT_RUNPATH, DT_STRTAB, DT_SYMTAB, DT_VERSYM,
};
use goblin::elf64::header::{EM_X86_64, ET_DYN};
use goblin::elf64::program_header::{
    PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_RELRO, PT_GNU_STACK, PT_LOAD, PT_TLS,
};
use goblin::elf64::sym::{STB_GLOBAL, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_OBJECT, STT_TLS};

use crate::elf::{PAGE_SIZE, page_up};

/// `DT_RELRSZ` and `DT_RELR`, which goblin lacks.
pub const DT_RELRSZ: u64 = 35;
/// See [`DT_RELRSZ`].
pub const DT_RELR: u64 = 36;

/// Where code may be said to be: 64 bytes in the executable segment.
pub const CODE: u64 = 0x300;
/// Where the program headers are.
pub const PROGRAM_HEADERS: u64 = 64;
const TABLES: u64 = CODE + 64;
/// Bytes of the writable segment behind the dynamic section's page: slots for relocations, then the TLS image.
const DATA_SIZE: u64 = 0x200;
const BSS_SIZE: u64 = 0x1800;

/// Which hash tables an object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashStyle {
    /// `DT_GNU_HASH`
    Gnu,
    /// `DT_HASH`, whose chains lead from one symbol to the next
    Sysv,
    /// `DT_HASH`, whose chains lead back, as GNU ld makes them
    SysvBackwards,
    /// Both
    Both,
}

/// A symbol to be.
#[derive(Clone, Debug)]
pub struct SymbolSpec {
    /// Its name.
    pub name: Vec<u8>,
    /// `st_value`
    pub value: u64,
    /// `st_info`
    pub info: u8,
    /// `st_shndx`
    pub section: u16,
    /// Its version is hidden.
    pub hidden: bool,
}

impl SymbolSpec {
    fn new(name: impl AsRef<[u8]>, kind: u8) -> Self {
        let name = name.as_ref().to_vec();
        Self { name, value: CODE, info: STB_GLOBAL << 4 | kind, section: 1, hidden: false }
    }

    /// A global function.
    pub fn function(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, STT_FUNC)
    }

    /// A global variable.
    pub fn object(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, STT_OBJECT)
    }

    /// A thread-local variable at offset 0.
    pub fn thread_local(name: impl AsRef<[u8]>) -> Self {
        Self { value: 0, ..Self::new(name, STT_TLS) }
    }

    /// An indirect function.
    pub fn indirect(name: impl AsRef<[u8]>) -> Self {
        Self::new(name, STT_GNU_IFUNC)
    }

    /// A reference instead of a definition; the value stays.
    pub fn undefined(self) -> Self {
        Self { section: 0, ..self }
    }

    /// Weak instead of global.
    pub fn weak(self) -> Self {
        self.bound(STB_WEAK)
    }

    /// With another binding.
    pub fn bound(self, binding: u8) -> Self {
        Self { info: binding << 4 | self.info & 0xf, ..self }
    }

    /// With another value.
    pub fn at(self, value: u64) -> Self {
        Self { value, ..self }
    }

    /// Of a version that is not the default one.
    pub fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    /// Link editors leave references out of the GNU table, unless they have a value that others are to use.
    fn is_in_gnu_table(&self) -> bool {
        self.section != 0 || self.value != 0
    }
}

/// A shared object to be. Everything is optional.
#[derive(Clone, Debug)]
pub struct Library {
    /// Its hash tables.
    pub hash: HashStyle,
    /// Its symbols; the first one of the file, which has no name, comes by itself.
    pub symbols: Vec<SymbolSpec>,
    /// `DT_NEEDED`
    pub needed: Vec<Vec<u8>>,
    /// `DT_RPATH`
    pub rpath: Option<Vec<u8>>,
    /// `DT_RUNPATH`
    pub runpath: Option<Vec<u8>>,
    /// `r_offset` (from the start of the data), `r_info` and `r_addend` of `DT_RELA`.
    pub rela: Vec<[u64; 3]>,
    /// The same of `DT_JMPREL`.
    pub jmprel: Vec<[u64; 3]>,
    /// `DT_RELR`, each address from the start of the data.
    pub relr: Vec<u64>,
    /// The alignment of a `PT_TLS` of 16 bytes, half of them initialised.
    pub tls: Option<u64>,
    /// A `PT_GNU_RELRO` over the dynamic section's page.
    pub relro: bool,
    /// More dynamic entries, before the others.
    pub dynamic: Vec<[u64; 2]>,
}

impl Default for Library {
    fn default() -> Self {
        Self {
            hash: HashStyle::Gnu,
            symbols: Vec::new(),
            needed: Vec::new(),
            rpath: None,
            runpath: None,
            rela: Vec::new(),
            jmprel: Vec::new(),
            relr: Vec::new(),
            tls: None,
            relro: false,
            dynamic: Vec::new(),
        }
    }
}

/// The finished file.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Bytes of memory that it takes.
    pub memory_size: u64,
    /// Where symbols, hash tables, strings and relocations are.
    pub tables: Range<u64>,
    /// Where the dynamic section is: at the start of the writable segment.
    pub dynamic: Range<u64>,
    /// Where the data is.
    pub data: u64,
}

impl Library {
    /// A library that defines these symbols.
    pub fn defining(symbols: impl IntoIterator<Item = SymbolSpec>) -> Self {
        Self { symbols: symbols.into_iter().collect(), ..Self::default() }
    }

    /// A library with everything that the builder knows.
    pub fn complete(hash: HashStyle) -> Self {
        let names = [&b"alpha"[..], b"beta", b"gamma", b"delta", b"a_rather_long_name_of_a_symbol"];
        let mut symbols: Vec<SymbolSpec> = names.into_iter().map(SymbolSpec::function).collect();
        symbols.push(SymbolSpec::object("variable").weak());
        symbols.push(SymbolSpec::thread_local("thread_local"));
        symbols.push(SymbolSpec::indirect("indirect"));
        symbols.push(SymbolSpec::function("old").hidden());
        symbols.push(SymbolSpec::function("reference").undefined().at(0));
        Self {
            hash,
            symbols,
            needed: vec![b"libfirst.so".to_vec(), b"libsecond.so".to_vec()],
            rpath: Some(b"/old".to_vec()),
            runpath: Some(b"$ORIGIN/../lib".to_vec()),
            rela: vec![[0, 8, CODE], [8, 1 << 32 | 6, 0]],
            jmprel: vec![[16, 2 << 32 | 7, 0]],
            relr: vec![24, 0b1011],
            tls: Some(8),
            relro: true,
            dynamic: vec![[DT_INIT, CODE]],
        }
    }

    /// Lays everything out.
    pub fn build(&self) -> Built {
        let mut symbols: Vec<&SymbolSpec> = self.symbols.iter().collect();
        // The GNU table needs its symbols last, and sorted by bucket.
        let buckets = symbols.len().div_ceil(2).max(1) as u32;
        symbols.sort_by_key(|symbol| (symbol.is_in_gnu_table(), gnu_hash(&symbol.name) % buckets));
        let mut file = vec![0; TABLES as usize];
        let mut strings = vec![0];
        let mut add_string = |string: &[u8]| {
            let offset = strings.len() as u64;
            strings.extend_from_slice(string);
            strings.push(0);
            offset
        };
        let mut dynamic = self.dynamic.clone();
        dynamic.extend(self.needed.iter().map(|name| [DT_NEEDED, add_string(name)]));
        dynamic.extend(self.rpath.iter().map(|path| [DT_RPATH, add_string(path)]));
        dynamic.extend(self.runpath.iter().map(|path| [DT_RUNPATH, add_string(path)]));

        let mut add_table = |tag: u64, bytes: &[u8]| {
            file.resize(file.len().next_multiple_of(8), 0);
            dynamic.push([tag, file.len() as u64]);
            file.extend_from_slice(bytes);
        };
        let mut symtab = vec![0; 24];
        for symbol in &symbols {
            symtab.extend((add_string(&symbol.name) as u32).to_le_bytes());
            symtab.extend([symbol.info, 0]);
            symtab.extend(symbol.section.to_le_bytes());
            symtab.extend(words(&[symbol.value, 8]));
        }
        add_table(DT_SYMTAB, &symtab);
        if matches!(self.hash, HashStyle::Gnu | HashStyle::Both) {
            add_table(DT_GNU_HASH, &gnu_table(&symbols, buckets));
        }
        match self.hash {
            HashStyle::Gnu => {}
            HashStyle::Sysv | HashStyle::Both => {
                add_table(DT_HASH, &sysv_table(&symbols, (0..symbols.len()).rev(), buckets));
            }
            HashStyle::SysvBackwards => {
                add_table(DT_HASH, &sysv_table(&symbols, 0..symbols.len(), buckets));
            }
        }
        if symbols.iter().any(|symbol| symbol.hidden) {
            let version = |symbol: &&SymbolSpec| if symbol.hidden { 0x8002_u16 } else { 2 };
            let versions = core::iter::once(0).chain(symbols.iter().map(version));
            add_table(DT_VERSYM, &versions.flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        }
        add_table(DT_STRTAB, &strings);

        // Where the data comes depends on the size of what is before it, the relocations included.
        let relocations = (file.len() as u64).next_multiple_of(8);
        let relocation_size = 24 * (self.rela.len() + self.jmprel.len()) as u64 + 8 * self.relr.len() as u64;
        let text_end = relocations + relocation_size;
        let dynamic_start = page_up(text_end);
        let data = dynamic_start + PAGE_SIZE;
        file.resize(relocations as usize, 0);
        let mut add_relocations = |[tag, size_tag]: [u64; 2], entries: Vec<u64>| {
            if !entries.is_empty() {
                dynamic.extend([[tag, file.len() as u64], [size_tag, 8 * entries.len() as u64]]);
                file.extend(words(&entries));
            }
        };
        let moved = |entries: &[[u64; 3]]| {
            entries.iter().flat_map(|&[offset, info, addend]| [data + offset, info, addend]).collect()
        };
        add_relocations([DT_RELA, DT_RELASZ], moved(&self.rela));
        add_relocations([DT_JMPREL, DT_PLTRELSZ], moved(&self.jmprel));
        let slot = |&word: &u64| if word & 1 == 0 { data + word } else { word };
        add_relocations([DT_RELR, DT_RELRSZ], self.relr.iter().map(slot).collect());
        dynamic.extend([[DT_PLTREL, DT_RELA], [DT_INIT_ARRAY, data], [DT_INIT_ARRAYSZ, 8], [DT_NULL, 0]]);

        let dynamic_bytes = words(dynamic.as_flattened());
        assert!(dynamic_bytes.len() as u64 <= PAGE_SIZE, "the dynamic section has one page");
        let dynamic = dynamic_start..dynamic_start + dynamic_bytes.len() as u64;
        file.resize(dynamic_start as usize, 0);
        file.extend(dynamic_bytes);
        file.resize((data + DATA_SIZE) as usize, 0);
        let mut built = Built {
            bytes: file,
            memory_size: data + DATA_SIZE + BSS_SIZE,
            tables: TABLES..text_end,
            dynamic,
            data,
        };
        self.write_headers(&mut built);
        built
    }

    fn write_headers(&self, built: &mut Built) {
        let (start, size) = (built.dynamic.start, PAGE_SIZE + DATA_SIZE);
        let mut table = vec![
            program_header(PT_LOAD, PF_R | PF_X, 0..built.tables.end, 0, PAGE_SIZE),
            program_header(PT_LOAD, PF_R | PF_W, start..start + size, BSS_SIZE, PAGE_SIZE),
            program_header(PT_DYNAMIC, PF_R | PF_W, built.dynamic.clone(), 0, 8),
            program_header(PT_GNU_STACK, PF_R | PF_W, 0..0, 0, 16),
        ];
        if let Some(align) = self.tls {
            let image = built.data + DATA_SIZE - 8;
            table.push(program_header(PT_TLS, PF_R, image..image + 8, 8, align));
        }
        if self.relro {
            table.push(program_header(PT_GNU_RELRO, PF_R, start..start + PAGE_SIZE, 0, 1));
        }
        let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        header.extend([ET_DYN, EM_X86_64].into_iter().flat_map(u16::to_le_bytes));
        header.extend(1_u32.to_le_bytes());
        header.extend(words(&[0, PROGRAM_HEADERS, 0]));
        header.extend(0_u32.to_le_bytes());
        header.extend([64, 56, table.len() as u16, 64, 0, 0].into_iter().flat_map(u16::to_le_bytes));
        header.extend(table.concat());
        assert!(header.len() as u64 <= CODE);
        built.bytes[..header.len()].copy_from_slice(&header);
    }
}

/// An `Elf64_Phdr` of a part of the file, with `zeroes` more bytes in memory.
pub fn program_header(kind: u32, flags: u32, range: Range<u64>, zeroes: u64, align: u64) -> Vec<u8> {
    let size = range.end - range.start;
    let mut header: Vec<u8> = [kind, flags].into_iter().flat_map(u32::to_le_bytes).collect();
    header.extend(words(&[range.start, range.start, range.start, size, size + zeroes, align]));
    header
}

/// Words as they are in a file.
pub fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The hash function of `DT_GNU_HASH`.
pub fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

/// The hash function of `DT_HASH` as the gABI prints it.
pub fn sysv_hash(name: &[u8]) -> u32 {
    let mut hash = 0_u32;
    for &byte in name {
        hash = (hash << 4).wrapping_add(byte.into());
        let top = hash & 0xf000_0000;
        hash ^= top >> 24;
        hash &= !top;
    }
    hash
}

fn gnu_table(symbols: &[&SymbolSpec], bucket_count: u32) -> Vec<u8> {
    const SHIFT: u32 = 6;
    let first = symbols.iter().position(|symbol| symbol.is_in_gnu_table()).unwrap_or(symbols.len());
    let hashes: Vec<u32> = symbols[first..].iter().map(|symbol| gnu_hash(&symbol.name)).collect();
    let bloom_count = hashes.len().div_ceil(8).next_power_of_two();
    let mut bloom = vec![0_u64; bloom_count];
    let mut buckets = vec![0_u32; bucket_count as usize];
    let mut chains = Vec::new();
    for (index, &hash) in hashes.iter().enumerate() {
        bloom[(hash / 64) as usize % bloom_count] |= 1 << (hash % 64) | 1 << ((hash >> SHIFT) % 64);
        let bucket = hash % bucket_count;
        if buckets[bucket as usize] == 0 {
            buckets[bucket as usize] = (1 + first + index) as u32;
        }
        let last = hashes.get(index + 1).is_none_or(|next| next % bucket_count != bucket);
        chains.push(hash & !1 | u32::from(last));
    }
    let head = [bucket_count, (1 + first) as u32, bloom_count as u32, SHIFT];
    let mut table: Vec<u8> = head.into_iter().flat_map(u32::to_le_bytes).collect();
    table.extend(words(&bloom));
    table.extend(buckets.into_iter().chain(chains).flat_map(u32::to_le_bytes));
    table
}

/// Each symbol goes to the front of its chain, in the order given.
fn sysv_table(symbols: &[&SymbolSpec], order: impl Iterator<Item = usize>, bucket_count: u32) -> Vec<u8> {
    let mut buckets = vec![0_u32; bucket_count as usize];
    let mut chains = vec![0_u32; symbols.len() + 1];
    for index in order {
        let bucket = &mut buckets[(sysv_hash(&symbols[index].name) % bucket_count) as usize];
        chains[index + 1] = *bucket;
        *bucket = index as u32 + 1;
    }
    let head = [bucket_count, chains.len() as u32];
    head.into_iter().chain(buckets).chain(chains).flat_map(u32::to_le_bytes).collect()
}
