//! What must be true of the loader's binary for the kernel, for debuggers and for programs: a static PIE of one segment that
//! nobody may write to, keeps apart what it makes read-only, and exports the interface of a loader.

mod early;

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, elf};

/// What programs and debuggers look for in a loader.
const EXPORTS: &str = include_str!("../../exports.txt");

const PAGE: u64 = 0x1000;

/// One property, and whether the binary has it.
pub struct Check {
    /// The property.
    pub what: String,
    /// None if the binary has it.
    pub failure: Option<String>,
}

/// Checks the loader's binary.
pub fn loader(path: &Path) -> Result<Vec<Check>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    checks(&bytes).with_context(|| format!("{} is no sound ELF file", path.display()))
}

fn checks(bytes: &[u8]) -> Result<Vec<Check>> {
    let header = elf::FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes)?;
    let has = |kind| segments.iter().any(|segment| segment.p_type(endian) == kind);
    let mut dynamic = Vec::new();
    for segment in segments {
        for entry in segment.dynamic(endian, bytes)?.unwrap_or_default() {
            dynamic.push((entry.d_tag(endian), entry.d_val(endian)));
        }
    }
    let tag =
        |wanted: u32| dynamic.iter().find(|(tag, _)| *tag == u64::from(wanted)).map(|(_, value)| *value);
    let text_relocations = tag(elf::DT_TEXTREL).is_some() || tag(elf::DT_FLAGS).is_some_and(|f| f & 4 != 0);
    let loads: Vec<_> = segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD).collect();
    let is_one_mapping = match loads[..] {
        [load] => {
            let whole = load.p_offset(endian) == 0 && load.p_filesz(endian) == load.p_memsz(endian);
            // Up to Linux 6.6, the kernel zeroes the rest of the last page, if there is any, and fails if it may not.
            let whole_pages = load.p_memsz(endian).is_multiple_of(PAGE);
            whole && whole_pages && load.p_flags(endian) == elf::PF_R | elf::PF_X
        }
        _ => false,
    };

    let data = address(header, endian, bytes, "ld_morsel_data")?
        ..address(header, endian, bytes, "ld_morsel_data_end")?;

    let mut list = Vec::new();
    let mut check = |what: &str, failure: Option<String>| list.push(Check { what: what.to_owned(), failure });
    let unless = |ok: bool, why: &str| (!ok).then(|| why.to_owned());
    check("ET_DYN", unless(header.e_type(endian) == elf::ET_DYN, "not a position-independent file"));
    check("no PT_INTERP", unless(!has(elf::PT_INTERP), "it names an interpreter"));
    check("PT_DYNAMIC", unless(has(elf::PT_DYNAMIC), "it has no dynamic section"));
    check("no DT_NEEDED", unless(tag(elf::DT_NEEDED).is_none(), "it needs a library"));
    check("no text relocations", unless(!text_relocations, "it has DT_TEXTREL"));
    check("what is sealed has pages of its own", sealed(header, endian, bytes)?);
    check("no PT_TLS", unless(!has(elf::PT_TLS), "it has thread-local storage of its own"));
    check("one segment, not writable", unless(is_one_mapping, &format!("{} segments", loads.len())));
    check("data that memory takes the place of are zero", replaced(header, endian, bytes, &data)?);
    check("what runs first touches no data", early::check(header, endian, bytes, data)?);
    let exported = exports(header, endian, bytes)?;
    for name in EXPORTS.lines() {
        check(&format!("exports {name}"), unless(exported.iter().any(|e| e == name), "not in .dynsym"));
    }
    // With `stdin`, for one, it would pass for a libc.
    let other: Vec<_> = exported.iter().filter(|name| !EXPORTS.lines().any(|e| e == *name)).collect();
    check("exports nothing else", unless(other.is_empty(), &format!("{other:?}")));
    Ok(list)
}

/// All writable data up to the end of `.sealed` is made read-only (`loader.ld`): why that is not possible.
fn sealed(
    header: &elf::FileHeader64<Endianness>,
    endian: Endianness,
    bytes: &[u8],
) -> Result<Option<String>> {
    let sections = header.sections(endian, bytes)?;
    let Some((_, sealed)) = sections.section_by_name(endian, b".sealed") else {
        return Ok(Some("there is no section .sealed".to_owned()));
    };
    let end = sealed.sh_addr(endian) + sealed.sh_size(endian);
    if !end.is_multiple_of(PAGE) {
        return Ok(Some(format!(".sealed ends within a page, at {end:#x}")));
    }
    let writable =
        sections.iter().filter(|section| section.sh_flags(endian) & u64::from(elf::SHF_WRITE) != 0);
    let unsealed = writable.filter(|section| section.sh_addr(endian) >= end);
    for section in unsealed {
        let name = String::from_utf8_lossy(sections.section_name(endian, section)?).into_owned();
        if name != ".unsealed" {
            return Ok(Some(format!("{name} is not sealed")));
        }
    }
    Ok(None)
}

/// Where zeroed memory takes the place of data (`start::x86_64`), they must be zero; and what may be written to must be among the
/// data: why that is not so.
fn replaced(
    header: &elf::FileHeader64<Endianness>,
    endian: Endianness,
    bytes: &[u8],
    data: &Range<u64>,
) -> Result<Option<String>> {
    let sections = header.sections(endian, bytes)?;
    let zeros = address(header, endian, bytes, "ld_morsel_initialised_end")?.next_multiple_of(PAGE)..data.end;
    let replaced = bytes.get(zeros.start as usize..zeros.end as usize).context("the file is cut off")?;
    if let Some(place) = replaced.iter().position(|&byte| byte != 0) {
        return Ok(Some(format!("at {:#x}", zeros.start + place as u64)));
    }
    let flags = u64::from(elf::SHF_WRITE | elf::SHF_ALLOC);
    for section in sections.iter().filter(|section| section.sh_flags(endian) & flags == flags) {
        let range = section.sh_addr(endian)..section.sh_addr(endian) + section.sh_size(endian);
        if range.start < data.start || range.end > data.end {
            let name = String::from_utf8_lossy(sections.section_name(endian, section)?);
            return Ok(Some(format!("{name} is not among them")));
        }
    }
    Ok(None)
}

/// The address of a symbol that `loader.ld` defines.
fn address(
    header: &elf::FileHeader64<Endianness>,
    endian: Endianness,
    bytes: &[u8],
    name: &str,
) -> Result<u64> {
    let symbols = header.sections(endian, bytes)?.symbols(endian, bytes, elf::SHT_SYMTAB)?;
    let is_it = |symbol: &&elf::Sym64<Endianness>| {
        symbol.name(endian, symbols.strings()).is_ok_and(|found| found == name.as_bytes())
    };
    let symbol = symbols.iter().find(is_it).with_context(|| format!("there is no symbol {name}"))?;
    Ok(symbol.st_value(endian))
}

fn exports(header: &elf::FileHeader64<Endianness>, endian: Endianness, bytes: &[u8]) -> Result<Vec<String>> {
    let sections = header.sections(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
    let defined =
        symbols.iter().filter(|symbol| !symbol.is_undefined(endian) && symbol.st_bind() != elf::STB_LOCAL);
    defined
        .map(|symbol| Ok(String::from_utf8_lossy(symbol.name(endian, symbols.strings())?).into_owned()))
        .collect()
}
