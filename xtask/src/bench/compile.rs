//! Compiles the source of programs into the cache: every library is assembled once, and linked for musl, for glibc
//! or into one static program, whatever is asked for. What is there is not made again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};

use super::source;
use super::spec::Spec;
use crate::{paths, proc, ui};

/// What a program is linked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Dynamic, musl.
    Musl,
    /// Dynamic, glibc; calls may be bound late.
    Glibc,
    /// One static program, not position-independent, with musl.
    Static,
}

impl Flavour {
    fn name(self) -> &'static str {
        match self {
            Self::Musl => "musl",
            Self::Glibc => "glibc",
            Self::Static => "static",
        }
    }

    fn compiler(self) -> &'static str {
        if self == Self::Glibc { "gcc" } else { "musl-gcc" }
    }
}

/// The name of the program in its folder.
pub const PROGRAM: &str = "main";

/// Where a program comes from: text that is compiled.
pub trait Source: Sync {
    /// What it is called, and a text that differs where the sources differ.
    fn key(&self) -> (String, String);
    /// Names of the libraries, in chains: a library needs the one that follows it in its chain.
    fn chains(&self) -> Vec<Vec<String>>;
    /// The assembly of a library.
    fn library(&self, chain: usize, place: usize) -> Result<String>;
    /// The C of the program, which needs the first library of each chain.
    fn program(&self) -> Result<String>;
    /// Whether the libraries are linked with the script that leaves their segments far apart.
    fn is_far(&self) -> bool {
        false
    }
}

/// A synthetic program by its name.
pub struct Synthetic {
    /// Its name, for people.
    pub name: String,
    /// What it consists of.
    pub spec: Spec,
}

impl Source for Synthetic {
    fn key(&self) -> (String, String) {
        (self.name.clone(), format!("{:?}{}", self.spec, source::VERSION))
    }

    fn chains(&self) -> Vec<Vec<String>> {
        let numbers: Vec<_> = (0..self.spec.libraries).collect();
        let chains = numbers.chunks(self.spec.depth);
        chains.map(|chain| chain.iter().map(|&number| source::library_name(number)).collect()).collect()
    }

    fn library(&self, chain: usize, place: usize) -> Result<String> {
        Ok(source::library(&self.spec, chain * self.spec.depth + place))
    }

    fn program(&self) -> Result<String> {
        Ok(source::program(&self.spec))
    }

    fn is_far(&self) -> bool {
        self.spec.far
    }
}

/// Makes sure that a program is compiled, and returns the folder that holds it and its libraries.
pub fn program(source: &dyn Source, flavour: Flavour) -> Result<PathBuf> {
    let (name, key) = source.key();
    let dir = paths::cache()?
        .join("bench")
        .join(format!("{name}-{}", paths::content_key(&[&key, include_str!("compile.rs")])));
    let linked = dir.join(flavour.name());
    if linked.join(PROGRAM).exists() {
        return Ok(linked);
    }
    let spinner = ui::spinner(format!("compiling {name} for {}", flavour.name()));
    let made = assemble(source, &dir).and_then(|()| link(source, flavour, &dir, &linked));
    spinner.finish_and_clear();
    made.with_context(|| format!("cannot compile {name} for {}", flavour.name()))?;
    Ok(linked)
}

/// The build identifier is a hash over much text and of no use; the style of hash table is that of today's
/// distributions; calls may be bound late, by loaders that can.
const OPTIONS: &str = "-Wl,--build-id=none,--hash-style=gnu,-z,lazy";

/// Assembles each library once, for all flavours.
fn assemble(source: &dyn Source, dir: &Path) -> Result<()> {
    let objects = dir.join("objects");
    if objects.is_dir() {
        return Ok(());
    }
    let new = fresh(&dir.join("objects.new"))?;
    let chains = source.chains();
    in_parallel(chains.len(), |chain| {
        for (place, library) in chains[chain].iter().enumerate() {
            let text = new.join(format!("{library}.s"));
            fs::write(&text, source.library(chain, place)?)?;
            proc::output(proc::command("as").arg("-o").arg(new.join(format!("{library}.o"))).arg(&text))?;
            fs::remove_file(&text)?;
        }
        Ok(())
    })?;
    fs::write(new.join("main.c"), source.program()?)?;
    fs::rename(&new, &objects).with_context(|| format!("cannot name {}", objects.display()))
}

fn link(source: &dyn Source, flavour: Flavour, dir: &Path, linked: &Path) -> Result<()> {
    let objects = dir.join("objects");
    let new = fresh(&linked.with_extension("new"))?;
    let object = |library: &String| objects.join(format!("{library}.o"));
    let chains = source.chains();
    let gcc = |output: PathBuf| {
        let mut gcc = proc::command(flavour.compiler());
        gcc.args(["-O1", OPTIONS, "-o"]).arg(output);
        gcc
    };
    let mut program = gcc(new.join(PROGRAM));
    program.arg(objects.join("main.c"));
    if flavour == Flavour::Static {
        program.args(["-static", "-no-pie"]).args(chains.iter().flatten().map(object));
    } else {
        in_parallel(chains.len(), |chain| {
            // From the end: a library is linked with the next of its chain.
            let mut next: Option<PathBuf> = None;
            for library in chains[chain].iter().rev() {
                let output = new.join(library);
                let mut gcc = gcc(output.clone());
                gcc.arg("-shared").arg(format!("-Wl,-soname,{library}")).arg(object(library));
                // Not the compiler's own library, which defines some of the names in replicas.
                gcc.args(["-nodefaultlibs", "-lc"]);
                if source.is_far() {
                    gcc.arg(format!("-Wl,-T,{}", paths::repo().join("linker-scripts/morsel.ld").display()));
                    gcc.arg("-Wl,-z,now,-z,noseparate-code,-z,max-page-size=0x200000");
                }
                if let Some(next) = next.replace(output) {
                    // In glibc, the program's run path does not hold for what its libraries need.
                    gcc.arg("-Wl,-rpath,$ORIGIN").arg(next);
                }
                proc::output(&mut gcc)?;
            }
            Ok(())
        })?;
        program.args(["-fPIE", "-pie", "-Wl,--no-as-needed"]);
        program.args(chains.iter().filter_map(|chain| chain.first()).map(|library| new.join(library)));
        program.arg("-Wl,-rpath,$ORIGIN,--allow-shlib-undefined");
    }
    proc::output(&mut program)?;
    sound(&new, flavour)?;
    let _ = fs::remove_dir_all(linked);
    fs::rename(&new, linked).with_context(|| format!("cannot name {}", linked.display()))
}

/// With an argument, the program uses everything that was bound, and compares the results.
fn sound(dir: &Path, flavour: Flavour) -> Result<()> {
    let mut program = proc::command(dir.join(PROGRAM));
    program.arg("check");
    proc::output(&mut program).with_context(|| format!("the program is not sound on {}", flavour.name()))?;
    Ok(())
}

/// The folder, new and empty.
fn fresh(dir: &Path) -> Result<PathBuf> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir.to_owned())
}

/// Does work number 0 to `count` on all processors; returns the first error.
pub fn in_parallel(count: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            work(number)?;
        }
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => bail!("a compiling thread panicked"),
        })
    })
}
