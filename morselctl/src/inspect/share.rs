//! How much of an object shared page tables can serve.
//!
//! A page table serves 2 MiB, and is shared whole: these must lie in one mapping with one protection, from the first byte
//! that the segment has there on. Behind the segment's end there may be nothing else of the object within the 2 MiB.
//! Where the object begins within 2 MiB is the loader's choice, as far as the object's alignment leaves it one; here the
//! choice is the one by which most is shared.

use goblin::elf64::program_header::{PF_R, PF_W, PF_X, ProgramHeader};
use ld_morsel::elf::{PAGE_SIZE, page_down, page_up};
use serde::Serialize;

use crate::elf_file::{ElfFile, is_executable, is_writable};

/// What one page table serves, in bytes.
const TABLE: u64 = 2 << 20;

/// What becomes of a segment's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Code, read-only data beside it perhaps.
    Code,
    /// Read-only data.
    Data,
    /// Written by relocation and read-only afterwards, all of it.
    Relro,
    /// Private to each process.
    Writable,
}

impl Class {
    /// The word to show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Data => "data",
            Self::Relro => "relro",
            Self::Writable => "writable",
        }
    }
}

/// A `PT_LOAD`.
#[derive(Debug, Serialize)]
pub struct Segment {
    /// `p_vaddr`
    pub address: u64,
    /// Bytes in the file.
    pub file: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// `rwx`
    pub access: String,
    /// What becomes of its pages.
    pub class: Class,
    /// Bytes of it, in whole pages, in page tables that can be shared.
    pub shareable: u64,
    /// Why not all of it.
    pub why_not: Vec<String>,
}

impl Segment {
    /// Bytes, in whole pages, that all processes read alike.
    pub fn read_only(&self) -> u64 {
        match self.class {
            Class::Relro | Class::Writable => 0,
            Class::Code | Class::Data => page_up(self.address + self.memory) - page_down(self.address),
        }
    }
}

/// What can be shared of an object.
pub struct Sharing {
    /// Where the object is to begin within 2 MiB, in bytes.
    pub base_offset: u64,
    /// Its segments.
    pub segments: Vec<Segment>,
}

/// Finds it out.
pub fn of(file: &ElfFile, text_relocations: bool) -> Sharing {
    let loads: Vec<&ProgramHeader> = file.loads().collect();
    let sum = |base: u64| loads.iter().map(|load| tables(&loads, load, base).shared).sum::<u64>();
    // A smaller offset is better if it makes no difference; `max_by_key` takes the last of equals.
    let mut bases = bases(&loads);
    bases.sort_unstable_by_key(|base| std::cmp::Reverse(*base));
    let base = bases.into_iter().max_by_key(|base| sum(*base)).unwrap_or(0);
    let segments = loads.iter().map(|load| {
        let mut tables = tables(&loads, load, base);
        if text_relocations && !is_writable(load) {
            tables = Tables { shared: 0, why_not: vec!["relocations write into it".to_owned()] };
        }
        Segment {
            address: load.p_vaddr,
            file: load.p_filesz,
            memory: load.p_memsz,
            access: access(load.p_flags),
            class: class(file, load),
            shareable: tables.shared,
            why_not: tables.why_not,
        }
    });
    Sharing { base_offset: base, segments: segments.collect() }
}

fn class(file: &ElfFile, load: &ProgramHeader) -> Class {
    let sealed = file.segments.relro.as_ref().is_some_and(|relro| {
        relro.start.0 <= page_down(load.p_vaddr) && page_up(load.p_vaddr + load.p_memsz) <= relro.end.0
    });
    match (is_writable(load), is_executable(load)) {
        (true, _) if sealed => Class::Relro,
        (true, _) => Class::Writable,
        (false, true) => Class::Code,
        (false, false) => Class::Data,
    }
}

/// The places within 2 MiB that are worth a try: those at which a segment begins with a page table of its own.
fn bases(loads: &[&ProgramHeader]) -> Vec<u64> {
    let alignment = loads.iter().map(|load| load.p_align).max().unwrap_or(PAGE_SIZE).max(PAGE_SIZE);
    let begin = |load: &&ProgramHeader| page_down(load.p_vaddr).wrapping_neg() % TABLE;
    let mut bases: Vec<u64> = loads.iter().map(begin).filter(|base| base.is_multiple_of(alignment)).collect();
    bases.push(0);
    bases
}

/// What one segment has of page tables.
struct Tables {
    shared: u64,
    why_not: Vec<String>,
}

fn tables(loads: &[&ProgramHeader], load: &ProgramHeader, base: u64) -> Tables {
    let pages =
        |load: &ProgramHeader| (base + page_down(load.p_vaddr), base + page_up(load.p_vaddr + load.p_memsz));
    let (start, end) = pages(load);
    let mut result = Tables { shared: 0, why_not: Vec::new() };
    if is_writable(load) {
        result.why_not.push("each process has its own copy".to_owned());
        return result;
    }
    let mut table = start - start % TABLE;
    while table < end {
        let others = loads.iter().filter(|other| other.p_vaddr != load.p_vaddr);
        let mut others = others.filter(|other| {
            let (start, end) = pages(other);
            start < table + TABLE && table < end
        });
        let why_not = match others.next() {
            Some(other) => {
                let part = match (table <= start, end <= table + TABLE) {
                    (true, true) => "all of it is".to_owned(),
                    (true, false) => format!("its first {} are", kib(table + TABLE - start)),
                    (false, _) => format!("its last {} are", kib(end - table)),
                };
                let (access, address) = (access(other.p_flags), other.p_vaddr);
                Some(format!("{part} in the same 2 MiB as the {access} segment at {address:#x}"))
            }
            None if table < start => {
                Some(format!("{} before the first multiple of 2 MiB", kib(end.min(table + TABLE) - start)))
            }
            None => None,
        };
        match why_not {
            Some(reason) => result.why_not.push(reason),
            None => result.shared += end.min(table + TABLE) - start.max(table),
        }
        table += TABLE;
    }
    result
}

fn access(flags: u32) -> String {
    let letter = |flag, letter| if flags & flag != 0 { letter } else { '-' };
    [letter(PF_R, 'r'), letter(PF_W, 'w'), letter(PF_X, 'x')].iter().collect()
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}
