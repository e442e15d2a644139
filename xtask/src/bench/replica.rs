//! Replicas of real programs: the same objects in the same order, with the same exports and the same relocations
//! against the same names, but stubs instead of code. A replica can be built for any libc, so that loaders compare on
//! real names and numbers. Versions of symbols and the contents of sections are left out, and so is what libc itself
//! defines.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, Rela, SectionHeader, Sym};
use object::{Endianness, SectionIndex};

use super::compile::Source;
use super::source;
use super::spec::Spec;
use super::workload::Start;
use crate::{paths, proc};

/// A replica that can be compiled.
pub struct Replica {
    name: String,
    libraries: Vec<Library>,
    /// Differs where the originals do.
    key: String,
}

/// What is copied of an object.
struct Library {
    name: String,
    exports: Vec<Export>,
    imports: Vec<Import>,
    relative: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Export {
    name: String,
    /// STT_FUNC, STT_OBJECT or STT_TLS.
    kind: u8,
    weak: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Import {
    name: String,
    /// The type of the relocation.
    relocation: u32,
    weak: bool,
}

impl Replica {
    /// Of all that musl would load for this start.
    pub fn of(name: &str, start: &Start) -> Result<Self> {
        let files = loaded(start)?;
        let mut libraries = Vec::new();
        let mut key = String::from(include_str!("replica.rs"));
        for (number, file) in files.iter().enumerate() {
            let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let base = file.file_name().unwrap_or_default().to_string_lossy();
            // Some packages have libraries of the same name.
            let name = format!("{number:03}-{base}");
            libraries.push(read(name, &bytes).with_context(|| format!("in {}", file.display()))?);
            let _ = write!(key, "{} {};", file.display(), bytes.len());
        }
        // A replica has to be bound by both: of what it needs of a libc, it keeps what either has.
        let (musl, glibc) = (defined(Path::new(paths::STOCK))?, defined(Path::new(GLIBC))?);
        for library in &mut libraries {
            library.exports.retain(|export| !musl.contains(&export.name) && !glibc.contains(&export.name));
        }
        let known: HashMap<_, _> = libraries
            .iter()
            .flat_map(|library| library.exports.iter().map(|export| (export.name.clone(), export.kind)))
            .collect();
        for library in &mut libraries {
            // What nobody defines was weak, or needed a version. A name may be thread-local in one object only.
            library.imports.retain(|import| {
                let thread_local =
                    [elf::R_X86_64_DTPMOD64, elf::R_X86_64_TPOFF64].contains(&import.relocation);
                match known.get(&import.name) {
                    Some(&kind) => (kind == elf::STT_TLS) == thread_local,
                    None => musl.contains(&import.name) && glibc.contains(&import.name) && !thread_local,
                }
            });
        }
        Ok(Self { name: name.to_owned(), libraries, key })
    }
}

impl Source for Replica {
    fn key(&self) -> (String, String) {
        (self.name.clone(), format!("{}{}", self.key, source::VERSION))
    }

    fn chains(&self) -> Vec<Vec<String>> {
        self.libraries.iter().map(|library| vec![library.name.clone()]).collect()
    }

    fn library(&self, chain: usize, _: usize) -> Result<String> {
        self.libraries.get(chain).map(Library::assembly).context("no such library")
    }

    fn program(&self) -> Result<String> {
        Ok(source::program(&Spec::HELLO))
    }
}

impl Library {
    /// Stubs, and in code that is never run, all references.
    fn assembly(&self) -> String {
        let (mut text, mut data, mut locals) = (String::new(), String::new(), String::new());
        // Writing to a String cannot fail.
        for Export { name, kind, weak } in &self.exports {
            let binding = if *weak { ".weak" } else { ".globl" };
            let _ = match *kind {
                elf::STT_FUNC => {
                    writeln!(text, "{binding} {name}\n.type {name}, @function\n{name}: ret\n.size {name}, 1")
                }
                elf::STT_TLS => {
                    writeln!(
                        locals,
                        "{binding} {name}\n.type {name}, @object\n{name}: .quad 0\n.size {name}, 8"
                    )
                }
                _ => writeln!(
                    data,
                    "{binding} {name}\n.type {name}, @object\n{name}: .quad 0\n.size {name}, 8"
                ),
            };
        }
        for Import { name, relocation, weak } in &self.imports {
            if *weak {
                let _ = writeln!(text, ".weak {name}");
            }
            let _ = match *relocation {
                elf::R_X86_64_JUMP_SLOT => writeln!(text, "call {name}@PLT"),
                elf::R_X86_64_GLOB_DAT => writeln!(text, "mov {name}@GOTPCREL(%rip), %rax"),
                elf::R_X86_64_TPOFF64 => writeln!(text, "mov {name}@gottpoff(%rip), %rax"),
                elf::R_X86_64_DTPMOD64 => writeln!(
                    text,
                    ".byte 0x66\nlea {name}@tlsgd(%rip), %rdi\n.value 0x6666\nrex64\ncall __tls_get_addr@PLT"
                ),
                _ => writeln!(data, ".quad {name}"),
            };
        }
        format!(
            ".text\n{text}.data\n.balign 8\nhere:\n.rept {}\n.quad here\n.endr\n{data}\
             .section .tdata,\"awT\",@progbits\n.balign 8\n{locals}\
             .section .note.GNU-stack,\"\",@progbits\n",
            self.relative
        )
    }
}

/// Debian's glibc.
const GLIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";

/// The names that a libc defines.
fn defined(libc: &Path) -> Result<HashSet<String>> {
    let bytes = fs::read(libc).with_context(|| format!("cannot read {}", libc.display()))?;
    let library = read(String::new(), &bytes).with_context(|| format!("in {}", libc.display()))?;
    Ok(library.exports.into_iter().map(|export| export.name).collect())
}

/// The program and all libraries but libc, in musl's order.
fn loaded(start: &Start) -> Result<Vec<PathBuf>> {
    let mut list = proc::command(paths::STOCK);
    list.arg("--list").arg(&start.program).env_clear();
    list.envs(start.env.iter().map(|(name, value)| (name, value)));
    let output = proc::output(&mut list)?;
    // `NAME => PATH (ADDRESS)`; libraries that were preloaded by path have the path on both sides.
    let path = |line: &str| Some(PathBuf::from(line.split_once(" => ")?.1.rsplit_once(" (")?.0));
    let libraries = output.lines().filter_map(path).filter(|path| path != Path::new(paths::STOCK));
    Ok(std::iter::once(start.program.clone()).chain(libraries).collect())
}

/// Whether the assembler takes a name without quotes.
fn plain(name: &str) -> bool {
    let first = name.chars().next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.$".contains(c))
        // These the linker, or the startup files, define.
        && !["_init", "_fini", "_end", "_edata", "_etext", "__bss_start", "main", "_start"].contains(&name)
        && name != "__tls_get_addr"
}

fn read(name: String, bytes: &[u8]) -> Result<Library> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, elf::SHT_DYNSYM)?;
    if symbols.is_empty() {
        bail!("it has no dynamic symbols that its section headers speak of");
    }
    let kinds = [elf::STT_FUNC, elf::STT_OBJECT, elf::STT_TLS];
    let mut seen = HashSet::new();
    let mut exports = Vec::new();
    for symbol in symbols.iter() {
        let (kind, visible) = (symbol.st_type(), symbol.st_visibility() == elf::STV_DEFAULT);
        if symbol.is_undefined(endian) || symbol.is_local() || !visible || !kinds.contains(&kind) {
            continue;
        }
        let name = String::from_utf8_lossy(symbol.name(endian, symbols.strings())?).into_owned();
        if plain(&name) && seen.insert(name.clone()) {
            exports.push(Export { name, kind, weak: symbol.is_weak() });
        }
    }
    let (mut imports, mut relative) = (Vec::new(), 0);
    let mut once = HashSet::new();
    for section in sections.iter() {
        let Some((relocations, link)) = section.rela(endian, bytes)? else { continue };
        if link != symbols.section() && link != SectionIndex(0) {
            continue;
        }
        for relocation in relocations {
            let kind = relocation.r_type(endian, false);
            if kind == elf::R_X86_64_RELATIVE {
                relative += 1;
                continue;
            }
            let Some(index) = relocation.symbol(endian, false) else { continue };
            let symbol = symbols.symbol(index)?;
            let name = String::from_utf8_lossy(symbol.name(endian, symbols.strings())?).into_owned();
            let wanted = [
                elf::R_X86_64_64,
                elf::R_X86_64_JUMP_SLOT,
                elf::R_X86_64_GLOB_DAT,
                elf::R_X86_64_DTPMOD64,
                elf::R_X86_64_TPOFF64,
            ];
            if !wanted.contains(&kind) || !plain(&name) {
                continue;
            }
            let weak = symbol.is_weak() && symbol.is_undefined(endian);
            let import = Import { name, relocation: kind, weak };
            // Data may hold an address many times; a table of the linker's holds it once.
            if kind == elf::R_X86_64_64 || once.insert(import.clone()) {
                imports.push(import);
            }
        }
    }
    Ok(Library { name, exports, imports, relative })
}
