//! Libraries with as much text as one likes, linked in the ordinary way or by the script of `linker-scripts/`, and
//! programs that call them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::target;
use crate::{paths, proc};

/// The size of a page in KiB.
const PAGE_KIB: u64 = 4;

/// How a library is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// As the link editor does it by itself.
    Ordinary,
    /// By `linker-scripts/morsel.ld`.
    Script,
}

impl Link {
    /// Its name, for folders and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Script => "script",
        }
    }

    /// What `linker-scripts/README.md` says for GNU ld.
    fn flags(self) -> Vec<String> {
        match self {
            Self::Ordinary => Vec::new(),
            Self::Script => vec![
                format!("-Wl,-T,{}", link_script().display()),
                "-Wl,-z,now,-z,noseparate-code,-z,max-page-size=0x200000".to_owned(),
            ],
        }
    }
}

/// A program for such a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `text/program.c`
    Plain,
    /// `text/sharing.c`
    Sharing,
    /// The same, but not linked with the library.
    Unlinked,
}

/// A library, in a folder of its own.
pub struct Text {
    /// The folder.
    pub dir: PathBuf,
    /// The library.
    pub library: PathBuf,
}

impl Text {
    /// Builds a library with so many KiB of text, unless it is there.
    pub fn build(kib: u64, link: Link) -> Result<Self> {
        let source = include_str!("text/library.c");
        let (pages, flags) = (format!("-DPAGES={}", kib / PAGE_KIB), link.flags());
        let script = fs::read_to_string(link_script()).context("cannot read the linker script")?;
        let key = paths::content_key(&[source, &pages, &flags.join(" "), &script]);
        let dir = target("text")?.join(format!("{}-{kib}-{key}", link.name()));
        fs::create_dir_all(&dir)?;
        let library = dir.join("libtext.so");
        if !library.exists() {
            let new = library.with_extension("new");
            let mut gcc = compiler();
            gcc.args(["-shared", "-fPIC", "-Wl,-soname,libtext.so", &pages]).args(flags);
            compile(&mut gcc, &dir.join("library.c"), source, &new)?;
            fs::rename(new, &library)?;
        }
        Ok(Self { dir, library })
    }

    /// Builds a program in the library's folder.
    pub fn program(&self, program: Program) -> Result<PathBuf> {
        let (name, source) = match program {
            Program::Plain => ("program", include_str!("text/program.c")),
            Program::Sharing => ("sharing", include_str!("text/sharing.c")),
            Program::Unlinked => ("unlinked", include_str!("text/sharing.c")),
        };
        let path = self.dir.join(name);
        let mut gcc = compiler();
        gcc.args(["-fPIE", "-pie", "-Wl,-rpath,$ORIGIN"]);
        if program != Program::Unlinked {
            gcc.arg(&self.library);
        }
        compile(&mut gcc, &self.dir.join(format!("{name}.c")), source, &path)?;
        Ok(path)
    }
}

fn link_script() -> PathBuf {
    paths::repo().join("linker-scripts/morsel.ld")
}

/// A compiler for musl that knows the kernel's headers and the module's.
pub fn compiler() -> Command {
    let mut gcc = proc::command("musl-gcc");
    gcc.args(["-O1", "-Wall", "-Werror", "-I"]).arg(paths::repo().join("kernel/include/uapi"));
    // Behind musl's own.
    gcc.args(["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"]);
    gcc
}

/// Writes a source to `file` and compiles it, with what the compiler has been told so far.
pub fn compile(compiler: &mut Command, file: &Path, source: &str, output: &Path) -> Result<()> {
    fs::write(file, source).with_context(|| format!("cannot write {}", file.display()))?;
    // The source comes first: shared libraries behind it are what it needs.
    let mut gcc = proc::command(compiler.get_program());
    gcc.arg(file).args(compiler.get_args()).arg("-o").arg(output);
    proc::output(&mut gcc).map(drop)
}
