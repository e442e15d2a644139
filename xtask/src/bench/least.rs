//! Interpreters that show how good one could be: one that does nothing, and one that only maps libc and enters it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};

use super::source;
use crate::{paths, proc};

const PAGE: u64 = 4096;

/// The interpreter that does nothing.
pub fn floor() -> Result<PathBuf> {
    cached("floor", source::FLOOR, |source, program| {
        proc::output(gcc(program).args(["-x", "assembler"]).arg(source))
    })
}

/// The interpreter that maps the system's musl and enters it.
pub fn bare() -> Result<PathBuf> {
    let libc = fs::read(paths::STOCK).with_context(|| format!("cannot read {}", paths::STOCK))?;
    let shape = shape(&libc).with_context(|| format!("{} is not as expected", paths::STOCK))?;
    let defined = shape.map(|(name, value)| format!("#define {name} {value:#x}\n")).concat();
    let text = format!("#define LIBC \"{}\"\n{defined}{}", paths::STOCK, include_str!("bare.c"));
    cached("bare", &text, |source, program| {
        // No loop becomes a call of a function that is not there.
        let options = ["-O2", "-fno-stack-protector", "-fno-tree-loop-distribute-patterns"];
        // One mapping, which nobody may write to.
        let link = ["-fuse-ld=lld", "-Wl,-z,rodynamic,-z,norelro,-z,noseparate-code,--no-rosegment"];
        proc::output(gcc(program).args(options).args(link).args(["-x", "c"]).arg(source))
    })
}

/// Where the parts of libc are, under the names that `bare.c` has for them.
fn shape(libc: &[u8]) -> Result<[(&'static str, u64); 7]> {
    let header = FileHeader64::<Endianness>::parse(libc)?;
    let endian = header.endian()?;
    let loads = || {
        let segments = header.program_headers(endian, libc).into_iter().flatten();
        segments.filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
    };
    let with = |flag| loads().find(|segment| segment.p_flags(endian) & flag != 0);
    let (code, data) = (with(elf::PF_X).context("no code")?, with(elf::PF_W).context("no data")?);
    let down = |address: u64| address / PAGE * PAGE;
    let end = |segment: &elf::ProgramHeader64<Endianness>| segment.p_vaddr(endian) + segment.p_memsz(endian);
    Ok([
        ("CODE", down(code.p_vaddr(endian))),
        ("CODE_SIZE", end(code).next_multiple_of(PAGE) - down(code.p_vaddr(endian))),
        ("DATA", down(data.p_vaddr(endian))),
        ("DATA_OFFSET", down(data.p_offset(endian))),
        ("DATA_END", data.p_vaddr(endian) + data.p_filesz(endian)),
        ("END", end(data).next_multiple_of(PAGE)),
        ("ENTRY", header.e_entry(endian)),
    ])
}

fn gcc(program: &Path) -> std::process::Command {
    let mut gcc = proc::command("gcc");
    gcc.args(["-static-pie", "-nostdlib", "-Wl,--build-id=none", "-o"]).arg(program);
    gcc
}

/// Something small that is made of one text: made again when the text has changed.
pub fn cached(name: &str, text: &str, make: impl Fn(&Path, &Path) -> Result<String>) -> Result<PathBuf> {
    let dir = paths::cache()?.join("bench").join(format!("{name}-{}", paths::content_key(&[text])));
    let made = dir.join(name);
    if !made.exists() {
        fs::create_dir_all(&dir)?;
        let (source, new) = (dir.join("source"), dir.join("new"));
        fs::write(&source, text)?;
        make(&source, &new)?;
        fs::rename(&new, &made)?;
    }
    Ok(made)
}
